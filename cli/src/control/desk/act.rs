//! What operators do beside the files, and to flows.

use super::flows::Wanted;
use super::{Desk, Outbox};
use crate::change::{Act, Deed, range};
use crate::control::protocol::{Failure, FailureCode, FlowFilter};
use crate::control::server::User;
use crate::run::Made;
use classifier::addr::IpRange;
use classifier::endpoint::Endpoint;
use dataplane::engine::Engine;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

fn refused(error: String) -> Failure {
    Failure::new(FailureCode::Refused, error)
}

/// Puts a deed in force; its flows are judged again, and those of a quarantine ended at once.
pub(super) fn act(desk: &Desk, user: &User, mut deed: Deed, for_s: Option<f64>) -> Result<Value, Failure> {
    let usage = |error| Failure::new(FailureCode::Usage, error);
    if let Deed::Member { address, .. } | Deed::Quarantine { address } = &mut deed {
        // One way to write it, so that it can be found again.
        *address = range(address).map_err(usage)?.to_string();
    }
    let lasts = match for_s.map(Duration::try_from_secs_f64) {
        None => None,
        Some(Ok(lasts)) if !lasts.is_zero() => Some(lasts),
        Some(_) => return Err(usage("a time must be longer than nothing".to_owned())),
    };
    let name = user.name.clone();
    let done = desk.order(move |host| host.act(deed, &name, lasts).map(|act| (act, host.made())))?;
    let (done, made): (Act, Option<Made>) = done.map_err(refused)?;
    let mut answer = json!(done);
    answer["tables"] = json!(made);
    if let Deed::Quarantine { address } = &done.deed {
        let range = range(address).map_err(usage)?;
        answer["flows_ended"] = json!(end_flows_of(desk, range)?);
    }
    Ok(answer)
}

/// Ends a deed.
pub(super) fn undo(desk: &Desk, user: &User, mut deed: Deed) -> Result<Value, Failure> {
    if let Deed::Member { address, .. } | Deed::Quarantine { address } = &mut deed {
        let range = range(address).map_err(|error| Failure::new(FailureCode::Usage, error))?;
        *address = range.to_string();
    }
    let (name, text) = (user.name.clone(), deed.to_string());
    let done = desk.order(move |host| host.undo(&deed, &name).map(|ended| (ended, host.made())))?;
    match done.map_err(refused)? {
        (true, made) => Ok(json!({ "ended": text, "tables": made })),
        (false, _) => Err(Failure::new(FailureCode::No, format!("it is not so that {text}"))),
    }
}

/// What is in force beside the files.
pub(super) fn list(desk: &Desk, out: &mut dyn Outbox) -> Result<Value, Failure> {
    let (acts, feeds) = desk.order(|host| (host.acts(), host.feeds().fed().to_vec()))?;
    let count = acts.len();
    for fed in &feeds {
        let mut item = fed.to_json();
        let (segment, members) = (&fed.feed().segment, fed.list().0.len());
        item["what"] =
            json!(format!("{members} members of {segment} are from {}", fed.feed().file.display()));
        item["user"] = json!("feed");
        out.item(item)?;
    }
    for act in acts {
        let mut item = json!(act);
        item["what"] = json!(act.deed.to_string());
        out.item(item)?;
    }
    Ok(json!({ "acts": count }))
}

/// The segments of an address.
pub(super) fn segments_of(desk: &Desk, text: &str) -> Result<Value, Failure> {
    let configuration = desk.shared.configuration.load_full();
    let found = configuration.address_and_vlan(text);
    let (address, vlan): (IpAddr, _) = found.map_err(|error| Failure::new(FailureCode::Usage, error))?;
    let vlan = vlan.or_else(|| configuration.locate(address));
    let mac = vlan.and_then(|vlan| configuration.mac_of(vlan, address));
    let generation = desk.shared.control.generation();
    let tables = generation.tables();
    let class = tables.class_of(&Endpoint { vlan, mac, address });
    let policy = tables.policy();
    let names: Vec<&String> =
        tables.segments_of(class).iter().map(|id| &policy.segments()[id.0 as usize].name).collect();
    Ok(json!({
        "address": address,
        "vlan": vlan.map(|vlan| configuration.topology.vlan_label(vlan)),
        "segments": names,
    }))
}

/// How many flows fit.
pub(super) fn count_flows(desk: &Desk, filter: &FlowFilter) -> Result<Value, Failure> {
    let wanted = Wanted::new(&desk.shared, filter)?;
    let mut count = 0_u64;
    for worker in 0..desk.shared.control.workers() {
        let mut portions = super::flows::Portions::new(&desk.shared, worker);
        while let Some(views) = portions.next()? {
            count += views.iter().filter(|view| wanted.holds(view)).count() as u64;
        }
    }
    Ok(json!({ "flows": count }))
}

/// Ends the flows that fit. Their next packets are judged as any others.
pub(super) fn kill_flows(desk: &Desk, user: &User, filter: FlowFilter) -> Result<Value, Failure> {
    let wanted = Arc::new(Wanted::new(&desk.shared, &filter)?);
    let ended = end_flows(desk, move |view| wanted.holds(view))?;
    let name = user.name.clone();
    desk.order(move |host| host.note_kill(&name, &json!(filter), ended))?.map_err(refused)?;
    Ok(json!({ "ended": ended }))
}

fn end_flows_of(desk: &Desk, range: IpRange) -> Result<u64, Failure> {
    end_flows(desk, move |view| {
        let ends = super::flows::Ends::of(view);
        range.contains(ends.source) || range.contains(ends.destination)
    })
}

/// Ends the flows that are meant, on every worker, a portion at a time; how many.
fn end_flows(
    desk: &Desk,
    is_meant: impl Fn(&conntrack::FlowView) -> bool + Clone + Send + 'static,
) -> Result<u64, Failure> {
    let mut ended = 0;
    for worker in 0..desk.shared.control.workers() {
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let is_meant = is_meant.clone();
            let errand = move |engine: &mut Engine| {
                let mut ended = 0;
                (engine.end_flows_from(at, &is_meant, &mut ended), ended)
            };
            let (next, count) = desk.shared.control.ask(worker, errand)?.wait()?;
            cursor = next;
            ended += count;
        }
    }
    Ok(ended)
}
