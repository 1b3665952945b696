//! The flow table and the connection tracker: what the gateway remembers.
//!
//! This crate is pure: no sockets, no files, no clocks. Time is an argument ([`time::Tick`]).

pub mod config;
pub mod time;
