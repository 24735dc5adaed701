//! What is behind `/invoke` and `/stream`: the proxy, to the agent that the settings name. It fills the gateway's seam; gateway and proxy do not know each other's types.

use std::sync::{Arc, Mutex, PoisonError};

use frontdesk_aws::arn::AgentRuntimeArn;
use frontdesk_functions::{FunctionFigures, Running};
use frontdesk_gateway::integration::{Answering, Body};
use frontdesk_gateway::{Actor, Caller, Integration, IntegrationError};
use frontdesk_metrics::CallOutcome;
use frontdesk_proxy::Proxy;
use frontdesk_runtime::RuntimeService;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use tokio::time::Instant;

/// Makes the proxy to an agent.
type MakeProxy = dyn Fn(&AgentRuntimeArn) -> anyhow::Result<Proxy> + Send + Sync;

/// The function behind the endpoint.
pub(crate) struct FrontDoor {
    /// The agent's name. It may be launched after the host is up, destroyed and launched again: its ARN is looked up for each call.
    agent: String,
    runtimes: Arc<RuntimeService>,
    make: Box<MakeProxy>,
    figures: Arc<FunctionFigures>,
    /// What the function would have on AWS, in MB.
    memory_mb: u32,
    current: Mutex<Option<(AgentRuntimeArn, Arc<Proxy>)>>,
}

impl FrontDoor {
    /// The door to the agent of this name. Its calls are counted in `figures` as those of a function with this memory.
    pub(crate) fn new(
        agent: String,
        runtimes: Arc<RuntimeService>,
        make: Box<MakeProxy>,
        figures: Arc<FunctionFigures>,
        memory_mb: u32,
    ) -> FrontDoor {
        FrontDoor { agent, runtimes, make, figures, memory_mb, current: Mutex::new(None) }
    }

    /// The proxy to the agent as it is now; `None` while there is no such agent.
    fn proxy(&self) -> Result<Option<Arc<Proxy>>, IntegrationError> {
        let Some(arn) = self.runtimes.arn_of(&self.agent) else { return Ok(None) };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, proxy)) = &*current
            && *of == arn
        {
            return Ok(Some(proxy.clone()));
        }
        let proxy = Arc::new((self.make)(&arn).map_err(|error| IntegrationError::Failed(error.into()))?);
        *current = Some((arn, proxy.clone()));
        Ok(Some(proxy))
    }

    /// In the words in which AgentCore's refusals are handed on.
    fn no_such_agent(&self) -> Response<Body> {
        let details = format!("no agent named {} is hosted here: `frontdesk launch` brings it", self.agent);
        let body = serde_json::json!({ "error": "AgentCore error: 404", "details": details }).to_string();
        let mut response = Response::new(whole(body.into()));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl Integration for FrontDoor {
    fn call(&self, request: Request<Body>) -> Answering {
        let proxy = match self.proxy() {
            Ok(Some(proxy)) => proxy,
            Ok(None) => {
                let answer = self.no_such_agent();
                return Box::pin(async { Ok(answer) });
            }
            Err(error) => return Box::pin(async { Err(error) }),
        };
        let counted = Counted {
            _running: self.figures.begin(),
            figures: self.figures.clone(),
            memory_mb: self.memory_mb,
            began: Instant::now(),
            outcome: CallOutcome::HostFailed,
        };
        Box::pin(async move {
            let mut counted = counted;
            let (parts, body) = request.into_parts();
            let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(|| IntegrationError::Failed("no caller".into()))?;
            let body = body.collect().await.map_err(IntegrationError::Failed)?.to_bytes();
            let is_streaming = caller.is_streaming;
            let caller = frontdesk_proxy::Caller {
                api_key_id: caller.api_key_id.map(|id| id.0),
                request_id: caller.request_id,
                amzn_trace_id: caller.trace.amzn_trace_id,
                span: caller.trace.span,
                tracestate: caller.trace.tracestate,
                time_left: caller.time_left,
            };
            if is_streaming {
                let answered = Box::pin(proxy.handle_stream(&body, &caller, now())).await.map_err(|_| IntegrationError::TimedOut)?;
                counted.outcome = CallOutcome::Answered;
                return Ok(naming_its_actor(answered).map(|body| body.map_err(Into::into).boxed_unsync()));
            }
            let answered = proxy.handle(&body, &caller, now()).await;
            let response: Response<bytes::Bytes> = answered.map_err(|_| IntegrationError::TimedOut)?;
            counted.outcome = CallOutcome::Answered;
            Ok(naming_its_actor(response).map(whole))
        })
    }
}

/// A call's count, told when it has ended, or its caller has gone. Of a stream it is the time until it begins.
struct Counted {
    figures: Arc<FunctionFigures>,
    memory_mb: u32,
    began: Instant,
    outcome: CallOutcome,
    _running: Running,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.figures.record(self.outcome, self.began.elapsed(), self.memory_mb);
    }
}

fn whole(body: bytes::Bytes) -> Body {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

fn naming_its_actor<B>(mut response: Response<B>) -> Response<B> {
    if let Some(frontdesk_proxy::Actor(actor)) = response.extensions_mut().remove() {
        response.extensions_mut().insert(Actor(actor));
    }
    response
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a signature's moment is read")]
fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}
