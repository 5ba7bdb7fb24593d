//! An RGB bitmap and its PNG encoding.

use std::io::{BufRead, Seek};

/// What every picture says about its origin: keyword and text.
const SOFTWARE: [&str; 2] = ["Software", "pointshard"];

/// An RGB bitmap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Red, green and blue of each pixel, row by row from the top.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// Encodes the picture as a PNG file.
    ///
    /// # Panics
    /// If there are no pixels, or if their number doesn't match width and height.
    pub fn png(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let [keyword, text] = SOFTWARE.map(str::to_owned);
        encoder
            .add_text_chunk(keyword, text)
            .and_then(|()| encoder.write_header())
            .and_then(|mut writer| writer.write_image_data(&self.rgb))
            .expect("the number of pixels matches width and height");
        file
    }
}

/// Whether a file is a PNG picture that [`Picture::png`] encoded.
pub fn is_own_png(file: impl BufRead + Seek) -> bool {
    let [keyword, text] = SOFTWARE;
    png::Decoder::new(file).read_info().is_ok_and(|reader| {
        let mut texts = reader.info().uncompressed_latin1_text.iter();
        texts.any(|found| found.keyword == keyword && found.text == text)
    })
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
