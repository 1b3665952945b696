//! All that the main thread of `bulkhead run` owns: the gateway, and what surrounds it.
//!
//! Whoever wants to change the gateway leaves an order for the main thread ([`crate::control::Order`]), which gets
//! this in its hands. So there is one writer, and no lock.

use super::gateway::Gateway;
use super::hits::{self, DEFAULT, HitTable, KeptHits};
use super::links::Links;
use super::made::Made;
use super::{Carried, Notice};
use crate::change::{Act, Action, Current, Deed, Entry, InPlace, Keeper, Overlay, Version};
use crate::config::{self, Bundle, Checked, Configuration, OnDisk};
use crate::control::desk::Shared;
use crate::feed::{Fed, Feeds};
use arc_swap::ArcSwap;
use conntrack::time::Tick;
use dataplane::ErrandError;
use dataplane::event::EventSource;
use dataplane::generation::LiveFlows;
use dataplane::hits::RuleHits;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a host is made with.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// The gateway file.
    pub source: PathBuf,
    /// Where what outlives the process is kept; `None`: nothing does.
    pub state: Option<PathBuf>,
    /// Why nothing may pass, where there was no configuration to start with.
    pub deny_all: Option<String>,
}

/// What a change has come to.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Applied {
    /// Its version, where versions are kept.
    pub version: Option<u64>,
    /// The generation that is in force now.
    pub generation: u32,
    /// Milliseconds from the start of its installation until all workers had it.
    pub in_force_ms: f64,
    /// When it goes back, unless it is confirmed.
    pub confirm_until: Option<String>,
}

/// The gateway, and what surrounds it.
pub struct Host {
    /// `None` only while it is replaced, and where that has failed: see [`Host::is_alive`].
    pub(super) gateway: Option<Gateway>,
    /// What a gateway has left to one that could not be started yet.
    pub(super) carried: Option<Carried>,
    /// Why nothing may pass.
    pub(super) deny_all: Option<String>,
    /// Whether the gateway is another than the one that is known outside.
    pub(super) is_renewed: bool,
    /// Answers that wait until it is.
    pub(super) answers: Vec<Box<dyn FnOnce() + Send>>,
    pub(super) tried: Instant,
    options: HostOptions,
    /// The gateway file and its includes.
    files: OnDisk,
    pub(super) links: Links,
    pub(super) shared: Arc<Shared>,
    kept: Arc<HitTable>,
    pub(super) keeper: Option<Keeper>,
    /// What the files say, without the overlay.
    pub(super) base: Arc<Configuration>,
    pub(super) overlay: Overlay,
    pub(super) feeds: Feeds,
    /// The tables in force, where they can be changed in place.
    pub(super) in_place: Option<InPlace>,
    /// How the tables in force were made, where something was changed beside the files since these were applied.
    pub(super) made: Option<Made>,
    pub(super) notices: Vec<Notice>,
}

const NO_STATE: &str = "nothing is kept: the gateway runs with `--no-state`";
/// The word in the history for what was not confirmed.
const REVERT: &str = "revert";
/// Between two tries to take back what was not confirmed.
const AGAIN: Duration = Duration::from_secs(5);

impl Host {
    /// A host of a gateway that has started. `report` is told of what was kept and can't be read.
    pub fn new(
        gateway: Gateway,
        options: HostOptions,
        keeper: Option<Keeper>,
        (base, overlay, feeds): (Configuration, Overlay, Feeds),
        report: &mut dyn FnMut(String),
    ) -> Host {
        let base = Arc::new(base);
        let shared = Arc::new(Shared {
            control: Arc::clone(gateway.shared_control()),
            configuration: ArcSwap::new(Arc::clone(gateway.configuration())),
            base: ArcSwap::new(Arc::clone(&base)),
            clock: gateway.clock(),
            shelf: feeds.shelf().clone(),
            started: jiff::Timestamp::now(),
            began: Instant::now(),
        });
        let deny_all = options.deny_all.clone();
        let kept = options.state.as_deref().map_or_else(|| Ok(HitTable::new()), hits::load);
        let kept = kept.unwrap_or_else(|error| {
            report(format!("rule hits of earlier runs are lost: {error}"));
            HitTable::new()
        });
        Host {
            links: Links::new(&gateway),
            gateway: Some(gateway),
            carried: None,
            deny_all,
            is_renewed: false,
            answers: Vec::new(),
            tried: Instant::now(),
            files: OnDisk::new(options.source.clone()),
            options,
            shared,
            kept: Arc::new(kept),
            keeper,
            base,
            overlay,
            feeds,
            in_place: None,
            made: None,
            notices: Vec::new(),
        }
    }

    /// Puts a configuration into force, and keeps it as a new version, or under the number that it has. Where something
    /// fails, nothing has changed.
    ///
    /// # Errors
    /// It asks for what needs a restart, can't be kept, or can't be put into force.
    pub fn apply(
        &mut self,
        checked: Checked,
        bundle: &Bundle,
        version: Option<u64>,
        action: &Action,
        confirm: Option<Duration>,
        flows: LiveFlows,
    ) -> Result<Applied, String> {
        let anew = self.gateway().may_become(&checked.configuration);
        // What was not confirmed must go back, whatever it takes.
        let may_reopen = self.deny_all.is_some()
            || self.carried.is_some()
            || self.base.topology.ports.is_empty()
            || action.name == REVERT;
        if let (Err(error), false) = (&anew, may_reopen) {
            return Err(error.to_string());
        }
        let file = self.files.hash();
        let old = match &mut self.keeper {
            Some(keeper) => {
                let kept = keeper.begin(bundle, version, action, confirm, file);
                Some(kept.map_err(|error| error.to_string())?)
            }
            None if confirm.is_some() => return Err(NO_STATE.to_owned()),
            None => None,
        };
        let started = Instant::now();
        let Checked { configuration, tables } = checked;
        let base = Arc::new(configuration);
        let fed = self.feeds.adopt(&base);
        let done = match anew {
            Ok(()) => self.put_into_force(&base, tables, flows),
            // Nothing passes, or what does was not confirmed.
            Err(_) => self.start_with(&base),
        };
        match done {
            Ok(()) => {
                self.deny_all = None;
                self.base = base;
                self.shared.base.store(Arc::clone(&self.base));
                let current = self.keeper.as_ref().map(Keeper::current);
                Ok(Applied {
                    version: current.and_then(|current| current.version),
                    generation: self.shared.control.generation().epoch().0,
                    in_force_ms: started.elapsed().as_secs_f64() * 1e3,
                    confirm_until: current.and_then(|c| c.pending.as_ref()).map(|p| p.until.clone()),
                })
            }
            Err(error) => {
                self.feeds.go_back(fed);
                if let (Some(keeper), Some(old)) = (&mut self.keeper, old) {
                    keeper.abandon(old, &error);
                }
                Err(error)
            }
        }
    }

    /// A configuration with the lists of its feeds, and the overlay over both.
    pub(super) fn laid_over(&self, base: &Configuration) -> Configuration {
        self.overlay.over(&self.feeds.over(base))
    }

    /// Does something beside the files, for a time or for good, and notes it in the history. Where it can't be put into
    /// force, nothing has changed.
    ///
    /// # Errors
    /// There is no such segment, or the policy does not compile with it.
    pub fn act(&mut self, deed: Deed, user: &str, lasts: Option<Duration>) -> Result<Act, String> {
        if let Deed::Member { segment, .. } | Deed::Mode { segment, .. } = &deed
            && !self.base.policy.segments().iter().any(|known| known.name == *segment)
        {
            return Err(format!("there is no segment `{segment}`; `bulkhead show segments` lists them"));
        }
        let before = self.overlay.clone();
        let act = self.overlay.set(deed, user, lasts);
        self.renew(before)?;
        let action =
            Action { name: act.deed.name(), user: user.to_owned(), message: Some(act.deed.to_string()) };
        self.note(&action, serde_json::json!({ "until": act.until }))?;
        Ok(act)
    }

    /// Ends what was done about the same as `deed`; whether anything was.
    ///
    /// # Errors
    /// The policy does not compile without it.
    pub fn undo(&mut self, deed: &Deed, user: &str) -> Result<bool, String> {
        let before = self.overlay.clone();
        if !self.overlay.clear(deed) {
            return Ok(false);
        }
        self.renew(before)?;
        let message = Some(format!("no more: {deed}"));
        self.note(&Action { name: "release", user: user.to_owned(), message }, serde_json::Value::Null)?;
        Ok(true)
    }

    /// Ends what was done for a time that is over; a sentence for each. To be called now and then.
    pub fn expire_acts(&mut self) -> Vec<String> {
        let before = self.overlay.clone();
        let over = self.overlay.expire();
        if over.is_empty() {
            return Vec::new();
        }
        let ended = self.renew(before);
        let mut said = Vec::new();
        for act in over {
            said.push(match &ended {
                Ok(()) => format!("the time is over: no more {}", act.deed),
                Err(error) => format!("error: the time is over, but {} still: {error}", act.deed),
            });
            let message = format!("the time is over: {}", act.deed);
            if ended.is_ok()
                && let Err(error) = self.note(&Action::of_gateway("expire", message), serde_json::Value::Null)
            {
                said.push(format!("error: the history can't be written: {error}"));
            }
        }
        said
    }

    /// Puts lists into force that have changed; what was done, and what is wrong with others. To be called now and then.
    pub fn look_at_feeds(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        while let Some(change) = self.feeds.next_change(&mut notices) {
            let done = self.lay_over();
            notices.extend(match done {
                Ok(()) => self.feeds.accept(&change),
                Err(error) => self.feeds.refuse(change, &error),
            });
        }
        notices
    }

    /// The feeds.
    #[must_use]
    pub fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    /// Keeps the overlay and puts it into force, or goes back to the one before.
    fn renew(&mut self, before: Overlay) -> Result<(), String> {
        let kept = match &self.options.state {
            Some(folder) => {
                self.overlay.save(folder).map_err(|error| format!("{}: {error}", folder.display()))
            }
            None => Ok(()),
        };
        let done = kept.and_then(|()| self.lay_over());
        if done.is_err() {
            self.overlay = before;
            if let Some(folder) = &self.options.state {
                let _ = self.overlay.save(folder);
            }
        }
        done
    }

    /// What was done beside the files, oldest first.
    #[must_use]
    pub fn acts(&self) -> Vec<Act> {
        self.overlay.acts().cloned().collect()
    }

    /// Notes in the history that flows were ended.
    ///
    /// # Errors
    /// The history can't be written.
    pub fn note_kill(&mut self, user: &str, filter: &serde_json::Value, ended: u64) -> Result<(), String> {
        let action = Action { name: "flow-kill", user: user.to_owned(), message: None };
        self.note(&action, serde_json::json!({ "filter": filter, "ended": ended }))
    }

    fn note(&mut self, action: &Action, details: serde_json::Value) -> Result<(), String> {
        match &mut self.keeper {
            Some(keeper) => keeper.note(action, details).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// Confirms what is in force; its version.
    ///
    /// # Errors
    /// Nothing waits for it, or it can't be written.
    pub fn confirm(&mut self, action: &Action) -> Result<u64, String> {
        let keeper = self.keeper.as_mut().ok_or(NO_STATE)?;
        keeper.confirm(action).map_err(|error| error.to_string())
    }

    /// The version of that number; without one, the one that would be gone back to.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub fn earlier(&self, number: Option<u64>) -> Result<Version, String> {
        let keeper = self.keeper.as_ref().ok_or(NO_STATE)?;
        keeper.earlier(number).map_err(|error| error.to_string())
    }

    /// Takes back what was to be confirmed in time and was not. To be called now and then; a sentence where it did.
    pub fn revert_if_due(&mut self) -> Option<String> {
        let keeper = self.keeper.as_ref().filter(|keeper| keeper.is_due())?;
        if !keeper.has_way_back() {
            let why = "a change was not confirmed in time, and nothing was in force before it";
            return Some(self.let_nothing_pass(why));
        }
        let reverted = keeper.earlier(None).map_err(|error| error.to_string()).and_then(|version| {
            let now = config::now();
            let checked = config::load_bundle(&version.bundle, now).and_then(|configuration| {
                let fed = self.feeds.shelf().read(&configuration);
                config::check_with_lists(configuration, fed.iter().map(Fed::list), now)
            });
            let checked = checked.map_err(|error| error.to_string())?;
            let action = Action::of_gateway(REVERT, "it was not confirmed in time");
            let number = Some(version.number);
            self.apply(checked, &version.bundle, number, &action, None, LiveFlows::Recheck)?;
            Ok(format!("a change was not confirmed in time: version {} is in force again", version.number))
        });
        Some(reverted.unwrap_or_else(|error| {
            if let Some(keeper) = &mut self.keeper {
                keeper.postpone(AGAIN);
            }
            format!("error: a change was not confirmed in time, and can't be taken back: {error}")
        }))
    }

    /// What of a configuration can't be put into force without a restart.
    #[must_use]
    pub fn needs_restart(&self, configuration: &Configuration) -> Option<String> {
        if self.deny_all.is_some() || self.base.topology.ports.is_empty() {
            return None;
        }
        self.gateway().may_become(configuration).err().map(|error| error.to_string())
    }

    /// The history, what is in force, and the numbers of the versions that are kept.
    ///
    /// # Errors
    /// Nothing is kept, or it can't be read.
    pub fn history(&self) -> Result<(Vec<Entry>, Current, Vec<u64>), String> {
        let keeper = self.keeper.as_ref().ok_or(NO_STATE)?;
        let entries = keeper.entries().map_err(|error| error.to_string())?;
        Ok((entries, keeper.current().clone(), keeper.numbers().to_vec()))
    }

    /// Checks the history; how many lines it has.
    ///
    /// # Errors
    /// Nothing is kept, it can't be read, or it is not as it was written.
    pub fn verify_history(&self) -> Result<usize, String> {
        let keeper = self.keeper.as_ref().ok_or(NO_STATE)?;
        keeper.verify().map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// The gateway.
    ///
    /// # Panics
    /// Where it is not alive (see [`Host::is_alive`]).
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("nobody is served by a gateway that has died")
    }

    /// The gateway, to be changed but for its configuration: that is [`Host::apply`].
    ///
    /// # Panics
    /// As [`Host::gateway`].
    pub fn gateway_mut(&mut self) -> &mut Gateway {
        self.gateway.as_mut().expect("nobody is served by a gateway that has died")
    }

    /// Whether there is a gateway, and every worker of it is alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.gateway.as_ref().is_some_and(Gateway::is_alive)
    }

    /// Why nothing may pass, where there is no configuration in force.
    #[must_use]
    pub fn deny_all(&self) -> Option<&str> {
        self.deny_all.as_deref()
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
        self.gateway().events().iter().map(EventSource::lost).sum()
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

    /// Counts the rule hits of a gateway that is about to be stopped to those of earlier runs.
    pub(super) fn remember_hits(&mut self) {
        // A worker that does not answer has died, and that is found out in a moment.
        if let Ok(hits) = self.all_hits() {
            self.kept = Arc::new(hits);
        }
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
        for rule in generation.tables().policy().listed() {
            let key = generation.key_of(rule);
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

    /// The gateway, to be stopped; `None`: it has died.
    #[must_use]
    pub fn into_gateway(self) -> Option<Gateway> {
        self.gateway
    }
}
