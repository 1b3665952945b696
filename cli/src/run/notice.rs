//! Something that happened to the gateway itself: a sentence for the log, and an event for programs.

use serde_json::{Value, json};

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Notice {
    /// For people.
    pub text: String,
    /// For programs: an object with `event`, the word for what happened, and `time`, RFC 3339.
    pub event: Value,
}

impl Notice {
    /// What happened now. `details` is an object, whose keys the event has as well.
    #[must_use]
    pub fn new(event: &str, text: impl Into<String>, details: Value) -> Notice {
        let text = text.into();
        let mut whole = json!({ "time": jiff::Timestamp::now().to_string(), "event": event, "what": text });
        if let (Value::Object(whole), Value::Object(details)) = (&mut whole, details) {
            whole.extend(details);
        }
        Notice { text, event: whole }
    }
}
