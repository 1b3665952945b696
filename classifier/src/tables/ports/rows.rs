//! Rows: outcomes by service class.

use crate::endpoint::ServicePacket;

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
