//! `observe`: events of flows and drops, those that are kept and those to come.

use super::flows::{Who, who};
use super::{Desk, Outbox};
use crate::control::protocol::{EventFilter, Failure, FailureCode};
use crate::run::hub::{Record, Told, What};
use classifier::policy::Service;
use classifier::reason::DropReason;
use crossbeam_channel::RecvTimeoutError;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Events that wait for a client.
const ROOM: usize = 4096;
/// How often is looked whether the client is still there, where nothing happens.
const LOOK_AFTER: Duration = Duration::from_millis(250);
/// The word of the filter for what no rule decided.
const DEFAULT: &str = "default";

/// One end of a flow that is wanted.
enum End {
    Who(Who),
    /// By the segments that the event itself names.
    Segment(String),
}

impl End {
    fn holds(&self, address: Option<IpAddr>, segments: Option<&[String]>) -> bool {
        match self {
            End::Who(Who::Range(range)) => address.is_some_and(|address| range.contains(address)),
            End::Who(Who::Segment(_)) => false,
            End::Segment(name) => segments.is_some_and(|segments| segments.contains(name)),
        }
    }
}

/// An [`EventFilter`] with its names looked up.
struct Wanted {
    from: Option<End>,
    to: Option<End>,
    services: Option<Vec<Service>>,
    filter: EventFilter,
}

impl Wanted {
    fn new(desk: &Desk, filter: EventFilter, history: &[Arc<Told>]) -> Result<Wanted, Failure> {
        let usage = |message| Failure::new(FailureCode::Usage, message);
        let configuration = desk.shared.configuration.load_full();
        let end = |text: &Option<String>| {
            let Some(text) = text else { return Ok(None) };
            let name = text.strip_prefix("segment:").unwrap_or(text);
            match who(&configuration, text) {
                Ok(Who::Segment(_)) => Ok(Some(End::Segment(name.to_owned()))),
                Ok(range @ Who::Range(_)) => Ok(Some(End::Who(range))),
                // A segment that is gone may still be on events of its time.
                Err(_) if history.iter().any(|told| is_named(told, name)) => {
                    Ok(Some(End::Segment(name.to_owned())))
                }
                Err(failure) => Err(failure),
            }
        };
        filter.reason.as_deref().map(reason).transpose()?;
        let services = filter.service.as_deref().map(|text| configuration.service(text)).transpose();
        let services = services.map_err(usage)?;
        Ok(Wanted { from: end(&filter.from)?, to: end(&filter.to)?, services, filter })
    }

    fn holds(&self, record: &Record) -> bool {
        let (event, line, filter) = (&record.event, &record.line, &self.filter);
        let (source, destination) = event.addresses.unzip();
        let is_of = |service: &Service| {
            event.addresses.is_some()
                && service.contains(event.protocol, event.source_port, event.destination_port)
        };
        self.from.as_ref().is_none_or(|end| end.holds(source, line.from.as_deref()))
            && self.to.as_ref().is_none_or(|end| end.holds(destination, line.to.as_deref()))
            && self.services.as_ref().is_none_or(|services| services.iter().any(is_of))
            && filter.verdict.is_none_or(|verdict| verdict.name() == line.verdict)
            && filter.reason.as_deref().is_none_or(|reason| line.reason == Some(reason))
            && filter.rule.as_deref().is_none_or(|rule| rule == line.rule.as_deref().unwrap_or(DEFAULT))
    }
}

/// The reason of that name.
pub(super) fn reason(name: &str) -> Result<DropReason, Failure> {
    let found = DropReason::ALL.iter().find(|reason| reason.name() == name);
    found.copied().ok_or_else(|| {
        let known = DropReason::ALL.iter().map(|reason| reason.name());
        let help = crate::config::near::known(name, "reason", known);
        Failure::new(FailureCode::Usage, format!("`{name}` is no reason for a drop: {help}"))
    })
}

fn is_named(told: &Told, segment: &str) -> bool {
    let What::Event(record) = &told.what else { return false };
    [&record.line.from, &record.line.to]
        .into_iter()
        .flatten()
        .any(|names| names.iter().any(|name| name == segment))
}

pub(super) fn observe(
    desk: &Desk,
    filter: EventFilter,
    follow: bool,
    since: Option<String>,
    last: Option<u64>,
    out: &mut dyn Outbox,
) -> Result<Value, Failure> {
    let since = since.map(|text| text.parse::<jiff::Timestamp>()).transpose();
    let since = since.map_err(|error| Failure::new(FailureCode::Usage, format!("`since`: {error}")))?;
    let (history, live) = desk.feed.subscribe("observe", if follow { ROOM } else { 1 }, true);
    let wanted = Wanted::new(desk, filter, &history)?;
    let mut told = 0_u64;
    // What was there before is asked for by saying how much of it, or by not asking for what comes.
    if !follow || since.is_some() || last.is_some() {
        let mut kept: Vec<&Arc<Told>> = history
            .iter()
            .filter(|told| since.is_none_or(|since| told.at >= since))
            .filter(|told| match &told.what {
                What::Event(record) => wanted.holds(record),
                What::Lost { .. } | What::Suppressed { .. } | What::Note(_) => true,
            })
            .collect();
        if let Some(last) = last {
            let events = || kept.iter().enumerate().filter(|(_, told)| matches!(told.what, What::Event(_)));
            let first = match usize::try_from(last) {
                Ok(0) => kept.len(),
                Ok(last) => events().rev().nth(last - 1).map_or(0, |(at, _)| at),
                Err(_) => 0,
            };
            kept.drain(..first);
        }
        for one in kept {
            told += u64::from(tell(one, &wanted, out)?);
        }
    }
    if !follow {
        return Ok(json!({ "events": told }));
    }
    drop(history);
    out.flush()?;
    loop {
        match live.recv_timeout(LOOK_AFTER) {
            Ok(one) => {
                told += u64::from(tell(&one, &wanted, out)?);
                for one in live.try_iter().take(ROOM) {
                    told += u64::from(tell(&one, &wanted, out)?);
                }
                out.flush()?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(json!({ "events": told })),
        }
        if out.is_gone() {
            return Ok(Value::Null);
        }
    }
}

/// Sends what is told, where it is wanted; whether it was an event.
fn tell(told: &Told, wanted: &Wanted, out: &mut dyn Outbox) -> Result<bool, Failure> {
    match &told.what {
        What::Event(record) if wanted.holds(record) => out.item(told.to_json())?,
        What::Event(_) | What::Note(_) => return Ok(false),
        What::Lost { count, .. } => {
            out.lost(*count)?;
            return Ok(false);
        }
        What::Suppressed { reason, .. } => {
            if wanted.filter.reason.as_deref().is_none_or(|wanted| wanted == *reason)
                && wanted.filter.verdict != Some(crate::control::EventVerdict::Forward)
            {
                out.item(told.to_json())?;
            }
            return Ok(false);
        }
    }
    Ok(true)
}
