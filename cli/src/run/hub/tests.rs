//! What readers are told, and what they are told that they are not.

use super::*;
use serde_json::json;

fn note(number: u64) -> Told {
    Told { at: jiff::Timestamp::UNIX_EPOCH, what: What::Note(json!(number)) }
}

/// The numbers of notes; a loss as `Err`.
fn heard(receiver: &Receiver<Arc<Told>>) -> Vec<Result<u64, u64>> {
    let number = |told: Arc<Told>| match &told.what {
        What::Note(number) => Ok(number.as_u64().unwrap()),
        What::Lost { count, why: SLOW_READER } => Err(*count),
        other => panic!("{other:?}"),
    };
    receiver.try_iter().map(number).collect()
}

#[test]
fn a_reader_that_does_not_keep_up_is_told_what_it_lost_where_it_lost_it() {
    let feed = Feed::new(0);
    let (_, slow) = feed.subscribe("slow", 4, false);
    let (_, fast) = feed.subscribe("fast", 100, false);
    feed.tell((0..10).map(note));
    assert_eq!(heard(&slow), [Ok(0), Ok(1), Ok(2), Ok(3)]);
    feed.tell([note(10)]);
    assert_eq!(heard(&slow), [Err(6), Ok(10)]);
    feed.tell((11..20).map(note));
    assert_eq!(heard(&slow), (11..15).map(Ok).collect::<Vec<_>>());
    // Nothing more happens, and it is told all the same.
    feed.catch_up();
    assert_eq!(heard(&slow), [Err(5)]);
    assert_eq!(heard(&fast), (0..20).map(Ok).collect::<Vec<_>>());
    assert_eq!(feed.untold().by_reader, BTreeMap::from([("slow", 11)]));
}

#[test]
fn a_reader_that_never_reads_holds_nobody_up_and_one_that_has_gone_is_forgotten() {
    let feed = Feed::new(0);
    let (_, stalled) = feed.subscribe("stalled", 1, false);
    let (_, gone) = feed.subscribe("gone", 1, false);
    drop(gone);
    feed.tell((0..100_000).map(note));
    assert_eq!(feed.state().readers.len(), 1);
    assert_eq!(feed.untold().by_reader["stalled"], 99_999);
    drop(stalled);
    feed.catch_up();
    assert!(feed.state().readers.is_empty());
}

#[test]
fn the_last_are_kept_and_nothing_is_missing_between_them_and_what_comes() {
    let feed = Feed::new(3);
    feed.tell((0..5).map(note));
    let (history, receiver) = feed.subscribe("one", 10, true);
    feed.tell([note(5)]);
    let kept: Vec<_> = history.iter().map(|told| told.to_json()).collect();
    assert_eq!(kept, [json!(2), json!(3), json!(4)]);
    assert_eq!(heard(&receiver), [Ok(5)]);
    feed.end();
    let (_, late) = feed.subscribe("late", 1, false);
    assert!(receiver.recv().is_err() && late.recv().is_err(), "they end with the hub");
}
