//! How far the compiler goes, and what it says when that is not far enough.

use std::fmt;

/// Limits on what a policy may expand to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Memberships over all runs of addresses.
    pub overlap: usize,
    /// Kinds of endpoints: address, VLAN and MAC taken together.
    pub classes: usize,
    /// Combinations of addresses with VLANs and MACs.
    pub places: usize,
    /// (pair of classes, rule) entries.
    pub pairs: usize,
    /// As many (pair of classes, rule) entries as are welcome for a faster look-up.
    pub spread_of_choice: usize,
    /// As many rules in cells as are welcome for a faster look-up: beyond, cells hold the rules of their own
    /// group alone, and a look-up puts several cells together.
    pub folded: usize,
    /// As many pairs of numbers as are welcome in a matrix: beyond, narrow pairs are hashed, and rules with a wide
    /// side are looked up apart.
    pub matrix: usize,
    /// As many words as are welcome in rows by service class: beyond, wide rules go to layers, and then cells are
    /// lines of ports. Rows of up to half of that are written out, and not shared in parts.
    pub rows: usize,
    /// Words in lists of port boundaries.
    pub boundaries: usize,
}

impl Default for Limits {
    /// About a gigabyte of memory at worst while compiling.
    fn default() -> Self {
        Limits {
            overlap: 1 << 26,
            classes: 1 << 20,
            places: 1 << 22,
            pairs: 1 << 24,
            spread_of_choice: 1 << 23,
            folded: 1 << 21,
            matrix: 1 << 23,
            rows: 1 << 24,
            boundaries: 1 << 26,
        }
    }
}

/// Why a policy can't be compiled: what it expands to is over a limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CompileError {
    /// See [`Limits::overlap`].
    Overlap {
        /// The limit.
        limit: usize,
    },
    /// See [`Limits::classes`].
    Classes {
        /// The limit.
        limit: usize,
    },
    /// See [`Limits::places`].
    Places {
        /// The limit.
        limit: usize,
    },
    /// See [`Limits::pairs`].
    Pairs {
        /// The limit.
        limit: usize,
        /// How many there would be.
        needed: usize,
        /// The id of the rule that has the most.
        rule: String,
    },
    /// See [`Limits::boundaries`].
    Boundaries {
        /// The limit.
        limit: usize,
    },
}

impl CompileError {
    pub(super) fn overlap(limits: &Limits) -> Self {
        CompileError::Overlap { limit: limits.overlap }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompileError::Overlap { limit } => write!(
                f,
                "the segments overlap too much: over {limit} memberships of address ranges; \
                 nest segments with `segment:` instead of repeating their prefixes"
            ),
            CompileError::Classes { limit } => write!(
                f,
                "the policy tells over {limit} kinds of endpoints apart; \
                 name VLANs and MACs together with addresses ({{ vlan = …, cidr = … }}), or use fewer segments"
            ),
            CompileError::Places { limit } => write!(
                f,
                "VLANs and MACs combine with addresses in over {limit} ways; \
                 name them together with addresses ({{ vlan = …, cidr = … }}), or list them in fewer segments"
            ),
            CompileError::Pairs { limit, needed, rule } => write!(
                f,
                "the rules spread to {needed} pairs of endpoints, over the limit of {limit}, and rule `{rule}` \
                 to most of them; write `any` for its wide side, or a segment that covers it"
            ),
            CompileError::Boundaries { limit } => write!(
                f,
                "the services of the rules have over {limit} port boundaries between pairs of endpoints; \
                 join ports to ranges, and rules that differ in ports alone to one rule"
            ),
        }
    }
}

impl std::error::Error for CompileError {}
