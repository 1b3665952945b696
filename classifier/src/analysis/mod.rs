//! Reasoning over policies.
