//! The kinds of annotations that Neuroglancer knows.

/// What an annotation's geometry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GeometryKind {
    /// One position.
    Point,
    /// Two ends.
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

    /// The name that the formats give it; they write it in any case.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Point => "POINT",
            Self::Line => "LINE",
            Self::Box => "AXIS_ALIGNED_BOUNDING_BOX",
            Self::Ellipsoid => "ELLIPSOID",
            Self::Polyline => "POLYLINE",
        }
    }

    /// The kind of that name, in any case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The names of all kinds, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Vectors that describe one; `None` where each has its own number.
    pub(crate) fn vectors(self) -> Option<usize> {
        match self {
            Self::Point => Some(1),
            Self::Line | Self::Box | Self::Ellipsoid => Some(2),
            Self::Polyline => None,
        }
    }
}
