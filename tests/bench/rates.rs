//! Bytes per second of one core in steps that every program needs. `floor.py` computes a lower bound from these rates.
//!
//! `cargo bench --features bench --bench rates -- JOB.json` reads a [`Job`] and prints [`Rates`] as JSON. It uses the codecs
//! of the program, with warm buffers that are reused. Each rate is a median of passes; the first pass does not count.

use std::collections::BTreeMap;
use std::fs::File;
use std::hint::black_box;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pointshard::bench::compressed_segmentation;
use pointshard::{Dataset, Storage};
use serde::{Deserialize, Serialize};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

type Failure = Box<dyn std::error::Error>;

/// Minimum number of passes, and minimum time of all passes.
const PASSES: usize = 5;
const LEAST: Duration = Duration::from_millis(400);
/// Approximate size of a pass.
const PASS_BYTES: u64 = 64 << 20;

/// The data to measure with.
#[derive(Deserialize)]
struct Job {
    /// A dataset of pointshard. Its windows are encoded, and files of the sizes of its shards are written.
    dataset: PathBuf,
    /// The folder to write files to.
    scratch: PathBuf,
    /// Size of a window in voxels: x, y, z.
    window: [usize; 3],
    sources: BTreeMap<String, Source>,
}

/// A folder of stored chunks: one file per chunk, all of the same shape.
#[derive(Deserialize)]
struct Source {
    folder: PathBuf,
    gzip: bool,
    encoding: String,
    chunk: [usize; 3],
    block: [usize; 3],
    voxel_bytes: usize,
}

/// Bytes per second.
#[derive(Serialize)]
struct Rates {
    /// Copies the bytes of a window in one piece, within the cache.
    memcpy: f64,
    /// Copies a window row by row, within the cache.
    cut: f64,
    /// Writes files without flushing them.
    write: f64,
    /// Writes files and flushes each.
    write_synced: f64,
    sources: BTreeMap<String, SourceRates>,
    arrays: BTreeMap<String, ArrayRates>,
}

#[derive(Serialize)]
struct SourceRates {
    /// Stored bytes, read from the page cache into one buffer.
    read: f64,
    /// Decompressed bytes of gzip.
    inflate: Option<f64>,
    /// Decompressed bytes per stored byte.
    inflates_to: f64,
    /// Decoded bytes of images or labels.
    decode: Option<f64>,
}

#[derive(Serialize)]
struct ArrayRates {
    /// Uncompressed bytes of windows, compressed with zstd level 1.
    encode: f64,
    /// Uncompressed bytes of windows, decompressed with zstd.
    decode: f64,
}

fn main() -> Result<(), Failure> {
    let path = std::env::args().skip(1).find(|a| a != "--bench");
    let path = path.ok_or("usage: rates JOB.json")?;
    let job: Job = serde_json::from_slice(&std::fs::read(path)?)?;
    let dataset = Dataset::open(&job.dataset, &Storage::default())?;
    let (write, write_synced) = write(&dataset, &job.scratch)?;
    let sources = job.sources.iter();
    let names = dataset.manifest().arrays.keys();
    let rates = Rates {
        memcpy: memcpy(job.window.iter().product())?,
        cut: cut(job.window)?,
        write,
        write_synced,
        sources: sources
            .map(|(name, source)| Ok((name.clone(), source.rates()?)))
            .collect::<Result<_, Failure>>()?,
        arrays: names
            .map(|name| Ok((name.clone(), array(&dataset, name)?)))
            .collect::<Result<_, Failure>>()?,
    };
    println!("{}", serde_json::to_string_pretty(&rates)?);
    Ok(())
}

/// Median of bytes per second. `pass` returns the number of bytes that it processed. `before` runs before each pass and is
/// not measured.
fn rate(
    mut before: impl FnMut() -> Result<(), Failure>,
    mut pass: impl FnMut() -> Result<usize, Failure>,
) -> Result<f64, Failure> {
    before()?;
    pass()?;
    let (mut rates, mut taken) = (Vec::new(), Duration::ZERO);
    while rates.len() < PASSES || taken < LEAST {
        before()?;
        let clock = Instant::now();
        let bytes = pass()?;
        let passed = clock.elapsed();
        taken += passed;
        rates.push(bytes as f64 / passed.as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}

fn nothing() -> Result<(), Failure> {
    Ok(())
}

/// Copies one of eight windows in turn. They stay in the cache, as chunks do from which several windows are cut.
fn memcpy(bytes: usize) -> Result<f64, Failure> {
    let from = vec![1u8; 8 * bytes];
    let mut to = vec![0u8; bytes];
    let windows = PASS_BYTES as usize / bytes + 1;
    rate(nothing, || {
        for i in 0..windows {
            let first = i % 8 * bytes;
            to.copy_from_slice(&from[first..first + bytes]);
            black_box(&mut to);
        }
        Ok(windows * bytes)
    })
}

/// As `memcpy`, but row by row.
fn cut([x, y, z]: [usize; 3]) -> Result<f64, Failure> {
    let (wide, high) = (2 * x, 2 * y);
    let from = vec![1u8; 8 * x * y * z];
    let mut window = vec![0u8; x * y * z];
    let windows = PASS_BYTES as usize / window.len() + 1;
    rate(nothing, || {
        for i in 0..windows {
            let (x0, y0, z0) = (i * 89 % (x + 1), i * 151 % (y + 1), i * 71 % (z + 1));
            let mut rows = window.chunks_exact_mut(x);
            for z in z0..z0 + z {
                for (y, row) in (y0..y0 + y).zip(&mut rows) {
                    let first = (z * high + y) * wide + x0;
                    row.copy_from_slice(&from[first..first + x]);
                }
            }
            black_box(&mut window);
        }
        Ok(windows * window.len())
    })
}

impl Source {
    fn rates(&self) -> Result<SourceRates, Failure> {
        let files: Vec<PathBuf> = std::fs::read_dir(&self.folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_, std::io::Error>>()?;
        let mut buffer = Vec::new();
        let read = rate(nothing, || {
            let mut bytes = 0;
            for file in &files {
                buffer.clear();
                bytes += File::open(file)?.read_to_end(&mut buffer)?;
                black_box(&mut buffer);
            }
            Ok(bytes)
        })?;
        let mut chunks = files
            .iter()
            .map(std::fs::read)
            .collect::<Result<Vec<_>, _>>()?;
        let stored: usize = chunks.iter().map(Vec::len).sum();
        let mut inflate = None;
        if self.gzip {
            let mut out = vec![0; chunks.iter().map(|c| inflated(c)).max().unwrap_or(0)];
            let mut gzip = libdeflater::Decompressor::new();
            inflate = Some(rate(nothing, || {
                let mut bytes = 0;
                for chunk in &chunks {
                    bytes += gzip.gzip_decompress(chunk, &mut out)?;
                    black_box(&mut out);
                }
                Ok(bytes)
            })?);
            for chunk in &mut chunks {
                let n = gzip.gzip_decompress(chunk, &mut out)?;
                *chunk = out[..n].to_vec();
            }
        }
        let unpacked: usize = chunks.iter().map(Vec::len).sum();
        let mut values = vec![0; self.chunk.iter().product::<usize>() * self.voxel_bytes];
        let decode = match self.encoding.as_str() {
            "raw" => None,
            _ => Some(rate(nothing, || {
                for chunk in &chunks {
                    self.decode(chunk, &mut values)?;
                    black_box(&mut values);
                }
                Ok(chunks.len() * values.len())
            })?),
        };
        Ok(SourceRates {
            read,
            inflate,
            inflates_to: unpacked as f64 / stored as f64,
            decode,
        })
    }

    fn decode(&self, chunk: &[u8], values: &mut Vec<u8>) -> Result<(), Failure> {
        match self.encoding.as_str() {
            "jpeg" => {
                let grey = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::Luma);
                JpegDecoder::new_with_options(ZCursor::new(chunk), grey)
                    .decode_into(values)
                    .map_err(|e| e.to_string().into())
            }
            "png" => {
                png::Decoder::new(Cursor::new(chunk))
                    .read_info()?
                    .next_frame(values)?;
                Ok(())
            }
            "compressed_segmentation" => {
                let (shape, block) = (self.chunk, self.block);
                compressed_segmentation::decode(chunk, shape, 1, block, self.voxel_bytes, values)?;
                Ok(())
            }
            other => Err(format!("this benchmark has no decoder for {other}").into()),
        }
    }
}

/// Uncompressed size of a gzip stream with one member.
fn inflated(gzip: &[u8]) -> usize {
    gzip.last_chunk::<4>()
        .map_or(0, |n| u32::from_le_bytes(*n) as usize)
}

/// Rates of zstd on windows of the largest split.
fn array(dataset: &Dataset, name: &str) -> Result<ArrayRates, Failure> {
    let splits = &dataset.manifest().splits;
    let (split, entry) = splits
        .iter()
        .max_by_key(|(_, s)| s.samples)
        .ok_or("no split")?;
    let samples = dataset.split(split)?.samples(name)?;
    let first = samples.read(0)?;
    let count = (PASS_BYTES / first.len() as u64).clamp(1, entry.samples);
    let windows = (0..count)
        .map(|i| samples.read(i * entry.samples / count))
        .collect::<Result<Vec<_>, _>>()?;
    let mut zstd = zstd::bulk::Compressor::new(1)?;
    let mut encoded = vec![0; zstd::zstd_safe::compress_bound(first.len())];
    let bytes = windows.len() * first.len();
    let encode = rate(nothing, || {
        for window in &windows {
            zstd.compress_to_buffer(window, encoded.as_mut_slice())?;
            black_box(&mut encoded);
        }
        Ok(bytes)
    })?;
    let frames = windows.iter().map(|window| zstd.compress(window));
    let frames = frames.collect::<Result<Vec<_>, _>>()?;
    let (mut unzstd, mut decoded) = (zstd::bulk::Decompressor::new()?, first);
    let decode = rate(nothing, || {
        for frame in &frames {
            unzstd.decompress_to_buffer(frame, decoded.as_mut_slice())?;
            black_box(&mut decoded);
        }
        Ok(bytes)
    })?;
    Ok(ArrayRates { encode, decode })
}

/// Rates of writing files of the sizes of the shards: without and with a flush.
fn write(dataset: &Dataset, scratch: &Path) -> Result<(f64, f64), Failure> {
    let mut left = PASS_BYTES;
    let sizes = dataset.manifest().shards.iter().map(|s| s.bytes);
    let sizes: Vec<u64> = sizes
        .take_while(|bytes| {
            let more = left > 0;
            left = left.saturating_sub(*bytes);
            more
        })
        .collect();
    let contents = vec![1u8; sizes.iter().copied().max().unwrap_or(0) as usize];
    let folder = tempfile::tempdir_in(scratch)?;
    let path = |i: usize| folder.path().join(i.to_string());
    let files = |flush: bool| {
        let sizes = &sizes;
        let remove = move || {
            for i in 0..sizes.len() {
                match std::fs::remove_file(path(i)) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                    _ => {}
                }
            }
            Ok(())
        };
        let contents = &contents;
        let make = move || {
            for (i, bytes) in sizes.iter().enumerate() {
                let mut file = File::create(path(i))?;
                file.write_all(&contents[..*bytes as usize])?;
                if flush {
                    file.sync_data()?;
                }
            }
            Ok(sizes.iter().sum::<u64>() as usize)
        };
        rate(remove, make)
    };
    Ok((files(false)?, files(true)?))
}
