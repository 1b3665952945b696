//! An event as a line for people and programs.

use crate::replay::{Line, Names};
use dataplane::batch::Out;
use dataplane::event::Event;
use serde::Serialize;

/// A flow that began, or a frame that was dropped: the words of a verdict line, and who talked to whom.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct EventLine {
    /// When, as RFC 3339 in UTC.
    pub time: String,
    /// Source address.
    pub source: Option<String>,
    /// Destination address.
    pub destination: Option<String>,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port.
    pub source_port: u16,
    /// Destination port, or ICMP type * 256 + code.
    pub destination_port: u16,
    /// Where it came in.
    pub port: String,
    /// The VID that it bore.
    pub vlan: u16,
    /// forward, drop or reject.
    pub verdict: &'static str,
    /// Why it was dropped.
    pub reason: Option<&'static str>,
    /// The rule that decided.
    pub rule: Option<String>,
    /// Its tier.
    pub tier: Option<String>,
    /// Segments of the source.
    pub from: Option<Vec<String>>,
    /// Segments of the destination.
    pub to: Option<Vec<String>>,
}

impl EventLine {
    /// The line of an event. Where another generation than that of `names` judged it,
    /// its segments can't be told any more.
    #[must_use]
    pub fn new(names: Names<'_>, event: &Event, time: String) -> EventLine {
        let mut outcome = dataplane::batch::Outcome { out: Out::Nowhere, ..event.outcome };
        if event.epoch != names.generation.epoch() {
            outcome.classes = None;
            outcome.would = None;
        }
        let line = Line::new(names, 0, event.port, event.vid, &outcome, std::iter::empty());
        EventLine {
            time,
            source: event.addresses.map(|(source, _)| source.to_string()),
            destination: event.addresses.map(|(_, destination)| destination.to_string()),
            protocol: event.protocol,
            source_port: event.source_port,
            destination_port: event.destination_port,
            port: line.port,
            vlan: line.vlan,
            verdict: line.verdict,
            reason: line.reason,
            rule: line.rule,
            tier: line.tier,
            from: line.from,
            to: line.to,
        }
    }
}
