//! The metadata documents of a Zarr group or array.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use zarrs::array::{ArrayMetadata, ArrayMetadataV2, ArrayMetadataV3};

use super::normalize::{self, MetadataFlaw};
use super::version::ZarrVersion;
use crate::storage::{DocumentError, MAX_METADATA_BYTES, Store};
use crate::volume::{VolumeError, json_with_nan};

const EXPECTED: &str = "the metadata of a Zarr group or array";

/// A group or array.
#[derive(Debug)]
pub(super) struct Node {
    /// Path or URL of its metadata document.
    pub object: String,
    pub version: ZarrVersion,
    pub kind: NodeKind,
    pub attributes: Map<String, Value>,
    /// Path or URL of the document with the attributes.
    pub attributes_object: String,
    /// Digest of all documents.
    pub digest: blake3::Hash,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    Group,
    Array(Box<ArrayMetadata>),
}

impl Node {
    /// An error about the member at `path`.
    pub(super) fn invalid(&self, path: String, problem: String) -> VolumeError {
        VolumeError::InvalidMetadata {
            object: self.object.clone(),
            path,
            problem,
        }
    }

    /// The names of the dimensions of a v3 array. `None` if a dimension has no name.
    pub(super) fn dimension_names(&self) -> Option<Vec<String>> {
        if let NodeKind::Array(metadata) = &self.kind
            && let ArrayMetadata::V3(metadata) = metadata.as_ref()
            && let Some(names) = &metadata.dimension_names
            && names.iter().any(Option::is_some)
        {
            return names.iter().cloned().collect();
        }
        None
    }
}

/// Reads the group or array in the folder `path` of `store`. Without a version, v3 takes precedence over v2.
pub(super) fn read(
    store: &dyn Store,
    path: &str,
    version: Option<ZarrVersion>,
) -> Result<Node, VolumeError> {
    let mut documents = Documents {
        store,
        path,
        consolidated: None,
        hasher: blake3::Hasher::new(),
    };
    let v3 = match version {
        Some(ZarrVersion::V2) => None,
        _ => documents.read("zarr.json")?,
    };
    if let Some((object, value)) = v3 {
        return v3_node(object, value, documents.hasher);
    }
    if version != Some(ZarrVersion::V3) {
        if let Some(node) = v2_node(&mut documents)? {
            return Ok(node);
        }
        if documents.consolidate_v2()?
            && let Some(node) = v2_node(&mut documents)?
        {
            return Ok(node);
        }
    }
    if version != Some(ZarrVersion::V2)
        && let Some((object, value)) = documents.consolidated_v3()?
    {
        return v3_node(object, value, documents.hasher);
    }
    let (document, expected) = match version {
        Some(ZarrVersion::V2) => (
            ".zarray",
            "a Zarr v2 array, or .zgroup or .zattrs of a v2 group",
        ),
        Some(ZarrVersion::V3) => ("zarr.json", "a Zarr v3 group or array"),
        None => (
            "zarr.json",
            "a Zarr v3 group or array, or .zarray or .zgroup of v2",
        ),
    };
    Err(VolumeError::Info(DocumentError::Missing {
        object: store.describe(&documents.key(document)),
        expected,
    }))
}

/// The group or array in v2 documents. `None` if there are none.
fn v2_node(documents: &mut Documents<'_>) -> Result<Option<Node>, VolumeError> {
    let array = documents.read(".zarray")?;
    let group = match array {
        None => documents.read(".zgroup")?,
        Some(_) => None,
    };
    let attributes = documents.read(".zattrs")?;
    let digest = documents.hasher.clone().finalize();
    if let Some((object, value)) = array {
        let metadata: ArrayMetadataV2 = parse(&object, normalize::v2_array(&value))?;
        let (attributes_object, attributes) = match attributes {
            Some((document, value)) => (document, map(value)),
            None => (object.clone(), Map::new()),
        };
        return Ok(Some(Node {
            object,
            version: ZarrVersion::V2,
            kind: NodeKind::Array(Box::new(metadata.into())),
            attributes,
            attributes_object,
            digest,
        }));
    }
    Ok(attributes.or(group).map(|(object, value)| Node {
        attributes_object: object.clone(),
        object,
        version: ZarrVersion::V2,
        kind: NodeKind::Group,
        attributes: map(value),
        digest,
    }))
}

fn v3_node(object: String, value: Value, hasher: blake3::Hasher) -> Result<Node, VolumeError> {
    let attributes = map(value.get("attributes").cloned().unwrap_or_default());
    let kind = match value.get("node_type").and_then(Value::as_str) {
        Some("group") => NodeKind::Group,
        _ => {
            let metadata: ArrayMetadataV3 = parse(&object, normalize::v3_array(&value))?;
            NodeKind::Array(Box::new(metadata.into()))
        }
    };
    Ok(Node {
        attributes_object: object.clone(),
        object,
        version: ZarrVersion::V3,
        kind,
        attributes,
        digest: hasher.finalize(),
    })
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn parse<T: DeserializeOwned>(
    object: &str,
    value: Result<Value, MetadataFlaw>,
) -> Result<T, VolumeError> {
    let invalid = |path, problem| VolumeError::InvalidMetadata {
        object: object.to_owned(),
        path,
        problem,
    };
    let value = value.map_err(|flaw| invalid(flaw.path, flaw.problem))?;
    serde_path_to_error::deserialize(&value).map_err(|e| {
        let problem = format!("{}: this is not {EXPECTED}", e.inner());
        invalid(e.path().to_string(), problem)
    })
}

/// The documents of one folder, with a digest of those that were read.
struct Documents<'a> {
    store: &'a dyn Store,
    path: &'a str,
    /// Consolidated metadata: the name of its document for messages, and the documents by key. Replaces single documents.
    consolidated: Option<(String, Map<String, Value>)>,
    hasher: blake3::Hasher,
}

impl Documents<'_> {
    fn key(&self, name: &str) -> String {
        match self.path {
            "" => name.to_owned(),
            path => format!("{path}/{name}"),
        }
    }

    /// Reads a document. Also returns its name for messages.
    fn read(&mut self, name: &str) -> Result<Option<(String, Value)>, VolumeError> {
        let key = self.key(name);
        let (object, bytes, value) = match &self.consolidated {
            None => match self.read_stored(&key)? {
                None => return Ok(None),
                Some(found) => found,
            },
            Some((object, documents)) => match documents.get(&key) {
                None => return Ok(None),
                Some(value) => (
                    format!("{object} (`metadata.{key}`)"),
                    value.to_string().into_bytes(),
                    value.clone(),
                ),
            },
        };
        self.hasher.update(name.as_bytes());
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(&bytes);
        Ok(Some((object, value)))
    }

    fn read_stored(&self, key: &str) -> Result<Option<(String, Vec<u8>, Value)>, VolumeError> {
        let mut bytes = Vec::new();
        if !self.store.read(key, MAX_METADATA_BYTES, &mut bytes)? {
            return Ok(None);
        }
        let object = self.store.describe(key);
        let value = json_with_nan::parse(&bytes, &object, EXPECTED)?;
        Ok(Some((object, bytes, value)))
    }

    /// Switches to the consolidated metadata of a v2 group. Returns `false` if there is none.
    fn consolidate_v2(&mut self) -> Result<bool, VolumeError> {
        if let Some((object, _, value)) = self.read_stored(".zmetadata")? {
            let documents = value.get("metadata").cloned().unwrap_or_default();
            self.consolidated = Some((object, map(documents)));
        }
        Ok(self.consolidated.is_some())
    }

    /// The document of this folder in the consolidated metadata of the v3 root group.
    fn consolidated_v3(&mut self) -> Result<Option<(String, Value)>, VolumeError> {
        if self.path.is_empty() {
            return Ok(None);
        }
        let Some((object, bytes, root)) = self.read_stored("zarr.json")? else {
            return Ok(None);
        };
        let documents = root
            .get("consolidated_metadata")
            .and_then(|c| c.get("metadata"));
        let document = documents.and_then(|d| d.get(self.path)).cloned();
        self.hasher.update(&bytes);
        let path = self.path;
        Ok(document.map(|d| {
            (
                format!("{object} (`consolidated_metadata.metadata.{path}`)"),
                d,
            )
        }))
    }
}
