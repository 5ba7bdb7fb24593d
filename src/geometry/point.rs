//! A point in the world.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in world coordinates: nm along x, y, z.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PointNm(pub [f64; 3]);

impl PointNm {
    /// Whether every coordinate is a finite number.
    pub fn is_finite(&self) -> bool {
        self.0.iter().all(|v| v.is_finite())
    }

    /// Distance to `other`.
    pub fn distance_nm(&self, other: &PointNm) -> f64 {
        let squares = (0..3).map(|d| (self.0[d] - other.0[d]).powi(2));
        squares.sum::<f64>().sqrt()
    }

    /// The point halfway between `self` and `other`.
    pub fn midpoint(&self, other: &PointNm) -> PointNm {
        PointNm(std::array::from_fn(|d| (self.0[d] + other.0[d]) / 2.0))
    }
}

impl fmt::Display for PointNm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.0;
        write!(f, "({x}, {y}, {z}) nm")
    }
}
