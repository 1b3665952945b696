//! The packet parser against etherparse's checked slices: on packets that etherparse builds, on broken copies of
//! them, and on other people's captures.
//!
//! Two things are asked. What both read they read alike: addresses, protocol, ports, offsets, flags. And where the
//! packet parser finds nothing wrong, neither does etherparse, nor are the checksums that etherparse computes others.

mod random;

use classifier::wire::{Kind, Packet, Upper, link};
use etherparse::{
    Icmpv4Type, Icmpv6Type, LaxNetSlice, LaxSlicedPacket, NetSlice, PacketBuilder, SlicedPacket,
    TcpOptionElement, TransportSlice, VlanId,
};
use random::Random;
use std::net::IpAddr;
use std::path::Path;

const AUTHENTICATION: u8 = 51;
const IGMP: u8 = 2;
const MACSEC: u16 = 0x88e5;

/// Where etherparse looks into what the packet parser takes as a protocol like any other, or asks for more than a
/// gateway needs.
fn is_excepted(packet: &Packet, frame: &[u8]) -> bool {
    let upper = packet.upper_bytes(frame);
    match packet.kind {
        // It takes MACsec apart; here that is an ethertype that is not supported.
        Kind::Other => packet.link.ethertype == MACSEC,
        // ARP is read by a parser of its own, which is etherparse's.
        Kind::Arp => true,
        Kind::Ipv4 | Kind::Ipv6 => {
            // AH is an extension header to it, and an upper layer by TRACKING.md X15.
            packet.protocol == AUTHENTICATION
                // IGMP has lengths that it refuses; here it is a protocol without ports.
                || packet.protocol == IGMP
                // An ICMP timestamp has 20 bytes to it; here only the header must be whole.
                || (packet.protocol == 1 && matches!(upper.first(), Some(13 | 14)) && upper.len() != 20)
                // ICMP of the other family is a protocol without ports here.
                || matches!((packet.kind, packet.protocol), (Kind::Ipv4, 58) | (Kind::Ipv6, 1))
                // It walks the chain of a later fragment too, where there is none.
                || (packet.kind == Kind::Ipv6 && packet.is_later_fragment())
        }
    }
}

fn offset_in(frame: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - frame.as_ptr() as usize
}

/// Checks one frame; says what differs.
fn compare(frame: &[u8]) -> Result<bool, String> {
    let packet = Packet::parse(frame);
    let is_sound = packet.faults.is_empty();
    if is_sound && !is_excepted(&packet, frame) {
        let theirs =
            SlicedPacket::from_ethernet(frame).map_err(|error| format!("refused by etherparse: {error}"))?;
        checksums(&packet, &theirs)?;
    }
    if let Ok(theirs) = LaxSlicedPacket::from_ethernet(frame) {
        fields(frame, &packet, &theirs)?;
    }
    Ok(is_sound)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, theirs: T) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: {ours:?} here, {theirs:?} in etherparse")) }
}

fn fields(frame: &[u8], packet: &Packet, theirs: &LaxSlicedPacket<'_>) -> Result<(), String> {
    use classifier::reason::DropReason::{FragmentInvalid, Ipv6Extension, MalformedIp, Runt};
    if packet.link.ethertype == MACSEC {
        return Ok(());
    }
    // It knows at most three tags.
    if packet.link.tags < 3 && !packet.faults.has(Runt) {
        same("tags", usize::from(packet.link.tags), theirs.link_exts.len())?;
        if let Some(vid) = theirs.vlan_ids().first() {
            same("VID", packet.link.vid(), vid.value())?;
        }
    }
    if packet.faults.has(Runt) || packet.faults.has(MalformedIp) || packet.link.tags > 2 {
        return Ok(());
    }
    let (addresses, fragmented, payload, number) = match &theirs.net {
        Some(LaxNetSlice::Ipv4(ip)) => {
            let header = ip.header();
            same("TTL", packet.ttl, header.ttl())?;
            let offset = packet.fragment.map_or(0, |f| f.offset);
            same("fragment offset", offset, header.fragments_offset().value() * 8)?;
            same("more fragments", packet.fragment.is_some_and(|f| f.more), header.more_fragments())?;
            let addresses = (IpAddr::V4(header.source_addr()), IpAddr::V4(header.destination_addr()));
            (addresses, ip.is_payload_fragmented(), ip.payload().payload, ip.payload().ip_number.0)
        }
        Some(LaxNetSlice::Ipv6(ip)) => {
            let header = ip.header();
            same("hop limit", packet.ttl, header.hop_limit())?;
            let addresses = (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()));
            (addresses, ip.is_payload_fragmented(), ip.payload().payload, ip.payload().ip_number.0)
        }
        Some(LaxNetSlice::Arp(_)) => return same("kind", packet.kind, Kind::Arp),
        None => return Ok(()),
    };
    same("addresses", (packet.source(), packet.destination()), addresses)?;
    // A payload length of 0 is a jumbo payload to it, and means nothing here.
    let is_jumbo = packet.kind == Kind::Ipv6 && packet.ip_length() == 40;
    // A chain that is refused, or AH, is walked to another place.
    let is_refused = packet.faults.has(Ipv6Extension) || packet.faults.has(FragmentInvalid);
    if theirs.stop_err.is_some() || is_refused || is_jumbo || is_excepted(packet, frame) {
        return Ok(());
    }
    same("fragmented", packet.fragment.is_some(), fragmented)?;
    same("protocol", packet.protocol, number)?;
    same("upper layer", packet.upper_offset as usize, offset_in(frame, payload))?;
    same("upper length", usize::from(packet.upper_length), payload.len())?;
    same("end", packet.end as usize, offset_in(frame, payload) + payload.len())?;
    match &theirs.transport {
        Some(transport) => upper(packet, transport),
        None => Ok(()),
    }
}

fn upper(packet: &Packet, transport: &TransportSlice<'_>) -> Result<(), String> {
    let ports = (packet.source_port, packet.destination_port);
    match transport {
        TransportSlice::Tcp(tcp) => {
            let bits =
                [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack(), tcp.urg(), tcp.ece(), tcp.cwr()];
            let flags = bits.iter().rev().fold(0, |flags, bit| flags << 1 | u8::from(*bit));
            same("TCP ports", ports, (tcp.source_port(), tcp.destination_port()))?;
            match packet.upper {
                Upper::Tcp(ours) => same("TCP flags", ours.0, flags),
                _ => Err(format!("TCP in etherparse, {:?} here", packet.upper)),
            }
        }
        TransportSlice::Udp(udp) => {
            same("UDP ports", ports, (udp.source_port(), udp.destination_port()))?;
            same("upper layer", packet.upper, Upper::Udp)
        }
        TransportSlice::Icmpv4(icmp) => {
            same("ICMP", packet.destination_port, u16::from_be_bytes([icmp.type_u8(), icmp.code_u8()]))?;
            let is_query = matches!(icmp.type_u8(), 0 | 8 | 13..=18);
            same("ICMP query", matches!(packet.upper, Upper::IcmpQuery(_)), is_query)
        }
        TransportSlice::Icmpv6(icmp) => {
            same("ICMPv6", packet.destination_port, u16::from_be_bytes([icmp.type_u8(), icmp.code_u8()]))?;
            let is_echo = matches!(icmp.icmp_type(), Icmpv6Type::EchoRequest(_) | Icmpv6Type::EchoReply(_));
            // A code that is not 0 makes it no echo there, and a bad one here.
            let is_query = matches!(packet.upper, Upper::IcmpQuery(_)) && icmp.code_u8() == 0;
            same("ICMPv6 query", is_query, is_echo)
        }
        TransportSlice::Igmp(_) => Ok(()),
    }
}

/// A packet without faults has the checksums that etherparse computes.
fn checksums(packet: &Packet, theirs: &SlicedPacket<'_>) -> Result<(), String> {
    let (v4, v6) = match &theirs.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().to_header();
            same("header checksum", ip.header().header_checksum(), header.calc_header_checksum())?;
            (Some((header.source, header.destination)), None)
        }
        Some(NetSlice::Ipv6(ip)) => (None, Some((ip.header().source(), ip.header().destination()))),
        Some(NetSlice::Arp(_)) | None => return Ok(()),
    };
    let expected = match (&theirs.transport, v4, v6) {
        (Some(TransportSlice::Tcp(tcp)), Some((from, to)), _) => {
            (tcp.checksum(), tcp.calc_checksum_ipv4(from, to).ok())
        }
        (Some(TransportSlice::Tcp(tcp)), _, Some((from, to))) => {
            (tcp.checksum(), tcp.calc_checksum_ipv6(from, to).ok())
        }
        (Some(TransportSlice::Udp(udp)), Some((from, to)), _) if udp.checksum() != 0 => {
            (udp.checksum(), udp.to_header().calc_checksum_ipv4_raw(from, to, udp.payload()).ok())
        }
        (Some(TransportSlice::Udp(udp)), _, Some((from, to))) => {
            (udp.checksum(), udp.to_header().calc_checksum_ipv6_raw(from, to, udp.payload()).ok())
        }
        (Some(TransportSlice::Icmpv6(icmp)), _, Some((from, to))) => {
            return same("ICMPv6 checksum is right", icmp.is_checksum_valid(from, to), true);
        }
        _ => return Ok(()),
    };
    // Both zeros of one's complement are the same sum; a sender may write either.
    let plain = |sum: u16| if sum == u16::MAX { 0 } else { sum };
    same(&format!("checksum of {packet:?}"), Some(plain(expected.0)), expected.1.map(plain))
}

/// A packet that etherparse builds.
fn build(random: &mut Random) -> Vec<u8> {
    let mac = |random: &mut Random| [2, 0, 0, 0, 0, random.word() as u8];
    let payload: Vec<u8> = (0..random.below(80)).map(|_| random.word() as u8).collect();
    let base = PacketBuilder::ethernet2(mac(random), mac(random));
    let vid = |random: &mut Random| VlanId::try_new(random.below(4096) as u16).unwrap();
    let (v4, ttl) = (random.once_in(2), random.word() as u8);
    let address = |random: &mut Random| (10 << 24 | random.word() as u32 & 0xff_ffff).to_be_bytes();
    let long = |random: &mut Random| (0xfd << 120 | u128::from(random.word())).to_be_bytes();
    let ip = match (random.below(4), v4) {
        (0, true) => base.single_vlan(vid(random)).ipv4(address(random), address(random), ttl),
        (0, false) => base.single_vlan(vid(random)).ipv6(long(random), long(random), ttl),
        (1, true) if random.once_in(4) => {
            base.double_vlan(vid(random), vid(random)).ipv4(address(random), address(random), ttl)
        }
        (_, true) => base.ipv4(address(random), address(random), ttl),
        (_, false) => base.ipv6(long(random), long(random), ttl),
    };
    let mut frame = Vec::new();
    let (sport, dport) = (random.word() as u16, random.word() as u16);
    let written = match random.below(4) {
        0 => {
            let mut tcp = ip.tcp(sport, dport, random.word() as u32, random.word() as u16);
            tcp = match random.below(6) {
                0 => tcp.syn(),
                1 => tcp.syn().ack(random.word() as u32),
                2 => tcp.rst(),
                3 => tcp.fin().ack(7).psh(),
                4 => tcp.ack(random.word() as u32).urg(9),
                _ => tcp.ack(1).ece().cwr(),
            };
            let options = [
                TcpOptionElement::MaximumSegmentSize(1460),
                TcpOptionElement::WindowScale(7),
                TcpOptionElement::SelectiveAcknowledgementPermitted,
                TcpOptionElement::Timestamp(1, 2),
            ];
            tcp.options(&options[..random.below(5)]).unwrap().write(&mut frame, &payload)
        }
        1 => ip.udp(sport, dport).write(&mut frame, &payload),
        _ if v4 => match random.below(3) {
            0 => ip.icmpv4_echo_request(sport, dport).write(&mut frame, &payload),
            1 => ip
                .icmpv4_raw(random.below(20) as u8, random.below(3) as u8, [1, 2, 3, 4])
                .write(&mut frame, &payload),
            _ => {
                let unreachable = etherparse::icmpv4::DestUnreachableHeader::Port;
                ip.icmpv4(Icmpv4Type::DestinationUnreachable(unreachable)).write(&mut frame, &payload)
            }
        },
        _ => match random.below(2) {
            0 => ip.icmpv6_echo_reply(sport, dport).write(&mut frame, &payload),
            _ => ip
                .icmpv6_raw(random.word() as u8, random.below(3) as u8, [1, 2, 3, 4])
                .write(&mut frame, &payload),
        },
    };
    written.expect("a vector takes all bytes");
    frame
}

/// Breaks a frame somewhere; most often its IPv4 header is summed again, so that what is behind it is looked at.
fn mutate(random: &mut Random, frame: &mut Vec<u8>) {
    const ODD: [u8; 12] = [0, 1, 2, 5, 6, 43, 44, 51, 58, 60, 0x7f, 0xff];
    for _ in 0..=random.below(3) {
        if frame.is_empty() {
            return;
        }
        let at = random.below(frame.len().min(90));
        match random.below(8) {
            0 | 1 => frame[at] = random.word() as u8,
            2 => frame[at] ^= 1 << random.below(8),
            3 | 4 => frame[at] = random.pick(&ODD),
            5 => frame.truncate(random.below(frame.len() + 1)),
            6 => frame.extend((0..random.below(20)).map(|at| at as u8)),
            _ => {
                let bytes = [random.pick(&ODD), random.below(3) as u8, 0, 0, 0, 0, 0, 0];
                frame.splice(at..at, bytes);
            }
        }
    }
    if !random.once_in(4) {
        sum_again(frame);
    }
}

fn sum_again(frame: &mut [u8]) {
    let Some(link) = link::Link::parse(frame) else { return };
    let ip = usize::from(link.payload);
    let Some(first) = frame.get(ip) else { return };
    let end = ip + usize::from(first & 15) * 4;
    if link.ethertype != 0x0800 || end < ip + 20 || frame.len() < end {
        return;
    }
    frame[ip + 10..ip + 12].fill(0);
    let words = frame[ip..end].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    frame[ip + 10..ip + 12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

fn must_agree(frame: &[u8], what: impl Fn() -> String) -> bool {
    match compare(frame) {
        Ok(is_sound) => is_sound,
        Err(difference) => {
            let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{}: {difference}\n{hex}\n{:?}", what(), Packet::parse(frame));
        }
    }
}

fn agree_on_mutations(seed: u64, frames: u32) {
    const COPIES: u32 = 50;
    let mut random = Random(seed);
    let (mut sound, mut sound_mutations) = (0, 0);
    let mut copy = Vec::new();
    for number in 0..frames {
        let frame = build(&mut random);
        sound += u32::from(must_agree(&frame, || format!("seed {seed:#x}, frame {number}")));
        for _ in 0..COPIES {
            copy.clone_from(&frame);
            mutate(&mut random, &mut copy);
            let is_sound = must_agree(&copy, || format!("seed {seed:#x}, a copy of frame {number}"));
            sound_mutations += u32::from(is_sound);
        }
    }
    println!("{sound} of {frames} frames and {sound_mutations} of {} copies are sound", frames * COPIES);
    assert!(sound > frames / 3 && sound_mutations > frames, "too few packets get through to prove anything");
}

#[test]
fn millions_of_broken_packets_are_read_alike() {
    agree_on_mutations(0x5eed_0001, 150_000);
}

#[test]
fn other_millions_of_broken_packets_are_read_alike() {
    agree_on_mutations(0x5eed_0002, 150_000);
}

/// The records of a classic little-endian or big-endian Ethernet capture, as far as they are whole.
fn records(file: &[u8]) -> Vec<&[u8]> {
    let is_little = matches!(file.get(..4), Some([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]));
    let is_big = matches!(file.get(..4), Some([0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d]));
    let word = |at: usize| {
        let bytes: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
        Some(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) } as usize)
    };
    let mut records = Vec::new();
    if !(is_little || is_big) || word(20).is_none_or(|link_type| link_type & 0xffff != 1) {
        return records;
    }
    let mut at = 24;
    while let Some(record) = word(at + 8).and_then(|length| file.get(at + 16..at + 16 + length)) {
        records.push(record);
        at += 16 + record.len();
    }
    records
}

#[test]
fn every_frame_of_the_corpus_is_read_alike_whole_and_broken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|f| f.join("shared/pcaps"))
        .find(|f| f.exists());
    let Some(folder) = folder else {
        eprintln!("skipped: there is no shared/pcaps beside the project");
        return;
    };
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut random = Random(0x5eed_0003);
    let (mut frames, mut sound) = (0, 0);
    for path in paths {
        let file = std::fs::read(&path).unwrap();
        for (number, record) in records(&file).into_iter().enumerate() {
            let what = || format!("{}, frame {}", path.display(), number + 1);
            sound += u32::from(must_agree(record, what));
            frames += 1;
            for _ in 0..10 {
                let mut copy = record.to_vec();
                mutate(&mut random, &mut copy);
                must_agree(&copy, what);
            }
        }
    }
    println!("{sound} of {frames} frames are sound");
    assert!(frames > 20_000 && sound > frames / 2, "{sound} of {frames}");
}
