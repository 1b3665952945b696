//! Where would the packet leave? From `ttl-expired` to `same-vlan`.

use super::reassemble;
use crate::answer::{IcmpError, icmp_error};
use crate::batch::{Batch, Egress};
use crate::engine::{Engine, link_back};
use crate::network::{Hop, Network, Role, Vlan, VlanIndex};
use classifier::addr::Mac;
use classifier::reason::DropReason;
use classifier::wire::{Addresses, Packet, ipv4, ipv6, link};
use conntrack::time::Tick;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) fn process(engine: &mut Engine, now: Tick, batch: &mut Batch) {
    let generation = Arc::clone(&engine.generation);
    let network = generation.network();
    let arena = Arc::clone(&engine.arena);
    for lane in batch.live() {
        if batch.packets[lane].fragment.is_some() && reassemble::examine(engine, network, now, batch, lane) {
            continue;
        }
        let ingress = batch.paths[lane].ingress;
        let frame = arena.bytes(batch.frame(lane));
        match route(engine, network, now, ingress, batch.hops[lane], &batch.packets[lane], frame) {
            Ok(egress) => batch.paths[lane].egress = egress,
            Err(reason) => batch.discard(lane, reason),
        }
    }
}

#[inline]
pub(super) fn route(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    index: VlanIndex,
    hop: Option<Hop>,
    packet: &Packet,
    frame: &[u8],
) -> Result<Egress, DropReason> {
    let vlan = network.vlan(index);
    let is_routed = vlan.role == Role::Routed;
    if is_routed && packet.ttl <= 1 {
        if packet.ttl == 1 {
            send_error(engine, network, now, index, packet, frame, IcmpError::TimeExceeded);
        }
        return Err(DropReason::TtlExpired);
    }
    if let Some(reason) = packet.faults.first() {
        return Err(reason);
    }
    match vlan.role {
        Role::Stitched(stitch) => Ok(stitch_egress(engine, now, stitch, link::destination(frame))),
        Role::Routed => match hop {
            Some(Hop::Connected(egress)) => routed_egress(vlan, index, egress, packet.destination()),
            Some(Hop::Via(egress, next)) => routed_egress(vlan, index, egress, next),
            // Own addresses and broadcasts were settled by `admit`.
            None | Some(Hop::Own | Hop::Broadcast) => {
                send_error(engine, network, now, index, packet, frame, IcmpError::NoRoute);
                Err(DropReason::NoRoute)
            }
        },
    }
}

#[inline]
fn routed_egress(
    vlan: &Vlan,
    ingress: VlanIndex,
    egress: VlanIndex,
    next: IpAddr,
) -> Result<Egress, DropReason> {
    if egress == ingress && !vlan.hairpin {
        return Err(DropReason::SameVlan);
    }
    Ok(Egress::Routed(egress, next))
}

/// Where the station was last seen, be it the VLAN that the frame came from: its hosts may be kept apart by the switch.
#[inline]
fn stitch_egress(engine: &Engine, now: Tick, stitch: u16, to: Mac) -> Egress {
    let known = if to.is_group() { None } else { engine.macs.find(now, stitch, to) };
    known.map_or(Egress::Flood, Egress::Stitched)
}

/// Sends an ICMP error about a packet to its sender, where one may be sent (RFC 1122 §3.2.2, RFC 4443 §2.4 e):
/// never about an ICMP error, a later fragment, or what went to a group.
pub(super) fn send_error(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    index: VlanIndex,
    packet: &Packet,
    frame: &[u8],
    error: IcmpError,
) {
    let vlan = network.vlan(index);
    let is_to_group = link::destination(frame).is_group()
        || match packet.addresses {
            Addresses::V4(_, to) => ipv4::is_multicast(to) || to == u32::MAX,
            Addresses::V6(_, to) => ipv6::is_multicast(to),
        };
    if packet.is_icmp_error() || packet.is_later_fragment() || is_to_group {
        return;
    }
    let own = match vlan.role {
        Role::Routed => vlan.address_towards(packet.source()),
        // A bridge has no address: the error comes in the destination's name.
        Role::Stitched(_) => Some(packet.destination()),
    };
    let Some(own) = own else { return };
    let back = link_back(vlan, packet, frame);
    let quoted = &frame[usize::from(packet.link.payload)..packet.end as usize];
    engine.answer_within_limit(now, index, |out| icmp_error(out, &back, own, packet.source(), error, quoted));
}
