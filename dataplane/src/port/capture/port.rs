//! A port whose frames come from a capture and go into one.

use super::{Capture, CaptureError, Merge, Writer, merge};
use crate::arena::{Arena, Frame, FramePool};
use crate::port::Port;
use classifier::addr::PortId;
use conntrack::time::Tick;
use std::os::fd::BorrowedFd;

/// A port over capture files. It has no clock: [`CapturePort::advance`] says what time it is; frames that were
/// captured by then can be received, and frames that are sent get that time.
#[derive(Debug)]
pub struct CapturePort {
    input: Merge,
    next: usize,
    output: Option<Writer>,
    now: Tick,
    failure: Option<CaptureError>,
}

impl CapturePort {
    /// A port that receives what `input` holds, and writes what it sends to `output`; either may be missing.
    #[must_use]
    pub fn new(input: Option<Capture>, output: Option<Writer>) -> CapturePort {
        let input = merge(input.into_iter().map(|capture| (PortId(0), capture)).collect());
        CapturePort { input, next: 0, output, now: Tick(0), failure: None }
    }

    /// Lets time go on to `now`; it never goes back.
    pub fn advance(&mut self, now: Tick) {
        self.now = self.now.max(now);
    }

    /// When the next frame can be received; `None` at the end of the capture.
    #[must_use]
    pub fn next_arrival(&self) -> Option<Tick> {
        (self.next < self.input.len()).then(|| self.input.frame(self.next).1)
    }

    /// Ends the capture that was written.
    ///
    /// # Errors
    /// Where a frame could not be written: the first failure since the start.
    pub fn finish(self) -> Result<(), CaptureError> {
        match self.failure {
            Some(failure) => Err(failure),
            None => self.output.map_or(Ok(()), Writer::finish),
        }
    }
}

impl Port for CapturePort {
    /// A frame that is longer than a chunk is cut to it: an arena's chunks hold more than any port's MTU, so
    /// what remains is still longer than the MTU allows, and is counted as that.
    fn receive(&mut self, arena: &Arena, pool: &mut FramePool, room: usize, frames: &mut Vec<Frame>) {
        for _ in 0..room {
            if self.next_arrival().is_none_or(|at| at > self.now) {
                return;
            }
            let Some(mut frame) = pool.take() else { return };
            let (_, _, data) = self.input.frame(self.next);
            let length = data.len().min(arena.layout().capacity);
            arena.buffer_mut(&mut frame)[..length].copy_from_slice(&data[..length]);
            arena.set_length(&mut frame, length);
            frames.push(frame);
            self.next += 1;
        }
    }

    fn transmit(&mut self, arena: &Arena, pool: &mut FramePool, frames: &mut Vec<Frame>) {
        for frame in frames.drain(..) {
            if let (Some(writer), None) = (&mut self.output, &self.failure) {
                self.failure = writer.write(self.now, arena.bytes(&frame)).err();
            }
            pool.give(frame);
        }
    }

    fn service(&mut self, _arena: &Arena, _pool: &mut FramePool) {}

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn held(&self) -> usize {
        0
    }
}
