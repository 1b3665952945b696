//! What `classifier` is told.

use super::method::Method;
use super::prefixes::Millionths;
use super::segments::Shape;
use clap::Args;
use std::path::PathBuf;

/// The size of a policy, or the file of one, and how to measure.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClassifierArguments {
    /// A ClassBench filter set to measure; left out: a policy of segments is generated
    #[arg(long, value_name = "FILE", conflicts_with_all = ["segments", "prefixes", "rules", "v6", "profiles", "any", "overlap", "group_pairs"])]
    pub(crate) classbench: Option<PathBuf>,
    /// Segments, groups of segments included
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(2..=60_000))]
    pub(crate) segments: u32,
    /// Prefixes of all segments
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub(crate) prefixes: u32,
    /// Rules between segments
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    pub(crate) rules: u32,
    /// The part of the prefixes, and of the headers, that is IPv6: 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) v6: f64,
    /// Lists of services that pairs of segments have in common; 0: each pair has its own; left out: one for each
    /// 20 pairs
    #[arg(long)]
    pub(crate) profiles: Option<u32>,
    /// Rules with `any` on a side: denials of all to all, and services for all, in turn
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    pub(crate) any: u32,
    /// The part of the prefixes that lie inside of others, around them or on them: 0 to 1. Such an address is in
    /// several segments, and has the pairs of all of them; with 0.026 and `--group-pairs 0.001` there are four times as
    /// many pairs of classes as of segments at the largest size that is measured
    #[arg(long, value_name = "SHARE", default_value_t = 0.003, value_parser = share)]
    pub(crate) overlap: f64,
    /// The part of the pairs that have a group on a side, one in ten of them on both: 0 to 1. A group stands for about
    /// 44 segments
    #[arg(long, value_name = "SHARE", default_value_t = 0.0002, value_parser = share)]
    pub(crate) group_pairs: f64,
    /// How to look up
    #[arg(long, value_enum, default_value_t = Method::Batch)]
    pub(crate) method: Method,
    /// Headers that are looked up in turn
    #[arg(long, default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(32..=100_000_000))]
    pub(crate) headers: u32,
    /// Runs, of which the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) runs: u32,
    /// Seconds of a run, at least
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// Headers to hold against the linear scan, as many as there is time for
    #[arg(long, default_value_t = 3_000)]
    pub(crate) verify: usize,
    /// Seconds for that, at most, once a hundred are done
    #[arg(long, default_value_t = 20.0, value_parser = seconds)]
    pub(crate) verify_seconds: f64,
    /// The seed of the policy and the headers
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The core to run on; left out: the last
    #[arg(long)]
    pub(crate) core: Option<usize>,
    /// Write rules, headers and answers into this directory, and measure nothing
    #[arg(long, value_name = "DIR", requires = "classbench")]
    pub(crate) dump: Option<PathBuf>,
    /// Say nothing on standard error while it runs
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl ClassifierArguments {
    /// The shape of the policy to generate.
    pub(crate) fn shape(&self) -> Shape {
        Shape {
            segments: self.segments,
            prefixes: self.prefixes,
            rules: self.rules,
            percent_v6: (self.v6 * 100.0).round() as u32,
            // Four rules a pair.
            profiles: self.profiles.unwrap_or(self.rules.div_ceil(80)),
            any: self.any,
            overlap: Millionths::of(self.overlap),
            group_pairs: Millionths::of(self.group_pairs),
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("not between 0 and 1".to_owned()) }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("not between 0 and 86400".to_owned()) }
}
