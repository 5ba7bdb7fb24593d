//! Shows a dataset: a page, and a picture.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use indicatif::HumanCount;
use rayon::prelude::*;

use super::error::PreviewError;
use super::link::{LinkTarget, Links};
use super::montage::{MontageSample, montage};
use super::overview::{distributions, read_points};
use super::page::{GENERATOR, PageData, PageSample, page};
use super::picture::is_own_png;
use super::sample::{
    SampleChoice, SampleFacts, ShownArray, ShownVoxels, VoxelReader, choose, in_order, read_facts,
    shown_arrays,
};
use crate::check::{Finding, Report, check_samples};
use crate::dataset::{Dataset, DatasetError, Manifest, SampleDecoder};
use crate::storage::{Existing, Location, Storage, enough, write_atomic};

/// What to show, and where to write it.
#[derive(Clone, Debug)]
pub struct PreviewOptions {
    /// Which samples.
    pub choice: SampleChoice,
    /// A report of `check` in JSON. Without one, the samples are checked.
    pub findings: Option<PathBuf>,
    /// File of the page.
    pub html: Option<PathBuf>,
    /// File of the picture.
    pub png: Option<PathBuf>,
    /// Where the links of the page lead.
    pub target: LinkTarget,
    /// Most memory that the program may take, in bytes.
    pub memory_bytes: u64,
}

/// What was shown.
#[derive(Clone, Debug, Default)]
pub struct Preview {
    /// Number of samples.
    pub samples: u64,
    /// Number of findings.
    pub findings: u64,
    /// The files, with their sizes in bytes.
    pub files: Vec<(PathBuf, u64)>,
    /// What the links of samples leave out: what a browser cannot find, or Neuroglancer cannot show.
    pub left_out: Vec<String>,
}

/// Most points of each split, and of each reason, on the map.
const MAX_POINTS: u64 = 1500;

/// Bytes in memory for each byte of voxels: decoded, compressed, as text, and in the page.
const MEMORY_FACTOR: u64 = 5;

/// The beginning of the name of a file that is being written.
const PART: &str = ".part-";

/// Shows the dataset at `location`, with the threads of the current rayon pool.
///
/// # Errors
/// The location is not a dataset, metadata or columns are damaged, it has no sample as chosen, or a file cannot be written.
/// Samples that cannot be read are shown as such.
pub fn preview(
    location: &Location,
    options: &PreviewOptions,
    storage: &Storage,
) -> Result<Preview, PreviewError> {
    if let Some(path) = &options.html {
        require_own(path, is_own_page)?;
    }
    if let Some(path) = &options.png {
        require_own(path, |file| Ok(is_own_png(BufReader::new(file))))?;
    }
    let dataset = Dataset::open(location.clone(), storage)?;
    let arrays = shown_arrays(dataset.manifest());
    let report = options.findings.as_deref().map(read_report).transpose()?;
    if let (Some(report), Some(path)) = (&report, &options.findings) {
        require_report_of(&dataset, report, path)?;
    }
    let chosen = choose(&dataset, &arrays, &options.choice, report.as_ref())?;
    let in_order = in_order(&dataset, &chosen);
    require_memory(&arrays, in_order.len(), options.memory_bytes)?;
    let report = match report {
        Some(report) => report,
        None => {
            let report = check_samples(location, &chosen, options.memory_bytes, storage);
            report.map_err(check_error)?
        }
    };
    let facts = read_facts(&dataset, &arrays, &in_order)?;
    let voxels = read_voxels(&dataset, &arrays, &facts)?;
    let mut shown = Preview {
        samples: facts.len() as u64,
        findings: report.findings.len() as u64,
        ..Preview::default()
    };
    if let Some(path) = &options.png {
        let samples = facts
            .iter()
            .zip(&voxels)
            .map(|(facts, voxels)| MontageSample {
                facts,
                voxels: voxels.iter().map(|v| v.as_ref().ok()).collect(),
            });
        if let Some(picture) = montage(&arrays, &samples.collect::<Vec<_>>()) {
            shown.files.push(write(path, &picture.png())?);
        }
    }
    if let Some(path) = &options.html {
        let links = Links::new(&dataset, &options.target);
        shown.left_out = links.left_out(&dataset);
        let samples = facts
            .into_iter()
            .zip(voxels)
            .map(|(facts, voxels)| PageSample {
                link: links.of_sample(&facts).map(|state| links.url(&state)),
                facts,
                voxels,
            });
        let html = html(
            &dataset,
            &arrays,
            &samples.collect::<Vec<_>>(),
            &report.findings,
        )?;
        shown.files.push(write(path, html.as_bytes())?);
    }
    Ok(shown)
}

fn html(
    dataset: &Dataset,
    arrays: &[ShownArray],
    samples: &[PageSample],
    findings: &[Finding],
) -> Result<String, PreviewError> {
    let data = PageData {
        manifest: dataset.manifest(),
        arrays,
        samples,
        findings,
    };
    let points = read_points(dataset, MAX_POINTS)?;
    let distributions = distributions(dataset)?;
    let location = dataset.location().to_string();
    let name = location.trim_end_matches('/').rsplit('/').next();
    let title = format!("Dataset {}", name.unwrap_or(&location));
    let facts = page_facts(&location, dataset.manifest());
    Ok(page(&title, &facts, &data, &distributions, &points))
}

/// The facts at the top of the page.
fn page_facts(location: &str, manifest: &Manifest) -> Vec<(String, String)> {
    let by_axis = |values: &[f64; 3]| values.map(|v| v.to_string()).join(" x ");
    let samples = manifest.splits.iter();
    let samples = samples.map(|(name, s)| format!("{name} {}", HumanCount(s.samples)));
    let files = manifest.files.iter().map(|f| f.bytes);
    let bytes = manifest.shards.iter().map(|s| s.bytes).chain(files);
    let bytes = bytes.fold(0u64, u64::saturating_add);
    let mut resolutions: Vec<_> = manifest
        .groups
        .iter()
        .map(|g| by_axis(&g.resolution_nm))
        .collect();
    resolutions.dedup();
    let arrays: Vec<_> = manifest.arrays.keys().map(String::as_str).collect();
    let facts = [
        ("location", location.to_owned()),
        ("samples", samples.collect::<Vec<_>>().join(", ")),
        ("size", ByteSize(bytes).to_string()),
        (
            "window, voxels",
            by_axis(&manifest.window_voxels.map(f64::from)),
        ),
        ("voxel, nm", resolutions.join(", ")),
        ("arrays", arrays.join(", ")),
        ("plan", manifest.plan_digest.chars().take(16).collect()),
    ];
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
    facts
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The voxels of the samples, by array.
fn read_voxels(
    dataset: &Dataset,
    arrays: &[ShownArray],
    facts: &[SampleFacts],
) -> Result<Vec<Vec<Result<ShownVoxels, DatasetError>>>, PreviewError> {
    let mut voxels = Vec::with_capacity(facts.len());
    for of_split in facts.chunk_by(|a, b| a.split == b.split) {
        let Some(first) = of_split.first() else {
            continue;
        };
        let reader = VoxelReader::open(dataset, &first.split, arrays)?;
        let read = |decoder: &mut Result<SampleDecoder, DatasetError>, facts: &SampleFacts| {
            match decoder {
                Ok(decoder) => Ok(reader.read(facts.position, decoder)),
                Err(_) => SampleDecoder::new().map(|mut d| reader.read(facts.position, &mut d)),
            }
        };
        let of_split = of_split.par_iter().map_init(SampleDecoder::new, read);
        voxels.extend(of_split.collect::<Result<Vec<_>, DatasetError>>()?);
    }
    Ok(voxels)
}

/// The error of a check that was not the user's command.
fn check_error(error: DatasetError) -> PreviewError {
    match error {
        DatasetError::CheckMemory {
            limit_bytes,
            needed_bytes,
            threads,
        } => PreviewError::CheckMemory {
            limit: ByteSize(limit_bytes),
            needed: enough(needed_bytes),
            threads,
        },
        other => other.into(),
    }
}

fn require_memory(
    arrays: &[ShownArray],
    samples: usize,
    memory_bytes: u64,
) -> Result<(), PreviewError> {
    let voxels = arrays
        .iter()
        .map(|a| a.shown_shape().iter().product::<usize>() as u64);
    let of_sample = voxels
        .fold(0u64, u64::saturating_add)
        .saturating_mul(MEMORY_FACTOR);
    let needed = of_sample.saturating_mul(samples as u64);
    if needed <= memory_bytes {
        return Ok(());
    }
    Err(PreviewError::Memory {
        samples: samples as u64,
        needed: enough(needed),
        limit: ByteSize(memory_bytes),
        possible: memory_bytes / of_sample.max(1),
    })
}

fn read_report(path: &Path) -> Result<Report, PreviewError> {
    let unreadable = |problem: String| PreviewError::Findings {
        path: path.to_owned(),
        problem,
    };
    let text = std::fs::read(path).map_err(|e| unreadable(e.to_string()))?;
    serde_json::from_slice(&text).map_err(|e| unreadable(e.to_string()))
}

/// The report must be about this dataset: every sample that it names exists.
fn require_report_of(dataset: &Dataset, report: &Report, path: &Path) -> Result<(), PreviewError> {
    let splits = &dataset.manifest().splits;
    for finding in &report.findings {
        let Some(split) = &finding.split else {
            continue;
        };
        let samples = splits.get(split).map_or(0, |s| s.samples);
        let outside = finding.samples.iter().find(|i| **i >= samples);
        if let Some(sample) = outside {
            return Err(PreviewError::ForeignFindings {
                path: path.to_owned(),
                dataset: dataset.location().to_string(),
                split: split.clone(),
                sample: *sample,
            });
        }
    }
    Ok(())
}

/// Fails if the file exists and is not empty, and `is_own` says that pointshard did not write it.
fn require_own(
    path: &Path,
    is_own: impl FnOnce(File) -> std::io::Result<bool>,
) -> Result<(), PreviewError> {
    let failed = |source| PreviewError::Write {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        file => file.map_err(failed)?,
    };
    let is_empty = file.metadata().map_err(failed)?.len() == 0;
    if is_empty || is_own(file).map_err(failed)? {
        return Ok(());
    }
    Err(PreviewError::ForeignFile {
        path: path.to_owned(),
    })
}

/// Whether the file begins as every page does.
fn is_own_page(file: File) -> std::io::Result<bool> {
    let expected = GENERATOR.as_bytes();
    let mut found = Vec::new();
    file.take(expected.len() as u64).read_to_end(&mut found)?;
    Ok(found == expected)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(PathBuf, u64), PreviewError> {
    let written = write_atomic(path, PART, bytes, Existing::Replace);
    written.map_err(|source| PreviewError::Write {
        path: path.to_owned(),
        source,
    })?;
    Ok((path.to_owned(), bytes.len() as u64))
}
