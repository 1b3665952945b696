//! A parser of Prometheus' text format 0.0.4 that is as strict as its own tools, and a bit more: every family has
//! its HELP and TYPE before its samples, all in one place, and counters end in `_total`.

use std::collections::BTreeMap;

/// Labels, sorted by their names.
type Labels = BTreeMap<String, String>;

/// What was scraped.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    samples: BTreeMap<(String, Labels), f64>,
}

impl Scrape {
    pub(crate) fn parse(text: &str) -> Result<Scrape, String> {
        if !text.ends_with('\n') {
            return Err("the last line does not end".to_owned());
        }
        let mut scrape = Scrape::default();
        let mut families: Vec<(String, String)> = Vec::new();
        let mut helps: Vec<String> = Vec::new();
        for line in text.lines() {
            let wrong = |what: &str| format!("{what}: {line}");
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').ok_or(wrong("no help"))?;
                unescape(help, false).ok_or(wrong("an escape"))?;
                if helps.iter().any(|known| known == name) {
                    return Err(wrong("a second HELP"));
                }
                helps.push(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').ok_or(wrong("no type"))?;
                if !is_name(name, true) {
                    return Err(wrong("no name"));
                }
                if !matches!(kind, "counter" | "gauge") || (kind == "counter" && !name.ends_with("_total")) {
                    return Err(wrong("a kind that is not fit for the name"));
                }
                if families.iter().any(|(known, _)| known == name) {
                    return Err(wrong("a second TYPE"));
                }
                families.push((name.to_owned(), kind.to_owned()));
            } else {
                let (name, labels, value) = sample(line).ok_or(wrong("no sample"))?;
                let (family, kind) = families.last().ok_or(wrong("no TYPE before it"))?;
                if *family != name {
                    return Err(wrong("it is not in its family"));
                }
                if kind == "counter" && (value.is_nan() || value < 0.0) {
                    return Err(wrong("a counter below zero"));
                }
                if scrape.samples.insert((name, labels), value).is_some() {
                    return Err(wrong("a second sample"));
                }
            }
        }
        Ok(scrape)
    }

    /// The value of the sample with just these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }
}

fn is_name(text: &str, may_have_colon: bool) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (may_have_colon && b == b':');
    text.bytes().next().is_some_and(is_letter) && text.bytes().all(|b| is_letter(b) || b.is_ascii_digit())
}

fn unescape(text: &str, is_label: bool) -> Option<String> {
    let (mut plain, mut letters) = (String::new(), text.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.push(match letters.next()? {
                '\\' => '\\',
                'n' => '\n',
                '"' if is_label => '"',
                _ => return None,
            }),
            '"' if is_label => return None,
            other => plain.push(other),
        }
    }
    Some(plain)
}

fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(mut inner) = rest.strip_prefix('{') {
        loop {
            let (label, value) = inner.split_once("=\"")?;
            let mut is_escaped = false;
            let end = value.char_indices().find_map(|(at, letter)| {
                let ends = letter == '"' && !is_escaped;
                is_escaped = letter == '\\' && !is_escaped;
                ends.then_some(at)
            })?;
            let is_new = labels.insert(label.to_owned(), unescape(&value[..end], true)?).is_none();
            if !is_name(label, false) || label.starts_with("__") || !is_new {
                return None;
            }
            match value[end + 1..].split_at_checked(1)? {
                (",", more) => inner = more,
                ("}", more) => {
                    rest = more;
                    break;
                }
                _ => return None,
            }
        }
    }
    let value = rest.strip_prefix(' ')?;
    (is_name(name, true) && !value.contains(' ')).then_some(())?;
    Some((name.to_owned(), labels, value.parse().ok()?))
}
