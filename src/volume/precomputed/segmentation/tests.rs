//! Streams of the reference encoders, whole and damaged.

use proptest::prelude::*;

use super::components::{BACK, Components, LEFT, NO_COMPONENT, OUTSIDE, UP};
use super::*;
use crate::data_type::Scalar;
use crate::geometry::Resolution;
use crate::volume::BlockGrid;

/// A stream that a reference encoder wrote, and what it was made from.
struct Case {
    format: SegmentationFormat,
    name: String,
    options: String,
    data_type: DataType,
    shape: [i64; 3],
    bytes: Vec<u8>,
}

impl Case {
    fn about(&self) -> String {
        let Self {
            format,
            name,
            options,
            data_type,
            ..
        } = self;
        format!("{format:?} {name} {data_type} {options}")
    }

    /// The labels, x fastest, as bytes of their type.
    fn expected(&self) -> Vec<u8> {
        self.expected_as(self.data_type)
    }

    fn expected_as(&self, data_type: DataType) -> Vec<u8> {
        let labels = labels(&self.name, self.data_type, self.shape);
        let bytes = labels
            .iter()
            .map(|label| (*label as u64).to_le_bytes()[..data_type.size_bytes()].to_vec());
        bytes.collect::<Vec<_>>().concat()
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        decode_as(self.format, bytes, self.data_type, self.shape)
    }

    fn has_checksums(&self) -> bool {
        self.format == SegmentationFormat::Crackle && self.bytes[4] == 1
    }
}

fn cases() -> Vec<Case> {
    let lines = include_str!("tests/streams.txt").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .map(case)
        .collect()
}

fn case(line: &str) -> Case {
    let [encoding, name, data_type, options, hex] =
        line.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let pairs = hex.as_bytes().chunks(2);
    Case {
        format: SegmentationFormat::from_name(encoding).unwrap(),
        name: name.to_owned(),
        options: options.to_owned(),
        data_type: DataType::from_name(data_type).unwrap(),
        shape: shape(name),
        bytes: pairs
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect(),
    }
}

fn find(name: &str, data_type: DataType, options: &str) -> Case {
    let mut cases = cases().into_iter();
    cases
        .find(|c| (c.name.as_str(), c.data_type, c.options.as_str()) == (name, data_type, options))
        .unwrap()
}

fn crackle(name: &str, data_type: DataType, options: &str) -> Case {
    let mut cases = cases().into_iter();
    cases
        .find(|c| {
            c.format == SegmentationFormat::Crackle
                && (c.name.as_str(), c.data_type, c.options.as_str()) == (name, data_type, options)
        })
        .unwrap()
}

fn shape(name: &str) -> [i64; 3] {
    match name {
        "one" => [1, 1, 1],
        "zeros" => [5, 3, 2],
        "line" => [1, 17, 1],
        "column" => [1, 1, 9],
        "blobs" => [13, 9, 5],
        "noise" => [7, 6, 3],
        "wide" => [300, 3, 2],
        "tubes" => [9, 8, 7],
        other => panic!("{other}"),
    }
}

fn labels(name: &str, data_type: DataType, [nx, ny, nz]: [i64; 3]) -> Vec<i128> {
    let bits = 8 * data_type.size_bytes();
    let ids = if data_type.name().starts_with('i') {
        let top = (1 << (bits - 1)) - 1;
        [0, -1, top, -top - 1, -77, 77]
    } else {
        let top = (1 << bits) - 1;
        [0, 1, top, top - 3, (1 << (bits / 2)) + 5, 77]
    };
    let label = |x: i64, y: i64, z: i64| match name {
        "one" => 5,
        "zeros" => 0,
        "blobs" => ((x - 6).pow(2) + 2 * (y - 4).pow(2) + 3 * (z - 2).pow(2)) / 23 % 6,
        "wide" => (x / 37 + y + z) % 6,
        "tubes" => ((x - 4).pow(2) + (y - 3).pow(2)) / 9 % 6,
        _ => (x * 7919 + y * 104_729 + z * 1_299_709 + x * y * z * 31) % 251 % 6,
    };
    (0..nx * ny * nz)
        .map(|at| ids[label(at % nx, at / nx % ny, at / (nx * ny)) as usize])
        .collect()
}

fn decode_as(
    format: SegmentationFormat,
    bytes: &[u8],
    data_type: DataType,
    shape: [i64; 3],
) -> Result<Vec<u8>, String> {
    let (meta, region) = chunk(data_type, shape);
    let mut values = vec![9; 7];
    format.decode(bytes, &meta, &region, &mut values)?;
    Ok(values)
}

fn chunk(data_type: DataType, shape: [i64; 3]) -> (VolumeMeta, VoxelBox) {
    let region = VoxelBox {
        start: [0; 3],
        end: shape,
    };
    let meta = VolumeMeta {
        data_type,
        channels: 1,
        resolution: Resolution::new([1.0; 3]).unwrap(),
        fill_value: Scalar::ZERO,
        grid: BlockGrid::new(region, shape.map(|n| n as u32)).unwrap(),
    };
    (meta, region)
}

#[test]
fn streams_of_the_reference_encoders_decode_to_the_encoded_labels() {
    let cases = cases();
    assert!(cases.len() >= 43, "{}", cases.len());
    for case in cases {
        assert_eq!(
            case.decode(&case.bytes),
            Ok(case.expected()),
            "{}",
            case.about()
        );
        let (_, region) = chunk(case.data_type, case.shape);
        let limit_bytes = case.format.limit_bytes(&region);
        assert!(case.bytes.len() <= limit_bytes, "{}", case.about());
    }
}

#[test]
fn chunks_may_have_as_many_bytes_as_those_with_the_widest_labels() {
    let (_, region) = chunk(DataType::UInt8, [64; 3]);
    // Each voxel may have a label of its own, and in compresso a boundary voxel two of them.
    for (format, labels) in [
        (SegmentationFormat::Compresso, 2),
        (SegmentationFormat::Crackle, 1),
    ] {
        let of_labels = labels * size_of::<u64>() * 64 * 64 * 64;
        // Beside the labels are the boundaries.
        assert!(
            format.limit_bytes(&region) > of_labels + 4 * 64 * 64 * 64,
            "{format:?}"
        );
    }
}

#[test]
fn bytes_after_the_last_path_of_an_index_are_an_error() {
    // Version 0 has no checksums that would find the change first.
    let case = crackle("blobs", DataType::UInt16, "default-version-0");
    let number = |at: usize| u32::from_le_bytes(*case.bytes[at..].first_chunk().unwrap());
    let cracks_at = 24 + 4 * case.shape[2] as usize + number(20) as usize;
    let index_bytes = number(cracks_at);
    let mut changed = case.bytes.clone();
    // The lengths of the first slice and of its index.
    for (at, bytes) in [(24, number(24)), (cracks_at, index_bytes)] {
        changed[at..at + 4].copy_from_slice(&(bytes + 1).to_le_bytes());
    }
    changed.insert(cracks_at + 4 + index_bytes as usize, 0);
    let e = case.decode(&changed).unwrap_err();
    assert!(
        e.contains("slice 0: its index of paths is damaged: it has 1 bytes after its end"),
        "{e}"
    );
}

#[test]
fn labels_of_another_width_are_converted_if_they_fit() {
    for (case, fitting, too_small) in [
        (
            find("blobs", DataType::UInt8, "default"),
            DataType::UInt64,
            DataType::Int8,
        ),
        (
            find("one", DataType::UInt64, "default"),
            DataType::UInt8,
            DataType::Float32,
        ),
        (
            crackle("blobs", DataType::UInt32, "default"),
            DataType::Int64,
            DataType::UInt16,
        ),
        (
            crackle("tubes", DataType::UInt32, "pins"),
            DataType::UInt64,
            DataType::Int32,
        ),
        (
            crackle("blobs", DataType::Int16, "signed"),
            DataType::Int32,
            DataType::UInt64,
        ),
    ] {
        let found = decode_as(case.format, &case.bytes, fitting, case.shape);
        assert_eq!(found, Ok(case.expected_as(fitting)), "{}", case.about());
        if !too_small.is_float() {
            let e = decode_as(case.format, &case.bytes, too_small, case.shape).unwrap_err();
            let of_type = format!("does not fit in {too_small}");
            assert!(
                e.contains("the label ") && e.contains(&of_type),
                "{}: {e}",
                case.about()
            );
        }
    }
}

#[test]
fn a_shape_that_is_not_that_of_the_chunk_is_an_error_with_both() {
    for case in cases() {
        let [nx, ny, nz] = case.shape;
        for shape in [[nx + 1, ny, nz], [nx, ny, 2 * nz], [1 << 9, 1 << 9, 1 << 9]] {
            let e = decode_as(case.format, &case.bytes, case.data_type, shape).unwrap_err();
            let (found, expected) = (format!("{:?}", case.shape), format!("{shape:?}"));
            assert!(
                e.contains(&found) && e.contains(&expected),
                "{}: {e}",
                case.about()
            );
        }
    }
}

#[test]
fn a_truncated_or_extended_stream_is_an_error() {
    for case in cases() {
        for n in 0..case.bytes.len() {
            let found = case.decode(&case.bytes[..n]);
            assert!(found.is_err(), "{} cut to {n} bytes", case.about());
        }
        let extended = [&case.bytes[..], &[0; 8]].concat();
        assert!(case.decode(&extended).is_err(), "{}", case.about());
    }
}

#[test]
fn a_flipped_bit_is_an_error_where_the_stream_has_checksums() {
    for case in cases() {
        let mut changed = case.bytes.clone();
        for bit in 0..8 * changed.len() {
            changed[bit / 8] ^= 1 << (bit % 8);
            let found = case.decode(&changed);
            // Bits that no checksum covers, such as padding after the last path, have no meaning.
            if let (true, Ok(found)) = (case.has_checksums(), found) {
                assert_eq!(found, case.expected(), "{}, bit {bit}", case.about());
            }
            changed[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn a_z_index_that_contradicts_the_stream_is_an_error() {
    let case = find("blobs", DataType::UInt16, "default");
    let n = case.bytes.len();
    // Five components counts, then five counts of locations, of one byte each.
    for (at, what) in [(n - 8, "slice 2 has"), (n - 2, "slice 3 has")] {
        let mut changed = case.bytes.clone();
        changed[at] += 1;
        let e = case.decode(&changed).unwrap_err();
        assert!(e.contains(what) && e.contains("z index"), "{e}");
    }
}

#[test]
fn counts_that_exceed_the_stream_are_an_error_before_any_allocation() {
    let compresso = find("blobs", DataType::UInt64, "default");
    for (from, bytes, part) in [(15, 8, "labels"), (23, 4, "windows"), (27, 8, "locations")] {
        let mut changed = compresso.bytes.clone();
        changed[from..from + bytes].fill(0xff);
        let e = compresso.decode(&changed).unwrap_err();
        assert!(e.contains(&format!("its {part} end at byte")), "{e}");
    }
    // Version 0 has no checksums that would find the change first.
    let flat = crackle("blobs", DataType::UInt16, "default-version-0");
    let pins = crackle("tubes", DataType::UInt32, "pins-version-0");
    let labels_at = |case: &Case| 24 + 4 * case.shape[2] as usize;
    for (case, from, bytes, part) in [
        (&flat, 20, 4, "its labels end at byte"),
        (&flat, 24, 4, "its cracks end at byte"),
        (&flat, labels_at(&flat), 8, "its labels end at byte"),
        (&pins, labels_at(&pins) + 4, 8, "its labels end at byte"),
    ] {
        let mut changed = case.bytes.clone();
        changed[from..from + bytes].fill(0xff);
        let e = case.decode(&changed).unwrap_err();
        assert!(e.contains(part), "{e}");
    }
}

#[test]
fn other_formats_and_versions_are_named() {
    let (compresso, crackle) = (
        find("one", DataType::UInt64, "default"),
        crackle("blobs", DataType::UInt16, "default-version-0"),
    );
    for (case, at, byte, words) in [
        (&compresso, 0, b'k', "not compresso"),
        (&compresso, 4, 2, "compresso version 2"),
        (&compresso, 5, 3, "labels of 3 bytes"),
        (&compresso, 12, 0, "windows of [0, 4, 1]"),
        (&compresso, 13, 17, "windows of [4, 17, 1]"),
        (&compresso, 35, 26, "connectivity 26"),
        (&crackle, 0, b'k', "not crackle"),
        (&crackle, 4, 9, "crackle version 9"),
        (&crackle, 5, crackle.bytes[5] | 1 << 5, "label format 1"),
        (&crackle, 19, 3, "cells of 2^3 voxels"),
    ] {
        let mut changed = case.bytes.clone();
        changed[at] = byte;
        let e = case.decode(&changed).unwrap_err();
        assert!(e.contains(words), "{e}");
    }
}

#[test]
fn a_pin_outside_the_chunk_is_an_error() {
    let case = crackle("tubes", DataType::UInt32, "pins-version-0");
    // Labels begin with the background label, the number of labels, the labels and the counts of components.
    let labels_at = 24 + 4 * 7;
    let count = usize::from(case.bytes[labels_at + 4]);
    let widths_at = labels_at + 4 + 8 + 4 * count + 7;
    assert_eq!(case.bytes[widths_at], 0, "all widths are one byte");
    assert!(case.bytes[widths_at + 1] > 0, "the first label has a pin");
    // The first slice of a pin has two bytes of index in a chunk of 504 voxels.
    let mut changed = case.bytes.clone();
    changed[widths_at + 3] = 0xff;
    let e = case.decode(&changed).unwrap_err();
    assert!(e.contains("a pin has the slices"), "{e}");
}

proptest! {
    #[test]
    fn changed_and_arbitrary_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        for case in cases() {
            // Version 0 of crackle has no checksums, so that damage reaches all parts of the decoder.
            let mut changed = case.bytes.clone();
            for (at, byte) in &changes {
                let at = at.index(changed.len());
                changed[at] = *byte;
            }
            let _ = case.decode(&changed);
            let at = changes[0].0.index(case.bytes.len());
            let _ = case.decode(&[&case.bytes[..at], &noise].concat());
            let _ = case.decode(&noise);
        }
    }

    #[test]
    fn components_are_numbered_by_their_first_voxels(
        shape in prop::array::uniform3(1usize..7),
        bits in prop::collection::vec(any::<u8>(), 216),
    ) {
        let [nx, ny, nz] = shape;
        let voxels = nx * ny * nz;
        let links: Vec<u8> = (0..voxels).map(|at| {
            let is_outside = |at: usize| bits[at] >> 3 == 7;
            if is_outside(at) {
                return OUTSIDE;
            }
            let link = |bit: u8, exists: bool, distance: usize| {
                let is_linked = exists && bits[at] & bit != 0 && !is_outside(at - distance);
                if is_linked { bit } else { 0 }
            };
            link(LEFT, at % nx > 0, 1) | link(UP, at / nx % ny > 0, nx) | link(BACK, at >= nx * ny, nx * ny)
        }).collect();
        // The lowest voxel of each component, found by repetition.
        let mut lowest: Vec<usize> = (0..voxels).collect();
        for _ in 0..voxels {
            for at in 0..voxels {
                for (bit, distance) in [(LEFT, 1), (UP, nx), (BACK, nx * ny)] {
                    if links[at] & bit != 0 {
                        let low = lowest[at].min(lowest[at - distance]);
                        (lowest[at], lowest[at - distance]) = (low, low);
                    }
                }
            }
        }
        let firsts: Vec<usize> = (0..voxels).filter(|at| lowest[*at] == *at && links[*at] != OUTSIDE).collect();
        let expected: Vec<u32> = (0..voxels).map(|at| match links[at] {
            OUTSIDE => NO_COMPONENT,
            _ => firsts.binary_search(&lowest[at]).unwrap() as u32,
        }).collect();
        let mut found = vec![7; voxels];
        let count = Components::default().number(&links, nx, nx * ny, &mut found);
        prop_assert_eq!(count as usize, firsts.len());
        prop_assert_eq!(found, expected);
    }
}
