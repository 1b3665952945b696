//! Folds VLANs and MACs in: address states, and how VLANs and MACs refine them.
//!
//! A state is the effects that hold so far, and the gates that wait for a MAC. Only combinations that differ
//! are spelled out. A VLAN or MAC that means something whatever the address (`vlan:10`) has an entry for
//! every state; one that is always bound to addresses has entries for the states of these alone, so that a
//! thousand bound MACs cost a thousand entries.

use super::atom::{Atoms, Gate, gates_by_mac};
use super::intern::{Interner, WordHashMap};
use super::word_map::word_map;
use super::{CompileError, Limits};
use crate::addr::{Mac, VlanKey};
use crate::tables::WordMap;
use crate::tables::place::{PlaceTable, Refinement, Row};
use std::collections::{BTreeMap, HashSet};

/// What is known of an endpoint.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct State {
    /// Codes of the effects that hold, sorted.
    effects: Vec<u32>,
    /// Gates that hold but for their MAC, sorted.
    waiting: Vec<u32>,
}

/// All states; the number of one that no MAC refines further is its class.
#[derive(Debug)]
struct States {
    states: Vec<State>,
    numbers: WordHashMap<State, u32>,
    limit: usize,
}

impl States {
    fn push(&mut self, state: State) -> Result<u32, CompileError> {
        if self.states.len() >= self.limit {
            return Err(CompileError::Classes { limit: self.limit });
        }
        let number = self.states.len() as u32;
        self.numbers.entry(state.clone()).or_insert(number);
        self.states.push(state);
        Ok(number)
    }

    fn number(&mut self, mut state: State) -> Result<u32, CompileError> {
        for list in [&mut state.effects, &mut state.waiting] {
            list.sort_unstable();
            list.dedup();
        }
        match self.numbers.get(&state) {
            Some(number) => Ok(*number),
            None => self.push(state),
        }
    }
}

/// The table under construction.
#[derive(Debug)]
struct Builder {
    gates: Vec<Gate>,
    states: States,
    cells: usize,
    most_cells: usize,
    /// By profile of a VLAN from 1 on: the VLAN, and its gates that ask for no address.
    of_vlans: Vec<(VlanKey, Vec<u32>)>,
    /// The profile of the VLAN of each gate that asks for addresses as well.
    vlan_of_gate: WordHashMap<u32, u16>,
    /// By profile of a MAC from 1 on: its gates, and those of them that ask for nothing else.
    of_macs: Vec<(Vec<u32>, Vec<u32>)>,
    /// The profiles of MACs without free gates, by gate.
    macs_of_gate: WordHashMap<u32, Vec<u32>>,
}

/// Profiles by VLAN, and what they refine.
type ByVlan = (Option<Box<[u16]>>, Refinement);

/// What comes out.
pub(super) struct Placed {
    /// The look-up table.
    pub(super) table: PlaceTable,
    /// The effects that hold in each class, by class.
    pub(super) effects: Vec<Vec<u32>>,
    /// How to go on, where there are VLANs or MACs.
    pub(super) placing: Option<Placing>,
}

/// Folds VLANs and MACs into states that come later.
#[derive(Debug)]
pub(super) struct Placing {
    builder: Builder,
    /// The item of the first gate.
    first_gate: u32,
    /// States below this one are refined by the MACs' own table.
    before: u32,
    /// Later ones, and those that no MAC was to refine then, which are refined by `later`.
    refined: HashSet<u32>,
    /// How VLANs refine the states that came later.
    pub(super) by_vlan: Vec<(u64, u32)>,
    /// How MACs refine them.
    pub(super) by_mac: Vec<(u64, u32)>,
    /// The profiles of MACs that mean something else by now; 0: nothing.
    pub(super) macs: WordHashMap<u64, u32>,
    /// Grows with each change.
    pub(super) version: u64,
}

impl Placing {
    /// Entries that a new state has at most, but for those that ask for its addresses.
    pub(super) fn entries_of_state(&self) -> usize {
        let dense = |free: &&Vec<u32>| !free.is_empty();
        let vlans = self.builder.of_vlans.iter().map(|(_, free)| free).filter(dense).count();
        let macs = self.builder.of_macs.iter().map(|(_, free)| free).filter(dense).count();
        (vlans + 1) * (macs + 1)
    }

    /// How many states there are: classes.
    pub(super) fn len(&self) -> u32 {
        self.builder.states.states.len() as u32
    }

    /// The effects that hold in a class.
    pub(super) fn effects(&self, class: u32) -> &[u32] {
        &self.builder.states.states[class as usize].effects
    }

    /// Adds the state of addresses for which these items hold, and what VLANs and MACs make of it; its number.
    ///
    /// # Errors
    /// There is no room for it.
    pub(super) fn add(&mut self, items: &[u32]) -> Result<u32, CompileError> {
        self.version += 1;
        let builder = &mut self.builder;
        let (mut state, mut gates) = (State::default(), Vec::new());
        for item in items {
            match item.checked_sub(self.first_gate) {
                Some(gate) if (gate as usize) < builder.gates.len() => gates.push(gate),
                Some(_) | None => state.effects.push(*item),
            }
        }
        state.waiting = builder.waiting(&gates);
        let number = builder.states.push(state)?;
        let mut seen = vec![number];
        for (profile, (vlan, free)) in (1u32..).zip(builder.of_vlans.clone()) {
            let is_bound = |gate: &u32| {
                if free.is_empty() {
                    builder.vlan_of_gate.get(gate).is_some_and(|of| u32::from(*of) == profile)
                } else {
                    builder.gates[*gate as usize].vlan == Some(vlan)
                }
            };
            let bound: Vec<u32> = gates.iter().copied().filter(is_bound).collect();
            if free.is_empty() && bound.is_empty() {
                continue;
            }
            builder.count_cell()?;
            let refined = builder.with_gates(number, free.into_iter().chain(bound))?;
            self.by_vlan.push((Refinement::word(profile, number), refined));
            seen.push(refined);
        }
        for state in seen {
            if state >= self.before && self.refined.insert(state) {
                self.refine_by_macs(state)?;
            }
        }
        Ok(number)
    }

    /// Takes MACs out of the lists that have this effect, and puts others in; `None`, and nothing is done, where no MAC
    /// means yet what one of them would.
    pub(super) fn set_macs(
        &mut self,
        table: &PlaceTable,
        code: u32,
        lost: &[Mac],
        gained: &[Mac],
    ) -> Option<()> {
        if lost.is_empty() && gained.is_empty() {
            return Some(());
        }
        let Builder { gates, of_macs, .. } = &self.builder;
        let asks_no_more = |gate: &Gate| gate.vlan.is_none() && !gate.has_addresses && gate.effects == [code];
        let gate = gates.iter().position(asks_no_more)? as u32;
        let mut moved = Vec::with_capacity(lost.len() + gained.len());
        for (mac, is_in) in lost.iter().map(|mac| (mac, false)).chain(gained.iter().map(|mac| (mac, true))) {
            let word = PlaceTable::mac_word(*mac);
            let of_table = || table.macs.as_ref().and_then(|macs| macs.get(word));
            let profile = self.macs.get(&word).copied().or_else(of_table).unwrap_or(0);
            let known = (profile as usize).checked_sub(1).map(|at| of_macs[at].0.as_slice());
            let mut gates = known.unwrap_or_default().to_vec();
            match (gates.binary_search(&gate), is_in) {
                (Err(at), true) => gates.insert(at, gate),
                (Ok(at), false) => drop(gates.remove(at)),
                (Ok(_), true) | (Err(_), false) => {}
            }
            let profile = if gates.is_empty() {
                0
            } else {
                of_macs.iter().position(|(of, _)| *of == gates)? as u32 + 1
            };
            moved.push((word, profile));
        }
        self.macs.extend(moved);
        self.version += 1;
        Some(())
    }

    fn refine_by_macs(&mut self, state: u32) -> Result<(), CompileError> {
        let builder = &mut self.builder;
        let waiting = builder.states.states[state as usize].waiting.clone();
        for (profile, (gates, free)) in (1u32..).zip(builder.of_macs.clone()) {
            if free.is_empty() && !waiting.iter().any(|gate| gates.contains(gate)) {
                continue;
            }
            builder.count_cell()?;
            let refined = builder.with_mac(state, &gates, &free)?;
            self.by_mac.push((Refinement::word(profile, state), refined));
        }
        Ok(())
    }
}

/// Folds the gates of `atoms` into the states that `items` describe: the items that hold for each state of an
/// address, by its number.
pub(super) fn place(atoms: &Atoms<'_>, items: &Interner, limits: &Limits) -> Result<Placed, CompileError> {
    if atoms.gates.is_empty() {
        return by_address(items, limits);
    }
    let states = States { states: Vec::new(), numbers: WordHashMap::default(), limit: limits.classes };
    let mut builder = Builder {
        gates: atoms.gates.clone(),
        states,
        cells: 0,
        most_cells: limits.places,
        of_vlans: Vec::new(),
        vlan_of_gate: WordHashMap::default(),
        of_macs: Vec::new(),
        macs_of_gate: WordHashMap::default(),
    };
    // Gates whose addresses hold, by state.
    let mut near: Vec<Vec<u32>> = Vec::with_capacity(items.len());
    for number in 0..items.len() as u32 {
        let mut state = State::default();
        let mut gates = Vec::new();
        for item in items.get(number) {
            match atoms.gate_of(*item) {
                Err(code) => state.effects.push(code),
                Ok(gate) => gates.push(gate as u32),
            }
        }
        state.waiting = builder.waiting(&gates);
        builder.states.push(state)?;
        near.push(gates);
    }
    let (vlans, by_vlan) = builder.vlans(&near)?;
    let before = builder.states.states.len() as u32;
    let (macs, by_mac) = builder.macs()?;
    let table = PlaceTable { vlans, by_vlan, macs, by_mac };
    if !table.speaks_of_places() {
        let effects = builder.states.states.into_iter().map(|state| state.effects).collect();
        return Ok(Placed { table, effects, placing: None });
    }
    let effects = builder.states.states.iter().map(|state| state.effects.clone()).collect();
    let placing = Placing {
        builder,
        first_gate: atoms.codes(),
        before,
        refined: HashSet::new(),
        by_vlan: Vec::new(),
        by_mac: Vec::new(),
        macs: WordHashMap::default(),
        version: 0,
    };
    Ok(Placed { table, effects, placing: Some(placing) })
}

/// Where no VLAN or MAC means anything, the states are the items themselves.
fn by_address(items: &Interner, limits: &Limits) -> Result<Placed, CompileError> {
    if items.len() > limits.classes {
        return Err(CompileError::Classes { limit: limits.classes });
    }
    let nothing = || Refinement::none(word_map(&[]));
    let table = PlaceTable { vlans: None, by_vlan: nothing(), macs: None, by_mac: nothing() };
    Ok(Placed {
        table,
        effects: (0..items.len() as u32).map(|number| items.get(number).to_vec()).collect(),
        placing: None,
    })
}

impl Builder {
    /// Those of the gates that wait for a MAC alone.
    fn waiting(&self, gates: &[u32]) -> Vec<u32> {
        gates.iter().copied().filter(|gate| self.gates[*gate as usize].vlan.is_none()).collect()
    }

    fn count_cell(&mut self) -> Result<(), CompileError> {
        self.cells += 1;
        if self.cells > self.most_cells {
            return Err(CompileError::Places { limit: self.most_cells });
        }
        Ok(())
    }

    /// The state with more gates holding: those that ask for a MAC begin to wait for it.
    fn with_gates(&mut self, state: u32, gates: impl Iterator<Item = u32>) -> Result<u32, CompileError> {
        let mut refined = self.states.states[state as usize].clone();
        for gate in gates {
            let found = &self.gates[gate as usize];
            if found.macs.is_empty() {
                refined.effects.extend_from_slice(&found.effects);
            } else {
                refined.waiting.push(gate);
            }
        }
        self.states.number(refined)
    }

    fn vlans(&mut self, near: &[Vec<u32>]) -> Result<ByVlan, CompileError> {
        // By VLAN: the gates that ask for it whatever the address, and those that ask for addresses too.
        let mut by_vlan: BTreeMap<VlanKey, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
        for (at, gate) in (0u32..).zip(&self.gates) {
            if let Some(vlan) = gate.vlan {
                let (free, bound) = by_vlan.entry(vlan).or_default();
                if gate.has_addresses { bound.push(at) } else { free.push(at) }
            }
        }
        if by_vlan.is_empty() {
            return Ok((None, Refinement::none(word_map(&[]))));
        }
        let mut profiles = vec![0u16; 1 << 16].into_boxed_slice();
        let mut rows = vec![Row::Sparse];
        let (mut dense, mut sparse) = (Vec::new(), Vec::new());
        let mut known: WordHashMap<Vec<u32>, u16> = WordHashMap::default();
        for (vlan, (free, bound)) in &by_vlan {
            // VLANs that nothing is bound to mean the same where their gates effect the same.
            if bound.is_empty() && free.iter().all(|g| self.gates[*g as usize].macs.is_empty()) {
                let mut effects: Vec<u32> =
                    free.iter().flat_map(|g| self.gates[*g as usize].effects.iter().copied()).collect();
                effects.sort_unstable();
                effects.dedup();
                if let Some(profile) = known.get(&effects) {
                    profiles[vlan.index()] = *profile;
                    continue;
                }
                known.insert(effects, rows.len() as u16);
            }
            // At most 65,536 VLANs, of which one with VID 4095 cannot be configured.
            let profile = u16::try_from(rows.len()).map_err(|_| CompileError::Places { limit: 65_535 })?;
            profiles[vlan.index()] = profile;
            self.vlan_of_gate.extend(bound.iter().map(|gate| (*gate, profile)));
            self.of_vlans.push((*vlan, free.clone()));
            if free.is_empty() {
                rows.push(Row::Sparse);
                continue;
            }
            rows.push(Row::Dense(dense.len() as u32));
            for (state, gates) in (0u32..).zip(near) {
                self.count_cell()?;
                let bound = gates.iter().copied().filter(|g| self.gates[*g as usize].vlan == Some(*vlan));
                let bound: Vec<u32> = bound.collect();
                dense.push(self.with_gates(state, free.iter().copied().chain(bound))?);
            }
        }
        for (state, gates) in (0u32..).zip(near) {
            let mut by_profile: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
            for gate in gates {
                if let Some(profile) = self.vlan_of_gate.get(gate) {
                    by_profile.entry(*profile).or_default().push(*gate);
                }
            }
            for (profile, gates) in by_profile {
                if let Row::Sparse = rows[usize::from(profile)] {
                    self.count_cell()?;
                    let refined = self.with_gates(state, gates.into_iter())?;
                    sparse.push((Refinement::word(u32::from(profile), state), refined));
                }
            }
        }
        let width = near.len() as u32;
        Ok((Some(profiles), Refinement { rows, dense, width, sparse: word_map(&sparse) }))
    }

    fn macs(&mut self) -> Result<(Option<WordMap>, Refinement), CompileError> {
        let by_mac = gates_by_mac(&self.gates);
        if by_mac.is_empty() {
            return Ok((None, Refinement::none(word_map(&[]))));
        }
        let mut macs: Vec<(u64, Vec<u32>)> = by_mac.into_iter().collect();
        macs.sort_unstable();
        let mut known: WordHashMap<Vec<u32>, u32> = WordHashMap::default();
        let mut entries = Vec::with_capacity(macs.len());
        // Gates of each profile; those of profile 0 are none.
        let mut profiles: Vec<Vec<u32>> = vec![Vec::new()];
        for (word, gates) in macs {
            let profile = *known.entry(gates).or_insert_with_key(|gates| {
                profiles.push(gates.clone());
                profiles.len() as u32 - 1
            });
            entries.push((word, profile));
        }
        let before = self.states.states.len() as u32;
        let mut rows = vec![Row::Sparse];
        let (mut dense, mut sparse) = (Vec::new(), Vec::new());
        for (profile, gates) in (0u32..).zip(&profiles).skip(1) {
            let asks_no_more = |g: &u32| {
                let gate = &self.gates[*g as usize];
                gate.vlan.is_none() && !gate.has_addresses
            };
            let free: Vec<u32> = gates.iter().copied().filter(asks_no_more).collect();
            self.of_macs.push((gates.clone(), free.clone()));
            if free.is_empty() {
                rows.push(Row::Sparse);
                for gate in gates {
                    self.macs_of_gate.entry(*gate).or_default().push(profile);
                }
                continue;
            }
            rows.push(Row::Dense(dense.len() as u32));
            for state in 0..before {
                self.count_cell()?;
                dense.push(self.with_mac(state, gates, &free)?);
            }
        }
        for state in 0..before {
            let waiting = &self.states.states[state as usize].waiting;
            let mut here: Vec<u32> =
                waiting.iter().filter_map(|gate| self.macs_of_gate.get(gate)).flatten().copied().collect();
            here.sort_unstable();
            here.dedup();
            for profile in here {
                self.count_cell()?;
                let refined = self.with_mac(state, &profiles[profile as usize], &[])?;
                sparse.push((Refinement::word(profile, state), refined));
            }
        }
        let table = Refinement { rows, dense, width: before, sparse: word_map(&sparse) };
        Ok((Some(word_map(&entries)), table))
    }

    /// The state of an endpoint with a MAC: of the MAC's `gates`, those that waited for it hold now, and so
    /// do the `free` ones.
    fn with_mac(&mut self, state: u32, gates: &[u32], free: &[u32]) -> Result<u32, CompileError> {
        let State { mut effects, waiting } = self.states.states[state as usize].clone();
        for gate in waiting.iter().filter(|g| gates.contains(g)).chain(free) {
            effects.extend_from_slice(&self.gates[*gate as usize].effects);
        }
        self.states.number(State { effects, waiting: Vec::new() })
    }
}
