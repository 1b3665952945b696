//! The Ethernet header and its tags (IEEE 802.3 §3, IEEE 802.1Q §9).

use crate::addr::Mac;

/// Ethertypes that the gateway knows.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// Customer VLAN tag (802.1Q).
    pub const VLAN: u16 = 0x8100;
    /// Service VLAN tag (802.1ad).
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// Service VLAN tag of older equipment.
    pub const OLD_SERVICE_VLAN: u16 = 0x9100;
}

/// Bytes of an Ethernet header without tags.
pub const HEADER: usize = 14;
/// Bytes of a tag.
pub const TAG: usize = 4;

/// Where a frame's link header ends and what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// How many tags of any kind.
    pub tags: u8,
    /// Whether the outermost tag is a customer tag (or there is none).
    pub is_customer: bool,
    /// The outermost tag's control information: priority, drop eligibility, VID. 0 without a tag.
    pub control: u16,
    /// The ethertype (or 802.3 length) behind all tags.
    pub ethertype: u16,
    /// Where the payload begins.
    pub payload: u16,
}

impl Link {
    /// The outermost tag's VID, 0 without a tag.
    #[must_use]
    #[inline]
    pub fn vid(&self) -> u16 {
        self.control & 0xfff
    }

    /// The link header of a frame; `None` where the frame ends inside it. What can be told of the VID all the
    /// same is given by [`vid_of_runt`].
    #[must_use]
    #[inline]
    pub fn parse(frame: &[u8]) -> Option<Link> {
        let kind = word(frame, 12)?;
        if !is_tag(kind) {
            return Some(Link {
                tags: 0,
                is_customer: true,
                control: 0,
                ethertype: kind,
                payload: HEADER as u16,
            });
        }
        let mut link = Link {
            tags: 1,
            is_customer: kind == ethertype::VLAN,
            control: word(frame, 14)?,
            ethertype: word(frame, 16)?,
            payload: (HEADER + TAG) as u16,
        };
        while is_tag(link.ethertype) {
            let next = usize::from(link.payload) + 2;
            link.ethertype = word(frame, next)?;
            link.tags = link.tags.saturating_add(1);
            link.payload = link.payload.checked_add(TAG as u16)?;
        }
        Some(link)
    }
}

/// The VID that a frame bears, as far as it goes: 0 where it has no tag or is cut off before it.
#[must_use]
pub fn vid_of_runt(frame: &[u8]) -> u16 {
    match (word(frame, 12), word(frame, 14)) {
        (Some(kind), Some(control)) if is_tag(kind) => control & 0xfff,
        (Some(_) | None, Some(_) | None) => 0,
    }
}

/// The destination MAC of a frame that has a whole Ethernet header.
#[must_use]
#[inline]
pub fn destination(frame: &[u8]) -> Mac {
    Mac(frame[..6].try_into().expect("six bytes"))
}

/// The source MAC of a frame that has a whole Ethernet header.
#[must_use]
#[inline]
pub fn source(frame: &[u8]) -> Mac {
    Mac(frame[6..12].try_into().expect("six bytes"))
}

#[inline]
fn word(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?))
}

#[inline]
const fn is_tag(kind: u16) -> bool {
    matches!(kind, ethertype::VLAN | ethertype::SERVICE_VLAN | ethertype::OLD_SERVICE_VLAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(rest: &[u8]) -> Vec<u8> {
        [&[0xff; 12], rest].concat()
    }

    #[test]
    fn an_untagged_frame_has_vid_zero() {
        let link = Link::parse(&frame(&[0x08, 0x00])).expect("whole");
        assert_eq!((link.tags, link.vid(), link.ethertype, link.payload), (0, 0, ethertype::IPV4, 14));
    }

    #[test]
    fn a_tag_gives_vid_and_priority() {
        let link = Link::parse(&frame(&[0x81, 0x00, 0xe0, 0x0a, 0x08, 0x06])).expect("whole");
        assert_eq!((link.tags, link.vid(), link.control >> 13, link.ethertype), (1, 10, 7, ethertype::ARP));
    }

    #[test]
    fn every_tag_is_counted_and_the_outermost_names_the_vlan() {
        let link = Link::parse(&frame(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 0x91, 0, 0, 7, 0x86, 0xdd]))
            .expect("whole");
        assert_eq!((link.tags, link.vid(), link.is_customer, link.payload), (3, 5, false, 26));
    }

    #[test]
    fn a_frame_that_ends_in_its_tag_is_a_runt_whose_vid_may_still_be_read() {
        for length in 0..18 {
            let whole = frame(&[0x81, 0x00, 0x00, 0x0a, 0x08, 0x00]);
            assert_eq!(Link::parse(&whole[..length]), None);
            assert_eq!(vid_of_runt(&whole[..length]), if length >= 16 { 10 } else { 0 });
        }
    }
}
