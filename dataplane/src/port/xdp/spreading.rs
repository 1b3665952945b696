//! How a network card spreads frames over its queues (receive side scaling), so that both directions of a flow come in
//! by one queue: the key of [`SymmetricKey`], addresses alone, and one table for all ports. What was there before is put
//! back when the value is dropped.
//!
//! Whether a card does as it is told can't be seen from here, nor how it takes VLAN tags apart. So nothing relies on it: a
//! frame that comes in elsewhere is passed on to its owner all the same.
//!
//! An unsafe island for ethtool's commands, whose answers are as long as the words that they are asked with.
//!
//! ```text
//!   struct ethtool_rxfh:   { command, context, table size, key size, hash function | transformation << 8, 0 } table key
//!   struct ethtool_rxnfc:  { command, kind of flow, fields (64 bits) } and more, which these commands don't look at
//! ```
#![allow(unsafe_code)]

use super::ioctl::Control;
use crate::rss::SymmetricKey;
use std::io;

// include/uapi/linux/ethtool.h
const GET_FIELDS: u32 = 0x29;
const SET_FIELDS: u32 = 0x2a;
const GET_SPREADING: u32 = 0x46;
const SET_SPREADING: u32 = 0x47;
/// `ETH_RSS_HASH_TOP`: Toeplitz.
const TOEPLITZ: u32 = 1;
/// `RXH_IP_SRC | RXH_IP_DST`.
const ADDRESSES: u64 = 1 << 4 | 1 << 5;
/// TCP and UDP, of IPv4 and IPv6: without these it is not worth while.
const MUST: [u32; 4] = [0x01, 0x02, 0x05, 0x06];
/// SCTP, AH and ESP: where a card hashes them by addresses anyway it may refuse.
const MAY: [u32; 4] = [0x03, 0x04, 0x07, 0x08];
/// Words before the table.
const HEAD: usize = 6;
/// Places of a table, and bytes of a key, that no card comes near.
const MOST: u32 = 1 << 16;

/// A card that spreads as it was told, until this is dropped.
#[derive(Debug)]
pub struct Spreading {
    control: Control,
    interface: String,
    /// As the kernel has told it before.
    before: Vec<u32>,
    /// Kinds of flows, and the fields that counted before.
    fields: Vec<(u32, u64)>,
}

/// Has all ports spread alike, over so many queues each: the key by which they do, and what puts them back.
///
/// # Errors
/// One of them can't; then all are as before.
pub fn spread_alike(
    interfaces: &[&str],
    queues: u32,
    random: u16,
) -> io::Result<(SymmetricKey, Vec<Spreading>)> {
    let found = interfaces.iter().map(|name| Spreading::look_up(name)).collect::<io::Result<Vec<_>>>()?;
    let shortest = found.iter().map(|spreading| spreading.before[2]).min().unwrap_or(0);
    if queues == 0 || shortest < queues {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let key = SymmetricKey::new(random, queues, shortest);
    let mut set = Vec::with_capacity(found.len());
    for mut spreading in found {
        let result = spreading.set(&key);
        // What was set so far is put back where it fails: a value in the list does that.
        set.push(spreading);
        result?;
    }
    Ok((key, set))
}

impl Spreading {
    fn look_up(interface: &str) -> io::Result<Spreading> {
        let control = Control::open()?;
        let mut head = vec![0; HEAD];
        head[0] = GET_SPREADING;
        // SAFETY: with sizes of zero the kernel answers with the head alone.
        unsafe { control.ethtool(interface, &mut head) }?;
        let (table, key) = (head[2], head[3]);
        if !table.is_power_of_two() || table > MOST || !(16..=MOST).contains(&key) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut before = head;
        before.resize(HEAD + table as usize + key.div_ceil(4) as usize, 0);
        before[0] = GET_SPREADING;
        // SAFETY: the kernel writes a table and a key of the sizes that the head says, for which there is room.
        unsafe { control.ethtool(interface, &mut before) }?;
        Ok(Spreading { control, interface: interface.to_owned(), before, fields: Vec::new() })
    }

    fn set(&mut self, key: &SymmetricKey) -> io::Result<()> {
        let (table, key_size) = (self.before[2], self.before[3]);
        let mut words =
            vec![SET_SPREADING, 0, table, key_size, u32::from_ne_bytes([TOEPLITZ as u8, 0, 0, 0]), 0];
        words.extend((0..table).map(|place| key.entry(place)));
        let bytes = key.bytes(key_size as usize);
        words.extend(bytes.chunks(4).map(|chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            u32::from_ne_bytes(word)
        }));
        // SAFETY: the kernel only reads, and no more than the head says.
        unsafe { self.control.ethtool(&self.interface, &mut words) }?;
        for kind in MUST {
            self.set_fields(kind)?;
        }
        for kind in MAY {
            // A card that refuses goes by addresses, or its frames are passed on.
            let _ = self.set_fields(kind);
        }
        Ok(())
    }

    fn set_fields(&mut self, kind: u32) -> io::Result<()> {
        let before = fields(&self.control, &self.interface, (GET_FIELDS, kind, 0))?;
        if before != ADDRESSES {
            fields(&self.control, &self.interface, (SET_FIELDS, kind, ADDRESSES))?;
            self.fields.push((kind, before));
        }
        Ok(())
    }
}

/// Asks for or sets the fields that count for a kind of flow.
fn fields(control: &Control, interface: &str, (command, kind, fields): (u32, u32, u64)) -> io::Result<u64> {
    let [a, b, c, d, e, f, g, h] = fields.to_ne_bytes();
    let mut words = [command, kind, u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])];
    // SAFETY: of these two commands the kernel takes the structure to end with the fields.
    unsafe { control.ethtool(interface, &mut words) }?;
    let ([a, b, c, d], [e, f, g, h]) = (words[2].to_ne_bytes(), words[3].to_ne_bytes());
    Ok(u64::from_ne_bytes([a, b, c, d, e, f, g, h]))
}

impl Drop for Spreading {
    fn drop(&mut self) {
        // The interface may be gone, and a drop has nobody to tell.
        for (kind, before) in self.fields.drain(..) {
            let _ = fields(&self.control, &self.interface, (SET_FIELDS, kind, before));
        }
        self.before[0] = SET_SPREADING;
        // SAFETY: the kernel only reads, and no more than the head says.
        let _ = unsafe { self.control.ethtool(&self.interface, &mut self.before) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_can_t_spread_is_left_alone() {
        assert!(spread_alike(&["lo"], 1, 0x6d5a).is_err());
        assert!(spread_alike(&["no-such-one"], 1, 0x6d5a).is_err());
    }
}
