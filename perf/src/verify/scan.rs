//! The linear scan again, of those rules alone whose ends fit: fast enough for millions of packets.
//!
//! ```text
//! source address ──► run ──► sets that it is in ──┐
//!                                                 ├─► (set, set) ──► rules ──► by rank, tier by tier ──► judgement
//! destination    ──► run ──► sets that it is in ──┘
//! ```
//!
//! The space of addresses is cut wherever a range of the policy begins or ends, so within a *run* all addresses are
//! in the same sets. What a segment or a set holds is a plain list of runs, by union and difference. Rules are
//! found by their two sets, and then looked at one by one, as [`Reference`] looks at all.
//!
//! Nothing of the compiler is used. [`Reference`] stays what defines the answer: this is held against it, too.
//!
//! [`Reference`]: classifier::reference::Reference

use classifier::addr::IpRange;
use classifier::decision::Judgement;
use classifier::endpoint::ServicePacket;
use classifier::policy::{
    Action, EndpointSet, Member, Mode, Policy, Rule, RuleId, SegmentId, Selector, TierId, Timestamp,
};
use classifier::reference::evaluation_order;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;

/// The set of all endpoints.
const ANY: u32 = 0;

/// One service of a rule.
#[derive(Clone, Copy, Debug)]
struct Line {
    rank: u32,
    protocols: (u8, u8),
    source: (u16, u16),
    destination: (u16, u16),
}

impl Line {
    fn matches(&self, packet: ServicePacket) -> bool {
        let ServicePacket { protocol, source_port, destination_port } = packet;
        let is_in = |(first, last): (u16, u16), port| first <= port && port <= last;
        self.protocols.0 <= protocol
            && protocol <= self.protocols.1
            && is_in(self.source, source_port)
            && is_in(self.destination, destination_port)
    }
}

/// A rule as the evaluation sees it.
#[derive(Clone, Copy, Debug)]
struct Ranked {
    id: RuleId,
    tier: TierId,
    mode: Mode,
    action: Action,
}

impl Ranked {
    fn decides(&self) -> bool {
        self.mode == Mode::Enforce && self.action != Action::Pass
    }
}

/// What is known of the addresses of a run.
#[derive(Clone, Debug, Default)]
struct Run {
    /// Sets that rules have as `from`.
    from: Vec<u32>,
    /// Sets that rules have as `to`.
    to: Vec<u32>,
    in_enforced: bool,
    in_monitored: bool,
}

/// A policy of addresses, at a moment.
#[derive(Debug)]
pub(crate) struct Scan {
    cuts: Cuts,
    runs: Vec<Run>,
    /// (`from`, `to`) → their part of `lines`.
    pairs: HashMap<u64, (u32, u32), BuildHasherDefault<Mix>>,
    /// In rank order within a pair.
    lines: Vec<Line>,
    ranked: Vec<Ranked>,
    has_passes: bool,
}

impl Scan {
    /// `None` where the policy speaks of VLANs or MACs.
    pub(crate) fn new(policy: &Policy, now: Timestamp) -> Option<Scan> {
        let cuts = Cuts::new(policy)?;
        let order = evaluation_order(policy, now);
        let mut space = Segments { policy, cuts: &cuts, known: vec![None; policy.segments().len()] };
        let mut runs = vec![Run { from: vec![ANY], to: vec![ANY], ..Run::default() }; cuts.len()];
        for (number, segment) in (0..).zip(policy.segments()) {
            for run in space.of_segment(SegmentId(number)) {
                match segment.mode {
                    Mode::Enforce => runs[run as usize].in_enforced = true,
                    Mode::Monitor => runs[run as usize].in_monitored = true,
                }
            }
        }
        let (mut from_sets, mut to_sets) = (Sets::default(), Sets::default());
        let mut by_pair: HashMap<(u32, u32), Vec<Line>> = HashMap::new();
        let mut ranked = Vec::new();
        for (rank, id) in (0..).zip(order) {
            let rule = policy.rule(id);
            let from = from_sets.number(&rule.from, &mut space, |run, set| runs[run].from.push(set));
            let to = to_sets.number(&rule.to, &mut space, |run, set| runs[run].to.push(set));
            by_pair.entry((from, to)).or_default().extend(lines(rule, rank));
            ranked.push(Ranked { id, tier: rule.tier, mode: rule.mode, action: rule.action });
        }
        let (mut pairs, mut lines) = (HashMap::default(), Vec::new());
        for ((from, to), own) in by_pair {
            let first = lines.len() as u32;
            lines.extend(own);
            pairs.insert(key(from, to), (first, lines.len() as u32));
        }
        let has_passes = ranked.iter().any(|rule| rule.mode == Mode::Enforce && rule.action == Action::Pass);
        Some(Scan { cuts, runs, pairs, lines, ranked, has_passes })
    }

    /// What the rules say, and whether the default is only recorded. `matching` is room to work in.
    pub(crate) fn judge(
        &self,
        source: IpAddr,
        destination: IpAddr,
        packet: ServicePacket,
        matching: &mut Vec<u32>,
    ) -> (Judgement, bool) {
        matching.clear();
        let (source, destination) = (self.run(source), self.run(destination));
        // Nothing behind a rule that decides counts, unless a pass may take that rule out.
        let mut end = u32::MAX;
        for from in &source.from {
            for to in &destination.to {
                let Some((first, last)) = self.pairs.get(&key(*from, *to)) else { continue };
                for line in &self.lines[*first as usize..*last as usize] {
                    if line.rank > end {
                        break;
                    }
                    if line.matches(packet) {
                        matching.push(line.rank);
                        if !self.has_passes && self.ranked[line.rank as usize].decides() {
                            end = line.rank;
                        }
                    }
                }
            }
        }
        matching.sort_unstable();
        (self.walk(matching), destination.in_monitored && !destination.in_enforced)
    }

    /// Evaluates rules that match, in rank order (POLICY.md §4).
    fn walk(&self, matching: &[u32]) -> Judgement {
        let (mut first_monitor, mut passed) = (None, None);
        for rank in matching {
            let rule = &self.ranked[*rank as usize];
            if passed == Some(rule.tier) {
                continue;
            }
            match (rule.mode, rule.action) {
                (Mode::Monitor, _) => first_monitor = first_monitor.or(Some(rule.id)),
                (Mode::Enforce, Action::Pass) => passed = Some(rule.tier),
                (Mode::Enforce, Action::Allow | Action::Deny | Action::Reject) => {
                    return Judgement { decided_by: Some(rule.id), first_monitor };
                }
            }
        }
        Judgement { decided_by: None, first_monitor }
    }

    fn run(&self, address: IpAddr) -> &Run {
        &self.runs[self.cuts.run(address) as usize]
    }
}

fn key(from: u32, to: u32) -> u64 {
    u64::from(from) << 32 | u64::from(to)
}

/// Spreads keys over a map, faster than what withstands an attacker (Knuth, The Art of Computer Programming 3, §6.4).
#[derive(Clone, Copy, Debug, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = (self.0.rotate_left(32) ^ key).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

fn lines(rule: &Rule, rank: u32) -> impl Iterator<Item = Line> + '_ {
    rule.services.iter().map(move |service| Line {
        rank,
        protocols: service.protocol.map_or((0, u8::MAX), |protocol| (protocol, protocol)),
        source: (service.source.first, service.source.last),
        destination: (service.destination.first, service.destination.last),
    })
}

/// Numbers of the sets that rules name on one side.
#[derive(Default)]
struct Sets<'p>(HashMap<&'p EndpointSet, u32>);

impl<'p> Sets<'p> {
    /// The set's number; where it is new, all its runs are told.
    fn number(
        &mut self,
        set: &'p EndpointSet,
        space: &mut Segments<'p>,
        mut tell: impl FnMut(usize, u32),
    ) -> u32 {
        let EndpointSet::OneOf(members) = set else { return ANY };
        let next = self.0.len() as u32 + 1;
        let number = *self.0.entry(set).or_insert(next);
        if number == next {
            for run in space.of_members(members) {
                tell(run as usize, number);
            }
        }
        number
    }
}

/// Where runs begin; those of IPv4 are numbered first.
#[derive(Debug)]
struct Cuts {
    v4: Vec<u32>,
    v6: Vec<u128>,
}

impl Cuts {
    fn new(policy: &Policy) -> Option<Cuts> {
        let of_segments =
            policy.segments().iter().flat_map(|segment| segment.members.iter().chain(&segment.except));
        let of_rules = policy.rules().iter().flat_map(|rule| [&rule.from, &rule.to]);
        let of_rules = of_rules.flat_map(|set| match set {
            EndpointSet::Any => &[],
            EndpointSet::OneOf(members) => &members[..],
        });
        let mut cuts = Cuts { v4: vec![0], v6: vec![0] };
        for member in of_segments.chain(of_rules) {
            let Member::Selector(Selector { vlan, macs, addresses }) = member else { continue };
            if vlan.is_some() || !macs.is_empty() {
                return None;
            }
            for range in addresses {
                match *range {
                    IpRange::V4(first, last) => {
                        cuts.v4.extend([Some(first), last.checked_add(1)].iter().flatten())
                    }
                    IpRange::V6(first, last) => {
                        cuts.v6.extend([Some(first), last.checked_add(1)].iter().flatten())
                    }
                }
            }
        }
        cuts.v4.sort_unstable();
        cuts.v4.dedup();
        cuts.v6.sort_unstable();
        cuts.v6.dedup();
        Some(cuts)
    }

    fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    fn run(&self, address: IpAddr) -> u32 {
        let run = match address {
            IpAddr::V4(address) => self.v4.partition_point(|cut| *cut <= address.into()) - 1,
            IpAddr::V6(address) => self.v4.len() + self.v6.partition_point(|cut| *cut <= address.into()) - 1,
        };
        run as u32
    }

    fn of_range(&self, range: IpRange) -> std::ops::RangeInclusive<u32> {
        match range {
            IpRange::V4(first, last) => {
                self.run(IpAddr::V4(first.into()))..=self.run(IpAddr::V4(last.into()))
            }
            IpRange::V6(first, last) => {
                self.run(IpAddr::V6(first.into()))..=self.run(IpAddr::V6(last.into()))
            }
        }
    }
}

/// Which runs segments hold.
struct Segments<'p> {
    policy: &'p Policy,
    cuts: &'p Cuts,
    known: Vec<Option<Vec<u32>>>,
}

impl Segments<'_> {
    fn of_segment(&mut self, id: SegmentId) -> Vec<u32> {
        let at = id.0 as usize;
        if let Some(runs) = &self.known[at] {
            return runs.clone();
        }
        let segment = &self.policy.segments()[at];
        let except = self.of_members(&segment.except);
        let mut runs = self.of_members(&segment.members);
        runs.retain(|run| except.binary_search(run).is_err());
        self.known[at] = Some(runs.clone());
        runs
    }

    /// In order, each once.
    fn of_members(&mut self, members: &[Member]) -> Vec<u32> {
        let mut runs = Vec::new();
        for member in members {
            match member {
                Member::Segment(id) => runs.extend(self.of_segment(*id)),
                Member::Selector(Selector { addresses, .. }) => {
                    runs.extend(addresses.iter().flat_map(|range| self.cuts.of_range(*range)));
                }
            }
        }
        runs.sort_unstable();
        runs.dedup();
        runs
    }
}
