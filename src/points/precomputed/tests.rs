//! Whole layers, written to a folder and read through [`PointLayer`].

mod redirect;
mod related;
mod sharded;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::geometry::{BoxNm, PointNm};
use crate::neuroglancer::MortonGrid;
use crate::neuroglancer::testing::write_shards;
use crate::points::{Anchor, Annotation, PointLayer, PointsError, PointsInBoxes};
use crate::storage::{Location, SourceUrl, Storage};

/// A layer in a temporary folder: 4 x 4 x 1 cells of 10 x 10 x 40 units of 10 nm.
struct TestLayer {
    dir: tempfile::TempDir,
    info: Value,
}

impl TestLayer {
    fn new(annotation_type: &str) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            info: json!({
                "@type": "neuroglancer_annotations_v1",
                "dimensions": {"x": [1e-8, "m"], "y": [10, "nm"], "z": [0.01, "um"]},
                "lower_bound": [0, 0, 0], "upper_bound": [40, 40, 40],
                "annotation_type": annotation_type, "properties": [], "relationships": [],
                "spatial": [{"key": "s0", "grid_shape": [4, 4, 1], "chunk_size": [10, 10, 40], "limit": 1}],
            }),
        }
    }

    fn level(mut self, level: Value) -> Self {
        self.info["spatial"].as_array_mut().unwrap().push(level);
        self
    }

    /// Writes a cell without properties.
    fn cell(self, file: &str, records: &[(u64, &[f32])]) -> Self {
        let with_none: Vec<_> = records.iter().map(|(id, p)| (*id, *p, &[][..])).collect();
        self.cell_with(file, &with_none)
    }

    fn cell_with(self, file: &str, records: &[(u64, &[f32], &[u8])]) -> Self {
        let mut bytes = (records.len() as u64).to_le_bytes().to_vec();
        for (_, position, properties) in records {
            bytes.extend(position.iter().flat_map(|v| v.to_le_bytes()));
            bytes.extend_from_slice(properties);
        }
        for (id, ..) in records {
            bytes.extend(id.to_le_bytes());
        }
        self.file(file, &bytes)
    }

    fn file(self, file: &str, bytes: &[u8]) -> Self {
        let path = self.dir.path().join("layer").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self
    }

    /// The same layer with the cells of level `i` in shards, with ids derived from `grid_shape`.
    fn sharded(mut self, i: usize, sharding: Value) -> Self {
        let level = &mut self.info["spatial"][i];
        level["sharding"] = sharding.clone();
        let shape: Vec<u64> = serde_json::from_value(level["grid_shape"].clone()).unwrap();
        let ids = MortonGrid::new(&shape).unwrap();
        let folder = self
            .dir
            .path()
            .join("layer")
            .join(level["key"].as_str().unwrap());
        let mut cells = BTreeMap::new();
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let cell: Vec<u64> = name.split('_').map(|n| n.parse().unwrap()).collect();
            cells.insert(ids.code(&cell).unwrap(), std::fs::read(&path).unwrap());
            std::fs::remove_file(path).unwrap();
        }
        write_shards(&folder, &sharding, &cells, false);
        self
    }

    fn open(&self) -> Result<PointLayer, PointsError> {
        let folder = self.dir.path().join("layer");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("info"), self.info.to_string()).unwrap();
        PointLayer::open(&source(&folder), &Storage::default())
    }

    fn read(&self, boxes: &[BoxNm]) -> Result<PointsInBoxes, PointsError> {
        self.open()?.read_boxes(boxes, Anchor::Midpoint)
    }

    fn ids(&self, boxes: &[BoxNm]) -> Vec<Vec<u64>> {
        ids(&self.read(boxes).unwrap())
    }
}

fn source(folder: &Path) -> SourceUrl {
    SourceUrl {
        format: Some("precomputed".to_owned()),
        location: Location::Local(folder.to_owned()),
        inside: None,
        transform: None,
    }
}

fn ids(points: &PointsInBoxes) -> Vec<Vec<u64>> {
    let of = |list: &Vec<Annotation>| list.iter().map(|a| a.id).collect();
    points.per_box.iter().map(of).collect()
}

/// From corners in units of 10 nm.
fn units(a: [f64; 3], b: [f64; 3]) -> BoxNm {
    BoxNm::from_corners(PointNm(a.map(|v| v * 10.0)), PointNm(b.map(|v| v * 10.0))).unwrap()
}

fn everything() -> BoxNm {
    units([-1000.0; 3], [1000.0; 3])
}

#[test]
fn every_level_is_read_if_each_has_annotations_of_its_own() {
    let layer = TestLayer::new("POINT")
        .level(json!({"key": "s1", "grid_shape": [8, 8, 1], "chunk_size": [5, 5, 40]}))
        .cell("s0/0_0_0", &[(3, &[1.0, 1.0, 1.0])])
        .cell("s1/0_0_0", &[(1, &[2.0, 2.0, 2.0])]);
    let points = layer.read(&[everything()]).unwrap();
    assert_eq!(ids(&points), [[1, 3]]);
    assert_eq!(
        (points.report.cells_read, points.report.cells_empty),
        (2, 16 + 64 - 2)
    );
    assert_eq!(
        (
            points.report.annotations_read,
            points.report.repeated_records
        ),
        (2, 0)
    );
}

#[test]
fn an_annotation_that_is_on_every_level_counts_once() {
    let layer = TestLayer::new("POINT")
        .level(json!({"key": "s1", "grid_shape": [1, 1, 1], "chunk_size": [40, 40, 40]}))
        .cell("s0/0_0_0", &[(3, &[1.0, 1.0, 1.0]), (4, &[2.0, 1.0, 1.0])])
        .cell("s1/0_0_0", &[(4, &[2.0, 1.0, 1.0]), (3, &[1.0, 1.0, 1.0])]);
    let points = layer.read(&[everything()]).unwrap();
    assert_eq!(ids(&points), [[3, 4]]);
    assert_eq!(
        (
            points.report.annotations_read,
            points.report.repeated_records
        ),
        (2, 2)
    );
}

#[test]
fn a_line_that_crosses_two_cells_counts_once() {
    let line: &[f32] = &[5.0, 5.0, 5.0, 17.0, 5.0, 5.0];
    let layer = TestLayer::new("line")
        .cell("s0/0_0_0", &[(9, line)])
        .cell("s0/1_0_0", &[(9, line)]);
    let points = layer.read(&[everything()]).unwrap();
    assert_eq!(ids(&points), [[9]]);
    assert_eq!(points.per_box[0][0].anchor, PointNm([110.0, 50.0, 50.0]));
    assert_eq!(points.report.repeated_records, 1);
}

#[test]
fn an_id_with_two_geometries_is_an_error_with_both_positions_and_files() {
    let layer = TestLayer::new("POINT")
        .cell("s0/0_0_0", &[(8, &[2.0, 2.0, 2.0]), (9, &[1.0, 1.0, 1.0])])
        .cell("s0/1_0_0", &[(9, &[11.0, 1.0, 1.0])]);
    let e = layer.read(&[everything()]).unwrap_err().to_string();
    for part in [
        "two annotations have the id 9: ",
        "(10, 10, 10) nm in ",
        "s0/0_0_0 and (110, 10, 10) nm in ",
        "s0/1_0_0;",
    ] {
        assert!(e.contains(part), "{part}: {e}");
    }
    // Also within one file, and if neither is in a box.
    let layer =
        TestLayer::new("POINT").cell("s0/0_0_0", &[(9, &[2.0, 2.0, 2.0]), (9, &[1.0, 1.0, 1.0])]);
    let e = layer
        .read(&[units([5.0; 3], [6.0; 3])])
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("(20, 20, 20) nm in ") && e.contains("(10, 10, 10) nm in "),
        "{e}"
    );
}

#[test]
fn a_line_listed_only_in_the_cell_of_its_end_is_found_by_its_middle() {
    // Its middle is in cell 1, where nothing is stored.
    let layer = TestLayer::new("LINE").cell("s0/2_0_0", &[(1, &[12.0, 5.0, 5.0, 22.0, 5.0, 5.0])]);
    assert_eq!(
        layer.ids(&[units([16.0, 4.0, 4.0], [18.0, 6.0, 6.0])]),
        [[1]]
    );
}

#[test]
fn a_limit_below_the_number_of_annotations_is_ignored() {
    let points: Vec<(u64, [f32; 3])> = (0..50).map(|i| (i, [i as f32 / 10.0, 1.0, 1.0])).collect();
    let records: Vec<_> = points.iter().map(|(id, p)| (*id, &p[..])).collect();
    let layer = TestLayer::new("POINT").cell("s0/0_0_0", &records);
    assert_eq!(layer.ids(&[everything()])[0].len(), 50);
}

#[test]
fn only_the_cells_that_a_box_needs_are_read_and_each_once() {
    let layer = TestLayer::new("POINT").cell("s0/1_1_0", &[(1, &[15.0, 15.0, 5.0])]);
    let inner = units([12.0, 12.0, 4.0], [18.0, 18.0, 6.0]);
    let points = layer
        .read(&[inner, inner, units([11.0, 12.0, 4.0], [16.0, 18.0, 6.0])])
        .unwrap();
    assert_eq!(
        (points.report.cells_read, points.report.cells_empty),
        (1, 0)
    );
    assert_eq!(ids(&points), [[1], [1], [1]]);
    assert_eq!(layer.read(&[]).unwrap().per_box.len(), 0);
}

#[test]
fn a_damaged_cell_that_no_box_needs_is_ignored() {
    let layer = TestLayer::new("POINT").file("s0/3_3_0", b"broken");
    assert_eq!(layer.ids(&[units([1.0; 3], [2.0; 3])]), [[0u64; 0]]);
    let e = layer.read(&[everything()]).unwrap_err().to_string();
    assert!(e.contains("s0/3_3_0") && e.contains("6 bytes"), "{e}");
}

#[test]
fn a_point_on_the_lower_face_is_inside_and_one_on_the_upper_face_is_not() {
    let layer = TestLayer::new("POINT")
        .cell(
            "s0/1_1_0",
            &[(1, &[10.0, 10.0, 1.0]), (2, &[12.0, 12.0, 5.0])],
        )
        .cell("s0/2_1_0", &[(3, &[20.0, 12.0, 1.0])]);
    assert_eq!(
        layer.ids(&[units([20.0, 20.0, 5.0], [10.0, 10.0, 1.0])]),
        [[1]]
    );
}

#[test]
fn a_point_exactly_on_the_upper_bound_is_in_the_last_cell() {
    let layer = TestLayer::new("POINT").cell("s0/3_3_0", &[(1, &[40.0, 40.0, 40.0])]);
    assert_eq!(layer.ids(&[units([40.0; 3], [41.0; 3])]), [[1]]);
}

#[test]
fn a_line_may_extend_past_the_bounds() {
    let layer =
        TestLayer::new("LINE").cell("s0/3_3_0", &[(1, &[39.0, 39.0, 39.0, 99.0, 99.0, 99.0])]);
    assert_eq!(layer.ids(&[units([60.0; 3], [70.0; 3])]), [[1]]);
}

#[test]
fn a_grid_shape_of_0_is_corrected_and_reported() {
    let mut layer = TestLayer::new("POINT").cell("s0/2_0_0", &[(1, &[25.0, 5.0, 5.0])]);
    layer.info["spatial"][0]["grid_shape"] = json!([0, 4, 1]);
    let points = layer.read(&[everything()]).unwrap();
    assert_eq!(ids(&points), [[1]]);
    let warning = &points.report.warnings[0];
    assert!(
        warning.contains("`spatial[0].grid_shape` is [0.0, 4.0, 1.0]")
            && warning.contains("[4, 4, 1]"),
        "{warning}"
    );
}

#[test]
fn a_level_may_be_stored_beside_the_layer() {
    let mut layer = TestLayer::new("POINT").cell("../beside/s0/0_0_0", &[(1, &[5.0, 5.0, 5.0])]);
    layer.info["spatial"][0]["key"] = json!("../beside/./s0");
    assert_eq!(layer.ids(&[everything()]), [[1]]);
}

#[test]
fn a_layer_without_relationships_and_without_by_id_is_read() {
    let mut layer = TestLayer::new("POINT").cell("s0/0_0_0", &[(1, &[5.0, 5.0, 5.0])]);
    layer.info.as_object_mut().unwrap().remove("relationships");
    layer.info.as_object_mut().unwrap().remove("properties");
    assert_eq!(layer.ids(&[everything()]), [[1]]);
}

#[test]
fn ids_above_the_range_of_json_numbers_are_kept_and_ordered() {
    let big = [u64::MAX, u64::MAX - 1, (1 << 53) + 1, 1 << 53];
    let records: Vec<(u64, &[f32])> = big.iter().map(|id| (*id, &[5.0, 5.0, 5.0][..])).collect();
    let layer = TestLayer::new("POINT").cell("s0/0_0_0", &records);
    assert_eq!(
        layer.ids(&[everything()]),
        [[1 << 53, (1 << 53) + 1, u64::MAX - 1, u64::MAX]]
    );
}

#[test]
fn properties_are_read_in_the_stored_order() {
    let mut layer = TestLayer::new("POINT").cell_with(
        "s0/0_0_0",
        &[(1, &[5.0, 5.0, 5.0], &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0])],
    );
    layer.info["properties"] = json!([
        {"id": "kind", "type": "uint8"}, {"id": "half", "type": "int16"},
        {"id": "color", "type": "rgb"}, {"id": "size", "type": "uint32"},
    ]);
    let opened = layer.open().unwrap();
    let points = opened
        .read_boxes(&[everything()], Anchor::Midpoint)
        .unwrap();
    let record = &points.per_box[0][0].properties;
    let values: Vec<_> = opened
        .properties()
        .iter()
        .map(|p| p.bytes(record))
        .collect();
    assert_eq!(values, [&[7][..], &[5, 6], &[8, 9, 10], &[1, 2, 3, 4]]);
    assert!(
        opened
            .describe()
            .contains("kind (uint8), half (int16), color (rgb), size (uint32)")
    );
}

#[test]
fn a_file_with_two_bytes_per_int8_is_an_error_with_both_lengths() {
    let mut layer = TestLayer::new("POINT").cell_with(
        "s0/0_0_0",
        &[(1, &[5.0, 5.0, 5.0], &[1, 0, 2, 0, 3, 0, 4, 0])],
    );
    let int8 = |id| json!({"id": id, "type": "int8"});
    layer.info["properties"] = json!([int8("a"), int8("b"), int8("c"), int8("d")]);
    let e = layer.read(&[everything()]).unwrap_err().to_string();
    assert!(e.contains("s0/0_0_0 has 36 bytes; expected 32"), "{e}");
}

#[test]
fn annotations_without_a_finite_position_are_skipped_and_counted() {
    let layer = TestLayer::new("POINT").cell(
        "s0/0_0_0",
        &[
            (7, &[f32::NAN, 5.0, 5.0]),
            (6, &[5.0, f32::INFINITY, 5.0]),
            (1, &[5.0, 5.0, 5.0]),
        ],
    );
    let points = layer.read(&[everything()]).unwrap();
    assert_eq!(ids(&points), [[1]]);
    let not_finite = points.report.not_finite;
    let (id, file) = not_finite.example.unwrap();
    assert_eq!((not_finite.annotations, id), (2, 6));
    assert!(file.ends_with("s0/0_0_0"), "{file}");
}

#[test]
fn boxes_that_overlap_no_stored_cell_are_a_warning() {
    let points = TestLayer::new("POINT")
        .read(&[units([1.0; 3], [2.0; 3])])
        .unwrap();
    assert!(
        points.report.warnings[0].contains("none of the 1 cells"),
        "{:?}",
        points.report
    );
}

#[test]
fn boxes_that_overlap_too_many_cells_are_an_error() {
    let mut layer = TestLayer::new("POINT");
    layer.info["spatial"][0]["chunk_size"] = json!([1e-4, 1e-4, 1e-4]);
    layer.info["spatial"][0]["grid_shape"] = json!([400000, 400000, 400000]);
    let e = layer.read(&[everything()]).unwrap_err().to_string();
    assert!(e.contains("`spatial[0]`") && e.contains("16384000"), "{e}");
}

#[test]
fn the_order_of_dimensions_determines_positions_and_names_of_cells() {
    let mut layer = TestLayer::new("POINT").cell("s0/0_3_1", &[(1, &[5.0, 35.0, 15.0])]);
    layer.info["dimensions"] =
        serde_json::from_str(r#"{"z": [40, "nm"], "y": [10, "nm"], "x": [10, "nm"]}"#).unwrap();
    layer.info["spatial"][0]["grid_shape"] = json!([1, 4, 4]);
    layer.info["spatial"][0]["chunk_size"] = json!([40, 10, 10]);
    let points = layer
        .read(&[units([14.0, 34.0, 19.0], [16.0, 36.0, 21.0])])
        .unwrap();
    assert_eq!(points.per_box[0][0].anchor, PointNm([150.0, 350.0, 200.0]));
    assert_eq!(points.report.cells_read, 1);
}

#[test]
fn polylines_boxes_and_ellipsoids_are_read() {
    let bytes = [
        &1u64.to_le_bytes()[..],
        &2u32.to_le_bytes(),
        &[4.0f32, 4.0, 4.0, 6.0, 6.0, 6.0]
            .map(f32::to_le_bytes)
            .concat(),
        &1u64.to_le_bytes(),
    ]
    .concat();
    let polyline = TestLayer::new("POLYLINE").file("s0/0_0_0", &bytes);
    let two: &[f32] = &[4.0, 4.0, 4.0, 6.0, 6.0, 6.0];
    let a_box = TestLayer::new("AXIS_ALIGNED_BOUNDING_BOX").cell("s0/0_0_0", &[(1, two)]);
    let ellipsoid = TestLayer::new("ellipsoid").cell("s0/0_0_0", &[(1, two)]);
    for (layer, centre) in [(polyline, 50.0), (a_box, 50.0), (ellipsoid, 40.0)] {
        let points = layer.read(&[everything()]).unwrap();
        assert_eq!(points.per_box[0][0].anchor, PointNm([centre; 3]));
    }
}

#[test]
fn a_missing_layer_and_an_unsupported_format_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let e = PointLayer::open(&source(dir.path()), &Storage::default())
        .unwrap_err()
        .to_string();
    assert!(e.contains("info does not exist"), "{e}");
    let mut zarr = source(dir.path());
    zarr.format = Some("zarr".to_owned());
    let e = PointLayer::open(&zarr, &Storage::default())
        .unwrap_err()
        .to_string();
    assert!(e.contains("`zarr`"), "{e}");
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    let mut layer = TestLayer::new("LINE");
    for x in 0..4 {
        let line = |i: u64| [x as f32 * 10.0 + i as f32, 5.0, 5.0, 20.0, 5.0, 5.0];
        let lines: Vec<_> = (0..9).map(|i| (100 * x + i, line(i))).collect();
        let records: Vec<_> = lines.iter().map(|(id, line)| (*id, &line[..])).collect();
        layer = layer.cell(&format!("s0/{x}_0_0"), &records);
    }
    let opened = layer.open().unwrap();
    let boxes = [everything(), units([10.0; 3], [0.0; 3])];
    let read = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| opened.read_boxes(&boxes, Anchor::Start))
            .unwrap()
    };
    let (one, many) = (read(1), read(8));
    assert_eq!(
        (one.per_box[0].len(), &one.per_box, &one.report),
        (36, &many.per_box, &many.report)
    );
}
