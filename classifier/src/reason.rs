//! Why a frame is dropped: the stable names of every reason, in the order in which they are checked.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal),+ $(,)?) => {
        /// Why a frame was dropped or rejected. A frame counts under exactly one reason: the first that applies.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])* $variant),+
        }

        impl DropReason {
            /// Every reason, in the order of the checks.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant),+];

            /// The stable kebab-case name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(DropReason::$variant => $name),+
                }
            }
        }
    };
}

reasons! {
    /// Shorter than its Ethernet header, its tag, or the fixed header of its ARP, IPv4 or IPv6.
    Runt = "runt",
    /// Longer than the ingress port's MTU and its tags allow.
    Oversize = "oversize",
    /// Bears a VLAN that the port has not, or more than one tag.
    UnknownVlan = "unknown-vlan",
    /// Comes from a multicast, broadcast or all-zero MAC.
    BadSourceMac = "bad-source-mac",
    /// Routed: is unicast to a MAC that is not the gateway's on this VLAN.
    NotForUs = "not-for-us",
    /// Neither IPv4, IPv6 nor ARP.
    UnsupportedEthertype = "unsupported-ethertype",
    /// ARP that does not bear out (RFC 826, and what hostile hosts do with it).
    ArpInvalid = "arp-invalid",
    /// Neighbor discovery that does not bear out (RFC 4861 §7.1, RFC 6105, RFC 6980).
    NdInvalid = "nd-invalid",
    /// Bad version, header length, total length, header checksum, reserved flag, or protocol 0 or 255.
    MalformedIp = "malformed-ip",
    /// IPv4 options or an IPv6 routing header.
    IpOptions = "ip-options",
    /// An extension header chain that is not to be had.
    Ipv6Extension = "ipv6-extension",
    /// A source that no host can have.
    Martian = "martian",
    /// A source address that the VLAN's spoof guard does not allow there.
    Spoofed = "spoofed",
    /// A destination that no packet can be forwarded to.
    BadDestination = "bad-destination",
    /// For one of the gateway's own addresses, and not what it answers there.
    LocalDeny = "local-deny",
    /// Routed: a TTL or hop limit of 0 or 1.
    TtlExpired = "ttl-expired",
    /// A fragment that cannot be a part of an honest datagram.
    FragmentInvalid = "fragment-invalid",
    /// A later fragment whose first never came.
    FragmentOrphan = "fragment-orphan",
    /// A TCP, UDP, ICMP or SCTP header that is cut off or inconsistent, port 0, or a bad checksum.
    MalformedL4 = "malformed-l4",
    /// A combination of TCP flags that no real stack sends.
    TcpFlags = "tcp-flags",
    /// Routed: no route to the destination.
    NoRoute = "no-route",
    /// Would leave on the VLAN that it came in on.
    SameVlan = "same-vlan",
    /// Contradicts the state of its flow, or needs one and has none.
    CtInvalid = "ct-invalid",
    /// A deny rule decided.
    PolicyDeny = "policy-deny",
    /// A reject rule decided.
    PolicyReject = "policy-reject",
    /// No rule decided, and the default is deny.
    DefaultDeny = "default-deny",
    /// No rule decided, and the default is reject.
    DefaultReject = "default-reject",
    /// Belongs to a flow that a newer policy no longer allows.
    PolicyChanged = "policy-changed",
    /// The rule has as many flows as its `max_flows` allows.
    RuleLimit = "rule-limit",
    /// The segment has as many flows as its limit allows.
    SegmentLimit = "segment-limit",
    /// The flow table is full, and nothing in it may be evicted.
    FlowTableFull = "flow-table-full",
    /// Over the egress MTU.
    TooBig = "too-big",
    /// The next hop's MAC could not be resolved.
    NeighborFailed = "neighbor-failed",
    /// The egress ring or the frame pool had no room.
    TxFull = "tx-full",
}

impl DropReason {
    /// How many reasons there are: the length of an array of counters.
    pub const COUNT: usize = Self::ALL.len();

    /// The reason's index in [`DropReason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether the policy's default refused it.
    #[must_use]
    pub const fn is_of_default(self) -> bool {
        matches!(self, DropReason::DefaultDeny | DropReason::DefaultReject)
    }

    /// Whether a rule of the policy refused it, by what it says or by its limit.
    #[must_use]
    pub const fn is_of_rule(self) -> bool {
        matches!(self, DropReason::PolicyDeny | DropReason::PolicyReject | DropReason::RuleLimit)
    }

    /// Whether the frame was refused before the policy was asked (the table of POLICY.md §6).
    #[must_use]
    pub const fn is_before_policy(self) -> bool {
        self.index() <= DropReason::CtInvalid.index()
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
