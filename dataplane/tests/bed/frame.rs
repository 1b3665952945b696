//! Frames, sound at first, and then broken as a scenario asks. Checksums are computed here, by the book.

use super::network::Host;
use classifier::addr::Mac;
use std::net::IpAddr;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;
pub(crate) const URG: u8 = 32;

/// The one's complement of the one's complement sum (RFC 1071).
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// An IP packet: header, extension headers (IPv6), upper layer.
#[derive(Clone, Debug)]
pub(crate) struct Ip {
    header: Vec<u8>,
    between: Vec<u8>,
    upper: Vec<u8>,
    protocol: u8,
    source: IpAddr,
    destination: IpAddr,
}

impl Ip {
    /// A packet of any protocol.
    pub(crate) fn new(source: IpAddr, destination: IpAddr, protocol: u8, upper: Vec<u8>) -> Ip {
        let mut header = match source {
            IpAddr::V4(_) => vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0],
            IpAddr::V6(_) => vec![0x60, 0, 0, 0, 0, 0, protocol, 64],
        };
        header.extend(octets(source));
        header.extend(octets(destination));
        Ip { header, between: Vec::new(), upper, protocol, source, destination }.summed().sized()
    }

    pub(crate) fn udp(from: IpAddr, to: IpAddr, ports: (u16, u16), payload: &[u8]) -> Ip {
        let length = 8 + payload.len() as u16;
        let upper = [ports.0, ports.1, length, 0]
            .into_iter()
            .flat_map(|w| w.to_be_bytes())
            .chain(payload.iter().copied());
        Ip::new(from, to, 17, upper.collect())
    }

    /// A segment with a window of 8192.
    pub(crate) fn tcp(
        from: IpAddr,
        to: IpAddr,
        ports: (u16, u16),
        flags: u8,
        numbers: (u32, u32),
        payload: &[u8],
    ) -> Ip {
        let mut upper: Vec<u8> = [ports.0, ports.1].iter().flat_map(|w| w.to_be_bytes()).collect();
        upper.extend([numbers.0, numbers.1].iter().flat_map(|w| w.to_be_bytes()));
        upper.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
        upper.extend(payload);
        Ip::new(from, to, 6, upper)
    }

    /// An ICMP message of the family of the addresses; `rest` begins behind the checksum.
    pub(crate) fn icmp(from: IpAddr, to: IpAddr, kind: u8, code: u8, rest: &[u8]) -> Ip {
        let upper = [&[kind, code, 0, 0], rest].concat();
        Ip::new(from, to, if from.is_ipv4() { 1 } else { 58 }, upper)
    }

    /// An echo request.
    pub(crate) fn ping(from: IpAddr, to: IpAddr, identifier: u16) -> Ip {
        let [high, low] = identifier.to_be_bytes();
        Ip::icmp(from, to, if from.is_ipv4() { 8 } else { 128 }, 0, &[high, low, 0, 1, b'h', b'i'])
    }

    /// Overwrites bytes of the IP header, whose checksum is made right again.
    pub(crate) fn header(mut self, at: usize, bytes: &[u8]) -> Ip {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
        self.header_summed()
    }

    /// Overwrites bytes of the IP header, and nothing else.
    pub(crate) fn header_raw(mut self, at: usize, bytes: &[u8]) -> Ip {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Overwrites bytes of the upper layer, whose checksum is made right again.
    pub(crate) fn upper(mut self, at: usize, bytes: &[u8]) -> Ip {
        self.upper[at..at + bytes.len()].copy_from_slice(bytes);
        self.summed()
    }

    /// Overwrites bytes of the upper layer, and nothing else.
    pub(crate) fn upper_raw(mut self, at: usize, bytes: &[u8]) -> Ip {
        self.upper[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// TCP options, a multiple of four bytes; lengths and checksum are made right again.
    pub(crate) fn tcp_options(mut self, options: &[u8]) -> Ip {
        let payload = self.upper.split_off(20);
        self.upper.extend(options);
        self.upper[12] = ((self.upper.len() / 4) as u8) << 4;
        self.upper.extend(payload);
        self.summed().sized()
    }

    /// Another TTL or hop limit.
    pub(crate) fn ttl(self, ttl: u8) -> Ip {
        let at = if self.source.is_ipv4() { 8 } else { 7 };
        self.header(at, &[ttl])
    }

    /// IPv4 options, a multiple of four bytes.
    pub(crate) fn options(mut self, options: &[u8]) -> Ip {
        self.header.extend(options);
        self.header[0] = 0x40 | (self.header.len() / 4) as u8;
        self.sized()
    }

    /// Flags and offset of IPv4: flags in the upper three bits, the offset in units of eight bytes.
    pub(crate) fn fragment(self, flags_and_offset: u16) -> Ip {
        self.header(6, &flags_and_offset.to_be_bytes())
    }

    /// Only these bytes of the upper layer, as it stands: a fragment of the packet, say.
    pub(crate) fn cut(mut self, range: std::ops::Range<usize>) -> Ip {
        self.upper = self.upper[range].to_vec();
        self.sized()
    }

    /// An IPv6 extension header behind those that are there: its type, and its bytes from the length field on.
    pub(crate) fn extension(mut self, kind: u8, body: &[u8]) -> Ip {
        match self.between.len() {
            0 => self.header[6] = kind,
            // The last header's type stands where the one before it says what follows.
            _ => {
                let last = self.last_extension();
                self.between[last] = kind;
            }
        }
        self.between.push(self.protocol);
        self.between.extend(body);
        self.sized()
    }

    fn last_extension(&self) -> usize {
        let (mut at, mut kind) = (0, self.header[6]);
        loop {
            let length = if kind == 44 { 8 } else { (usize::from(self.between[at + 1]) + 1) * 8 };
            if at + length >= self.between.len() {
                return at;
            }
            kind = self.between[at];
            at += length;
        }
    }

    fn sized(mut self) -> Ip {
        let behind = self.between.len() + self.upper.len();
        match self.source {
            IpAddr::V4(_) => {
                let total = (self.header.len() + behind) as u16;
                self.header[2..4].copy_from_slice(&total.to_be_bytes());
            }
            IpAddr::V6(_) => self.header[4..6].copy_from_slice(&(behind as u16).to_be_bytes()),
        }
        self.header_summed()
    }

    fn header_summed(mut self) -> Ip {
        if self.source.is_ipv4() {
            self.header[10..12].fill(0);
            let sum = checksum(&[&self.header]);
            self.header[10..12].copy_from_slice(&sum);
        }
        self
    }

    fn summed(mut self) -> Ip {
        let at = match (self.protocol, self.source) {
            (6, _) => 16,
            (17, _) => 6,
            (1, IpAddr::V4(_)) | (58, IpAddr::V6(_)) => 2,
            _ => return self,
        };
        if self.upper.len() < at + 2 {
            return self;
        }
        self.upper[at..at + 2].fill(0);
        let length = (self.upper.len() as u32).to_be_bytes();
        let pseudo = [octets(self.source), octets(self.destination), length.to_vec(), vec![0, self.protocol]];
        let pseudo = if self.protocol == 1 { Vec::new() } else { pseudo.concat() };
        let sum = match checksum(&[&pseudo, &self.upper]) {
            [0, 0] if self.protocol == 17 => [0xff, 0xff],
            sum => sum,
        };
        self.upper[at..at + 2].copy_from_slice(&sum);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.header.as_slice(), &self.between, &self.upper].concat()
    }

    /// On the wire, from this host to the gateway.
    pub(crate) fn by(&self, host: &Host) -> Eth {
        self.between_macs(host, host.gateway())
    }

    /// On the wire, from this host to another MAC.
    pub(crate) fn between_macs(&self, host: &Host, to: Mac) -> Eth {
        let kind = if self.source.is_ipv4() { 0x0800 } else { 0x86dd };
        Eth::new(host, to, kind, self.bytes())
    }
}

/// A frame.
#[derive(Clone, Debug)]
pub(crate) struct Eth {
    pub(crate) to: Mac,
    pub(crate) from: Mac,
    /// Tags, outermost first: type and control information.
    pub(crate) tags: Vec<(u16, u16)>,
    pub(crate) kind: u16,
    pub(crate) payload: Vec<u8>,
}

impl Eth {
    pub(crate) fn new(host: &Host, to: Mac, kind: u16, payload: Vec<u8>) -> Eth {
        let tags = if host.vid == 0 { Vec::new() } else { vec![(0x8100, host.vid)] };
        Eth { to, from: host.mac, tags, kind, payload }
    }

    pub(crate) fn from(mut self, mac: Mac) -> Eth {
        self.from = mac;
        self
    }

    pub(crate) fn to(mut self, mac: Mac) -> Eth {
        self.to = mac;
        self
    }

    pub(crate) fn tags(mut self, tags: &[(u16, u16)]) -> Eth {
        self.tags = tags.to_vec();
        self
    }

    pub(crate) fn padded(mut self, padding: &[u8]) -> Eth {
        self.payload.extend(padding);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.to.0, self.from.0].concat();
        for (kind, control) in &self.tags {
            bytes.extend([kind.to_be_bytes(), control.to_be_bytes()].concat());
        }
        bytes.extend(self.kind.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }
}

/// An ARP packet for IPv4 over Ethernet, from this host; 1 asks, 2 answers.
pub(crate) fn arp(host: &Host, operation: u8, sender: IpAddr, target: IpAddr) -> Eth {
    let mut payload = vec![0, 1, 8, 0, 6, 4, 0, operation];
    payload.extend(host.mac.0);
    payload.extend(octets(sender));
    payload.extend([0; 6]);
    payload.extend(octets(target));
    Eth::new(host, Mac::BROADCAST, 0x0806, payload)
}

/// A neighbor message from this host: its type, flags, target and options.
pub(crate) fn nd(from: IpAddr, to: IpAddr, kind: u8, flags: u8, target: IpAddr, options: &[u8]) -> Ip {
    let rest = [[flags, 0, 0, 0].as_slice(), &octets(target), options].concat();
    Ip::icmp(from, to, kind, 0, &rest).ttl(255)
}

/// A link-layer address option of ND.
pub(crate) fn link_option(kind: u8, mac: Mac) -> Vec<u8> {
    [[kind, 1].as_slice(), &mac.0].concat()
}

impl Ip {
    /// Bytes of the upper layer.
    pub(crate) fn upper_length(&self) -> usize {
        self.upper.len()
    }
}
