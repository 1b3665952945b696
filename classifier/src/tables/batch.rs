//! Many packets at once, in stages, so that the misses of one packet hide behind the work for others.
//!
//! ```text
//! roots ─► entries ─► lines ─► numbers ─► buckets ─► port lines ─► answers      (32 packets per stage)
//! ```
//!
//! Each stage asks for the memory that the next one reads. No branch of a stage hangs on a packet, but for those
//! that policies of an unusual shape take.

use super::cells::Cells;
use super::fast::{Answer, Fast, code_of};
use super::group::Grouped;
use super::lanes::dispatch::{Job, dispatch};
use super::lanes::portable::Portable;
use super::lanes::{Instructions, Lanes};
use super::ports::{Ports, RunValue};
use super::space::Space;
use super::{CellTables, Tables};
use crate::addr::{Mac, VlanKey};
use crate::decision::{Decision, Judgement, Verdict};
use crate::endpoint::ServicePacket;

/// Packets per stage. Measured: 32 beats 16 and 64.
const STAGE: usize = 32;

/// A packet between addresses of type `A` (`u32` for IPv4, `u128` for IPv6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Query<A> {
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Source port.
    pub source_port: u16,
    /// Destination port, or ICMP type and code.
    pub destination_port: u16,
    /// IP protocol.
    pub protocol: u8,
}

const _: () = assert!(size_of::<Query<u32>>() == 16);

impl<A> Query<A> {
    #[inline(always)]
    fn packet(&self) -> ServicePacket {
        ServicePacket {
            protocol: self.protocol,
            source_port: self.source_port,
            destination_port: self.destination_port,
        }
    }
}

/// VLANs and MACs of a packet, where they are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Places {
    /// The source's.
    pub source: (Option<VlanKey>, Option<Mac>),
    /// The destination's.
    pub destination: (Option<VlanKey>, Option<Mac>),
}

/// An address whose states can be looked up in bulk.
trait Addressed: Copy {
    /// States of sources, then of destinations.
    fn states<L: Lanes>(tables: &Tables, queries: &[Query<Self>], states: &mut [[u32; STAGE]; 2]);
}

impl Addressed for u32 {
    #[inline(always)]
    fn states<L: Lanes>(tables: &Tables, queries: &[Query<u32>], states: &mut [[u32; STAGE]; 2]) {
        if tables.v4.upper.is_some() {
            v4_states::<L, true>(&tables.v4, queries, states);
        } else {
            v4_states::<L, false>(&tables.v4, queries, states);
        }
    }
}

#[inline(always)]
fn v4_states<L: Lanes, const WIDE: bool>(
    space: &Space,
    queries: &[Query<u32>],
    states: &mut [[u32; STAGE]; 2],
) {
    let [sources, destinations] = states;
    for ((query, source), destination) in queries.iter().zip(sources.iter_mut()).zip(destinations.iter_mut())
    {
        *source = space.entry_index(query.source);
        *destination = space.entry_index(query.destination);
        L::prefetch(space.entries.get(*source));
        L::prefetch(space.entries.get(*destination));
    }
    for (source, destination) in sources.iter_mut().zip(destinations.iter_mut()).take(queries.len()) {
        *source = *space.entries.get(*source);
        *destination = *space.entries.get(*destination);
        L::prefetch(space.lines.get(Space::line_index(*source)));
        L::prefetch(space.lines.get(Space::line_index(*destination)));
    }
    for ((query, source), destination) in queries.iter().zip(sources.iter_mut()).zip(destinations.iter_mut())
    {
        *source = space.state::<L, WIDE>(*source, query.source);
        *destination = space.state::<L, WIDE>(*destination, query.destination);
    }
}

impl Addressed for u128 {
    #[inline(always)]
    fn states<L: Lanes>(tables: &Tables, queries: &[Query<u128>], states: &mut [[u32; STAGE]; 2]) {
        for (at, query) in queries.iter().enumerate() {
            states[0][at] = tables.v6.get(query.source);
            states[1][at] = tables.v6.get(query.destination);
        }
    }
}

/// A batch to be answered.
struct Batch<'a, A> {
    tables: &'a Tables,
    fast: &'a Fast,
    queries: &'a [Query<A>],
    places: &'a [Places],
    answers: &'a mut [Answer],
}

impl<A: Addressed> Job for Batch<'_, A> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Batch { tables, fast, queries, places, answers } = self;
        let mut states = [[0; STAGE]; 2];
        let chunks = queries.chunks(STAGE).zip(answers.chunks_mut(STAGE)).enumerate();
        for (at, (queries, answers)) in chunks {
            A::states::<L>(tables, queries, &mut states);
            tables.refine_lanes(places.get(at * STAGE..).unwrap_or(&[]), &mut states);
            let softened = tables.softened_lanes(&states[1], queries.len());
            answer::<L, A>(fast, &mut states, queries, answers);
            if softened != 0 {
                for (lane, answer) in answers.iter_mut().enumerate() {
                    *answer = answer.towards(softened & 1 << lane != 0);
                }
            }
        }
    }
}

/// Looks pairs up in their buckets; a bit for each that needs a second look.
#[inline(always)]
fn in_buckets<L: Lanes, const WIDE: bool>(
    cells: &Cells,
    hashes: &[u32],
    cell_of: &mut [u32; STAGE],
    places: &mut [u32; STAGE],
) -> u32 {
    let mut unsure = 0;
    for (at, ((hash, cell_of), place)) in hashes.iter().zip(cell_of).zip(places).enumerate() {
        let (cell, is_unsure) = cells.in_bucket::<L, WIDE>(*hash);
        (*cell_of, *place) = (cell.cell, cell.place);
        unsure |= is_unsure << at;
    }
    unsure
}

#[inline(always)]
fn answer<L: Lanes, A>(
    fast: &Fast,
    states: &mut [[u32; STAGE]; 2],
    queries: &[Query<A>],
    answers: &mut [Answer],
) {
    let count = queries.len();
    let cells = &fast.cells;
    let [sources, destinations] = states;
    let mut places = [0; STAGE];
    let mut cell_of = [0; STAGE];
    for (source, destination) in sources.iter_mut().zip(destinations.iter_mut()).take(count) {
        *source = u32::from(fast.from[*source as usize]);
        *destination = u32::from(fast.to[*destination as usize]);
    }
    if cells.is_hashed {
        let mut hashes = [0; STAGE];
        for ((source, destination), hash) in sources.iter().zip(destinations.iter()).zip(&mut hashes) {
            *hash = cells.hash.mix(cells.hash.word(*source, *destination));
        }
        for hash in &hashes[..count] {
            L::prefetch(cells.buckets.get(cells.hash.bucket(*hash)));
        }
        let unsure = if cells.upper.is_some() {
            in_buckets::<L, true>(cells, &hashes[..count], &mut cell_of, &mut places)
        } else {
            in_buckets::<L, false>(cells, &hashes[..count], &mut cell_of, &mut places)
        };
        let mut rest = unsure;
        while rest != 0 {
            let at = rest.trailing_zeros() as usize & (STAGE - 1);
            rest &= rest - 1;
            let cell = cells.elsewhere(sources[at], destinations[at]);
            (cell_of[at], places[at]) = (cell.cell, cell.place);
        }
    } else {
        for at in 0..count {
            destinations[at] = cells.matrix_index(sources[at], destinations[at]);
            cells.prefetch_matrix::<L>(destinations[at]);
        }
        for at in 0..count {
            let cell = cells.of_matrix(destinations[at]);
            (cell_of[at], places[at]) = (cell.cell, cell.place);
        }
    }
    match &fast.ports {
        Ports::Lines(lines) => {
            for cell in &cell_of[..count] {
                L::prefetch(lines.lines.get(*cell));
            }
            for (at, query) in queries.iter().enumerate() {
                let class = lines.protocols[usize::from(query.protocol)];
                let line = lines.lines.get(cell_of[at]);
                let run = line.run::<L>(class, query.destination_port);
                let value = line.values[run as usize & 15];
                answers[at] = if class > 7 || value == RunValue::ELSEWHERE.0 {
                    fast.elsewhere(places[at], query.packet())
                } else {
                    Answer::closed(u32::from(value), places[at] << 4 | run)
                };
            }
        }
        Ports::Rows(rows) => {
            for (at, query) in queries.iter().enumerate() {
                let service = rows.services[rows.index(query.packet()) as usize];
                cell_of[at] = cell_of[at] * rows.width + u32::from(service);
                L::prefetch(&rows.rows[cell_of[at] as usize]);
            }
            for (at, answer) in answers.iter_mut().enumerate().take(count) {
                let outcome = rows.rows[cell_of[at] as usize];
                let code = fast.meanings.codes[usize::from(outcome)];
                *answer = Answer::closed(u32::from(code), u32::from(outcome));
            }
        }
    }
}

impl Tables {
    /// Answers for many IPv4 packets. `places` has one element per query, or none: then no VLAN or MAC is
    /// known, and no condition on one holds.
    ///
    /// # Panics
    /// Where there are fewer answers than queries.
    pub fn classify_v4(&self, queries: &[Query<u32>], places: &[Places], answers: &mut [Answer]) {
        self.classify(queries, places, answers);
    }

    /// Answers for many IPv6 packets.
    ///
    /// # Panics
    /// Where there are fewer answers than queries.
    pub fn classify_v6(&self, queries: &[Query<u128>], places: &[Places], answers: &mut [Answer]) {
        self.classify(queries, places, answers);
    }

    /// Takes VLANs and MACs into account, where the policy speaks of them.
    #[inline(always)]
    fn refine_lanes(&self, places: &[Places], states: &mut [[u32; STAGE]; 2]) {
        if !self.place.speaks_of_places() {
            return;
        }
        for (at, place) in places.iter().take(STAGE).enumerate() {
            let refine = |state, (vlan, mac)| self.place.refine(state, vlan, mac);
            states[0][at] = refine(states[0][at], place.source);
            states[1][at] = refine(states[1][at], place.destination);
        }
    }

    /// A bit for each destination that is softened.
    #[inline(always)]
    fn softened_lanes(&self, destinations: &[u32; STAGE], count: usize) -> u32 {
        if !self.any_softened {
            return 0;
        }
        let softened = |(at, class): (usize, &u32)| u32::from(self.softened[*class as usize]) << at;
        destinations.iter().take(count).enumerate().map(softened).sum()
    }

    /// The slow way, packet by packet.
    fn classify_grouped<A: Addressed>(
        &self,
        grouped: &Grouped,
        queries: &[Query<A>],
        places: &[Places],
        answers: &mut [Answer],
    ) {
        let mut states = [[0; STAGE]; 2];
        let chunks = queries.chunks(STAGE).zip(answers.chunks_mut(STAGE)).enumerate();
        for (at, (queries, answers)) in chunks {
            A::states::<Portable>(self, queries, &mut states);
            self.refine_lanes(places.get(at * STAGE..).unwrap_or(&[]), &mut states);
            for (at, (query, answer)) in queries.iter().zip(answers).enumerate() {
                let judgement = grouped.judge(states[0][at], states[1][at], query.packet());
                *answer = Answer::grouped(code_of(&self.policy, judgement), judgement)
                    .towards(self.softened[states[1][at] as usize]);
            }
        }
    }

    /// What happens to the packet of an answer.
    #[must_use]
    #[inline]
    pub fn verdict_of(&self, answer: Answer) -> Verdict {
        self.verdicts[usize::from(answer.is_softened())][answer.code()]
    }

    /// What the rules say of the packet of an answer.
    #[must_use]
    pub fn judgement_of(&self, answer: Answer) -> Judgement {
        match &self.cells {
            CellTables::Closed(fast) => fast.judgement(answer),
            CellTables::Grouped(_) => answer.grouped_judgement(),
        }
    }

    /// What happens to the packet of an answer, and why.
    #[must_use]
    pub fn decision_of(&self, answer: Answer) -> Decision {
        Decision::of(&self.policy, self.judgement_of(answer), answer.is_softened())
    }

    /// The instructions that look-ups in bulk run on.
    #[must_use]
    pub fn instructions(&self) -> Instructions {
        self.instructions
    }

    /// The same tables on other instructions, `None` where this processor has them not.
    #[must_use]
    pub fn with_instructions(mut self, instructions: Instructions) -> Option<Tables> {
        self.instructions = instructions;
        instructions.are_available().then_some(self)
    }

    fn classify<A: Addressed>(&self, queries: &[Query<A>], places: &[Places], answers: &mut [Answer]) {
        let answers = &mut answers[..queries.len()];
        match &self.cells {
            CellTables::Closed(fast) => {
                dispatch(self.instructions, Batch { tables: self, fast, queries, places, answers });
            }
            CellTables::Grouped(grouped) => self.classify_grouped(grouped, queries, places, answers),
        }
    }
}
