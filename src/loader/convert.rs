//! Stored values to those of a batch, on their way to their place in it.

use super::batch::Room;
use super::view::View;
use crate::data_type::{DataType, with_type};

/// Whether [`image`] takes values of this type.
pub(super) fn is_image(data_type: DataType) -> bool {
    matches!(
        data_type,
        DataType::UInt8 | DataType::UInt16 | DataType::Float32
    )
}

/// Whether [`mask`] takes values of this type.
pub(super) fn is_mask(data_type: DataType) -> bool {
    data_type != DataType::Float64
}

/// Little-endian `values` of an image: bytes as they are, or full scale made 1.
pub(super) fn image(values: &[u8], data_type: DataType, view: &View, out: &mut Room<'_>) {
    match (data_type, out) {
        (DataType::UInt8, Room::U8(out)) => view.copy(values, out),
        (DataType::UInt8, Room::F32(out)) => view.gather(values, out, |v| f32::from(v) / 255.0),
        (DataType::UInt16, Room::F32(out)) => view.gather(values.as_chunks().0, out, |v| {
            f32::from(u16::from_le_bytes(v)) / 65535.0
        }),
        (DataType::Float32, Room::F32(out)) => {
            view.gather(values.as_chunks().0, out, f32::from_le_bytes);
        }
        (data_type, _) => unreachable!("no room was made for an image of {data_type}"),
    }
}

/// Little-endian `values` of a target or of a mask in bytes: 1 where they are not 0.
pub(super) fn binary(values: &[u8], data_type: DataType, view: &View, out: &mut [u8]) {
    with_type!(data_type, T => {
        let values = values.as_chunks::<{ size_of::<T>() }>().0;
        view.gather(values, out, |v| u8::from(T::from_le_bytes(v) != 0 as T));
    });
}

/// As [`binary`], where the values lie already.
pub(super) fn binary_in_place(values: &mut [u8]) {
    // Most are 0 and 1 as they are stored, and to find that out takes half the time.
    if values.iter().fold(0, |all, v| all | v) > 1 {
        for value in values {
            *value = u8::from(*value != 0);
        }
    }
}

/// Little-endian `values` of a mask: those of float32 as they are, of integers 1 where they are not 0.
pub(super) fn mask(values: &[u8], data_type: DataType, view: &View, out: Room<'_>) {
    let out = match out {
        Room::U8(out) => return binary(values, data_type, view, out),
        Room::F32(out) => out,
    };
    if data_type == DataType::Float32 {
        return view.gather(values.as_chunks().0, out, f32::from_le_bytes);
    }
    with_type!(data_type, T => {
        let values = values.as_chunks::<{ size_of::<T>() }>().0;
        view.gather(values, out, |v| f32::from(u8::from(T::from_le_bytes(v) != 0 as T)));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_scale_of_an_image_of_integers_is_one() {
        let view = View::whole([1, 1, 3]);
        let mut out = [9.0; 3];
        let image = |values: &[u8], data_type, out: &mut [f32]| {
            image(values, data_type, &view, &mut Room::F32(out));
        };
        image(&[0, 51, 255], DataType::UInt8, &mut out);
        assert_eq!(out, [0.0, 0.2, 1.0]);
        let values: Vec<u8> = [0u16, 13107, 65535]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        image(&values, DataType::UInt16, &mut out);
        assert_eq!(out, [0.0, 0.2, 1.0]);
        let values: Vec<u8> = [0f32, -3.5, 1e9]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        image(&values, DataType::Float32, &mut out);
        assert_eq!(out, [0.0, -3.5, 1e9]);
    }

    #[test]
    fn targets_and_masks_of_every_type_are_told_from_zero_by_value() {
        for data_type in DataType::ALL {
            let values: Vec<u8> = with_type!(data_type, T => {
                [0 as T, 1 as T, 100 as T].iter().flat_map(|v| v.to_le_bytes()).collect()
            });
            let view = View::whole([1, 3, 1]).flip(1);
            let mut found = [9; 3];
            binary(&values, data_type, &view, &mut found);
            assert_eq!(found, [1, 1, 0], "{data_type}");
            if is_mask(data_type) {
                mask(&values, data_type, &view, Room::U8(&mut found));
                assert_eq!(found, [1, 1, 0], "{data_type}");
                let mut found = [9.0; 3];
                mask(&values, data_type, &view, Room::F32(&mut found));
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
            &View::whole([1, 1, 1]),
            &mut found,
        );
        assert_eq!(found, [0]);
    }

    #[test]
    fn bytes_of_an_image_stay_as_they_are() {
        let mut out = [9; 3];
        let view = View::whole([1, 1, 3]).flip(2);
        image(
            &[0, 51, 255],
            DataType::UInt8,
            &view,
            &mut Room::U8(&mut out),
        );
        assert_eq!(out, [255, 51, 0]);
    }

    #[test]
    fn in_place_and_on_the_way_all_values_are_told_from_zero_alike() {
        for largest in [0, 1, 2, 128, 255] {
            let values: Vec<u8> = (0..=255).map(|v: u8| v.min(largest)).collect();
            let (mut in_place, mut copied) = (values.clone(), vec![9; 256]);
            binary_in_place(&mut in_place);
            let view = View::whole([4, 8, 8]);
            binary(&values, DataType::UInt8, &view, &mut copied);
            assert_eq!(in_place, copied);
        }
    }
}
