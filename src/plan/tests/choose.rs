//! Which annotations become samples.

use std::sync::Arc;

use super::*;
use crate::geometry::BoxNm;
use crate::points::PropertyKind;
use proptest::prelude::*;

fn ids(plan: &Plan, split: usize) -> Vec<(u32, u64)> {
    let samples = plan.splits[split].samples.iter();
    let mut ids: Vec<_> = samples.map(|s| (s.box_index, s.annotation_id)).collect();
    ids.sort_unstable();
    ids
}

/// Samples and dropped annotations must add up.
fn check_counts(plan: &Plan) {
    for b in &plan.boxes {
        let dropped: u64 = b.dropped.values().sum();
        assert_eq!(b.annotations, b.samples + dropped, "{b:?}");
    }
    let samples: u64 = plan.boxes.iter().map(|b| b.samples).sum();
    assert_eq!(samples, plan.samples());
}

fn choosing(choose: Value) -> ConfigFile {
    config(|v| {
        v["points"]["choose"] = choose;
        v["leaks"] = json!("allow");
    })
}

fn two_boxes() -> Collection {
    collection(&[
        TestBox("a", [0.0; 3], [100.0; 3], vec!["train"], "g"),
        TestBox("b", [0.0; 3], [100.0; 3], vec!["train"], "g"),
        TestBox("c", [0.0; 3], [100.0; 3], vec!["val"], "g"),
    ])
}

#[test]
fn filters_keep_annotations_by_value_and_drops_are_counted() {
    let mut kind = PropertySpec::for_test("kind", PropertyKind::Uint8);
    kind.enum_values = vec![1.0, 2.0];
    kind.enum_labels = vec!["small".to_owned(), "large".to_owned()];
    let specs = [kind];
    let c = collection(&[TestBox("a", [0.0; 3], [100.0; 3], vec!["train"], "g")]);
    let build = |choose: Value| {
        let file = choosing(choose);
        let read_plan = read_plan_of(&file, &c)?;
        let with = |id: u64, value: u8| Annotation {
            properties: vec![value].into(),
            ..annotation(id, [5.0; 3])
        };
        let mut layer = layer(vec![vec![with(1, 1), with(2, 2), with(3, 3)]]);
        layer.properties = specs.to_vec();
        let built = Plan::build(&read_plan, vec![layer]);
        built?.finish()
    };
    let p = build(json!({"filter": {"kind": {"in": ["large", 3]}}})).unwrap();
    assert_eq!(ids(&p, 0), [(0, 2), (0, 3)]);
    assert_eq!(p.boxes[0].dropped[&DropReason::Filter], 1);
    assert_eq!(p.splits[0].properties[0], [2, 3]);
    check_counts(&p);
    let e = build(json!({"filter": {"kid": {"min": 1}}})).unwrap_err();
    let e = e.to_string();
    assert!(
        e.contains("job.json: at `points.choose.filter.kid`") && e.contains("did you mean `kind`"),
        "{e}"
    );
    let e = build(json!({"filter": {"kind": {"in": ["Large"]}}})).unwrap_err();
    let e = e.to_string();
    assert!(
        e.contains("`points.choose.filter.kind.in`") && e.contains("`small`, `large`"),
        "{e}"
    );
}

#[test]
fn only_related_annotations_are_kept() {
    let file = choosing(json!({"related": {"pre": [7]}}));
    let c = collection(&[TestBox("a", [0.0; 3], [100.0; 3], vec!["train"], "g")]);
    let read_plan = read_plan_of(&file, &c).unwrap();
    let mut layer = layer(vec![vec![annotation(1, [5.0; 3]), annotation(2, [5.0; 3])]]);
    layer.related = Some(Arc::new([2, 9].into()));
    let p = Plan::build(&read_plan, vec![layer])
        .unwrap()
        .finish()
        .unwrap();
    assert_eq!(ids(&p, 0), [(0, 2)]);
    assert_eq!(p.boxes[0].dropped[&DropReason::NotRelated], 1);
    check_counts(&p);
}

#[test]
fn an_annotation_in_several_boxes_of_a_split_can_be_limited_to_one_sample() {
    let in_both = vec![(1, [5.0; 3]), (2, [50.0; 3])];
    let points = [
        in_both.clone(),
        [in_both.clone(), vec![(3, [9.0; 3])]].concat(),
        in_both,
    ];
    let each = plan(&choosing(json!({})), &two_boxes(), &points).unwrap();
    assert_eq!(ids(&each, 0).len(), 5);
    let once = plan(&choosing(json!({"repeats": "once"})), &two_boxes(), &points).unwrap();
    assert_eq!(ids(&once, 0), [(0, 1), (0, 2), (1, 3)]);
    // Each split is counted separately.
    assert_eq!(ids(&once, 1), [(2, 1), (2, 2)]);
    assert_eq!(once.boxes[1].dropped[&DropReason::InAnEarlierBox], 2);
    check_counts(&once);
}

#[test]
fn an_annotation_without_a_window_does_not_suppress_close_ones() {
    let c = collection(&[TestBox("a", [-1e300; 3], [1e300; 3], vec!["train"], "g")]);
    let far = 1e200;
    let points = [vec![(1, [far; 3]), (2, [0.0; 3]), (3, [1.0; 3])]];
    let p = plan(&choosing(json!({"min_distance_nm": 2})), &c, &points).unwrap();
    assert_eq!(ids(&p, 0), [(0, 2)]);
    let dropped = [(DropReason::WindowOutOfRange, 1), (DropReason::TooNear, 1)];
    assert_eq!(p.boxes[0].dropped, dropped.into());
}

#[test]
fn max_per_box_samples_by_the_hash_of_seed_box_and_id() {
    let all: Vec<_> = (0..50).map(|i| (i, [i as f64; 3])).collect();
    let sampled = |choose: Value, points: &[Vec<(u64, [f64; 3])>]| {
        let p = plan(&choosing(choose), &two_boxes(), points).unwrap();
        check_counts(&p);
        p
    };
    let points = [all.clone(), all.clone(), all[..3].to_vec()];
    let p = sampled(json!({"max_per_box": 7, "seed": 1}), &points);
    assert_eq!(
        (p.boxes[0].samples, p.boxes[1].samples, p.boxes[2].samples),
        (7, 7, 3)
    );
    assert_eq!(p.boxes[0].dropped[&DropReason::OverMaxPerBox], 43);
    let of = |p: &Plan, b: u32| -> Vec<u64> {
        ids(p, 0)
            .into_iter()
            .filter(|(i, _)| *i == b)
            .map(|(_, id)| id)
            .collect()
    };
    assert_ne!(of(&p, 0), of(&p, 1));
    assert_ne!(
        of(&sampled(json!({"max_per_box": 7, "seed": 2}), &points), 0),
        of(&p, 0)
    );
    // A higher limit keeps the same samples and more, and other annotations do not change the selection.
    let more = of(&sampled(json!({"max_per_box": 20, "seed": 1}), &points), 0);
    assert!(of(&p, 0).iter().all(|id| more.contains(id)));
    let fewer = [all[..40].to_vec(), vec![], vec![]];
    let first: Vec<_> = of(&p, 0).into_iter().filter(|id| *id < 40).collect();
    let of_fewer = of(&sampled(json!({"max_per_box": 7, "seed": 1}), &fewer), 0);
    assert!(first.iter().all(|id| of_fewer.contains(id)));
    // Exactly these ids: otherwise existing configs would produce different datasets.
    assert_eq!(of(&p, 0), [9, 23, 26, 30, 38, 39, 47]);
}

#[test]
fn snapping_boxes_changes_their_annotations_but_not_the_recorded_corners() {
    let c = collection(&[TestBox(
        "a",
        [0.5, 0.0, 0.0],
        [15.9, 9.0, 9.0],
        vec!["train"],
        "g",
    )]);
    let read_plan = |snap: &str| {
        let file = config(|v| {
            v["snap"] = json!(snap);
            v["resolution"] = json!([4, 1, 1]);
        });
        read_plan_of(&file, &c).unwrap()
    };
    let bounds = |min, max| BoxNm::from_corners(PointNm(min), PointNm(max)).unwrap();
    let as_given = bounds([0.5, 0.0, 0.0], [15.9, 9.0, 9.0]);
    assert_eq!(read_plan("none").boxes_of_point_source(0), [as_given]);
    let snapped = read_plan("zetta").boxes_of_point_source(0)[0];
    for (x, inside) in [(-0.1, false), (0.0, true), (11.9, true), (12.0, false)] {
        assert_eq!(snapped.contains(&PointNm([x, 8.9, 0.0])), inside, "{x}");
    }
    let file = config(|v| v["snap"] = json!("zetta"));
    let p = plan(&file, &c, &[vec![]]).unwrap();
    assert_eq!((p.boxes[0].min_nm[0], p.boxes[0].max_nm[0]), (0.5, 15.9));
}

proptest! {
    #[test]
    fn thinning_keeps_the_same_annotations_as_a_search_of_all(
        a in prop::collection::vec(prop::array::uniform3(0u8..30), 0..40),
        b in prop::collection::vec(prop::array::uniform3(0u8..30), 0..40),
        distance in 1.0f64..12.0,
    ) {
        let points = |list: &[[u8; 3]], first: u64| (first..).zip(list.iter().map(|p| p.map(f64::from))).collect::<Vec<_>>();
        let (a, b) = (points(&a, 0), points(&b, 1000));
        let boxes = [a.clone(), b.clone(), a.clone()];
        let p = plan(&choosing(json!({"min_distance_nm": distance})), &two_boxes(), &boxes).unwrap();
        check_counts(&p);
        type OfBox<'a> = (u32, &'a [(u64, [f64; 3])]);
        let greedy = |lists: &[OfBox]| {
            let mut kept: Vec<(u32, u64, PointNm)> = Vec::new();
            for (number, list) in lists {
                for (id, at) in *list {
                    let at = PointNm(*at);
                    if kept.iter().all(|(_, _, k)| k.distance_nm(&at) >= distance) {
                        kept.push((*number, *id, at));
                    }
                }
            }
            kept.into_iter().map(|(b, id, _)| (b, id)).collect::<Vec<_>>()
        };
        prop_assert_eq!(ids(&p, 0), greedy(&[(0, &a), (1, &b)]));
        prop_assert_eq!(ids(&p, 1), greedy(&[(2, &a)]));
    }
}
