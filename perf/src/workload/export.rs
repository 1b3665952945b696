//! The workload in files, for other programs to be fed the same.
//!
//! The capture (pcap, <https://www.tcpdump.org/manpages/pcap-savefile.5.html>) has the steady frames, once through, in
//! the order in which the engine gets them. What opens the flows is not in it: datagrams need nothing, for after one
//! time through a tracker has seen both directions; so only UDP is written.
//!
//! Rules are lines of `allow` or `deny`, the opener's prefix, the responder's, and the first and last destination port,
//! TCP and UDP alike, in the order of the policy. Of a segment that has several prefixes only the first is there, the
//! one from which flows are drawn: one element per rule, which is less than the engine has to tell apart.

use super::Workload;
use crate::Protocol;
use classifier::addr::IpRange;
use classifier::policy::{Action, EndpointSet, Member, Policy};
use dataplane::arena::Arena;
use dataplane::port::Port;
use dataplane::port::memory::{Trace, TracePort};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

/// Says that times are in microseconds, and by its order which end comes first.
const MAGIC: u32 = 0xa1b2_c3d4;
/// LINKTYPE_ETHERNET (<https://www.tcpdump.org/linktypes.html>).
const ETHERNET: u32 = 1;
/// The longest frame that `engine --size` takes, rounded up to a whole line.
const LONGEST: usize = 9_088;
/// Frames that are fetched at once.
const BATCH: usize = 64;

/// Where to write the workload.
#[derive(Clone, Default, Debug, clap::Args)]
pub(crate) struct ExportArguments {
    /// Write the frames of open flows to a capture, and measure nothing
    #[arg(long, value_name = "FILE")]
    write_pcap: Option<PathBuf>,
    /// Write a line for each rule, and measure nothing
    #[arg(long, value_name = "FILE")]
    write_rules: Option<PathBuf>,
}

impl ExportArguments {
    /// Whether anything is to be written.
    pub(crate) fn wanted(&self) -> bool {
        self.write_pcap.is_some() || self.write_rules.is_some()
    }

    /// Writes what is wanted; what to tell of it.
    ///
    /// # Errors
    /// TCP, and those of the file system.
    pub(crate) fn write(&self, workload: &Workload, protocol: Protocol) -> io::Result<String> {
        let mut said = Vec::new();
        if let Some(path) = &self.write_pcap {
            if protocol != Protocol::Udp {
                return Err(io::Error::other(
                    "--write-pcap is for UDP: a capture that is played over and over \
                                             can't open TCP connections",
                ));
            }
            let mut file = BufWriter::new(File::create(path)?);
            pcap(&workload.steady, &mut file)?;
            file.flush()?;
            said.push(format!("{}: {} frames", path.display(), workload.steady.len()));
        }
        if let Some(path) = &self.write_rules {
            let mut file = BufWriter::new(File::create(path)?);
            rules(&workload.policy, &mut file)?;
            file.flush()?;
            said.push(format!("{}: {} rules", path.display(), workload.policy.rules().len()));
        }
        Ok(said.join("\n"))
    }
}

/// Every frame of the trace, once.
pub(super) fn frames_of(trace: &Arc<Trace>) -> Vec<Vec<u8>> {
    let (arena, mut pool) = Arena::on_heap(BATCH as u32, LONGEST);
    let count = trace.len();
    let mut port = TracePort::new(Arc::clone(trace));
    let (mut frames, mut received) = (Vec::new(), Vec::with_capacity(count));
    while received.len() < count {
        port.receive(&arena, &mut pool, (count - received.len()).min(BATCH), &mut frames);
        received.extend(frames.iter().map(|frame| arena.bytes(frame).to_vec()));
        port.transmit(&arena, &mut pool, &mut frames);
    }
    received
}

/// The frames of a trace as a capture, all at the time zero.
pub(super) fn pcap(trace: &Arc<Trace>, out: &mut impl Write) -> io::Result<()> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    // Version 2.4 is two half words; then the time zone, the accuracy of times, and the longest frame.
    out.write_all(&words(&[MAGIC, 2 | 4 << 16, 0, 0, 0x4_0000, ETHERNET]))?;
    for frame in frames_of(trace) {
        let length = frame.len() as u32;
        out.write_all(&words(&[0, 0, length, length]))?;
        out.write_all(&frame)?;
    }
    Ok(())
}

/// The rules of a generated policy, a line each.
pub(super) fn rules(policy: &Policy, out: &mut impl Write) -> io::Result<()> {
    for rule in policy.rules() {
        let word = if rule.action == Action::Allow { "allow" } else { "deny" };
        let ports = rule.services[0].destination;
        let (from, to) = (prefix(policy, &rule.from), prefix(policy, &rule.to));
        writeln!(out, "{word} {from} {to} {} {}", ports.first, ports.last)?;
    }
    Ok(())
}

/// The first prefix of an end of a generated rule, which always has one.
fn prefix(policy: &Policy, end: &EndpointSet) -> String {
    let EndpointSet::OneOf(members) = end else { unreachable!("generated rules name segments") };
    let mut member = &members[0];
    loop {
        match member {
            Member::Segment(id) => member = &policy.segments()[id.0 as usize].members[0],
            Member::Selector(selector) => {
                return match selector.addresses[0] {
                    IpRange::V4(first, last) => {
                        format!("{}/{}", Ipv4Addr::from(first), (last - first).leading_zeros())
                    }
                    IpRange::V6(first, last) => {
                        format!("{}/{}", Ipv6Addr::from(first), (last - first).leading_zeros())
                    }
                };
            }
        }
    }
}
