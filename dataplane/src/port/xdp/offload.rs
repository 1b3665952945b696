//! The work that a network card does for the kernel, which a gateway port must do without.
//!
//! With VLAN offload on, AF_XDP sees frames without their tags; with LRO, GRO, GSO or TSO it would see frames
//! that were never on the wire. [`Offloads::switch_off`] switches such features off and remembers which ones it
//! changed; dropping the value puts them back. It is an unsafe island: it reads arrays that the kernel filled in.
//!
//! ```text
//!   feature i of n:   word i / 32 of its block, bit i % 32
//!   ETHTOOL_GFEATURES answers   { command, blocks, { available, requested, active, never_changed } ... }
//!   ETHTOOL_SFEATURES is asked  { command, blocks, { valid, requested } ... }
//! ```
#![allow(unsafe_code)]

use super::ioctl::Control;
use std::io;

// include/uapi/linux/ethtool.h
const GET_STRINGS: u32 = 0x1b;
const GET_SET_SIZES: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
const SET_FEATURES: u32 = 0x3b;
const FEATURE_STRINGS: u32 = 4;
const STRING_LENGTH: usize = 32;

/// The features that a gateway port must not have (names as `ethtool -k` of the kernel's string set has them).
const PORT: [&str; 8] = [
    "rx-vlan-hw-parse",
    "tx-vlan-hw-insert",
    "rx-vlan-stag-hw-parse",
    "tx-vlan-stag-hw-insert",
    "rx-lro",
    "rx-gro",
    "rx-gro-hw",
    "rx-gro-list",
];
/// As above, by what their names contain: all kinds of segmentation.
const PORT_PARTS: [&str; 3] = ["-segmentation", "tx-gso-list", "tx-gso-partial"];
/// What must be off for frames to be right; the rest is for the kernel's own sake and may resist.
const ESSENTIAL: [&str; 6] = [
    "rx-vlan-hw-parse",
    "tx-vlan-hw-insert",
    "rx-vlan-stag-hw-parse",
    "tx-vlan-stag-hw-insert",
    "rx-lro",
    "rx-gro-hw",
];

/// Which features are switched off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// What a gateway port must do without.
    Port,
    /// The same and checksums: for the other end of a veth pair, whose frames would else come without.
    PortAndChecksums,
}

impl Wish {
    fn covers(self, feature: &str) -> bool {
        let port = PORT.contains(&feature) || PORT_PARTS.iter().any(|p| feature.contains(p));
        match self {
            Wish::Port => port,
            Wish::PortAndChecksums => port || feature.starts_with("tx-checksum"),
        }
    }
}

/// Features that were switched off, to be put back when this is dropped.
#[derive(Debug)]
pub struct Offloads {
    control: Control,
    interface: String,
    changed: Vec<Block>,
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Block {
    /// Bits that were changed.
    valid: u32,
    /// What they were before.
    before: u32,
}

impl Offloads {
    /// Switches off what `wish` says.
    ///
    /// # Errors
    /// The kernel's; `Unsupported`, with the features' names, where the driver kept one on that must be off.
    pub fn switch_off(interface: &str, wish: Wish) -> io::Result<Offloads> {
        let control = Control::open()?;
        let names = feature_names(&control, interface)?;
        let before = features(&control, interface, names.len())?;
        let mut changed = vec![Block::default(); names.len().div_ceil(32)];
        let mut touched = Vec::new();
        for (i, name) in names.iter().enumerate() {
            let (block, bit) = (i / 32, 1_u32 << (i % 32));
            let state = before[block];
            if wish.covers(name) && state.requested & bit != 0 && state.changeable() & bit != 0 {
                changed[block].valid |= bit;
                changed[block].before |= bit;
                touched.push(name.clone());
            }
        }
        let off: Vec<Block> = changed.iter().map(|b| Block { valid: b.valid, before: 0 }).collect();
        let offloads = Offloads { control, interface: interface.to_owned(), changed, names: touched };
        set_features(&offloads.control, interface, &off)?;
        let after = features(&offloads.control, interface, names.len())?;
        let still_on = |name: &str| {
            let known = names.iter().position(|n| n == name);
            known.is_some_and(|i| after[i / 32].active & 1 << (i % 32) != 0)
        };
        let resisting: Vec<&str> = ESSENTIAL.into_iter().filter(|name| still_on(name)).collect();
        if resisting.is_empty() {
            Ok(offloads)
        } else {
            Err(io::Error::new(io::ErrorKind::Unsupported, resisting.join(", ")))
        }
    }

    /// The features that were on and are now off.
    #[must_use]
    pub fn changed(&self) -> &[String] {
        &self.names
    }

    /// Lets the features stay off when this is dropped.
    pub fn keep(mut self) {
        self.changed.clear();
    }
}

impl Drop for Offloads {
    fn drop(&mut self) {
        if self.changed.iter().any(|b| b.valid != 0) {
            // The interface may be gone by now, and a drop has nobody to tell.
            let _ = set_features(&self.control, &self.interface, &self.changed);
        }
    }
}

/// The names of the features that an interface has on.
///
/// # Errors
/// The kernel's.
pub fn active(interface: &str) -> io::Result<Vec<String>> {
    let control = Control::open()?;
    let names = feature_names(&control, interface)?;
    let states = features(&control, interface, names.len())?;
    let is_on = |i: usize| states[i / 32].active & 1 << (i % 32) != 0;
    Ok(names.into_iter().enumerate().filter(|(i, _)| is_on(*i)).map(|(_, name)| name).collect())
}

#[derive(Clone, Copy, Debug)]
struct State {
    available: u32,
    requested: u32,
    active: u32,
    never_changed: u32,
}

impl State {
    fn changeable(self) -> u32 {
        self.available & !self.never_changed
    }
}

fn feature_names(control: &Control, interface: &str) -> io::Result<Vec<String>> {
    // struct ethtool_sset_info: command, reserved, a mask of 64 bits, then one word per set asked for.
    let mut sizes = [GET_SET_SIZES, 0, 1 << FEATURE_STRINGS, 0, 0];
    // SAFETY: one set is asked for, and the kernel writes one word for it behind the mask.
    unsafe { control.ethtool(interface, &mut sizes) }?;
    let count = if sizes[2] == 0 { 0 } else { sizes[4] as usize };
    // struct ethtool_gstrings: command, set, count, then the strings.
    let mut words = vec![0; 3 + count * STRING_LENGTH / 4];
    words[..3].copy_from_slice(&[GET_STRINGS, FEATURE_STRINGS, count as u32]);
    // SAFETY: the kernel writes as many strings of 32 bytes as it said it has, for which there is room.
    unsafe { control.ethtool(interface, &mut words) }?;
    let bytes: Vec<u8> = words[3..].iter().flat_map(|w| w.to_ne_bytes()).collect();
    Ok(bytes
        .chunks_exact(STRING_LENGTH)
        .map(|s| String::from_utf8_lossy(s).trim_end_matches('\0').to_owned())
        .collect())
}

fn features(control: &Control, interface: &str, count: usize) -> io::Result<Vec<State>> {
    let blocks = count.div_ceil(32);
    let mut words = vec![0; 2 + blocks * 4];
    words[..2].copy_from_slice(&[GET_FEATURES, blocks as u32]);
    // SAFETY: the kernel writes no more blocks than the second word says there is room for.
    unsafe { control.ethtool(interface, &mut words) }?;
    Ok(words[2..]
        .chunks_exact(4)
        .map(|w| State { available: w[0], requested: w[1], active: w[2], never_changed: w[3] })
        .collect())
}

fn set_features(control: &Control, interface: &str, blocks: &[Block]) -> io::Result<()> {
    let mut words = vec![SET_FEATURES, blocks.len() as u32];
    words.extend(blocks.iter().flat_map(|b| [b.valid, b.before]));
    // SAFETY: the kernel reads as many blocks as the second word says there are, and writes none.
    unsafe { control.ethtool(interface, &mut words) }
}
