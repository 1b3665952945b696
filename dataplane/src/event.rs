//! What a worker tells of: flows that begin, and frames that it drops.
//!
//! Events go through a ring of fixed size that never blocks a worker. What finds no room is counted, and the
//! reader says so.

use crate::batch::{Batch, FlowRole, Out, Outcome, Verdict};
use crate::generation::Generation;
use crate::neighbors::WAITING_TOTAL;
use classifier::addr::PortId;
use classifier::reason::DropReason;
use classifier::wire::{Kind, Packet};
use conntrack::time::Tick;
use conntrack::{Epoch, FlowReport, Tracker};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Events that the ring holds.
pub const RING: usize = 8192;

/// What became of one frame.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Event {
    /// When its batch was taken in, also where it had to wait.
    pub at: Tick,
    /// The generation that judged it: classes and rules in the outcome are that one's.
    pub epoch: Epoch,
    /// The port that it came in on.
    pub port: PortId,
    /// The VID that it bore.
    pub vid: u16,
    /// Source and destination, where it is IP.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// IP protocol.
    pub protocol: u8,
    /// Source port as policy sees it.
    pub source_port: u16,
    /// Destination port, or ICMP type and code.
    pub destination_port: u16,
    /// Bytes from the IP header on.
    pub octets: u16,
    /// What became of it.
    pub outcome: Outcome,
}

/// A worker's end of the ring.
#[derive(Clone, Debug)]
pub struct EventSink {
    sender: Sender<Event>,
    lost: Arc<AtomicU64>,
}

/// The reader's end of the ring.
#[derive(Clone, Debug)]
pub struct EventSource {
    /// The events, oldest first.
    pub receiver: Receiver<Event>,
    lost: Arc<AtomicU64>,
}

/// A ring, empty.
#[must_use]
pub fn ring() -> (EventSink, EventSource) {
    let (sender, receiver) = bounded(RING);
    let lost = Arc::new(AtomicU64::new(0));
    (EventSink { sender, lost: Arc::clone(&lost) }, EventSource { receiver, lost })
}

impl EventSource {
    /// Events that found no room, since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Reports of flows that a ring holds.
pub const REPORTS: usize = 16 * 1024;

/// A worker's end of a ring of flow reports.
#[derive(Clone, Debug)]
pub struct ReportSink {
    sender: Sender<FlowReport>,
    lost: Arc<AtomicU64>,
}

/// The reader's end.
#[derive(Clone, Debug)]
pub struct ReportSource {
    /// The reports, oldest first.
    pub receiver: Receiver<FlowReport>,
    lost: Arc<AtomicU64>,
}

/// A ring of flow reports, empty.
#[must_use]
pub fn report_ring() -> (ReportSink, ReportSource) {
    let (sender, receiver) = bounded(REPORTS);
    let lost = Arc::new(AtomicU64::new(0));
    (ReportSink { sender, lost: Arc::clone(&lost) }, ReportSource { receiver, lost })
}

impl ReportSink {
    pub(crate) fn send(&self, report: FlowReport) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(report) {
            self.lose(1);
        }
    }

    pub(crate) fn lose(&self, count: u64) {
        if count > 0 {
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl ReportSource {
    /// Reports that found no room, since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Frames whose fate is not known yet, and is told of once it is: those that wait for a neighbor, and fragments that wait
/// for their first.
const WAITING: usize = WAITING_TOTAL + 4096;

/// Tells of what becomes of a worker's frames. What waits for a neighbor is told of once its fate is known.
#[derive(Debug)]
pub(crate) struct Teller {
    sink: EventSink,
    /// Frames that wait, by their tags, which grow. Those whose fate is told leave a gap, until it is at the front.
    waiting: VecDeque<(u64, Option<Event>)>,
}

impl Teller {
    pub(crate) fn new(sink: EventSink) -> Teller {
        Teller { sink, waiting: VecDeque::with_capacity(WAITING) }
    }

    /// Tells of the new flows and the drops of a batch.
    pub(crate) fn tell(&mut self, now: Tick, epoch: Epoch, batch: &Batch) {
        for lane in 0..batch.len() {
            let outcome = batch.outcomes[lane];
            let waits = outcome.verdict == Verdict::Waiting;
            if !waits && !is_news(&outcome) {
                continue;
            }
            let event = event_of(now, epoch, batch.ports[lane], &batch.packets[lane], outcome);
            match waits {
                false => self.sink.send(event),
                true if self.waiting.len() < WAITING => {
                    self.waiting.push_back((batch.tags[lane], Some(event)));
                }
                true => self.sink.lose(),
            }
        }
    }

    /// Tells of a frame that was dropped because the way to the worker that owns it is full.
    #[cold]
    pub(crate) fn tell_lost(&self, now: Tick, epoch: Epoch, port: PortId, frame: &[u8]) {
        let outcome = Outcome::dropped(DropReason::TxFull);
        self.sink.send(event_of(now, epoch, port, &Packet::parse(frame), outcome));
    }

    /// Tells of a frame that found no room to leave by `egress`. It is rewritten already: where it came from, its flow
    /// knows. Where there is none, as of frames that another worker has judged, the port and VLAN of the event are those
    /// that it was to leave by.
    #[cold]
    pub(crate) fn tell_unsent(
        &self,
        now: Tick,
        generation: &Generation,
        tracker: &mut Tracker,
        egress: PortId,
        frame: &[u8],
    ) {
        let packet = Packet::parse(frame);
        let network = generation.network();
        let vlan = network.vlan_on(egress, packet.link.vid()).map(|index| network.vlan(index));
        let is_ip = matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6);
        let flow = vlan.filter(|_| is_ip).and_then(|vlan| {
            let (key, sender) = packet.key(vlan.domain);
            tracker.live(now, &key).map(|flow| (tracker.flow(flow), sender))
        });
        let outcome = Outcome::dropped(DropReason::TxFull);
        let mut event = event_of(now, generation.epoch(), egress, &packet, outcome);
        if let Some((flow, sender)) = flow {
            let is_openers = sender == flow.opener;
            event.outcome.rule = flow.rule;
            event.outcome.flow = Some(if is_openers { FlowRole::Established } else { FlowRole::Reply });
            let ingress = if is_openers { Some(flow.opener_vlan) } else { flow.responder_vlan };
            if let Some(ingress) = ingress {
                (event.port, event.vid) = (ingress.port(), ingress.vid());
            }
        }
        self.sink.send(event);
    }

    /// Tells of a frame that has waited, if what has become of it is news.
    /// `epoch` is that of the generation in force.
    pub(crate) fn tell_late(&mut self, epoch: Epoch, tag: u64, outcome: Outcome) {
        let Ok(at) = self.waiting.binary_search_by_key(&tag, |(waiting, _)| *waiting) else { return };
        let event = self.waiting[at].1.take();
        while let Some((_, None)) = self.waiting.front() {
            self.waiting.pop_front();
        }
        let Some(event) = event.filter(|_| is_news(&outcome)) else { return };
        // What had no way out yet was a fragment that is judged only now.
        let epoch = if event.outcome.out == Out::Nowhere { epoch } else { event.epoch };
        self.sink.send(Event { outcome, epoch, ..event });
    }
}

fn event_of(now: Tick, epoch: Epoch, port: PortId, packet: &Packet, outcome: Outcome) -> Event {
    Event {
        at: now,
        epoch,
        port,
        vid: packet.link.vid(),
        addresses: matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6)
            .then(|| (packet.source(), packet.destination())),
        protocol: packet.protocol,
        source_port: packet.source_port,
        destination_port: packet.destination_port,
        octets: packet.octets(),
        outcome,
    }
}

fn is_news(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::Drop | Verdict::Reject) || outcome.flow == Some(FlowRole::New)
}

impl EventSink {
    fn send(&self, event: Event) {
        match self.sender.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => self.lose(),
        }
    }

    fn lose(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}
