//! Parses the `transform` of a source, and what older states have instead.

use serde_json::Value;

use super::error::StateError;
use super::field_path::FieldPath;
use crate::geometry::{AXES, Dimensions, SourceTransform};

/// Parses `value` at the path `at`, for the layer `layer`. `None` if it has no effect.
pub(super) fn parse(
    value: &Value,
    at: &FieldPath,
    layer: &str,
) -> Result<Option<SourceTransform>, StateError> {
    let Some(members) = value.as_object() else {
        return Err(at.unexpected(value, "an object with `outputDimensions`"));
    };
    let given = |name: &str| members.get(name).filter(|v| !v.is_null());
    let space = |name: &str| {
        let space = given(name).map(|value| at.member(name).dimensions(value));
        space.transpose()
    };
    let matrix = match given("matrix") {
        None => None,
        Some(value) => Some(rows(value, &at.member("matrix"))?),
    };
    let source_rank = match given("sourceRank") {
        None => None,
        Some(value) => Some(
            value
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| {
                    at.member("sourceRank")
                        .unexpected(value, "a number of dimensions")
                })?,
        ),
    };
    let (input, output) = (space("inputDimensions")?, space("outputDimensions")?);
    Ok(SourceTransform::new(
        at.origin(layer),
        input,
        output,
        matrix,
        source_rank,
    )?)
}

/// Parses the `transform` of a whole layer in states from before 2020: a matrix of 4 x 4 numbers, nested or flat, with
/// a translation in nm. `input` has the units of the coordinates, if the state defines them.
pub(super) fn parse_legacy(
    value: &Value,
    input: Option<Dimensions>,
    at: &FieldPath,
    layer: &str,
) -> Result<Option<SourceTransform>, StateError> {
    let expected = "a matrix of 4 x 4 numbers whose last row is 0, 0, 0, 1";
    let rows = match value.as_array() {
        Some(list) if list.len() == 16 => {
            let nested = list.chunks(4).map(|row| Value::Array(row.to_vec()));
            rows(&Value::Array(nested.collect()), at)?
        }
        Some(_) => rows(value, at)?,
        None => return Err(at.unexpected(value, expected)),
    };
    match &rows[..] {
        [x, y, z, last]
            if *last == [0.0, 0.0, 0.0, 1.0] && [x, y, z].iter().all(|row| row.len() == 4) =>
        {
            let matrix = vec![x.clone(), y.clone(), z.clone()];
            let origin = at.origin(layer);
            Ok(SourceTransform::new(
                origin,
                input,
                Some(nm_dimensions([1.0; 3])),
                Some(matrix),
                None,
            )?)
        }
        _ => Err(at.unexpected(value, expected)),
    }
}

/// Parses the `voxelSize` of states from before 2020: three numbers in nm.
pub(super) fn voxel_size(value: &Value, at: &FieldPath) -> Result<Dimensions, StateError> {
    match numbers(value).as_deref() {
        Some([x, y, z]) => Ok(nm_dimensions([*x, *y, *z])),
        _ => Err(at.unexpected(value, "three numbers, in nm")),
    }
}

fn nm_dimensions(scale: [f64; 3]) -> Dimensions {
    let named = AXES.iter().zip(scale);
    let named = named.map(|(name, nm)| ((*name).to_owned(), (nm, "nm".to_owned())));
    named.collect()
}

fn rows(value: &Value, at: &FieldPath) -> Result<Vec<Vec<f64>>, StateError> {
    let rows: Option<Vec<_>> = value
        .as_array()
        .and_then(|rows| rows.iter().map(numbers).collect());
    rows.ok_or_else(|| at.unexpected(value, "a list of rows of numbers"))
}

fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(Value::as_f64).collect()
}
