//! Pictures of samples: [`View`] puts image, targets and predictions next to each other, [`Picture`] is the result.
//!
//! Voxels come in, an RGB bitmap goes out, as pixels or as a PNG file; words about it (captions, headings) go beside it,
//! not into it.

mod paint;
mod view;

pub use view::View;

/// An RGB bitmap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// Red, green and blue of every pixel, row by row from the top.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// The picture as a PNG file.
    ///
    /// # Panics
    /// If there are no pixels, or not as many as width and height say.
    pub fn png(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&self.rgb))
            .expect("as many pixels as width and height say");
        file
    }
}

/// What colours in the pictures of samples mean: names, and one colour or the ends of a range.
pub(super) fn legend() -> [(&'static str, Vec<[u8; 3]>); 3] {
    [
        ("target", vec![paint::TARGET]),
        (
            "prediction, unlikely to likely",
            vec![paint::WEAK, paint::STRONG],
        ),
        ("prediction that is no number", vec![paint::NO_NUMBER]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_file_holds_the_pixels() {
        let picture = Picture {
            width: 3,
            height: 2,
            rgb: (0..18).collect(),
        };
        let file = picture.png();
        let mut reader = png::Decoder::new(std::io::Cursor::new(&file))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; 18];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (3, 2));
        assert_eq!(info.color_type, png::ColorType::Rgb);
        assert_eq!(pixels, picture.rgb);
    }
}
