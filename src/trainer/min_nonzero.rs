//! Which batches are skipped because they have too few voxels with data.

use pointshard::trainer_api::{Batch, MinNonzero, Values};
use tch::{TchError, Tensor};

use crate::loss::Loss;

/// Whether the batch, with its `mask`, has enough nonzero voxels to count.
pub(super) fn is_reached(
    least: MinNonzero,
    batch: &Batch,
    loss: &Loss,
    mask: &Tensor,
) -> Result<bool, TchError> {
    if least.image > 0.0 {
        let fraction = nonzero_fraction(batch, loss.data_channels(), loss.pad());
        if fraction < least.image {
            return Ok(false);
        }
    }
    // Counting on the device waits for it, so do it only if needed.
    if least.mask > 0.0 {
        let counted = mask.f_count_nonzero(None)?.f_int64_value(&[])?;
        let inside = inside_fraction(batch.shape, loss.pad());
        return Ok(counted as f64 >= least.mask * inside * mask.numel() as f64);
    }
    Ok(true)
}

/// Fraction of the image values of these channels that are not 0, without `pad` voxels, z y x, at either side.
fn nonzero_fraction(batch: &Batch, channels: &[usize], pad: [usize; 3]) -> f64 {
    match &batch.image {
        Values::U8(values) => fraction(values, batch.shape, channels, pad, |row| {
            row.len() - bytecount::count(row, 0)
        }),
        Values::F32(values) => fraction(values, batch.shape, channels, pad, |row| {
            row.iter().filter(|v| **v != 0.0).count()
        }),
    }
}

fn fraction<T>(
    values: &[T],
    shape: [usize; 5],
    channels: &[usize],
    [pz, py, px]: [usize; 3],
    nonzero: impl Fn(&[T]) -> usize,
) -> f64 {
    let [samples, all_channels, z, y, x] = shape;
    let (mut found, mut all) = (0, 0);
    for sample in 0..samples {
        for channel in channels {
            let first_section = (sample * all_channels + channel) * z;
            for section in pz..z - pz {
                for row in py..y - py {
                    let start = ((first_section + section) * y + row) * x;
                    let row = &values[start + px..start + x - px];
                    found += nonzero(row);
                    all += row.len();
                }
            }
        }
    }
    found as f64 / f64::max(all as f64, 1.0)
}

/// Fraction of the voxels of a window that are inside.
fn inside_fraction([_, _, z, y, x]: [usize; 5], pad: [usize; 3]) -> f64 {
    let inside = [z, y, x].into_iter().zip(pad);
    inside
        .map(|(n, pad)| (n - 2 * pad) as f64 / n as f64)
        .product()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pointshard::trainer_api::LossConfig;

    /// Two samples of two channels, `[2, 2, 1, 3, 4]`. The first channel is nonzero where x is 1 or 2, of the second sample
    /// also where x is 3; the second channel everywhere.
    fn batch() -> Batch {
        let sample = |row: [u8; 4]| [[row; 3].concat(), vec![1; 12]].concat();
        Batch {
            samples: vec![0, 1],
            shape: [2, 2, 1, 3, 4],
            image: Values::U8([sample([0, 9, 9, 0]), sample([0, 9, 9, 9])].concat()),
            ..Batch::default()
        }
    }

    #[test]
    fn the_fraction_is_that_of_the_given_channels_inside() {
        let bytes = batch();
        let Values::U8(values) = &bytes.image else {
            panic!("found float32, expected bytes");
        };
        let floats = Batch {
            image: Values::F32(values.iter().map(|v| f32::from(*v)).collect()),
            ..bytes.clone()
        };
        for batch in [bytes, floats] {
            assert_eq!(nonzero_fraction(&batch, &[0], [0; 3]), 0.625);
            assert_eq!(nonzero_fraction(&batch, &[0, 1], [0; 3]), 0.8125);
            assert_eq!(nonzero_fraction(&batch, &[1], [0; 3]), 1.0);
            assert_eq!(nonzero_fraction(&batch, &[0], [0, 1, 1]), 1.0);
        }
        assert_eq!(inside_fraction([2, 2, 1, 3, 4], [0, 1, 1]), 1.0 / 6.0);
    }

    #[test]
    fn a_batch_is_tested_inside_of_the_pad_and_in_channels_with_data() {
        let reached = |image, mask, crop_pad, values: &[f32]| {
            let config = LossConfig {
                crop_pad,
                ..LossConfig::default()
            };
            let loss = Loss::new(&config, [1, 3, 4], &[0], tch::Device::Cpu).unwrap();
            let mask_values = Tensor::from_slice(values);
            let least = MinNonzero { image, mask };
            is_reached(least, &batch(), &loss, &mask_values).unwrap()
        };
        // Of the first channel, 15 of 24 voxels are not 0; without the first and last in x, all of them.
        assert!(reached(0.625, 0.0, [0; 3], &[]) && !reached(0.63, 0.0, [0; 3], &[]));
        assert!(reached(1.0, 0.0, [1, 0, 0], &[]) && !reached(1.0, 0.0, [0, 1, 0], &[]));
        // 3 of 12 voxels count, which is a half of those inside.
        let mask = [[0.0; 9].as_slice(), &[0.5; 3]].concat();
        assert!(reached(0.0, 0.25, [0; 3], &mask) && !reached(0.0, 0.26, [0; 3], &mask));
        assert!(reached(0.0, 0.5, [1, 0, 0], &mask) && !reached(0.0, 0.51, [1, 0, 0], &mask));
    }
}
