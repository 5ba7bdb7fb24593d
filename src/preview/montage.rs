//! A picture of many samples: for each, the section of its point, as it is and with its overlays, above the id of its annotation.

use super::picture::{
    Canvas, LABEL_COLORS, OVERLAY_COLORS, Picture, Rgb, blend, digits, gray, masked_out,
};
use super::sample::{ArrayKind, Meaning, SampleFacts, ShownArray, ShownVoxels, reference};

/// A sample to draw: its facts, and its voxels by array. `None` where they cannot be read.
pub(super) struct MontageSample<'a> {
    pub facts: &'a SampleFacts,
    pub voxels: Vec<Option<&'a ShownVoxels>>,
}

/// Approximate width of a tile in pixels.
const TILE_WIDTH: usize = 160;
/// Samples in a row.
const COLUMNS: usize = 4;
/// Pixels between the tiles of a sample, and between samples.
const GAP: usize = 2;
const MARGIN: usize = 12;
/// Height of the line with the id.
const CAPTION: usize = 18;
/// Opacity of overlays, and of their outlines.
const TINT: f32 = 0.35;
const OUTLINE: f32 = 0.8;

const BACKGROUND: Rgb = [255; 3];
const INK: Rgb = [29, 33, 41];

/// Draws the samples in rows of four; `None` if there is nothing to draw.
pub(super) fn montage(arrays: &[ShownArray], samples: &[MontageSample<'_>]) -> Option<Picture> {
    let reference = reference(arrays);
    let [_, _, height, width] = arrays.get(reference)?.shown_shape();
    let first = samples.first()?;
    let [_, step_y, step_x] = arrays[reference].step;
    // Voxels may be longer along y than along x.
    let [nm_x, nm_y, _] = first.facts.resolution_nm;
    let aspect = (nm_y * step_y as f64) / (nm_x * step_x as f64).max(f64::MIN_POSITIVE);
    let scale_x = ((TILE_WIDTH + width / 2) / width.max(1)).max(1);
    let scale_y = ((scale_x as f64 * aspect).round() as usize).clamp(1, 4 * TILE_WIDTH);
    let tile = [width * scale_x, height * scale_y];
    let has_overlays = arrays
        .iter()
        .any(|a| matches!(a.kind, ArrayKind::Overlay | ArrayKind::Mask));
    let tiles = if has_overlays { 2 } else { 1 };
    let cell = [
        tiles * (tile[0] + GAP) - GAP + MARGIN,
        tile[1] + CAPTION + MARGIN,
    ];
    let columns = COLUMNS.min(samples.len());
    let rows = samples.len().div_ceil(columns);
    let mut canvas = Canvas::new(
        MARGIN + columns * cell[0],
        MARGIN + rows * cell[1],
        BACKGROUND,
    );
    for (number, sample) in samples.iter().enumerate() {
        let left = MARGIN + number % columns * cell[0];
        let top = MARGIN + number / columns * cell[1];
        let section = Section::new(arrays, reference, sample);
        for tile_number in 0..tiles {
            let left = left + tile_number * (tile[0] + GAP);
            for y in 0..tile[1] {
                for x in 0..tile[0] {
                    let voxel = [x / scale_x, y / scale_y];
                    let color = section.color(voxel, [x, y], tile_number == 1);
                    canvas.set(left + x, top + y, color);
                }
            }
        }
        section.draw_point(&mut canvas, [left, top], [scale_x, scale_y], tile);
        let id = sample.facts.annotation_id.to_string();
        for [x, y] in digits(&id, 2) {
            canvas.set(left + x, top + tile[1] + 5 + y, INK);
        }
    }
    Some(canvas.into_picture())
}

/// The section of a sample in which its point is.
struct Section<'a> {
    arrays: &'a [ShownArray],
    reference: usize,
    sample: &'a MontageSample<'a>,
    /// The point in voxels of the reference window, x, y, z.
    point: [f64; 3],
    /// Section of the reference window.
    z: usize,
}

impl<'a> Section<'a> {
    fn new(arrays: &'a [ShownArray], reference: usize, sample: &'a MontageSample<'a>) -> Self {
        let facts = sample.facts;
        let start = facts.starts[reference];
        let point = [0, 1, 2].map(|a| facts.center_nm[a] / facts.resolution_nm[a] - start[a]);
        let [_, sections, ..] = arrays[reference].shape;
        // A cast rounds towards 0, and NaN becomes 0.
        let z = (point[2] as usize).min(sections.saturating_sub(1));
        Self {
            arrays,
            reference,
            sample,
            point,
            z,
        }
    }

    /// The color of a voxel that is shown, at a pixel of its tile.
    fn color(&self, voxel: [usize; 2], pixel: [usize; 2], with_overlays: bool) -> Rgb {
        let mut color = self.image(voxel);
        if !with_overlays {
            return color;
        }
        // A segmentation covers all voxels, so that nothing below it is seen.
        let arrays = || self.arrays.iter().enumerate();
        let segmentations = arrays().filter(|(_, array)| array.is_segmentation);
        let others = arrays().filter(|(_, array)| !array.is_segmentation);
        for (number, array) in segmentations.chain(others) {
            let byte = |voxel: [isize; 2]| self.byte(number, 0, voxel);
            let [x, y] = voxel.map(|v| v as isize);
            let Some(value) = byte([x, y]) else { continue };
            match array.kind {
                ArrayKind::Mask if value == 0 => color = masked_out(color, pixel[0], pixel[1]),
                ArrayKind::Overlay if value > 0 => {
                    let neighbors = [[x - 1, y], [x + 1, y], [x, y - 1], [x, y + 1]];
                    let differs = |n| byte(n).is_some_and(|other| other != value);
                    let opacity = match self.meaning(number) {
                        Some(Meaning::Range(_)) => TINT * f32::from(value) / 255.0,
                        _ if neighbors.into_iter().any(differs) => OUTLINE,
                        _ => TINT,
                    };
                    color = blend(color, self.overlay(number, value), opacity);
                }
                _ => {}
            }
        }
        color
    }

    fn image(&self, [x, y]: [usize; 2]) -> Rgb {
        let array = &self.arrays[self.reference];
        let [low, high] = array.contrast.map(|c| c as f32);
        let bright = |channel| {
            let byte = self.byte(self.reference, channel, [x as isize, y as isize]);
            let share = f32::from(byte.unwrap_or(0)) / 255.0;
            ((share - low) / (high - low).max(1.0 / 255.0)).clamp(0.0, 1.0)
        };
        match array.kind {
            ArrayKind::Gray => gray(bright(0)),
            ArrayKind::Color => [0, 1, 2].map(|channel| gray(bright(channel))[0]),
            ArrayKind::Overlay | ArrayKind::Mask => [40; 3],
        }
    }

    fn meaning(&self, number: usize) -> Option<&Meaning> {
        self.sample.voxels[number].map(|voxels| &voxels.meaning)
    }

    fn overlay(&self, number: usize, byte: u8) -> Rgb {
        let array = &self.arrays[number];
        let class = usize::from(byte).saturating_sub(1);
        match self.meaning(number) {
            Some(Meaning::ManyClasses) => LABEL_COLORS[class % LABEL_COLORS.len()],
            Some(Meaning::Classes(classes)) if array.is_segmentation => {
                let color = classes.get(class).map_or(0, |c| c.color);
                LABEL_COLORS[color % LABEL_COLORS.len()]
            }
            _ => OVERLAY_COLORS[array.color % OVERLAY_COLORS.len()],
        }
    }

    /// The byte of an array at a shown voxel of the reference window; `None` outside of the array's window.
    fn byte(&self, number: usize, channel: usize, [x, y]: [isize; 2]) -> Option<u8> {
        let voxels = self.sample.voxels[number]?;
        let array = &self.arrays[number];
        let [_, step_y, step_x] = self.arrays[self.reference].step;
        let position = [
            x as f64 * step_x as f64,
            y as f64 * step_y as f64,
            self.z as f64,
        ];
        let starts = &self.sample.facts.starts;
        let [_, depth, height, width] = array.shape;
        let [sz, sy, sx] = array.step;
        let sizes = [(width, sx), (height, sy), (depth, sz)];
        let mut index = [0; 3];
        for axis in 0..3 {
            let at = position[axis] + starts[self.reference][axis] - starts[number][axis];
            let (size, step) = sizes[axis];
            if at < 0.0 || at >= size as f64 {
                return None;
            }
            index[axis] = at as usize / step;
        }
        let [channels, z, y, x] = voxels.shape;
        let channel = channel.min(channels.saturating_sub(1));
        let [ix, iy, iz] = index;
        voxels
            .bytes
            .get(((channel * z + iz) * y + iy) * x + ix)
            .copied()
    }

    /// Draws a small cross at the point, on the first tile.
    fn draw_point(
        &self,
        canvas: &mut Canvas,
        corner: [usize; 2],
        scale: [usize; 2],
        tile: [usize; 2],
    ) {
        let [_, step_y, step_x] = self.arrays[self.reference].step;
        let steps = [step_x, step_y];
        let center = [0, 1].map(|a| self.point[a] / steps[a] as f64 * scale[a] as f64);
        for offset in -6i32..=6 {
            for [dx, dy] in [[offset, 0], [0, offset]] {
                let [x, y] = [center[0] + f64::from(dx), center[1] + f64::from(dy)];
                if x >= 0.0 && y >= 0.0 && x < tile[0] as f64 && y < tile[1] as f64 {
                    canvas.set(
                        corner[0] + x as usize,
                        corner[1] + y as usize,
                        [255, 255, 255],
                    );
                }
            }
        }
    }
}
