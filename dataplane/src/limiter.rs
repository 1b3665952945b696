//! Token buckets for what the gateway says itself, one per ingress VLAN: nobody can make it a source of floods.
//! Of several workers each has an equal share of every bucket.

use crate::network::VlanIndex;
use conntrack::time::Tick;

/// Answers per second and VLAN, in the long run.
pub(crate) const RATE: u64 = 1000;
/// Answers that may go out at once.
pub(crate) const BURST: u64 = 1000;

const NANOS: u64 = 1_000_000_000;

/// One bucket, as the moment at which it would be full again (the virtual scheduling form of the leaky bucket,
/// ITU-T I.371 annex A).
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: u64,
}

/// The buckets of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    buckets: Vec<Bucket>,
    /// Nanoseconds that one answer takes to be made good.
    cost: u64,
}

impl Limiter {
    /// Full buckets for that many VLANs, of one among that many workers.
    #[must_use]
    pub(crate) fn new(vlans: usize, workers: usize) -> Self {
        Limiter { buckets: vec![Bucket::default(); vlans], cost: NANOS * workers as u64 / RATE }
    }

    /// Takes a token; whether there was one.
    pub(crate) fn take(&mut self, now: Tick, vlan: VlanIndex) -> bool {
        let Some(bucket) = self.buckets.get_mut(usize::from(vlan.0)) else { return false };
        let full_at = bucket.full_at.max(now.0) + self.cost;
        // A burst of a worker's share takes as long to be made good as one of the whole.
        let is_open = full_at - now.0 <= BURST * NANOS / RATE;
        if is_open {
            bucket.full_at = full_at;
        }
        is_open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut limiter = Limiter::new(2, 1);
        let start = Tick(5 * NANOS);
        let at_once = (0..5000).filter(|_| limiter.take(start, VlanIndex(0))).count() as u64;
        assert_eq!(at_once, BURST);
        let later = Tick(start.0 + NANOS / 2);
        let after_half_a_second = (0..5000).filter(|_| limiter.take(later, VlanIndex(0))).count() as u64;
        assert_eq!(after_half_a_second, RATE / 2);
        assert!(limiter.take(start, VlanIndex(1)), "another VLAN has a bucket of its own");
    }

    #[test]
    fn four_workers_say_no_more_than_one() {
        let mut limiter = Limiter::new(1, 4);
        let at_once = (0..5000).filter(|_| limiter.take(Tick(5 * NANOS), VlanIndex(0))).count() as u64;
        assert_eq!(at_once, BURST / 4);
    }
}
