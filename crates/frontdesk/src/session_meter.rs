//! What agents' sessions use of processor and memory, by AgentCore's names for it
//! (<https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/observability-runtime-metrics.html>): the processes are asked from time to time.
//!
//! A session that begins and ends between two questions is not seen. One that nobody has called for as long as AgentCore would keep it idle counts no memory:
//! there it would be gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use frontdesk_control::MetricService;
use frontdesk_metrics::{Series, unit};
use frontdesk_runtime::{RuntimeService, SessionView};
use tokio::time::Instant;

/// How often is asked.
const PERIOD: Duration = Duration::from_secs(15);
/// AgentCore's default for a session without calls.
const IDLE_MAX: Duration = Duration::from_secs(900);
const NAMESPACE: &str = "AWS/Bedrock-AgentCore";
const HOUR_S: f64 = 3600.0;
const GB_BYTES: f64 = 1024.0 * 1024.0 * 1024.0;

/// Meters until it is aborted.
pub(crate) async fn run(runtimes: Arc<RuntimeService>, figures: Arc<MetricService>) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut asked_at, mut cpu_by_process) = (Instant::now(), HashMap::new());
    loop {
        period.tick().await;
        let sessions = runtimes.sessions(None).await;
        let elapsed = asked_at.elapsed();
        asked_at = Instant::now();
        for (agent, (cpu_h, gb_h)) in used(&sessions, elapsed, &mut cpu_by_process) {
            let dimensions = [("Service", "AgentCore.Runtime"), ("Name", agent.as_str())];
            let now_ms = now_ms();
            for (name, value) in [("CPUUsed-vCPUHours", cpu_h), ("MemoryUsed-GBHours", gb_h)] {
                if value > 0.0 {
                    figures.put(Series::new(NAMESPACE, name, &dimensions, unit::NONE), value, now_ms);
                }
            }
        }
    }
}

/// Processor hours and GB hours since the last question, by agent. `cpu_by_process` is what each process had used by then.
fn used(sessions: &[SessionView], elapsed: Duration, cpu_by_process: &mut HashMap<u32, Duration>) -> HashMap<String, (f64, f64)> {
    let mut by_agent: HashMap<String, (f64, f64)> = HashMap::new();
    let mut cpu_now = HashMap::new();
    for session in sessions {
        let Some(pid) = session.pid else { continue };
        let before = cpu_by_process.get(&pid).copied().unwrap_or_default();
        cpu_now.insert(pid, session.usage.cpu);
        let (cpu_h, gb_h) = by_agent.entry(session.agent.clone()).or_default();
        *cpu_h += session.usage.cpu.saturating_sub(before).as_secs_f64() / HOUR_S;
        if session.since_last_call < IDLE_MAX && session.calls > 0 {
            #[expect(clippy::cast_precision_loss, reason = "exact below eight petabytes")]
            let gb = session.usage.resident_bytes as f64 / GB_BYTES;
            // One that began since then was not there for all of it.
            *gb_h += gb * elapsed.min(session.age).as_secs_f64() / HOUR_S;
        }
    }
    *cpu_by_process = cpu_now;
    by_agent
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where what was used is dated")]
fn now_ms() -> i64 {
    i64::try_from(time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use frontdesk_process::Usage;
    use frontdesk_runtime::SessionStage;

    use super::*;

    fn session(pid: u32, cpu_s: u64, gb: u64, idle_s: u64) -> SessionView {
        SessionView {
            session_id: None,
            is_shared: false,
            agent: "faq".to_owned(),
            version: 1,
            stage: SessionStage::Ready,
            pid: Some(pid),
            usage: Usage { resident_bytes: gb << 30, cpu: Duration::from_secs(cpu_s), processes: 1 },
            age: Duration::from_secs(10_000),
            since_last_call: Duration::from_secs(idle_s),
            calls: 1,
        }
    }

    #[test]
    fn hours_are_those_since_the_last_question() {
        let mut known = HashMap::new();
        let hour = Duration::from_secs(3600);
        let first = used(&[session(1, 3600, 2, 0), session(2, 0, 1, 0)], hour, &mut known);
        assert_eq!(first["faq"], (1.0, 3.0));
        // The second is gone, and the first has rested for as long as AgentCore would let it.
        let second = used(&[session(1, 5400, 2, 900)], hour, &mut known);
        assert_eq!(second["faq"], (0.5, 0.0));
        assert_eq!(known.len(), 1);
    }
}
