//! `show status`: how the gateway does.

use super::Desk;
use crate::control::protocol::Failure;
use crate::feed::Fed;
use dataplane::counters::Counters;
use serde_json::{Value, json};

pub(super) fn status(desk: &Desk) -> Result<Value, Failure> {
    let shared = &desk.shared;
    let configuration = shared.configuration.load_full();
    let workers = shared.control.ask_all(|engine| {
        let tracker = engine.tracker();
        (engine.counters().clone(), tracker.len(), tracker.capacity(), engine.generation().epoch().0)
    })?;
    let total = workers.iter().fold(Counters::default(), |sum, (counters, ..)| sum.and(counters));
    let (flows, most) = workers.iter().fold((0, 0), |(flows, most), w| (flows + w.1, most + w.2));
    let (files, lost, deny_all, feeds, made) = desk.order(|host| {
        let feeds: Vec<Value> = host.feeds().fed().iter().map(Fed::to_json).collect();
        let deny_all = host.deny_all().map(str::to_owned);
        (host.source().to_owned(), host.events_lost(), deny_all, feeds, host.made())
    })?;
    let policy = &configuration.policy;
    Ok(json!({
        "name": configuration.topology.name,
        "version": env!("CARGO_PKG_VERSION"),
        "started": shared.started.to_string(),
        "uptime_s": shared.began.elapsed().as_secs(),
        "configuration": files,
        "deny_all": deny_all,
        "feeds": feeds,
        "mode": crate::config::words::mode_name(policy.mode()),
        "generation": shared.control.generation().epoch().0,
        "in_force_on_all_workers":
            workers.iter().all(|w| w.3 == shared.control.generation().epoch().0),
        "ports": configuration.topology.ports.len(),
        "vlans": configuration.topology.vlans.len(),
        "segments": policy.segments().len(),
        "rules": policy.rule_count(),
        "tables": made,
        "workers": workers.len(),
        "flows": flows,
        "max_flows": most,
        "received": total.received,
        "forwarded": total.forwarded,
        "dropped": total.dropped_total(),
        "events_lost": lost,
    }))
}
