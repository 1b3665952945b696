//! What a person sees, in 100 columns: the stage, a line for each thing that was tried, and the books.

use super::scene::{Observed, Saw};
use super::script::Family;
use super::stage::{Role, Stage};
use dataplane::counters::Counters;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Green, red, yellow, faint (ECMA-48 §8.3.117).
const GOOD: &str = "32";
const BAD: &str = "31";
const DROPPED: &str = "33";
const FAINT: &str = "2";

/// Where it is shown.
pub struct Show<'a> {
    out: &'a mut dyn Write,
    colour: bool,
}

/// Whether standard output is a terminal that may have colour (<https://no-color.org>).
fn wants_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !refused
}

impl<'a> Show<'a> {
    /// On the standard output.
    pub fn on_stdout(out: &'a mut dyn Write) -> Show<'a> {
        Show { out, colour: wants_colour() }
    }

    /// Without colour.
    pub fn plain(out: &'a mut dyn Write) -> Show<'a> {
        Show { out, colour: false }
    }

    /// A line. A reader that has gone away does not keep the demo from cleaning up.
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }

    /// A word of at least this width.
    fn word(&self, text: &str, width: usize, colour: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text:width$}\x1b[0m") } else { format!("{text:width$}") }
    }

    /// What is about to be built.
    pub fn announce(&mut self) {
        self.line("Bulkhead demo: three hosts, each alone on its VLAN, and the gateway between them.\n");
    }

    /// What was built.
    pub fn stage(&mut self, stage: &Stage) {
        for (role, (left, right)) in Role::ALL.into_iter().zip([
            ("--+", ""),
            ("--+-- switch == trunk ==", " [ bulkhead ]"),
            ("--+", ""),
        ]) {
            let (v4, v6) = (role.address(Family::V4).to_string(), role.address(Family::V6).to_string());
            self.line(&format!("   {role:4} {v4:11} {v6:12} VLAN {} {left}{right}", role.vlan()));
        }
        let guard = &stage.gateway().guards()[0];
        let text = [
            format!("   namespaces  {0}-web, -app, -db: the hosts; {0}-switch, {0}-gw", stage.name()),
            format!(
                "   port        {} in {}-gw, AF_XDP mode `{}`: the kernel there sees no frame",
                guard.interface().name,
                stage.name(),
                guard.mode()
            ),
            "   policy      configs/three-tier.toml: web may ping app and use its TCP 8080, app may use db's"
                .to_owned(),
            "               TCP 5432; web is refused at db; what no rule speaks of is denied\n".to_owned(),
        ];
        self.line("");
        text.iter().for_each(|line| self.line(line));
    }

    /// The head of the table.
    pub fn head(&mut self) {
        let head = format!(
            "{:9}  {:17}  {:17}  {:7}  {:7}  {:13}  {:13}",
            "who", "tries", "sees", "there", "verdict", "reason", "rule"
        );
        let head = self.word(head.trim_end(), 0, FAINT);
        self.line(&head);
    }

    /// A line of the table.
    pub fn observed(&mut self, observed: &Observed) {
        let scene = observed.scene;
        let who = format!("{} → {}", scene.from, scene.to);
        let sees = match observed.seen.saw {
            saw @ (Saw::Answered | Saw::Refused | Saw::Prohibited | Saw::Unreachable) => {
                format!("{} {}", saw.name(), milliseconds(observed.seen.after))
            }
            saw @ (Saw::Silence | Saw::Nothing) => saw.name().to_owned(),
        };
        let there = if observed.arrived { "arrived" } else { "nothing" };
        let word = observed.word.as_ref();
        let verdict = word.map_or("unheard", |word| word.verdict);
        let colour = match verdict {
            "forward" => GOOD,
            "drop" | "reject" => DROPPED,
            _ => BAD,
        };
        let reason = word.and_then(|word| word.reason).unwrap_or("-");
        let rule = word.and_then(|word| word.rule.as_deref()).unwrap_or("-");
        let mark = if observed.is_expected() { self.word("ok", 0, GOOD) } else { self.word("NO", 0, BAD) };
        let line = format!(
            "{who:9}  {:17}  {sees:17}  {there:7}  {}  {reason:13}  {rule:13}  {mark}",
            scene.attempt.to_string(),
            self.word(verdict, 7, colour)
        );
        self.line(&line);
        if !observed.is_expected() {
            let e = scene.expected;
            let there = if e.arrives { "arrived" } else { "nothing" };
            let expected = format!(
                "{:9}  {:17}  {:17}  {there:7}  {:7}  {:13}  {:13}",
                "",
                "  expected:",
                e.saw.name(),
                e.verdict,
                e.reason.unwrap_or("-"),
                e.rule.unwrap_or("-")
            );
            let expected = self.word(expected.trim_end(), 0, BAD);
            self.line(&expected);
        }
    }

    /// How to look around while everything runs.
    pub fn pause(&mut self, name: &str) {
        self.line("\nEverything still runs. From another terminal, as root:");
        self.line(&format!("   ip netns exec {name}-web ping 10.0.20.10"));
        self.line(&format!("   ip netns exec {name}-switch tcpdump -nei t0      # the trunk, tags and all"));
        self.line("Enter or Ctrl-C ends it.");
    }

    /// What it comes to.
    pub fn sum_up(&mut self, observed: &[Observed], counters: Option<&Counters>) {
        let wrong = observed.iter().filter(|o| !o.is_expected()).count();
        self.line("");
        if let Some(c) = counters {
            self.line(&format!(
                "The gateway's books: {} frames received = {} forwarded + {} local (ARP, ND, ping) + {} dropped.",
                c.received,
                c.forwarded,
                c.local,
                c.dropped_total()
            ));
        }
        let verdict = match wrong {
            0 => self.word(&format!("All {} came out as the policy says.", observed.len()), 0, GOOD),
            _ => self.word(
                &format!("{wrong} of {} did not come out as the policy says.", observed.len()),
                0,
                BAD,
            ),
        };
        self.line(&verdict);
        self.line(
            "Go on with `bulkhead replay --help` (your own captures, no rights needed), and with docs/.",
        );
    }
}

fn milliseconds(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    if milliseconds < 10.0 { format!("{milliseconds:.1} ms") } else { format!("{milliseconds:.0} ms") }
}

/// All of it, for programs.
#[must_use]
pub fn to_json(mode: &str, observed: &[Observed], counters: Option<&Counters>) -> serde_json::Value {
    let scenes: Vec<serde_json::Value> = observed
        .iter()
        .map(|o| {
            serde_json::json!({
                "from": o.scene.from.name(),
                "to": o.scene.to.name(),
                "attempt": o.scene.attempt.to_string(),
                "saw": o.seen.saw.name(),
                "after_us": u64::try_from(o.seen.after.as_micros()).unwrap_or(u64::MAX),
                "arrived": o.arrived,
                "verdict": o.word.as_ref().map(|w| w.verdict),
                "reason": o.word.as_ref().and_then(|w| w.reason),
                "rule": o.word.as_ref().and_then(|w| w.rule.as_deref()),
                "as_expected": o.is_expected(),
            })
        })
        .collect();
    serde_json::json!({
        "mode": mode,
        "scenes": scenes,
        "counters": counters.map(crate::command::counters_json),
        "as_expected": observed.iter().all(Observed::is_expected),
    })
}
