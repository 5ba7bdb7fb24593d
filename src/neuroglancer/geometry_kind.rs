//! The kinds of annotations in Neuroglancer.

/// The kind of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryKind {
    /// One position.
    Point,
    /// Two end points.
    Line,
    /// Two opposite corners, in any order.
    Box,
    /// Centre and radii.
    Ellipsoid,
    /// Any number of positions, at least one.
    Polyline,
}

impl GeometryKind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Point,
        Self::Line,
        Self::Box,
        Self::Ellipsoid,
        Self::Polyline,
    ];

    /// Whether it has two ends.
    pub(crate) fn has_ends(self) -> bool {
        matches!(self, Self::Line | Self::Polyline)
    }

    /// Its name in the formats, which is not case-sensitive.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Point => "POINT",
            Self::Line => "LINE",
            Self::Box => "AXIS_ALIGNED_BOUNDING_BOX",
            Self::Ellipsoid => "ELLIPSOID",
            Self::Polyline => "POLYLINE",
        }
    }

    /// The kind with this name in any case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The names of all kinds, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Number of vectors that describe an annotation. `None` if it differs between annotations.
    pub(crate) fn vectors(self) -> Option<usize> {
        match self {
            Self::Point => Some(1),
            Self::Line | Self::Box | Self::Ellipsoid => Some(2),
            Self::Polyline => None,
        }
    }
}
