//! Capture files made byte by byte, independent of the writer under test.

/// Bytes in one of the two orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Big,
    Little,
}

impl Order {
    pub(super) const BOTH: [Order; 2] = [Order::Big, Order::Little];

    pub(super) fn u32(self, value: u32) -> [u8; 4] {
        if self == Order::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub(super) fn u16(self, value: u16) -> [u8; 2] {
        if self == Order::Big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn words(self, values: &[u32]) -> Vec<u8> {
        values.iter().flat_map(|value| self.u32(*value)).collect()
    }
}

/// (code, value) of each option of a block.
pub(super) type Options<'a> = &'a [(u16, &'a [u8])];

/// A frame with a recognisable content.
pub(super) fn frame(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|i| seed.wrapping_add(i as u8)).collect()
}

/// A classic file with this magic number and link-type field, and records of (seconds, fraction, original length,
/// bytes).
pub(super) fn classic(order: Order, magic: u32, link: u32, records: &[(u32, u32, u32, &[u8])]) -> Vec<u8> {
    let mut file = order.u32(magic).to_vec();
    file.extend(order.u16(2));
    file.extend(order.u16(4));
    file.extend(order.words(&[0, 0, 65_535, link]));
    for (seconds, fraction, original, bytes) in records {
        file.extend(order.words(&[*seconds, *fraction, bytes.len() as u32, *original]));
        if magic == 0xa1b2_cd34 {
            file.extend([7; 8]);
        }
        file.extend(*bytes);
    }
    file
}

/// A pcapng block.
pub(super) fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = order.u32(body.len() as u32 + 12);
    [&order.u32(kind)[..], &length, &body, &length].concat()
}

pub(super) fn section(order: Order) -> Vec<u8> {
    let mut body = order.u32(0x1a2b_3c4d).to_vec();
    body.extend(order.u16(1));
    body.extend(order.u16(0));
    body.extend([0xff; 8]);
    // A comment, as most tools write one.
    body.extend(options(order, &[(1, b"made by hand")]));
    block(order, 0x0a0d_0d0a, &body)
}

pub(super) fn options(order: Order, list: Options<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (code, value) in list.iter().chain([&(0, &b""[..])]) {
        bytes.extend(order.u16(*code));
        bytes.extend(order.u16(value.len() as u16));
        bytes.extend(*value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

pub(super) fn interface(order: Order, link: u16, snap: u32, list: Options<'_>) -> Vec<u8> {
    let mut body = order.u16(link).to_vec();
    body.extend([0; 2]);
    body.extend(order.u32(snap));
    body.extend(options(order, list));
    block(order, 1, &body)
}

pub(super) fn enhanced(order: Order, interface: u32, units: u64, bytes: &[u8], list: Options<'_>) -> Vec<u8> {
    let length = bytes.len() as u32;
    let mut body = order.words(&[interface, (units >> 32) as u32, units as u32, length, length]);
    body.extend(bytes);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend(options(order, list));
    block(order, 6, &body)
}

pub(super) fn obsolete(order: Order, interface: u16, units: u64, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len() as u32;
    let mut body = order.u16(interface).to_vec();
    body.extend(order.u16(3));
    body.extend(order.words(&[(units >> 32) as u32, units as u32, length, length]));
    body.extend(bytes);
    block(order, 2, &body)
}

pub(super) fn simple(order: Order, original: u32, bytes: &[u8]) -> Vec<u8> {
    let mut body = order.u32(original).to_vec();
    body.extend(bytes);
    block(order, 3, &body)
}

/// A file of two sections of opposite byte order with every kind of packet block.
pub(super) fn everything() -> Vec<u8> {
    let (a, b) = (Order::Little, Order::Big);
    [
        section(a),
        interface(a, 1, 0, &[(2, b"eth0"), (9, &[9])]),
        enhanced(a, 0, 1_000_000_001, &frame(61, 1), &[(1, b"hello")]),
        block(a, 5, &[0; 12]),
        obsolete(a, 0, 1_000_000_002, &frame(62, 2)),
        simple(a, 63, &frame(63, 3)),
        section(b),
        interface(b, 1, 0, &[]),
        enhanced(b, 0, 2_000_000, &frame(64, 4), &[]),
    ]
    .concat()
}
