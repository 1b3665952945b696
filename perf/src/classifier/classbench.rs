//! Reads ClassBench filter sets: IPv4 rules of CIDRs, port ranges and a protocol, the first that matches wins.
//!
//! ```text
//! @176.19.181.33/32  90.145.23.162/32  0 : 65535  1550 : 1550  0x06/0xFF  0x0000/0x0200
//!  source            destination       ports      ports        protocol   TCP flags (ignored)
//! ```
//!
//! The rules become a policy of one tier in the order of the file, with default deny. The sets have no actions:
//! the rules allow and deny in turn, so that order shows. TCP flags are no part of a policy here.
//!
//! Nothing but the `classifier` crate is used, so that its tests can take this file in as well; for the same reason
//! the tests of the reader are elsewhere, in `tests/reader.rs`.

use classifier::addr::{IpRange, Prefix};
use classifier::policy::{
    Action, DefaultAction, EndpointSet, Member, Mode, Policy, PolicyBuilder, PortRange, Rule, Selector,
    Service, TierId,
};
use std::fmt;
use std::num::ParseIntError;

/// What is wrong with a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// It does not begin with `@`.
    NoMark,
    /// It has fewer fields than the form wants; this one is missing.
    Missing(&'static str),
    /// A field is none of what may stand there.
    Invalid {
        /// Which field.
        field: &'static str,
        /// What it says.
        text: String,
    },
    /// The protocol's mask is neither 0x00 nor 0xFF, which a service can't say.
    ProtocolMask(u8),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoMark => write!(f, "a rule begins with `@`"),
            Fault::Missing(field) => write!(f, "there is no {field}"),
            Fault::Invalid { field, text } => write!(f, "`{text}` is no {field}"),
            Fault::ProtocolMask(mask) => write!(f, "a protocol's mask is 0x00 or 0xFF, not 0x{mask:02X}"),
        }
    }
}

/// A line that is no rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LineError {
    /// Counted from 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) fault: Fault,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.fault)
    }
}

impl std::error::Error for LineError {}

/// The policy that the filter set stands for. Empty lines are passed over.
pub(crate) fn policy(text: &str) -> Result<Policy, LineError> {
    let mut builder = PolicyBuilder::new(vec!["default".to_owned()], DefaultAction::Deny, Mode::Enforce);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (number, (at, line)) in lines.enumerate() {
        builder.rule(rule(number, line).map_err(|fault| LineError { line: at + 1, fault })?);
    }
    Ok(builder.build().expect("each rule has its own id, endpoints and a service"))
}

fn rule(number: usize, line: &str) -> Result<Rule, Fault> {
    let rest = line.trim().strip_prefix('@').ok_or(Fault::NoMark)?;
    // Fields stand between blanks, but ports do so as well: `0 : 65535` are three words.
    let mut words = rest.split_whitespace();
    let mut word = |field| words.next().ok_or(Fault::Missing(field));
    let from = endpoints(word("source")?, "source")?;
    let to = endpoints(word("destination")?, "destination")?;
    let source = ports("source ports", || word("source ports"))?;
    let destination = ports("destination ports", || word("destination ports"))?;
    let protocol = protocol(word("protocol")?)?;
    Ok(Rule::new(
        format!("rule-{number}"),
        TierId(0),
        from,
        to,
        vec![Service { protocol, source, destination }],
        if number.is_multiple_of(2) { Action::Allow } else { Action::Deny },
    ))
}

fn invalid(field: &'static str, text: &str) -> Fault {
    Fault::Invalid { field, text: text.to_owned() }
}

fn endpoints(text: &str, field: &'static str) -> Result<EndpointSet, Fault> {
    let prefix: Prefix = text.parse().map_err(|_| invalid(field, text))?;
    if !prefix.network().is_ipv4() {
        return Err(invalid(field, text));
    }
    if prefix.length() == 0 {
        return Ok(EndpointSet::Any);
    }
    let addresses = vec![IpRange::from(prefix)];
    Ok(EndpointSet::OneOf(vec![Member::Selector(Selector { addresses, ..Selector::default() })]))
}

fn ports<'a>(
    field: &'static str,
    mut word: impl FnMut() -> Result<&'a str, Fault>,
) -> Result<PortRange, Fault> {
    let port = |text: &str| text.parse::<u16>().map_err(|_| invalid(field, text));
    let (first, colon, last) = (word()?, word()?, word()?);
    let range = PortRange { first: port(first)?, last: port(last)? };
    if colon != ":" || range.first > range.last {
        return Err(invalid(field, &format!("{first} {colon} {last}")));
    }
    Ok(range)
}

fn protocol(text: &str) -> Result<Option<u8>, Fault> {
    let byte = |text: &str| -> Result<u8, ParseIntError> {
        u8::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16)
    };
    let parsed = text.split_once('/').and_then(|(number, mask)| Some((byte(number).ok()?, byte(mask).ok()?)));
    match parsed.ok_or_else(|| invalid("protocol", text))? {
        (_, 0x00) => Ok(None),
        (number, 0xff) => Ok(Some(number)),
        (_, mask) => Err(Fault::ProtocolMask(mask)),
    }
}
