//! Windows of different splits that share voxels.

use super::*;
use crate::geometry::WindowRule;
use crate::plan::leaks::find_leaks;
use proptest::prelude::*;

/// Train box a and val boxes b (same group) and c (another group), with one annotation each.
fn three_boxes(leaks: Value, val: f64) -> Result<Plan, PlanError> {
    let c = collection(&[
        TestBox("a", [0.0; 3], [10.0; 3], vec!["train"], "g"),
        TestBox("b", [0.0; 3], [10.0; 3], vec!["val"], "g"),
        TestBox("c", [0.0; 3], [10.0; 3], vec!["val"], "h"),
    ]);
    let points = [
        vec![(1, [5.0; 3])],
        vec![(2, [val; 3])],
        vec![(3, [5.0; 3])],
    ];
    plan(&config(|v| v["leaks"] = leaks), &c, &points)
}

#[test]
fn leaks_are_an_error_unless_the_config_allows_them() {
    // Windows are 4 voxels wide: 5 and 8 share one voxel, 5 and 9 only touch. Group h has other layers.
    let e = three_boxes(json!("error"), 8.0).unwrap_err().to_string();
    for part in [
        "`train` and `val`: 1 pair, on average 1.6 % of the smaller window, at most 1.6 %",
        "annotation 1 of box \"a\" and annotation 2 of box \"b\": 1.6 %",
        "{\"drop_from\": \"val\"}",
        "\"warn\"",
        "\"allow\"",
    ] {
        assert!(e.contains(part), "{part}: {e}");
    }
    three_boxes(json!("error"), 9.0).unwrap();
    let warned = three_boxes(json!("warn"), 8.0).unwrap();
    assert!(warned.warnings[0].contains("annotation 1 of box \"a\""));
    let allowed = three_boxes(json!("allow"), 8.0).unwrap();
    assert!(allowed.warnings.is_empty() && allowed.samples() == 3);
}

#[test]
fn leaking_samples_of_one_split_can_be_dropped_and_are_counted() {
    let p = three_boxes(json!({"drop_from": "val"}), 8.0).unwrap();
    assert_eq!(
        (p.splits[0].samples.len(), p.splits[1].samples.len()),
        (1, 1)
    );
    assert_eq!(p.boxes[1].dropped[&DropReason::Leak], 1);
    assert_eq!((p.boxes[1].samples, p.boxes[2].samples), (0, 1));
    assert!(find_leaks(&p).is_none() && p.warnings.is_empty());
    let p = three_boxes(json!({"drop_from": "train"}), 8.0).unwrap();
    assert_eq!(
        (p.splits[0].samples.len(), p.splits[1].samples.len()),
        (0, 2)
    );
}

#[test]
fn dropping_from_one_split_does_not_allow_leaks_between_others() {
    let boxed = |id, tag| TestBox(id, [0.0; 3], [10.0; 3], vec![tag], "g");
    let c = collection(&[boxed("a", "train"), boxed("b", "val"), boxed("c", "test")]);
    let of = |from: &str| {
        let file = config(|v| {
            v["splits"] = json!({"train": ["train"], "val": ["val"], "test": ["test"]});
            v["leaks"] = json!({ "drop_from": from });
        });
        plan(
            &file,
            &c,
            &[
                vec![(1, [1.0; 3])],
                vec![(2, [5.0; 3])],
                vec![(3, [7.0; 3])],
            ],
        )
    };
    let e = of("train").unwrap_err().to_string();
    assert!(
        e.contains("`val` and `test`") && e.contains("drops samples from `train`"),
        "{e}"
    );
    assert_eq!(of("val").unwrap().splits[1].samples.len(), 0);
}

#[test]
fn samples_over_max_per_box_do_not_leak() {
    let c = collection(&[
        TestBox("a", [0.0; 3], [100.0; 3], vec!["train"], "g"),
        TestBox("b", [0.0; 3], [100.0; 3], vec!["val"], "g"),
    ]);
    let many: Vec<_> = (0..20u64)
        .map(|i| (i, [5.0 * i as f64, 0.0, 0.0]))
        .collect();
    let file = config(|v| v["points"]["choose"] = json!({"max_per_box": 1}));
    let p = plan(&file, &c, &[many.clone(), many]).unwrap();
    assert_eq!(p.samples(), 2);
}

/// A plan for samples given as (split, group, position), with two layers and two groups.
fn any_plan(
    arrays: Value,
    resolutions: [f64; 2],
    same: bool,
    samples: &[(usize, usize, [f64; 3])],
) -> Plan {
    let boxed = |id, tag, group| TestBox(id, [0.0; 3], [99.0; 3], vec![tag], group);
    let c = collection(&[
        boxed("0", "s0", "g"),
        boxed("1", "s0", "h"),
        boxed("2", "s1", "g"),
        boxed("3", "s1", "h"),
        boxed("4", "s2", "g"),
        boxed("5", "s2", "h"),
    ]);
    let file = config(|v| {
        v["arrays"] = arrays;
        v["splits"] = json!({"a": ["s0"], "b": ["s1"], "c": ["s2"]});
        v["leaks"] = json!("allow");
    });
    let mut points = vec![Vec::new(); 6];
    for (i, (split, group, at)) in samples.iter().enumerate() {
        points[2 * split + group].push((i as u64, *at));
    }
    let mut p = plan(&file, &c, &points).unwrap();
    // Resolutions as `flexible_z` would set them.
    for (group, nm) in resolutions.iter().enumerate() {
        p.groups[group].resolution = Resolution::new([1.0, 1.0, *nm]).unwrap();
    }
    let resolution_of: Vec<_> = p
        .boxes
        .iter()
        .map(|b| p.groups[b.group].resolution)
        .collect();
    for sample in p.splits.iter_mut().flat_map(|s| &mut s.samples) {
        let resolution = &resolution_of[sample.box_index as usize];
        sample.start_voxel = p
            .config
            .window
            .start_around(&sample.center_nm, resolution, WindowRule::Ceil)
            .unwrap();
    }
    // One location under two URLs.
    if same {
        let location = p.sources[0].url.location.clone();
        let last = p.sources.len() - 1;
        p.sources[last].url.location = location;
        p.sources[last].url.format = Some("zarr".to_owned());
    }
    p
}

/// The voxels that a sample reads of each location: boxes in nm. The numbers are whole, so that they are exact.
fn reads(p: &Plan, sample: &Sample) -> Vec<(String, [[f64; 2]; 3])> {
    let boxes = (0..p.arrays.len()).map(|a| {
        let window = p.window_of(a, sample);
        let r = p.resolution_of(sample).nm();
        let data = p.config.arrays[a].data_resolution.map_or(r, |d| d.nm());
        let along = |d: usize| {
            let nm = [window.start[d] as f64 * r[d], window.end[d] as f64 * r[d]];
            [
                (nm[0] / data[d]).floor() * data[d],
                (nm[1] / data[d]).ceil() * data[d],
            ]
        };
        (
            p.sources[p.source_of(a, sample)].url.location.to_string(),
            [0, 1, 2].map(along),
        )
    });
    boxes.collect()
}

fn share(a: &[(String, [[f64; 2]; 3])], b: &[(String, [[f64; 2]; 3])]) -> f64 {
    let mut most: f64 = 0.0;
    for (location_a, box_a) in a {
        for (_, box_b) in b.iter().filter(|(location_b, _)| location_a == location_b) {
            let volume = |b: &[[f64; 2]; 3]| b.iter().map(|[s, e]| e - s).product::<f64>();
            let common = [0, 1, 2]
                .map(|d| (box_a[d][1].min(box_b[d][1]) - box_a[d][0].max(box_b[d][0])).max(0.0));
            most = most.max(common.iter().product::<f64>() / volume(box_a).min(volume(box_b)));
        }
    }
    most
}

proptest! {
    #[test]
    fn leaks_are_the_same_pairs_as_in_a_search_of_all_pairs(
        samples in prop::collection::vec((0usize..3, 0usize..2, prop::array::uniform3(0u8..30)), 0..50),
        own in prop::array::uniform3(1u32..9),
        data in prop::sample::select(vec![[1.0, 1.0, 1.0], [2.0, 2.0, 1.0], [4.0, 2.0, 3.0]]),
        resolutions in prop::sample::select(vec![[1.0, 1.0], [1.0, 2.0], [3.0, 2.0]]),
        same: bool,
    ) {
        let arrays = json!({
            "img": {"layer": "img"}, "wide": {"layer": "img", "window": own},
            "label": {"layer": "points", "window": own},
            "coarse": {"layer": "img", "data_resolution": data, "interpolation": "nearest"},
        });
        let samples: Vec<_> = samples.iter().map(|(s, g, p)| (*s, *g, p.map(f64::from))).collect();
        let mut p = any_plan(arrays, resolutions, same, &samples);
        let report = find_leaks(&p);
        let between = report.map_or(Vec::new(), |r| r.between);
        let mut leaking = vec![Vec::new(); 3];
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            let names = [a, b].map(|s: usize| p.splits[s].name.clone());
            let mut shares = Vec::new();
            for x in &p.splits[a].samples {
                for y in &p.splits[b].samples {
                    let share = share(&reads(&p, x), &reads(&p, y));
                    if share > 0.0 {
                        shares.push(share);
                        leaking[a].push(x.annotation_id);
                        leaking[b].push(y.annotation_id);
                    }
                }
            }
            match between.iter().find(|l| l.splits == names) {
                None => prop_assert!(shares.is_empty()),
                Some(leak) => {
                    prop_assert_eq!((leak.pairs, leak.all), (shares.len() as u64, true));
                    prop_assert_eq!(leak.max_shared, shares.iter().copied().fold(0.0, f64::max));
                    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
                    prop_assert!((leak.mean_shared - mean).abs() < 1e-9);
                    prop_assert!(!leak.examples.is_empty() && leak.examples.len() <= 3);
                }
            }
        }
        // Dropping from one split keeps the samples that do not leak.
        p.config.leaks = crate::config::Leaks::DropFrom("a".to_owned());
        let others_leak = between.iter().any(|l| l.splits[0] == "b");
        let before = p.clone();
        match p.finish() {
            Err(_) => prop_assert!(others_leak),
            Ok(p) => {
                prop_assert!(!others_leak && find_leaks(&p).is_none());
                let kept: Vec<_> = before.splits[0].samples.iter().filter(|s| !leaking[0].contains(&s.annotation_id)).collect();
                prop_assert_eq!(p.splits[0].samples.iter().collect::<Vec<_>>(), kept);
            }
        }
    }
}

/// `n` samples in two splits, at positions that `at` gives.
fn many(n: u64, at: impl Fn(u64) -> (usize, [f64; 3])) -> Plan {
    let mut p = three_boxes(json!("allow"), 9.0).unwrap();
    p.splits.iter_mut().for_each(|s| s.samples.clear());
    for i in 0..n {
        let (split, center) = at(i);
        let center_nm = PointNm(center);
        p.splits[split].samples.push(Sample {
            annotation_id: i,
            center_nm,
            start_voxel: p
                .config
                .window
                .start_around(&center_nm, &p.groups[0].resolution, WindowRule::Ceil)
                .unwrap(),
            box_index: split as u32,
        });
    }
    p
}

fn random(i: u64, k: u32, below: u64) -> f64 {
    let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ (i + 7).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 13;
    ((mixed >> k) % below) as f64
}

const MANY: u64 = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

/// Looks for leaks among [`MANY`] windows. Returns the number of pairs.
fn count_leaks(what: &str, plan: &Plan) -> u64 {
    let clock = std::time::Instant::now();
    let pairs = find_leaks(plan).map_or(0, |r| r.between[0].pairs);
    println!(
        "{MANY} windows {what}: {pairs} pairs in {:?}",
        clock.elapsed()
    );
    pairs
}

#[test]
fn a_million_windows_that_hardly_leak_are_compared_quickly() {
    // Two halves that touch, except for one window.
    let halves = many(MANY, |i| {
        let split = (i % 2) as usize;
        let x = random(i, 0, 4000) + 4004.0 * split as f64;
        let x = if i == 0 { 4010.0 } else { x };
        (split, [x, random(i, 11, 4000), random(i, 23, 4000)])
    });
    count_leaks("in two halves", &halves);
    // Everywhere.
    let mixed = many(MANY, |i| {
        ((i % 2) as usize, [0, 11, 23].map(|k| random(i, k, 1000)))
    });
    assert!(count_leaks("mixed", &mixed) > 0);
    // At two positions that touch.
    let layers = many(MANY, |i| {
        ((i % 2) as usize, [4.0 * (i % 2) as f64, 0.0, 0.0])
    });
    assert_eq!(count_leaks("at two positions that touch", &layers), 0);
    let near = many(MANY, |i| {
        let split = (i % 2) as usize;
        let x = 24.0 * split as f64 + random(i, 0, 20);
        (split, [x, random(i, 11, 20), random(i, 23, 20)])
    });
    assert_eq!(count_leaks("crowded on either side of a plane", &near), 0);
    let board = many(MANY, |i| {
        let cell = [0, 9, 17].map(|k| random(i / 2, k, 20));
        let split = (cell.iter().sum::<f64>() as usize) % 2;
        (split, cell.map(|c| 4.0 * c))
    });
    assert_eq!(count_leaks("in a chequerboard", &board), 0);
}

#[test]
fn counting_stops_at_a_limit_if_a_million_windows_all_leak() {
    let mut crowd = many(MANY, |i| {
        ((i % 2) as usize, [0, 11, 23].map(|k| random(i, k, 30)))
    });
    assert!(count_leaks("in one crowd", &crowd) > 10_000_000);
    let clock = std::time::Instant::now();
    crowd.config.leaks = crate::config::Leaks::DropFrom("train".to_owned());
    crowd.boxes[0].samples = MANY / 2;
    assert!(crowd.finish().unwrap().splits[0].samples.len() < 1000);
    println!("dropped in {:?}", clock.elapsed());
}

#[test]
fn layers_of_the_same_groups_are_searched_once() {
    let arrays = json!({"img": {"layer": "img"}, "label": {"layer": "points"}});
    let p = any_plan(
        arrays,
        [1.0; 2],
        false,
        &[(0, 0, [5.0; 3]), (1, 0, [5.0; 3]), (1, 1, [5.0; 3])],
    );
    // Both groups share the layer `points`; the pair of one group still counts only once.
    assert_eq!(find_leaks(&p).unwrap().between[0].pairs, 2);
}
