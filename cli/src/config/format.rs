//! The forms that a text may have: what a schema can say of each. The lowering checks them for real.

/// What a string is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Format {
    /// Anything.
    Free,
    /// A name that the operator gives.
    Name,
    /// The id of a rule.
    RuleId,
    /// The name of a port.
    Port,
    /// The name of a tier.
    Tier,
    /// The name of a segment.
    Segment,
    /// A VLAN: `port.id` or its name.
    Vlan,
    /// A MAC.
    Mac,
    /// An IP address.
    Address,
    /// An address with a prefix length; host bits are meant.
    InterfaceAddress,
    /// A network without host bits.
    Network,
    /// An address, a network, or two addresses with `-` between them.
    Range,
    /// A member of a segment.
    Member,
    /// A member, a segment's name, or `any`.
    Endpoint,
    /// A service.
    Service,
    /// `ADDRESS` or `ADDRESS@VLAN`.
    TestEndpoint,
    /// A `select` expression.
    Select,
    /// A file or a glob.
    Path,
    /// A Linux interface.
    Interface,
}

/// Names: letters, digits, `_`, `-` and `.`, from a letter or digit on, at most 64.
pub(crate) const NAME_LIMIT: usize = 64;

impl Format {
    /// A regular expression (ECMA 262) that every valid text meets, where one is worth having.
    pub(crate) fn pattern(self) -> Option<&'static str> {
        match self {
            Format::Free | Format::Path | Format::Select | Format::Endpoint | Format::Service => None,
            Format::Port | Format::Tier | Format::Segment | Format::Vlan => None,
            Format::RuleId => Some(r"^\S(.*\S)?$"),
            Format::Name => Some(r"^[\p{L}\p{N}_][\p{L}\p{N}_.-]{0,63}$"),
            Format::Mac => Some("^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$"),
            Format::Address => Some("^[0-9A-Fa-f.:]+$"),
            Format::InterfaceAddress => Some("^[0-9A-Fa-f.:]+/[0-9]{1,3}$"),
            Format::Network => Some("^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$"),
            Format::Range => Some("^[0-9A-Fa-f.:]+(/[0-9]{1,3}|-[0-9A-Fa-f.:]+)?$"),
            Format::Member => {
                Some("^(any|(vlan|mac|segment):.+|[0-9A-Fa-f.:]+(/[0-9]{1,3}|-[0-9A-Fa-f.:]+)?)$")
            }
            Format::TestEndpoint => Some("^[0-9A-Fa-f.:]+(@.+)?$"),
            Format::Interface => Some(r"^[^\s/]{1,15}$"),
        }
    }
}
