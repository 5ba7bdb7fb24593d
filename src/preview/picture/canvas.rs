//! Pixels to draw on.

use super::bitmap::Picture;
use super::colors::Rgb;

/// A picture that is being drawn.
pub(in crate::preview) struct Canvas {
    width: usize,
    pixels: Vec<Rgb>,
}

impl Canvas {
    /// A canvas in one color.
    pub fn new(width: usize, height: usize, background: Rgb) -> Self {
        let pixels = vec![background; width * height];
        Self { width, pixels }
    }

    /// Sets a pixel. Those outside of the canvas are left out.
    pub fn set(&mut self, x: usize, y: usize, color: Rgb) {
        if x < self.width
            && let Some(pixel) = self.pixels.get_mut(y * self.width + x)
        {
            *pixel = color;
        }
    }

    /// The finished picture.
    pub fn into_picture(self) -> Picture {
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

    #[test]
    fn pixels_outside_are_left_out() {
        let mut canvas = Canvas::new(2, 2, [0; 3]);
        canvas.set(1, 0, [7; 3]);
        canvas.set(2, 0, [9; 3]);
        canvas.set(0, 2, [9; 3]);
        let rgb = canvas.into_picture().rgb;
        assert_eq!(rgb, [0, 0, 0, 7, 7, 7, 0, 0, 0, 0, 0, 0]);
    }
}
