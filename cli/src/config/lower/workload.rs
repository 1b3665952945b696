//! `[[workload]]`: what the inventory knows, for `select` to pick from.

use super::names::Names;
use super::network::Network;
use super::row::Document;
use super::scalar;
use crate::diagnostic::{Code, Diagnostic};
use classifier::policy::Selector;
use std::collections::HashMap;

/// A workload, as far as it could be read.
pub(super) struct Workload<'a> {
    pub(super) selector: Selector,
    pub(super) labels: HashMap<&'a str, &'a str>,
}

/// All workloads in the order of the files.
pub(super) fn lower<'a>(
    document: &Document<'a>,
    network: &Network,
    out: &mut Vec<Diagnostic>,
) -> Vec<Workload<'a>> {
    let mut names = Names::new("workload");
    let mut all = Vec::new();
    for row in document.rows("workload") {
        if let Some(name) = row.text("name") {
            scalar::check_free_name(name, "name of a workload", out);
            names.declare(name, (), out);
        }
        let addresses: Vec<_> =
            row.texts("address").into_iter().filter_map(|text| scalar::range(text, out)).collect();
        let macs: Vec<_> = row.texts("mac").into_iter().filter_map(|text| scalar::mac(text, out)).collect();
        let vlan = row.text("vlan").and_then(|reference| network.vlan(reference, out));
        if row.texts("address").is_empty() && row.texts("mac").is_empty() && !row.has("vlan") {
            out.push(
                Diagnostic::error(
                    Code::EmptyWorkload,
                    row.span,
                    "a workload has an address, a MAC or a VLAN",
                )
                .help("add at least one of `address`, `mac` and `vlan`"),
            );
        }
        let labels = row.pairs("labels").into_iter().map(|(entry, value)| (&*entry.key, value)).collect();
        all.push(Workload { selector: Selector { vlan, macs, addresses }, labels });
    }
    all
}
