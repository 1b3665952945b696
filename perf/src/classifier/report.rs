//! What the benchmark of the tables found.

use crate::report::Machine;
use serde::Serialize;
use std::fmt;

/// The result of `classifier`. Megabytes and millions are powers of ten.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Always `classifier`.
    pub(crate) subject: &'static str,
    /// The file of a filter set, or `segments`.
    pub(crate) policy: String,
    /// Millions of look-ups a second on one core: the median of the runs.
    pub(crate) mlookups_per_s: f64,
    /// The slowest run.
    pub(crate) mlookups_per_s_min: f64,
    /// The fastest run.
    pub(crate) mlookups_per_s_max: f64,
    /// The median, by second that the thread had the core. Far above the first, the core was not ours alone.
    pub(crate) mlookups_per_cpu_s: f64,
    /// Nanoseconds a look-up, by the median of the first.
    pub(crate) ns_per_lookup: f64,
    /// How headers were looked up.
    pub(crate) method: &'static str,
    /// How long the compilation took.
    pub(crate) compile_s: f64,
    /// The same, of time that the thread had the core.
    pub(crate) compile_cpu_s: f64,
    /// Memory of the tables, the policy itself left out.
    pub(crate) table_mb: f64,
    /// Microseconds for a member more or less in a segment; null where nothing but a compilation does it.
    pub(crate) update_member_us: Option<f64>,
    /// Microseconds for a rule more or less; null likewise.
    pub(crate) update_rule_us: Option<f64>,
    /// Look-ups beside a thousand changes a second, as a part of those without; null likewise.
    pub(crate) beside_changes_share: Option<f64>,
    /// Changes a second that there were.
    pub(crate) beside_changes_per_s: Option<f64>,
    /// Rules of the policy.
    pub(crate) rules: usize,
    /// Segments, groups of segments included.
    pub(crate) segments: usize,
    /// Address ranges that the policy names, as the tables count them.
    pub(crate) prefixes: usize,
    /// Of 100 prefixes, how many are of IPv6.
    pub(crate) percent_v6: u32,
    /// Pairs of segments that rules were drawn for; null for a filter set.
    pub(crate) segment_pairs: Option<u32>,
    /// Lists of services that these have in common; null for a filter set.
    pub(crate) profiles: Option<u32>,
    /// Rules with `any` on a side; null for a filter set.
    pub(crate) any_rules: Option<u32>,
    /// The form that the cells have.
    pub(crate) form: &'static str,
    /// Kinds of endpoints that the tables tell apart.
    pub(crate) classes: usize,
    /// Pairs of these with a cell of their own.
    pub(crate) pairs: usize,
    /// The seed of policy and headers.
    pub(crate) seed: u64,
    /// Headers that were looked up in turn.
    pub(crate) headers: usize,
    /// The part of them that a rule decides.
    pub(crate) decided_share: f64,
    /// Headers whose answer was held against the linear scan.
    pub(crate) verified: usize,
    /// Runs.
    pub(crate) runs: u32,
    /// Seconds of a run, at least.
    pub(crate) seconds: f64,
    /// The core it ran on.
    pub(crate) core: Option<usize>,
    /// Where it ran.
    pub(crate) machine: Machine,
}

impl Report {
    pub(crate) fn json(&self) -> String {
        crate::report::json(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {:.2} M look-ups/s ({:.2} to {:.2} in {} runs), {:.1} ns each, {:.2} by CPU time, {}",
            self.policy,
            self.mlookups_per_s,
            self.mlookups_per_s_min,
            self.mlookups_per_s_max,
            self.runs,
            self.ns_per_lookup,
            self.mlookups_per_cpu_s,
            self.method
        )?;
        writeln!(
            f,
            "  {} rules, {} segments, {} prefixes, {} % of them IPv6",
            self.rules, self.segments, self.prefixes, self.percent_v6
        )?;
        writeln!(
            f,
            "  compiled in {:.3} s to {:.1} MB: {} classes, {} pairs, {}",
            self.compile_s, self.table_mb, self.classes, self.pairs, self.form
        )?;
        let time = |time: Option<f64>| time.map_or("by compilation".to_owned(), |us| format!("{us:.2} us"));
        writeln!(
            f,
            "  a change of a member: {}; of a rule: {}",
            time(self.update_member_us),
            time(self.update_rule_us)
        )?;
        if let (Some(share), Some(pace)) = (self.beside_changes_share, self.beside_changes_per_s) {
            writeln!(f, "  beside {pace:.0} changes a second: {:.1} % of the look-ups", 100.0 * share)?;
        }
        writeln!(
            f,
            "  {} headers, {:.1} % decided by a rule, {} of them verified, seed {}",
            self.headers,
            100.0 * self.decided_share,
            self.verified,
            self.seed
        )?;
        write!(f, "  {}", self.machine)
    }
}
