//! What is tried, and what has to come of it under `configs/three-tier.toml`.

use super::scene::Saw;
use super::stage::Role;

/// The version of IP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What one host tries on another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    /// An echo request.
    Ping(Family),
    /// A TCP connection to this port; where it is made, a few bytes there and back.
    Tcp(Family, u16),
    /// A UDP request to this port.
    Udp(Family, u16),
    /// A SYN to this port, as one frame with the source address of a third host.
    Forged(Role, u16),
    /// A TCP segment in mid-stream of a connection that there never was, as one frame.
    Stray(u16),
    /// A SYN that bears a VLAN which the trunk has not, as one frame on the trunk.
    ForeignVlan(u16, u16),
}

/// What has to come of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expected {
    /// What the one who tried it sees.
    pub saw: Saw,
    /// Whether its first packet arrives at the other host.
    pub arrives: bool,
    /// The gateway's verdict.
    pub verdict: &'static str,
    /// Why it drops it.
    pub reason: Option<&'static str>,
    /// The rule that decides.
    pub rule: Option<&'static str>,
}

/// One thing that is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scene {
    /// Who tries it.
    pub from: Role,
    /// On whom.
    pub to: Role,
    /// What.
    pub attempt: Attempt,
    /// What has to come of it.
    pub expected: Expected,
}

impl Expected {
    const fn let_in(rule: &'static str) -> Expected {
        Expected { saw: Saw::Answered, arrives: true, verdict: "forward", reason: None, rule: Some(rule) }
    }

    const fn turned_away(saw: Saw, rule: &'static str) -> Expected {
        let reason = Some("policy-reject");
        Expected { saw, arrives: false, verdict: "reject", reason, rule: Some(rule) }
    }

    const fn dropped(saw: Saw, reason: &'static str) -> Expected {
        Expected { saw, arrives: false, verdict: "drop", reason: Some(reason), rule: None }
    }
}

/// All that is tried, in its order.
#[must_use]
pub fn script() -> Vec<Scene> {
    use Attempt::{ForeignVlan, Forged, Ping, Stray, Tcp, Udp};
    use Family::{V4, V6};
    use Role::{App, Db, Web};
    let mut scenes = Vec::new();
    let mut scene = |from, to, attempt, expected| scenes.push(Scene { from, to, attempt, expected });
    for family in [V4, V6] {
        scene(Web, App, Ping(family), Expected::let_in("web-pings-app"));
        scene(Web, App, Tcp(family, 8080), Expected::let_in("web-to-app"));
        scene(App, Db, Tcp(family, 5432), Expected::let_in("app-to-db"));
    }
    for family in [V4, V6] {
        scene(Web, Db, Tcp(family, 5432), Expected::turned_away(Saw::Refused, "web-never-db"));
        scene(Web, Db, Ping(family), Expected::turned_away(Saw::Prohibited, "web-never-db"));
    }
    for family in [V4, V6] {
        scene(Web, App, Tcp(family, 22), Expected::dropped(Saw::Silence, "default-deny"));
    }
    scene(Db, App, Tcp(V4, 8080), Expected::dropped(Saw::Silence, "default-deny"));
    scene(Web, App, Udp(V4, 53), Expected::dropped(Saw::Silence, "default-deny"));
    scene(Web, Db, Forged(App, 5432), Expected::dropped(Saw::Nothing, "spoofed"));
    scene(Web, App, Stray(8080), Expected::dropped(Saw::Nothing, "ct-invalid"));
    scene(Web, App, ForeignVlan(99, 8080), Expected::dropped(Saw::Nothing, "unknown-vlan"));
    scenes
}

impl Family {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Attempt::Ping(family) => write!(f, "ping, {}", family.name()),
            Attempt::Tcp(family, port) => write!(f, "TCP {port}, {}", family.name()),
            Attempt::Udp(family, port) => write!(f, "UDP {port}, {}", family.name()),
            Attempt::Forged(as_whom, port) => write!(f, "TCP {port}, as {as_whom}"),
            Attempt::Stray(port) => write!(f, "TCP {port}, no SYN"),
            Attempt::ForeignVlan(vid, port) => write!(f, "TCP {port}, VLAN {vid}"),
        }
    }
}
