//! Lists of rules → the contents of cells, as rows or as lines (see [`crate::tables::ports`]).

use super::CompileError;
use super::combined::Lists;
use super::fast::MeaningBuilder;
use super::intern::{Interner, WordHashMap};
use super::service::{LineBuilder, pack};
use crate::decision::Judgement;
use crate::policy::{Policy, PortRange, Service};
use crate::tables::BY_SOURCE_PORT;
use crate::tables::fast::{Meanings, code_of};
use crate::tables::outcome::{Effect, Ranked};
use crate::tables::ports::{Code, PortLine, PortLines, PortRows, Ports, RunValue};
use crate::tables::shards::Shards;
use std::sync::Arc;

/// Ports, the cell and base of each list, and the meanings of outcomes.
pub(super) type Contents = (Ports, Vec<(u32, u32)>, Meanings);

/// Distinct services that rows are thought of for at all.
const SERVICES: usize = 2048;
/// Combinations of classes of protocols and ports.
const COMBINATIONS: usize = 1 << 18;

/// The service classes of a policy.
pub(super) struct RowPlan<'p> {
    policy: &'p Policy,
    protocols: Box<[u32; 256]>,
    sources: Vec<u16>,
    destinations: Vec<u16>,
    services: Vec<u16>,
    width: usize,
    /// The service classes that each service holds.
    classes_of: WordHashMap<Service, Vec<u32>>,
}

/// The class of each port, and a port of each class.
fn port_classes(ranges: impl Iterator<Item = PortRange>) -> (Vec<u16>, Vec<u16>) {
    let mut starts = vec![0u32];
    for range in ranges {
        starts.extend([u32::from(range.first), u32::from(range.last) + 1]);
    }
    starts.sort_unstable();
    starts.dedup();
    starts.retain(|start| *start <= 0xffff);
    let mut classes = vec![0; 1 << 16];
    for (class, start) in starts.iter().enumerate() {
        let end = starts.get(class + 1).copied().unwrap_or(1 << 16);
        classes[*start as usize..end as usize].fill(class as u16);
    }
    (classes, starts.into_iter().map(|start| start as u16).collect())
}

impl<'p> RowPlan<'p> {
    /// A plan, where the services of the policy are few enough for that many lists.
    pub(super) fn new(
        policy: &'p Policy,
        builder: &LineBuilder<'_>,
        lists: usize,
        most: usize,
    ) -> Option<Self> {
        let mut classes_of: WordHashMap<Service, Vec<u32>> = WordHashMap::default();
        for ranked in builder.ranked() {
            for service in &policy.rule(ranked.rule).services {
                classes_of.entry(*service).or_default();
            }
            if classes_of.len() > SERVICES {
                return None;
            }
        }
        let mut services: Vec<Service> = classes_of.keys().copied().collect();
        services.sort_unstable();
        let mut named: Vec<u8> = services.iter().filter_map(|s| s.protocol).collect();
        named.sort_unstable();
        named.dedup();
        let other = (0..=u8::MAX).find(|protocol| named.binary_search(protocol).is_err());
        let (mut source_classes, sources) = port_classes(services.iter().map(|s| s.source));
        let (destination_classes, destinations) = port_classes(services.iter().map(|s| s.destination));
        let combinations = (named.len() + 1) * sources.len() * destinations.len();
        if combinations > COMBINATIONS || sources.len() * destinations.len() > usize::from(u16::MAX) {
            return None;
        }
        let mut protocols = Box::new([0; 256]);
        let block = sources.len() * destinations.len();
        for (class, protocol) in named.iter().enumerate() {
            protocols[usize::from(*protocol)] = ((class + 1) * block) as u32;
        }
        let mut known = Interner::new();
        let mut table = Vec::with_capacity(combinations);
        let representatives = std::iter::once(other).chain(named.iter().map(|p| Some(*p)));
        let mut matching = Vec::new();
        for protocol in representatives {
            for source in &sources {
                let near: Vec<u32> = (0u32..)
                    .zip(&services)
                    .filter(|(_, s)| s.source.contains(*source))
                    .filter(|(_, s)| s.protocol.is_none_or(|p| Some(p) == protocol))
                    .map(|(at, _)| at)
                    .collect();
                for destination in &destinations {
                    matching.clear();
                    matching.extend(
                        near.iter().filter(|at| services[**at as usize].destination.contains(*destination)),
                    );
                    let before = known.len();
                    let class = known.number(&matching);
                    table.push(class as u16);
                    if known.len() > before {
                        for at in &matching {
                            let list = classes_of.get_mut(&services[*at as usize]).expect("it is a key");
                            list.push(class);
                        }
                    }
                }
            }
        }
        let width = known.len();
        if width * lists > most {
            return None;
        }
        if sources.len() == 1 {
            source_classes = Vec::new();
        }
        for class in &mut source_classes {
            *class *= destinations.len() as u16;
        }
        Some(RowPlan {
            policy,
            protocols,
            sources: source_classes,
            destinations: destination_classes,
            services: table,
            width,
            classes_of,
        })
    }

    /// Makes the rows; with the ranks of rules for outcomes where they are for `layers`.
    pub(super) fn build(self, lists: &Lists, builder: &mut LineBuilder<'_>, layers: bool) -> Contents {
        let mut known = Interner::new();
        let mut cells = Vec::with_capacity(lists.len());
        let mut matches: Vec<Vec<u32>> = vec![Vec::new(); self.width];
        let mut state = vec![(false, false); self.width];
        // Outcomes of rules that decide alone, by rank.
        let mut alone: WordHashMap<u32, u32> = WordHashMap::default();
        for list in 0..lists.len() as u32 {
            for (found, state) in matches.iter_mut().zip(&mut state) {
                found.clear();
                *state = (false, false);
            }
            let mut open = self.width;
            for &rank in lists.get(list) {
                if open == 0 {
                    break;
                }
                let ranked = builder.ranked()[rank as usize];
                for service in &self.policy.rule(ranked.rule).services {
                    for class in &self.classes_of[service] {
                        let (passed, decided) = &mut state[*class as usize];
                        let found = &mut matches[*class as usize];
                        if *decided || found.last() == Some(&rank) {
                            continue;
                        }
                        found.push(rank);
                        *passed |= ranked.effect == Effect::Pass;
                        // A pass leaves its tier, so what decides in that tier counts for nothing.
                        if ranked.effect == Effect::Decide && !*passed {
                            *decided = true;
                            open -= 1;
                        }
                    }
                }
            }
            let row: Vec<u32> = matches
                .iter()
                .map(|found| match found.as_slice() {
                    [] => 0,
                    [first, ..] if layers => first + 1,
                    [one] => *alone.entry(*one).or_insert_with(|| builder.outcome([*one].into_iter(), true)),
                    several => builder.outcome(several.iter().copied(), true),
                })
                .collect();
            cells.push((known.number(&row) - 1, 0));
        }
        let mut meanings = MeaningBuilder::new();
        let (mut of_rows, mut codes) = (Vec::new(), Vec::new());
        let alone = |ranked: &Ranked| Judgement { decided_by: Some(ranked.rule), first_monitor: None };
        let judgements: Vec<Judgement> = if layers {
            std::iter::once(Judgement::default()).chain(builder.ranked().iter().map(alone)).collect()
        } else {
            (0..builder.outcomes() as u32).map(|number| builder.judgement(number)).collect()
        };
        for judgement in judgements {
            of_rows.push(meanings.outcome(judgement));
            codes.push(code_of(self.policy, judgement) as u8);
        }
        let rows = (1..known.len() as u32).flat_map(|row| known.get(row));
        let rows = rows.map(|outcome| (*outcome as u16).wrapping_sub(1));
        let ports = PortRows {
            protocols: self.protocols,
            sources: self.sources,
            destinations: self.destinations,
            services: self.services,
            width: self.width as u32,
            rows: rows.collect(),
        };
        (Ports::Rows(ports), cells, meanings.finish(of_rows, codes))
    }
}

/// General lines, with outcomes numbered among themselves.
struct General<'p> {
    policy: &'p Policy,
    lines: Interner,
    by_source: Interner,
    numbers: WordHashMap<u32, u32>,
    of_rows: Vec<u32>,
    codes: Vec<u8>,
}

impl<'p> General<'p> {
    fn new(policy: &'p Policy) -> Self {
        let (lines, by_source) = (Interner::new(), Interner::new());
        let numbers = WordHashMap::default();
        General { policy, lines, by_source, numbers, of_rows: Vec::new(), codes: Vec::new() }
    }

    fn outcome(&mut self, outcome: u32, builder: &LineBuilder<'_>, meanings: &mut MeaningBuilder) -> u32 {
        *self.numbers.entry(outcome).or_insert_with(|| {
            let judgement = builder.judgement(outcome);
            self.of_rows.push(meanings.outcome(judgement));
            self.codes.push(code_of(self.policy, judgement) as u8);
            self.codes.len() as u32 - 1
        })
    }

    /// The number of a line of the builder's.
    fn line(&mut self, line: &[u32], builder: &LineBuilder<'_>, meanings: &mut MeaningBuilder) -> u32 {
        let mut words = line.to_vec();
        for value in words.iter_mut().skip(1).step_by(2) {
            *value = if *value & BY_SOURCE_PORT == 0 {
                self.outcome(*value, builder, meanings)
            } else {
                let mut source = builder.source_lines().get(*value & !BY_SOURCE_PORT).to_vec();
                for value in source.iter_mut().skip(1).step_by(2) {
                    *value = self.outcome(*value, builder, meanings);
                }
                self.by_source.number(&source) | BY_SOURCE_PORT
            };
        }
        self.lines.number(&words)
    }
}

/// Protocols in classes, for lines.
pub(super) struct LinePlan<'p> {
    policy: &'p Policy,
    protocols: Box<[u8; 256]>,
    /// A protocol of each class.
    representatives: Vec<u8>,
}

/// The cell of lines in which no rule decides.
pub(super) const NOTHING: u32 = 0;
/// The cell of lines that have a general one.
pub(super) const GENERAL: u32 = 1;
/// Classes of protocols that a line has room for.
const CLASSES: usize = 8;
/// What protocols are in that a line has no room for.
const BEYOND: u8 = CLASSES as u8;

impl<'p> LinePlan<'p> {
    /// A plan: the protocols that most rules name get classes, those that none names are class 0.
    pub(super) fn new(policy: &'p Policy, builder: &LineBuilder<'_>) -> Self {
        let mut uses = [0usize; 256];
        for ranked in builder.ranked() {
            for protocol in policy.rule(ranked.rule).services.iter().filter_map(|s| s.protocol) {
                uses[usize::from(protocol)] += 1;
            }
        }
        let mut named: Vec<u8> = (0..=u8::MAX).filter(|p| uses[usize::from(*p)] > 0).collect();
        named.sort_by_key(|p| std::cmp::Reverse(uses[usize::from(*p)]));
        let mut protocols = Box::new([0; 256]);
        let other = (0..=u8::MAX).find(|p| uses[usize::from(*p)] == 0).unwrap_or(0);
        let mut representatives = vec![other];
        for protocol in named {
            protocols[usize::from(protocol)] = if representatives.len() < CLASSES {
                representatives.push(protocol);
                representatives.len() as u8 - 1
            } else {
                BEYOND
            };
        }
        LinePlan { policy, protocols, representatives }
    }

    /// Whether there are protocols that a line has no room for.
    pub(super) fn is_crowded(&self) -> bool {
        self.protocols.contains(&BEYOND)
    }

    /// Makes the lines.
    pub(super) fn build(
        self,
        lists: &Lists,
        builder: &mut LineBuilder<'_>,
    ) -> Result<Contents, CompileError> {
        let mut meanings = MeaningBuilder::new();
        let mut shapes: WordHashMap<PortLine, u32> = WordHashMap::default();
        let mut lines: Vec<PortLine> = Vec::new();
        let mut outcomes: Vec<u32> = Vec::new();
        let mut general = General::new(self.policy);
        let mut of_line: WordHashMap<u32, (u32, u32)> = WordHashMap::default();
        let beyond = self.is_crowded();
        let (nothing, _) = self.shape(&[0, 0], builder).expect("one run fits");
        shapes.insert(nothing, NOTHING);
        lines.push(nothing);
        outcomes.push(0);
        let elsewhere = PortLine { values: [RunValue::ELSEWHERE.0; 16], ..nothing };
        shapes.insert(elsewhere, GENERAL);
        lines.push(elsewhere);
        let mut cells = Vec::with_capacity(lists.len());
        for list in 0..lists.len() as u32 {
            let number = builder.line(lists.get(list), true)?;
            if let Some(known) = of_line.get(&number) {
                cells.push(*known);
                continue;
            }
            let line = builder.line_of(number);
            let line = if line.is_empty() { &[0, 0] } else { line };
            let cell = match self.shape(line, builder) {
                Some((shape, found)) if !beyond => {
                    let base = outcomes.len() as u32;
                    outcomes.extend(found.iter().map(|o| meanings.outcome(builder.judgement(*o))));
                    let cell = *shapes.entry(shape).or_insert_with(|| {
                        lines.push(shape);
                        lines.len() as u32 - 1
                    });
                    (cell, base)
                }
                Some(_) | None => (GENERAL, general.line(line, builder, &mut meanings)),
            };
            of_line.insert(number, cell);
            cells.push(cell);
        }
        let ports = PortLines {
            protocols: self.protocols,
            lines: Shards::of(&lines, nothing),
            bases: Shards::new(),
            outcomes: Shards::of(&outcomes, 0),
            general: Arc::new(pack(&general.lines)),
            by_source: Arc::new(pack(&general.by_source)),
        };
        Ok((Ports::Lines(ports), cells, meanings.finish(general.of_rows, general.codes)))
    }

    /// The line of a general one, and the outcomes that it tells apart; `None` where it does not fit.
    pub(super) fn shape(&self, line: &[u32], builder: &LineBuilder<'_>) -> Option<(PortLine, Vec<u32>)> {
        let mut shape = PortLine { starts: [u16::MAX; 16], values: [0; 16], first: [0; 8], end: [0; 8] };
        let mut outcomes: Vec<u32> = Vec::new();
        let mut filled = 0;
        let mut runs: Vec<(u16, u8)> = Vec::new();
        for (class, protocol) in self.representatives.iter().enumerate() {
            let (low, high) = (u32::from(*protocol) << 16, u32::from(*protocol) << 16 | 0xffff);
            runs.clear();
            let behind = line.chunks_exact(2).take_while(|run| run[0] <= low).count();
            for run in line.chunks_exact(2).skip(behind - 1).take_while(|run| run[0] <= high) {
                let value = run[1];
                if value & BY_SOURCE_PORT != 0 {
                    return None;
                }
                let local = outcomes.iter().position(|o| *o == value).unwrap_or_else(|| {
                    outcomes.push(value);
                    outcomes.len() - 1
                });
                if local >= RunValue::OUTCOMES {
                    return None;
                }
                let code: Code = code_of(self.policy, builder.judgement(value));
                runs.push((run[0].max(low) as u16, RunValue::new(code, local).0));
            }
            let known = (0..=filled).filter(|at| at + runs.len() <= filled).find(|at| {
                let mut here = runs.iter().enumerate();
                here.all(|(n, run)| (shape.starts[at + n], shape.values[at + n]) == *run)
            });
            let first = known.unwrap_or(filled);
            if known.is_none() {
                if filled + runs.len() > 16 {
                    return None;
                }
                for (n, (start, value)) in runs.iter().enumerate() {
                    (shape.starts[first + n], shape.values[first + n]) = (*start, *value);
                }
                filled += runs.len();
            }
            shape.first[class] = first as u8;
            shape.end[class] = (first + runs.len()) as u8;
        }
        Some((shape, outcomes))
    }
}
