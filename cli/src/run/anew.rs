//! Another gateway in the place of the one at work, within the process: where ports have to be opened anew.
//!
//! ```text
//!  nothing is fit, its ports known ---- apply: the same ports ----> reload: as at any time
//!  nothing is fit, other ports -------- apply ---------------------+
//!  an interface was deleted and made again ------------------------+--> pause, start, flows carried over
//!                                                                  |
//!                       it can't be started: nothing passes, again after a second
//! ```

use super::host::Host;
use super::{Gateway, Links, Notice, Resumption};
use crate::change::Action;
use crate::config::{self, Configuration};
use crate::control::desk::Shared;
use arc_swap::ArcSwap;
use classifier::tables::Tables;
use dataplane::generation::LiveFlows;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two tries to start a gateway.
const AGAIN: Duration = Duration::from_secs(1);

impl Host {
    /// Whether the gateway, and with it [`Host::shared`], is another than the one that is known outside.
    #[must_use]
    pub fn is_renewed(&self) -> bool {
        self.is_renewed
    }

    /// Says that the gateway is known outside as it is now.
    pub fn is_known(&mut self) {
        self.is_renewed = false;
        self.answers.drain(..).for_each(|answer| answer());
    }

    /// Gives an answer once whoever gets it and asks again asks the gateway as it is now.
    pub(crate) fn once_known(&mut self, answer: Box<dyn FnOnce() + Send>) {
        if self.is_renewed {
            self.answers.push(answer);
        } else {
            answer();
        }
    }

    /// Looks after the ports, and mends what can be mended; what has changed.
    pub fn look_at_links(&mut self) -> Vec<Notice> {
        if self.carried.is_some() {
            return self.start_again();
        }
        let Some(gateway) = &mut self.gateway else { return Vec::new() };
        let look = self.links.look(gateway);
        let mut notices = look.notices;
        if look.is_mendable {
            let base = Arc::clone(&self.base);
            notices.push(match self.start_with(&base) {
                Ok(()) => Notice::new(
                    "ports-opened-anew",
                    "an interface was made again: all ports are opened anew, and the flows are kept",
                    json!({}),
                ),
                Err(error) => without_ports(&error),
            });
        }
        notices
    }

    /// Tries to start what could not be started before.
    fn start_again(&mut self) -> Vec<Notice> {
        if self.tried.elapsed() < AGAIN {
            return Vec::new();
        }
        let base = Arc::clone(&self.base);
        match self.start_with(&base) {
            Ok(()) => vec![Notice::new("ports-opened-anew", "all ports are open again", json!({}))],
            // That was said the first time.
            Err(_) => Vec::new(),
        }
    }

    /// Stops the gateway, and starts one of another configuration, with the overlay over it and the flows that there
    /// are.
    ///
    /// # Errors
    /// It can't be started, and nothing passes. Where nothing was in force before, that is as it was; else the gateway
    /// that was is tried again, until it can be started.
    pub(super) fn start_with(&mut self, base: &Configuration) -> Result<(), String> {
        self.tried = Instant::now();
        self.remember_hits();
        let before = Configuration::clone(self.gateway().configuration());
        let died = "a worker died".to_owned();
        let left = self.gateway.take().ok_or(&died)?.pause().map_err(|_| died)?;
        // What a gateway without ports leaves is nothing.
        let mut carried = self.carried.take().unwrap_or(left);
        let report = &mut |word| tell!("bulkhead: {word}");
        let error = match Gateway::go_on(self.laid_over(base), &mut carried, report) {
            Ok((gateway, resumption)) => {
                if !matches!(resumption, Resumption::Nothing) {
                    tell!("bulkhead: {resumption}");
                }
                self.take_over(gateway);
                return Ok(());
            }
            Err(error) => error.to_string(),
        };
        if self.deny_all.is_some()
            && let Ok((gateway, _)) = Gateway::go_on(before, &mut carried, report)
        {
            self.take_over(gateway);
            return Err(error);
        }
        let mut bare = config::deny_all_of(base);
        bare.topology.ports.clear();
        let bare = Gateway::start(bare, report).map_err(|second| format!("{error}; {second}"))?;
        self.take_over(bare);
        self.carried = Some(carried);
        Err(error)
    }

    fn take_over(&mut self, gateway: Gateway) {
        // Its tables are its own.
        (self.in_place, self.made) = (None, None);
        self.links = Links::new(&gateway);
        self.shared = Arc::new(Shared {
            control: Arc::clone(gateway.shared_control()),
            configuration: ArcSwap::new(Arc::clone(gateway.configuration())),
            base: ArcSwap::new(Arc::clone(&self.base)),
            clock: gateway.clock(),
            shelf: self.shared.shelf.clone(),
            started: self.shared.started,
            began: self.shared.began,
        });
        self.gateway = Some(gateway);
        self.is_renewed = true;
    }

    /// Takes everything out of force; a sentence about it.
    pub(super) fn let_nothing_pass(&mut self, why: &str) -> String {
        let bare = Arc::new(config::deny_all_of(&self.base));
        let tables = Tables::compile(Arc::clone(&bare.policy), config::now());
        let done = tables
            .map_err(|error| error.to_string())
            .and_then(|tables| self.put_into_force(&bare, tables, LiveFlows::Flush));
        if let Err(error) = done {
            if let Some(keeper) = &mut self.keeper {
                keeper.postpone(AGAIN);
            }
            return format!("error: {why}; but it can't be taken out of force: {error}");
        }
        self.feeds.adopt(&bare);
        self.base = bare;
        self.shared.base.store(Arc::clone(&self.base));
        self.deny_all = Some(why.to_owned());
        let action = Action::of_gateway("deny-all", why);
        match self.keeper.as_mut().map(|keeper| keeper.back_to_nothing(&action)) {
            Some(Err(error)) => {
                format!("error: {why}: nothing may pass; the history can't be written: {error}")
            }
            Some(Ok(())) | None => format!("error: {why}: nothing may pass"),
        }
    }
}

fn without_ports(error: &str) -> Notice {
    let text =
        format!("error: the ports can't be opened anew, so nothing passes; it is tried again: {error}");
    Notice::new("ports-closed", text, json!({}))
}
