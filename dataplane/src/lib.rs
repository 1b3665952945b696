//! Everything that a packet touches.

pub mod topology;
