//! Connections that begin beside the flood.
//!
//! ```text
//!   SYN --10 ms--> SYN-ACK --10 ms--> ACK: through
//!    ^ |              | lost             | lost
//!    +-+ 1, 2, 4 s ---+------------------+     RFC 6298 §2, §5.5: after one second, then twice as long
//! ```

use super::frames::{ACK, From, SYN, Segment};
use crate::workload::Flow;
use conntrack::time::Tick;
use random::Random;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Half of a round trip.
const ONE_WAY: Duration = Duration::from_millis(10);
/// How late a timer of a host may be.
const LATE_MILLIS: u32 = 15;
/// How often a SYN is sent.
const MOST_SYNS: u32 = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Syn,
    SynAck,
    Ack,
}

/// One connection.
#[derive(Clone, Copy, Debug)]
struct Client {
    began: Tick,
    syns: u32,
    step: Step,
}

/// All of them.
pub(super) struct Clients<'a> {
    flows: &'a [Flow],
    clients: Vec<Client>,
    /// Who sends next, by time.
    due: BinaryHeap<Reverse<(Tick, u32)>>,
    /// How long each that got through took.
    took: Vec<Duration>,
    random: Random,
}

impl<'a> Clients<'a> {
    /// A client for each flow, `rate` a second.
    pub(super) fn new(flows: &'a [Flow], rate: u32, start: Tick, seed: u64) -> Clients<'a> {
        let began =
            |number: usize| start + Duration::from_nanos(number as u64 * 1_000_000_000 / u64::from(rate));
        let clients: Vec<Client> =
            (0..flows.len()).map(|n| Client { began: began(n), syns: 0, step: Step::Syn }).collect();
        let due = clients.iter().zip(0..).map(|(client, number)| Reverse((client.began, number))).collect();
        let random = Random::new(seed.rotate_left(16));
        Clients { flows, clients, due, took: Vec::with_capacity(flows.len()), random }
    }

    /// The next segment that is due, and whose it is.
    pub(super) fn next(&mut self, now: Tick) -> Option<(u32, Segment)> {
        let Reverse((at, number)) = *self.due.peek()?;
        if at > now {
            return None;
        }
        self.due.pop();
        let client = &mut self.clients[number as usize];
        client.syns += u32::from(client.step == Step::Syn);
        let (from, flags, at) = match client.step {
            Step::Syn => (From::Client, SYN, (0, 0)),
            Step::SynAck => (From::Server, SYN | ACK, (0, 1)),
            Step::Ack => (From::Client, ACK, (1, 1)),
        };
        Some((number, Segment { flow: self.flows[number as usize], from, flags, data: 0, at }))
    }

    /// Says whether a client's segment was forwarded.
    pub(super) fn tell(&mut self, now: Tick, number: u32, is_forwarded: bool) {
        let client = &mut self.clients[number as usize];
        let next = match (is_forwarded, client.step) {
            (true, Step::Ack) => {
                self.took.push(now.since(client.began) + ONE_WAY);
                return;
            }
            (true, Step::Syn) => Step::SynAck,
            (true, Step::SynAck) => Step::Ack,
            (false, Step::Syn | Step::SynAck | Step::Ack) => Step::Syn,
        };
        client.step = next;
        if is_forwarded {
            self.due.push(Reverse((now + ONE_WAY, number)));
        } else if client.syns < MOST_SYNS {
            // 1, 3 and 7 s after the first.
            let late = Duration::from_millis(u64::from(self.random.below(LATE_MILLIS)));
            let at = client.began + Duration::from_secs((1 << client.syns) - 1) + late;
            self.due.push(Reverse((at.max(now), number)));
        }
    }

    /// How many there were.
    pub(super) fn count(&self) -> usize {
        self.clients.len()
    }

    /// How many were through within a time.
    pub(super) fn through_within(&self, time: Duration) -> usize {
        self.took.iter().filter(|took| **took <= time).count()
    }

    /// How long it took half of those that were through.
    pub(super) fn median(&self) -> Option<Duration> {
        let mut took = self.took.clone();
        took.sort_unstable();
        took.get(took.len() / 2).copied()
    }
}
