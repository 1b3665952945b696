//! A list of rules → a line: first match resolved for every protocol and port.

use super::intern::Interner;
use super::{CompileError, Limits};
use crate::decision::Judgement;
use crate::policy::{Policy, PortRange, Service};
use crate::tables::BY_SOURCE_PORT;
use crate::tables::line::{Lines, service_key};
use crate::tables::outcome::{Effect, Outcome, Outcomes, Ranked, Walk};

/// Behind the last key of a line.
const END: u32 = 1 << 24;

/// A rule that matches between two boundaries, in the order of evaluation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Match {
    rank: u32,
    source: PortRange,
}

/// Makes lines, sources lines and outcomes, each distinct one once.
pub(super) struct LineBuilder<'p> {
    policy: &'p Policy,
    ranks: Vec<Ranked>,
    /// For each rank, the lowest rank of a pass rule in its tier.
    first_pass: Vec<u32>,
    lines: Interner,
    source_lines: Interner,
    outcomes: Interner,
    limits: Limits,
}

/// What the builder has made.
pub(super) struct Built {
    pub(super) lines: Lines,
    pub(super) source_lines: Lines,
    pub(super) outcomes: Outcomes,
}

impl<'p> LineBuilder<'p> {
    /// A builder for the rules of a policy, in the order of evaluation.
    pub(super) fn new(policy: &'p Policy, ranks: Vec<Ranked>, limits: Limits) -> Self {
        let mut first_pass = vec![u32::MAX; policy.tiers().len()];
        for (rank, ranked) in (0u32..).zip(&ranks) {
            let lowest = &mut first_pass[usize::from(ranked.tier.0)];
            if ranked.effect == Effect::Pass {
                *lowest = rank.min(*lowest);
            }
        }
        let first_pass = ranks.iter().map(|ranked| first_pass[usize::from(ranked.tier.0)]).collect();
        LineBuilder {
            policy,
            ranks,
            first_pass,
            lines: Interner::new(),
            source_lines: Interner::new(),
            outcomes: Interner::new(),
            limits,
        }
    }

    /// Leaves out of a sorted list of ranks those that can't matter, since a rule for every service stands
    /// before them. `closed`: no rules but these take part in the cell.
    pub(super) fn prune(&self, ranks: &mut Vec<u32>, closed: bool) {
        let (mut passes, mut ended) = (None, None);
        let mut decided = false;
        ranks.retain(|rank| {
            let Ranked { rule, tier, effect } = self.ranks[*rank as usize];
            if decided || ended == Some(tier) {
                return false;
            }
            if effect == Effect::Pass {
                passes = Some(tier);
            }
            if effect != Effect::Record && self.policy.rule(rule).services.contains(&Service::ANY) {
                ended = Some(tier);
                // Where a pass for some service stands before, the tiers behind count for this service.
                let passed = !self.is_final(*rank, closed) || passes == Some(tier);
                decided = effect == Effect::Decide && !passed;
            }
            true
        });
    }

    /// Whether nothing behind a match that decides can matter, when no pass of this cell stands before it in
    /// its tier. Unless the cell is closed, a pass of another cell may.
    pub(super) fn is_final(&self, rank: u32, closed: bool) -> bool {
        closed || rank < self.first_pass[rank as usize]
    }

    /// The line of a sorted list of ranks.
    pub(super) fn line(&mut self, ranks: &[u32], closed: bool) -> Result<u32, CompileError> {
        let mut starts: Vec<(u32, Match)> = Vec::new();
        let mut ends: Vec<(u32, Match)> = Vec::new();
        for &rank in ranks {
            for service in &self.policy.rule(self.ranks[rank as usize].rule).services {
                let found = Match { rank, source: service.source };
                for (first, end) in spans(service) {
                    starts.push((first, found));
                    ends.push((end, found));
                }
            }
        }
        starts.sort_unstable();
        ends.sort_unstable();
        let (mut starts, mut ends) = (starts.into_iter().peekable(), ends.into_iter().peekable());
        let mut active: Vec<Match> = Vec::new();
        // Start and value of each run, in turns.
        let mut line: Vec<u32> = vec![0, 0];
        while let Some(&(end, _)) = ends.peek() {
            let here = starts.peek().map_or(end, |(start, _)| end.min(*start));
            while let Some((_, found)) = ends.next_if(|(at, _)| *at == here) {
                let at = active.binary_search(&found).expect("what ends has started");
                active.remove(at);
            }
            while let Some((_, found)) = starts.next_if(|(at, _)| *at == here) {
                let at = active.binary_search(&found).unwrap_or_else(|at| at);
                active.insert(at, found);
            }
            let value = self.value(&active, closed);
            if here == 0 {
                line[1] = value;
            } else if here < END && line[line.len() - 1] != value {
                line.extend([here, value]);
            }
        }
        let number = self.lines.number(&line);
        let words = self.lines.words() + self.source_lines.words();
        if words > self.limits.boundaries {
            return Err(CompileError::Boundaries { limit: self.limits.boundaries });
        }
        Ok(number)
    }

    /// The outcome of the rules that match, or the line of source ports that tells.
    fn value(&mut self, active: &[Match], closed: bool) -> u32 {
        let mut bounds = vec![0];
        for found in active {
            if found.source != PortRange::ALL {
                bounds.push(u32::from(found.source.first));
                bounds.push(u32::from(found.source.last) + 1);
            }
        }
        bounds.retain(|bound| *bound <= u32::from(u16::MAX));
        bounds.sort_unstable();
        bounds.dedup();
        let mut line: Vec<u32> = Vec::new();
        for bound in bounds {
            let matches = active.iter().filter(|m| m.source.contains(bound as u16)).map(|m| m.rank);
            let outcome = self.outcome(matches, closed);
            if line.last() != Some(&outcome) {
                line.extend([bound, outcome]);
            }
        }
        if line.len() == 2 { line[1] } else { self.source_lines.number(&line) | BY_SOURCE_PORT }
    }

    /// The rules, by rank.
    pub(super) fn ranked(&self) -> &[Ranked] {
        &self.ranks
    }

    /// Start and value of each run of a line, in turns; those of line 0 are missing.
    pub(super) fn line_of(&self, number: u32) -> &[u32] {
        self.lines.get(number)
    }

    /// The lines of source ports.
    pub(super) fn source_lines(&self) -> &Interner {
        &self.source_lines
    }

    /// How many outcomes there are.
    pub(super) fn outcomes(&self) -> usize {
        self.outcomes.len()
    }

    /// The judgement of an outcome, where no other cell takes part.
    pub(super) fn judgement(&self, number: u32) -> Judgement {
        let mut walk = Walk::default();
        let mut events = self.outcomes.get(number).iter();
        events.find_map(|rank| walk.step(&self.ranks[*rank as usize])).unwrap_or_else(|| walk.end())
    }

    /// The number of the outcome of the ranks that match, which come sorted.
    pub(super) fn outcome(&mut self, matches: impl Iterator<Item = u32>, closed: bool) -> u32 {
        let mut events = Vec::new();
        let mut tier = None;
        let (mut recorded, mut ended) = (false, false);
        for rank in matches {
            let ranked = self.ranks[rank as usize];
            if tier != Some(ranked.tier) {
                tier = Some(ranked.tier);
                // In a closed cell the first monitor match of all is the only one that is ever told.
                (recorded, ended) = (recorded && closed, false);
            }
            if ended {
                continue;
            }
            match ranked.effect {
                Effect::Record if recorded => {}
                Effect::Record => {
                    recorded = true;
                    events.push(rank);
                }
                Effect::Pass => {
                    ended = true;
                    if !closed {
                        events.push(rank);
                    }
                }
                Effect::Decide => {
                    ended = true;
                    events.push(rank);
                    if self.is_final(rank, closed) {
                        break;
                    }
                }
            }
        }
        self.outcomes.number(&events)
    }

    /// The tables.
    pub(super) fn built(&self) -> Built {
        let mut outcomes = Outcomes { outcomes: Vec::new(), events: Vec::new(), ranks: self.ranks.clone() };
        for number in 0..self.outcomes.len() as u32 {
            let events = self.outcomes.get(number);
            let mut walk = Walk::default();
            let judged = events.iter().find_map(|rank| walk.step(&outcomes.ranks[*rank as usize]));
            let judgement = judged.unwrap_or_else(|| walk.end());
            outcomes.outcomes.push(Outcome {
                judgement,
                first_event: outcomes.events.len() as u32,
                events: events.len() as u32,
            });
            outcomes.events.extend_from_slice(events);
        }
        Built { lines: pack(&self.lines), source_lines: pack(&self.source_lines), outcomes }
    }
}

/// The keys of a service: first, and the one behind the last.
fn spans(service: &Service) -> impl Iterator<Item = (u32, u32)> + use<> {
    let Service { protocol, source: _, destination } = *service;
    // Ranges over all ports of all protocols adjoin: they are one.
    let whole = protocol.is_none() && destination == PortRange::ALL;
    let protocols = match protocol {
        Some(protocol) => protocol..=protocol,
        None if whole => 0..=0,
        None => 0..=u8::MAX,
    };
    protocols.map(move |protocol| {
        if whole {
            (0, END)
        } else {
            (service_key(protocol, destination.first), service_key(protocol, destination.last) + 1)
        }
    })
}

/// Lays lines out. Line 0 is empty in the interner; here it says outcome 0.
pub(super) fn pack(interned: &Interner) -> Lines {
    let mut lines = Lines::default();
    for number in 0..interned.len() as u32 {
        lines.push(interned.get(number));
    }
    lines
}
