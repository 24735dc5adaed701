//! Issue 4, 429 Too Many Requests: which limit it is, and how much of it is used.

use super::facts::{Facts, PlanFacts, usage_of};
use super::finding::{Finding, Verdict};
use super::remedy;

const ISSUE: u8 = 4;
/// From this share of a quota on its end is told beforehand.
const NEARLY_SPENT: f64 = 0.8;

/// The plans that open the stage, then the stage's own limits.
pub(super) fn examine(facts: &Facts, wanted_key: Option<&str>) -> Vec<Finding> {
    let opening = facts.plans.iter().filter(|plan| facts.opens(plan));
    let mut findings: Vec<Finding> = opening.flat_map(|plan| of_plan(facts, plan, wanted_key)).collect();
    let stage = facts.stages.iter().find(|stage| stage.name == facts.stage);
    if let Some((rate, burst)) = stage.and_then(|stage| stage.throttle).filter(|(rate, burst)| lets_nothing_through(*rate, *burst)) {
        let said = format!(
            "it lets {rate} requests a second through, {burst} at once: callers get 429 Too Many Requests whatever their plan says"
        );
        findings.push(Finding::bad(format!("Limits of the stage {}", facts.stage), said).mended_by([remedy::lift_stage_throttle(facts)]));
    }
    findings.into_iter().map(|finding| finding.of(ISSUE)).collect()
}

/// No request finds a whole token.
fn lets_nothing_through(rate: f64, burst: u64) -> bool {
    rate <= 0.0 || burst == 0
}

fn of_plan(facts: &Facts, plan: &PlanFacts, wanted_key: Option<&str>) -> Vec<Finding> {
    let mut findings = vec![of_speed(facts, plan)];
    let Some((limit, period)) = &plan.quota else { return findings };
    for key in facts.keys.iter().filter(|key| plan.key_ids.contains(&key.id)) {
        if wanted_key.is_some_and(|wanted| key.id != wanted && key.name != wanted) {
            continue;
        }
        let what = format!("Quota of {}", key.name);
        if facts.is_unread(&usage_of(&plan.name)) {
            findings.push(Finding::lacking(
                what,
                format!("{limit} requests a {}; what is used of them could not be read", period.to_lowercase()),
            ));
            continue;
        }
        let per = period.to_lowercase();
        let (used_today, left) = plan.usage.get(&key.id).copied().unwrap_or((0, Some(*limit)));
        let left = left.unwrap_or(*limit);
        let told = format!("{left} of {limit} requests left this {per}, {used_today} used today");
        findings.push(if left == 0 {
            let said = format!("spent: {told}; its holder gets 429 Limit Exceeded until the next {per}");
            // Without a name it may be meant as it is: that is what a quota is for.
            let finding = if wanted_key.is_some() { Finding::bad(what, said) } else { Finding::lacking(what, said) };
            finding.mended_by([remedy::extend_quota(facts, plan, &key.id, *limit)])
        } else if (left as f64) < *limit as f64 * (1.0 - NEARLY_SPENT) {
            Finding::lacking(what, format!("nearly spent: {told}")).mended_by([remedy::extend_quota(facts, plan, &key.id, *limit)])
        } else {
            Finding::good(what, told)
        });
    }
    findings
}

fn of_speed(facts: &Facts, plan: &PlanFacts) -> Finding {
    let what = format!("Speed of {}", plan.name);
    let Some((rate, burst)) = plan.throttle else { return Finding::good(what, "not limited by the plan") };
    let limits = format!("{rate} requests a second, {burst} at once");
    if lets_nothing_through(rate, burst) {
        let said = format!("{limits}: callers get 429 Too Many Requests");
        // The guide's own limits.
        return Finding::bad(what, said).mended_by([remedy::raise_throttle(facts, plan, 50.0, 100)]);
    }
    match facts.refused.get("throttled").filter(|refused| **refused > 0) {
        // They may have been turned away for good reason: the limit is there to be raised, not for this program to raise.
        Some(refused) => Finding {
            verdict: Verdict::Lacking,
            ..Finding::good(what, format!("{limits}; {refused} requests were turned away for speed since the host's start"))
                .mended_by([remedy::raise_throttle(facts, plan, rate * 2.0, burst * 2)])
        },
        None => Finding::good(what, limits),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{KeyFacts, StageFacts};
    use super::*;

    fn check(change: impl FnOnce(&mut Facts), expected: &[(Verdict, &str, &str)]) {
        check_of(None, change, expected);
    }

    fn check_of(wanted_key: Option<&str>, change: impl FnOnce(&mut Facts), expected: &[(Verdict, &str, &str)]) {
        let mut facts = Facts {
            api_id: "a".to_owned(),
            stage: "prod".to_owned(),
            stages: vec![StageFacts { name: "prod".to_owned(), ..StageFacts::default() }],
            keys: vec![KeyFacts { id: "k".to_owned(), name: "partner".to_owned(), enabled: true, ..KeyFacts::default() }],
            plans: vec![PlanFacts {
                id: "p".to_owned(),
                name: "plan".to_owned(),
                throttle: Some((50.0, 100)),
                quota: Some((10, "DAY".to_owned())),
                stages: vec![("a".to_owned(), "prod".to_owned())],
                key_ids: vec!["k".to_owned()],
                ..PlanFacts::default()
            }],
            ..Facts::default()
        };
        change(&mut facts);
        let found = examine(&facts, wanted_key);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (finding, (verdict, said, command)) in found.iter().zip(expected) {
            let line = finding.remedy.first().map(|step| step.line.as_str()).unwrap_or_default();
            assert!(finding.verdict == *verdict && finding.said.contains(said) && line.contains(command), "{finding:#?}");
            assert_eq!(line.is_empty(), command.is_empty(), "{finding:#?}");
        }
    }

    fn used(facts: &mut Facts, today: u64, left: u64) {
        facts.plans[0].usage.insert("k".to_owned(), (today, Some(left)));
    }

    #[test]
    fn the_limit_is_named_with_what_is_used_of_it() {
        let speed = (Verdict::Good, "50 requests a second, 100 at once", "");
        check(|_| {}, &[speed, (Verdict::Good, "10 of 10 requests left", "")]);
        check(|it| used(it, 7, 3), &[speed, (Verdict::Good, "3 of 10 requests left this day, 7 used today", "")]);
        check(|it| used(it, 9, 1), &[speed, (Verdict::Lacking, "nearly spent", "update-usage --usage-plan-id p --key-id k")]);
        let spent = |verdict| (verdict, "429 Limit Exceeded", "op=replace,path=/remaining,value=10");
        check(|it| used(it, 10, 0), &[speed, spent(Verdict::Lacking)]);
        check_of(Some("partner"), |it| used(it, 10, 0), &[speed, spent(Verdict::Bad)]);
        let unread = |it: &mut Facts| it.unread.push(("Usage of plan".to_owned(), "403".to_owned()));
        check(unread, &[speed, (Verdict::Lacking, "could not be read", "")]);
        check(|it| it.plans[0].quota = None, &[speed]);
        check(
            |it| (it.plans[0].throttle, it.plans[0].quota) = (Some((1.0, 0)), None),
            &[(Verdict::Bad, "429 Too Many Requests", "path=/throttle/rateLimit,value=50 op=replace,path=/throttle/burstLimit,value=100")],
        );
        let raise = "path=/throttle/rateLimit,value=100 op=replace,path=/throttle/burstLimit,value=200";
        check(
            |it| {
                it.refused.insert("throttled".to_owned(), 7);
                it.plans[0].quota = None;
            },
            &[(Verdict::Lacking, "7 requests were turned away", raise)],
        );
        check(
            |it| (it.stages[0].throttle, it.plans[0].quota) = (Some((0.0, 5)), None),
            &[speed, (Verdict::Bad, "whatever their plan says", "update-stage --rest-api-id a --stage-name prod")],
        );
    }
}
