//! Bar charts of distributions.

use maud::{Markup, html};

use crate::preview::overview::Distribution;
use crate::preview::report::split_color;

/// Size of a chart in pixels, without the names of its bins.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 120.0;

/// Most bins whose names are all printed.
const MAX_NAMES: usize = 6;

/// A chart with a bar for each bin and split: the share of the split's samples that are in the bin.
pub(super) fn chart(distribution: &Distribution) -> Markup {
    let shares: Vec<_> = distribution
        .splits
        .iter()
        .map(|(_, counts)| shares(counts))
        .collect();
    let highest = shares.iter().flatten().copied().fold(0.0, f64::max);
    let bins = distribution.bins.len().max(1);
    let slot = WIDTH / bins as f64;
    let bar = slot * 0.9 / shares.len().max(1) as f64;
    let rectangle = |split: usize, bin: usize, share: f64| {
        let height = if highest > 0.0 {
            HEIGHT * share / highest
        } else {
            0.0
        };
        let x = slot * (bin as f64 + 0.05) + bar * split as f64;
        let (name, counts) = &distribution.splits[split];
        let title = format!(
            "{name}: {}: {} samples, {:.1} %",
            distribution.bins[bin],
            counts[bin],
            100.0 * share
        );
        html! {
            rect x=(format!("{x:.1}")) y=(format!("{:.1}", HEIGHT - height)) width=(format!("{bar:.1}"))
                height=(format!("{height:.1}")) style=(format!("fill:{}", split_color(split))) {
                title { (title) }
            }
        }
    };
    html! {
        figure.chart {
            figcaption {
                h3 { (distribution.column) }
                p { "share of the samples of a split; the highest bar is " (format!("{:.1} %", 100.0 * highest)) }
            }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label(distribution)) preserveAspectRatio="none" {
                @for (split, of_split) in shares.iter().enumerate() {
                    @for (bin, share) in of_split.iter().enumerate() {
                        @if *share > 0.0 { (rectangle(split, bin, *share)) }
                    }
                }
            }
            div.bins {
                @if bins <= MAX_NAMES {
                    @for name in &distribution.bins { span { (name) } }
                } @else {
                    @for name in [distribution.bins.first(), distribution.bins.last()].into_iter().flatten() { span { (name) } }
                }
            }
        }
    }
}

fn shares(counts: &[u64]) -> Vec<f64> {
    let total = counts.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
    let share = |n: &u64| *n as f64 / total.max(1) as f64;
    counts.iter().map(share).collect()
}

/// What a screen reader reads: for each split the bin with the most samples.
fn label(distribution: &Distribution) -> String {
    let of_split = |(split, counts): &(String, Vec<u64>)| {
        let most = counts.iter().enumerate().rev().max_by_key(|(_, n)| **n);
        let (bin, _) = most?;
        Some(format!(
            "most samples of {split}: {}",
            distribution.bins[bin]
        ))
    };
    let splits: Vec<_> = distribution.splits.iter().filter_map(of_split).collect();
    format!(
        "distribution of {}; {}",
        distribution.column,
        splits.join("; ")
    )
}
