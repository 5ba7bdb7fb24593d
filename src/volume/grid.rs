//! The grid of blocks on which a volume is stored.

use std::ops::Range;

use crate::geometry::VoxelBox;

/// Position of a block in its grid, along x, y, z.
pub type BlockIndex = [u64; 3];

/// Blocks of one shape. The grid starts at the volume's first voxel; blocks at its end are clipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockGrid {
    bounds: VoxelBox,
    block: [u32; 3],
}

impl BlockGrid {
    /// A grid over `bounds` with blocks of `block` voxels (each at least 1). `None` if there are more than 2^64 blocks.
    pub(crate) fn new(bounds: VoxelBox, block: [u32; 3]) -> Option<Self> {
        let grid = Self { bounds, block };
        let blocks = grid.shape().into_iter().try_fold(1, u64::checked_mul);
        blocks.map(|_| grid)
    }

    /// The voxels of the volume.
    pub fn bounds(&self) -> &VoxelBox {
        &self.bounds
    }

    /// Voxels of an unclipped block along x, y, z.
    pub fn block_shape(&self) -> [u32; 3] {
        self.block
    }

    /// Number of blocks along x, y, z.
    pub fn shape(&self) -> [u64; 3] {
        let voxels = self.bounds.shape();
        std::array::from_fn(|d| voxels[d].div_ceil(u64::from(self.block[d])))
    }

    /// The voxels of `block`, clipped at the volume's end.
    pub fn block_box(&self, block: BlockIndex) -> VoxelBox {
        let start: [i64; 3] = std::array::from_fn(|d| {
            self.bounds.start[d] + (block[d] * u64::from(self.block[d])) as i64
        });
        let end =
            std::array::from_fn(|d| (start[d] + i64::from(self.block[d])).min(self.bounds.end[d]));
        VoxelBox { start, end }
    }

    /// How many blocks overlap `region`.
    pub fn count_touching(&self, region: &VoxelBox) -> u64 {
        let Some(inside) = self.bounds.intersection(region) else {
            return 0;
        };
        let along = |d: usize| {
            let first = (inside.start[d] - self.bounds.start[d]) as u64;
            let last = (inside.end[d] - 1 - self.bounds.start[d]) as u64;
            last / u64::from(self.block[d]) - first / u64::from(self.block[d]) + 1
        };
        along(0) * along(1) * along(2)
    }

    /// The blocks that overlap `region`, x fastest.
    pub fn blocks_touching(&self, region: &VoxelBox) -> impl Iterator<Item = BlockIndex> + use<> {
        let [x, y, z] = self.range_touching(region);
        z.flat_map(move |k| {
            let x = x.clone();
            y.clone()
                .flat_map(move |j| x.clone().map(move |i| [i, j, k]))
        })
    }

    /// The `n`th of the blocks that overlap `region`, in the order of [`BlockGrid::blocks_touching`].
    pub fn block_touching(&self, region: &VoxelBox, n: u64) -> Option<BlockIndex> {
        let [x, y, z] = self.range_touching(region);
        let (along_x, along_y) = (x.end - x.start, y.end - y.start);
        let k = z.start + n.checked_div(along_x * along_y)?;
        let in_layer = n % (along_x * along_y);
        (k < z.end).then(|| {
            [
                x.start + in_layer % along_x,
                y.start + in_layer / along_x,
                k,
            ]
        })
    }

    /// The blocks along x, y, z that overlap `region`.
    fn range_touching(&self, region: &VoxelBox) -> [Range<u64>; 3] {
        match self.bounds.intersection(region) {
            None => [0..0, 0..0, 0..0],
            Some(inside) => std::array::from_fn(|d| {
                let first = (inside.start[d] - self.bounds.start[d]) as u64;
                let last = (inside.end[d] - 1 - self.bounds.start[d]) as u64;
                first / u64::from(self.block[d])..last / u64::from(self.block[d]) + 1
            }),
        }
    }

    /// Linear index of a block, x fastest.
    pub fn linear(&self, block: BlockIndex) -> u64 {
        let [nx, ny, _] = self.shape();
        block[0] + nx * (block[1] + ny * block[2])
    }

    /// The block with the linear index `n`.
    pub fn block_from_linear(&self, n: u64) -> BlockIndex {
        let [nx, ny, _] = self.shape();
        [n % nx, n / nx % ny, n / nx / ny]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn touching_blocks_are_those_that_share_a_voxel_with_the_region(
            start in prop::array::uniform3(-20i64..20), size in prop::array::uniform3(1i64..20),
            block in prop::array::uniform3(1u32..9),
            at in prop::array::uniform3(-30i64..40), w in prop::array::uniform3(1i64..12),
        ) {
            let make = |s: [i64; 3], n: [i64; 3]| VoxelBox { start: s, end: std::array::from_fn(|d| s[d] + n[d]) };
            let grid = BlockGrid::new(make(start, size), block).unwrap();
            let region = make(at, w);
            let touching: Vec<_> = grid.blocks_touching(&region).collect();
            prop_assert_eq!(grid.count_touching(&region), touching.len() as u64);
            let all: Vec<_> = (0..).map_while(|n| grid.block_touching(&region, n)).collect();
            prop_assert_eq!(&all, &touching);
            let [nx, ny, nz] = grid.shape();
            for n in 0..nx * ny * nz {
                let b = grid.block_from_linear(n);
                prop_assert_eq!(grid.linear(b), n);
                let shares = grid.block_box(b).intersection(&region).is_some();
                prop_assert_eq!(touching.contains(&b), shares);
                prop_assert!(grid.bounds().contains_box(&grid.block_box(b)));
            }
        }
    }
}
