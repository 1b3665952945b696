//! Where frames come from and go to.

pub mod capture;
pub mod memory;
pub mod xdp;

use crate::arena::{Arena, Frame, FramePool};
use std::os::fd::BorrowedFd;

/// One worker's share of a port: frames in, frames out.
///
/// Empty frames for receiving come from the pool, frames that were sent go back to it; a frame is always in
/// exactly one place: the pool, the port, or the worker's hands.
pub trait Port: Send {
    /// Appends up to `room` received frames to `frames`.
    fn receive(&mut self, arena: &Arena, pool: &mut FramePool, room: usize, frames: &mut Vec<Frame>);

    /// Sends frames from the front of `frames` and removes them; those that the port has no room for stay.
    fn transmit(&mut self, arena: &Arena, pool: &mut FramePool, frames: &mut Vec<Frame>);

    /// Does what is due even without traffic: takes back frames that were sent, keeps the ring of empty frames
    /// full, kicks a sender that fell asleep. Called once per turn of the poll loop.
    fn service(&mut self, arena: &Arena, pool: &mut FramePool);

    /// What poll(2) can wait on for frames; `None` where the port has no kernel below it.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// How many frames the port holds (in rings, in flight): with those in the pool, the books must balance.
    fn held(&self) -> usize;
}
