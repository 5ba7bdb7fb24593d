//! The property columns of the sample table.

use crate::points::PropertySpec;

/// For each property that every point layer has with the same type: its position in each layer's list. Warns about the
/// others.
pub(super) fn common_properties(
    layers: &[&[PropertySpec]],
    warnings: &mut Vec<String>,
) -> Vec<Vec<usize>> {
    let mut columns = Vec::new();
    let Some(first) = layers.first() else {
        return columns;
    };
    for property in *first {
        let is_same = |p: &PropertySpec| p.id == property.id && p.kind == property.kind;
        let positions: Option<Vec<usize>> = layers
            .iter()
            .map(|specs| specs.iter().position(is_same))
            .collect();
        match positions {
            Some(positions) => columns.push(positions),
            None => warnings.push(format!(
                "the annotation property `{}` gets no column: not every point layer has it with the same type",
                property.id
            )),
        }
    }
    columns
}
