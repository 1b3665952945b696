//! `bulkhead observe`: flows that begin and frames that are dropped, as it happens.

use super::Outcome;
use super::show::At;
use crate::control::{Client, EventFilter, Request};
use crate::stream::Written;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::time::Duration;

/// Watch flows that begin and frames that are dropped on a running gateway.
///
/// Without `-f` it tells what the gateway has kept (`run --event-history`), and ends. Where events are lost, because
/// they come faster than they are read, the number is told in their place; so are drops above `run --event-rate`.
#[derive(clap::Args, Debug)]
pub(super) struct Observe {
    #[command(flatten)]
    filter: EventFilter,
    /// Go on with what comes, until it is interrupted.
    #[arg(short, long)]
    follow: bool,
    /// From this time on: RFC 3339, or so long ago: `10m`.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<jiff::Timestamp>,
    /// The last so many of those that are kept.
    #[arg(long, value_name = "COUNT")]
    last: Option<u64>,
    #[command(flatten)]
    at: At,
    /// How to write it.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

/// How events are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Form {
    /// A line for people.
    Table,
    /// One JSON document at the end, not with `-f`.
    Json,
    /// One JSON object per line.
    Jsonl,
}

const HEADING: &str = "TIME                         VERDICT  REASON              RULE                  PROTO  SOURCE -> DESTINATION";

impl Observe {
    pub(super) fn run(self) -> Outcome {
        if self.follow && self.output == Form::Json {
            tell!("error: `-o json` is one document, which has no end with `-f`: say `-o jsonl`");
            return Outcome::Failure;
        }
        let request = Request::Observe {
            filter: self.filter,
            follow: self.follow,
            since: self.since.map(|since| since.to_string()),
            last: self.last,
        };
        let (mut items, mut has_heading) = (Vec::new(), false);
        let mut take = |item: Result<Value, u64>| {
            let item = item.unwrap_or_else(|lost| json!({ "lost": lost }));
            let written = match self.output {
                Form::Json => {
                    items.push(item);
                    Written::Yes
                }
                Form::Jsonl => crate::stream::answer_line(&item.to_string()),
                Form::Table if !has_heading => {
                    has_heading = true;
                    crate::stream::answer_line(&format!("{HEADING}\n{}", line(&item)))
                }
                Form::Table => crate::stream::answer_line(&line(&item)),
            };
            match written {
                Written::Yes => ControlFlow::Continue(()),
                Written::NobodyReads => ControlFlow::Break(()),
            }
        };
        let answer =
            Client::connect(&self.at.socket).and_then(|mut client| client.ask_while(request, &mut take));
        match answer {
            Ok(Some(summary)) if self.output == Form::Json => {
                answer!("{:#}", json!({ "items": items, "summary": summary }));
                Outcome::Success
            }
            Ok(_) => Outcome::Success,
            Err(error) => super::failed(&error),
        }
    }
}

/// An event for people; nothing of it is cut off.
fn line(item: &Value) -> String {
    if let Some(lost) = item["lost"].as_u64() {
        return format!("-- {lost} events were lost here");
    }
    let word = |key: &str| item[key].as_str().unwrap_or("-");
    if let Some(count) = item["suppressed"].as_u64() {
        return format!("-- {count} more drops for {} are not told one by one", word("reason"));
    }
    let protocol = match item["protocol"].as_u64() {
        _ if item["source"].is_null() => "-".to_owned(),
        Some(1) => "icmp".to_owned(),
        Some(6) => "tcp".to_owned(),
        Some(17) => "udp".to_owned(),
        Some(58) => "icmpv6".to_owned(),
        Some(132) => "sctp".to_owned(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    };
    let has_ports = matches!(item["protocol"].as_u64(), Some(6 | 17 | 132));
    let end = |address: &str, port: &str, segments: &str| {
        let address = word(address);
        let mut text = match item[port].as_u64().filter(|_| has_ports) {
            Some(port) if address.contains(':') => format!("[{address}]:{port}"),
            Some(port) => format!("{address}:{port}"),
            None => address.to_owned(),
        };
        let names: Vec<&str> =
            item[segments].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !names.is_empty() {
            text.push_str(&format!(" ({})", names.join(", ")));
        }
        text
    };
    let ends = match item["source"].is_null() {
        true => format!("{}.{}", word("port"), item["vlan"]),
        false => {
            format!(
                "{} -> {}",
                end("source", "source_port", "from"),
                end("destination", "destination_port", "to")
            )
        }
    };
    let time = word("time");
    let (verdict, reason, rule) = (word("verdict"), word("reason"), word("rule"));
    format!("{time:<28} {verdict:<8} {reason:<19} {rule:<21} {protocol:<6} {ends}")
}

fn since(text: &str) -> Result<jiff::Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let ago: Duration = super::change::duration(text)
        .map_err(|_| format!("`{text}` is no time: write 2027-01-31T00:00:00Z, or `90s`, `10m`, `1h30m`"))?;
    jiff::Timestamp::now().checked_sub(ago).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lines_for_people() {
        let event = json!({
            "time": "2027-01-31T00:00:00.123456789Z", "source": "10.0.10.10", "destination": "fd00::1",
            "protocol": 6, "source_port": 40000, "destination_port": 22, "port": "trunk0", "vlan": 10,
            "verdict": "drop", "reason": "default-deny", "rule": null, "from": ["web"], "to": [],
        });
        assert_eq!(
            line(&event),
            "2027-01-31T00:00:00.123456789Z drop     default-deny        -                     tcp    \
             10.0.10.10:40000 (web) -> [fd00::1]:22"
        );
        let arp = json!({ "time": "T", "source": null, "port": "trunk0", "vlan": 10, "protocol": 0,
            "verdict": "drop", "reason": "spoofed", "rule": null });
        assert!(line(&arp).ends_with("-      trunk0.10"), "{}", line(&arp));
        assert_eq!(line(&json!({ "lost": 7 })), "-- 7 events were lost here");
        let suppressed = line(&json!({ "suppressed": 9, "reason": "spoofed" }));
        assert_eq!(suppressed, "-- 9 more drops for spoofed are not told one by one");
    }

    #[test]
    fn times_are_moments_or_so_long_ago() {
        assert_eq!(since("2027-01-31T00:00:00Z").unwrap().to_string(), "2027-01-31T00:00:00Z");
        let ago = jiff::Timestamp::now().duration_since(since("10m").unwrap());
        assert!((599..605).contains(&ago.as_secs()), "{ago}");
        assert!(since("yesterday").is_err());
    }
}
