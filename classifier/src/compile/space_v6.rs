//! Builds a [`SpaceV6`].

use crate::tables::space_v6::{Node, SpaceV6};

/// The table of these runs: first address and state, sorted, the first at 0.
pub(super) fn space_v6(runs: &[(u128, u32)]) -> SpaceV6 {
    let mut space = SpaceV6 {
        levels: Vec::new(),
        entries: Vec::new(),
        splits: Vec::new(),
        starts: Vec::new(),
        states: Vec::new(),
    };
    let mut keys: Vec<u64> = Vec::new();
    let upper = |address: u128| (address >> 64) as u64;
    let mut before = 0;
    for same in runs.chunk_by(|a, b| upper(a.0) == upper(b.0)) {
        let (key, last) = (upper(same[0].0), same[same.len() - 1].1);
        // The key behind a split was made in advance; what begins there takes its place.
        if keys.last() == Some(&key) {
            keys.pop();
            space.entries.pop();
        }
        keys.push(key);
        if same.len() == 1 && same[0].0 as u64 == 0 {
            space.entries.push(last);
        } else {
            let first = space.starts.len();
            if same[0].0 as u64 != 0 {
                space.starts.push(0);
                space.states.push(before);
            }
            space.starts.extend(same.iter().map(|(start, _)| *start as u64));
            space.states.extend(same.iter().map(|(_, state)| *state));
            space.entries.push(SpaceV6::SPLIT | space.splits.len() as u32);
            space.splits.push((first as u32, space.starts.len() as u32));
            if let Some(next) = key.checked_add(1) {
                keys.push(next);
                space.entries.push(last);
            }
        }
        before = last;
    }
    loop {
        let node = |chunk: &[u64]| {
            let mut node = Node([u64::MAX; 8]);
            node.0[..chunk.len()].copy_from_slice(chunk);
            node
        };
        let nodes: Vec<Node> = keys.chunks(8).map(node).collect();
        keys = nodes.iter().map(|node| node.0[0]).collect();
        space.levels.push(nodes);
        if keys.len() == 1 {
            break;
        }
    }
    space.levels.reverse();
    space
}
