//! Invocations: a process is found or started, does its work, and its caller is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use frontdesk_metrics::{CallOutcome, Figures};
use frontdesk_store::{Function, FunctionState, StoredFunction};
use tokio::time::Instant;

use crate::client::RuntimeKind;
use crate::environment::{Environment, Invocation, Plan};
use crate::error::FunctionError;
use crate::name::FunctionName;
use crate::pool::{Place, PoolKey};
use crate::runtime_api::Outcome;
use crate::service::FunctionService;

/// Lambda's limit on the payload of an invocation and of its answer, in bytes: six MB and a little.
pub const PAYLOAD_BYTES_MAX: usize = 6_291_556;
/// Lambda's limit on the payload of an event.
const EVENT_BYTES_MAX: usize = 1024 * 1024;
/// Events that wait or are tried again, over all functions; one more is turned away.
const EVENTS_MAX: usize = 1000;
/// The waits before an event whose function failed is tried again (<https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>).
const EVENT_RETRIES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];

/// An invocation, as its caller wants it.
#[derive(Debug, Clone)]
pub struct InvokeRequest {
    /// What is called.
    pub name: FunctionName,
    /// A JSON document; empty stands for `{}`.
    pub payload: Bytes,
    /// X-Ray's header, where the caller has one.
    pub trace_id: Option<String>,
    /// The caller's own, decoded JSON.
    pub client_context: Option<String>,
}

/// What came of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoked {
    /// Its id, as in the log.
    pub request_id: String,
    /// What the function answered, or the error's document.
    pub payload: Bytes,
    /// Whether it is an error's.
    pub is_error: bool,
    /// The version that was called.
    pub executed_version: String,
    /// The last four KB of its log.
    pub log_tail: String,
}

/// A call that has been looked up and may be carried out.
struct Call {
    stored: Arc<StoredFunction>,
    version: String,
    function_arn: String,
}

impl FunctionService {
    /// Invokes a function and waits for its answer. That the function failed is an answer, too.
    ///
    /// # Errors
    /// Everything that keeps the function from being called.
    pub async fn invoke(self: &Arc<Self>, request: InvokeRequest) -> Result<Invoked, FunctionError> {
        check_payload(&request.payload, PAYLOAD_BYTES_MAX, "RequestResponse")?;
        let call = self.look_up(&request.name)?;
        let place = self.enter(&call)?;
        // As in Lambda, a caller that goes away does not stop the function; nor may its process be forgotten, or be left to the caller's runtime.
        let service = self.clone();
        let carried = self.tasks.spawn(async move { service.carry_out(&call, request, place, uuid::Uuid::new_v4().to_string()).await });
        carried.await.map_err(|panicked| FunctionError::Failed(panicked.to_string()))?
    }

    /// Checks whether a function could be invoked, and does not.
    ///
    /// # Errors
    /// As [`FunctionService::invoke`].
    pub fn dry_run(&self, name: &FunctionName) -> Result<String, FunctionError> {
        Ok(self.look_up(name)?.version)
    }

    /// Takes an event, which its function is invoked with by and by; up to three times, as long as it fails. Returns the request's id.
    ///
    /// # Errors
    /// As [`FunctionService::invoke`], and when too many events wait.
    pub fn send_event(self: &Arc<Self>, request: InvokeRequest) -> Result<String, FunctionError> {
        check_payload(&request.payload, EVENT_BYTES_MAX, "Event")?;
        self.look_up(&request.name)?;
        if self.events.fetch_add(1, Ordering::Relaxed) >= EVENTS_MAX {
            self.events.fetch_sub(1, Ordering::Relaxed);
            return Err(FunctionError::TooManyRequests { reason: "CallerRateLimitExceeded" });
        }
        let request_id = uuid::Uuid::new_v4().to_string();
        let (service, id) = (self.clone(), request_id.clone());
        self.tasks.spawn(async move {
            service.handle_event(request, id).await;
            service.events.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(request_id)
    }

    async fn handle_event(&self, request: InvokeRequest, request_id: String) {
        for wait in EVENT_RETRIES.map(Some).into_iter().chain([None]) {
            let tried = async {
                let call = self.look_up(&request.name)?;
                let place = self.enter(&call)?;
                self.carry_out(&call, request.clone(), place, request_id.clone()).await
            };
            match tried.await {
                Ok(invoked) if !invoked.is_error => return,
                Ok(_) => {}
                Err(error) => tracing::warn!(request_id, error = &error as &dyn std::error::Error, "an event could not be handled"),
            }
            if let Some(wait) = wait {
                tokio::time::sleep(wait).await;
            }
        }
        tracing::warn!(request_id, function = request.name.name, "an event was given up");
    }

    /// Takes what Lambda's metrics would count, since the last time.
    #[must_use]
    pub fn take_figures(&self) -> Figures {
        self.figures.take()
    }

    fn enter(&self, call: &Call) -> Result<Place, FunctionError> {
        let Function { name, reserved_concurrency, .. } = &call.stored.function;
        self.pools.enter(name, *reserved_concurrency).inspect_err(|_| self.figures.of(name).throttled())
    }

    /// What a name leads to.
    fn look_up(&self, name: &FunctionName) -> Result<Call, FunctionError> {
        let stored = self.find(&name.name)?;
        let version = self.version_of(&stored, name.qualifier.as_deref())?.version.clone();
        let state = stored.versions[&version].state;
        if state != FunctionState::Active {
            return Err(FunctionError::Conflict(format!(
                "The operation cannot be performed at this time. The function is currently in the following state: {state:?}"
            )));
        }
        Ok(Call { version, function_arn: self.arn(&name.name, name.qualifier.as_deref()), stored })
    }

    async fn carry_out(&self, call: &Call, request: InvokeRequest, place: Place, request_id: String) -> Result<Invoked, FunctionError> {
        let figures = self.figures.of(&call.stored.function.name);
        let _running = figures.begin();
        let memory_mb = call.stored.versions[&call.version].configuration.memory_mb;
        let version = &call.stored.versions[&call.version];
        let key = PoolKey { function: call.stored.function.name.clone(), revision_id: version.revision_id.clone() };
        let told = |outcome: Outcome, log_tail: String| {
            let (payload, is_error) = match outcome {
                Outcome::Answered(payload) => (payload, false),
                Outcome::Failed(document) => (document, true),
            };
            Invoked { request_id: request_id.clone(), payload, is_error, executed_version: call.version.clone(), log_tail }
        };
        let mut environment = match self.pools.take(&key) {
            Some(environment) => {
                environment.begin();
                environment
            }
            None => {
                let began = Instant::now();
                let started = self.start(call).await.map_err(FunctionError::Failed);
                let mut environment = started.inspect_err(|_| figures.record(CallOutcome::HostFailed, began.elapsed(), memory_mb))?;
                if let Err(outcome) = environment.init().await {
                    let log_tail = environment.report_failed_start(&request_id, &call.version, began).await;
                    environment.kill().await;
                    figures.record(CallOutcome::CallerOrCodeFailed, began.elapsed(), memory_mb);
                    return Ok(told(outcome, log_tail));
                }
                environment
            }
        };
        let invocation = Invocation {
            request_id: request_id.clone(),
            payload: if request.payload.is_empty() { Bytes::from_static(b"{}") } else { request.payload },
            function_arn: call.function_arn.clone(),
            trace_id: request.trace_id.unwrap_or_else(|| new_trace(&request_id)),
            client_context: request.client_context,
            timeout: Duration::from_secs(u64::from(version.configuration.timeout_s)),
        };
        let done = environment.invoke(invocation, &call.version).await;
        let outcome = if matches!(done.outcome, Outcome::Failed(_)) { CallOutcome::CallerOrCodeFailed } else { CallOutcome::Answered };
        figures.record(outcome, done.duration, memory_mb);
        if done.is_usable && self.is_current(&key) {
            self.pools.put(key, environment, Instant::now());
        } else {
            environment.kill().await;
        }
        drop(place);
        Ok(told(done.outcome, done.log_tail))
    }

    async fn start(&self, call: &Call) -> Result<Environment, String> {
        let version = call.stored.versions[&call.version].clone();
        let kind = RuntimeKind::of(&version.configuration.runtime).ok_or("its runtime is not known")?;
        let (codes, code) = (self.codes.clone(), version.code.clone());
        let task = tokio::task::spawn_blocking(move || codes.unpacked(&code)).await.map_err(|panicked| panicked.to_string())??;
        let start = self.clients.prepare(kind, &version.configuration.handler, &task).await?;
        let plan = Plan {
            function: call.stored.function.name.clone(),
            region: self.place.region.clone(),
            task,
            start,
            credentials: (self.roles)(&version.configuration.role_arn, &call.stored.function.name),
            environment: self.environment.clone(),
            isolation: self.place.isolation,
            readable: self.place.readable.clone().into(),
            hidden: self.place.hidden.clone().into(),
            sinks: self.sinks.clone(),
            version,
        };
        Environment::start(&plan, &self.spawner, self.new_environment_folder()).await
    }
}

fn check_payload(payload: &Bytes, bytes_max: usize, kind: &str) -> Result<(), FunctionError> {
    if payload.len() > bytes_max {
        let message = format!("{} byte payload is too large for the {kind} invocation type (limit {bytes_max} bytes)", payload.len());
        return Err(FunctionError::TooLarge(message));
    }
    if payload.is_empty() {
        return Ok(());
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(payload).map(drop).map_err(|error| FunctionError::InvalidJson(error.to_string()))
}

/// A trace that begins with the invocation. Its time is left out: the id is no less unique.
fn new_trace(request_id: &str) -> String {
    let digits: String = request_id.chars().filter(char::is_ascii_hexdigit).collect();
    let (time, rest) = digits.split_at(digits.len().min(8));
    format!("Root=1-{time}-{rest:0<24.24};Parent={rest:.16};Sampled=0", rest = rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_trace_has_lambdas_form() {
        let trace = new_trace("8476a536-e9f4-11e8-9739-2dfe598c3fcd");
        assert_eq!(trace, "Root=1-8476a536-e9f411e897392dfe598c3fcd;Parent=e9f411e897392dfe;Sampled=0");
    }

    #[test]
    fn a_payload_is_json_of_a_bounded_size() {
        check_payload(&Bytes::new(), 10, "Event").unwrap();
        check_payload(&Bytes::from_static(b"{\"a\":1}"), 10, "Event").unwrap();
        assert!(matches!(check_payload(&Bytes::from_static(b"{"), 10, "Event"), Err(FunctionError::InvalidJson(_))));
        assert!(matches!(check_payload(&Bytes::from_static(b"\"12345678901\""), 10, "Event"), Err(FunctionError::TooLarge(_))));
    }
}
