//! Rewrites what may go and queues it; `too-big`, `neighbor-failed`, `tx-full`.

use super::resolve;
use super::rewrite::{retag, set_macs, take_hop};
use super::route::send_error;
use crate::answer::IcmpError;
use crate::batch::{Batch, Egress, Verdict};
use crate::engine::{Engine, Origin, Resolve};
use crate::neighbors::{Resolution, Waiting};
use crate::network::{Network, PLACEHOLDER_MAC, VlanIndex};
use classifier::addr::{Mac, VlanKey};
use classifier::reason::DropReason;
use classifier::wire::{Packet, link};
use conntrack::time::Tick;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) fn process(engine: &mut Engine, now: Tick, batch: &mut Batch) {
    let generation = Arc::clone(&engine.generation);
    let network = generation.network();
    for lane in batch.outgoing() {
        match batch.paths[lane].egress {
            Egress::Routed(egress, next) => emit_routed(engine, network, now, batch, lane, egress, next),
            Egress::Stitched(egress) => emit_stitched(engine, network, now, batch, lane, egress),
            Egress::Flood => emit_flooded(engine, network, now, batch, lane),
        }
    }
}

#[inline]
fn emit_routed(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    batch: &mut Batch,
    lane: usize,
    egress: VlanIndex,
    next: IpAddr,
) {
    let vlan = network.vlan(egress);
    if refuse_too_big(engine, network, now, batch, lane, vlan.mtu) {
        return;
    }
    let mac = match resolve_neighbor(engine, network, now, egress, next) {
        Ok(mac) => mac,
        Err(Unreachable) => return tell_unreachable(engine, network, now, batch, lane),
    };
    let Some(mut frame) = batch.take(lane) else { return };
    let packet = &batch.packets[lane];
    let source_mac = link::source(engine.arena.bytes(&frame));
    take_hop(&engine.arena, &mut frame, packet);
    set_macs(&engine.arena, &mut frame, mac.unwrap_or(Mac::ZERO), vlan.own_mac());
    if !retag(&engine.arena, &mut frame, packet, vlan.key.vid()) {
        engine.pool.give(frame);
        return batch.discard(lane, DropReason::TxFull);
    }
    if mac.is_some() {
        return engine.send(vlan.key.port(), frame, Origin::Forwarded);
    }
    let waiting = Waiting {
        frame,
        tag: batch.tags[lane],
        outcome: batch.outcomes[lane],
        port: vlan.key.port(),
        ingress: batch.paths[lane].ingress,
        source_mac,
        ingress_tag: resolve::ingress_tag(packet),
    };
    match engine.neighbors.wait(egress, next, waiting) {
        Ok(()) => batch.outcomes[lane].verdict = Verdict::Waiting,
        Err(waiting) => {
            engine.pool.give(waiting.frame);
            batch.discard(lane, DropReason::NeighborFailed);
        }
    }
}

/// A neighbor that does not answer, or that there is no way to ask.
struct Unreachable;

/// The next hop's MAC; `None` where the frame must wait for it.
#[inline]
fn resolve_neighbor(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    egress: VlanIndex,
    next: IpAddr,
) -> Result<Option<Mac>, Unreachable> {
    if let Some(mac) = network.static_neighbor(egress, next) {
        return Ok(Some(mac));
    }
    match (engine.neighbors.resolve(now, egress, next), engine.resolve) {
        (Resolution::Known(mac), _) | (Resolution::Stale(mac), Resolve::Placeholder) => Ok(Some(mac)),
        (Resolution::Stale(mac), Resolve::Ask) => {
            engine.neighbors.asked(now, egress, next);
            resolve::ask(engine, network, egress, next);
            Ok(Some(mac))
        }
        (Resolution::Asking | Resolution::Unknown | Resolution::Failed, Resolve::Placeholder) => {
            Ok(Some(PLACEHOLDER_MAC))
        }
        (Resolution::Asking, Resolve::Ask) => Ok(None),
        (Resolution::Unknown, Resolve::Ask) => {
            if resolve::ask(engine, network, egress, next) {
                engine.neighbors.ask(now, egress, next);
                Ok(None)
            } else {
                Err(Unreachable)
            }
        }
        (Resolution::Failed, Resolve::Ask) => Err(Unreachable),
    }
}

/// Drops a packet whose next hop is known not to answer.
fn tell_unreachable(engine: &mut Engine, network: &Network, now: Tick, batch: &mut Batch, lane: usize) {
    let arena = Arc::clone(&engine.arena);
    let packet = batch.packets[lane];
    let ingress = batch.paths[lane].ingress;
    let frame = arena.bytes(batch.frame(lane));
    send_error(engine, network, now, ingress, &packet, frame, IcmpError::HostUnreachable);
    batch.discard(lane, DropReason::NeighborFailed);
}

#[inline]
fn emit_stitched(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    batch: &mut Batch,
    lane: usize,
    egress: VlanIndex,
) {
    let vlan = network.vlan(egress);
    if refuse_too_big(engine, network, now, batch, lane, vlan.mtu) {
        return;
    }
    let Some(mut frame) = batch.take(lane) else { return };
    if retag(&engine.arena, &mut frame, &batch.packets[lane], vlan.key.vid()) {
        engine.send(vlan.key.port(), frame, Origin::Forwarded);
    } else {
        engine.pool.give(frame);
        batch.discard(lane, DropReason::TxFull);
    }
}

/// Sends a copy to each VLAN that the lane lists; the frame itself is the last.
fn emit_flooded(engine: &mut Engine, network: &Network, now: Tick, batch: &mut Batch, lane: usize) {
    let fits = |key: &VlanKey, packet: &Packet| {
        network.index_of(*key).is_some_and(|index| packet.ip_length() <= usize::from(network.vlan(index).mtu))
    };
    let packet = batch.packets[lane];
    let smallest = batch.flooded_from(lane).map(|key| network.mtu(key.port())).max();
    batch.flooded.retain(|(l, key)| usize::from(*l) != lane || fits(key, &packet));
    let Some(last) = batch.flooded_from(lane).last() else {
        refuse_too_big(engine, network, now, batch, lane, smallest.unwrap_or(0));
        return;
    };
    let Some(mut frame) = batch.take(lane) else { return };
    for key in batch.flooded_from(lane).filter(|key| *key != last) {
        send_copy(engine, &frame, &packet, key);
    }
    if retag(&engine.arena, &mut frame, &packet, last.vid()) {
        engine.send(last.port(), frame, Origin::Forwarded);
    } else {
        engine.pool.give(frame);
        batch.discard(lane, DropReason::TxFull);
    }
}

fn send_copy(engine: &mut Engine, original: &crate::arena::Frame, packet: &Packet, to: VlanKey) {
    let Some(mut copy) = engine.pool.take() else {
        engine.counters.copies_lost += 1;
        return;
    };
    let length = original.length();
    engine.arena.buffer_mut(&mut copy)[..length].copy_from_slice(engine.arena.bytes(original));
    engine.arena.set_length(&mut copy, length);
    if retag(&engine.arena, &mut copy, packet, to.vid()) {
        engine.send(to.port(), copy, Origin::Copy);
    } else {
        engine.counters.copies_lost += 1;
        engine.pool.give(copy);
    }
}

/// Drops a packet that is over the egress MTU, and tells its sender which MTU that is. Whether it was.
#[inline]
fn refuse_too_big(
    engine: &mut Engine,
    network: &Network,
    now: Tick,
    batch: &mut Batch,
    lane: usize,
    mtu: u16,
) -> bool {
    if batch.packets[lane].ip_length() <= usize::from(mtu) {
        return false;
    }
    let packet = batch.packets[lane];
    if !batch.is_bypassed(lane) {
        let arena = Arc::clone(&engine.arena);
        let ingress = batch.paths[lane].ingress;
        let frame = arena.bytes(batch.frame(lane));
        send_error(engine, network, now, ingress, &packet, frame, IcmpError::TooBig(mtu));
    }
    batch.discard(lane, DropReason::TooBig);
    true
}
