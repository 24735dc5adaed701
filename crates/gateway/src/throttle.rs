//! The token bucket, as the generic cell rate algorithm: one atomic a key instead of a lock and two numbers.
//!
//! The bucket holds `burst` tokens and gains `rate` a second. GCRA keeps only the *theoretical arrival time*, when the bucket would be full again: a
//! request is admitted if adding its cost leaves that time at most `burst / rate` ahead of now (ITU-T I.371, in its virtual-scheduling form).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use frontdesk_store::Throttle;

/// A bucket. Times are nanoseconds since any fixed moment; a clock that steps back admits nothing extra.
#[derive(Debug, Default)]
pub struct TokenBucket {
    full_again_at_ns: AtomicU64,
}

impl TokenBucket {
    /// Takes a token.
    ///
    /// # Errors
    /// The time after which a token will be there, when there is none.
    pub fn take(&self, throttle: Throttle, now_ns: u64) -> Result<(), Duration> {
        // A rate of zero admits its burst and then nothing; a day is as good as never.
        let interval_ns = (1e9 / throttle.rate_limit).clamp(1.0, 86_400e9) as u64;
        let capacity_ns = interval_ns.saturating_mul(u64::from(throttle.burst_limit));
        let mut seen = self.full_again_at_ns.load(Ordering::Relaxed);
        loop {
            let full_again_at_ns = seen.max(now_ns).saturating_add(interval_ns);
            let ahead_ns = full_again_at_ns - now_ns;
            if ahead_ns > capacity_ns {
                return Err(Duration::from_nanos(ahead_ns - capacity_ns));
            }
            match self.full_again_at_ns.compare_exchange_weak(seen, full_again_at_ns, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(current) => seen = current,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests at these milliseconds, and what each is told.
    fn check(rate_limit: f64, burst_limit: u32, at_ms: &[u64], expected: &str) {
        let bucket = TokenBucket::default();
        let told: Vec<&str> = at_ms
            .iter()
            .map(|at_ms| match bucket.take(Throttle { rate_limit, burst_limit }, at_ms * 1_000_000) {
                Ok(()) => "200",
                Err(_) => "429",
            })
            .collect();
        assert_eq!(told.join(" "), expected, "rate {rate_limit}, burst {burst_limit}, at {at_ms:?}");
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        check(2.0, 1, &[0, 100, 600], "200 429 200");
        check(2.0, 3, &[0, 0, 0, 0, 500, 500], "200 200 200 429 200 429");
        check(0.1, 1, &[0, 9_999, 10_000], "200 429 200");
        check(50.0, 100, &[0; 101], &format!("{}429", "200 ".repeat(100)));
    }

    #[test]
    fn it_never_holds_more_than_its_burst() {
        check(10.0, 2, &[1_000_000, 1_000_000, 1_000_000], "200 200 429");
    }

    #[test]
    fn limits_of_zero_admit_nothing_and_a_clock_that_steps_back_nothing_extra() {
        check(10.0, 0, &[0, 1_000], "429 429");
        check(0.0, 1, &[0, 60_000], "200 429");
        check(1.0, 1, &[5_000, 1_000, 5_500, 6_000], "200 429 429 200");
    }

    #[test]
    fn who_waits_as_told_is_admitted() {
        let bucket = TokenBucket::default();
        let throttle = Throttle { rate_limit: 3.0, burst_limit: 1 };
        bucket.take(throttle, 0).unwrap();
        let wait = bucket.take(throttle, 1_000_000).unwrap_err();
        bucket.take(throttle, 1_000_000 + u64::try_from(wait.as_nanos()).unwrap()).unwrap();
    }

    #[test]
    fn threads_together_get_no_more_than_the_burst() {
        let bucket = TokenBucket::default();
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        if bucket.take(Throttle { rate_limit: 1.0, burst_limit: 500 }, 0).is_ok() {
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 500);
    }
}
