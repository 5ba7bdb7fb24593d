//! A collection: bounding boxes with tags, and the layer group of each box.
//!
//! Sources: zetta_utils' rows as one JSON file with the lists `collections`, `layer_groups`, `layers` and `annotations`, as
//! a folder with one `NAME_multiple.json` for each, or from its web API; a Neuroglancer viewer state; boxes in the config,
//! in a table, or in a layer of precomputed annotations. Relative sources of layers count from the folder that contains
//! the file or folder.

mod box_layer;
mod box_table;
mod boxes;
mod error;
mod layer_group;
mod lists;
mod named;
mod rows;
mod shared_box;
mod state;
mod tagged_box;
mod zetta_api;

use crate::config::{CollectionConfig, CollectionSource, Config};
use crate::neuroglancer::viewer_state::is_pasted_url;
use crate::storage::{Location, Storage};

pub use error::CollectionError;
pub use layer_group::{LayerError, LayerGroup};
pub(crate) use state::layers_of_state;
pub use tagged_box::{Collection, TaggedBox};
pub use zetta_api::ApiError;

impl Collection {
    /// Reads all collections of a job, one after the other, within the memory of `storage`. Relative paths count from the folder
    /// `base`.
    pub fn open_all(
        config: &Config,
        base: &Location,
        storage: &Storage,
    ) -> Result<Vec<Self>, CollectionError> {
        let one = config.collection.iter();
        let one = one.map(|config| Self::open(config, base, storage));
        let named = config.collections.iter();
        let named = named.map(|(name, config)| named::read(name, config, base, storage));
        one.chain(named).collect()
    }

    /// Reads the collection that `config` names, within the memory of `storage`. Relative paths count from the folder `base`.
    pub fn open(
        config: &CollectionConfig,
        base: &Location,
        storage: &Storage,
    ) -> Result<Self, CollectionError> {
        Self::open_at(config, "collection", base, storage)
    }

    /// As [`Collection::open`], where `config` has this JSON path in the config.
    fn open_at(
        config: &CollectionConfig,
        path: &str,
        base: &Location,
        storage: &Storage,
    ) -> Result<Self, CollectionError> {
        match config {
            CollectionConfig::Path(url) if is_pasted_url(url) => {
                state::read(url, None, base, storage)
            }
            CollectionConfig::Path(path) => match Self::read(&base.resolve(path)?, storage) {
                Err(e) if e.may_be_a_state() => state::read_instead(path, base, storage, e),
                read => read,
            },
            CollectionConfig::Source(CollectionSource::NeuroglancerState(state)) => {
                state::read(&state.source, state.layer.as_deref(), base, storage)
            }
            CollectionConfig::Source(CollectionSource::ZettaApi(api)) => {
                zetta_api::read(api, base, storage)
            }
            CollectionConfig::Source(CollectionSource::Boxes(config)) => {
                boxes::read(config, path, base, storage)
            }
        }
    }

    /// Reads the collection file or folder at `location`, within the memory of `storage`.
    pub fn read(location: &Location, storage: &Storage) -> Result<Self, CollectionError> {
        rows::read(location, storage)
    }
}
