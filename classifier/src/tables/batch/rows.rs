//! Service classes and rows of cells, in stages.

use super::super::fast::{Answer, Fast};
use super::super::lanes::Lanes;
use super::super::ports::PortRows;
use super::{Query, STAGE};

/// Looks services up in the rows of cells.
#[inline(always)]
pub(super) fn in_rows<L: Lanes, A>(
    fast: &Fast,
    rows: &PortRows,
    [sources, destinations]: [&mut [u32; STAGE]; 2],
    cell_of: &mut [u32; STAGE],
    queries: &[Query<A>; STAGE],
    answers: &mut [Answer; STAGE],
) {
    let mut services = [0; STAGE];
    for (at, query) in queries.iter().enumerate() {
        services[at] = rows.service(query.packet());
        cell_of[at] = cell_of[at] * rows.width + services[at];
        L::prefetch(&rows.rows[cell_of[at] as usize]);
    }
    if let Some(layers) = &fast.layers {
        for (source, destination) in sources.iter_mut().zip(destinations.iter_mut()) {
            (*source, *destination) = layers.positions(*source, *destination);
            L::prefetch(&layers.by_source[*source as usize]);
            L::prefetch(&layers.by_destination[*destination as usize]);
        }
        for at in 0..STAGE {
            let (a, b) =
                (layers.by_source[sources[at] as usize], layers.by_destination[destinations[at] as usize]);
            sources[at] = u32::from(a) * rows.width + services[at];
            destinations[at] = u32::from(b) * rows.width + services[at];
            L::prefetch(&rows.rows[sources[at] as usize]);
            L::prefetch(&rows.rows[destinations[at] as usize]);
        }
    }
    for (at, answer) in answers.iter_mut().enumerate() {
        let mut lowest = rows.rows[cell_of[at] as usize];
        if fast.layers.is_some() {
            let (a, b) = (rows.rows[sources[at] as usize], rows.rows[destinations[at] as usize]);
            lowest = lowest.min(a).min(b);
        }
        let outcome = lowest.wrapping_add(1);
        let code = fast.meanings.codes[usize::from(outcome)];
        *answer = Answer::closed(u32::from(code), u32::from(outcome));
    }
}
