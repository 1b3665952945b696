use super::*;
use crate::config::load_at;
use classifier::policy::Timestamp;

/// Two routed VLANs; the rest of the file is the test's own.
const BOX: &str = r#"
[[port]]
name = "p"
[[vlan]]
id = 1
port = "p"
address = ["10.1.0.1/16", "fd01::1/64"]
[[vlan]]
id = 2
port = "p"
address = ["10.2.0.1/16", "fd02::1/64"]
[service]
ping = ["icmp/echo-request", "icmpv6/echo-request"]
"#;

fn failures(name: &str, policy: &str) -> Vec<String> {
    let folder = std::env::temp_dir();
    let path = folder.join(format!("bulkhead-testing-{}-{name}.toml", std::process::id()));
    std::fs::write(&path, format!("{BOX}{policy}")).unwrap();
    let configuration = load_at(&path, Timestamp(0)).unwrap_or_else(|error| panic!("{error}"));
    std::fs::remove_file(&path).unwrap();
    let tables = Tables::compile(Arc::clone(&configuration.policy), Timestamp(0)).unwrap();
    let report = run(&configuration, &tables);
    let scanned = run(&configuration, &Reference::new(&configuration.policy, Timestamp(0)));
    assert_eq!(report.diagnostics(), scanned.diagnostics(), "the tables and the linear scan agree");
    report.diagnostics().iter().map(|d| format!("{}; {}", d.message, d.label)).collect()
}

#[test]
fn a_range_is_allowed_only_where_every_port_is() {
    let policy = |ports: &str| {
        format!(
            r#"
[[rule]]
id = "r"
from = "10.1.0.0/16"
to = "10.2.0.0/16"
service = [{ports}]
[[test]]
name = "t"
from = "10.1.0.5"
to = "10.2.0.5"
service = "tcp/100-200"
"#
        )
    };
    assert!(failures("whole", &policy(r#""tcp/1-150", "tcp/151-300""#)).is_empty());
    let holed = failures("holed", &policy(r#""tcp/1-150", "tcp/152-300""#));
    assert_eq!(
        holed,
        ["test `t` failed: expected allow, and the default says deny; \
             tcp/151 (source port 49152) from 10.1.0.5@p.1 to 10.2.0.5@p.2"]
    );
}

#[test]
fn a_range_is_denied_only_where_no_port_is_allowed() {
    let policy = r#"
[[rule]]
id = "hole"
from = "any"
to = "any"
service = { proto = "tcp", sport = 7777, dport = 9999 }
[[test]]
name = "t"
from = "10.1.0.5"
to = "10.2.0.5"
service = "any"
expect = "deny"
"#;
    assert_eq!(
        failures("hole", policy),
        ["test `t` failed: expected deny, and rule `hole` says allow; \
             tcp/9999 (source port 7777) from 10.1.0.5@p.1 to 10.2.0.5@p.2"]
    );
}

#[test]
fn reject_fulfils_deny_and_deny_does_not_fulfil_reject() {
    let policy = |action: &str, expect: &str| {
        format!(
            r#"
[[rule]]
id = "r"
from = "any"
to = "any"
action = "{action}"
[[test]]
name = "t"
from = "10.1.0.5"
to = "10.2.0.5"
expect = "{expect}"
"#
        )
    };
    assert!(failures("a", &policy("reject", "deny")).is_empty());
    assert!(failures("b", &policy("reject", "reject")).is_empty());
    assert_eq!(failures("c", &policy("deny", "reject")).len(), 1);
    assert_eq!(failures("d", &policy("reject", "allow")).len(), 1);
}

#[test]
fn the_rule_that_decides_is_compared_too() {
    let policy = r#"
[[rule]]
id = "first"
from = "any"
to = "any"
service = "tcp/80"
[[rule]]
id = "second"
from = "any"
to = "any"
service = "tcp"
[[test]]
name = "t"
from = "10.1.0.5"
to = "10.2.0.5"
service = "tcp/79-81"
rule = "second"
"#;
    assert_eq!(
        failures("rule", policy),
        ["test `t` failed: rule `first` decides, not rule `second`; \
             tcp/80 (source port 49152) from 10.1.0.5@p.1 to 10.2.0.5@p.2"]
    );
}

#[test]
fn ping_means_the_icmp_of_the_family() {
    let policy = r#"
[[rule]]
id = "r"
from = "any"
to = "any"
service = "icmp/echo-request"
[[test]]
name = "v4"
from = "10.1.0.5"
to = "10.2.0.5"
service = "ping"
[[test]]
name = "v6"
from = "fd01::5"
to = "fd02::5"
service = "ping"
"#;
    assert_eq!(
        failures("ping", policy),
        [
            "test `v6` failed: expected allow, and the default says deny; icmpv6/128/0 from fd01::5@p.1 to fd02::5@p.2"
        ]
    );
}

#[test]
fn tiers_monitor_and_expiry_are_as_the_format_says() {
    let policy = r#"
[policy]
tiers = ["early", "late"]
[segment.calm]
members = ["10.2.9.0/24"]
mode = "monitor"
[[rule]]
id = "late-allow"
tier = "late"
from = "any"
to = "10.2.0.5"
service = "tcp"
[[rule]]
id = "early-monitor"
tier = "early"
from = "any"
to = "any"
action = "deny"
mode = "monitor"
[[rule]]
id = "early-expired"
tier = "early"
from = "any"
to = "any"
action = "deny"
expires = 1969-01-01T00:00:00Z
[[rule]]
id = "early-pass"
tier = "early"
from = "any"
to = "any"
service = "tcp/22"
action = "pass"
[[rule]]
id = "early-deny"
tier = "early"
from = "any"
to = "any"
service = "tcp/20-30"
action = "deny"
[[test]]
name = "passed on"
from = "10.1.0.5"
to = "10.2.0.5"
service = "tcp/22"
rule = "late-allow"
[[test]]
name = "denied early"
from = "10.1.0.5"
to = "10.2.0.5"
service = "tcp/23"
expect = "deny"
rule = "early-deny"
[[test]]
name = "the default is softened towards a segment that monitors"
from = "10.1.0.5"
to = "10.2.9.5"
service = "udp"
[[test]]
name = "a rule is enforced there all the same"
from = "10.1.0.5"
to = "10.2.9.5"
service = "tcp/30"
expect = "deny"
"#;
    assert_eq!(failures("tiers", policy), [] as [String; 0]);
}

#[test]
fn a_policy_that_only_monitors_is_tested_as_if_it_were_enforced() {
    let policy = |expect: &str| {
        format!(
            r#"
[policy]
mode = "monitor"
[[rule]]
id = "never"
from = "10.1.0.0/16"
to = "10.2.0.0/16"
service = "tcp/23"
action = "deny"
[[test]]
name = "t"
from = "10.1.0.5"
to = "10.2.0.5"
service = "tcp/22-23"
expect = "{expect}"
"#
        )
    };
    assert!(failures("monitor-deny", &policy("deny")).is_empty());
    assert_eq!(failures("monitor-allow", &policy("allow")).len(), 1);
}

#[test]
fn a_destination_has_a_mac_on_a_stitched_vlan_only() {
    let policy = r#"
[[vlan]]
id = 3
port = "p"
prefix = ["10.3.0.0/24"]
[[vlan]]
id = 4
port = "p"
prefix = ["10.3.1.0/24"]
[[stitch]]
name = "s"
vlans = ["p.3", "p.4"]
[[binding]]
vlan = "p.2"
address = "10.2.0.5"
mac = "02:00:00:00:00:25"
[[binding]]
vlan = "p.4"
address = "10.3.1.5"
mac = "02:00:00:00:00:25"
[[rule]]
id = "r"
from = "any"
to = "mac:02:00:00:00:00:25"
[[test]]
name = "routed"
from = "10.1.0.5"
to = "10.2.0.5"
service = "tcp/22"
[[test]]
name = "stitched"
from = "10.3.0.5"
to = "10.3.1.5"
service = "tcp/22"
rule = "r"
"#;
    assert_eq!(
        failures("mac", policy),
        ["test `routed` failed: expected allow, and the default says deny; \
             tcp/22 (source port 49152) from 10.1.0.5@p.1 to 10.2.0.5@p.2"]
    );
}
