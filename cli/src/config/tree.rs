//! TOML as a tree of owned values, each with its place.
//!
//! The tree of the `toml` crate borrows from the text and sorts keys by name; this one does neither, so
//! that a configuration of several files can be handled as one, in the order in which it was written.

use super::source::{FileId, Span};
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) span: Span,
    pub(crate) data: Data,
}

/// What TOML knows.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Text(String),
    Integer(Option<i64>),
    Float,
    Boolean(bool),
    /// As the file writes it, in the normal form of RFC 3339.
    Moment(String),
    List(Vec<Value>),
    Table(Table),
}

impl Data {
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
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Value,
}

impl Table {
    /// The entry of that key. Tables with many entries are walked, not searched.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// A syntax error as the parser words it.
pub(crate) struct SyntaxError {
    pub(crate) message: String,
    pub(crate) span: Span,
}

/// The tree of a text, and all its syntax errors. The tree holds what could be saved.
pub(crate) fn parse(file: FileId, text: &str) -> (Table, Vec<SyntaxError>) {
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

fn own_table(file: FileId, table: &DeTable<'_>) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_span: Span::new(file, key.span()),
            value: own_value(file, value.span(), value.get_ref()),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span);
    Table { entries }
}

fn own_value(file: FileId, range: std::ops::Range<usize>, value: &DeValue<'_>) -> Value {
    let data = match value {
        DeValue::String(text) => Data::Text(text.to_string()),
        DeValue::Integer(number) => Data::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(_) => Data::Float,
        DeValue::Boolean(flag) => Data::Boolean(*flag),
        DeValue::Datetime(moment) => Data::Moment(moment.to_string()),
        DeValue::Array(list) => {
            Data::List(list.iter().map(|item| own_value(file, item.span(), item.get_ref())).collect())
        }
        DeValue::Table(table) => Data::Table(own_table(file, table)),
    };
    Value { span: Span::new(file, range), data }
}
