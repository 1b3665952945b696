//! The stages of the pipeline, in the order that [`crate::pipeline`] runs them in.

pub(crate) mod express;

pub(crate) mod parse;

pub(crate) mod admit;
mod announce;
mod guard;
pub(crate) mod resolve;

pub(crate) mod reassemble;
pub(crate) mod route;

pub(crate) mod judge;
pub(crate) mod track;

pub(crate) mod emit;
mod rewrite;
