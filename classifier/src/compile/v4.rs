//! Builds a [`V4Table`] from runs of addresses.

use crate::tables::v4::{Line, V4Table, entry};

/// The table of these runs: first address and value, sorted, the first at 0. Values are at most
/// [`entry::PAYLOAD`].
pub(super) fn v4_table(runs: &[(u32, u32)]) -> V4Table {
    let mut table = V4Table { root: Box::new([]), dense: Vec::new(), lines: Vec::new() };
    let mut rest = runs;
    let mut root = Vec::with_capacity(1 << 16);
    for upper in 0..1u32 << 16 {
        let (entry, after) = span(&mut table, rest, upper << 16, 16);
        root.push(entry);
        rest = after;
    }
    table.root = root.into_boxed_slice();
    table
}

/// The entry for the 2^`bits` addresses from `base` on, and the runs that hold the addresses behind them.
/// The first of `runs` holds `base`.
fn span<'r>(table: &mut V4Table, runs: &'r [(u32, u32)], base: u32, bits: u32) -> (u32, &'r [(u32, u32)]) {
    let last = base | ((1 << bits) - 1);
    // Spans are visited in order, so what is skipped here is skipped once.
    let inside = match runs[1..].iter().take(257).position(|(start, _)| *start > last) {
        Some(n) => n + 1,
        None if runs.len() <= 257 => runs.len(),
        None => runs[1..].partition_point(|(start, _)| *start <= last) + 1,
    };
    let here = &runs[..inside];
    let rest = match runs.get(inside) {
        Some((start, _)) if *start == last.wrapping_add(1) => &runs[inside..],
        Some(_) | None => &runs[inside - 1..],
    };
    let made = if here.len() == 1 {
        here[0].1
    } else if here.len() <= Line::RUNS {
        let mut line = Line { starts: [u16::MAX; Line::RUNS], values: [here[here.len() - 1].1; Line::RUNS] };
        for (at, (start, value)) in here.iter().enumerate() {
            line.starts[at] = (start.max(&base) - base) as u16;
            line.values[at] = *value;
        }
        table.lines.push(line);
        entry::LINE << entry::SHIFT | index(table.lines.len() - 1)
    } else {
        let at = table.dense.len();
        table.dense.push([0; 256]);
        let mut rest = here;
        for slot in 0..256u32 {
            let (entry, after) = span(table, rest, base + (slot << (bits - 8)), bits - 8);
            table.dense[at][slot as usize] = entry;
            rest = after;
        }
        entry::DENSE << entry::SHIFT | index(at)
    };
    (made, rest)
}

fn index(at: usize) -> u32 {
    u32::try_from(at)
        .ok()
        .filter(|i| *i <= entry::PAYLOAD)
        .expect("2^32 addresses need fewer than 2^30 tables")
}
