//! A fault at every operation that writes, each in turn. A rerun then leaves the output as if nothing had happened.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::*;
use crate::extract::Progress;
use crate::job::{Job, Outcome, RunOptions};
use crate::storage::fault_points::{FaultPoints, InjectedFault};

type Tree = BTreeMap<String, Vec<u8>>;

/// A job that is small, so that it can be run many times.
struct SmallJob {
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl SmallJob {
    /// `None` without the shared data.
    fn new() -> Option<Self> {
        let data = shared_data()?;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.json");
        let mut value = vnc_config(&data);
        value["arrays"] = json!({
            "label0": {"layer": "label0", "codec": "none"},
            "label1": {"layer": "label1", "codec": "zstd"},
        });
        value["window"] = json!([8, 8, 4]);
        value["shard_samples"] = json!(8);
        value["leaks"] = json!("allow");
        fs::write(&config, value.to_string()).unwrap();
        Some(Self { folder, config })
    }

    fn out(&self, name: impl std::fmt::Display) -> PathBuf {
        self.folder.path().join(name.to_string())
    }

    fn run(&self, out: &Path, force: bool, points: &Arc<FaultPoints>) -> Result<Outcome, JobError> {
        let storage = Storage::default().with_fault_points(points);
        let options = RunOptions {
            memory_bytes: GIB,
            force,
            ..RunOptions::default()
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        pool.unwrap().install(|| {
            let job = Job::prepare(&self.config, GIB, &storage)?;
            job.run(out, options, &Progress::default())
        })
    }

    /// Runs without a fault. Returns the output and the number of operations.
    fn run_undisturbed(&self, out: &Path, force: bool) -> (Tree, u64) {
        let points = FaultPoints::new(None);
        self.run(out, force, &points).unwrap();
        (tree(out), points.operations())
    }
}

/// Two faults at every operation: one before it acts, one after. Of these, one is a crash.
fn faults(operations: u64) -> Vec<InjectedFault> {
    let fault = |n: u64| InjectedFault {
        operation: n / 2,
        acts: n % 2 == 1,
        crashes: (n / 2 + n) % 2 == 1,
        error: if n.is_multiple_of(3) {
            ErrorKind::StorageFull
        } else {
            ErrorKind::Other
        },
    };
    (0..2 * operations).map(fault).collect()
}

/// Runs the job with each fault in `out(n)` that `begin` prepares, reruns it, and compares the outputs with `expected`.
fn check_all_faults(
    job: &SmallJob,
    operations: u64,
    force: bool,
    expected: &Tree,
    begin: impl Fn(&Path) + Sync,
) {
    assert!(operations > 20, "{operations}");
    let check = |(n, fault): (usize, InjectedFault)| {
        let out = job.out(format!("{force}-{n}"));
        begin(&out);
        let failed = job.run(&out, force, &FaultPoints::new(Some(fault)));
        if failed.is_ok() {
            // Some operations are of use only, but not needed.
            assert!(tree(&out) == *expected, "{fault:?} was no error");
        }
        let undisturbed = FaultPoints::new(None);
        let rerun = job.run(&out, false, &undisturbed);
        let rerun = match (rerun, force) {
            // The earlier output was not touched yet.
            (Err(JobError::Dataset(DatasetError::OtherPlan { .. })), true) => {
                job.run(&out, true, &undisturbed)
            }
            (rerun, _) => rerun,
        };
        let failed = failed.map(drop);
        rerun.unwrap_or_else(|e| panic!("{fault:?}, {failed:?}: {e}"));
        let found = tree(&out);
        let differ = expected.keys().chain(found.keys());
        let differ: Vec<_> = differ
            .filter(|key| expected.get(*key) != found.get(*key))
            .collect();
        assert!(differ.is_empty(), "{fault:?}, {failed:?}: {differ:?}");
        fs::remove_dir_all(out).unwrap();
    };
    let faults = Mutex::new(faults(operations).into_iter().enumerate());
    let next = || faults.lock().ok().and_then(|mut faults| faults.next());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| std::iter::from_fn(next).for_each(check));
        }
    });
}

#[test]
fn a_rerun_after_a_fault_at_any_operation_leaves_the_same_output() {
    let Some(job) = SmallJob::new() else { return };
    let (expected, operations) = job.run_undisturbed(&job.out("undisturbed"), false);
    check_all_faults(&job, operations, false, &expected, |_| {});
}

#[test]
fn a_rerun_after_a_fault_while_another_output_is_overwritten_leaves_the_same_output() {
    let Some(job) = SmallJob::new() else { return };
    let (expected, _) = job.run_undisturbed(&job.out("undisturbed"), false);
    let Some(mut other) = small_shards() else {
        return;
    };
    other["window"] = json!([8, 8, 2]);
    other["leaks"] = json!("allow");
    other["arrays"] = json!({"mask": {"layer": "label0", "codec": "none"}});
    let earlier = job.out("earlier");
    run(&other, &earlier, 1, GIB).unwrap();
    let earlier = tree(&earlier);
    let begin = |out: &Path| {
        for (name, bytes) in &earlier {
            let path = out.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    };
    let out = job.out("overwritten");
    begin(&out);
    let (overwritten, operations) = job.run_undisturbed(&out, true);
    assert!(overwritten == expected);
    check_all_faults(&job, operations, true, &expected, begin);
}
