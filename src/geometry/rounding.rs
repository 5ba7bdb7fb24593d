//! Rounding of voxel coordinates, as Python rounds decimals.

/// Voxel coordinates stay below this magnitude, so that they are exact in `f64` and sums of them cannot overflow `i64`.
pub const MAX_VOXEL: i64 = 1 << 52;

/// `ceil(round(v, 10))` with Python's `round`: correct decimal rounding, not `rint(v * 1e10) / 1e10`.
pub(super) fn ceil_of_rounded(v: f64) -> Option<i64> {
    let fraction = v - v.floor();
    // Rounding to ten decimals can change the result only near whole numbers.
    let near_whole = !(1e-9..=1.0 - 1e-9).contains(&fraction);
    let rounded = if near_whole {
        format!("{v:.10}").parse().ok()?
    } else {
        v
    };
    let ceil = rounded.ceil();
    (ceil.abs() < MAX_VOXEL as f64).then_some(ceil as i64)
}

/// `floor(round(v, 10))`, rounded in the same way.
pub(super) fn floor_of_rounded(v: f64) -> Option<i64> {
    ceil_of_rounded(-v).map(|ceil| -ceil)
}
