//! Detects the format of a volume, from its URL or from the documents in its folder.

use super::error::VolumeError;
use super::tiff::{has_sections, names_tiff};
use super::zarr::ZarrVersion;
use crate::hdf5::{is_hdf5, may_be_hdf5};
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
    /// A dataset in an HDF5 file.
    Hdf5,
    /// A stack of TIFF files, or of the pages of one.
    Tiff,
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
            "hdf5" => Self::Hdf5,
            "tiff" => Self::Tiff,
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
        if names_tiff(location) {
            return Ok(Self::Tiff);
        }
        let store = storage.open(location);
        let mut bytes = Vec::new();
        for (document, format) in DOCUMENTS {
            if store.read(document, MAX_METADATA_BYTES, &mut bytes)? {
                return Ok(format);
            }
        }
        if let Some((folder, name)) = location.split_file()
            && is_hdf5(storage.open(&folder).as_ref(), &name)?
        {
            return Ok(Self::Hdf5);
        }
        if has_sections(location, storage) {
            return Ok(Self::Tiff);
        }
        let location = location.to_string();
        Err(VolumeError::NoVolume {
            hint: hint_of_path(&location),
            location,
        })
    }
}

/// How to write a source that looks like the path of a dataset inside an HDF5 file; empty for all others.
fn hint_of_path(location: &str) -> String {
    let ends = location.match_indices('/').map(|(at, _)| at);
    let found = { ends }.find(|at| may_be_hdf5(&location[..*at]));
    found.map_or(String::new(), |at| {
        let (file, path) = location.split_at(at);
        format!("; a dataset in an HDF5 file is written `{file}|hdf5:{path}`")
    })
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
            e.contains("attributes.json") && e.ends_with("check the path"),
            "{e}"
        );
        let inside = location.join("a.hdf/volumes/raw");
        let e = VolumeFormat::detect(&inside, &Storage::default());
        let e = e.unwrap_err().to_string();
        assert!(e.ends_with("a.hdf|hdf5:/volumes/raw`"), "{e}");
        for (document, format) in DOCUMENTS.iter().rev() {
            std::fs::write(dir.path().join(document), "{}").unwrap();
            assert_eq!(
                VolumeFormat::detect(&location, &Storage::default()).unwrap(),
                *format
            );
        }
    }
}
