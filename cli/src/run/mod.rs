//! The gateway at work: ports opened, workers started, policies put into force, everything put back at the end.

mod crew;
mod event;
mod file;
mod gateway;
mod hits;
mod host;
pub mod hub;
mod links;
mod state;

pub use crew::leave_to_workers;
pub use event::EventLine;
pub use file::replace_file;
pub use gateway::{Gateway, ReloadError, StartError, Stop};
pub use hits::{DEFAULT, HitTable, KeptHits};
pub use host::{Applied, Host, HostOptions};
pub use links::Links;
pub use state::{DEFAULT_STATE, Resumption, StateDirectory};
