//! Which rules make a policy compile badly, and what to do about each.

use crate::config::Configuration;
use crate::diagnostic::{Code, Diagnostic};
use classifier::compile::{RuleCost, Survey, Width};
use classifier::policy::RuleId;
use classifier::tables::Form;

/// Rules that are named of each kind; how many more there are is said of the last.
const NAMED: usize = 10;
/// Below so many pairs a rule is not worth a word, whatever its part of all of them.
const MANY_PAIRS: usize = 10_000;
/// A rule is costly from one in so many of all entries on.
const LARGE_PART: usize = 10;

/// The warnings of all kinds.
pub(super) fn warnings(configuration: &Configuration, survey: &Survey) -> Vec<Diagnostic> {
    let form = survey.tables.statistics().form;
    let entries = survey.entries();
    let wide: Vec<&RuleCost> = survey.overlay().collect();
    let large = |cost: &&RuleCost| cost.pairs >= MANY_PAIRS && cost.pairs >= entries / LARGE_PART;
    let costly: Vec<&RuleCost> = survey.costs.iter().filter(large).collect();
    let crowded: Vec<&RuleCost> = survey.costs.iter().filter(|cost| cost.general_lines > 0).collect();
    let named = |costs, by: fn(&RuleCost) -> usize, say: &dyn Fn(&RuleCost) -> Diagnostic| {
        most(costs, by).into_iter().map(say).collect::<Vec<_>>()
    };
    let rest = |mut said: Vec<Diagnostic>, all: usize| {
        if let Some(last) = said.pop() {
            let more = all - said.len() - 1;
            let plural = if more == 1 { "" } else { "s" };
            let remark = format!("{more} more rule{plural} of this kind cost less");
            said.push(if more == 0 { last } else { last.remark(remark) });
        }
        said
    };
    let counts = [wide.len(), costly.len(), crowded.len()];
    let wide = named(wide, |cost| cost.pairs, &|cost| wide_rule(configuration, cost, form));
    let costly = named(costly, |cost| cost.pairs, &|cost| costly_rule(configuration, cost, entries));
    let crowded = named(crowded, |cost| cost.general_lines, &|cost| crowded_ports(configuration, cost));
    [wide, costly, crowded].into_iter().zip(counts).flat_map(|(said, all)| rest(said, all)).collect()
}

/// Those that have the most, the first in evaluation before others.
fn most(mut costs: Vec<&RuleCost>, by: fn(&RuleCost) -> usize) -> Vec<&RuleCost> {
    costs.sort_by_key(|cost| std::cmp::Reverse(by(cost)));
    costs.truncate(NAMED);
    costs
}

fn at_rule(configuration: &Configuration, rule: RuleId, code: Code, message: String) -> Diagnostic {
    Diagnostic::warning(code, configuration.rule_spans[rule.0 as usize], message)
}

fn name(configuration: &Configuration, rule: RuleId) -> &str {
    &configuration.policy.rules()[rule.0 as usize].id
}

fn wide_rule(configuration: &Configuration, cost: &RuleCost, form: Form) -> Diagnostic {
    let side = |width: Width, side: &str| match width {
        Width::Narrow => None,
        Width::Any => Some(format!("its {side} is `any`")),
        Width::Wide => Some(format!("its {side} is in many kinds of endpoints")),
    };
    let sides = [side(cost.from, "source"), side(cost.to, "destination")];
    let why = sides.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    let id = name(configuration, cost.rule);
    let message = format!("rule `{id}` is looked up apart from the rules of the pair, because {why}");
    let cost_of = match form {
        Form::Grouped => "every packet is held against each group of rules by itself",
        Form::Layers | Form::Lines | Form::Rows => "every packet takes two look-ups more",
    };
    at_rule(configuration, cost.rule, Code::WideRule, message).remark(cost_of).help(
        "name the segments that it is for, or cut down the segments that overlap the wide side; \
         where most rules name a side of their own, few wide ones do no harm",
    )
}

fn costly_rule(configuration: &Configuration, cost: &RuleCost, entries: usize) -> Diagnostic {
    let id = name(configuration, cost.rule);
    let message = format!("rule `{id}` takes {} of the {entries} rules in pairs of endpoints", cost.pairs);
    at_rule(configuration, cost.rule, Code::CostlyRule, message)
        .help("write `any` for a side that covers nearly all, or narrow it to the segments that need it")
}

fn crowded_ports(configuration: &Configuration, cost: &RuleCost) -> Diagnostic {
    let id = name(configuration, cost.rule);
    let lists = cost.general_lines;
    let plural = if lists == 1 { "" } else { "s" };
    let message = format!("rule `{id}` is in {lists} list{plural} of ports too long for a cache line");
    at_rule(configuration, cost.rule, Code::CrowdedPorts, message).help(
        "join its ports to ranges, leave source ports out, or join rules of the same pair that differ in ports alone",
    )
}
