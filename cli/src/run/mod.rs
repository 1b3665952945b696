//! The gateway at work: ports opened, workers started, policies put into force, everything put back at the end.

mod anew;
mod carried;
mod crew;
mod event;
mod file;
mod gateway;
mod hits;
mod host;
pub mod hub;
mod links;
mod made;
mod notice;
mod sandbox;
mod service;
mod state;
mod watchdog;

pub use carried::Carried;
pub use crew::leave_to_workers;
pub use event::EventLine;
pub use file::replace_file;
pub use gateway::{Gateway, ReloadError, StartError, Stop, WorkerDied};
pub use hits::{DEFAULT, HitTable, KeptHits};
pub use host::{Applied, Host, HostOptions};
pub use links::{Links, Look};
pub use made::Made;
pub use notice::Notice;
pub use sandbox::{Enforced, Sandbox};
pub use service::Service;
pub use state::{DEFAULT_STATE, Leaving, Newcomers, Resumption, StateDirectory};
pub use watchdog::Watchdog;
