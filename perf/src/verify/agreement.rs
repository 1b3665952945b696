//! Holds tables against the scans, packet by packet, on all instructions.

use super::packets::Packet;
use super::scan::Scan;
use crate::classifier::progress::Progress;
use classifier::decision::{Decision, Judgement};
use classifier::endpoint::ServicePacket;
use classifier::policy::{Policy, RuleId, Timestamp};
use classifier::reference::Reference;
use classifier::tables::{Answer, Instructions, Places, Query, Tables};
use random::Random;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Packets that are looked up at once, at least: no multiple of what the tables take at a time.
const BATCH: u32 = 4_001;

/// How much is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Packets.
    pub(crate) packets: u64,
    /// Packets that are held against the full linear scan as well.
    pub(crate) scanned: u64,
    /// The time that they may take.
    pub(crate) time: Duration,
}

/// What agreed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Agreed {
    /// Packets on which tables and scans agreed.
    pub(crate) packets: u64,
    /// Those that were held against the full linear scan as well, or alone.
    pub(crate) scanned: u64,
    /// Those that a rule decided.
    pub(crate) decided: u64,
    /// Those that a monitor rule matched before that.
    pub(crate) monitored: u64,
    /// Those whose destination is softened.
    pub(crate) softened: u64,
}

impl Agreed {
    pub(crate) fn add(&mut self, other: Agreed) {
        self.packets += other.packets;
        self.scanned += other.scanned;
        self.decided += other.decided;
        self.monitored += other.monitored;
        self.softened += other.softened;
    }
}

/// The instructions that this processor has.
pub(crate) fn paths() -> impl Iterator<Item = Instructions> {
    Instructions::ALL.into_iter().filter(|instructions| instructions.are_available())
}

/// What is to be said of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Expected {
    judgement: Judgement,
    decision: Decision,
    is_softened: bool,
}

/// Tables of a policy, and what they are held against.
pub(crate) struct Subject<'p> {
    policy: &'p Policy,
    reference: Reference<'p>,
    /// `None` where the policy is not one of addresses alone: then the reference answers for all packets.
    scan: Option<Scan>,
    /// One for each path.
    tables: Vec<Tables>,
}

impl<'p> Subject<'p> {
    pub(crate) fn new(policy: &'p Policy, now: Timestamp, tables: &Tables) -> Subject<'p> {
        let on = |instructions| tables.clone().with_instructions(instructions);
        let tables = paths().filter_map(on).collect();
        // A scan is made for many rules. For a few the reference is as fast, and has nothing to be held against.
        let scan = (policy.rules().len() > 500).then(|| Scan::new(policy, now)).flatten();
        Subject { policy, reference: Reference::new(policy, now), scan, tables }
    }

    /// Looks at packets as they are drawn.
    ///
    /// # Errors
    /// The first packet on which there is no agreement.
    pub(crate) fn agree(
        &self,
        mut draw: impl FnMut() -> Packet,
        extent: Extent,
        progress: &Progress,
    ) -> Result<Agreed, String> {
        let Extent { packets, scanned, time } = extent;
        let start = Instant::now();
        let mut said = start;
        let mut agreed = Agreed::default();
        let every = (packets / scanned).max(1);
        let mut lengths = Random::new(packets);
        let mut matching = Vec::new();
        while agreed.packets < packets && (agreed.packets == 0 || start.elapsed() < time) {
            let length = u64::from(BATCH + lengths.below(64)).min(packets - agreed.packets);
            let batch: Vec<Packet> = (0..length).map(|_| draw()).collect();
            let mut expected = Vec::with_capacity(batch.len());
            for (number, packet) in (agreed.packets..).zip(&batch) {
                let says = self.expect(packet, &mut matching);
                if self.scan.is_none() || number.is_multiple_of(every) {
                    agreed.scanned += 1;
                    let reference = self.refer(packet);
                    if reference != says {
                        let what = "the scan of the rules that may match";
                        return Err(self.differ(what, number, packet, &says, &reference));
                    }
                }
                agreed.decided += u64::from(says.judgement.decided_by.is_some());
                agreed.monitored += u64::from(says.judgement.first_monitor.is_some());
                agreed.softened += u64::from(says.is_softened);
                expected.push(says);
            }
            self.compare(agreed.packets, &batch, &expected)?;
            agreed.packets += length;
            if said.elapsed() > Duration::from_secs(5) {
                said = Instant::now();
                progress.say(&format!("{} of {packets} packets agree", agreed.packets));
            }
        }
        Ok(agreed)
    }

    fn expect(&self, packet: &Packet, matching: &mut Vec<u32>) -> Expected {
        let (source, destination, service) = packet;
        let Some(scan) = &self.scan else { return self.refer(packet) };
        let (judgement, is_softened) = scan.judge(source.address, destination.address, *service, matching);
        let decision = Decision::of(self.policy, judgement, is_softened);
        Expected { judgement, decision, is_softened }
    }

    fn refer(&self, (source, destination, service): &Packet) -> Expected {
        Expected {
            judgement: self.reference.judge(source, destination, *service),
            decision: self.reference.decide(source, destination, *service),
            is_softened: self.reference.is_softened(destination),
        }
    }

    /// Compares what the tables say with what is expected: all at once on each path, and one by one.
    fn compare(&self, first: u64, batch: &[Packet], expected: &[Expected]) -> Result<(), String> {
        let (mut v4, mut v6) = (Family::default(), Family::default());
        for (at, (source, destination, service)) in batch.iter().enumerate() {
            let places = Places {
                source: (source.vlan, source.mac),
                destination: (destination.vlan, destination.mac),
            };
            match (source.address, destination.address) {
                (IpAddr::V4(from), IpAddr::V4(to)) => v4.ask(at, from.into(), to.into(), *service, places),
                (IpAddr::V6(from), IpAddr::V6(to)) => v6.ask(at, from.into(), to.into(), *service, places),
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                    unreachable!("both ends are of one family")
                }
            }
        }
        for tables in &self.tables {
            tables.classify_v4(&v4.queries, &v4.places, &mut v4.answers);
            tables.classify_v6(&v6.queries, &v6.places, &mut v6.answers);
            let answers = v4.numbers.iter().zip(&v4.answers).chain(v6.numbers.iter().zip(&v6.answers));
            for (at, answer) in answers {
                let says = Expected {
                    judgement: tables.judgement_of(*answer),
                    decision: tables.decision_of(*answer),
                    ..expected[*at]
                };
                let verdict = tables.verdict_of(*answer);
                if says != expected[*at] || verdict != says.decision.verdict {
                    let what = format!("{} in bulk, verdict {verdict},", tables.instructions());
                    return Err(self.differ(&what, first + *at as u64, &batch[*at], &says, &expected[*at]));
                }
            }
        }
        let tables = &self.tables[0];
        for ((number, packet), expected) in (first..).zip(batch).zip(expected) {
            let (source, destination, service) = packet;
            let (from, to) = (tables.class_of(source), tables.class_of(destination));
            let ServicePacket { protocol, source_port, destination_port } = *service;
            let is_softened = tables.is_softened(to);
            let mut says = Expected { is_softened, ..*expected };
            // Either says what the other does: one of them a packet is enough.
            if number % 2 == 0 {
                says.judgement = tables.judge(from, to, protocol, source_port, destination_port);
            } else {
                says.decision = tables.decide(from, to, protocol, source_port, destination_port);
            }
            if says != *expected {
                return Err(self.differ("one by one", number, packet, &says, expected));
            }
        }
        Ok(())
    }

    /// Says all that is needed to look at the difference alone.
    fn differ(
        &self,
        what: &str,
        number: u64,
        packet: &Packet,
        says: &Expected,
        expected: &Expected,
    ) -> String {
        let (source, destination, service) = packet;
        let reference = self.refer(packet);
        format!(
            "packet {number}: {source:?} -> {destination:?} {service:?}\n  {what}: {}, {:?}\n  expected: {}, {:?}\n  \
             the full linear scan: {}, {:?}",
            self.name(says.judgement),
            says.decision,
            self.name(expected.judgement),
            expected.decision,
            self.name(reference.judgement),
            reference.decision
        )
    }

    fn name(&self, judgement: Judgement) -> String {
        let name = |id: Option<RuleId>| id.map_or("none", |id| self.policy.rule(id).id.as_str());
        format!("decided by {}, first monitor {}", name(judgement.decided_by), name(judgement.first_monitor))
    }
}

/// The packets of a batch that are of one family.
#[derive(Default)]
struct Family<A> {
    queries: Vec<Query<A>>,
    places: Vec<Places>,
    answers: Vec<Answer>,
    /// Where in the batch they are.
    numbers: Vec<usize>,
}

impl<A> Family<A> {
    fn ask(&mut self, number: usize, source: A, destination: A, service: ServicePacket, places: Places) {
        let ServicePacket { protocol, source_port, destination_port } = service;
        self.queries.push(Query { source, destination, source_port, destination_port, protocol });
        self.places.push(places);
        self.answers.push(Answer::default());
        self.numbers.push(number);
    }
}
