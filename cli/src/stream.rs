//! Words on the standard streams.
//!
//! The standard library's own macros panic where a stream can't be written: a reader of the log that goes away,
//! or a full disk, would take a running gateway down. Here what can't be written is lost, and nothing else is.

use std::fmt::Arguments;
use std::io::Write;

/// Writes a line to the standard error.
macro_rules! tell {
    ($($text:tt)*) => { $crate::stream::line_to(&mut std::io::stderr(), format_args!($($text)*)) };
}

/// Writes a line to the standard output.
macro_rules! answer {
    ($($text:tt)*) => { $crate::stream::line_to(&mut std::io::stdout(), format_args!($($text)*)) };
}

/// A line, in one write, so that those of several threads don't mix.
pub(crate) fn line_to(stream: &mut dyn Write, text: Arguments<'_>) {
    // There is nobody left to tell.
    let _ = stream.write_all(format!("{text}\n").as_bytes());
}

/// Whether a line was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    Yes,
    /// There is no reader any more, or no room.
    NobodyReads,
}

/// A line to the standard output, for those who have no end of them.
pub(crate) fn answer_line(text: &str) -> Written {
    match std::io::stdout().write_all(format!("{text}\n").as_bytes()) {
        Ok(()) => Written::Yes,
        Err(_) => Written::NobodyReads,
    }
}

/// A text that ends its lines itself, to the standard error.
pub(crate) fn tell_text(text: &str) {
    // As above.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_takes_nothing_stops_nobody() {
        struct Closed(u32);
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                self.0 += 1;
                Err(std::io::ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut closed = Closed(0);
        line_to(&mut closed, format_args!("in force"));
        assert_eq!(closed.0, 1);
    }
}
