//! Segmentations of a PyChunkedGraph (`graphene://`): the precomputed layer of their supervoxels.
//!
//! The document `info` of such a segmentation has the path of that layer as `data_dir`, as CloudVolume reads it
//! (cloudvolume/datasource/graphene/metadata.py). Roots are not read from the server, but from a table.

use serde::Deserialize;

use super::error::VolumeError;
use crate::config::LayerConfig;
use crate::storage::{DocumentLimit, Location, SourceUrl, Storage, parse_document, read_text};

/// The format in a URL.
pub(super) const FORMAT: &str = "graphene";

const EXPECTED: &str = "the info of a PyChunkedGraph";

#[derive(Deserialize)]
struct GrapheneInfo {
    data_dir: String,
}

/// The layer of the supervoxels of the segmentation at `source`, with its transform.
///
/// # Errors
/// The config has no table of roots for the layer, or the info cannot be read.
pub(super) fn supervoxels(
    source: &SourceUrl,
    layer: &LayerConfig,
    storage: &Storage,
) -> Result<SourceUrl, VolumeError> {
    let location = source.location.to_string();
    let data_dir = read_data_dir(source, storage);
    match (&layer.roots, data_dir) {
        (None, data_dir) => Err(VolumeError::GrapheneWithoutRoots {
            location,
            data_dir: data_dir.ok(),
        }),
        (Some(_), Err(problem)) => Err(VolumeError::GrapheneInfo {
            location,
            problem: Box::new(problem),
        }),
        (Some(_), Ok(data_dir)) => {
            let found = SourceUrl::parse(&data_dir, &source.location);
            let found = found.ok().filter(|found| {
                // A server cannot make the program read local files.
                let is_local = |source: &SourceUrl| matches!(source.location, Location::Local(_));
                !is_local(found) || is_local(source)
            });
            let found = found.map(|found| SourceUrl {
                transform: source.transform.clone(),
                ..found
            });
            found.ok_or_else(|| VolumeError::InvalidMetadata {
                object: source.location.join("info").to_string(),
                path: "data_dir".to_owned(),
                problem: format!(
                    "found {data_dir:?}, expected the URL of a precomputed layer (gs://, s3://, https://)"
                ),
            })
        }
    }
}

fn read_data_dir(source: &SourceUrl, storage: &Storage) -> Result<String, VolumeError> {
    let store = storage.open(&source.location);
    let text = read_text(store.as_ref(), "info", EXPECTED, &DocumentLimit::METADATA)?;
    let object = store.describe("info");
    let text = text.ok_or_else(|| VolumeError::NoGrapheneInfo {
        object: object.clone(),
    })?;
    let info: GrapheneInfo = parse_document(&text, &object, EXPECTED)?;
    Ok(info.data_dir)
}
