//! The names of a volume's dimensions in its format.

/// The dimensions of a volume as its format defines them.
pub(super) struct FormatDimensions {
    pub names: Vec<String>,
    pub is_named: bool,
    pub begins_at_zero: bool,
    /// Size of a voxel of the only scale relative to a voxel of the model space, along x, y, z.
    pub factors: [f64; 3],
}
