//! API Gateway's `$context` variables: what logs, mappings and templates may ask of a request
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html>). None holds a key, a prompt or an answer.

use std::borrow::Cow;

use http::StatusCode;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::answer::extended_request_id;
use crate::exchange::{CacheUse, Ended, Exchange};

const REQUEST_TIME: &[BorrowedFormatItem<'_>] = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// A `$context` variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variable {
    AccountId,
    ApiId,
    Cache,
    DomainName,
    DeploymentId,
    DomainPrefix,
    ErrorMessage,
    ErrorMessageString,
    ErrorResponseType,
    ExtendedRequestId,
    HttpMethod,
    ApiKeyId,
    SourceIp,
    UserAgent,
    IntegrationError,
    IntegrationLatency,
    IntegrationRequestId,
    IntegrationStatus,
    ServiceStatus,
    Path,
    Protocol,
    RequestId,
    RequestTime,
    RequestTimeEpoch,
    ResourceId,
    ResourcePath,
    ResponseLatency,
    ResponseLength,
    Stage,
    Status,
    Traceparent,
    XrayTraceId,
    /// One that AWS knows and that has no meaning here: callers have no IAM identity.
    Absent,
}

const VARIABLES: &[(&str, Variable)] = &[
    ("accountId", Variable::AccountId),
    ("apiId", Variable::ApiId),
    ("cache", Variable::Cache),
    ("deploymentId", Variable::DeploymentId),
    ("domainName", Variable::DomainName),
    ("domainPrefix", Variable::DomainPrefix),
    ("error.message", Variable::ErrorMessage),
    ("error.messageString", Variable::ErrorMessageString),
    ("error.responseType", Variable::ErrorResponseType),
    ("extendedRequestId", Variable::ExtendedRequestId),
    ("httpMethod", Variable::HttpMethod),
    ("identity.accountId", Variable::Absent),
    ("identity.apiKeyId", Variable::ApiKeyId),
    ("identity.caller", Variable::Absent),
    ("identity.sourceIp", Variable::SourceIp),
    ("identity.user", Variable::Absent),
    ("identity.userAgent", Variable::UserAgent),
    ("identity.userArn", Variable::Absent),
    ("integration.error", Variable::IntegrationError),
    ("integration.integrationStatus", Variable::ServiceStatus),
    ("integration.latency", Variable::IntegrationLatency),
    ("integration.requestId", Variable::IntegrationRequestId),
    ("integration.status", Variable::IntegrationStatus),
    ("integrationLatency", Variable::IntegrationLatency),
    ("path", Variable::Path),
    ("protocol", Variable::Protocol),
    ("requestId", Variable::RequestId),
    ("requestTime", Variable::RequestTime),
    ("requestTimeEpoch", Variable::RequestTimeEpoch),
    ("resourceId", Variable::ResourceId),
    ("resourcePath", Variable::ResourcePath),
    ("responseLatency", Variable::ResponseLatency),
    ("responseLength", Variable::ResponseLength),
    ("stage", Variable::Stage),
    ("status", Variable::Status),
    ("traceparent", Variable::Traceparent),
    ("xrayTraceId", Variable::XrayTraceId),
];

impl Variable {
    /// The variable of a name, such as `identity.sourceIp`.
    pub(crate) fn named(name: &str) -> Option<Variable> {
        VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, variable)| *variable)
    }

    /// What it is for an exchange; empty for what is not known, or not yet.
    pub(crate) fn value<'a>(self, account_id: &'a str, exchange: &'a Exchange, ended: Ended) -> Cow<'a, str> {
        let names = exchange.route.as_ref().map(|route| &route.names);
        let name_of = |pick: fn(&crate::route::RouteNames) -> &str| names.map_or("", pick);
        let host = exchange.host.as_deref().unwrap_or_default();
        let integration = exchange.integration.as_ref();
        let service = integration.and_then(|called| called.service.as_ref());
        let number = |status: StatusCode| Cow::from(status.as_u16().to_string());
        match self {
            Variable::AccountId => account_id.into(),
            Variable::ApiId => name_of(|names| &names.api_id).into(),
            Variable::Stage => name_of(|names| &names.stage).into(),
            Variable::DeploymentId => name_of(|names| &names.deployment_id).into(),
            Variable::ResourceId => name_of(|names| &names.resource_id).into(),
            Variable::ResourcePath => name_of(|names| &names.resource).into(),
            Variable::DomainName => host.into(),
            Variable::DomainPrefix => host.split_once('.').map_or(host, |(prefix, _)| prefix).into(),
            Variable::Path => exchange.path.as_str().into(),
            Variable::HttpMethod => exchange.verb.as_str().into(),
            Variable::UserAgent => exchange.user_agent.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default(),
            Variable::XrayTraceId => exchange.trace.amzn_trace_id.as_str().into(),
            Variable::Traceparent => exchange.trace.span.to_string().into(),
            Variable::ErrorMessage => exchange.refusal.map_or("", |answer| answer.message()).into(),
            Variable::ErrorMessageString => exchange.refusal.map(|answer| format!("{:?}", answer.message())).unwrap_or_default().into(),
            Variable::ErrorResponseType => exchange.refusal.map_or("", |answer| answer.response_type()).into(),
            Variable::ApiKeyId => exchange.api_key_id.as_ref().map_or("", |id| &id.0).into(),
            Variable::Cache => match exchange.cache {
                Some(CacheUse::Hit) => "hit".into(),
                Some(CacheUse::Miss) => "miss".into(),
                None => "".into(),
            },
            Variable::RequestId => exchange.request_id.to_string().into(),
            Variable::ExtendedRequestId => extended_request_id(exchange.request_id).into(),
            Variable::SourceIp => exchange.source_ip.to_string().into(),
            Variable::Protocol => format!("{:?}", exchange.version).into(),
            Variable::Status => exchange.status.as_u16().to_string().into(),
            Variable::RequestTimeEpoch => exchange.began.unix_ms.to_string().into(),
            Variable::RequestTime => {
                let at = OffsetDateTime::from_unix_timestamp(exchange.began.unix_seconds()).ok();
                at.and_then(|at| at.format(REQUEST_TIME).ok()).unwrap_or_default().into()
            }
            Variable::ResponseLatency => ended.latency.as_millis().to_string().into(),
            Variable::ResponseLength => ended.response_bytes.to_string().into(),
            Variable::IntegrationStatus => integration.and_then(|called| called.status).map_or("".into(), number),
            // What Lambda answered, and what a server did: only between the gateway and a function stands a service.
            Variable::ServiceStatus => {
                integration.and_then(|called| service.map(|service| service.status).or(called.status)).map_or("".into(), number)
            }
            Variable::IntegrationLatency => integration.map(|called| called.latency.as_millis().to_string()).unwrap_or_default().into(),
            Variable::IntegrationRequestId => service.and_then(|service| service.request_id.as_deref()).unwrap_or_default().into(),
            Variable::IntegrationError => service.and_then(|service| service.error.as_deref()).unwrap_or_default().into(),
            Variable::Absent => "".into(),
        }
    }
}
