//! Holds answers against the linear scan that defines them.

use super::header::{Headers, ends, packet};
use super::method::Answer;
use super::progress::Progress;
use classifier::policy::{Policy, Timestamp};
use classifier::reference::Reference;
use random::Random;
use std::time::{Duration, Instant};

/// As many headers as are looked at, however long it takes.
const AT_LEAST: usize = 100;

/// Compares the answers of up to `sample` headers drawn at random, as many as there is time for; how many they
/// were.
///
/// # Errors
/// The first header whose answer is wrong.
pub(crate) fn verify(
    policy: &Policy,
    now: Timestamp,
    headers: &Headers,
    answers: &[Answer],
    sample: usize,
    time: Duration,
    progress: &Progress,
) -> Result<usize, String> {
    let reference = Reference::new(policy, now);
    let mut random = Random::new(0x7665_7269_6679);
    let start = Instant::now();
    let mut said = start;
    for number in 0..sample {
        if number >= AT_LEAST && start.elapsed() > time {
            return Ok(number);
        }
        if said.elapsed() > Duration::from_secs(2) {
            said = Instant::now();
            progress.say(&format!("verified {number} of {sample}"));
        }
        let at = random.below(headers.len() as u32) as usize;
        let header = headers.get(at);
        let (source, destination) = ends(&header);
        let expected = Answer::from(reference.judge(&source, &destination, packet(&header)));
        if answers[at] != expected {
            return Err(format!(
                "header {at}, {header:?}: the tables say {:?}, the reference {expected:?}",
                answers[at]
            ));
        }
    }
    Ok(sample)
}
