//! Builds a [`PrefixMap`].

use super::sweep::Address;
use super::v4::v4_table;
use crate::addr::{IpRange, Prefix};
use crate::tables::PrefixMap;
use crate::tables::v6::V6Table;
use std::collections::BTreeMap;

/// The map of these prefixes.
pub(crate) fn prefix_map(entries: &[(Prefix, u32)]) -> PrefixMap {
    // The map drops all but the last of one prefix. It sorts by first address, the longer range first.
    let (mut v4, mut v6) = (BTreeMap::new(), BTreeMap::new());
    let mut values = vec![0];
    for (prefix, value) in entries {
        let index = values.len() as u32;
        values.push(*value);
        match IpRange::from(*prefix) {
            IpRange::V4(first, last) => {
                v4.insert((first, std::cmp::Reverse(last)), index);
            }
            IpRange::V6(first, last) => {
                v6.insert((first, std::cmp::Reverse(last)), index);
            }
        }
    }
    let flat = |((first, std::cmp::Reverse(last)), index)| (first, last, index);
    let v4 = v4_table(&runs(v4.into_iter().map(flat)));
    let flat = |((first, std::cmp::Reverse(last)), index)| (first, last, index);
    let (starts, values_v6): (Vec<u128>, Vec<u32>) = runs(v6.into_iter().map(flat)).into_iter().unzip();
    PrefixMap { v4, v6: V6Table { starts: starts.into(), values: values_v6.into() }, values }
}

/// The runs of the innermost of nested ranges, which come sorted, the outer before the inner.
fn runs<A: Address>(ranges: impl Iterator<Item = (A, A, u32)>) -> Vec<(A, u32)> {
    let mut runs = vec![(A::ZERO, 0)];
    let mut push = |start: A, value: u32| {
        if let Some(last) = runs.last_mut()
            && last.0 == start
        {
            last.1 = value;
        } else {
            runs.push((start, value));
        }
    };
    // The ranges that hold the current address, the innermost last.
    let mut open: Vec<(A, u32)> = Vec::new();
    let close = |open: &mut Vec<(A, u32)>, before: Option<A>, push: &mut dyn FnMut(A, u32)| {
        while let Some((last, _)) = open.last().copied() {
            if before.is_some_and(|at| last >= at) {
                return;
            }
            open.pop();
            if let Some(after) = last.next() {
                push(after, open.last().map_or(0, |(_, value)| *value));
            }
        }
    };
    for (first, last, value) in ranges {
        close(&mut open, Some(first), &mut push);
        push(first, value);
        open.push((last, value));
    }
    close(&mut open, None, &mut push);
    runs
}
