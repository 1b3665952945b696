//! The gateway at work: ports opened, workers started, policies put into force, everything put back at the end.

mod event;
mod file;
mod gateway;
mod hits;
mod host;
mod links;

pub use event::EventLine;
pub use file::replace_file;
pub use gateway::{Gateway, ReloadError, StartError};
pub use hits::{DEFAULT, HitTable, KeptHits};
pub use host::{Applied, Host, HostOptions};
pub use links::Links;
