//! `[segment.NAME]`.

use super::endpoint::{Place, Scope};
use super::names::Names;
use super::network::Network;
use super::row::{Document, Located, Row};
use super::scalar;
use super::select::{self, Expression};
use super::workload::Workload;
use crate::config::feed::Feed;
use crate::config::near;
use crate::config::source::{Sources, Span};
use crate::diagnostic::{Code, Diagnostic};
use classifier::policy::{Member, Mode, Segment, SegmentId};
use std::collections::BTreeSet;

/// The segments, and their names.
pub(super) struct Segments {
    pub(super) all: Vec<Segment>,
    pub(super) names: Names<SegmentId>,
}

/// All segments in the order of the files.
pub(super) fn lower(
    document: &Document<'_>,
    network: &Network,
    workloads: &[Workload<'_>],
    sources: &Sources,
    out: &mut Vec<Diagnostic>,
) -> Segments {
    let rows = document.named_rows("segment");
    let mut names = Names::new("segment");
    for (index, named) in rows.iter().enumerate() {
        check_name(named.name, out);
        let id = SegmentId(u32::try_from(index).expect("fewer than 2^32 segments"));
        names.declare(named.name, id, out);
    }
    let scope = Scope { network, segments: &names, place: Place::Segment };
    let labels: BTreeSet<&str> = workloads.iter().flat_map(|w| w.labels.keys().copied()).collect();
    let feeds = document.rows("feed");
    let fed: BTreeSet<&str> =
        feeds.iter().filter_map(|row| row.text("segment")).map(|text| text.value).collect();
    let mut all = Vec::new();
    let mut references = Vec::new();
    for named in &rows {
        let row = &named.value;
        let mut members = scope.members(row.items("members"), out);
        let expression = row.text("select").and_then(|text| read_select(text, sources, &labels, out));
        let picked = expression.iter().flat_map(|expression| {
            workloads
                .iter()
                .filter(|w| expression.picks(&w.labels))
                .map(|w| Member::Selector(w.selector.clone()))
        });
        // A workload that could not be read has no condition left, and has been reported.
        members.extend(picked.filter(|m| !matches!(m, Member::Selector(s) if *s == Default::default())));
        let except = scope.members(row.items("except"), out);
        let is_unread = row.has("select") && expression.is_none();
        if members.is_empty()
            && row.items("members").next().is_none()
            && !is_unread
            && !fed.contains(named.name.value)
        {
            out.push(empty(named.name, row, expression.is_some()));
        }
        references.push(targets(row, &names));
        all.push(Segment { name: named.name.value.to_owned(), members, except, mode: mode(row) });
    }
    check_cycles(&all, &references, out);
    Segments { all, names }
}

/// All feeds in the order of the files.
pub(super) fn feeds(document: &Document<'_>, segments: &Segments, out: &mut Vec<Diagnostic>) -> Vec<Feed> {
    let mut feeds: Vec<Feed> = Vec::new();
    for row in document.rows("feed") {
        let segment = row
            .text("segment")
            .filter(|name| segments.names.find(*name, Code::UnknownSegment, out).is_some());
        let (Some(segment), Some(file)) = (segment, row.text("file")) else { continue };
        let feed = Feed { segment: segment.value.to_owned(), file: file.value.into(), span: file.span };
        if let Some(first) = feeds.iter().find(|f| (&f.segment, &f.file) == (&feed.segment, &feed.file)) {
            out.push(
                Diagnostic::error(Code::DuplicateItem, feed.span, "this feed is there twice")
                    .label("again here")
                    .related(first.span, "first here")
                    .help("keep one of them"),
            );
            continue;
        }
        feeds.push(feed);
    }
    feeds
}

fn mode(row: &Row<'_>) -> Mode {
    if row.choice("mode") == "monitor" { Mode::Monitor } else { Mode::Enforce }
}

fn check_name(name: Located<&str>, out: &mut Vec<Diagnostic>) {
    if name.value == "any" {
        out.push(
            Diagnostic::error(Code::BadName, name.span, "`any` is built in and can't be defined")
                .help("give the segment another name"),
        );
    } else if scalar::looks_like_address(name.value) {
        out.push(
            Diagnostic::error(Code::BadName, name.span, format!("`{}` reads like an address", name.value))
                .help("take a name that is no address, network or range"),
        );
    } else {
        scalar::check_name(name, "segment", "-.", out);
    }
}

fn empty(name: Located<&str>, row: &Row<'_>, selects: bool) -> Diagnostic {
    let message = format!("nothing is in segment `{}`", name.value);
    if selects {
        let span = row.text("select").map_or(name.span, |text| text.span);
        Diagnostic::warning(Code::EmptySegment, span, message)
            .label("no workload has these labels")
            .help("correct `select`, or the labels of the workloads")
    } else {
        Diagnostic::warning(Code::EmptySegment, name.span, message)
            .help("add `members` or `select`, or take the segment out")
    }
}

fn read_select(
    text: Located<&str>,
    sources: &Sources,
    labels: &BTreeSet<&str>,
    out: &mut Vec<Diagnostic>,
) -> Option<Expression> {
    let expression = match select::parse(text.value) {
        Ok(expression) => expression,
        Err(fault) => {
            let span = inside(text, sources, fault.range);
            out.push(
                Diagnostic::error(Code::BadSelect, span, fault.message)
                    .help("write as in: role == 'db' and env in ('prod', 'stage') and not app == 'lab'"),
            );
            return None;
        }
    };
    for label in expression.labels() {
        if !labels.contains(label.name.as_str()) {
            let span = inside(text, sources, label.range.clone());
            out.push(
                Diagnostic::warning(
                    Code::UnknownLabel,
                    span,
                    format!("no workload has a label `{}`", label.name),
                )
                .help(near::known(&label.name, "label", labels.iter().copied())),
            );
        }
    }
    Some(expression)
}

/// The place of a part of a string: exact where the file writes the string without escapes, else all of it.
fn inside(text: Located<&str>, sources: &Sources, range: std::ops::Range<usize>) -> Span {
    let written = sources.text(text.span);
    let Some(offset) = written.find(text.value).filter(|_| !text.value.is_empty()) else { return text.span };
    let start = text.span.start as usize + offset;
    // A fault at the end marks the closing quote.
    Span::new(text.span.file, start + range.start..start + range.end.max(range.start + 1))
}

/// The segments that a segment refers to, each with its place.
fn targets(row: &Row<'_>, names: &Names<SegmentId>) -> Vec<(usize, Span)> {
    let items = row.items("members").chain(row.items("except"));
    let target = |item: super::row::Item<'_>| match item {
        super::row::Item::Text(text) => {
            let SegmentId(id) = names.get(text.value.strip_prefix("segment:")?)?;
            Some((id as usize, text.span))
        }
        super::row::Item::Row(_) => None,
    };
    items.filter_map(target).collect()
}

fn check_cycles(all: &[Segment], references: &[Vec<(usize, Span)>], out: &mut Vec<Diagnostic>) {
    for cycle in super::names::cycles(references) {
        let name = |index: usize| all[index].name.as_str();
        let message = format!("segment `{}` contains itself: {}", name(cycle.path[0]), cycle.describe(name));
        out.push(
            Diagnostic::error(Code::SegmentCycle, cycle.closing, message)
                .label("this closes the circle")
                .help("take one of these references out"),
        );
    }
}
