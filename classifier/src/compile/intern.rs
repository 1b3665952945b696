//! Gives each distinct slice of words a number.

use std::hash::{BuildHasherDefault, Hasher};

/// A fast hash for words that come from the policy. Not for keys that a packet chooses.
#[derive(Clone, Copy, Default)]
pub(crate) struct WordHasher(u64);

/// A map whose keys are words from the policy.
pub(crate) type WordHashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<WordHasher>>;

impl WordHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x2d35_8dcc_aa6c_78a5) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }
}

/// The distinct slices that were seen, numbered in the order in which they came.
#[derive(Clone, Debug)]
pub(super) struct Interner {
    /// All slices, one behind the other.
    words: Vec<u32>,
    /// Where each slice ends.
    ends: Vec<usize>,
    /// Slots of a hash table with linear probing: number + 1, 0 where free.
    slots: Vec<u32>,
}

impl Interner {
    /// One that knows the empty slice as number 0.
    pub(super) fn new() -> Self {
        let mut interner = Interner { words: Vec::new(), ends: Vec::new(), slots: vec![0; 64] };
        interner.number(&[]);
        interner
    }

    /// The number of the slice.
    pub(super) fn number(&mut self, slice: &[u32]) -> u32 {
        if self.ends.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut slot = Self::hash(slice) & mask;
        while let Some(number) = self.slots[slot].checked_sub(1) {
            if self.get(number) == slice {
                return number;
            }
            slot = (slot + 1) & mask;
        }
        let number = u32::try_from(self.ends.len()).expect("the limits of the compiler keep it below 2^32");
        self.words.extend_from_slice(slice);
        self.ends.push(self.words.len());
        self.slots[slot] = number + 1;
        number
    }

    /// The slice of that number.
    pub(super) fn get(&self, number: u32) -> &[u32] {
        let at = number as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.words[start..self.ends[at]]
    }

    /// How many slices there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// How many words they have together.
    pub(super) fn words(&self) -> usize {
        self.words.len()
    }

    fn hash(slice: &[u32]) -> usize {
        let mut hasher = WordHasher::default();
        for word in slice {
            hasher.write_u32(*word);
        }
        hasher.finish() as usize
    }

    fn grow(&mut self) {
        // Slices are hashed anew each time: few times, while there is little to lose.
        let size = self.slots.len() * if self.slots.len() < 1 << 16 { 4 } else { 2 };
        let mut slots = vec![0; size];
        for number in 0..self.ends.len() as u32 {
            let mut slot = Self::hash(self.get(number)) & (size - 1);
            while slots[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            slots[slot] = number + 1;
        }
        self.slots = slots;
    }
}
