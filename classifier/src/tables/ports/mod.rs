//! Cell → verdict by protocol and ports, in one of two forms.
//!
//! - [`PortLines`]: one cache line per cell, which pairs share wherever the *verdicts* by port are alike, whoever
//!   the rules are. What is not fit for a line (source ports, many ranges) has a general one behind it.
//! - [`PortRows`]: where a policy has few combinations of services, each packet has a *service class*, by three
//!   small tables; a cell is a row of outcomes by that. Where these are large, cells share what they can of them.

mod lines;
mod rows;

pub(crate) use lines::{Code, PortLine, PortLines, RunValue};
pub(crate) use rows::{Block, DirectRows, PortRows, RowCell, Rows, ShapedRows};

/// What cells look like.
#[derive(Clone, Debug)]
pub(crate) enum Ports {
    /// Lines.
    Lines(PortLines),
    /// Rows.
    Rows(PortRows),
}

impl Ports {
    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Ports::Lines(l) => {
                l.lines.bytes()
                    + l.bases.bytes()
                    + l.outcomes.bytes()
                    + l.general.bytes()
                    + l.by_source.bytes()
            }
            Ports::Rows(rows) => rows.bytes(),
        }
    }
}
