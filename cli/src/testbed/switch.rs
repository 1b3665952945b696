//! The switch between hosts and gateway: a bridge per VLAN, and the trunks.

use super::iproute::ip_in;
use super::namespace::Namespace;
use super::tag::{self, Splitter};
use dataplane::port::xdp::Interface;
use dataplane::port::xdp::offload::{Offloads, Wish};
use std::collections::BTreeSet;
use std::io;

/// A trunk: the switch's end and what is on it.
#[derive(Debug)]
struct Trunk {
    interface: String,
    splitter: Splitter,
    vids: BTreeSet<u16>,
}

/// The switch.
#[derive(Debug)]
pub(super) struct Switch {
    namespace: Namespace,
    trunks: Vec<Trunk>,
    access_ports: u32,
}

/// Switches off what would make frames on a veth pair different from those on a wire.
pub(super) fn plain(namespace: &Namespace, interface: &str) -> io::Result<()> {
    namespace
        .enter(|| Offloads::switch_off(interface, Wish::PortAndChecksums).map(Offloads::keep))
        .map_err(|e| io::Error::new(e.kind(), format!("offloads of {interface}: {e}")))
}

impl Switch {
    pub(super) fn new(name: &str) -> io::Result<Switch> {
        let namespace = Namespace::create(name)?;
        namespace.sysctl("net/ipv6/conf/all/disable_ipv6", "1")?;
        namespace.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        // Bridges must not look into packets; the settings are there only with bridge netfilter in the kernel.
        for setting in ["iptables", "ip6tables", "arptables"] {
            let _ = namespace.sysctl(&format!("net/bridge/bridge-nf-call-{setting}"), "0");
        }
        Ok(Switch { namespace, trunks: Vec::new(), access_ports: 0 })
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The switch's end of a trunk.
    pub(super) fn trunk_interface(&self, trunk: usize) -> &str {
        &self.trunks[trunk].interface
    }

    fn index(&self, interface: &str) -> io::Result<u32> {
        self.namespace.enter(|| Interface::look_up(interface)).map(|i| i.index)
    }

    /// Lays a trunk to an interface that is made in another namespace.
    pub(super) fn lay_trunk(&mut self, far: &Namespace, far_name: &str, queues: u16) -> io::Result<()> {
        let near = format!("t{}", self.trunks.len());
        let splitter = self.wire(&near, far, far_name, queues)?;
        self.trunks.push(Trunk { interface: near, splitter, vids: BTreeSet::new() });
        Ok(())
    }

    /// Lays a trunk again whose wire was removed, at either end.
    pub(super) fn lay_trunk_again(
        &mut self,
        trunk: usize,
        far: &Namespace,
        far_name: &str,
        queues: u16,
    ) -> io::Result<()> {
        let near = self.trunks[trunk].interface.clone();
        self.trunks[trunk].splitter = self.wire(&near, far, far_name, queues)?;
        for vid in self.trunks[trunk].vids.clone() {
            ip_in(&self.namespace, &format!("link delete u{trunk}.{vid}"))?;
            self.join(trunk, vid)?;
        }
        Ok(())
    }

    /// A wire from the switch to an interface that is made in another namespace.
    fn wire(&self, near: &str, far: &Namespace, far_name: &str, queues: u16) -> io::Result<Splitter> {
        let both = format!("numrxqueues {queues} numtxqueues {queues}");
        let (near_ns, far_ns) = (self.namespace.name(), far.name());
        super::iproute::ip(&format!(
            "link add {near} netns {near_ns} {both} type veth peer name {far_name} netns {far_ns} {both}"
        ))?;
        plain(&self.namespace, near)?;
        plain(far, far_name)?;
        ip_in(&self.namespace, &format!("link set {near} up"))?;
        ip_in(far, &format!("link set {far_name} up"))?;
        let index = self.index(near)?;
        self.namespace.enter(|| Splitter::new(index))
    }

    /// Makes the VLAN's bridge and joins it to the trunk, unless that was done before.
    fn add_vlan(&mut self, trunk: usize, vid: u16) -> io::Result<String> {
        let bridge = format!("v{trunk}.{vid}");
        if self.trunks[trunk].vids.contains(&vid) {
            return Ok(bridge);
        }
        let settings = "stp_state 0 forward_delay 0 mcast_snooping 0";
        ip_in(&self.namespace, &format!("link add {bridge} type bridge {settings}"))?;
        ip_in(&self.namespace, &format!("link set {bridge} up"))?;
        self.join(trunk, vid)?;
        self.trunks[trunk].vids.insert(vid);
        Ok(bridge)
    }

    /// Joins a VLAN's bridge to the trunk.
    fn join(&mut self, trunk: usize, vid: u16) -> io::Result<()> {
        let bridge = format!("v{trunk}.{vid}");
        let (up, mux) = (format!("u{trunk}.{vid}"), format!("m{trunk}.{vid}"));
        for command in
            [format!("link add {up} type veth peer name {mux}"), format!("link set {up} master {bridge}")]
        {
            ip_in(&self.namespace, &command)?;
        }
        for end in [&up, &mux] {
            plain(&self.namespace, end)?;
        }
        for interface in [&up, &mux] {
            ip_in(&self.namespace, &format!("link set {interface} up"))?;
        }
        let (mux, wire) = (self.index(&mux)?, self.index(&self.trunks[trunk].interface)?);
        self.namespace.enter(|| tag::push(mux, vid, wire))?;
        self.trunks[trunk].splitter.serve(vid, mux)
    }

    /// Makes an interface in a host's namespace that is on an access port of the VLAN.
    pub(super) fn plug_in(
        &mut self,
        trunk: usize,
        vid: u16,
        host: &Namespace,
        interface: &str,
    ) -> io::Result<()> {
        let bridge = self.add_vlan(trunk, vid)?;
        self.access_ports += 1;
        let near = format!("a{}", self.access_ports);
        let (near_ns, host_ns) = (self.namespace.name(), host.name());
        super::iproute::ip(&format!(
            "link add {near} netns {near_ns} type veth peer name {interface} netns {host_ns}"
        ))?;
        plain(&self.namespace, &near)?;
        plain(host, interface)?;
        ip_in(&self.namespace, &format!("link set {near} master {bridge} up"))?;
        Ok(())
    }
}
