//! Frames that are copied through a tap, with what became of them.

use crate::bed::Bed;
use crate::bed::frame::Ip;
use crate::bed::network::{DB, TRUNK, WEB, open};
use classifier::addr::PortId;
use classifier::reason::DropReason;
use dataplane::batch::{FlowRole, Verdict};
use dataplane::tap::{Judged, TapReader, tap};

const LONGEST: usize = 4096;

fn udp(port: u16, payload: usize) -> Vec<u8> {
    Ip::udp(WEB.v4(), DB.v4(), (4000, port), &vec![1; payload]).by(&WEB).bytes()
}

fn all(reader: &TapReader) -> Vec<Judged> {
    std::iter::from_fn(|| reader.next(Judged::clone)).collect()
}

#[test]
fn frames_are_told_as_they_came_in_with_their_fates_on_the_short_way_and_the_whole() {
    let mut bed = Bed::new(open());
    let (tap, reader) = tap(LONGEST, 60, 16, Box::new(|_, _, _| true));
    bed.engine.attach(tap).unwrap();
    let runt = vec![0; 9];
    let frames = [udp(5000, 1), udp(5000, 1), udp(5000, 100), runt];
    frames.iter().for_each(|frame| drop(bed.send(TRUNK, frame)));
    assert!(bed.engine.counters().express >= 1);
    let told = all(&reader);
    for (judged, frame) in told.iter().zip(&frames) {
        assert_eq!((judged.port, judged.at), (PortId(TRUNK), bed.now));
        assert_eq!(judged.length as usize, frame.len());
        assert_eq!(judged.bytes, frame[..frame.len().min(60)], "as it came in, up to the snap length");
    }
    let roles: Vec<_> = told.iter().map(|judged| judged.outcome.flow).collect();
    assert_eq!(roles, [Some(FlowRole::New), Some(FlowRole::Established), Some(FlowRole::Established), None]);
    assert_eq!(told[3].outcome.reason, Some(DropReason::Runt));
    assert!(bed.engine.detach().is_some());
    bed.send(TRUNK, udp(5000, 1));
    assert!(all(&reader).is_empty() && bed.engine.detach().is_none());
}

#[test]
fn only_what_is_wanted_is_told_and_what_finds_no_room_is_counted() {
    let mut bed = Bed::new(open());
    let wanted =
        Box::new(|_: PortId, _: &[u8], outcome: &dataplane::batch::Outcome| outcome.verdict == Verdict::Drop);
    let (tap, reader) = tap(LONGEST, LONGEST, 4, wanted);
    bed.engine.attach(tap).unwrap();
    let (other, _) = dataplane::tap::tap(LONGEST, LONGEST, 1, Box::new(|_, _, _| true));
    assert!(bed.engine.attach(other).is_err(), "one at a time");
    for _ in 0..10 {
        bed.send(TRUNK, udp(5000, 1));
        bed.send(TRUNK, [0; 9]);
    }
    assert_eq!(reader.lost()[usize::from(TRUNK)], 6);
    let told = all(&reader);
    assert_eq!(told.len(), 4);
    assert!(told.iter().all(|judged| judged.outcome.reason == Some(DropReason::Runt)));
    // The slots are free again.
    bed.send(TRUNK, [0; 9]);
    assert_eq!((all(&reader).len(), reader.lost()[usize::from(TRUNK)]), (1, 6));
}
