//! Whether the ports are as they must be: looked at several times a second, said when it changes, for nobody else
//! would tell, and mended.
//!
//! | what | until it is mended | mended |
//! | --- | --- | --- |
//! | link down, no carrier | nothing arrives | by itself: the port stays open |
//! | XDP program detached by somebody | the gateway gets no frame of the port, and forwards none | attached again at once |
//! | another program in its place | the same | as soon as that is gone |
//! | interface gone | nothing arrives, what is to leave there is dropped | once an interface of that name is there: the ports are opened anew |

use super::{Gateway, Notice};
use classifier::addr::PortId;
use dataplane::port::xdp::{self, Interface, LinkState, PortGuard};
use serde_json::json;
use std::time::{Duration, Instant};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(250);
/// Between the two announcements of an address (RFC 5227 §1.1).
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// How a port was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Up,
    NoCarrier,
    Down,
    /// Somebody has detached the program, and it can't be attached again.
    Detached,
    Gone,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            State::Up => "up",
            State::NoCarrier => "no-carrier",
            State::Down => "down",
            State::Detached => "detached",
            State::Gone => "gone",
        }
    }
}

/// What was seen last.
#[derive(Debug)]
pub struct Links {
    /// By port.
    states: Vec<State>,
    /// By port: an interface in the place of one that is gone.
    successors: Vec<Option<Interface>>,
    looked: Instant,
    /// When the gateway's addresses on a port are to be announced.
    announcements: Vec<(Instant, PortId)>,
}

/// What a look has found.
#[derive(Debug, Default)]
pub struct Look {
    /// What has changed since the last one.
    pub notices: Vec<Notice>,
    /// Whether a port was gone, and every port could be opened anew now.
    pub is_mendable: bool,
}

impl Links {
    /// All links are taken to be up, as they have to be for frames to flow.
    #[must_use]
    pub fn new(gateway: &Gateway) -> Links {
        let ports = gateway.guards().len();
        let mut links = Links {
            states: vec![State::Up; ports],
            successors: vec![None; ports],
            looked: Instant::now(),
            announcements: Vec::new(),
        };
        // Who knew these addresses by another MAC, or at another port of a switch, is to hear of it.
        (0..ports).for_each(|port| links.announce(port));
        links
    }

    /// Has the addresses on a port announced, and once again.
    fn announce(&mut self, port: usize) {
        let (now, port) = (Instant::now(), PortId(port as u8));
        self.announcements.retain(|(_, of)| *of != port);
        self.announcements.extend([(now, port), (now + ANNOUNCE_INTERVAL, port)]);
    }

    fn announce_what_is_due(&mut self, gateway: &Gateway) {
        let now = Instant::now();
        for (_, port) in self.announcements.extract_if(.., |(at, _)| *at <= now) {
            // Any worker can send by any port. One that has too much to do leaves them to find it out.
            let _ = gateway.control().ask(0, move |engine| engine.announce(port));
        }
    }

    /// How a port was seen last: `up`, `no-carrier`, `down`, `detached` or `gone`.
    #[must_use]
    pub fn state(&self, port: usize) -> &'static str {
        self.states.get(port).copied().unwrap_or(State::Gone).name()
    }

    /// Looks, and attaches programs again that were detached. To be called from a thread in the interfaces' network
    /// namespace, as often as one likes.
    pub fn look(&mut self, gateway: &mut Gateway) -> Look {
        let mut look = Look::default();
        if self.looked.elapsed() < EVERY {
            return look;
        }
        self.looked = Instant::now();
        self.announce_what_is_due(gateway);
        let mut came_up = Vec::new();
        let names: Vec<String> =
            gateway.configuration().topology.ports.iter().map(|port| port.name.clone()).collect();
        let ports = names.iter().zip(gateway.guards_mut()).zip(&mut self.states);
        for (index, ((port, guard), state)) in ports.enumerate() {
            let (now, mended) = see(guard);
            if let Some(why) = mended {
                look.notices.push(notice(port, guard, now, &why));
            }
            if now != *state {
                if now == State::Up {
                    came_up.push(index);
                }
                *state = now;
                look.notices.push(notice(port, guard, now, saying(now)));
            }
        }
        came_up.into_iter().for_each(|port| self.announce(port));
        if self.states.contains(&State::Gone) {
            look.is_mendable = self.has_successors(gateway);
        }
        look
    }

    /// Whether every port that is gone has an interface again, which was the same at the last look: who makes one may
    /// not have finished with it.
    fn has_successors(&mut self, gateway: &Gateway) -> bool {
        let ports = gateway.configuration().topology.ports.iter().zip(&self.states);
        let mut all = true;
        for ((port, state), before) in ports.zip(&mut self.successors) {
            if *state != State::Gone {
                continue;
            }
            let mut found = xdp::is_ready(&Gateway::request(port))
                .ok()
                .and_then(|()| Interface::look_up(&port.interface).ok());
            if let Some(interface) = &mut found {
                // It may come up meanwhile.
                interface.state = LinkState::Up;
            }
            all &= found.is_some() && found == *before;
            *before = found;
        }
        all
    }
}

/// How a port is now, and what was mended.
fn see(guard: &mut PortGuard) -> (State, Option<String>) {
    let own = guard.interface();
    let Some(interface) = Interface::look_up(&own.name).ok().filter(|found| found.index == own.index) else {
        return (State::Gone, None);
    };
    let link = match interface.state {
        LinkState::Up => State::Up,
        LinkState::NoCarrier => State::NoCarrier,
        LinkState::Down => State::Down,
    };
    if guard.is_attached() {
        return (link, None);
    }
    match guard.attach_again() {
        Ok(()) => {
            let what = "had its XDP program detached by somebody; it is attached again".to_owned();
            (link, Some(what))
        }
        Err(_) => (State::Detached, None),
    }
}

const fn saying(state: State) -> &'static str {
    match state {
        State::Up => "is up",
        State::NoCarrier => "has no carrier",
        State::Down => "is down",
        State::Detached => {
            "has another XDP program, put there by somebody; nothing passes there until that is taken away"
        }
        State::Gone => "is gone; nothing passes there until there is an interface of that name again",
    }
}

fn notice(port: &str, guard: &PortGuard, state: State, what: &str) -> Notice {
    let interface = &guard.interface().name;
    Notice::new(
        "port",
        format!("port {port}: {interface} {what}"),
        json!({ "port": port, "interface": interface, "link": state.name() }),
    )
}
