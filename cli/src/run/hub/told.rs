//! What the hub tells its readers.

use crate::run::EventLine;
use dataplane::event::Event;
use serde_json::{Value, json};

/// One thing that is told, at its place among the others.
#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    /// When it happened; of what is lost or left out: when that was found out.
    pub at: jiff::Timestamp,
    /// What.
    pub what: What,
}

/// What is told.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// A flow that began, or a frame that was dropped.
    Event(Box<Record>),
    /// Something of the gateway itself, as a line of JSON.
    Note(Value),
    /// So many events were lost here.
    Lost {
        /// How many.
        count: u64,
        /// Where, and by what.
        why: &'static str,
    },
    /// So many drops were left out here, for there were more of their reason than are told in a second.
    Suppressed {
        /// How many.
        count: u64,
        /// Their reason.
        reason: &'static str,
    },
}

/// An event, as the worker told it and in words.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// As the worker told it.
    pub event: Event,
    /// In words.
    pub line: EventLine,
    /// Whether its rule has `log = true`.
    pub is_logged: bool,
}

/// Why events are lost: the ring between worker and hub was full.
pub const RING_FULL: &str = "the ring of the workers was full";
/// Why events are lost: their reader was too slow.
pub const SLOW_READER: &str = "they were not taken in time";

impl Told {
    /// As an object of JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let time = self.at.to_string();
        match &self.what {
            What::Event(record) => json!(record.line),
            What::Note(note) => note.clone(),
            What::Lost { count, why } => json!({ "time": time, "lost": count, "why": why }),
            What::Suppressed { count, reason } => {
                json!({ "time": time, "suppressed": count, "reason": reason })
            }
        }
    }

    /// How many events are lost to a reader that can't be told this.
    pub(super) fn weight(&self) -> u64 {
        match self.what {
            What::Event(_) | What::Note(_) => 1,
            What::Lost { count, .. } | What::Suppressed { count, .. } => count,
        }
    }
}
