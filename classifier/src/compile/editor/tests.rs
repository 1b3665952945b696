use super::*;
use crate::policy::{DefaultAction, Mode, PolicyBuilder, Segment};
use crate::tables::space::Space;

fn editor() -> (Editor, SegmentId) {
    let mut builder = PolicyBuilder::new(vec!["t".into()], DefaultAction::Deny, Mode::Enforce);
    let segment = Segment { name: "s".into(), members: Vec::new(), except: Vec::new(), mode: Mode::Enforce };
    let segment = builder.segment(segment);
    let policy = Arc::new(builder.build().expect("it is valid"));
    (Editor::new(&policy, Timestamp(0), &Limits::default()).expect("it is small"), segment)
}

fn host(last: u8) -> IpRange {
    IpRange::single([10, 0, 0, last].into())
}

/// Where the address table of the newest generation is.
fn memory(editor: &Editor) -> *const u32 {
    let Space { root, .. } = &editor.generation.v4;
    root.all().as_ptr()
}

#[test]
fn generations_take_turns_in_two_copies() {
    let (mut editor, segment) = editor();
    let mut seen = Vec::new();
    for last in 0..6 {
        editor.add_member(segment, host(last)).expect("in place");
        seen.push(memory(&editor));
    }
    assert_ne!(seen[0], seen[1]);
    assert_eq!(seen, [seen[0], seen[1]].repeat(3));
}

#[test]
fn a_generation_that_is_seen_is_left_alone() {
    let (mut editor, segment) = editor();
    editor.add_member(segment, host(0)).expect("in place");
    let (held, place) = (editor.generation(), memory(&editor));
    for last in 1..6 {
        editor.add_member(segment, host(last)).expect("in place");
        assert_ne!(memory(&editor), place);
    }
    let states: Vec<u32> = (0..6).map(|last| held.v4.get(0x0a00_0000 + last)).collect();
    assert!(states[0] != states[1] && states[1..].iter().all(|state| *state == states[1]), "{states:?}");
}
