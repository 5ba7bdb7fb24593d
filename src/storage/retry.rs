//! The retry policy of all requests. It uses no clock: the caller passes the time, and gets the pause before the next
//! attempt.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long and how often a failed read is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How long a read is retried, counted from its first failure.
    pub retry_for: Duration,
    /// Upper bound of the first pause. It doubles with each further pause.
    pub first_pause: Duration,
    /// Longest pause without a `Retry-After`.
    pub longest_pause: Duration,
    /// Longest accepted `Retry-After`.
    pub longest_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retry_for: Duration::from_secs(60),
            first_pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(5),
            longest_retry_after: Duration::from_secs(30),
        }
    }
}

/// Maximum attempts of a read if waiting is unlikely to help: the server never responded, or its response is wrong.
const FEW_ATTEMPTS: u32 = 4;

/// Maximum attempts of a read whose response is too slow.
const SLOW_ATTEMPTS: u32 = 2;

/// A failure that may not happen again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transient {
    /// The server or the network fails.
    Outage,
    /// An outage of a server that has not responded since the program started. It may not exist.
    NeverAnswered,
    /// The response does not match the request.
    Wrong,
    /// The response is too slow.
    Slow,
}

/// The failures of one read so far.
#[derive(Debug)]
pub(super) struct Retries {
    policy: RetryPolicy,
    first_failure: Option<Duration>,
    failures: u32,
    wrong: u32,
    slow: u32,
}

impl Retries {
    pub(super) fn new(policy: RetryPolicy) -> Self {
        Self {
            policy,
            first_failure: None,
            failures: 0,
            wrong: 0,
            slow: 0,
        }
    }

    /// Records an attempt that failed at `now`, counted from any fixed time. Returns the pause before the next attempt, or
    /// `None` to give up. `retry_after` comes from the server, `chance` is a random number from 0 to 1.
    pub(super) fn after(
        &mut self,
        failure: Transient,
        now: Duration,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> Option<Duration> {
        self.first_failure.get_or_insert(now);
        self.failures += 1;
        self.wrong += u32::from(failure == Transient::Wrong);
        self.slow += u32::from(failure == Transient::Slow);
        let remaining = self.remaining(now);
        let give_up = self.wrong >= FEW_ATTEMPTS
            || self.slow >= SLOW_ATTEMPTS
            || (failure == Transient::NeverAnswered && self.failures >= FEW_ATTEMPTS)
            || remaining.is_zero();
        if give_up {
            return None;
        }
        let RetryPolicy {
            first_pause,
            longest_pause,
            longest_retry_after,
            ..
        } = self.policy;
        let longest = first_pause
            .saturating_mul(1 << (self.failures - 1).min(16))
            .min(longest_pause);
        let own = longest.mul_f64(0.5 + chance / 2.0);
        let retry_after = retry_after.map(|retry_after| retry_after.min(longest_retry_after));
        // Clients that got the same `Retry-After` must not retry at the same moment.
        let retry_after = retry_after.map(|retry_after| retry_after + first_pause.mul_f64(chance));
        // The last attempt starts at the end of `retry_for`.
        Some(own.max(retry_after.unwrap_or_default()).min(remaining))
    }

    /// Time since the first failure.
    pub(super) fn failing(&self, now: Duration) -> Duration {
        now.saturating_sub(self.first_failure.unwrap_or(now))
    }

    /// Time for which the read is still retried.
    pub(super) fn remaining(&self, now: Duration) -> Duration {
        self.policy.retry_for.saturating_sub(self.failing(now))
    }
}

/// Detects responses that are too slow.
#[derive(Debug)]
pub(super) struct Rate {
    min_bytes_per_s: u64,
    /// Length of one measurement.
    span: Duration,
    /// Start of the current measurement.
    start: Duration,
    bytes: u64,
}

impl Rate {
    pub(super) fn new(min_bytes_per_s: u64, span: Duration, now: Duration) -> Self {
        Self {
            min_bytes_per_s,
            span,
            start: now,
            bytes: 0,
        }
    }

    /// Records `bytes` received at `now`. Returns the rate in bytes per second if it was too low over the last span.
    pub(super) fn received(&mut self, bytes: u64, now: Duration) -> Option<f64> {
        self.bytes += bytes;
        let elapsed = now.saturating_sub(self.start);
        if elapsed < self.span || elapsed.is_zero() {
            return None;
        }
        let rate = self.bytes as f64 / elapsed.as_secs_f64();
        (self.start, self.bytes) = (now, 0);
        (rate < self.min_bytes_per_s as f64).then_some(rate)
    }
}

/// Parses a `Retry-After` header: seconds, or a date, which is converted to the time from `now`.
pub(super) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = now.duration_since(UNIX_EPOCH).ok()?;
    Some(Duration::from_secs(http_date(header)?).saturating_sub(now))
}

/// Seconds since 1970 of a date such as `Wed, 21 Oct 2015 07:28:00 GMT`.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_weekday, rest) = text.split_once(", ")?;
    let parts: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else {
        return None;
    };
    let clock: Vec<u64> = time
        .split(':')
        .map_while(|part| part.parse().ok())
        .collect();
    let [hour, minute, second] = clock[..] else {
        return None;
    };
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    let month = MONTHS.iter().position(|m| *m == month)? as u64;
    let fits = (1970..=9999).contains(&year) && (1..=31).contains(&day);
    if !fits || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years start in March, so that a leap day is the last day of its year.
    let (year, month) = match month {
        0 | 1 => (year - 1, month + 10),
        _ => (year, month - 2),
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    /// The times of all attempts of a read whose server always fails with `failure`, by a virtual clock.
    fn attempts(
        policy: RetryPolicy,
        failure: Transient,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> Vec<Duration> {
        let mut retries = Retries::new(policy);
        let (mut now, mut all) = (100 * S, Vec::new());
        loop {
            all.push(now - 100 * S);
            match retries.after(failure, now, retry_after, chance) {
                Some(pause) => now += pause,
                None => return all,
            }
        }
    }

    #[test]
    fn an_outage_is_retried_until_the_time_is_over() {
        let policy = RetryPolicy::default();
        assert!(policy.retry_for >= 60 * S);
        for chance in [0.0, 0.5, 1.0] {
            let attempts = attempts(policy, Transient::Outage, None, chance);
            let last = *attempts.last().unwrap();
            assert_eq!(last, policy.retry_for, "the last attempt");
            let pauses: Vec<_> = attempts.windows(2).map(|w| w[1] - w[0]).collect();
            let (_, before) = pauses.split_last().unwrap();
            assert!(before.windows(2).all(|w| w[0] <= w[1]), "{pauses:?}");
            assert!(
                pauses.iter().all(|p| *p <= policy.longest_pause),
                "{pauses:?}"
            );
            assert!(attempts.len() < 40, "{}", attempts.len());
            // After any outage of 30 s there is another attempt.
            assert!(attempts.iter().any(|t| *t > 30 * S && *t < 36 * S));
        }
        let none = RetryPolicy {
            retry_for: Duration::ZERO,
            ..policy
        };
        assert_eq!(attempts(none, Transient::Outage, None, 0.5).len(), 1);
    }

    #[test]
    fn retry_after_is_respected_up_to_the_limit() {
        let policy = RetryPolicy::default();
        let first =
            |retry_after: Duration| attempts(policy, Transient::Outage, Some(retry_after), 0.0)[1];
        assert_eq!(first(7 * S), 7 * S);
        assert_eq!(first(Duration::ZERO), Duration::from_millis(100));
        assert_eq!(first(3600 * S), policy.longest_retry_after);
        let spread = attempts(policy, Transient::Outage, Some(7 * S), 1.0)[1];
        assert!(spread > 7 * S && spread < 8 * S);
    }

    #[test]
    fn failures_that_waiting_does_not_fix_are_retried_a_few_times() {
        let policy = RetryPolicy::default();
        let count = |failure| attempts(policy, failure, None, 0.5).len();
        assert_eq!(count(Transient::NeverAnswered), 4);
        assert_eq!(count(Transient::Wrong), 4);
        assert_eq!(count(Transient::Slow), 2);
    }

    #[test]
    fn only_a_rate_below_the_minimum_over_the_whole_span_is_too_slow() {
        let mut drip = Rate::new(256, 30 * S, Duration::ZERO);
        let found: Vec<_> = (1..=30u32)
            .filter_map(|s| drip.received(1, s * S))
            .collect();
        assert_eq!(found, [1.0]);
        let mut slow = Rate::new(256, 30 * S, Duration::ZERO);
        assert!((1..=300u32).all(|s| slow.received(300, s * S).is_none()));
        let mut short = Rate::new(256, 30 * S, Duration::ZERO);
        assert_eq!(short.received(5, 29 * S), None);
        assert_eq!(Rate::new(0, S, Duration::ZERO).received(0, 9 * S), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + 1_445_412_480 * S;
        let after = |text| retry_after(text, now).map(|d| d.as_secs());
        assert_eq!(after(" 12 "), Some(12));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:07 GMT"), Some(7));
        assert_eq!(after("Wed, 21 Oct 2015 07:27:00 GMT"), Some(0));
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Sat, 28 Nov 2026 17:00:00 GMT", 1_795_885_200),
            ("Fri, 31 Dec 2100 23:59:59 GMT", 4_133_980_799),
        ] {
            assert_eq!(http_date(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "-1",
            "1.5",
            "soon",
            "Wed, 41 Oct 2015 07:28:00 GMT",
            "Wed, 21 Oct 2015 07:28 GMT",
            "x, 1 2 3 4 GMT",
        ] {
            assert_eq!(after(text), None, "{text}");
        }
    }
}
