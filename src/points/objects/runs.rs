//! The runs of equal ids along x in a block of a segmentation.

use crate::blocks::Block;
use crate::data_type::{DataType, with_type};
use crate::geometry::VoxelBox;

/// Consecutive voxels along x of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The object's id. Negative ids are sign-extended.
    pub object: u64,
    /// The first voxel.
    pub start: [i64; 3],
    /// The first voxel along x after it.
    pub end_x: i64,
}

/// Calls `visit` with the runs of objects in `part`, which is inside of `block_box`, the voxels of the block. Background (0) has
/// no runs. Of several channels, the first counts.
pub(super) fn for_each_run(
    block: &Block,
    data_type: DataType,
    block_box: &VoxelBox,
    part: &VoxelBox,
    mut visit: impl FnMut(Run),
) {
    let size = data_type.size_bytes();
    let values = match block {
        Block::Missing => return,
        Block::Uniform(value) => {
            let object = object_of(value.bytes(size), data_type);
            for start in rows(part).filter(|_| object != 0) {
                let end_x = part.end[0];
                visit(Run {
                    object,
                    start,
                    end_x,
                });
            }
            return;
        }
        Block::Stored(values) => values,
    };
    let [nx, ny, _] = block_box.shape().map(|n| n as usize);
    for row in rows(part) {
        let [x, y, z] = [0, 1, 2].map(|d| (row[d] - block_box.start[d]) as usize);
        let first = (z * ny + y) * nx + x;
        let length = (part.end[0] - part.start[0]) as usize;
        let Some(values) = values.get(first * size..(first + length) * size) else {
            continue;
        };
        with_type!(data_type, T => {
            let mut values = values.as_chunks::<{ size_of::<T>() }>().0;
            let mut start = row;
            while let Some(first) = values.first() {
                let equal = values.iter().take_while(|value| *value == first).count();
                let end_x = start[0] + equal as i64;
                let object = T::from_le_bytes(*first) as i128 as u64;
                if object != 0 {
                    visit(Run { object, start, end_x });
                }
                start[0] = end_x;
                values = &values[equal..];
            }
        });
    }
}

/// The first voxel of each row of the box.
fn rows(part: &VoxelBox) -> impl Iterator<Item = [i64; 3]> + use<> {
    let ([x, ..], [_, y, z]) = (part.start, part.start);
    let (end_y, end_z) = (part.end[1], part.end[2]);
    (z..end_z).flat_map(move |z| (y..end_y).map(move |y| [x, y, z]))
}

fn object_of(value: &[u8], data_type: DataType) -> u64 {
    with_type!(data_type, T => {
        let first = value.first_chunk::<{ size_of::<T>() }>();
        first.map_or(0, |v| T::from_le_bytes(*v) as i128 as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_type::Scalar;

    fn boxed(start: [i64; 3], end: [i64; 3]) -> VoxelBox {
        VoxelBox { start, end }
    }

    fn runs(block: &Block, data_type: DataType, part: &VoxelBox) -> Vec<(u64, [i64; 3], i64)> {
        let block_box = boxed([10, 20, 30], [14, 22, 31]);
        let mut found = Vec::new();
        for_each_run(block, data_type, &block_box, part, |run| {
            found.push((run.object, run.start, run.end_x));
        });
        found
    }

    #[test]
    fn runs_of_objects_end_at_other_ids_and_at_the_part() {
        let values: [i16; 8] = [5, 5, 0, -2, -2, -2, -2, 5];
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let (block, all) = (Block::Stored(bytes), boxed([10, 20, 30], [14, 22, 31]));
        let minus_two = -2i64 as u64;
        assert_eq!(
            runs(&block, DataType::Int16, &all),
            [
                (5, [10, 20, 30], 12),
                (minus_two, [13, 20, 30], 14),
                (minus_two, [10, 21, 30], 13),
                (5, [13, 21, 30], 14),
            ]
        );
        let part = boxed([11, 21, 30], [13, 22, 31]);
        let found = runs(&block, DataType::Int16, &part);
        assert_eq!(found, [(minus_two, [11, 21, 30], 13)]);
    }

    #[test]
    fn uniform_blocks_have_one_run_per_row_and_missing_ones_none() {
        let all = boxed([10, 20, 30], [14, 22, 31]);
        let nine = Scalar::from_le_bytes(&9u64.to_le_bytes()).unwrap();
        let found = runs(&Block::Uniform(nine), DataType::UInt64, &all);
        assert_eq!(found, [(9, [10, 20, 30], 14), (9, [10, 21, 30], 14)]);
        assert!(runs(&Block::Uniform(Scalar::ZERO), DataType::UInt64, &all).is_empty());
        assert!(runs(&Block::Missing, DataType::UInt64, &all).is_empty());
    }
}
