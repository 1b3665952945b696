//! What a record tells: of a flow, of a packet that was dropped, or of the export itself.

use classifier::reason::DropReason;
use conntrack::time::Tick;
use conntrack::{FlowReport, Passed};
use dataplane::worker::Clock;
use std::net::IpAddr;

/// "Forwarded, unknown" and "dropped, unknown" (RFC 7270 §4.12).
const FORWARDED: u8 = 64;
const DROPPED: u8 = 128;
/// "Active timeout" (IANA, flowEndReason): the flow lives on.
const ACTIVE: u8 = 2;

/// A flow, or a packet that was dropped.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Record {
    pub(super) is_denied: bool,
    /// Milliseconds since 1970 of the first packet, and of the last.
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) source_port: u16,
    /// Of ICMP: type * 256 + code.
    pub(super) destination_port: u16,
    pub(super) protocol: u8,
    pub(super) forth: Passed,
    pub(super) back: Passed,
    pub(super) vlan: u16,
    /// 0 where it is not known, or untagged.
    pub(super) post_vlan: u16,
    /// Numbers of the system's interfaces; 0: not known.
    pub(super) ingress: u32,
    pub(super) egress: u32,
    pub(super) end_reason: u8,
    pub(super) forwarding: u8,
    pub(super) rule: Option<String>,
}

/// What ticks were on the clock of the wall.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wall {
    tick: Tick,
    millis: u64,
}

impl Wall {
    pub(super) fn now(clock: Clock) -> Wall {
        let millis = jiff::Timestamp::now().as_millisecond();
        Wall { tick: clock.now(), millis: u64::try_from(millis).unwrap_or(0) }
    }

    fn millis(self, tick: Tick) -> u64 {
        let age = self.tick.since(tick).as_millis();
        self.millis.saturating_sub(u64::try_from(age).unwrap_or(u64::MAX))
    }
}

impl Record {
    /// What has passed by a flow; `interfaces` has the numbers of the ports' interfaces.
    pub(super) fn of_flow(report: &FlowReport, rule: Option<&str>, wall: Wall, interfaces: &[u32]) -> Record {
        let view = &report.view;
        let (source_port, destination_port) = view.key.policy_ports(view.opener);
        let number = |port: classifier::addr::PortId| interfaces.get(port.index()).copied().unwrap_or(0);
        let far = view.responder_vlan;
        Record {
            is_denied: false,
            start: wall.millis(report.first),
            end: wall.millis(report.last),
            source: view.key.address(view.opener),
            destination: view.key.address(view.opener.other()),
            source_port,
            destination_port,
            protocol: view.key.protocol(),
            forth: report.forth,
            back: report.back,
            vlan: view.opener_vlan.vid(),
            post_vlan: far.map_or(0, |vlan| vlan.vid()),
            ingress: number(view.opener_vlan.port()),
            egress: far.map_or(0, |vlan| number(vlan.port())),
            end_reason: report.end.map_or(ACTIVE, |end| end as u8),
            forwarding: FORWARDED,
            rule: rule.map(str::to_owned),
        }
    }

    /// A drop; `None` where the frame was not of IP.
    pub(super) fn of_drop(
        record: &crate::run::hub::Record,
        wall: Wall,
        interfaces: &[u32],
    ) -> Option<Record> {
        let event = &record.event;
        let reason = event.outcome.reason?;
        let (source, destination) = event.addresses?;
        let at = wall.millis(event.at);
        Some(Record {
            is_denied: true,
            start: at,
            end: at,
            source,
            destination,
            source_port: event.source_port,
            destination_port: event.destination_port,
            protocol: event.protocol,
            forth: Passed { packets: 1, octets: u64::from(event.octets) },
            back: Passed::default(),
            vlan: event.vid,
            post_vlan: 0,
            ingress: interfaces.get(event.port.index()).copied().unwrap_or(0),
            egress: 0,
            end_reason: 0,
            forwarding: status(reason),
            rule: record.line.rule.clone(),
        })
    }
}

/// The forwarding status that comes nearest to a reason (RFC 7270 §4.12).
fn status(reason: DropReason) -> u8 {
    match reason {
        DropReason::PolicyDeny
        | DropReason::PolicyReject
        | DropReason::DefaultDeny
        | DropReason::DefaultReject
        | DropReason::PolicyChanged => 129,
        DropReason::NoRoute => 131,
        DropReason::NeighborFailed => 132,
        DropReason::TooBig => 133,
        DropReason::TtlExpired => 137,
        DropReason::RuleLimit | DropReason::SegmentLimit => 138,
        DropReason::Spoofed => 140,
        DropReason::LocalDeny => 141,
        DropReason::Runt
        | DropReason::Oversize
        | DropReason::UnknownVlan
        | DropReason::BadSourceMac
        | DropReason::NotForUs
        | DropReason::UnsupportedEthertype
        | DropReason::ArpInvalid
        | DropReason::NdInvalid
        | DropReason::MalformedIp
        | DropReason::IpOptions
        | DropReason::Ipv6Extension
        | DropReason::Martian
        | DropReason::BadDestination
        | DropReason::FragmentInvalid
        | DropReason::FragmentOrphan
        | DropReason::MalformedL4
        | DropReason::TcpFlags
        | DropReason::SameVlan
        | DropReason::CtInvalid
        | DropReason::FlowTableFull
        | DropReason::TxFull => DROPPED,
    }
}

/// What the export says of itself: what was sent, and what was not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Totals {
    /// Messages.
    pub(super) messages: u64,
    /// Records of flows and drops.
    pub(super) records: u64,
    /// Bytes of messages.
    pub(super) octets: u64,
    /// Drops that were not told of one by one, for there were too many of their reason.
    pub(super) ignored: u64,
    /// Records that found no room on their way, or could not be sent.
    pub(super) lost: u64,
}

/// The one observation domain.
pub(super) const DOMAIN: u32 = 1;

impl Totals {
    /// Numbers and lengths of its elements (RFC 7011 §4.1 to §4.3); the first is the scope.
    pub(super) const ELEMENTS: [(u16, u16); 6] = [
        (149, 4), // observationDomainId
        (41, 8),  // exportedMessageTotalCount
        (42, 8),  // exportedFlowRecordTotalCount
        (40, 8),  // exportedOctetTotalCount
        (164, 8), // ignoredPacketTotalCount
        (166, 8), // notSentFlowTotalCount
    ];

    /// Writes its values.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        into.extend(DOMAIN.to_be_bytes());
        for count in [self.messages, self.records, self.octets, self.ignored, self.lost] {
            into.extend(count.to_be_bytes());
        }
    }
}
