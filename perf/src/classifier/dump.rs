//! Writes rules, headers and answers to files, so that another classifier can be measured on the same.
//!
//! ```text
//! rules.bin     "BHRULES1", count: u32, then for each rule, the first that matches first:
//!               source: u32, destination: u32, source length: u8, destination length: u8,
//!               protocol: u8, protocol mask: u8 (0 or 255),
//!               source ports: u16 to u16, destination ports: u16 to u16          20 bytes
//! headers.bin   "BHHEADS1", count: u32, then for each header:
//!               source: u32, destination: u32, source port: u16, destination port: u16,
//!               protocol: u8, three zeros, rule: u32 (2^32 - 1: none matches)    20 bytes
//! ```
//!
//! Numbers are little-endian. Only IPv4 rules of one prefix on each side can be written, as filter sets have them.

use super::header::{Header, Headers};
use super::method::Answer;
use classifier::addr::IpRange;
use classifier::policy::{EndpointSet, Member, Policy, Rule};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes both files into the directory, which is made where it is missing.
///
/// # Errors
/// Where they can't be written, or a rule has another form.
pub(crate) fn dump(
    directory: &Path,
    policy: &Policy,
    headers: &Headers,
    answers: &[Answer],
) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut file = BufWriter::new(File::create(directory.join("rules.bin"))?);
    file.write_all(b"BHRULES1")?;
    file.write_all(&count(policy.rules().len()))?;
    for rule in policy.rules() {
        let Some(record) = rule_record(rule) else {
            let text = format!("rule `{}` is not between two IPv4 prefixes", rule.id);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        file.write_all(&record)?;
    }
    file.flush()?;
    let mut file = BufWriter::new(File::create(directory.join("headers.bin"))?);
    file.write_all(b"BHHEADS1")?;
    file.write_all(&count(headers.v4.len()))?;
    for (header, answer) in headers.v4.iter().zip(answers) {
        file.write_all(&header_record(header, *answer))?;
    }
    file.flush()
}

fn count(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("fewer than 2^32 records").to_le_bytes()
}

fn rule_record(rule: &Rule) -> Option<[u8; 20]> {
    let (source, source_length) = prefix(&rule.from)?;
    let (destination, destination_length) = prefix(&rule.to)?;
    let [service] = rule.services.as_slice() else { return None };
    let mut record = [0; 20];
    record[0..4].copy_from_slice(&source.to_le_bytes());
    record[4..8].copy_from_slice(&destination.to_le_bytes());
    record[8] = source_length;
    record[9] = destination_length;
    record[10] = service.protocol.unwrap_or(0);
    record[11] = if service.protocol.is_some() { 0xff } else { 0 };
    let ports =
        [service.source.first, service.source.last, service.destination.first, service.destination.last];
    for (at, port) in ports.into_iter().enumerate() {
        record[12 + 2 * at..14 + 2 * at].copy_from_slice(&port.to_le_bytes());
    }
    Some(record)
}

/// The prefix that a set is, if it is one.
fn prefix(set: &EndpointSet) -> Option<(u32, u8)> {
    let members = match set {
        EndpointSet::Any => return Some((0, 0)),
        EndpointSet::OneOf(members) => members,
    };
    let [Member::Selector(selector)] = members.as_slice() else { return None };
    let [IpRange::V4(first, last)] = selector.addresses[..] else { return None };
    let is_alone = selector.vlan.is_none() && selector.macs.is_empty();
    let host_bits = last - first;
    let is_prefix = host_bits.wrapping_add(1).is_power_of_two() && first & host_bits == 0;
    (is_alone && is_prefix).then_some((first, host_bits.leading_zeros() as u8))
}

fn header_record(header: &Header<u32>, answer: Answer) -> [u8; 20] {
    let mut record = [0; 20];
    record[0..4].copy_from_slice(&header.source.to_le_bytes());
    record[4..8].copy_from_slice(&header.destination.to_le_bytes());
    record[8..10].copy_from_slice(&header.source_port.to_le_bytes());
    record[10..12].copy_from_slice(&header.destination_port.to_le_bytes());
    record[12] = header.protocol;
    record[16..20].copy_from_slice(&answer.number().to_le_bytes());
    record
}
