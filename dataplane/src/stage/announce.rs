//! Word of the gateway's own addresses that nobody asked for: hosts that knew another MAC, and switches that knew another
//! port, need not wait until they forget it.

use crate::answer::{self, LinkHeader};
use crate::engine::Engine;
use crate::network::{Role, VlanIndex};
use classifier::addr::{Mac, PortId};
use classifier::wire::arp::Arp;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// All nodes of a link, ff02::1 (RFC 2464 §7).
const ALL_NODES: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

impl Engine {
    /// Announces the gateway's own addresses on the routed VLANs of a port: by ARP (RFC 5227 §2.3, which asks for two,
    /// two seconds apart), and by neighbor advertisements (RFC 4861 §7.2.6, RFC 9131). They are counted as answers.
    pub fn announce(&mut self, port: PortId) {
        let generation = Arc::clone(self.generation());
        let network = generation.network();
        for vlan in network.vlans().filter(|vlan| vlan.role == Role::Routed && vlan.key.port() == port) {
            let Some(index) = network.index_of(vlan.key) else { continue };
            vlan.addresses.iter().for_each(|own| self.announce_address(index, *own));
        }
    }

    fn announce_address(&mut self, index: VlanIndex, own: IpAddr) {
        let generation = Arc::clone(self.generation());
        let vlan = generation.network().vlan(index);
        let tag = (vlan.key.vid() != 0).then_some(vlan.key.vid());
        let mac = vlan.own_mac();
        match own {
            IpAddr::V4(own) => {
                let link = LinkHeader { destination: Mac::BROADCAST, source: mac, tag };
                let word = Arp {
                    is_request: true,
                    sender_mac: mac,
                    sender: own,
                    target_mac: Mac::ZERO,
                    target: own,
                };
                self.answer(index, |out| Some(answer::arp(out, &link, &word)));
            }
            IpAddr::V6(own) => {
                let link = LinkHeader { destination: ALL_NODES, source: mac, tag };
                self.answer(index, |out| {
                    // To nobody who asked, so to all.
                    Some(answer::neighbor_advertisement(out, &link, own, mac, Ipv6Addr::UNSPECIFIED))
                });
            }
        }
    }
}
