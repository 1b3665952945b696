//! Texts that stand for one thing: names, MACs, addresses, spans of time, dates.

use super::row::{Located, Row};
use crate::config::format::NAME_LIMIT;
use crate::config::source::Span;
use crate::config::tree::Data;
use crate::diagnostic::{Code, Diagnostic};
use classifier::addr::{IpRange, Mac, Prefix};
use classifier::policy::Timestamp;
use conntrack::config::Timeouts;
use std::net::IpAddr;
use std::time::Duration;

/// Checks a name that the operator chose. It is used all the same: one error is enough.
pub(crate) fn check_name(name: Located<&str>, what: &str, extra: &str, out: &mut Vec<Diagnostic>) {
    let is_plain = |c: char| c.is_alphanumeric() || c == '_' || extra.contains(c);
    let starts = name.value.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !starts || !name.value.chars().all(is_plain) || name.value.chars().count() > NAME_LIMIT {
        let signs: Vec<String> = extra.chars().map(|c| format!("`{c}`")).collect();
        out.push(
            Diagnostic::error(
                Code::BadName,
                name.span,
                format!("`{}` can't be the name of a {what}", name.value),
            )
            .help(format!(
                "use letters, digits, `_`, {}, at most {NAME_LIMIT} of them, and a letter or digit first",
                signs.join(", ")
            )),
        );
    }
}

/// Checks free text that serves as a name: not empty, and nothing that spoils a log line.
pub(crate) fn check_free_name(name: Located<&str>, what: &str, out: &mut Vec<Diagnostic>) {
    /// As long as a line.
    const LIMIT: usize = 128;
    let is_simple = |byte: u8| byte.is_ascii_graphic();
    if (1..=LIMIT).contains(&name.value.len()) && name.value.bytes().all(is_simple) {
        return;
    }
    let length = name.value.chars().count();
    if name.value.trim() != name.value
        || length == 0
        || length > LIMIT
        || name.value.contains(char::is_control)
    {
        out.push(
            Diagnostic::error(Code::BadName, name.span, format!("this can't be the {what}"))
                .help(format!("use 1 to {LIMIT} characters on one line, without spaces at the ends")),
        );
    }
}

/// A station's MAC.
pub(crate) fn mac(text: Located<&str>, out: &mut Vec<Diagnostic>) -> Option<Mac> {
    let Ok(mac) = text.value.parse::<Mac>() else {
        out.push(
            Diagnostic::error(Code::BadMac, text.span, format!("`{}` is no MAC", text.value))
                .help("write six pairs of hexadecimal digits with colons, as in 02:00:00:00:00:01"),
        );
        return None;
    };
    let fault = if mac == Mac::BROADCAST {
        "is the broadcast address"
    } else if mac.is_group() {
        "is a group's address: its first octet is odd"
    } else if mac == Mac::ZERO {
        "is nobody's"
    } else {
        return Some(mac);
    };
    out.push(
        Diagnostic::error(Code::BadMac, text.span, format!("`{mac}` {fault}"))
            .help("write the MAC of one station, as in 02:00:00:00:00:01"),
    );
    None
}

/// The MAC in a key, where there is one.
pub(crate) fn mac_of(row: &Row<'_>, key: &'static str, out: &mut Vec<Diagnostic>) -> Option<Mac> {
    mac(row.text(key)?, out)
}

fn bad_address(text: Located<&str>, what: &str, help: &str) -> Diagnostic {
    Diagnostic::error(Code::BadAddress, text.span, format!("`{}` is no {what}", text.value))
        .help(help.to_owned())
}

/// One address.
pub(crate) fn address(text: Located<&str>, out: &mut Vec<Diagnostic>) -> Option<IpAddr> {
    let parsed = text.value.parse().ok();
    if parsed.is_none() {
        let help = match text.value.split_once('/') {
            Some((address, _)) if address.parse::<IpAddr>().is_ok() => {
                format!("write `{address}`, without the length")
            }
            Some(_) | None => "write one address, as in 10.0.10.5 or fd00:10::5".to_owned(),
        };
        out.push(bad_address(text, "IP address", &help));
    }
    parsed
}

/// An address with a length, host bits and all.
pub(crate) fn interface_address(text: Located<&str>, out: &mut Vec<Diagnostic>) -> Option<Prefix> {
    let parsed = text.value.parse::<Prefix>().ok().filter(|_| text.value.contains('/'));
    if parsed.is_none() {
        let help = match text.value.parse::<IpAddr>() {
            Ok(IpAddr::V4(a)) => format!("say how long the network's prefix is, as in `{a}/24`"),
            Ok(IpAddr::V6(a)) => format!("say how long the network's prefix is, as in `{a}/64`"),
            Err(_) => {
                "write the gateway's address with the length of its network, as in 10.0.10.1/24".to_owned()
            }
        };
        out.push(bad_address(text, "address with a prefix length", &help));
    }
    parsed
}

/// A network; an address alone is one of its own.
pub(crate) fn network(text: Located<&str>, out: &mut Vec<Diagnostic>) -> Option<Prefix> {
    let Ok(prefix) = text.value.parse::<Prefix>() else {
        out.push(bad_address(text, "network", "write a network, as in 10.0.10.0/24 or fd00:10::/64"));
        return None;
    };
    if prefix.has_host_bits() {
        out.push(Diagnostic::error(Code::HostBits, text.span, format!("`{prefix}` has host bits set")).help(
            format!(
                "write `{}/{}` for the network, or `{}` for the one address",
                prefix.network(),
                prefix.length(),
                prefix.address()
            ),
        ));
        return None;
    }
    Some(prefix)
}

/// An address, a network, or `FIRST-LAST`.
pub(crate) fn range(text: Located<&str>, out: &mut Vec<Diagnostic>) -> Option<IpRange> {
    if let Some((first, last)) = text.value.split_once('-') {
        let (Ok(first), Ok(last)) = (first.trim().parse::<IpAddr>(), last.trim().parse::<IpAddr>()) else {
            out.push(bad_address(
                text,
                "range of addresses",
                "write the first and the last, as in 10.0.31.5-10.0.31.9",
            ));
            return None;
        };
        let range = IpRange::between(first, last);
        if range.is_none() {
            let help = if first.is_ipv4() == last.is_ipv4() {
                format!("write the lower address first: `{last}-{first}`")
            } else {
                "write two addresses of one family".to_owned()
            };
            out.push(bad_address(text, "range of addresses", &help));
        }
        return range;
    }
    if text.value.contains('/') {
        return network(text, out).map(IpRange::from);
    }
    address(text, out).map(IpRange::single)
}

/// Whether a text was meant as an address, whatever became of it.
pub(crate) fn looks_like_address(text: &str) -> bool {
    let is_numeric = || text.bytes().all(|b| b.is_ascii_hexdigit() || b".:/-".contains(&b));
    text.contains('/')
        || (text.starts_with(|c: char| c.is_ascii_hexdigit()) && text.contains(['.', ':']) && is_numeric())
        || (text.starts_with(':') && is_numeric())
}

/// A span of time in a key, from one second to [`Timeouts::LIMIT`].
pub(crate) fn duration(row: &Row<'_>, key: &'static str, out: &mut Vec<Diagnostic>) -> Option<Duration> {
    let value = row.value(key)?;
    let seconds = match &value.data {
        Data::Integer(Some(seconds)) => i128::from(*seconds),
        Data::Text(text) => match seconds_of(text) {
            Some(seconds) => i128::from(seconds),
            None => {
                out.push(
                    Diagnostic::error(Code::BadDuration, value.span, format!("`{text}` is no span of time"))
                        .help(
                            "write seconds as a number, or days, hours, minutes and seconds, as in \"1h30m\"",
                        ),
                );
                return None;
            }
        },
        _ => return None,
    };
    let most = Timeouts::LIMIT.as_secs();
    match u64::try_from(seconds) {
        Ok(seconds) if (1..=most).contains(&seconds) => Some(Duration::from_secs(seconds)),
        Ok(_) | Err(_) => {
            out.push(
                Diagnostic::error(Code::OutOfRange, value.span, format!("`{key}` is out of range"))
                    .help(format!("write a span from 1 second to {} days", most / 86_400)),
            );
            None
        }
    }
}

/// `1d2h3m4s`: each unit at most once, the longer first.
fn seconds_of(text: &str) -> Option<u64> {
    const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let mut units = UNITS.iter();
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let (_, seconds) = units.find(|(letter, _)| *letter == unit)?;
        total = total.checked_add(number.checked_mul(*seconds)?)?;
        rest = &rest[digits + 1..];
    }
    (!text.is_empty()).then_some(total)
}

/// A moment in a key.
pub(crate) fn moment(
    row: &Row<'_>,
    key: &'static str,
    out: &mut Vec<Diagnostic>,
) -> Option<Located<Timestamp>> {
    let value = row.value(key)?;
    let Data::Moment(text) = &value.data else { return None };
    match text.parse::<jiff::Timestamp>() {
        Ok(moment) => Some(Located::new(Timestamp(moment.as_nanosecond()), value.span)),
        Err(_) if is_the_end_of_time(text) => {
            Some(Located::new(Timestamp(jiff::Timestamp::MAX.as_nanosecond()), value.span))
        }
        Err(_) => {
            out.push(
                Diagnostic::error(Code::BadDate, value.span, format!("`{text}` is not a moment everywhere"))
                    .help(format!("write date, time and offset, as in {}", complete(text))),
            );
            None
        }
    }
}

/// The date with what it lacks.
/// 9999-12-31T23:59:59Z is how inventories write "never"; the calendar ends a day before it, so that every moment
/// can be shown at every offset.
fn is_the_end_of_time(text: &str) -> bool {
    let has_offset = text.get(19..).is_some_and(|rest| rest.contains(['Z', '+', '-']));
    has_offset && (text.starts_with("9999-12-30") || text.starts_with("9999-12-31"))
}

fn complete(text: &str) -> String {
    if text.contains(':') && text.contains('-') {
        format!("{text}Z")
    } else if text.contains('-') {
        format!("{text}T00:00:00Z")
    } else {
        "2027-01-31T00:00:00Z".to_owned()
    }
}

/// A port or a range of ports in a key.
pub(crate) fn ports_text(row: &Row<'_>, key: &'static str) -> Option<(String, Span)> {
    let value = row.value(key)?;
    match &value.data {
        Data::Integer(Some(number)) => Some((number.to_string(), value.span)),
        Data::Text(text) => Some((text.to_string(), value.span)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_time_are_read_unit_by_unit() {
        for (text, seconds) in [("30s", 30), ("1h30m", 5400), ("2h4m", 7440), ("1d1s", 86_401), ("90m", 5400)]
        {
            assert_eq!(seconds_of(text), Some(seconds), "{text}");
        }
        for text in
            ["", "30", "1m1h", "1h1h", "h", "1.5h", "-1s", "1 h", "1ms", "99999999999999999999s", "1ä"]
        {
            assert_eq!(seconds_of(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_meant_as_an_address_is_told_from_a_name() {
        for text in ["10.0.0.256", "10.0/8", "fd00::", "::1", "10.0.0.1-10.0.0", "web/8", "1:2"] {
            assert!(looks_like_address(text), "{text}");
        }
        for text in ["web", "db-1", "cafe", "x10.0.0.1", "10"] {
            assert!(!looks_like_address(text), "{text}");
        }
    }
}
