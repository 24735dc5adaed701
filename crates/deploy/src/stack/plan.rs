//! Who may call and how much: the first API key, the usage plan with its limits, and the key's place in it.

use serde_json::json;

use super::template::{Resource, Template, reference};
use super::{StackSettings, front};

/// The first key.
pub(super) const KEY: &str = "FirstKey";
/// The usage plan.
pub(super) const PLAN: &str = "UsagePlan";

pub(super) fn put(template: &mut Template, settings: &StackSettings) {
    let key = json!({
        "Name": settings.name.with("ThirdPartyServerKey"),
        "Description": "The first key of third-party servers",
        "Enabled": true,
    });
    let resources = &mut template.resources;
    // Its value is AWS's: a value in the template could be read by whoever may describe the stack.
    resources.put(KEY, Resource::new("AWS::ApiGateway::ApiKey", key));
    let mut plan = json!({
        "UsagePlanName": settings.name.with("ThirdPartyUsagePlan"),
        "Description": "What each third party may send",
        "ApiStages": [{ "ApiId": reference(front::API), "Stage": reference(front::STAGE) }],
    });
    if settings.each_key.rate_limit > 0.0 {
        plan["Throttle"] = json!({ "RateLimit": settings.each_key.rate_limit, "BurstLimit": settings.each_key.burst_limit });
    }
    if let Some(quota) = &settings.quota {
        plan["Quota"] = json!({ "Limit": quota.limit, "Period": quota.period });
    }
    resources.put(PLAN, Resource::new("AWS::ApiGateway::UsagePlan", plan));
    let membership = json!({ "KeyId": reference(KEY), "KeyType": "API_KEY", "UsagePlanId": reference(PLAN) });
    resources.put("FirstKeyInPlan", Resource::new("AWS::ApiGateway::UsagePlanKey", membership));
}
