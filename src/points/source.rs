//! Where annotations lie, and in which of the forms that are read.

use std::fmt;
use std::sync::Arc;

use super::{PointLayer, PointsError, csv, state};
use crate::config::{CsvConfig, StatePointsConfig};
use crate::geometry::SourceTransform;
use crate::neuroglancer::viewer_state::is_pasted_url;
use crate::storage::{Location, LocationError, MemoryBudget, SourceUrl, redacted_source};

/// What stands between a state's address and the name of a layer in it.
const STATE_STEP: &str = "|neuroglancer-state:";

/// Where annotations lie.
#[derive(Clone, PartialEq)]
pub enum PointSource {
    /// A folder with Neuroglancer's precomputed annotations.
    Precomputed(SourceUrl),
    /// A Neuroglancer viewer state that holds them itself.
    ViewerState {
        /// A path, the state's own URL, or a pasted one.
        address: String,
        /// The folder that a relative path counts from.
        base: Location,
        /// The layer, or the only one that holds annotations.
        layer: Option<String>,
    },
    /// A table.
    Csv {
        /// The file.
        file: Location,
        /// What its columns mean.
        columns: CsvConfig,
    },
}

impl PointSource {
    /// Understands the source of an annotation layer as a collection writes it: `precomputed://...` in its
    /// forms, a pasted Neuroglancer URL, or `STATE|neuroglancer-state:LAYER`.
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

    /// The source as `transform` of a viewer state moves it. Annotations that lie in a state are moved there.
    pub(crate) fn moved(self, transform: Option<Arc<SourceTransform>>) -> Self {
        match self {
            Self::Precomputed(source) => Self::Precomputed(SourceUrl {
                transform,
                ..source
            }),
            other => other,
        }
    }

    /// How [`PointSource::parse`] wants a layer of a state to be written.
    pub(crate) fn text_of_state(address: &str, layer: &str) -> String {
        format!("{address}{STATE_STEP}{layer}")
    }

    /// The state that a config in the folder `base` names.
    pub(crate) fn of_state(config: &StatePointsConfig, base: &Location) -> Self {
        Self::ViewerState {
            address: config.source.clone(),
            base: base.clone(),
            layer: config.layer.clone(),
        }
    }

    /// The table that a config in the folder `base` names.
    pub(crate) fn of_csv(config: &CsvConfig, base: &Location) -> Result<Self, LocationError> {
        Ok(Self::Csv {
            file: base.resolve(&config.file)?,
            columns: config.clone(),
        })
    }

    /// A text that two sources share if they hold the same annotations, however they are written. It may have secrets:
    /// it is never shown.
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
            Self::Csv { file, columns } => format!("{} {columns:?}", file.identity()),
        }
    }

    /// Reads what the source says about itself; of a state, all of it. What is read then and later is within `budget`.
    pub fn open(&self, budget: &MemoryBudget) -> Result<PointLayer, PointsError> {
        match self {
            Self::Precomputed(source) => PointLayer::open(source, budget),
            Self::ViewerState {
                address,
                base,
                layer,
            } => state::read(address, base, layer.as_deref(), budget).map(PointLayer::of_table),
            Self::Csv { file, columns } => {
                csv::Layer::open(file, columns, budget).map(PointLayer::of_csv)
            }
        }
    }
}

/// As it is shown to people: addresses may have secrets.
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
            Self::Csv { file, .. } => write!(f, "{file}"),
        }
    }
}
