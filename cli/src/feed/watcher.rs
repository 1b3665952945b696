//! Looks at lists again and again, on a thread of its own: the disk may be one that hangs.
//!
//! It looks at what stat(2) says twice a second, and does not wait for inotify(7): that is silent about network file
//! systems and about folders and links that are replaced, so one would have to look in any case; and a few calls a
//! second are nothing. A list is read once it has not changed between two looks, so that one that is being written is
//! left alone.

use crate::config::feed::{List, ListError};
use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// Lists that may wait to be put into force. More are read at a later look.
const WAITING: usize = 16;

/// A list that was read.
#[derive(Clone, Debug)]
pub(super) struct News {
    pub(super) path: PathBuf,
    pub(super) read: Result<(List, String), ListError>,
}

/// The thread. Dropping this lets it end by itself.
#[derive(Debug)]
pub(super) struct Watcher {
    paths: Arc<ArcSwap<Vec<PathBuf>>>,
    is_over: Arc<AtomicBool>,
    news: Receiver<News>,
}

/// What tells a file from what it was: when it was changed, how long it is, which it is. `None`: it is not there.
type Mark = Option<(i64, i64, i64, i64, u64, u64, u64)>;

fn mark(path: &Path) -> Mark {
    let found = std::fs::metadata(path).ok()?;
    Some((
        found.mtime(),
        found.mtime_nsec(),
        found.ctime(),
        found.ctime_nsec(),
        found.size(),
        found.ino(),
        found.dev(),
    ))
}

#[derive(Default)]
struct Looks {
    /// As it was when it was read.
    read: Option<Mark>,
    /// As it was at the last look.
    seen: Option<Mark>,
}

impl Watcher {
    pub(super) fn start(paths: Vec<PathBuf>) -> io::Result<Watcher> {
        let (sender, news) = bounded(WAITING);
        let paths = Arc::new(ArcSwap::from_pointee(paths));
        let is_over = Arc::new(AtomicBool::new(false));
        let (watched, over) = (Arc::clone(&paths), Arc::clone(&is_over));
        std::thread::Builder::new().name("feeds".to_owned()).spawn(move || {
            let mut looks = HashMap::<PathBuf, Looks>::new();
            while !over.load(Ordering::Acquire) {
                look(&watched.load(), &mut looks, &sender);
                std::thread::sleep(EVERY);
            }
        })?;
        Ok(Watcher { paths, is_over, news })
    }

    /// From now on it is these that are watched.
    pub(super) fn watch(&self, paths: Vec<PathBuf>) {
        self.paths.store(Arc::new(paths));
    }

    /// A list that has changed.
    pub(super) fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
    }
}

fn look(paths: &[PathBuf], looks: &mut HashMap<PathBuf, Looks>, teller: &Sender<News>) {
    looks.retain(|path, _| paths.contains(path));
    for path in paths {
        let now = Some(mark(path));
        let looks = looks.entry(path.clone()).or_default();
        let is_settled = looks.seen == now;
        looks.seen = now;
        if !is_settled || looks.read == now {
            continue;
        }
        let read = List::read(path).map_err(|(error, _)| error);
        if teller.try_send(News { path: path.clone(), read }).is_ok() {
            looks.read = now;
        }
    }
}
