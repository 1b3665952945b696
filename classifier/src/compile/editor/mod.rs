//! Small changes to compiled tables, without compiling anew.
//!
//! An [`Editor`] belongs to the control thread. Generations take turns in two copies of the tables: each change is made in
//! the one that is not out ([`Editor::generation`]), which first catches up with the change before, and has the policy as
//! changed ([`Tables::policy`]). Publishing it is the caller's business: one swap of an `Arc`.
//!
//! ```text
//! change ─► policy: one rule or segment replaced, all else shared      (a list of pages)
//!        ─► order: a label between two rules                           (order)
//!        ─► members: addresses ─► states ─► classes ─► rows            (members; VLANs and MACs: `super::place`)
//!        ─► rules: sets, rows that are in them                         (rules)
//!        ─► pairs of rows ─► lists of rules ─► contents of cells       (pairs, contents)
//! ```
//!
//! What can be changed: addresses of members and exceptions of IPv4 and IPv6, modes of segments, rules in and out for good or for a while, with sides of any width and
//! endpoints that no rule has named before, in tables of lines and of rows; also where the policy speaks of VLANs and
//! MACs, as long as it goes on to speak of the same VLANs, and MACs come to mean what others mean already. What can't is an [`EditError`] that names the
//! reason; [`Editor::rebuild`] then makes the change by a compilation. A change that is refused leaves policy and tables
//! as they were.
//!
//! # Rules keep their numbers
//!
//! A [`RuleId`] that an answer of any generation names is the same rule in all later ones: new rules get numbers behind
//! all others, wherever they stand in the order of evaluation, and rules that were taken out keep theirs, as rules that
//! have expired. [`Editor::rebuild`] alone counts anew.
//!
//! # When memory is freed
//!
//! All that a generation consists of is behind one `Arc<Tables>`. The editor writes only tables that it has taken out of
//! their `Arc`, which `Arc::try_unwrap` grants to the last that has it. So a generation never changes once it is out, and
//! what a worker reads through one `Arc<Tables>` is one generation, however many are published meanwhile.
//!
//! A generation has one reference from where it is published, one from each worker that is in the midst of a batch with
//! it, and one from the editor. Publishing the next drops the first; a worker drops its own at the end of the batch.
//! `ArcSwap::load` takes a reference, or leaves a note (a *debt*) that the swap settles before it returns, so there is no
//! moment in which a worker reads what nobody counts. With the next change the editor takes the memory over, or, where a
//! worker still has it, leaves it to the last to go and copies the newest generation whole. So besides what workers still
//! read there are never more than two copies. `tests/generations.rs` shows it under load: batches that mix generations
//! would be seen, and generations that stay behind would be counted.
//!
//! # Example
//!
//! ```
//! use classifier::addr::{IpRange, Mac, PortId, VlanKey};
//! use classifier::compile::{Editor, Limits};
//! use classifier::policy::{
//!     Action, DefaultAction, EndpointSet, Member, Mode, Place, PolicyBuilder, PortRange, Rule, Segment,
//!     Service, TierId, Timestamp,
//! };
//! use std::sync::Arc;
//!
//! let now = Timestamp(0);
//! let mut builder = PolicyBuilder::new(vec!["default".into()], DefaultAction::Deny, Mode::Enforce);
//! let segment = |name: &str| Segment { name: name.into(), members: vec![], except: vec![], mode: Mode::Enforce };
//! let (web, db) = (builder.segment(segment("web")), builder.segment(segment("db")));
//! let mut editor = Editor::new(&Arc::new(builder.build().unwrap()), now, &Limits::default()).unwrap();
//!
//! let host = |text: &str| IpRange::single(text.parse().unwrap());
//! editor.add_member(web, host("10.0.0.1")).unwrap();
//! editor.add_member(db, host("10.0.9.1")).unwrap();
//! let set = |segment| EndpointSet::OneOf(vec![Member::Segment(segment)]);
//! let service = Service { protocol: Some(6), source: PortRange::ALL, destination: PortRange::single(5432) };
//! let rule = Rule::new("web-db", TierId(0), set(web), set(db), vec![service], Action::Allow);
//! let before = editor.generation();
//! let id = editor.add_rule(rule, Place::First).unwrap();
//! let after = editor.generation();
//!
//! let rule = |tables: &classifier::tables::Tables| {
//!     let vlan = VlanKey::new(PortId(0), 0);
//!     let from = tables.source_class(vlan, Mac([0; 6]), "10.0.0.1".parse().unwrap());
//!     let to = tables.destination_class(vlan, None, "10.0.9.1".parse().unwrap());
//!     tables.decide(from, to, 6, 40_000, 5432).rule
//! };
//! assert_eq!((rule(&before), rule(&after)), (None, Some(id)));
//! assert_eq!(after.policy().rule(id).id, "web-db");
//! ```

mod contents;
mod draft;
mod error;
mod members;
mod order;
mod pairs;
mod rules;
mod side;
mod swap;
#[cfg(test)]
mod tests;
mod work;

pub use draft::Change;
pub use error::{EditError, RebuildError};

use super::atom::{Codes, Nesting};
use super::cell::Sides;
use super::intern::{Interner, WordHashMap};
use super::membership::Evaluator;
use super::place::Placing;
use super::space::SpaceBuilder;
use super::word_map::word_map;
use super::{CompileError, Limits, Parts, compile_parts};
use crate::addr::IpRange;
use crate::policy::{Member, Mode, Place, Policy, Rule, RuleId, SegmentId, Selector, Timestamp};
use crate::tables::fast::Fast;
use crate::tables::place::LaterPlaces;
use crate::tables::ports::{PortRows, Ports, Rows};
use crate::tables::{CellTables, ClassId, Tables};
use contents::Contents;
use draft::{Draft, Effect};
use members::{Renumbered, RunsV6};
use order::Order;
use side::EditedSide;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use work::Work;

/// Compiled tables that can be changed.
pub struct Editor {
    policy: Arc<Policy>,
    now: Timestamp,
    limits: Limits,
    /// The newest generation.
    generation: Arc<Tables>,
    /// The tables under change; between changes the generation before, in which the next is made if nobody sees it.
    tables: Arc<Tables>,
    /// Whether nobody else sees the tables under change. So it stays over a change that was refused: what it has
    /// put into the tables is in no cell, but the next may use it.
    is_begun: bool,
    order: Order,
    /// When each suspended rule is to expire.
    suspended: WordHashMap<u32, Option<Timestamp>>,
    /// Rules by the hash of their id.
    names: WordHashMap<u64, RuleId>,
    codes: Codes,
    nesting: Nesting,
    evaluator: Evaluator,
    /// Lists of items by state.
    items: Interner,
    /// The sets that new items stand for.
    new_items: Vec<u32>,
    space: SpaceBuilder,
    runs_v6: RunsV6,
    /// How VLANs and MACs refine states, where the policy speaks of any.
    placing: Option<Placing>,
    /// Its version that the newest generation has.
    published_places: u64,
    /// By number in `items` the state, and by state the number, of those that differ.
    placed: Renumbered,
    most_classes: usize,
    /// Numbers of the sets that rules name.
    sets: HashMap<Vec<Member>, u32>,
    sides: [EditedSide; 2],
    /// The sides of each rule.
    rules: Vec<Sides>,
    /// Whether narrow pairs are hashed; else all rules are in the matrix.
    hashes: bool,
    contents: Contents,
    work: Work,
    /// Why nothing can be changed in place.
    obstacle: Option<EditError>,
    /// Whether the tables answer as one policy does; not so in the midst of a change.
    is_whole: bool,
}

impl fmt::Debug for Editor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Editor").field("statistics", &self.generation.statistics).finish_non_exhaustive()
    }
}

/// Entries in the tables of VLANs and MACs that a new combination of addresses may need.
const ENTRIES: usize = 1 << 10;
/// Such entries that changes may add before the tables count as full.
const LATER: usize = 1 << 16;

/// What the tables can't be changed for.
fn obstacle(tables: &Tables, placing: Option<&Placing>) -> Option<EditError> {
    if placing.is_some_and(|placing| placing.entries_of_state() > ENTRIES) {
        return Some(EditError::Place);
    }
    match &tables.cells {
        CellTables::Grouped(_) => Some(EditError::Form),
        CellTables::Closed(fast) if fast.layers.is_some() => Some(EditError::Form),
        CellTables::Closed(Fast { ports: Ports::Rows(PortRows { rows: Rows::Shaped(_), .. }), .. }) => {
            Some(EditError::Form)
        }
        CellTables::Closed(_) => None,
    }
}

/// Tables that nobody else sees.
fn own(tables: &mut Arc<Tables>) -> &mut Tables {
    Arc::get_mut(tables).expect("`Editor::begin` has made sure that nobody else sees the tables under change")
}

impl Editor {
    /// Compiles the policy as it stands at `now`.
    ///
    /// # Errors
    /// Where the policy does not compile within its limits.
    pub fn new(policy: &Arc<Policy>, now: Timestamp, limits: &Limits) -> Result<Self, CompileError> {
        let (tables, parts) = compile_parts(policy, now, limits)?;
        let Parts {
            atoms,
            nesting,
            evaluator,
            items,
            from,
            to,
            rules: by_rank,
            builder,
            space,
            v6_runs,
            placing,
        } = parts;
        let sets = atoms.sets.len();
        let mut rules = vec![Sides { from: None, to: None }; policy.rules().len()];
        for (ranked, sides) in builder.ranked().iter().zip(by_rank) {
            rules[ranked.rule.0 as usize] = sides;
        }
        let obstacle = obstacle(&tables, placing.as_ref());
        let hashes = match &tables.cells {
            CellTables::Closed(fast) => fast.cells.is_hashed || fast.cells.matrix.len() == 1,
            CellTables::Grouped(_) => false,
        };
        let generation = Arc::new(tables);
        let tables = Arc::clone(&generation);
        let mut editor = Editor {
            policy: Arc::clone(policy),
            now,
            limits: *limits,
            order: Order::new(policy),
            suspended: WordHashMap::default(),
            names: draft::names(policy),
            codes: atoms.codes_of_effects(),
            sets: atoms.set_ids().map(|(members, id)| (members.to_vec(), id)).collect(),
            nesting,
            evaluator,
            items,
            new_items: Vec::new(),
            space,
            runs_v6: RunsV6::new(v6_runs),
            placing,
            published_places: 0,
            placed: Renumbered::default(),
            most_classes: if tables.v4.upper.is_some() { limits.classes } else { 1 << 16 },
            sides: [EditedSide::new(from, sets), EditedSide::new(to, sets)],
            rules,
            hashes,
            contents: Contents::new(policy, &builder, &tables),
            work: Work::new(policy.rules().len()),
            generation,
            tables,
            is_begun: false,
            obstacle,
            is_whole: true,
        };
        if editor.obstacle.is_none() {
            editor.index_rules();
            if let CellTables::Closed(fast) = &editor.tables.cells {
                pairs::index_coarse(&mut editor.sides, &fast.cells);
            }
        }
        Ok(editor)
    }

    /// The newest generation, which no later change touches.
    #[must_use]
    pub fn generation(&self) -> Arc<Tables> {
        Arc::clone(&self.generation)
    }

    /// The tables of the newest generation.
    #[must_use]
    pub fn tables(&self) -> Tables {
        (*self.generation).clone()
    }

    /// The policy with all changes that were made.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// How often there was no room left between two rules, so that those put there were given new labels.
    #[must_use]
    pub fn renumberings(&self) -> u64 {
        self.order.renumberings
    }

    /// Makes the addresses a member of the segment.
    ///
    /// # Errors
    /// Where that can't be done in place.
    pub fn add_member(&mut self, segment: SegmentId, range: IpRange) -> Result<(), EditError> {
        let selector = Selector { addresses: vec![range], ..Selector::default() };
        self.apply(&Change::AddMember(segment, selector)).map(drop)
    }

    /// Takes a member out of the segment: one that was named, or added, as just this range.
    ///
    /// # Errors
    /// Where that can't be done in place.
    pub fn remove_member(&mut self, segment: SegmentId, range: IpRange) -> Result<(), EditError> {
        let selector = Selector { addresses: vec![range], ..Selector::default() };
        self.apply(&Change::RemoveMember(segment, selector)).map(drop)
    }

    /// Puts a new rule in its place among those of its tier; the number that it has from now on.
    ///
    /// # Errors
    /// Where that can't be done in place.
    pub fn add_rule(&mut self, rule: Rule, place: Place) -> Result<RuleId, EditError> {
        let added = self.apply(&Change::AddRule(Box::new(rule), place))?;
        Ok(added.expect("a rule that was added has a number"))
    }

    /// Takes a rule out for good. Its number is not used again.
    ///
    /// # Errors
    /// Where that can't be done in place.
    pub fn remove_rule(&mut self, rule: RuleId) -> Result<(), EditError> {
        self.apply(&Change::RemoveRule(rule)).map(drop)
    }

    /// Takes a rule out for a while: from now on it is as if it had expired.
    ///
    /// # Errors
    /// Where that can't be done in place.
    pub fn suspend_rule(&mut self, rule: RuleId) -> Result<(), EditError> {
        self.apply(&Change::SuspendRule(rule)).map(drop)
    }

    /// Puts a rule in again that was suspended.
    ///
    /// # Errors
    /// Where that can't be done in place.
    pub fn resume_rule(&mut self, rule: RuleId) -> Result<(), EditError> {
        self.apply(&Change::ResumeRule(rule)).map(drop)
    }

    /// Makes a change in place; the number of the rule that it adds.
    ///
    /// # Errors
    /// Where that can't be done in place.
    pub fn apply(&mut self, change: &Change) -> Result<Option<RuleId>, EditError> {
        self.work.begin();
        let added = self.change(change)?;
        self.publish();
        Ok(added)
    }

    /// Makes several changes in place, as one generation: all of them, or none. The number of the rule that each adds.
    ///
    /// # Errors
    /// Where one of them can't be made in place; with what of the others had been made already, nothing can be changed in
    /// place any more until [`Editor::rebuild`].
    pub fn apply_all(&mut self, changes: &[Change]) -> Result<Vec<Option<RuleId>>, EditError> {
        self.work.begin();
        let (before, suspended) = (Arc::clone(&self.policy), self.suspended.clone());
        let mut numbers = Vec::with_capacity(changes.len());
        for change in changes {
            match self.change(change) {
                Ok(number) => numbers.push(number),
                Err(error) => {
                    if !numbers.is_empty() {
                        self.go_back(before, suspended);
                    }
                    return Err(error);
                }
            }
        }
        if !changes.is_empty() {
            self.publish();
        }
        Ok(numbers)
    }

    /// Makes the policy that of before changes whose tables can't be unmade.
    fn go_back(&mut self, before: Arc<Policy>, suspended: WordHashMap<u32, Option<Timestamp>>) {
        self.order = Order::new(&before);
        self.names = draft::names(&before);
        (self.policy, self.suspended) = (before, suspended);
        self.obstacle = self.obstacle.or(Some(EditError::Full));
    }

    /// Makes a change in the tables under change.
    fn change(&mut self, change: &Change) -> Result<Option<RuleId>, EditError> {
        let Draft { policy, effect, added, suspended } = self.draft(change)?;
        let result = match self.obstacle {
            Some(obstacle) => Err(obstacle),
            None => {
                self.begin();
                let before = std::mem::replace(&mut self.policy, Arc::new(policy));
                let result = self.make(&effect);
                if result.is_err() {
                    self.policy = before;
                }
                result
            }
        };
        if let Err(error) = result {
            self.take_back(change);
            if !self.is_whole {
                // What the change has begun is in no generation, but nothing more can be built on it.
                self.obstacle = self.obstacle.or(Some(EditError::Full));
            }
            return Err(error);
        }
        self.commit(change, added, suspended);
        Ok(added)
    }

    /// Makes the tables under change the newest generation.
    fn publish(&mut self) {
        let tables = own(&mut self.tables);
        tables.policy = Arc::clone(&self.policy);
        self.runs_v6.publish(tables);
        if let Some(placing) = &self.placing
            && std::mem::replace(&mut self.published_places, placing.version) != placing.version
        {
            let macs: Vec<(u64, u32)> = placing.macs.iter().map(|(mac, at)| (*mac, *at)).collect();
            let [by_vlan, by_mac, macs] = [&placing.by_vlan, &placing.by_mac, &macs].map(|e| word_map(e));
            tables.later_places = Some(Arc::new(LaterPlaces { by_vlan, by_mac, macs }));
        }
        std::mem::swap(&mut self.generation, &mut self.tables);
        self.is_begun = false;
    }

    /// Makes the tables under change those of the newest generation, in memory that nobody sees: that of the generation
    /// before where no one has it any more. Else all is copied.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.is_begun, true) {
            return;
        }
        let before = std::mem::replace(&mut self.tables, Arc::clone(&self.generation));
        self.tables = Arc::new(match Arc::try_unwrap(before) {
            Ok(mut tables) => {
                tables.renew(&self.generation);
                tables
            }
            Err(before) => {
                // Should its last reader be done meanwhile, its memory is free for the copy.
                drop(before);
                (*self.generation).clone()
            }
        });
    }

    /// Makes a change, if there is one, by compiling the policy anew as it would be without the traces of earlier
    /// changes ([`Policy::flattened`]): the [`RuleId`]s of rules are others then. The number of the rule that was added.
    ///
    /// # Errors
    /// The change is none that a policy can have, or the policy does not compile. The editor is as it was.
    pub fn rebuild(&mut self, change: Option<&Change>) -> Result<Option<RuleId>, RebuildError> {
        let mut policy = None;
        if let Some(change) = change {
            policy = Some(self.draft(change).map_err(RebuildError::Edit)?.policy);
            self.take_back(change);
        }
        let policy = Arc::new(policy.as_ref().unwrap_or(&self.policy).flattened());
        *self = Editor::new(&policy, self.now, &self.limits).map_err(RebuildError::Compile)?;
        let Some(Change::AddRule(rule, _)) = change else { return Ok(None) };
        Ok(self.names.get(&draft::name(&rule.id)).copied())
    }

    /// Makes what a change is to the tables.
    fn make(&mut self, effect: &Effect) -> Result<(), EditError> {
        match effect {
            Effect::None => {}
            Effect::Put(id) => self.put_in(*id)?,
            Effect::Take(id) => self.take_out(*id)?,
            Effect::Label { segment: SegmentId(id), ranges, add } => {
                self.is_whole = false;
                for range in ranges {
                    self.label(*range, 2 * id, *add)?;
                }
            }
            Effect::Segment { segment, members, except, mode } => {
                let SegmentId(id) = *segment;
                for (swap, item) in [(members, 2 * id), (except, 2 * id + 1)] {
                    let (lost, gained) = (&swap.macs_lost, &swap.macs_gained);
                    if lost.is_empty() && gained.is_empty() {
                        continue;
                    }
                    let table = &self.tables.place;
                    let placing = self.placing.as_mut().ok_or(EditError::Place)?;
                    placing.set_macs(table, item, lost, gained).ok_or(EditError::Place)?;
                    self.is_whole = false;
                }
                self.is_whole = false;
                if let Some(mode) = mode {
                    self.set_mode(*segment, *mode);
                }
                for (swap, item) in [(members, 2 * id), (except, 2 * id + 1)] {
                    for (ranges, add) in [(&swap.lost, false), (&swap.gained, true)] {
                        for range in ranges {
                            self.label(*range, item, add)?;
                        }
                    }
                }
            }
            Effect::Place => return Err(EditError::Place),
        }
        self.is_whole = true;
        Ok(())
    }

    /// Softens the classes that are in segments of monitor mode alone, and no others.
    fn set_mode(&mut self, segment: SegmentId, mode: Mode) {
        self.evaluator.set_mode(segment, mode);
        let tables = own(&mut self.tables);
        let count = tables.softened.len() as u32;
        let classes = (0..count).map(ClassId);
        let softened: Vec<bool> =
            classes.map(|class| self.evaluator.is_softened(tables.segments_of(class))).collect();
        tables.any_softened = softened.contains(&true);
        tables.softened = Arc::new(softened);
    }
}
