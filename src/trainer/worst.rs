//! The samples with the largest errors, which a report shows first.

use super::evaluate::{PredictedBatch, SamplePicture};

/// The pictures of the samples with the largest errors so far.
#[derive(Debug)]
pub(super) struct WorstSamples {
    most: usize,
    /// By descending error.
    pictures: Vec<(f64, SamplePicture)>,
}

impl WorstSamples {
    /// Keeps `most` samples.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            pictures: Vec::new(),
        }
    }

    /// Adds a sample, whose picture is only drawn if its error is large enough.
    pub(super) fn add(&mut self, error: f64, picture: impl FnOnce() -> SamplePicture) {
        let place = self.pictures.partition_point(|(other, _)| *other >= error);
        if place < self.most {
            self.pictures.insert(place, (error, picture()));
            self.pictures.truncate(self.most);
        }
    }

    /// The pictures, the largest error first.
    pub(super) fn into_pictures(self) -> impl Iterator<Item = SamplePicture> {
        self.pictures.into_iter().map(|(_, picture)| picture)
    }
}

/// The error of sample number `i` of a batch: the mean of the binary cross-entropy over the voxels that count, without class
/// weights. `mask` has the shape of the predictions. 0 if no voxel counts.
pub(super) fn error(predicted: &PredictedBatch<'_>, i: usize, mask: &[f32]) -> f64 {
    let [_, channels, z, y, x] = predicted.shape;
    let values = channels * z * y * x;
    let part = i * values..(i + 1) * values;
    let targets = &predicted.batch.batch.targets[part.clone()];
    let voxels = predicted.probabilities[part.clone()].iter().zip(targets);
    let (mut sum, mut all) = (0.0, 0.0);
    for ((p, target), weight) in voxels.zip(&mask[part]) {
        if *weight != 0.0 {
            sum += f64::from(*weight) * cross_entropy(*p, *target != 0);
            all += f64::from(*weight);
        }
    }
    if all > 0.0 { sum / all } else { 0.0 }
}

/// Binary cross-entropy, at most that of a probability of 1e-7.
fn cross_entropy(p: f32, target: bool) -> f64 {
    let right = if target { p } else { 1.0 - p };
    -f64::from(right.clamp(1e-7, 1.0).ln())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pointshard::trainer_api::{Picture, PictureRow};

    fn picture(sample: u64) -> SamplePicture {
        let row = PictureRow {
            caption: String::new(),
            titles: Vec::new(),
            picture: Picture {
                width: 1,
                height: 1,
                rgb: vec![0; 3],
            },
        };
        SamplePicture { sample, row }
    }

    #[test]
    fn the_largest_errors_are_kept_and_the_first_of_equal_ones_comes_first() {
        let mut worst = WorstSamples::new(3);
        let mut drawn = 0;
        for (sample, error) in [0.5, 0.1, 0.9, 0.5, 0.05, 0.7].into_iter().enumerate() {
            worst.add(error, || {
                drawn += 1;
                picture(sample as u64)
            });
        }
        let kept: Vec<_> = worst.into_pictures().map(|p| p.sample).collect();
        assert_eq!((kept, drawn), (vec![2, 5, 0], 5));
        let mut none = WorstSamples::new(0);
        none.add(1.0, || panic!("a picture was drawn"));
    }

    #[test]
    fn cross_entropy_is_bounded() {
        assert!((cross_entropy(0.5, true) - 2f64.ln()).abs() < 1e-6);
        assert!((cross_entropy(0.25, false) + 0.75f64.ln()).abs() < 1e-6);
        assert!(cross_entropy(0.0, true) < 17.0 && cross_entropy(1.0, true) == 0.0);
    }
}
