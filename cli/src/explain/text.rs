//! The answer for people.

use super::answer::{Answer, EndOfFlow, MatchedRule, Note, Tier};
use crate::diagnostic::Style;
use std::fmt::Write;

impl Answer {
    /// The answer as text: the verdict in its first line, then how it comes about.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let mut text = format!("{}: {}\n", paint(self.verdict, style), self.cause());
        let (dropped, known): (Vec<&Note>, Vec<&Note>) = self.notes.iter().partition(|n| n.reason.is_some());
        for note in dropped {
            let reason = note.reason.unwrap_or_default();
            let _ = writeln!(text, "note: dropped as `{reason}` before the policy is asked: {}", note.text);
        }
        text.push('\n');
        line(&mut text, "from", &end_text(&self.from));
        line(&mut text, "to", &end_text(&self.to));
        line(&mut text, "service", &self.service_text());
        line(&mut text, "at", &self.at);
        text.push('\n');
        for tier in &self.tiers {
            tier_text(&mut text, tier);
        }
        if self.rule.is_none() {
            let _ = writeln!(text, "default\n  {}", self.default_text());
        }
        if let Some(nearest) = &self.nearest_allow {
            // Where the packet never comes to the policy, no change of the policy lets it in.
            let alone =
                if self.notes.iter().any(|n| n.reason.is_some()) { " (of the policy alone)" } else { "" };
            let _ = writeln!(text, "\nnearest allow{alone}: {}", nearest.text);
        }
        if !known.is_empty() {
            text.push('\n');
        }
        for note in known {
            let _ = writeln!(text, "note: {}", note.text);
        }
        text
    }

    /// Who decided, in the first line.
    fn cause(&self) -> String {
        let decider = match (&self.rule, &self.tier) {
            (Some(rule), Some(tier)) => format!("rule `{rule}` in tier `{tier}`"),
            (_, _) => "no rule decides, and the default".to_owned(),
        };
        let lenient = self.verdict != self.says;
        let mut text = match (&self.rule, lenient) {
            (Some(_), false) => decider,
            (None, false) => format!("{decider} is {}", self.says),
            (Some(_), true) => format!("{decider} says {}, but [policy] mode is monitor", self.says),
            (None, true) if self.policy_mode == "monitor" => {
                format!("{decider} is {}, but [policy] mode is monitor", self.says)
            }
            (None, true) => {
                format!("{decider} is {}, but all segments of the destination are in monitor mode", self.says)
            }
        };
        if let Some(would) = &self.would {
            let _ = match &would.rule {
                Some(rule) => write!(text, "; recorded as {} by rule `{rule}`", would.action),
                None => write!(text, "; recorded as {} by the default", would.action),
            };
        }
        text
    }

    fn service_text(&self) -> String {
        match self.service.source_port {
            Some(port) => format!("{} (source port {port})", self.service.text),
            None => self.service.text.clone(),
        }
    }

    fn default_text(&self) -> String {
        if self.softened && self.says != "allow" {
            format!("{}, only recorded: all segments of the destination are in monitor mode", self.says)
        } else {
            self.says.to_owned()
        }
    }
}

fn line(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key:<8}{value}");
}

fn end_text(end: &EndOfFlow) -> String {
    let mut text = end.address.to_string();
    let _ = match (&end.vlan, &end.vlan_name) {
        (Some(vlan), Some(name)) => write!(text, " on VLAN {name} ({vlan})"),
        (Some(vlan), None) => write!(text, " on VLAN {vlan}"),
        (None, _) => write!(text, " on no known VLAN"),
    };
    if let Some(mac) = &end.mac {
        let _ = write!(text, ", MAC {mac}");
    }
    let _ = match end.segments.as_slice() {
        [] => write!(text, ", in no segment"),
        [one] => write!(text, ", segment {one}"),
        several => write!(text, ", segments {}", several.join(", ")),
    };
    text
}

fn tier_text(text: &mut String, tier: &Tier) {
    let _ = writeln!(text, "tier {}", tier.tier);
    for rule in &tier.rules {
        let _ = writeln!(text, "  {}", rule_text(rule));
    }
    if tier.rules.is_empty() {
        text.push_str("  no rule matches\n");
    } else if tier.end == "no-match" {
        text.push_str("  no other rule matches\n");
    }
}

fn rule_text(rule: &MatchedRule) -> String {
    let did = match rule.did {
        "recorded" => format!("matches and is only recorded: would-{}", rule.action),
        "passed" => "passes on to the next tier".to_owned(),
        _ => format!("decides: {}", rule.action),
    };
    format!("rule `{}` ({}) {did}", rule.rule, rule.place)
}

/// Bold, and green or red: ECMA-48 §8.3.117.
fn paint(verdict: &str, style: Style) -> String {
    match style {
        Style::Plain => verdict.to_owned(),
        Style::Colour if verdict == "allow" => format!("\x1b[1;32m{verdict}\x1b[0m"),
        Style::Colour => format!("\x1b[1;31m{verdict}\x1b[0m"),
    }
}
