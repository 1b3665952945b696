//! What `verify` is told.

use crate::classifier::segments::Shape;
use clap::Args;
use std::path::PathBuf;

/// Which policies are verified, and with how many packets.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("policies").required(true).multiple(true).args(["classbench", "rules", "entangled"]))]
pub(crate) struct VerifyArguments {
    /// ClassBench filter sets: files, or directories, of which all files that begin like one are taken
    #[arg(long, value_name = "FILE|DIR", num_args = 1..)]
    pub(crate) classbench: Vec<PathBuf>,
    /// A generated policy of segments: its rules
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    pub(crate) rules: Option<u32>,
    /// Its segments, groups of segments included
    #[arg(long, requires = "rules", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(2..=60_000))]
    pub(crate) segments: u32,
    /// Its prefixes
    #[arg(long, requires = "rules", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub(crate) prefixes: u32,
    /// The part of its prefixes that is IPv6: 0 to 1
    #[arg(long, requires = "rules", value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub(crate) v6: f64,
    /// Its rules with `any` on a side
    #[arg(long, requires = "rules", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100))]
    pub(crate) any: u32,
    /// Verify it a second time with monitor rules and segments, exceptions, expired rules and other protocols in it
    #[arg(long, requires = "rules")]
    pub(crate) varied: bool,
    /// So many small random policies in which everything overlaps, VLANs and MACs included; they share the packets
    #[arg(long, value_name = "POLICIES", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) entangled: Option<u32>,
    /// Packets for each policy
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) packets: u64,
    /// Of these, how many are held against the full linear scan as well
    #[arg(long, value_name = "PACKETS", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) scanned: u64,
    /// The seed of the packets and of what is generated
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Seconds for the packets of a policy, at most; left out: as many as they take
    #[arg(long, value_name = "MAX", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) seconds: Option<u64>,
    /// Say nothing on standard error while it runs
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Print one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl VerifyArguments {
    /// The shape of the policy to generate, where one is asked for.
    pub(crate) fn shape(&self) -> Option<Shape> {
        self.rules.map(|rules| Shape {
            segments: self.segments,
            prefixes: self.prefixes,
            rules,
            percent_v6: (self.v6 * 100.0).round() as u32,
            profiles: rules.div_ceil(80),
            any: self.any,
        })
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("not between 0 and 1".to_owned()) }
}
