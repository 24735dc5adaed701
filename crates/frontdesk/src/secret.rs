//! The model provider's key from AWS Secrets Manager, fetched once at the start: so that it stands in no template, image or list of variables.
//!
//! One call of one operation is made by hand here (GetSecretValue: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html>); AWS's
//! own client would be the largest part of the build. What is fetched is printed nowhere, in errors neither.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use aws_credential_types::provider::ProvideCredentials as _;
use bytes::Bytes;
use frontdesk_agent::ApiKey;
use frontdesk_aws::sigv4::{self, BodyHash, Scope, SigningKeys};
use frontdesk_aws::{Arn, Credentials};
use http::{HeaderValue, Method, Request, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// The signing name.
const SERVICE: &str = "secretsmanager";
/// How long the whole call may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Secrets Manager's own limit on a secret, and something for the rest of the answer.
const ANSWER_BYTES_MAX: usize = 128 * 1024;

/// The key that the secret `arn` holds: its text, or of a JSON object the field `field`, or the only one.
///
/// # Errors
/// Names the secret, and the action that is not allowed or what else is wrong.
pub(crate) async fn api_key(arn: &str, field: Option<&str>) -> anyhow::Result<ApiKey> {
    let about = || format!("the model's key could not be fetched from the secret {arn} (agent.api_key_secret)");
    let place: Arn = arn.parse().with_context(about)?;
    if place.service != SERVICE {
        return Err(anyhow!("it is an ARN of {}, not of {SERVICE}", place.service)).with_context(about);
    }
    let text = secret_string(arn, &place).await.with_context(about)?;
    let key = field_of(&text, field).with_context(about)?;
    Ok(ApiKey::new(&key))
}

/// An answer, of which nothing is ever printed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretValue {
    secret_string: Option<String>,
}

async fn secret_string(arn: &str, place: &Arn) -> anyhow::Result<String> {
    let request = signed(arn, place, &credentials().await?, now())?;
    frontdesk_agent::choose_crypto_provider();
    let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none()).build()?;
    let mut response = client.execute(request.map(reqwest::Body::from).try_into()?).await?;
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        body.extend_from_slice(&piece);
        if body.len() > ANSWER_BYTES_MAX {
            bail!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
        }
    }
    if !response.status().is_success() {
        return Err(refusal(response.status().as_u16(), &body));
    }
    let answer: SecretValue = serde_json::from_slice(&body).map_err(|_| anyhow!("the answer of Secrets Manager cannot be read"))?;
    answer.secret_string.context("it holds bytes; it must hold text")
}

fn signed(arn: &str, place: &Arn, credentials: &Credentials, now: OffsetDateTime) -> anyhow::Result<Request<Bytes>> {
    let body = Bytes::from(json!({ "SecretId": arn }).to_string());
    let mut request = Request::builder().method(Method::POST).uri(endpoint(place)).body(()).context("the endpoint's URL is none")?;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    // `deploy` finds this text in a program that can fetch its model's key, and only there.
    headers.insert("x-amz-target", HeaderValue::from_static("secretsmanager.GetSecretValue"));
    let (mut parts, ()) = request.into_parts();
    let scope = Scope { region: &place.region, service: SERVICE };
    sigv4::sign(&mut parts, &BodyHash::of(&body), credentials, scope, &SigningKeys::new(), now)?;
    Ok(Request::from_parts(parts, body))
}

/// Where the secret's region has it, or where the variable that AWS's SDKs know says.
fn endpoint(place: &Arn) -> String {
    let domain = if place.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    let url = std::env::var("AWS_ENDPOINT_URL_SECRETS_MANAGER").unwrap_or_else(|_| format!("https://{SERVICE}.{}.{domain}", place.region));
    format!("{}/", url.trim_end_matches('/'))
}

/// The role's, from wherever AWS's own tools would have them.
async fn credentials() -> anyhow::Result<Credentials> {
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest()).load().await;
    let provider = config.credentials_provider().context("no AWS credentials were found")?;
    let found = provider.provide_credentials().await.context("no AWS credentials were found: give the container or instance a role")?;
    let credentials = Credentials::new(found.access_key_id(), found.secret_access_key());
    Ok(match found.session_token() {
        Some(token) => credentials.with_session_token(token),
        None => credentials,
    })
}

/// What Secrets Manager says when it refuses. These texts hold no secret.
fn refusal(status: u16, body: &[u8]) -> anyhow::Error {
    let document: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    let code = text("__type").rsplit('#').next().unwrap_or_default();
    let message = if text("message").is_empty() { text("Message") } else { text("message") };
    let hint = match code {
        "AccessDeniedException" => {
            "; allow the role secretsmanager:GetSecretValue on it (and kms:Decrypt on its key, where it has one of its own)"
        }
        "ResourceNotFoundException" => "; make it, or name another",
        _ => "",
    };
    anyhow!("Secrets Manager answers {status} {code}: {message}{hint}")
}

/// The secret's text itself; of a JSON object one field, as the console stores "key/value" secrets.
fn field_of(text: &str, field: Option<&str>) -> anyhow::Result<String> {
    let Ok(fields) = serde_json::from_str::<Map<String, Value>>(text) else { return Ok(text.to_owned()) };
    let value = match field.and_then(|field| fields.get(field)) {
        Some(value) => Some(value),
        None if fields.len() == 1 => fields.values().next(),
        None => None,
    };
    let named = field.unwrap_or("the variable that holds the provider's key");
    let key = value
        .and_then(Value::as_str)
        .with_context(|| format!("it holds {} fields and none by the name of agent.api_key_variable ({named})", fields.len()))?;
    Ok(key.to_owned())
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a signature's moment is read")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_text_or_a_field_of_an_object() {
        let check = |text: &str, field: Option<&str>, expected: Option<&str>| {
            assert_eq!(field_of(text, field).ok().as_deref(), expected, "{text} {field:?}");
        };
        check("gsk_1", None, Some("gsk_1"));
        check("gsk_1", Some("GROQ_API_KEY"), Some("gsk_1"));
        check(r#"{"key": "gsk_1"}"#, None, Some("gsk_1"));
        check(r#"{"other": "x", "GROQ_API_KEY": "gsk_1"}"#, Some("GROQ_API_KEY"), Some("gsk_1"));
        check(r#"{"other": "x", "GROQ_API_KEY": "gsk_1"}"#, None, None);
        check(r#"{"GROQ_API_KEY": 7}"#, Some("GROQ_API_KEY"), None);
    }
}
