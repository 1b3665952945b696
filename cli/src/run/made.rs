//! How the tables in force were made: in place, or by a compilation.

use crate::change::Anew;
use serde::Serialize;
use serde::ser::SerializeStruct;
use std::fmt;
use std::time::Duration;

/// How tables were made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Made {
    /// Why by a compilation; `None`: those before were changed in place.
    pub anew: Option<Anew>,
    /// How long it took until they could be put into force.
    pub took: Duration,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.anew {
            None => write!(f, "tables changed in place in {} µs", self.took.as_micros()),
            Some(why) => {
                write!(f, "tables compiled in {:.1} ms: {why}", self.took.as_secs_f64() * 1e3)
            }
        }
    }
}

impl Serialize for Made {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Made", 3)?;
        fields.serialize_field("in_place", &self.anew.is_none())?;
        fields.serialize_field("prepared_ms", &(self.took.as_secs_f64() * 1e3))?;
        fields.serialize_field("why_compiled", &self.anew.map(|why| why.to_string()))?;
        fields.end()
    }
}
