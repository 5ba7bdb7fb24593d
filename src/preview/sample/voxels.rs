//! The voxels of a sample as bytes that can be drawn: shades of gray, or numbers of classes.

use std::collections::HashMap;
use std::sync::Arc;

use super::array::{ArrayKind, ShownArray};
use crate::data_type::with_type;
use crate::dataset::{
    ColumnNumber, Dataset, DatasetError, SampleDecoder, SampleReader, ShardFiles,
};
use crate::preview::picture::LABEL_COLORS;

/// The voxels of an array of one sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ShownVoxels {
    /// Channel, z, y, x.
    pub shape: [usize; 4],
    /// A byte per voxel.
    pub bytes: Vec<u8>,
    pub meaning: Meaning,
}

/// What the bytes mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Meaning {
    /// From 0 to 255 in equal steps: the values from the first to the second number.
    Range([f64; 2]),
    /// 0 is the value 0; `n` is the class number `n - 1` here.
    Classes(Vec<Class>),
    /// 0 is the value 0; the others are colors of more classes than a byte can number.
    ManyClasses,
}

/// A value other than 0.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Class {
    /// The value, in full.
    pub value: String,
    /// Number of its color.
    pub color: usize,
}

/// Most classes of a sample.
const MAX_CLASSES: usize = 255;

/// Reads the samples of the arrays of one split.
#[derive(Debug)]
pub(crate) struct VoxelReader<'a> {
    arrays: &'a [ShownArray],
    readers: Vec<SampleReader>,
}

impl<'a> VoxelReader<'a> {
    pub fn open(
        dataset: &Dataset,
        split: &str,
        arrays: &'a [ShownArray],
    ) -> Result<Self, DatasetError> {
        let split = dataset.split(split)?;
        let files = Arc::new(ShardFiles::default());
        let readers = arrays.iter().map(|a| split.reader(&a.name, &files));
        Ok(Self {
            arrays,
            readers: readers.collect::<Result<_, _>>()?,
        })
    }

    /// The voxels of the sample `i`, by array.
    ///
    /// # Errors
    /// Its bytes are damaged or cannot be read.
    pub fn read(
        &self,
        i: u64,
        decoder: &mut SampleDecoder,
    ) -> Vec<Result<ShownVoxels, DatasetError>> {
        let arrays = self.arrays.iter().zip(&self.readers);
        let voxels = arrays.map(|(array, reader)| Ok(shown(array, reader.read(i, decoder)?)));
        voxels.collect()
    }
}

/// The voxels to show of the little-endian `values`.
fn shown(array: &ShownArray, values: &[u8]) -> ShownVoxels {
    let (bytes, meaning) = match array.kind {
        ArrayKind::Color => (
            selected::<1>(array, values).flatten().copied().collect(),
            Meaning::Range([0.0, 255.0]),
        ),
        ArrayKind::Gray => in_range(array, values, array.range),
        ArrayKind::Overlay | ArrayKind::Mask => classes(array, values),
    };
    ShownVoxels {
        shape: array.shown_shape(),
        bytes,
        meaning,
    }
}

/// The values of the voxels to show, each as its bytes.
fn selected<'v, const N: usize>(
    array: &ShownArray,
    values: &'v [u8],
) -> impl Iterator<Item = &'v [u8; N]> {
    let (values, _) = values.as_chunks::<N>();
    let [_, z, y, x] = array.shape;
    let [channels, ..] = array.shown_shape();
    let [sz, sy, sx] = array.step;
    let rows = (0..channels).flat_map(move |c| {
        (0..z)
            .step_by(sz)
            .flat_map(move |z| (0..y).step_by(sy).map(move |y| (c, z, y)))
    });
    rows.flat_map(move |(channel, section, row)| {
        let first = ((channel * z + section) * y + row) * x;
        values[first..first + x].iter().step_by(sx)
    })
}

/// Calls `visit` with each value to show.
fn for_each_value(array: &ShownArray, values: &[u8], mut visit: impl FnMut(ColumnNumber)) {
    with_type!(array.data_type, T => {
        for bytes in selected::<{ size_of::<T>() }>(array, values) {
            visit(T::from_le_bytes(*bytes).into());
        }
    });
}

fn in_range(array: &ShownArray, values: &[u8], [low, high]: [f64; 2]) -> (Vec<u8>, Meaning) {
    let mut bytes = Vec::with_capacity(array.shown_shape().iter().product());
    for_each_value(array, values, |value| {
        let share = (value.as_f64() - low) / (high - low);
        // A cast rounds towards 0, and NaN becomes 0.
        bytes.push((share * 255.0).round() as u8);
    });
    (bytes, Meaning::Range([low, high]))
}

fn classes(array: &ShownArray, values: &[u8]) -> (Vec<u8>, Meaning) {
    let mut bytes = Vec::with_capacity(array.shown_shape().iter().product());
    let mut numbers: HashMap<u64, u8> = HashMap::new();
    let mut classes: Vec<Class> = Vec::new();
    let mut is_many = false;
    for_each_value(array, values, |value| {
        if value.as_f64() == 0.0 {
            bytes.push(0);
            return;
        }
        let number = numbers.entry(key(value)).or_insert_with(|| {
            if classes.len() == MAX_CLASSES {
                is_many = true;
                return 0;
            }
            let color = if array.is_segmentation {
                free_color(label_color(value), &classes)
            } else {
                array.color
            };
            let value = value.to_string();
            classes.push(Class { value, color });
            u8::try_from(classes.len()).unwrap_or(0)
        });
        bytes.push(*number);
    });
    if !is_many {
        return (bytes, Meaning::Classes(classes));
    }
    if array.data_type.is_float() {
        let high = array.range[1].max(f64::MIN_POSITIVE);
        return in_range(array, values, [0.0, high]);
    }
    bytes.clear();
    for_each_value(array, values, |value| {
        let color = u8::try_from(label_color(value)).unwrap_or(0);
        bytes.push(if value.as_f64() == 0.0 { 0 } else { 1 + color });
    });
    (bytes, Meaning::ManyClasses)
}

/// Equal for equal values.
fn key(value: ColumnNumber) -> u64 {
    match value {
        ColumnNumber::Unsigned(v) => v,
        ColumnNumber::Signed(v) => v as u64,
        ColumnNumber::Float(v) => v.to_bits(),
    }
}

/// The color, or the next one that no class has. Of more classes than colors, some share one.
fn free_color(color: usize, classes: &[Class]) -> usize {
    let is_taken = |color: &usize| classes.iter().any(|class| class.color == *color);
    let mut candidates = (color..LABEL_COLORS.len()).chain(0..color);
    candidates.find(|c| !is_taken(c)).unwrap_or(color)
}

/// Number of the color of an object: always the same for the same id, and mostly another one for its neighbors' ids.
fn label_color(value: ColumnNumber) -> usize {
    // The golden ratio as a fraction of 2^64, which spreads numbers that follow each other.
    const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
    let spread = key(value).wrapping_mul(SPREAD) >> 32;
    (spread % LABEL_COLORS.len() as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_type::DataType;

    fn array(
        kind: ArrayKind,
        data_type: DataType,
        shape: [usize; 4],
        step: [usize; 3],
    ) -> ShownArray {
        ShownArray {
            name: "a".into(),
            kind,
            data_type,
            shape,
            step,
            range: [100.0, 355.0],
            contrast: [0.0, 1.0],
            color: 3,
            is_segmentation: true,
        }
    }

    #[test]
    fn every_second_voxel_of_a_row_and_every_third_section() {
        let array = array(ArrayKind::Gray, DataType::UInt8, [1, 4, 2, 5], [3, 2, 2]);
        let values: Vec<u8> = (0..40).collect();
        let shown: Vec<u8> = selected::<1>(&array, &values).flatten().copied().collect();
        assert_eq!(shown, [0, 2, 4, 30, 32, 34]);
        assert_eq!(array.shown_shape(), [1, 2, 1, 3]);
    }

    #[test]
    fn grays_are_limited_to_the_range_and_nan_is_black() {
        let array = array(ArrayKind::Gray, DataType::Float32, [1, 1, 1, 5], [1, 1, 1]);
        let values = [-7.0f32, 100.4, 101.0, 900.0, f32::NAN].map(f32::to_le_bytes);
        let shown = shown(&array, values.as_flattened());
        assert_eq!(shown.bytes, [0, 0, 1, 255, 0]);
        assert_eq!(shown.meaning, Meaning::Range([100.0, 355.0]));
    }

    #[test]
    fn up_to_twelve_classes_have_a_color_each() {
        let values: Vec<_> = (0..15u16).flat_map(u16::to_le_bytes).collect();
        let array = array(ArrayKind::Overlay, DataType::UInt16, [1, 1, 1, 15], [1; 3]);
        let Meaning::Classes(classes) = shown(&array, &values).meaning else {
            panic!("no classes");
        };
        let mut colors: Vec<_> = classes[..12].iter().map(|c| c.color).collect();
        colors.sort_unstable();
        assert_eq!(colors, (0..12).collect::<Vec<_>>());
        assert_eq!(classes.len(), 14);
    }

    #[test]
    fn classes_have_their_exact_value_and_equal_ids_equal_colors() {
        let array = array(
            ArrayKind::Overlay,
            DataType::UInt64,
            [1, 1, 1, 4],
            [1, 1, 1],
        );
        let values = [u64::MAX, 0, 5, u64::MAX].map(u64::to_le_bytes);
        let shown = shown(&array, values.as_flattened());
        assert_eq!(shown.bytes, [1, 0, 2, 1]);
        let Meaning::Classes(classes) = shown.meaning else {
            panic!("{:?}", shown.meaning);
        };
        assert_eq!(classes[0].value, "18446744073709551615");
        assert_eq!(classes[1].value, "5");
        assert!(classes.iter().all(|class| class.color < LABEL_COLORS.len()));
    }

    #[test]
    fn masks_have_the_color_of_their_array() {
        let mut array = array(
            ArrayKind::Overlay,
            DataType::Float32,
            [1, 1, 1, 3],
            [1, 1, 1],
        );
        array.is_segmentation = false;
        let values = [0.0f32, 1.0, -0.0].map(f32::to_le_bytes);
        let shown = shown(&array, values.as_flattened());
        assert_eq!(shown.bytes, [0, 1, 0]);
        let class = Class {
            value: "1".into(),
            color: 3,
        };
        assert_eq!(shown.meaning, Meaning::Classes(vec![class]));
    }

    #[test]
    fn more_than_255_objects_have_colors_only_and_probabilities_a_range() {
        let ids: Vec<_> = (0..300u32).flat_map(u32::to_le_bytes).collect();
        let objects = array(
            ArrayKind::Overlay,
            DataType::UInt32,
            [1, 1, 1, 300],
            [1, 1, 1],
        );
        let shown_ids = shown(&objects, &ids);
        assert_eq!(shown_ids.meaning, Meaning::ManyClasses);
        assert!(shown_ids.bytes[0] == 0 && shown_ids.bytes[1..].iter().all(|b| *b > 0));
        let values: Vec<_> = (0..300)
            .flat_map(|i| (i as f32 / 299.0).to_le_bytes())
            .collect();
        let mut floats = array(
            ArrayKind::Overlay,
            DataType::Float32,
            [1, 1, 1, 300],
            [1, 1, 1],
        );
        floats.range = [0.0, 1.0];
        let shown_floats = shown(&floats, &values);
        assert_eq!(shown_floats.meaning, Meaning::Range([0.0, 1.0]));
        assert_eq!((shown_floats.bytes[0], shown_floats.bytes[299]), (0, 255));
    }
}
