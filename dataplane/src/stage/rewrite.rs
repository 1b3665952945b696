//! The frame as it leaves: trimmed of padding, with the egress tag, and on a routed path with new MACs and a hop less.
//!
//! A tag is pushed or popped by moving the payload, since a frame always begins at the same place of its chunk.

use crate::arena::{Arena, Frame};
use classifier::addr::Mac;
use classifier::wire::link::{HEADER, TAG, ethertype};
use classifier::wire::{Kind, Packet};

/// Where both MACs end and the tag begins.
pub(super) const MACS: usize = 12;
/// Priority and drop eligibility in the tag control information (IEEE 802.1Q §9.6).
const PRIORITY: u16 = 0xf000;

/// Takes off a hop (RFC 1812 §5.3.1, RFC 8200 §3). The TTL is above 1.
#[inline]
pub(super) fn take_hop(arena: &Arena, frame: &mut Frame, packet: &Packet) {
    let at = usize::from(packet.link.payload);
    let bytes = arena.bytes_mut(frame);
    match packet.kind {
        Kind::Ipv4 | Kind::Ipv6 => take_hop_at(bytes, at, packet.kind == Kind::Ipv4),
        Kind::Arp | Kind::Other => {}
    }
}

/// The same for an IP packet that begins at a place of the frame.
#[inline(always)]
pub(super) fn take_hop_at(bytes: &mut [u8], at: usize, is_v4: bool) {
    if is_v4 {
        let field: &mut [u8; 4] = (&mut bytes[at + 8..at + 12]).try_into().expect("four bytes");
        // TTL, protocol and checksum, the first in the low byte. In a one's complement sum the bytes of all words may be
        // swapped (RFC 1071 §2 B): the word of the TTL is less by one here, so its complement is more by one, and
        // what comes out as all ones is zero, as in RFC 1624 §3.
        let old = u32::from_le_bytes(*field);
        let sum = (old >> 16) + 1;
        let sum = sum + u32::from(sum >= 0xffff);
        *field = (((old & 0xffff) - 1) | (sum << 16)).to_le_bytes();
    } else {
        bytes[at + 7] -= 1;
    }
}

/// Writes both MACs.
#[inline]
pub(super) fn set_macs(arena: &Arena, frame: &mut Frame, destination: Mac, source: Mac) {
    let bytes = arena.bytes_mut(frame);
    bytes[..6].copy_from_slice(&destination.0);
    bytes[6..MACS].copy_from_slice(&source.0);
}

/// Cuts off padding, which may hold anything (CVE-2003-0001), and gives the frame the tag of `vid`, or none for 0.
/// The priority is kept where there is a tag to keep it in. Whether the frame fits its chunk.
#[inline]
pub(super) fn retag(arena: &Arena, frame: &mut Frame, packet: &Packet, vid: u16) -> bool {
    let (end, has_tag) = (packet.end as usize, packet.link.tags > 0);
    if has_tag && vid != 0 {
        arena.set_length(frame, end);
        retag_at(arena.bytes_mut(frame), packet.link.control, vid);
        return true;
    }
    push_or_pop(arena, frame, end, has_tag, vid)
}

/// Gives a tag with that control information another VID.
#[inline(always)]
pub(super) fn retag_at(bytes: &mut [u8], control: u16, vid: u16) {
    bytes[MACS + 2..MACS + TAG].copy_from_slice(&(control & PRIORITY | vid).to_be_bytes());
}

/// Gives a frame whose IP packet ends at `end` a tag, or takes it, or cuts off its padding. Whether it fits.
pub(super) fn push_or_pop(arena: &Arena, frame: &mut Frame, end: usize, has_tag: bool, vid: u16) -> bool {
    let length = match (has_tag, vid != 0) {
        (false, true) => end + TAG,
        (true, false) => end - TAG,
        (true, true) | (false, false) => end,
    };
    if length > arena.layout().capacity {
        return false;
    }
    arena.set_length(frame, end.max(length));
    let bytes = arena.bytes_mut(frame);
    match (has_tag, vid != 0) {
        (false, true) => {
            bytes.copy_within(MACS..end, MACS + TAG);
            bytes[MACS..MACS + 2].copy_from_slice(&ethertype::VLAN.to_be_bytes());
            bytes[MACS + 2..MACS + TAG].copy_from_slice(&vid.to_be_bytes());
        }
        (true, false) => bytes.copy_within(MACS + TAG..end, MACS),
        (true, true) | (false, false) => {}
    }
    arena.set_length(frame, length);
    debug_assert!(length >= HEADER);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;

    fn frame_of(arena: &Arena, pool: &mut crate::arena::FramePool, bytes: &[u8]) -> Frame {
        let mut frame = pool.take().expect("a free frame");
        arena.set_length(&mut frame, bytes.len());
        arena.bytes_mut(&mut frame).copy_from_slice(bytes);
        frame
    }

    #[test]
    fn a_hop_less_changes_every_checksum_as_the_book_says() {
        for old in 0..=u16::MAX {
            let [high, low] = old.to_be_bytes();
            let mut header = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, high, low];
            take_hop_at(&mut header, 0, true);
            let new = u16::from_be_bytes([header[10], header[11]]);
            assert_eq!((header[8], header[9]), (63, 17));
            assert_eq!(new, classifier::wire::checksum::updated(old, 0x0100, 0), "{old:#x}");
        }
    }

    const MAC_BYTES: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    fn retagged(rest: &[u8], padding: usize, vid: u16) -> Vec<u8> {
        let (arena, mut pool) = Arena::on_heap(1, 64);
        let bytes = [&MAC_BYTES, rest, &vec![0xee; padding]].concat();
        let mut frame = frame_of(&arena, &mut pool, &bytes);
        let mut packet = Packet::parse(&bytes);
        packet.end = (bytes.len() - padding) as u32;
        assert!(retag(&arena, &mut frame, &packet, vid));
        arena.bytes(&frame)[12..].to_vec()
    }

    #[test]
    fn tags_are_pushed_popped_and_rewritten_with_their_priority() {
        let untagged = [0x08, 0x00, b'p', b'q'];
        let tagged = |high: u8, low: u8| [0x81, 0x00, high, low, 0x08, 0x00, b'p', b'q'];
        assert_eq!(retagged(&untagged, 0, 20), tagged(0, 20));
        assert_eq!(retagged(&tagged(0xe0, 10), 0, 20), tagged(0xe0, 20));
        assert_eq!(retagged(&tagged(0xe0, 10), 0, 0), untagged);
        assert_eq!(retagged(&untagged, 0, 0), untagged);
    }

    #[test]
    fn padding_never_leaves() {
        let untagged = [0x08, 0x00, b'p', b'q'];
        assert_eq!(retagged(&untagged, 20, 0), untagged);
        assert_eq!(retagged(&untagged, 20, 20).len(), 8);
        assert_eq!(retagged(&[0x81, 0, 0, 10, 0x08, 0, b'p'], 20, 0), [0x08, 0, b'p']);
    }

    #[test]
    fn a_frame_that_would_outgrow_its_chunk_is_refused() {
        let (arena, mut pool) = Arena::on_heap(1, 64);
        let bytes = [0_u8; 64];
        let mut frame = frame_of(&arena, &mut pool, &bytes);
        let packet = Packet::parse(&bytes);
        assert!(!retag(&arena, &mut frame, &packet, 10));
    }
}
