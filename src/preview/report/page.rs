//! The HTML of a report. `maud` escapes all text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::content::{Chart, PictureRow, Report, Series, Table};
use super::number::{is_number, short};
use super::{chart, palette};
use crate::preview::picture;

pub(super) const STYLE: &str = include_str!("style.css");

impl Report {
    /// Renders the page.
    pub fn html(&self) -> String {
        page(self).into_string()
    }
}

fn page(report: &Report) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.title) }
                // Style sheets must not be escaped.
                style { (PreEscaped(super::base_style())) }
            }
            body {
                main {
                    h1 { (report.title) }
                    @if !report.facts.is_empty() { (facts(&report.facts)) }
                    @if !report.charts.is_empty() {
                        section.charts { @for chart in &report.charts { (chart_figure(chart)) } }
                    }
                    @for table in &report.tables { (table_section(table)) }
                    @if !report.pictures.is_empty() { (pictures(&report.pictures)) }
                    @for (title, text) in &report.texts {
                        section { h2 { (title) } div.wide { pre { (text) } } }
                    }
                }
            }
        }
    }
}

fn facts(facts: &[(String, String)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts { div { dt { (name) } dd { (value) } } }
        }
    }
}

fn chart_figure(chart: &Chart) -> Markup {
    html! {
        figure.chart {
            figcaption {
                h2 { (chart.title) }
                @if !chart.y.is_empty() {
                    p { (chart.y) }
                }
            }
            @match chart::svg(chart) {
                Ok(Some(svg)) => div role="img" aria-label=(chart.title) { (PreEscaped(svg)) },
                Ok(None) => p.nothing { "no values yet" },
                Err(error) => p.nothing { "cannot draw this chart: " (error) },
            }
            @if !chart.series.is_empty() { (legend(chart)) }
            @if chart::has_means(chart) {
                p.note { "Long curves: the line is the mean over each hundredth of the axis; the pale band shows all points." }
            }
        }
    }
}

/// The names of the curves and their most important values.
fn legend(chart: &Chart) -> Markup {
    html! {
        div.wide {
            table.legend {
                thead {
                    tr {
                        th {}
                        th.number { "last" }
                        th.number { "lowest" }
                        th.number { "at" }
                        th.number { "highest" }
                        th.number { "at" }
                    }
                }
                tbody {
                    @for (number, series) in chart.series.iter().enumerate() {
                        tr {
                            th scope="row" { (swatch(number)) (series.name) }
                            @for value in key_values(series) { td.number { (value) } }
                        }
                    }
                }
            }
        }
    }
}

fn swatch(number: usize) -> Markup {
    let (color, is_dashed) = palette::curve(number);
    let line = if is_dashed { "dashed" } else { "solid" };
    html! { span.swatch style=(format!("border-top:3px {line} {}", color.in_css())) {} }
}

/// Last, lowest and highest value, and the first position of the lowest and of the highest.
fn key_values(series: &Series) -> [String; 5] {
    let finite = || series.points.iter().filter(|(_, y)| y.is_finite());
    let lowest = finite().min_by(|a, b| a.1.total_cmp(&b.1));
    // `max_by` returns the last of equal values, which is the first in reverse order.
    let highest = finite().rev().max_by(|a, b| a.1.total_cmp(&b.1));
    let shown = |value: Option<f64>| value.map_or_else(|| "–".into(), short);
    [
        shown(series.points.last().map(|last| last.1)),
        shown(lowest.map(|point| point.1)),
        shown(lowest.map(|point| point.0)),
        shown(highest.map(|point| point.1)),
        shown(highest.map(|point| point.0)),
    ]
}

fn table_section(table: &Table) -> Markup {
    // The heading of a column of numbers is right-aligned, too.
    let is_numeric = |column: usize| {
        let mut cells = table.rows.iter().filter_map(|row| row.get(column));
        cells.clone().next().is_some() && cells.all(|cell| is_number(cell))
    };
    html! {
        section {
            h2 { (table.title) }
            div.wide {
                table {
                    thead {
                        tr {
                            @for (column, name) in table.head.iter().enumerate() {
                                th .number[is_numeric(column)] { (name) }
                            }
                        }
                    }
                    tbody {
                        @for row in &table.rows {
                            tr { @for cell in row { td .number[is_number(cell)] { (cell) } } }
                        }
                    }
                }
            }
        }
    }
}

fn pictures(rows: &[PictureRow]) -> Markup {
    html! {
        section {
            h2 { "Samples" }
            ul.colors {
                @for (name, colors) in picture::legend() {
                    li { span.patch style=(background(&colors)) {} (name) }
                }
                li { span.patch.hatched {} "ignored because of the mask" }
            }
            @for row in rows { (picture_figure(row)) }
        }
    }
}

fn picture_figure(row: &PictureRow) -> Markup {
    let picture = &row.picture;
    let data = BASE64_STANDARD.encode(picture.png());
    html! {
        figure.sample style=(format!("max-width:{}px", picture.width)) {
            div.titles style=(format!("grid-template-columns:repeat({},1fr)", row.titles.len().max(1))) {
                @for title in &row.titles { span { (title) } }
            }
            img width=(picture.width) height=(picture.height) alt=(row.titles.join(", "))
                src=(format!("data:image/png;base64,{data}"));
            figcaption { (row.caption) }
        }
    }
}

fn background(colors: &[[u8; 3]]) -> String {
    let css = |[r, g, b]: &[u8; 3]| format!("rgb({r},{g},{b})");
    match colors {
        [color] => format!("background:{}", css(color)),
        all => {
            let stops: Vec<_> = all.iter().map(css).collect();
            format!("background:linear-gradient(90deg,{})", stops.join(","))
        }
    }
}
