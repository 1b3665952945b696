//! Frames of every kind, written in place: what feeds the engine must not allocate either.

use classifier::wire::checksum::Sum;

pub(crate) const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];
const UDP: u8 = 17;

/// The MAC of a host by its VLAN and number.
pub(crate) fn mac(vlan: u16, host: u32) -> [u8; 6] {
    let [a, b] = vlan.to_be_bytes();
    let [_, c, d, e] = host.to_be_bytes();
    [2, a ^ c, b, 0x10 ^ c, d, e]
}

/// The IPv4 address of a host of a VLAN: 10.0.VLAN.host.
pub(crate) fn v4(vlan: u16, host: u32) -> [u8; 4] {
    [10, 0, vlan as u8, host as u8]
}

/// The IPv6 address of a host of a VLAN: fd00:VLAN::host.
pub(crate) fn v6(vlan: u16, host: u32) -> [u8; 16] {
    let mut address = [0; 16];
    (address[0], address[3]) = (0xfd, vlan as u8);
    address[12..].copy_from_slice(&host.to_be_bytes());
    address
}

/// A frame that grows in a buffer.
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    /// A frame with its link header.
    pub(crate) fn new(buffer: &'a mut [u8], to: [u8; 6], from: [u8; 6], vid: u16, ethertype: u16) -> Self {
        let mut writer = Writer { buffer, length: 0 };
        writer.put(&to).put(&from).put(&[0x81, 0]).put(&vid.to_be_bytes()).put(&ethertype.to_be_bytes());
        writer
    }

    /// Appends bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.buffer[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
        self
    }

    /// How long the frame is.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Appends an IPv4 packet.
    pub(crate) fn ipv4(&mut self, from: [u8; 4], to: [u8; 4], ttl: u8, protocol: u8, upper: &[u8]) {
        let start = self.length;
        let total = (20 + upper.len()) as u16;
        self.put(&[0x45, 0]).put(&total.to_be_bytes()).put(&[0, 1, 0, 0, ttl, protocol, 0, 0]);
        self.put(&from).put(&to);
        let sum = !Sum::ZERO.bytes(&self.buffer[start..self.length]).fold();
        self.buffer[start + 10..start + 12].copy_from_slice(&sum.to_be_bytes());
        let pseudo = Sum::ZERO.bytes(&from).bytes(&to);
        self.upper(pseudo, protocol, upper);
    }

    /// Appends an IPv6 packet.
    pub(crate) fn ipv6(&mut self, from: [u8; 16], to: [u8; 16], hops: u8, protocol: u8, upper: &[u8]) {
        self.put(&[0x60, 0, 0, 0]).put(&(upper.len() as u16).to_be_bytes()).put(&[protocol, hops]);
        self.put(&from).put(&to);
        let pseudo = Sum::ZERO.bytes(&from).bytes(&to);
        self.upper(pseudo, protocol, upper);
    }

    /// Appends the upper layer, and fills in its checksum.
    fn upper(&mut self, pseudo: Sum, protocol: u8, upper: &[u8]) {
        let start = self.length;
        self.put(upper);
        let pseudo = pseudo.word(u16::from(protocol)).word(upper.len() as u16);
        let (at, pseudo) = match protocol {
            1 => (2, Sum::ZERO),
            58 => (2, pseudo),
            6 => (16, pseudo),
            _ => (6, pseudo),
        };
        let sum = !pseudo.bytes(&self.buffer[start..self.length]).fold();
        let sum = if protocol == UDP && sum == 0 { 0xffff } else { sum };
        self.buffer[start + at..start + at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// A datagram of four bytes.
pub(crate) fn udp(source: u16, destination: u16) -> [u8; 12] {
    let ([a, b], [c, d]) = (source.to_be_bytes(), destination.to_be_bytes());
    [a, b, c, d, 0, 12, 0, 0, 1, 2, 3, 4]
}

/// A segment without options or data.
pub(crate) fn tcp(source: u16, destination: u16, flags: u8, sequence: u32, acknowledged: u32) -> [u8; 20] {
    let mut segment = [0; 20];
    segment[..2].copy_from_slice(&source.to_be_bytes());
    segment[2..4].copy_from_slice(&destination.to_be_bytes());
    segment[4..8].copy_from_slice(&sequence.to_be_bytes());
    segment[8..12].copy_from_slice(&acknowledged.to_be_bytes());
    segment[12..16].copy_from_slice(&[0x50, flags, 0x20, 0]);
    segment
}

/// An echo request (`kind` 8 or 128).
pub(crate) fn echo(kind: u8, identifier: u16) -> [u8; 12] {
    let [a, b] = identifier.to_be_bytes();
    [kind, 0, 0, 0, a, b, 0, 1, b'p', b'i', b'n', b'g']
}

/// An ARP packet of 28 bytes.
pub(crate) fn arp(operation: u8, sender: ([u8; 6], [u8; 4]), target: ([u8; 6], [u8; 4])) -> [u8; 28] {
    let mut packet = [0; 28];
    packet[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, operation]);
    packet[8..14].copy_from_slice(&sender.0);
    packet[14..18].copy_from_slice(&sender.1);
    packet[18..24].copy_from_slice(&target.0);
    packet[24..].copy_from_slice(&target.1);
    packet
}

/// A neighbor solicitation (135, with option 1) or a solicited advertisement (136, with option 2).
pub(crate) fn nd(kind: u8, target: [u8; 16], mac: [u8; 6]) -> [u8; 32] {
    let mut message = [0; 32];
    message[0] = kind;
    message[4] = if kind == 136 { 0x60 } else { 0 };
    message[8..24].copy_from_slice(&target);
    message[24..26].copy_from_slice(&[kind - 134, 1]);
    message[26..].copy_from_slice(&mac);
    message
}
