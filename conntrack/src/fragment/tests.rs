//! The table against a plain model that keeps a map of bytes, and hostile runs.

use super::*;
use crate::time::Tick;
use classifier::addr::{PortId, VlanKey};
use classifier::reason::DropReason::{self, FragmentInvalid, FragmentOrphan};
use classifier::wire::Addresses;
use proptest::prelude::*;
use std::collections::HashMap;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);
const START: Tick = Tick(1_000_000_000_000);

fn key(source: u32, identification: u32) -> DatagramKey {
    DatagramKey {
        addresses: Addresses::V4(source, 0x0a00_0001),
        identification,
        vlan: VlanKey::new(PortId(0), 10),
        protocol: 17,
    }
}

fn place(offset: u16, length: u16, more: bool) -> Place {
    Place { offset, length, more }
}

fn table() -> Table<u32, u32> {
    Table::new(TIMEOUT, [3; 16])
}

#[test]
fn the_memory_of_a_table_is_the_budget_but_for_less_than_a_block() {
    let left = BUDGET.checked_sub(table().bytes()).expect("it takes no more than the budget");
    assert!(left < hold::BLOCK + 2, "{left} bytes are left over");
}

#[test]
fn one_source_takes_an_eighth_of_the_budget() {
    assert_eq!((BUDGET, SHARE), (1 << 20, 1 << 17), "TRACKING.md F11");
}

/// What became of a fragment in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Passed,
    Dropped(DropReason),
}

/// Feeds fragments to the table, one a batch, and tells the fate of each.
fn by_table(fragments: &[(u32, Place)]) -> Vec<Option<Fate>> {
    let mut table = table();
    let mut fates = vec![None; fragments.len()];
    let fall = |table: &mut Table<u32, u32>, fates: &mut Vec<Option<Fate>>| {
        while let Some(fallen) = table.next_fallen() {
            fates[fallen.origin as usize] = Some(Fate::Dropped(fallen.reason));
        }
    };
    for (at, (id, place)) in fragments.iter().enumerate() {
        let frame = vec![at as u8; usize::from(place.length % 200) + 1];
        match table.examine(START, &key(7, *id), *place, at as u32, &frame) {
            Examined::First(datagram) => {
                table.set_fate(datagram, 1);
                fates[at] = Some(Fate::Passed);
                let mut copy = [0; 256];
                while let Some(held) = table.take_held(datagram, Some(&mut copy)) {
                    assert!(copy[..held.length as usize].iter().all(|b| *b == held.origin as u8));
                    fates[held.origin as usize] = Some(Fate::Passed);
                }
            }
            Examined::Later(datagram) => {
                assert_eq!(table.fate(datagram), Some(1));
                fates[at] = Some(Fate::Passed);
            }
            Examined::Held => {}
            Examined::Refused(reason) => fates[at] = Some(Fate::Dropped(reason)),
        }
        fall(&mut table, &mut fates);
        table.end_batch();
    }
    table.clear();
    fall(&mut table, &mut fates);
    assert_eq!((table.statistics().datagrams, table.statistics().held_bytes), (0, 0));
    fates
}

/// A datagram as a map of bytes, each with the number of the fragment that brought it.
#[derive(Default)]
struct Model {
    owners: HashMap<u32, usize>,
    taken: Vec<Place>,
    held: Vec<usize>,
    end: Option<u32>,
    has_first: bool,
    is_dead: bool,
}

/// The same by the text of the rules.
fn by_model(fragments: &[(u32, Place)]) -> Vec<Option<Fate>> {
    let mut datagrams: HashMap<u32, Model> = HashMap::new();
    let mut fates = vec![None; fragments.len()];
    for (at, (id, place)) in fragments.iter().enumerate() {
        let model = datagrams.entry(*id).or_default();
        let bytes = u32::from(place.offset)..place.end();
        let is_duplicate = model.taken.iter().any(|p| (p.offset, p.length) == (place.offset, place.length));
        if model.is_dead || is_duplicate {
            fates[at] = Some(Fate::Dropped(FragmentInvalid));
            continue;
        }
        let highest = model.owners.keys().max().map_or(0, |byte| byte + 1);
        let is_contradiction = bytes.clone().any(|byte| model.owners.contains_key(&byte))
            || model.end.is_some_and(|end| place.end() > end || (!place.more && place.end() != end))
            || (!place.more && highest > place.end())
            || place.end() > 65_535
            || model.taken.len() == 64;
        if is_contradiction {
            model.is_dead = true;
            fates[at] = Some(Fate::Dropped(FragmentInvalid));
            for held in model.held.drain(..) {
                fates[held] = Some(Fate::Dropped(FragmentInvalid));
            }
            continue;
        }
        model.taken.push(*place);
        model.owners.extend(bytes.map(|byte| (byte, at)));
        if !place.more {
            model.end = Some(place.end());
        }
        if place.offset == 0 {
            model.has_first = true;
        }
        model.held.push(at);
        if model.has_first {
            for held in model.held.drain(..) {
                fates[held] = Some(Fate::Passed);
            }
        }
        if model.end == Some(model.owners.len() as u32) {
            datagrams.remove(id);
        }
    }
    for held in datagrams.into_values().flat_map(|model| model.held) {
        fates[held] = Some(Fate::Dropped(FragmentOrphan));
    }
    fates
}

/// A datagram cut at multiples of 8, some pieces doubled, shifted or with another end.
fn pieces() -> impl Strategy<Value = Vec<(u32, Place)>> {
    let cuts = proptest::collection::btree_set(1_u16..40, 0..8);
    let id = 0_u32..4;
    let spoilt = proptest::collection::vec((0_usize..10, 0_u16..45, 1_u16..30, any::<bool>()), 0..3);
    (id, cuts, 1_u16..20, spoilt).prop_map(|(id, cuts, tail, spoilt)| {
        let mut all = Vec::new();
        let mut from = 0;
        for cut in cuts {
            all.push((id, place(from * 8, (cut - from) * 8, true)));
            from = cut;
        }
        all.push((id, place(from * 8, tail, false)));
        for (which, offset, units, more) in spoilt {
            let like = all[which % all.len()].1;
            all.push((id, if which < 4 { like } else { place(offset * 8, units * 8, more) }));
        }
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn fragments_cut_shuffled_doubled_and_overlapping_get_what_the_model_says(
        all in proptest::collection::vec(pieces(), 1..5)
            .prop_map(|all| all.concat())
            .prop_shuffle(),
    ) {
        prop_assert_eq!(by_table(&all), by_model(&all), "{:?}", all);
    }

    #[test]
    fn datagrams_that_are_sound_pass_in_any_order(
        (all, whole) in proptest::collection::btree_set(1_u16..8000, 1..63).prop_flat_map(|cuts| {
            let mut from = 0;
            let mut all: Vec<(u32, Place)> = Vec::new();
            for cut in cuts {
                all.push((1, place(from * 8, (cut - from) * 8, true)));
                from = cut;
            }
            all.push((1, place(from * 8, 5, false)));
            let count = all.len();
            (Just(all).prop_shuffle(), Just(count))
        }),
    ) {
        prop_assert_eq!(by_table(&all), vec![Some(Fate::Passed); whole]);
    }
}

#[test]
fn f03_overlaps_kill_and_an_exact_duplicate_does_not() {
    let first = place(0, 1200, true);
    let fates = by_table(&[(1, first), (1, first), (1, place(1200, 8, false))]);
    assert_eq!(fates, [Some(Fate::Passed), Some(Fate::Dropped(FragmentInvalid)), Some(Fate::Passed)]);
    let fates = by_table(&[(1, first), (1, place(1192, 16, false)), (1, place(1200, 8, false))]);
    let dead = Some(Fate::Dropped(FragmentInvalid));
    assert_eq!(fates, [Some(Fate::Passed), dead, dead]);
    // A kill takes what is held with it.
    assert_eq!(
        by_table(&[(1, place(8, 16, true)), (1, place(16, 16, true)), (1, first)]),
        [dead, dead, dead]
    );
}

#[test]
fn f04_the_longest_datagram_ends_at_65535() {
    let extents = Extents::default();
    assert_eq!(extents.fit(place(65_528, 7, false)), Fit::New);
    assert_eq!(extents.fit(place(65_528, 8, false)), Fit::Contradiction);
    assert_eq!(extents.fit(place(65_528, 1480, true)), Fit::Contradiction);
}

#[test]
fn a_datagram_that_is_killed_stays_dead_whether_or_not_it_was_known() {
    let mut table = table();
    assert_eq!(table.examine(START, &key(1, 1), place(8, 8, true), 5, &[5; 60]), Examined::Held);
    for id in 1..3 {
        table.kill(START, &key(1, id));
        for place in [place(0, 8, true), place(16, 8, false)] {
            let examined = table.examine(START, &key(1, id), place, 6, &[5; 60]);
            assert_eq!(examined, Examined::Refused(FragmentInvalid), "{id}");
        }
    }
    assert_eq!(table.next_fallen(), Some(Fallen { origin: 5, reason: FragmentInvalid }));
    assert_eq!(table.next_fallen(), None);
    assert_eq!((table.statistics().killed, table.statistics().refused), (2, 0));
    // Where all records are taken by datagrams that are judged, there is no place to note it.
    let mut table = self::table();
    let mut id = 0;
    while let Examined::First(_) = table.examine(START, &key(id % 200, id), place(0, 8, true), 0, &[5; 60]) {
        id += 1;
    }
    let refused = table.statistics().refused;
    table.kill(START, &key(300, 0));
    table.kill(START, &key(301, 0));
    assert_eq!(table.statistics().refused, refused + 2);
}

#[test]
fn keys_that_differ_in_one_bit_have_hashes_that_differ() {
    let hasher = siphasher::sip::SipHasher13::new_with_key(&[3; 16]);
    let base = key(0x0a01_0203, 0x5a5a);
    let (of_base, source) = base.hashes(&hasher);
    let mut others = vec![DatagramKey { vlan: VlanKey::new(PortId(1), 10), ..base }];
    for bit in 0..8 {
        others.push(DatagramKey { protocol: base.protocol ^ 1 << bit, ..base });
        others.push(DatagramKey { vlan: VlanKey::new(PortId(0), 10 ^ 1 << bit), ..base });
    }
    for bit in 0..32 {
        others.push(DatagramKey { identification: base.identification ^ 1 << bit, ..base });
    }
    for other in others {
        let (hash, same) = other.hashes(&hasher);
        assert_ne!(hash, of_base, "{other:?}");
        assert_eq!(same, source, "{other:?}");
    }
    assert_ne!(key(0x0a01_0202, 0x5a5a).hashes(&hasher).1, source);
}

#[test]
fn f07_a_second_last_fragment_that_changes_the_length_kills() {
    let dead = Some(Fate::Dropped(FragmentInvalid));
    let fates = by_table(&[(1, place(0, 8, true)), (1, place(16, 8, false)), (1, place(24, 8, false))]);
    assert_eq!(fates[2], dead);
    let fates = by_table(&[(1, place(0, 8, true)), (1, place(32, 8, true)), (1, place(16, 8, false))]);
    assert_eq!(fates[2], dead);
    let fates = by_table(&[(1, place(0, 8, true)), (1, place(16, 8, false)), (1, place(24, 8, true))]);
    assert_eq!(fates[2], dead);
}

#[test]
fn f08_a_fragment_before_its_first_is_held_until_its_time_is_over_and_then_an_orphan() {
    let mut table = table();
    let held = table.examine(START, &key(1, 1), place(8, 8, false), 9, &[1; 60]);
    assert_eq!(held, Examined::Held);
    table.end_batch();
    table.expire(Tick(START.0 + 4_999_999_999));
    assert_eq!(table.next_fallen(), None);
    table.expire(START + TIMEOUT);
    assert_eq!(table.next_fallen(), Some(Fallen { origin: 9, reason: FragmentOrphan }));
    assert_eq!(table.statistics().datagrams, 0);
}

#[test]
fn f09_a_65th_fragment_kills() {
    let mut all: Vec<_> = (0..65).map(|at| (1, place(at * 8, 8, true))).collect();
    all.push((1, place(65 * 8, 8, false)));
    let fates = by_table(&all);
    assert!(fates[..64].iter().all(|fate| *fate == Some(Fate::Passed)));
    assert!(fates[64..].iter().all(|fate| *fate == Some(Fate::Dropped(FragmentInvalid))));
    let last = (1, place(63 * 8, 8, false));
    let all: Vec<_> = (0..63).map(|at| (1, place(at * 8, 8, true))).chain([last]).collect();
    assert!(by_table(&all).iter().all(|fate| *fate == Some(Fate::Passed)));
}

#[test]
fn f10_another_protocol_vlan_or_identification_is_another_datagram() {
    let mut table = table();
    let base = key(1, 1);
    let first = table.examine(START, &base, place(0, 8, true), 0, &[0; 60]);
    assert!(matches!(first, Examined::First(_)));
    let others = [
        DatagramKey { protocol: 6, ..base },
        DatagramKey { vlan: VlanKey::new(PortId(0), 11), ..base },
        DatagramKey { vlan: VlanKey::new(PortId(1), 10), ..base },
        DatagramKey { identification: 2, ..base },
        DatagramKey { addresses: Addresses::V4(2, 0x0a00_0001), ..base },
        DatagramKey { addresses: Addresses::V6(1, 0x0a00_0001), ..base },
    ];
    for other in others {
        assert_eq!(table.examine(START, &other, place(8, 8, false), 0, &[0; 60]), Examined::Held);
    }
    assert!(matches!(table.examine(START, &base, place(8, 8, false), 0, &[0; 60]), Examined::Later(_)));
}

#[test]
fn f11_a_source_takes_an_eighth_of_the_budget_and_no_more() {
    let mut table = table();
    let frame = [5; 1514];
    let mut held = 0_u32;
    for id in 0..1000 {
        if table.examine(START, &key(1, id), place(1480, 1480, true), id, &frame) == Examined::Held {
            held += 1;
        }
        table.end_batch();
    }
    assert!((50..=SHARE / 1514).contains(&held), "{held} frames are held");
    // Another source still has its own, and firsts of the greedy one take the place of its oldest.
    assert_eq!(table.examine(START, &key(2, 1), place(1480, 8, true), 0, &frame), Examined::Held);
    for id in 5000..5008 {
        let first = table.examine(START, &key(1, id), place(0, 1480, true), 0, &frame);
        assert!(matches!(first, Examined::First(_)), "{first:?}");
        table.end_batch();
    }
    assert!(table.statistics().displaced > 0);
    assert_eq!(table.next_fallen(), Some(Fallen { origin: 0, reason: FragmentOrphan }));
}

#[test]
fn f11_few_datagrams_of_many_frames_keep_to_the_share_too() {
    let mut table = table();
    let mut held = 0;
    for fragment in 1..44 {
        for id in 0..3 {
            let place = place(fragment * 1480, 1480, true);
            if table.examine(START, &key(1, id), place, 0, &[5; 1514]) == Examined::Held {
                held += 1;
            }
            table.end_batch();
        }
    }
    assert!((50..=SHARE / 1514).contains(&held), "{held} frames are held");
}

#[test]
fn datagrams_are_counted_as_complete_in_whatever_order_they_come() {
    let mut table = table();
    for id in 0..3 {
        let _ = table.examine(START, &key(1, id), place(0, 8, true), 0, &[5; 60]);
        let _ = table.examine(START, &key(1, id), place(8, 8, false), 0, &[5; 60]);
        table.end_batch();
        assert_eq!(table.statistics().completed, u64::from(2 * id + 1));
        let _ = table.examine(START, &key(2, id), place(0, 8, false), 0, &[5; 60]);
        table.end_batch();
        assert_eq!(table.statistics().completed, u64::from(2 * id + 2));
        assert_eq!(table.statistics().datagrams, 0);
    }
}

#[test]
fn f11_small_frames_count_for_their_blocks_and_their_places() {
    let mut table = table();
    // Two blocks each.
    let frame = [5; hold::BLOCK + 1];
    let mut held = 0;
    for n in 0..2000_u32 {
        let place = place(8 + 8 * (n % 60) as u16, 8, true);
        if table.examine(START, &key(1, n / 60), place, n, &frame) == Examined::Held {
            held += 1;
        }
        table.end_batch();
    }
    assert!((SHARE / 256..SHARE / 128).contains(&held), "{held} frames are held");
    assert_eq!(table.statistics().held_frames, held);
    assert_eq!(table.statistics().held_bytes, held * 65);
    assert_eq!(table.statistics().refused, u64::from(2000 - held));
}

#[test]
fn f11_frames_of_many_sources_together_keep_to_the_budget() {
    let mut table = table();
    let frame = [5; 1514];
    let (mut held, mut refused) = (0, 0);
    for n in 0..600 {
        match table.examine(START, &key(n % 60, n), place(1480, 1480, true), n, &frame) {
            Examined::Held => held += 1,
            Examined::Refused(FragmentOrphan) => refused += 1,
            other => panic!("{other:?}"),
        }
        table.end_batch();
    }
    assert_eq!(table.statistics().held_frames, held);
    assert!(refused > 0 && held * 1536 < BUDGET as u32, "{held} are held, {refused} were refused");
    assert!(held * 1536 > BUDGET as u32 / 4, "{held} are held");
    // All memory comes back.
    let under_way = table.statistics().datagrams;
    table.expire(START + TIMEOUT);
    assert_eq!(table.statistics().expired, u64::from(under_way));
    while table.next_fallen().is_some() {}
    table.end_batch();
    assert_eq!(table.statistics().datagrams, 0);
    for round in 2..80 {
        let later = START + TIMEOUT * round;
        for n in 0..held {
            let examined = table.examine(later, &key(n % 60, 1000 + n), place(1480, 1480, true), n, &frame);
            assert_eq!(examined, Examined::Held, "{n} of {held}");
            table.end_batch();
        }
        table.expire(later + TIMEOUT);
        while table.next_fallen().is_some() {}
        table.end_batch();
    }
}

#[test]
fn f11_a_first_displaces_the_oldest_that_nobody_has_judged() {
    let mut table = table();
    for id in 0..3 {
        assert!(matches!(
            table.examine(START, &key(9, id), place(0, 8, true), 0, &[5; 60]),
            Examined::First(_)
        ));
    }
    for source in 100..20_000 {
        let _ = table.examine(START, &key(source, 1), place(1480, 1480, true), source, &[5; 60]);
        table.end_batch();
    }
    while table.next_fallen().is_some() {}
    for id in 0..3 {
        let first = table.examine(START, &key(7, id), place(0, 1480, true), 0, &[5; 60]);
        assert!(matches!(first, Examined::First(_)), "{first:?}");
        let Some(Fallen { origin, reason: FragmentOrphan }) = table.next_fallen() else {
            panic!("one falls")
        };
        assert!((100..103).contains(&origin), "{origin} is one of the oldest");
    }
    for id in 0..3 {
        let later = table.examine(START, &key(9, id), place(8, 8, true), 0, &[5; 60]);
        assert!(matches!(later, Examined::Later(_)), "a judged one stays");
    }
}

#[test]
fn f11_a_flood_from_everywhere_keeps_no_datagram_out_that_has_its_first() {
    let mut table = table();
    for source in 0..20_000 {
        let _ = table.examine(START, &key(source, 1), place(1480, 1480, true), source, &[5; 60]);
        table.end_batch();
    }
    while table.next_fallen().is_some() {}
    for id in 0..100 {
        let key = key(1 << 24, id);
        let first = table.examine(START, &key, place(0, 8, true), 0, &[0; 60]);
        assert!(matches!(first, Examined::First(_)), "{first:?}");
        table.end_batch();
        while table.next_fallen().is_some() {}
        let last = table.examine(START, &key, place(8, 8, false), 0, &[0; 60]);
        assert!(matches!(last, Examined::Later(_)), "{last:?}");
        table.end_batch();
    }
    assert!(table.statistics().displaced > 0, "{:?}", table.statistics());
}

#[test]
fn f11_a_million_random_fragments_stay_within_the_memory_and_leave_nothing_behind() {
    let mut table = table();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let frame = [7; 9000];
    let (mut now, mut held, mut ended) = (START, 0_u64, 0_u64);
    let mut buffer = [0; 9000];
    for n in 0..1_000_000_u32 {
        now = now + Duration::from_micros(random(40));
        let key = key(random(5000) as u32, random(3) as u32);
        let place = place(random(200) as u16 * 8, random(40) as u16 * 8, random(4) > 0);
        let length = 60 + random(1455) as usize;
        if random(50) == 0 {
            table.kill(now, &key);
        }
        match table.examine(now, &key, place, n, &frame[..length]) {
            Examined::First(id) => {
                table.set_fate(id, n);
                while let Some(frame) = table.take_held(id, Some(&mut buffer)) {
                    assert!(buffer[..frame.length as usize].iter().all(|b| *b == 7));
                    ended += 1;
                }
            }
            Examined::Later(id) => assert!(table.fate(id).is_some()),
            Examined::Held => held += 1,
            Examined::Refused(_) => {}
        }
        while table.next_fallen().is_some() {
            ended += 1;
        }
        if n % 7 == 0 {
            table.end_batch();
        }
        let statistics = table.statistics();
        assert!(statistics.held_bytes < BUDGET as u32);
        assert_eq!(u64::from(statistics.held_frames), held - ended);
    }
    table.clear();
    while table.next_fallen().is_some() {
        ended += 1;
    }
    let statistics = table.statistics();
    assert_eq!((held, statistics.datagrams, statistics.held_bytes), (ended, 0, 0), "{statistics:?}");
    assert!(statistics.completed > 0 && statistics.killed > 0 && statistics.refused > 0, "{statistics:?}");
}

#[test]
fn f13_a_complete_datagram_frees_its_identification_at_once() {
    let mut table = table();
    for _ in 0..3 {
        assert!(matches!(
            table.examine(START, &key(1, 1), place(0, 8, true), 0, &[0; 60]),
            Examined::First(_)
        ));
        assert!(matches!(
            table.examine(START, &key(1, 1), place(8, 8, false), 0, &[0; 60]),
            Examined::Later(_)
        ));
    }
    assert_eq!(table.examine(START, &key(1, 1), place(8, 8, false), 0, &[0; 60]), Examined::Held);
    table.end_batch();
    assert_eq!(table.statistics().datagrams, 1);
}
