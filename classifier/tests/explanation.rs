//! Explanations agree with the reference, and every nearest allow is told for a reason.

mod random;

use classifier::analysis::{Change, Step, TierEnd, explain};
use classifier::decision::Verdict;
use classifier::reference::Reference;
use classifier::tables::Tables;
use random::{NOW, Random, Scenario, Size};
use std::sync::Arc;

#[test]
fn explanations_agree_with_the_reference_and_every_denied_flow_has_a_nearest_allow() {
    let mut kinds = std::collections::BTreeMap::new();
    for seed in 1..600 {
        let mut random = Random(seed);
        let scenario = Scenario::new(&mut random, Size { segments: 6, rules: 14 });
        let policy = Arc::new(scenario.policy.clone());
        let tables = Tables::compile(Arc::clone(&policy), NOW).expect("small policies are within the limits");
        let reference = Reference::new(&policy, NOW);
        for _ in 0..40 {
            let (source, destination, packet) = scenario.packet(&mut random);
            let found = explain(&tables, &source, &destination, packet);
            let context = || format!("seed {seed}: {source:?} -> {destination:?} {packet:?}\n{policy:#?}");
            assert_eq!(found.judgement, reference.judge(&source, &destination, packet), "{}", context());
            let steps: Vec<Step> = found.tiers.iter().flat_map(|t| t.steps.iter().copied()).collect();
            let first_monitor = steps.iter().find(|s| matches!(s, Step::Recorded(_))).map(|s| s.rule());
            assert_eq!(found.judgement.first_monitor, first_monitor, "{}", context());
            let end = found.tiers.last().expect("a policy has a tier").end;
            let decided = if let TierEnd::Decided(rule) = end { Some(rule) } else { None };
            assert_eq!(found.judgement.decided_by, decided, "{}", context());
            assert_eq!(
                found.decision.verdict != Verdict::Allow,
                found.nearest_allow.is_some(),
                "a denied flow has a nearest allow, an allowed one has none; {}",
                context()
            );
            if let Some(nearest) = found.nearest_allow {
                let kind = match nearest.change {
                    Change::AddServiceToRule(_) => "service to rule",
                    Change::AddToSegment(..) => "end to segment",
                    Change::AddToRule(..) => "end to rule",
                    Change::UseService(..) => "other service",
                    Change::MonitorRule(_) => "monitor",
                    Change::AddRule { .. } => "new rule",
                };
                *kinds.entry(kind).or_insert(0) += 1;
                if let Change::UseService(rule, instead) = nearest.change {
                    let decision = reference.decide(&source, &destination, instead);
                    assert_eq!((decision.verdict, nearest.by), (Verdict::Allow, decision.rule));
                    assert!(reference.matches(policy.rule(rule), &source, &destination, instead));
                }
            }
        }
    }
    println!("{kinds:?}");
    assert_eq!(kinds.len(), 6, "every kind of change is told: {kinds:?}");
}
