//! Reading a table by its keys. A value of the wrong shape counts as absent: it has been reported.

use crate::config::keys::{Kind, ROOT, TableSpec};
use crate::config::source::Span;
use crate::config::tree::{Data, Entry, Table, Value};

/// A value and where it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

impl<T> Located<T> {
    pub(crate) fn new(value: T, span: Span) -> Self {
        Located { value, span }
    }
}

/// A text, or a table that may stand in its place.
#[derive(Clone, Copy)]
pub(crate) enum Item<'a> {
    Text(Located<&'a str>),
    Row(Row<'a>),
}

impl Item<'_> {
    pub(crate) fn span(&self) -> Span {
        match self {
            Item::Text(text) => text.span,
            Item::Row(row) => row.span,
        }
    }
}

/// A table, with what is known of its keys.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    table: &'a Table<'a>,
    spec: &'static TableSpec,
    /// Its header, or all of it where it is inline.
    pub(crate) span: Span,
}

impl<'a> Row<'a> {
    fn entry(&self, key: &'static str) -> Option<&'a Entry<'a>> {
        debug_assert!(self.spec.key(key).is_some(), "{} knows no `{key}`", self.spec.name);
        #[cfg(test)]
        record::read(self.spec.name, key);
        self.table.get(key)
    }

    fn kind(&self, key: &str) -> &'static Kind {
        &self.spec.key(key).unwrap_or_else(|| panic!("{} knows no `{key}`", self.spec.name)).kind
    }

    /// Whether the key is there, whatever it holds.
    pub(crate) fn has(&self, key: &'static str) -> bool {
        self.entry(key).is_some()
    }

    /// Where the key stands.
    pub(crate) fn key_span(&self, key: &'static str) -> Option<Span> {
        self.entry(key).map(|entry| entry.key_span)
    }

    /// A string.
    pub(crate) fn text(&self, key: &'static str) -> Option<Located<&'a str>> {
        text(&self.entry(key)?.value)
    }

    /// A string that is one of the key's choices; its index among them. The first where there is none.
    pub(crate) fn choice(&self, key: &'static str) -> &'static str {
        let entry = self.entry(key);
        let Kind::Choice(choices) = self.kind(key) else { panic!("`{key}` is no choice") };
        let word = entry.and_then(|entry| text(&entry.value));
        word.and_then(|word| choices.iter().find(|choice| **choice == word.value)).unwrap_or(&choices[0])
    }

    /// An integer within the key's range.
    pub(crate) fn integer(&self, key: &'static str) -> Option<Located<i64>> {
        let entry = self.entry(key)?;
        let Kind::Integer(least, most) = self.kind(key) else { panic!("`{key}` is no integer") };
        match entry.value.data {
            Data::Integer(Some(number)) if (*least..=*most).contains(&number) => {
                Some(Located::new(number, entry.value.span))
            }
            _ => None,
        }
    }

    /// An integer within the key's range, which fits into `T`.
    pub(crate) fn number<T: TryFrom<i64>>(&self, key: &'static str) -> Option<T> {
        T::try_from(self.integer(key)?.value).ok()
    }

    /// True or false; false where there is nothing.
    pub(crate) fn flag(&self, key: &'static str) -> bool {
        matches!(self.entry(key).map(|entry| &entry.value.data), Some(Data::Boolean(true)))
    }

    /// The value as it is, for keys that take several types.
    pub(crate) fn value(&self, key: &'static str) -> Option<&'a Value<'a>> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A list of strings; one string counts as a list of one.
    pub(crate) fn texts(&self, key: &'static str) -> Vec<Located<&'a str>> {
        self.values(key).iter().filter_map(text).collect()
    }

    /// A list of integers; one counts as a list of one.
    pub(crate) fn integers(&self, key: &'static str) -> Vec<Located<i64>> {
        let integer = |value: &Value<'_>| match value.data {
            Data::Integer(Some(number)) => Some(Located::new(number, value.span)),
            _ => None,
        };
        self.values(key).iter().filter_map(integer).collect()
    }

    /// A list of strings and tables.
    pub(crate) fn items(&self, key: &'static str) -> impl Iterator<Item = Item<'a>> + use<'a> {
        items(self.values(key), self.kind(key))
    }

    /// The table in the key.
    pub(crate) fn row(&self, key: &'static str) -> Option<Row<'a>> {
        let entry = self.entry(key)?;
        let Kind::Table(spec) = self.kind(key) else { panic!("`{key}` is no table") };
        row(&entry.value, spec)
    }

    /// Names and strings.
    pub(crate) fn pairs(&self, key: &'static str) -> Vec<(&'a Entry<'a>, &'a str)> {
        match self.entry(key).map(|entry| &entry.value.data) {
            Some(Data::Table(table)) => {
                table.entries.iter().filter_map(|entry| Some((entry, text(&entry.value)?.value))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn values(&self, key: &'static str) -> &'a [Value<'a>] {
        self.entry(key).map_or(&[], |entry| list(&entry.value))
    }
}

fn list<'a>(value: &'a Value<'a>) -> &'a [Value<'a>] {
    match &value.data {
        Data::List(list) => list,
        _ => std::slice::from_ref(value),
    }
}

fn text<'a>(value: &'a Value<'_>) -> Option<Located<&'a str>> {
    match &value.data {
        Data::Text(text) => Some(Located::new(&**text, value.span)),
        _ => None,
    }
}

fn row<'a>(value: &'a Value<'a>, spec: &'static TableSpec) -> Option<Row<'a>> {
    match &value.data {
        Data::Table(table) => Some(Row { table, spec, span: value.span }),
        _ => None,
    }
}

fn items<'a>(values: &'a [Value<'a>], kind: &'static Kind) -> impl Iterator<Item = Item<'a>> + use<'a> {
    let Kind::List(Kind::Either(_, spec)) = kind else { panic!("the key holds no items") };
    let item =
        move |value: &'a Value<'a>| text(value).map(Item::Text).or_else(|| row(value, spec).map(Item::Row));
    values.iter().filter_map(item)
}

/// An entry of `[segment.NAME]` or `[service]`.
pub(crate) struct Named<'a, T> {
    pub(crate) name: Located<&'a str>,
    pub(crate) value: T,
}

/// The merged files.
pub(crate) struct Document<'a> {
    root: &'a Table<'a>,
    empty: &'static Table<'static>,
}

static EMPTY: Table<'static> = Table { entries: Vec::new() };

impl<'a> Document<'a> {
    pub(crate) fn new(root: &'a Table<'a>) -> Self {
        Document { root, empty: &EMPTY }
    }

    fn kind(key: &'static str) -> &'static Kind {
        #[cfg(test)]
        record::read(ROOT.name, key);
        &ROOT.key(key).expect("the lowering asks for keys of the table").kind
    }

    /// The one table of that name; an empty one where the files have none.
    pub(crate) fn table(&self, key: &'static str) -> Row<'a>
    where
        'static: 'a,
    {
        let Kind::Table(spec) = Self::kind(key) else { panic!("`{key}` is no table") };
        let found = self.root.get(key).and_then(|entry| row(&entry.value, spec));
        let nowhere = Span::new(crate::config::source::FileId(0), 0..0);
        found.unwrap_or(Row { table: self.empty, spec, span: nowhere })
    }

    /// The tables of that name, in the order of the files.
    pub(crate) fn rows(&self, key: &'static str) -> Vec<Row<'a>> {
        let Kind::Tables(spec) = Self::kind(key) else { panic!("`{key}` is no list of tables") };
        match self.root.get(key).map(|entry| &entry.value.data) {
            Some(Data::List(list)) => list.iter().filter_map(|value| row(value, spec)).collect(),
            _ => Vec::new(),
        }
    }

    fn entries(&self, key: &'static str) -> &'a [Entry<'a>] {
        match self.root.get(key).map(|entry| &entry.value.data) {
            Some(Data::Table(table)) => &table.entries,
            _ => &[],
        }
    }

    /// `[key.NAME]`, in the order of the files.
    pub(crate) fn named_rows(&self, key: &'static str) -> Vec<Named<'a, Row<'a>>> {
        let Kind::Named(Kind::Table(spec)) = Self::kind(key) else { panic!("`{key}` has no named tables") };
        let named = |entry: &'a Entry<'a>| {
            let name = Located::new(&*entry.key, entry.key_span);
            Some(Named { name, value: row(&entry.value, spec)? })
        };
        self.entries(key).iter().filter_map(named).collect()
    }

    /// `NAME = [items]`, in the order of the files.
    pub(crate) fn named_items(&self, key: &'static str) -> Vec<Named<'a, (Span, Vec<Item<'a>>)>> {
        let Kind::Named(kind) = Self::kind(key) else { panic!("`{key}` has no named lists") };
        let named = |entry: &'a Entry<'a>| {
            let name = Located::new(&*entry.key, entry.key_span);
            Named { name, value: (entry.value.span, items(list(&entry.value), kind).collect()) }
        };
        self.entries(key).iter().map(named).collect()
    }
}

/// Which keys the lowering has asked for: the tests compare it with what the schema knows.
#[cfg(test)]
pub(crate) mod record {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static READ: RefCell<BTreeSet<(&'static str, &'static str)>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(crate) fn read(table: &'static str, key: &'static str) {
        READ.with_borrow_mut(|read| read.insert((table, key)));
    }

    pub(crate) fn all() -> BTreeSet<(&'static str, &'static str)> {
        READ.with_borrow(Clone::clone)
    }
}
