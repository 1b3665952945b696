//! A configuration that lets nothing pass, for a gateway that has none that is fit: its ports, and an empty policy.
//!
//! The ports matter: on them frames are taken and dropped, where else the kernel would have them.

use super::bundle::{Disk, Files};
use super::source::Sources;
use super::tree::{Data, Table, Texts};
use super::{Configuration, include, lower, merge, shape};
use crate::diagnostic::{Diagnostic, Report};
use classifier::policy::{DefaultAction, Mode, PolicyBuilder, Timestamp};
use dataplane::topology::Topology;
use std::path::Path;
use std::sync::Arc;

/// The tables that are about the box, not about what passes.
const OF_THE_BOX: [&str; 4] = ["gateway", "workers", "conntrack", "port"];

/// What can be known of the box from a gateway file that is not fit: all of `[gateway]`, `[workers]`, `[conntrack]` and
/// the ports if they are sound, else each port that is; no port, where the file can't be read or understood at all.
#[must_use]
pub fn deny_all_of_file(path: &Path, now: Timestamp) -> Configuration {
    from_files(&Disk, path, now)
}

fn from_files(files: &dyn Files, path: &Path, now: Timestamp) -> Configuration {
    let texts = Texts::default();
    let (sources, trees) = match include::read(files, path, &texts, &mut Vec::new()) {
        Ok(read) => (Arc::new(read.sources), read.trees),
        Err(_) => (Arc::new(Sources::default()), Vec::new()),
    };
    let whole = lowered(&sources, trees.iter().map(of_the_box).collect(), now);
    if let Some(configuration) = whole {
        return configuration;
    }
    let mut sound = lowered(&sources, Vec::new(), now).expect("nothing at all is a sound configuration");
    let mut kept: Vec<Table<'_>> = Vec::new();
    for entry in trees.into_iter().flat_map(|tree| tree.entries) {
        let ("port", Data::List(ports)) = (&*entry.key, &entry.value.data) else { continue };
        for port in ports {
            let mut one = entry.clone();
            one.value.data = Data::List(vec![port.clone()]);
            kept.push(Table { entries: vec![one] });
            match lowered(&sources, kept.clone(), now) {
                Some(configuration) => sound = configuration,
                None => drop(kept.pop()),
            }
        }
    }
    sound
}

fn of_the_box<'t>(tree: &Table<'t>) -> Table<'t> {
    let mut tree = tree.clone();
    tree.entries.retain(|entry| OF_THE_BOX.contains(&&*entry.key));
    tree
}

/// The box of a configuration, and nothing that passes.
#[must_use]
pub fn deny_all_of(configuration: &Configuration) -> Configuration {
    let topology = &configuration.topology;
    let mut bare = configuration.clone();
    bare.topology = Topology {
        cores: topology.cores.clone(),
        idle: topology.idle,
        sanity: topology.sanity,
        ..Topology::new(&topology.name, topology.ports.clone(), Vec::new())
    };
    let empty = PolicyBuilder::new(vec!["default".to_owned()], DefaultAction::Deny, Mode::Enforce).build();
    bare.policy = Arc::new(empty.expect("an empty policy is a policy"));
    (bare.tests, bare.invariants, bare.rule_spans) = (Vec::new(), Vec::new(), Arc::default());
    bare.vlan_names.clear();
    bare.services.clear();
    bare.feeds.clear();
    bare
}

/// What the trees mean, where there is nothing wrong with them.
fn lowered(sources: &Arc<Sources>, trees: Vec<Table<'_>>, now: Timestamp) -> Option<Configuration> {
    let mut out: Vec<Diagnostic> = Vec::new();
    for tree in &trees {
        shape::check(tree, &mut out);
    }
    let root = merge::merge(trees, &mut out);
    let lowered = lower::lower(&root, sources, now, &mut out);
    if Report::new(Arc::clone(sources), out).has_errors() {
        return None;
    }
    // What is said of a part of a file would be misleading.
    lowered.map(|lowered| Configuration::of(lowered, Report::new(Arc::clone(sources), Vec::new())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Bundle, BundleFile, now};

    fn ports(text: &str) -> Vec<String> {
        let file = BundleFile { path: "gw.toml".into(), text: text.to_owned() };
        let configuration = from_files(&Bundle { files: vec![file] }, Path::new("gw.toml"), now());
        assert!(configuration.policy.rules().is_empty() && configuration.topology.vlans.is_empty());
        assert_eq!(configuration.policy.default(), DefaultAction::Deny);
        configuration.topology.ports.into_iter().map(|port| port.name).collect()
    }

    #[test]
    fn the_ports_of_a_broken_file_are_those_that_are_sound() {
        let a = "[[port]]\nname = \"a\"\n";
        assert_eq!(ports(&format!("{a}[[rule]]\nid = 7\n")), ["a"]);
        assert_eq!(
            ports(&format!("{a}[[port]]\nname = \"b\"\nqueues = 0\n[[port]]\nname = \"c\"\n")),
            ["a", "c"]
        );
        assert_eq!(ports(&format!("{a}{a}")), ["a"], "two of one name are one port");
        assert_eq!(ports(&format!("{a}[workers]\ncores = [1, 1]\n")), ["a"]);
        assert_eq!(ports(&format!("{a}[policy]\ndefault = \"allow\"\n")), ["a"]);
        assert_eq!(ports("\u{0}\u{1} nonsense ["), [""; 0]);
        let nowhere = deny_all_of_file(Path::new("/nonexistent/gw.toml"), now());
        assert!(nowhere.topology.ports.is_empty());
    }

    #[test]
    fn the_box_of_a_configuration_stays() {
        let text = include_str!("../../../configs/three-tier.toml");
        let bundle = Bundle { files: vec![BundleFile { path: "gw.toml".into(), text: text.to_owned() }] };
        let full = crate::config::load_bundle(&bundle, now()).unwrap();
        let bare = deny_all_of(&full);
        assert_eq!(bare.topology.ports, full.topology.ports);
        assert!(bare.topology.vlans.is_empty() && bare.policy.segments().is_empty());
    }
}
