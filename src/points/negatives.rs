//! Negatives: random points in boxes that are no annotations.
//!
//! Each box has its own sequence of random points, which depends on the seed and the box's id. The first points of it that are far
//! enough from all annotations and in the mask are the negatives. The mask is read only in the chunks with candidates. Where a box
//! has so little space that these points miss it, the voxels of the mask are listed, and points in them are drawn (`free_voxels`).

mod free_voxels;
mod mask;
mod surroundings;

use std::collections::HashSet;

use self::free_voxels::{Search, free_voxels, group_size};
pub(crate) use self::mask::NegativeMask;
pub(crate) use self::surroundings::Surroundings;
use super::error::PointsError;
use crate::config::NegativesConfig;
use crate::geometry::{BoxNm, PointNm, Resolution};
use crate::storage::{DocumentError, Storage};

/// A box that gets negatives.
pub(crate) struct NegativeBox<'a> {
    /// Its id in its collection.
    pub id: &'a str,
    pub bounds: BoxNm,
    /// How many negatives it gets.
    pub wanted: u64,
    /// The annotations in the box and around it.
    pub annotations: Surroundings,
    /// Ids that its negatives do not get.
    pub ids: HashSet<u64>,
    /// Position of its mask in the list of masks.
    pub mask: Option<usize>,
}

/// A negative: its id and its position.
pub(crate) type Negative = (u64, PointNm);

/// Most points of a box that are drawn before the mask is read for them.
const MOST_DRAWS: u64 = 1 << 18;

/// Memory of a negative and its annotation.
const NEGATIVE_BYTES: u64 = 150;

/// Bytes of the random numbers of a point: x, y, z and the id.
const DRAW_BYTES: usize = 32;

/// How many points are drawn at most for this many negatives.
fn most_draws(negatives: u64) -> u64 {
    match negatives {
        0 => 0,
        _ => negatives.saturating_mul(1000).saturating_add(10_000),
    }
}

/// A random number less than `limit`.
fn random_below(numbers: &mut blake3::OutputReader, limit: u64) -> u64 {
    let mut bytes = [0; 8];
    numbers.fill(&mut bytes);
    ((u128::from(u64::from_le_bytes(bytes)) * u128::from(limit)) >> 64) as u64
}

/// The random numbers of a point: its place along x, y, z, from 0 to less than 1, and its id.
fn random_point(numbers: &mut blake3::OutputReader) -> ([f64; 3], u64) {
    let mut bytes = [0; DRAW_BYTES];
    numbers.fill(&mut bytes);
    let numbers: [[u8; 8]; 4] = bytemuck::cast(bytes);
    let [x, y, z, id] = numbers.map(u64::from_le_bytes);
    (
        [x, y, z].map(|n| (n >> 11) as f64 / (1u64 << 53) as f64),
        id,
    )
}

/// The random points of a box, one after the other.
struct Draws<'b> {
    of_box: &'b NegativeBox<'b>,
    numbers: blake3::OutputReader,
    /// How many more points are drawn at most.
    left: u64,
    /// Of annotations and negatives.
    ids: HashSet<u64>,
    negatives: Vec<Negative>,
}

impl<'b> Draws<'b> {
    fn new(of_box: &'b NegativeBox<'b>, seed: u64) -> Self {
        Self {
            numbers: random_numbers("negatives", seed, of_box.id),
            left: most_draws(of_box.wanted),
            ids: of_box.ids.clone(),
            negatives: Vec::new(),
            of_box,
        }
    }

    /// How many negatives are missing.
    fn missing(&self) -> u64 {
        self.of_box.wanted - self.negatives.len() as u64
    }

    /// Whether `point` is in the box and at least `distance_nm` from all annotations.
    fn has_room(&self, point: &PointNm, distance_nm: f64) -> bool {
        let NegativeBox {
            bounds,
            annotations,
            ..
        } = self.of_box;
        annotations.distance_nm(point) >= distance_nm && bounds.contains(point)
    }

    /// Adds the first of `found` that are missing. Each id is used once.
    fn add(&mut self, found: impl Iterator<Item = Negative>) {
        let missing = self.missing() as usize;
        let Self { ids, negatives, .. } = self;
        negatives.extend(found.filter(|(id, _)| ids.insert(*id)).take(missing));
    }

    /// The next points that are in the box and at least `distance_nm` from all annotations: several times as many as are missing.
    fn candidates(&mut self, round: u32, distance_nm: f64) -> Vec<Negative> {
        let missing = self.missing();
        let draws = if missing == 0 {
            0
        } else {
            let draws = missing.saturating_mul(4 << round.min(16));
            draws.clamp(64, MOST_DRAWS).min(self.left)
        };
        self.left -= draws;
        let mut candidates = Vec::new();
        for _ in 0..draws {
            let (shares, id) = random_point(&mut self.numbers);
            let (min, max) = (self.of_box.bounds.min(), self.of_box.bounds.max());
            let position = std::array::from_fn(|d| min[d] + shares[d] * (max[d] - min[d]));
            let point = PointNm(position);
            if self.has_room(&point, distance_nm) {
                candidates.push((id, point));
            }
        }
        candidates
    }

    /// Draws points in random ones of `voxels` until no negative is missing.
    fn draw_in(
        &mut self,
        voxels: &[[i64; 3]],
        resolution: &Resolution,
        distance_nm: f64,
        numbers: &mut blake3::OutputReader,
    ) {
        for _ in 0..most_draws(self.missing()) {
            let number = random_below(numbers, voxels.len() as u64) as usize;
            let (shares, id) = random_point(numbers);
            let Some(voxel) = voxels.get(number).filter(|_| self.missing() > 0) else {
                return;
            };
            let nm = resolution.nm();
            let position = std::array::from_fn(|d| (voxel[d] as f64 + shares[d]) * nm[d]);
            let point = PointNm(position);
            // Positions are rounded, so that a point at a face may be in the next voxel.
            let is_inside = resolution.voxel_of(&point) == Some(*voxel);
            if is_inside && self.has_room(&point, distance_nm) {
                self.add(std::iter::once((id, point)));
            }
        }
    }
}

/// The random numbers of a box.
fn random_numbers(purpose: &str, seed: u64, box_id: &str) -> blake3::OutputReader {
    let mut hasher = blake3::Hasher::new();
    hasher.update(purpose.as_bytes());
    hasher.update(&seed.to_le_bytes());
    hasher.update(box_id.as_bytes());
    hasher.finalize_xof()
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
            let kept = candidates.filter(|(_, is_kept)| *is_kept);
            draws.add(kept.map(|(negative, _)| negative));
        }
        if all.iter().all(|d| d.left == 0 || d.missing() == 0) {
            break;
        }
    }
    for (number, mask) in masks.iter().enumerate() {
        let lacking = all.iter_mut();
        let lacking = lacking.filter(|d| d.missing() > 0 && d.of_box.mask == Some(number));
        draw_in_free_voxels(&mut lacking.collect::<Vec<_>>(), mask, config, storage)?;
    }
    Ok(all.into_iter().map(|draws| draws.negatives).collect())
}

/// Draws what is missing in each box among the voxels of the mask where a negative may be.
fn draw_in_free_voxels(
    boxes: &mut [&mut Draws<'_>],
    mask: &NegativeMask,
    config: &NegativesConfig,
    storage: &Storage,
) -> Result<(), PointsError> {
    let searches = boxes.iter().map(|draws| Search {
        of_box: draws.of_box,
        missing: draws.missing(),
        numbers: random_numbers("negatives in free voxels", config.seed, draws.of_box.id),
    });
    let mut searches: Vec<_> = searches.collect();
    let (mut searches, mut boxes) = (&mut searches[..], boxes);
    let distance_nm = config.min_distance_nm;
    while !searches.is_empty() {
        let size = group_size(mask, searches);
        let (group, other_searches) = searches.split_at_mut(size);
        let (draws, other_boxes) = boxes.split_at_mut(size);
        let voxels = free_voxels(mask, group, distance_nm, storage)?;
        for ((search, draws), voxels) in group.iter_mut().zip(draws).zip(voxels) {
            draws.draw_in(&voxels, mask.resolution(), distance_nm, &mut search.numbers);
        }
        (searches, boxes) = (other_searches, other_boxes);
    }
    Ok(())
}
