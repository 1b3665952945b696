//! Other people's captures: each is read to its last record, or refused by its link type.

use crate::port::capture::{Capture, Fault, LinkType};
use std::path::Path;

#[test]
fn each_capture_of_the_corpus_is_read_whole_or_refused_by_link_type() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/pcaps");
    let Ok(manifest) = std::fs::read_to_string(folder.join("MANIFEST.csv")) else {
        eprintln!("skipped: there is no corpus of captures at {}", folder.display());
        return;
    };
    let mut lines = manifest.lines();
    let head: Vec<&str> = lines.next().expect("the manifest has a header").split(',').collect();
    let column = |name| head.iter().position(|h| *h == name).expect("the manifest has the column");
    let (file, link_type, packets) = (column("file"), column("linktype"), column("pkts"));

    let mut faults = Vec::new();
    let (mut read, mut refused) = (0, 0);
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let link: u32 = fields[link_type].parse().expect("a link type is a number");
        let expected: usize = fields[packets].parse().expect("a count is a number");
        match Capture::read(folder.join(fields[file])) {
            Ok(capture) if link & 0xffff == 1 && capture.len() == expected => read += 1,
            // The manifest counts a record that claims 1.4 GB, in a file of 385 bytes; nobody else does.
            Ok(capture) if fields[file] == "oisf-bug-6875-01-fuzz.pcap" => {
                assert!(capture.len() == 1 && capture.truncated());
                read += 1;
            }
            Ok(capture) => faults.push(format!(
                "{}: {} records (truncated: {}), the manifest has {expected} of link type {link:#x}",
                fields[file],
                capture.len(),
                capture.truncated()
            )),
            Err(error) => match error.fault() {
                Fault::LinkType(LinkType(named))
                    if u32::from(*named) == link & 0xffff && link & 0xffff != 1 =>
                {
                    refused += 1;
                }
                _ => faults.push(format!("{error} (link type {link:#x}, {expected} packets)")),
            },
        }
    }
    println!("{read} captures read, {refused} refused by link type");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(read > 400, "the corpus is nearly all Ethernet");
}
