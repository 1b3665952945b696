//! Lists of rules → rows.

use super::Contents;
use super::services::{BITS, Bits, ServiceClasses};
use crate::compile::combined::Lists;
use crate::compile::fast::MeaningBuilder;
use crate::compile::intern::{Interner, WordHashMap};
use crate::compile::service::LineBuilder;
use crate::decision::Judgement;
use crate::policy::{Policy, TierId};
use crate::tables::fast::{Layers, Meanings, code_of};
use crate::tables::outcome::{Effect, Outcome, Outcomes, Ranked};
use crate::tables::ports::{Block, DirectRows, PortRows, Ports, RowCell, Rows, ShapedRows};

/// The service classes of a policy, and which of them its rules hold.
pub(in crate::compile) struct RuleServices {
    classes: ServiceClasses,
    /// By rank: the services of the rule, as a number in `held`.
    services: Vec<u32>,
    /// Service classes of each distinct set of services.
    held: Vec<Bits>,
}

/// How lists of rules become rows.
pub(in crate::compile) struct RowPlan<'p> {
    policy: &'p Policy,
    services: &'p RuleServices,
    is_closed: bool,
    most: usize,
}

/// Rows are direct up to the limit shifted by that: 16 MB at most.
const DIRECT: u32 = 1;

/// What lists have in common whose rules have the same services in the same order.
struct Pattern {
    /// Its first block.
    shape: u32,
    /// By index of a block: the positions in the list that match. The first is empty: no rule.
    matches: Vec<Vec<u32>>,
}

/// Service classes that the rules of a list so far do not tell apart.
struct Alike {
    classes: Bits,
    matches: Vec<u32>,
    /// Whether an enforced rule of the current tier has matched.
    is_ended: bool,
}

/// A rule in a pattern: the number of its services, and what of it matters.
#[derive(Clone, Copy)]
struct Step(u32);

impl Step {
    fn new(services: u32, effect: Effect, is_first_of_tier: bool, is_final: bool) -> Step {
        Step(services << 4 | (effect as u32) << 2 | u32::from(is_first_of_tier) << 1 | u32::from(is_final))
    }

    fn services(self) -> usize {
        (self.0 >> 4) as usize
    }

    fn records(self) -> bool {
        self.0 >> 2 & 3 == Effect::Record as u32
    }

    fn decides(self) -> bool {
        self.0 >> 2 & 3 == Effect::Decide as u32
    }

    fn is_first_of_tier(self) -> bool {
        self.0 & 2 != 0
    }

    fn is_final(self) -> bool {
        self.0 & 1 != 0
    }
}

/// Distinct shapes and blocks.
struct Shapes {
    blocks: Interner,
    shapes: Interner,
    blocks_of_shape: usize,
}

impl Shapes {
    fn new(width: usize) -> Self {
        let blocks_of_shape = width.div_ceil(Block::LEN);
        Shapes { blocks: Interner::new(), shapes: Interner::new(), blocks_of_shape }
    }

    /// The first block of the shape with these indices, which fill whole blocks.
    fn number(&mut self, indices: &[u16]) -> u32 {
        let mut shape = Vec::with_capacity(self.blocks_of_shape);
        let mut words = [0; Block::LEN / 2];
        // Neighbours are alike more often than not.
        let mut last = None;
        for block in indices.chunks_exact(Block::LEN) {
            for (word, pair) in words.iter_mut().zip(block.chunks_exact(2)) {
                *word = u32::from(pair[0]) | u32::from(pair[1]) << 16;
            }
            // Number 0 is the empty slice, which is no block and no shape.
            let number = match last {
                Some((known, number)) if known == words => number,
                Some(_) | None => self.blocks.number(&words) - 1,
            };
            last = Some((words, number));
            shape.push(number);
        }
        let number = self.shapes.number(&shape) - 1;
        number * self.blocks_of_shape as u32
    }

    fn finish(&self) -> (Vec<u32>, Vec<Block>) {
        let shapes = (1..self.shapes.len() as u32).flat_map(|at| self.shapes.get(at)).copied();
        let block = |at: u32| {
            let mut block = Block([0; Block::LEN]);
            for (pair, word) in block.0.chunks_exact_mut(2).zip(self.blocks.get(at)) {
                (pair[0], pair[1]) = (*word as u16, (*word >> 16) as u16);
            }
            block
        };
        (shapes.collect(), (1..self.blocks.len() as u32).map(block).collect())
    }
}

impl RuleServices {
    /// Those of the rules of a builder, where they are few enough for rows.
    pub(in crate::compile) fn new(policy: &Policy, builder: &LineBuilder<'_>) -> Option<Self> {
        let classes = ServiceClasses::new(policy, builder)?;
        let (mut services, mut held) = (Vec::new(), Vec::new());
        let mut numbers = WordHashMap::default();
        for ranked in builder.ranked() {
            let of_rule = policy.rule(ranked.rule).services.as_slice();
            let number = *numbers.entry(of_rule).or_insert_with(|| {
                let mut all = vec![0; classes.width.div_ceil(64)];
                for service in of_rule {
                    for (all, word) in all.iter_mut().zip(&classes.of_service[service]) {
                        *all |= word;
                    }
                }
                held.push(all);
                held.len() as u32 - 1
            });
            services.push(number);
            if held.len() * classes.width.div_ceil(64) > BITS {
                return None;
            }
        }
        Some(RuleServices { classes, services, held })
    }
}

impl<'p> RowPlan<'p> {
    /// A plan. In `closed` cells all rules of a pair meet; others are for layers. The rows may have that many entries
    /// at most.
    pub(in crate::compile) fn new(
        policy: &'p Policy,
        services: &'p RuleServices,
        is_closed: bool,
        most: usize,
    ) -> Self {
        RowPlan { policy, services, is_closed, most }
    }

    /// So many cells can have direct rows, which are faster.
    pub(in crate::compile) fn most_direct(&self) -> usize {
        (self.most >> DIRECT) / self.width()
    }

    /// How many service classes there are.
    pub(in crate::compile) fn width(&self) -> usize {
        self.services.classes.width
    }

    /// Makes the rows, `None` where they have too many entries.
    pub(in crate::compile) fn build(
        self,
        lists: &Lists,
        builder: &mut LineBuilder<'_>,
    ) -> Option<RowContents> {
        let mut shapes = Shapes::new(self.width());
        let mut keys = Interner::new();
        let mut patterns: Vec<Pattern> = Vec::new();
        let mut cells = Vec::with_capacity(lists.len());
        let mut known: WordHashMap<(u32, u32), u32> = WordHashMap::default();
        let mut rows: Vec<RowCell> = Vec::new();
        let (mut bases, mut starts, mut outcomes) = (Interner::new(), Vec::new(), Vec::new());
        // Outcomes of rules that match alone, by rank.
        let mut alone = vec![u32::MAX; builder.ranked().len()];
        let mut seen = vec![(0, TierId(0)); self.services.held.len()];
        let (mut ranks, mut key, mut of_list) = (Vec::new(), Vec::new(), Vec::new());
        for list in 0..lists.len() as u32 {
            self.key(lists.get(list), builder, (list + 1, &mut seen), &mut ranks, &mut key);
            let number = keys.number(&key) as usize;
            // The interner knows the empty key from the start.
            while patterns.len() <= number {
                let pattern = self.pattern(keys.get(patterns.len() as u32), &mut shapes)?;
                patterns.push(pattern);
            }
            let Pattern { shape, matches } = &patterns[number];
            of_list.clear();
            for matches in matches {
                of_list.push(match matches.as_slice() {
                    [at] if alone[ranks[*at as usize] as usize] != u32::MAX => {
                        alone[ranks[*at as usize] as usize]
                    }
                    several => {
                        let matching = several.iter().map(|at| ranks[*at as usize]);
                        let outcome = builder.outcome(matching, self.is_closed);
                        if let [at] = several {
                            alone[ranks[*at as usize] as usize] = outcome;
                        }
                        outcome
                    }
                });
            }
            let base = bases.number(&of_list) as usize - 1;
            if base == starts.len() {
                starts.push(outcomes.len() as u32);
                outcomes.extend_from_slice(&of_list);
            }
            let cell = RowCell { shape: *shape, list: starts[base] };
            let number = *known.entry((cell.shape, cell.list)).or_insert_with(|| {
                rows.push(cell);
                rows.len() as u32 - 1
            });
            cells.push((number, 0));
            if outcomes.len() / 2 + shapes.shapes.words() + rows.len() * 2 > self.most {
                return None;
            }
        }
        let numbering = if self.is_closed {
            Numbering::of_closed(self.policy, builder)
        } else {
            Numbering::of_layers(self.policy, builder)
        };
        for outcome in &mut outcomes {
            *outcome = numbering.number(*outcome);
        }
        let width = self.width();
        let (shapes, blocks) = shapes.finish();
        let is_wide = outcomes.iter().any(|outcome| *outcome > 0xffff);
        let shaped = ShapedRows {
            cells: rows,
            shapes,
            blocks,
            upper: is_wide.then(|| outcomes.iter().map(|outcome| (*outcome >> 16) as u16).collect()),
            outcomes: outcomes.iter().map(|outcome| *outcome as u16).collect(),
        };
        let is_direct = !is_wide && shaped.cells.len() * width <= self.most >> DIRECT;
        let rows = if is_direct { Rows::Direct(direct(&shaped, width)) } else { Rows::Shaped(shaped) };
        let ServiceClasses { protocols, sources, destinations, services, .. } = &self.services.classes;
        let ports = PortRows {
            protocols: protocols.clone(),
            sources: sources.clone(),
            destinations: destinations.clone(),
            services: services.clone(),
            rows,
        };
        let Numbering { meanings, outcomes, .. } = numbering;
        Some(RowContents { contents: (Ports::Rows(ports), cells, meanings), outcomes })
    }

    /// The ranks of a list that may matter, and their steps. `seen` says for each set of services in which list and
    /// tier an enforced rule had it last.
    fn key(
        &self,
        list: &[u32],
        builder: &LineBuilder<'_>,
        (number, seen): (u32, &mut [(u32, TierId)]),
        ranks: &mut Vec<u32>,
        key: &mut Vec<u32>,
    ) {
        ranks.clear();
        key.clear();
        let mut last = None;
        for &rank in list {
            let Ranked { tier, effect, .. } = builder.ranked()[rank as usize];
            let services = self.services.services[rank as usize];
            if seen[services as usize] == (number, tier) {
                continue;
            }
            if effect != Effect::Record {
                seen[services as usize] = (number, tier);
            }
            let is_final = builder.is_final(rank, self.is_closed);
            ranks.push(rank);
            key.push(Step::new(services, effect, last != Some(tier), is_final).0);
            last = Some(tier);
        }
    }

    /// Finds which service classes fare alike.
    fn pattern(&self, key: &[u32], shapes: &mut Shapes) -> Option<Pattern> {
        let width = self.width();
        let mut all = vec![u64::MAX; width.div_ceil(64)];
        if !width.is_multiple_of(64) {
            *all.last_mut().expect("there is a class") = (1 << (width % 64)) - 1;
        }
        let mut open = vec![Alike { classes: all, matches: Vec::new(), is_ended: false }];
        let mut closed: Vec<Alike> = Vec::new();
        for (at, step) in (0u32..).zip(key.iter().map(|word| Step(*word))) {
            if step.is_first_of_tier() {
                open.iter_mut().for_each(|alike| alike.is_ended = false);
            }
            let held = &self.services.held[step.services()];
            for index in (0..open.len()).rev() {
                let here = &mut open[index];
                if here.is_ended || here.classes.iter().zip(held).all(|(a, b)| a & b == 0) {
                    continue;
                }
                let classes: Bits = here.classes.iter().zip(held).map(|(a, b)| a & b).collect();
                let mut matches = here.matches.clone();
                matches.push(at);
                here.classes.iter_mut().zip(held).for_each(|(a, b)| *a &= !b);
                if here.classes.iter().all(|word| *word == 0) {
                    open.swap_remove(index);
                }
                let alike = Alike { classes, matches, is_ended: !step.records() };
                if step.decides() && step.is_final() { closed.push(alike) } else { open.push(alike) }
            }
            if open.is_empty() {
                break;
            }
        }
        // What stands last in a list is a rule for any service more often than not: counted from there, the indices
        // of lists of different length are alike.
        let mut indices = vec![0; width.next_multiple_of(Block::LEN)];
        let mut matches = vec![Vec::new()];
        for alike in open.into_iter().chain(closed.into_iter().rev()) {
            if alike.matches.is_empty() {
                continue;
            }
            let index = u16::try_from(matches.len()).ok()?;
            matches.push(alike.matches);
            for (at, word) in alike.classes.iter().enumerate() {
                let mut word = *word;
                while word != 0 {
                    indices[at * 64 + word.trailing_zeros() as usize] = index;
                    word &= word - 1;
                }
            }
        }
        Some(Pattern { shape: shapes.number(&indices), matches })
    }
}

/// Writes shaped rows out.
fn direct(shaped: &ShapedRows, width: usize) -> DirectRows {
    let mut rows = Vec::with_capacity(shaped.cells.len() * width);
    for RowCell { shape, list } in &shaped.cells {
        let blocks = &shaped.shapes[*shape as usize..][..width.div_ceil(Block::LEN)];
        let indices = blocks.iter().flat_map(|block| shaped.blocks[*block as usize].0);
        let outcomes = &shaped.outcomes[*list as usize..];
        rows.extend(indices.take(width).map(|index| outcomes[usize::from(index)]));
    }
    DirectRows { width: width as u32, rows }
}

/// Contents, and where they are for layers the outcomes by number.
pub(in crate::compile) struct RowContents {
    pub(in crate::compile) contents: Contents,
    pub(in crate::compile) outcomes: Outcomes,
}

/// The numbers of outcomes in rows, and what they mean.
struct Numbering {
    /// By number in the builder, where they differ.
    of_builder: Vec<u32>,
    meanings: Meanings,
    outcomes: Outcomes,
}

impl Numbering {
    /// In closed cells, they are those of the builder.
    fn of_closed(policy: &Policy, builder: &LineBuilder<'_>) -> Self {
        let mut meanings = MeaningBuilder::new();
        let judgements: Vec<Judgement> =
            (0..builder.outcomes() as u32).map(|number| builder.judgement(number)).collect();
        let codes = judgements.iter().map(|judgement| code_of(policy, *judgement) as u8).collect();
        let of_rows = judgements.iter().map(|judgement| meanings.outcome(*judgement)).collect();
        let of_builder = (0..judgements.len() as u32).collect();
        Numbering { of_builder, meanings: meanings.finish(of_rows, codes), outcomes: Outcomes::default() }
    }

    /// In layers, they are by the rank of the first event; the empty outcome is the last.
    fn of_layers(policy: &Policy, builder: &LineBuilder<'_>) -> Self {
        let built = builder.built().outcomes;
        let rank = |number: &u32| {
            let Outcome { first_event, events, .. } = *built.get(*number);
            if events == 0 { u32::MAX } else { built.events[first_event as usize] }
        };
        let mut order: Vec<u32> = (0..built.outcomes.len() as u32).collect();
        order.sort_by_key(rank);
        let mut of_builder = vec![0; order.len()];
        for (number, of_built) in (0u32..).zip(&order) {
            of_builder[*of_built as usize] = number;
        }
        let mut meanings = MeaningBuilder::new();
        let (mut of_rows, mut codes) = (Vec::new(), Vec::new());
        for number in &order {
            let judgement = built.get(*number).judgement;
            let is_open = built.ranks.get(rank(number) as usize).is_some_and(|r| r.effect != Effect::Decide);
            of_rows.push(meanings.outcome(judgement));
            codes.push(if is_open { Layers::OPEN } else { code_of(policy, judgement) as u8 });
        }
        let outcomes = order.iter().map(|number| *built.get(*number)).collect();
        let outcomes = Outcomes { outcomes, ..built };
        Numbering { of_builder, meanings: meanings.finish(of_rows, codes), outcomes }
    }

    fn number(&self, outcome: u32) -> u32 {
        self.of_builder[outcome as usize]
    }
}
