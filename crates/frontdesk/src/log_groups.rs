//! What the host's own parts print, as log groups have it: where functions', sessions' and stages' lines go among the logs.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use frontdesk_aws::Arn;
use frontdesk_control::{IdentityService, LogMetric, LogMetrics, LogService, MetricService};
use frontdesk_functions::{LogSinks, LogSource};
use frontdesk_gateway::stage_logs::{Destinations, OpenSink};
use frontdesk_metrics::Series;
use frontdesk_runtime::{AgentLines, AgentOutput};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

/// The service that writes functions' logs, in the name of their roles.
const LAMBDA: &str = "lambda.amazonaws.com";
/// How long it is believed that a function's role may not write.
const REFUSAL_MS: i64 = 1000;
/// Functions that are remembered to leave no log; of more nothing is said.
const SILENT_MAX: usize = 10_000;
/// CloudWatch Logs' bound on a group's name.
const NAME_CHARS_MAX: usize = 512;
/// API Gateway's words for a destination that is none.
const INVALID_ARN: &str = "Invalid ARN specified in the request";

/// What metric filters find, which goes among the metrics once those are there: they in turn want what writes the logs.
#[derive(Default)]
pub(crate) struct FilteredMetrics(OnceLock<Arc<MetricService>>);

impl FilteredMetrics {
    /// Whom to tell from here on.
    pub(crate) fn tell(&self, metrics: Arc<MetricService>) {
        let _ = self.0.set(metrics);
    }
}

impl LogMetrics for FilteredMetrics {
    fn record(&self, metric: LogMetric<'_>) {
        let dimensions: Vec<(&str, &str)> = metric.dimensions.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if let Some(metrics) = self.0.get() {
            let series = Series::new(metric.namespace, metric.name, &dimensions, metric.unit.unwrap_or("None"));
            metrics.put(series, metric.value, metric.timestamp_ms);
        }
    }
}

/// What functions print: `/aws/lambda/{function}`, a stream for each environment, as far as the function's role may write there.
pub(crate) fn of_functions(logs: Arc<LogService>, identities: Arc<IdentityService>) -> LogSinks {
    let silent = Arc::<Mutex<HashSet<String>>>::default();
    Arc::new(move |source| {
        let (logs, identities, silent) = (logs.clone(), identities.clone(), silent.clone());
        let group = format!("/aws/lambda/{}", source.function);
        let judged: Mutex<Option<Judged>> = Mutex::default();
        Arc::new(move |timestamp_ms, line| {
            let revision = identities.revision();
            let mut judged = judged.lock().unwrap_or_else(PoisonError::into_inner);
            let may_write = match *judged {
                Some(judged) if judged.lasts(revision, timestamp_ms) => judged.may_write,
                _ => {
                    let place = (group.as_str(), source.stream.as_str());
                    let answer = frontdesk_control::role_may_write_logs(&identities, &logs, LAMBDA, &source.role_arn, place, now());
                    note(&silent, &source, answer.as_ref().err().map(|error| error.message.as_str()));
                    *judged = Some(Judged { revision, at_ms: timestamp_ms, may_write: answer.is_ok() });
                    answer.is_ok()
                }
            };
            drop(judged);
            if may_write {
                logs.write(&group, &source.stream, timestamp_ms, line);
            }
        })
    })
}

/// Whether a function's role may write, as it was found.
#[derive(Debug, Clone, Copy)]
struct Judged {
    /// The identities' then.
    revision: u64,
    /// Unix milliseconds.
    at_ms: i64,
    may_write: bool,
}

impl Judged {
    /// A refusal is looked at again: the group that the role may not make may have been made since.
    fn lasts(self, revision: u64, now_ms: i64) -> bool {
        self.revision == revision && (self.may_write || now_ms < self.at_ms + REFUSAL_MS)
    }
}

/// Says once of a function that it leaves no log, until it does again.
fn note(silent: &Mutex<HashSet<String>>, source: &LogSource, refusal: Option<&str>) {
    let mut silent = silent.lock().unwrap_or_else(PoisonError::into_inner);
    let LogSource { function, role_arn, .. } = source;
    match refusal {
        None => {
            silent.remove(function);
        }
        Some(reason) if silent.len() < SILENT_MAX && silent.insert(function.clone()) => {
            tracing::warn!(
                function,
                role_arn,
                reason,
                "a function leaves no log, as on AWS: attach AWSLambdaBasicExecutionRole to its role, or a policy like it"
            );
        }
        Some(_) => {}
    }
}

/// What agents print: `/aws/bedrock-agentcore/runtimes/{runtime id}-{endpoint}`, a stream for each session and day.
pub(crate) fn of_agents(logs: Arc<LogService>) -> AgentLines {
    AgentLines(Arc::new(move |printed: AgentOutput<'_>| {
        let group = format!("/aws/bedrock-agentcore/runtimes/{}-{}", printed.runtime_id, printed.endpoint);
        let stream = stream_of(&printed);
        printed.lines.iter().for_each(|line| logs.write(&group, &stream, printed.timestamp_ms, line));
    }))
}

/// `2026/01/31/[runtime-logs]{session}`.
fn stream_of(printed: &AgentOutput<'_>) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(printed.timestamp_ms / 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let day = moment.format(format_description!("[year]/[month]/[day]")).expect("every moment has a date");
    let session = if printed.session_id.is_empty() { "shared" } else { printed.session_id };
    // What may stand in a session's id, and not in a stream's name.
    format!("{day}/[runtime-logs]{}", session.replace([':', '*'], "-"))
}

/// Where stages' access logs go: the group that an ARN names, in a stream that is named for it, as API Gateway's are by a hash.
pub(crate) struct StageLogGroups(pub(crate) Arc<LogService>);

impl Destinations for StageLogGroups {
    fn find(&self, arn: &str) -> Result<OpenSink, String> {
        let (group, logs) = (group_of(arn)?, self.0.clone());
        Ok(Box::new(move || {
            let stream: String = Sha256::digest(&group).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            Ok(Box::new(move |lines| {
                let now_ms = now_ms();
                lines.split('\n').for_each(|line| logs.write(&group, &stream, now_ms, line));
            }))
        }))
    }
}

/// The name of the group of an ARN.
fn group_of(arn: &str) -> Result<String, String> {
    let Arn { service, resource, .. } = arn.parse().map_err(|_| INVALID_ARN.to_owned())?;
    if service == "firehose" {
        return Err(format!(
            "{INVALID_ARN}: Firehose is not served here, name a log group (arn:aws:logs:{{region}}:{{account}}:log-group:{{name}})"
        ));
    }
    let name = resource.strip_prefix("log-group:").filter(|_| service == "logs").ok_or(INVALID_ARN)?;
    // CloudWatch Logs shows its ARNs with this behind them, API Gateway wants them without.
    let name = name.strip_suffix(":*").unwrap_or(name);
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b'#');
    if name.is_empty() || !name.bytes().all(is_letter) || name.len() > NAME_CHARS_MAX {
        return Err(INVALID_ARN.to_owned());
    }
    Ok(name.to_owned())
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(now().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where a line's moment is read")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arn: &str, expected: Result<&str, &str>) {
        match (group_of(arn), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{arn}"),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{arn}: {error}"),
            (found, expected) => panic!("{arn}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn a_destination_is_a_log_group() {
        let group = "arn:aws:logs:us-east-1:000000000000:log-group:";
        check(&format!("{group}/aws/apigateway/abc"), Ok("/aws/apigateway/abc"));
        check(&format!("{group}orders:*"), Ok("orders"));
        check("arn:aws:firehose:us-east-1:000000000000:deliverystream/amazon-apigateway-x", Err("Firehose is not served"));
        for wrong in ["", "/tmp/x", group, "arn:aws:s3:::bucket", "arn:aws:logs:us-east-1:000000000000:other:x"] {
            check(wrong, Err(INVALID_ARN));
        }
        check(&format!("{group}a\u{0}b"), Err(INVALID_ARN));
        check(&format!("{group}{}", "x".repeat(600)), Err(INVALID_ARN));
    }

    #[test]
    fn a_session_s_lines_have_a_stream_of_their_own() {
        let lines = ["hi".to_owned()];
        let printed =
            AgentOutput { runtime_id: "a-1", endpoint: "DEFAULT", session_id: "s:1", timestamp_ms: 1_700_000_000_000, lines: &lines };
        assert_eq!(stream_of(&printed), "2023/11/14/[runtime-logs]s-1");
        assert_eq!(stream_of(&AgentOutput { session_id: "", ..printed }), "2023/11/14/[runtime-logs]shared");
    }
}
