//! A ring of words between two threads: one writes, the other reads, none waits.
//!
//! ```text
//!            head                tail
//!   +----+----+----+----+----+----+----+
//!   |    | w  | w  | w  | w  |    |    |      tail - head words; both only grow
//!   +----+----+----+----+----+----+----+
//!        reader's            writer's
//! ```
//!
//! A word is written before the tail that covers it is, and the reader sees the tail first: release and acquire. Each
//! side keeps what it last saw of the other's end, and looks again only where that is not enough, so that the two
//! touch each other's cache lines once a burst.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Alone on its pair of cache lines: the processor fetches them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Alone(AtomicU32);

#[derive(Debug)]
struct Ring {
    head: Alone,
    tail: Alone,
    words: Box<[AtomicU64]>,
}

/// The end that words are put into.
#[derive(Debug)]
pub(super) struct Writer {
    ring: Arc<Ring>,
    tail: u32,
    /// The reader's end, as it was seen last.
    head: u32,
}

/// The end that words come out of.
#[derive(Debug)]
pub(super) struct Reader {
    ring: Arc<Ring>,
    head: u32,
    /// The writer's end, as it was seen last.
    tail: u32,
}

/// A ring for `capacity` words.
///
/// # Panics
/// Where the capacity is no power of two.
pub(super) fn ring(capacity: u32) -> (Writer, Reader) {
    assert!(capacity.is_power_of_two(), "places are found by a mask");
    let words = (0..capacity).map(|_| AtomicU64::new(0)).collect();
    let ring = Arc::new(Ring { head: Alone::default(), tail: Alone::default(), words });
    (Writer { ring: Arc::clone(&ring), tail: 0, head: 0 }, Reader { ring, head: 0, tail: 0 })
}

impl Ring {
    #[inline]
    fn place(&self, at: u32) -> &AtomicU64 {
        &self.words[at as usize & (self.words.len() - 1)]
    }
}

impl Writer {
    /// How many words may be put in.
    pub(super) fn room(&mut self) -> usize {
        self.head = self.ring.head.0.load(Ordering::Acquire);
        self.ring.words.len() - self.tail.wrapping_sub(self.head) as usize
    }

    /// Puts a word in, which the reader sees after the next [`Writer::publish`]. Whether there was room.
    #[inline]
    pub(super) fn put(&mut self, word: u64) -> bool {
        let capacity = self.ring.words.len() as u32;
        if self.tail.wrapping_sub(self.head) == capacity {
            self.head = self.ring.head.0.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head) == capacity {
                return false;
            }
        }
        self.ring.place(self.tail).store(word, Ordering::Relaxed);
        self.tail = self.tail.wrapping_add(1);
        true
    }

    /// Lets the reader see what was put in.
    #[inline]
    pub(super) fn publish(&mut self) {
        self.ring.tail.0.store(self.tail, Ordering::Release);
    }
}

impl Reader {
    /// Takes the oldest word out. Its place is free after the next [`Reader::release`].
    #[inline]
    pub(super) fn take(&mut self) -> Option<u64> {
        if self.head == self.tail {
            self.tail = self.ring.tail.0.load(Ordering::Acquire);
            if self.head == self.tail {
                return None;
            }
        }
        let word = self.ring.place(self.head).load(Ordering::Relaxed);
        self.head = self.head.wrapping_add(1);
        Some(word)
    }

    /// Lets the writer have the places of what was taken.
    #[inline]
    pub(super) fn release(&mut self) {
        self.ring.head.0.store(self.head, Ordering::Release);
    }

    /// Whether there is nothing to take.
    pub(super) fn is_empty(&self) -> bool {
        self.head == self.ring.tail.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_takes_nothing_and_loses_nothing() {
        let (mut writer, mut reader) = ring(4);
        for round in 0..10_u64 {
            let taken = (0..6).filter(|n| writer.put(round * 10 + n)).count();
            assert_eq!(taken, 4);
            assert_eq!(reader.take(), None, "nothing is seen before it is published");
            writer.publish();
            let words: Vec<u64> = std::iter::from_fn(|| reader.take()).collect();
            assert_eq!(words, (0..4).map(|n| round * 10 + n).collect::<Vec<_>>());
            assert!(!writer.put(99), "a place is free only when it is released");
            reader.release();
        }
    }

    #[test]
    fn two_threads_see_every_word_once_and_in_order() {
        const WORDS: u64 = 200_000;
        let (mut writer, mut reader) = ring(64);
        let sender = std::thread::spawn(move || {
            let mut next = 0;
            while next < WORDS {
                while next < WORDS && writer.put(next) {
                    next += 1;
                }
                writer.publish();
                std::thread::yield_now();
            }
        });
        let mut expected = 0;
        while expected < WORDS {
            while let Some(word) = reader.take() {
                assert_eq!(word, expected);
                expected += 1;
            }
            reader.release();
            std::thread::yield_now();
        }
        sender.join().expect("the writer ends");
    }
}
