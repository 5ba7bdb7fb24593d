mod damage;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::synthetic::{Row, some_rows, synthetic};
use super::*;
use crate::data_type::Scalar;
use crate::dataset::{Codec, to_checksummed};
use crate::geometry::Resolution;
use crate::job::Job;
use crate::plan::{SourceFacts, Tasks};
use crate::storage::{Location, SourceUrl, Storage};

/// Writes the plan's columns to a folder, and returns the header.
fn write_to(folder: &Path, plan: &FinishedPlan) -> PlanHeader {
    write(plan, &[], |key, bytes| {
        let path = folder.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        Ok::<(), DatasetError>(())
    })
    .unwrap()
}

fn read_from(folder: &Path, header: &PlanHeader) -> Result<FinishedPlan, DatasetError> {
    let store = Storage::default().open(&Location::Local(folder.to_owned()));
    read(header, store.as_ref())
}

fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    crate::support::tree(folder).into_iter().collect()
}

/// Writes and reads the plan; both must be equal bit by bit.
fn assert_round_trip(plan: &FinishedPlan) {
    let [first, second] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let header = write_to(first.path(), plan);
    let bytes = to_checksummed(&header).unwrap();
    let parsed = PlanHeader::parse(&bytes).unwrap();
    assert_eq!(parsed.layout().unwrap(), plan.layout);
    assert_eq!(parsed.plan_digest(), plan.digest().to_string());
    assert_eq!(parsed.tasks().unwrap().1, plan.tasks);
    let found = read_from(first.path(), &parsed).unwrap();
    let has_nan = |plan: &FinishedPlan| format!("{:?}", plan.table.splits).contains("NaN");
    assert!(found == *plan || has_nan(plan), "{found:?}, not {plan:?}");
    // -0.0 is equal to 0.0 and NaN to nothing, so that bytes are compared, too.
    let again = write_to(second.path(), &found);
    assert_eq!(to_checksummed(&again).unwrap(), bytes);
    assert!(files_of(first.path()) == files_of(second.path()));
}

fn any_row() -> impl Strategy<Value = Row> {
    let voxel = -(1i64 << 52)..=1 << 52;
    let center = prop::array::uniform3(any::<u64>());
    let parts = (any::<u64>(), center, prop::array::uniform3(voxel));
    (parts, any::<bool>(), 0.0f32..=1.0).prop_map(|((id, center, start), group, fraction)| Row {
        id,
        center,
        start,
        group,
        fraction,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_plan_is_equal_after_a_round_trip(
        train in prop::collection::vec(any_row(), 0..9), val in prop::collection::vec(any_row(), 0..3),
    ) {
        assert_round_trip(&synthetic(&train, &val));
    }
}

#[test]
fn plans_without_samples_are_equal_after_a_round_trip() {
    assert_round_trip(&synthetic(&[], &[]));
    assert_round_trip(&synthetic(&[], &some_rows(1)));
}

/// The finished plan of the demo's job.
fn demo_plan() -> FinishedPlan {
    let dir = tempfile::tempdir().unwrap();
    let config = crate::demo::testing::write_collection(dir.path());
    let job = Job::prepare(&config, 1 << 30, &Storage::default()).unwrap();
    let facts = SourceFacts::of_all(&job.sources.volumes);
    let layout = job.sources.layout(&job.plan);
    let tasks = Tasks::one(&layout);
    FinishedPlan::new(
        job.plan,
        facts,
        job.padding,
        layout,
        tasks,
        None,
        &job.collection,
    )
    .unwrap()
}

#[test]
fn the_plan_of_the_demo_is_equal_after_a_round_trip() {
    let plan = demo_plan();
    assert!(plan.table.samples() > 20);
    assert_round_trip(&plan);
}

#[test]
fn secrets_are_not_stored_and_a_redacted_source_cannot_be_opened() {
    let mut plan = synthetic(&some_rows(2), &[]);
    let base = Location::Local("/data".into());
    plan.table.sources[0].url =
        SourceUrl::parse("precomputed://https://host/em?sig=secret", &base).unwrap();
    plan.table.warnings = vec!["cannot list https://host/em?sig=secret".to_owned()];
    let FinishedPlan {
        table,
        sources,
        padding,
        layout,
        tasks,
        ..
    } = plan;
    let collection = "https://h/c?sig=secret";
    let plan = FinishedPlan::new(table, sources, padding, layout, tasks, None, collection).unwrap();
    assert_round_trip(&plan);
    let dir = tempfile::tempdir().unwrap();
    let header = write_to(dir.path(), &plan);
    let text = String::from_utf8(to_checksummed(&header).unwrap()).unwrap();
    assert!(
        !text.contains("secret") && text.contains("<redacted>"),
        "{text}"
    );
    let table = read_from(dir.path(), &header).unwrap().table;
    let error = crate::extract::Sources::open(&table, &Storage::default()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("https://host/em?<redacted>") && message.contains("CONFIG"),
        "{message}"
    );
}

/// A small plan in a folder.
#[test]
fn the_digest_depends_neither_on_tasks_nor_on_places() {
    let plan = synthetic(&some_rows(3), &some_rows(1));
    let digest = |change: fn(&mut FinishedPlan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        plan.digest()
    };
    let same: [fn(&mut FinishedPlan); 6] = [
        |p| p.reuse = None,
        |p| p.tasks = Tasks::one(&p.layout),
        |p| p.collection.clear(),
        |p| p.table.sources[0].url.location = Location::Local("/elsewhere".into()),
        |p| p.sources[0].described.clear(),
        |p| p.table.warnings.clear(),
    ];
    for (i, change) in same.into_iter().enumerate() {
        assert_eq!(digest(change), plan.digest(), "{i}");
    }
    let different: [fn(&mut FinishedPlan); 13] = [
        |p| p.sources[0].metadata_digest = blake3::hash(b"other"),
        |p| p.table.sources[0].url.format = Some("n5".to_owned()),
        |p| p.table.sources[0].layer.voxel_offset = None,
        |p| p.table.sources[0].resolution = Resolution::new([1.0; 3]).unwrap(),
        |p| p.layout.arrays[0].codec = Codec::default().into(),
        |p| p.layout.arrays[0].fill_value = Scalar::ZERO,
        |p| p.layout.splits[0].shard_samples = 1,
        |p| p.table.arrays[0].source_of_group = vec![1, 0],
        |p| p.table.splits[0].samples[0].annotation_id ^= 1,
        |p| p.table.splits[0].objects[2].one_each_mut()[0] ^= 1,
        |p| p.table.splits[0].objects[3].push([7]),
        |p| p.table.splits[0].properties[0][0] ^= 1,
        |p| p.table.boxes[0].tags.clear(),
    ];
    for (i, change) in different.into_iter().enumerate() {
        assert_ne!(digest(change), plan.digest(), "{i}");
    }
}
