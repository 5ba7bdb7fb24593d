//! Numbers the connected components of a slice or a chunk.
//!
//! Input: which of the voxels before it a voxel is connected to. Output: the number of its component, in the order of
//! their first voxels, x fastest. The labels of a stream have this order.

/// The voxel is connected to the one before it in its row.
pub(super) const LEFT: u8 = 1;
/// The voxel is connected to the one in the row before.
pub(super) const UP: u8 = 2;
/// The voxel is connected to the one in the slice before.
pub(super) const BACK: u8 = 4;
/// The voxel is in no component.
pub(super) const OUTSIDE: u8 = 8;

/// The number of a voxel that is in no component.
pub(super) const NO_COMPONENT: u32 = u32::MAX;

/// Numbers components. The buffer is reused for the next slice.
#[derive(Debug, Default)]
pub(super) struct Components {
    /// A component of lower number that a provisional one belongs to, or itself.
    parents: Vec<u32>,
}

impl Components {
    /// Writes the component of each voxel to `out` and returns the number of components. `links` has one of the constants
    /// above, or several, for each voxel; those at the edges have no links to voxels outside.
    pub(super) fn number(
        &mut self,
        links: &[u8],
        row_voxels: usize,
        slice_voxels: usize,
        out: &mut [u32],
    ) -> u32 {
        self.parents.clear();
        let rows = links.chunks_exact(row_voxels).enumerate();
        for (y, links) in rows {
            let at = y * row_voxels;
            let (before, row) = out.split_at_mut(at);
            let up = before.get(at.wrapping_sub(row_voxels)..);
            let back = before.get(at.wrapping_sub(slice_voxels)..);
            let (up, back) = (up.unwrap_or_default(), back.unwrap_or_default());
            self.number_row(links, up, back, &mut row[..row_voxels]);
        }
        // A parent has a lower number, so it is final already.
        let mut count = 0;
        for i in 0..self.parents.len() {
            let parent = self.parents[i] as usize;
            self.parents[i] = if parent == i {
                count += 1;
                count - 1
            } else {
                self.parents[parent]
            };
        }
        for component in out {
            if let Some(number) = self.parents.get(*component as usize) {
                *component = *number;
            }
        }
        count
    }

    /// Writes provisional numbers. `up` and `back` begin with the voxels before those of `row`, and are empty if there are none.
    fn number_row(&mut self, links: &[u8], up: &[u32], back: &[u32], row: &mut [u32]) {
        let mut left = NO_COMPONENT;
        for (x, (link, component)) in links.iter().zip(row).enumerate() {
            let linked = |bit, to: &[u32]| to.get(x).copied().filter(|_| link & bit != 0);
            let left_component = Some(left).filter(|_| link & LEFT != 0);
            // The component above is most often that of the left voxel, too, so that nothing is joined.
            let found = match (linked(UP, up), left_component) {
                (Some(up), Some(left)) => Some(self.joined(up, left)),
                (up, left) => up.or(left),
            };
            let found = match (found, linked(BACK, back)) {
                (Some(found), Some(back)) => Some(self.joined(found, back)),
                (found, back) => found.or(back),
            };
            *component = match found {
                Some(found) => found,
                None if link & OUTSIDE != 0 => NO_COMPONENT,
                None => self.begin(),
            };
            left = *component;
        }
    }

    fn begin(&mut self) -> u32 {
        let number = self.parents.len() as u32;
        self.parents.push(number);
        number
    }

    /// Joins two components and returns the first.
    #[inline(always)]
    fn joined(&mut self, a: u32, b: u32) -> u32 {
        if a != b {
            self.join(a, b);
        }
        a
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    fn root(&mut self, mut component: u32) -> u32 {
        loop {
            let parent = self.parents[component as usize];
            if parent == component {
                return component;
            }
            // Halves the path for the next search.
            let next = self.parents[parent as usize];
            self.parents[component as usize] = next;
            component = next;
        }
    }
}
