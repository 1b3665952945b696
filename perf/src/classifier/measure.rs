//! How many look-ups a core does in a second.

use super::header::Headers;
use super::method::{Answer, Found, Method};
use super::progress::Progress;
use classifier::tables::Tables;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// What several runs came to, in millions of look-ups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    /// By second of the clock on the wall.
    pub(crate) by_wall: Vec<f64>,
    /// By second that the thread had the core: others that run on it take no part.
    pub(crate) by_cpu: Vec<f64>,
}

/// The lowest of several values.
pub(crate) fn lowest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The highest of several values.
pub(crate) fn highest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// The one in the middle, of at least one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// All answers, in the order of the headers.
pub(crate) fn answers(tables: &Tables, headers: &Headers, method: Method) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(headers.len());
    let mut found = Found::default();
    for block in headers.blocks() {
        method.look_up(tables, block, &mut found);
        answers.extend(method.answers(tables, &found));
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
    let mut found = Found::default();
    let mut round = || {
        for block in headers.blocks() {
            method.look_up(tables, block, &mut found);
            black_box(&found);
        }
    };
    round();
    let mut rates = Rates::default();
    for run in 1..=runs {
        progress.say(&format!("run {run} of {runs}"));
        let (start, start_cpu) = (Instant::now(), cpu_time());
        let mut rounds = 0_u64;
        while start.elapsed() < length {
            round();
            rounds += 1;
        }
        let (wall, cpu) = (start.elapsed(), cpu_time() - start_cpu);
        let looked_up = (rounds * headers.len() as u64) as f64 / 1e6;
        rates.by_wall.push(looked_up / wall.as_secs_f64());
        rates.by_cpu.push(looked_up / cpu.as_secs_f64());
    }
    rates
}

/// How long this thread has been running.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("a thread's time is not negative");
    let nanoseconds = u32::try_from(time.tv_nsec).expect("a fraction of a second is below a billion");
    Duration::new(seconds, nanoseconds)
}
