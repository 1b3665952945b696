//! A flow as it stands in a snapshot: 100 bytes for IPv4, 124 for IPv6.
//!
//! ```text
//!  v4   v6
//!   0    0  addresses, first and second    4 or 16 bytes each
//!   8   32  first port or identifier   2
//!  10   34  second port                2
//!  12   36  IP protocol                1
//!  13   37  kind of the key            1   0 ports, 1 echo, 2 timestamp, 3 information, 4 mask
//!  14   38  domain                     2   0 routed, else 1 + index of the stitch's name
//!  16   40  opener's port              2   index of its name
//!  18   42  opener's VID               2
//!  20   44  responder's port           2   all ones: not known
//!  22   46  responder's VID            2
//!  24   48  opener's MAC               6
//!  30   54  state                      1   as numbered in `State`
//!  31   55  flags                      1   1 the second end is the opener, 2 assured, 4 simultaneous open
//!  32   56  rule                       4   index of its id; all ones: the default
//!  36   60  idle timeout of the rule   4   seconds; 0: none
//!  40   64  time left                  4   ms
//!  44   68  age                        4   ms modulo 2^32
//!  48   72  opener's end, max_end, max_window, max_ack     16
//!  64   88  responder's                                    16
//!  80  104  second SYN: sequence 4, payload 2, window 2
//!  88  112  repeats                    2
//!  90  114  since the last stray SYN   2   ms modulo 2^16
//!  92  116  window scales              1   the opener's in the low four bits
//!  93  117  flags of the opener        1   1 scales, 2 SACK, 4 FIN, 8 unacknowledged, 16 liberal, 32 acked, 64 strayed
//!  94  118  flags of the responder     1
//!  95  119  flags of the second SYN    1
//!  96  120  CRC of the rest            4
//! ```
//!
//! SCTP has its verification tags in the two `end`s. This file is the one place where the memory of the table and
//! the bytes of a file are turned into one another. How many ICMP errors a flow had in the current second is not
//! kept.

use super::Skip;
use super::read::Translation;
use crate::entry::Body;
use crate::moment::{Moment, Span};
use crate::peers::{ALT_STAMPED, ALT_VALID, AltSyn, PASSED, Peer, Peers, Side};
use crate::state::State;
use crate::terms::{RuleKey, Terms};
use classifier::addr::{Mac, VlanKey};
use classifier::flow::{Domain, End, FlowKey, Key, KeyKind};
use classifier::wire::protocol;
use std::time::Duration;

const IS_SECOND: u8 = 1 << 0;
const ASSURED: u8 = 1 << 1;
const SIMULTANEOUS: u8 = 1 << 2;
const NO_PORT: u16 = u16::MAX;
const NO_RULE: u32 = u32::MAX;
/// The largest shift of a window (RFC 7323 §2.3).
const LARGEST_SCALE: u8 = 14;
const LARGEST_WINDOW: u32 = 65_535 << LARGEST_SCALE;
/// Where the age stands, counted from the record's end.
const AGE_FROM_END: usize = 56;

/// An address family, as records have it.
pub(super) trait Family: Copy + Ord {
    /// Bytes of an address.
    const BYTES: usize;
    /// Bytes of a record.
    const RECORD: usize = 2 * Self::BYTES + 92;
    fn put(self, out: &mut Vec<u8>);
    fn take(input: &mut Input<'_>) -> Self;
    fn wrap(key: Key<Self>) -> FlowKey;
}

impl Family for u32 {
    const BYTES: usize = 4;
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn take(input: &mut Input<'_>) -> u32 {
        u32::from_le_bytes(input.take())
    }
    fn wrap(key: Key<u32>) -> FlowKey {
        FlowKey::V4(key)
    }
}

impl Family for u128 {
    const BYTES: usize = 16;
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn take(input: &mut Input<'_>) -> u128 {
        u128::from_le_bytes(input.take())
    }
    fn wrap(key: Key<u128>) -> FlowKey {
        FlowKey::V6(key)
    }
}

/// The bytes of a record, front to back. Its length was checked before.
pub(super) struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self.0.split_first_chunk().expect("a record has all its fields");
        self.0 = rest;
        *bytes
    }
    fn u8(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }
    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }
}

/// A flow between two processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowRecord {
    key: FlowKey,
    opener: End,
    opener_vlan: VlanKey,
    responder_vlan: Option<VlanKey>,
    opener_mac: Mac,
    rule: Option<RuleKey>,
    state: State,
    is_assured: bool,
    is_simultaneous: bool,
    idle_timeout: Option<Span>,
    left: Span,
    age: u32,
    peers: Peers,
    /// What `peers.stray_at` is relative to, here and in the file: how long ago it was.
    stray_age: u16,
}

impl FlowRecord {
    /// A flow of the table.
    pub(crate) fn of(now: Moment, key: FlowKey, opened: Moment, body: &Body) -> FlowRecord {
        FlowRecord {
            key,
            opener: body.opener(),
            opener_vlan: body.vlan(Side::Opener).expect("the opener's VLAN is always known"),
            responder_vlan: body.vlan(Side::Responder),
            opener_mac: body.opener_mac(),
            rule: body.rule(),
            state: body.state(),
            is_assured: body.is_assured(),
            is_simultaneous: body.is_simultaneous(),
            idle_timeout: body.idle_timeout(),
            left: Span(body.deadline.from(now).max(0).cast_unsigned()),
            age: now.0.wrapping_sub(opened.0),
            peers: Peers { stray_at: 0, ..body.peers },
            // Truncation is the point: the stamp is modular.
            stray_age: if has_strayed(&body.peers) {
                (now.0 as u16).wrapping_sub(body.peers.stray_at)
            } else {
                0
            },
        }
    }

    /// The same flow in a table whose time is `now`, on the terms of the policy in force; and when it was opened.
    /// Its deadline is to be set.
    pub(crate) fn body(&self, now: Moment, terms: &Terms) -> (Body, Moment) {
        let stray_at = (now.0 as u16).wrapping_sub(self.stray_age);
        let peers = Peers { stray_at: if has_strayed(&self.peers) { stray_at } else { 0 }, ..self.peers };
        let mut body = Body::new(self.opener, self.opener_vlan, self.opener_mac, self.state, peers);
        body.set_assured(self.is_assured);
        if self.is_simultaneous {
            body.set_simultaneous();
        }
        body.set_responder_vlan(terms.responder_vlan);
        body.set_epoch(terms.epoch);
        body.set_rule(terms.rule);
        body.set_idle_timeout(terms.idle_timeout.map(Span::of));
        (body, Moment(now.0.wrapping_sub(self.age)))
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &FlowKey {
        &self.key
    }

    /// The end that opened the flow.
    #[must_use]
    pub fn opener(&self) -> End {
        self.opener
    }

    /// The VLAN of the opener.
    #[must_use]
    pub fn opener_vlan(&self) -> VlanKey {
        self.opener_vlan
    }

    /// The VLAN of the other end, where it was known.
    #[must_use]
    pub fn responder_vlan(&self) -> Option<VlanKey> {
        self.responder_vlan
    }

    /// The MAC that the first packet came from.
    #[must_use]
    pub fn opener_mac(&self) -> Mac {
        self.opener_mac
    }

    /// The rule that let the flow in, where a rule of that id is there now.
    #[must_use]
    pub fn rule(&self) -> Option<RuleKey> {
        self.rule
    }

    /// The idle timeout that the rule gave it.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout.map(|span| Duration::from_millis(u64::from(span.0)))
    }

    /// The space in which its addresses are unique.
    #[must_use]
    pub fn domain(&self) -> Domain {
        match self.key {
            FlowKey::V4(key) => key.domain,
            FlowKey::V6(key) => key.domain,
        }
    }

    /// What is left of its time.
    pub(crate) fn left(&self) -> Span {
        self.left
    }

    /// The flow after a time in which nothing was heard of it.
    ///
    /// # Errors
    /// [`Skip::Expired`].
    pub fn aged(&self, by: Duration) -> Result<FlowRecord, Skip> {
        let millis = u32::try_from(by.as_millis()).map_err(|_| Skip::Expired)?;
        let left = self.left.0.checked_sub(millis).filter(|left| *left > 0).ok_or(Skip::Expired)?;
        let stray_age = u16::try_from(u32::from(self.stray_age).saturating_add(millis)).unwrap_or(u16::MAX);
        Ok(FlowRecord { left: Span(left), age: self.age.saturating_add(millis), stray_age, ..*self })
    }

    /// Writes the record. The numbers of ports, stitches and rules are those of the process, in whose order the
    /// names are written.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        match self.key {
            FlowKey::V4(key) => put_key(key, out),
            FlowKey::V6(key) => put_key(key, out),
        }
        let vlan = |vlan: VlanKey| (u16::from(vlan.port().0), vlan.vid());
        for (port, vid) in [vlan(self.opener_vlan), self.responder_vlan.map_or((NO_PORT, 0), vlan)] {
            out.extend_from_slice(&port.to_le_bytes());
            out.extend_from_slice(&vid.to_le_bytes());
        }
        out.extend_from_slice(&self.opener_mac.0);
        out.push(self.state as u8);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        out.push(
            flag(self.opener == End::Second, IS_SECOND)
                | flag(self.is_assured, ASSURED)
                | flag(self.is_simultaneous, SIMULTANEOUS),
        );
        let idle_seconds = self.idle_timeout.map_or(0, |span| span.0 / 1000);
        for word in [self.rule.map_or(NO_RULE, |rule| rule.0), idle_seconds, self.left.0, self.age] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        put_peers(&self.peers, self.stray_age, out);
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Reads a record of the length of its family.
    pub(super) fn take<A: Family>(bytes: &[u8], names: &Translation) -> Result<FlowRecord, Skip> {
        let (content, crc) = bytes.split_last_chunk().ok_or(Skip::Missing)?;
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return Err(Skip::Damaged);
        }
        let mut input = Input(content);
        let (key, stitch) = take_key::<A>(&mut input)?;
        let opener_vlan = (input.u16(), input.u16());
        let responder_vlan = (input.u16(), input.u16());
        let opener_mac = Mac(input.take());
        let state = State::ALL.get(usize::from(input.u8())).copied().ok_or(Skip::Implausible)?;
        let flags = input.u8();
        let (rule, idle_seconds, left, age) = (input.u32(), input.u32(), input.u32(), input.u32());
        let (peers, stray_age) = take_peers(&mut input);
        if flags & !(IS_SECOND | ASSURED | SIMULTANEOUS) != 0
            || u64::from(idle_seconds) > crate::config::Timeouts::LIMIT.as_secs()
            || u128::from(left) > crate::config::Timeouts::LIMIT.as_millis()
            || !is_of(state, key.protocol)
            || !is_plausible(&peers, key.protocol)
        {
            return Err(Skip::Implausible);
        }
        let domain = names.domain(stitch)?;
        Ok(FlowRecord {
            key: A::wrap(Key { domain, ..key }),
            opener: if flags & IS_SECOND == 0 { End::First } else { End::Second },
            opener_vlan: names.vlan(opener_vlan.0, opener_vlan.1)?,
            responder_vlan: match responder_vlan {
                (NO_PORT, _) => None,
                (port, vid) => Some(names.vlan(port, vid)?),
            },
            opener_mac,
            rule: if rule == NO_RULE { None } else { names.rule(rule)? },
            state,
            is_assured: flags & ASSURED != 0,
            is_simultaneous: flags & SIMULTANEOUS != 0,
            idle_timeout: (idle_seconds > 0).then_some(Span(idle_seconds * 1000)),
            left: Span(left),
            age,
            peers,
            stray_age,
        })
    }
}

/// Whether the time of a stray SYN is kept.
fn has_strayed(peers: &Peers) -> bool {
    peers.alt_flags & (ALT_VALID | ALT_STAMPED) != 0
}

/// The age that stands in a record, right or wrong.
pub(super) fn age(record: &[u8]) -> u32 {
    let at = record.len() - AGE_FROM_END;
    u32::from_le_bytes(record[at..at + 4].try_into().expect("four bytes"))
}

fn put_key<A: Family>(key: Key<A>, out: &mut Vec<u8>) {
    key.first.put(out);
    key.second.put(out);
    out.extend_from_slice(&key.first_port.to_le_bytes());
    out.extend_from_slice(&key.second_port.to_le_bytes());
    out.push(key.protocol);
    out.push(key.kind as u8);
    out.extend_from_slice(&key.domain.0.to_le_bytes());
}

/// A key, still in the routed domain, and the domain that the file has for it.
fn take_key<A: Family>(input: &mut Input<'_>) -> Result<(Key<A>, u16), Skip> {
    let (first, second) = (A::take(input), A::take(input));
    let (first_port, second_port) = (input.u16(), input.u16());
    let (protocol, kind) = (input.u8(), input.u8());
    let kind = match kind {
        0 => KeyKind::Ports,
        1 => KeyKind::Echo,
        2 => KeyKind::Timestamp,
        3 => KeyKind::Information,
        4 => KeyKind::Mask,
        _ => return Err(Skip::Implausible),
    };
    let has_ports = matches!(protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    let is_icmp = matches!(protocol, protocol::ICMP | protocol::ICMPV6);
    let is_whole = match kind {
        KeyKind::Ports => {
            !is_icmp
                && (first, first_port) <= (second, second_port)
                && (has_ports || (first_port, second_port) == (0, 0))
        }
        KeyKind::Echo | KeyKind::Timestamp | KeyKind::Information | KeyKind::Mask => {
            is_icmp && second_port == 0
        }
    };
    if !is_whole {
        return Err(Skip::Implausible);
    }
    let key = Key { first, second, first_port, second_port, domain: Domain::ROUTED, protocol, kind };
    Ok((key, input.u16()))
}

fn put_peers(peers: &Peers, stray_age: u16, out: &mut Vec<u8>) {
    for side in &peers.sides {
        for word in [side.end, side.max_end, side.max_window, side.max_ack] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
    out.extend_from_slice(&peers.alt.sequence.to_le_bytes());
    for word in [peers.alt.length, peers.alt.window, peers.repeats, stray_age] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    // What the gateway knew of a side under the policy of then is not kept.
    let [opener, responder] = peers.flags.map(|flags| flags & !PASSED);
    out.extend_from_slice(&[peers.scales, opener, responder, peers.alt_flags]);
}

fn take_peers(input: &mut Input<'_>) -> (Peers, u16) {
    let sides = [(); 2].map(|()| Peer {
        end: input.u32(),
        max_end: input.u32(),
        max_window: input.u32(),
        max_ack: input.u32(),
    });
    let alt = AltSyn { sequence: input.u32(), length: input.u16(), window: input.u16() };
    let (repeats, stray_age) = (input.u16(), input.u16());
    let [scales, opener, responder, alt_flags] = input.take();
    (Peers { sides, alt, repeats, stray_at: 0, scales, flags: [opener, responder], alt_flags }, stray_age)
}

/// Whether flows of this protocol have this state.
fn is_of(state: State, ip_protocol: u8) -> bool {
    match state {
        State::SynSent
        | State::SimultaneousSyn
        | State::SynReceived
        | State::Established
        | State::FinWait
        | State::CloseWait
        | State::LastAck
        | State::TimeWait
        | State::Closed => ip_protocol == protocol::TCP,
        State::OneWay | State::TwoWay => !matches!(ip_protocol, protocol::TCP | protocol::SCTP),
        State::SctpInit
        | State::SctpEchoed
        | State::SctpEstablished
        | State::SctpShutdown
        | State::SctpClosed => ip_protocol == protocol::SCTP,
    }
}

/// Whether no window or scale is larger than there are.
fn is_plausible(peers: &Peers, ip_protocol: u8) -> bool {
    ip_protocol != protocol::TCP
        || (peers.sides.iter().all(|side| side.max_window <= LARGEST_WINDOW)
            && [Side::Opener, Side::Responder].iter().all(|side| peers.scale(*side) <= LARGEST_SCALE))
}
