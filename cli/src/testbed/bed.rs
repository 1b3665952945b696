//! The bed as a whole: who is in it.

use super::cleanup;
use super::host::{Host, HostSpec};
use super::namespace::Namespace;
use super::raw::RawSocket;
use super::switch::Switch;
use std::io;

/// Hosts, a switch, and a namespace for the gateway.
#[derive(Debug)]
pub struct Bed {
    name: String,
    gateway: Namespace,
    switch: Switch,
    trunks: Vec<String>,
}

impl Bed {
    /// Makes a bed with one trunk, `trunk0`, of one queue, and sees to it that it is removed when the process is
    /// told to end. Stale beds of dead processes are removed first.
    ///
    /// # Errors
    /// Without root, without iproute2, and what else the kernel says.
    pub fn new(name: &str) -> io::Result<Bed> {
        Bed::with_trunk(name, "trunk0")
    }

    /// As [`Bed::new`], with another name for the trunk's interface.
    ///
    /// # Errors
    /// As [`Bed::new`].
    pub fn with_trunk(name: &str, interface: &str) -> io::Result<Bed> {
        cleanup::on_signals()?;
        let mut bed = Bed::without_signal_handler(name)?;
        bed.add_trunk(interface, 1)?;
        Ok(bed)
    }

    /// As [`Bed::new`], without a trunk, and for a program that handles signals itself and then drops the bed.
    ///
    /// # Errors
    /// As [`Bed::new`].
    pub fn without_signal_handler(name: &str) -> io::Result<Bed> {
        let _swept = cleanup::sweep_stale();
        let name = format!("{}{name}", cleanup::prefix());
        let gateway = Namespace::create(&format!("{name}-gw"))?;
        gateway.sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
        gateway.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        let switch = Switch::new(&format!("{name}-switch"))?;
        Ok(Bed { name, gateway, switch, trunks: Vec::new() })
    }

    /// Lays a further trunk; `interface` is its name at the gateway. Returns its number.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add_trunk(&mut self, interface: &str, queues: u16) -> io::Result<usize> {
        self.switch.lay_trunk(&self.gateway, interface, queues)?;
        self.trunks.push(interface.to_owned());
        Ok(self.trunks.len() - 1)
    }

    /// Lays a trunk of one queue again whose interface was deleted, under its name.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Panics
    /// Where there is no trunk of that number.
    pub fn lay_trunk_again(&mut self, trunk: usize) -> io::Result<()> {
        self.switch.lay_trunk_again(trunk, &self.gateway, &self.trunks[trunk], 1)
    }

    /// The name of the first trunk's interface, in the gateway's namespace.
    ///
    /// # Panics
    /// Where the bed has no trunk.
    #[must_use]
    pub fn trunk(&self) -> &str {
        &self.trunks[0]
    }

    /// The names of all trunks' interfaces, in the gateway's namespace.
    #[must_use]
    pub fn trunks(&self) -> &[String] {
        &self.trunks
    }

    /// What the names of all its namespaces begin with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the gateway is to run.
    #[must_use]
    pub fn gateway(&self) -> &Namespace {
        &self.gateway
    }

    /// Adds a host.
    ///
    /// # Errors
    /// What the kernel says: two hosts of one name, an address that is none.
    pub fn host(&mut self, name: &str, spec: &HostSpec) -> io::Result<Host> {
        let namespace = Namespace::create(&format!("{}-{name}", self.name))?;
        self.switch.plug_in(spec.trunk, spec.vlan.unwrap_or(0), &namespace, Host::INTERFACE)?;
        Host::set_up(name, namespace, spec)
    }

    /// A socket on the wire between switch and gateway: it hears all that passes in both directions, with tags,
    /// and what it sends arrives at the gateway as it is.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wire(&self, trunk: usize) -> io::Result<RawSocket> {
        RawSocket::open(self.switch.namespace(), self.switch.trunk_interface(trunk))
    }
}
