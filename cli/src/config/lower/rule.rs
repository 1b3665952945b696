//! `[policy]` and `[[rule]]`.

use super::endpoint::{Place, Scope};
use super::names::Names;
use super::network::Network;
use super::row::{Document, Located, Row};
use super::scalar;
use super::segment::Segments;
use super::service::Services;
use crate::config::source::Span;
use crate::config::words::OF_QUARANTINES;
use crate::diagnostic::{Code, Diagnostic};
use classifier::policy::{
    Action, DefaultAction, Established, Mode, PolicyBuilder, Rule, RuleId, TierId, Timestamp,
};

/// The tier where the file names none.
const DEFAULT_TIER: &str = "default";

/// The policy in the making, and the names of its rules.
pub(super) struct Rules {
    pub(super) builder: PolicyBuilder,
    pub(super) names: Names<RuleId>,
    pub(super) spans: Vec<Span>,
}

/// All rules in the order of the files.
pub(super) fn lower(
    document: &Document<'_>,
    network: &Network,
    segments: &Segments,
    services: &Services,
    now: Timestamp,
    out: &mut Vec<Diagnostic>,
) -> Rules {
    let policy = document.table("policy");
    let (tiers, tier_names) = tiers(&policy, out);
    let mode = policy_mode(&policy, out);
    let default = default_action(&policy, out);
    let last = TierId(u16::try_from(tiers.len().saturating_sub(1)).unwrap_or(u16::MAX));
    let mut builder = PolicyBuilder::new(tiers, default, mode);
    for segment in &segments.all {
        builder.segment(segment.clone());
    }
    let mut names = Names::new("rule");
    let mut spans = Vec::new();
    let scope = Scope { network, segments: &segments.names, place: Place::Rule };
    let rows = document.rows("rule");
    names.reserve(rows.len());
    for (index, row) in rows.into_iter().enumerate() {
        if let Some(id) = row.text("id") {
            scalar::check_free_name(id, "id of a rule", out);
            check_not_reserved(id, out);
            names.declare(id, RuleId(u32::try_from(index).expect("fewer than 2^32 rules")), out);
        }
        let tier = match row.text("tier") {
            Some(tier) => tier_names.find(tier, Code::UnknownTier, out).unwrap_or(last),
            None => last,
        };
        spans.push(row.text("id").map_or(row.span, |id| id.span));
        let expires = expires(&row, now, out);
        builder.rule(Rule {
            id: row.text("id").map_or("", |id| id.value).to_owned(),
            tier,
            from: scope.set(&row, "from", out),
            to: scope.set(&row, "to", out),
            services: services.of(&row, out),
            action: action(&row),
            mode: mode_of(&row),
            log: row.flag("log"),
            established: if row.choice("established") == "keep" {
                Established::Keep
            } else {
                Established::Recheck
            },
            expires,
            idle_timeout: scalar::duration(&row, "idle_timeout", out),
            max_flows: row.number("max_flows"),
            owner: free(&row, "owner"),
            ticket: free(&row, "ticket"),
            description: free(&row, "description"),
        });
    }
    Rules { builder, names, spans }
}

fn tiers(policy: &Row<'_>, out: &mut Vec<Diagnostic>) -> (Vec<String>, Names<TierId>) {
    let mut names = Names::new("tier");
    let mut tiers = Vec::new();
    for name in policy.texts("tiers") {
        scalar::check_name(name, "tier", "-.", out);
        let Ok(id) = u16::try_from(tiers.len()) else {
            out.push(
                Diagnostic::error(Code::OutOfRange, name.span, "a policy has at most 65536 tiers")
                    .help("take this tier and those behind it out"),
            );
            break;
        };
        names.declare(name, TierId(id), out);
        tiers.push(name.value.to_owned());
    }
    if tiers.is_empty() {
        if let Some(value) = policy.value("tiers")
            && matches!(&value.data, crate::config::tree::Data::List(list) if list.is_empty())
        {
            out.push(
                Diagnostic::error(Code::EmptyList, value.span, "a policy has at least one tier")
                    .help("name the tiers in the order of evaluation, or leave `tiers` out"),
            );
        }
        let span = policy.value("tiers").map_or(policy.span, |value| value.span);
        names.declare(super::row::Located::new(DEFAULT_TIER, span), TierId(0), out);
        tiers.push(DEFAULT_TIER.to_owned());
    }
    (tiers, names)
}

fn policy_mode(policy: &Row<'_>, out: &mut Vec<Diagnostic>) -> Mode {
    let mode = mode_of(policy);
    if let (Mode::Monitor, Some(text)) = (mode, policy.text("mode")) {
        out.push(
            Diagnostic::note(Code::MonitorMode, text.span, "the whole policy only monitors")
                .remark("verdicts are recorded as would-deny and would-reject, and none drops a packet")
                .help("write \"enforce\" when the record shows what you expect"),
        );
    }
    mode
}

fn default_action(policy: &Row<'_>, out: &mut Vec<Diagnostic>) -> DefaultAction {
    match policy.choice("default") {
        "reject" => DefaultAction::Reject,
        "allow" => {
            if let Some(text) = policy.text("default") {
                out.push(
                    Diagnostic::warning(
                        Code::DefaultAllow,
                        text.span,
                        "all that no rule decides is let through",
                    )
                    .help("write \"deny\"; to try a policy out, write mode = \"monitor\""),
                );
            }
            DefaultAction::Allow
        }
        _ => DefaultAction::Deny,
    }
}

fn expires(row: &Row<'_>, now: Timestamp, out: &mut Vec<Diagnostic>) -> Option<Timestamp> {
    let moment = scalar::moment(row, "expires", out)?;
    if moment.value <= now {
        let name = row.text("id").map_or("this rule".to_owned(), |id| format!("rule `{}`", id.value));
        out.push(
            Diagnostic::warning(Code::ExpiredRule, moment.span, format!("{name} has expired"))
                .remark("it is as if it were not there")
                .help("take the rule out, or move the date"),
        );
    }
    Some(moment.value)
}

fn action(row: &Row<'_>) -> Action {
    match row.choice("action") {
        "deny" => Action::Deny,
        "reject" => Action::Reject,
        "pass" => Action::Pass,
        _ => Action::Allow,
    }
}

fn mode_of(row: &Row<'_>) -> Mode {
    if row.choice("mode") == "monitor" { Mode::Monitor } else { Mode::Enforce }
}

fn free(row: &Row<'_>, key: &'static str) -> Option<String> {
    row.text(key).map(|text| text.value.to_owned())
}

/// An operator's quarantine is two rules with ids of its own, which no rule of a file may take from it.
fn check_not_reserved(id: Located<&str>, out: &mut Vec<Diagnostic>) {
    if let Some(prefix) = OF_QUARANTINES.iter().find(|prefix| id.value.starts_with(**prefix)) {
        out.push(
            Diagnostic::error(Code::BadName, id.span, format!("`{}` can't be the id of a rule", id.value))
                .help(format!(
                    "ids that begin with `{prefix}` are those of `bulkhead quarantine`: use another"
                )),
        );
    }
}
