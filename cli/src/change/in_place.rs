//! What is done beside the files, and what feeds bring, put into compiled tables in place.
//!
//! Over the policy of the files lie the lists of feeds and the acts of operators. Of a million rules they change none,
//! and of the segments few; so what is new is made out from what was asked, and not from the policies:
//!
//! ```text
//! lists, acts as they are in the tables ─┐
//! lists, acts as they are to be ─────────┴─► segments that differ, rules of quarantines that came or went
//!                                             └─► [`Editor::apply_all`] ─► a generation, whole
//! ```
//!
//! The policy is then what [`Overlay::over`] would have made, but for the numbers of rules: those that came later have the
//! last ones, wherever they stand ([`classifier::policy::Policy::listed`] has them in their order).

use super::overlay::{Overlay, quarantine_rules};
use crate::config::Configuration;
use crate::config::feed::List;
use classifier::compile::{Change, CompileError, EditError, Editor, Limits};
use classifier::policy::{Place, Policy, RuleId, Segment, SegmentId, Timestamp};
use classifier::tables::Tables;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// Tables of what is in force that can be changed in place, and what is in them.
#[derive(Debug)]
pub struct InPlace {
    editor: Editor,
    /// The configuration of the files.
    base: Arc<Configuration>,
    lists: Vec<Arc<List>>,
    overlay: Overlay,
}

/// What is to lie over the files: the lists of their feeds in their order, and what was done.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// The configuration of the files.
    pub base: &'a Arc<Configuration>,
    /// A list for each of its feeds.
    pub lists: &'a [Arc<List>],
    /// What was done.
    pub overlay: &'a Overlay,
}

/// Why tables were compiled anew, and not changed in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anew {
    /// It is the first change of these files.
    First,
    /// The tables don't take it.
    Refused(EditError),
}

impl fmt::Display for Anew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Anew::First => f.write_str("it is the first change of this configuration"),
            Anew::Refused(error) => error.fmt(f),
        }
    }
}

impl InPlace {
    /// Compiles a policy that has these layers.
    ///
    /// # Errors
    /// It does not compile within its limits.
    pub fn compile(
        policy: &Arc<Policy>,
        layers: Layers<'_>,
        now: Timestamp,
    ) -> Result<InPlace, CompileError> {
        let editor = Editor::new(policy, now, &Limits::default())?;
        let Layers { base, lists, overlay } = layers;
        Ok(InPlace { editor, base: Arc::clone(base), lists: lists.to_vec(), overlay: overlay.clone() })
    }

    /// The tables.
    #[must_use]
    pub fn tables(&self) -> Arc<Tables> {
        self.editor.generation()
    }

    /// Whether these tables can be changed to what lies over these files.
    #[must_use]
    pub fn is_of(&self, base: &Arc<Configuration>) -> bool {
        Arc::ptr_eq(&self.base, base)
    }

    /// Makes the tables those of other layers over the same files. The rules that are out of force now.
    ///
    /// # Errors
    /// It can't be done in place: the tables are of no more use.
    pub fn change_to(&mut self, layers: Layers<'_>) -> Result<Vec<RuleId>, EditError> {
        let mut changes = self.segments(layers);
        let removed = self.quarantines(layers.overlay, &mut changes)?;
        self.editor.apply_all(&changes)?;
        (self.lists, self.overlay) = (layers.lists.to_vec(), layers.overlay.clone());
        Ok(removed)
    }

    /// Segments that lists or acts are about which differ.
    fn segments(&self, layers: Layers<'_>) -> Vec<Change> {
        let mut names: HashSet<&str> = HashSet::new();
        for ((feed, old), new) in self.base.feeds.iter().zip(&self.lists).zip(layers.lists) {
            if !Arc::ptr_eq(old, new) && old != new {
                names.insert(&feed.segment);
            }
        }
        let (old, new) = (self.overlay.by_segment(), layers.overlay.by_segment());
        let differs = |name: &&&str| old.get(**name) != new.get(**name);
        names.extend(old.keys().chain(new.keys()).filter(differs));
        if names.is_empty() {
            return Vec::new();
        }
        let all = (0u32..).map(SegmentId).zip(self.base.policy.segments());
        let named = all.filter(|(_, segment)| names.contains(segment.name.as_str()));
        let changes = named.map(|(id, segment)| {
            let mut segment: Segment = segment.clone();
            for (feed, list) in self.base.feeds.iter().zip(layers.lists) {
                if feed.segment == segment.name {
                    segment.members.extend_from_slice(&list.0);
                }
            }
            layers.overlay.lay_over(&mut segment);
            Change::SetSegment(id, Box::new(segment))
        });
        changes.collect()
    }

    /// Takes the rules of quarantines out that are over, and puts those of new ones in, behind those that stay.
    fn quarantines(&self, overlay: &Overlay, changes: &mut Vec<Change>) -> Result<Vec<RuleId>, EditError> {
        let (old, new): (Vec<&str>, Vec<&str>) =
            (self.overlay.quarantines().collect(), overlay.quarantines().collect());
        // Acts come behind all others, so those that stay are the first of the new ones.
        let mut kept = 0;
        let mut removed = Vec::new();
        let mut last = None;
        for address in old {
            let Some(rules) = quarantine_rules(address) else { continue };
            let mut ids = [RuleId(0); 2];
            for (id, rule) in ids.iter_mut().zip(&rules) {
                *id = self.editor.rule_named(&rule.id).ok_or(EditError::Absent)?;
            }
            if new.get(kept) == Some(&address) {
                kept += 1;
                last = Some(ids[1]);
            } else {
                removed.extend(ids);
            }
        }
        changes.extend(removed.iter().copied().map(Change::RemoveRule));
        let numbers = (self.editor.policy().rules().len() as u32..).map(RuleId);
        let rules = new[kept..].iter().filter_map(|address| quarantine_rules(address)).flatten();
        for (rule, id) in rules.zip(numbers) {
            let place = last.map_or(Place::First, Place::Behind);
            changes.push(Change::AddRule(Box::new(rule), place));
            last = Some(id);
        }
        Ok(removed)
    }

    /// The configuration with the policy that the tables have, where `running` is the one in force.
    #[must_use]
    pub fn configuration(&self, running: &Configuration) -> Configuration {
        Configuration { policy: Arc::clone(self.editor.policy()), ..running.clone() }
    }
}

#[cfg(test)]
mod tests;
