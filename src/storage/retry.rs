//! When a failed request is made again: one policy for the whole program. Pure: time comes in, pauses come out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How a server that fails for a while is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How long a read is retried, counted from its first failure.
    pub retry_for: Duration,
    /// Longest first pause; each further one is up to twice as long.
    pub first_pause: Duration,
    /// Longest pause that the program chooses itself.
    pub longest_pause: Duration,
    /// Longest pause that a server can request (`Retry-After`).
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

/// Tries of a read where waiting does not help: no server was ever there, or what it sends is wrong.
const FEW_TRIES: u32 = 4;

/// Tries of a read whose answer comes too slowly.
const SLOW_TRIES: u32 = 2;

/// A failure that another try may mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transient {
    /// The server, or the way to it, is out of order.
    Outage,
    /// The same, of a server that has not answered once since the program began: it may not exist.
    NeverAnswered,
    /// It answered, but not with what was requested.
    Wrong,
    /// Its answer comes too slowly.
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

    /// A try failed at `now`, counted from any fixed time: how long to pause before the next one; `None` to give up.
    /// `retry_after` is the server's `Retry-After`, `chance` a random number from 0 to 1.
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
        let give_up = self.wrong >= FEW_TRIES
            || self.slow >= SLOW_TRIES
            || (failure == Transient::NeverAnswered && self.failures >= FEW_TRIES)
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
        // The last try is made when the time is over, not before.
        Some(own.max(retry_after.unwrap_or_default()).min(remaining))
    }

    /// How long ago the first failure was.
    pub(super) fn failing(&self, now: Duration) -> Duration {
        now.saturating_sub(self.first_failure.unwrap_or(now))
    }

    /// The longest time that retries can still take.
    pub(super) fn remaining(&self, now: Duration) -> Duration {
        self.policy.retry_for.saturating_sub(self.failing(now))
    }
}

/// Bytes that came, watched for a rate that is too low to go on.
#[derive(Debug)]
pub(super) struct Rate {
    least_bytes_per_s: u64,
    /// Over how long the rate is measured.
    span: Duration,
    begun: Duration,
    bytes: u64,
}

impl Rate {
    pub(super) fn new(least_bytes_per_s: u64, span: Duration, now: Duration) -> Self {
        Self {
            least_bytes_per_s,
            span,
            begun: now,
            bytes: 0,
        }
    }

    /// So many bytes came at `now`: their rate over the last span, in bytes per second, where that is too low.
    pub(super) fn came(&mut self, bytes: u64, now: Duration) -> Option<f64> {
        self.bytes += bytes;
        let elapsed = now.saturating_sub(self.begun);
        if elapsed < self.span || elapsed.is_zero() {
            return None;
        }
        let rate = self.bytes as f64 / elapsed.as_secs_f64();
        (self.begun, self.bytes) = (now, 0);
        (rate < self.least_bytes_per_s as f64).then_some(rate)
    }
}

/// The pause in a `Retry-After` header: seconds, or a date, which `now` is subtracted from.
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
    // Years from March on, so that the leap day is the last of one.
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

    /// When the tries of a read are made whose server fails so: a virtual clock.
    fn tries(
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
    fn an_outage_is_outlasted_until_the_time_is_over() {
        let policy = RetryPolicy::default();
        assert!(policy.retry_for >= 60 * S);
        for chance in [0.0, 0.5, 1.0] {
            let tries = tries(policy, Transient::Outage, None, chance);
            assert_eq!(*tries.last().unwrap(), policy.retry_for, "the last try");
            let pauses: Vec<_> = tries.windows(2).map(|w| w[1] - w[0]).collect();
            let (_, before) = pauses.split_last().unwrap();
            assert!(before.windows(2).all(|w| w[0] <= w[1]), "{pauses:?}");
            assert!(
                pauses.iter().all(|p| *p <= policy.longest_pause),
                "{pauses:?}"
            );
            assert!(tries.len() < 40, "{}", tries.len());
            // Any outage of 30 s ends before some try.
            assert!(tries.iter().any(|t| *t > 30 * S && *t < 36 * S));
        }
        let none = RetryPolicy {
            retry_for: Duration::ZERO,
            ..policy
        };
        assert_eq!(tries(none, Transient::Outage, None, 0.5).len(), 1);
    }

    #[test]
    fn a_server_that_asks_for_time_gets_it_within_bounds() {
        let policy = RetryPolicy::default();
        let first =
            |retry_after: Duration| tries(policy, Transient::Outage, Some(retry_after), 0.0)[1];
        assert_eq!(first(7 * S), 7 * S);
        assert_eq!(first(Duration::ZERO), Duration::from_millis(100));
        assert_eq!(first(3600 * S), policy.longest_retry_after);
        let spread = tries(policy, Transient::Outage, Some(7 * S), 1.0)[1];
        assert!(spread > 7 * S && spread < 8 * S);
    }

    #[test]
    fn where_waiting_does_not_help_tries_are_few() {
        let policy = RetryPolicy::default();
        assert_eq!(tries(policy, Transient::NeverAnswered, None, 0.5).len(), 4);
        assert_eq!(tries(policy, Transient::Wrong, None, 0.5).len(), 4);
        assert_eq!(tries(policy, Transient::Slow, None, 0.5).len(), 2);
    }

    #[test]
    fn a_drip_is_told_from_a_slow_stream_and_a_late_one() {
        let mut drip = Rate::new(256, 30 * S, Duration::ZERO);
        let found: Vec<_> = (1..=30u32).filter_map(|s| drip.came(1, s * S)).collect();
        assert_eq!(found, [1.0]);
        let mut slow = Rate::new(256, 30 * S, Duration::ZERO);
        assert!((1..=300u32).all(|s| slow.came(300, s * S).is_none()));
        let mut short = Rate::new(256, 30 * S, Duration::ZERO);
        assert_eq!(short.came(5, 29 * S), None);
        assert_eq!(Rate::new(0, S, Duration::ZERO).came(0, 9 * S), None);
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
