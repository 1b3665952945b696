//! Lists of rules → rows.

use super::Contents;
use crate::compile::combined::Lists;
use crate::compile::fast::MeaningBuilder;
use crate::compile::intern::{Interner, WordHashMap};
use crate::compile::service::LineBuilder;
use crate::decision::Judgement;
use crate::policy::{Policy, PortRange, Service};
use crate::tables::fast::code_of;
use crate::tables::outcome::{Effect, Ranked};
use crate::tables::ports::{PortRows, Ports};

/// Distinct services that rows are thought of for at all.
const SERVICES: usize = 2048;
/// Combinations of classes of protocols and ports.
const COMBINATIONS: usize = 1 << 18;

/// The service classes of a policy.
pub(in crate::compile) struct RowPlan<'p> {
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
    pub(in crate::compile) fn new(
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
    pub(in crate::compile) fn build(
        self,
        lists: &Lists,
        builder: &mut LineBuilder<'_>,
        layers: bool,
    ) -> Contents {
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
