//! Whether the tables say what the linear scan says, of as many packets as one has time for.
//!
//! ```text
//! file, shape or seed ──► policy ─┬─► compile ──► look up, on all instructions of this processor ─┐
//!                                 ├─► scan of the rules that may match ───────────────────────────┼─► all the same
//!                                 └─► the full linear scan, of a sample ──────────────────────────┘
//! ```
//!
//! What is compared is the judgement, that is which rule decides and which monitor rule matched first, and what
//! follows from it. The first difference ends the run.

mod agreement;
mod arguments;
mod packets;
// The tests' random policies, which are entangled on purpose; a file can be shared where a dependency would go round
// in a circle.
#[path = "../../../classifier/tests/random/mod.rs"]
mod entangled;
mod report;
mod scan;
#[cfg(test)]
mod tests;
mod varied;

pub(crate) use arguments::VerifyArguments;

use crate::classifier::progress::Progress;
use crate::classifier::{classbench, segments};
use crate::report::Machine;
use agreement::{Agreed, Extent, Subject};
use classifier::compile::Limits;
use classifier::policy::{Policy, Timestamp};
use classifier::tables::Tables;
use entangled::{Scenario, Size};
use packets::Aim;
use random::Random;
use report::{Report, Verified};
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When it is, for the rules.
const NOW: Timestamp = Timestamp(1_000);

/// Verifies all policies; the line or text to print.
///
/// # Errors
/// The first packet on which there is no agreement, or a file that can't be read.
pub(crate) fn verify(arguments: &VerifyArguments) -> Result<String, String> {
    let progress = Progress::new(arguments.quiet);
    let start = Instant::now();
    let mut policies = Vec::new();
    for file in files(&arguments.classbench)? {
        policies.push(filter_set(&file, arguments, &progress)?);
    }
    if let Some(shape) = arguments.shape() {
        let name = format!("segments {}/{}", shape.segments, shape.prefixes);
        progress.say(&format!("generating {name}, {} rules, seed {}", shape.rules, arguments.seed));
        let policy = segments::generate(shape, arguments.seed).policy;
        if arguments.varied {
            let varied = varied::varied(&policy, NOW, &mut Random::new(!arguments.seed));
            policies.push(one(&name, policy, arguments, &progress)?);
            policies.push(one(&format!("{name} varied"), varied, arguments, &progress)?);
        } else {
            policies.push(one(&name, policy, arguments, &progress)?);
        }
    }
    if let Some(count) = arguments.entangled {
        policies.push(entangled(count, arguments, &progress)?);
    }
    let report = Report {
        subject: "verify",
        paths: agreement::paths().map(|instructions| instructions.to_string()).collect(),
        packets: policies.iter().map(|verified| verified.packets).sum(),
        policies,
        seed: arguments.seed,
        seconds: start.elapsed().as_secs_f64(),
        machine: Machine::this(),
    };
    Ok(if arguments.json { report.json() } else { report.to_string() })
}

/// The files, and those in the directories that begin as a filter set does, by name.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let fault = |path: &Path, error| format!("{}: {error}", path.display());
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(|error| fault(path, error))? {
            let file = entry.map_err(|error| fault(path, error))?.path();
            let mut first = [0];
            let is_set = file.is_file()
                && fs::File::open(&file).and_then(|mut file| file.read(&mut first)).is_ok()
                && first == *b"@";
            found.extend(is_set.then_some(file));
        }
        if found.is_empty() {
            return Err(format!("{}: there is no filter set", path.display()));
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn filter_set(file: &Path, arguments: &VerifyArguments, progress: &Progress) -> Result<Verified, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let policy = classbench::policy(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    let name = file.file_name().map_or_else(|| file.display().to_string(), |name| name.display().to_string());
    one(&name, policy, arguments, progress)
}

fn extent(arguments: &VerifyArguments, packets: u64) -> Extent {
    let time = arguments.seconds.map_or(Duration::MAX, Duration::from_secs);
    Extent { packets, scanned: arguments.scanned, time }
}

/// Verifies one policy with packets that are aimed at it.
fn one(
    name: &str,
    policy: Policy,
    arguments: &VerifyArguments,
    progress: &Progress,
) -> Result<Verified, String> {
    let start = Instant::now();
    progress.say(&format!("{name}: compiling {} rules", policy.rules().len()));
    let policy = Arc::new(policy);
    let tables = Tables::compile(Arc::clone(&policy), NOW).map_err(|error| format!("{name}: {error}"))?;
    let subject = Subject::new(&policy, NOW, &tables);
    let aim = Aim::new(&policy);
    // Another stream of numbers than the policy's.
    let mut random = Random::new(arguments.seed ^ 0x7061_636b_6574);
    progress.say(&format!("{name}: {} packets", arguments.packets));
    let agreed = subject
        .agree(|| aim.packet(&mut random), extent(arguments, arguments.packets), progress)
        .map_err(|text| format!("{name}, seed {}, {text}", arguments.seed))?;
    let statistics = tables.statistics();
    let mut verified = Verified {
        policy: name.to_owned(),
        rules: policy.rules().len(),
        segments: policy.segments().len(),
        classes: statistics.classes,
        form: statistics.form.name().to_owned(),
        packets: 0,
        scanned: 0,
        decided_share: 0.0,
        monitored_share: 0.0,
        softened_share: 0.0,
        seconds: start.elapsed().as_secs_f64(),
    };
    verified.count(agreed);
    Ok(verified)
}

/// Verifies small policies, in all forms that tables have: the reference itself answers for each packet.
fn entangled(count: u32, arguments: &VerifyArguments, progress: &Progress) -> Result<Verified, String> {
    let start = Instant::now();
    let packets = arguments.packets.div_ceil(u64::from(count));
    progress.say(&format!("{count} entangled policies, {packets} packets each"));
    let (mut agreed, mut forms) = (Agreed::default(), BTreeSet::new());
    let (mut rules, mut segments, mut classes) = (0, 0, 0);
    for number in 0..u64::from(count) {
        let seed = arguments.seed.wrapping_add(number);
        let mut random = entangled::Random(seed);
        let size = Size { segments: random.pick(&[3, 6, 12, 30]), rules: random.pick(&[6, 12, 24, 60]) };
        let scenario = Scenario::new(&mut random, size);
        let limits = Limits {
            spread_of_choice: random.pick(&[0, 10, 50, 200, 1_000]),
            folded: random.pick(&[0, 1 << 20, 1 << 20, 1 << 20]),
            matrix: random.pick(&[0, 1, 100, 1 << 20]),
            rows: random.pick(&[0, 1 << 20]),
            ..Limits::default()
        };
        let policy = Arc::new(scenario.policy.clone());
        let name = || format!("entangled policy of seed {seed}, {limits:?}");
        let tables = Tables::compile_within(Arc::clone(&policy), NOW, &limits)
            .map_err(|error| format!("{}: {error}", name()))?;
        let subject = Subject::new(&policy, NOW, &tables);
        let found = subject.agree(|| scenario.packet(&mut random), extent(arguments, packets), progress);
        agreed.add(found.map_err(|text| format!("{}, {text}", name()))?);
        forms.insert(tables.statistics().form.name());
        rules += policy.rules().len();
        segments += policy.segments().len();
        classes += tables.statistics().classes;
    }
    let mut verified = Verified {
        policy: format!("{count} entangled"),
        rules,
        segments,
        classes,
        form: forms.into_iter().collect::<Vec<_>>().join(", "),
        packets: 0,
        scanned: 0,
        decided_share: 0.0,
        monitored_share: 0.0,
        softened_share: 0.0,
        seconds: start.elapsed().as_secs_f64(),
    };
    verified.count(agreed);
    Ok(verified)
}
