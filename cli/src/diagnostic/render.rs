//! Diagnostics for people: the line itself, with the fault marked.

use super::{Diagnostic, Report, Severity};
use crate::config::source::{SourceFile, Sources, Span};
use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Renderer, Snippet, normalize_untrusted_str,
};
use std::io::IsTerminal;
use std::ops::Range;

/// How much distance, in bytes, between two marks is still shown in one excerpt.
const ONE_EXCERPT: usize = 64 * 1024;

/// Whether to use colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Plain text.
    Plain,
    /// ANSI colour.
    Colour,
}

impl Style {
    /// Colour where standard error is a terminal and `NO_COLOR` is not set (<https://no-color.org>).
    #[must_use]
    pub fn for_stderr() -> Style {
        Style::where_terminal(std::io::stderr().is_terminal())
    }

    /// As [`Style::for_stderr`], for standard output.
    #[must_use]
    pub fn for_stdout() -> Style {
        Style::where_terminal(std::io::stdout().is_terminal())
    }

    fn where_terminal(is_terminal: bool) -> Style {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if is_terminal && !refused { Style::Colour } else { Style::Plain }
    }
}

impl Report {
    /// All diagnostics as text, with an empty line between two and a line end behind the last.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let renderer = match style {
            Style::Plain => Renderer::plain(),
            Style::Colour => Renderer::styled(),
        };
        let mut text = String::new();
        for diagnostic in &self.diagnostics {
            text.push_str(&renderer.render(&[group(&self.sources, diagnostic)]));
            text.push_str("\n\n");
        }
        text.pop();
        text
    }
}

fn group<'a>(sources: &'a Sources, diagnostic: &'a Diagnostic) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let mut group = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code.name())
        .elements(snippets(sources, diagnostic));
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(normalize_untrusted_str(note)));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
    }
    group
}

/// One excerpt for all marks that are near the fault, one for each that is not.
fn snippets<'a>(sources: &'a Sources, diagnostic: &'a Diagnostic) -> Vec<Snippet<'a, Annotation<'a>>> {
    let primary = (diagnostic.span, AnnotationKind::Primary, diagnostic.label.as_str());
    let mut near = vec![primary];
    let mut far = Vec::new();
    for (span, label) in &diagnostic.related {
        let mark = (*span, AnnotationKind::Context, label.as_str());
        let is_near = span.file == diagnostic.span.file
            && span.start.abs_diff(diagnostic.span.start) as usize <= ONE_EXCERPT;
        if is_near {
            near.push(mark);
        } else {
            far.push(mark);
        }
    }
    let mut all = vec![snippet(sources.file(diagnostic.span.file), &near)];
    all.extend(far.iter().map(|mark| snippet(sources.file(mark.0.file), std::slice::from_ref(mark))));
    all
}

type Mark<'a> = (Span, AnnotationKind, &'a str);

/// Cuts out the lines that the marks stand on, so that a long file is not searched for each diagnostic.
fn snippet<'a>(file: &'a SourceFile, marks: &[Mark<'a>]) -> Snippet<'a, Annotation<'a>> {
    let ranges: Vec<Range<usize>> = marks.iter().map(|mark| shown(file, mark.0)).collect();
    let first = ranges.iter().map(|range| range.start).min().expect("at least one mark");
    let last = ranges.iter().map(|range| range.end).max().expect("at least one mark");
    let first_line = file.line_index(first);
    let start = file.line_start(first_line);
    let end = file.line_start(file.line_index(last) + 1).max(last);
    let annotations = marks.iter().zip(&ranges).map(|((_, kind, label), range)| {
        let annotation = kind.span(range.start - start..range.end - start);
        if label.is_empty() { annotation } else { annotation.label(normalize_untrusted_str(label)) }
    });
    Snippet::source(&file.text()[start..end])
        .path(normalize_untrusted_str(&file.path().display().to_string()))
        .line_start(first_line + 1)
        .annotations(annotations)
}

/// A mark within the text, on whole characters, and on its first line only.
fn shown(file: &SourceFile, span: Span) -> Range<usize> {
    let text = file.text();
    let mut start = (span.start as usize).min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let line_end = text[start..].find('\n').map_or(text.len(), |length| start + length);
    let mut end = (span.end as usize).clamp(start, line_end);
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}
