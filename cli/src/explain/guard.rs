//! The spoof guard, as far as the configuration tells: what it lets in, and in words what not.

use super::answer::Note;
use super::path::Way;
use classifier::addr::Prefix;
use classifier::reason::DropReason;
use dataplane::network::{Hop, Role, Vlan, VlanIndex};
use dataplane::topology::SpoofGuard;
use std::net::IpAddr;

impl Way<'_> {
    /// As `dataplane` guards: the longest prefix tells where an address lives.
    fn lets_in(&self, index: VlanIndex, vlan: &Vlan, source: IpAddr) -> bool {
        let is_within = |prefixes: &[Prefix]| prefixes.iter().any(|p| p.contains(source));
        match (vlan.guard, vlan.role) {
            (SpoofGuard::Off, _) => true,
            (SpoofGuard::Bindings, _) => {
                let mac = self.configuration.mac_of(vlan.key, source);
                mac.is_some_and(|mac| self.network.is_binding(index, source, mac))
            }
            (SpoofGuard::Subnet, Role::Stitched(_)) => {
                is_within(&vlan.prefixes) && !vlan.is_broadcast(source)
            }
            (SpoofGuard::Subnet, Role::Routed) => match self.network.route(source) {
                None | Some(Hop::Own | Hop::Broadcast) => false,
                Some(Hop::Connected(home)) => home == index,
                Some(Hop::Via(home, _)) => {
                    home == index || is_within(&vlan.prefixes) || is_within(&vlan.behind)
                }
            },
        }
    }

    pub(super) fn spoofed(&self) -> Option<Note> {
        let source = self.question.source;
        let indexes = || (0..self.network.vlan_count()).map(|at| VlanIndex(at as u16));
        let Some((index, vlan)) = self.ingress() else {
            let is_let_in = indexes().any(|i| self.lets_in(i, self.network.vlan(i), source));
            return (!is_let_in).then(|| {
                Note::drop(DropReason::Spoofed, format!("the spoof guard of no VLAN lets {source} in"))
            });
        };
        if self.lets_in(index, vlan, source) {
            return None;
        }
        let label = self.label(index);
        let text = match (vlan.guard, self.network.route(source)) {
            (SpoofGuard::Subnet | SpoofGuard::Off, Some(Hop::Own)) if vlan.role == Role::Routed => {
                format!("{source} is the gateway's own address")
            }
            (SpoofGuard::Subnet | SpoofGuard::Off, _) => {
                let family = |p: &&Prefix| p.address().is_ipv4() == source.is_ipv4();
                let prefixes: Vec<String> = vlan
                    .prefixes
                    .iter()
                    .chain(&vlan.behind)
                    .filter(family)
                    .map(|p| format!("{}/{}", p.network(), p.length()))
                    .collect();
                let known = if prefixes.is_empty() { "nothing".to_owned() } else { prefixes.join(", ") };
                format!("{source} is not on VLAN {label}, whose spoof guard (subnet) lets in {known}")
            }
            (SpoofGuard::Bindings, _) => {
                format!("VLAN {label} lets in what a [[binding]] names, and none names {source}")
            }
        };
        Some(Note::drop(DropReason::Spoofed, text))
    }
}
