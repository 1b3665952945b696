//! From the text of the gateway file to a checked configuration.
//!
//! ```text
//! files --include--> trees --merge--> one tree --shape--> known keys and types --lower--> Configuration
//! ```
//!
//! Each stage adds its diagnostics and goes on with what it understood, so that one run reports all there
//! is to report. A [`Configuration`] comes out only where there was no error, and a [`Checked`] one only where its
//! policy compiles and its `[[test]]`s ([`testing`]) hold.

pub(crate) mod bundle;
mod checked;
mod deny_all;
pub mod feed;
mod format;
mod include;
mod json_schema;
mod keys;
mod locate;
mod lower;
mod merge;
pub(crate) mod near;
mod on_disk;
mod shape;
pub mod source;
pub mod testing;
mod tree;
pub(crate) mod words;

pub use bundle::{Bundle, BundleFile};
pub use checked::{Checked, check, check_with_lists, check_within, load_checked};
pub use deny_all::{deny_all_of, deny_all_of_file};
pub use json_schema::json_schema;
#[cfg(test)]
pub(crate) use lower::inline_service;
pub use lower::inline_text as service_text;
pub use on_disk::OnDisk;

use crate::diagnostic::{Code, Diagnostic, Report};
use classifier::addr::{Mac, VlanKey};
use classifier::endpoint::Endpoint;
use classifier::policy::{Action, EndpointSet, Policy, RuleId, Service, Timestamp};
use dataplane::topology::{Topology, VlanConfig, VlanRole};
use feed::Feed;
use source::{Sources, Span};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// A gateway file and all that it includes, checked, with every reference resolved.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Ports, VLANs, routes.
    pub topology: Topology,
    /// Segments, tiers, rules.
    pub policy: Arc<Policy>,
    /// How flows are tracked.
    pub conntrack: conntrack::config::Config,
    /// `[[test]]`, in the order of the files.
    pub tests: Vec<PolicyTest>,
    /// `[[invariant]]`, in the order of the files.
    pub invariants: Vec<Invariant>,
    /// How the file writes each VLAN: by its name where it has one, and as `port.id`.
    pub vlan_names: BTreeMap<String, VlanKey>,
    /// Where each rule stands: an index is a [`RuleId`]. Those that were put in beside the files may have none.
    pub rule_spans: Arc<Vec<Span>>,
    /// `[service]`, each name with all that it reaches.
    pub services: BTreeMap<String, Vec<Service>>,
    /// `[[feed]]`, in the order of the files.
    pub feeds: Vec<Feed>,
    /// Warnings and notes; none is an error.
    pub warnings: Report,
}

impl Configuration {
    fn of(lowered: lower::Lowered, warnings: Report) -> Configuration {
        Configuration {
            topology: lowered.topology,
            policy: Arc::new(lowered.policy),
            conntrack: lowered.conntrack,
            tests: lowered.tests,
            invariants: lowered.invariants,
            vlan_names: lowered.vlan_names,
            rule_spans: Arc::new(lowered.rule_spans),
            services: lowered.services,
            feeds: lowered.feeds,
            warnings,
        }
    }

    /// The files that the configuration was read from.
    #[must_use]
    pub fn sources(&self) -> &Arc<Sources> {
        self.warnings.sources()
    }

    /// The VLAN that a reference names: `port.id`, or its name.
    #[must_use]
    pub fn vlan(&self, reference: &str) -> Option<VlanKey> {
        self.vlan_names.get(reference).copied()
    }

    /// The endpoint that `ADDRESS` or `ADDRESS@VLAN` names, as a `[[test]]` writes it.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn endpoint(&self, text: &str) -> Result<TestEndpoint, String> {
        let (address, vlan) = self.address_and_vlan(text)?;
        let vlan = vlan.or_else(|| self.locate(address)).ok_or(format!(
            "the VLAN of `{address}` can't be told: write `{address}@VLAN`, with the VLAN's name or port.id"
        ))?;
        Ok(TestEndpoint { vlan, address, mac: self.mac_of(vlan, address) })
    }

    /// The parts of `ADDRESS` or `ADDRESS@VLAN`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn address_and_vlan(&self, text: &str) -> Result<(IpAddr, Option<VlanKey>), String> {
        let (address, vlan) = match text.split_once('@') {
            Some((address, vlan)) => (address, Some(vlan)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| format!("`{address}` is no IP address"))?;
        match vlan {
            Some(vlan) => Ok((address, Some(self.vlan(vlan).ok_or(format!("there is no VLAN `{vlan}`"))?))),
            None => Ok((address, None)),
        }
    }

    /// The VLAN that an address is on, as far as connected networks, routes and prefixes tell.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Option<VlanKey> {
        locate::locate(&self.topology, address)
    }

    /// The MAC that a `[[binding]]` or a `[[neighbor]]` gives to an address on a VLAN.
    #[must_use]
    pub fn mac_of(&self, vlan: VlanKey, address: IpAddr) -> Option<Mac> {
        locate::mac_of(&self.topology, vlan, address)
    }

    /// The packets that a text means in `service`: an inline form, or the name of a service.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn service(&self, text: &str) -> Result<Vec<Service>, String> {
        match self.services.get(text) {
            Some(services) => Ok(services.clone()),
            None => lower::inline_service(text)
                .map(|service| vec![service])
                .map_err(|fault| format!("`{text}` is no service: {}; {}", fault.message, fault.help)),
        }
    }

    /// The rule of that id.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<RuleId> {
        let index = self.policy.rules().iter().position(|rule| rule.id == id)?;
        Some(RuleId(u32::try_from(index).expect("fewer than 2^32 rules")))
    }
}

/// One end of a `[[test]]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TestEndpoint {
    /// The VLAN that the address is on.
    pub vlan: VlanKey,
    /// The address.
    pub address: IpAddr,
    /// The MAC that a `[[binding]]` or `[[neighbor]]` gives to the address there.
    pub mac: Option<Mac>,
}

impl TestEndpoint {
    /// The endpoint as the source of a packet.
    #[must_use]
    pub fn as_source(&self) -> Endpoint {
        Endpoint { vlan: Some(self.vlan), mac: self.mac, address: self.address }
    }

    /// The endpoint as the destination of a packet: on a routed VLAN it has no MAC yet when it is judged.
    #[must_use]
    pub fn as_destination(&self, topology: &Topology) -> Endpoint {
        let mac = self.mac.filter(|_| is_stitched(topology, self.vlan));
        Endpoint { vlan: Some(self.vlan), mac, address: self.address }
    }
}

/// Whether the VLAN is in a stitch.
#[must_use]
pub fn is_stitched(topology: &Topology, vlan: VlanKey) -> bool {
    let is_it = |v: &&VlanConfig| v.key == vlan;
    topology.vlans.iter().find(is_it).is_some_and(|v| matches!(v.role, VlanRole::Stitched { .. }))
}

/// What a test or an invariant expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expectation {
    /// All packets are let in.
    Allow,
    /// None is let in.
    Deny,
    /// All are rejected.
    Reject,
}

impl Expectation {
    /// The word that the file uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Expectation::Allow => "allow",
            Expectation::Deny => "deny",
            Expectation::Reject => "reject",
        }
    }
}

/// One `[[test]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyTest {
    /// Unique name.
    pub name: String,
    /// The opener of the flow.
    pub from: TestEndpoint,
    /// The other end.
    pub to: TestEndpoint,
    /// The packets; at least one.
    pub services: Vec<Service>,
    /// What the policy must say.
    pub expect: Expectation,
    /// The rule that must decide.
    pub rule: Option<RuleId>,
    /// Where `expect` stands, or the test where it doesn't.
    pub span: Span,
}

/// One `[[invariant]]`. It is checked for its references, and nothing proves it yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invariant {
    /// Unique name.
    pub name: String,
    /// Sources.
    pub from: EndpointSet,
    /// But not these.
    pub except_from: Vec<classifier::policy::Member>,
    /// Destinations.
    pub to: EndpointSet,
    /// But not these.
    pub except_to: Vec<classifier::policy::Member>,
    /// The packets; at least one.
    pub services: Vec<Service>,
    /// What the policy must say of all of them.
    pub expect: Expectation,
    /// Where it stands.
    pub span: Span,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum LoadError {
    /// The gateway file itself can't be read.
    Unreadable(std::io::Error),
    /// At least one error.
    Invalid(Report),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Unreadable(error) => write!(f, "the gateway file can't be read: {error}"),
            LoadError::Invalid(report) => f.write_str(&report.render(crate::diagnostic::Style::Plain)),
        }
    }
}

impl std::error::Error for LoadError {}

/// Reads a gateway file, all that it includes, and the lists of its feeds. The system's clock tells which rules have
/// expired.
///
/// # Errors
/// The file can't be read, or there is at least one error in it, in what it includes, or in a list.
pub fn load(path: &Path) -> Result<Configuration, LoadError> {
    feed::with_lists_of(path, load_at(path, now())?)
}

/// Reads a gateway file that is to be sent to a gateway: the lists of its feeds are the gateway's, so where it has any,
/// only the gateway can compile it and run its tests.
///
/// # Errors
/// As [`load_at`], and where it has no feeds as [`check`].
pub fn load_to_send(path: &Path) -> Result<Configuration, LoadError> {
    let configuration = load_at(path, now())?;
    if configuration.feeds.is_empty() {
        return check(configuration, now()).map(|checked| checked.configuration);
    }
    Ok(configuration)
}

/// The system's clock.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i128::try_from(since.as_nanos()).unwrap_or(i128::MAX))
}

/// As [`load`], at this time and without the lists of its feeds.
///
/// # Errors
/// As [`load`].
pub fn load_at(path: &Path, now: Timestamp) -> Result<Configuration, LoadError> {
    load_from(&bundle::Disk, path, now)
}

/// As [`load_at`], from files that are kept as a bundle: no other is read.
///
/// # Errors
/// As [`load`].
pub fn load_bundle(bundle: &Bundle, now: Timestamp) -> Result<Configuration, LoadError> {
    load_from(bundle, bundle.path(), now)
}

fn load_from(files: &dyn bundle::Files, path: &Path, now: Timestamp) -> Result<Configuration, LoadError> {
    let mut diagnostics = Vec::new();
    let texts = tree::Texts::default();
    let read = include::read(files, path, &texts, &mut diagnostics).map_err(LoadError::Unreadable)?;
    let sources = Arc::new(read.sources);
    for tree in &read.trees {
        shape::check(tree, &mut diagnostics);
    }
    let root = merge::merge(read.trees, &mut diagnostics);
    let lowered = lower::lower(&root, &sources, now, &mut diagnostics);
    if diagnostics.iter().any(|d| d.code == Code::Syntax) {
        without_echoes(&sources, &mut diagnostics);
    }
    let report = Report::new(Arc::clone(&sources), diagnostics);
    match lowered {
        Some(lowered) if !report.has_errors() => Ok(Configuration::of(lowered, report)),
        Some(_) | None => Err(LoadError::Invalid(report)),
    }
}

/// Takes out what may only be said because the parser lost something: all that is about absence, and all
/// that stands on the line of a syntax error.
fn without_echoes(sources: &Sources, diagnostics: &mut Vec<Diagnostic>) {
    let line = |span: Span| (span.file, sources.file(span.file).line_index(span.start as usize));
    let broken: std::collections::HashSet<_> =
        diagnostics.iter().filter(|d| d.code == Code::Syntax).map(|d| line(d.span)).collect();
    diagnostics
        .retain(|d| d.code == Code::Syntax || !(d.code.is_about_absence() || broken.contains(&line(d.span))));
}

/// The word that a file uses for an action.
#[must_use]
pub const fn action_name(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Reject => "reject",
        Action::Pass => "pass",
    }
}

#[cfg(test)]
mod tests;
