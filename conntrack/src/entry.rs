//! An entry of the flow table: 96 bytes for IPv4, 128 for IPv6.
//!
//! ```text
//!  v4  v6
//!   0   0  key                       16 or 48 bytes
//!  16  48  deadline        u32       when the flow ends, in milliseconds modulo 2^32
//!  20  52  scheduled       u32       when the wheel looks at it; never after the deadline's tick
//!  24  56  epoch           u32       the policy that it was last judged under
//!  28  60  rule            u32       the rule that let it in; all ones: the default did
//!  32  64  packed          u32       idle timeout in seconds (20 bits) | state (4) | flags (8)
//!  36  68  opener's VLAN   u16
//!  38  70  responder's     u16       valid if the flag says so
//!  40  72  opener's MAC    6 bytes
//!  46  78  errors at       u16       when the current second of ICMP errors began, in ms modulo 2^16
//!  48  80  peers           48 bytes  what TCP or SCTP remembers
//!  96 128
//! ```

use crate::moment::{Moment, Span};
use crate::peers::{PASSED, Peers, Side};
use crate::state::{Class, State};
use crate::terms::{Epoch, RuleKey};
use crate::wheel::ShortTick;
use classifier::addr::{Mac, PortId, VlanKey};
use classifier::flow::{End, Key};

const NO_RULE: u32 = u32::MAX;
const STATE_SHIFT: u32 = 8;
const IDLE_SHIFT: u32 = 12;

/// The opener is the key's second end.
const OPENER_IS_SECOND: u32 = 1 << 0;
const _: () = assert!(End::First as u32 == 0 && End::Second as u32 == OPENER_IS_SECOND);
/// The responder's VLAN is known.
const RESPONDER_KNOWN: u32 = 1 << 1;
/// The flow was seen to work in both directions.
const ASSURED: u32 = 1 << 2;
/// Both sides sent a SYN at once.
const SIMULTANEOUS: u32 = 1 << 3;
/// Four bits of ICMP errors in the current second.
const ERRORS_SHIFT: u32 = 4;

/// An entry under a key with addresses of type `A`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Entry<A> {
    pub(crate) key: Key<A>,
    pub(crate) body: Body,
}

/// All of an entry but its key.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Body {
    /// When the flow ends.
    pub(crate) deadline: Moment,
    /// When the wheel looks at it.
    pub(crate) scheduled: ShortTick,
    epoch: Epoch,
    rule: u32,
    packed: u32,
    /// The opener's, then the responder's.
    vlans: [VlanKey; 2],
    opener_mac: Mac,
    /// When the current second of ICMP errors began.
    pub(crate) errors_at: u16,
    /// What TCP or SCTP remembers.
    pub(crate) peers: Peers,
}

const _: () = assert!(size_of::<Body>() == 80);
const _: () = assert!(size_of::<Entry<u32>>() == 96);
const _: () = assert!(size_of::<Entry<u128>>() == 128);

impl Body {
    /// An entry that was just let in; its deadline is to be set.
    pub(crate) fn new(opener: End, vlan: VlanKey, mac: Mac, state: State, peers: Peers) -> Body {
        let mut body = Body {
            deadline: Moment(0),
            scheduled: ShortTick(0),
            epoch: Epoch(0),
            rule: NO_RULE,
            packed: 0,
            vlans: [vlan, VlanKey::new(PortId(0), 0)],
            opener_mac: mac,
            errors_at: 0,
            peers,
        };
        body.set_flag(OPENER_IS_SECOND, opener == End::Second);
        body.set_state(state);
        body
    }

    #[inline]
    fn flag(&self, flag: u32) -> bool {
        self.packed & flag != 0
    }

    fn set_flag(&mut self, flag: u32, on: bool) {
        self.packed = if on { self.packed | flag } else { self.packed & !flag };
    }

    /// The end that opened the flow.
    pub(crate) fn opener(&self) -> End {
        if self.flag(OPENER_IS_SECOND) { End::Second } else { End::First }
    }

    /// Which side an end is.
    #[inline]
    pub(crate) fn side(&self, end: End) -> Side {
        if (self.packed & OPENER_IS_SECOND) == end as u32 { Side::Opener } else { Side::Responder }
    }

    /// The state.
    #[inline]
    pub(crate) fn state(&self) -> State {
        State::ALL[(self.packed >> STATE_SHIFT & 0xf) as usize]
    }

    /// Of a flow of TCP: whether it is established, and assured.
    #[inline]
    pub(crate) fn is_settled_connection(&self) -> bool {
        const SETTLED: u32 = (State::Established as u32) << STATE_SHIFT | ASSURED;
        self.packed & (0xf << STATE_SHIFT | ASSURED) == SETTLED
    }

    /// Changes the state.
    pub(crate) fn set_state(&mut self, state: State) {
        self.packed = self.packed & !(0xf << STATE_SHIFT) | (state as u32) << STATE_SHIFT;
    }

    /// Of a flow of UDP: whether both sides were heard.
    #[inline]
    pub(crate) fn is_answered(&self) -> bool {
        self.packed & 0xf << STATE_SHIFT == (State::TwoWay as u32) << STATE_SHIFT
    }

    /// What the flow is worth when the table is full.
    pub(crate) fn class(&self) -> Class {
        self.state().class(self.is_assured())
    }

    /// Whether the flow was seen to work in both directions.
    pub(crate) fn is_assured(&self) -> bool {
        self.flag(ASSURED)
    }

    /// Says whether the flow was seen to work in both directions.
    pub(crate) fn set_assured(&mut self, on: bool) {
        self.set_flag(ASSURED, on);
    }

    /// Whether both sides sent a SYN at once.
    pub(crate) fn is_simultaneous(&self) -> bool {
        self.flag(SIMULTANEOUS)
    }

    /// Says that both sides sent a SYN at once.
    pub(crate) fn set_simultaneous(&mut self) {
        self.set_flag(SIMULTANEOUS, true);
    }

    /// ICMP errors in the current second, at most fifteen.
    pub(crate) fn errors(&self) -> u32 {
        self.packed >> ERRORS_SHIFT & 0xf
    }

    /// Sets how many ICMP errors there were in the current second.
    pub(crate) fn set_errors(&mut self, count: u32) {
        self.packed = self.packed & !(0xf << ERRORS_SHIFT) | (count & 0xf) << ERRORS_SHIFT;
    }

    /// The timeout that the rule gives to a settled flow.
    #[inline]
    pub(crate) fn idle_timeout(&self) -> Option<Span> {
        let seconds = self.packed >> IDLE_SHIFT;
        (seconds != 0).then_some(Span(seconds * 1000))
    }

    /// Sets it, rounded up to whole seconds.
    pub(crate) fn set_idle_timeout(&mut self, span: Option<Span>) {
        // Ten days, the longest span, are 864,000 seconds: twenty bits.
        let seconds = span.map_or(0, |span| span.0.div_ceil(1000).max(1));
        self.packed = self.packed & ((1 << IDLE_SHIFT) - 1) | seconds << IDLE_SHIFT;
    }

    /// The policy that the flow was last judged under.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Sets it. What was found to pass before has to be found again.
    pub(crate) fn set_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.forget_passed();
    }

    /// Makes the epoch one that no current policy has, so that the flow is judged again.
    pub(crate) fn outdate(&mut self) {
        self.set_epoch(Epoch(self.epoch.0.wrapping_sub(1)));
    }

    /// Says that the flow is gone: whoever still remembers its slot must not find it there, although its key stands in
    /// it until another flow's does. No policy in force has this epoch.
    pub(crate) fn bury(&mut self) {
        self.epoch = Epoch(self.epoch.0.wrapping_sub(1));
    }

    /// Whether packets of a side are known to pass every check that hangs on addresses, ports, VLANs and policy
    /// alone, as long as that policy is the one in force.
    #[inline]
    pub(crate) fn has_passed(&self, side: Side) -> bool {
        self.peers.has(side, PASSED)
    }

    /// Says that they are.
    #[inline]
    pub(crate) fn set_passed(&mut self, side: Side) {
        self.peers.set(side, PASSED);
    }

    fn forget_passed(&mut self) {
        self.peers.clear(Side::Opener, PASSED);
        self.peers.clear(Side::Responder, PASSED);
    }

    /// The rule that let the flow in.
    pub(crate) fn rule(&self) -> Option<RuleKey> {
        (self.rule != NO_RULE).then_some(RuleKey(self.rule))
    }

    /// Sets it.
    pub(crate) fn set_rule(&mut self, rule: Option<RuleKey>) {
        self.rule = rule.map_or(NO_RULE, |rule| rule.0);
    }

    /// The VLAN of a side, where it is known.
    #[inline]
    pub(crate) fn vlan(&self, side: Side) -> Option<VlanKey> {
        match side {
            Side::Opener => Some(self.vlans[0]),
            Side::Responder => self.flag(RESPONDER_KNOWN).then_some(self.vlans[1]),
        }
    }

    /// Whether packets of a side are known to pass when they come by that VLAN, under the policy of that epoch
    /// ([`Body::set_passed`]).
    #[inline]
    pub(crate) fn lets_pass(&self, side: Side, vlan: VlanKey, epoch: Epoch) -> bool {
        // Nothing has passed while the side's VLAN was not known: `set_responder_vlan` sees to that.
        debug_assert!(!self.has_passed(side) || self.vlan(side).is_some());
        self.has_passed(side) && self.epoch == epoch && self.vlans[side as usize] == vlan
    }

    /// Sets the responder's VLAN.
    pub(crate) fn set_responder_vlan(&mut self, vlan: Option<VlanKey>) {
        self.forget_passed();
        self.set_flag(RESPONDER_KNOWN, vlan.is_some());
        self.vlans[1] = vlan.unwrap_or(VlanKey::new(PortId(0), 0));
    }

    /// The MAC that the opener's first packet came from.
    pub(crate) fn opener_mac(&self) -> Mac {
        self.opener_mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_packed_into_one_word_does_not_touch_its_neighbours() {
        let vlan = VlanKey::new(PortId(15), 4095);
        let mut body = Body::new(End::Second, vlan, Mac::BROADCAST, State::SctpClosed, Peers::default());
        body.set_idle_timeout(Some(Span::of(Duration::from_secs(864_000))));
        body.set_errors(10);
        body.set_responder_vlan(Some(vlan));
        body.set_assured(true);
        body.set_state(State::SynSent);
        assert_eq!(body.opener(), End::Second);
        assert_eq!(body.idle_timeout(), Some(Span(864_000_000)));
        assert_eq!(body.errors(), 10);
        assert_eq!(body.vlan(Side::Responder), Some(vlan));
        assert!(body.is_assured() && !body.is_simultaneous());
        assert_eq!(body.state(), State::SynSent);
        body.set_errors(0);
        body.set_idle_timeout(None);
        body.set_responder_vlan(None);
        assert_eq!((body.errors(), body.idle_timeout(), body.vlan(Side::Responder)), (0, None, None));
        assert_eq!(body.opener(), End::Second);
    }

    #[test]
    fn an_idle_timeout_of_part_of_a_second_is_a_second() {
        let vlan = VlanKey::new(PortId(0), 0);
        let mut body = Body::new(End::First, vlan, Mac::ZERO, State::OneWay, Peers::default());
        body.set_idle_timeout(Some(Span(1)));
        assert_eq!(body.idle_timeout(), Some(Span(1000)));
    }
}
