//! The stable short codes of diagnostics: scripts and editors match on them.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal),+ $(,)?) => {
        /// Which kind of fault a diagnostic is about.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Code {
            $($(#[doc = $doc])* $variant),+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// The stable kebab-case name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Code::$variant => $name),+
                }
            }
        }
    };
}

codes! {
    /// The file is not TOML.
    Syntax = "syntax",
    /// The file is not UTF-8.
    NotUtf8 = "not-utf8",
    /// An included file does not exist, can't be read, or a pattern matches none.
    IncludeMissing = "include-missing",
    /// A file includes itself, directly or by way of others.
    IncludeCycle = "include-cycle",
    /// A file is included twice.
    IncludeTwice = "include-twice",
    /// A key that means nothing there.
    UnknownKey = "unknown-key",
    /// A key that must be there is not.
    MissingKey = "missing-key",
    /// A value of the wrong type.
    WrongType = "wrong-type",
    /// A word that is none of the choices.
    BadChoice = "bad-choice",
    /// A number or a span of time outside its range.
    OutOfRange = "out-of-range",
    /// A list that must not be empty is.
    EmptyList = "empty-list",
    /// A name that can't be one.
    BadName = "bad-name",
    /// A text that is no address, prefix or range.
    BadAddress = "bad-address",
    /// A network with host bits set.
    HostBits = "host-bits",
    /// A text that is no MAC, or a MAC that no station can have.
    BadMac = "bad-mac",
    /// A text that is no span of time.
    BadDuration = "bad-duration",
    /// A date without a time and an offset.
    BadDate = "bad-date",
    /// A text that is no service.
    BadService = "bad-service",
    /// A text that is no member of a segment.
    BadMember = "bad-member",
    /// A `select` that can't be read.
    BadSelect = "bad-select",
    /// A name that Linux does not accept for an interface.
    BadInterface = "bad-interface",
    /// Two things have the same name.
    DuplicateName = "duplicate-name",
    /// A key is given in two files.
    DuplicateKey = "duplicate-key",
    /// The same thing stands twice in a list.
    DuplicateItem = "duplicate-item",
    /// A reference to a port that does not exist.
    UnknownPort = "unknown-port",
    /// A reference to a VLAN that does not exist.
    UnknownVlan = "unknown-vlan",
    /// A reference to a segment that does not exist.
    UnknownSegment = "unknown-segment",
    /// A reference to a service that does not exist.
    UnknownService = "unknown-service",
    /// A reference to a tier that does not exist.
    UnknownTier = "unknown-tier",
    /// A reference to a rule that does not exist.
    UnknownRule = "unknown-rule",
    /// Segments contain each other.
    SegmentCycle = "segment-cycle",
    /// Services contain each other.
    ServiceCycle = "service-cycle",
    /// More ports than a gateway may have.
    TooManyPorts = "too-many-ports",
    /// A VLAN is both routed and stitched, in two stitches, or neither.
    VlanRole = "vlan-role",
    /// A stitch of fewer than two VLANs.
    StitchTooSmall = "stitch-too-small",
    /// The connected networks of two VLANs overlap.
    OverlappingNetworks = "overlapping-networks",
    /// Two VLANs have the same address, or an address is there twice.
    DuplicateAddress = "duplicate-address",
    /// An MTU too small for IPv6.
    MtuTooSmall = "mtu-too-small",
    /// A next hop on no connected network.
    UnreachableNextHop = "unreachable-next-hop",
    /// Two routes to the same network.
    DuplicateRoute = "duplicate-route",
    /// A neighbour on no connected network.
    UnreachableNeighbor = "unreachable-neighbor",
    /// An address that is the gateway's own.
    OwnAddress = "own-address",
    /// A workload without address, MAC and VLAN.
    EmptyWorkload = "empty-workload",
    /// The list of a feed can't be read, is cut off, or has a line that is none.
    BrokenFeed = "broken-feed",
    /// A test's endpoint whose VLAN can't be told.
    EndpointVlan = "endpoint-vlan",
    /// A test between an IPv4 and an IPv6 address.
    MixedFamilies = "mixed-families",
    /// A test failed.
    TestFailed = "test-failed",
    /// The policy as a whole was refused.
    InvalidPolicy = "invalid-policy",
    /// The policy expands to more than the compiler's limits.
    PolicyLimit = "policy-limit",
    /// Nothing is in a segment.
    EmptySegment = "empty-segment",
    /// A label that no workload has.
    UnknownLabel = "unknown-label",
    /// All that no rule decides is let through.
    DefaultAllow = "default-allow",
    /// A rule has expired.
    ExpiredRule = "expired-rule",
    /// A spoof guard that can't do what it says.
    SpoofGuard = "spoof-guard",
    /// A key that has no effect there.
    NoEffect = "no-effect",
    /// No verdict of the policy drops a packet.
    MonitorMode = "monitor-mode",
    /// An invariant is not proved.
    NotProved = "not-proved",
    /// A rule that is looked up apart, since a side of it is wide.
    WideRule = "wide-rule",
    /// A rule that takes a large part of the tables.
    CostlyRule = "costly-rule",
    /// A rule in lists of ports that do not fit a cache line.
    CrowdedPorts = "crowded-ports",
}

impl Code {
    /// Whether the fault is that something is not there. Where a file has a syntax error, the parser may
    /// have lost what was there, so these are not reported.
    #[must_use]
    pub const fn is_about_absence(self) -> bool {
        matches!(
            self,
            Code::MissingKey
                | Code::EmptyList
                | Code::UnknownPort
                | Code::UnknownVlan
                | Code::UnknownSegment
                | Code::UnknownService
                | Code::UnknownTier
                | Code::UnknownRule
                | Code::VlanRole
                | Code::StitchTooSmall
                | Code::UnreachableNextHop
                | Code::UnreachableNeighbor
                | Code::EmptyWorkload
                | Code::EndpointVlan
                | Code::EmptySegment
                | Code::UnknownLabel
                | Code::SpoofGuard
                | Code::InvalidPolicy
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
