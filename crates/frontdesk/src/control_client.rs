//! The command line's way to a running host: its own API on the control face, signed with the root access key from the data folder.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use frontdesk_aws::Credentials;
use frontdesk_aws::sigv4::{self, BodyHash, Scope, SigningKeys};
use frontdesk_control::{
    AgentDocument, AgentList, CostDocument, CreateKeyRequest, ExtendQuotaRequest, ExtendedQuota, GoBackRequest, HOST_SERVICE, HostStatus,
    ImportKeysRequest, ImportedKeys, KeyDocument, KeyList, KeyWithValue, LaunchRequest, PlanDocument, PlanList, PutPlanRequest,
    RotateKeyRequest, SessionList, UpdateKeyRequest, UsageDocument,
};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::run_file::{RootKeyFile, RunFile};
use crate::settings::Settings;

/// A little more than the gateway's own limit, so that its answer is the one that is read.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);

/// AgentCore's longest synchronous call is 15 minutes; a streamed answer may take its time after it has begun.
const INVOCATION_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The data plane's name in signatures.
const DATA_PLANE_SERVICE: &str = "bedrock-agentcore";
/// The header that names a session.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("x-amzn-bedrock-agentcore-runtime-session-id");

/// An answer that says nothing.
#[derive(Debug, Deserialize)]
pub(crate) struct Empty {}

/// A client of the host that runs on one data folder.
pub(crate) struct ControlClient {
    run: RunFile,
    credentials: Credentials,
}

impl ControlClient {
    pub(crate) fn new(settings: &Settings) -> anyhow::Result<ControlClient> {
        let run = RunFile::find(settings)?;
        let root_key = RootKeyFile::find(settings)?;
        Ok(ControlClient { run, credentials: Credentials::new(root_key.access_key_id, root_key.secret_access_key) })
    }

    /// A client of the AWS services that the host plays, as its root.
    #[cfg(feature = "deploy")]
    pub(crate) fn aws(&self) -> anyhow::Result<frontdesk_deploy::call::Aws> {
        Ok(frontdesk_deploy::call::Aws::new(self.credentials.clone(), &self.run.region, Some(&self.run.control))?)
    }

    pub(crate) async fn status(&self) -> anyhow::Result<HostStatus> {
        self.call(Method::GET, "/_frontdesk/status", None::<&()>).await
    }

    pub(crate) async fn list_keys(&self) -> anyhow::Result<KeyList> {
        self.call(Method::GET, "/_frontdesk/keys", None::<&()>).await
    }

    pub(crate) async fn create_key(&self, wanted: &CreateKeyRequest) -> anyhow::Result<KeyWithValue> {
        self.call(Method::POST, "/_frontdesk/keys", Some(wanted)).await
    }

    pub(crate) async fn key_value(&self, key: &str) -> anyhow::Result<KeyWithValue> {
        self.call(Method::GET, &format!("/_frontdesk/keys/{}/value", segment(key)), None::<&()>).await
    }

    pub(crate) async fn update_key(&self, key: &str, wanted: &UpdateKeyRequest) -> anyhow::Result<KeyDocument> {
        self.call(Method::PATCH, &format!("/_frontdesk/keys/{}", segment(key)), Some(wanted)).await
    }

    pub(crate) async fn delete_key(&self, key: &str) -> anyhow::Result<Empty> {
        self.call(Method::DELETE, &format!("/_frontdesk/keys/{}", segment(key)), None::<&()>).await
    }

    pub(crate) async fn rotate_key(&self, key: &str, wanted: &RotateKeyRequest) -> anyhow::Result<KeyWithValue> {
        self.call(Method::POST, &format!("/_frontdesk/keys/{}/rotate", segment(key)), Some(wanted)).await
    }

    pub(crate) async fn import_keys(&self, wanted: &ImportKeysRequest) -> anyhow::Result<ImportedKeys> {
        self.call(Method::POST, "/_frontdesk/import-keys", Some(wanted)).await
    }

    pub(crate) async fn list_plans(&self) -> anyhow::Result<PlanList> {
        self.call(Method::GET, "/_frontdesk/usage-plans", None::<&()>).await
    }

    pub(crate) async fn create_plan(&self, wanted: &PutPlanRequest) -> anyhow::Result<PlanDocument> {
        self.call(Method::POST, "/_frontdesk/usage-plans", Some(wanted)).await
    }

    pub(crate) async fn update_plan(&self, plan: &str, wanted: &PutPlanRequest) -> anyhow::Result<PlanDocument> {
        self.call(Method::PATCH, &format!("/_frontdesk/usage-plans/{}", segment(plan)), Some(wanted)).await
    }

    pub(crate) async fn delete_plan(&self, plan: &str) -> anyhow::Result<Empty> {
        self.call(Method::DELETE, &format!("/_frontdesk/usage-plans/{}", segment(plan)), None::<&()>).await
    }

    pub(crate) async fn join_plan(&self, plan: &str, key: &str) -> anyhow::Result<KeyDocument> {
        self.call(Method::PUT, &plan_key(plan, key), None::<&()>).await
    }

    pub(crate) async fn leave_plan(&self, plan: &str, key: &str) -> anyhow::Result<KeyDocument> {
        self.call(Method::DELETE, &plan_key(plan, key), None::<&()>).await
    }

    /// What was used from one date to another (`YYYY-MM-DD`, UTC), by all keys or one.
    pub(crate) async fn usage(&self, from: &str, to: &str, key: Option<&str>) -> anyhow::Result<UsageDocument> {
        let key = key.map(|key| format!("&key={}", segment(key))).unwrap_or_default();
        self.call(Method::GET, &format!("/_frontdesk/usage?from={}{key}&to={}", segment(from), segment(to)), None::<&()>).await
    }

    /// What a month's traffic (`YYYY-MM`; by default this one's) would have cost on AWS.
    pub(crate) async fn cost(&self, month: Option<&str>) -> anyhow::Result<CostDocument> {
        let month = month.map(|month| format!("?month={}", segment(month))).unwrap_or_default();
        self.call(Method::GET, &format!("/_frontdesk/cost{month}"), None::<&()>).await
    }

    pub(crate) async fn extend_quota(&self, wanted: &ExtendQuotaRequest) -> anyhow::Result<ExtendedQuota> {
        self.call(Method::POST, "/_frontdesk/usage/extend", Some(wanted)).await
    }

    pub(crate) async fn put_agent(&self, name: &str, wanted: &LaunchRequest) -> anyhow::Result<AgentDocument> {
        self.call(Method::PUT, &agent_path(name), Some(wanted)).await
    }

    pub(crate) async fn list_agents(&self) -> anyhow::Result<AgentList> {
        self.call(Method::GET, "/_frontdesk/agents", None::<&()>).await
    }

    /// An agent; `None` where the host has none of that name.
    pub(crate) async fn agent(&self, name: &str) -> anyhow::Result<Option<AgentDocument>> {
        self.find(Method::GET, &agent_path(name)).await
    }

    pub(crate) async fn put_agent_version(&self, name: &str, version: &str) -> anyhow::Result<AgentDocument> {
        let wanted = GoBackRequest { version: version.to_owned() };
        self.call(Method::PUT, &format!("{}/version", agent_path(name)), Some(&wanted)).await
    }

    /// Deletes an agent; `None` where the host has none of that name.
    pub(crate) async fn delete_agent(&self, name: &str) -> anyhow::Result<Option<Empty>> {
        self.find(Method::DELETE, &agent_path(name)).await
    }

    /// The sessions of one agent, or of all.
    pub(crate) async fn list_sessions(&self, agent: Option<&str>) -> anyhow::Result<SessionList> {
        let agent = agent.map(|agent| format!("?agent={}", segment(agent))).unwrap_or_default();
        self.call(Method::GET, &format!("/_frontdesk/sessions{agent}"), None::<&()>).await
    }

    /// Ends a session; `None` where there is none of that id.
    pub(crate) async fn end_session(&self, session_id: &str) -> anyhow::Result<Option<Empty>> {
        self.find(Method::DELETE, &format!("/_frontdesk/sessions/{}", segment(session_id))).await
    }

    /// InvokeAgentRuntime, as any of AgentCore's clients calls it. The answer is read as it comes. With a bearer token the call is not signed.
    pub(crate) async fn invoke(
        &self,
        arn: &str,
        payload: Vec<u8>,
        headers: &[(HeaderName, HeaderValue)],
        bearer_token: Option<&str>,
    ) -> anyhow::Result<Response<Incoming>> {
        let path = format!("/runtimes/{}/invocations?qualifier=DEFAULT", segment(arn));
        let mut request = Request::builder().method(Method::POST).uri(format!("{}{path}", self.run.control));
        request = request.header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let (mut parts, ()) = request.body(())?.into_parts();
        match bearer_token {
            Some(token) => {
                let value = HeaderValue::from_str(&format!("Bearer {token}")).context("the bearer token cannot be sent in a header")?;
                parts.headers.insert(header::AUTHORIZATION, value);
            }
            None => self.sign(&mut parts, &payload, DATA_PLANE_SERVICE)?,
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let answered = client.request(Request::from_parts(parts, Full::new(Bytes::from(payload))));
        let answered = tokio::time::timeout(INVOCATION_TIMEOUT, answered).await.context("the agent did not answer within 15 minutes")?;
        answered.with_context(|| self.no_answer())
    }

    fn sign(&self, parts: &mut http::request::Parts, body: &[u8], service: &str) -> anyhow::Result<()> {
        let scope = Scope { region: &self.run.region, service };
        sigv4::sign(parts, &BodyHash::of(body), &self.credentials, scope, &SigningKeys::new(), now())?;
        Ok(())
    }

    fn no_answer(&self) -> String {
        format!("the host does not answer at {}: is it still running?", self.run.control)
    }

    /// As [`ControlClient::call`], for what may not be there.
    async fn find<T: DeserializeOwned>(&self, verb: Method, path: &str) -> anyhow::Result<Option<T>> {
        let (status, answer) = self.send(verb, path, None::<&()>).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        read(status, &answer).map(Some)
    }

    async fn call<T: DeserializeOwned>(&self, verb: Method, path: &str, document: Option<&impl Serialize>) -> anyhow::Result<T> {
        let (status, answer) = self.send(verb, path, document).await?;
        read(status, &answer)
    }

    async fn send(&self, verb: Method, path: &str, document: Option<&impl Serialize>) -> anyhow::Result<(StatusCode, Bytes)> {
        let body = document.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let request = Request::builder().method(verb).uri(format!("{}{path}", self.run.control));
        let (mut parts, ()) = request.header(header::CONTENT_TYPE, "application/json").body(())?.into_parts();
        self.sign(&mut parts, &body, HOST_SERVICE)?;
        send(Request::from_parts(parts, body.into()), &self.run.control).await
    }
}

fn read<T: DeserializeOwned>(status: StatusCode, answer: &[u8]) -> anyhow::Result<T> {
    if !status.is_success() {
        bail!("{}", message_of(answer).unwrap_or_else(|| "no reason given".to_owned()));
    }
    serde_json::from_slice(answer).context("the host's answer is not what was expected: is it another version?")
}

/// The message of an AWS-shaped error.
pub(crate) fn message_of(answer: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    answer.get("message").or(answer.get("Message")).and_then(serde_json::Value::as_str).map(str::to_owned)
}

/// Sends one request and reads the whole answer; `address` is for the error's text.
pub(crate) async fn send(request: Request<Full<Bytes>>, address: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answering = async {
        let response = client.request(request).await?;
        let status = response.status();
        anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
    };
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, answering).await.context("no answer in time")?;
    answered.with_context(|| format!("the host does not answer at {address}: is it still running?"))
}

fn agent_path(name: &str) -> String {
    format!("/_frontdesk/agents/{}", segment(name))
}

fn plan_key(plan: &str, key: &str) -> String {
    format!("/_frontdesk/usage-plans/{}/keys/{}", segment(plan), segment(key))
}

fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a signature's moment is read")]
fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}
