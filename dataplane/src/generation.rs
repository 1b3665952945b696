//! What the packet path reads and never writes: one policy, compiled, with one network.
//!
//! A [`Generation`] is made by the control side and installed between two batches, so that a batch is judged by
//! exactly one. Rules keep their [`RuleKey`] over all generations of a process: flows remember keys, not indexes.

use crate::network::{Network, NetworkError, PortFacts};
use crate::topology::Topology;
use classifier::compile::CompileError;
use classifier::policy::{Established, Policy, Rule, RuleId, Timestamp};
use classifier::tables::Tables;
use conntrack::{Epoch, RuleKey};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// One policy and one network, in the form that the packet path reads.
#[derive(Debug)]
pub struct Generation {
    epoch: Epoch,
    tables: Tables,
    network: Network,
    keys: Vec<RuleKey>,
    live: HashMap<RuleKey, RuleId>,
    names: Arc<Vec<Arc<str>>>,
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

    /// The compiled network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// How many keys the flow table must be able to count by.
    #[must_use]
    pub fn rule_keys(&self) -> usize {
        self.keys.iter().map(|key| key.0 as usize + 1).max().unwrap_or(0)
    }

    /// How many rules there are, expired ones included.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.keys.len()
    }

    /// The key that a rule has in every generation.
    #[must_use]
    pub fn key_of(&self, rule: RuleId) -> RuleKey {
        self.keys[rule.0 as usize]
    }

    /// The rule behind a key, where this generation has it and it has not expired.
    #[must_use]
    pub fn rule(&self, key: RuleKey) -> Option<&Rule> {
        self.live.get(&key).map(|id| self.tables.policy().rule(*id))
    }

    /// The rule behind a key, expired or not.
    #[must_use]
    pub fn named_rule(&self, key: RuleKey) -> Option<&Rule> {
        let at = self.keys.iter().position(|k| *k == key)?;
        self.tables.policy().rules().get(at)
    }

    /// The id of the rule behind a key that was given out up to now, also where this generation has it no more.
    #[must_use]
    pub fn rule_name(&self, key: RuleKey) -> Option<&str> {
        self.names.get(key.0 as usize).map(|name| &**name)
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
    names: Arc<Vec<Arc<str>>>,
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
        tables: Tables,
        topology: &Topology,
        ports: &[PortFacts],
        now: Timestamp,
        flows: LiveFlows,
    ) -> Result<Generation, GenerationError> {
        let network = Network::compile(topology, ports).map_err(GenerationError::Network)?;
        let policy = Arc::clone(tables.policy());
        let keys: Vec<RuleKey> = policy.rules().iter().map(|rule| self.intern(&rule.id)).collect();
        let live = policy
            .rules()
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.expires.is_none_or(|at| at > now))
            .map(|(at, _)| (keys[at], RuleId(at as u32)))
            .collect();
        self.next += 1;
        match flows {
            LiveFlows::Recheck => self.floor = self.next,
            LiveFlows::Keep => {}
            LiveFlows::Flush => (self.floor, self.flushed) = (self.next, self.next),
        }
        let names = Arc::clone(&self.names);
        let (floor, flushed) = (Epoch(self.floor), Epoch(self.flushed));
        Ok(Generation { epoch: Epoch(self.next), tables, network, keys, live, names, floor, flushed })
    }

    /// The id of the rule behind a key.
    #[must_use]
    pub fn name(&self, key: RuleKey) -> &str {
        &self.names[key.0 as usize]
    }

    /// The ids of all rules that have a key, in the order of the keys.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
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
        Arc::make_mut(&mut self.names).push(Arc::clone(&name));
        self.keys.insert(name, key);
        key
    }
}
