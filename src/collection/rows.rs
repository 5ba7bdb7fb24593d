//! The rows that zetta_utils' web API returns, and how they refer to each other.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::lists::{ListOf, Lists, RowSink};
use super::{Collection, CollectionError, LayerGroup, LayerText, TaggedBox};
use crate::geometry::{BoxNm, PointNm};
use crate::storage::{Location, MemoryBudget, OverBudget, Storage, StreamedDocument, redacted};

const EXPECTED: &str = "a collection as zetta_utils' web API returns it";

/// A row of a list that is needed.
pub(super) trait TypedRow: DeserializeOwned {
    /// The list, and the members of its rows that are needed.
    const LIST: &'static str;
    const MEMBERS: &'static [&'static str];

    fn id(&self) -> &str;

    /// The other texts of the row.
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
    /// Without one, its id.
    #[serde(default)]
    name: Option<String>,
    /// A layer without one matters only where a job reads it.
    #[serde(default)]
    source: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BoxRow {
    id: String,
    point_a: [f64; 3],
    point_b: [f64; 3],
    /// zetta_utils writes none for a box without tags.
    #[serde(default)]
    tags: Option<Vec<String>>,
    /// A box without one matters only where it belongs to a split.
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

/// The rows of a list that were understood, up to the first that was not.
pub(super) struct Rows<T> {
    /// The file or URL, for messages.
    file: String,
    budget: MemoryBudget,
    /// Whether a row counts.
    counts: Box<dyn Fn(&Value) -> bool>,
    /// Each with its place in the list.
    rows: Vec<(usize, T)>,
    /// What is wrong with the row after them: told when all that refers to them is known.
    wrong: Option<CollectionError>,
}

/// What a text takes beside its bytes.
const TEXT_BYTES: usize = 40;

impl<T: TypedRow> Rows<T> {
    /// No rows yet, of those for which `counts` holds.
    pub(super) fn new(
        file: String,
        budget: &MemoryBudget,
        counts: impl Fn(&Value) -> bool + 'static,
    ) -> Self {
        Self {
            file,
            budget: budget.clone(),
            counts: Box::new(counts),
            rows: Vec::new(),
            wrong: None,
        }
    }

    fn wrong(&self, i: usize, id: Option<&str>, problem: String) -> CollectionError {
        let id = id.map(|id| format!(" (id {id:?})")).unwrap_or_default();
        CollectionError::Row {
            file: self.file.clone(),
            row: format!("{}[{i}]{id}", T::LIST),
            // Serde's messages have the value that was found.
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
            self.wrong(i, id, format!("{at}{}", e.into_inner()))
        })
    }

    /// Takes a row that counts.
    fn push(&mut self, i: usize, row: &Value) -> Result<(), OverBudget> {
        match self.parse(i, row) {
            Err(e) => self.wrong = Some(e),
            Ok(row) => {
                let text = |t: &String| t.len() + TEXT_BYTES;
                let texts: usize = row.texts().map(text).sum();
                let bytes = size_of::<T>() + row.id().len() + TEXT_BYTES + texts;
                // Half as much again, for what the plan makes of it.
                self.budget.keep(bytes as u64 * 3 / 2)?;
                self.rows.push((i, row));
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.wrong = None;
    }

    fn wants(&self, row: &Value) -> bool {
        self.wrong.is_none() && (self.counts)(row)
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
        match self.wants(&row) {
            true => self.push(index, &row),
            false => Ok(()),
        }
    }
}

/// The rows of the list of annotations: boxes are kept, others counted by their type.
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
        if !self.boxes.wants(&row) {
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

    /// The lists in the order in which a missing one is told.
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

    /// The four documents of one collection: like the one file, they stand for themselves beside the layers,
    /// so relative sources count from the folder that holds `folder`.
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

    /// The collection that the lists make up, which were read from `source`.
    pub(super) fn join(self, source: String) -> Result<Collection, CollectionError> {
        let groups = resolve_groups(self.layers, self.layer_groups, &self.base)?;
        let AnnotationRows {
            boxes: mut list,
            others,
        } = self.annotations;
        let no_group = Arc::new(LayerGroup::none());
        let mut boxes = Vec::with_capacity(list.rows.len());
        let mut seen = HashSet::with_capacity(list.rows.len());
        for (i, row) in std::mem::take(&mut list.rows) {
            let wrong = |problem| list.wrong(i, Some(&row.id), problem);
            if !seen.insert(row.id.clone()) {
                return Err(wrong("the id occurs twice, expected one box per id".into()));
            }
            let bounds = BoxNm::from_corners(PointNm(row.point_a), PointNm(row.point_b))
                .ok_or_else(|| wrong("a corner is not finite".into()))?;
            let group = match &row.layer_group {
                None => &no_group,
                Some(id) => groups.get(id).ok_or_else(|| {
                    wrong(format!(
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
        match list.wrong {
            Some(e) => Err(e),
            None => Ok(Collection {
                source,
                boxes,
                other_rows: others,
            }),
        }
    }
}

/// The error of a collection whose boxes do not fit into memory.
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
            None => LayerText::Refused("its row in `layers` has no `source`".to_owned()),
        };
        layers_by_id.insert(row.id.clone(), (row.name.unwrap_or(row.id), text));
    }
    if let Some(e) = layers.wrong {
        return Err(e);
    }
    let mut groups = HashMap::new();
    for (i, row) in std::mem::take(&mut layer_groups.rows) {
        let wrong = |problem| layer_groups.wrong(i, Some(&row.id), problem);
        let mut sources = IndexMap::new();
        for id in row.layers.iter().flatten() {
            let (name, text) = layers_by_id.get(id).ok_or_else(|| {
                wrong(format!(
                    "it names the layer {id:?}, which `layers` does not list"
                ))
            })?;
            if sources.insert(name.clone(), text.clone()).is_some() {
                return Err(wrong(format!("it has two layers named {name:?}")));
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
    match layer_groups.wrong {
        Some(e) => Err(e),
        None => Ok(groups),
    }
}
