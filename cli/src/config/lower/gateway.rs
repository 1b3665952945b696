//! `[workers]`, `[sanity]`, `[conntrack]`: the tables that stand alone.

use super::row::Document;
use super::scalar;
use crate::diagnostic::{Code, Diagnostic};
use conntrack::config::{Config, Pickup, Timeouts};
use dataplane::topology::{Idle, Sanity};
use std::collections::HashMap;
use std::time::Duration;

/// How long `pickup = "grace"` holds where the file does not say.
const GRACE_SECONDS: u64 = 30;

/// `[conntrack]`.
pub(super) fn conntrack(document: &Document<'_>, out: &mut Vec<Diagnostic>) -> Config {
    let row = document.table("conntrack");
    let default = Config::default();
    let grace = row.number("grace_seconds").unwrap_or(GRACE_SECONDS);
    let pickup = match row.choice("pickup") {
        "grace" => Pickup::Grace(Duration::from_secs(grace)),
        "always" => Pickup::Always,
        _ => Pickup::Strict,
    };
    Config {
        max_flows: row.number("max_flows").unwrap_or(default.max_flows),
        pickup,
        simultaneous_open: row.flag("simultaneous_open"),
        timeouts: timeouts(document, out),
    }
}

fn timeouts(document: &Document<'_>, out: &mut Vec<Diagnostic>) -> Timeouts {
    let mut all = Timeouts::default();
    let Some(row) = document.table("conntrack").row("timeouts") else { return all };
    let mut set = |key: &'static str, field: &mut Duration| {
        if let Some(span) = scalar::duration(&row, key, out) {
            *field = span;
        }
    };
    set("tcp_syn_sent", &mut all.tcp_syn_sent);
    set("tcp_syn_recv", &mut all.tcp_syn_recv);
    set("tcp_established", &mut all.tcp_established);
    set("tcp_unacknowledged", &mut all.tcp_unacknowledged);
    set("tcp_fin_wait", &mut all.tcp_fin_wait);
    set("tcp_close_wait", &mut all.tcp_close_wait);
    set("tcp_last_ack", &mut all.tcp_last_ack);
    set("tcp_time_wait", &mut all.tcp_time_wait);
    set("tcp_close", &mut all.tcp_close);
    set("udp", &mut all.udp);
    set("udp_stream", &mut all.udp_stream);
    set("icmp", &mut all.icmp);
    set("sctp_setup", &mut all.sctp_setup);
    set("sctp_established", &mut all.sctp_established);
    set("sctp_close", &mut all.sctp_close);
    set("gre", &mut all.gre);
    set("esp", &mut all.esp);
    set("other", &mut all.other);
    set("fragment", &mut all.fragment);
    all
}

/// `[sanity]`.
pub(super) fn sanity(document: &Document<'_>) -> Sanity {
    Sanity { pass_ip_options: document.table("sanity").choice("ip_options") == "pass" }
}

/// `[workers]`: the cores, and how workers wait.
pub(super) fn workers(document: &Document<'_>, out: &mut Vec<Diagnostic>) -> (Vec<usize>, Idle) {
    let row = document.table("workers");
    let mut seen = HashMap::new();
    let mut cores = Vec::new();
    for core in row.integers("cores") {
        let Ok(number) = usize::try_from(core.value) else { continue };
        if let Some(first) = seen.insert(number, core.span) {
            out.push(
                Diagnostic::error(Code::DuplicateItem, core.span, format!("core {number} is listed twice"))
                    .label("again here")
                    .related(first, "first here")
                    .help("give each worker a core of its own"),
            );
        }
        cores.push(number);
    }
    let idle = if row.choice("idle") == "poll" { Idle::Poll } else { Idle::Adaptive };
    (cores, idle)
}
