//! What a change beside the files costs a gateway at work: `in_place RULES SEGMENTS CHANGES DIRECTORY`.
//!
//! A gateway without ports, with one worker and a state folder. Compared are the way of a compilation (the policy with
//! what lies over it, its tables, the generation of these) and a member added, an address in quarantine, and each ended,
//! from the order to the moment at which the worker has it.

use classifier::addr::IpRange;
use classifier::policy::{
    Action, EndpointSet, Member, Mode, Policy, PolicyBuilder, PortRange, Rule, Segment, SegmentId, Selector,
    Service, TierId,
};
use classifier::tables::Tables;
use cli::change::{Deed, InPlace, Keeper, Layers, Overlay};
use cli::config::feed::{Feed, List};
use cli::config::source::{FileId, Span};
use cli::config::{self, Bundle, BundleFile, Configuration};
use cli::feed::{Feeds, Shelf};
use cli::run::{Gateway, Host, HostOptions};
use dataplane::generation::{Generations, LiveFlows};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Rules of a pair of segments.
const OF_PAIR: u32 = 4;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % u64::from(bound)) as u32
    }
}

/// Segments of ten prefixes each; between pairs of them four rules, each with a port of TCP.
fn policy(rules: u32, segments: u32) -> Policy {
    let mut random = Random(1);
    let tiers = vec!["emergency".to_owned(), "application".to_owned()];
    let mut builder = PolicyBuilder::new(tiers, classifier::policy::DefaultAction::Deny, Mode::Enforce);
    for number in 0..segments {
        let prefix = |at: u32| {
            let first = 0x0a00_0000 + (number * 10 + at) * 64;
            let selector =
                Selector { addresses: vec![IpRange::V4(first, first + 31)], ..Selector::default() };
            Member::Selector(selector)
        };
        let (members, except) = ((0..10).map(prefix).collect(), Vec::new());
        builder.segment(Segment { name: format!("segment-{number}"), members, except, mode: Mode::Enforce });
    }
    let (mut from, mut to) = (0, 0);
    for number in 0..rules {
        if number % OF_PAIR == 0 {
            (from, to) = (random.below(segments), random.below(segments));
        }
        let set = |segment| EndpointSet::OneOf(vec![Member::Segment(SegmentId(segment))]);
        let port = 1024 + random.below(2_000) as u16;
        let service =
            Service { protocol: Some(6), source: PortRange::ALL, destination: PortRange::single(port) };
        let action = if random.below(8) == 0 { Action::Deny } else { Action::Allow };
        let id = format!("rule-{number}");
        builder.rule(Rule::new(id, TierId(1), set(from), set(to), vec![service], action));
    }
    builder.build().expect("it is valid")
}

/// Resident memory, in MB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("there is a /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has this line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1000
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next().and_then(|n| n.parse().ok()).expect("a number");
    let (rules, segments, changes): (u32, u32, u32) = (number(), number(), number());
    let directory = arguments.next().expect("a directory");
    let state = Path::new(&directory);
    let file = BundleFile { path: "gw.toml".into(), text: String::new() };
    let empty = config::load_bundle(&Bundle { files: vec![file] }, config::now()).expect("it is valid");
    let rule_spans = Arc::new(vec![Span::new(FileId(0), 0..0); rules as usize]);
    let policy = Arc::new(policy(rules, segments));
    let base = Configuration { policy: Arc::clone(&policy), rule_spans, ..empty };
    println!("{rules} rules, {segments} segments; the policy alone: {} MB", resident());

    let gateway = Gateway::start(base.clone(), &mut |said| println!("{said}")).expect("it starts");
    println!("a gateway with compiled tables: {} MB", resident());
    let keeper = Keeper::open(state, 10, &mut |said| println!("{said}")).expect("the folder can be written");
    let options = HostOptions { source: "gw.toml".into(), state: Some(state.to_owned()), deny_all: None };
    let feeds = Feeds::new(Shelf::new(Path::new("gw.toml"), None));
    let layers = (base.clone(), Overlay::default(), feeds);
    let mut host = Host::new(gateway, options, Some(keeper), layers, &mut |said| println!("{said}"));

    let member = |n: u32| Deed::Member {
        segment: format!("segment-{}", n % segments),
        address: format!("10.200.{}.{}", n / 250 % 250, 1 + n % 250),
        is_in: true,
    };
    let quarantine = |n: u32| Deed::Quarantine { address: format!("10.0.{}.{}", n / 250, 1 + n % 31) };
    let mut kinds: Vec<(&str, Vec<Deed>)> = vec![
        ("segment add", (0..changes).map(member).collect()),
        ("quarantine", (0..changes.min(30)).map(quarantine).collect()),
    ];
    let first = Instant::now();
    host.act(member(1 << 20), "root", None).expect("it can be done");
    let how = host.made().expect("something was done");
    println!("the first change: {:.3} ms; {how}", first.elapsed().as_secs_f64() * 1e3);
    println!("then: {} MB", resident());
    for (name, deeds) in &mut kinds {
        let mut halves = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        let mut compiled = 0;
        for is_over in [false, true] {
            for deed in deeds.iter() {
                let start = Instant::now();
                if is_over {
                    assert!(host.undo(deed, "root").expect("it can be done"));
                } else {
                    host.act(deed.clone(), "root", None).expect("it can be done");
                }
                let took = start.elapsed().as_secs_f64() * 1e6;
                let made = host.made().expect("something was done");
                if let Some(why) = made.anew {
                    println!("{name}: compiled: {why}");
                    compiled += 1;
                }
                halves[usize::from(is_over)].push(took);
                halves[2 + usize::from(is_over)].push(made.took.as_secs_f64() * 1e6);
            }
        }
        let [done, undone, prepared, unprepared] = halves.map(median);
        println!(
            "{name}: {done:.0} µs, prepared in {prepared:.0}; ended in {undone:.0}, prepared in {unprepared:.0}; \
             {compiled} of {} compiled",
            2 * deeds.len()
        );
    }
    println!("after all: {} MB", resident());

    let mut overlay = Overlay::default();
    let topology = &base.topology;
    let mut generations = Generations::default();
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for n in 0..3 {
        overlay.set(member(n), "root", None);
        let start = Instant::now();
        let over = overlay.over(&base);
        times[0].push(start.elapsed().as_secs_f64() * 1e3);
        let tables = Tables::compile(Arc::clone(&over.policy), config::now()).expect("it compiles");
        times[1].push(start.elapsed().as_secs_f64() * 1e3);
        let made = generations.of_tables(tables, topology, &[], config::now(), LiveFlows::Recheck);
        drop(made.expect("there is no network"));
        times[2].push(start.elapsed().as_secs_f64() * 1e3);
    }
    let [with_act, tables, all] = times.map(median);
    println!(
        "by a compilation: policy {with_act:.1} ms, with tables {tables:.1}, with the generation {all:.1}"
    );
    drop(host);
    lists(base, segments);
}

/// A list that comes to hold so many hosts, and then other ones.
fn lists(base: Configuration, segments: u32) {
    let policy = Arc::clone(&base.policy);
    let span = Span::new(FileId(0), 0..0);
    let feed = Feed { segment: "segment-0".to_owned(), file: "0.txt".into(), span };
    let base = Arc::new(Configuration { feeds: vec![feed], ..base });
    let overlay = Overlay::default();
    fn layers<'a>(base: &'a Arc<Configuration>, lists: &'a [Arc<List>], overlay: &'a Overlay) -> Layers<'a> {
        Layers { base, lists, overlay }
    }
    for hosts in [1_u32, 10, 100, 1_000, 10_000, 100_000] {
        let mut random = Random(u64::from(hosts));
        let mut list = |hosts: u32| {
            let mut host = || {
                let address = 0x0a00_0000 + random.below(segments * 10 * 64);
                let addresses = vec![IpRange::V4(address, address)];
                Member::Selector(Selector { addresses, ..Selector::default() })
            };
            vec![Arc::new(List((0..hosts).map(|_| host()).collect()))]
        };
        let (none, one, two) = (vec![Arc::default()], list(hosts), list(hosts));
        let mut kept =
            InPlace::compile(&policy, layers(&base, &none, &overlay), config::now()).expect("it compiles");
        let mut took = |lists: &[Arc<List>]| {
            let start = Instant::now();
            let done = kept.change_to(layers(&base, lists, &overlay));
            (start.elapsed().as_secs_f64() * 1e3, done.err())
        };
        // Before the second change there is no second copy of the tables.
        took(&list(1));
        took(&none);
        let [come, others] = [took(&one), took(&two)];
        println!(
            "{hosts} hosts come: {:.2} ms {:?}; others: {:.2} ms {:?}",
            come.0, come.1, others.0, others.1
        );
    }
}
