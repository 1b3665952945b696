//! The nearest allow in a sentence that one can act on.

use super::answer::{Nearest, place};
use super::question::Question;
use crate::config::{Configuration, service_text};
use classifier::analysis::{Change, NearestAllow, Side};
use classifier::policy::{RuleId, SegmentId, TierId};

/// The change as data and as a sentence.
pub(super) fn describe(
    configuration: &Configuration,
    question: &Question,
    nearest: &NearestAllow,
) -> Nearest {
    let policy = &configuration.policy;
    let id = |rule: RuleId| policy.rule(rule).id.clone();
    let rule_at = |rule: RuleId| format!("rule `{}` ({})", policy.rule(rule).id, place(configuration, rule));
    let packet = question.packet;
    let service = service_text(packet.protocol, packet.destination_port);
    let (from, to) = (question.source, question.destination);
    let by = nearest.by.map(id);
    let then = match &by {
        Some(rule) => format!("; rule `{rule}` then lets the flow in"),
        None => String::new(),
    };
    let blank = Nearest {
        change: "",
        rule: None,
        segment: None,
        end: None,
        service: None,
        tier: None,
        before: None,
        by: by.clone(),
        text: String::new(),
    };
    match nearest.change {
        Change::AddServiceToRule(rule) => Nearest {
            change: "add-service-to-rule",
            rule: Some(id(rule)),
            text: format!("add {service} to `service` of {}, which has both ends already", rule_at(rule)),
            service: Some(service),
            ..blank
        },
        Change::AddToSegment(side, SegmentId(at)) => {
            let (end, address) = end_of(question, side);
            let segment = policy.segments()[at as usize].name.clone();
            Nearest {
                change: "add-to-segment",
                end: Some(end),
                text: format!("add {address} to `members` of segment `{segment}`{then}"),
                segment: Some(segment),
                ..blank
            }
        }
        Change::AddToRule(side, rule) => {
            let (end, address) = end_of(question, side);
            Nearest {
                change: "add-to-rule",
                rule: Some(id(rule)),
                end: Some(end),
                text: format!("add {address} to `{end}` of {}", rule_at(rule)),
                ..blank
            }
        }
        Change::UseService(rule, instead) => {
            let other = service_text(instead.protocol, instead.destination_port);
            let port = if instead.source_port == packet.source_port || instead.protocol != packet.protocol {
                String::new()
            } else {
                format!(" from source port {}", instead.source_port)
            };
            Nearest {
                change: "use-service",
                rule: Some(id(rule)),
                text: format!("use {other}{port} instead, which {} allows", rule_at(rule)),
                service: Some(other),
                ..blank
            }
        }
        Change::MonitorRule(rule) => {
            let after = match &by {
                Some(other) => format!("rule `{other}`"),
                None => "the default".to_owned(),
            };
            Nearest {
                change: "monitor-rule",
                rule: Some(id(rule)),
                text: format!(
                    "set mode = \"monitor\" on {}, so that it only records; {after} then lets the flow in",
                    rule_at(rule)
                ),
                ..blank
            }
        }
        Change::AddRule { tier: TierId(at), before } => {
            let tier = policy.tiers()[usize::from(at)].clone();
            let place = match before {
                Some(rule) => format!("in tier `{tier}` before {}", rule_at(rule)),
                None => format!("at the end of tier `{tier}`"),
            };
            Nearest {
                change: "add-rule",
                text: format!("add a rule {place} that allows {service} from {from} to {to}"),
                service: Some(service),
                tier: Some(tier),
                before: before.map(id),
                ..blank
            }
        }
    }
}

fn end_of(question: &Question, side: Side) -> (&'static str, std::net::IpAddr) {
    match side {
        Side::Source => ("from", question.source),
        Side::Destination => ("to", question.destination),
    }
}
