//! API Gateway's `$context` variables: what logs, mappings and templates may ask of a request
//! (<https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-mapping-template-reference.html>). None holds a key, a prompt or an answer.

use std::net::IpAddr;

use http::Version;
use time::OffsetDateTime;

use crate::answer::extended_request_id;
use crate::exchange::{CacheUse, Ended, Exchange};

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

    /// Whether its values are letters, digits and signs that no format gives a meaning, whatever a caller or the owner of an API may write.
    pub(crate) fn is_plain(self) -> bool {
        matches!(
            self,
            Variable::Status
                | Variable::RequestTimeEpoch
                | Variable::ResponseLatency
                | Variable::ResponseLength
                | Variable::IntegrationLatency
                | Variable::IntegrationStatus
                | Variable::ServiceStatus
                | Variable::Traceparent
                | Variable::Cache
                | Variable::RequestId
                | Variable::ExtendedRequestId
                | Variable::SourceIp
                | Variable::Protocol
                | Variable::RequestTime
                | Variable::Absent
        )
    }

    /// What it is for an exchange; empty for what is not known, or not yet.
    pub(crate) fn value(self, account_id: &str, exchange: &Exchange, ended: Ended) -> String {
        let mut text = String::new();
        self.write(account_id, exchange, ended, &mut text);
        text
    }

    /// Writes its value behind a text.
    pub(crate) fn write(self, account_id: &str, exchange: &Exchange, ended: Ended, text: &mut String) {
        let names = exchange.route.as_ref().map(|route| &route.names);
        let name_of = |pick: fn(&crate::route::RouteNames) -> &str| names.map_or("", pick);
        let host = exchange.host.as_deref().unwrap_or_default();
        let integration = exchange.integration.as_ref();
        let service = integration.and_then(|called| called.service.as_ref());
        let mut number = |number: u128| text.push_str(itoa::Buffer::new().format(number));
        match self {
            Variable::Status => number(exchange.status.as_u16().into()),
            Variable::RequestTimeEpoch => number(u128::try_from(exchange.began.unix_ms).unwrap_or_default()),
            Variable::ResponseLatency => number(ended.latency.as_millis()),
            Variable::ResponseLength => number(ended.response_bytes.into()),
            Variable::IntegrationLatency => integration.into_iter().for_each(|called| number(called.latency.as_millis())),
            Variable::IntegrationStatus => {
                integration.and_then(|called| called.status).into_iter().for_each(|status| number(status.as_u16().into()))
            }
            // What Lambda answered, and what a server did: only between the gateway and a function stands a service.
            Variable::ServiceStatus => {
                let status = integration.and_then(|called| service.map(|service| service.status).or(called.status));
                status.into_iter().for_each(|status| number(status.as_u16().into()));
            }
            Variable::AccountId => text.push_str(account_id),
            Variable::ApiId => text.push_str(name_of(|names| &names.api_id)),
            Variable::Stage => text.push_str(name_of(|names| &names.stage)),
            Variable::DeploymentId => text.push_str(name_of(|names| &names.deployment_id)),
            Variable::ResourceId => text.push_str(name_of(|names| &names.resource_id)),
            Variable::ResourcePath => text.push_str(name_of(|names| &names.resource)),
            Variable::DomainName => text.push_str(host),
            Variable::DomainPrefix => text.push_str(host.split_once('.').map_or(host, |(prefix, _)| prefix)),
            Variable::Path => text.push_str(&exchange.path),
            Variable::HttpMethod => text.push_str(exchange.verb.as_str()),
            Variable::UserAgent => {
                exchange.user_agent.iter().for_each(|value| text.push_str(&String::from_utf8_lossy(value.as_bytes())));
            }
            Variable::XrayTraceId => text.push_str(&exchange.trace.amzn_trace_id),
            Variable::Traceparent => text.push_str(&exchange.trace.span.to_string()),
            Variable::ErrorMessage => text.push_str(exchange.refusal.map_or("", |answer| answer.message())),
            Variable::ErrorMessageString => exchange.refusal.iter().for_each(|answer| text.push_str(&format!("{:?}", answer.message()))),
            Variable::ErrorResponseType => text.push_str(exchange.refusal.map_or("", |answer| answer.response_type())),
            Variable::ApiKeyId => text.push_str(exchange.api_key_id.as_ref().map_or("", |id| &id.0)),
            Variable::Cache => text.push_str(match exchange.cache {
                Some(CacheUse::Hit) => "hit",
                Some(CacheUse::Miss) => "miss",
                None => "",
            }),
            Variable::RequestId => text.push_str(exchange.request_id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer())),
            Variable::ExtendedRequestId => text.push_str(&extended_request_id(exchange.request_id)),
            Variable::SourceIp => push_address(text, exchange.source_ip),
            Variable::Protocol => text.push_str(protocol(exchange.version)),
            Variable::RequestTime => {
                let at = OffsetDateTime::from_unix_timestamp(exchange.began.unix_seconds()).ok();
                at.into_iter().for_each(|at| push_time(text, at));
            }
            Variable::IntegrationRequestId => text.push_str(service.and_then(|service| service.request_id.as_deref()).unwrap_or_default()),
            Variable::IntegrationError => text.push_str(service.and_then(|service| service.error.as_deref()).unwrap_or_default()),
            Variable::Absent => {}
        }
    }
}

/// An address, as its `Display` writes it.
pub(crate) fn push_address(text: &mut String, address: IpAddr) {
    match address {
        // By itself the formatting of an address costs as much as the rest of a line.
        IpAddr::V4(address) => {
            for (place, number) in address.octets().into_iter().enumerate() {
                text.push_str(if place == 0 { "" } else { "." });
                text.push_str(itoa::Buffer::new().format(number));
            }
        }
        IpAddr::V6(address) => text.push_str(&address.to_string()),
    }
}

/// `HTTP/1.1`, as API Gateway writes it.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// `04/Mar/2020:19:15:17 +0000`, the time of the Common Log Format.
fn push_time(text: &mut String, at: OffsetDateTime) {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let two_digits = |number: u8| [b'0' + number / 10, b'0' + number % 10].map(char::from);
    text.extend(two_digits(at.day()));
    text.extend(["/", MONTHS[usize::from(u8::from(at.month())) - 1], "/", itoa::Buffer::new().format(at.year())]);
    for number in [at.hour(), at.minute(), at.second()] {
        text.push(':');
        text.extend(two_digits(number));
    }
    text.push_str(" +0000");
}
