//! The rows of zetta_utils' web API: boxes, layers and layer groups, which refer to each other by id.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::layer_group::LayerText;
use super::lists::{ListOf, Lists, RowSink};
use super::{Collection, CollectionError, LayerGroup, TaggedBox};
use crate::geometry::{BoxNm, PointNm};
use crate::storage::{Location, MemoryBudget, OverBudget, Storage, StreamedDocument, redacted};

const EXPECTED: &str = "a collection as zetta_utils' web API returns it";

/// A row of one of the lists that are read.
pub(super) trait TypedRow: DeserializeOwned {
    /// The name of the list.
    const LIST: &'static str;
    /// The members of a row that are needed.
    const MEMBERS: &'static [&'static str];

    fn id(&self) -> &str;

    /// The other strings of the row.
    fn texts(&self) -> impl Iterator<Item = &String>;
}

#[derive(Deserialize)]
pub(super) struct LayerGroupRow {
    id: String,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub(super) struct LayerRow {
    id: String,
    /// By default the id.
    #[serde(default)]
    name: Option<String>,
    /// A layer without a source is an error only if a job needs it.
    #[serde(default)]
    source: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BoxRow {
    id: String,
    point_a: [f64; 3],
    point_b: [f64; 3],
    /// zetta_utils omits it for a box without tags.
    #[serde(default)]
    tags: Option<Vec<String>>,
    /// A box without a group is an error only if it belongs to a split.
    #[serde(rename = "layer_group", default)]
    layer_group: Option<String>,
}

impl TypedRow for LayerGroupRow {
    const LIST: &'static str = "layer_groups";
    const MEMBERS: &'static [&'static str] = &["id", "layers", "collection"];

    fn id(&self) -> &str {
        &self.id
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        self.layers.iter().flatten()
    }
}

impl TypedRow for LayerRow {
    const LIST: &'static str = "layers";
    const MEMBERS: &'static [&'static str] = &["id", "name", "source"];

    fn id(&self) -> &str {
        &self.id
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        self.name.iter().chain(&self.source)
    }
}

impl TypedRow for BoxRow {
    const LIST: &'static str = "annotations";
    const MEMBERS: &'static [&'static str] = &[
        "type",
        "id",
        "pointA",
        "pointB",
        "tags",
        "layer_group",
        "collection",
    ];

    fn id(&self) -> &str {
        &self.id
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        self.tags.iter().flatten().chain(&self.layer_group)
    }
}

/// The parsed rows of a list, up to the first invalid one.
pub(super) struct Rows<T> {
    /// The file or URL, for messages.
    file: String,
    budget: MemoryBudget,
    /// Whether a row is used.
    is_used: Box<dyn Fn(&Value) -> bool>,
    /// Each with its index in the list.
    rows: Vec<(usize, T)>,
    /// The error of the row after them. It is reported after errors of earlier rows, which need the other lists.
    error: Option<CollectionError>,
}

/// Memory of a string in addition to its bytes.
const TEXT_BYTES: usize = 40;

impl<T: TypedRow> Rows<T> {
    /// No rows yet; those for which `is_used` is false will be skipped.
    pub(super) fn new(
        file: String,
        budget: &MemoryBudget,
        is_used: impl Fn(&Value) -> bool + 'static,
    ) -> Self {
        Self {
            file,
            budget: budget.clone(),
            is_used: Box::new(is_used),
            rows: Vec::new(),
            error: None,
        }
    }

    fn invalid(&self, i: usize, id: Option<&str>, problem: String) -> CollectionError {
        let id = id.map(|id| format!(" (id {id:?})")).unwrap_or_default();
        CollectionError::Row {
            file: self.file.clone(),
            row: format!("{}[{i}]{id}", T::LIST),
            // Serde's messages contain the value.
            problem: redacted(&problem).into_owned(),
        }
    }

    fn parse(&self, i: usize, row: &Value) -> Result<T, CollectionError> {
        serde_path_to_error::deserialize(row).map_err(|e| {
            let path = e.path().to_string();
            let at = match path.as_str() {
                "." => String::new(),
                path => format!("at `{path}`: "),
            };
            let id = row.get("id").and_then(Value::as_str);
            self.invalid(i, id, format!("{at}{}", e.into_inner()))
        })
    }

    /// Parses and keeps a row.
    fn push(&mut self, i: usize, row: &Value) -> Result<(), OverBudget> {
        match self.parse(i, row) {
            Err(e) => self.error = Some(e),
            Ok(row) => {
                let text = |t: &String| t.len() + TEXT_BYTES;
                let texts: usize = row.texts().map(text).sum();
                let bytes = size_of::<T>() + row.id().len() + TEXT_BYTES + texts;
                // Half as much again for the plan's copy.
                self.budget.keep(bytes as u64 * 3 / 2)?;
                self.rows.push((i, row));
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.error = None;
    }

    fn needs(&self, row: &Value) -> bool {
        self.error.is_none() && (self.is_used)(row)
    }
}

impl<T: TypedRow> RowSink for Rows<T> {
    fn members(&self) -> &'static [&'static str] {
        T::MEMBERS
    }

    fn begin(&mut self) {
        self.clear();
    }

    fn row(&mut self, index: usize, row: Value) -> Result<(), OverBudget> {
        if self.needs(&row) {
            self.push(index, &row)
        } else {
            Ok(())
        }
    }
}

/// The list of annotations: boxes are kept, others are counted by type.
pub(super) struct AnnotationRows {
    boxes: Rows<BoxRow>,
    others: IndexMap<String, usize>,
}

impl AnnotationRows {
    pub(super) fn new(boxes: Rows<BoxRow>) -> Self {
        Self {
            boxes,
            others: IndexMap::new(),
        }
    }
}

impl RowSink for AnnotationRows {
    fn members(&self) -> &'static [&'static str] {
        BoxRow::MEMBERS
    }

    fn begin(&mut self) {
        self.boxes.clear();
        self.others.clear();
    }

    fn row(&mut self, index: usize, row: Value) -> Result<(), OverBudget> {
        if !self.boxes.needs(&row) {
            return Ok(());
        }
        let kind = row.get("type").and_then(Value::as_str);
        let kind = kind.unwrap_or("without a type");
        if kind.eq_ignore_ascii_case("axis_aligned_bounding_box") {
            return self.boxes.push(index, &row);
        }
        match self.others.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                let bytes = 2 * (kind.len() + TEXT_BYTES);
                self.boxes.budget.keep(bytes as u64)?;
                self.others.insert(kind.to_owned(), 1);
            }
        }
        Ok(())
    }
}

/// The lists of a collection.
pub(super) struct CollectionRows {
    /// The folder that relative sources count from.
    pub(super) base: Location,
    pub(super) layer_groups: Rows<LayerGroupRow>,
    pub(super) layers: Rows<LayerRow>,
    pub(super) annotations: AnnotationRows,
}

pub(super) fn read(location: &Location, storage: &Storage) -> Result<Collection, CollectionError> {
    CollectionRows::read(location, storage)?.join(location.to_string())
}

impl CollectionRows {
    fn read(location: &Location, storage: &Storage) -> Result<Self, CollectionError> {
        match location {
            Location::Local(path) if path.is_dir() => {
                Self::read_folder(location, Location::folder_of(path), storage)
            }
            _ => Self::read_file(location, storage),
        }
    }

    fn empty(base: Location, file: impl Fn(&str) -> String, budget: &MemoryBudget) -> Self {
        let annotations = Rows::new(file(BoxRow::LIST), budget, |_| true);
        Self {
            base,
            layer_groups: Rows::new(file(LayerGroupRow::LIST), budget, |_| true),
            layers: Rows::new(file(LayerRow::LIST), budget, |_| true),
            annotations: AnnotationRows::new(annotations),
        }
    }

    /// The lists, in the order in which a missing one is reported.
    fn sinks(&mut self) -> [(&'static str, &mut dyn RowSink); 3] {
        [
            (LayerGroupRow::LIST, &mut self.layer_groups),
            (LayerRow::LIST, &mut self.layers),
            (BoxRow::LIST, &mut self.annotations),
        ]
    }

    fn read_file(location: &Location, storage: &Storage) -> Result<Self, CollectionError> {
        let document = StreamedDocument::open(location, EXPECTED, storage)?;
        let file = location.to_string();
        let base = match location.split_file() {
            Some((base, _)) => base,
            None => location.clone(),
        };
        let mut rows = Self::empty(base, |_| file.clone(), storage.budget());
        let mut over = None;
        let lists = Lists {
            lists: &mut rows.sinks(),
            over: &mut over,
        };
        let found = document.parse(lists);
        let found = found.map_err(|e| too_large(&document, over).unwrap_or(e.into()))?;
        let missing = rows
            .sinks()
            .into_iter()
            .find(|(list, _)| !found.contains(list));
        match missing {
            Some((list, _)) => Err(CollectionError::NoList { file, list }),
            None => Ok(rows),
        }
    }

    /// Reads the documents of a collection in `folder`. Relative sources of layers count from `base`, the folder that
    /// contains `folder`: the folder takes the place of a collection file.
    fn read_folder(
        folder: &Location,
        base: Location,
        storage: &Storage,
    ) -> Result<Self, CollectionError> {
        let budget = storage.budget();
        let store = storage.open(folder);
        let key = |list: &str| format!("{list}_multiple.json");
        let mut rows = Self::empty(base, |list| store.describe(&key(list)), budget);
        for (list, sink) in rows.sinks() {
            let store = Arc::clone(&store);
            let document = StreamedDocument::open_key(store, &key(list), EXPECTED, budget)?;
            let mut over = None;
            let list = ListOf {
                sink,
                over: &mut over,
                by_id: false,
            };
            let read = document.parse(list);
            read.map_err(|e| too_large(&document, over).unwrap_or(e.into()))?;
        }
        Ok(rows)
    }

    /// The collection of these lists, which were read from `source`.
    pub(super) fn join(self, source: String) -> Result<Collection, CollectionError> {
        let groups = resolve_groups(self.layers, self.layer_groups, &self.base)?;
        let AnnotationRows {
            boxes: mut list,
            others,
        } = self.annotations;
        let no_group = Arc::new(LayerGroup::empty());
        let mut boxes = Vec::with_capacity(list.rows.len());
        let mut seen = HashSet::with_capacity(list.rows.len());
        for (i, row) in std::mem::take(&mut list.rows) {
            let invalid = |problem| list.invalid(i, Some(&row.id), problem);
            if !seen.insert(row.id.clone()) {
                return Err(invalid(
                    "the id occurs twice, expected one box per id".into(),
                ));
            }
            let bounds = BoxNm::from_corners(PointNm(row.point_a), PointNm(row.point_b))
                .ok_or_else(|| invalid("a corner is not finite".into()))?;
            let group = match &row.layer_group {
                None => &no_group,
                Some(id) => groups.get(id).ok_or_else(|| {
                    invalid(format!(
                        "its layer_group is {id:?}, which `layer_groups` does not list"
                    ))
                })?,
            };
            boxes.push(TaggedBox {
                id: row.id,
                tags: row.tags.unwrap_or_default(),
                bounds,
                layers: Arc::clone(group),
            });
        }
        match list.error {
            Some(e) => Err(e),
            None => Ok(Collection {
                name: None,
                table: None,
                source,
                boxes,
                other_rows: others,
            }),
        }
    }
}

/// The error of a collection whose boxes exceed the memory budget.
fn too_large(document: &StreamedDocument, over: Option<OverBudget>) -> Option<CollectionError> {
    over.map(|over| {
        let problem = format!("its boxes and layers take more than {over}");
        let advice = "allow more with --memory, or split the collection";
        document.too_large(problem, advice).into()
    })
}

fn resolve_groups(
    mut layers: Rows<LayerRow>,
    mut layer_groups: Rows<LayerGroupRow>,
    base: &Location,
) -> Result<HashMap<String, Arc<LayerGroup>>, CollectionError> {
    let mut layers_by_id = HashMap::new();
    for (_, row) in std::mem::take(&mut layers.rows) {
        let text = match row.source {
            Some(source) => LayerText::Source(source),
            None => LayerText::Unusable("its row in `layers` has no `source`".to_owned()),
        };
        layers_by_id.insert(row.id.clone(), (row.name.unwrap_or(row.id), text));
    }
    if let Some(e) = layers.error {
        return Err(e);
    }
    let mut groups = HashMap::new();
    for (i, row) in std::mem::take(&mut layer_groups.rows) {
        let invalid = |problem| layer_groups.invalid(i, Some(&row.id), problem);
        let mut sources = IndexMap::new();
        for id in row.layers.iter().flatten() {
            let (name, text) = layers_by_id.get(id).ok_or_else(|| {
                invalid(format!(
                    "it names the layer {id:?}, which `layers` does not list"
                ))
            })?;
            if sources.insert(name.clone(), text.clone()).is_some() {
                return Err(invalid(format!("it has two layers named {name:?}")));
            }
        }
        let group = LayerGroup {
            id: row.id.clone(),
            sources,
            base: base.clone(),
            annotations: HashSet::new(),
        };
        groups.insert(row.id, Arc::new(group));
    }
    match layer_groups.error {
        Some(e) => Err(e),
        None => Ok(groups),
    }
}
