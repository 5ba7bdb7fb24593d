//! The cracks of a slice: which voxels are connected.
//!
//! Paths run along the edges of voxels, from corner to corner. A path begins at a corner of the index in front of the
//! moves. Two opposite moves, one after the other, are a mark: up and down, or left and right, mark a branch, to which the
//! path returns later; down and up, or right and left, mark the end of a branch, and the end of the path if none is left.

use super::super::components::{LEFT, UP};
use super::super::reader::{Reader, number};
use super::markov::MarkovModel;
use super::moves::{DOWN, LEFTWARD, Moves, RIGHTWARD, UPWARD};
use super::width_of;

/// Decodes cracks. The buffers are reused for the next slice.
pub(super) struct Cracks {
    nx: usize,
    ny: usize,
    are_open: bool,
    /// Links of a slice without cracks.
    without: Vec<u8>,
    links: Vec<u8>,
    branches: Vec<Corner>,
}

/// A corner of voxels. The corner at 0, 0 is that of the first voxel.
#[derive(Clone, Copy, Debug)]
struct Corner {
    x: u32,
    y: u32,
}

impl Cracks {
    pub(super) fn new(nx: usize, ny: usize, are_open: bool) -> Self {
        let without = (0..nx * ny).map(|at| {
            if are_open {
                0
            } else {
                (LEFT * u8::from(at % nx > 0)) | (UP * u8::from(at >= nx))
            }
        });
        Self {
            nx,
            ny,
            are_open,
            without: without.collect(),
            links: Vec::new(),
            branches: Vec::new(),
        }
    }

    /// Decodes the cracks of a slice. Returns the links of its voxels to those before them.
    pub(super) fn decode(
        &mut self,
        code: &[u8],
        model: Option<&MarkovModel>,
    ) -> Result<&[u8], String> {
        self.links.clone_from(&self.without);
        if code.is_empty() {
            return Ok(&self.links);
        }
        let mut reader = Reader::new(code);
        let index_bytes = reader.number(4, "index of paths")?;
        let index = reader.take(index_bytes, 1, "index of paths")?;
        let starts = Starts::new(index, self.nx, self.ny)?;
        let moves = Moves::new(reader.rest(), model);
        if self.are_open {
            self.follow_paths(starts, moves, |link, bit| *link |= bit)?;
        } else {
            self.follow_paths(starts, moves, |link, bit| *link &= !bit)?;
        }
        Ok(&self.links)
    }

    fn follow_paths(
        &mut self,
        mut starts: Starts<'_>,
        mut moves: Moves<'_>,
        mark: impl Fn(&mut u8, u8),
    ) -> Result<(), String> {
        while let Some(start) = starts.next_corner()? {
            self.follow_path(start, &mut moves, &mark)?;
        }
        let problem = |problem: String| format!("its index of paths is damaged: {problem}");
        starts.reader.finish().map_err(problem)
    }

    fn follow_path(
        &mut self,
        start: Corner,
        moves: &mut Moves<'_>,
        mark: &impl Fn(&mut u8, u8),
    ) -> Result<(), String> {
        // Each branch has a first edge of its own.
        let most_branches = 2 * self.nx * self.ny;
        let mut corner = start;
        let mut last = None;
        self.branches.clear();
        loop {
            let next = moves.next();
            let next = next.ok_or("its cracks end inside a path: it is truncated or damaged")?;
            match last {
                Some(last_move) if last_move ^ next == 0b10 => {
                    last = None;
                    if matches!(next, DOWN | RIGHTWARD) {
                        if self.branches.len() == most_branches {
                            return Err("a path has more branches than edges: it is damaged".into());
                        }
                        self.branches.push(corner);
                        continue;
                    }
                    match self.branches.pop() {
                        Some(branch) => corner = branch,
                        None => return Ok(()),
                    }
                }
                _ => {
                    if let Some(last_move) = last {
                        corner = self.step(corner, last_move, mark)?;
                    }
                    last = Some(next);
                }
            }
        }
    }

    /// Moves along the edge between two voxels and marks it.
    #[inline(always)]
    fn step(
        &mut self,
        Corner { x, y }: Corner,
        direction: u8,
        mark: &impl Fn(&mut u8, u8),
    ) -> Result<Corner, String> {
        // The voxel right of or below the edge, and where the edge ends.
        let (voxel, bit, end) = match direction {
            UPWARD => ((x, y.wrapping_sub(1)), LEFT, (x, y.wrapping_sub(1))),
            DOWN => ((x, y), LEFT, (x, y + 1)),
            LEFTWARD => ((x.wrapping_sub(1), y), UP, (x.wrapping_sub(1), y)),
            _ => ((x, y), UP, (x + 1, y)),
        };
        let (voxel_x, voxel_y) = (voxel.0 as usize, voxel.1 as usize);
        let is_between_voxels = if bit == LEFT {
            voxel_x > 0
        } else {
            voxel_y > 0
        };
        if voxel_x >= self.nx || voxel_y >= self.ny || !is_between_voxels {
            return Err(format!(
                "a path extends past the slice at the corner {x}, {y} (x, y): it is damaged"
            ));
        }
        mark(&mut self.links[voxel_x + self.nx * voxel_y], bit);
        let (x, y) = end;
        Ok(Corner { x, y })
    }
}

/// The corners where paths begin: for each row of corners that has some the distance to the row before, their number, and
/// the distance of each to the one before.
struct Starts<'a> {
    reader: Reader<'a>,
    nx: usize,
    ny: usize,
    x_bytes: usize,
    y_bytes: usize,
    rows_left: u64,
    left_in_row: u64,
    x: u64,
    y: u64,
}

impl<'a> Starts<'a> {
    fn new(index: &'a [u8], nx: usize, ny: usize) -> Result<Self, String> {
        let width = |voxels: usize| width_of(voxels as u64 + 1);
        let (x_bytes, y_bytes) = (width(nx), width(ny));
        let mut reader = Reader::new(index);
        let rows_left = number(reader.take(1, y_bytes, "index of paths")?);
        Ok(Self {
            reader,
            nx,
            ny,
            x_bytes,
            y_bytes,
            rows_left,
            left_in_row: 0,
            x: 0,
            y: 0,
        })
    }

    fn next_corner(&mut self) -> Result<Option<Corner>, String> {
        while self.left_in_row == 0 {
            if self.rows_left == 0 {
                return Ok(None);
            }
            self.rows_left -= 1;
            self.y = self.y.saturating_add(self.read(self.y_bytes)?);
            self.left_in_row = self.read(self.x_bytes)?;
            self.x = 0;
        }
        self.left_in_row -= 1;
        self.x = self.x.saturating_add(self.read(self.x_bytes)?);
        if self.x > self.nx as u64 || self.y > self.ny as u64 {
            return Err(format!(
                "a path begins at the corner {}, {} (x, y), outside the slice: it is damaged",
                self.x, self.y
            ));
        }
        Ok(Some(Corner {
            x: self.x as u32,
            y: self.y as u32,
        }))
    }

    fn read(&mut self, bytes: usize) -> Result<u64, String> {
        self.reader.number(bytes, "index of paths")
    }
}
