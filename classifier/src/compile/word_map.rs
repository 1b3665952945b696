//! Builds a [`WordMap`].

use crate::tables::WordMap;

/// The map of these words; no word may come twice.
pub(super) fn word_map(entries: &[(u64, u32)]) -> WordMap {
    // Half full at most: a probe for an absent word then looks at 2.5 slots on average.
    let slots = (entries.len() * 2 + 1).next_power_of_two().max(2);
    let shift = 64 - slots.trailing_zeros();
    let mut words = vec![WordMap::EMPTY; slots].into_boxed_slice();
    let mut values = vec![0; slots].into_boxed_slice();
    for &(word, value) in entries {
        debug_assert_ne!(word, WordMap::EMPTY);
        let mut slot = WordMap::home(word, shift);
        while words[slot] != WordMap::EMPTY {
            debug_assert_ne!(words[slot], word, "a word comes once");
            slot = (slot + 1) & (slots - 1);
        }
        words[slot] = word;
        values[slot] = value;
    }
    WordMap { words, values, shift }
}
