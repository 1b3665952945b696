//! What would become of the packet before the policy is asked (POLICY.md §6), as far as the configuration tells.
//!
//! Of the reasons, only the first that applies is told, as it is the one that is counted. What depends on the rest
//! of the frame (lengths, checksums, options, hop limits) or on what is live (flows, fragments) is not looked at.

use super::answer::Note;
use super::question::{Question, stitch_of};
use crate::config::Configuration;
use classifier::endpoint::ServicePacket;
use classifier::policy::Timestamp;
use classifier::reason::DropReason;
use classifier::reference::Reference;
use classifier::wire::{ipv4, ipv6, protocol};
use dataplane::network::{Hop, Network, Role, Vlan, VlanIndex};
use std::net::IpAddr;

/// What is to be said beside the policy's verdict.
pub(super) fn notes(
    configuration: &Configuration,
    network: &Network,
    now: Timestamp,
    question: &Question,
) -> Vec<Note> {
    let way = Way { configuration, network, question };
    let mut notes = Vec::new();
    notes.extend(way.refusal());
    notes.extend(way.missing_ingress());
    notes.extend(way.other_egress());
    notes.extend(way.expired_rules(now));
    notes
}

/// The packet's way, before the policy is asked.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) network: &'a Network,
    pub(super) question: &'a Question,
}

impl<'a> Way<'a> {
    pub(super) fn ingress(&self) -> Option<(VlanIndex, &'a Vlan)> {
        let index = self.network.index_of(self.question.source_vlan?)?;
        Some((index, self.network.vlan(index)))
    }

    pub(super) fn label(&self, index: VlanIndex) -> String {
        self.configuration.topology.vlan_label(self.network.vlan(index).key)
    }

    /// What routing says, where the packet comes from a routed VLAN.
    fn hop(&self) -> Option<Hop> {
        self.network.route(self.question.destination)
    }

    fn is_routed(&self) -> bool {
        self.ingress().is_some_and(|(_, vlan)| vlan.role == Role::Routed)
    }

    /// The first reason to drop the packet, in the order in which they are checked; or that it is the gateway's own.
    fn refusal(&self) -> Option<Note> {
        self.malformed_ip()
            .or_else(|| self.martian())
            .or_else(|| self.spoofed())
            .or_else(|| self.neighbor_discovery())
            .or_else(|| self.bad_destination())
            .or_else(|| self.own_address())
            .or_else(|| self.malformed_l4())
            .or_else(|| self.no_way())
            .or_else(|| self.opens_no_flow())
    }

    fn malformed_ip(&self) -> Option<Note> {
        let number = self.question.packet.protocol;
        matches!(number, 0 | 255)
            .then(|| Note::drop(DropReason::MalformedIp, format!("no packet has the IP protocol {number}")))
    }

    fn martian(&self) -> Option<Note> {
        let Question { source, destination, .. } = *self.question;
        let (is_martian, leaves_its_link) = match source {
            IpAddr::V4(a) => (ipv4::is_martian(a.into()), false),
            IpAddr::V6(a) => {
                let is_local = |address: IpAddr| match address {
                    IpAddr::V6(a) => ipv6::is_link_local(a.into()),
                    IpAddr::V4(_) => false,
                };
                let leaves = self.is_routed()
                    && is_local(source)
                    && !is_local(destination)
                    && !destination.is_multicast()
                    && !matches!(self.hop(), Some(Hop::Own | Hop::Broadcast))
                    && self.egress().is_none_or(|egress| Some(egress) != self.ingress().map(|(i, _)| i));
                (ipv6::is_martian(a.into()), leaves)
            }
        };
        let text = if source == destination {
            format!("{source} is both source and destination")
        } else if is_martian {
            format!("no host has the address {source}")
        } else if leaves_its_link {
            format!("{source} is good on its own link only")
        } else {
            return None;
        };
        Some(Note::drop(DropReason::Martian, text))
    }

    fn neighbor_discovery(&self) -> Option<Note> {
        let ServicePacket { protocol, destination_port, .. } = self.question.packet;
        let [kind, _] = destination_port.to_be_bytes();
        let is_nd = protocol == protocol::ICMPV6 && (133..=137).contains(&kind);
        is_nd.then(|| {
            Note::plain("neighbor discovery is the gateway's own business: the policy is never asked")
        })
    }

    fn bad_destination(&self) -> Option<Note> {
        let to = self.question.destination;
        let is_routed = self.is_routed();
        let is_bad = match to {
            IpAddr::V4(a) => {
                let a = u32::from(a);
                ipv4::is_bad_destination(a) || (is_routed && (ipv4::is_multicast(a) || a == u32::MAX))
            }
            IpAddr::V6(a) => {
                let a = u128::from(a);
                let is_local = ipv6::is_link_local(a) && self.hop() != Some(Hop::Own);
                ipv6::is_bad_destination(a) || (is_routed && (ipv6::is_multicast(a) || is_local))
            }
        };
        let text = if is_routed && self.hop() == Some(Hop::Broadcast) {
            format!("{to} is the broadcast address of a network")
        } else if is_bad {
            format!("nothing is forwarded to {to}")
        } else {
            return None;
        };
        Some(Note::drop(DropReason::BadDestination, text))
    }

    fn own_address(&self) -> Option<Note> {
        if !self.is_routed() || self.hop() != Some(Hop::Own) {
            return None;
        }
        let to = self.question.destination;
        let [kind, code] = self.question.packet.destination_port.to_be_bytes();
        let is_ping = matches!(
            (self.question.packet.protocol, kind, code),
            (protocol::ICMP, 8, 0) | (protocol::ICMPV6, 128, 0)
        );
        Some(if is_ping {
            Note::plain(format!("{to} is the gateway itself: it answers pings, and the policy is not asked"))
        } else {
            Note::drop(
                DropReason::LocalDeny,
                format!("{to} is the gateway itself, which answers pings alone"),
            )
        })
    }

    fn malformed_l4(&self) -> Option<Note> {
        let ServicePacket { protocol, source_port, destination_port } = self.question.packet;
        let [_, code] = destination_port.to_be_bytes();
        let text = match protocol {
            protocol::TCP | protocol::UDP | protocol::SCTP if source_port == 0 || destination_port == 0 => {
                "port 0 is no port"
            }
            protocol::ICMP | protocol::ICMPV6
                if self.icmp() != Icmp::Other && self.icmp() != Icmp::Error && code != 0 =>
            {
                "a query has code 0"
            }
            _ => return None,
        };
        Some(Note::drop(DropReason::MalformedL4, text))
    }

    /// The VLAN that routing sends the packet to.
    fn egress(&self) -> Option<VlanIndex> {
        match self.hop()? {
            Hop::Connected(vlan) | Hop::Via(vlan, _) => Some(vlan),
            Hop::Own | Hop::Broadcast => None,
        }
    }

    /// Routing has no way, or none that may be taken; or the ends are not of one domain.
    fn no_way(&self) -> Option<Note> {
        let to = self.question.destination;
        let (index, vlan) = self.ingress()?;
        let topology = &self.configuration.topology;
        let stitch = |key| stitch_of(topology, key);
        match (vlan.role, self.egress()) {
            (Role::Routed, None) => {
                let text = format!("there is no route to {to}; the sender is told that it is unreachable");
                Some(Note::drop(DropReason::NoRoute, text))
            }
            (Role::Routed, Some(egress)) if egress == index && !vlan.hairpin => {
                let text = format!(
                    "{to} is on VLAN {} as well: such packets go by the switch, and those that come here are dropped \
                     unless the VLAN has hairpin = true",
                    self.label(index)
                );
                Some(Note::drop(DropReason::SameVlan, text))
            }
            (Role::Routed, Some(_)) => None,
            (Role::Stitched(_), _) => {
                let far = self.question.destination_vlan?;
                (stitch(far) != stitch(vlan.key)).then(|| {
                    Note::plain(format!(
                        "VLANs {} and {} are not in one stitch: no frame gets from one to the other",
                        self.label(index),
                        topology.vlan_label(far)
                    ))
                })
            }
        }
    }

    fn icmp(&self) -> Icmp {
        let [kind, _] = self.question.packet.destination_port.to_be_bytes();
        match (self.question.packet.protocol, kind) {
            (protocol::ICMP, 8 | 13 | 15 | 17) | (protocol::ICMPV6, 128) => Icmp::Request,
            (protocol::ICMP, 0 | 14 | 16 | 18) | (protocol::ICMPV6, 129) => Icmp::Reply,
            (protocol::ICMP, 3 | 4 | 5 | 11 | 12) | (protocol::ICMPV6, 1..=4) => Icmp::Error,
            _ => Icmp::Other,
        }
    }

    fn opens_no_flow(&self) -> Option<Note> {
        let is_icmp = matches!(self.question.packet.protocol, protocol::ICMP | protocol::ICMPV6);
        let text = match self.icmp() {
            Icmp::Other if !is_icmp => return None,
            Icmp::Request => return None,
            Icmp::Reply => "a reply opens no flow: it is let through where its request was",
            Icmp::Error => {
                "an ICMP error opens no flow: it is let through where the flow that it is about is live"
            }
            Icmp::Other => "ICMP that is neither query nor error is never let through",
        };
        Some(Note::drop(DropReason::CtInvalid, text))
    }

    fn missing_ingress(&self) -> Option<Note> {
        let source = self.question.source;
        self.question.source_vlan.is_none().then(|| {
            Note::plain(format!(
                "where {source} comes in can't be told, so no `vlan:` member matches it; write {source}@VLAN"
            ))
        })
    }

    /// The question names a VLAN that routing does not send the packet to.
    fn other_egress(&self) -> Option<Note> {
        let asked = self.question.destination_vlan?;
        let to = self.question.destination;
        let egress = self.egress().filter(|_| self.is_routed())?;
        (self.network.vlan(egress).key != asked).then(|| {
            Note::plain(format!(
                "this is judged as if {to} were on VLAN {}, but routing sends it to VLAN {}",
                self.configuration.topology.vlan_label(asked),
                self.label(egress)
            ))
        })
    }

    /// Rules that would match, were they not over.
    fn expired_rules(&self, now: Timestamp) -> Vec<Note> {
        let policy = &self.configuration.policy;
        let reference = Reference::new(policy, now);
        let (source, destination) = self.question.endpoints(self.configuration);
        let is_over = |expires: Option<Timestamp>| expires.is_some_and(|at| at <= now);
        let matches = |rule: &&classifier::policy::Rule| {
            is_over(rule.expires) && reference.matches(rule, &source, &destination, self.question.packet)
        };
        policy
            .rules()
            .iter()
            .filter(matches)
            .map(|rule| {
                let at = rule.expires.map(super::answer::moment).unwrap_or_default();
                Note::plain(format!("rule `{}` would match, but it expired at {at}", rule.id))
            })
            .collect()
    }
}

/// What an ICMP message is to a flow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Icmp {
    Request,
    Reply,
    Error,
    Other,
}
