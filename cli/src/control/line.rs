//! Lines of bounded length from a stream, and a budget for all that are held at once.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that are asked of the stream at once.
const PORTION: usize = 16 * 1024;

/// Bytes that all readers together may hold. A configuration of a million rules is some hundred megabytes; a
/// thousand clients that each send one must not take the machine's memory.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Budget {
        Budget(Arc::new(Pool { used: AtomicUsize::new(0), limit }))
    }

    fn take(&self, bytes: usize) -> bool {
        let used = self.0.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = used + bytes <= self.0.limit;
        if !fits {
            self.give(bytes);
        }
        fits
    }

    fn give(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Why there is no line.
#[derive(Debug)]
pub enum ReadError {
    /// The stream has ended; whether in the middle of a line.
    End {
        /// Whether a part of a line was read.
        is_cut: bool,
    },
    /// The line is longer than the budget allows. Nothing more can be read from the stream.
    TooLong,
    /// The stream can't be read, or nothing came in time.
    Io(io::Error),
}

/// Reads lines from a stream.
#[derive(Debug)]
pub struct LineReader<R> {
    stream: R,
    budget: Budget,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were searched for the end of the line.
    searched: usize,
    taken: usize,
}

impl<R: Read> LineReader<R> {
    /// A reader whose lines count against `budget` while they are held.
    pub fn new(stream: R, budget: Budget) -> LineReader<R> {
        LineReader { stream, budget, buffer: Vec::new(), searched: 0, taken: 0 }
    }

    /// The next line, without its end.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn next_line(&mut self) -> Result<Vec<u8>, ReadError> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(self.searched + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                self.searched = 0;
                self.budget.give(self.taken - self.buffer.len());
                self.taken = self.buffer.len();
                return Ok(line);
            }
            self.searched = self.buffer.len();
            if !self.budget.take(PORTION) {
                return Err(ReadError::TooLong);
            }
            self.taken += PORTION;
            let old = self.buffer.len();
            self.buffer.resize(old + PORTION, 0);
            let read = self.read_some(old);
            let count = *read.as_ref().unwrap_or(&0);
            self.buffer.truncate(old + count);
            self.budget.give(PORTION - count);
            self.taken -= PORTION - count;
            match read {
                Ok(0) => return Err(ReadError::End { is_cut: !self.buffer.is_empty() }),
                Ok(_) => {}
                Err(error) => return Err(ReadError::Io(error)),
            }
        }
    }

    fn read_some(&mut self, from: usize) -> io::Result<usize> {
        loop {
            match self.stream.read(&mut self.buffer[from..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl<R> Drop for LineReader<R> {
    fn drop(&mut self) {
        self.budget.give(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what it has in pieces of so many bytes.
    struct Pieces(Vec<u8>, usize);
    impl Read for Pieces {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let long = "x".repeat(40_000);
        for piece in [1, 7, 4096, 100_000] {
            let budget = Budget::new(1 << 20);
            let text = format!("one\n\n{long}\ncut");
            let mut reader = LineReader::new(Pieces(text.into_bytes(), piece), budget.clone());
            assert_eq!(reader.next_line().unwrap(), b"one");
            assert_eq!(reader.next_line().unwrap(), b"");
            assert_eq!(reader.next_line().unwrap(), long.as_bytes());
            assert!(matches!(reader.next_line(), Err(ReadError::End { is_cut: true })));
            drop(reader);
            assert_eq!(budget.0.used.load(Ordering::Relaxed), 0, "all is given back");
        }
    }

    #[test]
    fn what_is_over_the_budget_is_refused_and_given_back() {
        let budget = Budget::new(64 * 1024);
        let mut long = LineReader::new(io::repeat(b'x'), budget.clone());
        assert!(matches!(long.next_line(), Err(ReadError::TooLong)));
        let mut other = LineReader::new(&b"ok\n"[..], budget.clone());
        assert!(matches!(other.next_line(), Err(ReadError::TooLong)), "the first still holds all");
        drop(long);
        let mut other = LineReader::new(&b"ok\n"[..], budget.clone());
        assert_eq!(other.next_line().unwrap(), b"ok");
        drop(other);
        assert_eq!(budget.0.used.load(Ordering::Relaxed), 0);
    }
}
