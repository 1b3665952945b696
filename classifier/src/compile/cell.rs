//! Rules → cells: which rules meet in which pair of classes.

use super::intern::{Interner, WordHashMap};
use super::level::Side;
use super::service::LineBuilder;
use super::word_map::word_map;
use super::{CompileError, Limits};
use crate::policy::{Policy, RuleId};
use crate::tables::WordMap;
use crate::tables::group::{Group, Level, Pairs};

/// The two sides of a rule: its sets, `None` for `any`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sides {
    pub(super) from: Option<u32>,
    pub(super) to: Option<u32>,
}

/// How many (pair, rule) entries the rules spread to, at the levels that the sides have now.
pub(super) fn cost(rules: &[Sides], from: &Side, to: &Side) -> usize {
    rules.iter().map(|rule| spread_of(rule, from, to)).fold(0, usize::saturating_add)
}

fn spread_of(rule: &Sides, from: &Side, to: &Side) -> usize {
    from.spread(rule.from).len().saturating_mul(to.spread(rule.to).len())
}

/// The rule that spreads most, for the message that says that the limit is passed.
pub(super) fn widest(rules: &[Sides], from: &Side, to: &Side) -> Option<usize> {
    (0..rules.len()).max_by_key(|at| spread_of(&rules[*at], from, to))
}

/// The rules of each group, spread over its pairs.
pub(super) struct RawCells<'a> {
    pub(super) groups: Vec<Group>,
    /// Distinct lists of ranks.
    pub(super) lists: Interner,
    /// Word and list of each cell, by group, sorted by word.
    pub(super) cells: Vec<Vec<(u64, u32)>>,
    pub(super) from: &'a Side,
    pub(super) to: &'a Side,
}

impl<'a> RawCells<'a> {
    /// Spreads the rules.
    pub(super) fn new(rules: &[Sides], from: &'a Side, to: &'a Side) -> Self {
        let groups = groups(rules, from, to);
        let mut lists = Interner::new();
        let mut raw: Vec<Vec<(u64, u32)>> = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            let in_group =
                |rule: &Sides| from.level(rule.from) == group.from && to.level(rule.to) == group.to;
            let mut entries: Vec<(u64, u32)> = Vec::new();
            for (rank, rule) in (0u32..).zip(rules).filter(|(_, rule)| in_group(rule)) {
                for f in from.spread(rule.from) {
                    entries.extend(to.spread(rule.to).iter().map(|t| (Pairs::word(at, *f, *t), rank)));
                }
            }
            entries.sort_unstable();
            let mut list = Vec::new();
            let mut cells = Vec::new();
            for chunk in entries.chunk_by(|a, b| a.0 == b.0) {
                list.clear();
                list.extend(chunk.iter().map(|(_, rank)| *rank));
                cells.push((chunk[0].0, lists.number(&list)));
            }
            raw.push(cells);
        }
        RawCells { groups, lists, cells: raw, from, to }
    }
}

/// Makes the cells of all groups.
pub(super) fn pairs(
    raw: &RawCells<'_>,
    builder: &mut LineBuilder<'_>,
    limits: &Limits,
) -> Result<Pairs, CompileError> {
    let RawCells { groups, lists, cells: raw, from, to } = raw;
    let mut groups = groups.clone();
    let maps: Vec<WordMap> = raw.iter().map(|cells| word_map(cells)).collect();
    fold(&mut groups);
    let mut plan = Plan::new(&Folder { groups: &groups, maps: &maps, from, to }, raw, lists);
    if plan.ranks > limits.folded {
        for (at, group) in groups.iter_mut().enumerate() {
            group.folded = 1 << at;
        }
        plan = Plan::new(&Folder { groups: &groups, maps: &maps, from, to }, raw, lists);
    }
    let cells = lines(&plan, &groups, lists, builder)?;
    debug_assert!(cells.len() <= limits.pairs);
    Ok(Pairs { groups, cells: word_map(&cells) })
}

/// Which lists each cell holds.
struct Plan {
    /// Distinct combinations of lists.
    parts: Interner,
    /// Group, word and combination of each cell.
    cells: Vec<(usize, u64, u32)>,
    /// Ranks in all combinations together: what making the lines will cost.
    ranks: usize,
}

impl Plan {
    fn new(folder: &Folder<'_>, raw: &[Vec<(u64, u32)>], lists: &Interner) -> Plan {
        let mut plan = Plan { parts: Interner::new(), cells: Vec::new(), ranks: 0 };
        let mut parts = Vec::new();
        for (at, cells) in raw.iter().enumerate() {
            for (word, list) in cells {
                folder.parts(at, *word, *list, &mut parts);
                let known = plan.parts.len();
                let number = plan.parts.number(&parts);
                if plan.parts.len() > known {
                    plan.ranks += parts.iter().map(|list| lists.get(*list).len()).sum::<usize>();
                }
                plan.cells.push((at, *word, number));
            }
        }
        plan
    }
}

/// Makes the line of each cell, each distinct one once.
fn lines(
    plan: &Plan,
    groups: &[Group],
    lists: &Interner,
    builder: &mut LineBuilder<'_>,
) -> Result<Vec<(u64, u32)>, CompileError> {
    let everything = (1u32 << groups.len()) - 1;
    // Lines of combinations and of lists of ranks; those of closed cells apart from those of others.
    let mut of_parts: [WordHashMap<u32, u32>; 2] = Default::default();
    let mut of_ranks: [(Interner, WordHashMap<u32, u32>); 2] =
        [(Interner::new(), WordHashMap::default()), (Interner::new(), WordHashMap::default())];
    let mut cells = Vec::with_capacity(plan.cells.len());
    for (at, word, parts) in &plan.cells {
        let closed = groups[*at].folded == everything;
        if let Some(line) = of_parts[usize::from(closed)].get(parts) {
            cells.push((*word, *line));
            continue;
        }
        let lists_here = plan.parts.get(*parts);
        let mut ranks: Vec<u32> = lists_here.iter().flat_map(|list| lists.get(*list)).copied().collect();
        ranks.sort_unstable();
        builder.prune(&mut ranks, closed);
        let (known, of_ranks) = &mut of_ranks[usize::from(closed)];
        let number = known.number(&ranks);
        let line = match of_ranks.get(&number) {
            Some(line) => *line,
            None => {
                let line = builder.line(&ranks, closed)?;
                of_ranks.insert(number, line);
                line
            }
        };
        of_parts[usize::from(closed)].insert(*parts, line);
        cells.push((*word, line));
    }
    Ok(cells)
}

/// The groups that rules are in, the finer ones first.
fn groups(rules: &[Sides], from: &Side, to: &Side) -> Vec<Group> {
    let mut used = [[false; Level::COUNT]; Level::COUNT];
    for rule in rules {
        used[from.level(rule.from) as usize][to.level(rule.to) as usize] = true;
    }
    let mut groups = Vec::new();
    for f in Level::ALL {
        for t in Level::ALL {
            if used[f as usize][t as usize] {
                groups.push(Group { from: f, to: t, folded: 0 });
            }
        }
    }
    groups.sort_by_key(|g| u8::from(g.from != Level::Narrow) + u8::from(g.to != Level::Narrow));
    groups
}

/// Lets the cells of each group hold the rules of all groups that are coarser.
fn fold(groups: &mut [Group]) {
    for at in 0..groups.len() {
        let Group { from, to, .. } = groups[at];
        let folds = |(_, g): &(usize, &Group)| from.refines(g.from) && to.refines(g.to);
        groups[at].folded = groups.iter().enumerate().filter(folds).map(|(bit, _)| 1 << bit).sum();
    }
}

/// Finds what coarser groups say of a pair.
struct Folder<'a> {
    groups: &'a [Group],
    /// Lists of ranks by word, by group.
    maps: &'a [WordMap],
    from: &'a Side,
    to: &'a Side,
}

impl Folder<'_> {
    /// The lists of all groups that the cell holds.
    fn parts(&self, at: usize, word: u64, own: u32, parts: &mut Vec<u32>) {
        let group = self.groups[at];
        let (f, t) = Pairs::numbers(word);
        parts.clear();
        parts.push(own);
        for (other, coarse) in self.groups.iter().enumerate() {
            if other == at || group.folded & 1 << other == 0 {
                continue;
            }
            let f = self.from.coarsen(f, group.from, coarse.from);
            let t = self.to.coarsen(t, group.to, coarse.to);
            if f != 0
                && t != 0
                && let Some(list) = self.maps[other].get(Pairs::word(other, f, t))
            {
                parts.push(list);
            }
        }
    }
}

/// The sides of the rules, in the order of evaluation.
pub(super) fn sides(policy: &Policy, order: &[RuleId], atoms: &super::atom::Atoms<'_>) -> Vec<Sides> {
    let set = |set| atoms.set_of(set).map(|id| id.0);
    let sides = |id: &RuleId| {
        let rule = policy.rule(*id);
        Sides { from: set(&rule.from), to: set(&rule.to) }
    };
    order.iter().map(sides).collect()
}
