//! Draws a chart as an SVG with `plotters`; text uses the fonts of the reader. A chart without values has no SVG.

use plotters::prelude::*;

use super::axis::ChartAxis;
use super::content::Chart;
use super::curve::{Curve, Segment};
use super::palette;

/// Drawing units per pixel of the page: `plotters` rounds positions to whole units.
const FINE: u32 = 8;
/// Size of a chart in pixels before the page scales it.
const SIZE: (u32, u32) = (600, 280);
/// Curves with at most this many points get markers.
const MARKED: usize = 24;

type Result<T> = std::result::Result<T, DrawingAreaErrorKind<std::io::Error>>;
type Plot<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<ChartAxis, ChartAxis>>;

/// Draws the chart as an SVG element; `None` if there is nothing to draw.
pub(super) fn svg(chart: &Chart) -> Result<Option<String>> {
    let curves = curves(chart);
    let all = || curves.iter().flat_map(Curve::points);
    let y = ChartAxis::roomy(all().map(|(_, y)| *y));
    let x = ChartAxis::tight(all().map(|(x, _)| *x));
    let mut svg = String::new();
    match (x, y) {
        (Some(x), Some(y)) => draw(&chart.x, [&x, &y], &curves, &mut svg)?,
        _ => return Ok(None),
    }
    Ok(Some(svg))
}

/// Whether any curve is drawn as a line of means with noise behind it.
pub(super) fn has_means(chart: &Chart) -> bool {
    curves(chart).iter().any(Curve::is_dense)
}

fn curves(chart: &Chart) -> Vec<Curve> {
    let series = chart.series.iter();
    series.map(Curve::new).collect()
}

fn draw(x_name: &str, [x, y]: [&ChartAxis; 2], curves: &[Curve], svg: &mut String) -> Result<()> {
    let area = SVGBackend::with_string(svg, (SIZE.0 * FINE, SIZE.1 * FINE)).into_drawing_area();
    let widest = y.labels().iter().map(String::len).max().unwrap_or(0);
    let mut plot = ChartBuilder::on(&area)
        .margin_top(10 * FINE)
        .margin_right(22 * FINE)
        .x_label_area_size(42 * FINE)
        .y_label_area_size((14 + 7 * widest as u32) * FINE)
        .build_cartesian_2d(x.clone(), y.clone())?;
    let ink = palette::INK.in_svg();
    let words = ("sans-serif", 15 * FINE).into_font().color(&ink);
    plot.configure_mesh()
        .disable_x_mesh()
        .axis_style(ink.stroke_width(FINE))
        .bold_line_style(palette::GRID.in_svg().stroke_width(FINE))
        .label_style(words)
        .set_all_tick_mark_size(4 * FINE)
        .x_desc(x_name)
        .draw()?;
    // Draw all lines above all noise.
    for (number, curve) in curves.iter().enumerate() {
        let faint = palette::curve(number).0.in_svg().mix(0.35);
        for noise in curve.noise(x) {
            plot.draw_series(LineSeries::new(noise, faint.stroke_width(FINE)))?;
        }
    }
    for (number, curve) in curves.iter().enumerate() {
        draw_line(&mut plot, number, &curve.line(x))?;
    }
    drop(plot);
    area.present()
}

fn draw_line(plot: &mut Plot<'_>, number: usize, segments: &[Segment]) -> Result<()> {
    let (color, is_dashed) = palette::curve(number);
    let color = color.in_svg();
    let line = color.stroke_width(2 * FINE);
    let is_marked = segments.iter().map(Vec::len).sum::<usize>() <= MARKED;
    for points in segments {
        if is_marked || points.len() == 1 {
            let mark = |at: &(f64, f64)| Circle::new(*at, 3 * FINE, color.filled());
            plot.draw_series(points.iter().map(mark))?;
        }
        let points = points.iter().copied();
        if is_dashed {
            plot.draw_series(DashedLineSeries::new(points, 6 * FINE, 4 * FINE, line))?;
        } else {
            plot.draw_series(LineSeries::new(points, line))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::content::Series;
    use super::*;

    fn chart(points: impl IntoIterator<Item = (f64, f64)>) -> Chart {
        Chart {
            x: "step".into(),
            series: vec![Series {
                name: "loss".into(),
                points: points.into_iter().collect(),
            }],
            ..Chart::default()
        }
    }

    fn drawn(chart: &Chart) -> String {
        svg(chart).unwrap().unwrap()
    }

    #[test]
    fn a_curve_is_a_line_with_ticks_on_both_axes() {
        let svg = drawn(&chart([(0.0, 0.2), (500.0, 0.9), (1000.0, 0.7)]));
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("stroke=\"#0072B2\"").count(), 1);
        assert_eq!(svg.matches("<circle").count(), 3);
        for word in ["\n0.8\n", "\n1000\n", "\nstep\n"] {
            assert!(svg.contains(word), "{word:?} in {svg}");
        }
    }

    #[test]
    fn a_gap_is_not_drawn_across() {
        let ys = [0.2, 0.3, f64::NAN, 0.5, f64::INFINITY, 0.5, 0.6];
        let svg = drawn(&chart((0..).map(f64::from).zip(ys)));
        assert_eq!(svg.matches("<circle").count(), 5);
        assert_eq!(svg.matches("stroke=\"#0072B2\"").count(), 3);
    }

    #[test]
    fn a_chart_without_values_has_no_svg() {
        assert_eq!(svg(&chart([])).unwrap(), None);
        assert_eq!(svg(&chart([(0.0, f64::NAN)])).unwrap(), None);
        assert_eq!(svg(&Chart::default()).unwrap(), None);
    }

    #[test]
    fn a_long_run_is_a_small_chart_of_means_and_noise() {
        let chart = chart((0..100_000).map(|i| (f64::from(i), f64::from(i % 7))));
        assert!(has_means(&chart));
        let svg = drawn(&chart);
        assert!(svg.len() < 50_000);
        assert!(svg.contains("opacity=\"0.35\" stroke=\"#0072B2\""));
    }
}
