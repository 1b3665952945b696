//! Builds a [`SpaceV6`].

use super::intern::WordHashMap;
use crate::tables::space_v6::{Line, Record, SpaceV6};

/// Runs of halves of addresses: first half and state, sorted, the first at 0.
type Runs = Vec<(u64, u32)>;

/// Where runs begin, behind the first: the half and the state from there on.
type Starts = [(u64, u32)];

const SLOTS: usize = 1 << 16;
/// Slots, and entries of a record, for each start of a run at most. Prefixes that are drawn at random within a record need five
/// for one in five hundred to share its entry with more than fit a line.
const ROOM: usize = 8;
/// Of so many starts, one may be behind another record than all are taken to at once.
const RARE: usize = 32;

/// The table of these runs: first address and state, sorted, the first at 0.
pub(super) fn space_v6(runs: &[(u128, u32)]) -> SpaceV6 {
    let mut builder = Builder {
        space: SpaceV6 {
            base: 0,
            shift: 0,
            slots: Vec::new(),
            entries: Vec::new(),
            lines: Vec::new(),
            records: Vec::new(),
            deep: 0,
        },
        uniform_lines: WordHashMap::default(),
        uniform: WordHashMap::default(),
        by_depth: Vec::new(),
    };
    let upper = builder.upper_runs(runs);
    let (first, starts) = (upper[0].1, &upper[1..]);
    builder.by_depth.clear();
    builder.slots(first, starts);
    let mut behind = builder.by_depth.iter().sum::<usize>();
    let most = behind / RARE;
    for (depth, count) in builder.by_depth.iter().enumerate() {
        behind -= count;
        builder.space.deep = depth;
        if behind <= most {
            break;
        }
    }
    builder.space
}

struct Builder {
    space: SpaceV6,
    /// The line that all entries of one state share.
    uniform_lines: WordHashMap<u32, u32>,
    /// The entry that all records of one state share.
    uniform: WordHashMap<u32, u32>,
    /// Starts of runs in the lines behind so many records.
    by_depth: Vec<usize>,
}

/// How a record cuts its runs up.
struct Cut {
    /// Its last entry and its width are not known yet.
    record: Record,
    /// The keys of the starts, where they are told apart by their keys.
    keys: Option<Vec<u32>>,
}

impl Builder {
    /// The runs of upper halves; the lower halves' records are made.
    fn upper_runs(&mut self, runs: &[(u128, u32)]) -> Runs {
        let mut found: Runs = Vec::new();
        let upper = |address: u128| (address >> 64) as u64;
        let mut before = 0;
        for same in runs.chunk_by(|a, b| upper(a.0) == upper(b.0)) {
            let (key, last) = (upper(same[0].0), same[same.len() - 1].1);
            // The run behind a split half was made in advance; what begins there takes its place.
            if found.last().is_some_and(|(start, _)| *start == key) {
                found.pop();
            }
            if same.len() == 1 && same[0].0 as u64 == 0 {
                found.push((key, last));
            } else {
                let starts: Runs = same.iter().map(|(start, state)| (*start as u64, *state)).collect();
                let record = match starts[0] {
                    (0, first) => self.lower(first, &starts[1..]),
                    _ => self.lower(before, &starts),
                };
                found.push((key, SpaceV6::BEHIND | record));
                found.extend(key.checked_add(1).map(|next| (next, last)));
            }
            before = last;
        }
        found
    }

    /// The record of a lower half.
    fn lower(&mut self, first: u32, starts: &Starts) -> u32 {
        let mut record = self.record(first, starts, 0);
        if record.last == 0 {
            record.first = self.space.entries[record.first as usize];
        }
        self.push(record)
    }

    fn push(&mut self, record: Record) -> u32 {
        self.space.records.push(record);
        self.space.records.len() as u32 - 1
    }

    fn slots(&mut self, first: u32, starts: &Starts) {
        let low = starts.first().map_or(0, |start| start.0);
        let high = starts.last().map_or(0, |start| start.0);
        let most = (starts.len() * ROOM).clamp(1, SLOTS) as u64;
        let base = |shift: u32| low >> shift << shift;
        let shift = (0..63).find(|shift| (high - base(*shift)) >> shift < most).unwrap_or(63);
        let base = base(shift);
        (self.space.base, self.space.shift) = (base, shift);
        let count = ((high - base) >> shift) + 1;
        let (mut state, mut at) = (first, 0);
        for slot in 0..count {
            // What begins with the slot is its first run; the very first slot holds all that is below as well.
            let behind = slot > 0 && starts.get(at).is_some_and(|start| start.0 == base + (slot << shift));
            if behind {
                state = starts[at].1;
                at += 1;
            }
            let inside = starts[at..].partition_point(|start| (start.0 - base) >> shift == slot);
            let record = self.record(state, &starts[at..at + inside], 0);
            self.space.slots.push(record);
            at += inside;
            state = at.checked_sub(1).map_or(first, |last| starts[last].1);
        }
    }

    /// The record of these runs; its entries are made.
    fn record(&mut self, first: u32, starts: &Starts, depth: usize) -> Record {
        let (Some(low), Some(high)) = (starts.first(), starts.last()) else {
            let entry = self.uniform_entry(first);
            return Record { base: 0, first: entry, last: 0, low: 63, shift: 31 };
        };
        let Cut { mut record, keys } = cut(starts, low.0, high.0);
        if let Some(keys) = &keys
            && starts.len() < Line::RUNS
        {
            record.first = self.space.entries.len() as u32;
            let line = self.line(first, keys, starts);
            self.space.entries.push(line);
            self.count(depth, starts.len());
            return record;
        }
        record.shift = shift_of(&record, starts, keys.is_some());
        record.last = (record.key(high.0) >> record.shift) as u16;
        record.first = self.space.entries.len() as u32;
        self.space.entries.resize((record.first + u32::from(record.last) + 1) as usize, 0);
        let spans = spans(&record, starts);
        let mut slot = 0;
        while slot < spans.len() {
            let (begin, mut end) = spans[slot];
            let state = begin.checked_sub(1).map_or(first, |last| starts[last].1);
            let mut behind = slot + 1;
            let entry = match &keys {
                Some(keys) if end - begin < Line::RUNS => {
                    // As many entries as have no more runs than a line together.
                    while behind < spans.len() && spans[behind].1 - begin < Line::RUNS {
                        end = spans[behind].1;
                        behind += 1;
                    }
                    self.count(depth, end - begin);
                    self.line(state, &keys[begin..end], &starts[begin..end])
                }
                None if begin == end => self.uniform_line(state),
                _ => {
                    let inner = self.record(state, &starts[begin..end], depth + 1);
                    SpaceV6::BEHIND | self.push(inner)
                }
            };
            let at = record.first as usize;
            self.space.entries[at + slot..at + behind].fill(entry);
            slot = behind;
        }
        record
    }

    fn count(&mut self, depth: usize, starts: usize) {
        self.by_depth.resize(self.by_depth.len().max(depth + 1), 0);
        self.by_depth[depth] += starts;
    }

    /// A line of these runs.
    fn line(&mut self, first: u32, keys: &[u32], starts: &Starts) -> u32 {
        if starts.is_empty() {
            return self.uniform_line(first);
        }
        let last = starts[starts.len() - 1].1;
        let mut line = Line { starts: [u32::MAX; 8], states: [last; 8] };
        (line.starts[0], line.states[0]) = (0, first);
        for (at, (key, (_, state))) in keys.iter().zip(starts).enumerate() {
            (line.starts[at + 1], line.states[at + 1]) = (*key, *state);
        }
        self.space.lines.push(line);
        self.space.lines.len() as u32 - 1
    }

    fn uniform_line(&mut self, state: u32) -> u32 {
        let lines = &mut self.space.lines;
        *self.uniform_lines.entry(state).or_insert_with(|| {
            lines.push(Line {
                starts: [0, u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX, u32::MAX],
                states: [state; 8],
            });
            lines.len() as u32 - 1
        })
    }

    fn uniform_entry(&mut self, state: u32) -> u32 {
        let line = self.uniform_line(state);
        let entries = &mut self.space.entries;
        *self.uniform.entry(state).or_insert_with(|| {
            entries.push(line);
            entries.len() as u32 - 1
        })
    }
}

/// The unit of a record's keys and what they are counted from: one unit before the first start, where it can.
fn cut(starts: &Starts, low: u64, high: u64) -> Cut {
    let base = |unit: u32| low.saturating_sub(1 << unit);
    let is_near = |unit: u32| (high - base(unit)) >> unit <= u64::from(u32::MAX);
    let exact = starts.iter().map(|start| start.0.trailing_zeros()).min().unwrap_or(0).min(63);
    let unit = if is_near(exact) { exact } else { (exact..63).find(|unit| is_near(*unit)).unwrap_or(63) };
    let record = Record { base: base(unit), first: 0, last: 0, low: unit as u8, shift: 31 };
    let keys = is_near(exact).then(|| starts.iter().map(|start| record.key(start.0)).collect());
    Cut { record, keys }
}

/// How wide the entries of a record are: as wide as leaves none with more runs than a line has, within bounds.
fn shift_of(record: &Record, starts: &Starts, is_exact: bool) -> u8 {
    let last = record.key(starts[starts.len() - 1].0);
    let most = (starts.len() * ROOM).clamp(2, SLOTS) as u32;
    let widest = last.ilog2();
    let mut best = widest;
    for shift in (0..=widest).rev().take_while(|shift| last >> shift < most) {
        best = shift;
        let tried = Record { shift: shift as u8, last: (last >> shift) as u16, ..*record };
        if is_exact && spans(&tried, starts).iter().all(|(begin, end)| end - begin < Line::RUNS) {
            break;
        }
    }
    best as u8
}

/// The starts inside of each entry, those at its very beginning aside.
fn spans(record: &Record, starts: &Starts) -> Vec<(usize, usize)> {
    let width = u32::from(record.shift) + u32::from(record.low);
    let (mut at, mut spans) = (0, Vec::with_capacity(usize::from(record.last) + 1));
    for entry in 0..=u64::from(record.last) {
        let begin = record.base + entry.checked_shl(width).unwrap_or(0);
        if entry > 0 && starts.get(at).is_some_and(|start| start.0 == begin) {
            at += 1;
        }
        let inside =
            starts[at..].iter().take_while(|start| u64::from(record.offset(record.key(start.0))) == entry);
        let end = at + inside.count();
        spans.push((at, end));
        at = end;
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::space_v6;

    struct Random(u64);

    impl Random {
        fn word(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.0 ^ self.0 >> 29
        }

        fn below(&mut self, bound: u64) -> u64 {
            (self.word() >> 8) % bound
        }
    }

    /// Holds a table against its runs, where they begin and around.
    fn check(runs: &[(u128, u32)]) -> crate::tables::space_v6::SpaceV6 {
        let space = space_v6(runs);
        let ends = [0, 1, u128::MAX, u128::MAX - 1, 1 << 127, u128::from(u64::MAX), 1 << 64];
        let around = runs.iter().flat_map(|(start, _)| {
            let near = [0, 1, 1 << 63, 1 << 64, 1 << 80, 1 << 100];
            near.into_iter().flat_map(move |by| [start.wrapping_add(by), start.wrapping_sub(by)])
        });
        for address in around.chain(ends) {
            let expected = runs[runs.partition_point(|(start, _)| *start <= address) - 1].1;
            assert_eq!(space.get(address), expected, "{address:x} of {} runs", runs.len());
        }
        space
    }

    #[test]
    fn every_run_is_found_whatever_the_prefixes_have_in_common() {
        let mut random = Random(3);
        for round in 0..600 {
            let homes = 1 + random.below(if round % 4 == 0 { 40 } else { 4 });
            let home_length = random.below(100) as u32;
            let nets: Vec<u128> = (0..homes)
                .map(|_| u128::from(random.word()) << 64 | u128::from(random.word()))
                .map(|net| net.checked_shr(128 - home_length).map_or(0, |net| net << (128 - home_length)))
                .collect();
            let mut runs = std::collections::BTreeMap::from([(0, 0)]);
            for state in 0..random.below([3, 20, 300, 3000][round % 4]) {
                let net = nets[random.below(homes) as usize];
                let within = (u128::from(random.word()) << 64 | u128::from(random.word()))
                    .checked_shr(home_length)
                    .unwrap_or(0);
                let length = [32, 48, 56, 60, 64, 64, 96, 128][random.below(8) as usize];
                let first = (net | within) >> (128 - length) << (128 - length);
                runs.insert(first, state as u32);
                let behind = (first >> (128 - length)).wrapping_add(1).checked_shl(128 - length);
                runs.insert(behind.unwrap_or(0), 1 + state as u32 % 5);
            }
            check(&runs.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn ends_of_the_space_are_runs_as_all_others() {
        check(&[(0, 7)]);
        check(&[(0, 7), (u128::MAX, 8)]);
        check(&[(0, 7), (1, 9), (u128::MAX, 8)]);
        check(&[(0, 7), (1 << 64, 9), (u128::from(u64::MAX) << 64, 8)]);
        let all: Vec<(u128, u32)> = (0..128).map(|bit| (1u128 << bit, bit)).collect();
        check(&[&[(0, 500)], all.as_slice()].concat());
        let down: Vec<(u128, u32)> = (1..=128).rev().map(|bit| (u128::MAX << (bit % 128), bit)).collect();
        let mut down = [&[(0, 500)], down.as_slice()].concat();
        down.sort_by_key(|run| run.0);
        down.dedup_by_key(|run| run.0);
        check(&down);
    }

    #[test]
    fn homes_that_share_a_slot_are_taken_deeper_together() {
        // A prefix at either end of the space, and all others in homes that only bits 24 to 40 tell apart.
        let mut runs = std::collections::BTreeMap::from([(0, 0), (1 << 120, 1), (0xff << 120, 2)]);
        let mut random = Random(5);
        for state in 3..20_000 {
            let home = 0x00fd_1234u128 << 104 | u128::from((random.below(200) * 0x101) & 0xffff) << 88;
            let first = home | u128::from(random.below(1 << 24)) << 64;
            runs.insert(first, state);
            runs.insert(first + (1 << 64), state % 7);
        }
        let space = check(&runs.into_iter().collect::<Vec<_>>());
        assert!(space.deep >= 1, "{}", space.deep);
    }
}
