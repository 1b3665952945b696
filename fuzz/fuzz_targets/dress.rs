//! Frames that a few bytes of input stand for: raw, or with a link header of the gateway's network and right checksums,
//! so that the fuzzer gets past them.

use crate::gateway::{self, FLOORS, ROUTED};
use classifier::wire::checksum::Sum;

/// The longest frame that is made of an input.
pub(crate) const LONGEST: usize = 2048;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const ARP_LENGTH: usize = 28;
/// Headers of IPv6 and TCP, options, and what a byte can say of a payload.
const LONGEST_BRIEF: usize = 40 + 20 + 12 + 256;
/// Ports of a rule that rejects, of one for few flows, of one that denies; the rest is allowed.
const PORTS: [u16; 8] = [80, 0x4001, 0x5001, 0x8000, 0x8001, 0x8002, 0x8003, 0x4002];
const NEAR_PORTS: [u16; 4] = [40_000, 40_001, 50_000, 60_000];
const FLAGS: [u8; 8] = [0x02, 0x10, 0x10, 0x18, 0x11, 0x12, 0x04, 0x14];
/// MSS, window scale 7, SACK permitted (RFC 9293 §3.2, RFC 7323 §2.2, RFC 2018 §2).
const OPTIONS: [u8; 12] = [2, 4, 5, 0xb4, 1, 3, 3, 7, 1, 1, 4, 2];

/// The packet that a short form stands for, with its ethertype. Addresses, lengths and sums come when it is dressed. Each
/// side's sequence numbers begin at a number of its own, so that a handshake is a matter of three frames.
fn write_brief<'a>(
    [link, _]: [u8; 2],
    content: &[u8],
    packet: &'a mut [u8; LONGEST_BRIEF],
) -> (u16, &'a [u8]) {
    let byte = |at: usize| content.get(at).copied().unwrap_or(0);
    let [what, how, sequence, acknowledged] = [byte(0), byte(1), byte(2), byte(3)];
    let (is_v6, is_tcp) = (what & 1 != 0, what & 2 != 0);
    let upper = if is_v6 { 40 } else { 20 };
    let (near, far) = (NEAR_PORTS[usize::from(what >> 2 & 3)], PORTS[usize::from(what >> 4 & 7)]);
    let (source, destination) = if what & 0x80 == 0 { (near, far) } else { (far, near) };
    let payload = content.get(4..).unwrap_or(&[]);
    let protocol = if is_tcp { 6 } else { 17 };
    if is_v6 {
        (packet[6], packet[7]) = (protocol, 64);
    } else {
        (packet[8], packet[9]) = (64, protocol);
    }
    packet[upper..upper + 2].copy_from_slice(&source.to_be_bytes());
    packet[upper + 2..upper + 4].copy_from_slice(&destination.to_be_bytes());
    let mut header = 8;
    if is_tcp {
        let flags = FLAGS[usize::from(how & 7)];
        let has_options = how & 0x80 != 0;
        header = if has_options { 32 } else { 20 };
        let starts = if link & 1 == 0 { [1000, 2000] } else { [2000, 1000] };
        let far_off = [0, 1 << 14, 70_000, 1 << 31];
        let number = |start: u32, more: u8, off: u8| {
            start.wrapping_add(u32::from(more)).wrapping_add(far_off[usize::from(off & 3)])
        };
        let numbers = [
            number(starts[0] + u32::from(flags & 2 == 0), sequence, how >> 3),
            number(starts[1] + 1, acknowledged, how >> 5),
        ];
        packet[upper + 4..upper + 8].copy_from_slice(&numbers[0].to_be_bytes());
        if flags & 0x10 != 0 {
            packet[upper + 8..upper + 12].copy_from_slice(&numbers[1].to_be_bytes());
        }
        (packet[upper + 12], packet[upper + 13]) = ((header / 4 << 4) as u8, flags);
        packet[upper + 14..upper + 16].copy_from_slice(&8192_u16.to_be_bytes());
        if has_options {
            packet[upper + 20..upper + 32].copy_from_slice(&OPTIONS);
        }
    }
    let start = upper + header;
    packet[start..start + payload.len()].copy_from_slice(payload);
    (if is_v6 { IPV6 } else { IPV4 }, &packet[..start + payload.len()])
}

/// A request or a reply of a host of the VLAN to the gateway (RFC 826).
fn write_arp<'a>([link, network]: [u8; 2], content: &[u8], packet: &'a mut [u8; LONGEST_BRIEF]) -> &'a [u8] {
    let (vlan, host, ..) = hosts(network, link);
    let is_reply = content.first().is_some_and(|first| first & 1 != 0);
    packet[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1 + u8::from(is_reply)]);
    packet[8..14].copy_from_slice(&source_mac(link));
    packet[14..18].copy_from_slice(&[10, 0, vlan, host]);
    packet[24..28].copy_from_slice(&[10, 0, vlan, 1]);
    &packet[..ARP_LENGTH]
}

fn source_mac(link: u8) -> [u8; 6] {
    [2, 0, 0, 0, 1, link & 7]
}

/// Writes the frame that some bytes stand for; its length.
pub(crate) fn dress(how: [u8; 2], content: &[u8], buffer: &mut [u8]) -> usize {
    let [link, network] = how;
    if link & 0x80 != 0 {
        buffer[..content.len()].copy_from_slice(content);
        return content.len();
    }
    let vlans = [ROUTED[0], ROUTED[1], FLOORS[0], FLOORS[1]];
    let vid = vlans[usize::from(link & 3)];
    let is_routed = link & 2 == 0;
    let to = match link >> 2 & 3 {
        0 if !is_routed => [2, 0, 0, 0, 0, 8 + (link >> 4 & 3)],
        3 => [0xff; 6],
        _ => gateway::MAC,
    };
    let kind = [IPV4, IPV4, IPV6, ARP][usize::from(network & 3)];
    // A short form, which is ordinary or nearly so: few bytes are flows that packets follow.
    let is_brief = network & 3 == 1 || kind == ARP && content.len() < ARP_LENGTH;
    let mut brief = [0; LONGEST_BRIEF];
    let (kind, content) = match is_brief {
        true if kind == ARP => (kind, write_arp(how, content, &mut brief)),
        true => write_brief(how, content, &mut brief),
        false => (kind, content),
    };
    buffer[..6].copy_from_slice(&to);
    buffer[6..12].copy_from_slice(&source_mac(link));
    buffer[12..14].copy_from_slice(&[0x81, 0]);
    buffer[14..16].copy_from_slice(&vid.to_be_bytes());
    buffer[16..18].copy_from_slice(&kind.to_be_bytes());
    let length = 18 + content.len();
    buffer[18..length].copy_from_slice(content);
    let packet = &mut buffer[18..length];
    match kind {
        IPV4 => dress_ipv4(network, link, packet),
        IPV6 => dress_ipv6(network, link, packet),
        _ => {}
    }
    length
}

/// Hosts of the network, this way or that.
fn hosts(network: u8, link: u8) -> (u8, u8, u8, u8) {
    let (from, to) = if link & 1 == 0 { (ROUTED[0], ROUTED[1]) } else { (ROUTED[1], ROUTED[0]) };
    let (near, far) = (2 + (network >> 6), 2 + (network >> 4 & 3));
    (from as u8, near, to as u8, far)
}

fn put_sum(bytes: &mut [u8], at: usize, sum: u16) {
    bytes[at..at + 2].copy_from_slice(&(!sum).to_be_bytes());
}

fn dress_ipv4(network: u8, link: u8, packet: &mut [u8]) {
    if packet.len() < 20 {
        return;
    }
    if network & 4 == 0 {
        let (from, near, to, far) = hosts(network, link);
        packet[0] = 0x45;
        let total = packet.len() as u16;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet[12..20].copy_from_slice(&[10, 0, from, near, 10, 0, to, far]);
    }
    if network & 8 == 0 {
        packet[10..12].fill(0);
        let header = (usize::from(packet[0] & 0xf) * 4).clamp(20, packet.len());
        let sum = Sum::ZERO.bytes(&packet[..header]).fold();
        put_sum(packet, 10, sum);
        let pseudo = Sum::ZERO.bytes(&packet[12..20]).bytes(&[0, packet[9]]);
        let (protocol, upper) = (packet[9], &mut packet[header..]);
        mend(protocol, pseudo, upper);
    }
}

fn dress_ipv6(network: u8, link: u8, packet: &mut [u8]) {
    if packet.len() < 40 {
        return;
    }
    if network & 4 == 0 {
        let (from, near, to, far) = hosts(network, link);
        packet[0] = 0x60;
        let length = packet.len() as u16 - 40;
        packet[4..6].copy_from_slice(&length.to_be_bytes());
        for (at, vlan, host) in [(8, from, near), (24, to, far)] {
            packet[at..at + 16].fill(0);
            (packet[at], packet[at + 3], packet[at + 15]) = (0xfd, vlan, host);
        }
    }
    if network & 8 == 0 {
        let protocol = packet[6];
        let pseudo = Sum::ZERO.bytes(&packet[8..40]).bytes(&[0, protocol]);
        mend(protocol, pseudo, &mut packet[40..]);
    }
}

/// Makes the checksum of a whole segment right.
fn mend(protocol: u8, pseudo: Sum, upper: &mut [u8]) {
    let (at, sum) = match protocol {
        6 => (16, pseudo),
        17 => (6, pseudo),
        58 => (2, pseudo),
        1 => (2, Sum::ZERO),
        _ => return,
    };
    if upper.len() < at + 2 {
        return;
    }
    if protocol == 17 {
        let length = upper.len() as u16;
        upper[4..6].copy_from_slice(&length.to_be_bytes());
    }
    upper[at..at + 2].fill(0);
    let length = (upper.len() as u16).to_be_bytes();
    let sum = if protocol == 1 { sum } else { sum.bytes(&length) };
    let sum = sum.bytes(upper).fold();
    put_sum(upper, at, sum);
}
