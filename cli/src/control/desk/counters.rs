//! What is counted: by worker, by reason, by rule.

use super::{Desk, Outbox, Shared};
use crate::control::protocol::Failure;
use crate::run::{DEFAULT, KeptHits};
use classifier::reason::DropReason;
use dataplane::counters::Counters;
use dataplane::hits::RuleHits;
use serde_json::{Value, json};

fn total(shared: &Shared) -> Result<Counters, Failure> {
    let workers = shared.control.ask_all(|engine| engine.counters().clone())?;
    Ok(workers.iter().fold(Counters::default(), Counters::and))
}

pub(super) fn counters(desk: &Desk) -> Result<Value, Failure> {
    let shared = &desk.shared;
    let mut value = crate::command::counters_json(&total(shared)?);
    let flows = shared.control.ask_all(|engine| *engine.tracker().statistics())?;
    let sum = |of: fn(&conntrack::Statistics) -> u64| flows.iter().map(of).sum::<u64>();
    value["flow_table"] = json!({
        "opened": sum(|s| s.opened),
        "replaced": sum(|s| s.replaced),
        "expired": sum(|s| s.expired),
        "reset": sum(|s| s.reset),
        "evicted_closing": sum(|s| s.evicted_closing),
        "evicted_half_open": sum(|s| s.evicted_half_open),
        "removed": sum(|s| s.removed),
        "table_full": sum(|s| s.table_full),
        "rule_limited": sum(|s| s.rule_limited),
        "invalid": sum(|s| s.invalid),
        "peak": sum(|s| s.peak),
    });
    value["events_lost"] = json!(desk.order(|host| host.events_lost())?);
    Ok(value)
}

pub(super) fn drops(shared: &Shared, out: &mut dyn Outbox) -> Result<Value, Failure> {
    let total = total(shared)?;
    for reason in DropReason::ALL {
        let count = total.dropped[reason.index()];
        if count > 0 {
            out.item(json!({ "reason": reason.name(), "frames": count }))?;
        }
    }
    Ok(json!({ "dropped": total.dropped_total() }))
}

pub(super) fn workers(shared: &Shared, out: &mut dyn Outbox) -> Result<Value, Failure> {
    let cores = shared.configuration.load().topology.cores.clone();
    let workers = shared.control.ask_all(|engine| {
        let (flows, generation) = (engine.tracker().len(), engine.generation().epoch().0);
        (engine.counters().clone(), flows, engine.waiting(), generation, engine.pace().clone())
    })?;
    let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    for (index, (counters, flows, waiting, generation, pace)) in workers.iter().enumerate() {
        let within = |share| pace.percentile(share).map(nanoseconds);
        let mean = counters.received as f64 / counters.batches.max(1) as f64;
        out.item(json!({
            "worker": index,
            "core": cores.get(index),
            "received": counters.received,
            "forwarded": counters.forwarded,
            "dropped": counters.dropped_total(),
            "handed_over": counters.handed,
            "hand_over_full": counters.handed_lost,
            "batches": counters.batches,
            "frames_per_batch": (mean * 100.0).round() / 100.0,
            "flows": flows,
            "flows_opened": counters.flows,
            "waiting": waiting,
            "generation": generation,
            "busy_ns": nanoseconds(pace.busy()),
            "within_ns": { "p50": within(0.5), "p99": within(0.99), "p999": within(0.999) },
            "turns": pace.buckets().collect::<Vec<_>>(),
        }))?;
    }
    Ok(json!({ "workers": workers.len() }))
}

pub(super) fn rules(desk: &Desk, out: &mut dyn Outbox) -> Result<Value, Failure> {
    let shared = &desk.shared;
    let configuration = shared.configuration.load_full();
    let generation = shared.control.generation();
    let workers = shared.control.ask_all(|engine| engine.hits().clone())?;
    let kept = desk.order(|host| host.kept_hits())?;
    let policy = &configuration.policy;
    let time = |tick: Option<conntrack::time::Tick>| tick.map(|tick| shared.time_of(tick));
    let of = |hits: RuleHits, kept: Option<&KeptHits>| {
        let kept = kept.cloned().unwrap_or_default();
        json!({
            "hits": hits.total() + kept.flows + kept.drops,
            "flows": hits.flows + kept.flows,
            "drops": hits.drops + kept.drops,
            "first_hit": kept.first.or_else(|| time(hits.first)),
            "last_hit": time(hits.last).or(kept.last),
        })
    };
    let now = crate::config::now();
    for id in policy.listed() {
        let rule = policy.rule(id);
        let hits = if (id.0 as usize) < generation.rule_count() {
            let key = generation.key_of(id);
            workers.iter().fold(RuleHits::default(), |sum, hits| sum.and(hits.of(key)))
        } else {
            RuleHits::default()
        };
        let mut value = of(hits, kept.get(&rule.id));
        value["id"] = json!(rule.id);
        value["tier"] = json!(policy.tiers()[rule.tier.0 as usize]);
        value["action"] = json!(crate::config::action_name(rule.action));
        value["mode"] = json!(crate::config::words::mode_name(rule.mode));
        value["expired"] = json!(rule.expires.is_some_and(|at| at <= now));
        out.item(value)?;
    }
    let default = workers.iter().fold(RuleHits::default(), |sum, hits| sum.and(hits.of_default()));
    let mut value = of(default, kept.get(DEFAULT));
    value["id"] = Value::Null;
    value["tier"] = Value::Null;
    value["action"] = json!(match policy.default() {
        classifier::policy::DefaultAction::Allow => "allow",
        classifier::policy::DefaultAction::Deny => "deny",
        classifier::policy::DefaultAction::Reject => "reject",
    });
    out.item(value)?;
    Ok(json!({ "rules": policy.rule_count() }))
}
