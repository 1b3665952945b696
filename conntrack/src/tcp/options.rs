//! The TCP options that the tracker relies on: window scale (RFC 7323 §2) and SACK (RFC 2018).
//!
//! Timestamps are not looked at, and nothing is rewritten.

use super::sequence::after;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
/// RFC 7323 §2.3: a larger scale is taken as this one.
const LARGEST_SCALE: u8 = 14;

/// An option whose length is less than two or runs out of the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadOptions;

/// What a SYN offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpOptions {
    /// The window scale, at most 14.
    pub window_scale: Option<u8>,
    /// Whether selective acknowledgments are permitted.
    pub sack_permitted: bool,
}

impl TcpOptions {
    /// Parses the options of a SYN or SYN-ACK.
    ///
    /// # Errors
    /// A length that is less than two or runs out of the header: such a segment is `malformed-l4`, since what
    /// it offers is not known.
    pub fn parse(options: &[u8]) -> Result<TcpOptions, BadOptions> {
        let mut parsed = TcpOptions::default();
        for option in Options(options) {
            match option? {
                (WINDOW_SCALE, [scale]) => parsed.window_scale = Some((*scale).min(LARGEST_SCALE)),
                (SACK_PERMITTED, []) => parsed.sack_permitted = true,
                (_, _) => {}
            }
        }
        Ok(parsed)
    }
}

/// The highest right edge of the SACK blocks, or `ack` where none is higher. Bad options end the search.
pub(super) fn highest_sack(options: &[u8], ack: u32) -> u32 {
    let mut highest = ack;
    for (kind, value) in Options(options).map_while(Result::ok) {
        if kind != SACK {
            continue;
        }
        for block in value.chunks_exact(8) {
            let edge = u32::from_be_bytes([block[4], block[5], block[6], block[7]]);
            if after(edge, highest) {
                highest = edge;
            }
        }
    }
    highest
}

/// The kinds and values of the options in a header.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = Result<(u8, &'a [u8]), BadOptions>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.0 {
                [] | [END, ..] => return None,
                [NO_OPERATION, ref rest @ ..] => self.0 = rest,
                [kind, length, ..] if length >= 2 && usize::from(length) <= self.0.len() => {
                    let (option, rest) = self.0.split_at(usize::from(length));
                    self.0 = rest;
                    return Some(Ok((kind, &option[2..])));
                }
                [_, ..] => {
                    self.0 = &[];
                    return Some(Err(BadOptions));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syn_offers_its_scale_and_sack() {
        let parsed = TcpOptions::parse(&[2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 7, 0, 0]);
        assert_eq!(parsed, Ok(TcpOptions { window_scale: Some(7), sack_permitted: true }));
        assert_eq!(TcpOptions::parse(&[]), Ok(TcpOptions::default()));
    }

    #[test]
    fn a_scale_over_fourteen_is_fourteen() {
        assert_eq!(TcpOptions::parse(&[3, 3, 15]).unwrap().window_scale, Some(14));
        assert_eq!(TcpOptions::parse(&[3, 3, 255]).unwrap().window_scale, Some(14));
    }

    #[test]
    fn an_option_of_bad_length_spoils_a_syn() {
        for bad in [&[3u8, 0][..], &[3, 1], &[3, 3], &[2, 40, 0, 0], &[1, 1, 8]] {
            assert_eq!(TcpOptions::parse(bad), Err(BadOptions), "{bad:?}");
        }
    }

    #[test]
    fn what_follows_the_end_of_the_options_is_not_looked_at() {
        assert_eq!(TcpOptions::parse(&[0, 3, 0]), Ok(TcpOptions::default()));
    }

    #[test]
    fn the_highest_edge_of_all_blocks_counts_also_across_the_wrap() {
        let mut options = vec![1, 1, 5, 18];
        for edge in [0xffff_ff00u32, 0xffff_fff0, 0xffff_fff8, 0x10] {
            options.extend(edge.to_be_bytes());
        }
        assert_eq!(highest_sack(&options, 0xffff_fe00), 0x10);
        assert_eq!(highest_sack(&options, 0x20), 0x20, "an edge below the acknowledgment does not count");
    }

    #[test]
    fn bad_options_end_the_search_for_sack_blocks() {
        let mut options = vec![8, 0, 5, 10];
        options.extend([0, 0, 0, 1, 0, 0, 0, 9]);
        assert_eq!(highest_sack(&options, 5), 5);
    }
}
