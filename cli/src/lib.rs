//! The `bulkhead` program: everything that a person touches.
//!
//! Input as written becomes input as meant in [`config`]; what is wrong with it is a
//! [`diagnostic::Diagnostic`]; [`explain`] says why a flow gets what it gets; [`command`] has one file for each word that the program understands.
//!
//! Invariants:
//! - A [`config::Configuration`] exists only where its files have no error.
//! - All errors of all files are reported in one run, in the order of the files.
//! - No standard stream that can't be written stops the program.

// They panic where the stream is closed.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

#[macro_use]
mod stream;

pub mod capture;
pub mod change;
pub mod command;
pub mod config;
pub mod control;
pub mod demo;
pub mod diagnostic;
pub mod doctor;
pub mod explain;
pub mod export;
pub mod feed;
pub mod replay;
pub mod run;
pub mod stats;
pub mod testbed;
pub mod top;
