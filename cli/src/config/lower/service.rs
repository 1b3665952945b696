//! `[service]`, and what rules and tests say in `service`.

use super::names::{self, Names};
use super::row::{Document, Item, Located, Row};
use super::scalar;
use crate::config::near;
use crate::config::source::Span;
use crate::diagnostic::{Code, Diagnostic};
use classifier::policy::{PortRange, Service};
use classifier::wire::protocol;
use std::collections::BTreeMap;

/// The words that stand for protocols and can't be names.
const BUILT_IN: [&str; 6] = ["any", "tcp", "udp", "sctp", "icmp", "icmpv6"];

/// ICMP types by name (IANA icmp-parameters), of those that POLICY.md §3 names.
const ICMP_TYPES: [(&str, u8); 5] = [
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("echo-request", 8),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
];

/// ICMPv6 types by name (IANA icmpv6-parameters).
const ICMPV6_TYPES: [(&str, u8); 6] = [
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
];

/// The named services, resolved.
pub(super) struct Services {
    names: Names<usize>,
    resolved: Vec<Vec<Service>>,
}

/// All of `[service]`.
pub(super) fn lower(document: &Document<'_>, out: &mut Vec<Diagnostic>) -> Services {
    let entries = document.named_items("service");
    let mut names = Names::new("service");
    for (index, named) in entries.iter().enumerate() {
        check_name(named.name, out);
        names.declare(named.name, index, out);
    }
    let mut own: Vec<Vec<Service>> = Vec::new();
    let mut references: Vec<Vec<(usize, Span)>> = Vec::new();
    for named in &entries {
        let (span, items) = &named.value;
        if items.is_empty() {
            out.push(
                Diagnostic::error(
                    Code::EmptyList,
                    *span,
                    format!("service `{}` holds nothing", named.name.value),
                )
                .help("add a form such as \"tcp/443\", or take the service out"),
            );
        }
        let (mut services, mut targets) = (Vec::new(), Vec::new());
        for item in items {
            match form(*item, &names, out) {
                Some(Form::Service(service)) => services.push(service),
                Some(Form::Named(index)) => targets.push((index, item.span())),
                None => {}
            }
        }
        own.push(services);
        references.push(targets);
    }
    let cycles = names::cycles(&references);
    for cycle in &cycles {
        let name = |index: usize| entries[index].name.value;
        let message = format!("service `{}` contains itself: {}", name(cycle.path[0]), cycle.describe(name));
        out.push(
            Diagnostic::error(Code::ServiceCycle, cycle.closing, message)
                .label("this closes the circle")
                .help("take one of these references out"),
        );
    }
    let resolved = (0..own.len()).map(|index| resolve(index, &own, &references)).collect();
    Services { names, resolved }
}

/// All that a service reaches, each once; circles do no harm.
fn resolve(start: usize, own: &[Vec<Service>], references: &[Vec<(usize, Span)>]) -> Vec<Service> {
    let mut seen = std::collections::BTreeSet::from([start]);
    let mut waiting = vec![start];
    let mut all = Vec::new();
    while let Some(index) = waiting.pop() {
        all.extend(own[index].iter().copied());
        waiting.extend(references[index].iter().map(|(to, _)| *to).filter(|to| seen.insert(*to)));
    }
    once(all)
}

fn once(mut services: Vec<Service>) -> Vec<Service> {
    if services.len() <= 1 {
        return services;
    }
    let mut seen = std::collections::HashSet::new();
    services.retain(|service| seen.insert(*service));
    services
}

impl Services {
    /// Every named service with all that it reaches.
    pub(super) fn by_name(&self) -> BTreeMap<String, Vec<Service>> {
        let resolved = |name: &str| self.names.get(name).map(|index| self.resolved[index].clone());
        self.names.iter().filter_map(|name| Some((name.to_owned(), resolved(name)?))).collect()
    }

    /// The `service` of a rule or a test; all packets where it is left out.
    pub(super) fn of(&self, row: &Row<'_>, out: &mut Vec<Diagnostic>) -> Vec<Service> {
        let Some(value) = row.value("service") else { return vec![Service::ANY] };
        if matches!(&value.data, crate::config::tree::Data::List(list) if list.is_empty()) {
            out.push(
                Diagnostic::error(Code::EmptyList, value.span, "`service` names nothing")
                    .help("write \"any\" for every packet, or leave `service` out"),
            );
        }
        let mut all = Vec::new();
        for item in row.items("service") {
            match form(item, &self.names, out) {
                Some(Form::Service(service)) if all.is_empty() => all = vec![service],
                Some(Form::Service(service)) => all.push(service),
                Some(Form::Named(index)) => all.extend(self.resolved[index].iter().copied()),
                None => {}
            }
        }
        once(all)
    }
}

enum Form {
    Service(Service),
    Named(usize),
}

fn check_name(name: Located<&str>, out: &mut Vec<Diagnostic>) {
    if BUILT_IN.contains(&name.value) || name.value == "proto" {
        out.push(
            Diagnostic::error(
                Code::BadName,
                name.span,
                format!("`{}` is built in and can't be defined", name.value),
            )
            .help("give the service another name"),
        );
    } else {
        scalar::check_name(name, "service", "-.", out);
    }
}

fn form(item: Item<'_>, names: &Names<usize>, out: &mut Vec<Diagnostic>) -> Option<Form> {
    match item {
        Item::Row(row) => table(&row, out).map(Form::Service),
        Item::Text(text) if text.value.contains('/') || BUILT_IN.contains(&text.value) => {
            match inline(text.value) {
                Ok(service) => Some(Form::Service(service)),
                Err(fault) => {
                    out.push(
                        Diagnostic::error(
                            Code::BadService,
                            text.span,
                            format!("`{}` is no service: {}", text.value, fault.message),
                        )
                        .help(fault.help),
                    );
                    None
                }
            }
        }
        Item::Text(text) => {
            let found = names.get(text.value);
            if found.is_none() {
                let help = match near::nearest(text.value, names.iter().chain(BUILT_IN)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!(
                        "define it: [service] {} = [\"tcp/…\"]; no service but a protocol is built in",
                        text.value
                    ),
                };
                out.push(
                    Diagnostic::error(
                        Code::UnknownService,
                        text.span,
                        format!("there is no service `{}`", text.value),
                    )
                    .help(help),
                );
            }
            found.map(Form::Named)
        }
    }
}

/// A text that is no service, and what to write instead.
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) help: String,
}

fn fault(message: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault { message: message.into(), help: help.into() }
}

/// `any`, `tcp[/PORTS]`, `icmp[/TYPE[/CODE]]`, `proto/NUMBER`.
pub(crate) fn inline(text: &str) -> Result<Service, Fault> {
    let (word, rest) = match text.split_once('/') {
        Some((word, rest)) => (word, Some(rest)),
        None => (text, None),
    };
    let with =
        |protocol, destination| Service { protocol: Some(protocol), source: PortRange::ALL, destination };
    match (word, rest) {
        ("any", None) => Ok(Service::ANY),
        ("tcp" | "udp" | "sctp", _) => {
            let range = rest.map_or(Ok(PortRange::ALL), ports)?;
            Ok(with(protocol_of(word), range))
        }
        ("icmp", None) => Ok(with(protocol::ICMP, PortRange::ALL)),
        ("icmpv6", None) => Ok(with(protocol::ICMPV6, PortRange::ALL)),
        ("icmp", Some(rest)) => Ok(with(protocol::ICMP, icmp(rest, &ICMP_TYPES, "icmp")?)),
        ("icmpv6", Some(rest)) => Ok(with(protocol::ICMPV6, icmp(rest, &ICMPV6_TYPES, "icmpv6")?)),
        ("proto", Some(number)) => match decimal::<u8>(number) {
            Some(number) => Ok(with(number, PortRange::ALL)),
            None => Err(fault(
                format!("`{number}` is no protocol number"),
                "write a number from 0 to 255, as in `proto/47` for GRE",
            )),
        },
        (_, _) => {
            let known = ["tcp", "udp", "sctp", "icmp", "icmpv6", "proto"];
            let help = match near::nearest(word, known) {
                Some(near) => format!("did you mean `{near}/{}`?", rest.unwrap_or("")),
                None => {
                    "write tcp/PORT, udp/LOW-HIGH, sctp, icmp/TYPE, icmpv6/TYPE/CODE, proto/NUMBER or any"
                        .to_owned()
                }
            };
            Err(fault(format!("`{word}` is no protocol that takes a `/`"), help))
        }
    }
}

/// How the inline form that means just this packet is written; `destination` is its port, or its ICMP type and code.
#[must_use]
pub fn inline_text(protocol: u8, destination: u16) -> String {
    let icmp = |family: &str, types: &[(&str, u8)]| {
        let [kind, code] = destination.to_be_bytes();
        match types.iter().find(|(_, number)| *number == kind) {
            Some((name, _)) if name.starts_with("echo-") && code == 0 => format!("{family}/{name}"),
            Some((name, _)) => format!("{family}/{name}/{code}"),
            None => format!("{family}/{kind}/{code}"),
        }
    };
    match protocol {
        protocol::TCP => format!("tcp/{destination}"),
        protocol::UDP => format!("udp/{destination}"),
        protocol::SCTP => format!("sctp/{destination}"),
        protocol::ICMP => icmp("icmp", &ICMP_TYPES),
        protocol::ICMPV6 => icmp("icmpv6", &ICMPV6_TYPES),
        number => format!("proto/{number}"),
    }
}

fn protocol_of(word: &str) -> u8 {
    match word {
        "udp" => protocol::UDP,
        "sctp" => protocol::SCTP,
        _ => protocol::TCP,
    }
}

/// `PORT` or `LOW-HIGH`.
fn ports(text: &str) -> Result<PortRange, Fault> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (Some(first), Some(last)) = (decimal::<u16>(low.trim()), decimal::<u16>(high.trim())) else {
        return Err(fault(
            format!("`{text}` is no port and no range of ports"),
            "write a number from 0 to 65535, or two with `-` between them, as in 8080-8090",
        ));
    };
    if first > last {
        return Err(fault(
            "the range ends before it starts",
            format!("write the lower port first: {last}-{first}"),
        ));
    }
    Ok(PortRange { first, last })
}

/// `TYPE` or `TYPE/CODE`.
fn icmp(text: &str, types: &[(&str, u8)], family: &str) -> Result<PortRange, Fault> {
    let (kind, code) = match text.split_once('/') {
        Some((kind, code)) => (kind, Some(code)),
        None => (text, None),
    };
    let by_name = types.iter().find(|(name, _)| *name == kind).map(|(_, number)| *number);
    let Some(number) = by_name.or_else(|| decimal::<u8>(kind)) else {
        let names = || types.iter().map(|(name, _)| *name);
        let help = match near::nearest(kind, names()) {
            Some(near) => format!("did you mean `{family}/{near}`?"),
            None => {
                format!("write a number from 0 to 255, or one of {}", names().collect::<Vec<_>>().join(", "))
            }
        };
        return Err(fault(format!("`{kind}` is no type of {family}"), help));
    };
    match code {
        None => Ok(Service::icmp_range(number, None)),
        Some(code) => match decimal::<u8>(code) {
            Some(code) => Ok(Service::icmp_range(number, Some(code))),
            None => Err(fault(format!("`{code}` is no code"), "write a number from 0 to 255")),
        },
    }
}

/// Digits and nothing else: `parse` alone would take a sign.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `{ proto, sport, dport }`.
fn table(row: &Row<'_>, out: &mut Vec<Diagnostic>) -> Option<Service> {
    let word = row.text("proto")?;
    let mut range = |key| match scalar::ports_text(row, key) {
        None => Some(PortRange::ALL),
        Some((text, span)) => match ports(&text) {
            Ok(range) => Some(range),
            Err(fault) => {
                out.push(Diagnostic::error(Code::BadService, span, fault.message).help(fault.help));
                None
            }
        },
    };
    let (source, destination) = (range("sport"), range("dport"));
    let protocol =
        Some(protocol_of(if row.text("proto").is_some() { row.choice("proto") } else { word.value }));
    Some(Service { protocol, source: source?, destination: destination? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(protocol: u8, first: u16, last: u16) -> Service {
        Service { protocol: Some(protocol), source: PortRange::ALL, destination: PortRange { first, last } }
    }

    #[test]
    fn every_form_is_what_it_says() {
        for (text, meant) in [
            ("any", Service::ANY),
            ("tcp", service(6, 0, 65535)),
            ("tcp/443", service(6, 443, 443)),
            ("udp/8080-8090", service(17, 8080, 8090)),
            ("sctp/36412", service(132, 36412, 36412)),
            ("icmp", service(1, 0, 65535)),
            ("icmp/8", service(1, 0x0800, 0x08ff)),
            ("icmp/echo-request", service(1, 0x0800, 0x08ff)),
            ("icmp/destination-unreachable/4", service(1, 0x0304, 0x0304)),
            ("icmpv6/echo-request", service(58, 0x8000, 0x80ff)),
            ("icmpv6/packet-too-big/0", service(58, 0x0200, 0x0200)),
            ("proto/47", service(47, 0, 65535)),
        ] {
            assert_eq!(inline(text).ok(), Some(meant), "{text}");
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for text in [
            "tcp/",
            "tcp/65536",
            "tcp/+1",
            "tcp/9-8",
            "tcp/1-2-3",
            "tcp/https",
            "icmp/256",
            "icmp/8/256",
            "icmp/8/",
            "icmp/packet-too-big",
            "proto/",
            "proto/256",
            "proto/gre",
            "any/1",
            "gre/1",
            "TCP/80",
            "/80",
        ] {
            assert!(inline(text).is_err(), "{text}");
        }
    }
}
