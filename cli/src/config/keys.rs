//! Every table and key of the gateway file, once: the check of keys and types, the "did you mean", and the
//! JSON Schema are all made from this table.

use super::format::Format;

/// What a key may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A string, of a form that the lowering checks.
    Text(Format),
    /// An integer in a range, both ends included.
    Integer(i64, i64),
    /// True or false.
    Boolean,
    /// A date with time and offset.
    Moment,
    /// Whole seconds, or a text such as "1h30m".
    Duration,
    /// A port or a range of ports, as an integer or a text.
    Ports,
    /// One of these words; the first is the default.
    Choice(&'static [&'static str]),
    /// A list, or one item without the brackets.
    List(&'static Kind),
    /// A text or a table.
    Either(Format, &'static TableSpec),
    /// `[name]`, or an inline table.
    Table(&'static TableSpec),
    /// `[[name]]`.
    Tables(&'static TableSpec),
    /// A table whose keys are names that the operator chooses.
    Named(&'static Kind),
}

/// A key of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeySpec {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) is_required: bool,
    pub(crate) doc: &'static str,
}

/// A table.
#[derive(Debug)]
pub(crate) struct TableSpec {
    /// How messages call it.
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) keys: &'static [KeySpec],
}

impl TableSpec {
    pub(crate) fn key(&self, name: &str) -> Option<&'static KeySpec> {
        self.keys.iter().find(|key| key.name == name)
    }
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> KeySpec {
    KeySpec { name, kind, is_required: false, doc }
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> KeySpec {
    KeySpec { name, kind, is_required: true, doc }
}

const fn text(format: Format) -> Kind {
    Kind::Text(format)
}

const NAME: Kind = text(Format::Name);
const FREE: Kind = text(Format::Free);
const MAC: Kind = text(Format::Mac);
const ADDRESS: Kind = text(Format::Address);
const VLAN: Kind = text(Format::Vlan);
const MODE: Kind = Kind::Choice(&["enforce", "monitor"]);
const EXPECT: Kind = Kind::Choice(&["allow", "deny", "reject"]);
const ENDPOINTS: Kind = Kind::List(&Kind::Either(Format::Endpoint, &MEMBER));
const MEMBERS: Kind = Kind::List(&Kind::Either(Format::Member, &MEMBER));
const SERVICES: Kind = Kind::List(&Kind::Either(Format::Service, &SERVICE));

/// The memory for all flows is taken at the start, some hundred bytes for each: a table above this is a slip of the
/// pen, and would end in the allocator instead of a diagnostic.
const FLOWS_LIMIT: i64 = 100_000_000;

/// The gateway file.
pub(crate) static ROOT: TableSpec = TableSpec {
    name: "the top level",
    doc: "A bulkhead gateway file, or a file that one includes.",
    keys: &[
        key(
            "include",
            Kind::List(&text(Format::Path)),
            "Files to read behind this one, relative to it; * and ? are globs.",
        ),
        key("gateway", Kind::Table(&GATEWAY), "The box."),
        key("policy", Kind::Table(&POLICY), "What holds for the policy as a whole."),
        key("workers", Kind::Table(&WORKERS), "The threads that move packets."),
        key("port", Kind::Tables(&PORT), "A physical port."),
        key("vlan", Kind::Tables(&VLAN_TABLE), "A VLAN on a port."),
        key("stitch", Kind::Tables(&STITCH), "VLANs that are one layer-2 domain, policed where they meet."),
        key("route", Kind::Tables(&ROUTE), "A static route."),
        key("neighbor", Kind::Tables(&NEIGHBOR), "A static neighbour."),
        key("binding", Kind::Tables(&BINDING), "An address and a MAC that belong together on a VLAN."),
        key("conntrack", Kind::Table(&CONNTRACK), "How flows are tracked."),
        key("sanity", Kind::Table(&SANITY), "What headers are let through."),
        key("workload", Kind::Tables(&WORKLOAD), "An inventory record, with labels."),
        key("segment", Kind::Named(&Kind::Table(&SEGMENT)), "Named sets of endpoints."),
        key("feed", Kind::Tables(&FEED), "Members of a segment in a list of their own, which is watched."),
        key("service", Kind::Named(&SERVICES), "Named sets of protocols and ports."),
        key("rule", Kind::Tables(&RULE), "A rule of the policy."),
        key("test", Kind::Tables(&TEST), "A flow, and what the policy must say of it."),
        key("invariant", Kind::Tables(&INVARIANT), "What must hold for all packets."),
    ],
};

static GATEWAY: TableSpec = TableSpec {
    name: "[gateway]",
    doc: "The box.",
    keys: &[key("name", FREE, "What logs and metrics call this gateway; left out: \"gateway\".")],
};

static POLICY: TableSpec = TableSpec {
    name: "[policy]",
    doc: "What holds for the policy as a whole.",
    keys: &[
        key("default", Kind::Choice(&["deny", "reject", "allow"]), "The verdict where no rule decides."),
        key("mode", MODE, "monitor: verdicts are recorded, and none drops a packet."),
        key("tiers", Kind::List(&NAME), "The tiers in the order of evaluation; left out: [\"default\"]."),
    ],
};

static WORKERS: TableSpec = TableSpec {
    name: "[workers]",
    doc: "The threads that move packets.",
    keys: &[
        key(
            "cores",
            Kind::List(&Kind::Integer(0, 1023)),
            "One worker is pinned to each; left out: one worker, not pinned.",
        ),
        key(
            "idle",
            Kind::Choice(&["adaptive", "poll"]),
            "adaptive: sleep when there is no traffic; poll: spin for ever.",
        ),
    ],
};

static PORT: TableSpec = TableSpec {
    name: "[[port]]",
    doc: "A physical port.",
    keys: &[
        required("name", NAME, "Unique; without dots."),
        key("interface", text(Format::Interface), "The Linux interface; left out: the port's name."),
        key("queues", Kind::Integer(1, 256), "How many queues are served; left out: 1."),
        key("xdp", Kind::Choice(&["auto", "zero-copy", "copy", "skb"]), "How the port is attached."),
        key("mac", MAC, "Left out: the interface's own."),
        key(
            "mtu",
            Kind::Integer(68, 65_535),
            "In bytes of IP; left out: the interface's own, 1500 in replay.",
        ),
    ],
};

static VLAN_TABLE: TableSpec = TableSpec {
    name: "[[vlan]]",
    doc: "A VLAN on a port.",
    keys: &[
        required("id", Kind::Integer(0, 4094), "The VID, or 0 for the untagged frames of the port."),
        required("port", text(Format::Port), "The name of a [[port]]."),
        key("name", NAME, "Unique."),
        key(
            "address",
            Kind::List(&text(Format::InterfaceAddress)),
            "The gateway's own addresses: this VLAN is routed.",
        ),
        key("mac", MAC, "The gateway's MAC on this VLAN; left out: the port's."),
        key(
            "spoof_guard",
            Kind::Choice(&["subnet", "bindings", "off"]),
            "Which source addresses are let through.",
        ),
        key("hairpin", Kind::Boolean, "Whether packets may leave on the VLAN that they came in on."),
        key("prefix", Kind::List(&text(Format::Network)), "The networks that live on a stitched VLAN."),
    ],
};

static STITCH: TableSpec = TableSpec {
    name: "[[stitch]]",
    doc: "VLANs that are one layer-2 domain, policed where they meet.",
    keys: &[
        required("name", NAME, "Unique."),
        required("vlans", Kind::List(&VLAN), "At least two."),
        key("other", Kind::Choice(&["drop", "pass"]), "Frames that are neither IP nor ARP."),
    ],
};

static ROUTE: TableSpec = TableSpec {
    name: "[[route]]",
    doc: "A static route.",
    keys: &[
        required("to", text(Format::Network), "The destination network."),
        required("via", ADDRESS, "The next hop, on a connected network."),
    ],
};

static NEIGHBOR: TableSpec = TableSpec {
    name: "[[neighbor]]",
    doc: "A static neighbour.",
    keys: &[required("address", ADDRESS, "On a connected network."), required("mac", MAC, "Its MAC.")],
};

static BINDING: TableSpec = TableSpec {
    name: "[[binding]]",
    doc: "An address and a MAC that belong together on a VLAN.",
    keys: &[
        required("vlan", VLAN, "Where."),
        required("address", ADDRESS, "The address."),
        required("mac", MAC, "Its MAC."),
    ],
};

static CONNTRACK: TableSpec = TableSpec {
    name: "[conntrack]",
    doc: "How flows are tracked.",
    keys: &[
        key("max_flows", Kind::Integer(1, FLOWS_LIMIT), "Over all workers; left out: 1000000."),
        key(
            "pickup",
            Kind::Choice(&["strict", "grace", "always"]),
            "Whether TCP flows in mid-stream are taken up.",
        ),
        key(
            "grace_seconds",
            Kind::Integer(0, 86_400),
            "How long after a start pickup = \"grace\" holds; left out: 30.",
        ),
        key(
            "simultaneous_open",
            Kind::Boolean,
            "Whether both ends may open a TCP connection at once; left out: false.",
        ),
        key("timeouts", Kind::Table(&TIMEOUTS), "Idle timeouts by state."),
    ],
};

static TIMEOUTS: TableSpec = TableSpec {
    name: "timeouts",
    doc: "Idle timeouts by state.",
    keys: &[
        key("tcp_syn_sent", Kind::Duration, "TCP: SYN seen; 20 s."),
        key("tcp_syn_recv", Kind::Duration, "TCP: SYN-ACK seen; 30 s."),
        key("tcp_established", Kind::Duration, "TCP: established; 2h4m."),
        key("tcp_unacknowledged", Kind::Duration, "TCP: data that stays unacknowledged; 5m."),
        key("tcp_fin_wait", Kind::Duration, "TCP: one FIN seen; 2m."),
        key("tcp_close_wait", Kind::Duration, "TCP: the FIN is acknowledged; 1m."),
        key("tcp_last_ack", Kind::Duration, "TCP: both FINs seen; 30 s."),
        key("tcp_time_wait", Kind::Duration, "TCP: both FINs acknowledged; 2m."),
        key("tcp_close", Kind::Duration, "TCP: reset; 10 s."),
        key("udp", Kind::Duration, "UDP: one direction seen; 30 s."),
        key("udp_stream", Kind::Duration, "UDP: both directions seen; 3m."),
        key("icmp", Kind::Duration, "ICMP and ICMPv6 queries; 30 s."),
        key("sctp_setup", Kind::Duration, "SCTP: being set up or shut down; 30 s."),
        key("sctp_established", Kind::Duration, "SCTP: established; 2h4m."),
        key("sctp_close", Kind::Duration, "SCTP: aborted or shut down; 10 s."),
        key("gre", Kind::Duration, "GRE; 3m."),
        key("esp", Kind::Duration, "ESP; 3m."),
        key("other", Kind::Duration, "Any other protocol; 2m."),
        key("fragment", Kind::Duration, "An incomplete datagram in fragments; 5 s."),
    ],
};

static SANITY: TableSpec = TableSpec {
    name: "[sanity]",
    doc: "What headers are let through.",
    keys: &[key("ip_options", Kind::Choice(&["drop", "pass"]), "IPv4 options and IPv6 routing headers.")],
};

static WORKLOAD: TableSpec = TableSpec {
    name: "[[workload]]",
    doc: "An inventory record, with labels.",
    keys: &[
        required("name", FREE, "Unique."),
        key("address", Kind::List(&text(Format::Range)), "Its addresses."),
        key("mac", Kind::List(&MAC), "Its MACs."),
        key("vlan", VLAN, "Its VLAN."),
        key("labels", Kind::Named(&FREE), "Free key = value strings."),
    ],
};

static SEGMENT: TableSpec = TableSpec {
    name: "[segment.NAME]",
    doc: "A named set of endpoints.",
    keys: &[
        key("members", MEMBERS, "Ways in."),
        key("select", text(Format::Select), "Workloads by label."),
        key("except", MEMBERS, "Ways out, stronger than the ways in."),
        key("mode", MODE, "monitor: the default verdict towards this segment is recorded, not enforced."),
        key("description", FREE, "Free text."),
    ],
};

static FEED: TableSpec = TableSpec {
    name: "[[feed]]",
    doc: "Members of a segment in a list of their own, which is watched.",
    keys: &[
        required("segment", text(Format::Segment), "The segment."),
        required("file", text(Format::Path), "The list, relative to the folder of the gateway file."),
    ],
};

/// `{ vlan, cidr, mac }`.
static MEMBER: TableSpec = TableSpec {
    name: "a member",
    doc: "All that are given at once.",
    keys: &[
        key("vlan", VLAN, "On this VLAN."),
        key("cidr", text(Format::Range), "With an address of this network."),
        key("mac", MAC, "With this MAC."),
    ],
};

/// `{ proto, sport, dport }`.
static SERVICE: TableSpec = TableSpec {
    name: "a service",
    doc: "A protocol with ports.",
    keys: &[
        required("proto", Kind::Choice(&["tcp", "udp", "sctp"]), "The protocol."),
        key("sport", Kind::Ports, "Source ports; left out: all."),
        key("dport", Kind::Ports, "Destination ports; left out: all."),
    ],
};

static RULE: TableSpec = TableSpec {
    name: "[[rule]]",
    doc: "A rule of the policy.",
    keys: &[
        required("id", text(Format::RuleId), "Unique and stable: logs, counters and the audit name it."),
        key("tier", text(Format::Tier), "Left out: the last of the tiers."),
        required("from", ENDPOINTS, "Sources."),
        required("to", ENDPOINTS, "Destinations."),
        key("service", SERVICES, "Left out: any."),
        key("action", Kind::Choice(&["allow", "deny", "reject", "pass"]), "What it says."),
        key("mode", MODE, "monitor: recorded as would-ACTION, and evaluation goes on."),
        key("log", Kind::Boolean, "Whether its verdicts are logged; left out: false."),
        key("established", Kind::Choice(&["recheck", "keep"]), "What a change of policy does to its flows."),
        key("expires", Kind::Moment, "From then on the rule is as if it were not there."),
        key("idle_timeout", Kind::Duration, "Of the flows that it lets in."),
        key("max_flows", Kind::Integer(1, u32::MAX as i64), "How many flows it may have at once."),
        key("owner", FREE, "Free text."),
        key("ticket", FREE, "Free text."),
        key("description", FREE, "Free text."),
    ],
};

static TEST: TableSpec = TableSpec {
    name: "[[test]]",
    doc: "A flow, and what the policy must say of it.",
    keys: &[
        required("name", FREE, "Unique."),
        required("from", text(Format::TestEndpoint), "ADDRESS or ADDRESS@VLAN."),
        required("to", text(Format::TestEndpoint), "ADDRESS or ADDRESS@VLAN."),
        key("service", SERVICES, "All of them for allow, none of them for deny; left out: any."),
        key("expect", EXPECT, "The verdict."),
        key("rule", text(Format::RuleId), "The rule that must decide."),
    ],
};

static INVARIANT: TableSpec = TableSpec {
    name: "[[invariant]]",
    doc: "What must hold for all packets.",
    keys: &[
        required("name", FREE, "Unique."),
        required("from", ENDPOINTS, "Sources."),
        key("except_from", ENDPOINTS, "But not these."),
        required("to", ENDPOINTS, "Destinations."),
        key("except_to", ENDPOINTS, "But not these."),
        key("service", SERVICES, "Left out: any."),
        required("expect", EXPECT, "The verdict."),
    ],
};
