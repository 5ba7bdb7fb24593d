//! The versions of the Zarr format.

/// A version of the Zarr format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::volume) enum ZarrVersion {
    V2,
    V3,
}
