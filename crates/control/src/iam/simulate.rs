//! Asking what a policy would say, without trying (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>).
//!
//! The decisions are those of real calls, made by the same code. Which statement decided is not told.

use std::sync::Arc;

use frontdesk_aws::ServiceError;
use frontdesk_aws::policy::{Context, Decision, Policy};
use serde_json::{Value, json};

use super::Call;
use crate::identity::{Grants, IamError, IdentityService};

/// Of a user, group or role, with the policies of the call besides.
pub(super) fn principal(call: &Call, iam: &IdentityService) -> Result<Value, ServiceError> {
    let arn = call.required("PolicySourceArn")?;
    let directory = iam.directory();
    let unknown = || IamError::NoSuchEntity(format!("No user, group or role has the ARN {arn}."));
    let entry = directory.identity_of_arn(arn).ok_or_else(unknown)?;
    let mut grants = directory.grants_of(entry);
    grants.identity.extend(policies_of(call, "PolicyInputList")?);
    results(call, &grants, &context(call).with("aws:PrincipalArn", arn))
}

/// Of the call's own policies alone.
pub(super) fn custom(call: &Call) -> Result<Value, ServiceError> {
    let grants = Grants { identity: policies_of(call, "PolicyInputList")?, ..Grants::default() };
    results(call, &grants, &context(call))
}

fn policies_of(call: &Call, name: &str) -> Result<Vec<Arc<Policy>>, IamError> {
    let documents = call.parameters.list(name).into_iter();
    documents.map(|document| Ok(Arc::new(Policy::parse(document)?))).collect()
}

fn context(call: &Call) -> Context {
    let mut context = Context::new();
    for number in 1.. {
        let entry = format!("ContextEntries.member.{number}");
        let Some(key) = call.parameters.get(&format!("{entry}.ContextKeyName")) else { break };
        context = context.with_all(key.to_owned(), call.parameters.list(&format!("{entry}.ContextKeyValues")));
    }
    context
}

fn results(call: &Call, grants: &Grants, context: &Context) -> Result<Value, ServiceError> {
    let actions = call.parameters.list("ActionNames");
    let mut resources = call.parameters.list("ResourceArns");
    if resources.is_empty() {
        resources.push("*");
    }
    if actions.is_empty() {
        call.required("ActionNames")?;
    }
    let pairs = actions.iter().flat_map(|action| resources.iter().map(move |resource| (*action, *resource))).collect();
    call.page("EvaluationResults", pairs, |(action, resource)| {
        let decision = match grants.decide(action, &[resource], context).1 {
            Decision::Allowed => "allowed",
            Decision::ExplicitDeny => "explicitDeny",
            Decision::ImplicitDeny => "implicitDeny",
        };
        json!({ "EvalActionName": action, "EvalResourceName": resource, "EvalDecision": decision })
    })
}
