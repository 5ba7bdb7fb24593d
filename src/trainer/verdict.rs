//! Says in words which targets a network has not learned.

use super::evaluate::{ChannelEvaluation, Evaluation};

impl Evaluation {
    /// For each target that the network has not learned, a sentence that says so. `steps`: duration of the training, if it
    /// is known.
    pub fn verdicts(&self, steps: Option<u64>) -> Vec<String> {
        let after = steps.map_or(String::new(), |steps| match steps {
            1 => " after 1 step".to_owned(),
            n => format!(" after {n} steps"),
        });
        let channels = self.channels.iter();
        let verdict = |(name, channel): (&String, &ChannelEvaluation)| {
            let problem = channel.problem()?;
            Some(format!("{name}: nothing learned{after}: {problem}"))
        };
        channels.filter_map(verdict).collect()
    }
}

impl ChannelEvaluation {
    /// Why the channel is not learned, if it is not.
    fn problem(&self) -> Option<String> {
        let advice = "train longer, or check that the inputs show the difference";
        if self.scores.positives == 0 {
            return Some(
                "no voxel of the target is positive in the evaluated samples; check the target with `pointshard preview`"
                    .to_owned(),
            );
        }
        let (loss, constant) = (self.loss?, self.constant_loss?);
        if loss >= constant {
            return Some(format!(
                "the loss {loss:.4} is not below {constant:.4}, the loss of the best constant prediction; {advice}"
            ));
        }
        let precision = self.scores.average_precision?;
        let chance = self.scores.positives as f64 / self.scores.voxels as f64;
        (precision <= chance).then(|| {
            format!(
                "the average precision {precision:.4} is not above {chance:.4}, the fraction of positive voxels; {advice}"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::metrics::VoxelCounts;

    fn channel(loss: f64, probabilities: &[f32], targets: &[u8]) -> ChannelEvaluation {
        let mut counts = VoxelCounts::default();
        counts.add(probabilities, targets, None);
        ChannelEvaluation {
            loss: Some(loss),
            constant_loss: Some(0.6),
            scores: counts.scores(),
            assignment: None,
        }
    }

    #[test]
    fn a_target_is_learned_if_it_is_better_than_any_constant_prediction() {
        let right = [0.9, 0.1, 0.1, 0.2];
        let wrong = [0.1, 0.9, 0.8, 0.7];
        let channels = [
            ("right", channel(0.5, &right, &[1, 0, 0, 0])),
            ("loss", channel(0.6, &right, &[1, 0, 0, 0])),
            ("order", channel(0.5, &wrong, &[1, 0, 0, 0])),
            ("empty", channel(0.5, &right, &[0; 4])),
        ];
        let evaluation = Evaluation {
            loss: Some(0.5),
            samples: 1,
            samples_left_out: 0,
            channels: channels
                .map(|(n, c)| (n.to_owned(), c))
                .into_iter()
                .collect(),
        };
        let verdicts = evaluation.verdicts(Some(200));
        let [loss, order, empty] = &verdicts[..] else {
            panic!("{verdicts:?}");
        };
        assert!(
            loss.starts_with(
                "loss: nothing learned after 200 steps: the loss 0.6000 is not below 0.6000"
            ),
            "{loss}"
        );
        assert!(
            order.contains("the average precision 0.2500 is not above 0.2500"),
            "{order}"
        );
        assert!(
            empty.contains("no voxel of the target is positive"),
            "{empty}"
        );
        assert!(evaluation.verdicts(Some(1))[0].contains("nothing learned after 1 step: "));
        let untimed = evaluation.verdicts(None);
        assert!(
            untimed[0].starts_with("loss: nothing learned: "),
            "{untimed:?}"
        );
        let none = Evaluation {
            channels: IndexMap::new(),
            ..evaluation
        };
        assert!(none.verdicts(None).is_empty());
    }
}
