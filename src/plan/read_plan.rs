//! Which annotations are read for a plan: for each box of a split its layer group and its point layer.
//!
//! The input is the config and the collection. The output is a [`ReadPlan`], from which the annotations are read, and
//! together with these the plan is built.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::error::PlanError;
use super::resolution::FlexibleZ;
use super::splits::SplitChooser;
use super::table::{PlannedArray, PlannedBox, PlannedGroup, VolumeSource};
use crate::collection::{Collection, LayerError, LayerGroup, TaggedBox};
use crate::config::LayerConfig;
use crate::config::{ConfigFile, EndConfig, PointsFrom, Snap, StatePointsConfig, TableConfig};
use crate::geometry::{BoxNm, Resolution};
use crate::points::{PointSource, PointsInBoxes, PropertySpec};
use crate::storage::{Location, SourceUrl};
use crate::volume::VolumeError;

/// What must be read before the plan can be built.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    pub(super) file: ConfigFile,
    pub(super) boxes: Vec<PlannedBox>,
    /// The boxes that belong to a split, in the collection's order.
    pub(super) queries: Vec<BoxQuery>,
    pub(super) groups: Vec<PlannedGroup>,
    pub(super) arrays: Vec<PlannedArray>,
    pub(super) sources: Vec<VolumeSource>,
    pub(super) point_sources: Vec<PointSource>,
    /// The layers of the ends of annotations, each once.
    pub(super) end_sources: Vec<PointSource>,
    /// The masks of negatives, each once.
    pub(super) masks: Vec<VolumeSource>,
    pub(super) warnings: Vec<String>,
}

/// A box that belongs to a split.
#[derive(Clone, Debug)]
pub struct BoxQuery {
    /// Position of the box in [`ReadPlan::boxes`].
    pub box_index: usize,
    /// Position of its point layer in [`ReadPlan::point_sources`].
    pub point_source: usize,
    /// Positions of the layers of the first and the last end in [`ReadPlan::end_sources`], where they are in other layers.
    pub ends: [Option<usize>; 2],
    /// Position of the mask of its negatives in [`ReadPlan::masks`].
    pub mask: Option<usize>,
    /// Its bounds, snapped if the config says so: annotations inside belong to the box.
    pub bounds: BoxNm,
}

/// What was read of one point layer.
#[derive(Debug)]
pub struct LayerPoints {
    /// Its annotations, for the boxes of [`ReadPlan::boxes_of_point_source`].
    pub points: PointsInBoxes,
    /// Whether its annotations may be lines.
    pub has_ends: bool,
    /// Its properties.
    pub properties: Vec<PropertySpec>,
    /// The bounds of all its annotations. Only given if no annotation is in a box, and if the bounds are known.
    pub extent: Option<BoxNm>,
    /// With `related` in the config: the annotations that it keeps.
    pub related: Option<Arc<HashSet<u64>>>,
}

/// Positions of a layer group in [`ReadPlan::groups`] and of its point layer in [`ReadPlan::point_sources`].
#[derive(Clone, Copy)]
struct AddedGroup {
    group: usize,
    point_source: usize,
    ends: [Option<usize>; 2],
    mask: Option<usize>,
}

impl ReadPlan {
    /// Assigns the boxes of the collections to splits and resolves the layers of their groups. With `flexible_z`,
    /// `resolutions_of` returns the resolutions that a volume has.
    pub fn new(
        file: &ConfigFile,
        collections: &[Collection],
        resolutions_of: impl Fn(&SourceUrl, &LayerConfig) -> Result<Vec<Resolution>, VolumeError> + Sync,
    ) -> Result<Self, PlanError> {
        let mut read_plan = Self::without_boxes(file);
        let mut flexible_z = FlexibleZ::new(file, &resolutions_of);
        let mut splits = SplitChooser::new(file);
        for collection in collections {
            read_plan.add_boxes(collection, &mut splits, &mut flexible_z)?;
        }
        require_used_data_dirs(file, collections)?;
        if file.config.flexible_z && !read_plan.queries.is_empty() {
            flexible_z.require_known_names()?;
        }
        let places: Vec<_> = collections.iter().map(Collection::place).collect();
        splits.require_boxes(&read_plan.boxes, &places.join(", "))?;
        read_plan.warnings.extend(splits.warning());
        for collection in collections {
            for (kind, rows) in &collection.other_rows {
                read_plan.warnings.push(format!(
                    "{rows} row(s) of type `{kind}` in {} are not bounding boxes and were skipped",
                    collection.source
                ));
            }
        }
        Ok(read_plan)
    }

    fn without_boxes(file: &ConfigFile) -> Self {
        let arrays = file.config.arrays.iter().map(|(name, array)| PlannedArray {
            name: name.clone(),
            window: array.window.unwrap_or(file.config.window),
            source_of_group: Vec::new(),
            objects: None,
        });
        Self {
            file: file.clone(),
            boxes: Vec::new(),
            queries: Vec::new(),
            groups: Vec::new(),
            arrays: arrays.collect(),
            sources: Vec::new(),
            point_sources: Vec::new(),
            end_sources: Vec::new(),
            masks: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn add_boxes(
        &mut self,
        collection: &Collection,
        splits: &mut SplitChooser<'_>,
        flexible_z: &mut FlexibleZ<'_>,
    ) -> Result<(), PlanError> {
        let mut added_groups: HashMap<*const LayerGroup, AddedGroup> = HashMap::new();
        for tagged in &collection.boxes {
            let (box_index, id) = (self.boxes.len(), collection.id_in_job(tagged));
            let split = splits.split_of(&id, tagged)?;
            let mut group = 0;
            if split.is_some() {
                let key = Arc::as_ptr(&tagged.layers);
                let added = match added_groups.get(&key) {
                    Some(added) => *added,
                    None => {
                        let added = self.add_group(collection, &tagged.layers, &id, flexible_z)?;
                        added_groups.insert(key, added);
                        added
                    }
                };
                group = added.group;
                self.queries.push(BoxQuery {
                    box_index,
                    point_source: added.point_source,
                    ends: added.ends,
                    mask: added.mask,
                    bounds: self.bounds_of_query(tagged, group),
                });
            }
            self.boxes.push(PlannedBox {
                id,
                tags: tagged.tags.clone(),
                min_nm: tagged.bounds.min(),
                max_nm: tagged.bounds.max(),
                split,
                group,
                annotations: 0,
                annotations_digest: 0,
                samples: 0,
                dropped: BTreeMap::new(),
            });
        }
        Ok(())
    }

    fn bounds_of_query(&self, tagged: &TaggedBox, group: usize) -> BoxNm {
        match self.file.config.snap {
            Snap::None => tagged.bounds,
            Snap::Zetta => tagged
                .bounds
                .snapped_as_zetta(&self.groups[group].resolution),
        }
    }

    /// The boxes that belong to a split, in the collection's order.
    pub fn queries(&self) -> &[BoxQuery] {
        &self.queries
    }

    /// The boxes of the collection.
    pub fn boxes(&self) -> &[PlannedBox] {
        &self.boxes
    }

    /// The masks of negatives, each once.
    pub fn masks(&self) -> &[VolumeSource] {
        &self.masks
    }

    /// The sources of the point layers, each once.
    pub fn point_sources(&self) -> &[PointSource] {
        &self.point_sources
    }

    /// The layers of the ends of annotations, each once.
    pub fn end_sources(&self) -> &[PointSource] {
        &self.end_sources
    }

    /// The boxes whose annotations come from the point source at this position, in the collection's order.
    pub fn boxes_of_point_source(&self, point_source: usize) -> Vec<BoxNm> {
        let queries = self.queries.iter();
        let of_source = queries.filter(|query| query.point_source == point_source);
        of_source.map(|query| query.bounds).collect()
    }

    /// Adds a layer group with the layers that the config names. `box_id` is the group's first box.
    fn add_group(
        &mut self,
        collection: &Collection,
        group: &LayerGroup,
        box_id: &str,
        flexible_z: &mut FlexibleZ<'_>,
    ) -> Result<AddedGroup, PlanError> {
        let mut point_source = self.point_source_of(collection, group, box_id)?;
        let sources = self.volume_sources_of(group, box_id)?;
        let config = &self.file.config;
        let resolution = if config.flexible_z {
            flexible_z.of_group(group, &sources, box_id)?
        } else {
            config.resolution
        };
        if let PointSource::Objects {
            resolution: of_objects,
            config: objects,
            ..
        } = &mut point_source
        {
            *of_objects = objects.resolution.unwrap_or(resolution);
        }
        let point_source = position_in(&mut self.point_sources, point_source);
        let [start, end] = self.end_sources_of(group, box_id)?.map(|source| {
            let source = source?;
            Some(position_in(&mut self.end_sources, source))
        });
        let mask = self.mask_of(group, box_id, resolution)?;
        let mask = mask.map(|mask| position_in(&mut self.masks, mask));
        let config = &self.file.config;
        for (i, mut source) in sources.into_iter().enumerate() {
            if config.arrays[i].data_resolution.is_none() {
                source.resolution = resolution;
            }
            let source = position_in(&mut self.sources, source);
            self.arrays[i].source_of_group.push(source);
        }
        self.groups.push(PlannedGroup { resolution });
        Ok(AddedGroup {
            group: self.groups.len() - 1,
            point_source,
            ends: [start, end],
            mask,
        })
    }

    /// The source of the annotations of a group. The resolution of objects is not the final one.
    fn point_source_of(
        &self,
        collection: &Collection,
        group: &LayerGroup,
        box_id: &str,
    ) -> Result<PointSource, PlanError> {
        let folder = Location::folder_of(&self.file.path);
        match &self.file.config.points.source {
            PointsFrom::Layer(layer) => group
                .point_source(layer)
                .map_err(|e| self.layer_error("points.layer".to_owned(), layer, box_id, e)),
            PointsFrom::Layers(layers) => {
                let sources = layers.iter().map(|layer| {
                    let source = group.point_source(layer);
                    let path = || "points.layers".to_owned();
                    let source = source.map_err(|e| self.layer_error(path(), layer, box_id, e))?;
                    Ok((layer.clone(), source))
                });
                sources.collect::<Result<_, _>>().map(PointSource::Several)
            }
            PointsFrom::NeuroglancerState(state) => Ok(PointSource::of_state(state, &folder)),
            PointsFrom::Objects(objects) => {
                let path = || "points.objects.layer".to_owned();
                let source = group.source(&objects.layer);
                let source =
                    source.map_err(|e| self.layer_error(path(), &objects.layer, box_id, e))?;
                let resolution = self.file.config.resolution;
                let volume = self.volume_source(source, &objects.layer, resolution)?;
                Ok(PointSource::Objects {
                    source: volume.url,
                    resolution,
                    layer: volume.layer,
                    roots: volume.roots,
                    missing: self.file.config.missing,
                    config: objects.clone(),
                })
            }
            PointsFrom::Table(table) => {
                let (path, table) = match (&collection.name, &collection.table) {
                    (Some(name), Some(file)) => {
                        let file = file.clone();
                        let of_collection = TableConfig {
                            file,
                            ..table.clone()
                        };
                        (format!("collections.{name}.table"), of_collection)
                    }
                    _ => ("points.table.file".to_owned(), table.clone()),
                };
                PointSource::of_table(&table, &folder).map_err(|source| PlanError::Path {
                    config: self.file.path.clone(),
                    path,
                    source,
                })
            }
            PointsFrom::Cremi(cremi) => {
                PointSource::of_cremi(cremi, &folder).map_err(|source| PlanError::Path {
                    config: self.file.path.clone(),
                    path: "points.cremi.file".to_owned(),
                    source,
                })
            }
        }
    }

    /// The layers of the first and the last end of the annotations of a group, where they are in other layers.
    fn end_sources_of(
        &self,
        group: &LayerGroup,
        box_id: &str,
    ) -> Result<[Option<PointSource>; 2], PlanError> {
        let points = &self.file.config.points;
        let mut sources = [None, None];
        for (source, (key, _, end)) in sources.iter_mut().zip(points.ends()) {
            let Some(EndConfig { layer }) = end else {
                continue;
            };
            *source = Some(match &points.source {
                PointsFrom::NeuroglancerState(state) => {
                    let state = StatePointsConfig {
                        layer: Some(layer.clone()),
                        layers: None,
                        ..state.clone()
                    };
                    PointSource::of_state(&state, &Location::folder_of(&self.file.path))
                }
                _ => group
                    .point_source(layer)
                    .map_err(|e| self.layer_error(format!("{key}.layer"), layer, box_id, e))?,
            });
        }
        Ok(sources)
    }

    /// The mask of the negatives of a group, if the config has one. `resolution` is that of the group's windows.
    fn mask_of(
        &self,
        group: &LayerGroup,
        box_id: &str,
        resolution: Resolution,
    ) -> Result<Option<VolumeSource>, PlanError> {
        let config = &self.file.config;
        let negatives = config.points.negatives.as_ref();
        let Some(mask) = negatives.and_then(|negatives| negatives.mask.as_ref()) else {
            return Ok(None);
        };
        let path = || "points.negatives.mask.layer".to_owned();
        let url = group.source(&mask.layer);
        let url = url.map_err(|e| self.layer_error(path(), &mask.layer, box_id, e))?;
        let resolution = mask.resolution.unwrap_or(resolution);
        self.volume_source(url, &mask.layer, resolution).map(Some)
    }

    /// The volume of each array of the config. Without `data_resolution`, its resolution is not the final one.
    fn volume_sources_of(
        &self,
        group: &LayerGroup,
        box_id: &str,
    ) -> Result<Vec<VolumeSource>, PlanError> {
        let config = &self.file.config;
        let sources = config.arrays.iter().map(|(name, array)| {
            let path = || format!("arrays.{name}.layer");
            let url = group.source(&array.layer);
            let url = url.map_err(|e| self.layer_error(path(), &array.layer, box_id, e))?;
            let resolution = array.data_resolution.unwrap_or(config.resolution);
            self.volume_source(url, &array.layer, resolution)
        });
        sources.collect()
    }

    /// The volume at `url`, which is the layer called `name` in the config. Paths in the layer's entry are resolved.
    fn volume_source(
        &self,
        mut url: SourceUrl,
        name: &str,
        resolution: Resolution,
    ) -> Result<VolumeSource, PlanError> {
        let mut layer = self
            .file
            .config
            .layers
            .get(name)
            .cloned()
            .unwrap_or_default();
        let folder = Location::folder_of(&self.file.path);
        let mut roots = None;
        if let Some(config) = &mut layer.roots {
            let wrong = |key: &str| {
                let path = format!("layers.{name}.roots.{key}");
                let config = self.file.path.clone();
                move |source| PlanError::Path {
                    config,
                    path,
                    source,
                }
            };
            let file = std::mem::take(&mut config.file);
            roots = Some(folder.resolve(&file).map_err(wrong("file"))?);
            if let Some(data_dir) = config.data_dir.take()
                && is_graphene(&url)
            {
                let supervoxels = SourceUrl::parse(&data_dir, &folder);
                url = SourceUrl {
                    transform: url.transform,
                    ..supervoxels.map_err(wrong("data_dir"))?
                };
            }
        }
        Ok(VolumeSource {
            url,
            layer,
            resolution,
            roots,
        })
    }

    fn layer_error(
        &self,
        path: String,
        layer: &str,
        box_id: &str,
        source: LayerError,
    ) -> PlanError {
        PlanError::Layer {
            config: self.file.path.clone(),
            path,
            layer: layer.to_owned(),
            box_id: box_id.to_owned(),
            source,
        }
    }
}

/// Fails if the config has a `data_dir` for a layer that has none: whose paths in all layer groups are no segmentations of a
/// PyChunkedGraph.
fn require_used_data_dirs(file: &ConfigFile, collections: &[Collection]) -> Result<(), PlanError> {
    for (name, layer) in &file.config.layers {
        let data_dir = layer.roots.as_ref().and_then(|r| r.data_dir.as_ref());
        if data_dir.is_none() {
            continue;
        }
        let boxes = collections.iter().flat_map(|c| &c.boxes);
        let mut urls = boxes.filter_map(|tagged| tagged.layers.source(name).ok());
        if let Some(first) = urls.next()
            && !is_graphene(&first)
            && !urls.any(|url| is_graphene(&url))
        {
            return Err(PlanError::UnusedDataDir {
                config: file.path.clone(),
                layer: name.clone(),
                location: first.location.to_string(),
            });
        }
    }
    Ok(())
}

/// Whether it is the segmentation of a PyChunkedGraph.
fn is_graphene(url: &SourceUrl) -> bool {
    url.format.as_deref() == Some("graphene")
}

/// The position of `item` in `list`. Adds it if it is not there yet.
fn position_in<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    list.iter().position(|s| *s == item).unwrap_or_else(|| {
        list.push(item);
        list.len() - 1
    })
}
