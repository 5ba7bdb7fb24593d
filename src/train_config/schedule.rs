//! The learning rate of each step.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate changes. First it rises in equal steps to `lr` (warm-up), then it follows half a cosine from `lr` to
/// `min_lr`, and stays there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Number of steps of the warm-up. The first step has `lr / warmup_steps`, the last one `lr`.
    pub warmup_steps: u64,
    /// The step from which on the learning rate is `min_lr`. Without it, the learning rate stays at `lr` after the warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosine_steps: Option<u64>,
    /// The learning rate at the end of the cosine.
    #[schemars(range(min = 0))]
    pub min_lr: f64,
}

impl ScheduleConfig {
    /// The learning rate of step number `step`, from 1, for the full learning rate `lr`.
    pub fn lr(&self, lr: f64, step: u64) -> f64 {
        if step < self.warmup_steps {
            return lr * step as f64 / self.warmup_steps as f64;
        }
        let Some(end) = self.cosine_steps else {
            return lr;
        };
        let passed = (step - self.warmup_steps) as f64;
        let all = end.saturating_sub(self.warmup_steps).max(1) as f64;
        let fraction = (passed / all).min(1.0);
        self.min_lr + (lr - self.min_lr) * 0.5 * (1.0 + (PI * fraction).cos())
    }

    /// The key, and the problem there.
    pub(super) fn problem(&self, lr: f64) -> Option<(String, String)> {
        if let Some(end) = self.cosine_steps.filter(|end| *end <= self.warmup_steps) {
            let warmup = self.warmup_steps;
            let problem =
                format!("found {end}, expected more than `warmup_steps`, which is {warmup}");
            return Some(("cosine_steps".into(), problem));
        }
        if !(0.0..=lr).contains(&self.min_lr) {
            let found = self.min_lr;
            let problem = format!("found {found}, expected a number from 0 to `lr`, which is {lr}");
            return Some(("min_lr".into(), problem));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_then_follows_a_cosine() {
        let schedule = ScheduleConfig {
            warmup_steps: 4,
            cosine_steps: Some(12),
            min_lr: 0.2,
        };
        let lr = |step| schedule.lr(1.0, step);
        let close = |found: f64, expected: f64| {
            assert!(
                (found - expected).abs() < 1e-12,
                "{found}, expected {expected}"
            );
        };
        for (step, expected) in [
            (1, 0.25),
            (2, 0.5),
            (4, 1.0),
            (8, 0.6),
            (12, 0.2),
            (99, 0.2),
        ] {
            close(lr(step), expected);
        }
        close(lr(6), 0.2 + 0.8 * 0.5 * (1.0 + (PI / 4.0).cos()));
        let constant = ScheduleConfig::default();
        close(constant.lr(0.3, 1), 0.3);
        close(constant.lr(0.3, 1000), 0.3);
    }

    #[test]
    fn an_impossible_schedule_is_a_problem() {
        let schedule = |warmup_steps, cosine_steps, min_lr| ScheduleConfig {
            warmup_steps,
            cosine_steps,
            min_lr,
        };
        assert_eq!(schedule(10, Some(11), 0.0).problem(0.1), None);
        let key = |s: ScheduleConfig| s.problem(0.1).map(|(key, _)| key);
        assert_eq!(
            key(schedule(10, Some(10), 0.0)),
            Some("cosine_steps".into())
        );
        assert_eq!(key(schedule(0, None, 0.2)), Some("min_lr".into()));
        assert_eq!(key(schedule(0, None, f64::NAN)), Some("min_lr".into()));
    }
}
