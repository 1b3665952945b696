//! The one door to a [`Policy`].

use super::list::List;
use super::model::{
    DefaultAction, EndpointSet, Member, Mode, Policy, Rule, Segment, SegmentId, Selector, TierId,
};
use crate::addr::IpRange;
use crate::compile::WordHashMap;
use std::fmt;

/// Why a policy was refused. `index` fields count segments or rules in the order in which they were added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PolicyError {
    /// There is no tier.
    NoTiers,
    /// Two tiers have this name.
    DuplicateTier(String),
    /// Two segments have this name.
    DuplicateSegment(String),
    /// A segment is called `any`, which is built in.
    ReservedSegment,
    /// Two rules have this id.
    DuplicateRule(String),
    /// A rule or segment, by name, refers to a segment that does not exist.
    DanglingSegment(String),
    /// A rule, by id, refers to a tier that does not exist.
    DanglingTier(String),
    /// These segments are members of each other.
    SegmentCycle(Vec<String>),
    /// A rule or segment, by name, has a selector without any condition.
    EmptySelector(String),
    /// A rule or segment, by name, has a range whose end is before its start.
    InvertedRange(String),
    /// A rule, by id, has no service.
    NoService(String),
    /// A rule, by id, names no endpoint in `from` or `to`.
    NoEndpoint(String),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PolicyError::NoTiers => write!(f, "the policy has no tier"),
            PolicyError::DuplicateTier(n) => write!(f, "two tiers are called `{n}`"),
            PolicyError::DuplicateSegment(n) => write!(f, "two segments are called `{n}`"),
            PolicyError::ReservedSegment => write!(f, "`any` is built in and can't be defined"),
            PolicyError::DuplicateRule(n) => write!(f, "two rules have the id `{n}`"),
            PolicyError::DanglingSegment(n) => write!(f, "`{n}` refers to a segment that does not exist"),
            PolicyError::DanglingTier(n) => write!(f, "rule `{n}` stands in a tier that does not exist"),
            PolicyError::SegmentCycle(n) => write!(f, "segments contain each other: {}", n.join(" -> ")),
            PolicyError::EmptySelector(n) => write!(f, "`{n}` has a selector without any condition"),
            PolicyError::InvertedRange(n) => write!(f, "`{n}` has a range whose end is before its start"),
            PolicyError::NoService(n) => write!(f, "rule `{n}` has no service"),
            PolicyError::NoEndpoint(n) => write!(f, "rule `{n}` names no endpoint"),
        }
    }
}

impl std::error::Error for PolicyError {}

/// Collects the parts of a policy and checks them as a whole.
#[derive(Clone, Debug)]
pub struct PolicyBuilder {
    policy: Policy,
}

impl PolicyBuilder {
    /// A policy with these tiers, in the order of evaluation, and nothing in them.
    #[must_use]
    pub fn new(tiers: Vec<String>, default: DefaultAction, mode: Mode) -> Self {
        let (segments, rules, positions) = (List::default(), List::default(), List::default());
        let (tiers, removed) = (tiers.into(), 0);
        PolicyBuilder { policy: Policy { tiers, segments, rules, positions, removed, default, mode } }
    }

    /// Adds a segment; its id is the number of segments before it. Ids may be used before they are added.
    pub fn segment(&mut self, segment: Segment) -> SegmentId {
        let id = SegmentId(u32::try_from(self.policy.segments.len()).expect("fewer than 2^32 segments"));
        self.policy.segments.push(segment);
        id
    }

    /// Adds a rule behind the ones that its tier already has.
    pub fn rule(&mut self, rule: Rule) {
        self.policy.rules.push(rule);
    }

    /// The policy, or all that is wrong with it.
    ///
    /// # Errors
    /// Every fault of the policy, not only the first.
    pub fn build(self) -> Result<Policy, Vec<PolicyError>> {
        let mut errors = Vec::new();
        self.check_names(&mut errors);
        for segment in &self.policy.segments {
            self.check_members(&segment.name, &segment.members, &mut errors);
            self.check_members(&segment.name, &segment.except, &mut errors);
        }
        for rule in &self.policy.rules {
            self.check_rule(rule, &mut errors);
        }
        if !errors.iter().any(|e| matches!(e, PolicyError::DanglingSegment(_))) {
            self.check_cycles(&mut errors);
        }
        if errors.is_empty() { Ok(self.policy) } else { Err(errors) }
    }

    fn check_names(&self, errors: &mut Vec<PolicyError>) {
        if self.policy.tiers.is_empty() {
            errors.push(PolicyError::NoTiers);
        }
        for name in repeated(self.policy.tiers.iter()) {
            errors.push(PolicyError::DuplicateTier(name.clone()));
        }
        for name in repeated(self.policy.segments.iter().map(|s| &s.name)) {
            errors.push(PolicyError::DuplicateSegment(name.clone()));
        }
        if self.policy.segments.iter().any(|s| s.name == "any") {
            errors.push(PolicyError::ReservedSegment);
        }
        for id in repeated(self.policy.rules.iter().map(|r| &r.id)) {
            errors.push(PolicyError::DuplicateRule(id.clone()));
        }
    }

    fn check_rule(&self, rule: &Rule, errors: &mut Vec<PolicyError>) {
        self.policy.check_rule(rule, errors);
    }

    fn check_members(&self, owner: &str, members: &[Member], errors: &mut Vec<PolicyError>) {
        self.policy.check_members(owner, members, errors);
    }

    /// Depth-first search with three colours: an edge to a segment in progress closes a cycle.
    fn check_cycles(&self, errors: &mut Vec<PolicyError>) {
        let edges = |id: usize| {
            let s = &self.policy.segments[id];
            s.members.iter().chain(&s.except).filter_map(|m| match m {
                Member::Segment(SegmentId(to)) => Some(*to as usize),
                Member::Selector(_) => None,
            })
        };
        let mut done = vec![false; self.policy.segments.len()];
        for start in 0..self.policy.segments.len() {
            let mut path: Vec<(usize, Vec<usize>)> = Vec::new();
            if !done[start] {
                path.push((start, edges(start).collect()));
            }
            while let Some((_, rest)) = path.last_mut() {
                let Some(next) = rest.pop() else {
                    let (finished, _) = path.pop().expect("the path has a last element");
                    done[finished] = true;
                    continue;
                };
                if let Some(at) = path.iter().position(|(id, _)| *id == next) {
                    let mut names: Vec<String> =
                        path[at..].iter().map(|(id, _)| self.policy.segments[*id].name.clone()).collect();
                    names.push(self.policy.segments[next].name.clone());
                    errors.push(PolicyError::SegmentCycle(names));
                } else if !done[next] {
                    path.push((next, edges(next).collect()));
                }
            }
        }
    }
}

impl Policy {
    /// What is wrong with a rule, its name aside.
    pub(crate) fn check_rule(&self, rule: &Rule, errors: &mut Vec<PolicyError>) {
        let TierId(tier) = rule.tier;
        if usize::from(tier) >= self.tiers.len() {
            errors.push(PolicyError::DanglingTier(rule.id.clone()));
        }
        for set in [&rule.from, &rule.to] {
            match set {
                EndpointSet::Any => {}
                EndpointSet::OneOf(members) if members.is_empty() => {
                    errors.push(PolicyError::NoEndpoint(rule.id.clone()));
                }
                EndpointSet::OneOf(members) => self.check_members(&rule.id, members, errors),
            }
        }
        if rule.services.is_empty() {
            errors.push(PolicyError::NoService(rule.id.clone()));
        }
        for service in &rule.services {
            if service.source.first > service.source.last
                || service.destination.first > service.destination.last
            {
                errors.push(PolicyError::InvertedRange(rule.id.clone()));
            }
        }
    }

    pub(crate) fn check_members(&self, owner: &str, members: &[Member], errors: &mut Vec<PolicyError>) {
        for member in members {
            match member {
                Member::Segment(SegmentId(id)) => {
                    if *id as usize >= self.segments.len() {
                        errors.push(PolicyError::DanglingSegment(owner.to_owned()));
                    }
                }
                Member::Selector(Selector { vlan, macs, addresses }) => {
                    if vlan.is_none() && macs.is_empty() && addresses.is_empty() {
                        errors.push(PolicyError::EmptySelector(owner.to_owned()));
                    }
                    let inverted = addresses.iter().any(|range| match range {
                        IpRange::V4(lo, hi) => lo > hi,
                        IpRange::V6(lo, hi) => lo > hi,
                    });
                    if inverted {
                        errors.push(PolicyError::InvertedRange(owner.to_owned()));
                    }
                }
            }
        }
    }
}

fn repeated<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut seen: WordHashMap<&String, u32> =
        WordHashMap::with_capacity_and_hasher(names.size_hint().0, Default::default());
    let mut twice = Vec::new();
    for name in names {
        let count = seen.entry(name).or_insert(0);
        *count += 1;
        if *count == 2 {
            twice.push(name);
        }
    }
    twice
}
