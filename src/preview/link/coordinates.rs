//! The coordinates of a viewer state: voxels of one resolution.

use serde_json::{Value, json};

/// nm per voxel, x, y, z.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Coordinates(pub [f64; 3]);

impl Coordinates {
    /// The `dimensions` of a state: for each axis the length of a voxel in m.
    pub fn dimensions(self) -> Value {
        let [x, y, z] = self.0.map(length);
        json!({ "x": x, "y": y, "z": z })
    }

    /// A position in voxels.
    pub fn voxels(self, nm: [f64; 3]) -> [f64; 3] {
        [0, 1, 2].map(|axis| {
            let voxels = nm[axis] / self.0[axis];
            // Without the last bits of a division, which only make a link longer.
            (voxels * 1e6).round() / 1e6
        })
    }
}

/// A length in m, with its unit. It is parsed from a decimal number, because a product with 1e-9 is not rounded to the nearest.
pub(super) fn length(nm: f64) -> Value {
    let m: f64 = format!("{nm}e-9").parse().unwrap_or(nm * 1e-9);
    json!([m, "m"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_decimal_numbers() {
        let dimensions = Coordinates([4.6, 4.0, 45.0]).dimensions();
        assert_eq!(
            dimensions.to_string(),
            r#"{"x":[4.6e-9,"m"],"y":[4e-9,"m"],"z":[4.5e-8,"m"]}"#
        );
        assert_eq!(
            Coordinates([4.6, 4.0, 45.0]).voxels([46.0, 6.0, 0.0]),
            [10.0, 1.5, 0.0]
        );
    }
}
