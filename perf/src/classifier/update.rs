//! How long a change of a policy takes that is in use, and what it costs the look-ups beside it.
//!
//! A change is prepared by an [`Editor`] and published as the engine does it: one swap of an `Arc`. Members are hosts
//! that segments gain and lose again. Rules are new ones, each between two others and from a segment to another that is
//! drawn by itself; they are taken out again, so that the policy answers at last as it did.

use super::NOW;
use super::header::Headers;
use super::measure::{cpu_time, median};
use super::method::{Found, Method};
use super::progress::Progress;
use arc_swap::ArcSwap;
use classifier::addr::IpRange;
use classifier::compile::{EditError, Editor, Limits};
use classifier::policy::{Member, Place, Policy, Rule, RuleId, SegmentId};
use classifier::tables::Tables;
use random::Random;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Changes of each kind that are timed: half of them there, half of them back.
const CHANGES: usize = 400;
/// Changes a second beside look-ups.
const PER_SECOND: u32 = 1_000;
/// Runs alone and runs beside changes, in turn.
const ROUNDS: u32 = 5;

/// What changes take and cost; `None` where these tables know no such change but are compiled anew.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Updates {
    /// A host added to a segment or taken out, prepared and published: the median in microseconds.
    pub(crate) member_us: Option<f64>,
    /// A new rule put in or taken out again, prepared and published: the median in microseconds.
    pub(crate) rule_us: Option<f64>,
    /// Look-ups by second that the thread had the core, beside changes, as a part of those without.
    pub(crate) beside_share: Option<f64>,
    /// Changes a second that there were beside them.
    pub(crate) beside_per_s: Option<f64>,
}

/// What to look up beside changes, and how long.
pub(crate) struct Beside<'a> {
    pub(crate) headers: &'a Headers,
    pub(crate) method: Method,
    pub(crate) length: Duration,
    /// The core that looks up; changes are made on another where there is one.
    pub(crate) core: Option<usize>,
}

/// One change; its opposite undoes it.
#[derive(Clone, PartialEq, Debug)]
enum Change {
    Add(SegmentId, IpRange),
    Remove(SegmentId, IpRange),
    /// The new rule of that number, and where it goes.
    Put(usize, Box<Rule>, Place),
    Take(usize, Box<Rule>, Place),
}

impl Change {
    /// Makes the change. `numbers` are those that new rules were given.
    fn make(&self, editor: &mut Editor, numbers: &mut [RuleId]) -> Result<(), EditError> {
        match self {
            Change::Add(segment, range) => editor.add_member(*segment, *range),
            Change::Remove(segment, range) => editor.remove_member(*segment, *range),
            Change::Put(at, rule, place) => {
                numbers[*at] = editor.add_rule((**rule).clone(), *place)?;
                Ok(())
            }
            Change::Take(at, ..) => editor.remove_rule(numbers[*at]),
        }
    }

    fn opposite(&self) -> Change {
        match self.clone() {
            Change::Add(segment, range) => Change::Remove(segment, range),
            Change::Remove(segment, range) => Change::Add(segment, range),
            Change::Put(at, rule, place) => Change::Take(at, rule, place),
            Change::Take(at, rule, place) => Change::Put(at, rule, place),
        }
    }
}

/// There, and back in the order in which they came.
fn there_and_back(changes: Vec<Change>) -> Vec<Change> {
    let back: Vec<Change> = changes.iter().map(Change::opposite).collect();
    changes.into_iter().chain(back).collect()
}

/// Hosts for segments that have prefixes already: each within a /16 of one of IPv4, or, in a policy that has none of these,
/// within a /64 of one of IPv6.
fn members(policy: &Policy, random: &mut Random) -> Vec<Change> {
    let homes_in = |is_home: fn(&IpRange) -> bool| -> Vec<(SegmentId, IpRange)> {
        let home = |(id, segment): (u32, &classifier::policy::Segment)| {
            let found = segment.members.iter().find_map(|member| match member {
                Member::Selector(selector) => selector.addresses.iter().copied().find(is_home),
                Member::Segment(_) => None,
            });
            found.map(|range| (SegmentId(id), range))
        };
        (0u32..).zip(policy.segments()).filter_map(home).collect()
    };
    let mut homes = homes_in(|range| matches!(range, IpRange::V4(..)));
    if homes.is_empty() {
        homes = homes_in(|range| matches!(range, IpRange::V6(..)));
    }
    if homes.is_empty() {
        return Vec::new();
    }
    let host = |_| {
        let (segment, home) = *random.pick(&homes);
        let host = match home {
            IpRange::V4(first, _) => {
                let host = first & 0xffff_0000 | random.below(1 << 16);
                IpRange::V4(host, host)
            }
            IpRange::V6(first, _) => {
                let words = [random.below(u32::MAX), random.below(u32::MAX)].map(u128::from);
                let host = first >> 64 << 64 | words[0] << 32 | words[1];
                IpRange::V6(host, host)
            }
        };
        Change::Add(segment, host)
    };
    (0..CHANGES / 2).map(host).collect()
}

/// New rules: source, destination and services of three rules drawn by themselves, before a fourth.
fn rules(policy: &Policy, random: &mut Random) -> Vec<Change> {
    let count = policy.rules().len() as u32;
    if count == 0 {
        return Vec::new();
    }
    let rule = |at| {
        let [from, to, services, before] = [(); 4].map(|()| RuleId(random.below(count)));
        let rule = Rule {
            id: format!("new-{at}"),
            tier: policy.rule(before).tier,
            to: policy.rule(to).to.clone(),
            services: policy.rule(services).services.clone(),
            ..policy.rule(from).clone()
        };
        Change::Put(at, Box::new(rule), Place::Before(before))
    };
    (0..CHANGES / 2).map(rule).collect()
}

/// Makes all changes and publishes each; the median, `None` where one of them can't be made in place.
fn timed(changes: &[Change], editor: &mut Editor, shared: &ArcSwap<Tables>) -> Option<f64> {
    let mut times = Vec::with_capacity(changes.len());
    let mut numbers = vec![RuleId(0); CHANGES];
    for change in changes {
        let start = Instant::now();
        change.make(editor, &mut numbers).ok()?;
        shared.store(editor.generation());
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    (!times.is_empty()).then(|| median(&times))
}

/// Measures changes, and look-ups beside them.
///
/// # Errors
/// The policy does not compile, or the tables do not answer as before once all changes are undone.
pub(crate) fn updates(
    policy: &Arc<Policy>,
    seed: u64,
    beside: &Beside<'_>,
    progress: &Progress,
) -> Result<Updates, String> {
    progress.say("changing members and rules");
    let mut random = Random::new(seed.rotate_left(17));
    let members = members(policy, &mut random);
    let rules = rules(policy, &mut random);
    let mut editor = Editor::new(policy, NOW, &Limits::default()).map_err(|error| error.to_string())?;
    let before = editor.generation();
    let shared = ArcSwap::new(Arc::clone(&before));
    let member_us = timed(&there_and_back(members.clone()), &mut editor, &shared);
    let rule_us = timed(&there_and_back(rules.clone()), &mut editor, &shared);
    let mut updates = Updates { member_us, rule_us, ..Updates::default() };
    let mut all = Vec::new();
    if member_us.is_some() {
        all.extend(members);
    }
    if rule_us.is_some() {
        all.extend(rules);
    }
    if all.is_empty() {
        return Ok(updates);
    }
    random.shuffle(&mut all);
    let all = there_and_back(all);
    progress.say("looking up beside changes");
    (updates.beside_share, updates.beside_per_s) = look_up_beside(&all, &mut editor, &shared, beside);
    let answers = |tables: &Tables| super::measure::answers(tables, beside.headers, beside.method);
    if updates.beside_share.is_some() && answers(&before) != answers(&editor.tables()) {
        return Err("once all changes are undone, the answers are others than before".to_owned());
    }
    Ok(updates)
}

/// Runs alone and beside changes in turn: the part of the first that the second comes to, and changes a second.
fn look_up_beside(
    changes: &[Change],
    editor: &mut Editor,
    shared: &ArcSwap<Tables>,
    beside: &Beside<'_>,
) -> (Option<f64>, Option<f64>) {
    let is_changing = AtomicBool::new(false);
    let is_over = AtomicBool::new(false);
    let has_failed = AtomicBool::new(false);
    let made = AtomicU64::new(0);
    let (mut alone, mut together, mut paces) = (Vec::new(), Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            elsewhere(beside.core);
            let mut next = Instant::now();
            let mut turn = changes.iter().cycle();
            let mut numbers = vec![RuleId(0); CHANGES];
            let mut left = 0;
            loop {
                // A turn that has begun is ended, so that all changes are undone at last.
                if !is_changing.load(Ordering::Acquire) && left == 0 {
                    if is_over.load(Ordering::Acquire) {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                    next = Instant::now();
                    continue;
                }
                let change = turn.next().expect("a cycle has no end");
                left = if left == 0 { changes.len() - 1 } else { left - 1 };
                if change.make(editor, &mut numbers).is_err() {
                    has_failed.store(true, Ordering::Release);
                    return;
                }
                shared.store(editor.generation());
                made.fetch_add(1, Ordering::Relaxed);
                next += Duration::from_secs(1) / PER_SECOND;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        rate(shared, beside);
        for _ in 0..ROUNDS {
            quiet(&made);
            alone.push(rate(shared, beside));
            is_changing.store(true, Ordering::Release);
            let (start, first) = (Instant::now(), made.load(Ordering::Relaxed));
            together.push(rate(shared, beside));
            paces.push((made.load(Ordering::Relaxed) - first) as f64 / start.elapsed().as_secs_f64());
            is_changing.store(false, Ordering::Release);
        }
        is_over.store(true, Ordering::Release);
    });
    if has_failed.load(Ordering::Acquire) {
        return (None, None);
    }
    (Some(median(&together) / median(&alone)), Some(median(&paces)))
}

/// Waits until no more changes are made.
fn quiet(made: &AtomicU64) {
    loop {
        let before = made.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(50));
        if made.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

/// Look-ups by second that the thread had the core: a block at a time, of the generation that is published.
fn rate(shared: &ArcSwap<Tables>, beside: &Beside<'_>) -> f64 {
    let mut found = Found::default();
    let (start, start_cpu) = (Instant::now(), cpu_time());
    let mut rounds = 0_u64;
    while start.elapsed() < beside.length {
        for block in beside.headers.blocks() {
            beside.method.look_up(&shared.load(), block, &mut found);
            black_box(&found);
        }
        rounds += 1;
    }
    (rounds * beside.headers.len() as u64) as f64 / (cpu_time() - start_cpu).as_secs_f64()
}

/// Moves the thread to another core than that, where there is one.
fn elsewhere(core: Option<usize>) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(other) = cores.into_iter().find(|other| Some(other.id) != core) {
        core_affinity::set_for_current(other);
    }
}

#[cfg(test)]
mod tests {
    use super::super::prefixes::Millionths;
    use super::super::segments::{Shape, generate};
    use super::*;

    #[test]
    fn hosts_come_and_go_in_policies_of_either_family() {
        for percent_v6 in [0, 30, 100] {
            let shape = Shape {
                segments: 50,
                prefixes: 300,
                rules: 1_000,
                percent_v6,
                profiles: 20,
                any: 0,
                overlap: Millionths(26_000),
                group_pairs: Millionths(1_000),
            };
            let policy = Arc::new(generate(shape, 1).policy);
            let changes = there_and_back(members(&policy, &mut Random::new(1)));
            let mut editor = Editor::new(&policy, NOW, &Limits::default()).expect("within limits");
            let shared = ArcSwap::new(editor.generation());
            assert!(timed(&changes, &mut editor, &shared).is_some(), "{percent_v6} % IPv6");
        }
    }
}
