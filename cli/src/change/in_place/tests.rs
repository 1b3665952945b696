//! Tables that were changed in place say what tables do that were compiled from the same files, lists and acts.

use super::*;
use crate::change::{Deed, range};
use crate::config::feed::{Feed, with_lists};
use crate::config::source::{FileId, Span};
use crate::config::{Bundle, BundleFile, load_bundle};
use classifier::addr::IpRange;
use classifier::endpoint::{Endpoint, ServicePacket};
use classifier::policy::{Member, Selector};
use random::{NOW, Random, Scenario, Size};
use std::net::IpAddr;

#[path = "../../../../classifier/tests/random/mod.rs"]
mod random;

fn configuration(policy: Policy, random: &mut Random) -> Arc<Configuration> {
    let file = BundleFile { path: "gw.toml".into(), text: String::new() };
    let empty = load_bundle(&Bundle { files: vec![file] }, NOW).unwrap();
    let feed = |at: usize| Feed {
        segment: policy.segments()[at].name.clone(),
        file: format!("{at}.txt").into(),
        span: Span::new(FileId(0), 0..0),
    };
    let feeds = (0..2).map(|_| feed(random.below(policy.segments().len()))).collect();
    Arc::new(Configuration { policy: Arc::new(policy), feeds, ..empty })
}

/// An address or a range as a deed has it.
fn address(random: &mut Random) -> String {
    let text = match random.below(4) {
        0 => format!("fd00::{:x}", random.below(16)),
        1 => format!("10.{}.0.0/{}", random.below(2), 12 + random.below(8)),
        2 => format!("10.0.0.{}-10.0.1.{}", random.below(200), random.below(200)),
        _ => format!("10.0.0.{}", random.below(40)),
    };
    let (network, prefix) = text.split_once('/').unwrap_or((&text, ""));
    let prefix = prefix.parse::<u32>().ok();
    let text = match (network.parse::<std::net::Ipv4Addr>(), prefix) {
        (Ok(network), Some(length)) => {
            let network = u32::from(network) & (u32::MAX << (32 - length));
            format!("{}/{length}", std::net::Ipv4Addr::from(network))
        }
        _ => text,
    };
    range(&text).unwrap().to_string()
}

fn deed(random: &mut Random, policy: &Policy) -> Deed {
    let segment = policy.segments()[random.below(policy.segments().len())].name.clone();
    match random.below(5) {
        0..3 => Deed::Member { segment, address: address(random), is_in: random.once_in(2) },
        3 => Deed::Quarantine { address: address(random) },
        _ => Deed::Mode { segment, is_monitored: random.once_in(2) },
    }
}

fn list(random: &mut Random) -> Arc<List> {
    let member = |text: String| {
        let addresses = vec![range(&text).unwrap()];
        Member::Selector(Selector { addresses, ..Selector::default() })
    };
    Arc::new(List((0..random.below(6)).map(|_| member(address(random))).collect()))
}

/// What is said of a packet, by names.
fn told(tables: &Tables, (from, to, packet): &(Endpoint, Endpoint, ServicePacket)) -> String {
    let policy = tables.policy();
    let name = |id: RuleId| policy.rule(id).id.clone();
    let classes = (tables.class_of(from), tables.class_of(to));
    let ServicePacket { protocol, source_port, destination_port } = *packet;
    let decision = tables.decide(classes.0, classes.1, protocol, source_port, destination_port);
    let segments = [classes.0, classes.1].map(|class| tables.segments_of(class).to_vec());
    let would = decision.would.map(|would| (would.action, would.rule.map(name)));
    format!("{:?} {:?} {would:?} {segments:?}", decision.verdict, decision.rule.map(name))
}

fn near(random: &mut Random, endpoint: &mut Endpoint, acts: &Overlay) {
    let addresses: Vec<IpRange> = acts
        .acts()
        .filter_map(|act| match &act.deed {
            Deed::Member { address, .. } | Deed::Quarantine { address } => range(address).ok(),
            Deed::Mode { .. } => None,
        })
        .collect();
    if addresses.is_empty() || random.once_in(3) {
        return;
    }
    let nudge = random.below(3) as u32;
    match (addresses[random.below(addresses.len())], &mut endpoint.address) {
        (IpRange::V4(first, last), IpAddr::V4(address)) => {
            *address = random.pick(&[first, last]).wrapping_add(nudge).wrapping_sub(1).into();
        }
        (IpRange::V6(first, last), IpAddr::V6(address)) => {
            *address = random.pick(&[first, last]).wrapping_add(nudge.into()).wrapping_sub(1).into();
        }
        (IpRange::V4(..) | IpRange::V6(..), _) => {}
    }
}

#[test]
fn tables_changed_in_place_say_what_tables_compiled_anew_do() {
    let (mut changed, mut compiled) = (0, 0);
    for seed in 0..25 {
        let mut random = Random(seed);
        let size = random.pick(&[Size { segments: 6, rules: 12 }, Size { segments: 20, rules: 60 }]);
        let scenario = Scenario::new(&mut random, size);
        let base = configuration(scenario.policy.clone(), &mut random);
        let mut overlay = Overlay::default();
        let mut lists: Vec<Arc<List>> = base.feeds.iter().map(|_| list(&mut random)).collect();
        let mut in_place: Option<InPlace> = None;
        for n in 0..25 {
            // One thing as a rule, several at times.
            for _ in 0..random.pick(&[1, 1, 1, 3]) {
                let acts: Vec<Deed> = overlay.acts().map(|act| act.deed.clone()).collect();
                match random.below(6) {
                    0 => {
                        let at = random.below(lists.len());
                        lists[at] = list(&mut random);
                    }
                    1 | 2 if !acts.is_empty() => {
                        assert!(overlay.clear(&acts[random.below(acts.len())]));
                    }
                    3 if !acts.is_empty() => {
                        overlay.set(acts[random.below(acts.len())].clone(), "root", None);
                    }
                    _ => drop(overlay.set(deed(&mut random, &base.policy), "root", None)),
                }
            }
            let context = format!("seed {seed}, {n}");
            let layers = Layers { base: &base, lists: &lists, overlay: &overlay };
            let expected = overlay.over(&with_lists(&base, lists.iter().map(|list| &**list)));
            let before = in_place.as_ref().map(|kept| Arc::clone(kept.tables().policy()));
            let done = in_place.as_mut().map(|kept| kept.change_to(layers));
            let kept = match done {
                Some(Ok(removed)) => {
                    changed += 1;
                    let before = before.expect("there was something to change");
                    let kept = in_place.as_ref().expect("it was changed");
                    let listed = kept.editor.policy().listed();
                    assert!(removed.iter().all(|id| !listed.contains(id)), "{context}");
                    let gone = before.listed().into_iter().filter(|id| !listed.contains(id));
                    assert!(gone.eq(removed.iter().copied()), "{context}");
                    kept
                }
                Some(Err(_)) | None => {
                    compiled += 1;
                    in_place.insert(InPlace::compile(&expected.policy, layers, NOW).unwrap())
                }
            };
            let tables = kept.tables();
            let policy = kept.configuration(&base).policy;
            assert!(Arc::ptr_eq(&policy, tables.policy()), "{context}");
            assert_eq!(policy.segments(), expected.policy.segments(), "{context}");
            let rules = policy.listed().into_iter().map(|id| policy.rule(id));
            assert!(rules.eq(expected.policy.rules()), "{context}");
            let fresh = Tables::compile(Arc::clone(&expected.policy), NOW).unwrap();
            for _ in 0..60 {
                let mut packet = scenario.packet(&mut random);
                near(&mut random, &mut packet.0, &overlay);
                near(&mut random, &mut packet.1, &overlay);
                assert_eq!(told(&tables, &packet), told(&fresh, &packet), "{context}: {packet:?}");
            }
        }
    }
    println!("{changed} changes in place, {compiled} by compilation");
    assert!(changed > 120, "{changed} changes in place, {compiled} by compilation");
}
