//! An array with the attributes that may define its position.

use super::document::AttributesDocument;
use crate::volume::axes::ArrayAxes;

/// The order in which a format lists dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::volume) enum DimensionOrder {
    /// Slowest first: Zarr, numpy.
    C,
    /// Fastest first: N5.
    F,
}

/// The group that contains an array.
#[derive(Clone, Copy, Debug)]
pub(in crate::volume) struct ParentGroup<'a> {
    pub document: AttributesDocument<'a>,
    /// Name of the array in the group.
    pub name: &'a str,
    /// The attributes of the group's level `s0`, if they are known.
    pub base: Option<AttributesDocument<'a>>,
}

impl ParentGroup<'_> {
    /// The level number in the array's name, for example 2 for `s2`.
    pub(super) fn level(&self) -> Option<usize> {
        self.name.strip_prefix('s')?.parse().ok()
    }
}

/// An array with its attributes and those of its group.
#[derive(Clone, Copy, Debug)]
pub(in crate::volume) struct SpatialArray<'a> {
    pub own: AttributesDocument<'a>,
    pub parent: Option<ParentGroup<'a>>,
    pub order: DimensionOrder,
    /// Length of each dimension.
    pub shape: &'a [u64],
}

impl SpatialArray<'_> {
    /// The documents of the array and of its group.
    pub(super) fn documents(&self) -> impl Iterator<Item = AttributesDocument<'_>> {
        let parent = self.parent.as_ref().map(|p| p.document);
        std::iter::once(self.own).chain(parent)
    }

    /// The items of `list` for x, y, z. The list has an item for each dimension, or only for x, y, z.
    pub(super) fn xyz_of<T: Clone>(&self, list: &[T], axes: &ArrayAxes) -> Option<[T; 3]> {
        if list.len() == self.shape.len() {
            return Some(axes.xyz.map(|d| list[d].clone()));
        }
        let before = |d: usize| axes.xyz.iter().filter(|other| **other < d).count();
        (list.len() == 3).then(|| axes.xyz.map(|d| list[before(d)].clone()))
    }
}
