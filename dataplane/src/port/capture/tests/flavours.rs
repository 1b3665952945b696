//! Every flavour of both formats is read for what it says.

use super::made::{
    Options, Order, block, classic, enhanced, everything, frame, interface, obsolete, section, simple,
};
use super::{contents, read};
use crate::port::capture::{Fault, LinkType};

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;
const MODIFIED: u32 = 0xa1b2_cd34;

#[test]
fn classic_files_of_both_orders_and_all_magics_are_read() {
    for order in Order::BOTH {
        for (magic, unit) in [(MICROSECONDS, 1_000), (NANOSECONDS, 1), (MODIFIED, 1_000)] {
            let (a, b) = (frame(60, 1), frame(0, 2));
            let file = classic(order, magic, 1, &[(1_700_000_000, 123_456, 60, &a), (5, 6, 0, &b)]);
            let capture = read(file).unwrap_or_else(|e| panic!("{order:?} {magic:x}: {e}"));
            let expected =
                vec![(1_700_000_000_000_000_000 + 123_456 * unit, a), (5_000_000_000 + 6 * unit, b)];
            assert_eq!(contents(&capture), expected, "{order:?} {magic:x}");
            assert!(!capture.truncated());
        }
    }
}

#[test]
fn a_file_without_records_is_a_capture_of_nothing() {
    let capture = read(classic(Order::Little, MICROSECONDS, 1, &[])).unwrap();
    assert!(capture.is_empty() && !capture.truncated());
    let capture = read(section(Order::Big)).unwrap();
    assert!(capture.is_empty() && !capture.truncated());
}

#[test]
fn the_fcs_is_taken_off_where_a_classic_file_says_that_there_is_one() {
    let frame = frame(64, 1);
    // Two words of 16 bits, and the bit that says so.
    let file = classic(Order::Big, NANOSECONDS, 0x2400_0001, &[(0, 1, 64, &frame)]);
    assert_eq!(contents(&read(file).unwrap()), [(1, frame[..60].to_vec())]);
    // The same length without the bit says nothing.
    let file = classic(Order::Big, NANOSECONDS, 0x2000_0001, &[(0, 1, 64, &frame)]);
    assert_eq!(contents(&read(file).unwrap()), [(1, frame.clone())]);
    // Cut at the snap length: of 100 bytes 64 were captured, none of them FCS; of 66, two.
    let file = classic(Order::Big, NANOSECONDS, 0x2400_0001, &[(0, 1, 100, &frame), (0, 2, 66, &frame)]);
    assert_eq!(contents(&read(file).unwrap()), [(1, frame.clone()), (2, frame[..62].to_vec())]);
    // A frame shorter than its FCS is no frame at all, and not a panic.
    let file = classic(Order::Big, NANOSECONDS, 0xf400_0001, &[(0, 1, 3, &frame[..3])]);
    assert_eq!(contents(&read(file).unwrap()), [(1, vec![])]);
}

#[test]
fn the_fcs_is_taken_off_where_a_pcapng_file_says_that_there_is_one() {
    for order in Order::BOTH {
        let frame = frame(64, 1);
        let two = order.u32(2 << 5 | 1);
        let file = [
            section(order),
            interface(order, 1, 0, &[(9, &[9]), (13, &[4])]),
            interface(order, 1, 0, &[(9, &[9]), (13, &[32])]),
            interface(order, 1, 0, &[(9, &[9])]),
            enhanced(order, 0, 1, &frame, &[]),
            enhanced(order, 1, 2, &frame, &[]),
            enhanced(order, 2, 3, &frame, &[]),
            enhanced(order, 0, 4, &frame, &[(2, &two)]),
        ];
        let lengths: Vec<usize> = contents(&read(file.concat()).unwrap()).iter().map(|r| r.1.len()).collect();
        assert_eq!(lengths, [60, 60, 64, 62], "{order:?}");
    }
}

#[test]
fn all_packet_blocks_of_all_sections_are_read_in_their_byte_order() {
    let expected = vec![
        (1_000_000_001, frame(61, 1)),
        (1_000_000_002, frame(62, 2)),
        (1_000_000_002, frame(63, 3)),
        (2_000_000_000, frame(64, 4)),
    ];
    assert_eq!(contents(&read(everything()).unwrap()), expected);
}

#[test]
fn each_interface_has_its_own_resolution_and_offset() {
    for order in Order::BOTH {
        let offset = |seconds: i64| {
            let bytes = seconds.to_be_bytes();
            if order == Order::Big { bytes } else { seconds.to_le_bytes() }
        };
        let frame = frame(60, 9);
        let cases: [(Options<'_>, u64, u64); 9] = [
            (&[], 1_500_000, 1_500_000_000),
            (&[(9, &[0])], 3, 3_000_000_000),
            (&[(9, &[9])], 1_234_567_890_123, 1_234_567_890_123),
            (&[(9, &[12])], 1_999, 1),
            (&[(9, &[0x8a])], 1_536, 1_500_000_000),
            (&[(9, &[0xff])], u64::MAX, 0),
            (&[(9, &[127])], u64::MAX, 0),
            (&[(9, &[9]), (14, &offset(100))], 7, 100_000_000_007),
            (&[(9, &[9]), (14, &offset(-5))], 6_000_000_000, 1_000_000_000),
        ];
        let mut file = section(order);
        for (options, ..) in cases {
            file.extend(interface(order, 1, 0, options));
        }
        for (number, (_, units, _)) in cases.iter().enumerate() {
            file.extend(enhanced(order, number as u32, *units, &frame, &[]));
        }
        let stamps: Vec<u64> = contents(&read(file).unwrap()).iter().map(|r| r.0).collect();
        assert_eq!(stamps, cases.map(|c| c.2), "{order:?}");
    }
}

#[test]
fn times_before_the_epoch_and_after_the_last_tick_are_the_first_and_the_last() {
    let order = Order::Little;
    let file = [
        section(order),
        interface(order, 1, 0, &[(9, &[9]), (14, &(-5_i64).to_le_bytes())]),
        interface(order, 1, 0, &[(9, &[0])]),
        enhanced(order, 0, 6, &[1; 60], &[]),
        enhanced(order, 1, u64::MAX, &[1; 60], &[]),
    ];
    let stamps: Vec<u64> = contents(&read(file.concat()).unwrap()).iter().map(|r| r.0).collect();
    assert_eq!(stamps, [0, u64::MAX]);
}

#[test]
fn a_simple_packet_ends_at_the_snap_length() {
    let order = Order::Little;
    let bytes = frame(40, 1);
    let file = [section(order), interface(order, 1, 38, &[]), simple(order, 1_500, &bytes)];
    assert_eq!(contents(&read(file.concat()).unwrap()), [(0, bytes[..38].to_vec())]);
}

#[test]
fn other_link_types_are_refused_by_name() {
    let file = classic(Order::Little, MICROSECONDS, 113, &[(0, 0, 60, &frame(60, 0))]);
    let error = read(file).unwrap_err();
    assert_eq!(error.to_string(), "test.pcap: link type 113 (LINUX_SLL) is not Ethernet");
    assert!(matches!(error.fault(), Fault::LinkType(LinkType(113))));

    let order = Order::Big;
    let described = [section(order), interface(order, 1, 0, &[]), interface(order, 276, 0, &[])].concat();
    let used = [described.clone(), enhanced(order, 1, 0, &[0; 60], &[])].concat();
    assert!(read(described).is_ok(), "an interface without packets does no harm");
    let message = read(used).unwrap_err().to_string();
    assert_eq!(message, "test.pcap: link type 276 (LINUX_SLL2) is not Ethernet");
}

#[test]
fn the_interfaces_of_a_section_are_not_those_of_the_next() {
    let order = Order::Little;
    for packet in
        [enhanced(order, 0, 0, &[0; 60], &[]), obsolete(order, 0, 0, &[0; 60]), simple(order, 4, &[0; 4])]
    {
        let file = [section(order), interface(order, 1, 0, &[]), section(order), packet].concat();
        assert_eq!(damage_of(file), "a packet of an interface that was never described");
    }
}

/// Why no record could be read.
fn damage_of(file: Vec<u8>) -> &'static str {
    let capture = read(file).unwrap();
    assert!(capture.is_empty() && capture.truncated());
    capture.damage().expect("the file is damaged").what
}

#[test]
fn what_is_no_capture_is_refused_with_the_reason() {
    let cases: [(&[u8], &str); 8] = [
        (b"", "test.pcap: the file is empty"),
        (b"\x0a", "test.pcap: neither a pcap nor a pcapng file"),
        (b"#!/bin/sh\necho hello\n", "test.pcap: neither a pcap nor a pcapng file"),
        (&[0x1f, 0x8b, 8, 0, 0], "test.pcap: compressed with gzip: unpack it first"),
        (&[0xd4, 0xc3, 0xb2, 0xa1, 2], "test.pcap: damaged at byte 0: the file ends within its header"),
        (
            &[0x0a, 0x0d, 0x0d, 0x0a, 28],
            "test.pcap: damaged at byte 0: the file ends in the middle of a record",
        ),
        (
            &[
                0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 1, 2, 3, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 28, 0,
                0, 0,
            ],
            "test.pcap: damaged at byte 0: a section header without its byte-order magic",
        ),
        (
            &[0xa1, 0xb2, 0xc3, 0xd4, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            "test.pcap: damaged at byte 4: a pcap version other than 2",
        ),
    ];
    for (bytes, message) in cases {
        assert_eq!(read(bytes.to_vec()).unwrap_err().to_string(), message);
    }
}

#[test]
fn blocks_that_contradict_themselves_end_the_capture() {
    let order = Order::Little;
    let start = [section(order), interface(order, 1, 0, &[])].concat();
    let mut long = obsolete(order, 0, 0, &[0; 60]);
    long[20..24].copy_from_slice(&61_u32.to_le_bytes());
    let mut longer = enhanced(order, 0, 0, &[0; 60], &[]);
    longer[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut short = enhanced(order, 0, 0, &[0; 60], &[]);
    short[4..8].copy_from_slice(&8_u32.to_le_bytes());
    let mut two = block(order, 99, &[0; 8]);
    two[19] = 1;
    for (block, what) in [
        (long, "a packet that is longer than its block"),
        (longer, "an enhanced packet that can't be read"),
        (short, "a block of impossible length"),
        (two, "a block whose two lengths differ"),
        (block(order, 6, &[0; 4]), "an enhanced packet that can't be read"),
        (block(order, 3, &[]), "a simple packet that can't be read"),
        (block(order, 2, &[0; 16]), "a packet block that is too short"),
        (block(order, 1, &[]), "an interface description that can't be read"),
    ] {
        assert_eq!(damage_of([start.clone(), block].concat()), what);
    }
}
