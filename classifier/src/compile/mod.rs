//! From a policy to [`Tables`]: slow, and it allocates; the packet path never comes here.
//!
//! ```text
//! atom        selectors → effects of an address alone, and gates that a VLAN or MAC opens
//! sweep       ranges → runs of addresses with one set of effects and gates
//! place       VLANs and MACs folded in: every state that an endpoint can have → classes
//! membership  class → segments, and the sets that rules name
//! level       how wide the sides of rules are → groups; each class has a number per level
//! cell        rules → pairs of numbers → lists of rules
//! service     list of rules → line of ports, first match resolved → outcomes
//! ```
//!
//! Every step has a limit, so that a policy which entangles all with all is refused and not compiled for
//! ever. The answer itself is never approximate.

mod atom;
mod cell;
mod combined;
mod cost;
mod editor;
mod fast;
mod intern;
mod level;
mod limit;
mod membership;
mod place;
mod ports;
mod prefix_map;
mod service;
mod space;
mod space_v6;
mod sweep;
#[cfg(test)]
mod tests;
mod v4;
mod word_map;

pub use cost::{RuleCost, Survey, Width};
pub use editor::{Change, EditError, Editor, RebuildError};
pub(crate) use intern::WordHashMap;
pub use limit::{CompileError, Limits};
pub(crate) use prefix_map::prefix_map;

use crate::addr::IpRange;
use crate::policy::{Policy, SegmentId, Timestamp};
use crate::reference::evaluation_order;
use crate::tables::group::{Class, Grouped};
use crate::tables::outcome::{Effect, Ranked};
use crate::tables::ports::{PortLines, Ports};
use crate::tables::{CellTables, Form, Instructions, Statistics, Tables};
use atom::{Atoms, Nesting};
use cell::Sides;
use intern::Interner;
use level::{Sets, Side};
use membership::{Evaluator, Membership};
use service::LineBuilder;
use space::SpaceBuilder;
use std::sync::Arc;
use sweep::{Labelled, merge, sweep};

/// How many rows a set may be in and still be called narrow: tried in turn, until the rules fit.
const NARROW: [u32; 6] = [1024, 128, 32, 8, 2, 0];

/// Compiles the policy as it stands at `now`.
pub(crate) fn compile(policy: Arc<Policy>, now: Timestamp, limits: &Limits) -> Result<Tables, CompileError> {
    Ok(compile_parts(&policy, now, limits)?.0)
}

/// What the compiler knows beside the tables; an [`Editor`] goes on from there.
struct Parts<'p> {
    atoms: Atoms<'p>,
    nesting: Nesting,
    evaluator: Evaluator,
    items: Interner,
    from: Side,
    to: Side,
    rules: Vec<Sides>,
    builder: LineBuilder<'p>,
    space: SpaceBuilder,
    v6_runs: Vec<(u128, u32)>,
    placing: Option<place::Placing>,
}

fn compile_parts<'p>(
    shared: &'p Arc<Policy>,
    now: Timestamp,
    limits: &Limits,
) -> Result<(Tables, Parts<'p>), CompileError> {
    let policy: &'p Policy = shared;
    let order = evaluation_order(policy, now);
    let atoms = Atoms::new(policy, &order);
    let nesting = Nesting::new(policy, &atoms.sets);

    let mut items = Interner::new();
    let (v4_ranges, v6_ranges) = by_family(&atoms.ranges);
    let v4_runs = sweep(&v4_ranges, &mut items, limits)?;
    let v6_runs = sweep(&v6_ranges, &mut items, limits)?;
    let placed = place::place(&atoms, &items, limits)?;

    let mut evaluator = Evaluator::new(policy);
    let membership =
        |codes: &Vec<u32>| evaluator.evaluate(&nesting, codes.iter().map(|code| atoms.effect(*code)));
    let mut members: Vec<Membership> = placed.effects.iter().map(membership).collect();
    let of_class: Vec<Vec<u32>> = members.iter_mut().map(|m| std::mem::take(&mut m.sets)).collect();

    let rules = cell::sides(policy, &order, &atoms);
    let by_place = by_place(&atoms, &nesting);
    let (from, to) = levels(policy, &order, &rules, &of_class, &by_place, limits)?;
    let ranked = |id: &crate::policy::RuleId| {
        let rule = policy.rule(*id);
        Ranked { rule: *id, tier: rule.tier, effect: Effect::of(rule.mode, rule.action) }
    };
    let mut builder = LineBuilder::new(policy, order.iter().map(ranked).collect(), *limits);
    let raw = cell::RawCells::new(&rules, &from, &to);
    let groups = raw.groups.len();
    let pair_count = raw.cells.iter().map(Vec::len).sum();
    let closed = fast::fast(policy, &raw, members.len(), &mut builder, limits)?;
    let grouping = closed.as_ref().err().copied();
    let cells = match closed {
        Ok(fast) => CellTables::Closed(fast),
        Err(_) => {
            let pairs = cell::pairs(&raw, &mut builder, limits)?;
            let built = builder.built();
            let class = |at: usize| Class { from: from.numbers_of_class(at), to: to.numbers_of_class(at) };
            CellTables::Grouped(Grouped {
                classes: (0..members.len()).map(class).collect(),
                pairs,
                lines: built.lines,
                source_lines: built.source_lines,
                outcomes: built.outcomes,
            })
        }
    };
    let mut segments: Vec<SegmentId> = Vec::new();
    let mut segment_ends = Vec::with_capacity(members.len());
    for member in &members {
        segments.extend_from_slice(&member.segments);
        segment_ends.push(u32::try_from(segments.len()).map_err(|_| CompileError::overlap(limits))?);
    }
    let (space, v4) = SpaceBuilder::new(&v4_runs, members.len() > 1 << 16);
    let v6 = space_v6::space_v6(&v6_runs);
    let statistics = Statistics {
        rules: order.len(),
        prefixes: v4_ranges.len() + v6_ranges.len(),
        classes: members.len(),
        pairs: pair_count,
        groups,
        grouping,
        v4_bytes: v4.bytes(),
        v6_bytes: v6.bytes(),
        place_bytes: placed.table.bytes(),
        class_bytes: members.len() * 5 + segments.len() * 4,
        ..of_cells(&cells)
    };
    let tables = Tables {
        policy: Arc::clone(shared),
        now,
        instructions: Instructions::best(),
        v4,
        v6: Arc::new(v6),
        v6_changes: None,
        place: Arc::new(placed.table),
        later_places: None,
        softened: Arc::new(members.iter().map(|member| member.softened).collect()),
        any_softened: members.iter().any(|member| member.softened),
        verdicts: fast::verdicts(policy),
        segments: Arc::new(segments),
        segment_ends: Arc::new(segment_ends),
        cells,
        statistics,
    };
    let placing = placed.placing;
    Ok((
        tables,
        Parts { atoms, nesting, evaluator, items, from, to, rules, builder, space, v6_runs, placing },
    ))
}

/// What the cells have to do with statistics.
fn of_cells(cells: &CellTables) -> Statistics {
    match cells {
        CellTables::Closed(fast) => {
            let (lines, source_lines) = match &fast.ports {
                Ports::Lines(lines) => (lines.lines.len(), lines.by_source.spans.len() - 1),
                Ports::Rows(rows) => (rows.len(), 0),
            };
            let (form, general_lines) = match &fast.ports {
                Ports::Rows(_) if fast.layers.is_some() => (Form::Layers, 0),
                Ports::Lines(lines) => (Form::Lines, lines.general.spans.len() - 1),
                Ports::Rows(_) => (Form::Rows, 0),
            };
            Statistics {
                form,
                general_lines,
                hashed_pairs: fast.hashed_pairs,
                spilled_pairs: fast.cells.spilled_cells.len(),
                matrix_cells: fast.cells.matrix.len(),
                lines,
                source_lines,
                outcomes: match &fast.ports {
                    Ports::Lines(lines) => distinct_outcomes(lines, &fast.meanings.of_rows),
                    Ports::Rows(_) => fast.meanings.of_rows.len(),
                },
                pair_bytes: fast.cells.bytes()
                    + fast.layers.as_ref().map_or(0, |layers| layers.bytes())
                    + (fast.from.len() + fast.to.len()) * 2,
                line_bytes: fast.ports.bytes(),
                outcome_bytes: fast.outcome_bytes(),
                ..Statistics::default()
            }
        }
        CellTables::Grouped(grouped) => Statistics {
            lines: grouped.lines.spans.len() - 1,
            source_lines: grouped.source_lines.spans.len() - 1,
            outcomes: grouped.outcomes.outcomes.len(),
            pair_bytes: grouped.pairs.cells.bytes() + grouped.classes.len() * size_of::<Class>(),
            line_bytes: grouped.lines.bytes() + grouped.source_lines.bytes(),
            outcome_bytes: grouped.outcomes.bytes(),
            ..Statistics::default()
        },
    }
}

/// How many outcomes lines tell apart: each place has a list of its own, in which they come again.
fn distinct_outcomes(lines: &PortLines, of_general: &[u32]) -> usize {
    let in_lists = (0..lines.outcomes.len() as u32).map(|at| *lines.outcomes.get(at));
    let mut outcomes: Vec<u32> = in_lists.chain(of_general.iter().copied()).collect();
    outcomes.sort_unstable();
    outcomes.dedup();
    outcomes.len()
}

fn by_family(ranges: &[(IpRange, u32)]) -> (Vec<Labelled<u32>>, Vec<Labelled<u128>>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for (range, item) in ranges {
        match *range {
            IpRange::V4(first, last) => v4.push((first, last, *item)),
            IpRange::V6(first, last) => v6.push((first, last, *item)),
        }
    }
    (merge(v4), merge(v6))
}

/// For each set that rules name, whether a VLAN or MAC may decide who is in it.
fn by_place(atoms: &Atoms<'_>, nesting: &Nesting) -> Vec<bool> {
    let mut segments = vec![false; nesting.order.len()];
    let mut sets = vec![false; atoms.sets.len()];
    let mut mark = |effect, segments: &mut Vec<bool>| match effect {
        atom::Effect::Member(SegmentId(id)) | atom::Effect::Except(SegmentId(id)) => {
            segments[id as usize] = true
        }
        atom::Effect::Set(set) => sets[set.0 as usize] = true,
    };
    for code in atoms.gates.iter().flat_map(|gate| &gate.effects) {
        mark(atoms.effect(*code), &mut segments);
    }
    for id in &nesting.order {
        if segments[*id as usize] {
            for effect in &nesting.effects[*id as usize] {
                mark(*effect, &mut segments);
            }
        }
    }
    sets
}

/// Numbers the classes on both sides, so that the rules spread to few pairs.
fn levels(
    policy: &Policy,
    order: &[crate::policy::RuleId],
    rules: &[Sides],
    of_class: &[Vec<u32>],
    by_place: &[bool],
    limits: &Limits,
) -> Result<(Side, Side), CompileError> {
    let mut used = [vec![false; by_place.len()], vec![false; by_place.len()]];
    for Sides { from, to } in rules {
        for (used, set) in used.iter_mut().zip([from, to]) {
            if let Some(set) = set {
                used[*set as usize] = true;
            }
        }
    }
    let [from_sets, to_sets] = [&used[0], &used[1]].map(|used| Sets { of_class, used, by_place });
    let (mut from, mut to) = (Side::new(&from_sets), Side::new(&to_sets));
    let mut best = (usize::MAX, NARROW[0]);
    for narrow in NARROW {
        from.assign(&from_sets, narrow);
        to.assign(&to_sets, narrow);
        let cost = cell::cost(rules, &from, &to);
        if cost <= limits.spread_of_choice {
            return Ok((from, to));
        }
        best = best.min((cost, narrow));
    }
    from.assign(&from_sets, best.1);
    to.assign(&to_sets, best.1);
    if best.0 > limits.pairs {
        let widest = cell::widest(rules, &from, &to).expect("where there is no rule there is no cost");
        let rule = policy.rule(order[widest]).id.clone();
        return Err(CompileError::Pairs { limit: limits.pairs, needed: best.0, rule });
    }
    Ok((from, to))
}
