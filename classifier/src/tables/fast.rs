//! Two classes and a service → answer, in one probe: every cell holds all rules of its pair.
//!
//! Not every policy fits this form within its limits. What does not is looked up by [`super::group`].

use super::cells::{Cell, Cells};
use super::lanes::Lanes;
use super::outcome::Outcomes;
use super::ports::{Code, PortLines, Ports, RunValue};
use crate::decision::Judgement;
use crate::endpoint::ServicePacket;
use crate::policy::{Action, Policy, RuleId};
use std::sync::Arc;

/// What a look-up in bulk yields; [`super::Tables::verdict_of`] and the like tell what it means. Of one [`super::Tables`],
/// and of no other.
///
/// ```text
/// 63        62..32                     31..30  29..0
/// softened  first monitor rule + 1 *   code    place and run, outcome, or deciding rule + 1 *     (*: of groups, or
///                                                                                                  merged layers)
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Answer(pub(crate) u64);

impl Answer {
    pub(crate) const CODE_SHIFT: u32 = 30;
    /// Most places, with four bits for the run.
    pub(crate) const PLACES: usize = 1 << 25;

    const SOFTENED: u32 = 63;

    /// The answer of a closed cell.
    #[inline(always)]
    pub(crate) fn closed(code: u32, rest: u32) -> Answer {
        Answer(u64::from(code << Self::CODE_SHIFT | rest))
    }

    /// The answer of cells by group.
    pub(crate) fn grouped(code: Code, judgement: Judgement) -> Answer {
        Answer::of(code as u32, judgement)
    }

    fn of(code: u32, judgement: Judgement) -> Answer {
        let number = |rule: Option<RuleId>| rule.map_or(0, |id| u64::from(id.0) + 1);
        let (decided, monitor) = (number(judgement.decided_by), number(judgement.first_monitor));
        Answer(u64::from(code) << Self::CODE_SHIFT | decided | monitor << 32)
    }

    /// The judgement of an answer by group.
    pub(crate) fn grouped_judgement(self) -> Judgement {
        let rule = |number: u32| number.checked_sub(1).map(RuleId);
        let monitor = (self.0 >> 32) as u32 & (u32::MAX >> 1);
        Judgement { decided_by: rule(self.rest()), first_monitor: rule(monitor) }
    }

    /// The bit of an answer of layers that holds a rule instead of the number of an outcome.
    const MERGED: u32 = 1 << 29;

    /// The answer of several layers together.
    fn merged(code: u32, judgement: Judgement) -> Answer {
        Answer(Answer::of(code, judgement).0 | u64::from(Self::MERGED))
    }

    /// The judgement of several layers together.
    fn merged_judgement(self) -> Judgement {
        Answer(self.0 & !u64::from(Self::MERGED)).grouped_judgement()
    }

    /// The answer towards a destination that is softened, or not.
    #[inline(always)]
    pub(crate) fn towards(self, softened: bool) -> Answer {
        Answer(self.0 | u64::from(softened) << Self::SOFTENED)
    }

    #[inline(always)]
    pub(crate) fn is_softened(self) -> bool {
        self.0 >> Self::SOFTENED != 0
    }

    #[inline(always)]
    pub(crate) fn code(self) -> usize {
        (self.0 >> Self::CODE_SHIFT) as usize & 3
    }

    fn rest(self) -> u32 {
        self.0 as u32 & ((1 << Self::CODE_SHIFT) - 1)
    }
}

/// Outcomes and what they mean.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meanings {
    /// Judgements that are more than one rule that decides. Number 0: no rule at all.
    pub(crate) judgements: Vec<Judgement>,
    /// Outcomes of rows, by number.
    pub(crate) of_rows: Vec<u32>,
    /// The code of each.
    pub(crate) codes: Vec<u8>,
}

impl Meanings {
    /// The bit of an outcome that is a rule, which decides without any other being recorded.
    pub(crate) const RULE: u32 = 1 << 31;

    pub(crate) fn judgement(&self, outcome: u32) -> Judgement {
        if outcome & Self::RULE == 0 {
            self.judgements[outcome as usize]
        } else {
            Judgement { decided_by: Some(RuleId(outcome & !Self::RULE)), first_monitor: None }
        }
    }
}

/// The code of a judgement.
pub(crate) fn code_of(policy: &Policy, judgement: Judgement) -> Code {
    match judgement.decided_by.map(|id| policy.rule(id).action) {
        None | Some(Action::Pass) => Code::Default,
        Some(Action::Allow) => Code::Allow,
        Some(Action::Deny) => Code::Deny,
        Some(Action::Reject) => Code::Reject,
    }
}

/// What rules with a wide side say, beside the narrow pairs of [`Cells`].
///
/// Outcomes are numbered by the rank of their first event, so that the lowest number of the three cells is the outcome
/// that has the first match of all. Where that decides it is the answer, whatever stands behind it. Where it passes or
/// is a monitor rule's, the events of the three are put together.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    /// By number of the source: its rows in `by_source` and in `by_destination`.
    pub(crate) from: Vec<(u32, u32)>,
    /// By number of the destination: its columns.
    pub(crate) to: Vec<(u32, u32)>,
    /// Cells of rules with a wide destination.
    pub(crate) by_source: Vec<u32>,
    /// Cells of rules with a wide source, and no wide destination.
    pub(crate) by_destination: Vec<u32>,
    /// What the outcomes come from. The last is the empty one.
    pub(crate) outcomes: Outcomes,
    /// The code of each rule, were it to decide.
    pub(crate) codes: Vec<u8>,
}

impl Layers {
    /// The code of an outcome that does not begin with a rule that decides.
    pub(crate) const OPEN: u8 = 4;

    /// The two positions of a pair.
    #[inline(always)]
    pub(crate) fn positions(&self, source: u32, destination: u32) -> (u32, u32) {
        let (from, to) = (self.from[source as usize], self.to[destination as usize]);
        (from.0 + to.0, from.1 + to.1)
    }

    /// The answer of three outcomes together.
    #[inline(never)]
    pub(crate) fn merged(&self, outcomes: [u32; 3]) -> Answer {
        let judgement = self.outcomes.merge(&outcomes);
        let code = judgement.decided_by.map_or(0, |rule| self.codes[rule.0 as usize]);
        Answer::merged(u32::from(code), judgement)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        (self.from.len() + self.to.len()) * 8
            + (self.by_source.len() + self.by_destination.len()) * 4
            + self.codes.len()
            + self.outcomes.bytes()
    }
}

/// Pairs, ports and what they come to.
#[derive(Clone, Debug)]
pub(crate) struct Fast {
    /// Number of each class as a source.
    pub(crate) from: Arc<Vec<u16>>,
    /// Number of each class as a destination.
    pub(crate) to: Arc<Vec<u16>>,
    pub(crate) cells: Cells,
    /// Where there are any, the lowest of three cells counts.
    pub(crate) layers: Option<Layers>,
    pub(crate) ports: Ports,
    pub(crate) meanings: Arc<Meanings>,
    pub(crate) hashed_pairs: usize,
}

impl Fast {
    /// Makes the contents those of `source`.
    pub(crate) fn renew(&mut self, source: &Fast) {
        let Fast { from, to, cells, layers, ports, meanings, hashed_pairs } = source;
        self.from.clone_from(from);
        self.to.clone_from(to);
        self.cells.renew(cells);
        self.layers.clone_from(layers);
        match (&mut self.ports, ports) {
            (Ports::Lines(own), Ports::Lines(lines)) => own.renew(lines),
            (own, ports) => own.clone_from(ports),
        }
        self.meanings.clone_from(meanings);
        self.hashed_pairs = *hashed_pairs;
    }

    /// The answer for a packet between two classes.
    #[inline(always)]
    pub(crate) fn answer<L: Lanes>(&self, source: u32, destination: u32, packet: ServicePacket) -> Answer {
        let (from, to) = (self.from[source as usize], self.to[destination as usize]);
        let cell = self.cells.find::<L>(u32::from(from), u32::from(to));
        match &self.ports {
            Ports::Lines(lines) => self.in_line::<L>(lines, cell, packet),
            Ports::Rows(rows) => {
                let service = rows.service(packet);
                let outcome = rows.outcome(cell.cell, service);
                let Some(layers) = &self.layers else {
                    return Answer::closed(u32::from(self.meanings.codes[outcome as usize]), outcome);
                };
                let (a, b) = layers.positions(u32::from(from), u32::from(to));
                let by_source = rows.outcome(layers.by_source[a as usize], service);
                let by_destination = rows.outcome(layers.by_destination[b as usize], service);
                let lowest = outcome.min(by_source).min(by_destination);
                match self.meanings.codes[lowest as usize] {
                    Layers::OPEN => layers.merged([outcome, by_source, by_destination]),
                    code => Answer::closed(u32::from(code), lowest),
                }
            }
        }
    }

    /// The answer of a cell of lines.
    #[inline(always)]
    fn in_line<L: Lanes>(&self, lines: &PortLines, cell: Cell, packet: ServicePacket) -> Answer {
        let class = lines.protocols[usize::from(packet.protocol)];
        let line = lines.lines.get(cell.cell);
        let run = line.run::<L>(class, packet.destination_port);
        let value = line.values[run as usize & 15];
        if value == RunValue::ELSEWHERE.0 {
            return self.elsewhere(cell.place, packet);
        }
        Answer::closed(u32::from(value), cell.place << 4 | run)
    }

    /// The answer of a pair that its bucket does not hold.
    #[cold]
    pub(crate) fn behind_bucket<L: Lanes>(
        &self,
        lines: &PortLines,
        source: u32,
        destination: u32,
        packet: ServicePacket,
    ) -> Answer {
        self.in_line::<L>(lines, self.cells.elsewhere(source, destination), packet)
    }

    /// The answer of a cell that does not fit a line: its run is told by the outcome's index among the place's.
    #[cold]
    pub(crate) fn elsewhere(&self, place: u32, packet: ServicePacket) -> Answer {
        let Ports::Lines(lines) = &self.ports else { return Answer::default() };
        let number = lines.general(*lines.bases.get(place), packet);
        Answer::closed(u32::from(self.meanings.codes[number as usize]), number | Self::NUMBERED)
    }

    /// The bit of an answer of a policy of lines that holds the number of an outcome instead of a place.
    pub(crate) const NUMBERED: u32 = 1 << 29;

    /// The judgement behind an answer.
    pub(crate) fn judgement(&self, answer: Answer) -> Judgement {
        let rest = answer.rest();
        let outcome = match &self.ports {
            Ports::Rows(_) if rest & Answer::MERGED != 0 => return answer.merged_judgement(),
            Ports::Rows(_) => self.meanings.of_rows[rest as usize],
            Ports::Lines(_) if rest & Self::NUMBERED != 0 => {
                self.meanings.of_rows[(rest & !Self::NUMBERED) as usize]
            }
            Ports::Lines(lines) => {
                let (place, run) = (rest >> 4, rest & 15);
                let value = lines.lines.get(self.cells.at(place)).values[run as usize];
                *lines.outcomes.get(lines.bases.get(place) + u32::from(value >> 2))
            }
        };
        self.meanings.judgement(outcome)
    }

    /// Bytes of the outcomes.
    pub(crate) fn outcome_bytes(&self) -> usize {
        self.meanings.judgements.len() * size_of::<Judgement>() + self.meanings.of_rows.len() * 5
    }
}
