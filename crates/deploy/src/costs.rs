//! What a stack costs in a month, roughly: assumptions, the table of list prices, and the arithmetic shown with its numbers.

use std::fmt::Write as _;

use frontdesk_aws::prices::{
    AGENT_CPU_H, AGENT_GB_H, ALARM_METRIC, API_MILLION, CODE_GB, FUNCTION_GB_S, FUNCTION_MILLION, IMAGE_GB, LOG_GB, METRIC, PRICES_OF,
    SECRET,
};

/// What is assumed of a month.
#[derive(Debug, Clone, PartialEq)]
pub struct Month {
    /// Requests.
    pub requests: u64,
    /// How long an answer takes, in seconds.
    pub answer_s: f64,
    /// Of which the agent's processor works so long, in seconds.
    pub cpu_s: f64,
    /// How many requests share a session.
    pub requests_per_session: f64,
    /// How long a session stays after its last request, in seconds.
    pub idle_session_s: u64,
    /// Memory that a session holds, in GB.
    pub agent_gb: f64,
    /// The functions' memory, in MB.
    pub function_memory_mb: u32,
    /// What access log, proxy and agent write for a request, in bytes.
    pub log_bytes: f64,
    /// The images, in GB.
    pub image_gb: f64,
    /// The agent's code in S3, in GB; 0 where the agent is an image.
    pub code_gb: f64,
    /// Whether there is a secret.
    pub has_secret: bool,
}

/// One line of the estimate.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What is paid for.
    pub what: &'static str,
    /// How the sum comes about.
    pub how: String,
    /// Dollars a month.
    pub dollars: f64,
}

/// The items of a month.
#[must_use]
pub fn estimate(month: &Month) -> Vec<Item> {
    #[expect(clippy::cast_precision_loss, reason = "an estimate to the cent, of fewer than 2^52 requests")]
    let requests = month.requests as f64;
    let millions = requests / 1e6;
    let function_gb = f64::from(month.function_memory_mb) / 1024.0;
    let sessions = requests / month.requests_per_session.max(1.0);
    #[expect(clippy::cast_precision_loss, reason = "at most two weeks in seconds")]
    let session_h = sessions * (month.idle_session_s as f64 + month.answer_s * month.requests_per_session.max(1.0)) / 3600.0;
    let cpu_h = requests * month.cpu_s / 3600.0;
    let log_gb = requests * month.log_bytes / 1e9;
    let function_gb_s = requests * month.answer_s * function_gb;
    let mut items = vec![
        Item { what: "API Gateway", how: format!("{millions:.2} million requests × ${API_MILLION:.2}"), dollars: millions * API_MILLION },
        Item {
            what: "Lambda",
            how: format!("{millions:.2} million × ${FUNCTION_MILLION:.2} + {function_gb_s:.0} GB-s × ${FUNCTION_GB_S}"),
            dollars: millions * FUNCTION_MILLION + function_gb_s * FUNCTION_GB_S,
        },
        Item {
            what: "AgentCore",
            how: format!("{cpu_h:.0} processor hours × ${AGENT_CPU_H} + {:.0} GB hours × ${AGENT_GB_H}", session_h * month.agent_gb),
            dollars: cpu_h * AGENT_CPU_H + session_h * month.agent_gb * AGENT_GB_H,
        },
        Item {
            what: "CloudWatch",
            how: format!("{log_gb:.1} GB of logs × ${LOG_GB:.2} + 5 alarm metrics × ${ALARM_METRIC:.2} + 1 metric × ${METRIC:.2}"),
            dollars: log_gb * LOG_GB + 5.0 * ALARM_METRIC + METRIC,
        },
        Item { what: "ECR", how: format!("{:.2} GB of images × ${IMAGE_GB:.2}", month.image_gb), dollars: month.image_gb * IMAGE_GB },
    ];
    if month.code_gb > 0.0 {
        items.push(Item { what: "S3", how: format!("{:.2} GB of code × ${CODE_GB}", month.code_gb), dollars: month.code_gb * CODE_GB });
    }
    if month.has_secret {
        items.push(Item { what: "Secrets Manager", how: format!("1 secret × ${SECRET:.2}"), dollars: SECRET });
    }
    items
}

/// The estimate as text: a line an item, the sum, what was assumed.
#[must_use]
pub fn text(month: &Month) -> String {
    let items = estimate(month);
    let mut text = format!(
        "Estimated cost of a month with {} requests (list prices of us-east-1, {PRICES_OF}; unverified estimates):\n",
        month.requests
    );
    for item in &items {
        let _ = writeln!(text, "  {:<16} {:>9.2} $  {}", item.what, item.dollars, item.how);
    }
    let sum: f64 = items.iter().map(|item| item.dollars).sum();
    let _ = writeln!(text, "  {:<16} {sum:>9.2} $  without the model provider's bill, free tiers, taxes and data sent", "together");
    let _ = writeln!(
        text,
        "  assumed: an answer takes {} s, {} s of it the agent's processor; {} requests a session of {} GB, which stays {} s after the last; {} bytes of logs a request",
        month.answer_s, month.cpu_s, month.requests_per_session, month.agent_gb, month.idle_session_s, month.log_bytes
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month() -> Month {
        Month {
            requests: 1_000_000,
            answer_s: 2.0,
            cpu_s: 0.1,
            requests_per_session: 4.0,
            idle_session_s: 900,
            agent_gb: 0.25,
            function_memory_mb: 256,
            log_bytes: 2000.0,
            image_gb: 0.2,
            code_gb: 0.0,
            has_secret: true,
        }
    }

    fn check(month: &Month, what: &str, expected: f64) {
        let items = estimate(month);
        let item = items.iter().find(|item| item.what == what).unwrap();
        assert!((item.dollars - expected).abs() < 0.005, "{what}: {} is not {expected}", item.dollars);
    }

    #[test]
    fn the_sums_are_those_of_a_pocket_calculator() {
        check(&month(), "API Gateway", 3.50);
        // 0.20 + 1e6 × 2 s × 0.25 GB × 0.0000133334
        check(&month(), "Lambda", 6.8667);
        // 27.78 h × 0.0895 + 250,000 sessions × 908 s × 0.25 GB / 3600 × 0.00945
        check(&month(), "AgentCore", 2.4861 + 148.9688);
        check(&month(), "CloudWatch", 1.80);
        check(&month(), "ECR", 0.02);
        check(&month(), "Secrets Manager", 0.40);
        check(&Month { code_gb: 2.0, ..month() }, "S3", 0.046);
        assert!(estimate(&month()).iter().all(|item| item.what != "S3"));
        assert!(estimate(&Month { has_secret: false, ..month() }).iter().all(|item| item.what != "Secrets Manager"));
        assert!(text(&month()).contains("together"));
    }
}
