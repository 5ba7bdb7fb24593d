use super::*;
use crate::geometry::Resolution;
use crate::job::plan_files::synthetic::{some_rows, synthetic};
use crate::plan::PlannedGroup;
use crate::storage::Location;

fn stored() -> FinishedPlan {
    synthetic(&some_rows(4), &some_rows(2))
}

/// The draft of the stored plan, opened, after a change.
fn changed(change: impl Fn(&mut Plan, &mut Vec<SourceFacts>)) -> (Plan, Vec<SourceFacts>) {
    let FinishedPlan {
        mut table,
        mut sources,
        ..
    } = stored();
    change(&mut table, &mut sources);
    (table, sources)
}

fn lines(change: impl Fn(&mut Plan, &mut Vec<SourceFacts>)) -> Vec<String> {
    let (draft, now) = changed(change);
    let message = compare(&stored(), &draft, &now).err().unwrap_or_default();
    let lines = message.lines().map(|line| line.trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn a_draft_is_the_same_wherever_its_inputs_are() {
    let places = |draft: &mut Plan, now: &mut Vec<SourceFacts>| {
        for (i, source) in draft.sources.iter_mut().enumerate() {
            source.url.location = Location::Local(format!("/elsewhere/{i}").into());
            now[i].described = format!("/elsewhere/{i}/s0");
        }
        draft.config = crate::job::plan_files::synthetic::config_in("elsewhere");
    };
    assert_eq!(lines(|_, _| {}), Vec::<String>::new());
    assert_eq!(lines(places), Vec::<String>::new());
    let (draft, now) = changed(places);
    let moved = moved_sources(&stored(), &draft, &now);
    assert_eq!(moved.len(), 4 + 4, "{moved:?}");
    assert_eq!(
        moved[0],
        "the source `em` was gs://bucket/é a, is /elsewhere/0 now, with the same metadata"
    );
    assert!(
        moved.contains(&"config `points.table.file` was points.csv, is elsewhere now".to_owned()),
        "{moved:?}"
    );
    let (draft, now) = changed(|_, _| {});
    assert_eq!(moved_sources(&stored(), &draft, &now), Vec::<String>::new());
}

#[test]
fn each_difference_is_one_line() {
    type Change = fn(&mut Plan, &mut Vec<SourceFacts>);
    let changes: [(Change, &[&str]); 18] = [
        (
            |p, _| p.config.points.choose.seed = 1,
            &["config `points.choose.seed`: was 18446744073709551615, is now 1"],
        ),
        (
            |_, now| now[0].metadata_digest = blake3::hash(b"other"),
            &["source `em` (gs://bucket/é a): its metadata (info or attributes) has changed"],
        ),
        (
            |p, now| {
                p.sources[0].url.location = Location::Local("/new".into());
                now[0].metadata_digest = blake3::hash(b"other");
            },
            &["source `em`: was gs://bucket/é a, is now /new"],
        ),
        (
            |p, _| p.sources[0].resolution = Resolution::new([1.0, 2.0, 3.0]).unwrap(),
            &["source `em` (gs://bucket/é a): was read at 0.30000000000000004 x 4.6 x 0.000"],
        ),
        (
            |p, _| p.sources[0].url.format = Some("n5".to_owned()),
            &["source `em` (gs://bucket/é a): its URL named no format, names `n5` now"],
        ),
        (
            |p, now| {
                p.sources.push(p.sources[3].clone());
                p.sources[4].url.location = Location::Local("/new".into());
                p.arrays[3].source_of_group[1] = 4;
                now.push(now[3].clone());
            },
            &["source `seg` (/new) was added"],
        ),
        (
            |p, now| {
                p.sources.pop();
                now.pop();
            },
            &["source `seg` (/data/seg) was removed"],
        ),
        (
            |p, _| {
                p.arrays[0].source_of_group = vec![0, 0];
                p.arrays[1].source_of_group = vec![2, 1];
            },
            &[
                "box 2 (\"t1\") has another layer group",
                "box 4 (\"v1\") has another",
            ],
        ),
        (
            |p, _| p.boxes[1].group = 1,
            &["box 1 (\"t0\") has another layer group"],
        ),
        (
            |p, _| {
                p.groups[1] = PlannedGroup {
                    resolution: Resolution::new([9.0; 3]).unwrap(),
                }
            },
            &[
                "box 2 (\"t1\") has another layer group",
                "box 4 (\"v1\") has another",
            ],
        ),
        (
            |p, _| p.boxes[1].max_nm[1] += 1e9,
            &["box 1 (\"t0\") has other bounds"],
        ),
        (
            |p, _| p.boxes[1].tags.clear(),
            &["box 1 (\"t0\") has other tags"],
        ),
        (
            |p, _| p.boxes[1].split = Some(1),
            &["box 1 (\"t0\") was in the split `train`, is in the split `val` now"],
        ),
        (
            |p, _| p.boxes[1].annotations = 3,
            &[
                "annotation layer `points.csv`: box 1 (\"t0\") held 18446744073709551615 annotations, holds 3 now",
            ],
        ),
        (
            |p, _| p.boxes[1].annotations_digest ^= 1,
            &[
                "annotation layer `points.csv`: box 1 (\"t0\") holds 18446744073709551615 annotations as before, with other",
            ],
        ),
        (
            |p, _| p.boxes.swap(1, 2),
            &["the boxes are in another order"],
        ),
        (
            |p, _| p.properties[2].enum_labels[0] = "other".to_owned(),
            &[
                "annotation property \"uint8 ü\\\"'\": has another type, description or other labels",
            ],
        ),
        (
            |p, _| p.draft_digest = blake3::hash(b"other"),
            &["nothing that can be named; the plan was made by pointshard"],
        ),
    ];
    for (i, (change, expected)) in changes.into_iter().enumerate() {
        let found = lines(change);
        let fits = |(found, expected): (&String, &&str)| found.starts_with(*expected);
        assert!(
            found.len() == expected.len() && found.iter().zip(expected).all(fits),
            "{i}: {found:#?}"
        );
    }
}

#[test]
fn volumes_that_swap_their_places_are_another_layer_group() {
    let same_metadata = |stored: &mut FinishedPlan| {
        stored.sources[1].metadata_digest = stored.sources[0].metadata_digest;
        stored.table.sources[1].resolution = stored.table.sources[0].resolution;
        stored.table.sources[1].url.format = None;
    };
    let mut was = stored();
    same_metadata(&mut was);
    let mut now = was.clone();
    let [first, second] = [0, 1].map(|i| was.table.sources[i].url.location.clone());
    now.table.sources[0].url.location = second.clone();
    now.table.sources[1].url.location = first;
    let message = compare(&was, &now.table, &now.sources).unwrap_err();
    assert!(message.contains("has another layer group"), "{message}");
    // Where only one of them moves, nothing else is taken for it.
    let mut now = was.clone();
    now.table.sources[0].url.location = Location::Local("/new".into());
    compare(&was, &now.table, &now.sources).unwrap();
    let moved = moved_sources(&was, &now.table, &now.sources);
    assert!(moved.len() == 1 && moved[0].contains("/new"), "{moved:?}");
}

#[test]
fn volumes_whose_metadata_changed_since_the_plan_are_named() {
    let plan = stored();
    let mut now = plan.sources.clone();
    compare_metadata(&plan, &now).unwrap();
    now[3].metadata_digest = blake3::hash(b"other");
    let message = compare_metadata(&plan, &now).unwrap_err();
    assert_eq!(
        message.trim(),
        "source `seg` (/data/seg): its metadata (info or attributes) has changed"
    );
}
