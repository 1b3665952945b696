//! ports over memory
