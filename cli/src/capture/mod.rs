//! Captures of what a gateway at work has judged, as `bulkhead capture` writes them.

mod pcapng;

pub use pcapng::Pcapng;

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

/// A capture in the making: it takes the items of the answer to a `capture` request.
#[derive(Debug)]
pub struct Capture<W> {
    file: Pcapng<W>,
    /// Ports in the order of their interfaces in the file.
    ports: Vec<String>,
    lost: BTreeMap<String, u64>,
    frames: u64,
    last_ns: u64,
}

impl<W: Write> Capture<W> {
    /// A capture that goes to `sink`.
    ///
    /// # Errors
    /// It takes no bytes.
    pub fn new(sink: W) -> io::Result<Capture<W>> {
        let file = Pcapng::new(sink)?;
        Ok(Capture { file, ports: Vec::new(), lost: BTreeMap::new(), frames: 0, last_ns: 0 })
    }

    /// Takes an item: a frame, or how things stand.
    ///
    /// # Errors
    /// The file takes no bytes, or the item is none.
    pub fn take(&mut self, item: &Value) -> io::Result<()> {
        let Some(bytes) = item["bytes"].as_str() else {
            let lost = item["lost"].as_object().into_iter().flatten();
            for (port, count) in lost {
                self.lost.insert(port.clone(), count.as_u64().unwrap_or(0));
            }
            return self.file.flush();
        };
        let garbled = || io::Error::new(io::ErrorKind::InvalidData, "the gateway sent a frame that is none");
        let bytes = from_hex(bytes).ok_or_else(garbled)?;
        let time = item["time_ns"].as_u64().ok_or_else(garbled)?;
        let length = item["length"].as_u64().and_then(|length| u32::try_from(length).ok());
        let interface = self.interface(item["port"].as_str().ok_or_else(garbled)?)?;
        self.file.packet(interface, time, length.ok_or_else(garbled)?, &bytes, &comment(item))?;
        self.frames += 1;
        self.last_ns = self.last_ns.max(time);
        Ok(())
    }

    /// Ends the file with what was lost on each port; how many frames it has, and how many are missing.
    ///
    /// # Errors
    /// The file takes no bytes.
    pub fn finish(mut self) -> io::Result<(u64, u64)> {
        let lost = std::mem::take(&mut self.lost);
        for port in lost.keys() {
            self.interface(port)?;
        }
        for (number, port) in (0..).zip(&self.ports) {
            self.file.statistics(number, self.last_ns, lost.get(port).copied().unwrap_or(0))?;
        }
        self.file.flush()?;
        Ok((self.frames, lost.values().sum()))
    }

    fn interface(&mut self, port: &str) -> io::Result<u32> {
        let known = self.ports.iter().position(|known| known == port);
        let number = match known {
            Some(number) => number,
            None => {
                self.file.interface(port)?;
                self.ports.push(port.to_owned());
                self.ports.len() - 1
            }
        };
        Ok(number as u32)
    }
}

/// What became of a frame, in a line.
fn comment(item: &Value) -> String {
    let word = |key: &str| item[key].as_str();
    let mut text = word("verdict").unwrap_or("-").to_owned();
    let mut add = |before: &str, what: Option<&str>| {
        if let Some(what) = what {
            // Writing to a string can't fail.
            let _ = write!(text, " {before}{what}");
        }
    };
    add("", word("reason"));
    add("rule=", word("rule"));
    add("tier=", word("tier"));
    add("flow=", word("flow"));
    let would = &item["would"];
    add("", would["action"].as_str());
    add("by=", would["rule"].as_str());
    for key in ["from", "to"] {
        let names: Vec<&str> = item[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        add(&format!("{key}="), (!names.is_empty()).then(|| names.join(",")).as_deref());
    }
    let out = item["out"].as_array().into_iter().flatten();
    let out: Vec<String> =
        out.map(|out| format!("{}.{}", out["port"].as_str().unwrap_or("-"), out["vlan"])).collect();
    add("out=", (!out.is_empty()).then(|| out.join(",")).as_deref());
    text
}

/// Bytes as two digits each.
#[must_use]
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let digit = |letter: u8| char::from(letter).to_digit(16).map(|digit| digit as u8);
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests;
