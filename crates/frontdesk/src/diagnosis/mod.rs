//! What may be wrong with an API in front of an agent: the five issues of the guide's troubleshooting, in its order.
//!
//! [`gather()`] reads the facts by AWS's own calls, so that a host and a stack on AWS are looked at alike; the issues are functions of the facts alone, one file
//! each; [`remedy`] mends. Nothing is mended that no issue has named, and nothing that may be meant as it is: that gets a command to paste.

mod answers;
pub(crate) mod calls;
mod facts;
mod finding;
mod forbidden;
mod gather;
mod limits;
mod permissions;
pub(crate) mod remedy;
mod timeouts;

pub(crate) use facts::{Facts, KeyFacts, Known, PlanFacts, Probe};
pub(crate) use finding::{Finding, Verdict};
pub(crate) use gather::{Wanted, gather};

/// What is found, in the guide's order.
pub(crate) fn examine(facts: &Facts, wanted_key: Option<&str>) -> Vec<Finding> {
    let mut findings = forbidden::examine(facts, wanted_key);
    findings.extend(timeouts::examine(facts));
    findings.extend(permissions::examine(facts));
    findings.extend(limits::examine(facts, wanted_key));
    findings.extend(answers::examine(facts));
    let unread = facts.unread.iter().map(|(what, why)| Finding::lacking(what.clone(), format!("it could not be looked at: {why}")));
    findings.extend(unread);
    findings
}
