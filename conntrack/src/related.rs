//! ICMP errors about packets of live flows (RFC 792, RFC 4443, RFC 5927).
//!
//! An error is `related` when
//! - the packet that it quotes has a live flow (that it goes to that packet's sender, the parser has seen),
//! - it comes in on the VLAN of the other side, where the quoted packet was going. Any router may have sent it,
//!   but it must be one on that side. Where that side's VLAN is not known yet, it must not be the quoted
//!   sender's own,
//! - of TCP, the quoted sequence number is one that is in flight,
//! - the flow has had fewer than ten in this second. A second begins with the first error after the last.
//!
//! It creates nothing, refreshes no timer and closes no flow.

use crate::entry::Body;
use crate::moment::Moment;
use crate::peers::Side;
use crate::tcp;
use classifier::addr::VlanKey;
use classifier::wire::{QuotedPacket, protocol};

/// ICMP errors that a flow may have in a second (TRACKING.md Z10).
const ERRORS_PER_SECOND: u32 = 10;

/// Why an error is not forwarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unrelated {
    /// It does not fit the flow.
    Mismatch,
    /// The flow has had its share.
    Limited,
}

/// Judges an error that quotes a packet of this flow.
pub(crate) fn judge(
    now: Moment,
    body: &mut Body,
    vlan: VlanKey,
    quoted: &QuotedPacket,
) -> Result<(), Unrelated> {
    let sender = body.side(quoted.sender);
    let comes_from_there = match body.vlan(sender.other()) {
        Some(there) => there == vlan,
        None => body.vlan(sender) != Some(vlan),
    };
    if !comes_from_there || !is_in_flight(body, sender, quoted) {
        return Err(Unrelated::Mismatch);
    }
    count(now, body)
}

fn is_in_flight(body: &Body, sender: Side, quoted: &QuotedPacket) -> bool {
    if quoted.key.protocol() != protocol::TCP {
        return true;
    }
    quoted.tcp_sequence.is_some_and(|sequence| tcp::is_in_flight(body, sender, sequence))
}

fn count(now: Moment, body: &mut Body) -> Result<(), Unrelated> {
    // Truncation is the point: the stamp is modular. A flow whose last second of errors was 65.5 seconds ago
    // may take the two for one, and then has the rest of that second's share.
    let now = now.0 as u16;
    let has_begun = body.errors() > 0 && now.wrapping_sub(body.errors_at) < 1000;
    let errors = if has_begun { body.errors() } else { 0 };
    if errors >= ERRORS_PER_SECOND {
        return Err(Unrelated::Limited);
    }
    if !has_begun {
        body.errors_at = now;
    }
    body.set_errors(errors + 1);
    Ok(())
}
