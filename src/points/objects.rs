//! The objects of a segmentation as annotations: one for each object in a box.
//!
//! Each chunk that a box touches is read once: first all voxels are counted, then, for the anchor `inside`, the voxels that are
//! nearest to the centroids are found in a second pass.

mod runs;
mod statistics;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;

use self::runs::{Run, for_each_run};
use self::statistics::{NearestVoxel, ObjectVoxels};
use super::annotation::Annotation;
use super::error::PointsError;
use super::open_volume::open_volume;
use super::property::{PropertySpec, lay_out, record_bytes};
use super::property_kind::PropertyKind;
use super::report::{PointsInBoxes, PointsReport};
use crate::blocks::{Block, VisitMemory, visit_blocks};
use crate::config::{AT_FACE, Empty, LayerConfig, Missing, ObjectAnchor, ObjectsConfig, VOXELS};
use crate::geometry::{BoxNm, PointNm, Resolution, VoxelBox};
use crate::storage::{DocumentError, Location, SourceUrl, Storage};
use crate::volume::Volume;

/// Memory of an object while the voxels are counted, and of its annotation.
const OBJECT_BYTES: u64 = 400;

/// Memory of a chunk in the lists of those that are read.
const BLOCK_BYTES: u64 = 120;

/// A segmentation whose objects are annotations.
#[derive(Debug)]
pub(super) struct ObjectsLayer {
    volume: Arc<dyn Volume>,
    /// As in the config: that of the volume may be rounded.
    resolution: Resolution,
    /// Its name in the config.
    layer: String,
    missing: Missing,
    /// What it means if no chunk is stored.
    empty: Empty,
    anchor: ObjectAnchor,
    properties: Vec<PropertySpec>,
    storage: Storage,
}

/// What is known of each object of a box.
type Objects<T> = HashMap<u64, T, RandomState>;

impl ObjectsLayer {
    /// Opens the segmentation at `source` at the scale with the given `resolution`.
    pub fn open(
        source: &SourceUrl,
        resolution: &Resolution,
        layer: &LayerConfig,
        roots: Option<&Location>,
        config: &ObjectsConfig,
        missing: Missing,
        storage: &Storage,
    ) -> Result<Self, PointsError> {
        let key = match config.resolution {
            Some(_) => "points.objects.resolution",
            None => "resolution",
        };
        let volume = open_volume(source, resolution, layer, roots, key, storage)?;
        let data_type = volume.meta().data_type;
        if data_type.is_float() {
            return Err(PointsError::NotASegmentation {
                location: volume.describe(),
                data_type,
            });
        }
        let property = |id: &str, kind, description: &str| {
            PropertySpec::computed(id.to_owned(), kind, description.to_owned())
        };
        let mut properties = vec![
            property(
                VOXELS,
                PropertyKind::Uint64,
                "number of the object's voxels in the box",
            ),
            property(
                AT_FACE,
                PropertyKind::Uint8,
                "1 if the object may extend past the box",
            ),
        ];
        lay_out(&mut properties);
        Ok(Self {
            volume,
            resolution: *resolution,
            layer: config.layer.clone(),
            missing,
            empty: layer.empty,
            anchor: config.anchor,
            properties,
            storage: storage.clone(),
        })
    }

    pub fn properties(&self) -> &[PropertySpec] {
        &self.properties
    }

    pub fn object(&self) -> String {
        self.volume.describe()
    }

    pub fn describe(&self) -> String {
        format!("the objects in {}", self.volume.describe())
    }

    /// The bounds of the volume.
    pub fn extent(&self) -> Option<BoxNm> {
        let meta = self.volume.meta();
        let VoxelBox { start, end } = meta.grid.bounds();
        let corner = |voxel: &[i64; 3]| self.position(*voxel);
        BoxNm::from_corners(corner(start), corner(end))
    }

    /// The first corner of a voxel.
    fn position(&self, voxel: [i64; 3]) -> PointNm {
        let nm = self.resolution.nm();
        PointNm(std::array::from_fn(|d| voxel[d] as f64 * nm[d]))
    }

    /// The objects in each of `boxes`: a voxel is in a box if its first corner is.
    pub fn read_boxes(&self, boxes: &[BoxNm]) -> Result<PointsInBoxes, PointsError> {
        let meta = self.volume.meta();
        let bounds = meta.grid.bounds();
        let parts = boxes.iter().map(|b| {
            let voxels = self.resolution.voxels_in(b)?;
            bounds.intersection(&voxels)
        });
        let parts: Vec<Option<VoxelBox>> = parts.collect();
        let blocks = self.blocks(&parts)?;
        let counted = self.objects_of_boxes(
            &parts,
            &blocks,
            |_, run| Some(ObjectVoxels::of(run)),
            ObjectVoxels::add,
        )?;
        let anchors = self.anchors(&parts, &blocks, &counted)?;
        let mut per_box = Vec::with_capacity(boxes.len());
        for ((objects, anchors), (part, bounds_nm)) in
            counted.iter().zip(anchors).zip(parts.iter().zip(boxes))
        {
            let Some(part) = part else {
                per_box.push(Vec::new());
                continue;
            };
            let annotation = |(id, voxel): (u64, [i64; 3])| {
                let object = objects.get(&id)?;
                let is_at_face = object.is_at_face(part, bounds);
                Some(self.annotation(id, voxel, object.count, is_at_face, bounds_nm))
            };
            let mut annotations: Vec<_> = anchors.into_iter().filter_map(annotation).collect();
            annotations.sort_unstable_by_key(|a| a.id);
            per_box.push(annotations);
        }
        let annotations = per_box.iter().map(|of_box| of_box.len() as u64).sum();
        self.storage.stage().add(annotations);
        let image = self.volume.is_image().then(|| {
            let layer = &self.layer;
            format!(
                "the layer `{layer}` is an image, as its info says, but its values are used as the ids of objects; expected a segmentation at `points.objects.layer` in the config"
            )
        });
        Ok(PointsInBoxes {
            per_box,
            report: PointsReport {
                annotations_read: annotations,
                warnings: image.into_iter().collect(),
                ..PointsReport::default()
            },
        })
    }

    fn annotation(
        &self,
        id: u64,
        voxel: [i64; 3],
        voxels: u64,
        is_at_face: bool,
        bounds: &BoxNm,
    ) -> Annotation {
        let mut record = vec![0; record_bytes(&self.properties)];
        for (spec, value) in self.properties.iter().zip([voxels, is_at_face.into()]) {
            spec.write_bytes(&value.to_le_bytes(), &mut record);
        }
        let position = self.position(voxel).0;
        // The product may be less than the face of the box by the last bit.
        let anchor = PointNm(std::array::from_fn(|d| position[d].max(bounds.min()[d])));
        Annotation {
            id,
            anchor,
            ends: [anchor; 2],
            properties: record.into_boxed_slice(),
        }
    }

    /// The voxel that represents each object.
    fn anchors(
        &self,
        parts: &[Option<VoxelBox>],
        blocks: &BTreeMap<u64, Vec<usize>>,
        counted: &[Objects<ObjectVoxels>],
    ) -> Result<Vec<Objects<[i64; 3]>>, PointsError> {
        let centers = counted.iter().map(|objects| {
            let objects = objects.iter();
            let centers = objects.map(|(id, voxels)| (*id, voxels.anchor(self.anchor)));
            centers.collect::<Objects<_>>()
        });
        let centers: Vec<_> = centers.collect();
        if self.anchor != ObjectAnchor::Inside {
            return Ok(centers);
        }
        let nm = self.resolution.nm();
        let nearest = self.objects_of_boxes(
            parts,
            blocks,
            |of_box, run| {
                let center = centers[of_box].get(&run.object)?;
                Some(NearestVoxel::of(run, *center, nm))
            },
            |nearest, other| *nearest = nearest.or(*other),
        )?;
        let voxels = nearest.into_iter().map(|objects| {
            let objects = objects.into_iter();
            objects.map(|(id, nearest)| (id, nearest.voxel())).collect()
        });
        Ok(voxels.collect())
    }

    /// The blocks that the boxes touch, by their linear indices, each with the positions of these boxes.
    fn blocks(&self, parts: &[Option<VoxelBox>]) -> Result<BTreeMap<u64, Vec<usize>>, PointsError> {
        let grid = &self.volume.meta().grid;
        let touched = parts.iter().flatten().map(|part| grid.count_touching(part));
        let touched = touched.fold(0, u64::saturating_add);
        let kept = self
            .storage
            .budget()
            .keep(touched.saturating_mul(BLOCK_BYTES));
        kept.map_err(|over| {
            self.too_large(format!(
                "the list of the {touched} chunks in the boxes takes more than {over}"
            ))
        })?;
        let mut blocks: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (number, part) in parts.iter().enumerate() {
            let touched = part.iter().flat_map(|part| grid.blocks_touching(part));
            for block in touched {
                blocks.entry(grid.linear(block)).or_default().push(number);
            }
        }
        Ok(blocks)
    }

    /// What `of_run` says of the runs of each object in each box, put together by `add`. `of_run` gets the position of the box.
    fn objects_of_boxes<T: Send>(
        &self,
        parts: &[Option<VoxelBox>],
        blocks: &BTreeMap<u64, Vec<usize>>,
        of_run: impl Fn(usize, &Run) -> Option<T> + Sync,
        add: impl Fn(&mut T, &T) + Sync,
    ) -> Result<Vec<Objects<T>>, PointsError> {
        let all: Vec<Mutex<Objects<T>>> = parts.iter().map(|_| Mutex::default()).collect();
        let meta = self.volume.meta();
        let merge = |into: &mut Objects<T>, object: u64, one: T| {
            into.entry(object)
                .and_modify(|known| add(known, &one))
                .or_insert(one);
        };
        let visit = |number: u64, block: &Block| -> Result<(), PointsError> {
            if matches!(block, Block::Missing) && self.missing == Missing::Error {
                let chunk = self.describe_block(number);
                return Err(PointsError::MissingChunk { chunk });
            }
            let block_box = meta.grid.block_box(meta.grid.block_from_linear(number));
            for of_box in &blocks[&number] {
                let part = parts[*of_box].and_then(|part| part.intersection(&block_box));
                let Some(part) = part else { continue };
                let mut found: Objects<T> = HashMap::default();
                for_each_run(block, meta.data_type, &block_box, &part, |run| {
                    if let Some(one) = of_run(*of_box, &run) {
                        merge(&mut found, run.object, one);
                    }
                });
                let mut all = all[*of_box].lock().unwrap_or_else(PoisonError::into_inner);
                let before = all.len();
                for (object, one) in found {
                    merge(&mut all, object, one);
                }
                let new = (all.len() - before) as u64;
                drop(all);
                let kept = self.storage.budget().keep(new * OBJECT_BYTES);
                kept.map_err(|over| self.too_large(format!("its objects take more than {over}")))?;
            }
            Ok(())
        };
        let numbers: Vec<u64> = blocks.keys().copied().collect();
        let memory = VisitMemory::reserve(self.volume.as_ref(), self.storage.budget());
        let memory =
            memory.map_err(|over| self.too_large(format!("its chunks take more than {over}")))?;
        let stored = visit_blocks(&self.volume, &numbers, &memory, &self.storage, visit)?;
        if let (0, Some(first), Empty::Error) = (stored, numbers.first(), self.empty) {
            return Err(PointsError::NoChunk {
                location: self.object(),
                layer: self.layer.clone(),
                chunk: self.describe_block(*first),
            });
        }
        let all = all.into_iter();
        Ok(all
            .map(|objects| objects.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect())
    }

    fn describe_block(&self, number: u64) -> String {
        let block = self.volume.meta().grid.block_from_linear(number);
        self.volume.describe_block(block)
    }

    fn too_large(&self, problem: String) -> PointsError {
        DocumentError::TooLarge {
            object: self.object(),
            expected: "a list of objects in memory",
            problem,
            advice: "allow more with --memory, use fewer threads, or read a coarser scale with `points.objects.resolution`",
        }
        .into()
    }
}
