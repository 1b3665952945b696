//! TOML as a tree of values, each with its place.
//!
//! The tree of the `toml` crate sorts keys by name; this one has them in the order in which they were written. Texts
//! are borrowed from the file wherever they mean what stands there.

use super::source::{FileId, Span};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Value<'t> {
    pub(crate) span: Span,
    pub(crate) data: Data<'t>,
}

/// What TOML knows.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Data<'t> {
    Text(Cow<'t, str>),
    Integer(Option<i64>),
    Float,
    Boolean(bool),
    /// As the file writes it, in the normal form of RFC 3339.
    Moment(Cow<'t, str>),
    List(Vec<Value<'t>>),
    Table(Table<'t>),
}

impl Data<'_> {
    /// What a message calls a value of this type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Data::Text(_) => "a string",
            Data::Integer(_) => "an integer",
            Data::Float => "a float",
            Data::Boolean(_) => "a boolean",
            Data::Moment(_) => "a date",
            Data::List(_) => "a list",
            Data::Table(_) => "a table",
        }
    }
}

/// Keys and values in the order of the file.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Table<'t> {
    pub(crate) entries: Vec<Entry<'t>>,
}

/// A key with its value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Entry<'t> {
    pub(crate) key: Cow<'t, str>,
    pub(crate) key_span: Span,
    pub(crate) value: Value<'t>,
}

impl<'t> Table<'t> {
    /// The entry of that key. Tables with many entries are walked, not searched.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry<'t>> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// A syntax error as the parser words it.
pub(crate) struct SyntaxError {
    pub(crate) message: String,
    pub(crate) span: Span,
}

/// The tree of a text, and all its syntax errors. The tree holds what could be saved.
pub(crate) fn parse(file: FileId, text: &str) -> (Table<'_>, Vec<SyntaxError>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let errors = errors
        .into_iter()
        .map(|error| SyntaxError {
            message: error.message().to_owned(),
            span: Span::new(file, error.span().unwrap_or(0..0)),
        })
        .collect();
    (own_table(file, table.get_ref()), errors)
}

fn own_table<'t>(file: FileId, table: &DeTable<'t>) -> Table<'t> {
    let mut entries: Vec<Entry<'t>> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().clone(),
            key_span: Span::new(file, key.span()),
            value: own_value(file, value.span(), value.get_ref()),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span);
    Table { entries }
}

fn own_value<'t>(file: FileId, range: std::ops::Range<usize>, value: &DeValue<'t>) -> Value<'t> {
    let data = match value {
        DeValue::String(text) => Data::Text(text.clone()),
        DeValue::Integer(number) => Data::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(_) => Data::Float,
        DeValue::Boolean(flag) => Data::Boolean(*flag),
        DeValue::Datetime(moment) => Data::Moment(Cow::Owned(moment.to_string())),
        DeValue::Array(list) => {
            Data::List(list.iter().map(|item| own_value(file, item.span(), item.get_ref())).collect())
        }
        DeValue::Table(table) => Data::Table(own_table(file, table)),
    };
    Value { span: Span::new(file, range), data }
}

/// The texts that trees borrow from: one can be added while others are borrowed.
#[derive(Default)]
pub(crate) struct Texts {
    text: OnceCell<Arc<str>>,
    next: OnceCell<Box<Texts>>,
}

impl Texts {
    /// Keeps a text behind the others.
    pub(crate) fn keep(&self, text: Arc<str>) -> &str {
        let mut last = self;
        while last.text.get().is_some() {
            last = last.next.get_or_init(Box::default);
        }
        last.text.get_or_init(|| text)
    }
}

impl Drop for Texts {
    /// One by one: a thousand files must not be a thousand calls deep.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut one) = next {
            next = one.next.take();
        }
    }
}
