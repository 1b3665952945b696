//! The text format of Prometheus, version 0.0.4 (prometheus.io, "Exposition formats").

use std::fmt::Write;

/// The kind of a family of samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// A text in the making.
#[derive(Debug, Default)]
pub struct Exposition(String);

impl Exposition {
    /// The content type of the text.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Writes a family: each sample is its labels and its value. One without samples is left out.
    pub fn family<const LABELS: usize>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'static str, String); LABELS], u64)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            self.0.push_str(name);
            for (at, (label, value)) in labels.iter().enumerate() {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                let _ = write!(self.0, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' });
            }
            let _ = writeln!(self.0, "{} {value}", if LABELS == 0 { "" } else { "}" });
        }
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_helps_are_escaped_as_the_format_wants_it() {
        let mut text = Exposition::default();
        let nasty = "a\"b\\c\nd".to_owned();
        text.family("x_total", Kind::Counter, "one\\two\nthree", [([("rule", nasty), ("b", "é".into())], 7)]);
        text.family("y", Kind::Gauge, "no labels", [([], u64::MAX)]);
        text.family("z", Kind::Gauge, "nothing", [] as [([_; 0], u64); 0]);
        assert_eq!(
            text.into_text(),
            "# HELP x_total one\\\\two\\nthree\n# TYPE x_total counter\n\
             x_total{rule=\"a\\\"b\\\\c\\nd\",b=\"é\"} 7\n\
             # HELP y no labels\n# TYPE y gauge\ny 18446744073709551615\n"
        );
    }
}
