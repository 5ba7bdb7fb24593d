//! Samples per second of the loader, compared with zstd alone on the same cores.
//!
//! `cargo bench --features bench --bench loader -- [DATASET] [--threads N] [--rounds N] [--batch N]`. Without a dataset, it
//! generates one in a temporary folder. The candidates run in turn, so that other load on the machine affects all of them.
//! Figures are medians.

mod made_up;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use pointshard::bench::{
    ArrayNames, Augmentation, Flip, InputArray, Loader, LoaderOptions, SampleDecoder, ShardFiles,
};
use pointshard::{Dataset, Storage};

/// The first bytes of a zstd frame (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut folder = None;
    let mut threads = std::thread::available_parallelism()?.get();
    let (mut rounds, mut batch) = (7, 8);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            arguments
                .next()
                .ok_or("a number is missing")?
                .parse()
                .map_err(Failure::from)
        };
        match argument.as_str() {
            "--bench" => {}
            "--threads" => threads = number()?,
            "--rounds" => rounds = number()?,
            "--batch" => batch = number()?,
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    let temporary = tempfile::tempdir()?;
    let folder = match folder {
        Some(folder) => folder,
        None => {
            made_up::make_dataset(temporary.path())?;
            temporary.path().to_owned()
        }
    };
    let bench = Bench::open(&folder, threads, batch)?;
    println!(
        "{}: {} samples of `{}`, {:.0} MB encoded, {:.0} MB decoded; {threads} threads, batches of {batch}, {rounds} rounds",
        folder.display(),
        bench.samples,
        bench.names.join("`, `"),
        bench
            .encoded
            .iter()
            .flatten()
            .map(|c| c.len() as f64)
            .sum::<f64>()
            / 1e6,
        (bench.sample_bytes.iter().sum::<usize>() as u64 * bench.samples) as f64 / 1e6,
    );
    bench.compare(rounds)
}

/// Batches that are ready or in preparation.
const PREFETCH: usize = 4;

struct Bench {
    dataset: Dataset,
    split: String,
    arrays: ArrayNames,
    threads: usize,
    batch: usize,
    samples: u64,
    /// The arrays to read, without duplicates.
    names: Vec<String>,
    sample_bytes: Vec<usize>,
    /// The zstd frame of each sample and array, empty for missing chunks.
    encoded: Vec<Vec<Vec<u8>>>,
}

impl Bench {
    fn open(folder: &Path, threads: usize, batch: usize) -> Result<Self, Failure> {
        let dataset = Dataset::open(folder, &Storage::default())?;
        let manifest = dataset.manifest();
        let largest = manifest.splits.iter().max_by_key(|(_, s)| s.samples);
        let (split, entry) = largest.ok_or("the dataset has no split")?;
        let (split, samples) = (split.clone(), entry.samples);
        let arrays = choose(&dataset)?;
        let mut names = vec![arrays.inputs[0].name.clone()];
        for name in arrays.targets.iter().chain(arrays.masks.iter().flatten()) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        let mut encoded = vec![Vec::new(); samples as usize];
        let mut sample_bytes = Vec::new();
        for name in &names {
            let a = &manifest.arrays[name];
            sample_bytes
                .push(a.sample_shape.iter().product::<u64>() as usize * a.data_type.size_bytes());
            for shard in manifest
                .shards
                .iter()
                .filter(|s| (&s.split, &s.array) == (&split, name))
            {
                let frames = frames(&folder.join(&shard.path), entry.shard_samples as usize)?;
                let range =
                    shard.first_sample as usize..(shard.first_sample + shard.samples) as usize;
                for (of_sample, frame) in encoded[range].iter_mut().zip(frames) {
                    of_sample.push(frame);
                }
            }
        }
        Ok(Self {
            dataset,
            split,
            arrays,
            threads,
            batch,
            samples,
            names,
            sample_bytes,
            encoded,
        })
    }

    fn compare(&self, rounds: usize) -> Result<(), Failure> {
        let turned = Augmentation {
            flip: Flip {
                x: true,
                y: true,
                z: true,
            },
            transpose_xy: true,
            rotate_xy: true,
            ..Augmentation::default()
        };
        let values = Augmentation {
            brightness: 0.1,
            contrast: 0.1,
            noise: 0.02,
            missing_section: 0.1,
            ..turned
        };
        let misaligned = serde_json::json!({"probability": 0.5, "max_voxels": 4});
        let sections = serde_json::json!({
            "slip": misaligned, "step": misaligned, "missing_section": 0.1, "missing_sections_max": 3,
            "section_brightness": 0.1, "section_contrast": 0.1, "section_noise": 0.02,
            "coarse_dropout": {"probability": 0.5, "boxes": 4, "size": [8, 8, 4]},
        });
        let sections: Augmentation = serde_json::from_value(sections)?;
        let rotated = Augmentation {
            rotate_xy_degrees: 180.0,
            ..Augmentation::default()
        };
        let all = Augmentation {
            flip: turned.flip,
            transpose_xy: true,
            rotate_xy_degrees: 180.0,
            brightness: 0.1,
            contrast: 0.1,
            noise: 0.02,
            ..sections
        };
        let changed = Augmentation {
            brightness: 0.1,
            ..Augmentation::default()
        };
        let floats = self.loader(changed)?;
        let plain = self.loader(Augmentation::default())?;
        let turned = self.loader(turned)?;
        let values = self.loader(values)?;
        let sections = self.loader(sections)?;
        let rotated = self.loader(rotated)?;
        let all = self.loader(all)?;
        type Pass<'p> = (&'static str, Box<dyn Fn(u64) -> Result<(), Failure> + 'p>);
        let passes: Vec<Pass<'_>> = vec![
            ("zstd alone, from memory", Box::new(|_| self.decode(1))),
            (
                "zstd alone, to where batches lie",
                Box::new(|_| self.decode((PREFETCH * self.batch).div_ceil(self.threads))),
            ),
            (
                "SampleReader: read, CRC-32C, zstd",
                Box::new(|_| self.read()),
            ),
            ("loader, bytes", Box::new(|round| run(&plain, round, true))),
            (
                "loader, bytes, not given back",
                Box::new(|round| run(&plain, round, false)),
            ),
            (
                "loader, float32: brightness",
                Box::new(|round| run(&floats, round, true)),
            ),
            (
                "loader, flips and turns",
                Box::new(|round| run(&turned, round, true)),
            ),
            (
                "loader, flips, turns and values",
                Box::new(|round| run(&values, round, true)),
            ),
            (
                "loader, options of sections",
                Box::new(|round| run(&sections, round, true)),
            ),
            (
                "loader, rotation by any angle",
                Box::new(|round| run(&rotated, round, true)),
            ),
            (
                "loader, every augmentation",
                Box::new(|round| run(&all, round, true)),
            ),
            (
                "zarrs, SampleArray::read",
                Box::new(|_| self.read_by_zarrs()),
            ),
        ];
        let mut seconds = vec![Vec::new(); passes.len()];
        // The first round warms up caches and does not count.
        for round in 0..=rounds {
            for ((_, pass), seconds) in passes.iter().zip(&mut seconds) {
                let clock = Instant::now();
                pass(round as u64)?;
                if round > 0 {
                    seconds.push(clock.elapsed().as_secs_f64());
                }
            }
        }
        println!(
            "{:36}{:>11}{:>16}{:>17}{:>17}",
            "", "samples/s", "of zstd alone", "of zstd, batches", "of SampleReader"
        );
        for ((name, _), of_pass) in passes.iter().zip(&seconds) {
            let rate = self.samples as f64 / median(of_pass.iter().copied());
            let share = |of: &[f64]| {
                let shares = of.iter().zip(of_pass).map(|(of, this)| of / this);
                100.0 * median(shares)
            };
            let [zstd, batches, reader] = [0, 1, 2].map(|i| share(&seconds[i]));
            println!("{name:36}{rate:11.0}{zstd:15.1}%{batches:16.1}%{reader:16.1}%");
        }
        Ok(())
    }

    fn loader(&self, augmentation: Augmentation) -> Result<Loader, Failure> {
        let options = LoaderOptions {
            prefetch: PREFETCH,
            seed: 1,
            shuffle: true,
            augmentation,
            ..LoaderOptions::in_order(self.batch, self.threads)
        };
        Ok(Loader::open(
            &self.dataset,
            &self.split,
            &self.arrays,
            options,
        )?)
    }

    /// Only decompresses each sample. Each thread uses `places` buffers in turn. A single buffer would stay in the cache of
    /// the core, unlike the samples of a real batch.
    fn decode(&self, places: usize) -> Result<(), Failure> {
        self.each_sample(|next| {
            let mut zstd = zstd::bulk::Decompressor::new().map_err(|e| e.to_string())?;
            let place = || self.sample_bytes.iter().map(|n| vec![0u8; *n]);
            let mut places: Vec<Vec<_>> = (0..places).map(|_| place().collect()).collect();
            let mut taken = (0..places.len()).cycle();
            while let (Some(sample), Some(place)) = (next(), taken.next()) {
                for (frame, values) in self.encoded[sample].iter().zip(&mut places[place]) {
                    if frame.len() == values.len() && !frame.starts_with(&ZSTD_MAGIC) {
                        // Not compressed: the codec only copies.
                        values.copy_from_slice(frame);
                    } else if !frame.is_empty() {
                        let n = zstd.decompress_to_buffer(frame, values.as_mut_slice());
                        assert_eq!(n.map_err(|e| e.to_string())?, values.len());
                    }
                    black_box(&values);
                }
            }
            Ok(())
        })
    }

    /// Reads each sample without building batches.
    fn read(&self) -> Result<(), Failure> {
        let split = self.dataset.split(&self.split)?;
        let files = Arc::new(ShardFiles::default());
        let arrays = self.names.iter().map(|n| split.reader(n, &files));
        let arrays: Vec<_> = arrays.collect::<Result<_, _>>()?;
        self.each_sample(|next| {
            let mut decoder = SampleDecoder::new().map_err(|e| e.to_string())?;
            while let Some(sample) = next() {
                for array in &arrays {
                    let values = array.read(sample as u64, &mut decoder);
                    black_box(values.map_err(|e| e.to_string())?);
                }
            }
            Ok(())
        })
    }

    fn read_by_zarrs(&self) -> Result<(), Failure> {
        let split = self.dataset.split(&self.split)?;
        let arrays: Vec<_> = self
            .names
            .iter()
            .map(|n| split.samples(n))
            .collect::<Result<_, _>>()?;
        self.each_sample(|next| {
            while let Some(sample) = next() {
                for array in &arrays {
                    black_box(array.read(sample as u64).map_err(|e| e.to_string())?);
                }
            }
            Ok(())
        })
    }

    /// Runs `work` on all threads. Each takes the next sample when it is done with one.
    fn each_sample(
        &self,
        work: impl Fn(&dyn Fn() -> Option<usize>) -> Result<(), String> + Sync,
    ) -> Result<(), Failure> {
        let taken = AtomicUsize::new(0);
        let next = || {
            let sample = taken.fetch_add(1, Ordering::Relaxed);
            (sample < self.samples as usize).then_some(sample)
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|_| scope.spawn(|| work(&next)))
                .collect();
            threads.into_iter().try_for_each(|t| {
                t.join()
                    .map_err(|_| "a thread panicked")?
                    .map_err(Failure::from)
            })
        })
    }
}

/// Reads one epoch.
fn run(loader: &Loader, epoch: u64, give_back: bool) -> Result<(), Failure> {
    for batch in loader.epoch(epoch, 0) {
        let batch = black_box(batch?);
        if give_back {
            loader.recycle(batch);
        }
    }
    Ok(())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Chooses arrays by their roles in the manifest. Without roles, the first array is the image and all others are targets.
fn choose(dataset: &Dataset) -> Result<ArrayNames, Failure> {
    let arrays = &dataset.manifest().arrays;
    let roles: BTreeMap<_, _> = arrays.iter().map(|(n, a)| (n, a.role.as_deref())).collect();
    let image = arrays.keys().find(|n| roles[n] == Some("image"));
    let image = image
        .or(arrays.keys().next())
        .ok_or("the dataset has no array")?;
    let is_target = |n: &&String| *n != image && roles[n] != Some("mask");
    let targets: Vec<_> = arrays.keys().filter(is_target).cloned().collect();
    Ok(ArrayNames::with_masks(
        dataset,
        &[InputArray::new(image)],
        &targets,
    ))
}

/// The zstd frames of a shard file with `places` samples.
fn frames(path: &Path, places: usize) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes = std::fs::read(path)?;
    let index = bytes
        .len()
        .checked_sub(places * 16 + 4)
        .ok_or("a shard is too short")?;
    let entries = bytes[index..].as_chunks::<16>().0;
    let frame = |entry: &[u8; 16]| {
        let [offset, n] = [0, 8].map(|at| {
            entry[at..]
                .first_chunk::<8>()
                .map_or(0, |w| u64::from_le_bytes(*w))
        });
        match offset {
            u64::MAX => Vec::new(),
            _ => bytes[offset as usize..(offset + n) as usize - 4].to_vec(),
        }
    };
    Ok(entries.iter().map(frame).collect())
}
