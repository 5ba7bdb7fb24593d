//! Draws a sample as a contact sheet: a row per section; columns for the image and for each channel's target and
//! prediction, drawn over the image.
//!
//! Each voxel of a small window is a block of pixels. The outline of the target is drawn over the prediction, too: it
//! shows where the prediction is wrong.

use super::bitmap::Picture;
use super::canvas::Canvas;
use super::colors::{self, Rgb};
use super::scale_bar;

/// A sample to draw; all arrays are `[z, y, x]` in C order.
#[derive(Clone, Debug)]
pub struct ContactSheet<'a> {
    /// Voxels in z, y and x of all arrays below.
    pub shape: [usize; 3],
    /// nm per voxel along x, for the scale bar; `None` if it is not known.
    pub voxel_nm: Option<f64>,
    /// Brightness from 0 to 1.
    pub image: &'a [f32],
    /// Per channel, if known: the target. Positive means not 0.
    pub targets: Vec<Option<&'a [u8]>>,
    /// Per channel: the predicted probability.
    pub probabilities: Vec<&'a [f32]>,
    /// Per channel, if any: the mask, 0 where voxels are ignored.
    pub masks: Vec<Option<&'a [f32]>>,
    /// Names of the channels.
    pub names: Vec<String>,
    /// Caption of the sample.
    pub caption: String,
}

/// Pixels between tiles.
const GAP: usize = 4;
/// Height of the scale bar in pixels, and its distance from the edges.
const BAR_HEIGHT: usize = 5;
/// Approximate width in pixels of a tile, if its voxels are larger than a pixel.
const TILE_WIDTH: usize = 192;

/// The contents of a tile.
#[derive(Clone, Copy)]
enum TileKind {
    Image,
    Target(usize),
    Prediction(usize),
}

impl ContactSheet<'_> {
    /// Draws the contact sheet.
    ///
    /// # Panics
    /// If there are no voxels, if their number doesn't match `shape`, or if there are fewer targets or masks than
    /// predictions.
    pub fn picture(&self) -> Picture {
        let [_, y, x] = self.shape;
        let scale = ((TILE_WIDTH + x / 2) / x).max(1);
        let (tile_width, tile_height) = (x * scale, y * scale);
        let (tiles, sections) = (self.tiles(), self.sections());
        let mut canvas = Canvas::new(
            tiles.len() * (tile_width + GAP) - GAP,
            sections.len() * (tile_height + GAP) - GAP,
            colors::GAP,
        );
        for (row, section) in sections.iter().enumerate() {
            for (column, tile_kind) in tiles.iter().enumerate() {
                let corner = (column * (tile_width + GAP), row * (tile_height + GAP));
                self.tile(&mut canvas, corner, scale, *section, *tile_kind);
            }
        }
        self.draw_scale_bar(&mut canvas, scale, sections.len());
        canvas.into_picture()
    }

    /// What the scale bar measures, such as `200 nm`.
    pub fn scale_bar(&self) -> Option<String> {
        self.bar_nm().map(scale_bar::label)
    }

    fn bar_nm(&self) -> Option<f64> {
        scale_bar::length_nm(self.voxel_nm? * self.shape[2] as f64)
    }

    /// Draws the scale bar at the bottom left of the image in the last row.
    fn draw_scale_bar(&self, canvas: &mut Canvas, scale: usize, rows: usize) {
        let (Some(voxel_nm), Some(bar_nm)) = (self.voxel_nm, self.bar_nm()) else {
            return;
        };
        let height = self.shape[1] * scale;
        let length = (bar_nm / voxel_nm * scale as f64).round() as usize;
        if height < 3 * BAR_HEIGHT {
            return;
        }
        let bottom = rows * (height + GAP) - GAP - BAR_HEIGHT;
        for y in bottom - BAR_HEIGHT..bottom {
            for x in BAR_HEIGHT..BAR_HEIGHT + length {
                let is_rim = y == bottom - BAR_HEIGHT || y + 1 == bottom;
                canvas.set(x, y, if is_rim { [0; 3] } else { [255; 3] });
            }
        }
    }

    /// Headings of the columns, from left to right. All columns have the same width.
    pub fn titles(&self) -> Vec<String> {
        let title = |tile_kind: &TileKind| match tile_kind {
            TileKind::Image => "image".into(),
            TileKind::Target(channel) => format!("{} target", self.name(*channel)),
            TileKind::Prediction(channel) => format!("{} prediction", self.name(*channel)),
        };
        self.tiles().iter().map(title).collect()
    }

    /// The sections shown, from top to bottom: the middle one and, in a stack of 4 or more, those halfway to the ends.
    pub fn sections(&self) -> Vec<usize> {
        match self.shape[0] {
            z @ 0..4 => vec![z / 2],
            z => vec![z / 4, z / 2, z * 3 / 4],
        }
    }

    fn name(&self, channel: usize) -> &str {
        self.names.get(channel).map_or("", String::as_str)
    }

    fn tiles(&self) -> Vec<TileKind> {
        let channels = 0..self.probabilities.len();
        let target = |c: usize| self.targets[c].map(|_| TileKind::Target(c));
        let of_channels =
            channels.flat_map(|c| target(c).into_iter().chain([TileKind::Prediction(c)]));
        [TileKind::Image].into_iter().chain(of_channels).collect()
    }

    fn tile(
        &self,
        canvas: &mut Canvas,
        (left, top): (usize, usize),
        scale: usize,
        section: usize,
        tile_kind: TileKind,
    ) {
        let [_, height, width] = self.shape;
        let line = (scale / 3).max(1);
        for y in 0..height * scale {
            for x in 0..width * scale {
                let voxel = Voxel {
                    section,
                    y: y / scale,
                    x: x / scale,
                };
                let edges = Edges {
                    top: y % scale < line,
                    bottom: y % scale >= scale - line,
                    left: x % scale < line,
                    right: x % scale >= scale - line,
                };
                let mut color = self.color(voxel, tile_kind);
                if let TileKind::Target(channel) | TileKind::Prediction(channel) = tile_kind {
                    if self.is_masked_out(channel, voxel) {
                        color = colors::masked_out(color, x, y);
                    } else if self.is_outline(channel, voxel, edges) {
                        color = colors::TARGET;
                    }
                }
                canvas.set(left + x, top + y, color);
            }
        }
    }

    fn color(&self, voxel: Voxel, tile_kind: TileKind) -> Rgb {
        let at = self.index(voxel);
        let gray = colors::gray(self.image[at]);
        match tile_kind {
            TileKind::Image => gray,
            TileKind::Target(channel) if self.is_positive(channel, voxel) => {
                colors::blend(gray, colors::TARGET, 0.35)
            }
            TileKind::Target(_) => gray,
            TileKind::Prediction(channel) => colors::heat(gray, self.probabilities[channel][at]),
        }
    }

    fn is_masked_out(&self, channel: usize, voxel: Voxel) -> bool {
        self.masks[channel].is_some_and(|mask| mask[self.index(voxel)] == 0.0)
    }

    fn is_positive(&self, channel: usize, voxel: Voxel) -> bool {
        self.targets[channel].is_some_and(|target| target[self.index(voxel)] != 0)
    }

    /// Whether a pixel of a target voxel touches a voxel outside the target. The border of the window is no outline.
    fn is_outline(&self, channel: usize, voxel: Voxel, edges: Edges) -> bool {
        let positive = |voxel: Voxel| self.is_positive(channel, voxel);
        let [_, height, width] = self.shape;
        let Voxel { section, y, x } = voxel;
        let outside = |y, x| !positive(Voxel { section, y, x });
        positive(voxel)
            && (edges.top && y > 0 && outside(y - 1, x)
                || edges.bottom && y + 1 < height && outside(y + 1, x)
                || edges.left && x > 0 && outside(y, x - 1)
                || edges.right && x + 1 < width && outside(y, x + 1))
    }

    fn index(&self, voxel: Voxel) -> usize {
        let [_, height, width] = self.shape;
        (voxel.section * height + voxel.y) * width + voxel.x
    }
}

#[derive(Clone, Copy)]
struct Voxel {
    section: usize,
    y: usize,
    x: usize,
}

/// The edges of its voxel that a pixel touches.
#[derive(Clone, Copy)]
struct Edges {
    top: bool,
    bottom: bool,
    left: bool,
    right: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square in the center of a window of 8 x 8, one channel.
    fn sheet<'a>(shape: [usize; 3], data: &'a Data) -> ContactSheet<'a> {
        ContactSheet {
            shape,
            voxel_nm: None,
            image: &data.image,
            targets: vec![Some(&data.target)],
            probabilities: vec![&data.probability],
            masks: vec![Some(&data.mask)],
            names: vec!["cleft".into()],
            caption: String::new(),
        }
    }

    struct Data {
        image: Vec<f32>,
        target: Vec<u8>,
        probability: Vec<f32>,
        mask: Vec<f32>,
    }

    fn data(sections: usize) -> Data {
        let inside = |i: usize| (2..6).contains(&(i / 8 % 8)) && (2..6).contains(&(i % 8));
        let voxels = 0..sections * 64;
        Data {
            image: voxels.clone().map(|_| 0.5).collect(),
            target: voxels.clone().map(|i| u8::from(inside(i))).collect(),
            probability: voxels
                .clone()
                .map(|i| f32::from(u8::from(inside(i))))
                .collect(),
            mask: voxels.map(|i| f32::from(u8::from(i % 8 < 7))).collect(),
        }
    }

    fn pixel(picture: &Picture, x: usize, y: usize) -> Rgb {
        let at = 3 * (y * picture.width as usize + x);
        picture.rgb[at..at + 3].try_into().unwrap()
    }

    #[test]
    fn a_sheet_has_a_row_per_section_and_two_columns_per_channel_after_the_image() {
        let data = data(16);
        let sheet = sheet([16, 8, 8], &data);
        assert_eq!(sheet.sections(), [4, 8, 12]);
        assert_eq!(
            sheet.titles(),
            ["image", "cleft target", "cleft prediction"]
        );
        let picture = sheet.picture();
        assert_eq!((picture.width, picture.height), (3 * 192 + 8, 3 * 192 + 8));
        assert_eq!(picture.rgb.len(), 3 * 584 * 584);
    }

    #[test]
    fn a_channel_without_a_target_has_one_column() {
        let data = data(1);
        let sheet = ContactSheet {
            targets: vec![None],
            ..sheet([1, 8, 8], &data)
        };
        assert_eq!(sheet.titles(), ["image", "cleft prediction"]);
        assert_eq!(sheet.picture().width, 2 * 192 + 4);
    }

    #[test]
    fn a_flat_sample_has_one_section() {
        let data = data(1);
        assert_eq!(sheet([1, 8, 8], &data).sections(), [0]);
        assert_eq!(sheet([1, 8, 8], &data).picture().height, 192);
    }

    #[test]
    fn the_image_is_gray_the_target_blue_and_the_prediction_yellow() {
        let data = data(1);
        let picture = sheet([1, 8, 8], &data).picture();
        let middle = 96 + 12;
        assert_eq!(pixel(&picture, middle, middle), [128; 3]);
        let [r, _, b] = pixel(&picture, 196 + middle, middle);
        assert!(b > r + 20);
        let [r, _, b] = pixel(&picture, 2 * 196 + middle, middle);
        assert!(r > b + 100);
    }

    #[test]
    fn the_outline_is_inside_the_target_and_on_the_prediction_too() {
        let data = data(1);
        let picture = sheet([1, 8, 8], &data).picture();
        for column in [196, 2 * 196] {
            assert_eq!(pixel(&picture, column + 48, 100), colors::TARGET);
            assert_ne!(pixel(&picture, column + 47, 100), colors::TARGET);
            assert_ne!(pixel(&picture, column + 60, 100), colors::TARGET);
        }
    }

    #[test]
    fn masked_out_voxels_are_dark_except_in_the_image() {
        let data = data(1);
        let picture = sheet([1, 8, 8], &data).picture();
        assert_eq!(pixel(&picture, 191, 10), [128; 3]);
        assert!(pixel(&picture, 196 + 191, 10)[0] < 128);
    }

    #[test]
    fn a_wide_window_has_one_pixel_per_voxel() {
        let (image, target) = (vec![0.0; 600], vec![0; 600]);
        let probability = vec![f32::NAN; 600];
        let sheet = ContactSheet {
            shape: [1, 1, 600],
            voxel_nm: Some(8.0),
            image: &image,
            targets: vec![Some(&target)],
            probabilities: vec![&probability],
            masks: vec![None],
            names: vec![],
            caption: String::new(),
        };
        assert_eq!(sheet.picture().width, 3 * 604 - 4);
    }

    #[test]
    fn a_scale_bar_is_in_the_image_and_has_its_length() {
        let data = data(16);
        let sheet = ContactSheet {
            voxel_nm: Some(10.0),
            ..sheet([16, 8, 8], &data)
        };
        // A tile is 80 nm and 192 pixels wide.
        assert_eq!(sheet.scale_bar().as_deref(), Some("20 nm"));
        let picture = sheet.picture();
        let white: Vec<_> = (0..picture.width as usize)
            .filter(|x| pixel(&picture, *x, picture.height as usize - 8) == [255; 3])
            .collect();
        assert_eq!(white, (5..5 + 48).collect::<Vec<_>>());
        let plain = super::ContactSheet {
            voxel_nm: None,
            ..sheet
        };
        assert_eq!(plain.scale_bar(), None);
    }
}
