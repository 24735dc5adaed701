//! Trying a method before it is deployed (<https://docs.aws.amazon.com/apigateway/latest/api/API_TestInvokeMethod.html>).

use std::collections::BTreeMap;

use frontdesk_aws::ServiceError;
use frontdesk_gateway::Trial;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Call, Rooms, bad_request, of_api};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TestInvokeMethod {
    path_with_query_string: Option<String>,
    body: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    client_certificate_id: Option<String>,
    stage_variables: Option<BTreeMap<String, String>>,
}

pub(super) async fn test_invoke(call: &Call, rooms: &Rooms) -> Answer {
    let wanted: TestInvokeMethod = call.read()?;
    if wanted.client_certificate_id.is_some() {
        return Err(bad_request("clientCertificateId is not served here: backends are called without a client's certificate"));
    }
    let verb = call.parameter(2);
    if verb == "ANY" {
        return Err(bad_request("ANY answers for every verb: name the one to try, such as POST"));
    }
    let verb = Method::from_bytes(verb.as_bytes()).map_err(|_| bad_request("Invalid HTTP method specified"))?;
    let trial = Trial {
        api_id: call.parameter(0).to_owned(),
        resource_id: call.parameter(1).to_owned(),
        verb,
        path_and_query: wanted.path_with_query_string,
        headers: headers(wanted.headers.unwrap_or_default(), wanted.multi_value_headers.unwrap_or_default())?,
        body: wanted.body.unwrap_or_default().into(),
        stage_variables: wanted.stage_variables.unwrap_or_default(),
    };
    let gateway = rooms.gateway.clone().ok_or_else(|| ServiceError::internal_server("this host has no gateway"))?;
    // A panic behind the method ends this trial, and not the connection.
    let trying = tokio::spawn(async move { gateway.try_method(trial).await });
    let tried = trying.await.map_err(|panicked| ServiceError::internal_server(panicked.to_string()))?.map_err(of_api)?;
    let mut of_many: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &tried.headers {
        of_many.entry(in_capitals(name)).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    // Of several values the last one counts.
    let of_one: BTreeMap<&String, &String> = of_many.iter().filter_map(|(name, values)| Some((name, values.last()?))).collect();
    let document = json!({
        "status": tried.status.as_u16(),
        "body": String::from_utf8_lossy(&tried.body),
        "headers": of_one,
        "multiValueHeaders": of_many,
        "log": tried.log,
        "latency": u64::try_from(tried.latency.as_millis()).unwrap_or(u64::MAX),
    });
    Ok((StatusCode::OK, document))
}

/// The request's headers; those with several values go over those with one.
fn headers(of_one: BTreeMap<String, String>, of_many: BTreeMap<String, Vec<String>>) -> Result<HeaderMap, ServiceError> {
    let mut headers = HeaderMap::new();
    let of_one = of_one.into_iter().filter(|(name, _)| !of_many.contains_key(name)).map(|(name, value)| (name, vec![value]));
    for (name, values) in of_one.chain(of_many.clone()) {
        let invalid = |what: &dyn std::fmt::Display| bad_request(format!("Invalid header {name}: {what}"));
        let named = HeaderName::from_bytes(name.as_bytes()).map_err(|error| invalid(&error))?;
        for value in values {
            headers.append(&named, HeaderValue::from_str(&value).map_err(|error| invalid(&error))?);
        }
    }
    Ok(headers)
}

/// `Content-Type` for `content-type`, as API Gateway writes headers.
fn in_capitals(name: &HeaderName) -> String {
    let part =
        |part: &str| part.char_indices().map(|(at, letter)| if at == 0 { letter.to_ascii_uppercase() } else { letter }).collect::<String>();
    name.as_str().split('-').map(part).collect::<Vec<_>>().join("-")
}
