//! The neighbor cache (RFC 826, RFC 4861 §5): whose MAC stands behind an address, and what waits to know.
//!
//! ```text
//!            frame to send              answer
//!   (none) ----------------> asking ----------------> known --(silent for 5 min)--> (none)
//!                              | three requests, a second apart, no answer
//!                              v
//!                            failed --(3 s)--> (none)
//! ```
//!
//! Everything is bounded: a scan of an empty /64 can fill its VLAN's share of questions, and evicts nobody (RFC 6583).

use crate::arena::Frame;
use crate::batch::Outcome;
use crate::inspect::NeighborState;
use crate::keyed::Keyed;
use crate::network::VlanIndex;
use classifier::addr::{Mac, PortId};
use conntrack::time::Tick;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

/// Between two requests for one address (RFC 4861 §10, RETRANS_TIMER).
pub(crate) const RETRY: Duration = Duration::from_secs(1);
/// Requests before an address counts as unreachable (RFC 4861 §10, MAX_MULTICAST_SOLICIT).
pub(crate) const ATTEMPTS: u8 = 3;
/// How long an address counts as unreachable.
pub(crate) const FAILED_FOR: Duration = Duration::from_secs(3);
/// How long a MAC is used without word from its owner.
pub(crate) const KNOWN_FOR: Duration = Duration::from_secs(300);
/// When the owner is asked again, if its MAC is used.
pub(crate) const REFRESH_AFTER: Duration = Duration::from_secs(60);
/// Frames that may wait for one neighbor.
pub(crate) const WAITING_PER_NEIGHBOR: usize = 16;
/// Frames that may wait in all.
pub(crate) const WAITING_TOTAL: usize = 512;
/// Addresses per VLAN that are being asked for, or have failed.
pub(crate) const QUESTIONS_PER_VLAN: u32 = 256;
/// Neighbors per VLAN that are known.
pub(crate) const KNOWN_PER_VLAN: u32 = 4096;

/// A frame that is ready to go but for its destination MAC.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The frame.
    pub(crate) frame: Frame,
    /// What the caller calls it.
    pub(crate) tag: u64,
    /// What its fate is, if the neighbor answers.
    pub(crate) outcome: Outcome,
    /// The port that it leaves by.
    pub(crate) port: PortId,
    /// Where it came in.
    pub(crate) ingress: VlanIndex,
    /// The MAC that it came from.
    pub(crate) source_mac: Mac,
    /// The tag control information that it came with, if it had a tag.
    pub(crate) ingress_tag: Option<u16>,
}

#[derive(Debug)]
enum State {
    Known { mac: Mac, heard: Tick, asked: Tick },
    Asking { attempts: u8, next: Tick, queue: VecDeque<Waiting> },
    Failed { until: Tick },
}

/// What is known of a neighbor when a frame is to go there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Resolution {
    /// This is its MAC.
    Known(Mac),
    /// This is its MAC, but it should be asked again.
    Stale(Mac),
    /// It is being asked.
    Asking,
    /// Nothing is known: ask.
    Unknown,
    /// It does not answer, or there is no room to ask.
    Failed,
}

/// A MAC that may be used until then without asking again, as long as nothing under the watch changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lease {
    /// The MAC.
    pub(crate) mac: Mac,
    /// The first moment at which the cache must be asked again.
    pub(crate) until: Tick,
    /// What counts the changes that may concern it.
    pub(crate) watch: Watch,
}

/// A counter of changes: what is known of a neighbor changes no more often than its counter moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Watch(pub(crate) u8);

impl Watch {
    /// The watch of what never changes while the network stays.
    pub(crate) const NOTHING: Watch = Watch(0);
}

/// Counters of changes, each for as many neighbors as fall to it.
const WATCHES: usize = 256;

/// What is due for an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Ask again.
    Ask,
    /// Give up: what waits has failed.
    GiveUp,
}

/// The neighbor cache of a worker.
#[derive(Debug)]
pub(crate) struct Neighbors {
    entries: HashMap<(VlanIndex, IpAddr), State, Keyed>,
    known: Vec<u32>,
    questions: Vec<u32>,
    /// Every address that is being asked for or has failed, to be visited by [`Neighbors::due`].
    open: Vec<(VlanIndex, IpAddr)>,
    spare: Vec<VecDeque<Waiting>>,
    waiting: usize,
    swept: Tick,
    /// By [`Watch`].
    changes: [u32; WATCHES],
}

impl Neighbors {
    /// An empty cache for that many VLANs.
    #[must_use]
    pub(crate) fn new(vlans: usize) -> Self {
        let questions = QUESTIONS_PER_VLAN as usize * vlans.min(64);
        let entries = questions + KNOWN_PER_VLAN as usize * vlans.min(64);
        Neighbors {
            entries: HashMap::with_capacity_and_hasher(entries, Keyed::default()),
            known: vec![0; vlans],
            questions: vec![0; vlans],
            open: Vec::with_capacity(questions),
            // At worst each waiting frame waits for a neighbor of its own.
            spare: (0..WAITING_TOTAL).map(|_| VecDeque::with_capacity(WAITING_PER_NEIGHBOR)).collect(),
            waiting: 0,
            swept: Tick(0),
            changes: [0; WATCHES],
        }
    }

    /// The MAC of a neighbor that is known and need not be asked, and how long that holds.
    #[must_use]
    pub(crate) fn lease(&self, now: Tick, vlan: VlanIndex, address: IpAddr) -> Option<Lease> {
        let Resolution::Known(mac) = self.resolve(now, vlan, address) else { return None };
        let Some(State::Known { heard, asked, .. }) = self.entries.get(&(vlan, address)) else { return None };
        let until = match now.since(*heard) < REFRESH_AFTER {
            true => *heard + REFRESH_AFTER,
            false => (*asked + RETRY).min(*heard + KNOWN_FOR),
        };
        Some(Lease { mac, until, watch: watch_of(&self.entries, vlan, address) })
    }

    /// How often anything changed under a watch.
    #[must_use]
    #[inline]
    pub(crate) fn changes(&self, watch: Watch) -> u32 {
        self.changes[usize::from(watch.0)]
    }

    fn note_change(&mut self, vlan: VlanIndex, address: IpAddr) {
        let watch = watch_of(&self.entries, vlan, address);
        let count = &mut self.changes[usize::from(watch.0)];
        *count = count.wrapping_add(1);
    }

    /// What is known of the neighbor.
    #[must_use]
    pub(crate) fn resolve(&self, now: Tick, vlan: VlanIndex, address: IpAddr) -> Resolution {
        match self.entries.get(&(vlan, address)) {
            Some(State::Known { mac, heard, asked }) => {
                let silent = now.since(*heard);
                if silent >= KNOWN_FOR {
                    self.if_it_may_be_asked(vlan)
                } else if silent >= REFRESH_AFTER && now.since(*asked) >= RETRY {
                    Resolution::Stale(*mac)
                } else {
                    Resolution::Known(*mac)
                }
            }
            Some(State::Asking { .. }) => Resolution::Asking,
            Some(State::Failed { until }) if now < *until => Resolution::Failed,
            Some(State::Failed { .. }) => Resolution::Unknown,
            None if self.entries.len() == self.entries.capacity() => Resolution::Failed,
            None => self.if_it_may_be_asked(vlan),
        }
    }

    /// A VLAN asks for so many addresses at once, and no more.
    fn if_it_may_be_asked(&self, vlan: VlanIndex) -> Resolution {
        let has_room = self.questions[usize::from(vlan.0)] < QUESTIONS_PER_VLAN
            && self.open.len() < self.open.capacity();
        if has_room { Resolution::Unknown } else { Resolution::Failed }
    }

    /// Notes that the owner of a stale MAC was asked.
    pub(crate) fn asked(&mut self, now: Tick, vlan: VlanIndex, address: IpAddr) {
        if let Some(State::Known { asked, .. }) = self.entries.get_mut(&(vlan, address)) {
            *asked = now;
        }
    }

    /// Begins to ask for an address that [`Neighbors::resolve`] does not know; the caller sends the first request.
    pub(crate) fn ask(&mut self, now: Tick, vlan: VlanIndex, address: IpAddr) {
        let state = State::Asking { attempts: 1, next: now + RETRY, queue: VecDeque::new() };
        match self.entries.insert((vlan, address), state) {
            Some(State::Known { .. }) => {
                self.known[usize::from(vlan.0)] -= 1;
                self.note_change(vlan, address);
            }
            // An address that failed is already counted and listed as open.
            Some(State::Failed { .. } | State::Asking { .. }) => return,
            None => {}
        }
        self.questions[usize::from(vlan.0)] += 1;
        self.open.push((vlan, address));
    }

    /// Lets a frame wait for a neighbor that is being asked; gives it back where there is no room.
    ///
    /// # Errors
    /// The frame, where as many wait as may.
    #[allow(clippy::result_large_err)] // The frame must go somewhere, and a box would be an allocation.
    pub(crate) fn wait(&mut self, vlan: VlanIndex, address: IpAddr, waiting: Waiting) -> Result<(), Waiting> {
        match self.entries.get_mut(&(vlan, address)) {
            Some(State::Asking { queue, .. })
                if queue.len() < WAITING_PER_NEIGHBOR && self.waiting < WAITING_TOTAL =>
            {
                if queue.capacity() == 0 {
                    *queue = self.spare.pop().unwrap_or_default();
                }
                queue.push_back(waiting);
                self.waiting += 1;
                Ok(())
            }
            Some(State::Asking { .. } | State::Known { .. } | State::Failed { .. }) | None => Err(waiting),
        }
    }

    /// Whether the address is known or asked for: only then is word that nobody asked for believed.
    #[must_use]
    pub(crate) fn is_of_interest(&self, vlan: VlanIndex, address: IpAddr) -> bool {
        matches!(self.entries.get(&(vlan, address)), Some(State::Known { .. } | State::Asking { .. }))
    }

    /// Notes a neighbor's MAC; gives the frames that waited for it.
    pub(crate) fn learn(
        &mut self,
        now: Tick,
        vlan: VlanIndex,
        address: IpAddr,
        mac: Mac,
    ) -> VecDeque<Waiting> {
        let at = usize::from(vlan.0);
        if let Some(State::Known { mac: known, heard, .. }) = self.entries.get_mut(&(vlan, address)) {
            // A clock that was set back shortens what was leased.
            let is_news = *known != mac || now < *heard;
            *known = mac;
            *heard = now;
            if is_news {
                self.note_change(vlan, address);
            }
            return VecDeque::new();
        }
        if self.known[at] >= KNOWN_PER_VLAN || self.entries.len() == self.entries.capacity() {
            return VecDeque::new();
        }
        self.known[at] += 1;
        let old = self.entries.insert((vlan, address), State::Known { mac, heard: now, asked: now });
        match old {
            Some(State::Asking { queue, .. }) => {
                self.close(vlan, address);
                self.waiting -= queue.len();
                queue
            }
            Some(State::Failed { .. }) => {
                self.close(vlan, address);
                VecDeque::new()
            }
            Some(State::Known { .. }) | None => VecDeque::new(),
        }
    }

    /// Gives an emptied queue back, so that it need not be allocated again.
    pub(crate) fn recycle(&mut self, queue: VecDeque<Waiting>) {
        if queue.is_empty()
            && queue.capacity() >= WAITING_PER_NEIGHBOR
            && self.spare.len() < self.spare.capacity()
        {
            self.spare.push(queue);
        }
    }

    /// The next address for which something is due, and the frames that waited for it where it failed.
    pub(crate) fn due(&mut self, now: Tick) -> Option<(VlanIndex, IpAddr, Due, VecDeque<Waiting>)> {
        self.forget(now);
        let mut at = 0;
        while at < self.open.len() {
            let (vlan, address) = self.open[at];
            match self.entries.get_mut(&(vlan, address)) {
                Some(State::Asking { attempts, next, queue }) if *next <= now => {
                    if *attempts < ATTEMPTS {
                        *attempts += 1;
                        *next = *next + RETRY;
                        return Some((vlan, address, Due::Ask, VecDeque::new()));
                    }
                    let queue = std::mem::take(queue);
                    self.waiting -= queue.len();
                    self.entries.insert((vlan, address), State::Failed { until: now + FAILED_FOR });
                    return Some((vlan, address, Due::GiveUp, queue));
                }
                Some(State::Failed { until }) if *until <= now => {
                    self.entries.remove(&(vlan, address));
                    self.close(vlan, address);
                }
                Some(State::Asking { .. } | State::Failed { .. } | State::Known { .. }) | None => at += 1,
            }
        }
        None
    }

    /// Takes out one address that is being asked for, with the frames that wait: the end of a capture or of a process.
    pub(crate) fn abandon(&mut self) -> Option<VecDeque<Waiting>> {
        for (vlan, address) in &self.open {
            if let Some(State::Asking { queue, .. }) = self.entries.get_mut(&(*vlan, *address))
                && !queue.is_empty()
            {
                self.waiting -= queue.len();
                return Some(std::mem::take(queue));
            }
        }
        None
    }

    /// All that were learned or are asked for, in no order.
    pub(crate) fn views(&self) -> impl Iterator<Item = (VlanIndex, IpAddr, NeighborState)> {
        self.entries.iter().map(|((vlan, address), state)| {
            let state = match state {
                State::Known { mac, .. } => NeighborState::Known(*mac),
                State::Asking { .. } => NeighborState::Asking,
                State::Failed { .. } => NeighborState::Failed,
            };
            (*vlan, *address, state)
        })
    }

    /// How many frames wait.
    #[must_use]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    fn close(&mut self, vlan: VlanIndex, address: IpAddr) {
        self.questions[usize::from(vlan.0)] -= 1;
        if let Some(at) = self.open.iter().position(|open| *open == (vlan, address)) {
            self.open.remove(at);
        }
    }

    /// Forgets neighbors that are silent for too long, once a minute.
    fn forget(&mut self, now: Tick) {
        if now.since(self.swept) < REFRESH_AFTER {
            return;
        }
        self.swept = now;
        let Neighbors { known, changes, .. } = self;
        self.entries.retain(|(vlan, _), state| match state {
            State::Known { heard, .. } => {
                let keep = now.since(*heard) < KNOWN_FOR;
                if !keep {
                    known[usize::from(vlan.0)] -= 1;
                    // Once a minute, and only then: every watch tells of it.
                    for count in changes.iter_mut().skip(1) {
                        *count = count.wrapping_add(1);
                    }
                }
                keep
            }
            State::Asking { .. } | State::Failed { .. } => true,
        });
    }
}

/// Which of the counters a neighbor's changes are counted by: any but [`Watch::NOTHING`].
fn watch_of(entries: &HashMap<(VlanIndex, IpAddr), State, Keyed>, vlan: VlanIndex, address: IpAddr) -> Watch {
    let hash = entries.hasher().hash_one((vlan, address));
    Watch((hash % (WATCHES as u64 - 1)) as u8 + 1)
}

#[cfg(test)]
mod tests;
