use super::*;
use crate::config::{Bundle, BundleFile, load_bundle, now};
use std::time::{Duration, Instant};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("bulkhead-feed-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn feeds(&self) -> Feeds {
        Feeds::new(Shelf::new(&self.0.join("gw.toml"), Some(&self.0.join("state"))))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn configuration() -> Configuration {
    let text = r#"
[segment.web]
members = ["10.9.0.1"]
[segment.db]
[[feed]]
segment = "web"
file = "web.txt"
[[feed]]
segment = "db"
file = "web.txt"
"#;
    let file = BundleFile { path: "gw.toml".into(), text: text.to_owned() };
    load_bundle(&Bundle { files: vec![file] }, now()).unwrap()
}

fn members(feeds: &Feeds) -> Vec<usize> {
    feeds.over(&configuration()).policy.segments().iter().map(|segment| segment.members.len()).collect()
}

fn wait(feeds: &mut Feeds, what: &str, mut done: impl FnMut(&mut Feeds) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done(feeds) {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Takes what has come; how many changes, and what was told.
fn take(feeds: &mut Feeds) -> (usize, Vec<Notice>) {
    let (mut changes, mut notices) = (0, Vec::new());
    while let Some(change) = feeds.next_change(&mut notices) {
        let accepted = feeds.accept(&change);
        changes += accepted.len();
        notices.extend(accepted);
    }
    (changes, notices)
}

#[test]
fn a_list_is_swapped_whole_and_a_broken_one_changes_nothing() {
    let folder = Folder::new("swap");
    folder.write("web.txt", "10.0.0.1\n10.0.0.2\n");
    let mut feeds = folder.feeds();
    feeds.adopt(&configuration());
    assert_eq!(members(&feeds), [3, 2]);
    assert!(feeds.complaints().is_empty());

    folder.write("web.txt", "10.0.0.2\n10.0.0.3\n10.0.0.4\n");
    let mut changes = 0;
    wait(&mut feeds, "both feeds have the new list", |feeds| {
        let (count, notices) = take(feeds);
        changes += count;
        for notice in notices {
            assert_eq!((&notice.event["added"], &notice.event["removed"]), (&json!(2), &json!(1)));
        }
        members(feeds) == [4, 3]
    });
    assert_eq!(changes, 2);

    for broken in ["10.0.0.9\nnonsense\n", "10.0.0.9", ""] {
        folder.write("web.txt", broken);
        wait(&mut feeds, "it is told of", |feeds| {
            assert_eq!(take(feeds).0, 0);
            feeds.fed().iter().all(|fed| fed.error().is_some())
        });
        assert_eq!(members(&feeds), [4, 3], "{broken:?}");
        folder.write("web.txt", "10.0.0.2\n10.0.0.3\n10.0.0.4\n");
        wait(&mut feeds, "it is well again", |feeds| {
            take(feeds);
            feeds.complaints().is_empty()
        });
    }
    std::fs::remove_file(folder.0.join("web.txt")).unwrap();
    wait(&mut feeds, "it is missed", |feeds| {
        take(feeds);
        feeds.complaints().len() == 2
    });
    assert_eq!(members(&feeds), [4, 3]);

    // A restart has what was good last.
    let mut again = folder.feeds();
    again.adopt(&configuration());
    assert_eq!(members(&again), [4, 3]);
    assert_eq!(again.complaints().len(), 2);
    // Without anything kept there are no members, and it is said.
    std::fs::remove_dir_all(folder.0.join("state")).unwrap();
    let mut bare = folder.feeds();
    bare.adopt(&configuration());
    assert_eq!(members(&bare), [1, 0]);
    assert!(bare.complaints()[0].text.contains("none of its members is in force"));
}

#[test]
fn what_cannot_be_put_into_force_is_taken_back() {
    let folder = Folder::new("refuse");
    folder.write("web.txt", "10.0.0.1\n");
    let mut feeds = folder.feeds();
    feeds.adopt(&configuration());
    folder.write("web.txt", "10.0.0.1\n10.0.0.2\n");
    let mut refused = 0;
    wait(&mut feeds, "it is refused", |feeds| {
        while let Some(change) = feeds.next_change(&mut Vec::new()) {
            assert_eq!(feeds.refuse(change, "too large").len(), 2);
            refused += 1;
        }
        refused > 0
    });
    assert_eq!(members(&feeds), [2, 1]);
    assert!(feeds.fed()[0].error().unwrap().contains("too large"));
}
