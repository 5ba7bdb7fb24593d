//! Why an annotation inside a box is not a sample.

/// Why an annotation inside a box is not a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Its window would extend past the range of voxel coordinates.
    WindowOutOfRange,
    /// Its window extends past the bounds of a layer.
    WindowLeavesVolume,
    /// There is no object at its point.
    NoObject,
    /// Too few of an array's values are nonzero.
    TooLittleNonzero,
    /// A property has a value that `filter` does not keep.
    Filter,
    /// It is related to none of the objects in `related`.
    NotRelated,
    /// With `"repeats": "once"`: it is also in an earlier box of the split.
    InAnEarlierBox,
    /// It is closer than `min_distance_nm` to an annotation that is kept.
    TooNear,
    /// Its box already has `max_per_box` samples.
    OverMaxPerBox,
    /// Its window shares voxels with a window of another split, and `leaks` drops it.
    Leak,
    /// The layer of `points.start` or `points.end` has no annotation with its id.
    NoEnd,
}

impl DropReason {
    /// All reasons. Positions in this list are stored: new ones come last.
    pub(crate) const ALL: [Self; 11] = [
        Self::WindowOutOfRange,
        Self::WindowLeavesVolume,
        Self::NoObject,
        Self::TooLittleNonzero,
        Self::Filter,
        Self::NotRelated,
        Self::InAnEarlierBox,
        Self::TooNear,
        Self::OverMaxPerBox,
        Self::Leak,
        Self::NoEnd,
    ];

    /// The reason with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// Its name in the manifest and the summary.
    pub fn name(self) -> &'static str {
        match self {
            Self::WindowOutOfRange => "window_out_of_range",
            Self::WindowLeavesVolume => "window_leaves_volume",
            Self::NoObject => "no_object",
            Self::TooLittleNonzero => "too_little_nonzero",
            Self::Filter => "filter",
            Self::NotRelated => "not_related",
            Self::InAnEarlierBox => "in_an_earlier_box",
            Self::TooNear => "too_near",
            Self::OverMaxPerBox => "over_max_per_box",
            Self::Leak => "leak",
            Self::NoEnd => "no_end",
        }
    }
}
