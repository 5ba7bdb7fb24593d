//! The HTML of the page. `maud` escapes all text.

use indicatif::HumanCount;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::chart;
use super::data::PageData;
use crate::check::{Finding, Severity};
use crate::dataset::Manifest;
use crate::preview::overview::{Distribution, Points, box_map};
use crate::preview::report::{self, short, split_color};

/// The beginning of every page: a file that begins with it may be replaced by another page.
pub(in crate::preview) const GENERATOR: &str = "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"generator\" content=\"pointshard preview\">";

const POLICY: &str =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:";
const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 6] = [
    include_str!("script/data.js"),
    include_str!("script/plane.js"),
    include_str!("script/viewer.js"),
    include_str!("script/sheet.js"),
    include_str!("script/filter.js"),
    include_str!("script/main.js"),
];

/// Renders the page.
pub(in crate::preview) fn page(
    title: &str,
    facts: &[(String, String)],
    data: &PageData<'_>,
    distributions: &[Distribution],
    points: &Points,
) -> String {
    let manifest = data.manifest;
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="generator" content="pointshard preview";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) }
                // Style sheets must not be escaped.
                style { (PreEscaped(report::base_style())) (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (title) }
                    dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } }
                    (findings(data.findings))
                    (samples(data))
                    (boxes(manifest, points))
                    (balance(manifest))
                    section aria-labelledby="distributions" {
                        h2 #distributions { "Distributions" }
                        (split_colors(manifest))
                        div.charts { @for d in distributions { (chart(d)) } }
                    }
                }
                (viewer())
                // Scripts and JSON must not be escaped: the JSON has no `<`.
                script #data type="application/json" { (PreEscaped(data.json())) }
                script { (PreEscaped("\"use strict\";(() => {\n")) (PreEscaped(SCRIPTS.concat())) (PreEscaped("})();")) }
            }
        }
    };
    document.into_string()
}

fn findings(findings: &[Finding]) -> Markup {
    html! {
        section aria-labelledby="findings" {
            h2 #findings { "Findings of check" }
            @if findings.is_empty() {
                p { "none in files, columns and the samples below" }
            } @else {
                ul.findings {
                    @for finding in findings {
                        @let severity = if finding.severity == Severity::Error { "error" } else { "warning" };
                        li class=(severity) {
                            span.severity { (severity) } " "
                            code { (finding.kind.name()) } " in " (finding.file) ": " (finding.message)
                        }
                    }
                }
            }
        }
    }
}

fn samples(data: &PageData<'_>) -> Markup {
    let total = data.manifest.splits.values();
    let total = total.fold(0u64, |sum, s| sum.saturating_add(s.samples));
    html! {
        section aria-labelledby="samples" {
            h2 #samples { "Samples" }
            p.note {
                (data.samples.len()) " of " (HumanCount(total).to_string())
                " samples are on this page. A card shows the section of the point (+). Choose it to see all sections."
            }
            noscript { p { "The pictures need JavaScript." } }
            form #filter aria-label="filter and sort" {}
            p #count role="status" {}
            ul #arrays.colors {}
            ul #sheet aria-label="samples" {}
        }
    }
}

fn boxes(manifest: &Manifest, points: &Points) -> Markup {
    let mut reasons: Vec<&str> = Vec::new();
    for b in &manifest.boxes {
        let of_box = b.dropped.iter().filter(|(_, n)| **n > 0);
        for (reason, _) in of_box {
            if !reasons.contains(&reason.as_str()) {
                reasons.push(reason);
            }
        }
    }
    let sum = |split: &str, of: &dyn Fn(&crate::dataset::BoxEntry) -> u64| {
        let boxes = manifest.boxes.iter();
        let boxes = boxes.filter(|b| b.split.as_deref() == Some(split));
        let sum = boxes.fold(0u64, |sum, b| sum.saturating_add(of(b)));
        HumanCount(sum).to_string()
    };
    html! {
        section aria-labelledby="boxes" {
            h2 #boxes { "Boxes" }
            div.wide {
                table {
                    thead {
                        tr {
                            th { "split" } th.number { "boxes" } th.number { "annotations" } th.number { "samples" }
                            @for reason in &reasons { th.number { "dropped: " (reason) } }
                        }
                    }
                    tbody {
                        @for split in manifest.splits.keys() {
                            tr {
                                th scope="row" { (split) }
                                td.number { (sum(split, &|_| 1)) }
                                td.number { (sum(split, &|b| b.annotations)) }
                                td.number { (sum(split, &|b| b.samples)) }
                                @for reason in &reasons {
                                    td.number { (sum(split, &|b| b.dropped.get(*reason).copied().unwrap_or(0))) }
                                }
                            }
                        }
                    }
                }
            }
            @if let Some(map) = box_map(manifest, points) { (map) }
        }
    }
}

/// Values and class balance of each array and split.
fn balance(manifest: &Manifest) -> Markup {
    let number = |value: &serde_json::Value| value.as_f64().map_or_else(|| "–".to_owned(), short);
    html! {
        section aria-labelledby="values" {
            h2 #values { "Values" }
            div.wide {
                table {
                    thead {
                        tr {
                            th { "array" } th { "split" } th.number { "min" } th.number { "mean" } th.number { "max" }
                            th.number { "nonzero" } th.number { "positive" } th.number { "empty samples" } th.number { "padded" }
                        }
                    }
                    tbody {
                        @for (name, array) in &manifest.arrays {
                            @for (split, statistics) in &array.statistics {
                                @let count = statistics["count"].as_f64().unwrap_or(0.0);
                                @let nonzero = statistics["nonzero"].as_f64().unwrap_or(0.0);
                                tr {
                                    th scope="row" { (name) }
                                    td { (split) }
                                    td.number { (number(&statistics["min"])) }
                                    td.number { (number(&statistics["mean"])) }
                                    td.number { (number(&statistics["max"])) }
                                    td.number { (format!("{:.2} %", 100.0 * nonzero / count.max(1.0))) }
                                    td.number { (statistics["positive_fraction"].as_f64().map_or_else(|| "–".to_owned(), |f| format!("{:.2} %", 100.0 * f))) }
                                    td.number { (number(&statistics["empty_samples"])) }
                                    td.number { (array.padded_windows.get(split).map_or_else(|| "–".to_owned(), u64::to_string)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn split_colors(manifest: &Manifest) -> Markup {
    html! {
        ul.colors {
            @for (number, split) in manifest.splits.keys().enumerate() {
                li { span.patch style=(format!("background:{}", split_color(number))) {} (split) }
            }
        }
    }
}

/// The viewer of one sample. Scripts fill it.
fn viewer() -> Markup {
    html! {
        dialog #viewer aria-labelledby="viewer-title" {
            header {
                h2 #viewer-title {}
                div.buttons {
                    button #previous type="button" title="previous sample (left arrow)" { "← previous" }
                    button #next type="button" title="next sample (right arrow)" { "next →" }
                    button #close type="button" title="close (Escape)" { "close" }
                }
            }
            div.viewer-body {
                div #planes {}
                div.side {
                    form #controls aria-label="view" {}
                    p #readout role="status" {}
                    p #open-link {}
                    ul #sample-findings.findings {}
                    table #sample-facts { caption { "Index columns" } tbody {} }
                    p.note { "Keys: left and right arrow: sample; up and down arrow or wheel: section; o: overlays; [ and ]: opacity; - and +: contrast; p: point; Escape: close." }
                }
            }
        }
    }
}
