//! Diagnostics for programs: an array of objects.

use super::Report;
use serde_json::{Value, json};

impl Report {
    /// `{severity, code, message, file, line, column, end_line, end_column, help}`, with `notes` and
    /// `related` where there are any. `end_column` is that of the character after the last.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.diagnostics
            .iter()
            .map(|diagnostic| {
                let mut object = self.place(diagnostic.span);
                object["severity"] = json!(diagnostic.severity.name());
                object["code"] = json!(diagnostic.code.name());
                object["message"] = json!(diagnostic.message);
                object["help"] = json!(diagnostic.help);
                if !diagnostic.notes.is_empty() {
                    object["notes"] = json!(diagnostic.notes);
                }
                if !diagnostic.related.is_empty() {
                    let related = diagnostic.related.iter().map(|(span, label)| {
                        let mut place = self.place(*span);
                        place["message"] = json!(label);
                        place
                    });
                    object["related"] = related.collect();
                }
                object
            })
            .collect()
    }

    fn place(&self, span: crate::config::source::Span) -> Value {
        let file = self.sources.file(span.file);
        let (start, end) = (file.position(span.start as usize), file.position(span.end as usize));
        json!({
            "file": file.path().display().to_string(),
            "line": start.line,
            "column": start.column,
            "end_line": end.line,
            "end_column": end.column,
        })
    }
}
