//! Address resolution: what the gateway answers, believes, and asks for itself.
//!
//! Word that nobody asked for is believed only where a binding agrees or an entry exists already; an address
//! that a binding or a static neighbor gives to another MAC is refused.

use crate::answer::{self, IcmpError, LinkHeader, icmp_error};
use crate::batch::{Out, Outcome, Verdict};
use crate::engine::{Engine, Origin, Resolve, link_back};
use crate::handoff::News;
use crate::neighbors::{Due, Waiting};
use crate::network::{Network, Role, Vlan, VlanIndex};
use crate::topology::SpoofGuard;
use classifier::addr::Mac;
use classifier::reason::DropReason;
use classifier::wire::arp::Arp;
use classifier::wire::link;
use classifier::wire::ndp::Neighbor;
use classifier::wire::{Addresses, Packet, ipv6};
use conntrack::time::Tick;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Checks an ARP packet (A01–A08), and on a routed VLAN answers it and learns from it.
/// Gives the reason where it is refused.
pub(super) fn hear_arp(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    index: VlanIndex,
    packet: &Packet,
    frame: &[u8],
) -> Option<DropReason> {
    let vlan = network.vlan(index);
    let arp = Arp::parse(&frame[usize::from(packet.link.payload)..]);
    let Some(arp) = arp.filter(|arp| is_arp_sound(network, index, vlan, arp, link::source(frame))) else {
        return Some(DropReason::ArpInvalid);
    };
    if vlan.role == Role::Routed {
        let is_for_us = vlan.addresses.contains(&IpAddr::V4(arp.target));
        if arp.is_request && is_for_us {
            let back = link_back(vlan, packet, frame);
            engine.answer_within_limit(now, index, |out| {
                let reply = Arp {
                    is_request: false,
                    sender_mac: vlan.own_mac(),
                    sender: arp.target,
                    target_mac: arp.sender_mac,
                    target: arp.sender,
                };
                Some(answer::arp(out, &back, &reply))
            });
        }
        if !arp.is_probe() {
            learn(
                engine,
                network,
                now,
                index,
                IpAddr::V4(arp.sender),
                arp.sender_mac,
                arp.is_request && is_for_us,
            );
        }
    }
    None
}

fn is_arp_sound(network: &Network, index: VlanIndex, vlan: &Vlan, arp: &Arp, source: Mac) -> bool {
    if arp.sender_mac != source || arp.sender_mac.is_group() {
        return false;
    }
    if arp.is_probe() {
        return true;
    }
    let sender = IpAddr::V4(arp.sender);
    let is_of_vlan = match vlan.role {
        Role::Routed => vlan.prefixes.iter().any(|p| p.contains(sender)),
        Role::Stitched(_) => vlan.prefixes.is_empty() || vlan.prefixes.iter().any(|p| p.contains(sender)),
    };
    is_of_vlan
        && !vlan.is_broadcast(sender)
        && !vlan.addresses.contains(&sender)
        && !network.is_bound_to_another(index, sender, arp.sender_mac)
}

/// Whether an ND message claims an address that is not its sender's to claim (N01).
pub(super) fn is_foreign(
    network: &Network,
    index: VlanIndex,
    vlan: &Vlan,
    packet: &Packet,
    frame: &[u8],
) -> bool {
    let Some(neighbor) = Neighbor::parse(packet.upper_bytes(frame)).filter(|n| n.is_override) else {
        return false;
    };
    let target = IpAddr::V6(Ipv6Addr::from(neighbor.target));
    if vlan.addresses.contains(&target) {
        return true;
    }
    let has_prefixes = vlan.role == Role::Routed || !vlan.prefixes.is_empty();
    let is_of_vlan = ipv6::is_link_local(neighbor.target) || vlan.prefixes.iter().any(|p| p.contains(target));
    let claimants = [Some(link::source(frame)), neighbor.mac];
    (has_prefixes && !is_of_vlan)
        || claimants.iter().flatten().any(|mac| network.is_bound_to_another(index, target, *mac))
}

/// Answers and learns from an ND message that was found sound, on a routed VLAN.
pub(super) fn hear_nd(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    index: VlanIndex,
    packet: &Packet,
    frame: &[u8],
) {
    let vlan = network.vlan(index);
    let (Role::Routed, Addresses::V6(source, _)) = (vlan.role, packet.addresses) else { return };
    let Some(neighbor) = Neighbor::parse(packet.upper_bytes(frame)) else { return };
    let target = Ipv6Addr::from(neighbor.target);
    let source = Ipv6Addr::from(source);
    if !neighbor.is_solicitation {
        if let Some(mac) = neighbor.mac {
            learn(engine, network, now, index, IpAddr::V6(target), mac, false);
        }
        return;
    }
    let is_for_us = vlan.addresses.contains(&IpAddr::V6(target));
    if is_for_us {
        let back = link_back(vlan, packet, frame);
        engine.answer_within_limit(now, index, |out| {
            Some(answer::neighbor_advertisement(out, &back, target, vlan.own_mac(), source))
        });
    }
    if let Some(mac) = neighbor.mac.filter(|mac| *mac == link::source(frame)) {
        learn(engine, network, now, index, IpAddr::V6(source), mac, is_for_us);
    }
}

/// Learns a neighbor's MAC where it may be believed, and lets go what waited for it.
fn learn(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    index: VlanIndex,
    address: IpAddr,
    mac: Mac,
    was_asked_by_it: bool,
) {
    if network.static_neighbor(index, address).is_some() || mac.is_group() || mac == Mac::ZERO {
        return;
    }
    let is_believed = believe(engine, network, now, index, address, mac, was_asked_by_it);
    engine.spread(News { vlan: network.vlan(index).key, address, mac, is_believed });
}

/// Takes note of what another worker has heard, and found sound, if this one may believe it.
pub(crate) fn hear_from_peer(engine: &mut Engine, now: Tick, news: &News) {
    let generation = Arc::clone(&engine.generation);
    let network = generation.network();
    if let Some(index) = network.index_of(news.vlan).filter(|index| network.vlan(*index).role == Role::Routed)
        && network.static_neighbor(index, news.address).is_none()
    {
        believe(engine, network, now, index, news.address, news.mac, news.is_believed);
    }
}

/// Whether it is believed.
fn believe(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    index: VlanIndex,
    address: IpAddr,
    mac: Mac,
    is_sure: bool,
) -> bool {
    let is_believed = match network.vlan(index).guard {
        SpoofGuard::Bindings => network.is_binding(index, address, mac),
        SpoofGuard::Subnet | SpoofGuard::Off => {
            is_sure
                || engine.neighbors.is_of_interest(index, address)
                || network.is_binding(index, address, mac)
        }
    };
    if is_believed {
        let waiting = engine.neighbors.learn(now, index, address, mac);
        release(engine, waiting, mac);
    }
    is_believed
}

fn release(engine: &mut Engine, mut queue: VecDeque<Waiting>, mac: Mac) {
    for mut waiting in queue.drain(..) {
        engine.arena.bytes_mut(&mut waiting.frame)[..6].copy_from_slice(&mac.0);
        engine.tell_late(waiting.tag, Outcome { verdict: Verdict::Forward, ..waiting.outcome });
        engine.send(waiting.port, waiting.frame, Origin::Forwarded);
    }
    engine.neighbors.recycle(queue);
}

/// Sends a request for a neighbor. Whether there was an address to ask with.
pub(super) fn ask(engine: &mut Engine, network: &Network, index: VlanIndex, target: IpAddr) -> bool {
    let vlan = network.vlan(index);
    let Some(own) = vlan.address_towards(target) else { return false };
    let tag = (vlan.key.vid() != 0).then_some(vlan.key.vid());
    let mac = vlan.own_mac();
    match (own, target) {
        (IpAddr::V4(own), IpAddr::V4(target)) => {
            let header = LinkHeader { destination: Mac::BROADCAST, source: mac, tag };
            let request =
                Arp { is_request: true, sender_mac: mac, sender: own, target_mac: Mac::ZERO, target };
            engine.answer(index, |out| Some(answer::arp(out, &header, &request)));
            true
        }
        (IpAddr::V6(own), IpAddr::V6(target)) => {
            let [.., a, b, c] = target.octets();
            // RFC 2464 §7: 33:33 and the last four bytes of the solicited-node address.
            let header = LinkHeader { destination: Mac([0x33, 0x33, 0xff, a, b, c]), source: mac, tag };
            engine.answer(index, |out| Some(answer::neighbor_solicitation(out, &header, own, mac, target)));
            true
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// Asks again where an answer is overdue, and gives up where none came.
pub(crate) fn run_timers(engine: &mut Engine, now: Tick) {
    if engine.resolve == Resolve::Placeholder {
        return;
    }
    let generation = Arc::clone(&engine.generation);
    let network = generation.network();
    while let Some((index, address, due, mut queue)) = engine.neighbors.due(now) {
        match due {
            Due::Ask => {
                ask(engine, network, index, address);
            }
            Due::GiveUp => {
                for waiting in queue.drain(..) {
                    fail(engine, network, now, waiting);
                }
                engine.neighbors.recycle(queue);
            }
        }
    }
}

/// Drops a frame whose next hop does not answer, and tells its sender.
fn fail(engine: &mut Engine, network: &Network, now: Tick, waiting: Waiting) {
    let outcome = Outcome {
        verdict: Verdict::Drop,
        reason: Some(DropReason::NeighborFailed),
        out: Out::Nowhere,
        ..waiting.outcome
    };
    let arena = Arc::clone(&engine.arena);
    let frame = arena.bytes(&waiting.frame);
    let packet = Packet::parse(frame);
    let vlan = network.vlan(waiting.ingress);
    let back =
        LinkHeader { destination: waiting.source_mac, source: vlan.own_mac(), tag: waiting.ingress_tag };
    if !packet.is_icmp_error()
        && let Some(own) = vlan.address_towards(packet.source())
    {
        let quoted = &frame[usize::from(packet.link.payload)..packet.end as usize];
        engine.answer_within_limit(now, waiting.ingress, |out| {
            icmp_error(out, &back, own, packet.source(), IcmpError::HostUnreachable, quoted)
        });
    }
    engine.tell_late(waiting.tag, outcome);
    engine.pool.give(waiting.frame);
}

/// The tag of an ingress frame, to be borne by what is sent back.
pub(super) fn ingress_tag(packet: &Packet) -> Option<u16> {
    (packet.link.tags > 0).then_some(packet.link.control)
}
