//! The voxels of a mask in a box where a negative may be, for boxes in which they are so few that random points miss them.
//!
//! The chunks of the mask in the box are read twice: first these voxels are counted, then a random selection of them is listed. The
//! selection depends on the seed and the box's id, and not on threads or on other boxes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::mask::NegativeMask;
use super::{NegativeBox, random_below};
use crate::blocks::Block;
use crate::geometry::{PointNm, VoxelBox};
use crate::points::error::PointsError;
use crate::storage::Storage;

/// Most chunks of a box that are read. Of a larger box, this many are selected at random.
const MOST_CHUNKS: u64 = 1 << 15;

/// Fewest and most voxels of a box that are listed. Between them, several per negative.
const MOST_VOXELS: [u64; 2] = [1 << 10, 1 << 16];

/// Memory of a chunk of a box, and of a voxel in the list, while both are collected.
const CHUNK_BYTES: u64 = 160;
const VOXEL_BYTES: u64 = 80;

/// Memory of the boxes that are searched at the same time, unless one takes more.
const GROUP_BYTES: u64 = 8 << 20;

/// A box in which free voxels are searched.
pub(super) struct Search<'a> {
    pub of_box: &'a NegativeBox<'a>,
    /// How many negatives are missing.
    pub missing: u64,
    /// The random numbers of the box.
    pub numbers: blake3::OutputReader,
}

/// The part of the mask that is in the box, and its chunks.
struct Part {
    voxels: VoxelBox,
    /// Linear indices, ascending.
    chunks: Vec<u64>,
}

/// What was found in chunks, each with the position of its box and the linear index of the chunk.
type OfChunks<T> = Mutex<Vec<((usize, u64), T)>>;

/// How many of the first of `searches` are done at the same time, because their lists are small enough.
pub(super) fn group_size(mask: &NegativeMask, searches: &[Search<'_>]) -> usize {
    let mut bytes = 0u64;
    let sizes = searches.iter().map(|search| memory_bytes(mask, search));
    let fitting = sizes.take_while(|size| {
        bytes = bytes.saturating_add(*size);
        bytes <= GROUP_BYTES
    });
    fitting.count().max(1)
}

/// For each box a random selection of the voxels of the mask that touch it and of which a part may be at least `distance_nm`
/// from all annotations; all of them, if they are few.
pub(super) fn free_voxels(
    mask: &NegativeMask,
    searches: &mut [Search<'_>],
    distance_nm: f64,
    storage: &Storage,
) -> Result<Vec<Vec<[i64; 3]>>, PointsError> {
    let bytes = searches.iter().map(|search| memory_bytes(mask, search));
    let bytes = bytes.fold(0, u64::saturating_add);
    let kept = storage.budget().keep(bytes);
    kept.map_err(|over| mask.lists_too_large(over))?;
    let listed = list(mask, searches, distance_nm, storage);
    storage.budget().give_back(bytes);
    listed
}

/// Most memory of the lists of a box.
fn memory_bytes(mask: &NegativeMask, search: &Search<'_>) -> u64 {
    let voxels = search.of_box.bounds.covering_voxels(mask.resolution());
    let chunks = mask.grid().count_touching(&voxels).min(MOST_CHUNKS);
    chunks * CHUNK_BYTES + search.most_voxels() * VOXEL_BYTES
}

/// As [`free_voxels`], without counting memory.
fn list(
    mask: &NegativeMask,
    searches: &mut [Search<'_>],
    distance_nm: f64,
    storage: &Storage,
) -> Result<Vec<Vec<[i64; 3]>>, PointsError> {
    let parts = searches.iter_mut();
    let parts: Vec<Part> = parts.map(|s| s.part(mask, distance_nm)).collect();
    let chunks = parts.iter().enumerate().flat_map(|(number, part)| {
        let chunks = part.chunks.iter();
        chunks.map(move |chunk| (*chunk, number))
    });
    let counts: OfChunks<u64> = Mutex::default();
    visit_parts(
        mask,
        chunks,
        &parts,
        storage,
        |number, block, part| {
            let mut count = 0;
            let of_box = searches[number].of_box;
            for_each_free(mask, block, part, of_box, distance_nm, |_| count += 1);
            (count > 0).then_some(count)
        },
        &counts,
    )?;
    let counts = in_order(counts);
    // For each chunk with free voxels the positions of those that are listed.
    let mut selected: BTreeMap<(usize, u64), Vec<u64>> = BTreeMap::new();
    for of_box in counts.chunk_by(|((a, _), _), ((b, _), _)| a == b) {
        let Some(((number, _), _)) = of_box.first() else {
            continue;
        };
        let all = of_box.iter().map(|(_, count)| count).sum();
        let mut chunks = of_box.iter();
        let mut chunk = chunks.next();
        let mut before = 0;
        for position in searches[*number].select(all) {
            while let Some((_, count)) = chunk.filter(|(_, count)| position >= before + count) {
                before += count;
                chunk = chunks.next();
            }
            if let Some((key, _)) = chunk {
                selected.entry(*key).or_default().push(position - before);
            }
        }
    }
    let chunks = selected.keys().map(|(number, chunk)| (*chunk, *number));
    let found: OfChunks<Vec<[i64; 3]>> = Mutex::default();
    visit_parts(
        mask,
        chunks,
        &parts,
        storage,
        |number, block, part| {
            let mut positions = selected.get(&(number, part.chunk))?.iter().peekable();
            let (mut position, mut voxels) = (0, Vec::new());
            let of_box = searches[number].of_box;
            for_each_free(mask, block, part, of_box, distance_nm, |voxel| {
                if positions.next_if_eq(&&position).is_some() {
                    voxels.push(voxel);
                }
                position += 1;
            });
            Some(voxels)
        },
        &found,
    )?;
    let mut per_box: Vec<Vec<[i64; 3]>> = searches.iter().map(|_| Vec::new()).collect();
    for ((number, _), voxels) in in_order(found) {
        per_box[number].extend(voxels);
    }
    Ok(per_box)
}

impl Search<'_> {
    fn most_voxels(&self) -> u64 {
        let [least, most] = MOST_VOXELS;
        self.missing.saturating_mul(4).clamp(least, most)
    }

    /// The part of the mask in the box, and its chunks that may have room.
    fn part(&mut self, mask: &NegativeMask, distance_nm: f64) -> Part {
        let voxels = self.of_box.bounds.covering_voxels(mask.resolution());
        let grid = mask.grid();
        let touching = grid.count_touching(&voxels);
        let mut chunks: Vec<u64> = if touching <= MOST_CHUNKS {
            let touching = grid.blocks_touching(&voxels);
            touching.map(|block| grid.linear(block)).collect()
        } else {
            let positions = (0..MOST_CHUNKS).map(|_| random_below(&mut self.numbers, touching));
            let blocks = positions.filter_map(|n| grid.block_touching(&voxels, n));
            let selected: BTreeSet<u64> = blocks.map(|block| grid.linear(block)).collect();
            selected.into_iter().collect()
        };
        chunks.retain(|chunk| {
            let block_box = grid.block_box(grid.block_from_linear(*chunk));
            let part = block_box.intersection(&voxels);
            part.is_some_and(|part| self.has_room(mask, &part, distance_nm))
        });
        chunks.sort_unstable();
        Part { voxels, chunks }
    }

    /// Whether not all of the voxels are nearer than `distance_nm` to the annotation that is nearest to their middle.
    fn has_room(&self, mask: &NegativeMask, voxels: &VoxelBox, distance_nm: f64) -> bool {
        let bounds = voxels.nm(mask.resolution());
        let (min, max) = (PointNm(bounds.min()), PointNm(bounds.max()));
        let middle = min.midpoint(&max);
        self.of_box.annotations.distance_nm(&middle) + middle.distance_nm(&max) >= distance_nm
    }

    /// The positions of the voxels that are listed among `all` free ones, ascending.
    fn select(&mut self, all: u64) -> Vec<u64> {
        let most = self.most_voxels();
        if all <= most {
            return (0..all).collect();
        }
        let random = (0..most).map(|_| random_below(&mut self.numbers, all));
        random.collect::<BTreeSet<u64>>().into_iter().collect()
    }
}

/// The voxels of a chunk that touch a box.
struct ChunkPart {
    /// Linear index of the chunk.
    chunk: u64,
    chunk_box: VoxelBox,
    voxels: VoxelBox,
}

/// Calls `of_part` for each of `chunks`, each with the position of a box, and adds what it returns to `found`.
fn visit_parts<T: Send>(
    mask: &NegativeMask,
    chunks: impl Iterator<Item = (u64, usize)>,
    parts: &[Part],
    storage: &Storage,
    of_part: impl Fn(usize, &Block, &ChunkPart) -> Option<T> + Sync,
    found: &OfChunks<T>,
) -> Result<(), PointsError> {
    let grid = mask.grid();
    let mut of_chunks: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (chunk, number) in chunks {
        of_chunks.entry(chunk).or_default().push(number);
    }
    let numbers: Vec<u64> = of_chunks.keys().copied().collect();
    mask.visit(&numbers, storage, |chunk, block| {
        let chunk_box = grid.block_box(grid.block_from_linear(chunk));
        for number in &of_chunks[&chunk] {
            let Some(voxels) = chunk_box.intersection(&parts[*number].voxels) else {
                continue;
            };
            let part = ChunkPart {
                chunk,
                chunk_box,
                voxels,
            };
            if let Some(one) = of_part(*number, block, &part) {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.push(((*number, chunk), one));
            }
        }
        Ok(())
    })
}

/// What was collected, by box and chunk.
fn in_order<T>(found: OfChunks<T>) -> Vec<((usize, u64), T)> {
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_unstable_by_key(|(key, _)| *key);
    found
}

/// Calls `visit` with the voxels of the part, x fastest, that are not 0 and may have a point at least `distance_nm` from all
/// annotations.
fn for_each_free(
    mask: &NegativeMask,
    block: &Block,
    part: &ChunkPart,
    of_box: &NegativeBox<'_>,
    distance_nm: f64,
    mut visit: impl FnMut([i64; 3]),
) {
    let nm = mask.resolution().nm();
    let half_diagonal_nm = PointNm(nm).distance_nm(&PointNm([0.0; 3])) / 2.0;
    let least_nm = distance_nm - half_diagonal_nm;
    let VoxelBox { start, end } = part.voxels;
    if !matches!(block, Block::Stored(_)) && !mask.is_set(block, &part.chunk_box, start) {
        return;
    }
    for z in start[2]..end[2] {
        for y in start[1]..end[1] {
            // The voxels before this one along x are all free, or all too near.
            let (mut known_until, mut is_free) = (start[0], false);
            for x in start[0]..end[0] {
                let voxel = [x, y, z];
                let is_too_near = x < known_until && !is_free;
                if is_too_near || !mask.is_set(block, &part.chunk_box, voxel) {
                    continue;
                }
                if x >= known_until {
                    let middle = std::array::from_fn(|d| (voxel[d] as f64 + 0.5) * nm[d]);
                    let found_nm = of_box.annotations.distance_nm(&PointNm(middle));
                    // From one voxel to the next, the distance changes by the size of a voxel at most.
                    let same = ((found_nm - least_nm).abs() / nm[0]) as i64;
                    known_until = x.saturating_add(same).saturating_add(1);
                    is_free = found_nm >= least_nm;
                }
                if is_free {
                    visit(voxel);
                }
            }
        }
    }
}
