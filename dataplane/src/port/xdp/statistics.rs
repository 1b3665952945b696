//! What a queue counts, and what the kernel counts for it.
//!
//! An unsafe island for the one system call that asks the kernel.
#![allow(unsafe_code)]

use std::ops::Add;
use std::os::fd::RawFd;

/// The counters of a queue; those of a port are the sum of its queues'.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// Frames that arrived.
    pub received: u64,
    /// Frames that the kernel has taken and given back.
    pub sent: u64,
    /// System calls that made the kernel send.
    pub kicks: u64,
    /// System calls that failed (the interface is gone).
    pub kick_errors: u64,
    /// Times that frames had to stay behind, because the transmit ring was full.
    pub transmit_full: u64,
    /// Frames to be sent that were shorter than an Ethernet header, and were discarded.
    pub too_short: u64,
    /// Frames that arrived and were longer than a chunk, and were discarded.
    pub too_long: u64,
    /// Frames that did not lie where a frame lies, and were moved.
    pub moved: u64,
    /// Frames that the kernel dropped on receive: there was no empty frame, or the frame was too long.
    pub rx_dropped: u64,
    /// Frames that the kernel dropped because the receive ring was full.
    pub rx_ring_full: u64,
    /// Times that the kernel found no empty frame to receive into.
    pub rx_fill_empty: u64,
    /// Descriptors of empty frames that the kernel refused: always 0, or there is a bug.
    pub rx_invalid: u64,
    /// Descriptors of frames to be sent that the kernel refused: always 0, or there is a bug.
    pub tx_invalid: u64,
    /// Times that the kernel was asked to send and found nothing.
    pub tx_empty: u64,
}

impl Add for Statistics {
    type Output = Statistics;

    fn add(self, other: Statistics) -> Statistics {
        Statistics {
            received: self.received + other.received,
            sent: self.sent + other.sent,
            kicks: self.kicks + other.kicks,
            kick_errors: self.kick_errors + other.kick_errors,
            transmit_full: self.transmit_full + other.transmit_full,
            too_short: self.too_short + other.too_short,
            too_long: self.too_long + other.too_long,
            moved: self.moved + other.moved,
            rx_dropped: self.rx_dropped + other.rx_dropped,
            rx_ring_full: self.rx_ring_full + other.rx_ring_full,
            rx_fill_empty: self.rx_fill_empty + other.rx_fill_empty,
            rx_invalid: self.rx_invalid + other.rx_invalid,
            tx_invalid: self.tx_invalid + other.tx_invalid,
            tx_empty: self.tx_empty + other.tx_empty,
        }
    }
}

/// The kernel's counts for a socket; all zero where it does not say.
pub(super) fn socket_statistics(socket: RawFd) -> Statistics {
    // SAFETY: zero is a valid value of each of its integers.
    let mut counts: libc::xdp_statistics = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::xdp_statistics>() as libc::socklen_t;
    let (into, length) = ((&raw mut counts).cast(), &raw mut length);
    // SAFETY: the kernel writes no more than `length` bytes into the structure.
    let returned = unsafe { libc::getsockopt(socket, libc::SOL_XDP, libc::XDP_STATISTICS, into, length) };
    if returned < 0 {
        return Statistics::default();
    }
    Statistics {
        rx_dropped: counts.rx_dropped,
        rx_ring_full: counts.rx_ring_full,
        rx_fill_empty: counts.rx_fill_ring_empty_descs,
        rx_invalid: counts.rx_invalid_descs,
        tx_invalid: counts.tx_invalid_descs,
        tx_empty: counts.tx_ring_empty_descs,
        ..Statistics::default()
    }
}
