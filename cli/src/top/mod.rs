//! `bulkhead top`: what a gateway at work does, from one look to the next.
//!
//! [`Sample`] is what the gateway tells when it is asked, [`Board`] is what follows from two of them and from the events
//! between, and [`screen`] draws a board. None of it knows a clock or a terminal.

mod board;
mod sample;
pub mod screen;
#[cfg(test)]
mod tests;

pub use board::{Board, Tally};
pub use sample::{Sample, Worker};
