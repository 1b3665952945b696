//! The table against a `HashMap`, under random operations, for both families.

use super::Table;
use crate::entry::Body;
use crate::hash::Address;
use crate::ledger::EndReason;
use crate::moment::{Moment, Span};
use crate::peers::Peers;
use crate::state::State;
use crate::time::Tick;
use classifier::addr::{Mac, PortId, VlanKey};
use classifier::flow::{Domain, End, Key, KeyKind};
use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Duration;

const SEED: u64 = 0x5eed_0f1e;
const CAPACITY: usize = 500;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

const STATES: [State; 4] = [State::OneWay, State::TwoWay, State::Closed, State::Established];

fn agrees_with_a_hash_map<A: Address + From<u32> + Hash + Debug>() {
    eprintln!("seed {SEED:#x}");
    let mut random = Random(SEED);
    let mut now = Tick(1_700_000_000_000_000_000);
    let mut table: Table<A> = Table::new(CAPACITY, [1; 16]);
    // The slot, the deadline in milliseconds, and the state.
    let mut model: HashMap<Key<A>, (u32, u64, State)> = HashMap::new();
    table.sweep(now, false, u32::MAX, |_| panic!("the table is empty"));
    for step in 0..200_000 {
        let key = Key {
            first: A::from(random.below(30) as u32),
            second: A::from(random.below(30) as u32),
            first_port: random.below(2) as u16,
            second_port: 0,
            domain: Domain::ROUTED,
            protocol: 17,
            kind: KeyKind::Ports,
        };
        assert_eq!(table.find(table.hash(&key), &key), model.get(&key).map(|known| known.0), "step {step}");
        let state = STATES[random.below(4) as usize];
        let span = [random.below(100), random.below(10_000), random.below(864_000_000)]
            [random.below(3) as usize]
            + 1;
        match (random.below(10), model.get_mut(&key)) {
            (0..4, None) => {
                let mut body =
                    Body::new(End::First, VlanKey::new(PortId(0), 1), Mac::ZERO, state, Peers::default());
                body.deadline = Moment::of(now).after(Span(span as u32));
                let slot = table.insert(now, (key, table.place(table.hash(&key))), body, None);
                assert_eq!(slot.is_some(), model.len() < CAPACITY, "step {step}");
                if let Some(slot) = slot {
                    model.insert(key, (slot, now.millis() + span, state));
                }
            }
            (0..6, Some(known)) => {
                known.1 = now.millis() + span;
                table.rearm(now, known.0, Moment::of(now).after(Span(span as u32)));
            }
            (6, Some(known)) => {
                let old = table.entry(known.0).body.class();
                known.2 = state;
                table.body_mut(known.0).set_state(state);
                table.reclassify(known.0, old);
            }
            (7, Some(known)) => {
                table.remove(known.0, EndReason::Forced);
                model.remove(&key);
            }
            (8, _) => {
                let jump = [random.below(20), random.below(500), random.below(3_000_000)];
                now = now + Duration::from_millis(jump[random.below(30).saturating_sub(27) as usize]);
                check_sweep(&mut table, &mut model, now, step);
            }
            (_, _) => {}
        }
        assert_eq!(table.len(), model.len(), "step {step}");
    }
    assert!(table.slots().count() == model.len() && !model.is_empty());
    assert!(table.slots().all(|slot| model[&table.entry(slot).key].0 == slot));
    let listed = |states: &[State]| model.values().filter(|known| states.contains(&known.2)).count();
    assert_eq!(table.closing().len(), listed(&[State::Closed]));
    // No flow of the model was ever assured, so Established counts as half-open.
    assert_eq!(table.half_open().len(), listed(&[State::OneWay, State::Established]));
}

/// After a sweep nothing is there that expired before this tick began, and nothing is gone that has not expired.
fn check_sweep<A: Address + Hash + Debug>(
    table: &mut Table<A>,
    model: &mut HashMap<Key<A>, (u32, u64, State)>,
    now: Tick,
    step: u32,
) {
    let mut gone = 0;
    table.sweep(now, false, u32::MAX, |body| {
        assert!(body.deadline.has_come(Moment::of(now)), "step {step}");
        gone += 1;
    });
    let tick_began = now.millis() & !63;
    let before = model.len();
    model.retain(|key, known| {
        let is_there = table.find(table.hash(key), key).is_some();
        assert!(if is_there { known.1 > tick_began } else { known.1 <= now.millis() }, "step {step}");
        is_there
    });
    assert_eq!(before - model.len(), gone, "step {step}");
}

#[test]
fn the_ipv4_table_agrees_with_a_hash_map() {
    agrees_with_a_hash_map::<u32>();
}

#[test]
fn the_ipv6_table_agrees_with_a_hash_map() {
    agrees_with_a_hash_map::<u128>();
}
