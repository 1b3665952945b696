//! What `verify` found, for people and for programs.

use super::agreement::Agreed;
use crate::report::Machine;
use serde::Serialize;
use std::fmt;

/// The result of `verify`, where all agreed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// What ran: `verify`.
    pub(crate) subject: &'static str,
    /// Policy by policy.
    pub(crate) policies: Vec<Verified>,
    /// The instructions on which each packet was looked up.
    pub(crate) paths: Vec<String>,
    /// The packets of all policies.
    pub(crate) packets: u64,
    /// The seed.
    pub(crate) seed: u64,
    /// How long all took.
    pub(crate) seconds: f64,
    /// Where it ran.
    pub(crate) machine: Machine,
}

/// What was found of one policy, or of several small ones together.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verified {
    /// Its name.
    pub(crate) policy: String,
    /// Its rules.
    pub(crate) rules: usize,
    /// Its segments.
    pub(crate) segments: usize,
    /// Classes of endpoints.
    pub(crate) classes: usize,
    /// The forms that its tables have.
    pub(crate) form: String,
    /// Packets on which all agreed.
    pub(crate) packets: u64,
    /// Those that were held against the full linear scan as well, or alone.
    pub(crate) scanned: u64,
    /// The part that a rule decided.
    pub(crate) decided_share: f64,
    /// The part that a monitor rule matched before that.
    pub(crate) monitored_share: f64,
    /// The part whose destination is softened.
    pub(crate) softened_share: f64,
    /// How long it took, with compilation.
    pub(crate) seconds: f64,
}

impl Verified {
    /// Takes the counts over.
    pub(crate) fn count(&mut self, agreed: Agreed) {
        let share = |part: u64| part as f64 / agreed.packets.max(1) as f64;
        self.packets = agreed.packets;
        self.scanned = agreed.scanned;
        self.decided_share = share(agreed.decided);
        self.monitored_share = share(agreed.monitored);
        self.softened_share = share(agreed.softened);
    }
}

impl Report {
    pub(crate) fn json(&self) -> String {
        crate::report::json(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["rules", "classes", "packets", "scanned", "decided", "monitored", "softened", "seconds"];
        let [rules, classes, packets, scanned, decided, monitored, softened, seconds] = heads;
        writeln!(
            f,
            "{:<24} {rules:>8} {classes:>8} {packets:>9} {scanned:>8} {decided:>8} {monitored:>9} {softened:>8} \
             {seconds:>8}  form",
            "policy"
        )?;
        for verified in &self.policies {
            let Verified { policy, rules, classes, packets, scanned, form, seconds, .. } = verified;
            writeln!(
                f,
                "{policy:<24} {rules:>8} {classes:>8} {packets:>9} {scanned:>8} {:>6.1} % {:>7.1} % {:>6.1} % \
                 {seconds:>8.1}  {form}",
                100.0 * verified.decided_share,
                100.0 * verified.monitored_share,
                100.0 * verified.softened_share,
            )?;
        }
        write!(
            f,
            "{} packets agree on {}, in {:.1} s, seed {}; {}, Linux {}",
            self.packets,
            self.paths.join(" and "),
            self.seconds,
            self.seed,
            self.machine.processor,
            self.machine.kernel
        )
    }
}
