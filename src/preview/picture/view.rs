//! A sample as a contact sheet: sections from top to bottom, and from left to right the image, then each channel's
//! target and prediction over it.
//!
//! Voxels are whole blocks of pixels, so that small windows are big enough to look at. The target's outline is drawn
//! over the prediction too: what lies on the wrong side of it is an error.

use super::Picture;
use super::paint::{self, Rgb};

/// One sample as pictures show it; all in `[z, y, x]`, C order.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// Voxels in z, y and x, of everything below.
    pub shape: [usize; 3],
    /// Brightness, 0 to 1.
    pub image: &'a [f32],
    /// Per channel, where it is known: what is there. Positive is anything but 0.
    pub targets: Vec<Option<&'a [u8]>>,
    /// Per channel: what is predicted.
    pub probabilities: Vec<&'a [f32]>,
    /// Per channel, where it has one: 0 where voxels don't count.
    pub masks: Vec<Option<&'a [f32]>>,
    /// Names of the channels.
    pub names: Vec<String>,
    /// What is said about the sample.
    pub caption: String,
}

/// Pixels between tiles.
const GAP: usize = 4;
/// A tile is about that wide if a voxel of a window is more than a pixel.
const TILE: usize = 192;

/// What a tile shows over the image.
#[derive(Clone, Copy)]
enum Layer {
    Image,
    Target(usize),
    Prediction(usize),
}

impl View<'_> {
    /// The contact sheet.
    ///
    /// # Panics
    /// If there are no voxels, or not as many as `shape` says, or fewer targets or masks than predictions.
    pub fn picture(&self) -> Picture {
        let [_, y, x] = self.shape;
        let scale = ((TILE + x / 2) / x).max(1);
        let (tile_width, tile_height) = (x * scale, y * scale);
        let (layers, sections) = (self.layers(), self.sections());
        let mut canvas = Canvas::new(
            layers.len() * (tile_width + GAP) - GAP,
            sections.len() * (tile_height + GAP) - GAP,
        );
        for (row, section) in sections.iter().enumerate() {
            for (column, layer) in layers.iter().enumerate() {
                let corner = (column * (tile_width + GAP), row * (tile_height + GAP));
                self.tile(&mut canvas, corner, scale, *section, *layer);
            }
        }
        canvas.into_picture()
    }

    /// What the columns of the sheet are, from left to right. All are equally wide.
    pub fn titles(&self) -> Vec<String> {
        let title = |layer: &Layer| match layer {
            Layer::Image => "image".into(),
            Layer::Target(channel) => format!("{} target", self.name(*channel)),
            Layer::Prediction(channel) => format!("{} prediction", self.name(*channel)),
        };
        self.layers().iter().map(title).collect()
    }

    /// The sections that are shown, from top to bottom: the middle one, and those halfway to the ends of a stack.
    pub fn sections(&self) -> Vec<usize> {
        match self.shape[0] {
            z @ 0..4 => vec![z / 2],
            z => vec![z / 4, z / 2, z * 3 / 4],
        }
    }

    fn name(&self, channel: usize) -> &str {
        self.names.get(channel).map_or("", String::as_str)
    }

    fn layers(&self) -> Vec<Layer> {
        let channels = 0..self.probabilities.len();
        let target = |c: usize| self.targets[c].map(|_| Layer::Target(c));
        let of_channels =
            channels.flat_map(|c| target(c).into_iter().chain([Layer::Prediction(c)]));
        [Layer::Image].into_iter().chain(of_channels).collect()
    }

    fn tile(
        &self,
        canvas: &mut Canvas,
        (left, top): (usize, usize),
        scale: usize,
        section: usize,
        layer: Layer,
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
                let mut color = self.color(voxel, layer);
                if let Layer::Target(channel) | Layer::Prediction(channel) = layer {
                    if self.is_masked_out(channel, voxel) {
                        color = paint::masked_out(color, x, y);
                    } else if self.is_outline(channel, voxel, edges) {
                        color = paint::TARGET;
                    }
                }
                canvas.set(left + x, top + y, color);
            }
        }
    }

    fn color(&self, voxel: Voxel, layer: Layer) -> Rgb {
        let at = self.index(voxel);
        let gray = paint::gray(self.image[at]);
        match layer {
            Layer::Image => gray,
            Layer::Target(channel) if self.is_positive(channel, voxel) => {
                paint::blend(gray, paint::TARGET, 0.35)
            }
            Layer::Target(_) => gray,
            Layer::Prediction(channel) => paint::heat(gray, self.probabilities[channel][at]),
        }
    }

    fn is_masked_out(&self, channel: usize, voxel: Voxel) -> bool {
        self.masks[channel].is_some_and(|mask| mask[self.index(voxel)] == 0.0)
    }

    fn is_positive(&self, channel: usize, voxel: Voxel) -> bool {
        self.targets[channel].is_some_and(|target| target[self.index(voxel)] != 0)
    }

    /// Whether a place in a voxel of the target lies next to one that isn't. Windows' borders are no outline.
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

/// The edges of a voxel that a pixel lies at.
#[derive(Clone, Copy)]
struct Edges {
    top: bool,
    bottom: bool,
    left: bool,
    right: bool,
}

struct Canvas {
    width: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        let pixels = vec![paint::GAP; width * height];
        Self { width, pixels }
    }

    fn set(&mut self, x: usize, y: usize, color: Rgb) {
        self.pixels[y * self.width + x] = color;
    }

    fn into_picture(self) -> Picture {
        Picture {
            width: self.width as u32,
            height: (self.pixels.len() / self.width) as u32,
            rgb: self.pixels.into_flattened(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square in the middle of a window of 8 x 8, one channel.
    fn view<'a>(shape: [usize; 3], data: &'a Data) -> View<'a> {
        View {
            shape,
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
        let view = view([16, 8, 8], &data);
        assert_eq!(view.sections(), [4, 8, 12]);
        assert_eq!(view.titles(), ["image", "cleft target", "cleft prediction"]);
        let picture = view.picture();
        assert_eq!((picture.width, picture.height), (3 * 192 + 8, 3 * 192 + 8));
        assert_eq!(picture.rgb.len(), 3 * 584 * 584);
    }

    #[test]
    fn a_channel_of_which_no_target_is_known_has_one_column() {
        let data = data(1);
        let view = View {
            targets: vec![None],
            ..view([1, 8, 8], &data)
        };
        assert_eq!(view.titles(), ["image", "cleft prediction"]);
        assert_eq!(view.picture().width, 2 * 192 + 4);
    }

    #[test]
    fn a_flat_sample_is_one_section() {
        let data = data(1);
        assert_eq!(view([1, 8, 8], &data).sections(), [0]);
        assert_eq!(view([1, 8, 8], &data).picture().height, 192);
    }

    #[test]
    fn the_image_is_gray_the_target_blue_and_the_prediction_yellow() {
        let data = data(1);
        let picture = view([1, 8, 8], &data).picture();
        let middle = 96 + 12;
        assert_eq!(pixel(&picture, middle, middle), [128; 3]);
        let [r, _, b] = pixel(&picture, 196 + middle, middle);
        assert!(b > r + 20);
        let [r, _, b] = pixel(&picture, 2 * 196 + middle, middle);
        assert!(r > b + 100);
    }

    #[test]
    fn the_outline_runs_inside_the_target_and_on_the_prediction_too() {
        let data = data(1);
        let picture = view([1, 8, 8], &data).picture();
        for column in [196, 2 * 196] {
            assert_eq!(pixel(&picture, column + 48, 100), paint::TARGET);
            assert_ne!(pixel(&picture, column + 47, 100), paint::TARGET);
            assert_ne!(pixel(&picture, column + 60, 100), paint::TARGET);
        }
    }

    #[test]
    fn what_is_masked_out_is_dark_but_not_in_the_image() {
        let data = data(1);
        let picture = view([1, 8, 8], &data).picture();
        assert_eq!(pixel(&picture, 191, 10), [128; 3]);
        assert!(pixel(&picture, 196 + 191, 10)[0] < 128);
    }

    #[test]
    fn a_wide_window_is_a_pixel_per_voxel() {
        let (image, target) = (vec![0.0; 600], vec![0; 600]);
        let probability = vec![f32::NAN; 600];
        let view = View {
            shape: [1, 1, 600],
            image: &image,
            targets: vec![Some(&target)],
            probabilities: vec![&probability],
            masks: vec![None],
            names: vec![],
            caption: String::new(),
        };
        assert_eq!(view.picture().width, 3 * 604 - 4);
    }
}
