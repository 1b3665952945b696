//! Lists of rules → lines.

use super::Contents;
use crate::compile::CompileError;
use crate::compile::combined::Lists;
use crate::compile::fast::MeaningBuilder;
use crate::compile::intern::{Interner, WordHashMap};
use crate::compile::service::{LineBuilder, pack};
use crate::policy::Policy;
use crate::tables::BY_SOURCE_PORT;
use crate::tables::fast::code_of;
use crate::tables::journal::Journaled;
use crate::tables::ports::{Code, PortLine, PortLines, Ports, RunValue};
use std::sync::Arc;

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
pub(in crate::compile) struct LinePlan<'p> {
    policy: &'p Policy,
    protocols: Box<[u8; 256]>,
    /// A protocol of each class.
    representatives: Vec<u8>,
}

/// The cell of lines in which no rule decides.
pub(in crate::compile) const NOTHING: u32 = 0;
/// Classes of protocols that a line has room for.
const CLASSES: usize = 8;
/// What protocols are in that a line has no room for.
const BEYOND: u8 = CLASSES as u8;

impl<'p> LinePlan<'p> {
    /// A plan: the protocols that most rules name get classes, those that none names are class 0.
    pub(in crate::compile) fn new(policy: &'p Policy, builder: &LineBuilder<'_>) -> Self {
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

    /// Classes of protocols and a protocol of each, with one more that no rule has named so far; `None` where there
    /// is no room for it.
    pub(in crate::compile) fn with_protocol(
        protocols: &[u8; 256],
        representatives: &[u8],
        protocol: u8,
    ) -> Option<(Box<[u8; 256]>, Vec<u8>)> {
        let (mut protocols, mut representatives) = (Box::new(*protocols), representatives.to_vec());
        protocols[usize::from(protocol)] = representatives.len() as u8;
        representatives[0] = (0..=u8::MAX).find(|p| protocols[usize::from(*p)] == 0)?;
        representatives.push(protocol);
        (representatives.len() <= CLASSES).then_some((protocols, representatives))
    }

    /// The same protocols, for another policy.
    pub(in crate::compile) fn of(policy: &'p Policy, protocols: &[u8; 256], representatives: &[u8]) -> Self {
        LinePlan { policy, protocols: Box::new(*protocols), representatives: representatives.to_vec() }
    }

    /// A protocol of each class.
    pub(in crate::compile) fn representatives(&self) -> &[u8] {
        &self.representatives
    }

    /// Whether there are protocols that a line has no room for.
    pub(in crate::compile) fn is_crowded(&self) -> bool {
        self.protocols.contains(&BEYOND)
    }

    /// Makes the lines.
    pub(in crate::compile) fn build(
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
        shapes.insert(elsewhere, PortLines::GENERAL);
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
                Some(_) | None => (PortLines::GENERAL, general.line(line, builder, &mut meanings)),
            };
            of_line.insert(number, cell);
            cells.push(cell);
        }
        let ports = PortLines {
            protocols: self.protocols,
            lines: Journaled::of(lines),
            bases: Journaled::new(),
            outcomes: Journaled::of(outcomes),
            general: Arc::new(pack(&general.lines)),
            by_source: Arc::new(pack(&general.by_source)),
        };
        Ok((Ports::Lines(ports), cells, meanings.finish(general.of_rows, general.codes)))
    }

    /// The line of a general one, and the outcomes that it tells apart; `None` where it does not fit.
    pub(in crate::compile) fn shape(
        &self,
        line: &[u32],
        builder: &LineBuilder<'_>,
    ) -> Option<(PortLine, Vec<u32>)> {
        let mut shape = PortLine { starts: [u16::MAX; 16], values: [0; 16], masks: [0; 8] };
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
            let mut behind = 0;
            for (start, value) in &runs {
                let known =
                    (behind..filled).find(|at| (shape.starts[*at], shape.values[*at]) == (*start, *value));
                let at = known.unwrap_or(filled);
                if at == 16 {
                    return None;
                }
                (shape.starts[at], shape.values[at]) = (*start, *value);
                shape.masks[class] |= 1 << at;
                filled = filled.max(at + 1);
                behind = at + 1;
            }
        }
        // Classes that no protocol has yet fare as those protocols do that no rule names.
        for class in self.representatives.len()..CLASSES {
            shape.masks[class] = shape.masks[0];
        }
        Some((shape, outcomes))
    }
}
