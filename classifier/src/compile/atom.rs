//! The conditions of a policy, taken apart: what an address alone effects, and what is gated by a place.
//!
//! An *effect* is a number that stands for "is one of segment S's members", "is one of segment S's
//! exceptions" or "is in the rule endpoints E". A selector of addresses alone has its effect wherever the
//! address lies. One with a VLAN or MACs becomes a *gate*, which effects something only where these hold too.

use super::intern::WordHashMap;
use crate::addr::{IpRange, Mac, VlanKey};
use crate::policy::{EndpointSet, Member, Policy, RuleId, SegmentId, Selector};
use std::collections::hash_map::Entry;

/// The number of a distinct `from` or `to` that is not `any`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct SetId(pub(super) u32);

/// What it means to match a selector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// One of a segment's members is matched.
    Member(SegmentId),
    /// One of a segment's exceptions is matched.
    Except(SegmentId),
    /// The endpoint is in the set.
    Set(SetId),
}

/// What codes of effects mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codes {
    segments: u32,
}

impl Codes {
    /// The effect of a code.
    pub(super) fn effect(self, code: u32) -> Effect {
        if code >= 2 * self.segments {
            Effect::Set(SetId(code - 2 * self.segments))
        } else if code.is_multiple_of(2) {
            Effect::Member(SegmentId(code / 2))
        } else {
            Effect::Except(SegmentId(code / 2))
        }
    }
}

/// A selector with a VLAN or MACs.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    /// The VLAN that it asks for.
    pub(super) vlan: Option<VlanKey>,
    /// The MACs that it asks for: any of them, none where empty.
    pub(super) macs: Vec<Mac>,
    /// Whether it asks for addresses: then these are among [`Atoms::ranges`], with the gate's item.
    pub(super) has_addresses: bool,
    /// What it effects, as codes.
    pub(super) effects: Vec<u32>,
}

/// All conditions of a policy.
#[derive(Clone, Debug)]
pub(super) struct Atoms<'p> {
    /// Ranges of addresses and the item that they stand for: the code of an effect, or a gate.
    pub(super) ranges: Vec<(IpRange, u32)>,
    /// All gates. The item of a gate is its index beyond the codes of the effects.
    pub(super) gates: Vec<Gate>,
    /// The sets that rules name, by [`SetId`].
    pub(super) sets: Vec<&'p [Member]>,
    segments: u32,
    /// The set of each `from` and `to`.
    set_ids: WordHashMap<&'p [Member], SetId>,
    gate_ids: WordHashMap<&'p Selector, usize>,
}

impl<'p> Atoms<'p> {
    /// Takes a policy apart, as far as segments and these rules go.
    pub(super) fn new(policy: &'p Policy, rules: &[RuleId]) -> Self {
        let mut atoms = Atoms {
            ranges: Vec::new(),
            gates: Vec::new(),
            sets: Vec::new(),
            segments: u32::try_from(policy.segments().len()).expect("segment ids are 32 bits wide"),
            set_ids: WordHashMap::with_capacity_and_hasher(rules.len(), Default::default()),
            gate_ids: WordHashMap::default(),
        };
        for id in rules {
            let rule = policy.rule(*id);
            for set in [&rule.from, &rule.to] {
                if let EndpointSet::OneOf(members) = set
                    && let Entry::Vacant(vacant) = atoms.set_ids.entry(members)
                {
                    let number = u32::try_from(atoms.sets.len()).expect("two sets per rule at most");
                    vacant.insert(SetId(number));
                    atoms.sets.push(members);
                }
            }
        }
        for (id, segment) in (0u32..).zip(policy.segments()) {
            atoms.add(&segment.members, Effect::Member(SegmentId(id)));
            atoms.add(&segment.except, Effect::Except(SegmentId(id)));
        }
        for (id, members) in (0u32..).zip(atoms.sets.clone()) {
            atoms.add(members, Effect::Set(SetId(id)));
        }
        for gate in &mut atoms.gates {
            gate.effects.sort_unstable();
            gate.effects.dedup();
        }
        atoms
    }

    /// The set of a `from` or `to`; `None` for `any`.
    pub(super) fn set_of(&self, set: &EndpointSet) -> Option<SetId> {
        match set {
            EndpointSet::Any => None,
            EndpointSet::OneOf(members) => {
                Some(*self.set_ids.get(members.as_slice()).expect("the sets of all rules are known"))
            }
        }
    }

    /// The effect of a code.
    pub(super) fn effect(&self, code: u32) -> Effect {
        self.codes_of_effects().effect(code)
    }

    /// What codes mean.
    pub(super) fn codes_of_effects(&self) -> Codes {
        Codes { segments: self.segments }
    }
    /// The sets that rules name, by number.
    pub(super) fn set_ids(&self) -> impl Iterator<Item = (&'p [Member], u32)> {
        self.sets.iter().copied().zip(0..)
    }

    /// The index of the gate that an item stands for, `Err` with the code where it is an effect.
    pub(super) fn gate_of(&self, item: u32) -> Result<usize, u32> {
        item.checked_sub(self.codes()).map_or(Err(item), |gate| Ok(gate as usize))
    }

    /// How many codes of effects there are: the item of the first gate.
    pub(super) fn codes(&self) -> u32 {
        2 * self.segments + self.sets.len() as u32
    }

    fn code(&self, effect: Effect) -> u32 {
        match effect {
            Effect::Member(SegmentId(id)) => 2 * id,
            Effect::Except(SegmentId(id)) => 2 * id + 1,
            Effect::Set(SetId(id)) => 2 * self.segments + id,
        }
    }

    fn add(&mut self, members: &'p [Member], effect: Effect) {
        let code = self.code(effect);
        // One gate for all MACs of a list without further conditions: MACs that mean the same share a profile.
        let mut plain_macs = Vec::new();
        for member in members {
            let Member::Selector(selector) = member else {
                continue;
            };
            let Selector { vlan, macs, addresses } = selector;
            if vlan.is_none() && macs.is_empty() {
                self.ranges.extend(addresses.iter().map(|range| (*range, code)));
            } else if vlan.is_none() && addresses.is_empty() {
                plain_macs.extend_from_slice(macs);
            } else {
                self.add_gate(selector, code);
            }
        }
        if !plain_macs.is_empty() {
            let gate = Gate { vlan: None, macs: plain_macs, has_addresses: false, effects: vec![code] };
            self.gates.push(gate);
        }
    }

    fn add_gate(&mut self, selector: &'p Selector, code: u32) {
        let Selector { vlan, macs, addresses } = selector;
        if let Some(known) = self.gate_ids.get(selector) {
            self.gates[*known].effects.push(code);
            return;
        }
        let at = self.gates.len();
        self.gate_ids.insert(selector, at);
        let item = self.codes() + at as u32;
        self.ranges.extend(addresses.iter().map(|range| (*range, item)));
        let has_addresses = !addresses.is_empty();
        self.gates.push(Gate { vlan: *vlan, macs: macs.clone(), has_addresses, effects: vec![code] });
    }
}

/// For each segment, who takes its endpoints in as members or as exceptions.
#[derive(Clone, Debug)]
pub(super) struct Nesting {
    /// Effects of being in a segment, by segment.
    pub(super) effects: Vec<Vec<Effect>>,
    /// Position of each segment in an order in which members come before what they are members of.
    pub(super) position: Vec<u32>,
    /// The segments in that order.
    pub(super) order: Vec<u32>,
}

impl Nesting {
    /// The nesting of a policy, with the sets that its rules name.
    pub(super) fn new(policy: &Policy, sets: &[&[Member]]) -> Self {
        let count = policy.segments().len();
        let mut effects = vec![Vec::new(); count];
        let mut below = vec![0u32; count];
        let mut note = |members: &[Member], effect: Effect| {
            let mut noted = 0;
            for member in members {
                if let Member::Segment(SegmentId(inner)) = member {
                    effects[*inner as usize].push(effect);
                    noted += 1;
                }
            }
            noted
        };
        for (id, segment) in (0u32..).zip(policy.segments()) {
            below[id as usize] += note(&segment.members, Effect::Member(SegmentId(id)));
            below[id as usize] += note(&segment.except, Effect::Except(SegmentId(id)));
        }
        for (id, members) in (0u32..).zip(sets) {
            note(members, Effect::Set(SetId(id)));
        }
        let (order, position) = topological(&effects, below);
        Nesting { effects, position, order }
    }
}

/// Kahn's algorithm: a segment comes when all that it is made of have come. A policy has no cycles.
fn topological(effects: &[Vec<Effect>], mut below: Vec<u32>) -> (Vec<u32>, Vec<u32>) {
    let mut order: Vec<u32> = (0..below.len() as u32).filter(|id| below[*id as usize] == 0).collect();
    let mut next = 0;
    while let Some(&id) = order.get(next) {
        next += 1;
        for effect in &effects[id as usize] {
            if let Effect::Member(SegmentId(outer)) | Effect::Except(SegmentId(outer)) = effect {
                below[*outer as usize] -= 1;
                if below[*outer as usize] == 0 {
                    order.push(*outer);
                }
            }
        }
    }
    assert_eq!(order.len(), effects.len(), "the builder of policies refuses cycles");
    let mut position = vec![0; order.len()];
    for (at, id) in (0u32..).zip(&order) {
        position[*id as usize] = at;
    }
    (order, position)
}

/// Gates by MAC: what the place table needs to know of each.
pub(super) fn gates_by_mac(gates: &[Gate]) -> WordHashMap<u64, Vec<u32>> {
    let mut found: WordHashMap<u64, Vec<u32>> = WordHashMap::default();
    for (at, gate) in (0u32..).zip(gates) {
        for mac in &gate.macs {
            let listed = found.entry(crate::tables::place::PlaceTable::mac_word(*mac)).or_default();
            if listed.last() != Some(&at) {
                listed.push(at);
            }
        }
    }
    found
}
