//! How many look-ups a core does in a second.

use super::header::{BLOCK, Headers};
use super::method::{Answer, Method};
use super::progress::Progress;
use classifier::tables::Tables;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Look-ups a second of several runs, in millions.
#[derive(Clone, Debug)]
pub(crate) struct Rates(Vec<f64>);

impl Rates {
    /// The one in the middle.
    pub(crate) fn median(&self) -> f64 {
        median(&self.0)
    }

    /// The slowest run.
    pub(crate) fn lowest(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The fastest run.
    pub(crate) fn highest(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }
}

/// The one in the middle, of at least one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// All answers, in the order of the headers.
pub(crate) fn answers(tables: &Tables, headers: &Headers, method: Method) -> Vec<Answer> {
    let mut answers = vec![Answer::DEFAULT; headers.len()];
    for (block, answers) in headers.blocks().zip(answers.chunks_exact_mut(BLOCK)) {
        method.look_up(tables, block, answers);
    }
    answers
}

/// Runs of at least `length` each, every run over whole rounds of all headers. One round before the first run
/// warms the caches.
pub(crate) fn rates(
    tables: &Tables,
    headers: &Headers,
    method: Method,
    runs: u32,
    length: Duration,
    progress: &Progress,
) -> Rates {
    let mut answers = [Answer::DEFAULT; BLOCK];
    let mut round = || {
        for block in headers.blocks() {
            method.look_up(tables, block, &mut answers);
            black_box(&answers);
        }
    };
    round();
    let mut rates = Vec::new();
    for run in 1..=runs {
        progress.say(&format!("run {run} of {runs}"));
        let start = Instant::now();
        let mut rounds = 0_u64;
        while start.elapsed() < length {
            round();
            rounds += 1;
        }
        let looked_up = rounds * headers.len() as u64;
        rates.push(looked_up as f64 / start.elapsed().as_secs_f64() / 1e6);
    }
    Rates(rates)
}
