use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fault::{Fault, FaultKind};
use crate::job::{Job, JobError};
use crate::storage::Storage;

const NM: [f64; 3] = [4.0, 4.0, 40.0];
const START: [i64; 3] = [3000, 2000, 400];
const SIZE: [i64; 3] = [60, 50, 24];

/// Writes the metadata of a layer. All its chunks are missing: nothing here reads one.
fn write_layer(folder: &Path, resolution: [f64; 3], start: [i64; 3]) {
    let info = json!({
        "type": "image", "data_type": "uint8", "num_channels": 1,
        "scales": [{
            "key": "s0", "resolution": resolution, "size": SIZE, "voxel_offset": start,
            "chunk_sizes": [[16, 16, 8]], "encoding": "raw",
        }],
    });
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("info"), info.to_string()).unwrap();
}

/// Plans a job on the layers `img` and `lab`, of which `lab` begins at `lab_start`. Every second point is in a box of a
/// second layer group, whose `lab` begins at `other_start`.
fn job(
    points: &[[f64; 3]],
    [lab_start, other_start]: [[i64; 3]; 2],
    change: impl Fn(&mut Value),
) -> Result<Job, JobError> {
    let dir = tempfile::tempdir().unwrap();
    let layers = [("img", START), ("lab", lab_start), ("other", other_start)];
    for (name, start) in layers {
        write_layer(&dir.path().join(name), NM, start);
    }
    let mut table = "id,x,y,z\n".to_owned();
    let mut boxes = Vec::new();
    for (i, [x, y, z]) in points.iter().enumerate() {
        table.push_str(&format!("{i},{x},{y},{z}\n"));
        boxes.push(json!({
            "type": "axis_aligned_bounding_box", "id": format!("b{i}"), "tags": ["train"],
            "layer_group": if i % 2 == 0 { "g" } else { "h" },
            "pointA": [x - 0.25, y - 0.25, z - 0.25], "pointB": [x + 0.25, y + 0.25, z + 0.25],
        }));
    }
    let rows = json!({
        "layer_groups": [{"id": "g", "layers": ["i", "l"]}, {"id": "h", "layers": ["i", "o"]}],
        "layers": [
            {"id": "i", "name": "img", "source": "precomputed://file://./img"},
            {"id": "l", "name": "lab", "source": "precomputed://file://./lab"},
            {"id": "o", "name": "lab", "source": "precomputed://file://./other"},
        ],
        "annotations": boxes,
    });
    let mut config = json!({
        "collection": "collection.json", "resolution": NM, "window": [8, 8, 4], "leaks": "allow",
        "points": {"table": {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}},
        "arrays": {"img": {"layer": "img"}, "lab": {"layer": "lab"}}, "splits": {"train": ["train"]},
    });
    change(&mut config);
    fs::write(dir.path().join("points.csv"), table).unwrap();
    fs::write(dir.path().join("collection.json"), rows.to_string()).unwrap();
    let path = dir.path().join("config.json");
    fs::write(&path, config.to_string()).unwrap();
    Job::prepare(&path, 1 << 30, &Storage::default())
}

/// A point at such a fraction of the layer `img` along each axis.
fn at(fraction: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|d| (START[d] as f64 + fraction[d] * SIZE[d] as f64) * NM[d])
}

#[test]
fn padded_windows_and_inside_fractions_agree_with_the_voxels() {
    let points: Vec<_> = (0..30)
        .map(|i| at([1, 7, 11].map(|k| ((i * k) % 30) as f64 / 27.0 - 0.05)))
        .collect();
    for (resolution, data) in [
        (NM, None),
        ([7.0, 6.0, 50.0], Some(NM)),
        ([3.0, 9.0, 41.0], Some(NM)),
    ] {
        let job = job(&points, [START; 2], |config| {
            config["resolution"] = json!(resolution);
            config["arrays"] = json!({
                "mark": {"layer": "img", "transform": "inside"},
                "wide": {"layer": "img", "transform": "inside", "window": [19, 5, 7]},
            });
            for name in ["mark", "wide"] {
                if let Some(data) = data {
                    config["arrays"][name]["data_resolution"] = json!(data);
                }
            }
        });
        let Job {
            plan,
            sources,
            padding,
            ..
        } = &job.unwrap();
        for array in [0, 1] {
            let share = |window: &[u8]| {
                window.iter().filter(|v| **v == 1).count() as f64 / window.len() as f64
            };
            let marked = crate::select::map_windows(plan, sources, 1 << 30, array, share).unwrap();
            let mut padded = 0;
            for (sample, marked) in plan.splits[0].samples.iter().zip(&marked[0]) {
                let window = plan.window_of(array, sample);
                let found = inside_fraction(plan, sources, array, sample);
                // Voxel by voxel, with no arithmetic but the rule.
                let held = |d: usize| {
                    let centre = |v: i64| (v as f64 + 0.5) * resolution[d] / NM[d];
                    let inside = |v: &i64| {
                        (START[d] as f64) <= centre(*v) && centre(*v) < (START[d] + SIZE[d]) as f64
                    };
                    let voxels = window.start[d]..window.end[d];
                    voxels.clone().filter(inside).count() as f64 / voxels.count() as f64
                };
                let wanted = held(0) * held(1) * held(2);
                assert!((f64::from(found) - wanted).abs() < 1e-6, "{found} {wanted}");
                assert!((marked - wanted).abs() < 1e-9, "{marked} {wanted}");
                assert_eq!(found < 1.0, wanted < 1.0);
                padded += u64::from(found < 1.0);
            }
            assert!((1..30).contains(&padded), "{padded}");
            assert_eq!(padding.windows(0, array), padded);
        }
        let warned =
            |w: &&String| w.contains("in the split `train`") && w.contains("`mark` (layer `img`)");
        assert_eq!(
            plan.warnings.iter().filter(warned).count(),
            1,
            "{:?}",
            plan.warnings
        );
    }
}

#[test]
fn more_than_a_tenth_of_padded_windows_gives_a_warning() {
    let warnings = |outside: usize| {
        let inside = [[0.5; 3]; 20].into_iter().enumerate();
        // Different points.
        let points = inside.map(|(i, p)| {
            let z = 0.1 + 0.04 * i as f64;
            if i < outside {
                at([0.01, 0.5, z])
            } else {
                at([p[0], p[1], z])
            }
        });
        let points: Vec<_> = points.collect();
        let job = job(&points, [START; 2], |config| {
            config["window"] = json!([8, 8, 1]);
            config["arrays"] = json!({"img": {"layer": "img"}});
        });
        let job = job.unwrap();
        assert_eq!(job.padding.windows(0, 0), outside as u64);
        job.plan.warnings
    };
    assert_eq!(warnings(2), Vec::<String>::new());
    let [warning] = &warnings(3)[..] else {
        panic!()
    };
    assert!(
        warning.starts_with("3 of the 20 windows in the split `train`")
            && warning.contains("Arrays: `img` (layer `img`). "),
        "{warning}"
    );
}

/// The message of the error of a displaced layer.
fn displaced_by(job: Result<Job, JobError>) -> String {
    match job {
        Err(e @ JobError::Displaced(_)) => {
            assert_eq!(e.kind(), FaultKind::Data);
            e.to_string()
        }
        other => panic!("{:?}", other.map(|job| job.plan.samples())),
    }
}

#[test]
fn a_layer_that_one_group_touches_and_another_does_not_is_an_error() {
    let points = [[0.5; 3], [0.6; 3]].map(at);
    assert!(job(&points, [START; 2], |_| {}).is_ok());
    let message = displaced_by(job(&points, [START, [0; 3]], |_| {}));
    assert!(
        message.contains("/other") && message.contains("box \"b1\""),
        "{message}"
    );
    assert_eq!(message.matches("overlaps it").count(), 1, "{message}");
    // A group without samples need not touch its layers.
    assert!(job(&points[..1], [START, [0; 3]], |_| {}).is_ok());
}

#[test]
fn a_displaced_layer_is_an_error_for_every_kind_of_array() {
    let points = [[0.5; 3], [0.6; 3]].map(at);
    for of_label in [
        json!({"layer": "lab", "transform": "inside"}),
        json!({"layer": "lab", "transform": "nonzero"}),
        json!({"layer": "lab", "transform": {"object_at": {"point": "anchor"}}}),
        json!({"layer": "lab", "min_nonzero_fraction": 0.5}),
        json!({"layer": "lab", "data_resolution": NM, "interpolation": "linear"}),
    ] {
        for outside in ["pad", "drop"] {
            let message = displaced_by(job(&points, [[9000; 3]; 2], |config| {
                config["outside"] = json!(outside);
                config["arrays"]["lab"] = of_label.clone();
                if of_label.get("data_resolution").is_some() {
                    config["resolution"] = json!([8, 8, 40]);
                    config["arrays"]["img"]["data_resolution"] = json!(NM);
                    config["arrays"]["img"]["interpolation"] = json!("linear");
                }
            }));
            assert!(
                message.contains("layer `lab`") && !message.contains("`img`"),
                "{message}"
            );
        }
    }
}

#[test]
fn a_resolution_of_six_digits_moves_no_voxel() {
    // The layer's own resolution differs by less than 1 in 100,000, which is more than half a voxel there.
    let start = [10_000_000, 2000, 400];
    let dir = tempfile::tempdir().unwrap();
    let layer = dir.path().join("img");
    write_layer(&layer, [NM[0] * (1.0 - 8e-6), NM[1], NM[2]], start);
    let point = [10_000_001.0 * NM[0], 2010.0 * NM[1], 410.0 * NM[2]];
    let rows = json!({
        "layer_groups": [{"id": "g", "layers": ["i"]}],
        "layers": [{"id": "i", "name": "img", "source": format!("precomputed://file://{}", layer.display())}],
        "annotations": [{
            "type": "axis_aligned_bounding_box", "id": "b", "tags": ["train"], "layer_group": "g",
            "pointA": point, "pointB": point.map(|v| v + 1.0),
        }],
    });
    let config = json!({
        "collection": "collection.json", "resolution": NM, "window": [2, 2, 2], "splits": {"train": ["train"]},
        "points": {"table": {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"]}},
        "arrays": {"mark": {"layer": "img", "transform": "inside"}},
    });
    let [x, y, z] = point;
    fs::write(
        dir.path().join("points.csv"),
        format!("x,y,z\n{x},{y},{z}\n"),
    )
    .unwrap();
    fs::write(dir.path().join("collection.json"), rows.to_string()).unwrap();
    let path = dir.path().join("config.json");
    fs::write(&path, config.to_string()).unwrap();
    let Job { plan, sources, .. } = Job::prepare(&path, 1 << 30, &Storage::default()).unwrap();
    let sample = &plan.splits[0].samples[0];
    assert_eq!(plan.window_of(0, sample).start[0], start[0]);
    assert_eq!(inside_fraction(&plan, &sources, 0, sample), 1.0);
    let all = |window: &[u8]| window.iter().all(|v| *v == 1);
    let marked = crate::select::map_windows(&plan, &sources, 1 << 30, 0, all).unwrap();
    assert_eq!(marked, [[true]]);
}

proptest! {
    #[test]
    fn the_first_voxel_is_the_one_that_a_linear_search_finds(
        face in -200i64..200, start in -100i64..100, n in 0i64..60,
    ) {
        let voxels = start..start + n;
        let searched = voxels.clone().find(|v| *v >= face);
        prop_assert_eq!(first_where(voxels.clone(), |v| v >= face), searched.unwrap_or(voxels.end));
    }
}
