//! One list of members in the place of another → the addresses and MACs that this puts in and takes out.

use super::EditError;
use super::rules::is_placed;
use crate::addr::{IpRange, Mac};
use crate::compile::intern::WordHashMap;
use crate::policy::Member;
use std::collections::BTreeSet;

/// What changes when one list of members takes the place of another.
#[derive(Debug, Default)]
pub(super) struct Swap {
    /// Addresses that were members and are none.
    pub(super) lost: Vec<IpRange>,
    /// Addresses that are members and were none, or were by a member that both lists have.
    pub(super) gained: Vec<IpRange>,
    /// MACs that were members whatever the address, and are none.
    pub(super) macs_lost: Vec<Mac>,
    /// MACs that are members whatever the address, and were none, or were by a member that both lists have.
    pub(super) macs_gained: Vec<Mac>,
}

impl Swap {
    /// What changes from `old` to `new`, whose ranges are none that end before they begin; `None`: a VLAN does, or
    /// the MAC of an address.
    ///
    /// # Errors
    /// [`EditError::Invalid`]: a segment does.
    pub(super) fn new(old: &[Member], new: &[Member]) -> Result<Option<Swap>, EditError> {
        let same = |(a, b): &(&Member, &Member)| a == b;
        let before = old.iter().zip(new).take_while(same).count();
        let (old_rest, new_rest) = (&old[before..], &new[before..]);
        let behind = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
        let old_rest = &old_rest[..old_rest.len() - behind];
        let new_rest = &new_rest[..new_rest.len() - behind];
        if !others_are_the_same(old_rest, new_rest)? {
            return Ok(None);
        }
        let (had, has) = (spans(old_rest), spans(new_rest));
        let lost = without(&had, &has);
        // Most changes lose nothing, and need not look at all that stays.
        let lost = if lost.is_empty() { lost } else { without(&lost, &spans(new)) };
        let gained = without(&has, &had);
        let ranges = |spans: Vec<Span>| spans.into_iter().map(Span::range).collect();
        let (had, has) = (macs(old_rest), macs(new_rest));
        let macs_lost = if had.is_subset(&has) { BTreeSet::new() } else { &had - &macs(new) };
        Ok(Some(Swap {
            lost: ranges(lost),
            gained: ranges(gained),
            macs_lost: macs_lost.into_iter().collect(),
            macs_gained: (&has - &had).into_iter().collect(),
        }))
    }
}

/// Whether both lists have the same members with VLANs and with MACs of addresses, in whatever order.
///
/// # Errors
/// They have not the same segments.
fn others_are_the_same(old: &[Member], new: &[Member]) -> Result<bool, EditError> {
    let mut counts: WordHashMap<&Member, isize> = WordHashMap::default();
    for (members, step) in [(old, 1), (new, -1)] {
        for member in members.iter().filter(|member| plain(member).is_none() && plain_macs(member).is_none())
        {
            *counts.entry(member).or_default() += step;
        }
    }
    counts.retain(|_, count| *count != 0);
    if counts.keys().any(|member| matches!(member, Member::Segment(_))) {
        return Err(EditError::Invalid);
    }
    Ok(counts.is_empty())
}

/// The ranges of a member that is addresses alone.
fn plain(member: &Member) -> Option<&[IpRange]> {
    match member {
        Member::Selector(selector) if !is_placed(member) => Some(&selector.addresses),
        Member::Selector(_) | Member::Segment(_) => None,
    }
}

/// The MACs of a member that is MACs alone.
fn plain_macs(member: &Member) -> Option<&[Mac]> {
    match member {
        Member::Selector(selector)
            if selector.vlan.is_none() && selector.addresses.is_empty() && !selector.macs.is_empty() =>
        {
            Some(&selector.macs)
        }
        Member::Selector(_) | Member::Segment(_) => None,
    }
}

fn macs(members: &[Member]) -> BTreeSet<Mac> {
    members.iter().filter_map(plain_macs).flatten().copied().collect()
}

/// Addresses of one family, from the first to the last; those of IPv4 come before those of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Span {
    is_v6: bool,
    first: u128,
    last: u128,
}

impl Span {
    fn of(range: IpRange) -> Span {
        match range {
            IpRange::V4(first, last) => Span { is_v6: false, first: first.into(), last: last.into() },
            IpRange::V6(first, last) => Span { is_v6: true, first, last },
        }
    }

    fn range(self) -> IpRange {
        if self.is_v6 {
            IpRange::V6(self.first, self.last)
        } else {
            IpRange::V4(self.first as u32, self.last as u32)
        }
    }
}

/// The addresses of plain members, in order and apart from each other.
fn spans(members: &[Member]) -> Vec<Span> {
    let ranges = members.iter().filter_map(plain).flatten();
    let mut all: Vec<Span> = ranges.map(|range| Span::of(*range)).collect();
    all.sort_unstable();
    let mut merged: Vec<Span> = Vec::with_capacity(all.len());
    for span in all {
        match merged.last_mut() {
            Some(last) if last.is_v6 == span.is_v6 && span.first <= last.last => {
                last.last = last.last.max(span.last);
            }
            Some(_) | None => merged.push(span),
        }
    }
    merged
}

/// The addresses of `spans` that are not in `others`; both are in order and apart.
fn without(spans: &[Span], others: &[Span]) -> Vec<Span> {
    let mut left = Vec::new();
    let mut next = 0;
    for span in spans {
        while others.get(next).is_some_and(|o| (o.is_v6, o.last) < (span.is_v6, span.first)) {
            next += 1;
        }
        let mut rest = Some(*span);
        for other in &others[next..] {
            let Some(open) = rest else { break };
            if (other.is_v6, other.first) > (open.is_v6, open.last) {
                break;
            }
            if other.first > open.first {
                left.push(Span { last: other.first - 1, ..open });
            }
            rest = (other.last < open.last).then(|| Span { first: other.last + 1, ..open });
        }
        left.extend(rest);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Selector;
    use proptest::prelude::*;

    fn members(ranges: &[(bool, u8, u8)]) -> Vec<Member> {
        let range = |(is_v6, first, length): &(bool, u8, u8)| {
            let (first, last) = (u32::from(*first), u32::from(*first) + u32::from(*length));
            if *is_v6 { IpRange::V6(first.into(), last.into()) } else { IpRange::V4(first, last) }
        };
        let selector = |r| Selector { addresses: vec![range(r)], ..Selector::default() };
        ranges.iter().map(|r| Member::Selector(selector(r))).collect()
    }

    fn set(ranges: impl IntoIterator<Item = IpRange>) -> BTreeSet<(bool, u128)> {
        let of = |range| {
            let Span { is_v6, first, last } = Span::of(range);
            (first..=last).map(move |at| (is_v6, at))
        };
        ranges.into_iter().flat_map(of).collect()
    }

    proptest! {
        #[test]
        fn what_is_gained_and_lost_makes_one_list_of_the_other(
            old in proptest::collection::vec((any::<bool>(), 0u8..40, 0u8..6), 0..8),
            new in proptest::collection::vec((any::<bool>(), 0u8..40, 0u8..6), 0..8),
            same in 0usize..4,
        ) {
            let mut new = new;
            new.splice(0..0, old.iter().copied().take(same));
            let (old, new) = (members(&old), members(&new));
            let swap = Swap::new(&old, &new).unwrap().unwrap();
            let all = |members: &[Member]| set(members.iter().filter_map(plain).flatten().copied());
            let (had, has) = (all(&old), all(&new));
            let (lost, gained) = (set(swap.lost), set(swap.gained));
            prop_assert!(lost.is_disjoint(&has) && lost.is_subset(&had));
            prop_assert!(gained.is_subset(&has));
            prop_assert_eq!(had.difference(&lost).chain(&gained).copied().collect::<BTreeSet<_>>(), has);
        }
    }
}
