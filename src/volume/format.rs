//! Detects the format of a volume, from its URL or from the documents in its folder.

use super::error::VolumeError;
use super::zarr::ZarrVersion;
use crate::storage::{Location, MAX_METADATA_BYTES, SourceUrl, Storage};

/// A supported format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VolumeFormat {
    /// Neuroglancer precomputed.
    Precomputed,
    /// Zarr, with or without OME-Zarr metadata. `None` for any version.
    Zarr(Option<ZarrVersion>),
    /// N5.
    N5,
}

/// The documents that identify a format. The first one that exists decides.
const DOCUMENTS: [(&str, VolumeFormat); 7] = [
    ("info", VolumeFormat::Precomputed),
    ("zarr.json", VolumeFormat::Zarr(Some(ZarrVersion::V3))),
    (".zarray", VolumeFormat::Zarr(Some(ZarrVersion::V2))),
    (".zgroup", VolumeFormat::Zarr(Some(ZarrVersion::V2))),
    (".zattrs", VolumeFormat::Zarr(Some(ZarrVersion::V2))),
    ("attributes.json", VolumeFormat::N5),
    (".zmetadata", VolumeFormat::Zarr(Some(ZarrVersion::V2))),
];

impl VolumeFormat {
    /// The format called `name` in a URL.
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "precomputed" | "neuroglancer-precomputed" => Self::Precomputed,
            "zarr" => Self::Zarr(None),
            "zarr2" => Self::Zarr(Some(ZarrVersion::V2)),
            "zarr3" => Self::Zarr(Some(ZarrVersion::V3)),
            "n5" => Self::N5,
            _ => return None,
        })
    }

    /// The format of `source`: the one in its URL, or the one of its documents.
    pub(super) fn of_source(source: &SourceUrl, storage: &Storage) -> Result<Self, VolumeError> {
        match source.format.as_deref() {
            Some(name) => Self::from_name(name).ok_or_else(|| unknown_format(source)),
            None => Self::detect(&source.location, storage),
        }
    }

    /// Detects the format of the volume at `location`.
    fn detect(location: &Location, storage: &Storage) -> Result<Self, VolumeError> {
        let store = storage.open(location);
        let mut bytes = Vec::new();
        for (document, format) in DOCUMENTS {
            if store.read(document, MAX_METADATA_BYTES, &mut bytes)? {
                return Ok(format);
            }
        }
        Err(VolumeError::NoVolume {
            location: location.to_string(),
        })
    }
}

fn unknown_format(source: &SourceUrl) -> VolumeError {
    let location = source.location.to_string();
    match source.format.as_deref() {
        Some("neuroglancer-state") => VolumeError::Annotations { location },
        format => VolumeError::Format {
            location,
            format: format.unwrap_or_default().to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_document_in_a_folder_decides_the_format() {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::Local(dir.path().to_owned());
        let e = VolumeFormat::detect(&location, &Storage::default())
            .unwrap_err()
            .to_string();
        assert!(
            e.contains("attributes.json") && e.contains("check the path"),
            "{e}"
        );
        for (document, format) in DOCUMENTS.iter().rev() {
            std::fs::write(dir.path().join(document), "{}").unwrap();
            assert_eq!(
                VolumeFormat::detect(&location, &Storage::default()).unwrap(),
                *format
            );
        }
    }
}
