//! `[[feed]]`: segments whose members stand in lists of their own, which an inventory writes.
//!
//! ```text
//! # web servers
//! 10.0.10.10
//! 10.0.10.32/28      # a network
//! 10.0.11.5-10.0.11.9
//! fd00:10::/64
//! mac:02:00:00:00:10:07
//! ```
//!
//! A list is read whole or not at all. Its last line must end: what does not was cut off while it was written.
//!
//! The files of a configuration say which lists there are, and their text is no part of it: `check`, `why` and `replay`
//! read them once, a gateway at work again and again ([`crate::feed`]).

use super::source::{SourceFile, Sources, Span};
use super::{Configuration, LoadError};
use crate::diagnostic::{Code, Diagnostic, Report};
use classifier::addr::{IpRange, Mac, Prefix};
use classifier::policy::{Member, PolicyBuilder, Selector};
use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest list, in bytes.
const LARGEST: u64 = 64 << 20;

/// One `[[feed]]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Feed {
    /// The name of the segment.
    pub segment: String,
    /// The list, as the file writes it: relative to the folder of the gateway file.
    pub file: PathBuf,
    /// Where `file` stands.
    pub span: Span,
}

/// The members that a list holds, in its order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List(pub Vec<Member>);

/// What is wrong with a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListError {
    /// It can't be read.
    Unreadable(String),
    /// It is empty, or its last line does not end.
    CutOff,
    /// A line is none.
    Line {
        /// Counts from 1.
        number: usize,
        /// The bytes of it.
        range: std::ops::Range<usize>,
        /// What stands there.
        text: String,
    },
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListError::Unreadable(why) => write!(f, "it can't be read: {why}"),
            ListError::CutOff => {
                f.write_str("it is cut off: a list ends in a newline, and an empty one has a comment")
            }
            ListError::Line { number, text, .. } => {
                write!(f, "line {number}: `{text}` is no address, network, FIRST-LAST or mac:MAC")
            }
        }
    }
}

impl std::error::Error for ListError {}

impl From<io::Error> for ListError {
    fn from(error: io::Error) -> ListError {
        ListError::Unreadable(match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => error.to_string(),
        })
    }
}

impl List {
    /// The list of that text.
    ///
    /// # Errors
    /// The first [`ListError`].
    pub fn parse(text: &str) -> Result<List, ListError> {
        if !text.ends_with('\n') {
            return Err(ListError::CutOff);
        }
        let mut members = Vec::new();
        let mut start = 0;
        for (at, line) in text.split_terminator('\n').enumerate() {
            let said = line.split('#').next().unwrap_or("").trim();
            if !said.is_empty() {
                let member = member(said).ok_or_else(|| ListError::Line {
                    number: at + 1,
                    range: start..start + line.len(),
                    text: said.chars().take(80).collect(),
                })?;
                members.push(member);
            }
            start += line.len() + 1;
        }
        Ok(List(members))
    }

    /// Reads a list.
    ///
    /// # Errors
    /// The first [`ListError`], with the text where it could be read.
    pub fn read(path: &Path) -> Result<(List, String), (ListError, String)> {
        let text = read(path).map_err(|error| (error, String::new()))?;
        match List::parse(&text) {
            Ok(list) => Ok((list, text)),
            Err(error) => Err((error, text)),
        }
    }
}

fn read(path: &Path) -> Result<String, ListError> {
    // Whoever has the folder could put a pipe there, which is never done.
    let mut file = std::fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut file, libc::O_NONBLOCK);
    let file = file.read(true).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ListError::Unreadable("it is no file".to_owned()));
    }
    if metadata.len() > LARGEST {
        return Err(ListError::Unreadable(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| ListError::Unreadable("it is not UTF-8".to_owned()))
}

/// What a line names.
fn member(text: &str) -> Option<Member> {
    if let Some(mac) = text.strip_prefix("mac:") {
        let mac: Mac = mac.trim().parse().ok()?;
        return Some(Member::Selector(Selector { macs: vec![mac], ..Selector::default() }));
    }
    let range = match text.split_once('-') {
        Some((first, last)) => {
            let (first, last): (IpAddr, IpAddr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            IpRange::between(first, last)?
        }
        // One can't tell whether the address or the network was meant.
        None => IpRange::from(text.parse::<Prefix>().ok().filter(|prefix| !prefix.has_host_bits())?),
    };
    Some(Member::Selector(Selector { addresses: vec![range], ..Selector::default() }))
}

/// Where the list of a feed is, for a gateway file of that path.
#[must_use]
pub fn list_path(gateway_file: &Path, feed: &Feed) -> PathBuf {
    gateway_file.parent().unwrap_or(Path::new("")).join(&feed.file)
}

/// The configuration with the lists of its feeds, in their order.
///
/// # Panics
/// Where there is not a list for each feed.
#[must_use]
pub fn with_lists<'a>(base: &Configuration, lists: impl IntoIterator<Item = &'a List>) -> Configuration {
    if base.feeds.is_empty() {
        return base.clone();
    }
    let policy = &base.policy;
    let mut segments = policy.segments().iter().cloned().collect::<Vec<_>>();
    let mut lists = lists.into_iter();
    for feed in &base.feeds {
        let list = lists.next().expect("a list for each feed");
        let segment = segments.iter_mut().find(|segment| segment.name == feed.segment);
        segment.expect("a feed names a segment that is there").members.extend_from_slice(&list.0);
    }
    let mut builder = PolicyBuilder::new(policy.tiers().to_vec(), policy.default(), policy.mode());
    for segment in segments {
        builder.segment(segment);
    }
    for rule in policy.rules() {
        builder.rule(rule.clone());
    }
    // Names are as unique and references as good as they were.
    let policy = builder.build().expect("members that are addresses or MACs spoil no policy");
    Configuration { policy: Arc::new(policy), ..base.clone() }
}

/// The configuration with its lists, each read now.
pub(super) fn with_lists_of(
    gateway_file: &Path,
    configuration: Configuration,
) -> Result<Configuration, LoadError> {
    if configuration.feeds.is_empty() {
        return Ok(configuration);
    }
    let mut sources: Sources = (**configuration.sources()).clone();
    let mut faults = Vec::new();
    let mut lists = Vec::new();
    for feed in &configuration.feeds {
        let path = list_path(gateway_file, feed);
        match List::read(&path) {
            Ok((list, _)) => lists.push(list),
            Err((error, text)) => faults.push(fault(feed, &path, &error, text, &mut sources)),
        }
    }
    if faults.is_empty() {
        return Ok(with_lists(&configuration, &lists));
    }
    let said = configuration.warnings.diagnostics().iter().cloned();
    Err(LoadError::Invalid(Report::new(Arc::new(sources), said.chain(faults).collect())))
}

fn fault(feed: &Feed, path: &Path, error: &ListError, text: String, sources: &mut Sources) -> Diagnostic {
    match error {
        ListError::Line { range, text: said, .. } => {
            let file = sources.add(SourceFile::new(path.to_owned(), text));
            let message = format!("`{said}` is no member of a feed");
            Diagnostic::error(Code::BrokenFeed, Span::new(file, range.clone()), message)
                .related(feed.span, "the feed is this one")
                .help("a line is an address, a network, FIRST-LAST, mac:MAC, or a comment behind #")
        }
        ListError::Unreadable(_) | ListError::CutOff => {
            let message = format!("the list {} can't be used: {error}", path.display());
            Diagnostic::error(Code::BrokenFeed, feed.span, message)
                .help("put the list there, whole: it is relative to the folder of the gateway file")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_is_read_whole_or_not_at_all() {
        let good = "# comment\n\n10.0.0.1\n 10.0.1.0/24 # more\r\n10.0.2.1-10.0.2.9\nfd00::/64\nmac:02:00:00:00:00:01\n";
        assert_eq!(List::parse(good).unwrap().0.len(), 5);
        assert_eq!(List::parse("# none\n").unwrap(), List::default());
        for cut in ["", "10.0.0.1", "10.0.0.1\n10.0.0", "# none"] {
            assert_eq!(List::parse(cut), Err(ListError::CutOff), "{cut:?}");
        }
        for wrong in [
            "web",
            "10.0.0.1/33",
            "10.0.0.9-10.0.0.1",
            "10.0.0.1-fd00::1",
            "mac:1",
            "any",
            "10.0.0.1 10.0.0.2",
            "10.0.0.1/24",
        ] {
            let text = format!("10.0.0.1\n{wrong}\n");
            let Err(ListError::Line { number: 2, range, .. }) = List::parse(&text) else {
                panic!("{wrong} is taken: {:?}", List::parse(&text))
            };
            assert_eq!(&text[range], wrong);
        }
    }

    proptest! {
        #[test]
        fn no_text_is_half_a_list(text in "([0-9a-f:./#-]{0,12}\n?){0,6}") {
            if let Ok(List(members)) = List::parse(&text) {
                let lines = text.lines().filter(|line| !line.split('#').next().unwrap().trim().is_empty());
                prop_assert_eq!(members.len(), lines.count());
            }
        }
    }
}
