//! What an ordinary frame is held against before its flow is known: each VLAN's own, in a few bytes.

use crate::network::{Network, Role, VlanIndex};
use crate::topology::SpoofGuard;
use classifier::addr::{PortId, VlanKey};
use classifier::flow::Domain;
use classifier::wire::link::HEADER;

/// The six bytes of a MAC in a word, the first in the low byte.
const MAC_BITS: u64 = (1 << 48) - 1;
/// The group bit there (IEEE 802.3 §3.2.3).
const GROUP_BIT: u64 = 1;
/// VLANs that there may be: as many as a [`VlanKey`] tells apart.
const KEYS: usize = 1 << 16;
/// The gate of a VLAN that is not there: nothing passes.
const CLOSED: Gate = Gate {
    mac: 0,
    mac_mask: 0,
    longest: 0,
    mtu: 0,
    key: VlanKey::new(PortId(0), 0),
    index: VlanIndex(0),
    domain: Domain::ROUTED,
    asks_bindings: false,
    asks_routes: true,
    hairpin: false,
};

/// A VLAN as the short way sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    mac: u64,
    mac_mask: u64,
    /// Most bytes of a frame without tags.
    pub(crate) longest: u32,
    /// Most bytes of an IP packet.
    pub(crate) mtu: u16,
    /// Its port and VID.
    pub(crate) key: VlanKey,
    /// Its place in the network.
    pub(crate) index: VlanIndex,
    /// The space of its addresses.
    pub(crate) domain: Domain,
    /// Whether each source must be held against the bindings.
    pub(crate) asks_bindings: bool,
    /// Whether sources must live there, by the routing table.
    pub(crate) asks_routes: bool,
    /// Whether packets may leave on the VLAN that they came in on.
    pub(crate) hairpin: bool,
}

impl Gate {
    /// Whether a frame between these MACs, in the low 48 bits, is for the gateway, and from a station.
    #[inline]
    pub(crate) fn takes(&self, destination: u64, source: u64) -> bool {
        let source_bits = source << 16;
        (destination ^ self.mac) & self.mac_mask | source & GROUP_BIT == 0 && source_bits != 0
    }
}

/// The gates of a network.
#[derive(Debug)]
pub(crate) struct Gates {
    by_key: Box<[u16; KEYS]>,
    /// By [`VlanIndex`]; the last is closed.
    gates: Vec<Gate>,
}

impl Gates {
    pub(crate) fn new(network: &Network) -> Gates {
        let closed = network.vlan_count() as u16;
        let by_key = vec![closed; KEYS].into_boxed_slice();
        let mut by_key: Box<[u16; KEYS]> = by_key.try_into().expect("so many were made");
        let mut gates: Vec<Gate> = (0..closed).map(|at| gate(network, VlanIndex(at))).collect();
        for gate in &gates {
            by_key[gate.key.index()] = gate.index.0;
        }
        gates.push(CLOSED);
        Gates { by_key, gates }
    }

    /// The gate where a frame comes in.
    #[inline]
    pub(crate) fn on(&self, port: PortId, vid: u16) -> &Gate {
        let at = VlanKey::new(port, vid).index() % KEYS;
        &self.gates[usize::from(self.by_key[at])]
    }

    /// The gate of a VLAN.
    #[inline]
    pub(crate) fn of(&self, vlan: VlanIndex) -> &Gate {
        &self.gates[usize::from(vlan.0)]
    }
}

/// Stitched VLANs are closed: where a station is has to be noted and looked up for each frame.
fn gate(network: &Network, index: VlanIndex) -> Gate {
    let vlan = network.vlan(index);
    let is_open = vlan.role == Role::Routed;
    let mac = vlan.mac.map(|mac| {
        let [a, b, c, d, e, f] = mac.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    });
    Gate {
        mac: mac.unwrap_or(0),
        // Where the gateway has no MAC of its own, every unicast one is.
        mac_mask: if mac.is_some() { MAC_BITS } else { GROUP_BIT },
        longest: if is_open { u32::from(network.mtu(vlan.key.port())) + HEADER as u32 } else { 0 },
        mtu: vlan.mtu,
        key: vlan.key,
        index,
        domain: vlan.domain,
        asks_bindings: vlan.guard == SpoofGuard::Bindings,
        asks_routes: vlan.guard == SpoofGuard::Subnet,
        hairpin: vlan.hairpin,
    }
}
