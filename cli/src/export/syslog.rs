//! Events as syslog messages (RFC 5424), by UDP (RFC 5426) or to a Unix datagram socket.
//!
//! A collector that is away or does not read loses messages, and nothing else happens; the next one that can be sent
//! says how many.

use super::Exporter;
use crate::run::hub::{Record, Told, What};
use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::str::FromStr;

/// Facility local0 (RFC 5424 §6.2.1).
const FACILITY: u8 = 16;
/// The enterprise number that is set aside for examples (RFC 5612), for the project has none of its own.
const SD_ID: &str = "bulkhead@32473";

/// Where messages go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SyslogTarget {
    /// A datagram socket of this machine.
    Unix(PathBuf),
    /// A collector.
    Udp(SocketAddr),
}

impl FromStr for SyslogTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<SyslogTarget, String> {
        let fault = || format!("`{text}` is no collector: write `unix:/dev/log` or `udp:192.0.2.1:514`");
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(SyslogTarget::Unix(path.into())),
            Some(("udp", address)) => address.parse().map(SyslogTarget::Udp).map_err(|_| fault()),
            _ => Err(fault()),
        }
    }
}

enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

/// The sender of messages.
pub struct Syslog {
    target: SyslogTarget,
    /// `None`: it is to be opened with the next message.
    socket: Option<Socket>,
    host: String,
    lost: u64,
    why: String,
}

impl Syslog {
    /// A sender for a collector, which need not be there yet. `host` is the name of this machine.
    #[must_use]
    pub fn new(target: SyslogTarget, host: &str) -> Syslog {
        Syslog { target, socket: None, host: header_word(host, 255), lost: 0, why: String::new() }
    }

    fn send(&mut self, message: &str) -> io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open(&self.target)?,
        };
        match &socket {
            Socket::Unix(socket) => socket.send(message.as_bytes())?,
            Socket::Udp(socket) => socket.send(message.as_bytes())?,
        };
        // One that has failed is opened anew: its collector may have been started again.
        self.socket = Some(socket);
        Ok(())
    }

    fn send_loss(&mut self) -> bool {
        if self.lost == 0 {
            return true;
        }
        let fields = [("count", self.lost.to_string()), ("why", self.why.clone())];
        let text = format!("{} events were lost", self.lost);
        let message = message(3, jiff::Timestamp::now(), &self.host, "lost", &fields, &text);
        match self.send(&message) {
            Ok(()) => {
                self.lost = 0;
                true
            }
            Err(_) => false,
        }
    }
}

fn open(target: &SyslogTarget) -> io::Result<Socket> {
    match target {
        SyslogTarget::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_nonblocking(true)?;
            Ok(Socket::Unix(socket))
        }
        SyslogTarget::Udp(address) => {
            let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0; 16], 0).into() };
            let socket = UdpSocket::bind(any)?;
            socket.connect(address)?;
            socket.set_nonblocking(true)?;
            Ok(Socket::Udp(socket))
        }
    }
}

impl Exporter for Syslog {
    fn take(&mut self, told: &Told) {
        let (severity, kind, fields, text) = match &told.what {
            What::Event(record) => of_event(record),
            What::Note(note) => (6, "note", Vec::new(), note.to_string()),
            What::Lost { count, why } => {
                let fields = vec![("count", count.to_string()), ("why", (*why).to_owned())];
                (3, "lost", fields, format!("{count} events were lost"))
            }
            What::Suppressed { count, reason } => {
                let fields = vec![("count", count.to_string()), ("reason", (*reason).to_owned())];
                (4, "suppressed", fields, format!("{count} more drops for {reason}"))
            }
        };
        let message = message(severity, told.at, &self.host, kind, &fields, &text);
        if self.send_loss() {
            match self.send(&message) {
                Ok(()) => return,
                Err(error) => self.why = error.to_string(),
            }
        }
        self.lost += 1;
    }

    fn settle(&mut self) {
        self.send_loss();
    }
}

type Message = (u8, &'static str, Vec<(&'static str, String)>, String);

/// Severity (RFC 5424 §6.2.1), kind, fields and text of an event: warning for a drop, notice for a reject, else
/// informational.
fn of_event(record: &Record) -> Message {
    let line = &record.line;
    let severity = match line.verdict {
        "drop" => 4,
        "reject" => 5,
        _ => 6,
    };
    let kind = if line.reason.is_some() { "drop" } else { "flow" };
    let mut fields = vec![("verdict", line.verdict.to_owned())];
    let mut add = |name, value: Option<String>| fields.extend(value.map(|value| (name, value)));
    add("reason", line.reason.map(str::to_owned));
    add("rule", line.rule.clone());
    add("tier", line.tier.clone());
    add("port", Some(line.port.clone()));
    add("vlan", Some(line.vlan.to_string()));
    add("src", line.source.clone());
    add("dst", line.destination.clone());
    if line.source.is_some() {
        add("proto", Some(line.protocol.to_string()));
        add("spt", Some(line.source_port.to_string()));
        add("dpt", Some(line.destination_port.to_string()));
    }
    add("from", line.from.as_ref().map(|names| names.join(",")));
    add("to", line.to.as_ref().map(|names| names.join(",")));
    let unknown = || "-".to_owned();
    let text = format!(
        "{} {} -> {}{}{}",
        line.verdict,
        line.source.clone().unwrap_or_else(unknown),
        line.destination.clone().unwrap_or_else(unknown),
        if line.reason.is_some() { ": " } else { "" },
        line.reason.unwrap_or_default()
    );
    (severity, kind, fields, text)
}

/// A message (RFC 5424 §6).
fn message(
    severity: u8,
    at: jiff::Timestamp,
    host: &str,
    kind: &str,
    fields: &[(&'static str, String)],
    text: &str,
) -> String {
    // Not more than six digits of a second (§6.2.3).
    let at = at.round(jiff::Unit::Microsecond).unwrap_or(at);
    let process = std::process::id();
    let mut message = format!("<{}>1 {at} {host} bulkhead {process} {kind} ", FACILITY * 8 + severity);
    if fields.is_empty() {
        message.push('-');
    } else {
        let _ = write!(message, "[{SD_ID}");
        for (name, value) in fields {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace(']', "\\]");
            let _ = write!(message, " {name}=\"{value}\"");
        }
        message.push(']');
    }
    let _ = write!(message, " {text}");
    message
}

/// A word of the header: printable ASCII without blanks, or `-` (§6).
fn header_word(text: &str, longest: usize) -> String {
    let word: String = text.chars().filter(char::is_ascii_graphic).take(longest).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn told(number: u64) -> Told {
        Told {
            at: "2027-01-31T00:00:00.123456789Z".parse().unwrap(),
            what: What::Suppressed { count: number, reason: "spoofed" },
        }
    }

    /// The parts of a message by the grammar of RFC 5424 §6: severity, MSGID, fields, text.
    fn parse(message: &str) -> (u8, String, Vec<(String, String)>, String) {
        let rest = message.strip_prefix('<').unwrap();
        let (priority, rest) = rest.split_once('>').unwrap();
        assert!(!priority.starts_with('0') && priority.parse::<u8>().unwrap() <= 191);
        let mut words = rest.splitn(7, ' ');
        assert_eq!(words.next(), Some("1"));
        let time = words.next().unwrap();
        let fraction = time.strip_suffix('Z').unwrap().split_once('.').map_or("", |(_, digits)| digits);
        assert!(time.parse::<jiff::Timestamp>().is_ok() && fraction.len() <= 6, "{time}");
        for (longest, word) in [255, 48, 128, 32].into_iter().zip(words.by_ref()) {
            assert!(!word.is_empty() && word.len() <= longest && word.bytes().all(|b| b.is_ascii_graphic()));
        }
        let kind = rest.split(' ').nth(5).unwrap().to_owned();
        let rest = words.next().unwrap();
        let mut fields = Vec::new();
        let text = if let Some(rest) = rest.strip_prefix("- ") {
            rest
        } else {
            let mut rest = rest.strip_prefix("[bulkhead@32473").unwrap();
            while let Some(next) = rest.strip_prefix(' ') {
                let (name, value) = next.split_once("=\"").unwrap();
                assert!(name.len() <= 32 && name.bytes().all(|b| b.is_ascii_lowercase()), "{name}");
                let (mut text, mut letters) = (String::new(), value.char_indices());
                let end = loop {
                    match letters.next().unwrap() {
                        (at, '"') => break at,
                        (_, ']') => panic!("not escaped: {value}"),
                        (_, '\\') => text.push(letters.next().unwrap().1),
                        (_, letter) => text.push(letter),
                    }
                };
                fields.push((name.to_owned(), text));
                rest = &value[end + 1..];
            }
            rest.strip_prefix("] ").unwrap()
        };
        (priority.parse::<u8>().unwrap() % 8, kind, fields, text.to_owned())
    }

    #[test]
    fn what_would_end_a_value_is_escaped() {
        let nasty = r#"a"b\c]d é"#;
        let fields = [("rule", nasty.to_owned())];
        let text = message(4, told(1).at, &header_word("my host\n", 255), "drop", &fields, "dropped");
        let (severity, kind, fields, text) = parse(&text);
        assert_eq!((severity, kind.as_str(), text.as_str()), (4, "drop", "dropped"));
        assert_eq!(fields, [("rule".to_owned(), nasty.to_owned())]);
        assert_eq!(header_word("é\n", 255), "-");
    }

    #[test]
    fn a_collector_that_is_away_or_does_not_read_loses_messages_and_is_told_how_many() {
        let path = std::env::temp_dir().join(format!("bulkhead-syslog-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut syslog = Syslog::new(SyslogTarget::Unix(path.clone()), "gw");
        (0..3).for_each(|number| syslog.take(&told(number)));
        let collector = UnixDatagram::bind(&path).unwrap();
        collector.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let hear = || {
            let mut bytes = [0; 4096];
            let length = collector.recv(&mut bytes).unwrap();
            parse(std::str::from_utf8(&bytes[..length]).unwrap())
        };
        syslog.take(&told(3));
        let (severity, kind, fields, _) = hear();
        assert_eq!((severity, kind.as_str()), (3, "lost"));
        assert_eq!(fields[0], ("count".to_owned(), "3".to_owned()));
        assert_eq!(hear().3, "3 more drops for spoofed");
        // It is there and does not read: its queue is full soon.
        (0..10_000).for_each(|number| syslog.take(&told(number)));
        assert!(syslog.lost > 5_000, "{}", syslog.lost);
        let (mut heard, mut lost) = (0, 0);
        let sent = 10_000 - syslog.lost;
        while heard < sent {
            assert_eq!(hear().1, "suppressed");
            heard += 1;
        }
        syslog.settle();
        lost += hear().2[0].1.parse::<u64>().unwrap();
        assert_eq!(heard + lost, 10_000);
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn collectors_are_read() {
        assert_eq!("unix:/dev/log".parse(), Ok(SyslogTarget::Unix("/dev/log".into())));
        assert_eq!("udp:192.0.2.1:514".parse(), Ok(SyslogTarget::Udp("192.0.2.1:514".parse().unwrap())));
        for wrong in ["", "unix:", "udp:host", "tcp:192.0.2.1:514", "/dev/log"] {
            assert!(wrong.parse::<SyslogTarget>().is_err(), "{wrong}");
        }
    }
}
