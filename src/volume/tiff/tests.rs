//! Small files, written with the crate `tiff`. tests/interop/test_tiff.py compares with tifffile.

use std::path::Path;

use proptest::prelude::*;
use tiff::encoder::colortype::Gray16;
use tiff::encoder::{Compression, TiffEncoder};
use tiff::tags::Predictor;

use super::*;

const SIZE: [u32; 3] = [37, 29, 3];

fn value(x: u32, y: u32, z: u32) -> u16 {
    (1 + x + 40 * y + 1200 * z) as u16
}

fn write(path: &Path, sections: std::ops::Range<u32>, rows: u32, compression: Compression) {
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = TiffEncoder::new(file)
        .unwrap()
        .with_compression(compression)
        .with_predictor(match compression {
            Compression::Uncompressed | Compression::Packbits => Predictor::None,
            _ => Predictor::Horizontal,
        });
    for z in sections {
        let mut image = encoder.new_image::<Gray16>(SIZE[0], SIZE[1]).unwrap();
        image.rows_per_strip(rows).unwrap();
        let values = (0..SIZE[1]).flat_map(|y| (0..SIZE[0]).map(move |x| value(x, y, z)));
        image.write_data(&values.collect::<Vec<_>>()).unwrap();
    }
}

fn open(path: &Path) -> Result<TiffVolume, VolumeError> {
    let resolution = Resolution::new([4.0, 4.0, 40.0]).unwrap();
    let layer = LayerConfig {
        resolution: Some(resolution),
        voxel_offset: Some([5, -6, 7]),
        ..LayerConfig::default()
    };
    TiffVolume::open(
        &Location::from(path),
        &resolution,
        &layer,
        &Storage::default(),
    )
}

/// All voxels, x fastest, block by block or in runs of blocks.
fn read(volume: &TiffVolume, in_runs: bool) -> Result<Vec<u16>, VolumeError> {
    let (grid, size) = (volume.meta().grid, volume.meta().grid.bounds().shape());
    let mut all = vec![0; size.iter().product::<u64>() as usize];
    let blocks: Vec<_> = grid.blocks_touching(grid.bounds()).collect();
    let groups = volume.chunk_groups().filter(|_| in_runs);
    let runs = match &groups {
        Some(groups) => groups.runs(&blocks),
        None => blocks.iter().map(|block| vec![*block]).collect(),
    };
    for run in runs {
        let mut encoded: Vec<EncodedBlock> = run.iter().map(|_| EncodedBlock::default()).collect();
        match &groups {
            Some(groups) => assert!(groups.fetch_run(&run, &mut encoded)?),
            None => assert!(volume.fetch(run[0], &mut encoded[0])?),
        }
        for (block, encoded) in run.iter().zip(&mut encoded) {
            let mut values = vec![9; 7];
            volume.decode(*block, encoded, &mut values)?;
            let region = grid.block_box(*block);
            let (values, _) = values.as_chunks::<2>();
            let [nx, ny, _] = region.shape();
            assert_eq!(values.len() as u64, nx * ny);
            for (i, value) in values.iter().enumerate() {
                let from_start = |d: usize| (region.start[d] - grid.bounds().start[d]) as u64;
                let (x, y) = (from_start(0) + i as u64 % nx, from_start(1) + i as u64 / nx);
                let at = (from_start(2) * size[1] + y) * size[0] + x;
                all[at as usize] = u16::from_le_bytes(*value);
            }
        }
    }
    Ok(all)
}

fn expected() -> Vec<u16> {
    let rows = (0..SIZE[2]).flat_map(|z| (0..SIZE[1]).map(move |y| (y, z)));
    rows.flat_map(|(y, z)| (0..SIZE[0]).map(move |x| value(x, y, z)))
        .collect()
}

const COMPRESSIONS: [Compression; 4] = [
    Compression::Uncompressed,
    Compression::Lzw,
    Compression::Deflate(tiff::encoder::DeflateLevel::Fast),
    Compression::Packbits,
];

#[test]
fn pages_and_files_are_sections() {
    let dir = tempfile::tempdir().unwrap();
    for (number, compression) in COMPRESSIONS.into_iter().enumerate() {
        for rows in [1, 8, 29] {
            let file = dir.path().join("a.tif");
            write(&file, 0..SIZE[2], rows, compression);
            let volume = open(&file).unwrap();
            assert_eq!(volume.meta().grid.bounds().start, [5, -6, 7]);
            for in_runs in [false, true] {
                assert!(
                    read(&volume, in_runs).unwrap() == expected(),
                    "{number} {rows}"
                );
            }
            let folder = dir.path().join("sections");
            std::fs::create_dir_all(&folder).unwrap();
            for z in 0..SIZE[2] {
                write(
                    &folder.join(format!("z{}.tif", 9 + z)),
                    z..z + 1,
                    rows,
                    compression,
                );
            }
            let volume = open(&folder).unwrap();
            assert!(
                read(&volume, true).unwrap() == expected(),
                "{number} {rows}"
            );
        }
    }
}

#[test]
fn a_block_has_whole_strips_or_some_raw_rows() {
    let page = |rows, compression| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tif");
        write(&path, 0..1, rows, compression);
        Page::clone(open(&path).unwrap().stack.first())
    };
    let mut strips = page(8, Compression::Lzw);
    assert_eq!(block_size(&strips), [37, 29]);
    strips.width = 20_000;
    strips.height = 20_000;
    assert_eq!(block_size(&strips), [37, 8]);
    let mut raw = page(29, Compression::Uncompressed);
    raw.width = 20_000;
    raw.height = 20_000;
    assert_eq!(block_size(&raw)[1], 6);
}

#[test]
fn only_the_first_file_of_a_folder_is_read_when_it_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("0.tif"), 0..1, 8, Compression::Lzw);
    for z in 1..5 {
        std::fs::write(dir.path().join(format!("{z}.tif")), "no TIFF").unwrap();
    }
    let volume = open(dir.path()).unwrap();
    assert_eq!(volume.meta().grid.bounds().shape(), [37, 29, 5]);
    let e = volume
        .fetch([0, 0, 3], &mut EncodedBlock::default())
        .unwrap_err();
    assert!(
        e.to_string().contains("3.tif cannot be read as TIFF"),
        "{e}"
    );
}

#[test]
fn a_loop_of_pages_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tif");
    write(&path, 0..2, 29, Compression::Uncompressed);
    let mut bytes = std::fs::read(&path).unwrap();
    let first = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let entries = u16::from_le_bytes(bytes[first..first + 2].try_into().unwrap()) as usize;
    let next = first + 2 + 12 * entries;
    bytes.copy_within(4..8, next);
    std::fs::write(&path, &bytes).unwrap();
    let e = open(&path).unwrap_err().to_string();
    assert!(e.contains("twice") && e.contains("loop"), "{e}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn damaged_files_are_errors_or_other_values(
        kind in 0usize..4, rows in 1u32..30, cut in prop::option::of(0.0f64..1.0),
        changes in prop::collection::vec((0.0f64..1.0, any::<u8>(), any::<bool>()), 0..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tif");
        write(&path, 0..SIZE[2], rows, COMPRESSIONS[kind]);
        let mut bytes = std::fs::read(&path).unwrap();
        let first = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        for (at, value, is_structure) in changes {
            // Anywhere, or in the header and the first directory.
            let at = if is_structure {
                let near = (at * 200.0) as usize;
                if near < 8 { near } else { first + near - 8 }
            } else {
                (at * bytes.len() as f64) as usize
            };
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate((cut * bytes.len() as f64) as usize);
        }
        std::fs::write(&path, &bytes).unwrap();
        if let Ok(volume) = open(&path) {
            // A damaged file may have a size of any number of blocks.
            let grid = &volume.meta().grid;
            if volume.meta().data_type.size_bytes() == 2 && grid.bounds().shape().iter().product::<u64>() < 1 << 20 {
                let blocks: Vec<_> = grid.blocks_touching(grid.bounds()).collect();
                for block in blocks {
                    let (mut encoded, mut values) = (EncodedBlock::default(), Vec::new());
                    if volume.fetch(block, &mut encoded).is_ok_and(|stored| stored) {
                        let _ = volume.decode(block, &mut encoded, &mut values);
                    }
                }
            }
        }
    }
}
