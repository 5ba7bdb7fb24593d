//! The loss: masked binary cross-entropy per channel.
//!
//! Per channel: element-wise binary cross-entropy with logits; multiplied by the weight of the class (with `balance`) and
//! by the mask; then the sum, or the sum divided by `max(nonzero mask elements, elements * mean_reduction_clip)`. The
//! total is the sum or the weighted mean of the channels. Nothing here waits for the device.

use pointshard::trainer_api::{LossConfig, Reduction};
use tch::{Kind, Reduction as Elements, TchError, Tensor};

use crate::balance;

/// The loss for windows of one shape on one device.
#[derive(Debug)]
pub(super) struct Loss {
    config: LossConfig,
    /// Numbers of the image channels that have values other than 0 and 1.
    data_channels: Vec<usize>,
    /// The same on the device.
    data_channel_numbers: Tensor,
    /// 1 inside, 0 in the voxels ignored by `crop_pad`; `[z, y, x]`. `None` if all count.
    inside: Option<Tensor>,
}

/// The loss of a batch, with its parts.
#[derive(Debug)]
pub(super) struct LossValue {
    /// The value to minimize.
    pub total: Tensor,
    /// Loss of each channel.
    pub channels: Vec<Tensor>,
    /// For [`constant_loss`], per channel, `[2]`: the factors of `-ln p` and `-ln (1 - p)` in the loss of a prediction that
    /// is `p` everywhere.
    pub constants: Vec<Tensor>,
    /// The mask, in the shape of the logits.
    pub mask: Tensor,
}

impl Loss {
    /// The loss for windows of `[z, y, x]` voxels that pass [`LossConfig::problem_with`]. `data_channels` are the channels of
    /// the image that have values other than 0 and 1.
    pub(super) fn new(
        config: &LossConfig,
        window: [i64; 3],
        data_channels: &[usize],
        device: tch::Device,
    ) -> Result<Self, TchError> {
        let [x, y, z] = config.crop_pad.map(i64::from);
        let inside = match [z, y, x] {
            [0, 0, 0] => None,
            pads => {
                let mask = Tensor::f_zeros(window, (Kind::Float, device))?;
                let mut inner = mask.shallow_clone();
                for (d, (pad, n)) in pads.into_iter().zip(window).enumerate() {
                    inner = inner.f_narrow(d as i64, pad, n - 2 * pad)?;
                }
                let _ = inner.f_fill_(1.0)?;
                Some(mask)
            }
        };
        let channels: Vec<i64> = data_channels.iter().map(|c| *c as i64).collect();
        Ok(Self {
            config: config.clone(),
            data_channels: data_channels.to_vec(),
            data_channel_numbers: Tensor::f_from_slice(&channels)?.f_to_device(device)?,
            inside,
        })
    }

    /// Numbers of the image channels that have values other than 0 and 1.
    pub(super) fn data_channels(&self) -> &[usize] {
        &self.data_channels
    }

    /// Voxels, z y x, that are ignored at either side of a window.
    pub(super) fn pad(&self) -> [usize; 3] {
        let [x, y, z] = self.config.crop_pad.map(|n| n as usize);
        [z, y, x]
    }

    /// The channels of the image that have values other than 0 and 1.
    fn data(&self, image: &Tensor) -> Result<Tensor, TchError> {
        if self.data_channels.len() as i64 == image.size5()?.1 {
            return Ok(image.shallow_clone());
        }
        image.f_index_select(1, &self.data_channel_numbers)
    }

    pub(super) fn reduction(&self) -> Reduction {
        self.config.reduction
    }

    /// The weight of each element of `targets`, `[batch, channel, z, y, x]`, before class balance. `masks` has the same
    /// shape; `image` is `[batch, image channel, z, y, x]`.
    pub(super) fn mask(
        &self,
        image: &Tensor,
        targets: &Tensor,
        masks: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let mut mask = match masks {
            Some(masks) => masks.f_to_kind(Kind::Float)?,
            None => targets.f_to_kind(Kind::Float)?.f_ones_like()?,
        };
        if let Some(inside) = &self.inside {
            mask = mask.f_mul(inside)?;
        }
        if self.config.mask_on_zeros {
            // A voxel has no data if all channels are 0, apart from those of masks.
            let data = self.data(image)?.f_ne(0.0)?.f_any_dim(1, true)?;
            mask = mask.f_mul(&data.f_to_kind(Kind::Float)?)?;
        }
        Ok(mask)
    }

    /// The loss of `logits`, `[batch, channel, z, y, x]`, for `targets` of the same shape, 0 or 1, with the [`Loss::mask`]
    /// of the batch.
    pub(super) fn compute(
        &self,
        logits: &Tensor,
        targets: &Tensor,
        mask: Tensor,
    ) -> Result<LossValue, TchError> {
        let logits = logits.f_to_kind(Kind::Float)?;
        let targets = targets.f_to_kind(Kind::Float)?;
        let elements = logits.f_binary_cross_entropy_with_logits(
            &targets,
            None::<&Tensor>,
            None::<&Tensor>,
            Elements::None,
        )?;
        let (mut channels, mut constants) = (Vec::new(), Vec::new());
        for c in 0..logits.size5()?.1 {
            let select = |t: &Tensor| t.f_select(1, c);
            let (loss, constant) =
                self.channel(&select(&elements)?, &select(&targets)?, &select(&mask)?)?;
            channels.push(loss);
            constants.push(constant);
        }
        let total = self.combine(&channels)?;
        Ok(LossValue {
            total,
            channels,
            constants,
            mask,
        })
    }

    fn channel(
        &self,
        elements: &Tensor,
        targets: &Tensor,
        mask: &Tensor,
    ) -> Result<(Tensor, Tensor), TchError> {
        let balance = self.config.balance;
        let weights = match balance::weights(balance, targets, mask, self.config.balance_clip)? {
            Some(weights) => weights.f_mul(mask)?,
            None => mask.shallow_clone(),
        };
        let sum = elements.f_mul(&weights)?.f_sum(Kind::Float)?;
        let ones = targets.f_mul(&weights)?.f_sum(Kind::Float)?;
        let zeros = weights.f_sum(Kind::Float)?.f_sub(&ones)?;
        let constant = Tensor::f_stack(&[ones, zeros], 0)?.f_detach()?;
        match self.config.reduction {
            Reduction::Sum => Ok((sum, constant)),
            Reduction::Mean => {
                let least = targets.numel() as f64 * self.config.mean_reduction_clip;
                let counted = if balance.counts_weights() {
                    &weights
                } else {
                    mask
                };
                let counted = counted.f_count_nonzero(None)?.f_to_kind(Kind::Float)?;
                // The result is 0, not NaN, if nothing counts and the minimum is 0.
                let divisor = counted.f_clamp_min(least.max(f64::from(f32::MIN_POSITIVE)))?;
                Ok((sum.f_div(&divisor)?, constant.f_div(&divisor)?))
            }
        }
    }

    fn combine(&self, channels: &[Tensor]) -> Result<Tensor, TchError> {
        let losses = Tensor::f_stack(channels, 0)?;
        match &self.config.channel_weights {
            None => losses.f_sum(Kind::Float),
            Some(weights) => {
                let all: f64 = weights.iter().sum();
                let shares: Vec<f32> = weights.iter().map(|w| (w / all) as f32).collect();
                let shares = Tensor::f_from_slice(&shares)?.f_to_device(losses.device())?;
                losses.f_mul(&shares)?.f_sum(Kind::Float)
            }
        }
    }
}

/// The lowest loss that a constant prediction can reach. The argument is the mean of [`LossValue::constants`] of a channel
/// over batches.
pub(super) fn constant_loss([ones, zeros]: [f64; 2]) -> f64 {
    let p = ones / (ones + zeros);
    let part = |n: f64, p: f64| if n > 0.0 { -n * p.ln() } else { 0.0 };
    part(ones, p) + part(zeros, 1.0 - p)
}

#[cfg(test)]
mod tests {
    use pointshard::trainer_api::Balance;

    use super::*;

    const ONE: [i64; 5] = [1, 1, 1, 1, 4];

    fn tensor(values: &[f32], shape: [i64; 5]) -> Tensor {
        Tensor::from_slice(values).reshape(shape)
    }

    fn value(config: &LossConfig, logits: &[f32], targets: &[f32], mask: Option<&[f32]>) -> f64 {
        let loss = Loss::new(config, [1, 1, 4], &[0], tch::Device::Cpu).unwrap();
        let mask = mask.map(|m| tensor(m, ONE));
        let (logits, targets) = (tensor(logits, ONE), tensor(targets, ONE));
        let image = logits.ones_like();
        let mask = loss.mask(&image, &targets, mask.as_ref()).unwrap();
        let loss = loss.compute(&logits, &targets, mask).unwrap();
        loss.total.double_value(&[])
    }

    fn config(reduction: Reduction) -> LossConfig {
        LossConfig {
            reduction,
            ..LossConfig::default()
        }
    }

    /// Cross-entropy of the logit `x` for the target `t`.
    fn bce(x: f64, t: f64) -> f64 {
        let p = 1.0 / (1.0 + (-x).exp());
        -(t * p.ln() + (1.0 - t) * (1.0 - p).ln())
    }

    fn close(found: f64, expected: f64) {
        let tolerance = 1e-6 * expected.abs().max(1e-6);
        assert!(
            (found - expected).abs() <= tolerance,
            "{found}, expected {expected}"
        );
    }

    const LOGITS: [f32; 4] = [2.0, -1.0, 0.5, 3.0];
    const TARGETS: [f32; 4] = [1.0, 0.0, 0.0, 1.0];

    fn elements() -> [f64; 4] {
        std::array::from_fn(|i| bce(f64::from(LOGITS[i]), f64::from(TARGETS[i])))
    }

    #[test]
    fn a_sum_includes_all_elements() {
        let found = value(&config(Reduction::Sum), &LOGITS, &TARGETS, None);
        close(found, elements().iter().sum());
    }

    #[test]
    fn a_mean_includes_the_elements_that_count() {
        let mask = [1.0, 0.0, 1.0, 0.0];
        let found = value(&config(Reduction::Mean), &LOGITS, &TARGETS, Some(&mask));
        close(found, (elements()[0] + elements()[2]) / 2.0);
    }

    #[test]
    fn the_divisor_of_a_mean_is_clipped() {
        let clipped = LossConfig {
            mean_reduction_clip: 0.5,
            ..config(Reduction::Mean)
        };
        let mask = [0.0, 0.0, 1.0, 0.0];
        let found = value(&clipped, &LOGITS, &TARGETS, Some(&mask));
        close(found, elements()[2] / 2.0);
    }

    #[test]
    fn a_fractional_mask_is_a_weight_but_counts_as_one_element() {
        let mask = [0.5, 0.0, 1.0, 0.0];
        let found = value(&config(Reduction::Mean), &LOGITS, &TARGETS, Some(&mask));
        close(found, (0.5 * elements()[0] + elements()[2]) / 2.0);
    }

    #[test]
    fn a_batch_that_is_all_masked_out_has_loss_zero() {
        for balance in [Balance::None, Balance::ByShare, Balance::Default] {
            for mean_reduction_clip in [0.0, 0.1] {
                let config = LossConfig {
                    balance,
                    mean_reduction_clip,
                    ..LossConfig::default()
                };
                assert_eq!(value(&config, &LOGITS, &TARGETS, Some(&[0.0; 4])), 0.0);
            }
        }
    }

    #[test]
    fn balance_weights_ones_by_the_fraction_of_zeros_in_the_mask() {
        let balanced = LossConfig {
            balance: Balance::ByShare,
            ..config(Reduction::Sum)
        };
        // One 1 and two 0s count.
        let mask = [1.0, 1.0, 1.0, 0.0];
        let found = value(&balanced, &LOGITS, &TARGETS, Some(&mask));
        let e = elements();
        close(found, 2.0 / 3.0 * e[0] + 1.0 / 3.0 * (e[1] + e[2]));
    }

    #[test]
    fn class_weights_are_clipped() {
        let balanced = LossConfig {
            balance: Balance::ByShare,
            ..config(Reduction::Sum)
        };
        let found = value(&balanced, &LOGITS, &[0.0; 4], None);
        let e: f64 = LOGITS.iter().map(|x| bce(f64::from(*x), 0.0)).sum();
        close(found, 0.1 * e);
        let found = value(&balanced, &LOGITS, &[1.0; 4], None);
        let e: f64 = LOGITS.iter().map(|x| bce(f64::from(*x), 1.0)).sum();
        close(found, 0.1 * e);
    }

    #[test]
    fn outer_voxels_do_not_count() {
        let padded = LossConfig {
            crop_pad: [1, 0, 0],
            ..config(Reduction::Sum)
        };
        let found = value(&padded, &LOGITS, &TARGETS, None);
        close(found, elements()[1] + elements()[2]);
    }

    #[test]
    fn voxels_without_data_can_be_ignored() {
        let config = LossConfig {
            mask_on_zeros: true,
            ..config(Reduction::Sum)
        };
        let loss = Loss::new(&config, [1, 1, 4], &[0], tch::Device::Cpu).unwrap();
        let (logits, targets) = (tensor(&LOGITS, ONE), tensor(&TARGETS, ONE));
        let image = tensor(&[0.0, 0.2, 0.0, 1.0], ONE);
        let mask = loss.mask(&image, &targets, None).unwrap();
        let found = loss.compute(&logits, &targets, mask).unwrap();
        close(found.total.double_value(&[]), elements()[1] + elements()[3]);
    }

    #[test]
    fn a_voxel_has_no_data_if_all_channels_but_those_of_masks_are_zero() {
        let config = LossConfig {
            mask_on_zeros: true,
            ..LossConfig::default()
        };
        let loss = Loss::new(&config, [1, 1, 4], &[0, 2], tch::Device::Cpu).unwrap();
        let image = [[0.0, 0.2, 0.0, 1.0], [1.0; 4], [0.0, 0.0, 0.3, 1.0]];
        let image = tensor(&image.concat(), [1, 3, 1, 1, 4]);
        let mask = loss.mask(&image, &tensor(&TARGETS, ONE), None).unwrap();
        assert_eq!(mask, tensor(&[0.0, 1.0, 1.0, 1.0], ONE));
    }

    #[test]
    fn channels_are_summed_or_averaged_by_weight() {
        let shape = [1, 2, 1, 1, 2];
        let (logits, targets) = (tensor(&LOGITS, shape), tensor(&TARGETS, shape));
        let e = elements();
        let (first, second) = (e[0] + e[1], e[2] + e[3]);
        for (channel_weights, expected) in [
            (None, first + second),
            (Some(vec![3.0, 1.0]), 0.75 * first + 0.25 * second),
        ] {
            let config = LossConfig {
                channel_weights,
                ..config(Reduction::Sum)
            };
            let loss = Loss::new(&config, [1, 1, 2], &[0], tch::Device::Cpu).unwrap();
            let found = loss.compute(&logits, &targets, logits.ones_like()).unwrap();
            close(found.total.double_value(&[]), expected);
        }
    }

    #[test]
    fn no_constant_prediction_has_less_than_the_constant_loss() {
        let balanced = LossConfig {
            balance: Balance::ByShare,
            balance_clip: 0.3,
            ..config(Reduction::Mean)
        };
        let loss = Loss::new(&balanced, [1, 1, 4], &[0], tch::Device::Cpu).unwrap();
        let targets = tensor(&[1.0, 0.0, 0.0, 0.0], ONE);
        let at = |logit: f64| {
            let logits = targets.ones_like() * logit;
            loss.compute(&logits, &targets, targets.ones_like())
                .unwrap()
        };
        let constants = &at(0.0).constants[0];
        let least = constant_loss([constants.double_value(&[0]), constants.double_value(&[1])]);
        let tried = (-400..400).map(|i| at(f64::from(i) / 100.0).total.double_value(&[]));
        let best = tried.fold(f64::INFINITY, f64::min);
        assert!((best - least).abs() < 1e-5, "{best}, expected {least}");
    }
}
