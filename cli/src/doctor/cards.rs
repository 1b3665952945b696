//! What the kernel tells of an interface when it is asked.

use dataplane::port::xdp::{Interface, offload, receive_hash};
use std::io;

/// Who answers for the interfaces.
pub trait Cards {
    /// The facts about an interface.
    ///
    /// # Errors
    /// There is none of that name.
    fn interface(&self, name: &str) -> io::Result<Interface>;

    /// The offloads that are on, as `ethtool -k` of the kernel's names has them.
    ///
    /// # Errors
    /// The kernel's.
    fn offloads(&self, name: &str) -> io::Result<Vec<String>>;

    /// Whether both directions of a flow come in on one queue.
    ///
    /// # Errors
    /// The driver does not tell.
    fn is_symmetric(&self, name: &str) -> io::Result<bool>;
}

/// The kernel, in the network namespace of this thread.
#[derive(Clone, Copy, Debug)]
pub struct Live;

impl Cards for Live {
    fn interface(&self, name: &str) -> io::Result<Interface> {
        Interface::look_up(name)
    }

    fn offloads(&self, name: &str) -> io::Result<Vec<String>> {
        offload::active(name)
    }

    fn is_symmetric(&self, name: &str) -> io::Result<bool> {
        receive_hash::is_symmetric(name)
    }
}
