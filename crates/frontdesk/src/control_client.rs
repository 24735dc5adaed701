//! The command line's way to a running host: its own API on the control face, signed with the root access key from the data folder.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use frontdesk_aws::Credentials;
use frontdesk_aws::sigv4::{self, BodyHash, Scope, SigningKeys};
use frontdesk_control::{
    CreateKeyRequest, ExtendQuotaRequest, ExtendedQuota, HOST_SERVICE, HostStatus, ImportKeysRequest, ImportedKeys, KeyDocument, KeyList,
    KeyWithValue, PlanDocument, PlanList, PutPlanRequest, RotateKeyRequest, UpdateKeyRequest, UsageDocument,
};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::run_file::{RootKeyFile, RunFile};
use crate::settings::Settings;

/// A little more than the gateway's own limit, so that its answer is the one that is read.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);

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

    pub(crate) async fn extend_quota(&self, wanted: &ExtendQuotaRequest) -> anyhow::Result<ExtendedQuota> {
        self.call(Method::POST, "/_frontdesk/usage/extend", Some(wanted)).await
    }

    async fn call<T: DeserializeOwned>(&self, verb: Method, path: &str, document: Option<&impl Serialize>) -> anyhow::Result<T> {
        let body = document.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let request = Request::builder().method(verb).uri(format!("{}{path}", self.run.control));
        let (mut parts, ()) = request.header(header::CONTENT_TYPE, "application/json").body(())?.into_parts();
        let scope = Scope { region: &self.run.region, service: HOST_SERVICE };
        sigv4::sign(&mut parts, &BodyHash::of(&body), &self.credentials, scope, &SigningKeys::new(), now())?;
        let request = Request::from_parts(parts, body.into());
        let (status, answer) = send(request, &self.run.control).await?;
        if !status.is_success() {
            let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
            let message = answer.get("message").and_then(serde_json::Value::as_str).unwrap_or("no reason given");
            bail!("{message}");
        }
        serde_json::from_slice(&answer).context("the host's answer is not what was expected: is it another version?")
    }
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
