//! What a segment does to the state of a connection: the table of TRACKING.md §1.3 (after RFC 9293 §3.3.2).
//!
//! ```text
//!              | SS    S2    SR    ES    FW    CW    LA    TW    CL
//!  ------------+----------------------------------------------------
//!  O SYN       | SS²   S2    ·³    ·³    ·³    ·³    ·³    new¹  new¹
//!  O SYN-ACK   | X     SR    ·     ·     ·     ·     ·     ·     ·
//!  O ACK       | X     X     ES    ES    CW    CW    TW    TW    CL
//!  O FIN-ACK⁹  | X     X     FW    FW    LA    LA    LA    TW    CL
//!  R SYN       | X⁸    S2    X     X     X     X     X     new⁵  new⁵
//!  R SYN-ACK   | SR⁶   SR    ·⁶    ·     ·     ·     ·     ·     ·
//!  R ACK       | ·⁷    ·     SR    ES    CW    CW    TW    TW    CL
//!  R FIN-ACK⁹  | X     X     FW    FW    LA    LA    LA    TW    CL
//!  RST either  | b     b     CL    CL    CL    CL    CL    TW    CL
//!
//!  SS syn sent   S2 simultaneous syn   SR syn received   ES established   FW one FIN
//!  CW that FIN acknowledged   LA both FINs   TW both acknowledged   CL reset
//!  O the opener's direction, R the responder's
//!  X drop   · forward, and nothing moves   new: ask the policy, in this direction
//! ```
//!
//! Of the notes, this file knows which cell they belong to and note 9 (a side's second FIN moves nothing);
//! 1 and 5 are [`super::open`]'s, 2, 3, 6, 7 and 8 are [`super::handshake`]'s, b is [`super::reset`]'s.
//! Where the cell names a state, the segment must also fit the window ([`super::window`]) to move it.

use crate::peers::Side;
use crate::state::State;
use classifier::wire::TcpFlags;

/// What kind of segment it is: RST before SYN before FIN before ACK. Illegal combinations never get here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// SYN without ACK.
    Syn = 0,
    /// SYN with ACK.
    SynAck = 1,
    /// ACK alone, with or without payload.
    Ack = 2,
    /// FIN, which always has ACK.
    Fin = 3,
    /// RST, with or without ACK.
    Rst = 4,
}

impl Event {
    pub(super) const fn of(flags: TcpFlags) -> Event {
        if flags.rst() {
            Event::Rst
        } else if flags.syn() && flags.ack() {
            Event::SynAck
        } else if flags.syn() {
            Event::Syn
        } else if flags.fin() {
            Event::Fin
        } else {
            Event::Ack
        }
    }
}

/// A cell of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cell {
    /// X.
    Drop,
    /// ·
    Hold,
    /// The state to go to, if the window allows it.
    Go(State),
    /// Notes 1 and 5.
    New,
    /// Note 2: the opener's SYN again, or another one.
    SynAgain,
    /// Note 3: a SYN in a live connection.
    StraySyn,
    /// Note 8: a SYN of both sides.
    SynOfBoth,
    /// Note 6: the SYN-ACK that the opener waits for.
    Answer,
    /// Note 6: a SYN-ACK after that one.
    AnswerAgain,
    /// A SYN-ACK in a connection that has had one: note 3 says when it counts.
    StrayAnswer,
    /// A SYN-ACK that counts where both sides sent a SYN, and else moves nothing.
    AnswerOfBoth,
    /// Note 7: a challenge ACK of an old incarnation.
    Challenge,
    /// §1.3b.
    Reset,
}

use Cell::{
    Answer, AnswerAgain, AnswerOfBoth, Challenge, Drop, Go, Hold, New, Reset, StrayAnswer, StraySyn,
    SynAgain, SynOfBoth,
};

const SR: Cell = Go(State::SynReceived);
const ES: Cell = Go(State::Established);
const FW: Cell = Go(State::FinWait);
const CW: Cell = Go(State::CloseWait);
const LA: Cell = Go(State::LastAck);
const TW: Cell = Go(State::TimeWait);
const CL: Cell = Go(State::Closed);

#[rustfmt::skip]
const TABLE: [[[Cell; 9]; 5]; 2] = [
    [ // O      SS         S2            SR           ES           FW           CW           LA           TW           CL
        /* SYN     */ [SynAgain, SynOfBoth,    StraySyn,    StraySyn,    StraySyn,    StraySyn,    StraySyn,    New,         New],
        /* SYN-ACK */ [Drop,     AnswerOfBoth, AnswerOfBoth, Hold,       Hold,        Hold,        Hold,        Hold,        Hold],
        /* ACK     */ [Drop,     Drop,         ES,          ES,          CW,          CW,          TW,          TW,          CL],
        /* FIN-ACK */ [Drop,     Drop,         FW,          FW,          LA,          LA,          LA,          TW,          CL],
        /* RST     */ [Reset,    Reset,        Reset,       Reset,       Reset,       Reset,       Reset,       Reset,       Reset],
    ],
    [ // R
        /* SYN     */ [SynOfBoth, SynOfBoth,   Drop,        Drop,        Drop,        Drop,        Drop,        New,         New],
        /* SYN-ACK */ [Answer,   AnswerOfBoth, AnswerAgain, StrayAnswer, StrayAnswer, StrayAnswer, StrayAnswer, StrayAnswer, StrayAnswer],
        /* ACK     */ [Challenge, Hold,        SR,          ES,          CW,          CW,          TW,          TW,          CL],
        /* FIN-ACK */ [Drop,     Drop,         FW,          FW,          LA,          LA,          LA,          TW,          CL],
        /* RST     */ [Reset,    Reset,        Reset,       Reset,       Reset,       Reset,       Reset,       Reset,       Reset],
    ],
];

/// The cell of a segment.
///
/// # Panics
/// Where the state is not one of TCP: a key's protocol never changes.
#[inline]
pub(super) fn cell(side: Side, event: Event, state: State) -> Cell {
    TABLE[side as usize][event as usize][state as usize]
}

/// Note 9: FINs are kept per side. One that a side sends again moves nothing; where the table takes it for
/// the other side's, the state stays.
pub(super) fn after_fin(old: State, next: State, has_sent_one: bool) -> State {
    let waits_for_other = matches!(old, State::FinWait | State::CloseWait);
    if waits_for_other && has_sent_one { old } else { next }
}
