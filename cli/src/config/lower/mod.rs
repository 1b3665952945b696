//! The second pass: from trees of the right shape to what they mean.
//!
//! One file for each table. What is wrong is reported and left out, and the rest goes on, so that all
//! faults come out in one run.

mod connected;
mod endpoint;
mod gateway;
mod names;
mod network;
mod routes;
mod row;
mod rule;
mod scalar;
mod segment;
mod select;
mod service;
pub(crate) use service::inline as inline_service;
pub use service::inline_text;
mod test;
mod vlans;
mod workload;

use super::feed::Feed;
use super::source::{Sources, Span};
use super::tree::Table;
use super::{Invariant, PolicyTest};
use crate::diagnostic::{Code, Diagnostic};
use classifier::addr::VlanKey;
use classifier::policy::{Policy, Service, Timestamp};
use dataplane::topology::Topology;
use row::Document;
#[cfg(test)]
pub(crate) use row::record;
use std::collections::BTreeMap;

/// What comes out.
pub(crate) struct Lowered {
    pub(crate) topology: Topology,
    pub(crate) policy: Policy,
    pub(crate) conntrack: conntrack::config::Config,
    pub(crate) tests: Vec<PolicyTest>,
    pub(crate) invariants: Vec<Invariant>,
    pub(crate) vlan_names: BTreeMap<String, VlanKey>,
    pub(crate) rule_spans: Vec<Span>,
    pub(crate) services: BTreeMap<String, Vec<Service>>,
    pub(crate) feeds: Vec<Feed>,
}

/// Lowers the merged tree. `None` where the policy as a whole can't be had; then an error says why.
pub(crate) fn lower(
    root: &Table<'_>,
    sources: &Sources,
    now: Timestamp,
    out: &mut Vec<Diagnostic>,
) -> Option<Lowered> {
    let document = Document::new(root);
    let conntrack = gateway::conntrack(&document, out);
    let network = network::lower(&document, out);
    let workloads = workload::lower(&document, &network, out);
    let services = service::lower(&document, out);
    let segments = segment::lower(&document, &network, &workloads, sources, out);
    let feeds = segment::feeds(&document, &segments, out);
    let rules = rule::lower(&document, &network, &segments, &services, now, out);
    let tests = test::tests(&document, &network, &services, &rules, out);
    let invariants = test::invariants(&document, &network, &segments, &services, out);
    let vlan_names = network.vlan_names();
    let had_errors = out.iter().any(|d| d.severity == crate::diagnostic::Severity::Error);
    let rule_spans = rules.spans;
    match rules.builder.build() {
        Ok(policy) => Some(Lowered {
            topology: network.topology,
            policy,
            conntrack,
            tests,
            invariants,
            vlan_names,
            rule_spans,
            services: services.by_name(),
            feeds,
        }),
        // The builder says again what has been said with a place.
        Err(_) if had_errors => None,
        Err(errors) => {
            let start = Span::new(super::source::FileId(0), 0..0);
            for error in errors {
                out.push(Diagnostic::error(Code::InvalidPolicy, start, error.to_string()));
            }
            None
        }
    }
}
