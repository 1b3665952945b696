//! Everything that a packet touches.

pub mod arena;
pub mod port;
pub mod topology;
