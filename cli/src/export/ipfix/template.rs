//! What stands in a record: information elements (IANA, "IPFIX Information Elements") in their order, as templates tell
//! it and as records are written. One list serves both, so that they can't differ.
//!
//! ```text
//!   256 + 4 * what + 2 * IPv6 + ICMP      what: 0 a flow, 1 a packet that was dropped
//!   264                                   what was sent and lost (an options template)
//! ```

use super::record::{Record, Totals};
use std::net::IpAddr;

/// The first identifier that a template may have (RFC 7011 §3.4.1).
const FIRST: u16 = 256;
/// The options template.
pub(super) const TOTALS: u16 = FIRST + 8;
/// Sets of templates and of options templates (RFC 7011 §3.3.2).
const TEMPLATE_SET: u16 = 2;
const OPTIONS_SET: u16 = 3;
/// The enterprise of elements for the other direction (RFC 5103 §6.1).
const REVERSE: u32 = 29305;
/// A length that stands with each value (RFC 7011 §7).
const VARIABLE: u16 = u16::MAX;
/// The longest value whose length takes one byte.
const SHORT: usize = 254;
/// The element of the operator's enterprise that has the rule's name.
const RULE: u16 = 1;

/// An information element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Element {
    Start,
    End,
    Source4,
    Destination4,
    Source6,
    Destination6,
    SourcePort,
    DestinationPort,
    Icmp4,
    Icmp6,
    Protocol,
    Octets,
    Packets,
    ReverseOctets,
    ReversePackets,
    Vlan,
    PostVlan,
    Ingress,
    Egress,
    EndReason,
    Direction,
    Forwarding,
    Event,
    Rule,
}

use Element::{
    Destination4, Destination6, DestinationPort, Direction, Egress, End, EndReason, Event, Forwarding, Icmp4,
    Icmp6, Ingress, Octets, Packets, PostVlan, Protocol, ReverseOctets, ReversePackets, Rule, Source4,
    Source6, SourcePort, Start, Vlan,
};

impl Element {
    /// Number, length, and whether it is of the reverse direction.
    fn definition(self) -> (u16, u16, bool) {
        match self {
            Start => (152, 8, false),          // flowStartMilliseconds
            End => (153, 8, false),            // flowEndMilliseconds
            Source4 => (8, 4, false),          // sourceIPv4Address
            Destination4 => (12, 4, false),    // destinationIPv4Address
            Source6 => (27, 16, false),        // sourceIPv6Address
            Destination6 => (28, 16, false),   // destinationIPv6Address
            SourcePort => (7, 2, false),       // sourceTransportPort
            DestinationPort => (11, 2, false), // destinationTransportPort
            Icmp4 => (32, 2, false),           // icmpTypeCodeIPv4
            Icmp6 => (139, 2, false),          // icmpTypeCodeIPv6
            Protocol => (4, 1, false),         // protocolIdentifier
            Octets => (1, 8, false),           // octetDeltaCount
            Packets => (2, 8, false),          // packetDeltaCount
            ReverseOctets => (1, 8, true),
            ReversePackets => (2, 8, true),
            Vlan => (58, 2, false),       // vlanId
            PostVlan => (59, 2, false),   // postVlanId
            Ingress => (10, 4, false),    // ingressInterface
            Egress => (14, 4, false),     // egressInterface
            EndReason => (136, 1, false), // flowEndReason
            Direction => (239, 1, false), // biflowDirection
            Forwarding => (89, 1, false), // forwardingStatus (RFC 7270 §4.12)
            Event => (233, 1, false),     // firewallEvent
            Rule => (RULE, VARIABLE, false),
        }
    }

    fn write(self, record: &Record, into: &mut Vec<u8>) {
        match self {
            Start => into.extend(record.start.to_be_bytes()),
            End => into.extend(record.end.to_be_bytes()),
            Source4 | Source6 => address(record.source, into),
            Destination4 | Destination6 => address(record.destination, into),
            SourcePort => into.extend(record.source_port.to_be_bytes()),
            DestinationPort | Icmp4 | Icmp6 => into.extend(record.destination_port.to_be_bytes()),
            Protocol => into.push(record.protocol),
            Octets => into.extend(record.forth.octets.to_be_bytes()),
            Packets => into.extend(record.forth.packets.to_be_bytes()),
            ReverseOctets => into.extend(record.back.octets.to_be_bytes()),
            ReversePackets => into.extend(record.back.packets.to_be_bytes()),
            Vlan => into.extend(record.vlan.to_be_bytes()),
            PostVlan => into.extend(record.post_vlan.to_be_bytes()),
            Ingress => into.extend(record.ingress.to_be_bytes()),
            Egress => into.extend(record.egress.to_be_bytes()),
            EndReason => into.push(record.end_reason),
            // The source is who opened the flow (RFC 5103 §6.3).
            Direction => into.push(1),
            Forwarding => into.push(record.forwarding),
            Event => into.push(DENIED),
            Rule => text(record.rule.as_deref().unwrap_or_default(), into),
        }
    }
}

/// "Flow Denied" (IANA, firewallEvent).
const DENIED: u8 = 3;

fn address(address: IpAddr, into: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => into.extend(address.octets()),
        IpAddr::V6(address) => into.extend(address.octets()),
    }
}

/// A text of variable length (RFC 7011 §7), cut at a letter where it is too long for one byte of length.
fn text(text: &str, into: &mut Vec<u8>) {
    let text = &text[..text.floor_char_boundary(SHORT)];
    into.push(text.len() as u8);
    into.extend(text.as_bytes());
}

/// The template of a record.
pub(super) fn of(record: &Record) -> u16 {
    let is_v6 = record.source.is_ipv6();
    let is_icmp = matches!((record.protocol, is_v6), (1, false) | (58, true));
    FIRST + 4 * u16::from(record.is_denied) + 2 * u16::from(is_v6) + u16::from(is_icmp)
}

fn elements(template: u16, has_rule: bool) -> Vec<Element> {
    let number = template - FIRST;
    let (is_denied, is_v6, is_icmp) = (number & 4 != 0, number & 2 != 0, number & 1 != 0);
    let mut all = vec![Start, End];
    all.extend(if is_v6 { [Source6, Destination6] } else { [Source4, Destination4] });
    match (is_icmp, is_v6) {
        (true, false) => all.push(Icmp4),
        (true, true) => all.push(Icmp6),
        (false, _) => all.extend([SourcePort, DestinationPort]),
    }
    all.extend([Protocol, Octets, Packets, Vlan, Ingress, Forwarding]);
    if is_denied {
        all.push(Event);
    } else {
        all.extend([ReverseOctets, ReversePackets, PostVlan, Egress, EndReason, Direction]);
    }
    all.extend(has_rule.then_some(Rule));
    all
}

/// The templates, and what follows from them.
pub(super) struct Templates {
    elements: Vec<Vec<Element>>,
    enterprise: Option<u32>,
}

impl Templates {
    /// With the names of rules as an element of an enterprise, or without.
    pub(super) fn new(enterprise: Option<u32>) -> Templates {
        Templates {
            elements: (FIRST..TOTALS).map(|id| elements(id, enterprise.is_some())).collect(),
            enterprise,
        }
    }

    /// Writes the values of a record.
    pub(super) fn write(&self, record: &Record, into: &mut Vec<u8>) {
        let elements = &self.elements[usize::from(of(record) - FIRST)];
        elements.iter().for_each(|element| element.write(record, into));
    }

    /// The sets that tell of the templates (RFC 7011 §3.4).
    pub(super) fn sets(&self) -> Vec<u8> {
        let mut templates = Vec::new();
        for (id, elements) in (FIRST..).zip(&self.elements) {
            words(&mut templates, &[id, elements.len() as u16]);
            for element in elements {
                let (number, length, is_reverse) = element.definition();
                let enterprise = match element {
                    Rule => self.enterprise,
                    _ => is_reverse.then_some(REVERSE),
                };
                match enterprise {
                    None => words(&mut templates, &[number, length]),
                    Some(enterprise) => {
                        words(&mut templates, &[number | 1 << 15, length]);
                        templates.extend(enterprise.to_be_bytes());
                    }
                }
            }
        }
        let mut options = Vec::new();
        // One field is the scope, the first.
        words(&mut options, &[TOTALS, Totals::ELEMENTS.len() as u16, 1]);
        Totals::ELEMENTS.iter().for_each(|(number, length)| words(&mut options, &[*number, *length]));
        [set(TEMPLATE_SET, &templates), set(OPTIONS_SET, &options)].concat()
    }
}

fn words(into: &mut Vec<u8>, words: &[u16]) {
    words.iter().for_each(|word| into.extend(word.to_be_bytes()));
}

/// A set with its header (RFC 7011 §3.3.2).
fn set(id: u16, contents: &[u8]) -> Vec<u8> {
    let mut set = Vec::new();
    words(&mut set, &[id, contents.len() as u16 + 4]);
    set.extend(contents);
    set
}
