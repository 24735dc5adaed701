//! One request through control: read, verified, judged, performed.

use std::sync::Arc;

use bytes::Bytes;
use frontdesk_aws::ServiceError;
use frontdesk_aws::sigv4::{self, BodyHash, Scope, SigningKeys};
use frontdesk_gateway::metrics::TEXT_TYPE;
use frontdesk_gateway::{ApiService, KeyService};
use frontdesk_runtime::{HostedAgent, ResponseBody};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use time::OffsetDateTime;

use crate::apigateway;
use crate::data_plane::{self, DataPlane};
use crate::host_api::{self, Call, HostRooms, StatusSource};
use crate::identity::{Identities, Principal};
use crate::operation;

/// The body is held in memory while its hash is checked, which bounds it here. AgentCore takes 100 MB; the gateway in front lets 10 MB through.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Writes all metrics, when asked.
pub type MetricsSource = Box<dyn Fn() -> String + Send + Sync>;

/// The control face.
pub struct Control {
    region: String,
    identities: Identities,
    signing_keys: SigningKeys,
    agents: Vec<HostedAgent>,
    keys: Arc<KeyService>,
    apis: Arc<ApiService>,
    status: StatusSource,
    metrics: Option<MetricsSource>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Control").field("region", &self.region).field("status", &self.status).finish_non_exhaustive()
    }
}

impl Control {
    /// A control face over these agents, keys and APIs, for these principals. With `metrics` it answers `GET /metrics`, unsigned.
    #[must_use]
    pub fn new(
        region: String,
        identities: Identities,
        agents: Vec<HostedAgent>,
        keys: Arc<KeyService>,
        apis: Arc<ApiService>,
        status: StatusSource,
        metrics: Option<MetricsSource>,
    ) -> Control {
        Control { region, identities, signing_keys: SigningKeys::new(), agents, keys, apis, status, metrics }
    }

    /// Answers one request. The answer is AWS's in every case, its errors too.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<ResponseBody> {
        let request_id = uuid::Uuid::new_v4().to_string();
        let mut response = match self.answer(request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::debug!(request_id, status = error.status.as_u16(), code = %error.code, message = error.message, "refused");
                error.to_rest_json().map(full)
            }
        };
        if let Ok(request_id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert("x-amzn-requestid", request_id);
        }
        response
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<ResponseBody>, ServiceError> {
        let (verb, path) = (request.method().clone(), request.uri().path().to_owned());
        if let Some((operation, parameters)) = operation::find(data_plane::OPERATIONS, &verb, &path) {
            let (parts, body) = whole_body(request).await?;
            let principal = self.authenticate(&parts, &body, data_plane::SERVICE)?;
            let arn = parameters.first().map(String::as_str).unwrap_or_default();
            match operation.id {
                DataPlane::InvokeAgentRuntime => data_plane::invoke_agent_runtime(&self.agents, principal, arn, &parts, body).await,
            }
        } else if let Some((operation, parameters)) = operation::find(host_api::OPERATIONS, &verb, &path) {
            let (parts, body) = whole_body(request).await?;
            let principal = self.authenticate(&parts, &body, host_api::HOST_SERVICE)?;
            let query = parts.uri.query().unwrap_or_default().to_owned();
            let call = Call { operation, parameters, query, body, principal, now_unix: now().unix_timestamp() };
            let rooms = HostRooms { region: &self.region, source: &self.status, agents: &self.agents, keys: self.keys.clone() };
            Ok(host_api::perform(call, rooms).await?.map(full))
        } else if let Some((operation, parameters)) = operation::find(apigateway::OPERATIONS, &verb, &path) {
            let (parts, body) = whole_body(request).await?;
            let principal = self.authenticate(&parts, &body, apigateway::SERVICE)?;
            apigateway::authorize(principal, &self.region, &verb, &path)?;
            let query = parts.uri.query().unwrap_or_default().to_owned();
            let call = apigateway::Call { operation: operation.id, parameters, query, body, now_unix: now().unix_timestamp() };
            let rooms = apigateway::Rooms { apis: self.apis.clone(), keys: self.keys.clone() };
            Ok(apigateway::perform(call, rooms).await?.map(full))
        } else if let Some(metrics) = self.metrics.as_ref().filter(|_| verb == Method::GET && path == "/metrics") {
            let mut response = Response::new(full(metrics().into()));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT_TYPE));
            Ok(response)
        } else {
            Err(ServiceError::unknown_operation(format!("no operation answers {verb} {path} here")))
        }
    }

    fn authenticate(&self, request: &Parts, body: &Bytes, service: &str) -> Result<&Principal, ServiceError> {
        let scope = Scope { region: &self.region, service };
        let lookup = |id: &frontdesk_aws::AccessKeyId| self.identities.find(id).map(|principal| &principal.credentials);
        let verified = sigv4::verify(request, &BodyHash::of(body), scope, &self.signing_keys, lookup, now())?;
        self.identities.find(&verified.access_key_id).ok_or_else(|| ServiceError::internal_server("the principal vanished"))
    }
}

async fn whole_body(request: Request<Incoming>) -> Result<(Parts, Bytes), ServiceError> {
    let too_large = || ServiceError::request_entity_too_large(format!("the request body is larger than {BODY_BYTES_MAX} bytes"));
    let (parts, body) = request.into_parts();
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok((parts, collected.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(ServiceError::validation("the request body did not come to its end")),
    }
}

fn full(body: Bytes) -> ResponseBody {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a request's moment is read")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
