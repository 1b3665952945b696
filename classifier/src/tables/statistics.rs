//! How large compiled tables are.

/// The form that the cells of a policy have.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Form {
    /// The rules spread too far for closed cells: a look-up puts several groups together, packet by packet.
    #[default]
    Grouped,
    /// A cell per pair, as a line of ports.
    Lines,
    /// A cell per pair, as a row by service class.
    Rows,
    /// Rows, of which three are looked up and the lowest rank counts.
    Layers,
}

impl Form {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Form::Grouped => "grouped",
            Form::Lines => "lines",
            Form::Rows => "rows",
            Form::Layers => "layers",
        }
    }
}

/// Why a policy is [`Form::Grouped`]: what its cells would come to, were they closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Grouping {
    /// Too many kinds of endpoints that rules tell apart on one side, or on both together.
    Kinds {
        /// As sources.
        sources: usize,
        /// As destinations.
        destinations: usize,
    },
    /// Too many pairs of kinds of endpoints.
    Pairs {
        /// How many there are.
        pairs: usize,
    },
    /// Too many combinations of services.
    Services,
    /// Too many kinds of endpoints beside the rules with a wide side.
    Wide {
        /// How many cells the larger layer of such rules would have.
        cells: usize,
    },
}

/// Counts and bytes, for `show` commands and for those who tune a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// The form of the cells.
    pub form: Form,
    /// Why the form is [`Form::Grouped`], where it is.
    pub grouping: Option<Grouping>,
    /// Pairs in buckets.
    pub hashed_pairs: usize,
    /// Pairs that found their bucket full.
    pub spilled_pairs: usize,
    /// Cells of the matrix.
    pub matrix_cells: usize,
    /// Cells that do not fit a line, and have a general one: these are slower.
    pub general_lines: usize,
    /// Rules that take part: those that have not expired.
    pub rules: usize,
    /// Address ranges that the policy names, those that adjoin or overlap within one segment merged.
    pub prefixes: usize,
    /// Kinds of endpoints that the policy tells apart.
    pub classes: usize,
    /// Pairs of classes with a cell of their own.
    pub pairs: usize,
    /// Groups of rules that a look-up may have to visit.
    pub groups: usize,
    /// Distinct lists of port boundaries.
    pub lines: usize,
    /// Distinct lists of source port boundaries.
    pub source_lines: usize,
    /// Distinct outcomes.
    pub outcomes: usize,
    /// Bytes of IPv4 address → class.
    pub v4_bytes: usize,
    /// Bytes of IPv6 address → class.
    pub v6_bytes: usize,
    /// Bytes of VLAN and MAC → class.
    pub place_bytes: usize,
    /// Bytes of the classes.
    pub class_bytes: usize,
    /// Bytes of (class, class) → cell.
    pub pair_bytes: usize,
    /// Bytes of the lines, those of source ports included.
    pub line_bytes: usize,
    /// Bytes of the outcomes.
    pub outcome_bytes: usize,
}

impl Statistics {
    /// Bytes of all tables.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.v4_bytes
            + self.v6_bytes
            + self.place_bytes
            + self.class_bytes
            + self.pair_bytes
            + self.line_bytes
            + self.outcome_bytes
    }
}
