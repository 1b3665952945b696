//! Is the frame fit to be judged, and is it for the gateway itself? From `runt` to `local-deny`.

use super::{guard, resolve};
use crate::answer::echo_reply;
use crate::batch::{Batch, Egress, Out, Outcome, Path, Verdict};
use crate::engine::{Engine, link_back};
use crate::macs::Sighting;
use crate::network::{Hop, Network, Role, Vlan, VlanIndex};
use crate::topology::OtherFrames;
use classifier::addr::{Mac, PortId};
use classifier::flow::KeyKind;
use classifier::reason::DropReason;
use classifier::wire::link::{self, HEADER, TAG};
use classifier::wire::{Kind, Packet, Upper};
use conntrack::time::Tick;
use std::sync::Arc;

/// What a frame is found to be.
pub(super) enum Admission {
    /// A packet to be forwarded, if route, flow and policy allow it; and what the routing table says of its
    /// destination, where the VLAN is routed.
    Transit(VlanIndex, Option<Hop>),
    /// The gateway's own business, dealt with.
    Local,
    /// To be flooded in its stitch without asking the policy.
    Bridge(VlanIndex),
    /// Not fit.
    Drop(DropReason),
}

pub(crate) fn process(engine: &mut Engine, now: Tick, batch: &mut Batch) {
    let generation = Arc::clone(&engine.generation);
    let network = generation.network();
    let arena = Arc::clone(&engine.arena);
    for lane in batch.live() {
        let Some(frame) = batch.lend(lane) else { continue };
        let port = batch.ports[lane];
        let admission = admit(engine, network, now, port, &mut batch.packets[lane], arena.bytes(&frame));
        batch.restore(lane, frame);
        match admission {
            Admission::Transit(ingress, hop) => {
                batch.paths[lane].ingress = ingress;
                batch.hops[lane] = hop;
            }
            Admission::Local => {
                batch.settle(lane, Outcome { verdict: Verdict::Local, ..Outcome::UNDECIDED });
            }
            Admission::Bridge(ingress) => bridge(network, batch, lane, ingress),
            Admission::Drop(reason) => batch.settle(lane, Outcome::dropped(reason)),
        }
    }
}

#[inline]
fn admit(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    port: PortId,
    packet: &mut Packet,
    frame: &[u8],
) -> Admission {
    let (index, vlan) = match find_vlan(network, port, frame, packet) {
        Ok(found) => found,
        Err(reason) => return Admission::Drop(reason),
    };
    match packet.kind {
        Kind::Other => match vlan.role {
            Role::Stitched(stitch) if network.stitch(stitch).other == OtherFrames::Pass => {
                station(engine, now, index, vlan, frame).map_or(Admission::Bridge(index), Admission::Drop)
            }
            Role::Stitched(_) | Role::Routed => Admission::Drop(DropReason::UnsupportedEthertype),
        },
        Kind::Arp => match resolve::hear_arp(engine, network, now, index, packet, frame) {
            Some(reason) => Admission::Drop(reason),
            None => note_or_bridge(engine, now, index, vlan, frame),
        },
        Kind::Ipv4 | Kind::Ipv6 => admit_ip(engine, network, now, index, vlan, packet, frame),
    }
}

/// The checks of the link header: from `runt` to `not-for-us`.
#[inline]
fn find_vlan<'a>(
    network: &'a Network,
    port: PortId,
    frame: &[u8],
    packet: &Packet,
) -> Result<(VlanIndex, &'a Vlan), DropReason> {
    if packet.faults.has(DropReason::Runt) {
        return Err(DropReason::Runt);
    }
    if frame.len() > usize::from(network.mtu(port)) + HEADER + TAG * usize::from(packet.link.tags) {
        return Err(DropReason::Oversize);
    }
    if packet.faults.has(DropReason::UnknownVlan) {
        return Err(DropReason::UnknownVlan);
    }
    let index = network.vlan_on(port, packet.link.vid()).ok_or(DropReason::UnknownVlan)?;
    if packet.faults.has(DropReason::BadSourceMac) {
        return Err(DropReason::BadSourceMac);
    }
    let vlan = network.vlan(index);
    let destination = link::destination(frame);
    let is_ours = match vlan.role {
        Role::Routed => destination.is_group() || vlan.mac.is_none_or(|own| own == destination),
        Role::Stitched(_) => true,
    };
    if is_ours { Ok((index, vlan)) } else { Err(DropReason::NotForUs) }
}

/// The checks of IP: from `nd-invalid` to `local-deny`.
#[inline]
fn admit_ip(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    index: VlanIndex,
    vlan: &Vlan,
    packet: &mut Packet,
    frame: &[u8],
) -> Admission {
    let is_nd = matches!(packet.upper, Upper::Nd(_));
    if is_nd && resolve::is_foreign(network, index, vlan, packet, frame) {
        packet.faults.add(DropReason::NdInvalid);
    }
    if network.passes_ip_options() {
        packet.faults.remove(DropReason::IpOptions);
    }
    if let Some(reason) = packet.faults.before(DropReason::Spoofed) {
        return Admission::Drop(reason);
    }
    let is_routed = vlan.role == Role::Routed;
    let hop = if is_routed { network.route(packet.destination()) } else { None };
    if is_routed && !is_nd && guard::leaves_its_link(index, packet, hop) {
        return Admission::Drop(DropReason::Martian);
    }
    if !guard::allows(network, index, vlan, link::source(frame), packet) {
        return Admission::Drop(DropReason::Spoofed);
    }
    if let Some(reason) = station(engine, now, index, vlan, frame) {
        return Admission::Drop(reason);
    }
    if is_nd {
        return match packet.faults.first() {
            Some(reason) => Admission::Drop(reason),
            None => {
                resolve::hear_nd(engine, network, now, index, packet, frame);
                if is_routed { Admission::Local } else { Admission::Bridge(index) }
            }
        };
    }
    if guard::is_bad_destination(vlan, link::destination(frame).is_group(), packet, hop) {
        return Admission::Drop(DropReason::BadDestination);
    }
    if hop == Some(Hop::Own) {
        return answer_echo(engine, now, index, vlan, packet, frame);
    }
    Admission::Transit(index, hop)
}

/// The gateway answers pings, and nothing else.
fn answer_echo(
    engine: &mut Engine,
    now: Tick,
    index: VlanIndex,
    vlan: &Vlan,
    packet: &Packet,
    frame: &[u8],
) -> Admission {
    let is_ping = matches!(packet.upper, Upper::IcmpQuery(q) if q.kind == KeyKind::Echo && q.is_request);
    if !is_ping || packet.fragment.is_some() || !packet.faults.is_empty() {
        return Admission::Drop(DropReason::LocalDeny);
    }
    let back = link_back(vlan, packet, frame);
    engine.answer_within_limit(now, index, |out| {
        echo_reply(out, &back, packet.destination(), packet.source(), packet.upper_bytes(frame))
    });
    Admission::Local
}

/// Notes where a station of a stitch is; a reason to drop the frame where that can't be.
#[inline]
fn station(
    engine: &mut Engine,
    now: Tick,
    index: VlanIndex,
    vlan: &Vlan,
    frame: &[u8],
) -> Option<DropReason> {
    let Role::Stitched(stitch) = vlan.role else { return None };
    let mac: Mac = link::source(frame);
    match engine.macs.see(now, stitch, mac, index) {
        Sighting::Noted | Sighting::Full => None,
        Sighting::Contradicted => Some(DropReason::Spoofed),
    }
}

fn note_or_bridge(engine: &mut Engine, now: Tick, index: VlanIndex, vlan: &Vlan, frame: &[u8]) -> Admission {
    match (vlan.role, station(engine, now, index, vlan, frame)) {
        (_, Some(reason)) => Admission::Drop(reason),
        (Role::Routed, None) => Admission::Local,
        (Role::Stitched(_), None) => Admission::Bridge(index),
    }
}

/// Lists every other VLAN of the stitch as a way out; [`super::emit`] does the rest.
fn bridge(network: &Network, batch: &mut Batch, lane: usize, ingress: VlanIndex) {
    if let Role::Stitched(stitch) = network.vlan(ingress).role {
        for vlan in network.stitch(stitch).vlans.iter().filter(|v| **v != ingress) {
            batch.flooded.push((lane as u8, network.vlan(*vlan).key));
        }
    }
    batch.paths[lane] = Path { ingress, egress: Egress::Flood };
    batch.outcomes[lane].out = Out::Flooded;
    batch.bypass(lane);
}
