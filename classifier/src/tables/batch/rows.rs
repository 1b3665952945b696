//! Service classes and rows of cells, in stages.

use super::super::fast::{Answer, Fast, Layers, Meanings};
use super::super::lanes::Lanes;
use super::super::ports::{Block, PortRows, Rows, ShapedRows};
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
    if fast.layers.is_none()
        && let Rows::Direct(direct) = &rows.rows
    {
        // The form of most: one row, and nothing that stands between it and the service.
        for (cell, query) in cell_of.iter_mut().zip(queries) {
            *cell = direct.position(*cell, rows.service(query.packet()));
            L::prefetch(&direct.rows[*cell as usize]);
        }
        for (cell, answer) in cell_of.iter().zip(answers) {
            *answer = closed(fast, u32::from(direct.rows[*cell as usize]));
        }
        return;
    }
    for (cell, (query, service)) in cell_of.iter().zip(queries.iter().zip(&mut services)) {
        prefetch::<L>(rows, *cell);
        *service = rows.service(query.packet());
    }
    match &fast.layers {
        None => {
            let mut lanes = [*cell_of];
            outcomes::<L, 1>(rows, &services, &mut lanes);
            for (outcome, answer) in lanes[0].iter().zip(answers) {
                *answer = closed(fast, *outcome);
            }
        }
        Some(layers) => {
            cells::<L>(layers, rows, sources, destinations);
            let mut lanes = [*cell_of, *sources, *destinations];
            outcomes::<L, 3>(rows, &services, &mut lanes);
            lowest(&fast.meanings, layers, &lanes, answers);
        }
    }
}

#[inline(always)]
fn closed(fast: &Fast, outcome: u32) -> Answer {
    Answer::closed(u32::from(fast.meanings.codes[outcome as usize]), outcome)
}

/// Asks for what a shaped row begins with.
#[inline(always)]
fn prefetch<L: Lanes>(rows: &PortRows, cell: u32) {
    if let Rows::Shaped(shaped) = &rows.rows {
        L::prefetch(&shaped.cells[cell as usize]);
    }
}

/// Numbers of source and destination → their cells in the two layers.
#[inline(always)]
fn cells<L: Lanes>(
    layers: &Layers,
    rows: &PortRows,
    sources: &mut [u32; STAGE],
    destinations: &mut [u32; STAGE],
) {
    for (source, destination) in sources.iter_mut().zip(destinations.iter_mut()) {
        (*source, *destination) = layers.positions(*source, *destination);
        L::prefetch(&layers.by_source[*source as usize]);
        L::prefetch(&layers.by_destination[*destination as usize]);
    }
    for (source, destination) in sources.iter_mut().zip(destinations.iter_mut()) {
        *source = layers.by_source[*source as usize];
        *destination = layers.by_destination[*destination as usize];
        prefetch::<L>(rows, *source);
        prefetch::<L>(rows, *destination);
    }
}

/// Cells → the outcomes of the service classes there.
#[inline(always)]
fn outcomes<L: Lanes, const N: usize>(
    rows: &PortRows,
    services: &[u32; STAGE],
    lanes: &mut [[u32; STAGE]; N],
) {
    match &rows.rows {
        Rows::Direct(direct) => {
            for lanes in lanes.iter_mut() {
                for (lane, service) in lanes.iter_mut().zip(services) {
                    *lane = direct.position(*lane, *service);
                    L::prefetch(&direct.rows[*lane as usize]);
                }
            }
            for lane in lanes.iter_mut().flatten() {
                *lane = u32::from(direct.rows[*lane as usize]);
            }
        }
        Rows::Shaped(shaped) => in_shapes::<L, N>(shaped, services, lanes),
    }
}

#[inline(always)]
fn in_shapes<L: Lanes, const N: usize>(
    rows: &ShapedRows,
    services: &[u32; STAGE],
    lanes: &mut [[u32; STAGE]; N],
) {
    let mut lists = [[0; STAGE]; N];
    for (lanes, lists) in lanes.iter_mut().zip(&mut lists) {
        for ((lane, list), service) in lanes.iter_mut().zip(lists).zip(services) {
            (*lane, *list) = rows.in_cell(*lane, *service);
            L::prefetch(&rows.shapes[*lane as usize]);
        }
    }
    for lanes in lanes.iter_mut() {
        for (lane, service) in lanes.iter_mut().zip(services) {
            *lane = rows.shapes[*lane as usize];
            L::prefetch(&rows.blocks[*lane as usize].0[*service as usize % Block::LEN]);
        }
    }
    for (lanes, lists) in lanes.iter_mut().zip(&lists) {
        for ((lane, list), service) in lanes.iter_mut().zip(lists).zip(services) {
            *lane = list + u32::from(rows.blocks[*lane as usize].0[*service as usize % Block::LEN]);
            L::prefetch(&rows.outcomes[*lane as usize]);
        }
    }
    for lane in lanes.iter_mut().flatten() {
        *lane = rows.outcome_at(*lane);
    }
}

/// The lowest outcome of each lane counts, where its first event decides; else the layers are put together.
#[inline(always)]
fn lowest(
    meanings: &Meanings,
    layers: &Layers,
    [narrow, by_source, by_destination]: &[[u32; STAGE]; 3],
    answers: &mut [Answer; STAGE],
) {
    let mut open = 0;
    for (at, answer) in answers.iter_mut().enumerate() {
        let lowest = narrow[at].min(by_source[at]).min(by_destination[at]);
        let code = u32::from(meanings.codes[lowest as usize]);
        open |= (code >> 2) << at;
        *answer = Answer::closed(code & 3, lowest);
    }
    while open != 0 {
        let at = open.trailing_zeros() as usize & (STAGE - 1);
        open &= open - 1;
        answers[at] = layers.merged([narrow[at], by_source[at], by_destination[at]]);
    }
}
