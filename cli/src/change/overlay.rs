//! What operators do beside the files: members put in and out, quarantine, a segment's mode, each for a time or for good.
//!
//! An [`Overlay`] lies over whatever configuration is in force, and over the next one as well. It is kept in
//! `overlay.json` of the state folder, so that it survives a restart; what has a time ends when that is over, also
//! while the gateway is down.

use crate::config::Configuration;
use crate::config::source::{FileId, Span};
use crate::config::words::OF_QUARANTINES;
use crate::run::replace_file;
use classifier::addr::{IpRange, Prefix};
use classifier::policy::{
    Action, EndpointSet, Member, Mode, PolicyBuilder, Rule, Segment, Selector, Service, TierId,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What was done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Deed {
    /// Addresses are in a segment, or are not, whatever the files say.
    Member {
        /// The segment's name.
        segment: String,
        /// An address, a prefix, or `FIRST-LAST`.
        address: String,
        /// Whether they are.
        is_in: bool,
    },
    /// Nothing goes to or comes from these addresses.
    Quarantine {
        /// An address, a prefix, or `FIRST-LAST`.
        address: String,
    },
    /// A segment is in another mode than the files say.
    Mode {
        /// The segment's name.
        segment: String,
        /// Whether the default verdict is only recorded towards it.
        is_monitored: bool,
    },
}

impl Deed {
    /// Whether both are about the same, so that the later takes the place of the earlier.
    fn is_about_the_same_as(&self, other: &Deed) -> bool {
        match (self, other) {
            (
                Deed::Member { segment, address, .. },
                Deed::Member { segment: segment_2, address: address_2, .. },
            ) => segment == segment_2 && address == address_2,
            (Deed::Quarantine { address }, Deed::Quarantine { address: address_2 }) => address == address_2,
            (Deed::Mode { segment, .. }, Deed::Mode { segment: segment_2, .. }) => segment == segment_2,
            (Deed::Member { .. } | Deed::Quarantine { .. } | Deed::Mode { .. }, _) => false,
        }
    }

    /// The word for it in the history.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Deed::Member { is_in: true, .. } => "segment-add",
            Deed::Member { is_in: false, .. } => "segment-remove",
            Deed::Quarantine { .. } => "quarantine",
            Deed::Mode { .. } => "mode",
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Member { segment, address, is_in: true } => write!(f, "{address} is in {segment}"),
            Deed::Member { segment, address, is_in: false } => write!(f, "{address} is not in {segment}"),
            Deed::Quarantine { address } => write!(f, "{address} is in quarantine"),
            Deed::Mode { segment, is_monitored: true } => write!(f, "{segment} is in monitor mode"),
            Deed::Mode { segment, is_monitored: false } => write!(f, "{segment} is in enforce mode"),
        }
    }
}

/// A deed, by whom, and how long it lasts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    /// What.
    pub deed: Deed,
    /// Who.
    pub user: String,
    /// Since when, as RFC 3339 in UTC.
    pub since: String,
    /// Until when; `None`: for good.
    pub until: Option<String>,
}

/// What a text names: an address, a prefix, or `FIRST-LAST`.
///
/// # Errors
/// What is wrong with it.
pub fn range(text: &str) -> Result<IpRange, String> {
    let fault = || format!("`{text}` is no address, no prefix and no FIRST-LAST");
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpRange::single(address));
    }
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (first.parse().map_err(|_| fault())?, last.parse().map_err(|_| fault())?);
        return IpRange::between(first, last).ok_or_else(fault);
    }
    text.parse::<Prefix>().map(IpRange::from).map_err(|_| fault())
}

/// The id of the rules that keep an address in quarantine, before and behind the address.
#[must_use]
pub fn quarantine_ids(address: &str) -> [String; 2] {
    OF_QUARANTINES.map(|prefix| format!("{prefix}{address}"))
}

/// All acts that are in force.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    acts: Vec<(Act, Option<Instant>)>,
}

fn now() -> jiff::Timestamp {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now)
}

impl Overlay {
    /// Reads the overlay of a state folder; what is over is left out. A file that can't be understood is put aside as
    /// `overlay.json.bad`.
    ///
    /// # Errors
    /// The file is there, and can't be read or understood.
    pub fn load(folder: &Path) -> io::Result<Overlay> {
        let path = folder.join("overlay.json");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Overlay::default()),
            Err(error) => return Err(error),
        };
        let acts: Vec<Act> = serde_json::from_slice(&text).map_err(|error| {
            let _ = std::fs::rename(&path, folder.join("overlay.json.bad"));
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {error}; it is put aside", path.display()),
            )
        })?;
        let (now, started) = (jiff::Timestamp::now(), Instant::now());
        let with_deadline = |act: Act| match act.until.as_deref().map(str::parse::<jiff::Timestamp>) {
            None => Some((act, None)),
            Some(Ok(until)) => {
                let left =
                    Duration::try_from(until.duration_since(now)).ok().filter(|left| !left.is_zero())?;
                Some((act, Some(started + left)))
            }
            // A time that can't be read is over: nothing temporary may become lasting.
            Some(Err(_)) => None,
        };
        Ok(Overlay { acts: acts.into_iter().filter_map(with_deadline).collect() })
    }

    /// Writes the overlay into a state folder.
    ///
    /// # Errors
    /// It can't be written; what was there stays.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let acts: Vec<&Act> = self.acts().collect();
        replace_file(&folder.join("overlay.json"), &serde_json::to_vec_pretty(&acts)?)
    }

    /// The acts in force, oldest first.
    pub fn acts(&self) -> impl Iterator<Item = &Act> {
        self.acts.iter().map(|(act, _)| act)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acts.is_empty()
    }

    /// Puts a deed in force, in the place of an earlier one about the same.
    pub fn set(&mut self, deed: Deed, user: &str, lasts: Option<Duration>) -> Act {
        self.clear(&deed);
        let since = now();
        let until = lasts.map(|lasts| since.checked_add(lasts).unwrap_or(jiff::Timestamp::MAX).to_string());
        let act = Act { deed, user: user.to_owned(), since: since.to_string(), until };
        self.acts.push((act.clone(), lasts.map(|lasts| Instant::now() + lasts)));
        act
    }

    /// Ends what was done about the same; whether anything was.
    pub fn clear(&mut self, deed: &Deed) -> bool {
        let before = self.acts.len();
        self.acts.retain(|(act, _)| !act.deed.is_about_the_same_as(deed));
        self.acts.len() < before
    }

    /// Takes out what is over, and tells it.
    pub fn expire(&mut self) -> Vec<Act> {
        let now = Instant::now();
        let is_over = |deadline: &Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        if !self.acts.iter().any(|(_, deadline)| is_over(deadline)) {
            return Vec::new();
        }
        let (over, rest) = std::mem::take(&mut self.acts).into_iter().partition(|(_, d)| is_over(d));
        self.acts = rest;
        let over: Vec<(Act, Option<Instant>)> = over;
        over.into_iter().map(|(act, _)| act).collect()
    }

    /// The configuration with all that was done. Acts about segments that it has not come to nothing.
    #[must_use]
    pub fn over(&self, base: &Configuration) -> Configuration {
        if self.is_empty() {
            return base.clone();
        }
        let policy = &base.policy;
        let mut builder = PolicyBuilder::new(policy.tiers().to_vec(), policy.default(), policy.mode());
        for segment in policy.segments() {
            let mut segment = segment.clone();
            self.lay_over(&mut segment);
            builder.segment(segment);
        }
        let mut spans = Vec::new();
        for rule in self.quarantines().filter_map(quarantine_rules).flatten() {
            builder.rule(rule);
            spans.push(Span::new(FileId(0), 0..0));
        }
        for rule in policy.rules() {
            builder.rule(rule.clone());
        }
        spans.extend_from_slice(&base.rule_spans);
        // Names are as unique and references as good as they were.
        match builder.build() {
            Ok(policy) => {
                Configuration { policy: Arc::new(policy), rule_spans: Arc::new(spans), ..base.clone() }
            }
            Err(_) => base.clone(),
        }
    }

    /// Puts what was done to a segment into it.
    pub(super) fn lay_over(&self, segment: &mut Segment) {
        for act in self.acts() {
            match &act.deed {
                Deed::Member { segment: name, address, is_in } if *name == segment.name => {
                    let list = if *is_in { &mut segment.members } else { &mut segment.except };
                    list.extend(member(address));
                }
                Deed::Mode { segment: name, is_monitored } if *name == segment.name => {
                    segment.mode = if *is_monitored { Mode::Monitor } else { Mode::Enforce };
                }
                Deed::Member { .. } | Deed::Mode { .. } | Deed::Quarantine { .. } => {}
            }
        }
    }

    /// What was done to segments, by the name of each, oldest first.
    pub(super) fn by_segment(&self) -> HashMap<&str, Vec<&Deed>> {
        let mut found: HashMap<&str, Vec<&Deed>> = HashMap::new();
        for act in self.acts() {
            if let Deed::Member { segment, .. } | Deed::Mode { segment, .. } = &act.deed {
                found.entry(segment).or_default().push(&act.deed);
            }
        }
        found
    }

    /// The addresses in quarantine, oldest first.
    pub(super) fn quarantines(&self) -> impl Iterator<Item = &str> {
        self.acts().filter_map(|act| match &act.deed {
            Deed::Quarantine { address } => Some(address.as_str()),
            Deed::Member { .. } | Deed::Mode { .. } => None,
        })
    }
}

/// The member that an address, a prefix or a range is; `None`: it is none.
fn member(address: &str) -> Option<Member> {
    let addresses = range(address).map(|range| vec![range]).ok()?;
    Some(Member::Selector(Selector { addresses, ..Selector::default() }))
}

/// The rules that keep an address in quarantine; `None`: it is none.
pub(super) fn quarantine_rules(address: &str) -> Option<[Rule; 2]> {
    let this = EndpointSet::OneOf(vec![member(address)?]);
    let [from, to] = quarantine_ids(address);
    Some([deny(from, this.clone(), EndpointSet::Any), deny(to, EndpointSet::Any, this)])
}

/// A rule of the first tier, before all others.
fn deny(id: String, from: EndpointSet, to: EndpointSet) -> Rule {
    Rule { log: true, ..Rule::new(id, TierId(0), from, to, vec![Service::ANY], Action::Deny) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Bundle, BundleFile, load_bundle};
    use classifier::endpoint::Endpoint;
    use classifier::tables::Tables;

    fn base() -> Configuration {
        let text = r#"
[policy]
tiers = ["emergency", "application"]
[segment.web]
members = ["10.0.0.0/24"]
[segment.db]
members = ["10.0.1.0/24"]
[[rule]]
id = "all"
tier = "emergency"
from = ["web"]
to = ["db"]
action = "allow"
"#;
        let file = BundleFile { path: "gw.toml".into(), text: text.to_owned() };
        load_bundle(&Bundle { files: vec![file] }, crate::config::now()).unwrap()
    }

    /// The rule that decides for a TCP flow.
    fn rule(configuration: &Configuration, from: &str, to: &str) -> Option<String> {
        let tables = Tables::compile(Arc::clone(&configuration.policy), crate::config::now()).unwrap();
        let class =
            |text: &str| tables.class_of(&Endpoint { vlan: None, mac: None, address: text.parse().unwrap() });
        let decision = tables.decide(class(from), class(to), 6, 1024, 80);
        decision.rule.map(|id| configuration.policy.rule(id).id.clone())
    }

    #[test]
    fn deeds_lie_over_the_files_and_end() {
        let base = base();
        let mut overlay = Overlay::default();
        assert_eq!(rule(&overlay.over(&base), "10.0.9.9", "10.0.1.1"), None);
        let member = |is_in| Deed::Member { segment: "web".into(), address: "10.0.9.0/24".into(), is_in };
        overlay.set(member(true), "root", None);
        assert_eq!(rule(&overlay.over(&base), "10.0.9.9", "10.0.1.1").as_deref(), Some("all"));
        overlay.set(member(false), "root", None);
        assert_eq!(overlay.acts().count(), 1, "the later takes the place of the earlier");
        assert_eq!(rule(&overlay.over(&base), "10.0.9.9", "10.0.1.1"), None);
        let out = Deed::Member { segment: "web".into(), address: "10.0.0.7".into(), is_in: false };
        overlay.set(out.clone(), "root", None);
        assert_eq!(rule(&overlay.over(&base), "10.0.0.7", "10.0.1.1"), None);
        assert!(overlay.clear(&out) && !overlay.clear(&out));
        let quarantine = Deed::Quarantine { address: "10.0.0.8".into() };
        overlay.set(quarantine, "root", Some(Duration::ZERO));
        let over = overlay.over(&base);
        assert_eq!(rule(&over, "10.0.0.8", "10.0.1.1").as_deref(), Some("quarantine-from:10.0.0.8"));
        assert_eq!(rule(&over, "10.0.1.1", "10.0.0.8").as_deref(), Some("quarantine-to:10.0.0.8"));
        assert_eq!(over.rule_spans.len(), over.policy.rules().len());
        assert_eq!(overlay.expire().len(), 1);
        assert_eq!(rule(&overlay.over(&base), "10.0.0.8", "10.0.1.1").as_deref(), Some("all"));
        overlay.set(Deed::Mode { segment: "db".into(), is_monitored: true }, "root", None);
        assert_eq!(overlay.over(&base).policy.segments()[1].mode, Mode::Monitor);
        overlay.set(Deed::Mode { segment: "gone".into(), is_monitored: true }, "root", None);
        assert_eq!(overlay.over(&base).policy.segments().len(), 2);
    }

    #[test]
    fn an_overlay_survives_a_restart_but_not_its_time() {
        let folder = std::env::temp_dir().join(format!("bulkhead-overlay-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut overlay = Overlay::default();
        overlay.set(Deed::Quarantine { address: "10.0.0.1".into() }, "root", Some(Duration::from_secs(60)));
        overlay.set(Deed::Quarantine { address: "10.0.0.2".into() }, "root", Some(Duration::ZERO));
        overlay.set(Deed::Quarantine { address: "10.0.0.3".into() }, "root", None);
        overlay.save(&folder).unwrap();
        let again = Overlay::load(&folder).unwrap();
        let left: Vec<String> = again.acts().map(|act| act.deed.to_string()).collect();
        assert_eq!(left, ["10.0.0.1 is in quarantine", "10.0.0.3 is in quarantine"]);
        let path = folder.join("overlay.json");
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 4;
            std::fs::write(&path, &damaged).unwrap();
            let _ = Overlay::load(&folder);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn ranges_are_read_as_a_policy_writes_them() {
        for text in ["10.0.0.1", "10.0.0.0/24", "10.0.0.5-10.0.0.9", "fd00::/64"] {
            assert_eq!(range(text).unwrap().to_string(), text);
        }
        for text in ["", "web", "10.0.0.9-10.0.0.5", "10.0.0.1-fd00::1", "10.0.0.0/33"] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
