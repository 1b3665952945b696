//! What differs between two configurations: by name and key for people, by line for their files.

use crate::config::words::mode_name;
use crate::config::{Bundle, Configuration};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One thing that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// `rule`, `segment`, `tier`, `vlan` and so on.
    pub kind: &'static str,
    /// Its name or id; empty where there is only one of the kind.
    pub name: String,
    /// `added`, `removed`, `changed` or `moved`.
    pub change: &'static str,
    /// What of it: `key: old -> new`, or what a set gains and loses.
    pub details: Vec<String>,
}

/// Things of one kind, by name, with their keys and values.
type Things = BTreeMap<String, Vec<(&'static str, Vec<String>)>>;

/// What `new` changes of `old`.
#[must_use]
pub fn compare(old: &Configuration, new: &Configuration) -> Vec<Difference> {
    let mut found = Vec::new();
    let one = |text: String| if text.is_empty() { Vec::new() } else { vec![text] };
    let whole = |c: &Configuration| {
        let policy = &c.policy;
        let default = format!("{:?}", policy.default()).to_lowercase();
        let fields = vec![
            ("default", one(default)),
            ("mode", one(mode_name(policy.mode()).to_owned())),
            ("tiers", one(policy.tiers().join(", "))),
        ];
        Things::from([(String::new(), fields)])
    };
    things("policy", &whole(old), &whole(new), &mut found);
    let segments = |c: &Configuration| -> Things {
        let texts =
            |members: &[classifier::policy::Member]| members.iter().map(|m| c.member_text(m)).collect();
        let fields = |s: &classifier::policy::Segment| {
            vec![
                ("members", texts(&s.members)),
                ("except", texts(&s.except)),
                ("mode", one(mode_name(s.mode).to_owned())),
            ]
        };
        c.policy.segments().iter().map(|s| (s.name.clone(), fields(s))).collect()
    };
    things("segment", &segments(old), &segments(new), &mut found);
    let rules = |c: &Configuration| -> Things {
        let fields = |r| c.rule_fields(r).map(|(key, value)| (key, one(value))).to_vec();
        c.policy.rules().iter().map(|rule| (rule.id.clone(), fields(rule))).collect()
    };
    let feeds = |c: &Configuration| -> Things {
        let name =
            |feed: &crate::config::feed::Feed| format!("{} from {}", feed.segment, feed.file.display());
        c.feeds.iter().map(|feed| (name(feed), Vec::new())).collect()
    };
    things("feed", &feeds(old), &feeds(new), &mut found);
    let (old_rules, new_rules) = (rules(old), rules(new));
    things("rule", &old_rules, &new_rules, &mut found);
    moves(old, new, &mut found);
    // What is under the policy has few names and rarely changes: its parts are compared as a whole.
    let network = |c: &Configuration| -> Things {
        let topology = &c.topology;
        let mut parts = Things::new();
        let mut put = |name: String, value: String| parts.insert(name, vec![("is", vec![value])]);
        for port in &topology.ports {
            put(format!("port {}", port.name), format!("{port:?}"));
        }
        for vlan in &topology.vlans {
            put(format!("vlan {}", topology.vlan_label(vlan.key)), format!("{vlan:?}"));
        }
        for stitch in &topology.stitches {
            put(format!("stitch {}", stitch.name), format!("{stitch:?}"));
        }
        for route in &topology.routes {
            put(format!("route {} via {}", route.to, route.via), String::new());
        }
        for neighbor in &topology.neighbors {
            put(format!("neighbor {}", neighbor.address), neighbor.mac.to_string());
        }
        for binding in &topology.bindings {
            put(format!("binding {} {}", binding.address, binding.mac), String::new());
        }
        put("workers".to_owned(), format!("{:?} {:?}", topology.cores, topology.idle));
        put("conntrack".to_owned(), format!("{:?}", c.conntrack));
        put("sanity".to_owned(), format!("{:?}", topology.sanity));
        put("gateway".to_owned(), topology.name.clone());
        parts
    };
    let before = found.len();
    things("network", &network(old), &network(new), &mut found);
    for difference in &mut found[before..] {
        difference.details.clear();
    }
    found
}

fn things(kind: &'static str, old: &Things, new: &Things, found: &mut Vec<Difference>) {
    for (name, fields) in old {
        match new.get(name) {
            None => {
                found.push(Difference { kind, name: name.clone(), change: "removed", details: given(fields) })
            }
            Some(now) if now != fields => found.push(Difference {
                kind,
                name: name.clone(),
                change: "changed",
                details: fields.iter().zip(now).filter_map(|(old, new)| field(old, new)).collect(),
            }),
            Some(_) => {}
        }
    }
    for (name, fields) in new {
        if !old.contains_key(name) {
            found.push(Difference { kind, name: name.clone(), change: "added", details: given(fields) });
        }
    }
}

fn given(fields: &[(&'static str, Vec<String>)]) -> Vec<String> {
    let given = fields.iter().filter(|(_, values)| !values.is_empty());
    given.map(|(key, values)| format!("{key}: {}", values.join(", "))).collect()
}

fn field(old: &(&'static str, Vec<String>), new: &(&'static str, Vec<String>)) -> Option<String> {
    let ((key, old), (_, new)) = (old, new);
    if old == new {
        return None;
    }
    let (had, has): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
    if had.len().max(has.len()) <= 1 {
        let or_none = |values: &[String]| values.first().cloned().unwrap_or_else(|| "(none)".to_owned());
        return Some(format!("{key}: {} -> {}", or_none(old), or_none(new)));
    }
    let lost = had.difference(&has).map(|value| format!("-{value}"));
    let gained = has.difference(&had).map(|value| format!("+{value}"));
    let words: Vec<String> = lost.chain(gained).collect();
    Some(if words.is_empty() {
        format!("{key}: in another order")
    } else {
        format!("{key}: {}", words.join(" "))
    })
}

/// Rules that stand elsewhere among those that both have, tier by tier: order decides which one matches first.
fn moves(old: &Configuration, new: &Configuration, found: &mut Vec<Difference>) {
    let order = |c: &Configuration, other: &BTreeSet<(String, String)>| -> Vec<(String, String)> {
        let mut rules: Vec<_> = c.policy.rules().iter().collect();
        rules.sort_by_key(|rule| rule.tier);
        let name = |rule: &&classifier::policy::Rule| {
            (c.policy.tiers()[usize::from(rule.tier.0)].clone(), rule.id.clone())
        };
        rules.iter().map(name).filter(|name| other.contains(name)).collect()
    };
    let names = |c: &Configuration| -> BTreeSet<(String, String)> {
        let tier = |rule: &classifier::policy::Rule| c.policy.tiers()[usize::from(rule.tier.0)].clone();
        c.policy.rules().iter().map(|rule| (tier(rule), rule.id.clone())).collect()
    };
    let (before, after) = (order(old, &names(new)), order(new, &names(old)));
    // The fewest that were moved: those not in the longest common order.
    let diff = similar::capture_diff_slices(similar::Algorithm::Patience, &before, &after);
    for op in diff {
        for (tier, id) in &after[op.new_range()] {
            if op.tag() != similar::DiffTag::Equal {
                let place = after.iter().position(|name| name.1 == *id).and_then(|at| after.get(at + 1));
                let before = match place {
                    Some((next_tier, next)) if next_tier == tier => format!("it stands before {next} now"),
                    Some(_) | None => "it is the last of its tier now".to_owned(),
                };
                found.push(Difference {
                    kind: "rule",
                    name: id.clone(),
                    change: "moved",
                    details: vec![before],
                });
            }
        }
    }
}

/// The files of two bundles, as a unified diff.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextDiff(pub String);

/// What `new` changes of the text of `old`. Files are known by name; the gateway file is one, whatever its name.
#[must_use]
pub fn compare_text(old: &Bundle, new: &Bundle) -> TextDiff {
    let named = |bundle: &Bundle| -> BTreeMap<String, String> {
        let name = |(at, file): (usize, &crate::config::BundleFile)| {
            let path = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (if at == 0 { String::new() } else { path }, file.text.clone())
        };
        bundle.files.iter().enumerate().map(name).collect()
    };
    let (old, new) = (named(old), named(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let empty = String::new();
    let mut text = String::new();
    for name in names {
        let (before, after) = (old.get(name).unwrap_or(&empty), new.get(name).unwrap_or(&empty));
        if before == after {
            continue;
        }
        let shown = if name.is_empty() { "gateway file" } else { name };
        let diff = similar::TextDiff::from_lines(before.as_str(), after.as_str());
        let headed = diff.unified_diff().context_radius(2).header(shown, shown).to_string();
        text.push_str(&headed);
    }
    TextDiff(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BundleFile, load_bundle, now};

    fn bundle(text: &str) -> Bundle {
        Bundle { files: vec![BundleFile { path: "gw.toml".into(), text: text.to_owned() }] }
    }

    fn configuration(text: &str) -> Configuration {
        load_bundle(&bundle(text), now()).unwrap()
    }

    const OLD: &str = r#"
[segment.web]
members = ["10.0.0.0/24", "10.0.9.9"]
[segment.db]
members = ["10.0.1.0/24"]
[[rule]]
id = "a"
from = ["web"]
to = ["db"]
service = ["tcp/5432"]
action = "allow"
[[rule]]
id = "b"
from = ["db"]
to = "any"
action = "deny"
[[rule]]
id = "c"
from = ["web"]
to = ["web"]
action = "allow"
"#;

    #[test]
    fn the_same_is_no_difference() {
        assert_eq!(compare(&configuration(OLD), &configuration(OLD)), []);
        assert_eq!(compare_text(&bundle(OLD), &bundle(OLD)).0, "");
    }

    #[test]
    fn members_keys_rules_and_order_are_told() {
        let (a, rest) = OLD.split_once("[[rule]]\nid = \"b\"").unwrap();
        let (b, _) = rest.split_once("[[rule]]").unwrap();
        // b stands before a, c is gone, a has another service, web has another member.
        let (head, a) = a.split_once("[[rule]]").unwrap();
        let new = format!("{head}[[rule]]\nid = \"b\"{b}[[rule]]{a}")
            .replace("10.0.9.9", "10.0.9.10")
            .replace("tcp/5432", "tcp/5433");
        let found = compare(&configuration(OLD), &configuration(&new));
        let told: Vec<_> = found.iter().map(|d| (d.kind, d.name.as_str(), d.change)).collect();
        assert_eq!(
            told,
            [
                ("segment", "web", "changed"),
                ("rule", "a", "changed"),
                ("rule", "c", "removed"),
                ("rule", "b", "moved"),
            ]
        );
        assert_eq!(found[0].details, ["members: -10.0.9.9 +10.0.9.10"]);
        assert_eq!(found[1].details, ["service: tcp/5432 -> tcp/5433"]);
        assert_eq!(found[3].details, ["it stands before a now"]);
        assert!(compare_text(&bundle(OLD), &bundle(&new)).0.contains("+service = [\"tcp/5433\"]"));
    }
}
