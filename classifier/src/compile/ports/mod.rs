//! Lists of rules → the contents of cells, as rows or as lines (see [`crate::tables::ports`]).

mod lines;
mod rows;
mod services;

pub(super) use lines::{LinePlan, NOTHING};
pub(super) use rows::{RowContents, RowPlan, RuleServices};

use crate::tables::fast::Meanings;
use crate::tables::ports::Ports;

/// Ports, the cell and base of each list, and the meanings of outcomes.
type Contents = (Ports, Vec<(u32, u32)>, Meanings);
