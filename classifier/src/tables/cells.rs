//! (number of the source, number of the destination) → cell.
//!
//! ```text
//! (source, destination) ──hash──► bucket: up to 15 pairs ──► cell, place
//!                                       └─► none of them: matrix[coarse source][coarse destination]
//! ```
//!
//! The pairs that rules name by narrow sets are in the buckets. All else is by a matrix over *coarse* numbers,
//! which tell apart only what wide rules do; of a policy of segments alone it is one cell. Small policies are all
//! matrix. The hash is a bijection on the words that occur, so a bucket need not hold what the bucket's number says.
//!
//! The *place* of a cell is the slot of its pair, or its position in the matrix: what belongs to a pair and
//! not to the cell that many pairs share (the rules' identity) is found by it.

use super::journal::Journaled;
use super::lanes::{Lanes, Sixteen};
use super::ports::PortLines;
use super::word_map::WordMap;

/// Pairs whose hashes are neighbours.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Bucket {
    /// Low bits of the hash of each pair, [`Hash::rest_bits`] of them; unused ones hold a value that none in this
    /// bucket has. Of the last, these say whether there is more to look at. The bits above are the cell's.
    pub(crate) rests: Sixteen,
    /// Low 16 bits of the cell of each. The last is that of absent pairs, where the matrix is one cell and no pair has
    /// spilled; where one has, it is [`PortLines::GENERAL`].
    pub(crate) cells: Sixteen,
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    /// Pairs in a bucket.
    pub(crate) const PAIRS: usize = 15;
    /// What the last rest is where a pair that is absent here may be among the spilled ones, or is by a matrix.
    pub(crate) const ELSEWHERE: u16 = 1;

    /// The cell at a slot.
    #[inline(always)]
    pub(crate) fn cell(&self, hash: Hash, slot: usize) -> u32 {
        u32::from(self.cells[slot & 15]) | u32::from(self.rests[slot & 15]) >> hash.rest_bits << 16
    }

    /// Writes a slot.
    pub(crate) fn set(&mut self, hash: Hash, slot: usize, rest: u16, cell: u32) {
        debug_assert!(cell < hash.most_cells() && rest & !hash.rest_mask() == 0);
        self.rests[slot] = rest | ((cell >> 16) << hash.rest_bits) as u16;
        self.cells[slot] = cell as u16;
    }

    /// The slot, of those for pairs, with that rest.
    pub(crate) fn slot_of(&self, hash: Hash, rest: u16) -> Option<usize> {
        (0..Self::PAIRS).find(|slot| self.rests[*slot] & hash.rest_mask() == rest)
    }

    /// Notes that a pair has spilled.
    pub(crate) fn spill(&mut self) {
        self.rests[Self::PAIRS] = Self::ELSEWHERE;
        self.cells[Self::PAIRS] = PortLines::GENERAL as u16;
    }

    /// Whether a pair that is absent here may be elsewhere.
    pub(crate) fn has_spilled(&self) -> bool {
        self.rests[Self::PAIRS] & Self::ELSEWHERE != 0
    }
}

/// How a pair is hashed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hash {
    /// Bits of a destination's number.
    pub(crate) low: u32,
    /// Bits of a word: source and destination together.
    pub(crate) bits: u32,
    /// How many buckets there are.
    pub(crate) buckets: u32,
    /// Bits of a rest, at most 16: what tells the pairs of a bucket apart.
    pub(crate) rest_bits: u32,
}

impl Hash {
    /// The bits of a rest.
    #[inline(always)]
    pub(crate) fn rest_mask(self) -> u16 {
        ((1u32 << self.rest_bits) - 1) as u16
    }

    /// The rest of a hash.
    #[inline(always)]
    pub(crate) fn rest(self, hash: u32) -> u16 {
        hash as u16 & self.rest_mask()
    }

    /// The number of cells that slots have bits for.
    pub(crate) fn most_cells(self) -> u32 {
        1 << (32 - self.rest_bits).min(31)
    }

    /// The pair as a word.
    #[inline(always)]
    pub(crate) fn word(self, source: u32, destination: u32) -> u32 {
        source << self.low | destination
    }

    /// A bijection on words: multiplications by odd numbers, and a shifted xor (as in MurmurHash3's finaliser).
    #[inline(always)]
    pub(crate) fn mix(self, word: u32) -> u32 {
        let mask = ((1u64 << self.bits) - 1) as u32;
        let mut hash = word.wrapping_mul(0x9e37_79b1) & mask;
        hash ^= hash >> (self.bits / 2);
        hash.wrapping_mul(0x85eb_ca6b) & mask
    }

    /// The bucket of a hash.
    #[inline(always)]
    pub(crate) fn bucket(self, hash: u32) -> u32 {
        ((u64::from(hash) * u64::from(self.buckets)) >> self.bits) as u32
    }
}

/// Cell and place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cell {
    pub(crate) cell: u32,
    pub(crate) place: u32,
}

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    pub(crate) hash: Hash,
    pub(crate) buckets: Journaled<Bucket>,
    /// Pairs that found their bucket full: cells by word. The place follows from the index.
    pub(crate) spilled: WordMap,
    /// The cell of each spilled pair.
    pub(crate) spilled_cells: Vec<u32>,
    /// Whether any pair is in the buckets.
    pub(crate) is_hashed: bool,
    /// Coarse numbers by number of the source.
    pub(crate) coarse_from: Vec<u16>,
    /// Coarse numbers by number of the destination.
    pub(crate) coarse_to: Vec<u16>,
    /// How many coarse destinations there are; 0 where the matrix is one cell.
    pub(crate) width: u32,
    /// Cells by coarse numbers.
    pub(crate) matrix: Vec<u16>,
    /// Upper bits of those.
    pub(crate) matrix_upper: Option<Vec<u16>>,
}

impl Cells {
    /// The place of the first spilled pair.
    #[inline(always)]
    pub(crate) fn first_spilled(&self) -> u32 {
        self.hash.buckets * 16
    }

    /// The place of the first cell of the matrix.
    #[inline(always)]
    pub(crate) fn first_of_matrix(&self) -> u32 {
        self.first_spilled() + self.spilled_cells.len() as u32
    }

    /// How many places there are.
    pub(crate) fn places(&self) -> usize {
        self.first_of_matrix() as usize + self.matrix.len()
    }

    /// The position of a pair in the matrix.
    #[inline(always)]
    pub(crate) fn matrix_index(&self, source: u32, destination: u32) -> u32 {
        if self.width == 0 {
            return 0;
        }
        let (from, to) = (self.coarse_from[source as usize], self.coarse_to[destination as usize]);
        u32::from(from) * self.width + u32::from(to)
    }

    /// Asks for a position of the matrix.
    #[inline(always)]
    pub(crate) fn prefetch_matrix<L: Lanes>(&self, at: u32) {
        L::prefetch(&self.matrix[at as usize]);
    }

    /// The cell at a position of the matrix.
    #[inline(always)]
    pub(crate) fn of_matrix(&self, at: u32) -> Cell {
        let upper = self.matrix_upper.as_ref().map_or(0, |upper| u32::from(upper[at as usize]) << 16);
        Cell { cell: u32::from(self.matrix[at as usize]) | upper, place: self.first_of_matrix() + at }
    }

    /// The cell of a pair by the matrix.
    #[inline(always)]
    pub(crate) fn in_matrix(&self, source: u32, destination: u32) -> Cell {
        self.of_matrix(self.matrix_index(source, destination))
    }

    /// The cell of a pair by its bucket, and whether the pair is absent there and may be elsewhere.
    #[inline(always)]
    pub(crate) fn in_bucket<L: Lanes>(&self, bucket: &Bucket, index: u32, rest: u16) -> (Cell, u32) {
        let slot = L::equal_under(&bucket.rests, self.hash.rest_mask(), rest);
        let rest = u32::from(bucket.rests[slot as usize & 15]);
        let cell = u32::from(bucket.cells[slot as usize & 15]) | rest >> self.hash.rest_bits << 16;
        // 1 where the pair is absent, by arithmetic: every second packet may be, in no order.
        let is_absent = (slot + 1) >> 4;
        (Cell { cell, place: index * 16 + slot }, is_absent & rest & u32::from(Bucket::ELSEWHERE))
    }

    /// Whether the matrix is one cell, and none of so many cells has upper bits.
    #[inline(always)]
    pub(crate) fn is_plain(&self, cells: usize) -> bool {
        self.width == 0 && cells <= 1 << 16
    }

    /// The cell of a pair by its bucket, in a table that [is plain](Cells::is_plain). Where the pair is absent and may
    /// be elsewhere, the cell is [`PortLines::GENERAL`], and the place [is absent](Cells::is_absent).
    #[inline(always)]
    pub(crate) fn in_plain_bucket<L: Lanes>(bucket: &Bucket, index: u32, rest: u16) -> Cell {
        let slot = L::equal_under(&bucket.rests, u16::MAX, rest);
        Cell { cell: u32::from(bucket.cells[slot as usize & 15]), place: index * 16 + slot }
    }

    /// Whether a place that [`Cells::in_plain_bucket`] yields is that of an absent pair.
    pub(crate) fn is_absent(place: u32) -> bool {
        place as usize % 16 == Bucket::PAIRS
    }

    /// The cell of a pair that its bucket does not hold.
    #[cold]
    pub(crate) fn elsewhere(&self, source: u32, destination: u32) -> Cell {
        match self.spilled.get(u64::from(self.hash.word(source, destination))) {
            Some(at) => Cell { cell: self.spilled_cells[at as usize], place: self.first_spilled() + at },
            None => self.in_matrix(source, destination),
        }
    }

    /// The cell of a pair.
    #[inline(always)]
    pub(crate) fn find<L: Lanes>(&self, source: u32, destination: u32) -> Cell {
        if self.is_hashed {
            let hash = self.hash.mix(self.hash.word(source, destination));
            let index = self.hash.bucket(hash);
            let (cell, is_unsure) = self.in_bucket::<L>(self.buckets.get(index), index, self.hash.rest(hash));
            if is_unsure != 0 { self.elsewhere(source, destination) } else { cell }
        } else {
            self.in_matrix(source, destination)
        }
    }

    /// The cell at a place.
    pub(crate) fn at(&self, place: u32) -> u32 {
        if place >= self.first_of_matrix() {
            let at = (place - self.first_of_matrix()) as usize;
            return u32::from(self.matrix[at])
                | self.matrix_upper.as_ref().map_or(0, |u| u32::from(u[at]) << 16);
        }
        if place >= self.first_spilled() {
            return self.spilled_cells[(place - self.first_spilled()) as usize];
        }
        self.buckets.get(place / 16).cell(self.hash, place as usize % 16)
    }

    /// Makes the contents those of `source`.
    pub(crate) fn renew(&mut self, source: &Cells) {
        let Cells {
            hash,
            buckets,
            spilled,
            spilled_cells,
            is_hashed,
            coarse_from,
            coarse_to,
            width,
            matrix,
            matrix_upper,
        } = source;
        (self.hash, self.is_hashed, self.width) = (*hash, *is_hashed, *width);
        self.buckets.renew(buckets);
        self.spilled.clone_from(spilled);
        self.spilled_cells.clone_from(spilled_cells);
        self.coarse_from.clone_from(coarse_from);
        self.coarse_to.clone_from(coarse_to);
        self.matrix.clone_from(matrix);
        self.matrix_upper.clone_from(matrix_upper);
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let matrix_upper = self.matrix_upper.as_ref().map_or(0, |m| m.len() * 2);
        let coarse = (self.coarse_from.len() + self.coarse_to.len()) * 2;
        self.buckets.bytes()
            + self.spilled.bytes()
            + self.spilled_cells.len() * 4
            + coarse
            + self.matrix.len() * 2
            + matrix_upper
    }
}
