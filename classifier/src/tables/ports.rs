//! Cell → verdict by protocol and ports, in one of two forms.
//!
//! - [`PortLines`]: one cache line per cell, which pairs share wherever the *verdicts* by port are alike, whoever
//!   the rules are. What is not fit for a line (source ports, many ranges) has a general one behind it.
//! - [`PortRows`]: where a policy has few combinations of services, each packet has a *service class*, by three
//!   small tables; a cell is a row of outcomes by that.

use super::BY_SOURCE_PORT;
use super::lanes::{Lanes, Sixteen};
use super::line::{Lines, service_key};
use super::shards::Shards;
use crate::endpoint::ServicePacket;
use std::sync::Arc;

/// What a run of a line says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RunValue(pub(crate) u8);

impl RunValue {
    /// The answer is in the general line of the place.
    pub(crate) const ELSEWHERE: RunValue = RunValue(0xff);
    /// Most outcomes that a line tells apart: six bits, less one for [`RunValue::ELSEWHERE`].
    pub(crate) const OUTCOMES: usize = 63;

    /// What the rules come to (two bits), and which of the place's outcomes it is.
    pub(crate) fn new(code: Code, outcome: usize) -> Self {
        debug_assert!(outcome < Self::OUTCOMES);
        RunValue((outcome as u8) << 2 | code as u8)
    }
}

/// What the rules come to: two bits of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Code {
    /// No rule decides.
    Default = 0,
    /// A rule allows.
    Allow = 1,
    /// A rule denies.
    Deny = 2,
    /// A rule rejects.
    Reject = 3,
}

/// Runs of destination ports, for up to eight classes of protocols. Protocols that fare alike share runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C, align(64))]
pub(crate) struct PortLine {
    /// First port of each run; within a protocol they are sorted, and the first is 0.
    pub(crate) starts: Sixteen,
    /// What each run says.
    pub(crate) values: [u8; 16],
    /// The first run of each class of protocols.
    pub(crate) first: [u8; 8],
    /// The run behind the last of each class of protocols.
    pub(crate) end: [u8; 8],
}

const _: () = assert!(size_of::<PortLine>() == 64);

impl PortLine {
    /// The run of a packet.
    #[inline(always)]
    pub(crate) fn run<L: Lanes>(&self, class: u8, port: u16) -> u32 {
        let class = usize::from(class & 7);
        let (first, end) = (u32::from(self.first[class]), u32::from(self.end[class]));
        let here = (L::at_most(&self.starts, port) & ((1 << (end & 31)) - 1)) >> (first & 31);
        first.wrapping_add(here.count_ones()).wrapping_sub(1) & 15
    }
}

/// Cells as lines.
#[derive(Clone, Debug)]
pub(crate) struct PortLines {
    /// The class of each protocol.
    pub(crate) protocols: Box<[u8; 256]>,
    /// By cell.
    pub(crate) lines: Shards<PortLine, 512>,
    /// The first outcome of each place, in `outcomes`; or where the line says [`RunValue::ELSEWHERE`], the
    /// general line.
    pub(crate) bases: Shards<u32, 16384>,
    /// Outcomes, those of one place one behind the other.
    pub(crate) outcomes: Shards<u32, 16384>,
    /// General lines.
    pub(crate) general: Arc<Lines>,
    /// General lines of source ports.
    pub(crate) by_source: Arc<Lines>,
}

impl PortLines {
    /// The outcome of a packet in a general line.
    pub(crate) fn general(&self, line: u32, packet: ServicePacket) -> u32 {
        let value = self.general.get(line, service_key(packet.protocol, packet.destination_port));
        if value & BY_SOURCE_PORT == 0 {
            value
        } else {
            self.by_source.get(value & !BY_SOURCE_PORT, u32::from(packet.source_port))
        }
    }
}

/// Cells as rows.
#[derive(Clone, Debug)]
pub(crate) struct PortRows {
    /// By protocol: `class * (classes of source ports) * (classes of destination ports)`.
    pub(crate) protocols: Box<[u32; 256]>,
    /// By source port: `class * (classes of destination ports)`; empty where no rule names one.
    pub(crate) sources: Vec<u16>,
    /// By destination port: the class.
    pub(crate) destinations: Vec<u16>,
    /// Sum of the three → service class.
    pub(crate) services: Vec<u16>,
    /// How many service classes there are.
    pub(crate) width: u32,
    /// `cell * width + service class` → outcome less one (so that no rule is the highest).
    pub(crate) rows: Vec<u16>,
}

impl PortRows {
    /// The index of a packet in `services`.
    #[inline(always)]
    pub(crate) fn index(&self, packet: ServicePacket) -> u32 {
        let source = match self.sources.get(usize::from(packet.source_port)) {
            Some(class) => u32::from(*class),
            None => 0,
        };
        let destination = u32::from(self.destinations[usize::from(packet.destination_port)]);
        self.protocols[usize::from(packet.protocol)] + source + destination
    }

    /// The service class of a packet.
    #[inline(always)]
    pub(crate) fn service(&self, packet: ServicePacket) -> u32 {
        u32::from(self.services[self.index(packet) as usize])
    }
}

/// What cells look like.
#[derive(Clone, Debug)]
pub(crate) enum Ports {
    /// Lines.
    Lines(PortLines),
    /// Rows.
    Rows(PortRows),
}

impl Ports {
    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Ports::Lines(l) => {
                l.lines.bytes()
                    + l.bases.bytes()
                    + l.outcomes.bytes()
                    + l.general.bytes()
                    + l.by_source.bytes()
            }
            Ports::Rows(r) => {
                1024 + (r.sources.len() + r.destinations.len() + r.services.len() + r.rows.len()) * 2
            }
        }
    }
}
