//! The lists of `[[feed]]`s in a gateway at work.
//!
//! A list that changes is put into force whole, and its flows are judged again. One that is broken changes nothing:
//! what it held before stays in force and is told of, also over a restart, for which the last good text of each list
//! is kept in `feeds/` of the state folder.

mod watcher;

use crate::config::Configuration;
use crate::config::bundle::hex;
use crate::config::feed::{Feed, List, list_path, with_lists};
use crate::run::{Notice, replace_file};
use classifier::policy::Member;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use watcher::Watcher;

/// Where lists are, and where their last good text is kept.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// The gateway file: lists are relative to its folder.
    pub gateway_file: PathBuf,
    /// The state folder, if there is one.
    pub state: Option<PathBuf>,
}

/// A feed, and what is in force of it.
#[derive(Clone, Debug)]
pub struct Fed {
    feed: Feed,
    path: PathBuf,
    list: Arc<List>,
    /// Why the list on the disk is not the one in force.
    error: Option<String>,
    /// When the list came into force, as RFC 3339 in UTC.
    since: String,
}

impl Shelf {
    /// A shelf for a gateway file and a state folder.
    #[must_use]
    pub fn new(gateway_file: &Path, state: Option<&Path>) -> Shelf {
        Shelf { gateway_file: gateway_file.to_owned(), state: state.map(Path::to_owned) }
    }

    fn kept(&self, feed: &Feed) -> Option<PathBuf> {
        let name = format!("{}\n{}", feed.segment, feed.file.display());
        let name = &hex(&Sha256::digest(name))[..32];
        Some(self.state.as_ref()?.join("feeds").join(format!("{name}.list")))
    }

    fn keep(&self, feed: &Feed, text: &str) -> io::Result<()> {
        let Some(path) = self.kept(feed) else { return Ok(()) };
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        replace_file(&path, text.as_bytes())
    }

    /// The lists of a configuration's feeds as they are on the disk now, or else as they were when they were good last,
    /// or else empty.
    #[must_use]
    pub fn read(&self, configuration: &Configuration) -> Vec<Fed> {
        configuration.feeds.iter().map(|feed| self.read_one(feed)).collect()
    }

    fn read_one(&self, feed: &Feed) -> Fed {
        let path = list_path(&self.gateway_file, feed);
        let (list, error) = match List::read(&path) {
            Ok((list, text)) => {
                // Without it a restart has what is on the disk then, or nothing.
                let _ = self.keep(feed, &text);
                (list, None)
            }
            Err((error, _)) => {
                let kept = self.kept(feed).and_then(|path| List::read(&path).ok());
                let (list, had) = match kept {
                    Some((list, _)) => (list, "what it held when it was good last is in force"),
                    None => (List::default(), "none of its members is in force"),
                };
                (list, Some(format!("{error}; {had}")))
            }
        };
        Fed {
            feed: feed.clone(),
            path,
            list: Arc::new(list),
            error,
            since: jiff::Timestamp::now().to_string(),
        }
    }
}

impl Fed {
    /// The list in force.
    #[must_use]
    pub fn list(&self) -> &List {
        &self.list
    }

    /// Its feed.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Why the list on the disk is not in force.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// What is to be told of it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "segment": self.feed.segment,
            "file": self.path,
            "members": self.list.0.len(),
            "since": self.since,
            "error": self.error,
        })
    }

    fn notice(&self) -> Notice {
        let Feed { segment, .. } = &self.feed;
        let path = self.path.display();
        match &self.error {
            Some(error) => Notice::new(
                "feed-broken",
                format!("error: the feed of {segment}, {path}: {error}"),
                json!({ "segment": segment, "file": self.path, "why": error }),
            ),
            None => Notice::new(
                "feed",
                format!("the feed of {segment}, {path}: {} members are in force", self.list.0.len()),
                json!({ "segment": segment, "file": self.path, "members": self.list.0.len() }),
            ),
        }
    }
}

/// A list that has come, and what it replaces.
#[derive(Debug)]
pub struct Change {
    text: String,
    /// A feed's number, and what was in force of it. Several may have the same list.
    before: Vec<(usize, Fed)>,
}

/// The feeds in force.
#[derive(Debug)]
pub struct Feeds {
    shelf: Shelf,
    fed: Vec<Fed>,
    watcher: Option<Watcher>,
}

impl Feeds {
    /// None yet.
    #[must_use]
    pub fn new(shelf: Shelf) -> Feeds {
        Feeds { shelf, fed: Vec::new(), watcher: None }
    }

    /// Where the lists are.
    #[must_use]
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// The feeds of a configuration that is about to be put into force: those that there are already stay as they
    /// are, others are read. What was before is given back, for [`Feeds::go_back`].
    pub fn adopt(&mut self, configuration: &Configuration) -> Vec<Fed> {
        let is_same =
            |fed: &&Fed, feed: &Feed| (&fed.feed.segment, &fed.feed.file) == (&feed.segment, &feed.file);
        let adopted = configuration.feeds.iter().map(|feed| {
            let known = self.fed.iter().find(|fed| is_same(fed, feed));
            known.cloned().unwrap_or_else(|| self.shelf.read_one(feed))
        });
        let adopted = adopted.collect();
        self.go_back(adopted)
    }

    /// Puts these feeds in the place of those that there are, which are given back.
    pub fn go_back(&mut self, fed: Vec<Fed>) -> Vec<Fed> {
        let before = std::mem::replace(&mut self.fed, fed);
        let paths: Vec<PathBuf> = self.fed.iter().map(|fed| fed.path.clone()).collect();
        match &self.watcher {
            Some(watcher) => watcher.watch(paths),
            None if paths.is_empty() => {}
            None => {
                let watcher = Watcher::start(paths);
                self.watcher =
                    watcher.inspect_err(|error| tell!("error: feeds are not watched: {error}")).ok();
            }
        }
        before
    }

    /// The feeds.
    #[must_use]
    pub fn fed(&self) -> &[Fed] {
        &self.fed
    }

    /// A configuration with the lists; its feeds must be those that were adopted last.
    #[must_use]
    pub fn over(&self, base: &Configuration) -> Configuration {
        with_lists(base, self.fed.iter().map(Fed::list))
    }

    /// The list of each feed.
    #[must_use]
    pub fn lists(&self) -> Vec<Arc<List>> {
        self.fed.iter().map(|fed| Arc::clone(&fed.list)).collect()
    }

    /// What is to be told of lists that are broken.
    #[must_use]
    pub fn complaints(&self) -> Vec<Notice> {
        self.fed.iter().filter(|fed| fed.error.is_some()).map(Fed::notice).collect()
    }

    /// The next list that has changed, already in the place of the one before: whoever can't put it into force calls
    /// [`Feeds::refuse`], else [`Feeds::accept`]. Broken ones are told of in `notices`.
    pub fn next_change(&mut self, notices: &mut Vec<Notice>) -> Option<Change> {
        loop {
            let news = self.watcher.as_ref()?.news()?;
            let mut before = Vec::new();
            for (at, fed) in self.fed.iter_mut().enumerate().filter(|(_, fed)| fed.path == news.path) {
                match &news.read {
                    Err(error) => {
                        let was_well = fed.error.replace(format!("{error}; nothing has changed")).is_none();
                        if was_well {
                            notices.push(fed.notice());
                        }
                    }
                    Ok((list, _)) if *list != *fed.list => {
                        before.push((at, fed.clone()));
                        fed.list = Arc::new(list.clone());
                        fed.error = None;
                        fed.since = jiff::Timestamp::now().to_string();
                    }
                    Ok(_) => {
                        if fed.error.take().is_some() {
                            notices.push(fed.notice());
                        }
                    }
                }
            }
            if let (false, Ok((_, text))) = (before.is_empty(), news.read) {
                return Some(Change { text, before });
            }
        }
    }

    /// The change is in force.
    pub fn accept(&mut self, change: &Change) -> Vec<Notice> {
        let accept = |(at, before): &(usize, Fed)| {
            let fed = &self.fed[*at];
            let (added, removed) = difference(&before.list.0, &fed.list.0);
            let mut notice = fed.notice();
            notice.text.push_str(&format!(" ({added} more, {removed} less)"));
            if let Err(error) = self.shelf.keep(&fed.feed, &change.text) {
                notice.text.push_str(&format!("; it can't be kept for the next start: {error}"));
            }
            notice.event["added"] = json!(added);
            notice.event["removed"] = json!(removed);
            notice
        };
        change.before.iter().map(accept).collect()
    }

    /// The change could not be put into force.
    pub fn refuse(&mut self, change: Change, why: &str) -> Vec<Notice> {
        let refuse = |(at, before): (usize, Fed)| {
            let fed = &mut self.fed[at];
            *fed = before;
            fed.error = Some(format!("it can't be put into force: {why}; nothing has changed"));
            fed.notice()
        };
        change.before.into_iter().map(refuse).collect()
    }
}

/// How many members are new, and how many are gone.
fn difference(old: &[Member], new: &[Member]) -> (usize, usize) {
    // Members have no order of their own; what they say of themselves is as good.
    let words = |members: &[Member]| members.iter().map(|m| format!("{m:?}")).collect::<HashSet<_>>();
    let (old, new) = (words(old), words(new));
    (new.difference(&old).count(), old.difference(&new).count())
}

#[cfg(test)]
mod tests;
