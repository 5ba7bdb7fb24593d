//! Colours of charts, each in two shades: one for light pages, one for dark.
//!
//! Curves take colours that people with any common colour blindness tell apart (after Okabe and Ito), and dashes when
//! colours run out. In an SVG stands the light shade; the style sheet puts variables in its place, which the page sets.

use std::fmt::Write;

use plotters::style::RGBColor;

/// A colour by name, light shade and dark shade.
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

/// Of words and axes.
pub(super) const INK: Color = color("ink", [0x5b, 0x61, 0x6a], [0x9d, 0xa4, 0xae]);
/// Of the lines behind curves.
pub(super) const GRID: Color = color("grid", [0xe4, 0xe6, 0xea], [0x2d, 0x31, 0x38]);

const CURVES: [Color; 6] = [
    color("curve-0", [0x00, 0x72, 0xb2], [0x56, 0xb4, 0xe9]),
    color("curve-1", [0xd5, 0x5e, 0x00], [0xf0, 0x80, 0x30]),
    color("curve-2", [0x00, 0x9e, 0x73], [0x2f, 0xc5, 0x98]),
    color("curve-3", [0xcc, 0x79, 0xa7], [0xe0, 0xa0, 0xc4]),
    color("curve-4", [0xe6, 0x9f, 0x00], [0xf3, 0xd0, 0x5e]),
    color("curve-5", [0x40, 0x44, 0x4b], [0xd5, 0xd9, 0xde]),
];

/// How the curve of that number is drawn.
pub(super) fn curve(number: usize) -> (&'static Color, bool) {
    let is_dashed = number / CURVES.len() % 2 == 1;
    (&CURVES[number % CURVES.len()], is_dashed)
}

impl Color {
    /// What stands in an SVG.
    pub fn in_svg(&self) -> RGBColor {
        self.light
    }

    /// What stands in a style sheet.
    pub fn in_css(&self) -> String {
        format!("var(--{})", self.name)
    }
}

/// The part of the style sheet that sets all colours, and puts them in place of what stands in SVGs.
pub(super) fn style() -> String {
    let all = || [&INK, &GRID].into_iter().chain(&CURVES);
    let mut style = String::new();
    let set = |of: fn(&Color) -> RGBColor| {
        all().fold(String::new(), |css, color| {
            format!("{css}--{}:{};", color.name, hex(of(color)))
        })
    };
    let (light, dark) = (set(|color| color.light), set(|color| color.dark));
    // Writing to a string can't fail.
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

/// As SVGs have it.
fn hex(RGBColor(r, g, b): RGBColor) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_looks_different_up_to_a_dozen() {
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
