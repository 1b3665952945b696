//! All that the main thread of `bulkhead run` owns: the gateway, and what surrounds it.
//!
//! Whoever wants to change the gateway leaves an order for the main thread ([`crate::control::Order`]), which gets
//! this in its hands. So there is one writer, and no lock.

use super::gateway::{Gateway, ReloadError};
use super::hits::{self, DEFAULT, HitTable, KeptHits};
use super::links::Links;
use crate::config::Configuration;
use crate::control::desk::Shared;
use arc_swap::ArcSwap;
use classifier::policy::RuleId;
use conntrack::time::Tick;
use dataplane::ErrandError;
use dataplane::hits::RuleHits;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a host is made with.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// The gateway file.
    pub source: PathBuf,
    /// Where what outlives the process is kept; `None`: nothing does.
    pub state: Option<PathBuf>,
}

/// The gateway, and what surrounds it.
pub struct Host {
    gateway: Gateway,
    options: HostOptions,
    links: Links,
    shared: Arc<Shared>,
    kept: Arc<HitTable>,
}

impl Host {
    /// A host of a gateway that has started. `report` is told of what was kept and can't be read.
    pub fn new(gateway: Gateway, options: HostOptions, report: &mut dyn FnMut(String)) -> Host {
        let shared = Arc::new(Shared {
            control: Arc::clone(gateway.shared_control()),
            configuration: ArcSwap::from_pointee(gateway.configuration().clone()),
            clock: gateway.clock(),
            started: jiff::Timestamp::now(),
        });
        let kept = options.state.as_deref().map_or_else(|| Ok(HitTable::new()), hits::load);
        let kept = kept.unwrap_or_else(|error| {
            report(format!("rule hits of earlier runs are lost: {error}"));
            HitTable::new()
        });
        Host { links: Links::new(&gateway), gateway, options, shared, kept: Arc::new(kept) }
    }

    /// Puts another configuration into force, or changes nothing.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub fn reload(&mut self, configuration: Configuration) -> Result<(), ReloadError> {
        self.gateway.reload(configuration)?;
        self.shared.configuration.store(Arc::new(self.gateway.configuration().clone()));
        Ok(())
    }

    /// Looks after links; a sentence for each that has changed.
    pub fn look_at_links(&mut self) -> Vec<String> {
        self.links.look(&self.gateway)
    }

    /// The gateway.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The gateway, to be changed but for its configuration: that is [`Host::reload`].
    pub fn gateway_mut(&mut self) -> &mut Gateway {
        &mut self.gateway
    }

    /// The links of the ports.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// What is shared with those who ask.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The gateway file.
    #[must_use]
    pub fn source(&self) -> &Path {
        &self.options.source
    }

    /// Events that found no room in the ring, since the start.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        self.gateway.events().lost()
    }

    /// Rule hits of earlier runs.
    #[must_use]
    pub fn kept_hits(&self) -> Arc<HitTable> {
        Arc::clone(&self.kept)
    }

    /// Keeps the rule hits for the next run, where there is a folder for that.
    ///
    /// # Errors
    /// A worker does not answer, or the file can't be written.
    pub fn keep_hits(&self) -> Result<(), String> {
        let Some(folder) = &self.options.state else { return Ok(()) };
        let hits = self.all_hits().map_err(|error| error.to_string())?;
        hits::save(folder, &hits).map_err(|error| format!("{}: {error}", folder.display()))
    }

    /// Rule hits of all runs, by rule id. Rules that are gone keep theirs.
    fn all_hits(&self) -> Result<HitTable, ErrandError> {
        let workers = self.shared.control.ask_all(|engine| engine.hits().clone())?;
        let sum = |of: &dyn Fn(&dataplane::hits::Hits) -> RuleHits| {
            workers.iter().fold(RuleHits::default(), |sum, hits| sum.and(of(hits)))
        };
        let mut all = (*self.kept).clone();
        let mut add = |name: &str, hits: RuleHits| {
            if hits.total() > 0 {
                let newer = self.kept_form(hits);
                let kept = all.entry(name.to_owned()).or_default();
                *kept = kept.and(&newer);
            }
        };
        let generation = self.shared.control.generation();
        for rule in 0..generation.rule_count() as u32 {
            let key = generation.key_of(RuleId(rule));
            if let Some(name) = generation.rule_name(key) {
                add(name, sum(&|hits| hits.of(key)));
            }
        }
        add(DEFAULT, sum(&|hits| hits.of_default()));
        Ok(all)
    }

    fn kept_form(&self, hits: RuleHits) -> KeptHits {
        let time = |tick: Option<Tick>| tick.map(|tick| self.shared.time_of(tick));
        KeptHits { flows: hits.flows, drops: hits.drops, first: time(hits.first), last: time(hits.last) }
    }

    /// Stops the gateway.
    #[must_use]
    pub fn into_gateway(self) -> Gateway {
        self.gateway
    }
}
