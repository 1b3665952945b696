//! The flows in the workers' tables, a portion at a time.

use super::{Outbox, Shared};
use crate::config::Configuration;
use crate::control::protocol::{Failure, FailureCode, FlowFilter};
use classifier::addr::{IpRange, Prefix};
use classifier::flow::FlowKey;
use classifier::policy::{SegmentId, Service};
use conntrack::FlowView;
use dataplane::engine::Engine;
use dataplane::generation::Generation;
use dataplane::inspect::PORTION;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

/// One end of a flow, in the opener's order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ends {
    pub(crate) source: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination: IpAddr,
    pub(crate) destination_port: u16,
    pub(crate) protocol: u8,
}

impl Ends {
    pub(crate) fn of(view: &FlowView) -> Ends {
        let (protocol, first, second, first_port, second_port) = match view.key {
            FlowKey::V4(key) => (
                key.protocol,
                IpAddr::V4(key.first.into()),
                IpAddr::V4(key.second.into()),
                key.first_port,
                key.second_port,
            ),
            FlowKey::V6(key) => (
                key.protocol,
                IpAddr::V6(key.first.into()),
                IpAddr::V6(key.second.into()),
                key.first_port,
                key.second_port,
            ),
        };
        let ends = Ends {
            source: first,
            source_port: first_port,
            destination: second,
            destination_port: second_port,
            protocol,
        };
        match view.opener {
            classifier::flow::End::First => ends,
            classifier::flow::End::Second => Ends {
                source: second,
                source_port: second_port,
                destination: first,
                destination_port: first_port,
                protocol,
            },
        }
    }
}

/// Who is meant by `--from` and the like.
pub(super) enum Who {
    Range(IpRange),
    Segment(SegmentId),
}

/// A [`FlowFilter`] with its names looked up.
pub(crate) struct Wanted {
    configuration: Arc<Configuration>,
    generation: Arc<Generation>,
    from: Option<Who>,
    to: Option<Who>,
    with: Option<Who>,
    services: Option<Vec<Service>>,
    rule: Option<String>,
    state: Option<String>,
}

/// The word of the filter for flows that no rule decided.
const DEFAULT: &str = "default";

impl Wanted {
    /// Looks the names of a filter up in the configuration in force.
    ///
    /// # Errors
    /// A name that is not there.
    pub(crate) fn new(shared: &Shared, filter: &FlowFilter) -> Result<Wanted, Failure> {
        let configuration = shared.configuration.load_full();
        let who = |text: &Option<String>| text.as_deref().map(|text| who(&configuration, text)).transpose();
        let services = filter.service.as_deref().map(|text| configuration.service(text)).transpose();
        Ok(Wanted {
            from: who(&filter.from)?,
            to: who(&filter.to)?,
            with: who(&filter.with)?,
            services: services.map_err(|message| Failure::new(FailureCode::Usage, message))?,
            rule: filter.rule.clone(),
            state: filter.state.clone(),
            generation: shared.control.generation(),
            configuration,
        })
    }

    /// Whether a flow fits.
    pub(crate) fn holds(&self, view: &FlowView) -> bool {
        let ends = Ends::of(view);
        let is = |who: &Who, address: IpAddr, vlan| match who {
            Who::Range(range) => range.contains(address),
            Who::Segment(id) => {
                let tables = self.generation.tables();
                let class = tables.class_of(&classifier::endpoint::Endpoint { vlan, mac: None, address });
                tables.segments_of(class).contains(id)
            }
        };
        let opener = |who: &Who| is(who, ends.source, Some(view.opener_vlan));
        let responder = |who: &Who| is(who, ends.destination, view.responder_vlan);
        let is_of =
            |service: &Service| service.contains(ends.protocol, ends.source_port, ends.destination_port);
        self.from.as_ref().is_none_or(opener)
            && self.to.as_ref().is_none_or(responder)
            && self.with.as_ref().is_none_or(|who| opener(who) || responder(who))
            && self.services.as_ref().is_none_or(|services| services.iter().any(is_of))
            && self.rule.as_deref().is_none_or(|rule| {
                rule == view.rule.and_then(|key| self.generation.rule_name(key)).unwrap_or(DEFAULT)
            })
            && self.state.as_deref().is_none_or(|state| state == view.state.name())
    }

    fn line(&self, view: &FlowView, worker: usize) -> Value {
        let ends = Ends::of(view);
        let vlan = |key| self.configuration.topology.vlan_label(key);
        json!({
            "source": ends.source,
            "source_port": ends.source_port,
            "destination": ends.destination,
            "destination_port": ends.destination_port,
            "protocol": ends.protocol,
            "state": view.state.name(),
            "rule": view.rule.and_then(|key| self.generation.rule_name(key)),
            "from_vlan": vlan(view.opener_vlan),
            "to_vlan": view.responder_vlan.map(vlan),
            "age_s": view.age.as_secs(),
            "expires_in_s": view.expires_in.as_secs(),
            "worker": worker,
        })
    }
}

pub(super) fn who(configuration: &Configuration, text: &str) -> Result<Who, Failure> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Who::Range(IpRange::single(address)));
    }
    if let Ok(prefix) = text.parse::<Prefix>() {
        return Ok(Who::Range(IpRange::from(prefix)));
    }
    let name = text.strip_prefix("segment:").unwrap_or(text);
    let position = configuration.policy.segments().iter().position(|segment| segment.name == name);
    let position = position.ok_or_else(|| {
        Failure::new(FailureCode::Usage, format!("`{text}` is no address, no prefix, and no segment's name"))
    })?;
    Ok(Who::Segment(SegmentId(position as u32)))
}

pub(super) fn list(
    shared: &Shared,
    filter: &FlowFilter,
    limit: Option<u64>,
    out: &mut dyn Outbox,
) -> Result<Value, Failure> {
    let wanted = Wanted::new(shared, filter)?;
    let mut told = 0;
    for worker in 0..shared.control.workers() {
        let mut portions = Portions::new(shared, worker);
        while let Some(views) = portions.next()? {
            for view in views.iter().filter(|view| wanted.holds(view)) {
                if limit.is_some_and(|limit| told >= limit) {
                    return Ok(json!({ "flows": told, "more": true }));
                }
                out.item(wanted.line(view, worker))?;
                told += 1;
            }
        }
    }
    Ok(json!({ "flows": told, "more": false }))
}

/// The flows of a worker, a portion at a time.
pub(super) struct Portions<'a> {
    shared: &'a Shared,
    worker: usize,
    cursor: Option<u64>,
    portion: Vec<FlowView>,
}

impl Portions<'_> {
    pub(super) fn new(shared: &Shared, worker: usize) -> Portions<'_> {
        Portions { shared, worker, cursor: Some(0), portion: Vec::with_capacity(PORTION) }
    }

    /// The next portion, which may be empty; `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<&[FlowView]>, Failure> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        // The worker fills what it is given, and allocates nothing.
        let mut portion = std::mem::take(&mut self.portion);
        portion.clear();
        let errand = move |engine: &mut Engine| (engine.flows_from(cursor, &mut portion), portion);
        (self.cursor, self.portion) = self.shared.control.ask(self.worker, errand)?.wait()?;
        Ok(Some(&self.portion))
    }
}
