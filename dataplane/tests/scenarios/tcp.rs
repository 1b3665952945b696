//! T01–T25: TCP, and what part 1 says of flows that contradict themselves.

use crate::bed::frame::{ACK, FIN, Ip, PSH, RST, SYN, URG};
use crate::bed::network::{DB, TRUNK, WEB, open_bed};
use crate::bed::{Bed, Sent};
use classifier::reason::DropReason;
use dataplane::batch::FlowRole::{Established, Reply};

const PORTS: (u16, u16) = (4000, 443);
const BACK: (u16, u16) = (443, 4000);

fn out(flags: u8, numbers: (u32, u32), payload: &[u8]) -> Ip {
    Ip::tcp(WEB.v4(), DB.v4(), PORTS, flags, numbers, payload)
}

fn back(flags: u8, numbers: (u32, u32), payload: &[u8]) -> Ip {
    Ip::tcp(DB.v4(), WEB.v4(), BACK, flags, numbers, payload)
}

fn web(bed: &mut Bed, packet: &Ip) -> Sent {
    bed.send(TRUNK, packet.by(&WEB).bytes())
}

fn db(bed: &mut Bed, packet: &Ip) -> Sent {
    bed.send(TRUNK, packet.by(&DB).bytes())
}

/// A connection whose next octets are 101 of the opener and 501 of the responder.
fn established() -> Bed {
    let mut bed = open_bed();
    web(&mut bed, &out(SYN, (100, 0), b"")).opened();
    db(&mut bed, &back(SYN | ACK, (500, 101), b"")).followed(Reply);
    web(&mut bed, &out(ACK, (101, 501), b"")).followed(Established);
    bed
}

/// Sends every combination of flags that is not legal, with PSH and without, from both ends.
fn send_nonsense(mut bed: Bed) {
    let legal = [SYN, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];
    let mut sent = 0;
    for flags in (0..64).filter(|flags: &u8| !legal.contains(&(flags & !PSH))) {
        web(&mut bed, &out(flags, (101, 501), b"")).dropped(DropReason::TcpFlags);
        db(&mut bed, &back(flags, (501, 101), b"")).dropped(DropReason::TcpFlags);
        sent += 1;
    }
    assert_eq!(sent, 48, "the legal sets are eight, with PSH and without");
}

#[test]
fn t01_to_t12_nonsense_flags_of_a_new_flow_are_tcp_flags() {
    send_nonsense(open_bed());
}

#[test]
fn t01_to_t12_nonsense_flags_in_a_live_flow_are_tcp_flags_and_the_flow_lives() {
    let mut bed = established();
    web(&mut bed, &out(ACK, (101, 501), b"x")).followed(Established);
    send_nonsense(bed);
    let mut bed = established();
    web(&mut bed, &out(SYN | FIN, (101, 501), b"")).dropped(DropReason::TcpFlags);
    web(&mut bed, &out(ACK, (101, 501), b"still here")).followed(Established);
}

#[test]
fn t13_a_spoofed_syn_in_a_live_flow_is_forwarded_once_in_half_a_second_and_the_flow_lives() {
    let mut bed = established();
    web(&mut bed, &out(SYN, (9_000_000, 0), b"")).followed(Established);
    web(&mut bed, &out(SYN, (9_000_001, 0), b"")).dropped(DropReason::CtInvalid);
    bed.wait(std::time::Duration::from_millis(500));
    web(&mut bed, &out(SYN, (9_000_002, 0), b"")).followed(Established);
    web(&mut bed, &out(ACK, (101, 501), b"still here")).followed(Established);
    db(&mut bed, &back(SYN, (77, 0), b"")).dropped(DropReason::CtInvalid);
}

#[test]
fn t14_of_a_blind_sweep_of_resets_only_the_exact_one_closes() {
    let mut bed = established();
    for sequence in [0, 50_000_000, 3_000_000_000] {
        web(&mut bed, &out(RST, (sequence, 0), b"")).dropped(DropReason::CtInvalid);
    }
    web(&mut bed, &out(RST, (110, 0), b"")).followed(Established);
    web(&mut bed, &out(ACK, (101, 501), b"alive")).followed(Established);
    web(&mut bed, &out(RST, (106, 0), b"")).followed(Established);
    bed.wait(std::time::Duration::from_secs(11));
    bed.tick();
    assert_eq!(bed.engine.tracker().len(), 0, "the exact reset closed it, and ten seconds later it is gone");
}

#[test]
fn t15_blind_data_far_outside_the_window_is_ct_invalid() {
    let mut bed = established();
    web(&mut bed, &out(ACK, (50_000_000, 501), b"evil")).dropped(DropReason::CtInvalid);
    web(&mut bed, &out(ACK, (101, 50_000_000), b"evil")).dropped(DropReason::CtInvalid);
    web(&mut bed, &out(ACK, (101, 501), b"good")).followed(Established);
}

#[test]
fn t16_a_split_handshake_is_ct_invalid() {
    let mut bed = open_bed();
    web(&mut bed, &out(SYN, (100, 0), b"")).opened();
    db(&mut bed, &back(SYN, (500, 0), b"")).dropped(DropReason::CtInvalid);
}

#[test]
fn t17_data_in_a_syn_passes() {
    let mut bed = open_bed();
    web(&mut bed, &out(SYN, (100, 0), b"fast open")).opened();
    db(&mut bed, &back(SYN | ACK, (500, 110), b"")).followed(Reply);
}

#[test]
fn t20_an_urgent_pointer_leaves_as_it_came() {
    let mut bed = established();
    let urgent = out(ACK | URG, (101, 501), b"now").upper(18, &[0xab, 0xcd]);
    let sent = web(&mut bed, &urgent);
    assert_eq!(sent.followed(Established)[18 + 20 + 18..18 + 20 + 20], [0xab, 0xcd]);
}

#[test]
fn t23_port_0_is_malformed_l4() {
    let mut bed = open_bed();
    for ports in [(0, 443), (4000, 0), (0, 0)] {
        let tcp = Ip::tcp(WEB.v4(), DB.v4(), ports, SYN, (100, 0), b"");
        web(&mut bed, &tcp).dropped(DropReason::MalformedL4);
        web(&mut bed, &Ip::udp(WEB.v4(), DB.v4(), ports, b"x")).dropped(DropReason::MalformedL4);
        web(&mut bed, &Ip::udp(WEB.v6(), DB.v6(), ports, b"x")).dropped(DropReason::MalformedL4);
    }
}

#[test]
fn t25_a_reply_from_the_wrong_port_is_ct_invalid_unless_it_is_a_syn() {
    let mut bed = open_bed();
    web(&mut bed, &out(SYN, (100, 0), b"")).opened();
    let wrong = |flags| Ip::tcp(DB.v4(), WEB.v4(), (444, 4000), flags, (500, 101), b"");
    db(&mut bed, &wrong(SYN | ACK)).dropped(DropReason::CtInvalid);
    db(&mut bed, &wrong(SYN)).opened();
}

#[test]
fn without_a_flow_anything_but_a_syn_is_ct_invalid() {
    for flags in [ACK, SYN | ACK, RST, RST | ACK, FIN | ACK, ACK | PSH] {
        web(&mut open_bed(), &out(flags, (100, 7), b"")).dropped(DropReason::CtInvalid);
    }
}

#[test]
fn a_cut_off_or_inconsistent_header_is_malformed_l4() {
    let mut bed = open_bed();
    let syn = out(SYN, (100, 0), b"data");
    for offset in [0x00, 0x40, 0x70, 0xf0] {
        web(&mut bed, &syn.clone().upper(12, &[offset])).dropped(DropReason::MalformedL4);
    }
    web(&mut bed, &syn.clone().upper_raw(16, &[0, 0])).dropped(DropReason::MalformedL4);
    for length in [0, 8, 19] {
        web(&mut bed, &syn.clone().cut(0..length)).dropped(DropReason::MalformedL4);
    }
    let udp = Ip::udp(WEB.v4(), DB.v4(), PORTS, b"hello");
    web(&mut bed, &udp.clone().upper(4, &[0, 7])).dropped(DropReason::MalformedL4);
    web(&mut bed, &udp.clone().upper(4, &[0, 14])).dropped(DropReason::MalformedL4);
    web(&mut bed, &udp.upper_raw(8, b"j")).dropped(DropReason::MalformedL4);
}
