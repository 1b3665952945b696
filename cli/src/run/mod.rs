//! The gateway at work: ports opened, workers started, policies put into force, everything put back at the end.

mod event;
mod gateway;
mod links;

pub use event::EventLine;
pub use gateway::{Gateway, ReloadError, StartError};
pub use links::Links;
