//! Up to 64 frames on their way through the pipeline, one lane each.
//!
//! A drop is data: a stage writes the lane's [`Outcome`] and clears its bit; later stages visit live lanes only.

use crate::arena::Frame;
use crate::network::{Hop, VlanIndex};
use classifier::addr::{PortId, VlanKey};
use classifier::decision::Would;
use classifier::flow::{Domain, End, FlowKey, Key, KeyKind};
use classifier::reason::DropReason;
use classifier::tables::ClassId;
use classifier::wire::Packet;
use conntrack::{FlowHash, RuleKey};
use std::net::{IpAddr, Ipv4Addr};

/// The VID in the control information of a tag (IEEE 802.1Q §9.6).
const VID: u16 = 0x0fff;
/// Most frames of a batch.
pub const LANES: usize = 64;

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on its way.
    Forward,
    /// It does not.
    Drop,
    /// It does not, and its sender is told.
    Reject,
    /// It was the gateway's own business.
    Local,
    /// It waits for a neighbor's MAC; its fate is told later.
    Waiting,
}

/// What a packet is to its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlowRole {
    /// It opened the flow.
    New,
    /// It goes in the opener's direction.
    Established,
    /// It goes the other way.
    Reply,
    /// It is an ICMP error about the flow.
    Related,
}

/// Where copies of a frame go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Out {
    /// Nowhere.
    Nowhere,
    /// To one VLAN.
    To(VlanKey),
    /// To the VLANs that [`Batch::flooded`] lists for the lane.
    Flooded,
}

/// What became of a frame, and why.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Outcome {
    /// What became of it.
    pub verdict: Verdict,
    /// Why it was dropped.
    pub reason: Option<DropReason>,
    /// The rule that decided its flow.
    pub rule: Option<RuleKey>,
    /// What would have happened, were it enforced.
    pub would: Option<Would>,
    /// What it is to its flow.
    pub flow: Option<FlowRole>,
    /// The classes of its source and destination, where policy was asked.
    pub classes: Option<(ClassId, ClassId)>,
    /// Where copies of it go.
    pub out: Out,
}

impl Outcome {
    /// Before anything is known.
    pub const UNDECIDED: Outcome = Outcome {
        verdict: Verdict::Forward,
        reason: None,
        rule: None,
        would: None,
        flow: None,
        classes: None,
        out: Out::Nowhere,
    };

    /// Dropped before policy was asked.
    #[must_use]
    pub const fn dropped(reason: DropReason) -> Outcome {
        Outcome { verdict: Verdict::Drop, reason: Some(reason), ..Outcome::UNDECIDED }
    }
}

/// Where a packet leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Egress {
    /// Routed: on this VLAN, by this neighbor.
    Routed(VlanIndex, IpAddr),
    /// Stitched: on this VLAN, where the destination MAC was last seen.
    Stitched(VlanIndex),
    /// Stitched: on every other VLAN of the stitch that allows it.
    Flood,
}

/// The way of a packet through the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    /// Where it came in.
    pub ingress: VlanIndex,
    /// Where it leaves, once that is known.
    pub egress: Egress,
}

impl Path {
    const NONE: Path = Path {
        ingress: VlanIndex(0),
        egress: Egress::Routed(VlanIndex(0), IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
    };
}

/// The key of a lane that no packet was in yet.
const NO_KEY: FlowKey = FlowKey::V4(Key {
    first: 0,
    second: 0,
    first_port: 0,
    second_port: 0,
    domain: Domain::ROUTED,
    protocol: 0,
    kind: KeyKind::Ports,
});

/// A batch of frames with what is known of them.
#[derive(Debug)]
pub struct Batch {
    frames: [Option<Frame>; LANES],
    /// How many lanes frames were put into.
    length: usize,
    /// Lanes that hold a frame, one bit each.
    held: u64,
    /// Lanes that are still to be judged, one bit each.
    live: u64,
    /// Lanes that go out without being judged.
    bypassed: u64,
    /// The port that each frame came in on.
    pub ports: [PortId; LANES],
    /// What the caller calls each frame; given back with outcomes that are told later.
    pub tags: [u64; LANES],
    /// The lanes whose frames passed by the short way, one bit each, and the control information of their tags.
    short: u64,
    pub(crate) controls: [u16; LANES],
    /// Each frame taken apart, unless it passed by the short way.
    pub packets: [Packet; LANES],
    /// Each frame's way.
    pub paths: [Path; LANES],
    /// What the routing table says of each packet's destination, on routed VLANs.
    pub(crate) hops: [Option<Hop>; LANES],
    /// Each packet's flow and the end of it that sent the packet; made and read by one stage.
    pub(crate) keys: [(FlowKey, End); LANES],
    /// The hash of each key.
    pub(crate) hashes: [FlowHash; LANES],
    /// What became of each frame.
    pub outcomes: [Outcome; LANES],
    /// Lane and VLAN of each copy of a flooded frame, in the order of the stitch.
    pub flooded: Vec<(u8, VlanKey)>,
}

impl Default for Batch {
    fn default() -> Self {
        Batch {
            frames: [const { None }; LANES],
            length: 0,
            held: 0,
            live: 0,
            bypassed: 0,
            ports: [PortId(0); LANES],
            tags: [0; LANES],
            short: 0,
            controls: [0; LANES],
            packets: [Packet::default(); LANES],
            paths: [Path::NONE; LANES],
            hops: [None; LANES],
            keys: [(NO_KEY, End::First); LANES],
            hashes: [FlowHash::V4(0); LANES],
            outcomes: [Outcome::UNDECIDED; LANES],
            flooded: Vec::with_capacity(LANES * 64),
        }
    }
}

impl Batch {
    /// How many frames it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Makes room for new frames. Every frame must have been taken out.
    pub fn clear(&mut self) {
        debug_assert!(self.held == 0, "a frame would leak");
        self.length = 0;
        self.flooded.clear();
        self.held = 0;
        self.live = 0;
        self.bypassed = 0;
        self.short = 0;
    }

    /// Adds a frame.
    ///
    /// # Panics
    /// Where the batch is full.
    pub fn push(&mut self, port: PortId, tag: u64, frame: Frame) {
        let lane = self.length;
        assert!(lane < LANES, "the batch is full");
        self.length += 1;
        self.frames[lane] = Some(frame);
        self.ports[lane] = port;
        self.tags[lane] = tag;
        self.outcomes[lane] = Outcome::UNDECIDED;
        self.held |= 1 << lane;
        self.live |= 1 << lane;
    }

    /// Makes it a batch of these frames, which came in on one port, and whose tags follow upon each other.
    ///
    /// # Panics
    /// Where they are more than a batch holds.
    pub fn refill(&mut self, port: PortId, first_tag: u64, frames: &mut Vec<Frame>) {
        self.clear();
        self.length = frames.len();
        assert!(self.length <= LANES, "the batch is full");
        let lanes = self.frames.iter_mut().zip(&mut self.tags).zip(&mut self.outcomes);
        for ((((place, tag), outcome), frame), number) in lanes.zip(frames.drain(..)).zip(first_tag..) {
            *place = Some(frame);
            *tag = number;
            *outcome = Outcome::UNDECIDED;
        }
        self.ports[..self.length].fill(port);
        self.held = self.all().0;
        self.live = self.held;
    }

    /// All lanes that frames were put into.
    #[inline]
    pub(crate) fn all(&self) -> Lanes {
        Lanes(1_u64.checked_shl(self.length as u32).unwrap_or(0).wrapping_sub(1))
    }

    /// The lanes that hold a frame.
    #[inline]
    pub(crate) fn held(&self) -> Lanes {
        Lanes(self.held)
    }

    /// Makes these the lanes that stages visit.
    #[inline]
    pub(crate) fn visit(&mut self, lanes: Lanes) {
        self.live = lanes.0;
        self.bypassed = 0;
    }

    /// The lanes that no stage has settled yet.
    #[must_use]
    #[inline]
    pub fn live(&self) -> Lanes {
        Lanes(self.live)
    }

    /// Lets a lane go out without being judged.
    #[inline]
    pub fn bypass(&mut self, lane: usize) {
        self.live &= !(1 << lane);
        self.bypassed |= 1 << lane;
    }

    /// The lanes that go out: judged and let through, or bypassed.
    #[must_use]
    #[inline]
    pub fn outgoing(&self) -> Lanes {
        Lanes(self.live | self.bypassed)
    }

    /// Whether a lane goes out without having been judged.
    #[must_use]
    #[inline]
    pub fn is_bypassed(&self, lane: usize) -> bool {
        self.bypassed & (1 << lane) != 0
    }

    /// The frame of a live lane.
    ///
    /// # Panics
    /// Where the frame was taken out.
    #[must_use]
    #[inline]
    pub fn frame(&self, lane: usize) -> &Frame {
        self.frames[lane].as_ref().expect("a live lane has its frame")
    }

    /// The frame of a lane, if there is such a lane and it has one.
    #[inline]
    pub(crate) fn frame_at(&self, lane: usize) -> Option<&Frame> {
        self.frames.get(lane)?.as_ref()
    }

    /// The frame of a live lane, to be changed.
    ///
    /// # Panics
    /// Where the frame was taken out.
    #[must_use]
    #[inline]
    pub fn frame_mut(&mut self, lane: usize) -> &mut Frame {
        self.frames[lane].as_mut().expect("a live lane has its frame")
    }

    /// Takes the frame out of its lane, which is settled by that.
    #[inline]
    pub fn take(&mut self, lane: usize) -> Option<Frame> {
        self.live &= !(1 << lane);
        self.held &= !(1 << lane);
        self.frames[lane].take()
    }

    /// Lends the frame out of its lane while the lane itself is written; [`Batch::restore`] puts it back.
    #[inline]
    pub fn lend(&mut self, lane: usize) -> Option<Frame> {
        self.frames[lane].take()
    }

    /// The VID that a lane's frame bore when it came in; 0 without a tag.
    #[must_use]
    pub fn vid(&self, lane: usize) -> u16 {
        if Lanes(self.short).has(lane) { self.controls[lane] & VID } else { self.packets[lane].link.vid() }
    }

    /// The frames of these lanes were lent for good, by the short way: the lanes are settled.
    #[inline]
    pub(crate) fn left(&mut self, lanes: Lanes) {
        self.short |= lanes.0;
        self.live &= !lanes.0;
        self.held &= !lanes.0;
    }

    /// Puts a lent frame back.
    #[inline]
    pub fn restore(&mut self, lane: usize, frame: Frame) {
        self.frames[lane] = Some(frame);
    }

    /// Settles a lane: no later stage visits it.
    #[inline]
    pub fn settle(&mut self, lane: usize, outcome: Outcome) {
        self.outcomes[lane] = outcome;
        self.live &= !(1 << lane);
    }

    /// Drops a lane for a reason, and leaves the rest of its outcome as it is.
    #[inline]
    pub fn discard(&mut self, lane: usize, reason: DropReason) {
        let outcome = &mut self.outcomes[lane];
        outcome.verdict = Verdict::Drop;
        outcome.reason = Some(reason);
        outcome.out = Out::Nowhere;
        self.live &= !(1 << lane);
    }

    /// The VLANs that copies of the lane's frame went to.
    pub fn flooded_from(&self, lane: usize) -> impl Iterator<Item = VlanKey> + '_ {
        self.flooded.iter().filter(move |(l, _)| usize::from(*l) == lane).map(|(_, vlan)| *vlan)
    }
}

/// An iterator over lanes, lowest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lanes(u64);

impl Lanes {
    /// One lane.
    #[inline]
    pub(crate) fn only(lane: usize) -> Lanes {
        Lanes(1 << lane)
    }

    /// Both these and others.
    #[inline]
    pub(crate) fn and(self, others: Lanes) -> Lanes {
        Lanes(self.0 | others.0)
    }

    /// Adds a lane.
    #[inline]
    pub(crate) fn add(&mut self, lane: usize) {
        self.0 |= 1 << lane;
    }

    /// Those that are among others too, and those that are not.
    #[inline]
    pub(crate) fn split(self, others: Lanes) -> (Lanes, Lanes) {
        (Lanes(self.0 & others.0), Lanes(self.0 & !others.0))
    }

    /// Whether a lane is among them.
    #[inline]
    pub(crate) fn has(self, lane: usize) -> bool {
        self.0 & (1 << lane) != 0
    }

    /// Whether there is none.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    #[inline]
    pub(crate) fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Those above a lane.
    #[inline]
    pub(crate) fn above(self, lane: usize) -> Lanes {
        Lanes(self.0 & (u64::MAX << lane << 1))
    }
}

impl Iterator for Lanes {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        // The mask tells the compiler what the number of bits tells us: no lane is out of bounds.
        let lane = self.0.trailing_zeros() as usize & (LANES - 1);
        self.0 &= self.0 - 1;
        Some(lane)
    }
}
