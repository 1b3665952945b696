//! TOML as configurations are mostly written, read in one pass over the bytes.
//!
//! A policy of ten thousand rules is a megabyte, and it may change ten times a second: what the `toml` crate does to
//! find every fault and its place costs some twenty times as much as what is here. So this reader takes what it knows
//! — tables one or two names deep, plain keys, the usual values — and gives up on all else: dotted keys, rare
//! escapes, floats, keys that come twice, and whatever is no TOML at all. Then the `toml` crate reads the text, and
//! says what is wrong with it.
//!
//! What is taken here is exactly what the `toml` crate would have read, places included: a test holds them together.

use super::source::{FileId, Span};
use super::tree::{Data, Entry, Table, Value};
use std::borrow::Cow;
use std::collections::HashSet;

/// Lists and tables within each other that are followed.
const DEPTH: usize = 8;
/// Keys that are compared each with each; of more, a set is made.
const FEW: usize = 16;
/// The longest integer that surely fits.
const DIGITS: usize = 18;

/// The tree of a text, or nothing where the text is not as this reader knows it.
pub(super) fn parse(file: FileId, text: &str) -> Option<Table<'_>> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, file };
    let mut root = Root::default();
    let mut header = Header::Top;
    let mut table = Table::default();
    loop {
        reader.skip_blanks();
        match reader.peek() {
            None => break,
            Some(b'[') => {
                // The next is most often one of the same kind.
                let like_it = Table { entries: Vec::with_capacity(table.entries.len().min(FEW)) };
                root.add(header, std::mem::replace(&mut table, like_it))?;
                header = reader.header()?;
                reader.end_of_line()?;
            }
            Some(b'\n' | b'\r' | b'#') => reader.end_of_line()?,
            Some(_) => {
                table.entries.push(reader.entry(0)?);
                reader.skip_blanks();
                reader.end_of_line()?;
            }
        }
    }
    root.add(header, table)?;
    root.finish()
}

/// What the keys behind it belong to.
enum Header<'t> {
    /// No header: the top level.
    Top,
    /// `[name]`.
    Table(Key<'t>, Span),
    /// `[outer.name]`.
    Inner(Key<'t>, Key<'t>, Span),
    /// `[[name]]`.
    OneOf(Key<'t>, Span),
}

type Key<'t> = (&'t str, Span);

/// How a key of the top level came to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// `key = value`: nothing can be added to it.
    Key,
    /// `[name]`, or `[name.inner]`.
    Header,
    /// `[[name]]`.
    List,
}

/// The top level in the making.
#[derive(Default)]
struct Root<'t> {
    table: Table<'t>,
    /// One for each entry.
    origins: Vec<Origin>,
}

impl<'t> Root<'t> {
    /// Adds what stands below a header.
    fn add(&mut self, header: Header<'t>, table: Table<'t>) -> Option<()> {
        if has_twice(&table) {
            return None;
        }
        match header {
            Header::Top => {
                self.origins = vec![Origin::Key; table.entries.len()];
                self.table = table;
            }
            Header::Table(key, span) => match self.find(key.0) {
                Some(_) => return None,
                None => self.push(key, Value { span, data: Data::Table(table) }, Origin::Header),
            },
            Header::Inner(outer, key, span) => {
                let at = self.find(outer.0).unwrap_or_else(|| {
                    let empty = Value { span: outer.1, data: Data::Table(Table::default()) };
                    self.push(outer, empty, Origin::Header);
                    self.origins.len() - 1
                });
                let (Data::Table(outer), Origin::Header) =
                    (&mut self.table.entries[at].value.data, self.origins[at])
                else {
                    return None;
                };
                outer.entries.push(entry(key, Value { span, data: Data::Table(table) }));
            }
            Header::OneOf(key, span) => {
                let at = self.find(key.0).unwrap_or_else(|| {
                    self.push(key, Value { span, data: Data::List(Vec::new()) }, Origin::List);
                    self.origins.len() - 1
                });
                let (Data::List(list), Origin::List) =
                    (&mut self.table.entries[at].value.data, self.origins[at])
                else {
                    return None;
                };
                list.push(Value { span, data: Data::Table(table) });
            }
        }
        Some(())
    }

    fn find(&self, key: &str) -> Option<usize> {
        self.table.entries.iter().position(|entry| entry.key == key)
    }

    fn push(&mut self, key: Key<'t>, value: Value<'t>, origin: Origin) {
        self.table.entries.push(entry(key, value));
        self.origins.push(origin);
    }

    fn finish(self) -> Option<Table<'t>> {
        // Tables that grew by headers were not looked at as a whole.
        let is_twofold =
            |entry: &Entry<'_>| matches!(&entry.value.data, Data::Table(table) if has_twice(table));
        (!self.table.entries.iter().any(is_twofold)).then_some(self.table)
    }
}

fn entry<'t>((key, key_span): Key<'t>, value: Value<'t>) -> Entry<'t> {
    Entry { key: Cow::Borrowed(key), key_span, value }
}

/// Whether a key comes more than once.
fn has_twice(table: &Table<'_>) -> bool {
    let entries = &table.entries;
    if entries.len() <= FEW {
        return entries
            .iter()
            .enumerate()
            .any(|(at, entry)| entries[..at].iter().any(|other| other.key == entry.key));
    }
    let mut seen = HashSet::with_capacity(entries.len());
    !entries.iter().all(|entry| seen.insert(&*entry.key))
}

/// What no string and no comment holds.
const CONTROL: u8 = 1;
/// What ends a string in double quotes, or the plain part of one.
const QUOTE: u8 = 2;
/// What ends a string in single quotes.
const APOSTROPHE: u8 = 4;
/// What is part of a key without quotes.
const BARE: u8 = 8;

/// What each byte is.
static KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let it = byte as u8;
        if (it < 0x20 && it != b'\t') || it == 0x7f {
            kinds[byte] = CONTROL | QUOTE | APOSTROPHE;
        } else if it == b'"' || it == b'\\' {
            kinds[byte] = QUOTE;
        } else if it == b'\'' {
            kinds[byte] = APOSTROPHE;
        } else if it.is_ascii_alphanumeric() || it == b'_' || it == b'-' {
            kinds[byte] = BARE;
        }
        byte += 1;
    }
    kinds
};

fn is_of(kind: u8) -> impl Fn(u8) -> bool {
    move |byte| KINDS[usize::from(byte)] & kind != 0
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    file: FileId,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn takes(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn span_from(&self, start: usize) -> Span {
        Span::new(self.file, start..self.at)
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// The first byte from here on that is as wanted.
    fn find(&self, is_wanted: impl Fn(u8) -> bool) -> Option<usize> {
        self.bytes[self.at..].iter().position(|byte| is_wanted(*byte)).map(|offset| self.at + offset)
    }

    /// A comment, where there is one, and the end of the line or of the text.
    fn end_of_line(&mut self) -> Option<()> {
        self.skip_blanks();
        if self.peek() == Some(b'#') {
            self.at = self.find(is_of(CONTROL)).unwrap_or(self.bytes.len());
        }
        match self.peek() {
            None => Some(()),
            Some(b'\r') => {
                self.at += 1;
                self.takes(b'\n')
            }
            Some(_) => self.takes(b'\n'),
        }
    }

    /// Blanks, comments and newlines.
    fn skip_lines(&mut self) -> Option<()> {
        loop {
            self.skip_blanks();
            match self.peek() {
                Some(b'\n' | b'\r' | b'#') => self.end_of_line()?,
                _ => return Some(()),
            }
        }
    }

    fn header(&mut self) -> Option<Header<'t>> {
        let start = self.at;
        self.takes(b'[')?;
        let is_list = self.takes(b'[').is_some();
        self.skip_blanks();
        let first = self.key()?;
        self.skip_blanks();
        if is_list {
            self.takes(b']')?;
            self.takes(b']')?;
            return Some(Header::OneOf(first, self.span_from(start)));
        }
        let second = match self.takes(b'.') {
            Some(()) => {
                self.skip_blanks();
                let second = self.key()?;
                self.skip_blanks();
                Some(second)
            }
            None => None,
        };
        self.takes(b']')?;
        let span = self.span_from(start);
        Some(match second {
            Some(second) => Header::Inner(first, second, span),
            None => Header::Table(first, span),
        })
    }

    /// A bare key, or one in quotes that means what stands there.
    fn key(&mut self) -> Option<Key<'t>> {
        let start = self.at;
        let key = match self.peek()? {
            quote @ (b'"' | b'\'') => {
                self.at += 1;
                let end = self.find(is_of(if quote == b'"' { QUOTE } else { APOSTROPHE }))?;
                let key = &self.text[self.at..end];
                self.at = end;
                self.takes(quote)?;
                key
            }
            _ => {
                let is_bare = is_of(BARE);
                self.at = self.find(|byte| !is_bare(byte)).unwrap_or(self.bytes.len());
                &self.text[start..self.at]
            }
        };
        let span = self.span_from(start);
        (self.at > start).then_some((key, span))
    }

    /// `key = value`.
    fn entry(&mut self, depth: usize) -> Option<Entry<'t>> {
        let key = self.key()?;
        self.skip_blanks();
        self.takes(b'=')?;
        self.skip_blanks();
        Some(entry(key, self.value(depth)?))
    }

    fn value(&mut self, depth: usize) -> Option<Value<'t>> {
        let start = self.at;
        let data = match self.peek()? {
            b'"' => Data::Text(self.string(b'"')?),
            b'\'' => Data::Text(self.string(b'\'')?),
            b'[' => Data::List(self.list(depth + 1)?),
            b'{' => Data::Table(self.table(depth + 1)?),
            _ => self.word()?,
        };
        Some(Value { span: self.span_from(start), data })
    }

    /// A string; the reader stands before its first quote.
    fn string(&mut self, quote: u8) -> Option<Cow<'t, str>> {
        let rest = &self.text[self.at..];
        for (mark, other) in [("\"\"\"", b'"'), ("'''", b'\'')] {
            if quote == other && rest.starts_with(mark) {
                return self.lines(mark);
            }
        }
        self.at += 1;
        let start = self.at;
        let is_basic = quote == b'"';
        let end = if is_basic { self.find(is_of(QUOTE)) } else { self.find(is_of(APOSTROPHE)) }?;
        self.at = end;
        if is_basic && self.peek() == Some(b'\\') {
            return self.escaped(start);
        }
        self.takes(quote)?;
        Some(Cow::Borrowed(&self.text[start..end]))
    }

    /// A string with escapes, from its first byte; the reader stands at the first escape.
    fn escaped(&mut self, start: usize) -> Option<Cow<'t, str>> {
        let mut all = self.text[start..self.at].to_owned();
        while self.takes(b'\\').is_some() {
            all.push(match self.peek()? {
                b'"' => '"',
                b'\\' => '\\',
                b'n' => '\n',
                b't' => '\t',
                _ => return None,
            });
            self.at += 1;
            let end = self.find(is_of(QUOTE))?;
            all.push_str(&self.text[self.at..end]);
            self.at = end;
        }
        self.takes(b'"')?;
        Some(Cow::Owned(all))
    }

    /// A string of several lines between these marks.
    fn lines(&mut self, mark: &str) -> Option<Cow<'t, str>> {
        self.at += mark.len();
        if self.peek() == Some(b'\n') {
            self.at += 1;
        }
        let end = self.at + self.text[self.at..].find(mark)?;
        let text = &self.text[self.at..end];
        self.at = end + mark.len();
        let is_plain = |byte: u8| byte == b'\n' || !(is_of(CONTROL)(byte) || byte == b'\\');
        // Up to two more quotes would belong to the text.
        let is_over = self.peek() != Some(mark.as_bytes()[0]);
        (is_over && text.bytes().all(is_plain)).then_some(Cow::Borrowed(text))
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Value<'t>>> {
        self.takes(b'[').filter(|()| depth <= DEPTH)?;
        let mut all = Vec::new();
        loop {
            self.skip_lines()?;
            if self.takes(b']').is_some() {
                return Some(all);
            }
            let value = self.value(depth)?;
            // Most lists have one item, and room for no more.
            if all.is_empty() {
                all = vec![value]
            } else {
                all.push(value)
            }
            self.skip_lines()?;
            if self.takes(b',').is_none() {
                self.takes(b']')?;
                return Some(all);
            }
        }
    }

    /// A table on one line.
    fn table(&mut self, depth: usize) -> Option<Table<'t>> {
        self.takes(b'{').filter(|()| depth <= DEPTH)?;
        let mut table = Table::default();
        self.skip_blanks();
        if self.takes(b'}').is_some() {
            return Some(table);
        }
        loop {
            self.skip_blanks();
            table.entries.push(self.entry(depth)?);
            self.skip_blanks();
            if self.takes(b',').is_none() {
                self.takes(b'}')?;
                return (!has_twice(&table)).then_some(table);
            }
        }
    }

    /// `true`, `false`, an integer without a sign, or a moment in UTC.
    fn word(&mut self) -> Option<Data<'t>> {
        let is_end = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b']' | b'}' | b'#');
        let end = self.find(is_end).unwrap_or(self.bytes.len());
        let word = &self.text[self.at..end];
        self.at = end;
        match word {
            "true" => return Some(Data::Boolean(true)),
            "false" => return Some(Data::Boolean(false)),
            _ => {}
        }
        if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_digit()) {
            return is_moment(word).then_some(Data::Moment(Cow::Borrowed(word)));
        }
        let is_normal = word.len() <= DIGITS && (word == "0" || !word.starts_with('0'));
        is_normal.then(|| Data::Integer(word.parse().ok()))
    }
}

/// Whether this is a moment as in `2027-01-31T00:00:00Z`, which is the normal form of RFC 3339.
fn is_moment(word: &str) -> bool {
    const FORM: &[u8; 20] = b"dddd-dd-ddTdd:dd:ddZ";
    let fits = |(byte, form): (u8, &u8)| if *form == b'd' { byte.is_ascii_digit() } else { byte == *form };
    if word.len() != FORM.len() || !word.bytes().zip(FORM).all(fits) {
        return false;
    }
    let number = |range: std::ops::Range<usize>| word[range].parse::<u32>().unwrap_or(u32::MAX);
    // The 29th of February is for who knows the leap years.
    let days = match number(5..7) {
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&number(8..10)) && number(11..13) < 24 && number(14..16) < 60 && number(17..19) < 60
}

#[cfg(test)]
mod tests;
