//! The gateway at work: ports opened, workers started, policies put into force, everything put back at the end.

mod event;
mod gateway;
mod links;
mod state;

pub use event::EventLine;
pub use gateway::{Gateway, ReloadError, StartError, Stop};
pub use links::Links;
pub use state::{DEFAULT_STATE, Resumption, StateDirectory};
