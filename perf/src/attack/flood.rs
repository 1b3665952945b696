//! The attacker's frames.

use super::Attack;
use super::frames::{ACK, From, ICMP, SYN, Segment, TCP, UDP};
use super::frames::{datagram, icmp, ip_header, packet, quoted_segment, segment};
use crate::workload::{Flow, Side};
use random::Random;

/// Addresses of a prefix that is in one segment in any case.
const BLOCK: u32 = 16;
/// A source that is in no VLAN: TEST-NET-2 (RFC 5737).
const OUTSIDE: u32 = 0xc633_6400;
/// More fragments follow.
const MORE: u16 = 0x2000;

/// Frames of one attack, without end.
pub(super) struct Flood<'a> {
    kind: Attack,
    /// What the policy allows: who may go where.
    allowed: &'a [Flow],
    established: &'a [Flow],
    random: Random,
}

impl<'a> Flood<'a> {
    pub(super) fn new(
        kind: Attack,
        allowed: &'a [Flow],
        established: &'a [Flow],
        random: Random,
    ) -> Flood<'a> {
        Flood { kind, allowed, established, random }
    }

    /// A flow that is not there: from a random host and port of a segment to where it may go; one time in ten from a
    /// host of no segment, and one time in ten from outside the VLAN.
    fn draw(&mut self) -> Flow {
        let like = *self.random.pick(self.allowed);
        let client = match self.random.below(10) {
            // The first 256 addresses of a VLAN are in no segment, and the first of them is the gateway's.
            0 => Side::CLIENTS.network + 2 + self.random.below(250),
            1 => OUTSIDE + self.random.below(256),
            _ => (like.client & !(BLOCK - 1)) + self.random.below(BLOCK),
        };
        Flow { client, source: 1_024 + self.random.below(64_512) as u16, ..like }
    }

    /// Writes the next frame.
    pub(super) fn write(&mut self, buffer: &mut [u8]) -> usize {
        let flow = self.draw();
        let addresses = (flow.client, flow.server);
        let ports = (flow.source, flow.destination);
        let at = (self.random.next() as u32 >> 8, self.random.next() as u32 >> 8);
        let lone = |flags| Segment { flow, from: From::Client, flags, data: 0, at };
        match self.kind {
            Attack::Syn => segment(buffer, &lone(SYN)),
            Attack::Ack => segment(buffer, &lone(ACK)),
            Attack::Udp => {
                packet(buffer, Side::CLIENTS, UDP, addresses, (0, 0), 22, |b| datagram(b, ports, addresses))
            }
            Attack::Fragment => {
                let id = self.random.next() as u16;
                if self.random.chance(50) {
                    let write = |b: &mut [u8]| datagram(b, ports, addresses);
                    packet(buffer, Side::CLIENTS, UDP, addresses, (id, MORE), 24, write)
                } else {
                    packet(buffer, Side::CLIENTS, UDP, addresses, (id, 185), 22, |_| {})
                }
            }
            Attack::IcmpError => self.error(buffer, flow),
        }
    }

    /// A port unreachable from the server's side; one time in four about an established connection.
    fn error(&mut self, buffer: &mut [u8], stranger: Flow) -> usize {
        let about = if self.random.chance(25) { *self.random.pick(self.established) } else { stranger };
        let router = Side::SERVERS.network + 256 + self.random.below(1 << 19);
        let sequence = self.random.next() as u32;
        packet(buffer, Side::SERVERS, ICMP, (router, about.client), (0, 0), 8 + 20 + 8, |bytes| {
            ip_header(&mut bytes[8..], TCP, about.client, about.server, 20, (0, 0));
            quoted_segment(&mut bytes[28..], (about.source, about.destination), sequence);
            icmp(bytes, 3, 3);
        })
    }
}
