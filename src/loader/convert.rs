//! Converts stored values to values of a batch.

use super::input::{InputChannels, Scaling};
use super::values::Buffer;
use super::voxel_map::VoxelMap;
use crate::data_type::{DataType, with_type};

/// Whether [`input`] accepts values of this type with [`Scaling::FullScale`].
pub(super) fn is_full_scale(data_type: DataType) -> bool {
    matches!(
        data_type,
        DataType::UInt8 | DataType::UInt16 | DataType::Float32
    )
}

/// Whether [`mask`] accepts values of this type.
pub(super) fn is_mask(data_type: DataType) -> bool {
    data_type != DataType::Float64
}

/// Converts little-endian `values` of an input: to bytes, where 255 stands for 1, or to numbers.
#[allow(clippy::unnecessary_cast, reason = "T is any type")]
pub(super) fn input(values: &[u8], input: &InputChannels, map: &VoxelMap, out: Buffer<'_>) {
    match (input.scaling, out) {
        (Scaling::FullScale, out) => full_scale(values, input.data_type, map, out),
        (Scaling::Nonzero, Buffer::U8(out)) => {
            with_type!(input.data_type, T => {
                let values = values.as_chunks::<{ size_of::<T>() }>().0;
                map.gather(values, out, |v| u8::MAX * u8::from(T::from_le_bytes(v) != 0 as T));
            });
        }
        (Scaling::Nonzero, Buffer::F32(out)) => ones(values, input.data_type, map, out),
        (Scaling::Range([low, high]), Buffer::F32(out)) => {
            with_type!(input.data_type, T => {
                let values = values.as_chunks::<{ size_of::<T>() }>().0;
                map.interpolate(values, out, |v| ((T::from_le_bytes(v) as f64 - low) / (high - low)) as f32);
            });
        }
        (Scaling::Range(_), Buffer::U8(_)) => unreachable!("a range does not fit in bytes"),
    }
}

/// Converts little-endian `values`: unchanged to bytes, or scaled so that the largest integer becomes 1.
fn full_scale(values: &[u8], data_type: DataType, map: &VoxelMap, out: Buffer<'_>) {
    match (data_type, out) {
        (DataType::UInt8, Buffer::U8(out)) => map.copy(values, out),
        (DataType::UInt8, Buffer::F32(out)) => {
            map.interpolate(values, out, |v| f32::from(v) / 255.0);
        }
        (DataType::UInt16, Buffer::F32(out)) => map.interpolate(values.as_chunks().0, out, |v| {
            f32::from(u16::from_le_bytes(v)) / 65535.0
        }),
        (DataType::Float32, Buffer::F32(out)) => {
            map.interpolate(values.as_chunks().0, out, f32::from_le_bytes);
        }
        (data_type, _) => unreachable!("a batch has no such buffer for an image of {data_type}"),
    }
}

/// Converts little-endian `values` of a target or mask to bytes: 1 where they are not 0.
pub(super) fn binary(values: &[u8], data_type: DataType, map: &VoxelMap, out: &mut [u8]) {
    with_type!(data_type, T => {
        let values = values.as_chunks::<{ size_of::<T>() }>().0;
        map.gather(values, out, |v| u8::from(T::from_le_bytes(v) != 0 as T));
    });
}

/// The same as [`binary`], in place.
pub(super) fn binary_in_place(values: &mut [u8]) {
    // Most arrays are stored as 0 and 1. Finding that out takes half the time of writing.
    if values.iter().fold(0, |all, v| all | v) > 1 {
        for value in values {
            *value = u8::from(*value != 0);
        }
    }
}

/// The same as [`input`] with [`Scaling::Nonzero`], in place.
pub(super) fn nonzero_in_place(values: &mut [u8]) {
    for value in values {
        *value = u8::MAX * u8::from(*value != 0);
    }
}

/// Converts little-endian `values` of a segmentation.
#[allow(clippy::unnecessary_cast, reason = "T is any type")]
pub(super) fn ids(values: &[u8], data_type: DataType, map: &VoxelMap, out: &mut [u64]) {
    with_type!(data_type, T => {
        let values = values.as_chunks::<{ size_of::<T>() }>().0;
        map.gather(values, out, |v| T::from_le_bytes(v) as u64);
    });
}

/// Converts little-endian `values` of a mask: float32 unchanged, integers to 1 where they are not 0.
pub(super) fn mask(values: &[u8], data_type: DataType, map: &VoxelMap, out: Buffer<'_>) {
    let out = match out {
        Buffer::U8(out) => return binary(values, data_type, map, out),
        Buffer::F32(out) => out,
    };
    if data_type == DataType::Float32 {
        return map.gather(values.as_chunks().0, out, f32::from_le_bytes);
    }
    ones(values, data_type, map, out);
}

/// The mask of a target that has none: 1, and 0 where voxels come from outside of the stored sample.
pub(super) fn no_mask(map: &VoxelMap, out: Buffer<'_>) {
    match out {
        Buffer::U8(out) => map.mark_inside(out, 1),
        Buffer::F32(out) => map.mark_inside(out, 1.0),
    }
}

/// The same as [`binary`], as numbers.
fn ones(values: &[u8], data_type: DataType, map: &VoxelMap, out: &mut [f32]) {
    with_type!(data_type, T => {
        let values = values.as_chunks::<{ size_of::<T>() }>().0;
        map.gather(values, out, |v| f32::from(u8::from(T::from_le_bytes(v) != 0 as T)));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(data_type: DataType, scaling: Scaling) -> InputChannels {
        InputChannels {
            first: 0,
            count: 1,
            scaling,
            data_type,
        }
    }

    #[test]
    fn the_largest_integer_of_a_full_scale_input_becomes_one() {
        let map = VoxelMap::whole([1, 1, 3]);
        let mut out = [9.0; 3];
        let full_scale = |values: &[u8], data_type, out: &mut [f32]| {
            let channels = channels(data_type, Scaling::FullScale);
            input(values, &channels, &map, Buffer::F32(out));
        };
        full_scale(&[0, 51, 255], DataType::UInt8, &mut out);
        assert_eq!(out, [0.0, 0.2, 1.0]);
        let values: Vec<u8> = [0u16, 13107, 65535]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        full_scale(&values, DataType::UInt16, &mut out);
        assert_eq!(out, [0.0, 0.2, 1.0]);
        let values: Vec<u8> = [0f32, -3.5, 1e9]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        full_scale(&values, DataType::Float32, &mut out);
        assert_eq!(out, [0.0, -3.5, 1e9]);
    }

    #[test]
    fn inputs_of_every_type_are_one_where_they_are_not_zero_or_scaled_to_a_range() {
        for data_type in DataType::ALL {
            let values: Vec<u8> = with_type!(data_type, T => {
                [0 as T, 20 as T, 100 as T].iter().flat_map(|v| v.to_le_bytes()).collect()
            });
            let map = VoxelMap::whole([1, 1, 3]).flip(2);
            let nonzero = channels(data_type, Scaling::Nonzero);
            let mut bytes = [9; 3];
            input(&values, &nonzero, &map, Buffer::U8(&mut bytes));
            assert_eq!(bytes, [255, 255, 0], "{data_type}");
            let mut numbers = [9.0; 3];
            input(&values, &nonzero, &map, Buffer::F32(&mut numbers));
            assert_eq!(numbers, [1.0, 1.0, 0.0], "{data_type}");
            let range = channels(data_type, Scaling::Range([20.0, 60.0]));
            input(&values, &range, &map, Buffer::F32(&mut numbers));
            assert_eq!(numbers, [2.0, 0.0, -0.5], "{data_type}");
            if !data_type.is_float() {
                let mut found = [9; 3];
                ids(&values, data_type, &map, &mut found);
                assert_eq!(found, [100, 20, 0], "{data_type}");
            }
        }
        let mut bytes = [0, 1, 7, 255];
        nonzero_in_place(&mut bytes);
        assert_eq!(bytes, [0, 255, 255, 255]);
    }

    #[test]
    fn targets_and_masks_of_every_type_compare_by_value_with_zero() {
        for data_type in DataType::ALL {
            let values: Vec<u8> = with_type!(data_type, T => {
                [0 as T, 1 as T, 100 as T].iter().flat_map(|v| v.to_le_bytes()).collect()
            });
            let map = VoxelMap::whole([1, 3, 1]).flip(1);
            let mut found = [9; 3];
            binary(&values, data_type, &map, &mut found);
            assert_eq!(found, [1, 1, 0], "{data_type}");
            if is_mask(data_type) {
                mask(&values, data_type, &map, Buffer::U8(&mut found));
                assert_eq!(found, [1, 1, 0], "{data_type}");
                let mut found = [9.0; 3];
                mask(&values, data_type, &map, Buffer::F32(&mut found));
                let largest = if data_type == DataType::Float32 {
                    100.0
                } else {
                    1.0
                };
                assert_eq!(found, [largest, 1.0, 0.0], "{data_type}");
            }
        }
        let mut found = [9];
        let negative_zero = (-0.0f32).to_le_bytes();
        binary(
            &negative_zero,
            DataType::Float32,
            &VoxelMap::whole([1, 1, 1]),
            &mut found,
        );
        assert_eq!(found, [0]);
    }

    #[test]
    fn bytes_of_a_full_scale_input_are_unchanged() {
        let mut out = [9; 3];
        let map = VoxelMap::whole([1, 1, 3]).flip(2);
        let bytes = channels(DataType::UInt8, Scaling::FullScale);
        input(&[0, 51, 255], &bytes, &map, Buffer::U8(&mut out));
        assert_eq!(out, [255, 51, 0]);
    }

    #[test]
    fn converting_in_place_and_while_copying_gives_the_same() {
        for largest in [0, 1, 2, 128, 255] {
            let values: Vec<u8> = (0..=255).map(|v: u8| v.min(largest)).collect();
            let (mut in_place, mut copied) = (values.clone(), vec![9; 256]);
            binary_in_place(&mut in_place);
            let map = VoxelMap::whole([4, 8, 8]);
            binary(&values, DataType::UInt8, &map, &mut copied);
            assert_eq!(in_place, copied);
        }
    }
}
