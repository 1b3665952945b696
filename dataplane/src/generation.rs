//! What the packet path reads and never writes: one policy, compiled, with one network.
//!
//! A [`Generation`] is made by the control side and installed between two batches, so that a batch is judged by
//! exactly one. Rules keep their [`RuleKey`] over all generations of a process: flows remember keys, not indexes.

mod names;
mod rules;

use crate::network::{Network, NetworkError, PortFacts};
use crate::topology::Topology;
use classifier::compile::CompileError;
use classifier::policy::{Established, Policy, Rule, RuleId, Timestamp};
use classifier::tables::Tables;
use conntrack::{Epoch, RuleKey};
use names::Names;
use rules::Rules;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// One policy and one network, in the form that the packet path reads.
#[derive(Debug)]
pub struct Generation {
    epoch: Epoch,
    tables: Arc<Tables>,
    network: Arc<Network>,
    rules: Rules,
    names: Names,
    /// Flows that were last judged by this epoch or a later one need not be judged again.
    floor: Epoch,
    /// The last epoch whose installation ended all flows.
    flushed: Epoch,
}

/// What a new generation does to the flows that there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LiveFlows {
    /// Each is judged again at its next packet, unless its rule has `established = "keep"`.
    #[default]
    Recheck,
    /// They live on by the verdict that they have.
    Keep,
    /// They end.
    Flush,
}

impl Generation {
    /// The number of the generation; flows that were judged by another are judged again.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The compiled policy.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The same, to be kept.
    #[must_use]
    pub fn shared_tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// The compiled network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// How many keys the flow table must be able to count by.
    #[must_use]
    pub fn rule_keys(&self) -> usize {
        self.names.len()
    }

    /// How many rules there are, expired ones and those that were taken out included.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.rules.count()
    }

    /// The key that a rule has in every generation.
    #[must_use]
    pub fn key_of(&self, rule: RuleId) -> RuleKey {
        self.rules.key_of(rule)
    }

    /// The rule behind a key, where this generation has it and it has not expired.
    #[must_use]
    pub fn rule(&self, key: RuleKey) -> Option<&Rule> {
        self.rules.rule(key).map(|id| self.tables.policy().rule(id))
    }

    /// The rule behind a key, expired or not.
    #[must_use]
    pub fn named_rule(&self, key: RuleKey) -> Option<&Rule> {
        self.rules.last(key).map(|id| self.tables.policy().rule(id))
    }

    /// The id of the rule behind a key that was given out up to now, also where this generation has it no more.
    #[must_use]
    pub fn rule_name(&self, key: RuleKey) -> Option<&str> {
        self.names.get(key.0 as usize)
    }

    /// Whether flows that were last judged in that epoch live on without being judged again.
    #[must_use]
    pub fn keeps_flows_since(&self, judged: Epoch) -> bool {
        judged.0 >= self.floor.0
    }

    /// The last epoch whose installation ended all flows.
    #[must_use]
    pub fn flushed(&self) -> Epoch {
        self.flushed
    }

    /// Whether flows that the rule let in live on without being judged again.
    #[must_use]
    pub fn keeps_flows_of(&self, key: RuleKey) -> bool {
        self.rule(key).is_some_and(|rule| rule.established == Established::Keep)
    }
}

/// Why a configuration can't be put into force.
#[derive(Debug)]
pub enum GenerationError {
    /// The policy does not compile within its limits.
    Policy(CompileError),
    /// The network does not hold together.
    Network(NetworkError),
}

impl fmt::Display for GenerationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GenerationError::Policy(error) => error.fmt(f),
            GenerationError::Network(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for GenerationError {}

/// Makes generations, and remembers what must be the same in all of them.
#[derive(Debug, Default)]
pub struct Generations {
    next: u32,
    names: Names,
    keys: HashMap<Arc<str>, RuleKey>,
    floor: u32,
    flushed: u32,
}

impl Generations {
    /// Compiles a policy and a network as they stand at `now`.
    ///
    /// # Errors
    /// Where the policy passes a limit of the tables, or the network does not hold together; nothing has changed then.
    pub fn compile(
        &mut self,
        policy: Arc<Policy>,
        topology: &Topology,
        ports: &[PortFacts],
        now: Timestamp,
    ) -> Result<Generation, GenerationError> {
        let tables = Tables::compile(policy, now).map_err(GenerationError::Policy)?;
        self.of_tables(tables, topology, ports, now, LiveFlows::Recheck)
    }

    /// As [`Generations::compile`], with tables that were compiled for `now`, or a moment before.
    ///
    /// # Errors
    /// Where the network does not hold together; nothing has changed then.
    pub fn of_tables(
        &mut self,
        tables: impl Into<Arc<Tables>>,
        topology: &Topology,
        ports: &[PortFacts],
        now: Timestamp,
        flows: LiveFlows,
    ) -> Result<Generation, GenerationError> {
        let network = Network::compile(topology, ports).map_err(GenerationError::Network)?;
        let tables = tables.into();
        let rules = Rules::new(tables.policy(), now, |id| self.intern(id));
        Ok(self.generation(tables, Arc::new(network), rules, flows))
    }

    /// The generation after another whose tables were changed in place: their policy is that of before, but for segments,
    /// rules out of force that `touched` names, and rules that stand behind all others. The network is the same.
    pub fn of_changed(
        &mut self,
        before: &Generation,
        tables: Arc<Tables>,
        touched: &[RuleId],
        now: Timestamp,
        flows: LiveFlows,
    ) -> Generation {
        let rules = before.rules.changed(tables.policy(), touched, now, |id| self.intern(id));
        self.generation(tables, Arc::clone(&before.network), rules, flows)
    }

    fn generation(
        &mut self,
        tables: Arc<Tables>,
        network: Arc<Network>,
        rules: Rules,
        flows: LiveFlows,
    ) -> Generation {
        self.next += 1;
        match flows {
            LiveFlows::Recheck => self.floor = self.next,
            LiveFlows::Keep => {}
            LiveFlows::Flush => (self.floor, self.flushed) = (self.next, self.next),
        }
        let names = self.names.clone();
        let (floor, flushed) = (Epoch(self.floor), Epoch(self.flushed));
        Generation { epoch: Epoch(self.next), tables, network, rules, names, floor, flushed }
    }

    /// The id of the rule behind a key.
    #[must_use]
    pub fn name(&self, key: RuleKey) -> &str {
        self.names.get(key.0 as usize).expect("the key was given out")
    }

    /// The ids of all rules that have a key, in the order of the keys.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter()
    }

    /// How many keys were given out.
    #[must_use]
    pub fn rule_keys(&self) -> usize {
        self.names.len()
    }

    fn intern(&mut self, id: &str) -> RuleKey {
        if let Some(key) = self.keys.get(id) {
            return *key;
        }
        let key = RuleKey(self.names.len() as u32);
        let name: Arc<str> = id.into();
        self.names.push(Arc::clone(&name));
        self.keys.insert(name, key);
        key
    }
}
