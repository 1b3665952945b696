//! How a network card chooses the queue of a frame that it receives, as far as its driver tells.
#![allow(unsafe_code)] // An unsafe island for one of ethtool's commands, whose answer is as long as it says.

use super::ioctl::Control;
use std::io;

/// `ETHTOOL_GRSSH` (include/uapi/linux/ethtool.h).
const GET_HASH: u32 = 0x46;
/// `struct ethtool_rxfh` without what follows it: command, context, sizes of table and key, function and
/// transformation, reserved.
const HEADER: usize = 6;
/// `RXH_XFRM_SYM_XOR` and `RXH_XFRM_SYM_OR_XOR`: both directions are made the same before they are hashed.
const SYMMETRIC: u8 = 0b11;

/// Whether both directions of a flow come in on the same queue: by the card's own doing, or by a key that repeats itself
/// every sixteen bits (Woo and Park, "Scalable TCP Session Monitoring with Symmetric Receive-side Scaling", 2012).
///
/// # Errors
/// The kernel's: `EOPNOTSUPP` where the driver does not tell.
pub fn is_symmetric(interface: &str) -> io::Result<bool> {
    let control = Control::open()?;
    let mut sizes = [0; HEADER];
    sizes[0] = GET_HASH;
    // SAFETY: without room for table and key the kernel writes the header alone.
    unsafe { control.ethtool(interface, &mut sizes) }?;
    let (table, key) = (sizes[2] as usize, sizes[3] as usize);
    let mut words = vec![0; HEADER + table + key.div_ceil(4)];
    words[..HEADER].copy_from_slice(&[GET_HASH, 0, table as u32, key as u32, 0, 0]);
    // SAFETY: the kernel writes a table and a key of these sizes, or refuses them where they have changed.
    unsafe { control.ethtool(interface, &mut words) }?;
    let [_, transformation, ..] = words[4].to_ne_bytes();
    let key: Vec<u8> = words[HEADER + table..].iter().flat_map(|word| word.to_ne_bytes()).take(key).collect();
    Ok(transformation & SYMMETRIC != 0 || repeats(&key))
}

/// Whether a key has the same sixteen bits again and again.
fn repeats(key: &[u8]) -> bool {
    key.len() >= 4 && key[2..].iter().zip(key).all(|(later, earlier)| later == earlier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_symmetric_where_it_repeats_itself_every_sixteen_bits() {
        assert!(repeats(&[0x6d, 0x5a].repeat(20)));
        assert!(!repeats(&[0x6d, 0x5a, 0x56].repeat(10)));
        assert!(!repeats(&[]));
    }

    #[test]
    fn an_interface_without_a_hash_says_so() {
        assert!(is_symmetric("lo").is_err());
    }
}
