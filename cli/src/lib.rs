//! placeholder

pub mod testbed;
