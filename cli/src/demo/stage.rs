//! Where it is played: three hosts, each on its VLAN of one trunk, and the gateway at the trunk's other end.

use super::script::Family;
use crate::config::{self, Configuration, LoadError};
use crate::run::{Gateway, StartError};
use crate::testbed::{Bed, Host, HostSpec, RawSocket, Service};
use classifier::addr::{Mac, Prefix};
use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The policy: in the program, so that it needs no file.
const POLICY: &str = include_str!("../../../configs/three-tier.toml");
/// The interface of the policy's port.
const INTERFACE: &str = "bh-trunk0";
/// How long a host may take to reach its gateway at first.
const PATIENCE: Duration = Duration::from_secs(5);

/// A host's part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The web server.
    Web,
    /// The application.
    App,
    /// The database.
    Db,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Web, Role::App, Role::Db];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Role::Web => "web",
            Role::App => "app",
            Role::Db => "db",
        }
    }

    /// The VLAN that it is on.
    #[must_use]
    pub const fn vlan(self) -> u16 {
        match self {
            Role::Web => 10,
            Role::App => 20,
            Role::Db => 30,
        }
    }

    /// What it serves.
    #[must_use]
    pub const fn tcp_port(self) -> Option<u16> {
        match self {
            Role::Web => None,
            Role::App => Some(8080),
            Role::Db => Some(5432),
        }
    }

    /// Its MAC.
    #[must_use]
    pub const fn mac(self) -> Mac {
        Mac([2, 0, 0, 0, self.vlan() as u8, 0x10])
    }

    /// Its address.
    #[must_use]
    pub fn address(self, family: Family) -> IpAddr {
        self.on_its_vlan(family, 10, 0x10)
    }

    /// The gateway's address on its VLAN.
    #[must_use]
    pub fn gateway(self, family: Family) -> IpAddr {
        self.on_its_vlan(family, 1, 1)
    }

    fn on_its_vlan(self, family: Family, v4: u8, v6: u16) -> IpAddr {
        match family {
            Family::V4 => [10, 0, self.vlan() as u8, v4].into(),
            // VLAN 10 is fd00:10::/64: its number is written as if it were hexadecimal.
            Family::V6 => [0xfd00, self.vlan() / 10 * 0x10, 0, 0, 0, 0, 0, v6].into(),
        }
    }
}

/// Why the stage can't be set up.
#[derive(Debug)]
pub enum SetUpError {
    /// Namespaces, interfaces, hosts.
    Bed(io::Error),
    /// The policy.
    Policy(LoadError),
    /// The gateway.
    Gateway(StartError),
    /// A host does not reach its gateway.
    Unreachable(Role, IpAddr),
}

impl fmt::Display for SetUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetUpError::Bed(error) => write!(f, "the hosts can't be set up: {error}"),
            SetUpError::Policy(error) => error.fmt(f),
            SetUpError::Gateway(error) => error.fmt(f),
            SetUpError::Unreachable(role, gateway) => {
                write!(f, "{role} gets no answer from its gateway, {gateway}")
            }
        }
    }
}

impl std::error::Error for SetUpError {}

impl From<io::Error> for SetUpError {
    fn from(error: io::Error) -> SetUpError {
        SetUpError::Bed(error)
    }
}

/// The stage, with everything running. Dropping it removes it.
pub struct Stage {
    // Dropped in this order: servers, the gateway, hosts, and last the wires.
    _services: Vec<Service>,
    gateway: Gateway,
    wire: RawSocket,
    hosts: Vec<Host>,
    bed: Bed,
}

impl Stage {
    /// Sets everything up, until each host has reached its gateway.
    ///
    /// # Errors
    /// [`SetUpError`]; nothing is left behind then.
    pub fn set_up() -> Result<Stage, SetUpError> {
        let configuration = policy()?;
        let mut bed = Bed::with_trunk("demo", INTERFACE)?;
        let hosts = Role::ALL.iter().map(|role| host(&mut bed, *role)).collect::<io::Result<Vec<Host>>>()?;
        let mut services = Vec::new();
        for (role, host) in Role::ALL.into_iter().zip(&hosts) {
            for family in [Family::V4, Family::V6] {
                if let Some(port) = role.tcp_port() {
                    services.push(host.tcp_echo(SocketAddr::new(role.address(family), port))?);
                }
            }
        }
        let start = || Gateway::start(configuration, &mut |word| tell!("bulkhead: {word}"));
        let gateway = bed.gateway().enter(start).map_err(SetUpError::Gateway)?;
        let wire = bed.wire(0)?;
        let stage = Stage { _services: services, gateway, wire, hosts, bed };
        stage.meet()?;
        Ok(stage)
    }

    /// Each host reaches its gateway, so that both know the other's MAC from here on.
    fn meet(&self) -> Result<(), SetUpError> {
        for role in Role::ALL {
            for family in [Family::V4, Family::V6] {
                let gateway = role.gateway(family);
                if !self.host(role).ping(gateway, PATIENCE)?.is_answered() {
                    return Err(SetUpError::Unreachable(role, gateway));
                }
            }
        }
        Ok(())
    }

    /// A host.
    #[must_use]
    pub fn host(&self, role: Role) -> &Host {
        match role {
            Role::Web => &self.hosts[0],
            Role::App => &self.hosts[1],
            Role::Db => &self.hosts[2],
        }
    }

    /// The gateway.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The trunk: what is sent here arrives at the gateway as it is.
    #[must_use]
    pub fn wire(&self) -> &RawSocket {
        &self.wire
    }

    /// What the names of all namespaces begin with.
    #[must_use]
    pub fn name(&self) -> &str {
        self.bed.name()
    }

    /// Stops the gateway and removes the rest; what the gateway has counted, if it lived to the end.
    #[must_use]
    pub fn take_down(self) -> Option<dataplane::counters::Counters> {
        let Stage { _services, gateway, wire: _wire, hosts: _hosts, bed: _bed } = self;
        gateway.stop().ok().map(|stop| stop.counters)
    }
}

fn host(bed: &mut Bed, role: Role) -> io::Result<Host> {
    let families = [(Family::V4, 24), (Family::V6, 64)];
    let addresses = families.map(|(family, length)| {
        Prefix::new(role.address(family), length).expect("the length fits the family")
    });
    let spec = HostSpec {
        vlan: Some(role.vlan()),
        mac: Some(role.mac()),
        addresses: addresses.into(),
        gateways: families.map(|(family, _)| role.gateway(family)).into(),
        ..HostSpec::default()
    };
    bed.host(role.name(), &spec)
}

/// Reads the policy the way `run` does, from a file that is gone again at once.
fn policy() -> Result<Configuration, SetUpError> {
    let path = std::env::temp_dir().join(format!("bulkhead-demo-{}.toml", std::process::id()));
    // One of a killed process that had the same number.
    let _ = std::fs::remove_file(&path);
    // Never through what somebody else has put there: the folder is everybody's, and we are root.
    let mut file = std::fs::File::options().write(true).create_new(true).open(&path)?;
    let written = file.write_all(POLICY.as_bytes());
    let checked = config::load_checked(&path);
    std::fs::remove_file(&path)?;
    written?;
    checked.map(|checked| checked.configuration).map_err(SetUpError::Policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_have_the_addresses_that_the_policy_speaks_of() {
        let text = |role: Role, family| role.address(family).to_string();
        assert_eq!(text(Role::Web, Family::V4), "10.0.10.10");
        assert_eq!(text(Role::App, Family::V6), "fd00:20::10");
        assert_eq!(Role::Db.gateway(Family::V6).to_string(), "fd00:30::1");
        for role in Role::ALL {
            for family in [Family::V4, Family::V6] {
                assert!(POLICY.contains(&format!("\"{}/", role.gateway(family))), "{role}");
            }
        }
        assert!(POLICY.contains(&format!("interface = \"{INTERFACE}\"")));
        assert!(policy().is_ok());
    }
}
