//! The source of annotations: its format and its location.

use std::fmt;
use std::sync::Arc;

use super::error::PointsError;
use super::layer::PointLayer;
use super::objects::ObjectsLayer;
use super::several::SeveralLayers;
use super::table::TableLayer;
use super::{cremi, state};
use crate::config::{
    CremiConfig, LayerConfig, Missing, ObjectsConfig, StatePointsConfig, TableConfig,
};
use crate::geometry::{Resolution, SourceTransform};
use crate::neuroglancer::viewer_state::is_pasted_url;
use crate::storage::{Location, LocationError, SourceUrl, Storage, redacted_source};

/// The separator between a state's address and the name of a layer in it.
const STATE_STEP: &str = "|neuroglancer-state:";

/// The source of annotations.
#[derive(Clone, PartialEq)]
pub enum PointSource {
    /// A folder with Neuroglancer's precomputed annotations.
    Precomputed(SourceUrl),
    /// A Neuroglancer viewer state that contains the annotations.
    ViewerState {
        /// A path, the URL of the state, or a pasted Neuroglancer URL.
        address: String,
        /// The folder to which a path is relative.
        base: Location,
        /// The layer. Without it, the only layer that contains annotations.
        layer: Option<String>,
    },
    /// Several annotation layers, each with its name.
    Several(Vec<(String, PointSource)>),
    /// The objects of a segmentation.
    Objects {
        /// The volume.
        source: SourceUrl,
        /// The scale that is read.
        resolution: Resolution,
        /// The volume's entry in the config.
        layer: LayerConfig,
        /// The table of the roots of its supervoxels.
        roots: Option<Location>,
        /// What a missing chunk means.
        missing: Missing,
        /// What an annotation is.
        config: ObjectsConfig,
    },
    /// A table.
    Table {
        /// The file.
        file: Location,
        /// The meaning of its columns.
        columns: TableConfig,
    },
    /// The annotations of a CREMI file.
    Cremi {
        /// The file.
        file: Location,
        /// Which of them.
        config: CremiConfig,
    },
}

impl PointSource {
    /// Parses the source of an annotation layer in a collection: a `precomputed://...` URL, a pasted Neuroglancer URL,
    /// or `STATE|neuroglancer-state:LAYER`.
    pub fn parse(text: &str, base: &Location) -> Result<Self, LocationError> {
        let state = |address: &str, layer: &str| Self::ViewerState {
            address: address.to_owned(),
            base: base.clone(),
            layer: (!layer.is_empty()).then(|| layer.to_owned()),
        };
        match text.rsplit_once(STATE_STEP) {
            Some((address, layer)) => Ok(state(address, layer)),
            None if is_pasted_url(text) => Ok(state(text, "")),
            None => SourceUrl::parse(text, base).map(Self::Precomputed),
        }
    }

    /// The source with the `transform` of a viewer state. Annotations in a state are transformed when they are read.
    pub(crate) fn with_transform(self, transform: Option<Arc<SourceTransform>>) -> Self {
        match self {
            Self::Precomputed(source) => Self::Precomputed(SourceUrl {
                transform,
                ..source
            }),
            other => other,
        }
    }

    /// The text of a layer of a state, as [`PointSource::parse`] expects it.
    pub(crate) fn text_of_state(address: &str, layer: &str) -> String {
        format!("{address}{STATE_STEP}{layer}")
    }

    /// The state in a config in the folder `base`.
    pub(crate) fn of_state(config: &StatePointsConfig, base: &Location) -> Self {
        let of_layer = |layer: Option<&String>| Self::ViewerState {
            address: config.source.clone(),
            base: base.clone(),
            layer: layer.cloned(),
        };
        match &config.layers {
            None => of_layer(config.layer.as_ref()),
            Some(layers) => {
                let sources = layers
                    .iter()
                    .map(|name| (name.clone(), of_layer(Some(name))));
                Self::Several(sources.collect())
            }
        }
    }

    /// The table in a config in the folder `base`.
    pub(crate) fn of_table(config: &TableConfig, base: &Location) -> Result<Self, LocationError> {
        Ok(Self::Table {
            file: base.resolve(&config.file)?,
            columns: config.clone(),
        })
    }

    /// The CREMI file in a config in the folder `base`.
    pub(crate) fn of_cremi(config: &CremiConfig, base: &Location) -> Result<Self, LocationError> {
        Ok(Self::Cremi {
            file: base.resolve(&config.file)?,
            config: config.clone(),
        })
    }

    /// A text that is equal for two sources with the same annotations, however they are written. It may contain secrets
    /// and is never shown.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Precomputed(source) => match &source.transform {
                None => source.location.identity(),
                Some(transform) => format!("{} {transform:?}", source.location.identity()),
            },
            Self::ViewerState {
                address,
                base,
                layer,
            } => format!("{address:?} {} {layer:?}", base.identity()),
            Self::Several(layers) => {
                let texts = layers
                    .iter()
                    .map(|(name, source)| (name, source.identity()));
                format!("{:?}", texts.collect::<Vec<_>>())
            }
            Self::Objects {
                source,
                resolution,
                layer,
                roots,
                config,
                missing: _,
            } => format!(
                "{} {:?} {resolution:?} {layer:?} {:?} {config:?}",
                source.location.identity(),
                source.transform,
                roots.as_ref().map(Location::identity),
            ),
            Self::Table { file, columns } => format!("{} {columns:?}", file.identity()),
            Self::Cremi { file, config } => format!("{} {config:?}", file.identity()),
        }
    }

    /// Opens the source: reads the info of a layer, the header of a table, or a whole state. All reads stay within
    /// the memory of `storage`.
    pub fn open(&self, storage: &Storage) -> Result<PointLayer, PointsError> {
        match self {
            Self::Precomputed(source) => PointLayer::open(source, storage),
            Self::ViewerState {
                address,
                base,
                layer,
            } => {
                state::read(address, base, layer.as_deref(), storage).map(PointLayer::of_in_memory)
            }
            Self::Several(layers) => {
                let opened = layers
                    .iter()
                    .map(|(name, source)| Ok((name.clone(), source.open(storage)?)));
                let opened = opened.collect::<Result<Vec<_>, PointsError>>()?;
                SeveralLayers::new(opened).map(PointLayer::of_several)
            }
            Self::Objects {
                source,
                resolution,
                layer,
                roots,
                config,
                missing,
            } => {
                let roots = roots.as_ref();
                ObjectsLayer::open(source, resolution, layer, roots, config, *missing, storage)
                    .map(PointLayer::of_objects)
            }
            Self::Table { file, columns } => {
                TableLayer::open(file, columns, storage).map(PointLayer::of_table)
            }
            Self::Cremi { file, config } => {
                cremi::read(file, config, storage).map(PointLayer::of_in_memory)
            }
        }
    }
}

/// The same as `Display`, because addresses may contain secrets.
impl fmt::Debug for PointSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PointSource({self})")
    }
}

impl fmt::Display for PointSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Precomputed(source) => write!(f, "{}", source.location),
            Self::ViewerState {
                address,
                base,
                layer,
            } => {
                match (is_pasted_url(address), base.resolve(address)) {
                    (true, _) => write!(f, "the pasted Neuroglancer URL")?,
                    (false, Ok(place)) => write!(f, "{place}")?,
                    (false, Err(_)) => write!(f, "{}", redacted_source(address))?,
                }
                match layer {
                    Some(layer) => write!(f, ", layer `{layer}`"),
                    None => Ok(()),
                }
            }
            Self::Several(layers) => {
                let texts: Vec<_> = layers
                    .iter()
                    .map(|(_, source)| source.to_string())
                    .collect();
                write!(f, "{}", texts.join(" and "))
            }
            Self::Objects { source, .. } => write!(f, "the objects in {}", source.location),
            Self::Table { file, .. } | Self::Cremi { file, .. } => write!(f, "{file}"),
        }
    }
}
