//! Converted rows, compared with a reference that converts one value at a time.

use super::*;
use crate::config::{ObjectAt, ObjectPoint, Scale};
use proptest::prelude::*;

/// A value, exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Exact {
    Integer(i128),
    Float(f64),
}

fn read(t: DataType, v: &[u8]) -> Exact {
    fn le<const N: usize>(v: &[u8]) -> [u8; N] {
        v.try_into().unwrap()
    }
    match t {
        DataType::UInt8 => Exact::Integer(u8::from_le_bytes(le(v)).into()),
        DataType::UInt16 => Exact::Integer(u16::from_le_bytes(le(v)).into()),
        DataType::UInt32 => Exact::Integer(u32::from_le_bytes(le(v)).into()),
        DataType::UInt64 => Exact::Integer(u64::from_le_bytes(le(v)).into()),
        DataType::Int8 => Exact::Integer(i8::from_le_bytes(le(v)).into()),
        DataType::Int16 => Exact::Integer(i16::from_le_bytes(le(v)).into()),
        DataType::Int32 => Exact::Integer(i32::from_le_bytes(le(v)).into()),
        DataType::Int64 => Exact::Integer(i64::from_le_bytes(le(v)).into()),
        DataType::Float32 => Exact::Float(f32::from_le_bytes(le(v)).into()),
        DataType::Float64 => Exact::Float(f64::from_le_bytes(le(v))),
    }
}

fn range(t: DataType) -> (i128, i128) {
    let bits = t.size_bytes() * 8;
    if t.name().starts_with('u') {
        (0, (1 << bits) - 1)
    } else {
        (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    }
}

/// What the value is as a `t`, if it fits.
fn write(value: Exact, t: DataType) -> Option<Vec<u8>> {
    let bytes = match (t, value) {
        (DataType::Float32, Exact::Integer(v)) => (v as f32).to_le_bytes().to_vec(),
        (DataType::Float64, Exact::Integer(v)) => (v as f64).to_le_bytes().to_vec(),
        (DataType::Float32, Exact::Float(v)) => {
            if v.is_finite() && (v as f32).is_infinite() {
                return None;
            }
            (v as f32).to_le_bytes().to_vec()
        }
        (DataType::Float64, Exact::Float(v)) => v.to_le_bytes().to_vec(),
        (_, Exact::Float(v)) if v.is_nan() => return None,
        // Saturates far beyond every type.
        (_, Exact::Float(v)) => return write(Exact::Integer(v.round_ties_even() as i128), t),
        (_, Exact::Integer(v)) => {
            let (min, max) = range(t);
            if !(min..=max).contains(&v) {
                return None;
            }
            v.to_le_bytes()[..t.size_bytes()].to_vec()
        }
    };
    Some(bytes)
}

/// What becomes of one value.
fn expected(transform: &Transform, value: Exact, to: DataType, objects: &[u64]) -> Option<Vec<u8>> {
    let is = |wanted: u64| value == Exact::Integer(wanted.into());
    let set = match (transform, value) {
        (Transform::None, _) => return write(value, to),
        (Transform::Scale(s), _) => {
            let value = match value {
                Exact::Integer(v) => v as f64,
                Exact::Float(v) => v,
            };
            let scaled = value * s.multiply + s.add;
            let became_infinite = to.is_float() && scaled.is_infinite() && !value.is_infinite();
            return (!became_infinite)
                .then(|| write(Exact::Float(scaled), to))
                .flatten();
        }
        (Transform::Nonzero, Exact::Integer(v)) => v != 0,
        (Transform::Nonzero, Exact::Float(v)) => v != 0.0,
        (Transform::Equals(wanted), _) => is(*wanted),
        (Transform::In(wanted), _) => wanted.iter().any(|w| is(*w)),
        (Transform::Threshold(t), Exact::Integer(v)) => {
            // Both are whole from here on: `t as i128` is exact or far out of range.
            v >= t.ceil() as i128
        }
        (Transform::Threshold(t), Exact::Float(v)) => v >= *t,
        (Transform::ObjectAt(_), _) => {
            let is = |object: u64| matches!(value, Exact::Integer(v) if v == object.into() || (v < 0 && v == (object as i64).into()));
            objects.iter().any(|object| *object != 0 && is(*object))
        }
        (Transform::Inside, _) => true,
    };
    write(Exact::Integer(set.into()), to)
}

fn object_at() -> Transform {
    Transform::ObjectAt(ObjectAt::at(ObjectPoint::Anchor, 0.0))
}

/// Values of every type among which those at the types' edges are frequent.
fn row(t: DataType) -> impl Strategy<Value = Vec<u8>> {
    let edges = vec![
        0.0, -0.0, 0.5, 1.5, 2.5, 254.5, 255.5, -0.5, -1.0, 127.5, 1e10, -1e10, 1e300, 4e9, 9e15,
        4.6e15,
    ]
    .into_iter()
    .chain([
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1.8e19,
        9.3e18,
        3.5e38,
        65535.5,
    ]);
    let real = prop_oneof![
        prop::sample::select(edges.collect::<Vec<_>>()),
        -300.0f64..300.0,
        any::<f64>(),
    ];
    let (min, max) = range(if t.is_float() { DataType::Int64 } else { t });
    let whole = prop_oneof![
        (-3i128..300).prop_map(move |v| v.clamp(min, max)),
        (0u32..64, -2i128..3).prop_map(move |(k, d)| ((1i128 << k) + d).clamp(min, max)),
        min..=max,
    ];
    let value = if t.is_float() {
        real.prop_map(move |v| match t {
            DataType::Float32 => (v as f32).to_le_bytes().to_vec(),
            _ => v.to_le_bytes().to_vec(),
        })
        .boxed()
    } else {
        whole
            .prop_map(move |v| v.to_le_bytes()[..t.size_bytes()].to_vec())
            .boxed()
    };
    prop::collection::vec(value, 0..600).prop_map(|values| values.concat())
}

fn typed_row() -> impl Strategy<Value = (DataType, Vec<u8>)> {
    prop::sample::select(&DataType::ALL[..]).prop_flat_map(|t| row(t).prop_map(move |r| (t, r)))
}

fn transform() -> impl Strategy<Value = Transform> {
    let label = prop_oneof![
        0u64..300,
        any::<u64>(),
        (0u32..64).prop_map(|k| (1 << k) - 1)
    ];
    let scale = prop_oneof![Just(1.0), Just(0.5), Just(1e30), -300.0f64..300.0];
    prop_oneof![
        Just(Transform::None),
        Just(Transform::Nonzero),
        Just(Transform::Inside),
        Just(object_at()),
        label.clone().prop_map(Transform::Equals),
        prop::collection::vec(label, 1..20).prop_map(Transform::In),
        prop_oneof![-300.0f64..300.0, -2e19f64..2e19, Just(0.0), Just(255.0)]
            .prop_map(Transform::Threshold),
        (scale.clone(), scale)
            .prop_map(|(multiply, add)| Transform::Scale(Scale { multiply, add })),
    ]
}

/// Ids of none, one, few and many objects, in any order.
fn objects() -> impl Strategy<Value = Vec<u64>> {
    let id = prop_oneof![
        0u64..300,
        any::<u64>(),
        (1u64..300).prop_map(|v| v.wrapping_neg())
    ];
    prop::collection::vec(id, 0..40)
}

/// The result of the row must be equal to that of each value; the first value that does not fit must be named.
fn agrees(
    transform: &Transform,
    from: DataType,
    to: DataType,
    row: &[u8],
    objects: &[u64],
) -> Result<(), TestCaseError> {
    let conversion = match Conversion::new(transform, from, Some(to)) {
        Ok(conversion) => conversion,
        Err(problem) => {
            let named = ["`equals`", "`in`", "`object_at`"]
                .iter()
                .any(|n| problem.contains(n));
            prop_assert!(from.is_float() && named, "{}", problem);
            return Ok(());
        }
    };
    let values = row.chunks_exact(from.size_bytes());
    let mut out = vec![77; values.len() * to.size_bytes()];
    let result = conversion.of_objects(objects).convert(row, &mut out);
    let mut wanted = Vec::new();
    for v in values {
        match expected(transform, read(from, v), to, objects) {
            Some(bytes) => wanted.push(bytes),
            None => {
                let error = result.unwrap_err();
                let named = match read(from, v) {
                    Exact::Integer(v) => v.to_string(),
                    Exact::Float(v) if from == DataType::Float32 => (v as f32).to_string(),
                    Exact::Float(v) => v.to_string(),
                };
                prop_assert_eq!((error.value, error.from, error.to), (named, from, to));
                return Ok(());
            }
        }
    }
    prop_assert_eq!(result, Ok(()));
    for (i, (out, wanted)) in out.chunks_exact(to.size_bytes()).zip(&wanted).enumerate() {
        let same_nan = matches!((read(to, out), read(to, wanted)),
            (Exact::Float(a), Exact::Float(b)) if a.is_nan() && b.is_nan());
        prop_assert!(
            same_nan || out == wanted,
            "value {} of {}: {:?}",
            i,
            from,
            out
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_row_is_converted_like_each_of_its_values(
        (from, row) in typed_row(), transform in transform(), objects in objects(),
    ) {
        for to in DataType::ALL {
            agrees(&transform, from, to, &row, &objects)?;
        }
    }

    #[test]
    fn all_objects_of_some_voxels_are_found_in_their_row((from, row) in typed_row(), every in 1usize..9) {
        prop_assume!(!from.is_float());
        let values: Vec<_> = row.chunks_exact(from.size_bytes()).collect();
        let conversion = Conversion::new(&object_at(), from, None).unwrap();
        let wanted: Vec<_> = values.iter().step_by(every).collect();
        let objects: Vec<u64> = wanted.iter().map(|v| conversion.object_of(v)).collect();
        let mut out = vec![9; values.len()];
        conversion.of_objects(&objects).convert(&row, &mut out).unwrap();
        for (v, set) in values.iter().zip(out) {
            prop_assert_eq!(set == 1, v.iter().any(|byte| *byte != 0) && wanted.contains(&v));
        }
    }

    #[test]
    fn the_object_of_a_voxel_is_found_in_its_row((from, row) in typed_row(), at in any::<prop::sample::Index>()) {
        prop_assume!(!row.is_empty() && !from.is_float());
        let values: Vec<_> = row.chunks_exact(from.size_bytes()).collect();
        let conversion = Conversion::new(&object_at(), from, None).unwrap();
        let object = conversion.object_of(values[at.index(values.len())]);
        let mut out = vec![9; values.len()];
        conversion.of_objects(&[object]).convert(&row, &mut out).unwrap();
        let wanted = values[at.index(values.len())];
        for (v, set) in values.iter().zip(out) {
            prop_assert_eq!(set == 1, object != 0 && *v == wanted);
        }
    }
}

#[test]
fn small_integers_fit_every_type_and_numbers_beyond_its_range_are_errors() {
    for from in DataType::ALL {
        for to in DataType::ALL {
            let row: Vec<u8> = (0..100)
                .flat_map(|v| write(Exact::Integer(v), from).unwrap())
                .collect();
            agrees(&Transform::None, from, to, &row, &[]).unwrap();
            if to.is_float() {
                continue;
            }
            let (min, max) = range(to);
            for v in [min - 1, min, max, max + 1] {
                if let Some(row) = write(Exact::Integer(v), from) {
                    agrees(&Transform::None, from, to, &row, &[]).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_value_that_does_not_fit_is_named() {
    let conversion =
        Conversion::new(&Transform::None, DataType::UInt32, Some(DataType::UInt16)).unwrap();
    let row = [7u32, 70_000, 80_000].map(u32::to_le_bytes).concat();
    let error = conversion.convert(&row, &mut [0; 6]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the value 70000 of a uint32 layer does not fit in uint16"
    );
    let scale = Transform::Scale(Scale {
        multiply: 2.0,
        add: 0.5,
    });
    let conversion = Conversion::new(&scale, DataType::UInt8, Some(DataType::UInt8)).unwrap();
    let error = conversion.convert(&[9, 200], &mut [0; 2]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the value 200 of a uint8 layer becomes 400.5, which does not fit in uint8"
    );
}

#[test]
fn thresholds_and_labels_beyond_2_to_53_are_exact() {
    let row = [(1u64 << 53), (1 << 53) + 1, u64::MAX]
        .map(u64::to_le_bytes)
        .concat();
    let mut out = [9; 3];
    let equals = Transform::Equals((1 << 53) + 1);
    let conversion = Conversion::new(&equals, DataType::UInt64, None).unwrap();
    conversion.convert(&row, &mut out).unwrap();
    assert_eq!(out, [0, 1, 0]);
    let threshold = Transform::Threshold(9_007_199_254_740_994.0);
    let conversion = Conversion::new(&threshold, DataType::UInt64, None).unwrap();
    conversion.convert(&row, &mut out).unwrap();
    assert_eq!(out, [0, 0, 1]);
}

#[test]
fn without_a_dtype_the_type_follows_from_the_transform() {
    let to = |t: &Transform| Conversion::new(t, DataType::UInt32, None).unwrap().to();
    let scale = Transform::Scale(Scale {
        multiply: 1.0,
        add: 0.0,
    });
    assert_eq!(to(&Transform::None), DataType::UInt32);
    assert_eq!(to(&scale), DataType::Float32);
    assert_eq!(to(&Transform::Nonzero), DataType::UInt8);
    assert_eq!(to(&Transform::Inside), DataType::UInt8);
    let same = Conversion::new(&Transform::None, DataType::Int8, Some(DataType::Int8)).unwrap();
    assert!(same.is_identity() && !same.needs_objects());
    assert!(
        Conversion::new(&object_at(), DataType::Int8, None)
            .unwrap()
            .needs_objects()
    );
    let problem = Conversion::new(&Transform::Equals(1), DataType::Float32, None).unwrap_err();
    assert_eq!(
        problem,
        "`equals` compares whole numbers, found a float32 layer, expected one of an integer type"
    );
}

#[test]
fn whether_every_value_fits_is_known_before_conversion() {
    use DataType::{Float32, Float64, Int8, Int16, UInt8, UInt16, UInt64};
    let scale = |multiply, add| Transform::Scale(Scale { multiply, add });
    let fits = |transform: &Transform, from, to| {
        let conversion = Conversion::new(transform, from, Some(to)).unwrap();
        conversion.fits_all()
    };
    for (from, to, all) in [
        (UInt8, Int16, true),
        (UInt8, Int8, false),
        (Int8, UInt8, false),
        (UInt64, Float32, true),
        (Float32, Float64, true),
        (Float64, Float32, false),
        (Float32, UInt64, false),
    ] {
        assert_eq!(fits(&Transform::None, from, to), all, "{from} to {to}");
        assert!(fits(&Transform::Nonzero, from, to));
    }
    assert!(fits(&scale(257.0, 0.0), UInt8, UInt16));
    assert!(!fits(&scale(257.0, 1.0), UInt8, UInt16));
    assert!(!fits(&scale(1.0, -1.0), UInt8, UInt16));
    assert!(!fits(&scale(1e40, 0.0), UInt8, Float32));
}
