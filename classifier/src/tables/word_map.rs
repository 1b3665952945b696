//! A read-only hash table from 64-bit words to 32-bit values: open addressing with linear probing.
//!
//! The builder is `compile::word_map`. Words come from the policy and not from packets, so the hash needs no
//! secret: a packet can only choose which word is looked up.

/// The table. A slot that holds [`WordMap::EMPTY`] ends a probe.
#[derive(Clone, Debug)]
pub(crate) struct WordMap {
    /// Power-of-two many words; at least one is [`WordMap::EMPTY`].
    pub(crate) words: Box<[u64]>,
    /// The value of each word.
    pub(crate) values: Box<[u32]>,
    /// How far a hash is shifted to yield a slot.
    pub(crate) shift: u32,
}

impl WordMap {
    /// Not a word that can be looked up.
    pub(crate) const EMPTY: u64 = u64::MAX;

    /// The slot at which the probe for a word begins (Fibonacci hashing: Knuth, TAOCP vol. 3, §6.4).
    #[inline]
    pub(crate) const fn home(word: u64, shift: u32) -> usize {
        ((word ^ (word >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
    }

    /// The value of the word.
    #[inline]
    pub(crate) fn get(&self, word: u64) -> Option<u32> {
        let mask = self.words.len() - 1;
        let mut slot = Self::home(word, self.shift) & mask;
        loop {
            let found = self.words[slot];
            if found == word {
                return Some(self.values[slot]);
            }
            if found == Self::EMPTY {
                return None;
            }
            slot = (slot + 1) & mask;
        }
    }

    /// All words and their values.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, u32)> {
        self.words.iter().copied().zip(self.values.iter().copied()).filter(|(word, _)| *word != Self::EMPTY)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.words.len() * 12
    }
}
