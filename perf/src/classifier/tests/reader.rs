//! The reader of filter sets.

use super::super::classbench::{Fault, policy};
use classifier::addr::IpRange;
use classifier::policy::{Action, DefaultAction, EndpointSet, Member, PortRange, Selector, Service};

const TWO: &str = "@176.19.181.33/32\t90.145.0.0/16\t0 : 65535\t1550 : 1560\t0x06/0xFF\t0x0000/0x0200\t\n\
                   @0.0.0.0/0\t10.0.0.0/8\t53 : 53\t0 : 65535\t0x00/0x00\t0x0000/0x0000\t\n";

fn invalid(field: &'static str, text: &str) -> Fault {
    Fault::Invalid { field, text: text.to_owned() }
}

fn fault(line: &str) -> Fault {
    let error = policy(&format!("{TWO}\n{line}\n")).expect_err("the line is no rule");
    assert_eq!(error.line, 4, "{error}");
    error.fault
}

#[test]
fn a_rule_has_its_prefixes_ports_and_protocol() {
    let policy = policy(TWO).expect("two rules");
    assert_eq!(policy.rules().len(), 2);
    let (first, second) = (&policy.rules()[0], &policy.rules()[1]);
    let one = |range| {
        let selector = Selector { addresses: vec![range], ..Selector::default() };
        EndpointSet::OneOf(vec![Member::Selector(selector)])
    };
    assert_eq!(first.from, one(IpRange::V4(0xb013_b521, 0xb013_b521)));
    assert_eq!(first.to, one(IpRange::V4(0x5a91_0000, 0x5a91_ffff)));
    let destination = PortRange { first: 1550, last: 1560 };
    assert_eq!(first.services, [Service { protocol: Some(6), source: PortRange::ALL, destination }]);
    assert_eq!(second.from, EndpointSet::Any, "a prefix of length 0 is every endpoint");
    let source = PortRange::single(53);
    assert_eq!(second.services, [Service { protocol: None, source, destination: PortRange::ALL }]);
    assert_eq!((first.action, second.action), (Action::Allow, Action::Deny));
    assert_eq!(policy.default(), DefaultAction::Deny);
}

#[test]
fn empty_lines_are_passed_over_and_blanks_do_for_tabs() {
    let spaced = format!("\n{}\n\n", TWO.replace('\t', "  "));
    assert_eq!(policy(&spaced), policy(TWO));
}

#[test]
fn a_line_that_is_no_rule_is_named_with_what_is_wrong() {
    assert_eq!(fault("10.0.0.0/8 any"), Fault::NoMark);
    assert_eq!(fault("@10.0.0.0/8"), Fault::Missing("destination"));
    assert_eq!(fault("@10.0.0.0/8 10.0.0.0/8 0 : 1 0 : 1"), Fault::Missing("protocol"));
    assert_eq!(fault("@10.0.0.0/33 10.0.0.0/8"), invalid("source", "10.0.0.0/33"));
    assert_eq!(fault("@10.0.0.0/8 fd00::/8"), invalid("destination", "fd00::/8"));
    let ports = |text: &str| fault(&format!("@10.0.0.0/8 10.0.0.0/8 {text} 0 : 1 0x06/0xFF"));
    assert_eq!(ports("2 : 1"), invalid("source ports", "2 : 1"));
    assert_eq!(ports("1 - 2"), invalid("source ports", "1 - 2"));
    assert_eq!(ports("1 : 65536"), invalid("source ports", "65536"));
    let protocol = |text: &str| fault(&format!("@10.0.0.0/8 10.0.0.0/8 0 : 1 0 : 1 {text}"));
    assert_eq!(protocol("tcp"), invalid("protocol", "tcp"));
    assert_eq!(protocol("0x06/0x0F"), Fault::ProtocolMask(0x0f));
}
