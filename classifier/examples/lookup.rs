//! Measures look-ups: `lookup segments LARGE|SMALL [v6]` or `lookup classbench FILE…`. For the one who tunes the
//! tables; the published numbers come from `bulkhead-perf`.

use classifier::addr::{IpRange, Prefix};
use classifier::compile::{EditError, Editor, Limits};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Member, Mode, Place, Policy, PolicyBuilder, PortRange, Rule, RuleId,
    Segment, SegmentId, Selector, Service, TierId, Timestamp,
};
use classifier::tables::{Answer, Instructions, Query, Tables};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.word() % bound as u64) as usize
    }
}

fn rule(id: usize, from: EndpointSet, to: EndpointSet, service: Service, action: Action) -> Rule {
    Rule::new(format!("r{id}"), TierId(0), from, to, vec![service], action)
}

/// A policy of segments, and its prefixes by segment.
fn segments(
    prefixes: usize,
    segments: usize,
    rules: usize,
    v6: bool,
) -> (Policy, Vec<Vec<IpRange>>, Vec<(usize, usize)>) {
    let mut random = Random(42);
    let mut builder = PolicyBuilder::new(vec!["default".into()], DefaultAction::Deny, Mode::Enforce);
    let mut members: Vec<Vec<IpRange>> = vec![Vec::new(); segments];
    // A /16 holds up to 200 /24s; one prefix in fifty overlaps whatever is there.
    let nets: Vec<u32> = (0..prefixes.div_ceil(200)).map(|_| (random.word() as u32) << 16).collect();
    for n in 0..prefixes {
        let slot = (nets[n / 200] | ((n % 200) as u32) << 8) | random.word() as u32 & 0xff;
        let (address, length) = match random.below(50) {
            0 => (
                nets[random.below(nets.len())] | random.word() as u32 & 0xffff,
                [26, 28, 32][random.below(3)],
            ),
            _ => (slot, [24, 24, 24, 25, 26, 27, 28, 32][random.below(8)]),
        };
        let range = if v6 {
            let address =
                0x2001u128 << 112 | u128::from(address) << 80 | u128::from(random.word() as u16) << 64;
            let address = address | u128::from(random.word());
            let length = [64, 64, 64, 64, 56, 128, 48][random.below(7)];
            IpRange::from(Prefix::new(std::net::Ipv6Addr::from(address).into(), length).expect("a length"))
        } else {
            IpRange::from(Prefix::new(std::net::Ipv4Addr::from(address).into(), length).expect("a length"))
        };
        members[if n < segments { n } else { random.below(segments) }].push(range);
    }
    for (n, addresses) in members.iter().enumerate() {
        builder.segment(Segment {
            name: format!("s{n}"),
            members: vec![Member::Selector(Selector { addresses: addresses.clone(), ..Selector::default() })],
            except: Vec::new(),
            mode: Mode::Enforce,
        });
    }
    let services: Vec<Service> = (0..200)
        .map(|_| {
            let first = random.below(60_000) as u16;
            let last = if random.below(3) == 0 { first + random.below(2000) as u16 } else { first };
            Service {
                protocol: Some([6, 6, 17][random.below(3)]),
                source: PortRange::ALL,
                destination: PortRange { first, last },
            }
        })
        .collect();
    // Pairs share profiles of services, as real policies do.
    let profiles: Vec<Vec<Service>> =
        (0..4096).map(|_| (0..4).map(|_| services[random.below(services.len())]).collect()).collect();
    let of = |n: usize| EndpointSet::OneOf(vec![Member::Segment(SegmentId(n as u32))]);
    let mut pairs = Vec::new();
    for n in 0..rules / 4 {
        let (from, to) = (random.below(segments), random.below(segments));
        pairs.push((from, to));
        for (at, service) in profiles[random.below(profiles.len())].iter().enumerate() {
            builder.rule(rule(n * 4 + at, of(from), of(to), *service, Action::Allow));
        }
    }
    (builder.build().expect("a valid policy"), members, pairs)
}

fn inside(random: &mut Random, range: IpRange) -> u128 {
    match range {
        IpRange::V4(first, last) => u128::from(first + random.below((last - first) as usize + 1) as u32),
        IpRange::V6(first, last) => first + u128::from(random.word()) % (last - first).saturating_add(1),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure(name: &str, tables: &Tables, v4: &[Query<u32>], v6: &[Query<u128>]) {
    let mut line = name.to_string();
    for instructions in Instructions::ALL {
        let Some(tables) = tables.clone().with_instructions(instructions) else { continue };
        let count = v4.len() + v6.len();
        let mut answers = vec![Answer::default(); 256];
        let mut rates = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            for chunk in v4.chunks(256) {
                tables.classify_v4(chunk, &[], &mut answers);
            }
            for chunk in v6.chunks(256) {
                tables.classify_v6(chunk, &[], &mut answers);
            }
            rates.push(count as f64 / start.elapsed().as_secs_f64() / 1e6);
        }
        line += &format!("  {instructions} {:.1}", median(rates));
    }
    println!("{line} M/s");
}

fn run_segments(large: bool, is_v6: bool) {
    let (prefixes, count, rules) =
        if large { (100_000, 10_000, 1_600_000) } else { (20_000, 2_000, 200_000) };
    let (policy, members, pairs) = segments(prefixes, count, rules, is_v6);
    let policy = Arc::new(policy);
    let start = Instant::now();
    let tables = Tables::compile(Arc::clone(&policy), Timestamp(0)).expect("within limits");
    println!(
        "compiled in {:?}\n{:?}\n{} kB",
        start.elapsed(),
        tables.statistics(),
        tables.statistics().bytes() / 1024
    );
    let mut random = Random(7);
    let mut queries = Vec::new();
    for n in 0..1 << 21 {
        let pick = |random: &mut Random, segment: usize| {
            let ranges = &members[segment];
            let range = ranges[random.below(ranges.len())];
            inside(random, range)
        };
        let (from, to, service) = if n % 2 == 0 {
            let at = random.below(pairs.len());
            let (from, to) = pairs[at];
            (from, to, policy.rules()[at * 4 + random.below(4)].services[0])
        } else {
            (random.below(count), random.below(count), policy.rules()[random.below(100)].services[0])
        };
        let (source, destination) = (pick(&mut random, from), pick(&mut random, to));
        queries.push(Query {
            source,
            destination,
            source_port: random.word() as u16,
            destination_port: service.destination.first,
            protocol: service.protocol.unwrap_or(6),
        });
    }
    for at in (1..queries.len()).rev() {
        queries.swap(at, random.below(at + 1));
    }
    let v4: Vec<Query<u32>> = queries
        .iter()
        .map(|q| Query {
            source: q.source as u32,
            destination: q.destination as u32,
            source_port: q.source_port,
            destination_port: q.destination_port,
            protocol: q.protocol,
        })
        .collect();
    let name = if large { "large" } else { "small" };
    if is_v6 { measure(name, &tables, &[], &queries) } else { measure(name, &tables, &v4, &[]) }
}

/// Look-ups by themselves, and beside a thousand changes a second, in turns.
fn beside(editor: &mut Editor, members: &[Vec<IpRange>], first: Tables) {
    let shared = Mutex::new(Arc::new(first));
    let (stop, rates) = (AtomicBool::new(false), Mutex::new([Vec::new(), Vec::new()]));
    let busy = AtomicBool::new(false);
    let mut retired: Vec<Arc<Tables>> = Vec::new();
    let mut random = Random(11);
    let queries: Vec<Query<u32>> = (0..1 << 18)
        .map(|_| {
            let mut pick = || {
                let ranges = &members[random.below(members.len())];
                let range = ranges[random.below(ranges.len())];
                inside(&mut random, range) as u32
            };
            let (source, destination) = (pick(), pick());
            Query { source, destination, source_port: 1, destination_port: 443, protocol: 6 }
        })
        .collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut answers = vec![Answer::default(); 256];
            while !stop.load(Ordering::Relaxed) {
                let is_busy = busy.load(Ordering::Relaxed);
                let start = Instant::now();
                for chunk in queries.chunks(4096) {
                    // The worker takes the newest generation up every few batches.
                    let tables = Arc::clone(&shared.lock().expect("no thread panics"));
                    for batch in chunk.chunks(256) {
                        tables.classify_v4(batch, &[], &mut answers);
                    }
                }
                let rate = queries.len() as f64 / start.elapsed().as_secs_f64() / 1e6;
                if busy.load(Ordering::Relaxed) == is_busy {
                    rates.lock().expect("no thread panics")[usize::from(is_busy)].push(rate);
                }
            }
        });
        for _ in 0..5 {
            busy.store(false, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(400));
            busy.store(true, Ordering::Relaxed);
            let start = Instant::now();
            for n in 0..400 {
                let from = random.below(members.len());
                let range = members[from][random.below(members[from].len())];
                // It may have moved on already, and be refused.
                let changed = match n % 2 {
                    0 => editor.add_member(SegmentId((from as u32 + 1) % members.len() as u32), range),
                    _ => editor.remove_member(SegmentId(from as u32), range),
                };
                if changed.is_ok() {
                    let new = Arc::new(editor.tables());
                    let old = std::mem::replace(&mut *shared.lock().expect("no thread panics"), new);
                    // Generations are freed here, when the worker has left them, and not by the worker.
                    retired.push(old);
                    retired.retain(|old| Arc::strong_count(old) > 1);
                }
                let next = Duration::from_millis(n + 1);
                std::thread::sleep(next.saturating_sub(start.elapsed()));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let [alone, beside] = rates.into_inner().expect("no thread panics").map(median);
    println!(
        "alone {alone:.1} M/s, beside 1,000 changes a second {beside:.1} M/s: {:.0} %",
        beside / alone * 100.0
    );
}

/// Measures changes, alone and beside look-ups.
fn run_changes(large: bool) {
    let (prefixes, count, rules) =
        if large { (100_000, 10_000, 1_600_000) } else { (20_000, 2_000, 200_000) };
    let (policy, members, _) = segments(prefixes, count, rules, false);
    let policy = Arc::new(policy);
    let mut editor = Editor::new(&policy, Timestamp(0), &Limits::default()).expect("within limits");
    let mut random = Random(9);
    let (mut member, mut rule, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let mut published = editor.tables();
    let mut timed = |change: &mut dyn FnMut(&mut Editor) -> Result<(), EditError>, times: &mut Vec<f64>| {
        let start = Instant::now();
        match change(&mut editor) {
            Ok(()) => {
                published = editor.tables();
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
            Err(error) => failed.push(error),
        }
    };
    for _ in 0..300 {
        let from = random.below(count);
        let range = members[from][random.below(members[from].len())];
        let segment = SegmentId(random.below(count) as u32);
        timed(&mut |editor| editor.remove_member(SegmentId(from as u32), range), &mut member);
        timed(&mut |editor| editor.add_member(segment, range), &mut member);
        let [from, to, before] = [(); 3].map(|()| RuleId(random.below(rules) as u32));
        let new = Rule {
            id: "new".into(),
            to: policy.rule(to).to.clone(),
            tier: policy.rule(before).tier,
            ..policy.rule(from).clone()
        };
        let mut id = None;
        let mut add = |editor: &mut Editor| {
            editor.add_rule(new.clone(), Place::Before(before)).map(|added| id = Some(added))
        };
        timed(&mut add, &mut rule);
        if let Some(id) = id {
            timed(&mut |editor| editor.remove_rule(id), &mut rule);
        }
    }
    println!(
        "member {:.1} us, rule {:.1} us (medians, prepared and published), {} failed {:?}",
        median(member),
        median(rule),
        failed.len(),
        failed.first()
    );
    beside(&mut editor, &members, published);
}

fn classbench_rule(at: usize, line: &str) -> Rule {
    let mut fields = line.trim_start_matches('@').split('\t');
    let mut field = || fields.next().expect("a field");
    let set = |text: &str| {
        let prefix: Prefix = text.parse().expect("a prefix");
        if prefix.length() == 0 {
            return EndpointSet::Any;
        }
        let addresses = vec![IpRange::from(prefix)];
        EndpointSet::OneOf(vec![Member::Selector(Selector { addresses, ..Selector::default() })])
    };
    let ports = |text: &str| {
        let (first, last) = text.split_once(':').expect("a range");
        PortRange { first: first.trim().parse().expect("a port"), last: last.trim().parse().expect("a port") }
    };
    let (from, to) = (set(field()), set(field()));
    let (source, destination) = (ports(field()), ports(field()));
    let (number, mask) = field().split_once('/').expect("protocol and mask");
    let hex = |text: &str| u8::from_str_radix(text.trim_start_matches("0x"), 16).expect("hexadecimal");
    let protocol = (hex(mask) != 0).then(|| hex(number));
    let action = if at.is_multiple_of(2) { Action::Allow } else { Action::Deny };
    rule(at, from, to, Service { protocol, source, destination }, action)
}

fn run_classbench(path: &str) {
    let text = std::fs::read_to_string(path).expect("a readable file");
    let mut builder = PolicyBuilder::new(vec!["default".into()], DefaultAction::Deny, Mode::Enforce);
    for (at, line) in text.lines().enumerate() {
        builder.rule(classbench_rule(at, line));
    }
    let policy = Arc::new(builder.build().expect("a valid policy"));
    let start = Instant::now();
    let tables = Tables::compile(Arc::clone(&policy), Timestamp(0)).expect("within limits");
    let s = tables.statistics();
    println!(
        "{path} compiled in {:?}, {} kB, {} groups, {:?}",
        start.elapsed(),
        s.bytes() / 1024,
        s.groups,
        s
    );
    let mut random = Random(7);
    let address = |random: &mut Random, set: &EndpointSet| match set {
        EndpointSet::OneOf(members) => match &members[0] {
            Member::Selector(selector) => inside(random, selector.addresses[0]) as u32,
            Member::Segment(_) => 0,
        },
        EndpointSet::Any => random.word() as u32,
    };
    let port = |random: &mut Random, range: PortRange| {
        range.first + random.below(usize::from(range.last - range.first) + 1) as u16
    };
    let queries: Vec<Query<u32>> = (0..1 << 20)
        .map(|_| {
            let rule = &policy.rules()[random.below(policy.rules().len())];
            let service = rule.services[0];
            Query {
                source: address(&mut random, &rule.from),
                destination: address(&mut random, &rule.to),
                source_port: port(&mut random, service.source),
                destination_port: port(&mut random, service.destination),
                protocol: service.protocol.unwrap_or([6, 17, 1][random.below(3)]),
            }
        })
        .collect();
    measure(path.rsplit('/').next().unwrap_or(path), &tables, &queries, &[]);
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["segments", size, family @ ..] => run_segments(*size == "large", family.contains(&"v6")),
        ["changes", size] => run_changes(*size == "large"),
        ["classbench", paths @ ..] => paths.iter().for_each(|path| run_classbench(path)),
        _ => eprintln!("segments large|small [v6], or classbench FILE…"),
    }
}
