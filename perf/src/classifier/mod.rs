//! The benchmark of the tables: how fast they decide, how fast they are compiled, how large they are.
//!
//! ```text
//! classbench   file → policy ─┐
//! segments     shape → policy ┴─► compile ─► draw headers ─► verify ─► measure ─► report
//!                                                              └─► dump, for other classifiers
//! ```
//!
//! Packets take no part: what is measured begins with addresses and ports, and ends with the rule.

mod arguments;
pub(crate) mod classbench;
mod draw;
mod dump;
mod header;
mod measure;
mod method;
mod prefixes;
pub(crate) mod progress;
mod report;
pub(crate) mod segments;
#[cfg(test)]
mod tests;
mod update;
mod verify;

pub(crate) use arguments::ClassifierArguments;

use crate::report::Machine;
use classifier::policy::{Policy, Timestamp};
use classifier::tables::Tables;
use draw::Draw;
use header::{Block, Header, Headers};
use method::{Answer, Found, Method};
use progress::Progress;
use report::Report;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use update::Beside;

/// When it is, for the rules: none of them expires.
const NOW: Timestamp = Timestamp(0);
/// Compilations that are timed, while they take no longer than [`COMPILING`] together.
const COMPILATIONS: usize = 5;
const COMPILING: Duration = Duration::from_secs(2);

/// A policy, and what is told of where it is from.
struct Subject {
    name: String,
    policy: Arc<Policy>,
    percent_v6: u32,
    segment_pairs: Option<u32>,
    profiles: Option<u32>,
    any_rules: Option<u32>,
}

/// Runs the benchmark; the line or text to print.
///
/// # Errors
/// What went wrong, for people: a file that can't be read, a policy that can't be compiled, a wrong answer.
pub(crate) fn classifier(arguments: &ClassifierArguments) -> Result<String, String> {
    let progress = Progress::new(arguments.quiet);
    // Before the thread is bound to one core: a reader wants to know of all.
    let machine = Machine::this();
    let core = pin(arguments.core)?;
    let subject = match &arguments.classbench {
        Some(file) => read(file)?,
        None => generate(arguments, &progress),
    };
    let policy = &subject.policy;
    progress.say(&format!("compiling {} rules", policy.rules().len()));
    let (tables, compiling) = compile(policy)?;
    progress.say(&format!("drawing headers, seed {}", arguments.seed));
    let headers = draw(&subject, &tables, arguments);
    let answers = measure::answers(&tables, &headers, arguments.method);
    progress.say("verifying");
    let time = Duration::from_secs_f64(arguments.verify_seconds);
    let verified = verify::verify(policy, NOW, &headers, &answers, arguments.verify, time, &progress)
        .map_err(|text| format!("{}, seed {}: {text}", subject.name, arguments.seed))?;
    if let Some(directory) = &arguments.dump {
        dump::dump(directory, policy, &headers, &answers)
            .map_err(|error| format!("{}: {error}", directory.display()))?;
        return Ok(format!("{} rules and {} headers written", policy.rules().len(), headers.len()));
    }
    let length = Duration::from_secs_f64(arguments.seconds);
    let rates = measure::rates(&tables, &headers, arguments.method, arguments.runs, length, &progress);
    let updates = update::updates(
        policy,
        arguments.seed,
        &Beside { headers: &headers, method: arguments.method, length, core },
        &progress,
    )?;
    let statistics = tables.statistics();
    let decided = answers.iter().filter(|answer| **answer != Answer::DEFAULT).count();
    let report = Report {
        subject: "classifier",
        policy: subject.name,
        mlookups_per_s: measure::median(&rates.by_wall),
        mlookups_per_s_min: measure::lowest(&rates.by_wall),
        mlookups_per_s_max: measure::highest(&rates.by_wall),
        mlookups_per_cpu_s: measure::median(&rates.by_cpu),
        ns_per_lookup: 1e3 / measure::median(&rates.by_wall),
        method: arguments.method.name(),
        compile_s: compiling.wall,
        compile_cpu_s: compiling.cpu,
        table_mb: statistics.bytes() as f64 / 1e6,
        update_member_us: updates.member_us,
        update_rule_us: updates.rule_us,
        beside_changes_share: updates.beside_share,
        beside_changes_per_s: updates.beside_per_s,
        rules: policy.rules().len(),
        segments: policy.segments().len(),
        prefixes: statistics.prefixes,
        percent_v6: subject.percent_v6,
        segment_pairs: subject.segment_pairs,
        profiles: subject.profiles,
        any_rules: subject.any_rules,
        form: statistics.form.name(),
        classes: statistics.classes,
        pairs: statistics.pairs,
        seed: arguments.seed,
        headers: headers.len(),
        decided_share: decided as f64 / answers.len() as f64,
        verified,
        runs: arguments.runs,
        seconds: arguments.seconds,
        core,
        machine,
    };
    Ok(if arguments.json { report.json() } else { report.to_string() })
}

/// Stays on one core: the one that is asked for, else the last, which has least to do with interrupts.
fn pin(asked: Option<usize>) -> Result<Option<usize>, String> {
    let last = || core_affinity::get_core_ids().and_then(|cores| cores.last().map(|core| core.id));
    let Some(id) = asked.or_else(last) else { return Ok(None) };
    if core_affinity::set_for_current(core_affinity::CoreId { id }) {
        Ok(Some(id))
    } else {
        Err(format!("can't run on core {id}"))
    }
}

fn read(file: &Path) -> Result<Subject, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let policy = classbench::policy(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    if policy.rules().is_empty() {
        return Err(format!("{}: there is no rule", file.display()));
    }
    let name = file.file_name().map_or_else(|| file.display().to_string(), |n| n.display().to_string());
    let policy = Arc::new(policy);
    Ok(Subject { name, policy, percent_v6: 0, segment_pairs: None, profiles: None, any_rules: None })
}

fn generate(arguments: &ClassifierArguments, progress: &Progress) -> Subject {
    let shape = arguments.shape();
    progress.say(&format!("generating {} rules, seed {}", shape.rules, arguments.seed));
    let generated = segments::generate(shape, arguments.seed);
    Subject {
        name: "segments".to_owned(),
        policy: Arc::new(generated.policy),
        percent_v6: shape.percent_v6,
        segment_pairs: Some(generated.pairs),
        profiles: Some(shape.profiles),
        any_rules: Some(shape.any),
    }
}

/// How long a compilation took.
struct Compiling {
    /// By the clock on the wall.
    wall: f64,
    /// While the thread had the core.
    cpu: f64,
}

/// The tables, and the medians of how long they took.
fn compile(policy: &Arc<Policy>) -> Result<(Tables, Compiling), String> {
    let begin = Instant::now();
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    loop {
        let (start, start_cpu) = (Instant::now(), measure::cpu_time());
        let tables = Tables::compile(Arc::clone(policy), NOW).map_err(|error| error.to_string())?;
        walls.push(start.elapsed().as_secs_f64());
        cpus.push((measure::cpu_time() - start_cpu).as_secs_f64());
        if walls.len() == COMPILATIONS || begin.elapsed() > COMPILING {
            let compiling = Compiling { wall: measure::median(&walls), cpu: measure::median(&cpus) };
            return Ok((tables, compiling));
        }
    }
}

fn draw(subject: &Subject, tables: &Tables, arguments: &ClassifierArguments) -> Headers {
    let draw = Draw::new(&subject.policy);
    // Another stream of numbers than the policy's.
    let (count, seed) = (arguments.headers as usize, !arguments.seed);
    if subject.segment_pairs.is_some() {
        return draw.over_segments(count, subject.percent_v6, seed);
    }
    let is_outside = |header: &Header<u32>| {
        let mut found = Found::default();
        Method::Scalar.look_up(tables, Block::V4(std::slice::from_ref(header)), &mut found);
        Method::Scalar.answers(tables, &found)[0] == Answer::DEFAULT
    };
    draw.around_rules(count, seed, is_outside)
}
