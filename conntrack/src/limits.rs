//! How many flows each rule has: what `max_flows` of a rule is held against.
//!
//! Of several workers each counts its own, and shows the others its counts: a counter has one writer, and the sum of all
//! is read only for rules that have a limit. Two that let the last flow in at the same moment both show it first and add
//! up then, so that at least one sees it is too many: a rule never has more flows than it may, and once in a while
//! one is refused for another that is refused as well.

use crate::terms::RuleKey;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// Rules whose counts are allocated at once.
const CHUNK: usize = 4096;
/// Chunks that a worker may have: keys are given out once per rule and process.
const CHUNKS: usize = 4096;

/// What one worker shows of its counts.
struct Shown {
    chunks: Box<[OnceLock<Box<[AtomicU32]>>]>,
}

impl Shown {
    fn of(&self, rule: RuleKey) -> Option<&AtomicU32> {
        let at = rule.0 as usize;
        self.chunks.get(at / CHUNK)?.get()?.get(at % CHUNK)
    }

    fn reserve(&self, count: usize) {
        for chunk in self.chunks.iter().take(count.div_ceil(CHUNK)) {
            chunk.get_or_init(|| (0..CHUNK).map(|_| AtomicU32::new(0)).collect());
        }
    }
}

/// One worker's part in the counts of all.
pub struct LimitShare {
    all: Arc<[Shown]>,
    own: usize,
}

impl LimitShare {
    /// The parts of so many workers, in their order.
    #[must_use]
    pub fn of_all(workers: usize) -> Vec<LimitShare> {
        let shown = || Shown { chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect() };
        let all: Arc<[Shown]> = (0..workers).map(|_| shown()).collect();
        (0..workers).map(|own| LimitShare { all: Arc::clone(&all), own }).collect()
    }

    /// Shows a count, sooner or later.
    fn show(&self, rule: RuleKey, count: u32) {
        if let Some(shown) = self.all[self.own].of(rule) {
            shown.store(count, Ordering::Release);
        }
    }

    /// Shows a count at once: of two that do so and then ask for the others', at least one sees the other's.
    fn show_first(&self, rule: RuleKey, count: u32) {
        if let Some(shown) = self.all[self.own].of(rule) {
            shown.store(count, Ordering::SeqCst);
        }
    }

    /// What the others show.
    fn others(&self, rule: RuleKey) -> u32 {
        let others = self.all.iter().enumerate().filter(|(worker, _)| *worker != self.own);
        let counts = others.filter_map(|(_, shown)| shown.of(rule).map(|count| count.load(Ordering::SeqCst)));
        counts.fold(0, u32::saturating_add)
    }
}

/// Live flows by rule. It grows on the control path alone.
#[derive(Default)]
pub(crate) struct RuleCounts {
    counts: Vec<u32>,
    share: Option<LimitShare>,
    /// The rule of a flow that is about to be counted in: the others see it counted already.
    announced: Option<RuleKey>,
}

impl RuleCounts {
    /// Makes room for the rules below `count`. Allocates.
    pub(crate) fn reserve(&mut self, count: usize) {
        if count > self.counts.len() {
            self.counts.resize(count, 0);
        }
        if let Some(share) = &self.share {
            share.all[share.own].reserve(count);
        }
    }

    /// From now on the flows of all workers count. Allocates.
    pub(crate) fn share(&mut self, share: LimitShare) {
        self.share = Some(share);
        self.reserve(self.counts.len());
        for rule in 0..self.counts.len() {
            self.show(RuleKey(rule as u32));
        }
    }

    /// How many flows a rule has here; `None` where no room was made for it.
    pub(crate) fn of(&self, rule: RuleKey) -> Option<u32> {
        self.counts.get(rule.0 as usize).copied()
    }

    /// Announces a flow of a rule, which [`RuleCounts::add`] or [`RuleCounts::withdraw`] must follow. How many the rule has
    /// at all workers with it; `None` where no room was made for the rule.
    pub(crate) fn announce(&mut self, rule: RuleKey) -> Option<u32> {
        let own = self.of(rule)?.saturating_add(1);
        let Some(share) = &self.share else { return Some(own) };
        share.show_first(rule, own);
        let total = own.saturating_add(share.others(rule));
        self.announced = Some(rule);
        Some(total)
    }

    /// Takes back what was announced.
    pub(crate) fn withdraw(&mut self) {
        if let Some(rule) = self.announced.take() {
            self.show(rule);
        }
    }

    /// Shows the others how many flows a rule has here.
    #[inline]
    fn show(&self, rule: RuleKey) {
        if let (Some(share), Some(count)) = (&self.share, self.of(rule)) {
            share.show(rule, count + u32::from(self.announced == Some(rule)));
        }
    }

    /// Counts a flow in.
    pub(crate) fn add(&mut self, rule: Option<RuleKey>) {
        if let Some(rule) = rule
            && let Some(count) = self.counts.get_mut(rule.0 as usize)
        {
            *count += 1;
            if self.announced == Some(rule) {
                self.announced = None;
            }
            self.show(rule);
        }
    }

    /// Counts a flow out. A flow that was let in before room was made for its rule was never counted in.
    pub(crate) fn subtract(&mut self, rule: Option<RuleKey>) {
        if let Some(rule) = rule
            && let Some(count) = self.counts.get_mut(rule.0 as usize)
        {
            *count = count.saturating_sub(1);
            self.show(rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: RuleKey = RuleKey(7);

    fn workers(count: usize) -> Vec<RuleCounts> {
        let made = LimitShare::of_all(count).into_iter().map(|share| {
            let mut counts = RuleCounts::default();
            counts.share(share);
            counts.reserve(10);
            counts
        });
        made.collect()
    }

    #[test]
    fn all_workers_count_and_what_is_announced_can_be_taken_back() {
        let mut workers = workers(3);
        assert_eq!(workers[0].announce(RuleKey(10_000)), None, "there is no room for it");
        workers[0].add(Some(RULE));
        workers[1].add(Some(RULE));
        assert_eq!(workers[2].announce(RULE), Some(3));
        assert_eq!(workers[0].announce(RULE), Some(4), "what was announced counts");
        workers[0].subtract(Some(RULE));
        assert_eq!(workers[1].announce(RULE), Some(4), "and stays announced while others go");
        workers.iter_mut().for_each(RuleCounts::withdraw);
        assert_eq!(workers[0].announce(RULE), Some(2));
        assert_eq!(workers[0].of(RULE), Some(0));
    }

    #[test]
    fn however_many_let_flows_in_at_once_a_rule_never_has_more_than_it_may() {
        const LIMIT: u32 = 5;
        const ROUNDS: u32 = 20_000;
        let in_all = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = workers(2)
            .into_iter()
            .map(|mut counts| {
                let in_all = Arc::clone(&in_all);
                std::thread::spawn(move || {
                    let mut has = 0;
                    for round in 0..ROUNDS {
                        if has > 0 && (round % 3 == 0 || has == LIMIT) {
                            in_all.fetch_sub(1, Ordering::SeqCst);
                            counts.subtract(Some(RULE));
                            has -= 1;
                        } else if counts.announce(RULE).is_some_and(|total| total <= LIMIT) {
                            counts.add(Some(RULE));
                            let now = in_all.fetch_add(1, Ordering::SeqCst) + 1;
                            assert!(now <= LIMIT, "{now} flows");
                            has += 1;
                        } else {
                            counts.withdraw();
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no limit is passed");
        }
    }
}
