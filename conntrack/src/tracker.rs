//! The connection tracker: what each packet gets.
//!
//! ```text
//!  track --+-- ICMP error ------------------> related? ---------------> Related | Drop
//!          |
//!          +-- flow known, not expired --+-- on its side's VLAN? ------> Drop
//!          |                             +-- protocol's step ----------> Flow | Drop | New (takes its place)
//!          |
//!          +-- flow unknown -------------+-- may this packet begin one?-> New | Drop
//!
//!  New --> the caller asks the policy --> open
//! ```

mod admission;
mod beginning;
mod continuation;
mod express;
mod inspection;
mod ledger;
mod pressure;
mod snapshot;
mod timers;

use crate::config::Config;
use crate::entry::Body;
use crate::evict::Dice;
use crate::flood::Flood;
use crate::hash::FlowHash;
use crate::ledger::EndReason;
use crate::limits::{LimitShare, RuleCounts};
use crate::moment::Moment;
use crate::packet::{Opening, Packet, Relation, Tracked};
use crate::peers::Side;
use crate::related::{self, Unrelated};
use crate::statistics::Statistics;
use crate::step::{self, Rules, Step};
use crate::table::Table;
use crate::time::Tick;
use crate::timeouts::Spans;
use crate::view::FlowId;
use crate::{plain, sctp, tcp};
use classifier::addr::VlanKey;
use classifier::flow::FlowKey;
use classifier::reason::DropReason;
use classifier::wire::{Icmp, QuotedPacket, Transport};

/// The flow table of one worker, and the rules by which packets move it.
pub struct Tracker {
    v4: Table<u32>,
    v6: Table<u128>,
    rules: Rules,
    counts: RuleCounts,
    dice: Dice,
    flood: Flood,
    capacity: usize,
    now: Tick,
    swept: Tick,
    /// The flow that the last packet ended; it goes with the next call.
    ended: Option<FlowId>,
    statistics: Statistics,
}

impl Tracker {
    /// A tracker with the memory for `config.max_flows` flows, IPv4 and IPv6 together. `secret` keys the hash:
    /// it is to be drawn anew at every start. The first time that it is told begins the grace time of `pickup`.
    #[must_use]
    pub fn new(config: &Config, secret: [u8; 16]) -> Tracker {
        let capacity = config.max_flows as usize;
        Tracker {
            v4: Table::new(capacity, secret),
            v6: Table::new(capacity, secret),
            rules: Rules {
                spans: Spans::new(&config.timeouts),
                simultaneous_open: config.simultaneous_open,
                pickup: config.pickup,
                started: None,
            },
            counts: RuleCounts::default(),
            dice: Dice::new(secret),
            flood: Flood::new(capacity),
            capacity,
            now: Tick(0),
            swept: Tick(0),
            ended: None,
            statistics: Statistics::default(),
        }
    }

    /// Makes room to count the flows of the rules whose keys are below `count`. This allocates; it belongs
    /// before the first [`Tracker::open`] under a policy with such a rule. A rule with `max_flows` that no room
    /// was made for lets no flow in.
    pub fn reserve_rules(&mut self, count: usize) {
        self.counts.reserve(count);
    }

    /// From now on limits of rules are held against the flows of all workers. To be called before the first flow; it
    /// allocates.
    pub fn share_limits(&mut self, share: LimitShare) {
        self.counts.share(share);
    }

    /// The hash of a key in this tracker's table. Whoever looks a key up several times hashes it once.
    #[inline]
    #[must_use]
    pub fn hash(&self, key: &FlowKey) -> FlowHash {
        match key {
            FlowKey::V4(key) => FlowHash::V4(self.v4.hash(key)),
            FlowKey::V6(key) => FlowHash::V6(self.v6.hash(key)),
        }
    }

    /// Asks the CPU for the memory in which the flow of a key is looked up, so that a batch of packets waits
    /// for it once. First all keys of the batch, then [`Tracker::prefetch_entry`] for all, then the packets.
    #[inline]
    pub fn prefetch(&self, hash: FlowHash) {
        self.flood.prefetch(hash);
        match hash {
            FlowHash::V4(hash) => self.v4.prefetch_second(self.v4.prefetch(hash)),
            FlowHash::V6(hash) => self.v6.prefetch_second(self.v6.prefetch(hash)),
        }
    }

    /// Asks the CPU for the entry of a key, after [`Tracker::prefetch`].
    #[inline]
    pub fn prefetch_entry(&self, hash: FlowHash) {
        match hash {
            FlowHash::V4(hash) => self.v4.prefetch_entry(hash),
            FlowHash::V6(hash) => self.v6.prefetch_entry(hash),
        }
    }

    /// Judges a packet, and moves its flow as the rules say.
    pub fn track(&mut self, now: Tick, packet: &Packet<'_>) -> Tracked {
        self.track_hashed(now, packet, self.hash(&packet.key))
    }

    /// As [`Tracker::track`], with the hash of the packet's key.
    #[inline]
    pub fn track_hashed(&mut self, now: Tick, packet: &Packet<'_>, hash: FlowHash) -> Tracked {
        let now = self.clock(now);
        let tracked = match packet.transport {
            Transport::Icmp(Icmp::Error(quoted)) => self.track_error(now, packet.vlan, quoted),
            Transport::Icmp(Icmp::Other) => Tracked::Drop(DropReason::CtInvalid),
            Transport::Tcp(segment) if !segment.flags.are_legal() => Tracked::Drop(DropReason::TcpFlags),
            Transport::Tcp(_)
            | Transport::Udp
            | Transport::Icmp(Icmp::Query(_))
            | Transport::Sctp(_)
            | Transport::Other => match self.find_hashed(now, &packet.key, hash) {
                Some(flow) => self.track_known(now, flow, packet),
                None => self.track_unknown(now, packet),
            },
        };
        if let Tracked::Drop(DropReason::CtInvalid) = tracked {
            self.statistics.invalid += 1;
        }
        tracked
    }

    /// The live flow of a key. One that has expired is ended.
    fn find(&mut self, now: Tick, key: &FlowKey) -> Option<FlowId> {
        self.find_hashed(now, key, self.hash(key))
    }

    #[inline]
    fn find_hashed(&mut self, now: Tick, key: &FlowKey, hash: FlowHash) -> Option<FlowId> {
        let flow = match (key, hash) {
            (FlowKey::V4(key), FlowHash::V4(hash)) => FlowId::v4(self.v4.find(hash, key)?),
            (FlowKey::V6(key), FlowHash::V6(hash)) => FlowId::v6(self.v6.find(hash, key)?),
            (FlowKey::V4(_), FlowHash::V6(_)) | (FlowKey::V6(_), FlowHash::V4(_)) => return None,
        };
        if self.body(flow).deadline.has_come(Moment::of(now)) {
            self.end(flow, EndReason::Idle);
            self.statistics.expired += 1;
            return None;
        }
        Some(flow)
    }

    #[inline]
    fn body(&self, flow: FlowId) -> &Body {
        if flow.is_v6() { &self.v6.entry(flow.slot()).body } else { &self.v4.entry(flow.slot()).body }
    }

    #[inline]
    fn body_mut(&mut self, flow: FlowId) -> &mut Body {
        if flow.is_v6() { self.v6.body_mut(flow.slot()) } else { self.v4.body_mut(flow.slot()) }
    }

    fn track_error(&mut self, now: Tick, vlan: VlanKey, quoted: Option<QuotedPacket>) -> Tracked {
        const INVALID: Tracked = Tracked::Drop(DropReason::CtInvalid);
        let Some(quoted) = quoted else { return INVALID };
        let Some(flow) = self.find(now, &quoted.key) else { return INVALID };
        match related::judge(Moment::of(now), self.body_mut(flow), vlan, &quoted) {
            Ok(()) => Tracked::Related { flow },
            Err(Unrelated::Mismatch) => INVALID,
            Err(Unrelated::Limited) => {
                self.statistics.errors_limited += 1;
                INVALID
            }
        }
    }

    fn track_unknown(&mut self, now: Tick, packet: &Packet<'_>) -> Tracked {
        let opening = match packet.transport {
            Transport::Tcp(segment) => tcp::open(&self.rules, now, packet, &segment),
            Transport::Sctp(chunks) => sctp::open(packet, &chunks).ok_or(DropReason::CtInvalid),
            Transport::Udp | Transport::Icmp(_) | Transport::Other => {
                plain::open(packet).ok_or(DropReason::CtInvalid)
            }
        };
        opening.map_or_else(Tracked::Drop, Tracked::New)
    }

    fn track_known(&mut self, now: Tick, flow: FlowId, packet: &Packet<'_>) -> Tracked {
        let Tracker { v4, v6, rules, .. } = self;
        let (side, step) = if flow.is_v6() {
            step::apply(v6, flow.slot(), rules, now, packet)
        } else {
            step::apply(v4, flow.slot(), rules, now, packet)
        };
        let relation = match side {
            Side::Opener => Relation::Established,
            Side::Responder => Relation::Reply,
        };
        match step {
            Step::Drop(reason) => Tracked::Drop(reason),
            Step::DropAndShorten(_) => Tracked::Drop(DropReason::CtInvalid),
            Step::Limited => {
                self.statistics.stray_syns_limited += 1;
                Tracked::Drop(DropReason::CtInvalid)
            }
            Step::End => {
                self.ended = Some(flow);
                Tracked::Flow { flow, relation }
            }
            Step::Hold | Step::Update { .. } => Tracked::Flow { flow, relation },
            Step::Replace(opening) => Tracked::New(Opening { replaces: true, ..opening }),
        }
    }

    /// Ends a flow.
    pub fn remove(&mut self, flow: FlowId) {
        if self.ended == Some(flow) {
            self.ended = None;
        }
        self.end(flow, EndReason::Forced);
        self.statistics.removed += 1;
    }

    fn end(&mut self, flow: FlowId, why: EndReason) {
        self.counts.subtract(self.body(flow).rule());
        if flow.is_v6() {
            self.v6.remove(flow.slot(), why);
        } else {
            self.v4.remove(flow.slot(), why);
        }
    }
}

pub use beginning::Beginning;
pub use express::{Entrance, Family, Settled};

#[cfg(test)]
mod tests;
