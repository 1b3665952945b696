//! Many packets at once, in stages, so that the misses of one packet hide behind the work for others.
//!
//! ```text
//! roots ─► entries ─► lines ─► numbers ─► buckets ─► port lines ─► answers      (32 packets per stage)
//! ```
//!
//! Each stage asks for the memory that the next one reads. No branch of a stage hangs on a packet, but for those
//! that policies of an unusual shape take.

mod address;
mod rows;

use super::cells::Cells;
use super::fast::{Answer, Fast, code_of};
use super::group::Grouped;
use super::lanes::dispatch::{Job, dispatch};
use super::lanes::portable::Portable;
use super::lanes::{Instructions, Lanes};
use super::ports::{PortLines, Ports, RunValue};
use super::{CellTables, ClassId, Tables};
use crate::addr::{Mac, VlanKey};
use crate::decision::{Decision, Judgement, Verdict};
use crate::endpoint::ServicePacket;
use address::Addressed;
use rows::in_rows;

/// Packets per stage. A prototype was slower with 64 to 256; other sizes were not tried on these tables.
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

/// A batch to be answered.
struct Batch<'a, A> {
    tables: &'a Tables,
    fast: &'a Fast,
    queries: &'a [Query<A>],
    places: &'a [Places],
    answers: &'a mut [Answer],
    /// Where the classes of both ends go, if they are wanted; else empty.
    classes: &'a mut [Classes],
}

/// The classes of a packet's source and destination.
pub type Classes = (ClassId, ClassId);

impl<A: Addressed> Job for Batch<'_, A> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Batch { tables, fast, queries, places, answers, classes } = self;
        let (whole, rest) = queries.as_chunks::<STAGE>();
        let (whole_answers, rest_answers) = answers.as_chunks_mut::<STAGE>();
        for (at, (queries, answers)) in whole.iter().zip(whole_answers).enumerate() {
            let classes = classes.get_mut(at * STAGE..).unwrap_or_default();
            stages::<L, A>(tables, fast, queries, places.get(at * STAGE..).unwrap_or(&[]), answers, classes);
        }
        if !rest.is_empty() {
            // Stages are always full: what is missing is made up, and its answers are not taken.
            let mut padded = [Query::default(); STAGE];
            padded[..rest.len()].copy_from_slice(rest);
            let mut padded_answers = [Answer::default(); STAGE];
            let places = places.get(whole.len() * STAGE..).unwrap_or(&[]);
            let classes = classes.get_mut(whole.len() * STAGE..).unwrap_or_default();
            stages::<L, A>(tables, fast, &padded, places, &mut padded_answers, classes);
            rest_answers.copy_from_slice(&padded_answers[..rest.len()]);
        }
    }
}

#[inline(always)]
fn stages<L: Lanes, A: Addressed>(
    tables: &Tables,
    fast: &Fast,
    queries: &[Query<A>; STAGE],
    places: &[Places],
    answers: &mut [Answer; STAGE],
    classes: &mut [Classes],
) {
    let numbers_of: [&[u16]; 2] = [&fast.from, &fast.to];
    let mut numbers = [[0; STAGE]; 2];
    let mut softened = 0;
    if tables.any_softened || tables.place.speaks_of_places() || !classes.is_empty() {
        A::states::<L>(tables, queries, &mut numbers);
        tables.refine_lanes(places, &mut numbers);
        tell_classes(&numbers, classes);
        softened = tables.softened_lanes(&numbers[1]);
        to_numbers(numbers_of, &mut numbers);
    } else {
        A::numbers::<L>(tables, numbers_of, queries, &mut numbers);
    }
    answer::<L, A>(fast, &mut numbers, queries, answers);
    if softened != 0 {
        for (lane, answer) in answers.iter_mut().enumerate() {
            *answer = answer.towards(softened & 1 << lane != 0);
        }
    }
}

/// Tells the classes of as many packets as are asked for.
#[inline(always)]
fn tell_classes([sources, destinations]: &[[u32; STAGE]; 2], classes: &mut [Classes]) {
    for ((told, source), destination) in classes.iter_mut().zip(sources).zip(destinations) {
        *told = (ClassId(*source), ClassId(*destination));
    }
}

/// States → numbers of the pair.
#[inline(always)]
fn to_numbers(numbers_of: [&[u16]; 2], states: &mut [[u32; STAGE]; 2]) {
    for at in 0..STAGE {
        for (states, numbers_of) in states.iter_mut().zip(numbers_of) {
            states[at] = u32::from(numbers_of[states[at] as usize]);
        }
    }
}

/// Looks pairs up in their buckets. `PLAIN`: as [`Cells::in_plain_bucket`] does.
#[inline(always)]
fn in_buckets<L: Lanes, const PLAIN: bool>(
    cells: &Cells,
    [sources, destinations]: [&[u32; STAGE]; 2],
    cell_of: &mut [u32; STAGE],
    places: &mut [u32; STAGE],
) {
    let buckets = cells.buckets.all();
    let mut rests = [0; STAGE];
    let mut bucket_of = [&buckets[0]; STAGE];
    for at in 0..STAGE {
        let hash = cells.hash.mix(cells.hash.word(sources[at], destinations[at]));
        places[at] = cells.hash.bucket(hash);
        rests[at] = cells.hash.rest(hash);
    }
    for at in 0..STAGE {
        bucket_of[at] = &buckets[places[at] as usize];
        L::prefetch(bucket_of[at]);
    }
    if PLAIN {
        for at in 0..STAGE {
            let cell = Cells::in_plain_bucket::<L>(bucket_of[at], places[at], rests[at]);
            (cell_of[at], places[at]) = (cell.cell, cell.place);
        }
        return;
    }
    // A bit for each packet that needs a second look.
    let mut unsure = 0;
    for at in 0..STAGE {
        let (cell, is_unsure) = cells.in_bucket::<L>(bucket_of[at], places[at], rests[at]);
        (cell_of[at], places[at]) = (cell.cell, cell.place);
        unsure |= is_unsure << at;
    }
    while unsure != 0 {
        let at = unsure.trailing_zeros() as usize & (STAGE - 1);
        unsure &= unsure - 1;
        let cell = cells.elsewhere(sources[at], destinations[at]);
        (cell_of[at], places[at]) = (cell.cell, cell.place);
    }
}

/// Looks ports up in the lines of cells. `PLAIN`: cells are those of [`Cells::in_plain_bucket`].
#[inline(always)]
fn in_lines<L: Lanes, A, const PLAIN: bool>(
    fast: &Fast,
    lines: &PortLines,
    [sources, destinations]: [&[u32; STAGE]; 2],
    cell_of: &[u32; STAGE],
    places: &[u32; STAGE],
    queries: &[Query<A>; STAGE],
    answers: &mut [Answer; STAGE],
) {
    let all = lines.lines.all();
    let mut found = [&all[0]; STAGE];
    for at in 0..STAGE {
        found[at] = &all[cell_of[at] as usize];
        L::prefetch(found[at]);
    }
    let mut values = [0; STAGE];
    for at in 0..STAGE {
        let (line, query) = (found[at], &queries[at]);
        let class = lines.protocols[usize::from(query.protocol)];
        let run = line.run::<L>(class, query.destination_port);
        let value = line.values[run as usize & 15];
        values[at] = value;
        answers[at] = Answer::closed(u32::from(value), places[at] << 4 | run);
    }
    let mut general = L::equal_bytes(&values, RunValue::ELSEWHERE.0);
    while general != 0 {
        let at = general.trailing_zeros() as usize & (STAGE - 1);
        general &= general - 1;
        let packet = queries[at].packet();
        answers[at] = if PLAIN && Cells::is_absent(places[at]) {
            fast.behind_bucket::<L>(lines, sources[at], destinations[at], packet)
        } else {
            fast.elsewhere(places[at], packet)
        };
    }
}

#[inline(always)]
fn answer<L: Lanes, A>(
    fast: &Fast,
    numbers: &mut [[u32; STAGE]; 2],
    queries: &[Query<A>; STAGE],
    answers: &mut [Answer; STAGE],
) {
    let cells = &fast.cells;
    let [sources, destinations] = numbers;
    let mut places = [0; STAGE];
    let mut cell_of = [0; STAGE];
    if cells.is_hashed {
        if let Ports::Lines(lines) = &fast.ports
            && cells.is_plain(lines.lines.len())
        {
            in_buckets::<L, true>(cells, [sources, destinations], &mut cell_of, &mut places);
            let pairs = [&*sources, &*destinations];
            in_lines::<L, A, true>(fast, lines, pairs, &cell_of, &places, queries, answers);
            return;
        }
        in_buckets::<L, false>(cells, [sources, destinations], &mut cell_of, &mut places);
    } else {
        for at in 0..STAGE {
            destinations[at] = cells.matrix_index(sources[at], destinations[at]);
            cells.prefetch_matrix::<L>(destinations[at]);
        }
        for at in 0..STAGE {
            let cell = cells.of_matrix(destinations[at]);
            (cell_of[at], places[at]) = (cell.cell, cell.place);
        }
    }
    match &fast.ports {
        Ports::Lines(lines) => {
            let pairs = [&*sources, &*destinations];
            in_lines::<L, A, false>(fast, lines, pairs, &cell_of, &places, queries, answers);
        }
        Ports::Rows(rows) => {
            in_rows::<L, A>(fast, rows, [sources, destinations], &mut cell_of, queries, answers)
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
        self.classify(queries, places, answers, &mut []);
    }

    /// The same, and the classes of both ends of each.
    ///
    /// # Panics
    /// Where there are fewer answers than queries.
    pub fn classify_v4_with_classes(
        &self,
        queries: &[Query<u32>],
        places: &[Places],
        answers: &mut [Answer],
        classes: &mut [Classes],
    ) {
        self.classify(queries, places, answers, classes);
    }

    /// Answers for many IPv6 packets.
    ///
    /// # Panics
    /// Where there are fewer answers than queries.
    pub fn classify_v6(&self, queries: &[Query<u128>], places: &[Places], answers: &mut [Answer]) {
        self.classify(queries, places, answers, &mut []);
    }

    /// The same, and the classes of both ends of each.
    ///
    /// # Panics
    /// Where there are fewer answers than queries.
    pub fn classify_v6_with_classes(
        &self,
        queries: &[Query<u128>],
        places: &[Places],
        answers: &mut [Answer],
        classes: &mut [Classes],
    ) {
        self.classify(queries, places, answers, classes);
    }

    /// Whether VLANs or MACs make a difference: else places need not be given.
    #[must_use]
    pub fn speaks_of_places(&self) -> bool {
        self.place.speaks_of_places()
    }

    /// Takes VLANs and MACs into account, where the policy speaks of them.
    #[inline(always)]
    fn refine_lanes(&self, places: &[Places], states: &mut [[u32; STAGE]; 2]) {
        if !self.place.speaks_of_places() {
            return;
        }
        for (at, place) in places.iter().take(STAGE).enumerate() {
            let refine = |state, (vlan, mac)| self.refine(state, vlan, mac).0;
            states[0][at] = refine(states[0][at], place.source);
            states[1][at] = refine(states[1][at], place.destination);
        }
    }

    /// A bit for each destination that is softened.
    #[inline(always)]
    fn softened_lanes(&self, destinations: &[u32; STAGE]) -> u32 {
        if !self.any_softened {
            return 0;
        }
        let softened = |(at, class): (usize, &u32)| u32::from(self.softened[*class as usize]) << at;
        destinations.iter().enumerate().map(softened).sum()
    }

    /// The slow way, packet by packet.
    fn classify_grouped<A: Addressed>(
        &self,
        grouped: &Grouped,
        queries: &[Query<A>],
        places: &[Places],
        answers: &mut [Answer],
        classes: &mut [Classes],
    ) {
        let mut states = [[0; STAGE]; 2];
        let chunks = queries.chunks(STAGE).zip(answers.chunks_mut(STAGE)).enumerate();
        for (at, (queries, answers)) in chunks {
            let mut padded = [Query::default(); STAGE];
            padded[..queries.len()].copy_from_slice(queries);
            A::states::<Portable>(self, &padded, &mut states);
            self.refine_lanes(places.get(at * STAGE..).unwrap_or(&[]), &mut states);
            tell_classes(&states, classes.get_mut(at * STAGE..).unwrap_or_default());
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

    fn classify<A: Addressed>(
        &self,
        queries: &[Query<A>],
        places: &[Places],
        answers: &mut [Answer],
        classes: &mut [Classes],
    ) {
        let answers = &mut answers[..queries.len()];
        match &self.cells {
            CellTables::Closed(fast) => {
                dispatch(self.instructions, Batch { tables: self, fast, queries, places, answers, classes });
            }
            CellTables::Grouped(grouped) => {
                self.classify_grouped(grouped, queries, places, answers, classes);
            }
        }
    }
}
