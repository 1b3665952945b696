//! Lines: the runs of destination ports of a cell, in one cache line.

use crate::endpoint::ServicePacket;
use crate::tables::BY_SOURCE_PORT;
use crate::tables::journal::Journaled;
use crate::tables::lanes::{Lanes, Sixteen};
use crate::tables::line::{Lines, service_key};
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

/// Runs of destination ports, for up to eight classes of protocols. Protocols share runs that say the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(C, align(64))]
pub(crate) struct PortLine {
    /// First port of each run; those of one class of protocols ascend. The very first is 0.
    pub(crate) starts: Sixteen,
    /// What each run says.
    pub(crate) values: [u8; 16],
    /// The runs of each class of protocols; the first of them starts at 0.
    pub(crate) masks: [u16; 8],
}

const _: () = assert!(size_of::<PortLine>() == 64);

impl PortLine {
    /// The run of a packet.
    #[inline(always)]
    pub(crate) fn run<L: Lanes>(&self, class: u8, port: u16) -> u32 {
        let here = L::at_most(&self.starts, port) & u32::from(self.masks[usize::from(class & 7)]);
        // Run 0 starts at port 0, so its bit never hides another; with it there is one for certain.
        (here | 1).ilog2()
    }
}

/// Cells as lines.
#[derive(Clone, Debug)]
pub(crate) struct PortLines {
    /// The class of each protocol.
    pub(crate) protocols: Box<[u8; 256]>,
    /// By cell.
    pub(crate) lines: Journaled<PortLine>,
    /// The first outcome of each place, in `outcomes`; or where the line says [`RunValue::ELSEWHERE`], the
    /// general line.
    pub(crate) bases: Journaled<u32>,
    /// Outcomes, those of one place one behind the other.
    pub(crate) outcomes: Journaled<u32>,
    /// General lines.
    pub(crate) general: Arc<Lines>,
    /// General lines of source ports.
    pub(crate) by_source: Arc<Lines>,
}

impl PortLines {
    /// The cell whose line says of every port that the answer is elsewhere: in the general line of the place, or,
    /// where a bucket has spilled and does not hold the pair, behind the bucket.
    pub(crate) const GENERAL: u32 = 1;

    /// Makes the contents those of `source`.
    pub(crate) fn renew(&mut self, source: &PortLines) {
        let PortLines { protocols, lines, bases, outcomes, general, by_source } = source;
        self.protocols.clone_from(protocols);
        self.lines.renew(lines);
        self.bases.renew(bases);
        self.outcomes.renew(outcomes);
        self.general.clone_from(general);
        self.by_source.clone_from(by_source);
    }

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
