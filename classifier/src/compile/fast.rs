//! Rules → [`Fast`]: one closed cell per pair, where that is not too much.

use super::cell::RawCells;
use super::combined::{Combined, is_narrow};
use super::intern::{Interner, WordHashMap};
use super::level::Side;
use super::ports::{LinePlan, RowContents, RowPlan, RuleServices};
use super::service::LineBuilder;
use super::word_map::word_map;
use super::{CompileError, Limits};
use crate::decision::{Judgement, Verdict};
use crate::policy::{Mode, Policy, RuleId};
use crate::tables::Grouping;
use crate::tables::cells::{Bucket, Cells, Hash};
use crate::tables::fast::{Answer, Fast, Layers, Meanings, code_of};
use crate::tables::group::{Group, Level};
use crate::tables::journal::Journaled;
use crate::tables::ports::Ports;
use std::sync::Arc;

/// Pairs in a bucket on average: at 8.5 of 15, one bucket in eighty spills.
const LOAD: f64 = 8.5;
/// A matrix of all pairs is used up to here even if a hash would be smaller: it stays in the L2 cache.
const SMALL_MATRIX: usize = 1 << 19;
/// Cells of a layer.
const LAYER: usize = 1 << 23;
/// Ranks in the lists of all cells.
const RANKS: usize = 1 << 25;

/// Makes the tables of a policy, or tells what of them would be too large.
pub(super) fn fast(
    policy: &Policy,
    raw: &RawCells<'_>,
    classes: usize,
    builder: &mut LineBuilder<'_>,
    limits: &Limits,
) -> Result<Result<Fast, Grouping>, CompileError> {
    let (from, to) = (raw.from, raw.to);
    let (sources, destinations) = (from.rows(), to.rows());
    let (low, high) = (bits(destinations), bits(sources));
    if low + high > 32 || sources > 1 << 16 || destinations > 1 << 16 || limits.folded == 0 {
        return Ok(Err(Grouping::Kinds { sources, destinations }));
    }
    let mut combined = Combined::new(raw);
    let pairs = sources * destinations;
    let narrow_only = raw.groups.iter().all(is_narrow);
    let is_full = pairs <= limits.matrix && (pairs <= SMALL_MATRIX || !narrow_only);
    let (coarse_from, coarse_to): (Vec<u32>, Vec<u32>) = if is_full {
        ((0..sources as u32).collect(), (0..destinations as u32).collect())
    } else {
        (raw.coarse_sources(), raw.coarse_destinations())
    };
    let (rows, columns) = (representatives(&coarse_from), representatives(&coarse_to));
    // Where there is no rule yet, lines are as small, and take any rule that is put in later.
    let has_rules = !builder.ranked().is_empty();
    let services = if has_rules || !is_full { RuleServices::new(policy, builder) } else { None };
    let services = services.as_ref();
    if rows.len() * columns.len() > limits.matrix {
        return layered(policy, raw, (classes, services), builder, limits);
    }
    let plan = services.map(|services| RowPlan::new(policy, services, true, limits.rows));
    let plan = if is_full { plan } else { None };
    // Full cells of wide policies are many. Where they are too many for direct rows, layers are tried before they
    // are all made.
    let most = plan.as_ref().map_or(usize::MAX, RowPlan::most_direct);
    let in_matrix = |group: &Group| is_full || !is_narrow(group);
    let matrix = match raw.matrix(&rows, &columns, in_matrix, &mut combined, most) {
        Some(matrix) => matrix,
        None => {
            if let Ok(fast) = layered(policy, raw, (classes, services), builder, limits)? {
                return Ok(Ok(fast));
            }
            let all = raw.matrix(&rows, &columns, in_matrix, &mut combined, usize::MAX);
            all.expect("there is no bound")
        }
    };
    let narrow = if is_full { Vec::new() } else { raw.narrow(true, &mut combined) };
    if combined.ranks() > RANKS {
        return layered(policy, raw, (classes, services), builder, limits);
    }
    let lists = combined.finish(builder, true);
    let plan = if is_full {
        plan
    } else {
        // Beside a hash, lines are smaller than rows, and can be changed in place.
        let plan = services.map(|services| RowPlan::new(policy, services, true, limits.rows));
        plan.filter(|plan| plan.width() * lists.len() <= limits.rows >> 4)
    };
    let (ports, cells, meanings) = match plan.and_then(|plan| plan.build(&lists, builder)) {
        Some(rows) => rows.contents,
        None => {
            // Without wide rules layers have nothing to keep apart, and lines are faster and can be changed in place.
            if !narrow_only && let Ok(fast) = layered(policy, raw, (classes, services), builder, limits)? {
                return Ok(Ok(fast));
            }
            LinePlan::new(policy, builder).build(&lists, builder)?
        }
    };
    let most = cells.iter().map(|(cell, _)| *cell).max().unwrap_or(0);
    let hash = hash(narrow.len(), low, low + high, most);
    let cell_of = |combination: u32| cells[lists.list_of(combination) as usize];
    let pairs_of_rows = |word: &(u32, u32, u32)| (hash.word(word.0, word.1), cell_of(word.2));
    let narrow: Vec<(u32, (u32, u32))> = narrow.iter().map(pairs_of_rows).collect();
    let matrix: Vec<(u32, u32)> = matrix.iter().map(|combination| cell_of(*combination)).collect();
    let wide = cells.iter().any(|(cell, _)| *cell > 0xffff);
    let (table, bases) = table(hash, &narrow, &matrix, wide, columns.len());
    let mut fast = Fast {
        from: Arc::new((0..classes).map(|class| from.row_of_class(class) as u16).collect()),
        to: Arc::new((0..classes).map(|class| to.row_of_class(class) as u16).collect()),
        cells: Cells { coarse_from: halves(&coarse_from), coarse_to: halves(&coarse_to), ..table },
        layers: None,
        ports,
        meanings: Arc::new(meanings),
        hashed_pairs: narrow.len(),
    };
    if fast.cells.places() > Answer::PLACES {
        return Ok(Err(Grouping::Pairs { pairs: fast.hashed_pairs }));
    }
    if let Ports::Lines(lines) = &mut fast.ports {
        lines.bases = Journaled::of(bases);
    }
    Ok(Ok(fast))
}

fn halves(numbers: &[u32]) -> Vec<u16> {
    numbers.iter().map(|number| *number as u16).collect()
}

/// The first row of each number.
fn representatives(coarse: &[u32]) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    for (row, number) in (0u32..).zip(coarse) {
        if *number as usize == found.len() {
            found.push(row);
        }
    }
    found
}

/// The tables of a policy in layers: the rules of narrow pairs, of wide destinations and of wide sources stay
/// apart, and the look-up takes the lowest rank of the three. Only where each match decides is that the answer.
fn layered(
    policy: &Policy,
    raw: &RawCells<'_>,
    (classes, services): (usize, Option<&RuleServices>),
    builder: &mut LineBuilder<'_>,
    limits: &Limits,
) -> Result<Result<Fast, Grouping>, CompileError> {
    let Some(services) = services else {
        return Ok(Err(Grouping::Services));
    };
    let plan = RowPlan::new(policy, services, false, limits.rows);
    let (from, to) = (raw.from, raw.to);
    let mut combined = Combined::new(raw);
    let (x, y) = (raw.coarse_sources(), raw.coarse_destinations());
    let (wide_from, wide_to) = (RawCells::widest(from), RawCells::widest(to));
    let (xs, ys) = (representatives(&x), representatives(&y));
    let (wide_froms, wide_tos) = (representatives(&wide_from), representatives(&wide_to));
    let cells = (xs.len() * wide_tos.len()).max(ys.len() * wide_froms.len());
    if cells > LAYER {
        return Ok(Err(Grouping::Wide { cells }));
    }
    let by_source = raw.matrix(&xs, &wide_tos, |g| g.to != Level::Narrow, &mut combined, usize::MAX);
    let half = |g: &Group| g.from != Level::Narrow && g.to == Level::Narrow;
    let by_destination = raw.matrix(&wide_froms, &ys, half, &mut combined, usize::MAX);
    let (Some(by_source), Some(by_destination)) = (by_source, by_destination) else {
        return Ok(Err(Grouping::Wide { cells }));
    };
    let narrow = raw.narrow(false, &mut combined);
    let lists = combined.finish(builder, false);
    let Some(RowContents { contents: (ports, cells, meanings), outcomes }) = plan.build(&lists, builder)
    else {
        return Ok(Err(Grouping::Services));
    };
    let (low, high) = (bits(to.rows()), bits(from.rows()));
    let hash = hash(narrow.len(), low, low + high, 0);
    let cell_of = |combination: &u32| cells[lists.list_of(*combination) as usize];
    let narrow: Vec<(u32, (u32, u32))> =
        narrow.iter().map(|(f, t, combination)| (hash.word(*f, *t), cell_of(combination))).collect();
    let wide = cells.len() > 1 << 16;
    let (table, _) = table(hash, &narrow, &[cell_of(&0)], wide, 1);
    let cells = Cells { is_hashed: true, ..table };
    let alone = |rule| Judgement { decided_by: Some(RuleId(rule)), first_monitor: None };
    let code = |rule| code_of(policy, alone(rule)) as u8;
    let layers = Layers {
        from: x
            .iter()
            .zip(&wide_from)
            .map(|(x, wide)| (*x * wide_tos.len() as u32, *wide * ys.len() as u32))
            .collect(),
        to: wide_to.iter().zip(&y).map(|(wide, y)| (*wide, *y)).collect(),
        by_source: by_source.iter().map(|combination| cell_of(combination).0).collect(),
        by_destination: by_destination.iter().map(|combination| cell_of(combination).0).collect(),
        outcomes,
        codes: (0..policy.rules().len() as u32).map(code).collect(),
    };
    Ok(Ok(Fast {
        from: Arc::new((0..classes).map(|class| from.row_of_class(class) as u16).collect()),
        to: Arc::new((0..classes).map(|class| to.row_of_class(class) as u16).collect()),
        cells,
        layers: Some(layers),
        ports,
        meanings: Arc::new(meanings),
        hashed_pairs: narrow.len(),
    }))
}

/// How many bits numbers below `count` have, with room for an eighth more and a few.
fn bits(count: usize) -> u32 {
    usize::BITS - (count + count / 8 + 32).leading_zeros()
}

/// How pairs are hashed: into as many buckets as the load asks for, and so many that a bucket spans less than half
/// of what a rest can tell apart beside the upper bits of cells. There is room for twice as many cells.
fn hash(pairs: usize, low: u32, bits: u32, most: u32) -> Hash {
    let rest_bits = (2 * most).leading_zeros().min(16);
    let by_load = (pairs as f64 / LOAD).ceil() as u32;
    let by_span = 1 << bits.saturating_sub(rest_bits - 1);
    let buckets = by_load.max(by_span).max(1);
    // What a bucket spans may leave room for more.
    let span = bits - buckets.ilog2();
    Hash { low, bits, buckets, rest_bits: (span + 1).min(rest_bits) }
}

/// The verdict of each code.
pub(super) fn verdicts(policy: &Policy) -> [[Verdict; 4]; 2] {
    let default = Verdict::from(policy.default());
    let enforced = [default, Verdict::Allow, Verdict::Deny, Verdict::Reject];
    match policy.mode() {
        Mode::Monitor => [[Verdict::Allow; 4]; 2],
        Mode::Enforce => [enforced, [Verdict::Allow, Verdict::Allow, Verdict::Deny, Verdict::Reject]],
    }
}

/// A rest that no word of the bucket has: a bucket spans fewer hashes than there are rests, so the one before its
/// first will do.
pub(super) fn unused(hash: Hash, bucket: u32) -> u16 {
    let first = (u64::from(bucket) << hash.bits).div_ceil(u64::from(hash.buckets));
    hash.rest((first as u32).wrapping_sub(1))
}

/// Fills the buckets and the matrix; yields the base of each place, too.
fn table(
    hash: Hash,
    narrow: &[(u32, (u32, u32))],
    matrix: &[(u32, u32)],
    wide: bool,
    columns: usize,
) -> (Cells, Vec<u32>) {
    let count = hash.buckets as usize;
    let mut buckets = vec![Bucket { rests: [0; 16], cells: [0; 16] }; count];
    for (at, bucket) in (0u32..).zip(&mut buckets) {
        bucket.rests = [unused(hash, at); 16];
        let rest = if matrix.len() > 1 { Bucket::ELSEWHERE } else { 0 };
        bucket.set(hash, Bucket::PAIRS, rest, matrix[0].0);
    }
    let mut bases = vec![matrix[0].1; count * 16];
    let mut filled = vec![0u8; count];
    let (mut spilled, mut spilled_cells) = (Vec::new(), Vec::new());
    for (word, (cell, base)) in narrow {
        let mixed = hash.mix(*word);
        let index = hash.bucket(mixed) as usize;
        let slot = usize::from(filled[index]);
        if slot == Bucket::PAIRS {
            buckets[index].spill();
            spilled.push((u64::from(*word), spilled_cells.len() as u32));
            spilled_cells.push(*cell);
            bases.push(*base);
            continue;
        }
        filled[index] += 1;
        buckets[index].set(hash, slot, hash.rest(mixed), *cell);
        bases[index * 16 + slot] = *base;
    }
    bases.extend(matrix.iter().map(|(_, base)| *base));
    let cells = Cells {
        hash,
        buckets: Journaled::of(buckets),
        spilled: word_map(&spilled),
        spilled_cells,
        is_hashed: !narrow.is_empty(),
        coarse_from: Vec::new(),
        coarse_to: Vec::new(),
        width: if matrix.len() == 1 { 0 } else { columns as u32 },
        matrix: matrix.iter().map(|(cell, _)| *cell as u16).collect(),
        matrix_upper: wide.then(|| matrix.iter().map(|(cell, _)| (*cell >> 16) as u16).collect()),
    };
    (cells, bases)
}

/// Gathers the meanings of outcomes.
#[derive(Debug, Default)]
pub(super) struct MeaningBuilder {
    judgements: Vec<Judgement>,
    known: WordHashMap<(u32, u32), u32>,
}

impl MeaningBuilder {
    pub(super) fn new() -> Self {
        MeaningBuilder { judgements: vec![Judgement::default()], known: WordHashMap::default() }
    }

    /// The outcome of a judgement.
    pub(super) fn outcome(&mut self, judgement: Judgement) -> u32 {
        match (judgement.decided_by, judgement.first_monitor) {
            (None, None) => 0,
            (Some(rule), None) => Meanings::RULE | rule.0,
            (rule, Some(monitor)) => {
                let key = (rule.map_or(u32::MAX, |r| r.0), monitor.0);
                *self.known.entry(key).or_insert_with(|| {
                    self.judgements.push(judgement);
                    self.judgements.len() as u32 - 1
                })
            }
        }
    }

    pub(super) fn finish(self, of_rows: Vec<u32>, codes: Vec<u8>) -> Meanings {
        Meanings { judgements: self.judgements, of_rows, codes }
    }
}

/// The rows of one side that wide rules do not tell apart share a number.
pub(super) fn coarse(side: &Side, signatures: impl Fn(u32, &mut Vec<u32>)) -> Vec<u32> {
    let mut known = Interner::new();
    let mut signature = Vec::new();
    let mut numbers = Vec::with_capacity(side.rows());
    for row in 0..side.rows() as u32 {
        signature.clear();
        signatures(row, &mut signature);
        // The interner's empty slice is no row's: each signature has a word at least.
        signature.push(u32::MAX);
        numbers.push(known.number(&signature) - 1);
    }
    numbers
}
