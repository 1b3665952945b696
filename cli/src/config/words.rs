//! Parts of a configuration as a file would write them.

use super::{Configuration, action_name};
use classifier::policy::{
    EndpointSet, Established, Member, Mode, PortRange, Rule, Selector, Service, Timestamp,
};

/// What the ids of the rules begin with that keep an address in quarantine. No rule of a file has such an id.
pub(crate) const OF_QUARANTINES: [&str; 2] = ["quarantine-from:", "quarantine-to:"];

/// A mode.
#[must_use]
pub(crate) const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Monitor => "monitor",
    }
}

/// A moment as RFC 3339 in UTC.
#[must_use]
pub(crate) fn timestamp_text(at: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(at.0).map_or_else(|_| at.0.to_string(), |at| at.to_string())
}

/// A service. Types of ICMP are written as numbers.
#[must_use]
pub(crate) fn service_range_text(service: &Service) -> String {
    let ports = |range: PortRange| match range {
        PortRange { first, last } if first == last => first.to_string(),
        PortRange { first, last } => format!("{first}-{last}"),
    };
    let (name, is_icmp) = match service.protocol {
        None => return "any".to_owned(),
        Some(1) => ("icmp".to_owned(), true),
        Some(58) => ("icmpv6".to_owned(), true),
        Some(6) => ("tcp".to_owned(), false),
        Some(17) => ("udp".to_owned(), false),
        Some(132) => ("sctp".to_owned(), false),
        Some(number) => return format!("proto/{number}"),
    };
    let destination = match service.destination {
        PortRange::ALL => String::new(),
        range if is_icmp => {
            let ([kind, first], [_, last]) = (range.first.to_be_bytes(), range.last.to_be_bytes());
            if first == last { format!("/{kind}/{first}") } else { format!("/{kind}") }
        }
        range => format!("/{}", ports(range)),
    };
    match service.source {
        PortRange::ALL => format!("{name}{destination}"),
        source => format!("{name}{destination} from {}", ports(source)),
    }
}

impl Configuration {
    /// A member of a segment or of a rule's `from` or `to`.
    #[must_use]
    pub fn member_text(&self, member: &Member) -> String {
        match member {
            Member::Segment(id) => self.policy.segments()[id.0 as usize].name.clone(),
            Member::Selector(selector) => self.selector_text(selector),
        }
    }

    fn selector_text(&self, selector: &Selector) -> String {
        let vlan = selector.vlan.iter().map(|key| format!("vlan:{}", self.topology.vlan_label(*key)));
        let one_of = |words: Vec<String>| match words.len() {
            0 => None,
            1 => words.into_iter().next(),
            _ => Some(format!("({})", words.join(" or "))),
        };
        let macs = one_of(selector.macs.iter().map(|mac| format!("mac:{mac}")).collect());
        let addresses = one_of(selector.addresses.iter().map(ToString::to_string).collect());
        vlan.chain(macs).chain(addresses).collect::<Vec<_>>().join(" and ")
    }

    /// A rule's `from` or `to`.
    #[must_use]
    pub fn endpoints_text(&self, set: &EndpointSet) -> String {
        match set {
            EndpointSet::Any => "any".to_owned(),
            EndpointSet::OneOf(members) => {
                members.iter().map(|member| self.member_text(member)).collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// The keys of a rule and their values, in the order of the documentation; those that are left out are empty.
    #[must_use]
    pub fn rule_fields(&self, rule: &Rule) -> [(&'static str, String); 14] {
        let optional = |text: &Option<String>| text.clone().unwrap_or_default();
        [
            ("tier", self.policy.tiers()[usize::from(rule.tier.0)].clone()),
            ("from", self.endpoints_text(&rule.from)),
            ("to", self.endpoints_text(&rule.to)),
            ("service", rule.services.iter().map(service_range_text).collect::<Vec<_>>().join(", ")),
            ("action", action_name(rule.action).to_owned()),
            ("mode", mode_name(rule.mode).to_owned()),
            ("log", rule.log.to_string()),
            (
                "established",
                match rule.established {
                    Established::Recheck => "recheck",
                    Established::Keep => "keep",
                }
                .to_owned(),
            ),
            ("expires", rule.expires.map(timestamp_text).unwrap_or_default()),
            ("idle_timeout", rule.idle_timeout.map(|t| format!("{}s", t.as_secs())).unwrap_or_default()),
            ("max_flows", rule.max_flows.map(|n| n.to_string()).unwrap_or_default()),
            ("owner", optional(&rule.owner)),
            ("ticket", optional(&rule.ticket)),
            ("description", optional(&rule.description)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_read_as_they_are_written() {
        for text in ["tcp/443", "udp/8080-8090", "tcp", "icmp/8/0", "icmpv6/1", "proto/47", "any", "sctp"] {
            let service = crate::config::inline_service(text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(service_range_text(&service), text);
        }
        let source = PortRange { first: 1024, last: u16::MAX };
        let service = Service { protocol: Some(6), source, destination: PortRange::single(9000) };
        assert_eq!(service_range_text(&service), "tcp/9000 from 1024-65535");
    }
}
