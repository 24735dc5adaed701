//! The account's settings: the role in whose name stages write their logs.

use http::StatusCode;
use serde_json::{Value, json};

use super::apis::steps;
use super::{Answer, ApiGateway as Op, Call, Rooms, bad_request, documents, of_api};

/// Who writes the logs.
const WRITER: &str = "apigateway.amazonaws.com";

pub(super) fn account(call: &Call, rooms: &Rooms) -> Answer {
    if call.operation == Op::UpdateAccount {
        for step in steps(call)? {
            match step.place()[..] {
                ["cloudwatchRoleArn"] => {
                    let arn = step.optional()?.filter(|arn| !arn.is_empty());
                    if let Some(arn) = &arn {
                        check(rooms, arn)?;
                    }
                    rooms.apis.set_account_log_role(arn.as_deref()).map_err(of_api)?;
                }
                _ => return Err(step.no_such_place(&["/cloudwatchRoleArn"])),
            }
        }
    }
    Ok((StatusCode::OK, document(rooms.apis.account_log_role().map_err(of_api)?)))
}

/// A role that the gateway may not assume would write nothing, and nobody would notice.
fn check(rooms: &Rooms, arn: &str) -> Result<(), frontdesk_aws::ServiceError> {
    let is_trusting = rooms.identities.as_ref().is_some_and(|identities| identities.trusts(WRITER, arn));
    let refusal = "The role ARN does not have required permissions configured. Please grant trust permission for API Gateway and add the required role policy.";
    is_trusting.then_some(()).ok_or_else(|| bad_request(refusal))
}

/// The limits are API Gateway's own for an account; here the machine is the limit.
fn document(role: Option<String>) -> Value {
    documents::without_nulls(json!({
        "cloudwatchRoleArn": role,
        "throttleSettings": { "rateLimit": 10_000.0, "burstLimit": 5_000 },
        "features": ["UsagePlans"],
        "apiKeyVersion": "4",
    }))
}
