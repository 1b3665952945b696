//! What a frame is, and what the policy says of it.
//!
//! This crate is pure: no sockets, no files, no clocks. It holds the read-only views of headers
//! ([`wire`]), the key under which a flow is known ([`flow`]), the policy as it is meant
//! ([`policy`]), what follows from its rules ([`decision`]), the linear scan that defines the answer ([`mod@reference`]), the compiler from policy
//! to immutable tables ([`compile`], [`tables`]) and the reasoning over both ([`analysis`]).
//!
//! Invariants:
//! - A [`policy::Policy`] can only be had from its builder, and is always valid.
//! - The tables and the reference give the same answer for every packet.
//! - Nothing that parses a frame panics, whatever its bytes.

pub mod addr;
pub mod wire;

pub mod flow;
pub mod reason;

pub mod policy;

pub mod decision;
pub mod endpoint;
pub mod reference;

pub mod compile;
pub mod tables;

pub mod analysis;
