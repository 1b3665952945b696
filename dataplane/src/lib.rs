//! Everything that a packet touches.
//!
//! A frame comes in by a [`port`], lives in an [`arena`], travels in a [`batch`] through the stages of the
//! pipeline that an [`engine`] runs, and leaves by a port. What the packet path reads ([`generation`], [`network`]) is
//! made elsewhere and never written here.
//!
//! Invariants:
//! - Every frame ends forwarded, answered, or counted under one reason.
//! - No stage allocates, locks, reads a clock or makes a system call.
//! - A batch is judged by exactly one generation.

pub mod topology;

pub mod arena;
pub mod batch;
pub mod port;

pub mod generation;
pub mod network;

mod adjacency;
pub mod answer;
mod keyed;
mod limiter;
mod macs;
mod neighbors;

pub mod counters;
pub mod engine;
pub mod meter;
mod pipeline;
pub mod restore;
mod stage;

mod errand;
pub mod event;
pub mod hits;
pub mod inspect;
pub mod pace;
pub mod tap;
pub mod worker;

pub use errand::{Answer, ErrandError};
