//! The short way of a segment of a connection that has settled: established, both sides heard and acknowledged, and nothing
//! out of the ordinary with either. It does what [`super::acknowledge`] does then, in a fraction of the steps, or leaves the
//! segment to it with nothing moved. A test holds the two against each other.

use super::options::highest_sack;
use super::sequence::{after, before};
use super::window::{LARGEST_WINDOW, LEAST_ACK_WINDOW};
use super::{count_repeats_of, is_repeated};
use crate::entry::Body;
use crate::moment::Span;
use crate::peers::{ACKED, ALT_CHALLENGE, LIBERAL, SACK, STRAYED, Side, UNACKED};
use crate::step::Rules;
use classifier::wire::TcpSegment;

/// What both sides have of these flags, in the order of [`crate::peers::Peers::flags`].
const LOOKED_AT: u16 = of_both(ACKED | LIBERAL | STRAYED);
const SETTLED: u16 = of_both(ACKED);

const fn of_both(flags: u8) -> u16 {
    u16::from_le_bytes([flags, flags])
}

/// Moves a settled connection by a segment with ACK and neither SYN, FIN nor RST that fits its windows; how long it may
/// be idle from now on. `None`: that has to be found out the long way, and nothing has moved.
#[inline]
pub(crate) fn acknowledge(
    rules: &Rules,
    body: &mut Body,
    side: Side,
    segment: &TcpSegment<'_>,
) -> Option<Span> {
    let is_settled = body.is_settled_connection()
        & (u16::from_le_bytes(body.peers.flags) & LOOKED_AT == SETTLED)
        & (body.peers.alt_flags & ALT_CHALLENGE == 0);
    if !is_settled {
        return None;
    }
    let other = side.other();
    let ack = segment.acknowledgment;
    let sack = if !segment.options.is_empty() && body.peers.has(other, SACK) {
        highest_sack(segment.options, ack)
    } else {
        ack
    };
    let window = u32::from(segment.window) << body.peers.scale(side);
    let (snd, rcv) = (body.peers.sides[side as usize], body.peers.sides[other as usize]);
    // Keep-alives and old acknowledgments carry nothing that could be out of the window.
    let (sequence, end) = match segment.payload_length {
        0 => (snd.end, snd.end),
        length => (segment.sequence, segment.sequence.wrapping_add(u32::from(length))),
    };
    // The four rules of `window`; what does not lie inside, or reaches over the edge, goes the long way.
    let fits = !after(sequence, snd.max_end)
        & !after(end, snd.max_end)
        & !before(end, snd.end.wrapping_sub(rcv.max_window))
        & !after(sack, rcv.end)
        & !before(sack, rcv.end.wrapping_sub(LEAST_ACK_WINDOW.max(snd.max_window)));
    if !fits {
        return None;
    }
    let offered = window.wrapping_add(sack.wrapping_sub(ack)).min(LARGEST_WINDOW);
    let sender = &mut body.peers.sides[side as usize];
    sender.max_window = snd.max_window.max(offered).max(1);
    sender.max_ack = if after(ack, snd.max_ack) { ack } else { snd.max_ack };
    let is_news = after(end, snd.end);
    sender.end = if is_news { end } else { snd.end };
    let granted = sack.wrapping_add(window.max(1));
    let receiver = &mut body.peers.sides[other as usize];
    receiver.max_end = if after(granted, rcv.max_end) { granted } else { rcv.max_end };
    let flags = &mut body.peers.flags;
    flags[side as usize] |= if is_news { UNACKED } else { 0 };
    flags[other as usize] &= if ack == rcv.end { !UNACKED } else { u8::MAX };
    let is_unacknowledged = (flags[0] | flags[1]) & UNACKED != 0;
    count_repeats_of(body, side, (sequence, end, ack), segment);
    let idle = rules.spans.established(body);
    let is_short = is_unacknowledged | is_repeated(body);
    Some(if is_short { idle.min(rules.spans.unacknowledged) } else { idle })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Moment;
    use crate::peers::{AltSyn, Peer, Peers};
    use crate::state::State;
    use crate::step::Step;
    use classifier::addr::{Mac, PortId, VlanKey};
    use classifier::flow::End;
    use classifier::wire::{TcpFlags, protocol};
    use proptest::prelude::*;

    /// Numbers near each other, so that most of what can be found of them is.
    fn near() -> impl Strategy<Value = u32> {
        prop_oneof![
            8 => (0_u32..3000).prop_map(|n| 0xffff_fa00_u32.wrapping_add(n)),
            1 => (0_u32..200_000).prop_map(|n| 0xffff_0000_u32.wrapping_add(n)),
            1 => any::<u32>(),
        ]
    }

    fn peer() -> impl Strategy<Value = Peer> {
        let window = prop_oneof![0..3000_u32, 0..200_000_u32, Just(LARGEST_WINDOW)];
        (near(), near(), window, near()).prop_map(|(end, max_end, max_window, max_ack)| Peer {
            end,
            max_end,
            max_window,
            max_ack,
        })
    }

    prop_compose! {
        fn body()(
            sides in [peer(), peer()],
            flags in prop_oneof![3 => Just([ACKED; 2]), 1 => any::<[u8; 2]>()],
            more in any::<[bool; 4]>(),
            (alt_flags, repeats, scales) in (prop_oneof![Just(0), any::<u8>()], any::<u16>(), prop_oneof![Just(0), any::<u8>()]),
            (is_established, is_assured, idle) in (prop::bool::weighted(0.9), prop::bool::weighted(0.9), 0_u32..3),
        ) -> Body {
            let mut peers = Peers { sides, flags, alt: AltSyn::default(), repeats, stray_at: 0, scales, alt_flags };
            for (at, is_set) in more.into_iter().enumerate() {
                let flag = if at < 2 { UNACKED } else { SACK };
                peers.flags[at % 2] |= if is_set { flag } else { 0 };
            }
            let state = if is_established { State::Established } else { State::FinWait };
            let mut body = Body::new(End::First, VlanKey::new(PortId(0), 1), Mac::ZERO, state, peers);
            body.set_assured(is_assured);
            body.set_idle_timeout((idle > 0).then_some(Span(idle * 200_000)));
            body.deadline = Moment(7);
            body
        }
    }

    fn options() -> impl Strategy<Value = Vec<u8>> {
        let sack = (near(), 0_u32..2000).prop_map(|(left, length)| {
            let mut bytes = vec![1, 1, 5, 10];
            bytes.extend(left.to_be_bytes());
            bytes.extend(left.wrapping_add(length).to_be_bytes());
            bytes
        });
        prop_oneof![Just(Vec::new()), Just(vec![1; 12]), sack]
    }

    fn look(body: &Body) -> (Peers, State, bool) {
        (body.peers, body.state(), body.is_assured())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn a_settled_connection_moves_as_it_does_the_long_way(
            before in body(),
            is_opener in any::<bool>(),
            (sequence, acknowledgment) in (near(), near()),
            window in prop_oneof![Just(0), 0..5_000_u16, any::<u16>()],
            payload_length in prop_oneof![Just(0), 0..2000_u16],
            options in options(),
            again in any::<bool>(),
        ) {
            let side = if is_opener { Side::Opener } else { Side::Responder };
            let rules = Rules::for_tests();
            let flags = TcpFlags(TcpFlags::ACK);
            let segment = TcpSegment { flags, sequence, acknowledgment, window, options: &options, payload_length };
            let (mut short, mut long) = (before, before);
            for _ in 0..=u8::from(again) {
                let untouched = look(&short);
                let found = acknowledge(&rules, &mut short, side, &segment);
                let Some(span) = found else {
                    prop_assert_eq!(look(&short), untouched);
                    return Ok(());
                };
                let step = super::super::acknowledge(&rules, &mut long, side, &segment);
                let Step::Update { at_most } = step else { panic!("{step:?}") };
                prop_assert_eq!(look(&short), look(&long));
                let idle = rules.spans.idle(protocol::TCP, &long);
                prop_assert_eq!(span, at_most.map_or(idle, |most| idle.min(most)));
            }
        }
    }

    #[test]
    fn an_ordinary_segment_takes_the_short_way() {
        let peer = Peer { end: 1000, max_end: 5000, max_window: 4000, max_ack: 1000 };
        let peers = Peers { sides: [peer; 2], flags: [ACKED; 2], ..Peers::default() };
        let mut body =
            Body::new(End::First, VlanKey::new(PortId(0), 1), Mac::ZERO, State::Established, peers);
        body.set_assured(true);
        let flags = TcpFlags(TcpFlags::ACK);
        let segment = TcpSegment {
            flags,
            sequence: 1000,
            acknowledgment: 1000,
            window: 4000,
            options: &[],
            payload_length: 100,
        };
        let rules = Rules::for_tests();
        assert!(acknowledge(&rules, &mut body, Side::Opener, &segment).is_some());
        assert_eq!(body.peers.side(Side::Opener).end, 1100);
    }
}
