//! Which voxels are at a boundary: one bit for each voxel of a window, x fastest.

use super::super::reader::number;
use super::header::Header;

/// Whether each voxel of the chunk is a boundary voxel. `windows` has the numbers of windows in `values`, x fastest: twice
/// the number, or an odd number for a run of windows with the number 0.
pub(super) fn decode_boundaries(
    header: &Header,
    shape: [usize; 3],
    windows: &[u8],
    values: &[u8],
) -> Result<Vec<bool>, String> {
    let grid: [usize; 3] = std::array::from_fn(|d| shape[d].div_ceil(header.window[d]));
    let expected: usize = grid.iter().product();
    let window_bytes = header.window_bytes();
    let value_of = |window: u64| {
        let value = usize::try_from(window).ok();
        let value = value.and_then(|at| values.chunks_exact(window_bytes).nth(at));
        value.map(number).ok_or_else(|| {
            format!(
                "it uses window {window} of {}, counted from 0: it is damaged",
                header.window_values
            )
        })
    };
    let mut boundaries = vec![false; shape.iter().product()];
    let mut painter = Painter {
        shape,
        window: header.window,
        grid,
        boundaries: &mut boundaries,
    };
    let mut at = 0;
    for code in windows.chunks_exact(window_bytes).map(number) {
        let (window, run) = match code % 2 {
            0 => (code / 2, 1),
            _ => (0, code / 2),
        };
        let run = usize::try_from(run)
            .ok()
            .filter(|run| *run <= expected - at);
        let Some(run) = run else {
            return Err(format!(
                "it has more than {expected} windows, the number of those in the chunk: it is damaged"
            ));
        };
        let value = value_of(window)?;
        if value != 0 {
            (at..at + run).for_each(|window| painter.paint(window, value));
        }
        at += run;
    }
    if at != expected {
        return Err(format!(
            "it has {at} windows, expected {expected}: it is truncated or damaged"
        ));
    }
    Ok(boundaries)
}

/// Marks boundary voxels.
struct Painter<'a> {
    shape: [usize; 3],
    window: [usize; 3],
    /// Windows along x, y, z.
    grid: [usize; 3],
    boundaries: &'a mut [bool],
}

impl Painter<'_> {
    /// Marks the voxels of a window. Bits of voxels outside the chunk have no meaning.
    fn paint(&mut self, window: usize, mut bits: u64) {
        let [nx, ny, nz] = self.shape;
        let [wx, wy, wz] = self.window;
        let [gx, gy, _] = self.grid;
        let x = window % gx * wx;
        let y = window / gx % gy * wy;
        let z = window / (gx * gy) * wz;
        let mask = u64::MAX >> (64 - wx);
        let width = wx.min(nx - x);
        for dz in 0..wz {
            for dy in 0..wy {
                let row_bits = bits & mask;
                bits = bits.checked_shr(wx as u32).unwrap_or(0);
                if row_bits == 0 || z + dz >= nz || y + dy >= ny {
                    continue;
                }
                let first = x + nx * (y + dy + ny * (z + dz));
                for (dx, voxel) in self.boundaries[first..first + width].iter_mut().enumerate() {
                    *voxel = row_bits >> dx & 1 != 0;
                }
            }
        }
    }
}
