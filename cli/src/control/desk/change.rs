//! Changes of the configuration: looked at, made, confirmed, taken back.

use super::flows::{Ends, Portions};
use super::{Desk, Outbox, Shared};
use crate::change::{Action, compare, compare_text};
use crate::config::feed::Feed;
use crate::config::{self, Bundle, Checked, LoadError};
use crate::control::protocol::{ApplyOptions, EstablishedFlows, Failure, FailureCode};
use crate::control::server::User;
use crate::diagnostic::Style;
use crate::feed::Fed;
use classifier::decision::Verdict;
use classifier::endpoint::Endpoint;
use conntrack::FlowView;
use dataplane::generation::LiveFlows;
use serde_json::{Value, json};
use std::time::Duration;

/// Flows that a look ahead names one by one.
const NAMED: usize = 20;

pub(super) fn live_flows(established: EstablishedFlows) -> LiveFlows {
    match established {
        EstablishedFlows::Recheck => LiveFlows::Recheck,
        EstablishedFlows::Keep => LiveFlows::Keep,
        EstablishedFlows::Flush => LiveFlows::Flush,
    }
}

/// Checks files on the client's thread, so that the main thread is not kept. Lists of feeds are those of this machine;
/// one that is not in force yet must be good, if `new_lists` says so.
fn check(shared: &Shared, bundle: &Bundle, new_lists: NewLists) -> Result<Checked, Failure> {
    let now = config::now();
    let refused = |message: String| Failure::new(FailureCode::Refused, message);
    let invalid = |error: LoadError| {
        let message = match &error {
            LoadError::Invalid(report) => report.render(Style::Plain),
            LoadError::Unreadable(error) => error.to_string(),
        };
        refused(format!("the configuration has errors:\n{message}"))
    };
    let configuration = config::load_bundle(bundle, now).map_err(invalid)?;
    let fed = shared.shelf.read(&configuration);
    let in_force = shared.base.load();
    let is_new =
        |feed: &Feed| !in_force.feeds.iter().any(|f| (&f.segment, &f.file) == (&feed.segment, &feed.file));
    for fed in fed.iter().filter(|fed| new_lists == NewLists::MustBeGood && is_new(fed.feed())) {
        if let Some(error) = fed.error() {
            let Feed { segment, file, .. } = fed.feed();
            return Err(refused(format!("the feed of {segment}, {}: {error}", file.display())));
        }
    }
    config::check_with_lists(configuration, fed.iter().map(Fed::list), now).map_err(invalid)
}

/// What is asked of lists that are not in force yet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NewLists {
    MustBeGood,
    /// Whoever goes back must get there.
    MayBeBroken,
}

pub(super) fn apply(
    desk: &Desk,
    user: &User,
    bundle: Bundle,
    options: ApplyOptions,
    out: &mut dyn Outbox,
) -> Result<Value, Failure> {
    let checked = check(&desk.shared, &bundle, NewLists::MustBeGood)?;
    if options.dry_run {
        return look_ahead(desk, &checked, &bundle, out);
    }
    let action = Action { name: "apply", user: user.name.clone(), message: options.message };
    let confirm = options.confirm_s.map(patience).transpose()?;
    let flows = live_flows(options.established);
    desk.order(move |host| host.apply(checked, &bundle, None, &action, confirm, flows))?
        .map(|applied| json!(applied))
        .map_err(|error| Failure::new(FailureCode::Refused, error))
}

/// How long a change waits to be confirmed, from a number that anybody may have written.
fn patience(seconds: f64) -> Result<Duration, Failure> {
    let usage = || Failure::new(FailureCode::Usage, format!("{seconds} seconds are no time to wait"));
    Duration::try_from_secs_f64(seconds).map_err(|_| usage())
}

pub(super) fn confirm(desk: &Desk, user: &User, message: Option<String>) -> Result<Value, Failure> {
    let action = Action { name: "confirm", user: user.name.clone(), message };
    let version = desk.order(move |host| host.confirm(&action))?;
    version.map(|version| json!({ "version": version })).map_err(|error| Failure::new(FailureCode::No, error))
}

pub(super) fn rollback(
    desk: &Desk,
    user: &User,
    number: Option<u64>,
    message: Option<String>,
) -> Result<Value, Failure> {
    let refused = |error: String| Failure::new(FailureCode::Refused, error);
    let version = desk.order(move |host| host.earlier(number))?.map_err(refused)?;
    let checked = check(&desk.shared, &version.bundle, NewLists::MayBeBroken)?;
    let action = Action { name: "rollback", user: user.name.clone(), message };
    let (bundle, number) = (version.bundle, version.number);
    desk.order(move |host| host.apply(checked, &bundle, Some(number), &action, None, LiveFlows::Recheck))?
        .map(|applied| json!(applied))
        .map_err(refused)
}

pub(super) fn diff(
    desk: &Desk,
    bundle: Option<Bundle>,
    number: Option<u64>,
    out: &mut dyn Outbox,
) -> Result<Value, Failure> {
    let bundle = match (bundle, number) {
        (Some(bundle), _) => bundle,
        (None, number) => {
            let version = desk.order(move |host| host.earlier(number))?;
            version.map_err(|error| Failure::new(FailureCode::No, error))?.bundle
        }
    };
    look_ahead(desk, &check(&desk.shared, &bundle, NewLists::MayBeBroken)?, &bundle, out)
}

/// What a configuration would change of the one in force, and which live flows it would end.
fn look_ahead(
    desk: &Desk,
    checked: &Checked,
    bundle: &Bundle,
    out: &mut dyn Outbox,
) -> Result<Value, Failure> {
    let shared = &desk.shared;
    let old = shared.base.load_full();
    let differences = compare(&old, &checked.configuration);
    for difference in &differences {
        out.item(json!(difference))?;
    }
    let proposed = checked.configuration.clone();
    let needs_restart = desk.order(move |host| host.needs_restart(&proposed))?;
    let text = compare_text(&Bundle::of(old.sources()), bundle).0;
    let mut ended = Vec::new();
    let mut count = 0_u64;
    let flows = each_flow(shared, |view| {
        if !is_allowed(checked, view) {
            count += 1;
            if ended.len() < NAMED {
                let ends = Ends::of(view);
                ended.push(json!({
                    "source": ends.source, "source_port": ends.source_port,
                    "destination": ends.destination, "destination_port": ends.destination_port,
                    "protocol": ends.protocol,
                }));
            }
        }
    })?;
    Ok(json!({
        "differences": differences.len(),
        "text": text,
        "needs_restart": needs_restart,
        "live_flows": flows,
        "flows_ended": count,
        "flows_ended_sample": ended,
        "warnings": checked.configuration.warnings.render(Style::Plain),
    }))
}

/// Whether a policy lets a live flow go on, in its opener's direction. The MAC of a stitched destination is not known
/// to the flow, and taken to be none.
fn is_allowed(checked: &Checked, view: &FlowView) -> bool {
    let ends = Ends::of(view);
    let (tables, opener) = (&checked.tables, view.opener_mac);
    let source = Endpoint { vlan: Some(view.opener_vlan), mac: Some(opener), address: ends.source };
    let destination = Endpoint { vlan: view.responder_vlan, mac: None, address: ends.destination };
    let (from, to) = (tables.class_of(&source), tables.class_of(&destination));
    let port = view.key.policy_ports(view.opener);
    tables.decide(from, to, ends.protocol, port.0, port.1).verdict == Verdict::Allow
}

/// Shows every flow of every worker; how many there are.
fn each_flow(shared: &Shared, mut see: impl FnMut(&FlowView)) -> Result<u64, Failure> {
    let mut count = 0;
    for worker in 0..shared.control.workers() {
        let mut portions = Portions::new(shared, worker);
        while let Some(views) = portions.next()? {
            views.iter().for_each(&mut see);
            count += views.len() as u64;
        }
    }
    Ok(count)
}

pub(super) fn history(desk: &Desk, verify: bool, out: &mut dyn Outbox) -> Result<Value, Failure> {
    let no = |error: String| Failure::new(FailureCode::No, error);
    if verify {
        let lines = desk.order(|host| host.verify_history())?.map_err(no)?;
        return Ok(json!({ "lines": lines, "intact": true }));
    }
    let (entries, current, kept) = desk.order(|host| host.history())?.map_err(no)?;
    let count = entries.len();
    for entry in entries {
        let is_kept = entry.note.version.is_some_and(|version| kept.contains(&version));
        let mut item = json!(entry);
        item["kept"] = json!(is_kept);
        item["current"] = json!(entry.note.version.is_some() && entry.note.version == current.version);
        out.item(item)?;
    }
    Ok(json!({ "entries": count, "version": current.version, "pending": current.pending }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_wait_is_a_number_of_seconds() {
        assert_eq!(patience(1.5).ok(), Some(Duration::from_millis(1500)));
        for seconds in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(patience(seconds).err().map(|failure| failure.code), Some(FailureCode::Usage));
        }
    }
}
