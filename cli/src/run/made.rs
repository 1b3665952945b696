//! How the tables in force are made and put into force: in place, or by a compilation.

use super::Notice;
use super::host::Host;
use crate::change::{Anew, InPlace, Layers};
use crate::config::{self, Configuration};
use classifier::tables::Tables;
use dataplane::generation::LiveFlows;
use serde::Serialize;
use serde::ser::SerializeStruct;
use serde_json::json;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long workers may take to put a generation into force.
const INSTALLED_WITHIN: Duration = Duration::from_secs(2);

/// How tables were made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Made {
    /// Why by a compilation; `None`: those before were changed in place.
    pub anew: Option<Anew>,
    /// How long it took until they could be put into force.
    pub took: Duration,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.anew {
            None => write!(f, "tables changed in place in {} µs", self.took.as_micros()),
            Some(why) => {
                write!(f, "tables compiled in {:.1} ms: {why}", self.took.as_secs_f64() * 1e3)
            }
        }
    }
}

impl Serialize for Made {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Made", 3)?;
        fields.serialize_field("in_place", &self.anew.is_none())?;
        fields.serialize_field("prepared_ms", &(self.took.as_secs_f64() * 1e3))?;
        fields.serialize_field("why_compiled", &self.anew.map(|why| why.to_string()))?;
        fields.end()
    }
}

impl Host {
    /// Puts a configuration into force on all workers, which has these tables unless feeds and overlay lie over it.
    pub(super) fn put_into_force(
        &mut self,
        base: &Arc<Configuration>,
        tables: Tables,
        flows: LiveFlows,
    ) -> Result<(), String> {
        if self.overlay.is_empty() && base.feeds.is_empty() {
            let base = Arc::clone(base);
            self.gateway_mut().reload(base, tables, flows).map_err(|error| error.to_string())?;
            // They were of other files.
            (self.in_place, self.made) = (None, None);
            self.install();
            return Ok(());
        }
        // Its memory is for others.
        drop(tables);
        self.compile(base, flows, Anew::First)
    }

    /// Compiles a configuration with what lies over it, and puts it into force so that it can be changed in place.
    fn compile(&mut self, base: &Arc<Configuration>, flows: LiveFlows, why: Anew) -> Result<(), String> {
        let started = Instant::now();
        // Two of them at once would be too much for a large policy.
        self.in_place = None;
        let configuration = Arc::new(self.laid_over(base));
        let lists = self.feeds.lists();
        let layers = Layers { base, lists: &lists, overlay: &self.overlay };
        let compiled = InPlace::compile(&configuration.policy, layers, config::now());
        let compiled = compiled.map_err(|error| error.to_string())?;
        let took = started.elapsed();
        let tables = compiled.tables();
        self.gateway_mut().reload(configuration, tables, flows).map_err(|error| error.to_string())?;
        self.in_place = Some(compiled);
        self.install();
        self.note_made(Made { anew: Some(why), took });
        Ok(())
    }

    /// Puts what lies over the configuration into force as it is now: in place, or else by a compilation.
    pub(super) fn lay_over(&mut self) -> Result<(), String> {
        let started = Instant::now();
        let base = Arc::clone(&self.base);
        // Rules that have expired since were taken out by a compilation of their own.
        let in_force = self.shared.control.generation();
        let is_in_force = |kept: &InPlace| Arc::ptr_eq(in_force.shared_tables(), &kept.tables());
        let kept = self.in_place.take().filter(|kept| kept.is_of(&base) && is_in_force(kept));
        // The generation that is replaced is to be seen by nobody once the next change comes.
        drop(in_force);
        let Some(mut kept) = kept else { return self.compile(&base, LiveFlows::Recheck, Anew::First) };
        let lists = self.feeds.lists();
        match kept.change_to(Layers { base: &base, lists: &lists, overlay: &self.overlay }) {
            Ok(removed) => {
                let configuration = kept.configuration(self.gateway().configuration());
                let took = started.elapsed();
                self.gateway_mut().change(configuration, kept.tables(), &removed);
                self.in_place = Some(kept);
                self.install();
                self.note_made(Made { anew: None, took });
                Ok(())
            }
            Err(error) => {
                drop(kept);
                self.compile(&base, LiveFlows::Recheck, Anew::Refused(error))
            }
        }
    }

    /// Tells those who ask of the configuration in force, and waits until all workers have it.
    fn install(&mut self) {
        self.shared.configuration.store(Arc::clone(self.gateway().configuration()));
        self.shared.control.wait_until_installed(INSTALLED_WITHIN);
    }

    fn note_made(&mut self, made: Made) {
        let generation = self.shared.control.generation().epoch().0;
        let mut details = json!(made);
        details["generation"] = json!(generation);
        self.notices.push(Notice::new("tables", format!("generation {generation}: {made}"), details));
        self.made = Some(made);
    }

    /// How the tables in force were made, where something was changed beside the files since these were applied.
    #[must_use]
    pub fn made(&self) -> Option<Made> {
        self.made
    }

    /// What there is to tell since this was asked last. To be called now and then.
    pub fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }
}
