//! Several files extend the same configuration: their trees become one.
//!
//! Lists of tables are joined in the order of the files. Tables are joined key by key; the same key in two
//! files is an error, even with the same value.

use super::keys::{Kind, ROOT};
use super::tree::{Data, Entry, Table};
use crate::diagnostic::{Code, Diagnostic};
use std::borrow::Cow;
use std::collections::HashMap;

/// One tree of all. What has the wrong shape is left out: it has been reported.
pub(crate) fn merge<'t>(trees: Vec<Table<'t>>, out: &mut Vec<Diagnostic>) -> Table<'t> {
    let mut root = Table::default();
    let mut seen: HashMap<(&'static str, Cow<'t, str>), super::source::Span> = HashMap::new();
    for entry in trees.into_iter().flat_map(|tree| tree.entries) {
        let Some(spec) = ROOT.key(&entry.key) else { continue };
        let slot = match root.entries.iter().position(|known| known.key == entry.key) {
            Some(at) => at,
            None => {
                let empty = match spec.kind {
                    Kind::Tables(_) | Kind::List(_) => Data::List(Vec::new()),
                    _ => Data::Table(Table::default()),
                };
                let value = super::tree::Value { span: entry.value.span, data: empty };
                root.entries.push(Entry { key: entry.key.clone(), key_span: entry.key_span, value });
                root.entries.len() - 1
            }
        };
        match (&mut root.entries[slot].value.data, entry.value.data) {
            (Data::List(all), Data::List(more)) => all.extend(more),
            (Data::Table(all), Data::Table(more)) => {
                for inner in more.entries {
                    match seen.entry((spec.name, inner.key.clone())) {
                        std::collections::hash_map::Entry::Vacant(vacant) => {
                            vacant.insert(inner.key_span);
                            all.entries.push(inner);
                        }
                        std::collections::hash_map::Entry::Occupied(first) => {
                            out.push(twice(spec.name, &spec.kind, &inner, *first.get()));
                        }
                    }
                }
            }
            // The shape is wrong, and that has been said.
            (_, _) => {}
        }
    }
    root
}

fn twice(table: &str, kind: &Kind, inner: &Entry<'_>, first: super::source::Span) -> Diagnostic {
    let name = &inner.key;
    let diagnostic = match kind {
        Kind::Named(_) => Diagnostic::error(
            Code::DuplicateName,
            inner.key_span,
            format!("two {table}s are called `{name}`"),
        )
        .help("give one of them another name"),
        _ => Diagnostic::error(
            Code::DuplicateKey,
            inner.key_span,
            format!("`{name}` of [{table}] is given in two files"),
        )
        .help("keep it in one of them"),
    };
    diagnostic.label("again here").related(first, "first here")
}
