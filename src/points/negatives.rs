//! Negatives: random points in boxes that are no annotations.
//!
//! Each box has its own sequence of random points, which depends on the seed and the box's id. The first points of it that are far
//! enough from all annotations and in the mask are the negatives. The mask is read only in the chunks with candidates.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rstar::RTree;

use super::error::PointsError;
use super::open_volume::open_volume;
use crate::blocks::{Block, VisitMemory, visit_blocks};
use crate::config::{LayerConfig, Missing, NegativesConfig};
use crate::geometry::{BoxNm, PointNm, Resolution, VoxelBox};
use crate::storage::{DocumentError, Location, SourceUrl, Storage};
use crate::volume::Volume;

/// A box that gets negatives.
pub(crate) struct NegativeBox<'a> {
    /// Its id in its collection.
    pub id: &'a str,
    pub bounds: BoxNm,
    /// How many negatives it gets.
    pub wanted: u64,
    /// The positions of the annotations in the box and around it.
    pub annotations: Vec<PointNm>,
    /// Ids that its negatives do not get.
    pub ids: HashSet<u64>,
    /// Position of its mask in the list of masks.
    pub mask: Option<usize>,
}

/// A volume that is not 0 where negatives may be.
#[derive(Debug)]
pub(crate) struct NegativeMask {
    volume: Arc<dyn Volume>,
    resolution: Resolution,
    missing: Missing,
}

/// A negative: its id and its position.
pub(crate) type Negative = (u64, PointNm);

/// Most points of a box that are drawn before the mask is read for them.
const MOST_DRAWS: u64 = 1 << 18;

/// Memory of a negative and its annotation.
const NEGATIVE_BYTES: u64 = 150;

/// Bytes of the random numbers of a point: x, y, z and the id.
const DRAW_BYTES: usize = 32;

impl NegativeMask {
    /// Opens the volume at `source` at the scale with the given `resolution`.
    pub fn open(
        source: &SourceUrl,
        resolution: &Resolution,
        layer: &LayerConfig,
        roots: Option<&Location>,
        config: &NegativesConfig,
        missing: Missing,
        storage: &Storage,
    ) -> Result<Self, PointsError> {
        let own = config.mask.as_ref().and_then(|mask| mask.resolution);
        let key = match own {
            Some(_) => "points.negatives.mask.resolution",
            None => "resolution",
        };
        Ok(Self {
            volume: open_volume(source, resolution, layer, roots, key, storage)?,
            resolution: *resolution,
            missing,
        })
    }

    /// Whether each of `points` is in a voxel that is not 0. Of several channels, the first counts.
    fn contains(&self, points: &[PointNm], storage: &Storage) -> Result<Vec<bool>, PointsError> {
        let meta = self.volume.meta();
        let (grid, size) = (&meta.grid, meta.data_type.size_bytes());
        let mut blocks: BTreeMap<u64, Vec<(usize, [i64; 3])>> = BTreeMap::new();
        for (i, point) in points.iter().enumerate() {
            let Some(voxel) = self.resolution.voxel_of(point) else {
                continue;
            };
            let around = VoxelBox {
                start: voxel,
                end: voxel.map(|v| v + 1),
            };
            for block in grid.blocks_touching(&around) {
                blocks
                    .entry(grid.linear(block))
                    .or_default()
                    .push((i, voxel));
            }
        }
        let found: Vec<AtomicBool> = points.iter().map(|_| AtomicBool::new(false)).collect();
        let visit = |number: u64, block: &Block| -> Result<(), PointsError> {
            if matches!(block, Block::Missing) && self.missing == Missing::Error {
                let chunk = self.volume.describe_block(grid.block_from_linear(number));
                return Err(PointsError::MissingChunk { chunk });
            }
            let block_box = grid.block_box(grid.block_from_linear(number));
            let [nx, ny, _] = block_box.shape();
            for (i, voxel) in &blocks[&number] {
                let is_set = match block {
                    Block::Missing => !meta.fill_value.is_zero(),
                    Block::Uniform(value) => !value.is_zero(),
                    Block::Stored(values) => {
                        let [x, y, z] = [0, 1, 2].map(|d| (voxel[d] - block_box.start[d]) as u64);
                        let first = ((z * ny + y) * nx + x) as usize * size;
                        let value = values.get(first..first + size);
                        value.is_some_and(|value| meta.data_type.count_nonzero(value) > 0)
                    }
                };
                found[*i].store(is_set, Ordering::Relaxed);
            }
            Ok(())
        };
        let numbers: Vec<u64> = blocks.keys().copied().collect();
        let memory = VisitMemory::reserve(self.volume.as_ref(), storage.budget());
        let memory = memory.map_err(|over| {
            let problem = format!("its chunks take more than {over}");
            too_large(self.volume.describe(), "a mask", problem)
        })?;
        visit_blocks(&self.volume, &numbers, &memory, storage, visit)?;
        Ok(found.into_iter().map(AtomicBool::into_inner).collect())
    }
}

/// The random points of a box, one after the other.
struct Draws<'b> {
    of_box: &'b NegativeBox<'b>,
    numbers: blake3::OutputReader,
    /// How many more points are drawn at most.
    left: u64,
    annotations: RTree<[f64; 3]>,
    /// Of annotations and negatives.
    ids: HashSet<u64>,
    negatives: Vec<Negative>,
}

impl<'b> Draws<'b> {
    fn new(of_box: &'b NegativeBox<'b>, seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"negatives");
        hasher.update(&seed.to_le_bytes());
        hasher.update(of_box.id.as_bytes());
        Self {
            numbers: hasher.finalize_xof(),
            left: if of_box.wanted == 0 {
                0
            } else {
                of_box.wanted.saturating_mul(1000).saturating_add(10_000)
            },
            annotations: RTree::bulk_load(of_box.annotations.iter().map(|p| p.0).collect()),
            ids: of_box.ids.clone(),
            negatives: Vec::new(),
            of_box,
        }
    }

    /// The next points that are in the box and at least `distance_nm` from all annotations: several times as many as are missing.
    fn candidates(&mut self, round: u32, distance_nm: f64) -> Vec<Negative> {
        let missing = self.of_box.wanted - self.negatives.len() as u64;
        let draws = if missing == 0 {
            0
        } else {
            let draws = missing.saturating_mul(4 << round.min(16));
            draws.clamp(64, MOST_DRAWS).min(self.left)
        };
        self.left -= draws;
        let mut candidates = Vec::new();
        for _ in 0..draws {
            let mut bytes = [0; DRAW_BYTES];
            self.numbers.fill(&mut bytes);
            let numbers: [[u8; 8]; 4] = bytemuck::cast(bytes);
            let [x, y, z, id] = numbers.map(u64::from_le_bytes);
            let (min, max) = (self.of_box.bounds.min(), self.of_box.bounds.max());
            let position: [f64; 3] = std::array::from_fn(|d| {
                let share = ([x, y, z][d] >> 11) as f64 / (1u64 << 53) as f64;
                min[d] + share * (max[d] - min[d])
            });
            let nearest = self.annotations.nearest_neighbor(position);
            let is_far = nearest
                .is_none_or(|near| PointNm(*near).distance_nm(&PointNm(position)) >= distance_nm);
            let point = PointNm(position);
            if is_far && self.of_box.bounds.contains(&point) {
                candidates.push((id, point));
            }
        }
        candidates
    }
}

fn too_large(object: String, expected: &'static str, problem: String) -> PointsError {
    DocumentError::TooLarge {
        object,
        expected,
        problem,
        advice: "allow more with --memory, use fewer threads, place fewer negatives, or read a coarser scale with `points.negatives.mask.resolution`",
    }
    .into()
}

/// The negatives of each box: as many as it wants, or fewer where there is too little space for them.
pub(crate) fn draw_negatives(
    boxes: &[NegativeBox<'_>],
    masks: &[NegativeMask],
    config: &NegativesConfig,
    storage: &Storage,
) -> Result<Vec<Vec<Negative>>, PointsError> {
    let wanted = boxes.iter().map(|b| b.wanted);
    let wanted = wanted.fold(0, u64::saturating_add);
    let kept = storage.budget().keep(wanted.saturating_mul(NEGATIVE_BYTES));
    kept.map_err(|over| {
        too_large(
            "`points.negatives`".to_owned(),
            "a list in memory",
            format!("the {wanted} negatives take more than {over}"),
        )
    })?;
    let mut all: Vec<Draws<'_>> = boxes.iter().map(|b| Draws::new(b, config.seed)).collect();
    for round in 0.. {
        let candidates: Vec<Vec<Negative>> = all
            .iter_mut()
            .map(|draws| draws.candidates(round, config.min_distance_nm))
            .collect();
        let mut kept: Vec<Vec<bool>> = candidates.iter().map(|c| vec![true; c.len()]).collect();
        for (number, mask) in masks.iter().enumerate() {
            let of_mask = |draws: &Draws<'_>| draws.of_box.mask == Some(number);
            let members: Vec<usize> = (0..all.len()).filter(|i| of_mask(&all[*i])).collect();
            let points = members.iter().flat_map(|i| &candidates[*i]);
            let points: Vec<PointNm> = points.map(|(_, point)| *point).collect();
            let mut verdicts = mask.contains(&points, storage)?.into_iter();
            for i in members {
                let count = kept[i].len();
                kept[i] = verdicts.by_ref().take(count).collect();
            }
        }
        for ((draws, candidates), kept) in all.iter_mut().zip(candidates).zip(kept) {
            let candidates = candidates.into_iter().zip(kept);
            let candidates = candidates.filter(|(_, is_kept)| *is_kept);
            let missing = draws.of_box.wanted as usize - draws.negatives.len();
            let Draws { ids, negatives, .. } = draws;
            let new = candidates.map(|(negative, _)| negative);
            negatives.extend(new.filter(|(id, _)| ids.insert(*id)).take(missing));
        }
        let is_done = |d: &Draws<'_>| d.left == 0 || d.negatives.len() as u64 == d.of_box.wanted;
        if all.iter().all(is_done) {
            break;
        }
    }
    Ok(all.into_iter().map(|draws| draws.negatives).collect())
}
