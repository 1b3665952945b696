//! Opening all ports of a process at once, since they share their memory.
//!
//! The kernel uses that memory in one way, with or without zero-copy, so "zero-copy where the driver can" is
//! decided for all ports together: when one port can't, all copy.

use super::bind::{Transfer, Waiting, bind};
use super::error::OpenError;
use super::guard::PortGuard;
use super::interface::Interface;
use super::memory::{CAPACITY, Memory, RING};
use super::queue::{Rings, XdpPort};
use crate::arena::{Arena, FramePool};
use crate::port::Port;
use crate::topology::XdpMode;

/// Bytes around the IP packet of a frame: an Ethernet header and two VLAN tags (IEEE 802.1Q, 802.1ad).
const AROUND: u32 = 14 + 2 * 4;
/// Frames that a worker has in its hands, per queue: some batches.
const IN_HANDS: u32 = 512;

/// A port that is to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortRequest {
    /// The Linux interface.
    pub interface: String,
    /// How many queues, counted from 0, are served.
    pub queues: u16,
    /// How to attach.
    pub mode: XdpMode,
}

/// Ports that are open.
#[derive(Debug)]
pub struct Opened {
    /// The queues: per port in the order of the requests, per queue. They hold the frames that they receive into.
    pub ports: Vec<Vec<XdpPort>>,
    /// What keeps the interfaces as they must be, per port. Dropping one detaches its port.
    pub guards: Vec<PortGuard>,
    /// All other frames.
    pub pool: FramePool,
    /// The memory of the frames.
    pub arena: Arena,
    /// Whether the memory lies on huge pages.
    pub huge_pages: bool,
}

/// How many frames these ports need, so that no ring ever runs dry.
#[must_use]
pub fn frames_for(requests: &[PortRequest]) -> u32 {
    requests.iter().map(|r| u32::from(r.queues) * (2 * RING + IN_HANDS)).sum()
}

/// Opens ports over a memory of at least `frames` frames ([`frames_for`] says how many are good).
///
/// # Errors
/// [`OpenError`]; nothing is left changed then.
pub fn open(requests: &[PortRequest], frames: u32) -> Result<Opened, OpenError> {
    open_reporting(requests, frames, &mut |_| {})
}

/// As [`open`], with a word each time that it waits for something that is in use.
///
/// # Errors
/// [`OpenError`]; nothing is left changed then.
pub fn open_reporting(
    requests: &[PortRequest],
    frames: u32,
    report: &mut dyn FnMut(&Waiting),
) -> Result<Opened, OpenError> {
    check(requests)?;
    let interfaces = requests.iter().map(look_up).collect::<Result<Vec<_>, _>>()?;
    let mut guards = Vec::with_capacity(requests.len());
    for (request, interface) in requests.iter().zip(interfaces) {
        guards.push(PortGuard::new(interface, request.mode, report)?);
    }
    let (memory, sockets) = connect(requests, &guards, frames, report)?;
    let (arena, mut pool) = memory.arena();
    let mut ports = Vec::with_capacity(requests.len());
    for (guard, queues) in guards.iter_mut().zip(sockets) {
        let mut port = Vec::with_capacity(queues.len());
        for (queue, (rings, copies)) in (0..).zip(queues) {
            let descriptors = memory.descriptors.clone();
            let mut port_queue = XdpPort::new(memory.umem.clone(), descriptors, &arena, rings, copies);
            // Before the first frame is directed here, there must be room for it.
            port_queue.service(&arena, &mut pool);
            guard.serve(queue, port_queue.socket(), copies)?;
            port.push(port_queue);
        }
        ports.push(port);
    }
    Ok(Opened { ports, guards, pool, arena, huge_pages: memory.huge })
}

/// Whether a port that was lost can be opened again, as far as that can be told without changing anything: its
/// interface is there, is fit, and has no XDP program.
///
/// # Errors
/// What stands in the way.
pub fn is_ready(request: &PortRequest) -> Result<(), OpenError> {
    let interface = look_up(request)?;
    if super::bpf::has_program(interface.index) {
        return Err(OpenError::OtherProgram { interface: interface.name });
    }
    Ok(())
}

fn check(requests: &[PortRequest]) -> Result<(), OpenError> {
    if requests.is_empty() {
        return Err(OpenError::BadRequest(String::from("there is no port to open")));
    }
    for (i, request) in requests.iter().enumerate() {
        let name = &request.interface;
        if request.queues == 0 {
            return Err(OpenError::BadRequest(format!("the port on {name} serves no queue")));
        }
        if requests[..i].iter().any(|r| r.interface == *name) {
            return Err(OpenError::BadRequest(format!("{name} is the interface of two ports")));
        }
    }
    let first = |wanted: &[XdpMode]| requests.iter().find(|r| wanted.contains(&r.mode));
    match (first(&[XdpMode::ZeroCopy]), first(&[XdpMode::Copy, XdpMode::Skb])) {
        (Some(zero_copy), Some(copy)) => Err(OpenError::MixedModes {
            zero_copy: zero_copy.interface.clone(),
            copy: copy.interface.clone(),
        }),
        _ => Ok(()),
    }
}

fn look_up(request: &PortRequest) -> Result<Interface, OpenError> {
    let name = &request.interface;
    let interface =
        Interface::look_up(name).map_err(|e| OpenError::system(name, "look the interface up", e))?;
    let most = CAPACITY as u32 - AROUND;
    if interface.mtu > most {
        return Err(OpenError::MtuTooLarge { interface: name.clone(), mtu: interface.mtu, most: Some(most) });
    }
    let (has, wants) = (interface.receive_queues, request.queues);
    if has.min(interface.transmit_queues) < u32::from(wants) {
        let has = has.min(interface.transmit_queues);
        return Err(OpenError::TooFewQueues { interface: name.clone(), has, wants });
    }
    if has > u32::from(wants) {
        return Err(OpenError::UnservedQueues { interface: name.clone(), has, serves: wants });
    }
    Ok(interface)
}

/// Per port, per queue: the rings, and whether the kernel copies.
type Sockets = Vec<Vec<(Rings, bool)>>;

/// The memory and all sockets on it: zero-copy if all ports can, else with a copy, where the modes allow that.
///
/// A driver that refuses zero-copy is asked before, not by an attempt: the memory belongs to the mode that it was
/// first bound in, and a second one takes the kernel long to map. At a restart the flows wait for it.
fn connect(
    requests: &[PortRequest],
    guards: &[PortGuard],
    frames: u32,
    report: &mut dyn FnMut(&Waiting),
) -> Result<(Memory, Sockets), OpenError> {
    let any = |mode| requests.iter().any(|r| r.mode == mode);
    let must = any(XdpMode::ZeroCopy);
    let may = !any(XdpMode::Copy) && !any(XdpMode::Skb) && guards.iter().all(PortGuard::may_zero_copy);
    if must || may {
        match connect_by(Transfer::ZeroCopy, requests, guards, frames, report) {
            Err(OpenError::Unsupported { .. }) if !must => {}
            result => return result,
        }
    }
    connect_by(Transfer::Copy, requests, guards, frames, report)
}

fn connect_by(
    transfer: Transfer,
    requests: &[PortRequest],
    guards: &[PortGuard],
    frames: u32,
    report: &mut dyn FnMut(&Waiting),
) -> Result<(Memory, Sockets), OpenError> {
    let memory = Memory::new(frames)?;
    let mut sockets = Vec::with_capacity(requests.len());
    for (request, guard) in requests.iter().zip(guards) {
        let mut queues = Vec::with_capacity(usize::from(request.queues));
        for queue in 0..u32::from(request.queues) {
            queues.push(bind(&memory.umem, guard.interface(), queue, transfer, report)?);
        }
        sockets.push(queues);
    }
    Ok((memory, sockets))
}
