//! Which writers and uploads are believed to live.

use super::*;
use crate::storage::sink::WriterAccess::{Exclusive, Shared};

const KEY: &str = ".pointshard/writers";

/// The contents of an object whose writer runs on another machine.
const ELSEWHERE: &str = r#"{"machine": "another", "process": 1, "start": 1}"#;

/// The contents of an object whose writer ran on this machine.
fn ended() -> String {
    let mut ended = serde_json::to_value(process::ProcessIdentity::current()).unwrap();
    ended["start"] = 1.into();
    ended.to_string()
}

#[test]
#[cfg(target_os = "linux")]
fn a_writer_of_this_machine_that_ended_is_not_registered() {
    let Some(place) = s3() else { return };
    let (sink, store) = place.open();
    let other = format!("{KEY}/exclusive-1");
    sink.put(&other, ELSEWHERE.as_bytes()).unwrap();
    assert!(sink.register_writer(KEY, Shared).unwrap().is_none());
    assert!(sink.register_writer(KEY, Exclusive).unwrap().is_none());
    sink.put(&other, ended().as_bytes()).unwrap();
    assert!(sink.register_writer(KEY, Shared).unwrap().is_some());
    assert_eq!(contents(&*store, &other), None, "it is removed");
    sink.put(&format!("{KEY}/shared-1"), ended().as_bytes())
        .unwrap();
    assert!(sink.register_writer(KEY, Shared).unwrap().is_some());
    assert_eq!(listed(&*store, KEY), [], "so is a shared one");
    // Contents of another version are believed until they are too old.
    sink.put(&other, b"?").unwrap();
    assert!(sink.register_writer(KEY, Shared).unwrap().is_none());
}

#[test]
fn an_object_that_is_not_written_again_is_too_old_by_the_servers_clock() {
    let Some(mut place) = s3() else { return };
    place.liveness = Liveness {
        rewrite_every: Duration::from_millis(300),
        dead_after: Duration::from_secs(3),
    };
    let (sink, store) = place.open();
    let guard = sink.register_writer(KEY, Shared).unwrap().unwrap();
    // It is listed before the guard's object.
    let other = format!("{KEY}/shared-0");
    sink.put(&other, ELSEWHERE.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    assert!(
        sink.register_writer(KEY, Exclusive).unwrap().is_none(),
        "the guard lives"
    );
    assert_eq!(
        contents(&*store, &other),
        None,
        "the other is too old, and is removed"
    );
    drop(guard);
    assert!(sink.register_writer(KEY, Exclusive).unwrap().is_some());
    assert_eq!(listed(&*store, KEY), []);
}

/// Leaves an upload as a process does that is killed.
fn leave_upload(place: &TestBucket, key: &str) {
    let sink = place.remote_sink();
    let (_, record) = sink.begin_upload(key).unwrap();
    record.leave();
}

#[test]
#[cfg(target_os = "linux")]
fn uploads_of_dead_writers_are_aborted_in_the_folder_only() {
    for place in [s3(), gs()].into_iter().flatten() {
        let (sink, store) = place.open();
        leave_upload(&place, "a/b/dead");
        leave_upload(&place, "ab/dead");
        sink.remove_abandoned("", Depth::All).unwrap();
        assert_eq!(
            place.unfinished().len(),
            4,
            "this process may still write them"
        );
        place.abandon_all();
        sink.remove_abandoned("a", Depth::All).unwrap();
        let uploads = bucket_server::uploads(place.address, &place.bucket);
        let keys: Vec<_> = uploads.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["out put/ab/dead"]);
        // A record whose upload is gone, and one that is damaged, but new.
        place.abort_all();
        sink.put(".pointshard/uploads/damaged", b"{").unwrap();
        sink.remove_abandoned("", Depth::All).unwrap();
        let records = listed(&*store, ".pointshard/uploads");
        assert_eq!(records, [(".pointshard/uploads/damaged".to_owned(), 1)]);
    }
}

#[test]
fn parts_of_the_usual_size_are_accepted_and_only_one_is_in_memory() {
    for mut place in [s3(), gs()].into_iter().flatten() {
        place.part_size = PartSize::default();
        let all = bytes(20 << 20);
        let mut pending = PendingUpload::new(place.remote_sink(), "large");
        for piece in all.chunks(700 << 10) {
            pending.write(piece).unwrap();
            assert!(pending.buffered_bytes() <= 8 << 20);
        }
        Box::new(pending).commit().unwrap();
        assert!(contents(&place.store(), "large").unwrap() == all);
        assert_eq!(place.leftovers(), Vec::<String>::new());
    }
}
