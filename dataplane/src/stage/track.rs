//! What is the packet to its flow, and may the flow be? `ct-invalid`, the policy's reasons, and the limits.

use super::judge::{self, Answer, Question};
use super::reassemble;
use super::route::send_error;
use crate::answer::{IcmpError, reset};
use crate::batch::{Batch, Egress, FlowRole, Out, Outcome, Verdict};
use crate::engine::{Engine, link_back};
use crate::generation::Generation;
use crate::network::{Network, Role, Vlan};
use classifier::addr::{Mac, VlanKey};
use classifier::decision;
use classifier::reason::DropReason;
use classifier::wire::{Transport, link};
use conntrack::time::Tick;
use conntrack::{FlowId, FlowView, Opening, Relation, Tracked};
use std::net::IpAddr;
use std::sync::Arc;

/// One packet on its way through the stage. What the parser found stays in its lane: of most packets, which belong
/// to a live flow, little of it is read again.
pub(super) struct Transit<'a> {
    pub(super) now: Tick,
    pub(super) lane: usize,
    frame: &'a [u8],
    transport: Transport<'a>,
    pub(super) ingress: &'a Vlan,
    pub(super) egress: Egress,
}

impl<'a> Transit<'a> {
    /// A later fragment, of which nothing above IP is known.
    pub(super) fn of_later(
        now: Tick,
        lane: usize,
        frame: &'a [u8],
        ingress: &'a Vlan,
        egress: Egress,
    ) -> Transit<'a> {
        Transit { now, lane, frame, transport: Transport::Other, ingress, egress }
    }

    /// The frame's source MAC.
    fn source_mac(&self) -> Mac {
        link::source(self.frame)
    }

    /// The frame's destination MAC, where MACs of destinations count.
    fn destination_mac(&self) -> Option<Mac> {
        matches!(self.ingress.role, Role::Stitched(_)).then(|| link::destination(self.frame))
    }

    /// The packet as the policy sees it, in its own direction.
    pub(super) fn question(&self, batch: &Batch) -> Question {
        let packet = &batch.packets[self.lane];
        Question {
            source: (self.ingress.key, self.source_mac(), packet.source()),
            destination: packet.destination(),
            destination_mac: self.destination_mac(),
            protocol: packet.protocol,
            ports: (packet.source_port, packet.destination_port),
        }
    }
}

pub(crate) fn process(engine: &mut Engine, now: Tick, batch: &mut Batch) {
    let generation = Arc::clone(&engine.generation);
    let arena = Arc::clone(&engine.arena);
    let network = generation.network();
    prefetch(engine, network, batch);
    for lane in batch.live() {
        let path = batch.paths[lane];
        let ingress = network.vlan(path.ingress);
        // The frame stays in its lane, but the lane must be written meanwhile: its bytes are only read here.
        let Some(frame) = batch.lend(lane) else { continue };
        let bytes = arena.bytes(&frame);
        let transport = batch.packets[lane].transport(bytes, ingress.domain);
        let transit = Transit { now, lane, frame: bytes, transport, ingress, egress: path.egress };
        track(engine, &generation, batch, &transit);
        batch.restore(lane, frame);
    }
}

/// Asks the processor for all flows of the batch, so that it waits for memory once and not once a packet: first
/// for where the table's index has them, then for the entries.
fn prefetch(engine: &Engine, network: &Network, batch: &mut Batch) {
    for lane in batch.live() {
        let ingress = network.vlan(batch.paths[lane].ingress);
        let key = batch.packets[lane].key(ingress.domain);
        let hash = engine.tracker.hash(&key.0);
        engine.tracker.prefetch(hash);
        batch.keys[lane] = key;
        batch.hashes[lane] = hash;
    }
    for lane in batch.live() {
        engine.tracker.prefetch_entry(batch.hashes[lane]);
    }
}

#[inline]
fn track(engine: &mut Engine, generation: &Generation, batch: &mut Batch, transit: &Transit<'_>) {
    if batch.packets[transit.lane].is_later_fragment() {
        return reassemble::follow(engine, generation, batch, transit);
    }
    let (key, sender) = batch.keys[transit.lane];
    let tracked = engine.tracker.track_hashed(
        transit.now,
        &conntrack::Packet {
            key,
            sender,
            vlan: transit.ingress.key,
            source_mac: transit.source_mac(),
            transport: transit.transport,
        },
        batch.hashes[transit.lane],
    );
    match tracked {
        Tracked::Drop(reason) => batch.discard(transit.lane, reason),
        Tracked::Flow { flow, relation } => follow(engine, generation, batch, transit, flow, relation),
        Tracked::Related { flow } => relate(engine, generation, batch, transit, flow),
        Tracked::New(opening) => open(engine, generation, batch, transit, opening),
    }
}

/// A packet that may begin a flow.
fn open(
    engine: &mut Engine,
    generation: &Generation,
    batch: &mut Batch,
    transit: &Transit<'_>,
    opening: Opening,
) {
    let network = generation.network();
    let lane = transit.lane;
    let question = transit.question(batch);
    let far = judge::egress_key(network, transit.egress);
    let answer = match far {
        Some(egress) => judge::ask(generation, &question, egress),
        None => match judge::ask_flooded(generation, batch, lane, batch.paths[lane].ingress, &question) {
            Some(answer) => answer,
            None => return batch.discard(lane, DropReason::CtInvalid),
        },
    };
    if !answer.is_allowed() {
        if let Some(egress) = far.filter(|_| opening.is_midstream())
            && reopen(engine, generation, batch, transit, opening, egress)
        {
            return;
        }
        return deny(engine, generation, batch, transit, &answer);
    }
    let terms = judge::terms(generation, &answer.decision, far);
    let opened = engine.tracker.open(transit.now, opening, terms);
    if let Ok(flow) = opened {
        let_pass(engine, batch, transit, flow, transit.egress, Relation::Established);
        count(engine, batch, transit, flow, Relation::Established);
    }
    conclude(engine, generation, batch, transit, &answer, opened);
}

/// Marks a flow, so that more packets of this one's kind may take the short way ([`super::express`]): what was found of
/// it hangs on its addresses, ports and VLAN, and the generation.
#[inline]
fn let_pass(
    engine: &mut Engine,
    batch: &Batch,
    transit: &Transit<'_>,
    flow: FlowId,
    egress: Egress,
    relation: Relation,
) {
    let is_ordinary = matches!(transit.transport, Transport::Tcp(_) | Transport::Udp);
    let is_whole = batch.packets[transit.lane].fragment.is_none();
    if is_ordinary && is_whole && matches!(egress, Egress::Routed(..)) {
        engine.tracker.let_pass(flow, relation);
    }
}

/// Enters a packet that passes into its flow's account.
#[inline]
fn count(engine: &mut Engine, batch: &Batch, transit: &Transit<'_>, flow: FlowId, relation: Relation) {
    engine.tracker.count_packet(flow, relation, batch.packets[transit.lane].octets());
}

/// A flow that is taken up in mid-stream by a packet of its responder: policy may allow it the other way round.
fn reopen(
    engine: &mut Engine,
    generation: &Generation,
    batch: &mut Batch,
    transit: &Transit<'_>,
    opening: Opening,
    far: VlanKey,
) -> bool {
    let far_mac = transit.destination_mac().unwrap_or(Mac::ZERO);
    let packet = &batch.packets[transit.lane];
    let question = Question {
        source: (far, far_mac, packet.destination()),
        destination: packet.source(),
        destination_mac: transit.destination_mac().map(|_| transit.source_mac()),
        protocol: packet.protocol,
        ports: (packet.destination_port, packet.source_port),
    };
    let answer = judge::ask(generation, &question, transit.ingress.key);
    if answer.is_allowed() {
        let terms = judge::terms(generation, &answer.decision, Some(transit.ingress.key));
        let opened = engine.tracker.open(transit.now, opening.reversed(far, far_mac), terms);
        if let Ok(flow) = opened {
            count(engine, batch, transit, flow, Relation::Reply);
        }
        let own = Answer { classes: (answer.classes.1, answer.classes.0), ..answer };
        conclude(engine, generation, batch, transit, &own, opened);
    }
    answer.is_allowed()
}

/// Writes the outcome of a packet whose flow the policy lets in.
fn conclude(
    engine: &mut Engine,
    generation: &Generation,
    batch: &mut Batch,
    transit: &Transit<'_>,
    answer: &Answer,
    opened: Result<FlowId, DropReason>,
) {
    let outcome = &mut batch.outcomes[transit.lane];
    outcome.rule = answer.decision.rule.map(|id| generation.key_of(id));
    outcome.would = answer.decision.would;
    outcome.classes = Some(answer.classes);
    match opened {
        Ok(_) => {
            engine.counters.flows += 1;
            outcome.flow = Some(FlowRole::New);
            outcome.out = way_out(generation, transit.egress);
        }
        Err(reason) => batch.discard(transit.lane, reason),
    }
}

/// A packet that the policy does not let begin a flow.
fn deny(
    engine: &mut Engine,
    generation: &Generation,
    batch: &mut Batch,
    transit: &Transit<'_>,
    answer: &Answer,
) {
    let is_reject = answer.decision.verdict == decision::Verdict::Reject;
    let outcome = Outcome {
        verdict: if is_reject { Verdict::Reject } else { Verdict::Drop },
        reason: answer.decision.drop_reason(),
        rule: answer.decision.rule.map(|id| generation.key_of(id)),
        would: answer.decision.would,
        flow: None,
        classes: Some(answer.classes),
        out: Out::Nowhere,
    };
    if is_reject {
        refuse(engine, generation, batch, transit);
    }
    batch.settle(transit.lane, outcome);
}

/// Tells the sender that its flow is rejected.
fn refuse(engine: &mut Engine, generation: &Generation, batch: &Batch, transit: &Transit<'_>) {
    let index = batch.paths[transit.lane].ingress;
    let packet = &batch.packets[transit.lane];
    match transit.transport {
        Transport::Tcp(segment) if packet.fragment.is_none() => {
            if link::destination(transit.frame).is_group() {
                return;
            }
            let back = link_back(transit.ingress, packet, transit.frame);
            let refused = (packet.destination(), packet.destination_port);
            let sender = (packet.source(), packet.source_port);
            engine
                .answer_within_limit(transit.now, index, |out| reset(out, &back, refused, sender, &segment));
        }
        Transport::Tcp(_) | Transport::Udp | Transport::Icmp(_) | Transport::Sctp(_) | Transport::Other => {
            let network = generation.network();
            send_error(engine, network, transit.now, index, packet, transit.frame, IcmpError::Prohibited);
        }
    }
}

/// A packet of a live flow.
#[inline]
pub(super) fn follow(
    engine: &mut Engine,
    generation: &Generation,
    batch: &mut Batch,
    transit: &Transit<'_>,
    flow: FlowId,
    relation: Relation,
) {
    let view = engine.tracker.standing(flow);
    let network = generation.network();
    let mut egress = transit.egress;
    let (role, is_settled) = match relation {
        Relation::Established => {
            let far = judge::egress_key(network, egress);
            (FlowRole::Established, far.is_some() && view.responder_vlan == far)
        }
        Relation::Reply => {
            if egress == Egress::Flood
                && let Some(home) = network.index_of(view.opener_vlan)
            {
                egress = Egress::Stitched(home);
                batch.paths[transit.lane].egress = egress;
            }
            (FlowRole::Reply, view.responder_vlan == Some(transit.ingress.key))
        }
    };
    let mut rule = view.rule;
    if view.epoch != generation.epoch() || !is_settled {
        let view = engine.tracker.flow(flow);
        match judge_again(engine, generation, batch, transit, flow, &view, relation) {
            Ok(now) => rule = now,
            Err(answer) => return revoke(engine, generation, batch, transit, flow, &answer),
        }
    }
    let_pass(engine, batch, transit, flow, egress, relation);
    count(engine, batch, transit, flow, relation);
    let outcome = &mut batch.outcomes[transit.lane];
    outcome.rule = rule;
    outcome.flow = Some(role);
    outcome.out = way_out(generation, egress);
}

/// Judges a live flow by the policy in force, in the opener's direction: after a change of policy, or when the
/// VLAN of its other end becomes known or changes. The rule that lets it live, or the answer that ends it.
fn judge_again(
    engine: &mut Engine,
    generation: &Generation,
    batch: &mut Batch,
    transit: &Transit<'_>,
    flow: FlowId,
    view: &FlowView,
    relation: Relation,
) -> Result<Option<conntrack::RuleKey>, Answer> {
    let network = generation.network();
    let far = match relation {
        Relation::Established => judge::egress_key(network, transit.egress),
        Relation::Reply => Some(transit.ingress.key),
    };
    let question = Question {
        source: (view.opener_vlan, view.opener_mac, view.key.address(view.opener)),
        destination: view.key.address(view.opener.other()),
        destination_mac: match relation {
            Relation::Established => transit.destination_mac(),
            Relation::Reply => transit.destination_mac().map(|_| transit.source_mac()),
        },
        protocol: view.key.protocol(),
        ports: view.key.policy_ports(view.opener),
    };
    let is_kept = generation.keeps_flows_since(view.epoch)
        || view.rule.is_some_and(|rule| generation.keeps_flows_of(rule));
    let answer = match far {
        Some(far) => judge::ask(generation, &question, far),
        None => match judge::ask_flooded(
            generation,
            batch,
            transit.lane,
            batch.paths[transit.lane].ingress,
            &question,
        ) {
            Some(answer) => answer,
            None => return Ok(view.rule),
        },
    };
    if is_kept && view.epoch != generation.epoch() && view.responder_vlan == far {
        let terms = conntrack::Terms { rule: view.rule, ..judge::terms(generation, &answer.decision, far) };
        let rule = view.rule.and_then(|key| generation.rule(key));
        let terms =
            conntrack::Terms { idle_timeout: rule.and_then(|r| r.idle_timeout), max_flows: None, ..terms };
        engine.tracker.renew(flow, terms);
        return Ok(view.rule);
    }
    if !answer.is_allowed() {
        return Err(answer);
    }
    let terms = judge::terms(generation, &answer.decision, far);
    engine.tracker.renew(flow, terms);
    if let Some(far) = far {
        engine.tracker.set_responder_vlan(flow, far);
    }
    Ok(terms.rule)
}

/// Ends a flow that the policy in force does not allow.
fn revoke(
    engine: &mut Engine,
    generation: &Generation,
    batch: &mut Batch,
    transit: &Transit<'_>,
    flow: FlowId,
    answer: &Answer,
) {
    engine.tracker.remove(flow);
    let far = judge::egress_key(generation.network(), transit.egress);
    let classes = match far {
        Some(far) => judge::ask(generation, &transit.question(batch), far).classes,
        None => answer.classes,
    };
    let outcome = Outcome {
        verdict: Verdict::Drop,
        reason: Some(DropReason::PolicyChanged),
        rule: answer.decision.rule.map(|id| generation.key_of(id)),
        would: answer.decision.would,
        flow: None,
        classes: Some(classes),
        out: Out::Nowhere,
    };
    batch.settle(transit.lane, outcome);
}

/// An ICMP error about a live flow: it goes where the flow's packets come from.
pub(super) fn relate(
    engine: &mut Engine,
    generation: &Generation,
    batch: &mut Batch,
    transit: &Transit<'_>,
    flow: FlowId,
) {
    let view = engine.tracker.flow(flow);
    // Later fragments of the error find the flow by it.
    batch.keys[transit.lane].0 = view.key;
    let network = generation.network();
    let is_to_opener = view.key.address(view.opener) == batch.packets[transit.lane].destination();
    let home = if is_to_opener { Some(view.opener_vlan) } else { view.responder_vlan };
    let mut egress = transit.egress;
    if egress == Egress::Flood {
        if let Some(home) = home.and_then(|key| network.index_of(key)) {
            egress = Egress::Stitched(home);
            batch.paths[transit.lane].egress = egress;
        }
    } else if home.is_some_and(|home| judge::egress_key(network, egress) != Some(home)) {
        // The sender's MAC has moved to a VLAN that the flow was not judged for.
        return batch.discard(transit.lane, DropReason::CtInvalid);
    }
    let mut rule = view.rule;
    if view.epoch != generation.epoch()
        && let Some(far) = view.responder_vlan
        && !generation.keeps_flows_since(view.epoch)
        && !view.rule.is_some_and(|key| generation.keeps_flows_of(key))
    {
        let (question, is_whole) =
            question_of_error(transit, batch.packets[transit.lane].source(), &view, is_to_opener);
        let answer = judge::ask(generation, &question, far);
        match (answer.is_allowed(), is_whole) {
            (true, true) => {
                let terms = judge::terms(generation, &answer.decision, Some(far));
                engine.tracker.renew(flow, terms);
                rule = terms.rule;
            }
            (true, false) => {}
            (false, true) => return revoke(engine, generation, batch, transit, flow, &answer),
            (false, false) => return batch.discard(transit.lane, DropReason::CtInvalid),
        }
    }
    let outcome = &mut batch.outcomes[transit.lane];
    outcome.rule = rule;
    outcome.flow = Some(FlowRole::Related);
    outcome.out = way_out(generation, egress);
}

/// What the policy is to be asked of the flow that an error is about, and whether that is all that counts. On a
/// stitch a router's error does not tell the responder's MAC: then the answer holds for the error alone, and
/// the flow's own next packet will bring its verdict.
fn question_of_error(
    transit: &Transit<'_>,
    source: IpAddr,
    view: &FlowView,
    is_to_opener: bool,
) -> (Question, bool) {
    let responder = view.key.address(view.opener.other());
    let responder_mac = match transit.destination_mac() {
        Some(_) if is_to_opener => Some(transit.source_mac()).filter(|_| source == responder),
        other => other,
    };
    let question = Question {
        source: (view.opener_vlan, view.opener_mac, view.key.address(view.opener)),
        destination: responder,
        destination_mac: responder_mac,
        protocol: view.key.protocol(),
        ports: view.key.policy_ports(view.opener),
    };
    (question, responder_mac.is_some() || transit.destination_mac().is_none())
}

#[inline]
fn way_out(generation: &Generation, egress: Egress) -> Out {
    match judge::egress_key(generation.network(), egress) {
        Some(key) => Out::To(key),
        None => Out::Flooded,
    }
}
