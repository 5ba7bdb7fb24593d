//! The kind of the sources on the command line: a state, a collection, a folder, or layers. Only the document or folder
//! itself is read here, not the layers.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;

use super::InitError;
use super::error_chain::chain;
use crate::collection::{Collection, LayerGroup, layers_of_state};
use crate::config::{CollectionConfig, CollectionSource, LayerConfig, StateBoxesConfig};
use crate::hdf5::{Hdf5File, is_hdf5, may_be_hdf5};
use crate::neuroglancer::GeometryKind;
use crate::neuroglancer::viewer_state::{StateError, ViewerState, is_pasted_url};
use crate::points::has_partners;
use crate::storage::{Location, SourceUrl, Storage, redacted_source};
use crate::volume::{has_sections, is_pattern, may_be_tiff, names_tiff};

/// Documents that make a folder a layer.
const LAYER_DOCUMENTS: [&str; 6] = [
    "info",
    "zarr.json",
    ".zarray",
    ".zgroup",
    ".zattrs",
    "attributes.json",
];

/// What was found at the sources.
#[derive(Debug)]
pub(super) struct Found {
    /// For messages, without secrets.
    pub(super) name: String,
    /// The layers of its boxes, or those that were named or listed.
    pub(super) layers: Arc<LayerGroup>,
    /// Layers that a viewer state names a type for.
    pub(super) types: HashMap<String, String>,
    /// Tables, by name.
    pub(super) tables: IndexMap<String, Location>,
    /// A CREMI file with pairs of annotations.
    pub(super) cremi: Option<Location>,
    /// Its boxes, and how the config names them.
    pub(super) collection: Option<(CollectionRef, Collection)>,
    /// What a person should know about it.
    pub(super) checks: Vec<String>,
}

/// How the config names a collection.
#[derive(Clone, Debug)]
pub(super) enum CollectionRef {
    /// A file or folder.
    Place(Location),
    /// A viewer state in a file, and the layer that holds the boxes.
    StateFile(Location, Option<String>),
    /// A viewer state in a pasted URL, and the layer that holds the boxes.
    PastedState(String, Option<String>),
}

/// Reads what `sources` name; relative ones count from `here`.
pub(super) fn read(
    sources: &[String],
    here: &Location,
    storage: &Storage,
) -> Result<Found, InitError> {
    match sources {
        [source] if is_pasted_url(source) => {
            let state = ViewerState::read(source, here, storage)?;
            let name = |layer| CollectionRef::PastedState(source.trim().to_owned(), layer);
            of_state(&state, source, name, here, storage)
        }
        [source] => one(source, here, storage),
        several => of_layers(several, here),
    }
}

/// The source that is not a pasted URL.
fn one(source: &str, here: &Location, storage: &Storage) -> Result<Found, InitError> {
    let parsed = SourceUrl::parse(source, here)?;
    if parsed.format.is_some() {
        return of_layers(&[source.to_owned()], here);
    }
    let place = parsed.location;
    if is_table(&place.to_string()) || names_tiff(&place) {
        return of_layers(&[source.to_owned()], here);
    }
    let is_document = match &place {
        Location::Local(path) => match std::fs::metadata(path) {
            Ok(metadata) => !metadata.is_dir(),
            Err(_) => {
                return Err(InitError::Missing {
                    source_name: place.to_string(),
                });
            }
        },
        Location::Remote(_) => without_query(&place.to_string()).ends_with(".json"),
    };
    if is_hdf5_file(&place, storage)? {
        of_hdf5(source, &place, here, storage)
    } else if is_document {
        of_document(source, &place, here, storage)
    } else {
        of_folder(source, &place, here, storage)
    }
}

fn is_hdf5_file(place: &Location, storage: &Storage) -> Result<bool, InitError> {
    match place.split_file() {
        Some((folder, name)) if may_be_hdf5(&name) => {
            Ok(is_hdf5(storage.open(&folder).as_ref(), &name)?)
        }
        _ => Ok(false),
    }
}

/// The volumes of an HDF5 file, and the annotations of a CREMI file.
fn of_hdf5(
    source: &str,
    place: &Location,
    here: &Location,
    storage: &Storage,
) -> Result<Found, InitError> {
    let file = Hdf5File::open(place, storage)?;
    let (volumes, mut errors) = file.volumes()?;
    if volumes.is_empty() && !errors.is_empty() {
        return Err(errors.swap_remove(0).into());
    }
    let sources: Vec<String> = volumes
        .iter()
        .map(|path| format!("{}|hdf5:{path}", source.trim()))
        .collect();
    let has_partners = match has_partners(&file) {
        Err(e) if e.is_of_dataset() => {
            errors.push(e);
            false
        }
        found => found?,
    };
    let cremi = has_partners.then(|| place.clone());
    Ok(Found {
        name: place.to_string(),
        cremi,
        checks: errors
            .iter()
            .map(|e| format!("layers: a dataset is left out: {e}"))
            .collect(),
        ..of_layers(&sources, here)?
    })
}

/// A collection file or a viewer state.
fn of_document(
    source: &str,
    place: &Location,
    here: &Location,
    storage: &Storage,
) -> Result<Found, InitError> {
    let not_a_collection = match Collection::read(place, storage) {
        Ok(collection) => return Ok(of_collection(place, collection)),
        Err(e) => e,
    };
    match ViewerState::read(source, here, storage) {
        Ok(state) => {
            let name = |layer| CollectionRef::StateFile(place.clone(), layer);
            of_state(&state, source, name, here, storage)
        }
        Err(e) if not_a_collection.may_be_a_state() => Err(InitError::Neither {
            file: place.to_string(),
            state: chain(&e),
            collection: chain(&not_a_collection),
        }),
        Err(_) => Err(not_a_collection.into()),
    }
}

fn of_collection(place: &Location, collection: Collection) -> Found {
    let layers = match collection.boxes.iter().find(|b| !b.layers.id().is_empty()) {
        Some(with_layers) => Arc::clone(&with_layers.layers),
        None => Arc::new(LayerGroup::empty()),
    };
    let groups: std::collections::HashSet<&str> =
        collection.boxes.iter().map(|b| b.layers.id()).collect();
    let several = (groups.len() > 1).then(|| {
        format!(
            "layers: the boxes have {} layer groups; the layers of `{}` were opened, and the config expects the same \
             names in the others",
            groups.len(),
            layers.id()
        )
    });
    Found {
        name: place.to_string(),
        layers,
        types: HashMap::new(),
        tables: IndexMap::new(),
        cremi: None,
        checks: several.into_iter().collect(),
        collection: Some((CollectionRef::Place(place.clone()), collection)),
    }
}

fn of_state(
    state: &ViewerState,
    source: &str,
    name: impl Fn(Option<String>) -> CollectionRef,
    here: &Location,
    storage: &Storage,
) -> Result<Found, InitError> {
    let types = state.layers().iter().filter_map(|layer| {
        let kind = layer.kind()?;
        Some((layer.name().to_owned(), kind.to_owned()))
    });
    let mut found = Found {
        name: state.object().to_owned(),
        layers: Arc::new(layers_of_state(state)),
        types: types.collect(),
        tables: IndexMap::new(),
        cremi: None,
        collection: None,
        checks: Vec::new(),
    };
    let layer = match state.annotation_layer(None, &[GeometryKind::Box]) {
        Ok(_) => None,
        Err(StateError::Ambiguous { layers, .. }) => {
            let named = layers
                .iter()
                .find(|name| name.to_lowercase().contains("box"));
            let chosen = named.or(layers.first()).cloned();
            found.checks.push(format!(
                "boxes: the layers {} hold boxes; `{}` was chosen",
                quoted(&layers),
                chosen.as_deref().unwrap_or_default()
            ));
            chosen
        }
        Err(_) => return Ok(found),
    };
    let config = CollectionSource::NeuroglancerState(StateBoxesConfig {
        source: source.to_owned(),
        layer: layer.clone(),
    });
    let collection = Collection::open(&CollectionConfig::Source(config), here, storage)?;
    found.collection = Some((name(layer), collection));
    Ok(found)
}

/// A folder: a layer, a collection, or a folder of layers.
fn of_folder(
    source: &str,
    place: &Location,
    here: &Location,
    storage: &Storage,
) -> Result<Found, InitError> {
    let store = storage.open(place);
    let has = |key: &str| store.size(key).map(|size| size.is_some());
    for document in LAYER_DOCUMENTS {
        if has(document)? {
            return if is_group_of_layers(place, storage) {
                of_listed(place, Listed::read(place, storage)?)
            } else {
                of_layers(&[source.to_owned()], here)
            };
        }
    }
    if has("collection.json")? {
        return of_document(
            "collection.json",
            &place.join("collection.json"),
            place,
            storage,
        );
    }
    if has("annotations_multiple.json")? {
        return Ok(of_collection(place, Collection::read(place, storage)?));
    }
    if !place.can_be_listed() {
        return Err(InitError::NoListing {
            folder: place.to_string(),
        });
    }
    let listed = Listed::read(place, storage)?;
    if listed.is_stack() {
        let stacks: Vec<_> = listed.folders.iter().map(|folder| &folder.name).collect();
        let check = format!(
            "layers: the TIFF files of the folder are one stack; its folders of TIFF files, {}, were left out: to use one, name it as a source",
            quoted(&stacks)
        );
        let checks = if stacks.is_empty() {
            Vec::new()
        } else {
            vec![check]
        };
        return Ok(Found {
            checks,
            ..of_layers(&[source.to_owned()], here)?
        });
    }
    of_listed(place, listed)
}

/// Whether a folder with metadata is no layer itself, but a Zarr or N5 group of layers.
fn is_group_of_layers(place: &Location, storage: &Storage) -> bool {
    let source = SourceUrl {
        format: None,
        location: place.clone(),
        inside: None,
        transform: None,
    };
    let is_layer = crate::volume::resolutions(&source, &LayerConfig::default(), storage).is_ok();
    let listed = || Listed::read(place, storage).is_ok_and(|listed| !listed.folders.is_empty());
    !is_layer && listed()
}

/// The layers and the tables of a folder.
fn of_listed(place: &Location, listed: Listed) -> Result<Found, InitError> {
    let Listed {
        folders,
        tables,
        tiff_files,
    } = listed;
    if folders.is_empty() && tables.is_empty() {
        return Err(InitError::NoLayer {
            folder: place.to_string(),
        });
    }
    let left_out = tiff_files.first().map(|first| {
        let others = match tiff_files.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "layers: TIFF files beside the layers were left out (`{first}`{others}): if they are a stack, move them to a folder of their own"
        )
    });
    let sources = folders
        .into_iter()
        .map(|folder| (folder.name.clone(), folder.name));
    let tables = tables.into_iter().map(|name| {
        let location = place.join(&name);
        (name, location)
    });
    Ok(Found {
        name: place.to_string(),
        layers: Arc::new(LayerGroup::of_sources(
            "collection.boxes.layers",
            &sources.collect(),
            place,
        )),
        types: HashMap::new(),
        tables: tables.collect(),
        cremi: None,
        collection: None,
        checks: left_out.into_iter().collect(),
    })
}

/// What a folder has.
struct Listed {
    folders: Vec<LayerFolder>,
    tables: Vec<String>,
    tiff_files: Vec<String>,
}

/// A subfolder that is a layer.
struct LayerFolder {
    name: String,
    /// Whether it has the documents of a layer, and not only TIFF files.
    has_documents: bool,
}

impl Listed {
    fn read(place: &Location, storage: &Storage) -> Result<Self, InitError> {
        let listing = storage.list(place)?;
        let mut folders = Vec::new();
        for name in listing.folders {
            let folder = place.join(&name);
            let store = storage.open(&folder);
            let mut has_documents = false;
            for document in LAYER_DOCUMENTS {
                has_documents |= store.size(document)?.is_some();
                if has_documents {
                    break;
                }
            }
            if has_documents || has_sections(&folder, storage) {
                folders.push(LayerFolder {
                    name,
                    has_documents,
                });
            }
        }
        let files = || listing.files.iter();
        Ok(Self {
            folders,
            tables: files().filter(|name| is_table(name)).cloned().collect(),
            tiff_files: files().filter(|name| may_be_tiff(name)).cloned().collect(),
        })
    }

    /// Whether the TIFF files of the folder are a layer. They are not beside layers of other formats, where a TIFF file is an
    /// overview or a figure.
    fn is_stack(&self) -> bool {
        !self.tiff_files.is_empty() && !self.folders.iter().any(|folder| folder.has_documents)
    }
}

/// The layers and tables that a person named one by one.
fn of_layers(sources: &[String], here: &Location) -> Result<Found, InitError> {
    let mut layers = IndexMap::new();
    let mut tables = IndexMap::new();
    for source in sources {
        let parsed = SourceUrl::parse(source, here)?;
        let shown = parsed.location.to_string();
        let path = without_query(&shown);
        let last = path
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or(path);
        let name = if names_tiff(&parsed.location) {
            tiff_layer_name(last)
        } else {
            last.to_owned()
        };
        if is_table(path) {
            tables.insert(name, parsed.location);
            continue;
        }
        let file = parsed.inside.as_ref().map(|inside| &inside.file);
        let place = file.unwrap_or(&parsed.location);
        if let Location::Local(path) = place
            && !is_pattern(place)
            && !Path::exists(path)
        {
            return Err(InitError::Missing { source_name: shown });
        }
        let mut free = name.clone();
        let mut number = 2;
        while layers.contains_key(&free) {
            free = format!("{name}_{number}");
            number += 1;
        }
        layers.insert(free, source.clone());
    }
    let shown: Vec<_> = sources.iter().map(|s| redacted_source(s)).collect();
    Ok(Found {
        name: shown.join(", "),
        layers: Arc::new(LayerGroup::of_sources(
            "collection.boxes.layers",
            &layers,
            here,
        )),
        types: HashMap::new(),
        tables,
        cremi: None,
        collection: None,
        checks: Vec::new(),
    })
}

/// The name of a layer of TIFF files: that of the file, without its suffix and the `*` of a pattern.
fn tiff_layer_name(file: &str) -> String {
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let name: String = stem
        .replace('*', "")
        .trim_matches(['_', '-', '.'])
        .to_owned();
    if name.is_empty() {
        "stack".to_owned()
    } else {
        name
    }
}

fn is_table(path: &str) -> bool {
    let path = without_query(path).to_ascii_lowercase();
    let compressed = [".gz", ".zst", ".zstd"]
        .iter()
        .find_map(|end| path.strip_suffix(end));
    let path = compressed.unwrap_or(&path);
    let formats = [".csv", ".tsv", ".parquet", ".feather", ".arrow"];
    formats.iter().any(|end| path.ends_with(end))
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

/// Names in backticks, between commas.
pub(super) fn quoted<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let names = names.into_iter().map(|name| format!("`{}`", name.as_ref()));
    names.collect::<Vec<_>>().join(", ")
}
