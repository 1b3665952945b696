//! The rules of a cell → its content, as the tables have it.

use super::EditError;
use crate::compile::Limits;
use crate::compile::intern::WordHashMap;
use crate::compile::ports::{LinePlan, NOTHING};
use crate::compile::service::LineBuilder;
use crate::decision::Judgement;
use crate::endpoint::ServicePacket;
use crate::policy::{Policy, RuleId, Service};
use crate::tables::fast::{Fast, Meanings, code_of};
use crate::tables::outcome::{Effect, Ranked};
use crate::tables::ports::{DirectRows, PortLine, PortLines, PortRows, Ports, Rows};
use crate::tables::{BY_SOURCE_PORT, CellTables, Tables};
use std::collections::HashSet;
use std::sync::Arc;

/// Outcomes that changes may add before the tables count as full.
const OUTCOMES: usize = 1 << 22;

/// Lists of rules whose contents are remembered at most.
const KNOWN: usize = 1 << 16;

/// What makes contents.
#[derive(Debug)]
pub(super) struct Contents {
    form: FormContents,
    /// Contents by the rules that make them, without those that are never reached: an address in quarantine has one
    /// content with all others, and most pairs have none.
    known: WordHashMap<Vec<u32>, (u32, u32)>,
    /// Contents that were made, and not remembered.
    pub(super) made: usize,
}

/// What makes them, by the form of the tables.
#[derive(Debug)]
enum FormContents {
    Lines(LineContents),
    Rows(RowContents),
    /// Tables of another form.
    None,
}

impl FormContents {
    fn new(policy: &Policy, builder: &LineBuilder<'_>, tables: &Tables) -> Self {
        let CellTables::Closed(fast) = &tables.cells else { return FormContents::None };
        match &fast.ports {
            Ports::Rows(_) if fast.layers.is_some() => FormContents::None,
            Ports::Lines(lines) => {
                FormContents::Lines(LineContents::new(&LinePlan::new(policy, builder), lines, fast))
            }
            Ports::Rows(rows) => match &rows.rows {
                Rows::Direct(direct) => {
                    FormContents::Rows(RowContents::new(policy, builder, (rows, direct), fast))
                }
                Rows::Shaped(_) => FormContents::None,
            },
        }
    }
}

impl Contents {
    /// What makes the contents of these tables.
    pub(super) fn new(policy: &Policy, builder: &LineBuilder<'_>, tables: &Tables) -> Self {
        let form = FormContents::new(policy, builder, tables);
        Contents { form, known: WordHashMap::default(), made: 0 }
    }

    /// Makes room for the services of a rule.
    ///
    /// # Errors
    /// The tables can't tell them apart.
    pub(super) fn admit(&mut self, services: &[Service], fast: &mut Fast) -> Result<(), EditError> {
        match (&mut self.form, &mut fast.ports) {
            (FormContents::Lines(contents), Ports::Lines(lines)) => contents.admit(services, lines),
            (FormContents::Rows(contents), _) => {
                // What is every packet is all classes.
                let is_known =
                    |service: &Service| *service == Service::ANY || contents.services.contains(service);
                services.iter().all(is_known).then_some(()).ok_or(EditError::Service)
            }
            (FormContents::Lines(_), Ports::Rows(_)) | (FormContents::None, _) => Err(EditError::Form),
        }
    }

    /// The content of a cell with these rules, which come in the order of evaluation: cell and base.
    pub(super) fn cell(
        &mut self,
        policy: &Policy,
        rules: &[RuleId],
        fast: &mut Fast,
    ) -> Result<(u32, u32), EditError> {
        let ranked = |id: &RuleId| {
            let rule = policy.rule(*id);
            Ranked { rule: *id, tier: rule.tier, effect: Effect::of(rule.mode, rule.action) }
        };
        if let ([], Some(known)) = (rules, self.known.get([].as_slice())) {
            return Ok(*known);
        }
        // A cell stands for itself, so its rules may be numbered by themselves.
        let limits = Limits { boundaries: 1 << 20, ..Limits::default() };
        let mut builder = LineBuilder::new(policy, rules.iter().map(ranked).collect(), limits);
        let mut ranks: Vec<u32> = (0..rules.len() as u32).collect();
        builder.prune(&mut ranks, true);
        // A rule keeps its number, and what it says, as long as there are these tables.
        let reached: Vec<u32> = ranks.iter().map(|rank| rules[*rank as usize].0).collect();
        if let Some(known) = self.known.get(&reached) {
            return Ok(*known);
        }
        self.made += 1;
        let made = match &mut self.form {
            FormContents::Lines(contents) => contents.cell(policy, &ranks, &mut builder, fast),
            FormContents::Rows(contents) => contents.cell(policy, &ranks, &mut builder, fast),
            FormContents::None => Err(EditError::Form),
        }?;
        if self.known.len() >= KNOWN {
            self.known.clear();
        }
        self.known.insert(reached, made);
        Ok(made)
    }
}

/// Outcomes by judgement.
#[derive(Debug, Default)]
struct Judgements {
    known: WordHashMap<(u32, u32), u32>,
}

fn key(judgement: Judgement) -> (u32, u32) {
    let number = |rule: Option<RuleId>| rule.map_or(u32::MAX, |rule| rule.0);
    (number(judgement.decided_by), number(judgement.first_monitor))
}

impl Judgements {
    fn new(meanings: &Meanings) -> Self {
        let judgements = meanings.judgements.iter();
        Judgements { known: judgements.zip(0..).map(|(judgement, at)| (key(*judgement), at)).collect() }
    }

    fn outcome(&mut self, judgement: Judgement, meanings: &mut Arc<Meanings>) -> u32 {
        match (judgement.decided_by, judgement.first_monitor) {
            (None, None) => 0,
            (Some(rule), None) => Meanings::RULE | rule.0,
            (_, Some(_)) => *self.known.entry(key(judgement)).or_insert_with(|| {
                let meanings = Arc::make_mut(meanings);
                meanings.judgements.push(judgement);
                meanings.judgements.len() as u32 - 1
            }),
        }
    }
}

/// Contents as lines.
#[derive(Debug)]
pub(super) struct LineContents {
    protocols: Box<[u8; 256]>,
    representatives: Vec<u8>,
    is_crowded: bool,
    shapes: WordHashMap<PortLine, u32>,
    /// Where each list of outcomes is that a change has made.
    outcomes: WordHashMap<Vec<u32>, u32>,
    most_outcomes: usize,
    /// General lines that changes have made, in words of `numbers`.
    general: WordHashMap<Vec<u32>, u32>,
    by_source: WordHashMap<Vec<u32>, u32>,
    numbers: WordHashMap<u32, u32>,
    judgements: Judgements,
}

impl LineContents {
    fn new(plan: &LinePlan<'_>, lines: &PortLines, fast: &Fast) -> Self {
        let mut shapes = WordHashMap::default();
        for at in 0..lines.lines.len() as u32 {
            shapes.insert(*lines.lines.get(at), at);
        }
        LineContents {
            protocols: lines.protocols.clone(),
            representatives: plan.representatives().to_vec(),
            is_crowded: plan.is_crowded(),
            shapes,
            outcomes: WordHashMap::default(),
            most_outcomes: lines.outcomes.len() + OUTCOMES,
            general: WordHashMap::default(),
            by_source: WordHashMap::default(),
            numbers: WordHashMap::default(),
            judgements: Judgements::new(&fast.meanings),
        }
    }

    /// Gives each protocol a class that has none yet.
    fn admit(&mut self, services: &[Service], lines: &mut PortLines) -> Result<(), EditError> {
        if self.is_crowded {
            return Ok(());
        }
        for protocol in services.iter().filter_map(|service| service.protocol) {
            if self.protocols[usize::from(protocol)] == 0 {
                let (protocols, representatives) =
                    LinePlan::with_protocol(&self.protocols, &self.representatives, protocol)
                        .ok_or(EditError::Service)?;
                (self.protocols, self.representatives) = (protocols, representatives);
                lines.protocols = self.protocols.clone();
            }
        }
        Ok(())
    }

    fn cell(
        &mut self,
        policy: &Policy,
        ranks: &[u32],
        builder: &mut LineBuilder<'_>,
        fast: &mut Fast,
    ) -> Result<(u32, u32), EditError> {
        if ranks.is_empty() {
            return Ok((NOTHING, 0));
        }
        let number = builder.line(ranks, true).map_err(|_| EditError::Full)?;
        let line = builder.line_of(number);
        let plan = LinePlan::of(policy, &self.protocols, &self.representatives);
        let Fast { ports: Ports::Lines(lines), meanings, .. } = fast else { return Err(EditError::Form) };
        match plan.shape(line, builder) {
            Some((shape, found)) if !self.is_crowded => {
                let mut outcome = |number| self.judgements.outcome(builder.judgement(number), meanings);
                let outcomes: Vec<u32> = found.into_iter().map(&mut outcome).collect();
                let base = match self.outcomes.get(&outcomes) {
                    Some(base) => *base,
                    None => {
                        let base = lines.outcomes.len() as u32;
                        for outcome in &outcomes {
                            lines.outcomes.push(*outcome);
                        }
                        self.outcomes.insert(outcomes, base);
                        base
                    }
                };
                if lines.outcomes.len() > self.most_outcomes {
                    return Err(EditError::Full);
                }
                let cell = *self.shapes.entry(shape).or_insert_with(|| lines.lines.push(shape));
                Ok((cell, base))
            }
            Some(_) | None => {
                let line = line.to_vec();
                self.general(policy, line, builder, fast)
            }
        }
    }

    /// A cell whose content is a general line.
    fn general(
        &mut self,
        policy: &Policy,
        mut line: Vec<u32>,
        builder: &LineBuilder<'_>,
        fast: &mut Fast,
    ) -> Result<(u32, u32), EditError> {
        let Fast { ports: Ports::Lines(lines), meanings, .. } = fast else { return Err(EditError::Form) };
        let mut number = |outcome: u32| {
            let judgement = builder.judgement(outcome);
            let outcome = self.judgements.outcome(judgement, meanings);
            *self.numbers.entry(outcome).or_insert_with(|| {
                let meanings = Arc::make_mut(meanings);
                meanings.of_rows.push(outcome);
                meanings.codes.push(code_of(policy, judgement) as u8);
                meanings.codes.len() as u32 - 1
            })
        };
        for value in line.iter_mut().skip(1).step_by(2) {
            *value = if *value & BY_SOURCE_PORT == 0 {
                number(*value)
            } else {
                let mut source = builder.source_lines().get(*value & !BY_SOURCE_PORT).to_vec();
                for value in source.iter_mut().skip(1).step_by(2) {
                    *value = number(*value);
                }
                let push = |line: &Vec<u32>| Arc::make_mut(&mut lines.by_source).push(line);
                *self.by_source.entry(source).or_insert_with_key(push) | BY_SOURCE_PORT
            };
        }
        let push = |line: &Vec<u32>| Arc::make_mut(&mut lines.general).push(line);
        let base = *self.general.entry(line).or_insert_with_key(push);
        if lines.general.starts.len() > self.most_outcomes {
            return Err(EditError::Full);
        }
        Ok((PortLines::GENERAL, base))
    }
}

/// Contents as rows.
#[derive(Debug)]
pub(super) struct RowContents {
    /// The services that the classes of services were made for.
    services: HashSet<Service>,
    /// A packet of each class of services.
    packets: Vec<ServicePacket>,
    /// Cells by row.
    rows: WordHashMap<Vec<u16>, u32>,
    /// Numbers of outcomes by judgement.
    numbers: WordHashMap<(u32, u32), u32>,
    judgements: Judgements,
}

impl RowContents {
    fn new(
        policy: &Policy,
        builder: &LineBuilder<'_>,
        (rows, direct): (&PortRows, &DirectRows),
        fast: &Fast,
    ) -> Self {
        let ranked = builder.ranked().iter();
        let services: HashSet<Service> =
            ranked.flat_map(|ranked| policy.rule(ranked.rule).services.iter().copied()).collect();
        let rows_of = direct.rows.chunks_exact(direct.width as usize);
        let by_row = rows_of.zip(0..).map(|(row, at)| (row.to_vec(), at));
        let of_rows = fast.meanings.of_rows.iter().zip(0..);
        RowContents {
            packets: packets(&services, rows, direct.width),
            services,
            rows: by_row.collect(),
            numbers: of_rows.map(|(o, at)| (key(fast.meanings.judgement(*o)), at)).collect(),
            judgements: Judgements::new(&fast.meanings),
        }
    }

    fn cell(
        &mut self,
        policy: &Policy,
        ranks: &[u32],
        builder: &mut LineBuilder<'_>,
        fast: &mut Fast,
    ) -> Result<(u32, u32), EditError> {
        let Fast { ports: Ports::Rows(rows), meanings, .. } = fast else { return Err(EditError::Form) };
        let Rows::Direct(direct) = &mut rows.rows else { return Err(EditError::Form) };
        let mut row: Vec<u16> = Vec::with_capacity(self.packets.len());
        let services: Vec<&[Service]> = ranks
            .iter()
            .map(|rank| policy.rule(builder.ranked()[*rank as usize].rule).services.as_slice())
            .collect();
        // Most classes have the rules of the one before: none.
        let (mut before, mut matching): (Option<Vec<u32>>, Vec<u32>) = (None, Vec::new());
        for packet in &self.packets {
            let ServicePacket { protocol, source_port, destination_port } = *packet;
            let has = |services: &[Service]| {
                services.iter().any(|s| s.contains(protocol, source_port, destination_port))
            };
            matching.clear();
            matching.extend(ranks.iter().zip(&services).filter(|(_, of)| has(of)).map(|(rank, _)| *rank));
            if before.as_ref() == Some(&matching) {
                row.extend(row.last().copied());
                continue;
            }
            before.get_or_insert_default().clone_from(&matching);
            let outcome = builder.outcome(matching.iter().copied(), true);
            let judgement = builder.judgement(outcome);
            let number = match self.numbers.get(&key(judgement)) {
                Some(number) => *number,
                None => {
                    let outcome = self.judgements.outcome(judgement, meanings);
                    let meanings = Arc::make_mut(meanings);
                    meanings.of_rows.push(outcome);
                    meanings.codes.push(code_of(policy, judgement) as u8);
                    let number = meanings.codes.len() as u32 - 1;
                    self.numbers.insert(key(judgement), number);
                    number
                }
            };
            if number > u32::from(u16::MAX) {
                return Err(EditError::Full);
            }
            row.push(number as u16);
        }
        let cell = *self.rows.entry(row).or_insert_with_key(|row| {
            let at = direct.rows.len() / direct.width as usize;
            direct.rows.extend_from_slice(row);
            at as u32
        });
        Ok((cell, 0))
    }
}

/// A packet of each class of services: one at the beginning of each range of ports, for each protocol, will do.
fn packets(services: &HashSet<Service>, rows: &PortRows, width: u32) -> Vec<ServicePacket> {
    let mut packets = vec![None; width as usize];
    let starts = |port: fn(&Service) -> crate::policy::PortRange| {
        let ends = services.iter().filter_map(move |s| port(s).last.checked_add(1));
        let mut starts: Vec<u16> = services.iter().map(|s| port(s).first).chain(ends).chain([0]).collect();
        starts.sort_unstable();
        starts.dedup();
        starts
    };
    let (sources, destinations) = (starts(|s| s.source), starts(|s| s.destination));
    let named: HashSet<u8> = services.iter().filter_map(|service| service.protocol).collect();
    let other = (0..=u8::MAX).find(|protocol| !named.contains(protocol));
    for protocol in named.into_iter().chain(other) {
        for source_port in &sources {
            for destination_port in &destinations {
                let packet = ServicePacket {
                    protocol,
                    source_port: *source_port,
                    destination_port: *destination_port,
                };
                let class = rows.service(packet) as usize;
                packets[class].get_or_insert(packet);
            }
        }
    }
    let none = ServicePacket { protocol: 0, source_port: 0, destination_port: 0 };
    packets.into_iter().map(|packet| packet.unwrap_or(none)).collect()
}
