//! Links to a whole dataset, or to one of its samples.

use serde_json::Value;

use super::error::PreviewError;
use super::link::{LinkTarget, Links};
use super::overview::read_points;
use super::sample::{SampleChoice, SampleFacts, choose, in_order, read_facts, shown_arrays};
use crate::dataset::Dataset;
use crate::storage::{Location, Storage};

/// What to link to.
#[derive(Clone, Debug)]
pub struct LinkOptions {
    /// The sample to show at its place; `None` for the whole dataset.
    pub sample: Option<LinkedSample>,
    /// Most points of each layer of annotations.
    pub points: u64,
    /// Where links lead.
    pub target: LinkTarget,
}

/// The sample that a link shows.
#[derive(Clone, Debug)]
pub enum LinkedSample {
    /// Split and position in it: `train/17`.
    Position(String),
    /// The first sample of this annotation.
    Annotation(u64),
}

/// A link.
#[derive(Clone, Debug)]
pub struct Linked {
    /// The state of the viewer.
    pub state: Value,
    /// The viewer in this state.
    pub url: String,
    /// What the link leaves out: what a browser cannot find, or Neuroglancer cannot show.
    pub left_out: Vec<String>,
}

/// The link to the dataset at `location`, or to a sample.
///
/// # Errors
/// The location is not a dataset, or it has no such sample.
pub fn link(
    location: &Location,
    options: &LinkOptions,
    storage: &Storage,
) -> Result<Linked, PreviewError> {
    let dataset = Dataset::open(location.clone(), storage)?;
    let links = Links::new(&dataset, &options.target);
    let state = match &options.sample {
        Some(sample) => {
            let facts = facts_of(&dataset, sample)?;
            let state = links.of_sample(&facts);
            state.ok_or_else(|| PreviewError::Unreachable {
                locations: links.left_out(&dataset).join(", "),
            })?
        }
        None => {
            let points = read_points(&dataset, options.points)?;
            links.of_dataset(&points, &first_samples(&dataset)?)
        }
    };
    Ok(Linked {
        url: links.url(&state),
        state,
        left_out: links.left_out(&dataset),
    })
}

/// The first sample of each split that has one.
fn first_samples(dataset: &Dataset) -> Result<Vec<SampleFacts>, PreviewError> {
    let splits = dataset.manifest().splits.iter();
    let firsts = splits.filter(|(_, split)| split.samples > 0);
    let firsts: Vec<_> = firsts.map(|(name, _)| (name.clone(), 0)).collect();
    let arrays = shown_arrays(dataset.manifest());
    Ok(read_facts(dataset, &arrays, &firsts)?)
}

fn facts_of(dataset: &Dataset, sample: &LinkedSample) -> Result<SampleFacts, PreviewError> {
    let arrays = shown_arrays(dataset.manifest());
    let chosen = match sample {
        LinkedSample::Position(text) => vec![position(dataset, text)?],
        LinkedSample::Annotation(id) => {
            let choice = SampleChoice {
                samples: None,
                seed: 0,
                ids: vec![*id],
            };
            let chosen = choose(dataset, &arrays, &choice, None)?;
            in_order(dataset, &chosen).into_iter().take(1).collect()
        }
    };
    let facts = read_facts(dataset, &arrays, &chosen)?.into_iter().next();
    facts.ok_or_else(|| no_position(dataset, &format!("{sample:?}")))
}

/// The split and the position in `text`, `SPLIT/POSITION`.
fn position(dataset: &Dataset, text: &str) -> Result<(String, u64), PreviewError> {
    let (split, position) = text.rsplit_once('/').unwrap_or((text, ""));
    let entry = dataset.manifest().splits.get(split);
    let position = position.parse().ok();
    match (entry, position) {
        (Some(entry), Some(position)) if position < entry.samples => {
            Ok((split.to_owned(), position))
        }
        _ => Err(no_position(dataset, text)),
    }
}

fn no_position(dataset: &Dataset, sample: &str) -> PreviewError {
    let splits = dataset.manifest().splits.iter();
    let ranges = splits.filter(|(_, split)| split.samples > 0);
    let ranges: Vec<_> = ranges
        .map(|(name, split)| format!("{name}/0 to {name}/{}", split.samples - 1))
        .collect();
    PreviewError::NoPosition {
        dataset: dataset.location().to_string(),
        sample: sample.to_owned(),
        expected: format!("expected {}", ranges.join(", ")),
    }
}
