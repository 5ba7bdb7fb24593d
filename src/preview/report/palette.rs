//! Colors of charts, each in two shades: one for light pages, one for dark ones.
//!
//! People with any common color blindness can tell the colors of curves apart (after Okabe and Ito); after the last color,
//! curves are dashed. An SVG contains the light shade. The style sheet replaces it by a variable that the page sets.

use std::fmt::Write;

use plotters::style::RGBColor;

/// A color: its name, light shade and dark shade.
pub(super) struct Color {
    name: &'static str,
    light: RGBColor,
    dark: RGBColor,
}

const fn color(name: &'static str, light: [u8; 3], dark: [u8; 3]) -> Color {
    Color {
        name,
        light: RGBColor(light[0], light[1], light[2]),
        dark: RGBColor(dark[0], dark[1], dark[2]),
    }
}

/// Text and axes.
pub(super) const INK: Color = color("ink", [0x5b, 0x61, 0x6a], [0x9d, 0xa4, 0xae]);
/// Grid lines.
pub(super) const GRID: Color = color("grid", [0xe4, 0xe6, 0xea], [0x2d, 0x31, 0x38]);

const CURVES: [Color; 6] = [
    color("curve-0", [0x00, 0x72, 0xb2], [0x56, 0xb4, 0xe9]),
    color("curve-1", [0xd5, 0x5e, 0x00], [0xf0, 0x80, 0x30]),
    color("curve-2", [0x00, 0x9e, 0x73], [0x2f, 0xc5, 0x98]),
    color("curve-3", [0xcc, 0x79, 0xa7], [0xe0, 0xa0, 0xc4]),
    color("curve-4", [0xe6, 0x9f, 0x00], [0xf3, 0xd0, 0x5e]),
    color("curve-5", [0x40, 0x44, 0x4b], [0xd5, 0xd9, 0xde]),
];

/// The color of curve number `number`, and whether it is dashed.
pub(super) fn curve(number: usize) -> (&'static Color, bool) {
    let is_dashed = number / CURVES.len() % 2 == 1;
    (&CURVES[number % CURVES.len()], is_dashed)
}

impl Color {
    /// The color in an SVG.
    pub fn in_svg(&self) -> RGBColor {
        self.light
    }

    /// The color in a style sheet.
    pub fn in_css(&self) -> String {
        format!("var(--{})", self.name)
    }
}

/// The part of the style sheet that sets all colors and replaces those in SVGs.
pub(super) fn style() -> String {
    let all = || [&INK, &GRID].into_iter().chain(&CURVES);
    let mut style = String::new();
    let set = |of: fn(&Color) -> RGBColor| {
        all().fold(String::new(), |css, color| {
            format!("{css}--{}:{};", color.name, hex(of(color)))
        })
    };
    let (light, dark) = (set(|color| color.light), set(|color| color.dark));
    // Writing to a string cannot fail.
    let _ = writeln!(style, ":root{{{light}}}");
    let _ = writeln!(
        style,
        "@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
    );
    for color in all() {
        let (hex, css) = (hex(color.light), color.in_css());
        let _ = writeln!(style, "svg [stroke=\"{hex}\"]{{stroke:{css}}}");
        let _ = writeln!(style, "svg [fill=\"{hex}\"]{{fill:{css}}}");
    }
    style
}

/// The color as plotters writes it into an SVG.
fn hex(RGBColor(r, g, b): RGBColor) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_twelve_curves_look_different() {
        let looks = |n| (curve(n).0.in_css(), curve(n).1);
        for a in 0..12 {
            for b in 0..a {
                assert_ne!(looks(a), looks(b));
            }
        }
        assert_eq!(looks(0), looks(12));
    }

    #[test]
    fn the_style_sheet_sets_every_colour_twice_and_uses_it() {
        let style = style();
        assert_eq!(style.matches("--curve-3:#").count(), 2);
        assert!(style.contains("svg [stroke=\"#0072B2\"]{stroke:var(--curve-0)}"));
    }
}
