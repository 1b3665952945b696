//! The figures for people and for programs.

use super::Stats;
use classifier::tables::{Form, Grouping, Statistics};
use serde_json::{Value, json};
use std::fmt;

/// Bytes of each table.
fn memory(statistics: &Statistics) -> [(&'static str, &'static str, usize); 7] {
    [
        ("v4", "IPv4 address to class", statistics.v4_bytes),
        ("v6", "IPv6 address to class", statistics.v6_bytes),
        ("places", "VLAN and MAC to class", statistics.place_bytes),
        ("classes", "classes", statistics.class_bytes),
        ("pairs", "class pairs", statistics.pair_bytes),
        ("lines", "port lines", statistics.line_bytes),
        ("outcomes", "outcomes", statistics.outcome_bytes),
    ]
}

/// What a form means for the look-up.
fn meaning(form: Form) -> &'static str {
    match form {
        Form::Lines => "one line of ports for each pair",
        Form::Rows => "one row by service for each pair",
        Form::Layers => "wide rules in layers of their own: three rows for each packet",
        Form::Grouped => "rules of several groups put together for each packet: slow",
    }
}

/// Why a policy is looked up in groups, and what would change that.
fn because(grouping: Grouping) -> String {
    match grouping {
        Grouping::Kinds { sources, destinations } => format!(
            "rules tell {sources} kinds of sources and {destinations} kinds of destinations apart, too many for a \
             table of pairs; name segments in rules instead of addresses, or let fewer segments overlap"
        ),
        Grouping::Pairs { pairs } => format!(
            "rules join {pairs} pairs of kinds of endpoints, too many for a table of pairs; write `any`, or a \
             segment that covers them, for sides that overlap many segments"
        ),
        Grouping::Services => {
            "the services of the rules combine in too many ways for rows; join ports to ranges, \
             and leave source ports out"
                .to_owned()
        }
        Grouping::Wide { cells } => format!(
            "rules with a wide side meet too many kinds of endpoints on the other, {cells} cells; narrow the rules \
             that the warnings name"
        ),
    }
}

impl Stats {
    /// One object; `warnings` are left to the diagnostics beside it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let statistics = &self.statistics;
        let mut bytes = serde_json::Map::new();
        for (key, _, size) in memory(statistics) {
            bytes.insert(key.to_owned(), json!(size));
        }
        bytes.insert("total".to_owned(), json!(statistics.bytes()));
        json!({
            "rules": statistics.rules,
            "prefixes": statistics.prefixes,
            "classes": statistics.classes,
            "pairs": statistics.pairs,
            "rule_pairs": self.entries,
            "port_lines": statistics.lines,
            "source_port_lines": statistics.source_lines,
            "general_lines": statistics.general_lines,
            "outcomes": statistics.outcomes,
            "overlay_rules": self.overlay_rules,
            "form": statistics.form.name(),
            "grouped_because": statistics.grouping.map(because),
            "memory_bytes": bytes,
            "compile_ms": self.compile_time.as_secs_f64() * 1e3,
            "instructions": self.instructions.to_string(),
        })
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statistics = &self.statistics;
        let counts = [
            ("rules in force", statistics.rules),
            ("prefixes", statistics.prefixes),
            ("address classes", statistics.classes),
            ("class pairs", statistics.pairs),
            ("rules in pairs", self.entries),
            ("distinct port lines", statistics.lines),
            ("of source ports", statistics.source_lines),
            ("beyond a cache line", statistics.general_lines),
            ("outcomes", statistics.outcomes),
            ("overlay rules", self.overlay_rules),
        ];
        for (name, count) in counts {
            writeln!(f, "{name:<32}{count:>14}")?;
        }
        for (_, name, size) in memory(statistics) {
            writeln!(f, "{:<32}{size:>14} bytes", format!("memory: {name}"))?;
        }
        writeln!(f, "{:<32}{:>14} bytes", "memory: all", statistics.bytes())?;
        writeln!(f, "{:<32}{:>14.3} ms", "compile time", self.compile_time.as_secs_f64() * 1e3)?;
        writeln!(f, "{:<32}{:>14}", "instructions", self.instructions.to_string())?;
        writeln!(f, "{:<32}{:>14} ({})", "form", statistics.form.name(), meaning(statistics.form))?;
        match statistics.grouping {
            Some(grouping) => writeln!(f, "{:<32}{}", "grouped because", because(grouping)),
            None => Ok(()),
        }
    }
}
