//! CloudWatch (service `monitoring`): metrics and alarms, in the three protocols that its SDKs speak (`rpc.rs`)
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Operations.html>).

mod alarms;
mod documents;
mod figures;
mod queries;
mod tags;

use std::sync::Arc;

use frontdesk_aws::ServiceError;
use frontdesk_aws::document::Document;
use frontdesk_store::StoreError;
use http::StatusCode;

use crate::identity::Principal;
use crate::members::Members;
use crate::metrics::{AlarmError, MetricService};
use crate::operation::operations;
use crate::query::Protocol;
use crate::rpc::RpcService;

/// The service's name in ARNs and in IAM actions. In signatures it has another.
const SERVICE: &str = "cloudwatch";

pub(crate) const RPC: RpcService = RpcService {
    signing_name: "monitoring",
    target: "GraniteServiceVersion20100801",
    json_type: "application/x-amz-json-1.0",
    query: Some(Protocol {
        service: "monitoring",
        namespace: "http://monitoring.amazonaws.com/doc/2010-08-01/",
        failure: "InternalServiceError",
    }),
    // Of botocore's service model.
    query_codes: &[
        ("InternalServiceFault", "InternalServiceError"),
        ("InternalServerException", "InternalServiceError"),
        ("InvalidFormatFault", "InvalidFormat"),
        ("InvalidParameterCombinationException", "InvalidParameterCombination"),
        ("InvalidParameterValueException", "InvalidParameterValue"),
        ("LimitExceededFault", "LimitExceeded"),
        ("MissingRequiredParameterException", "MissingParameter"),
        ("UnknownOperationException", "InvalidAction"),
        ("ValidationException", "ValidationError"),
    ],
};

operations! {
    CloudWatch:
    PutMetricData POST "/service/GraniteServiceVersion20100801/operation/PutMetricData";
    ListMetrics POST "/service/GraniteServiceVersion20100801/operation/ListMetrics";
    GetMetricStatistics POST "/service/GraniteServiceVersion20100801/operation/GetMetricStatistics";
    GetMetricData POST "/service/GraniteServiceVersion20100801/operation/GetMetricData";
    PutMetricAlarm POST "/service/GraniteServiceVersion20100801/operation/PutMetricAlarm";
    DescribeAlarms POST "/service/GraniteServiceVersion20100801/operation/DescribeAlarms";
    DescribeAlarmsForMetric POST "/service/GraniteServiceVersion20100801/operation/DescribeAlarmsForMetric";
    DescribeAlarmHistory POST "/service/GraniteServiceVersion20100801/operation/DescribeAlarmHistory";
    DeleteAlarms POST "/service/GraniteServiceVersion20100801/operation/DeleteAlarms";
    SetAlarmState POST "/service/GraniteServiceVersion20100801/operation/SetAlarmState";
    EnableAlarmActions POST "/service/GraniteServiceVersion20100801/operation/EnableAlarmActions";
    DisableAlarmActions POST "/service/GraniteServiceVersion20100801/operation/DisableAlarmActions";
    TagResource POST "/service/GraniteServiceVersion20100801/operation/TagResource";
    UntagResource POST "/service/GraniteServiceVersion20100801/operation/UntagResource";
    ListTagsForResource POST "/service/GraniteServiceVersion20100801/operation/ListTagsForResource";
}

/// A call, verified.
pub(crate) struct Call {
    /// The operation's name, which may be none.
    pub(crate) operation: String,
    pub(crate) request: Document,
    pub(crate) principal: Principal,
    pub(crate) now_ms: i64,
}

/// Performs one operation. All block on the database, so they run on a blocking thread.
///
/// # Errors
/// CloudWatch's own, by their names in its model.
pub(crate) async fn perform(call: Call, metrics: Arc<MetricService>) -> Result<Document, ServiceError> {
    let Some(operation) = OPERATIONS.iter().find(|operation| operation.name == call.operation) else {
        let message = format!("Could not find operation {} for version 2010-08-01", call.operation);
        return Err(ServiceError::new(StatusCode::BAD_REQUEST, "UnknownOperationException", message));
    };
    let (id, name) = (operation.id, operation.name);
    let done = tokio::task::spawn_blocking(move || answer(id, name, &call, &metrics)).await;
    done.map_err(|panicked| ServiceError::internal_server(panicked.to_string()))?
}

fn answer(id: CloudWatch, name: &str, call: &Call, metrics: &MetricService) -> Result<Document, ServiceError> {
    let request = Members::of(&call.request);
    let now_ms = call.now_ms;
    // A policy speaks of single alarms where the operation names some, of everything otherwise
    // (https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html).
    let mut resources: Vec<String> = match id {
        CloudWatch::PutMetricAlarm | CloudWatch::SetAlarmState => {
            request.text("AlarmName")?.map(|alarm| metrics.alarm_arn(alarm)).into_iter().collect()
        }
        CloudWatch::DeleteAlarms | CloudWatch::EnableAlarmActions | CloudWatch::DisableAlarmActions => {
            request.texts("AlarmNames")?.iter().map(|alarm| metrics.alarm_arn(alarm)).collect()
        }
        CloudWatch::TagResource | CloudWatch::UntagResource | CloudWatch::ListTagsForResource => {
            request.text("ResourceARN")?.map(str::to_owned).into_iter().collect()
        }
        _ => Vec::new(),
    };
    if resources.is_empty() {
        resources.push("*".to_owned());
    }
    resources.iter().try_for_each(|resource| call.principal.authorize(&format!("{SERVICE}:{name}"), &[resource]))?;
    match id {
        CloudWatch::PutMetricData => figures::put(&request, metrics, now_ms),
        CloudWatch::ListMetrics => figures::list(&request, metrics, now_ms),
        CloudWatch::GetMetricStatistics => figures::statistics(&request, metrics, now_ms),
        CloudWatch::GetMetricData => queries::data(&request, metrics, now_ms),
        CloudWatch::PutMetricAlarm => alarms::put(&request, metrics, now_ms),
        CloudWatch::DescribeAlarms => alarms::describe(&request, metrics),
        CloudWatch::DescribeAlarmsForMetric => alarms::describe_for_metric(&request, metrics),
        CloudWatch::DescribeAlarmHistory => alarms::history(&request, metrics, now_ms),
        CloudWatch::DeleteAlarms => alarms::delete(&request, metrics, now_ms),
        CloudWatch::SetAlarmState => alarms::set_state(&request, metrics, now_ms),
        CloudWatch::EnableAlarmActions => alarms::enable_actions(&request, metrics, true, now_ms),
        CloudWatch::DisableAlarmActions => alarms::enable_actions(&request, metrics, false, now_ms),
        CloudWatch::TagResource => tags::tag(&request, metrics, now_ms),
        CloudWatch::UntagResource => tags::untag(&request, metrics, now_ms),
        CloudWatch::ListTagsForResource => tags::list(&request, metrics),
    }
}

/// A failure of the database.
fn of_store(error: StoreError) -> ServiceError {
    tracing::error!(error = &error as &dyn std::error::Error, "CloudWatch's API failed");
    ServiceError::internal_server(error.to_string())
}

fn of_alarms(error: AlarmError) -> ServiceError {
    match error {
        AlarmError::NotFound(_) => ServiceError::new(StatusCode::NOT_FOUND, "ResourceNotFound", error.to_string()),
        AlarmError::TooMany => ServiceError::new(StatusCode::BAD_REQUEST, "LimitExceededFault", error.to_string()),
        AlarmError::Store(error) => of_store(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_at_the_path_of_its_name() {
        for operation in OPERATIONS {
            assert_eq!(operation.path, format!("/service/{}/operation/{}", RPC.target, operation.name));
        }
    }
}
