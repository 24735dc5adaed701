//! What a caller is told of its limits, in the IETF draft's `RateLimit` fields, which API Gateway lacks
//! (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>).

use frontdesk_store::{Quota, QuotaPeriod, Throttle};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::header_names::{RATELIMIT, RATELIMIT_POLICY};
use crate::quota::DAY_SECONDS;

/// A plan's limits at the moment of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimitsLeft {
    /// The plan's speed.
    pub throttle: Option<Throttle>,
    /// The plan's quota.
    pub quota: Option<QuotaLeft>,
}

/// What is left of a quota.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuotaLeft {
    /// The quota, with what was granted beyond it.
    pub quota: Quota,
    /// Requests left.
    pub remaining: u64,
    /// The period's length in days.
    pub span_days: u32,
    /// Seconds until the next period.
    pub resets_in_s: u64,
}

impl LimitsLeft {
    /// Writes `RateLimit-Policy` and `RateLimit`. The bucket's window is the time in which an empty one fills; what it holds at the moment is not told,
    /// since it is another number before the caller has read it.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut text = String::with_capacity(96);
        if let Some(Throttle { rate_limit, burst_limit }) = self.throttle
            && rate_limit > 0.0
        {
            let window_s = (f64::from(burst_limit) / rate_limit).ceil().max(1.0) as u64;
            push(&mut text, "burst", [(";q=", burst_limit.into()), (";w=", window_s)]);
        }
        let Some(QuotaLeft { quota, remaining, span_days, resets_in_s }) = self.quota else {
            return insert(headers, RATELIMIT_POLICY, &text);
        };
        let name = match quota.period {
            QuotaPeriod::Day => "daily",
            QuotaPeriod::Week => "weekly",
            QuotaPeriod::Month => "monthly",
        };
        if !text.is_empty() {
            text.push_str(", ");
        }
        push(&mut text, name, [(";q=", quota.limit), (";w=", u64::from(span_days) * DAY_SECONDS.unsigned_abs())]);
        insert(headers, RATELIMIT_POLICY, &text);
        text.clear();
        push(&mut text, name, [(";r=", remaining), (";t=", resets_in_s)]);
        insert(headers, RATELIMIT, &text);
    }
}

fn push(text: &mut String, name: &str, numbers: [(&str, u64); 2]) {
    text.push('"');
    text.push_str(name);
    text.push('"');
    for (parameter, number) in numbers {
        text.push_str(parameter);
        text.push_str(itoa::Buffer::new().format(number));
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if !value.is_empty() {
        headers.insert(name, HeaderValue::from_str(value).expect("names and numbers are header text"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limits: LimitsLeft, policy: Option<&str>, left: Option<&str>) {
        let mut headers = HeaderMap::new();
        limits.write(&mut headers);
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!((text("ratelimit-policy").as_deref(), text("ratelimit").as_deref()), (policy, left));
    }

    #[test]
    fn limits_are_told_as_far_as_there_are_any() {
        let throttle = Some(Throttle { rate_limit: 50.0, burst_limit: 100 });
        let daily = QuotaLeft {
            quota: Quota { limit: 10_000, period: QuotaPeriod::Day, offset: 0 },
            remaining: 9_998,
            span_days: 1,
            resets_in_s: 69_076,
        };
        check(
            LimitsLeft { throttle, quota: Some(daily) },
            Some("\"burst\";q=100;w=2, \"daily\";q=10000;w=86400"),
            Some("\"daily\";r=9998;t=69076"),
        );
        let monthly = QuotaLeft { quota: Quota { limit: 5, period: QuotaPeriod::Month, offset: 0 }, span_days: 30, ..daily };
        check(LimitsLeft { throttle: None, quota: Some(monthly) }, Some("\"monthly\";q=5;w=2592000"), Some("\"monthly\";r=9998;t=69076"));
        check(LimitsLeft { throttle: None, quota: None }, None, None);
        check(LimitsLeft { throttle: Some(Throttle { rate_limit: 0.0, burst_limit: 1 }), quota: None }, None, None);
    }
}
