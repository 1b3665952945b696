//! `--events`: a line of JSON for each event, in a file that is rotated by size.
//!
//! What can't be written is lost, and the next line that can be says how much and why. No line is ever left half
//! written: what a full disk took of it is cut off again.

use super::Exporter;
use crate::run::hub::Told;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that are written at once.
const PORTION: usize = 64 * 1024;

/// How large the file gets, and how many are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileOptions {
    /// Bytes after which it is rotated; 0: never.
    pub max_size: u64,
    /// How many older files are kept, as `FILE.1` (the newest) and so on.
    pub keep: u32,
}

/// Where the lines go.
trait Sink: Write + Send {
    /// Cuts off what is behind `length`.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Sink for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

impl Sink for io::Stdout {
    fn cut(&mut self, _: u64) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// The file.
pub struct EventFile {
    /// `None`: the standard output, which is neither rotated nor opened again.
    path: Option<PathBuf>,
    options: FileOptions,
    sink: Box<dyn Sink>,
    /// Of the file; where it is no regular file, of what was written.
    size: u64,
    /// Where it is rotated.
    rotate_at: Option<u64>,
    /// Lines that are not written yet, and where each ends.
    lines: Vec<u8>,
    ends: Vec<usize>,
    lost: u64,
    why: String,
    /// Whether half a line stands at the end of the file and could not be cut off.
    is_torn: bool,
    reopen: Arc<AtomicBool>,
}

impl EventFile {
    /// Opens the file, and goes on at its end. `-` is the standard output. When `reopen` gets true the file is
    /// opened again by its name, for programs that rotate it themselves.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(path: &Path, options: FileOptions, reopen: Arc<AtomicBool>) -> io::Result<EventFile> {
        if path.as_os_str() == "-" {
            return Ok(EventFile::over(None, Box::new(io::stdout()), options, reopen));
        }
        let (file, size, is_regular) = open(path)?;
        let mut events = EventFile::over(Some(path.to_owned()), Box::new(file), options, reopen);
        events.size = size;
        events.rotate_at = events.rotate_at.filter(|_| is_regular);
        Ok(events)
    }

    fn over(
        path: Option<PathBuf>,
        sink: Box<dyn Sink>,
        options: FileOptions,
        reopen: Arc<AtomicBool>,
    ) -> EventFile {
        EventFile {
            rotate_at: path.as_ref().and((options.max_size > 0).then_some(options.max_size)),
            path,
            options,
            sink,
            size: 0,
            lines: Vec::with_capacity(PORTION),
            ends: Vec::new(),
            lost: 0,
            why: String::new(),
            is_torn: false,
            reopen,
        }
    }

    fn write(&mut self) {
        if self.lines.is_empty() && self.lost == 0 {
            return;
        }
        let mut head = String::new();
        if self.is_torn {
            head.push('\n');
        }
        if self.lost > 0 {
            let time = jiff::Timestamp::now().to_string();
            let line = serde_json::json!({ "time": time, "lost": self.lost, "why": self.why });
            head.push_str(&format!("{line}\n"));
        }
        let length = (head.len() + self.lines.len()) as u64;
        if self.size > 0 && self.rotate_at.is_some_and(|at| self.size + length > at) {
            self.rotate();
        }
        let start = self.size;
        let (written, error) = put(&mut *self.sink, head.as_bytes());
        self.size += written as u64;
        if let Some(error) = error {
            self.lose(self.ends.len(), &error);
            self.cut(start, written > 0);
        } else {
            (self.lost, self.is_torn) = (0, false);
            let start = self.size;
            let (written, error) = put(&mut *self.sink, &self.lines);
            self.size += written as u64;
            if let Some(error) = error {
                let whole = self.ends.partition_point(|end| *end <= written);
                let kept = whole.checked_sub(1).map_or(0, |last| self.ends[last]);
                self.lose(self.ends.len() - whole, &error);
                self.cut(start + kept as u64, written > kept);
            }
        }
        self.lines.clear();
        self.ends.clear();
    }

    fn lose(&mut self, lines: usize, error: &io::Error) {
        self.lost += lines as u64;
        self.why = error.to_string();
    }

    /// Cuts half a line off.
    fn cut(&mut self, length: u64, is_torn: bool) {
        if !is_torn {
            return;
        }
        match self.sink.cut(length) {
            Ok(()) => self.size = length,
            Err(_) => self.is_torn = true,
        }
    }

    /// Makes place for a new file. Where that fails, the old one grows on, and it is tried again later.
    fn rotate(&mut self) {
        let Some(path) = &self.path else { return };
        let numbered = |number: u32| {
            let mut name = path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        let moved = match self.options.keep {
            0 => std::fs::remove_file(path),
            keep => {
                for number in (1..keep).rev() {
                    // There are not so many yet, most likely.
                    let _ = std::fs::rename(numbered(number), numbered(number + 1));
                }
                std::fs::rename(path, numbered(1))
            }
        };
        if let Err(error) = moved.and_then(|()| self.open_again()) {
            tell!(
                "bulkhead: {} can't be rotated: {error}",
                self.path.as_deref().unwrap_or(Path::new("-")).display()
            );
            self.rotate_at = Some(self.size + self.options.max_size);
        }
    }

    /// Opens the file again by its name; where that fails, the old one goes on.
    fn open_again(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let (file, size, is_regular) = open(path)?;
        self.sink = Box::new(file);
        self.size = size;
        self.rotate_at = (is_regular && self.options.max_size > 0).then_some(self.options.max_size);
        self.is_torn = false;
        Ok(())
    }
}

impl Exporter for EventFile {
    fn take(&mut self, told: &Told) {
        self.lines.extend_from_slice(told.to_json().to_string().as_bytes());
        self.lines.push(b'\n');
        self.ends.push(self.lines.len());
        if self.lines.len() >= PORTION {
            self.write();
        }
    }

    fn settle(&mut self) {
        self.write();
        if self.reopen.swap(false, Ordering::AcqRel)
            && let Err(error) = self.open_again()
        {
            let path = self.path.as_deref().unwrap_or(Path::new("-"));
            tell!(
                "bulkhead: {} can't be opened again, and the old file is written on: {error}",
                path.display()
            );
        }
    }
}

/// Opens for writing at the end; the size, and whether it is a regular file. It holds who talks to whom: only its
/// owner and group may read it.
fn open(path: &Path) -> io::Result<(File, u64, bool)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    let about = file.metadata()?;
    Ok((file, about.len(), about.is_file()))
}

/// Writes; how much was, and what stood in the way of the rest.
fn put(sink: &mut dyn Sink, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match sink.write(&bytes[written..]) {
            Ok(0) => return (written, Some(ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, sink.flush().err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::hub::What;
    use serde_json::{Value, json};
    use std::sync::Mutex;

    /// A disk with so much room.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (content, room) = &mut *self.0.lock().unwrap();
            let fits = bytes.len().min(room.saturating_sub(content.len()));
            if fits == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            content.extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Disk {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.0.lock().unwrap().0.truncate(length as usize);
            Ok(())
        }
    }

    fn note(number: u64) -> Told {
        Told { at: jiff::Timestamp::UNIX_EPOCH, what: What::Note(json!({ "number": number })) }
    }

    fn lines(text: &[u8]) -> Vec<Value> {
        let text = std::str::from_utf8(text).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}"))).collect()
    }

    const NEVER: FileOptions = FileOptions { max_size: 0, keep: 0 };

    #[test]
    fn what_a_full_disk_does_not_take_is_counted_and_said_and_no_line_is_cut() {
        for room in 0..60 {
            let disk = Disk::default();
            disk.0.lock().unwrap().1 = room;
            let mut file = EventFile::over(None, Box::new(disk.clone()), NEVER, Arc::default());
            (0..3).for_each(|number| file.take(&note(number)));
            file.settle();
            (3..5).for_each(|number| file.take(&note(number)));
            file.settle();
            let before = lines(&disk.0.lock().unwrap().0);
            disk.0.lock().unwrap().1 = 1 << 20;
            file.take(&note(5));
            file.settle();
            let after = lines(&disk.0.lock().unwrap().0);
            let count = |of: &'static str| after.iter().filter_map(move |line| line[of].as_u64());
            let lost: u64 = count("lost").sum();
            assert_eq!(count("number").count() as u64 + lost, 6, "room {room}: {after:?}");
            assert_eq!(count("number").next_back(), Some(5));
            assert!(after.starts_with(&before));
            if room < 13 {
                assert_eq!(lost, 5, "room {room}");
                assert!(after[0]["why"].is_string());
            }
        }
    }

    #[test]
    fn files_are_rotated_by_size_and_so_many_are_kept() {
        let folder = std::env::temp_dir().join(format!("bulkhead-rotation-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("events.jsonl");
        let options = FileOptions { max_size: 100, keep: 2 };
        let reopen = Arc::new(AtomicBool::new(false));
        let mut file = EventFile::open(&path, options, Arc::clone(&reopen)).unwrap();
        let mut write = |numbers: std::ops::Range<u64>| {
            for number in numbers {
                file.take(&note(number));
                file.settle();
            }
        };
        // Lines of 13 and, from 10 on, 14 bytes: seven to a file.
        write(0..40);
        let read = |name: &str| lines(&std::fs::read(folder.join(name)).unwrap());
        let mut names: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]);
        let numbers: Vec<u64> = ["events.jsonl.2", "events.jsonl.1", "events.jsonl"]
            .iter()
            .flat_map(|name| read(name))
            .map(|line| line["number"].as_u64().unwrap())
            .collect();
        assert!(numbers.len() >= 15, "{numbers:?}");
        assert!(
            numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]) && numbers.ends_with(&[39]),
            "{numbers:?}"
        );
        assert!(std::fs::metadata(folder.join("events.jsonl.1")).unwrap().len() <= 100);

        // Another program takes the file away, and says so.
        std::fs::rename(&path, folder.join("taken")).unwrap();
        write(40..41);
        reopen.store(true, Ordering::Release);
        write(41..43);
        assert_eq!(read("taken").last().unwrap()["number"], 41, "what came before it was opened again");
        assert_eq!(read("events.jsonl"), [json!({ "number": 42 })]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
