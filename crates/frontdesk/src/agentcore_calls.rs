//! AgentCore straight behind a method of an API: the gateway's request, signed in the name of a role and sent the way that the proxy's are.
//!
//! An extension of ours. API Gateway can call AgentCore only through a function.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use frontdesk_aws::Credentials;
use frontdesk_aws::sigv4::{self, BodyHash, Scope, SigningKeys};
use frontdesk_gateway::integration::{Answering, Body, RoleArn};
use frontdesk_gateway::{Caller, Integration, IntegrationError};
use frontdesk_proxy::Transport;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};

/// What the hosts of AgentCore's data plane begin with, and its name in signatures.
pub(crate) const SERVICE: &str = "bedrock-agentcore";

/// Calls of AgentCore's data plane in the name of the roles that there are.
#[derive(Clone)]
pub(crate) struct AgentCoreCalls {
    /// The region that the host plays.
    pub(crate) region: String,
    /// Scheme and authority of the data plane.
    pub(crate) endpoint: String,
    /// The roles' ARNs with what they sign with.
    pub(crate) roles: Arc<[(String, Credentials)]>,
    pub(crate) signing_keys: Arc<SigningKeys>,
    pub(crate) transport: Arc<dyn Transport>,
}

impl Integration for AgentCoreCalls {
    fn call(&self, request: Request<Body>) -> Answering {
        let calls = self.clone();
        Box::pin(async move { calls.send(request).await.map_err(|error| IntegrationError::Failed(error.into())) })
    }
}

impl AgentCoreCalls {
    async fn send(&self, request: Request<Body>) -> anyhow::Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let RoleArn(role_arn) = parts.extensions.get().cloned().context("the request names no role")?;
        let role = self.roles.iter().find(|(arn, _)| *arn == role_arn);
        let names = || self.roles.iter().map(|(arn, _)| arn.as_str()).collect::<Vec<_>>().join(", ");
        let (_, credentials) = role.with_context(|| format!("there is no role {role_arn} here; there are {}", names()))?;
        parts.uri = self.data_plane_uri(&parts.uri)?;
        if let Some(caller) = parts.extensions.get::<Caller>() {
            let (name, value) = frontdesk_proxy::deadline_header(caller.time_left);
            parts.headers.insert(name, value);
        }
        let body = body.collect().await.map_err(anyhow::Error::from_boxed)?.to_bytes();
        let scope = Scope { region: &self.region, service: SERVICE };
        sigv4::sign(&mut parts, &BodyHash::of(&body), credentials, scope, &self.signing_keys, now())?;
        let response = self.transport.send(Request::from_parts(parts, Full::new(body))).await?;
        Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
    }

    /// Where a call for AWS's data plane goes. A runtime's ARN that came into the path as it is, from a stage variable, which may hold no `%`, is encoded.
    fn data_plane_uri(&self, uri: &Uri) -> anyhow::Result<Uri> {
        let (host, wanted) = (uri.host().unwrap_or_default(), format!("{SERVICE}.{}.amazonaws.com", self.region));
        if host != wanted {
            bail!("the integration's URI is for {host}, and this host plays {wanted}");
        }
        let path = uri.path();
        let arn = path.strip_prefix("/runtimes/").and_then(|rest| rest.strip_suffix("/invocations"));
        let path = match arn {
            Some(arn) => {
                let arn = percent_encoding::percent_decode_str(arn).decode_utf8().context("the runtime's ARN is not UTF-8")?;
                format!("/runtimes/{}/invocations", percent_encoding::utf8_percent_encode(&arn, percent_encoding::NON_ALPHANUMERIC))
            }
            None => path.to_owned(),
        };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{path}{query}", self.endpoint).parse().context("the integration's URI makes none for the data plane")
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a signature's moment is read")]
fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}
