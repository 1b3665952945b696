//! What each rule costs the tables: for those who tune a policy. The tables themselves are those of any compilation.

use super::{CompileError, Limits, Parts, compile_parts};
use crate::policy::{Policy, RuleId, Timestamp};
use crate::tables::fast::{Fast, Meanings};
use crate::tables::group::Level;
use crate::tables::line::Lines;
use crate::tables::ports::{PortLines, Ports};
use crate::tables::{BY_SOURCE_PORT, CellTables, Form, Tables};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How wide one side of a rule is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Width {
    /// Every endpoint.
    Any,
    /// So many kinds of endpoints that the rule is kept apart from the narrow ones.
    Wide,
    /// Few kinds of endpoints.
    Narrow,
}

/// What one rule costs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RuleCost {
    /// Which rule.
    pub rule: RuleId,
    /// Its source side.
    pub from: Width,
    /// Its destination side.
    pub to: Width,
    /// Pairs of numbers that it is spread to.
    pub pairs: usize,
    /// Lists of port boundaries that it is in and that do not fit a cache line.
    pub general_lines: usize,
}

impl RuleCost {
    /// Whether it is kept apart from the narrow rules. What that costs hangs on the [`Form`].
    #[must_use]
    pub fn is_wide(&self) -> bool {
        self.from != Width::Narrow || self.to != Width::Narrow
    }
}

/// Compiled tables, and what led to their size.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The tables.
    pub tables: Tables,
    /// Rules that have not expired, in the order of evaluation.
    pub costs: Vec<RuleCost>,
}

impl Survey {
    /// Compiles the policy as it stands at `now`, and surveys its rules.
    ///
    /// # Errors
    /// Where the policy is too entangled to be compiled within the limits.
    pub fn new(policy: &Arc<Policy>, now: Timestamp, limits: &Limits) -> Result<Survey, CompileError> {
        let (tables, parts) = compile_parts(policy, now, limits)?;
        let mut general_lines = vec![0; policy.rules().len()];
        if let CellTables::Closed(Fast { ports: Ports::Lines(lines), meanings, .. }) = &tables.cells {
            count_general(lines, meanings, &mut general_lines);
        }
        let Parts { rules, from, to, builder, .. } = &parts;
        let width = |set: Option<u32>, level: Level| match (set, level) {
            (None, _) => Width::Any,
            (Some(_), Level::Narrow) => Width::Narrow,
            (Some(_), Level::Wide | Level::Place) => Width::Wide,
        };
        let costs = rules.iter().zip(builder.ranked()).map(|(sides, ranked)| RuleCost {
            rule: ranked.rule,
            from: width(sides.from, from.level(sides.from)),
            to: width(sides.to, to.level(sides.to)),
            pairs: from.spread(sides.from).len() * to.spread(sides.to).len(),
            general_lines: general_lines[ranked.rule.0 as usize],
        });
        let costs = costs.collect();
        Ok(Survey { tables, costs })
    }

    /// (pair, rule) entries of all rules together.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.costs.iter().map(|cost| cost.pairs).sum()
    }

    /// Rules that a look-up finds apart from those of the pair: none where the cells are closed, since every
    /// cell then holds the rules of wide sides, too.
    pub fn overlay(&self) -> impl Iterator<Item = &RuleCost> {
        let is_apart = match self.tables.statistics().form {
            Form::Layers | Form::Grouped => true,
            Form::Lines | Form::Rows => false,
        };
        self.costs.iter().filter(move |cost| is_apart && cost.is_wide())
    }
}

/// How many general lines each rule decides in.
fn count_general(lines: &PortLines, meanings: &Meanings, counts: &mut [usize]) {
    // Line 0 is no cell's.
    for line in 1..lines.general.spans.len() as u32 {
        let mut rules: BTreeSet<RuleId> = BTreeSet::new();
        for value in values(&lines.general, line) {
            let outcomes = if value & BY_SOURCE_PORT == 0 {
                std::slice::from_ref(value)
            } else {
                values(&lines.by_source, value & !BY_SOURCE_PORT)
            };
            for number in outcomes {
                let judgement = meanings.judgement(meanings.of_rows[*number as usize]);
                rules.extend(judgement.decided_by.into_iter().chain(judgement.first_monitor));
            }
        }
        for RuleId(rule) in rules {
            counts[rule as usize] += 1;
        }
    }
}

fn values(lines: &Lines, line: u32) -> &[u32] {
    let span = lines.spans[line as usize];
    &lines.values[span.first as usize..(span.first + span.len) as usize]
}
