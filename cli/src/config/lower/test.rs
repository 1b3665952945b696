//! `[[test]]` and `[[invariant]]`.

use super::endpoint::{Place, Scope};
use super::names::Names;
use super::network::Network;
use super::row::{Document, Located, Row};
use super::rule::Rules;
use super::scalar;
use super::segment::Segments;
use super::service::Services;
use crate::config::{Expectation, Invariant, PolicyTest, TestEndpoint, locate};
use crate::diagnostic::{Code, Diagnostic};

/// All tests in the order of the files.
pub(super) fn tests(
    document: &Document<'_>,
    network: &Network,
    services: &Services,
    rules: &Rules,
    out: &mut Vec<Diagnostic>,
) -> Vec<PolicyTest> {
    let mut names = Names::new("test");
    let mut all = Vec::new();
    for row in document.rows("test") {
        if let Some(name) = row.text("name") {
            scalar::check_free_name(name, "name of a test", out);
            names.declare(name, (), out);
        }
        let from =
            row.text("from").and_then(|text| Some(Located::new(endpoint(text, network, out)?, text.span)));
        let to = row.text("to").and_then(|text| Some(Located::new(endpoint(text, network, out)?, text.span)));
        let services = services.of(&row, out);
        let rule = row.text("rule").and_then(|id| rules.names.find(id, Code::UnknownRule, out));
        let (Some(name), Some(from), Some(to)) = (row.text("name"), from, to) else { continue };
        if from.value.address.is_ipv4() != to.value.address.is_ipv4() {
            out.push(
                Diagnostic::error(Code::MixedFamilies, to.span, "no packet goes from IPv4 to IPv6")
                    .related(from.span, "the other end")
                    .help("write two addresses of one family"),
            );
            continue;
        }
        all.push(PolicyTest {
            name: name.value.to_owned(),
            from: from.value,
            to: to.value,
            services,
            expect: expectation(&row),
            rule,
            span: row.text("expect").map_or(row.span, |text| text.span),
        });
    }
    all
}

/// All invariants in the order of the files.
pub(super) fn invariants(
    document: &Document<'_>,
    network: &Network,
    segments: &Segments,
    services: &Services,
    out: &mut Vec<Diagnostic>,
) -> Vec<Invariant> {
    let mut names = Names::new("invariant");
    let scope = Scope { network, segments: &segments.names, place: Place::Rule };
    let mut all = Vec::new();
    for row in document.rows("invariant") {
        if let Some(name) = row.text("name") {
            scalar::check_free_name(name, "name of an invariant", out);
            names.declare(name, (), out);
        }
        out.push(
            Diagnostic::note(Code::NotProved, row.span, "this invariant is not proved yet")
                .remark("its references are checked, and nothing else"),
        );
        all.push(Invariant {
            name: row.text("name").map_or("", |name| name.value).to_owned(),
            from: scope.set(&row, "from", out),
            except_from: scope.members(row.items("except_from"), out),
            to: scope.set(&row, "to", out),
            except_to: scope.members(row.items("except_to"), out),
            services: services.of(&row, out),
            expect: expectation(&row),
            span: row.span,
        });
    }
    all
}

fn expectation(row: &Row<'_>) -> Expectation {
    match row.choice("expect") {
        "deny" => Expectation::Deny,
        "reject" => Expectation::Reject,
        _ => Expectation::Allow,
    }
}

/// `ADDRESS` or `ADDRESS@VLAN`.
fn endpoint(text: Located<&str>, network: &Network, out: &mut Vec<Diagnostic>) -> Option<TestEndpoint> {
    let (address, vlan) = match text.value.split_once('@') {
        Some((address, vlan)) => (address, Some(vlan)),
        None => (text.value, None),
    };
    let address = scalar::address(Located::new(address, text.span), out);
    let vlan = match (vlan, address) {
        (Some(vlan), _) => network.vlan(Located::new(vlan, text.span), out)?,
        (None, None) => return None,
        (None, Some(address)) => {
            match locate::locate(&network.topology, address) {
                Some(vlan) => vlan,
                None => {
                    out.push(
                    Diagnostic::error(
                        Code::EndpointVlan,
                        text.span,
                        format!("the VLAN of `{address}` can't be told: no connected network or route holds it"),
                    )
                    .help(format!("write `{address}@VLAN`, with the VLAN's name or port.id")),
                );
                    return None;
                }
            }
        }
    };
    let address = address?;
    Some(TestEndpoint { vlan, address, mac: locate::mac_of(&network.topology, vlan, address) })
}
