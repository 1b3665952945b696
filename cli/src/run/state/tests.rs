//! The directory, its file, and who may read it.

use super::*;
use std::os::unix::fs::PermissionsExt;

/// A directory of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("bulkhead-state-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn configuration() -> Configuration {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/three-tier.toml");
    crate::config::load(Path::new(file)).unwrap_or_else(|error| panic!("{error}"))
}

fn trackers() -> Vec<Tracker> {
    vec![Tracker::new(&conntrack::config::Config { max_flows: 16, ..Default::default() }, [1; 16])]
}

fn save(state: &StateDirectory) -> io::Result<u64> {
    let (trackers, names, configuration) = (trackers(), Names::default(), configuration());
    state.save(&Leaving { trackers: &trackers, names: &names, configuration: &configuration })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_saved_is_for_its_owner_alone_and_is_given_out_once() {
    let scratch = Scratch::new("once");
    let state = StateDirectory::take(&scratch.0.join("deep")).unwrap();
    assert_eq!(mode(&state.path), 0o700);
    assert!(state.consume().unwrap().is_none(), "a first start");
    for _ in 0..2 {
        assert_eq!(save(&state).unwrap(), 0);
        assert_eq!(mode(&state.file("flows")), 0o600);
        assert!(!state.file("flows.new").exists());
        let bytes = state.consume().unwrap().expect("the file that was saved");
        let header = *Snapshot::open(&bytes).unwrap().header();
        assert_eq!(header.configuration, checksum(&configuration()));
        assert!(header.saved.until(&stamp()).is_some_and(|away| away < Duration::from_secs(60)));
        assert!(state.consume().unwrap().is_none(), "a start after a crash finds nothing");
        assert_eq!(fs::read(state.file("flows.restored")).unwrap(), bytes, "it can be looked at");
    }
}

#[test]
fn what_was_left_half_written_is_written_anew() {
    let scratch = Scratch::new("half");
    let state = StateDirectory::take(&scratch.0).unwrap();
    fs::write(state.file("flows.new"), "half of").unwrap();
    fs::set_permissions(state.file("flows.new"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(state.consume().unwrap().is_none(), "it is not taken for a whole one");
    save(&state).unwrap();
    assert_eq!(mode(&state.file("flows")), 0o600);
}

#[test]
fn a_second_gateway_does_not_get_the_directory_while_the_first_lives() {
    let scratch = Scratch::new("lock");
    let first = StateDirectory::take(&scratch.0).unwrap();
    let error = StateDirectory::take(&scratch.0).unwrap_err();
    assert!(error.to_string().contains("--state DIR"), "{error}");
    let released = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        drop(first);
    });
    StateDirectory::take(&scratch.0).expect("the first is on its way out, and waited for");
    released.join().unwrap();
}

#[test]
fn a_link_or_a_pipe_in_the_place_of_the_file_is_not_read() {
    let scratch = Scratch::new("link");
    let state = StateDirectory::take(&scratch.0).unwrap();
    let flows = state.file("flows");
    std::os::unix::fs::symlink("/dev/zero", &flows).unwrap();
    assert!(state.consume().is_err());
    fs::remove_file(&flows).unwrap();
    fs::create_dir(&flows).unwrap();
    assert!(state.consume().is_err());
    assert!(save(&state).is_err());
    assert!(!state.file("flows.new").exists(), "what could not be saved leaves nothing behind");
}
