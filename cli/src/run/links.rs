//! Whether the ports' interfaces are still there and up: said when it changes, for nobody else would tell.
//!
//! Nothing is mended here. A link that comes back carries frames again by itself; an interface that was removed
//! is gone for this gateway, even if another of its name is made.

use super::Gateway;
use dataplane::port::xdp::{Interface, LinkState};
use std::time::{Duration, Instant};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);

/// What was seen last.
#[derive(Debug)]
pub struct Links {
    /// By port; `None`: the interface is gone.
    states: Vec<Option<LinkState>>,
    looked: Instant,
}

impl Links {
    /// All links are taken to be up, as they have to be for frames to flow.
    #[must_use]
    pub fn new(gateway: &Gateway) -> Links {
        let states = gateway.guards().iter().map(|_| Some(LinkState::Up)).collect();
        Links { states, looked: Instant::now() }
    }

    /// How the link of a port was seen last: `up`, `no-carrier`, `down` or `gone`.
    #[must_use]
    pub fn state(&self, port: usize) -> &'static str {
        match self.states.get(port) {
            Some(Some(LinkState::Up)) => "up",
            Some(Some(LinkState::NoCarrier)) => "no-carrier",
            Some(Some(LinkState::Down)) => "down",
            Some(None) | None => "gone",
        }
    }

    /// What has changed since the last look, a sentence for each port. To be called from a thread in the
    /// interfaces' network namespace, as often as one likes.
    pub fn look(&mut self, gateway: &Gateway) -> Vec<String> {
        if self.looked.elapsed() < EVERY {
            return Vec::new();
        }
        self.looked = Instant::now();
        let ports = gateway.configuration().topology.ports.iter().zip(gateway.guards());
        let mut said = Vec::new();
        for ((port, guard), state) in ports.zip(&mut self.states) {
            let name = &guard.interface().name;
            let found = Interface::look_up(name).ok().filter(|i| i.index == guard.interface().index);
            let now = found.map(|interface| interface.state);
            // Once gone, always gone.
            if now == *state || state.is_none() {
                continue;
            }
            *state = now;
            said.push(match now {
                Some(LinkState::Up) => format!("port {}: {name} is up", port.name),
                Some(LinkState::NoCarrier) => format!("port {}: {name} has no carrier", port.name),
                Some(LinkState::Down) => format!("port {}: {name} is down", port.name),
                None => format!(
                    "port {}: {name} is gone, and nothing passes there; restart the gateway when it is back",
                    port.name
                ),
            });
        }
        said
    }
}
