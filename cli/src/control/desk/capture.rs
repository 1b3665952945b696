//! `capture`: frames as they came in, with what became of them.

use super::flows::{Who, who};
use super::{Desk, Outbox, Shared};
use crate::capture::to_hex;
use crate::control::protocol::{CaptureOptions, EventFilter, EventVerdict, Failure, FailureCode};
use crate::replay::{Line, Names};
use classifier::addr::{PortId, VlanKey};
use classifier::endpoint::Endpoint;
use classifier::policy::Service;
use classifier::reason::DropReason;
use classifier::wire::link::Link;
use classifier::wire::{Kind, Packet};
use conntrack::RuleKey;
use dataplane::batch::{Out, Outcome, Verdict};
use dataplane::generation::Generation;
use dataplane::tap::{Judged, TapReader, Wanted, tap};
use serde_json::{Map, Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Frames of a worker that wait for the client: full ones of 2 KiB are 4 MiB.
const SLOTS: usize = 2048;
/// Frames of a worker that are taken before another's turn.
const PORTION: usize = 256;
/// How often the client is told how things stand.
const PROGRESS: Duration = Duration::from_millis(200);
/// How long to wait for one who captures: that a client has gone is noticed within [`PROGRESS`].
const PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait for more where there is nothing.
const PAUSE: Duration = Duration::from_millis(5);
/// The word of the filter for what no rule decided.
const DEFAULT: &str = "default";

/// Which frames are wanted, with all names looked up: it is asked on the worker's thread.
struct Filter {
    generation: Arc<Generation>,
    from: Option<Who>,
    to: Option<Who>,
    services: Option<Vec<Service>>,
    verdict: Option<EventVerdict>,
    drops: bool,
    reason: Option<DropReason>,
    /// `Some(None)`: what no rule decided.
    rule: Option<Option<RuleKey>>,
}

impl Filter {
    fn new(shared: &Shared, filter: &EventFilter, drops: bool) -> Result<Filter, Failure> {
        let usage = |message| Failure::new(FailureCode::Usage, message);
        let configuration = shared.configuration.load_full();
        let generation = shared.control.generation();
        let end = |text: &Option<String>| text.as_deref().map(|text| who(&configuration, text)).transpose();
        let services = filter.service.as_deref().map(|text| configuration.service(text)).transpose();
        let reason = filter.reason.as_deref().map(super::observe::reason).transpose()?;
        let key_of = |name: &str| {
            if name == DEFAULT {
                return Ok(None);
            }
            let rules = generation.tables().policy().listed().into_iter();
            let key = rules
                .map(|rule| generation.key_of(rule))
                .find(|key| generation.rule_name(*key) == Some(name));
            key.map(Some).ok_or_else(|| usage(format!("there is no rule `{name}`")))
        };
        Ok(Filter {
            from: end(&filter.from)?,
            to: end(&filter.to)?,
            services: services.map_err(usage)?,
            verdict: filter.verdict,
            drops,
            reason,
            rule: filter.rule.as_deref().map(key_of).transpose()?,
            generation: Arc::clone(&generation),
        })
    }

    fn holds(&self, port: PortId, bytes: &[u8], outcome: &Outcome) -> bool {
        let is_dropped = matches!(outcome.verdict, Verdict::Drop | Verdict::Reject);
        let is_of = |verdict: EventVerdict| match verdict {
            EventVerdict::Forward => outcome.verdict == Verdict::Forward,
            EventVerdict::Drop => outcome.verdict == Verdict::Drop,
            EventVerdict::Reject => outcome.verdict == Verdict::Reject,
        };
        (is_dropped || !self.drops)
            && self.verdict.is_none_or(is_of)
            && self.reason.is_none_or(|reason| outcome.reason == Some(reason))
            && self.rule.is_none_or(|rule| outcome.rule == rule)
            && self.is_between(port, bytes, outcome)
    }

    /// What hangs on addresses and ports, which take a look into the frame.
    fn is_between(&self, port: PortId, bytes: &[u8], outcome: &Outcome) -> bool {
        if self.from.is_none() && self.to.is_none() && self.services.is_none() {
            return true;
        }
        let packet = Packet::parse(bytes);
        if !matches!(packet.kind, Kind::Ipv4 | Kind::Ipv6) {
            return false;
        }
        let ingress = VlanKey::new(port, packet.link.vid());
        let egress = match outcome.out {
            Out::To(vlan) => Some(vlan),
            Out::Nowhere | Out::Flooded => None,
        };
        let is_of = |service: &Service| {
            service.contains(packet.protocol, packet.source_port, packet.destination_port)
        };
        self.from.as_ref().is_none_or(|from| self.is(from, packet.source(), Some(ingress)))
            && self.to.as_ref().is_none_or(|to| self.is(to, packet.destination(), egress))
            && self.services.as_ref().is_none_or(|services| services.iter().any(is_of))
    }

    fn is(&self, who: &Who, address: IpAddr, vlan: Option<VlanKey>) -> bool {
        match who {
            Who::Range(range) => range.contains(address),
            Who::Segment(id) => {
                let tables = self.generation.tables();
                let class = tables.class_of(&Endpoint { vlan, mac: None, address });
                tables.segments_of(class).contains(id)
            }
        }
    }
}

/// The taps of all workers, taken off when it is dropped.
struct Taps<'a> {
    shared: &'a Shared,
    readers: Vec<TapReader>,
}

impl<'a> Taps<'a> {
    fn attach(
        shared: &'a Shared,
        snap: usize,
        filter: impl Fn() -> Result<Filter, Failure>,
    ) -> Result<Taps<'a>, Failure> {
        let mut taps = Taps { shared, readers: Vec::new() };
        for worker in 0..shared.control.workers() {
            let longest = shared.control.ask(worker, |engine| engine.arena().layout().capacity)?.wait()?;
            let filter = filter()?;
            let wanted: Wanted = Box::new(move |port, bytes, outcome| filter.holds(port, bytes, outcome));
            let (mut tap, reader) = tap(longest, snap, SLOTS, wanted);
            let deadline = Instant::now() + PATIENCE;
            while let Err(refused) = shared.control.ask(worker, move |engine| engine.attach(tap))?.wait()? {
                if Instant::now() >= deadline {
                    let message = "somebody else is capturing; one can at a time";
                    return Err(Failure::new(FailureCode::Busy, message));
                }
                tap = refused;
                std::thread::sleep(PAUSE);
            }
            taps.readers.push(reader);
        }
        Ok(taps)
    }
}

impl Drop for Taps<'_> {
    fn drop(&mut self) {
        for worker in 0..self.readers.len() {
            // What was the tap's memory is given back here, not by the worker.
            let taken = self.shared.control.ask(worker, |engine| engine.detach());
            drop(taken.and_then(dataplane::Answer::wait));
        }
    }
}

pub(super) fn capture(
    desk: &Desk,
    filter: &EventFilter,
    options: &CaptureOptions,
    out: &mut dyn Outbox,
) -> Result<Value, Failure> {
    let shared = &desk.shared;
    let snap = usize::try_from(options.snaplen.unwrap_or(u64::MAX)).unwrap_or(usize::MAX).max(1);
    let patience = match options.for_s.map(Duration::try_from_secs_f64) {
        None => None,
        Some(Ok(patience)) => Some(patience),
        Some(Err(error)) => return Err(Failure::new(FailureCode::Usage, format!("`for_s`: {error}"))),
    };
    let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
    let taps = Taps::attach(shared, snap, || Filter::new(shared, filter, options.drops))?;
    let (mut frames, mut told) = (0_u64, None::<Instant>);
    loop {
        let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let is_full = |frames: u64| options.count.is_some_and(|count| frames >= count);
        let mut has_found = false;
        let names = Moment::now(shared);
        for (worker, reader) in taps.readers.iter().enumerate() {
            for _ in 0..PORTION {
                if is_full(frames) {
                    break;
                }
                let Some(item) = reader.next(|judged| names.item(judged, worker, frames + 1)) else { break };
                out.item(item)?;
                frames += 1;
                has_found = true;
            }
        }
        let is_done = is_full(frames) || (is_over && !has_found);
        if is_done || told.is_none_or(|told| told.elapsed() >= PROGRESS) {
            told = Some(Instant::now());
            // Where the gateway was started anew, its workers have gone, and nothing would come any more.
            shared.control.ask(0, |_| ())?.wait()?;
            let lost = lost(shared, &taps.readers);
            out.item(json!({ "frames": frames, "lost": lost }))?;
            out.flush()?;
            if is_done {
                return Ok(json!({ "frames": frames, "lost": lost }));
            }
            if out.is_gone() {
                return Ok(Value::Null);
            }
        }
        if !has_found {
            std::thread::sleep(PAUSE);
        }
    }
}

/// What was lost, by the ports' names.
fn lost(shared: &Shared, readers: &[TapReader]) -> Map<String, Value> {
    let configuration = shared.configuration.load();
    let by_reader: Vec<_> = readers.iter().map(TapReader::lost).collect();
    let ports = configuration.topology.ports.iter().enumerate();
    let of = |port: usize| by_reader.iter().map(|lost| lost[port]).sum::<u64>();
    ports.map(|(port, config)| (config.name.clone(), of(port).into())).collect()
}

/// What names and times were at a moment.
struct Moment {
    configuration: Arc<crate::config::Configuration>,
    generation: Arc<Generation>,
    tick: conntrack::time::Tick,
    now_ns: u64,
}

impl Moment {
    fn now(shared: &Shared) -> Moment {
        Moment {
            generation: shared.control.generation(),
            configuration: shared.configuration.load_full(),
            tick: shared.clock.now(),
            now_ns: u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0),
        }
    }

    fn item(&self, judged: &Judged, worker: usize, number: u64) -> Value {
        let names = Names { topology: &self.configuration.topology, generation: &self.generation };
        let mut outcome = judged.outcome;
        if judged.epoch != self.generation.epoch() {
            // Their numbers are another generation's.
            (outcome.classes, outcome.would) = (None, None);
        }
        let vid = Link::parse(&judged.bytes).map_or(0, |link| link.vid());
        let line = Line::new(names, number, judged.port, vid, &outcome, std::iter::empty());
        let age = u64::try_from(self.tick.since(judged.at).as_nanos()).unwrap_or(u64::MAX);
        let mut item = json!(line);
        item["time_ns"] = self.now_ns.saturating_sub(age).into();
        item["worker"] = worker.into();
        item["length"] = judged.length.into();
        item["bytes"] = to_hex(&judged.bytes).into();
        item
    }
}
