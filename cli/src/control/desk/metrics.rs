//! Everything that is counted, in the text format of Prometheus.

use super::Desk;
use crate::control::protocol::Failure;
use crate::export::{Exposition, Kind};
use crate::feed::Fed;
use crate::run::DEFAULT;
use classifier::policy::RuleId;
use classifier::reason::DropReason;
use dataplane::counters::Counters;
use dataplane::hits::RuleHits;

/// Rules with hits that are told of; there may be a million.
const RULES: usize = 10_000;

impl Desk {
    /// Everything that is counted.
    ///
    /// # Errors
    /// A worker or the main thread does not answer.
    pub fn metrics(&self) -> Result<String, Failure> {
        let mut text = Exposition::default();
        self.about(&mut text);
        self.workers(&mut text)?;
        self.rules(&mut text)?;
        self.ports(&mut text)?;
        self.feeds(&mut text)?;
        let untold = self.feed.untold();
        let name = "bulkhead_events_lost_total";
        let ring = std::iter::once(("ring", untold.by_ring));
        let lost = ring.chain(untold.by_reader.iter().map(|(reader, count)| (*reader, *count)));
        let help = "Events that were lost, by where they found no room.";
        text.family(name, Kind::Counter, help, lost.map(|(at, count)| ([("at", at.to_owned())], count)));
        let name = "bulkhead_events_suppressed_total";
        let help = "Drops that were only told of as a number, by reason.";
        let over =
            untold.suppressed.iter().map(|(reason, count)| ([("reason", (*reason).to_owned())], *count));
        text.family(name, Kind::Counter, help, over);
        Ok(text.into_text())
    }

    fn about(&self, text: &mut Exposition) {
        let shared = &self.shared;
        let configuration = shared.configuration.load_full();
        let policy = &configuration.policy;
        let mut gauge = |name: &str, help: &str, value: u64| {
            text.family(name, Kind::Gauge, help, [([], value)]);
        };
        let started = u64::try_from(shared.started.as_second()).unwrap_or(0);
        gauge("bulkhead_start_time_seconds", "When the gateway started, in seconds since 1970.", started);
        let generation = u64::from(shared.control.generation().epoch().0);
        gauge("bulkhead_generation", "The number of the generation in force.", generation);
        gauge("bulkhead_rules", "Rules in force.", policy.rule_count() as u64);
        gauge("bulkhead_segments", "Segments.", policy.segments().len() as u64);
        let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
        text.family("bulkhead_build_info", Kind::Gauge, "The program's version.", [(version, 1)]);
        let config = [
            ("gateway", configuration.topology.name.clone()),
            ("mode", crate::config::words::mode_name(policy.mode()).to_owned()),
            ("sha256", crate::config::Bundle::of(configuration.sources()).hash()),
        ];
        text.family("bulkhead_config_info", Kind::Gauge, "The configuration in force.", [(config, 1)]);
    }

    fn workers(&self, text: &mut Exposition) -> Result<(), Failure> {
        let workers = self.shared.control.ask_all(|engine| {
            let tracker = engine.tracker();
            (
                engine.counters().clone(),
                tracker.len() as u64,
                tracker.capacity() as u64,
                *tracker.statistics(),
            )
        })?;
        let label = |index: usize| [("worker", index.to_string())];
        type Counted = fn(&Counters) -> u64;
        let counted: [(&str, &str, Counted); 13] = [
            ("bulkhead_frames_received_total", "Frames taken from ports.", |c| c.received),
            ("bulkhead_frames_forwarded_total", "Frames that went on their way.", |c| c.forwarded),
            ("bulkhead_frames_local_total", "Frames to the gateway itself.", |c| c.local),
            ("bulkhead_frames_dropped_total", "Frames dropped or rejected.", Counters::dropped_total),
            ("bulkhead_answers_total", "Frames that the gateway made itself.", |c| c.answers),
            ("bulkhead_answers_suppressed_total", "Answers that were due and not made.", |c| {
                c.answers_suppressed
            }),
            ("bulkhead_copies_total", "Copies of flooded frames.", |c| c.copies),
            ("bulkhead_copies_lost_total", "Copies of flooded frames that found no room.", |c| c.copies_lost),
            ("bulkhead_flows_opened_total", "New flows.", |c| c.flows),
            ("bulkhead_batches_total", "Batches of frames.", |c| c.batches),
            ("bulkhead_frames_handed_total", "Frames passed on to the worker that owns them.", |c| c.handed),
            (
                "bulkhead_frames_handed_lost_total",
                "Frames dropped as tx-full because the way to another worker was full.",
                |c| c.handed_lost,
            ),
            ("bulkhead_news_lost_total", "Words of neighbors that another worker had no room for.", |c| {
                c.news_lost
            }),
        ];
        for (name, help, of) in counted {
            let samples = workers.iter().enumerate().map(|(index, worker)| (label(index), of(&worker.0)));
            text.family(name, Kind::Counter, help, samples);
        }
        let mut gauge = |name: &str, help: &str, of: &dyn Fn(usize) -> u64| {
            text.family(name, Kind::Gauge, help, (0..workers.len()).map(|index| (label(index), of(index))));
        };
        gauge("bulkhead_frames_waiting", "Frames that wait for a neighbor.", &|w| workers[w].0.waiting);
        gauge("bulkhead_flows", "Flows in the table.", &|w| workers[w].1);
        gauge("bulkhead_flows_max", "Flows that fit into the table.", &|w| workers[w].2);
        let dropped =
            |reason: &DropReason| workers.iter().map(|worker| worker.0.dropped[reason.index()]).sum();
        let drops =
            DropReason::ALL.iter().map(|reason| ([("reason", reason.name().to_owned())], dropped(reason)));
        text.family("bulkhead_drops_total", Kind::Counter, "Frames dropped, by reason.", drops);
        type Ended = fn(&conntrack::Statistics) -> u64;
        let ends: [(&str, Ended); 6] = [
            ("expired", |s| s.expired),
            ("reset", |s| s.reset),
            ("replaced", |s| s.replaced),
            ("removed", |s| s.removed),
            ("evicted-closing", |s| s.evicted_closing),
            ("evicted-half-open", |s| s.evicted_half_open),
        ];
        let ends = ends.iter().map(|(how, of)| {
            ([("how", (*how).to_owned())], workers.iter().map(|worker| of(&worker.3)).sum())
        });
        text.family("bulkhead_flows_ended_total", Kind::Counter, "Flows that left the table.", ends);
        let refused: [(&str, Ended); 2] =
            [("table-full", |s| s.table_full), ("rule-limit", |s| s.rule_limited)];
        let refused = refused.iter().map(|(why, of)| {
            ([("why", (*why).to_owned())], workers.iter().map(|worker| of(&worker.3)).sum())
        });
        let help = "Flows that found no room, by the limit.";
        text.family("bulkhead_flows_refused_total", Kind::Counter, help, refused);
        Ok(())
    }

    fn rules(&self, text: &mut Exposition) -> Result<(), Failure> {
        let kept = self.order(|host| host.kept_hits())?;
        let workers = self.shared.control.ask_all(|engine| engine.hits().clone())?;
        let generation = self.shared.control.generation();
        let policy = generation.tables().policy();
        let with = |hits: RuleHits, name: &str| {
            let kept = kept.get(name).cloned().unwrap_or_default();
            (hits.flows + kept.flows, hits.drops + kept.drops)
        };
        let of_rule = |rule: RuleId| {
            let key = generation.key_of(rule);
            workers.iter().fold(RuleHits::default(), |sum, hits| sum.and(hits.of(key)))
        };
        let all = policy.listed().into_iter().map(|rule| {
            let id = policy.rule(rule).id.clone();
            let (flows, drops) = with(of_rule(rule), &id);
            (id, flows, drops)
        });
        let mut hit: Vec<_> = all.filter(|(_, flows, drops)| flows + drops > 0).collect();
        let left_out = hit.len().saturating_sub(RULES);
        hit.truncate(RULES);
        let help = "Flows that a rule let in, and packets that were dropped by it; only rules with hits.";
        let samples = hit.into_iter().flat_map(|(id, flows, drops)| {
            let sample = |what: &str, count| ([("rule", id.clone()), ("what", what.to_owned())], count);
            [sample("flows", flows), sample("drops", drops)]
        });
        text.family("bulkhead_rule_hits_total", Kind::Counter, help, samples);
        let default = workers.iter().fold(RuleHits::default(), |sum, hits| sum.and(hits.of_default()));
        let (flows, drops) = with(default, DEFAULT);
        let samples = [([("what", "flows".to_owned())], flows), ([("what", "drops".to_owned())], drops)];
        let help = "Flows and drops that were left to the policy's default.";
        text.family("bulkhead_default_hits_total", Kind::Counter, help, samples);
        let help = "Rules with hits that are not told of one by one.";
        text.family("bulkhead_rules_left_out", Kind::Gauge, help, [([], left_out as u64)]);
        Ok(())
    }

    fn feeds(&self, text: &mut Exposition) -> Result<(), Failure> {
        let feeds = self.order(|host| host.feeds().fed().to_vec())?;
        let labels = |fed: &Fed| {
            [("segment", fed.feed().segment.clone()), ("file", fed.feed().file.display().to_string())]
        };
        let well = feeds.iter().map(|fed| (labels(fed), u64::from(fed.error().is_none())));
        text.family("bulkhead_feed_up", Kind::Gauge, "Whether the list on the disk is in force.", well);
        let members = feeds.iter().map(|fed| (labels(fed), fed.list().0.len() as u64));
        text.family("bulkhead_feed_members", Kind::Gauge, "Members of the list in force.", members);
        Ok(())
    }

    fn ports(&self, text: &mut Exposition) -> Result<(), Failure> {
        let ports = self.order(|host| {
            let gateway = host.gateway();
            let ports = gateway.configuration().topology.ports.iter().zip(gateway.guards()).enumerate();
            let of = ports.map(|(index, (port, guard))| {
                let kernel = guard.kernel_statistics();
                let counts = [
                    ("rx-dropped", kernel.rx_dropped),
                    ("rx-ring-full", kernel.rx_ring_full),
                    ("fill-ring-empty", kernel.rx_fill_empty),
                    ("rx-invalid", kernel.rx_invalid),
                    ("tx-invalid", kernel.tx_invalid),
                    ("unserved-queue", guard.unserved()),
                ];
                (port.name.clone(), host.links().state(index) == "up", counts)
            });
            of.collect::<Vec<_>>()
        })?;
        let up = ports.iter().map(|(name, is_up, _)| ([("port", name.clone())], u64::from(*is_up)));
        text.family("bulkhead_port_up", Kind::Gauge, "Whether the port's link is up.", up);
        let counts = ports.iter().flat_map(|(name, _, counts)| {
            counts
                .iter()
                .map(|(what, count)| ([("port", name.clone()), ("what", (*what).to_owned())], *count))
        });
        let help = "What the kernel has counted of a port's frames; `fill-ring-empty` are times.";
        text.family("bulkhead_port_kernel_total", Kind::Counter, help, counts);
        Ok(())
    }
}
