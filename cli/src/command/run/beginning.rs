//! What the gateway begins with: its file, what was in force when it stopped, or nothing but its ports.

use super::super::report;
use super::Run;
use crate::change::{Action, Keeper, KeeperError, Overlay, Started};
use crate::config::{self, Bundle, Checked, Configuration, LoadError};
use crate::feed::{Fed, Shelf};
use crate::run::{Gateway, Resumption, StartError};
use dataplane::port::xdp::Interface;

/// What a gateway begins with.
pub(super) struct Beginning {
    pub(super) configuration: Configuration,
    /// Its number, where it is a version that was kept.
    version: Option<u64>,
    /// The hash of the gateway file.
    hash: Option<String>,
    /// The name of the gateway file.
    source: String,
    /// Why nothing may pass, where the configuration is none.
    pub(super) deny_all: Option<String>,
}

impl Beginning {
    pub(super) fn keep(self, keeper: &mut Keeper) -> Result<(), KeeperError> {
        if let Some(why) = self.deny_all {
            return keeper.note(&Action::of_gateway("deny-all", why), serde_json::Value::Null);
        }
        let bundle = Bundle::of(self.configuration.sources());
        let action = Action::of_gateway("start", format!("of {}", self.source));
        keeper.begin(&bundle, self.version, &action, None, self.hash).map(|_| ())
    }
}

impl Run {
    /// What was done beside the files, and is not over.
    pub(super) fn overlay(&self) -> Overlay {
        let loaded = self.folder().map_or_else(|| Ok(Overlay::default()), Overlay::load);
        loaded.unwrap_or_else(|error| {
            tell!("bulkhead: what was done beside the files is lost: {error}");
            Overlay::default()
        })
    }

    /// What to start with: the gateway file, or what was in force when the gateway stopped, or nothing but its ports.
    pub(super) fn beginning(&self, shelf: &Shelf) -> (Option<Keeper>, Beginning) {
        let file = report(&self.config, self.load(shelf)).map(|checked| checked.configuration);
        let keeper = self.folder().and_then(|folder| {
            let keeper = Keeper::open(folder, self.keep_versions, &mut |what| tell!("bulkhead: {what}"));
            keeper
                .inspect_err(|error| {
                    tell!("bulkhead: no versions are kept, for {} can't be used: {error}", folder.display());
                })
                .ok()
        });
        let source = self.config.display().to_string();
        let hash = file.as_ref().map(|configuration| Bundle::of(configuration.sources()).hash());
        let of = |configuration, version| Beginning {
            configuration,
            version,
            hash: hash.clone(),
            source: source.clone(),
            deny_all: None,
        };
        let Some(mut keeper) = keeper else {
            let beginning = file.map_or_else(|| self.nothing("the gateway file is not fit"), |c| of(c, None));
            return (None, beginning);
        };
        let beginning = match (keeper.start_with(hash.as_deref()), file) {
            (Started::File, Some(configuration)) => of(configuration, None),
            (Started::Version(version, why), _) => {
                match fit(config::load_bundle(&version.bundle, config::now()), shelf) {
                    Ok(checked) => {
                        tell!("bulkhead: version {} is put into force: {why}", version.number);
                        of(checked.configuration, Some(version.number))
                    }
                    Err(error) => {
                        let _: Option<Checked> = report(&self.config, Err(error));
                        self.nothing(&format!("{why}, and version {} is not fit either", version.number))
                    }
                }
            }
            (Started::File | Started::Nothing, _) => self
                .nothing("the gateway file is not fit, and there is no version that was in force for good"),
        };
        (Some(keeper), beginning)
    }

    /// The gateway file.
    pub(super) fn load(&self, shelf: &Shelf) -> Result<Checked, LoadError> {
        fit(config::load_at(&self.config, config::now()), shelf)
    }

    /// What a gateway begins with that has no configuration: its ports, as far as they can be known.
    fn nothing(&self, why: &str) -> Beginning {
        Beginning {
            configuration: config::deny_all_of_file(&self.config, config::now()),
            version: None,
            hash: None,
            source: self.config.display().to_string(),
            deny_all: Some(why.to_owned()),
        }
    }

    pub(super) fn start(
        &self,
        configuration: Configuration,
        report: &mut dyn FnMut(String),
    ) -> Result<(Gateway, Option<Resumption>), StartError> {
        match self.folder() {
            None => Gateway::start(configuration, report).map(|gateway| (gateway, None)),
            Some(folder) => Gateway::resume(configuration, folder, report).map(|(g, r)| (g, Some(r))),
        }
    }

    /// Starts with the ports whose interfaces are there, or else with none.
    pub(super) fn start_bare(
        &self,
        mut configuration: Configuration,
        report: &mut dyn FnMut(String),
    ) -> Result<(Gateway, Option<Resumption>), StartError> {
        let ports = &mut configuration.topology.ports;
        ports.retain(|port| Interface::look_up(&port.interface).is_ok());
        self.start(configuration.clone(), report).or_else(|error| {
            tell!("error: {error}");
            configuration.topology.ports.clear();
            self.start(configuration, report)
        })
    }
}

/// Checks a configuration; of a list that is broken, what was good last counts.
fn fit(loaded: Result<Configuration, LoadError>, shelf: &Shelf) -> Result<Checked, LoadError> {
    let configuration = loaded?;
    let fed = shelf.read(&configuration);
    config::check_with_lists(configuration, fed.iter().map(Fed::list), config::now())
}
