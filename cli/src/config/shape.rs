//! The first pass: keys, types, choices and ranges of integers, straight from the table of [`super::keys`].
//!
//! What passes here has the right shape; what it means is the lowering's business. The lowering reads with
//! the same table, and takes what has the wrong shape for absent.

#[cfg(test)]
use super::keys::KeySpec;
use super::keys::{Kind, ROOT, TableSpec};
use super::near::{nearest, one_of};
use super::source::Span;
use super::tree::{Data, Table, Value};
use crate::diagnostic::{Code, Diagnostic};

/// Checks the file's tree; `header` is where a missing key of the top level is reported.
pub(crate) fn check(root: &Table<'_>, out: &mut Vec<Diagnostic>) {
    // The place is never used: the top level has no key that must be there.
    let start = root.entries.first().map(|entry| entry.key_span);
    if let Some(start) = start {
        table(root, &ROOT, start, &mut Vec::new(), out);
    }
}

fn table(
    table: &Table<'_>,
    spec: &'static TableSpec,
    header: Span,
    outer: &mut Vec<&'static TableSpec>,
    out: &mut Vec<Diagnostic>,
) {
    for entry in &table.entries {
        match spec.key(&entry.key) {
            Some(key) => {
                outer.push(spec);
                value(&entry.value, &key.kind, key.name, outer, out);
                outer.pop();
            }
            None => out.push(unknown_key(&entry.key, entry.key_span, spec, outer)),
        }
    }
    for key in spec.keys.iter().filter(|key| key.is_required && table.get(key.name).is_none()) {
        out.push(
            Diagnostic::error(Code::MissingKey, header, format!("{} has no `{}`", spec.name, key.name))
                .help(format!("add `{} = {}`: {}", key.name, example(&key.kind), lower_first(key.doc))),
        );
    }
}

fn value(
    value: &Value<'_>,
    kind: &'static Kind,
    name: &str,
    outer: &mut Vec<&'static TableSpec>,
    out: &mut Vec<Diagnostic>,
) {
    match (kind, &value.data) {
        (Kind::Text(_) | Kind::Either(..), Data::Text(_))
        | (Kind::Boolean, Data::Boolean(_))
        | (Kind::Moment, Data::Moment(_))
        | (Kind::Duration | Kind::Ports, Data::Integer(Some(_)) | Data::Text(_)) => {}
        (Kind::Integer(least, most), Data::Integer(number)) => {
            if !number.is_some_and(|number| (*least..=*most).contains(&number)) {
                out.push(
                    Diagnostic::error(Code::OutOfRange, value.span, format!("`{name}` is out of range"))
                        .help(format!("write a number from {least} to {most}")),
                );
            }
        }
        (Kind::Choice(choices), Data::Text(word)) => {
            if !choices.contains(&&**word) {
                out.push(
                    Diagnostic::error(Code::BadChoice, value.span, format!("`{name}` can't be `{word}`"))
                        .help(one_of(word, choices)),
                );
            }
        }
        (Kind::List(item), Data::List(list)) => {
            for each in list {
                self::value(each, item, name, outer, out);
            }
        }
        (Kind::List(item), _) => self::value(value, item, name, outer, out),
        (Kind::Table(spec) | Kind::Either(_, spec), Data::Table(inner)) => {
            table(inner, spec, value.span, outer, out);
        }
        (Kind::Tables(spec), Data::List(list)) => {
            for each in list {
                match &each.data {
                    Data::Table(inner) => table(inner, spec, each.span, outer, out),
                    Data::Text(_)
                    | Data::Integer(_)
                    | Data::Float
                    | Data::Boolean(_)
                    | Data::Moment(_)
                    | Data::List(_) => out.push(wrong_type(each, kind, name)),
                }
            }
        }
        (Kind::Named(kind), Data::Table(inner)) => {
            for entry in &inner.entries {
                self::value(&entry.value, kind, &entry.key, outer, out);
            }
        }
        (
            Kind::Text(_)
            | Kind::Integer(..)
            | Kind::Boolean
            | Kind::Moment
            | Kind::Duration
            | Kind::Ports
            | Kind::Choice(_)
            | Kind::Either(..)
            | Kind::Table(_)
            | Kind::Tables(_)
            | Kind::Named(_),
            _found,
        ) => out.push(wrong_type(value, kind, name)),
    }
}

fn wrong_type(value: &Value<'_>, kind: &Kind, name: &str) -> Diagnostic {
    let found = value.data.type_name();
    let wanted = wanted(kind);
    let diagnostic = Diagnostic::error(
        Code::WrongType,
        value.span,
        format!("`{name}` must be {wanted}, and this is {found}"),
    );
    match (kind, &value.data) {
        (Kind::Tables(_), Data::Table(_)) => {
            diagnostic.help(format!("write `[[{name}]]`, once for each {name}"))
        }
        (Kind::Table(_), Data::List(_)) => diagnostic.help(format!("write `[{name}]`, once")),
        (Kind::Moment, _) => diagnostic.help("write it without quotes, as in 2027-01-31T00:00:00Z"),
        (kind, _) => diagnostic.help(format!("write `{name} = {}`", example(kind))),
    }
}

fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text(_) | Kind::Choice(_) => "a string",
        Kind::Integer(..) => "an integer",
        Kind::Boolean => "true or false",
        Kind::Moment => "a date with time and offset",
        Kind::Duration => "seconds or a string such as \"1h30m\"",
        Kind::Ports => "a port or a string such as \"1024-65535\"",
        Kind::List(_) => "a list",
        Kind::Either(..) => "a string or a table",
        Kind::Table(_) | Kind::Named(_) => "a table",
        Kind::Tables(_) => "a list of tables",
    }
}

/// A value of the kind, as one would write it.
fn example(kind: &Kind) -> String {
    match kind {
        Kind::Text(_) => "\"…\"".to_owned(),
        Kind::Integer(least, _) => (*least).max(1).to_string(),
        Kind::Boolean => "true".to_owned(),
        Kind::Moment => "2027-01-31T00:00:00Z".to_owned(),
        Kind::Duration => "\"30s\"".to_owned(),
        Kind::Ports => "\"1024-65535\"".to_owned(),
        Kind::Choice(choices) => format!("\"{}\"", choices[0]),
        Kind::List(kind) => format!("[{}]", example(kind)),
        Kind::Either(..) => "\"…\"".to_owned(),
        Kind::Table(_) | Kind::Named(_) => "{ … }".to_owned(),
        Kind::Tables(_) => "[{ … }]".to_owned(),
    }
}

fn lower_first(doc: &str) -> String {
    let mut text = doc.trim_end_matches('.').to_owned();
    let second = text.chars().nth(1);
    if second.is_some_and(|c| !c.is_uppercase())
        && let Some(first) = text.get_mut(0..1)
    {
        first.make_ascii_lowercase();
    }
    text
}

fn unknown_key(name: &str, span: Span, spec: &'static TableSpec, outer: &[&'static TableSpec]) -> Diagnostic {
    let place = if outer.is_empty() { "at the top level".to_owned() } else { format!("in {}", spec.name) };
    let diagnostic = Diagnostic::error(Code::UnknownKey, span, format!("`{name}` is not a key {place}"));
    let names = || spec.keys.iter().map(|key| key.name);
    if let Some(near) = nearest(name, names()) {
        return diagnostic.help(format!("did you mean `{near}`?"));
    }
    if let Some(owner) = outer.iter().rev().find(|outer| outer.key(name).is_some()) {
        let to = if std::ptr::eq(*owner, &raw const ROOT) {
            "above the first table header".to_owned()
        } else {
            format!("among the keys of {}", owner.name)
        };
        return diagnostic
            .remark(format!(
                "a bare key behind a table header lands in that table: this one is in {}",
                spec.name
            ))
            .help(format!("`{name}` is a key of {}: put it {to}", owner.name));
    }
    if let Some(owner) = table_with(name) {
        return diagnostic.help(format!("`{name}` is a key of {}: put it there", owner.name));
    }
    let known: Vec<String> = names().map(|name| format!("`{name}`")).collect();
    diagnostic.help(format!("the keys {place} are {}", known.join(", ")))
}

/// The `[table]` of the top level that knows the key.
fn table_with(name: &str) -> Option<&'static TableSpec> {
    ROOT.keys.iter().find_map(|key| match key.kind {
        Kind::Table(spec) if spec.key(name).is_some() => Some(spec),
        Kind::Text(_)
        | Kind::Integer(..)
        | Kind::Boolean
        | Kind::Moment
        | Kind::Duration
        | Kind::Ports
        | Kind::Choice(_)
        | Kind::List(_)
        | Kind::Either(..)
        | Kind::Table(_)
        | Kind::Tables(_)
        | Kind::Named(_) => None,
    })
}

/// Every key of every table, for the tests that keep the lowering and the schema in step.
#[cfg(test)]
pub(crate) fn every_key() -> Vec<(&'static TableSpec, &'static KeySpec)> {
    fn visit(spec: &'static TableSpec, all: &mut Vec<(&'static TableSpec, &'static KeySpec)>) {
        for key in spec.keys {
            if all.iter().any(|(s, k)| std::ptr::eq(*s, spec) && k.name == key.name) {
                return;
            }
            all.push((spec, key));
            inside(&key.kind, all);
        }
    }
    fn inside(kind: &'static Kind, all: &mut Vec<(&'static TableSpec, &'static KeySpec)>) {
        match kind {
            Kind::Table(spec) | Kind::Tables(spec) | Kind::Either(_, spec) => visit(spec, all),
            Kind::List(kind) | Kind::Named(kind) => inside(kind, all),
            Kind::Text(_)
            | Kind::Integer(..)
            | Kind::Boolean
            | Kind::Moment
            | Kind::Duration
            | Kind::Ports
            | Kind::Choice(_) => {}
        }
    }
    let mut all = Vec::new();
    visit(&ROOT, &mut all);
    all
}
