//! SCTP: an association from its INIT to its end (RFC 9260 §4), by the verification tags of both directions.
//!
//! ```text
//!        INIT (O)          COOKIE ECHO (O)         COOKIE ACK (R)          SHUTDOWN, SHUTDOWN ACK
//!  none ----------> Init -----------------> Echoed -------------> Established ------------> Shutdown
//!                  | ^ INIT ACK (R): its tag                          ^                        |
//!                  +-+                                                | ABORT (any state)      | SHUTDOWN
//!                                                                     +---------> Closed <-----+ COMPLETE
//! ```
//!
//! Every packet but an INIT bears the tag that its receiver has chosen; an ABORT or SHUTDOWN COMPLETE of a
//! host that knows no association bears the one that was sent to it (T bit, §8.5.1). A responder's INIT is
//! refused, like the split handshake of TCP, and so is any INIT once the COOKIE ECHO was seen: it does not bear
//! the tag of its direction. A host that has restarted is not locked out for long: it answers the first packet of
//! the old association with an ABORT, and then its INIT begins a new one.
//! Only the first chunk of a packet is known here; TSNs and multi-homing are not tracked.

use crate::entry::Body;
use crate::packet::{Opening, Packet};
use crate::peers::{Peers, Side};
use crate::state::State;
use crate::step::Step;
use classifier::wire::{SctpChunk, SctpPacket};

/// The tag that packets of this side must bear: its peer chose it. 0 until then (RFC 9260 §3.1: no packet but
/// an INIT bears 0).
fn tag(peers: &Peers, sender: Side) -> u32 {
    peers.side(sender).end
}

fn set_tag(peers: &mut Peers, sender: Side, tag: u32) {
    peers.side_mut(sender).end = tag;
}

/// The initiate tag of an INIT that is alone in its packet and bears the tag 0, as it must.
fn lone_init(packet: &SctpPacket) -> Option<u32> {
    match packet.first {
        SctpChunk::Init(tag) if tag != 0 && packet.tag == 0 && packet.is_only_chunk => Some(tag),
        SctpChunk::Init(_)
        | SctpChunk::InitAck(_)
        | SctpChunk::CookieEcho
        | SctpChunk::CookieAck
        | SctpChunk::Abort
        | SctpChunk::Shutdown
        | SctpChunk::ShutdownAck
        | SctpChunk::ShutdownComplete
        | SctpChunk::Other => None,
    }
}

/// What a packet of no known association begins.
pub(crate) fn open(packet: &Packet<'_>, chunks: &SctpPacket) -> Option<Opening> {
    let tag = lone_init(chunks)?;
    let mut peers = Peers::default();
    set_tag(&mut peers, Side::Responder, tag);
    Some(Opening::of(packet, State::SctpInit, peers))
}

const UPDATE: Step = Step::Update { at_most: None };

/// A packet of a known association.
pub(crate) fn step(body: &mut Body, side: Side, packet: &Packet<'_>, chunks: &SctpPacket) -> Step {
    match chunks.first {
        SctpChunk::Init(_) => init(body, side, packet, chunks),
        SctpChunk::InitAck(tag) => init_ack(body, side, tag, chunks),
        SctpChunk::CookieEcho => cookie_echo(body, side, chunks),
        SctpChunk::Abort | SctpChunk::ShutdownComplete => end(body, side, chunks),
        SctpChunk::CookieAck | SctpChunk::Shutdown | SctpChunk::ShutdownAck | SctpChunk::Other => {
            tagged(body, side, chunks)
        }
    }
}

fn init(body: &mut Body, side: Side, packet: &Packet<'_>, chunks: &SctpPacket) -> Step {
    let Some(tag) = lone_init(chunks) else { return Step::INVALID };
    if body.state() == State::SctpClosed {
        return open(packet, chunks).map_or(Step::INVALID, Step::Replace);
    }
    if side == Side::Responder || body.state() != State::SctpInit {
        return Step::INVALID;
    }
    // The responder answers the latest, so the earlier ones are of no use.
    set_tag(&mut body.peers, Side::Responder, tag);
    set_tag(&mut body.peers, Side::Opener, 0);
    UPDATE
}

fn init_ack(body: &mut Body, side: Side, initiate: u32, chunks: &SctpPacket) -> Step {
    if side == Side::Opener || initiate == 0 || !chunks.is_only_chunk {
        return Step::INVALID;
    }
    let is_setup = body.state() == State::SctpInit;
    let peers = &mut body.peers;
    if is_setup && chunks.tag == tag(peers, Side::Responder) {
        set_tag(peers, Side::Opener, initiate);
        return UPDATE;
    }
    if chunks.tag == tag(peers, Side::Responder) { Step::Hold } else { Step::INVALID }
}

fn cookie_echo(body: &mut Body, side: Side, chunks: &SctpPacket) -> Step {
    if side == Side::Responder || chunks.tag == 0 {
        return Step::INVALID;
    }
    if chunks.tag != tag(&body.peers, Side::Opener) {
        return Step::INVALID;
    }
    if !matches!(body.state(), State::SctpInit | State::SctpEchoed) {
        // The COOKIE ACK was lost: the responder sends it again (RFC 9260 §5.2.4, D).
        return Step::Hold;
    }
    body.set_state(State::SctpEchoed);
    UPDATE
}

/// Chunks that need an association, and bear its tag.
fn tagged(body: &mut Body, side: Side, chunks: &SctpPacket) -> Step {
    if chunks.tag == 0 || chunks.tag != tag(&body.peers, side) {
        return Step::INVALID;
    }
    let is_reply = side == Side::Responder;
    let next = match (body.state(), chunks.first) {
        (State::SctpInit, _) => return Step::INVALID,
        (State::SctpClosed, _) => return Step::Hold,
        // It must send nothing else until the COOKIE ACK has come (RFC 9260 §5.1, C).
        (State::SctpEchoed, _) if !is_reply => return Step::INVALID,
        (State::SctpEchoed, SctpChunk::CookieAck) if is_reply => State::SctpEstablished,
        (_, SctpChunk::CookieAck) if !is_reply => return Step::INVALID,
        (State::SctpEstablished, SctpChunk::Shutdown | SctpChunk::ShutdownAck) => State::SctpShutdown,
        (state, _) => state,
    };
    body.set_state(next);
    body.set_assured(next == State::SctpEstablished || body.is_assured());
    UPDATE
}

/// ABORT and SHUTDOWN COMPLETE.
fn end(body: &mut Body, side: Side, chunks: &SctpPacket) -> Step {
    let bearer = if chunks.is_tag_reflected { side.other() } else { side };
    if chunks.tag == 0 || chunks.tag != tag(&body.peers, bearer) {
        return Step::INVALID;
    }
    if body.state() == State::SctpClosed {
        return Step::Hold;
    }
    body.set_state(State::SctpClosed);
    UPDATE
}
