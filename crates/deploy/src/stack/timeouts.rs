//! How long each hop may take, so that the one behind always answers before the one in front gives up.
//!
//! API Gateway waits for `/invoke` at most 29 s. It counts a function's cold start, Lambda's own timeout does not: so the function's ends a second before.
//! The proxy answers a second before Lambda would end it, and the agent is told to be done a second before that.

/// API Gateway's bound on an integration that does not stream, without a raised quota, in milliseconds.
const INTEGRATION_MS_MAX: u64 = 29_000;
/// API Gateway's bound on a stream, and Lambda's on an invocation, in seconds.
const STREAM_S_MAX: u64 = 900;
/// What is left between API Gateway's wait and the function's timeout, for a cold start, in seconds.
const COLD_START_S: u64 = 1;
/// The shortest timeout of a function in which there is time for a proxy and an agent, in seconds.
const FUNCTION_S_MIN: u64 = 3;

/// Timeouts that fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// API Gateway's wait for an answer of `/invoke`, in milliseconds.
    pub integration_ms: u64,
    /// Lambda's timeout of the function behind it, in seconds.
    pub function_s: u64,
    /// Lambda's timeout of the function behind `/stream`, and API Gateway's wait for it, in seconds.
    pub stream_s: u64,
}

/// Why timeouts do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeoutError {
    /// No room for the hops behind.
    #[error(
        "gateway.integration_timeout_ms is {0}; for AWS it must be between {min} and {INTEGRATION_MS_MAX}, so that the function, the proxy and the agent \
         behind it each have a second",
        min = (FUNCTION_S_MIN + COLD_START_S) * 1000
    )]
    Integration(u64),
    /// The function would outlive its caller.
    #[error(
        "deploy.function_timeout_s is {function_s}, and API Gateway waits {integration_ms} ms (gateway.integration_timeout_ms): the function must end at \
         least a second earlier, so set {FUNCTION_S_MIN} to {max}, or leave it out", max = integration_ms / 1000 - COLD_START_S
    )]
    Function {
        /// As set, in seconds.
        function_s: u64,
        /// As set, in milliseconds.
        integration_ms: u64,
    },
    /// Outside of what AWS takes.
    #[error("deploy.stream_timeout_s is {0}; it must be between {FUNCTION_S_MIN} and {STREAM_S_MAX}")]
    Stream(u64),
}

impl Timeouts {
    /// Timeouts from the settings; the function's is derived where it is not set.
    ///
    /// # Errors
    /// [`TimeoutError`] names the setting that does not fit and what would.
    pub fn new(integration_ms: u64, function_s: Option<u64>, stream_s: u64) -> Result<Timeouts, TimeoutError> {
        if !((FUNCTION_S_MIN + COLD_START_S) * 1000..=INTEGRATION_MS_MAX).contains(&integration_ms) {
            return Err(TimeoutError::Integration(integration_ms));
        }
        let function_s_max = integration_ms / 1000 - COLD_START_S;
        let function_s = function_s.unwrap_or(function_s_max);
        if !(FUNCTION_S_MIN..=function_s_max).contains(&function_s) {
            return Err(TimeoutError::Function { function_s, integration_ms });
        }
        if !(FUNCTION_S_MIN..=STREAM_S_MAX).contains(&stream_s) {
            return Err(TimeoutError::Stream(stream_s));
        }
        Ok(Timeouts { integration_ms, function_s, stream_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(integration_ms: u64, function_s: Option<u64>, stream_s: u64, expected: Result<u64, &str>) {
        let found = Timeouts::new(integration_ms, function_s, stream_s);
        match (found, expected) {
            (Ok(found), Ok(function_s)) => assert_eq!(found.function_s, function_s),
            (Err(found), Err(part)) => assert!(found.to_string().contains(part), "{found}"),
            (found, expected) => panic!("{found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_hop_ends_before_the_one_in_front_of_it_gives_up() {
        check(29_000, None, 120, Ok(28));
        check(29_000, Some(10), 120, Ok(10));
        check(12_500, None, 120, Ok(11));
        // The guide's: Lambda would go on for half a minute after its caller has been told 504.
        check(29_000, Some(60), 120, Err("set 3 to 28"));
        check(29_000, Some(29), 120, Err("deploy.function_timeout_s is 29"));
        check(30_000, None, 120, Err("gateway.integration_timeout_ms is 30000"));
        check(3_000, None, 120, Err("between 4000 and 29000"));
        check(29_000, None, 901, Err("deploy.stream_timeout_s is 901"));
    }
}
