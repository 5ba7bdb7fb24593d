//! The contract of sinks, as tests that local folders and buckets run alike.

pub(in crate::storage) mod bucket_server;
pub(in crate::storage) mod proxy;

use std::ops::ControlFlow;
use std::sync::{Arc, Barrier};

use super::{Depth, Sink, WriterAccess};
use crate::storage::{Location, StorageError, Store};

/// Where the tests write. Each has its own empty root.
pub(in crate::storage) trait Place: Sync {
    /// Opens it as a new process does.
    fn open(&self) -> (Arc<dyn Sink>, Arc<dyn Store>);

    /// Where that is.
    fn location(&self) -> Location;

    /// Whatever exists besides objects: temporary files, unfinished uploads, records of them.
    fn leftovers(&self) -> Vec<String>;

    /// How many objects do not fit into one response of a listing.
    fn many_objects(&self) -> usize;
}

/// Names that keys can have. The bytes of names are passed on as they are.
const NAMES: [&str; 9] = [
    "plain",
    "with space",
    "ümläut-日本",
    "a+b=c&d",
    "100%",
    "%41",
    "quote'\"",
    "(1)~[2]{3}",
    "x.json",
];

/// `contract_tests!(place)` defines a test for each part of the contract. `place` returns a [`Place`], or `None` if it
/// cannot be tested.
macro_rules! contract_tests {
    ($place:path) => {
        contract_tests!(
            $place:
            objects_are_written_replaced_and_read,
            listings_have_every_key_below_a_folder,
            one_of_many_writers_creates_a_new_object,
            an_object_appears_when_it_is_committed,
            nothing_remains_of_an_object_that_is_dropped,
            an_object_of_many_parts_is_complete,
            an_object_of_another_location_is_copied,
            deleting_removes_one_object,
            keys_cannot_leave_the_root,
            shared_writers_exclude_exclusive_ones,
            objects_of_living_writers_are_not_abandoned,
        );
    };
    ($place:path: $($name:ident,)*) => {
        $(
            #[test]
            fn $name() {
                if let Some(place) = $place() {
                    $crate::storage::sink::contract::$name(&place);
                }
            }
        )*
    };
}
pub(in crate::storage) use contract_tests;

/// The object's bytes; `None` if it does not exist.
pub(in crate::storage) fn contents(store: &dyn Store, key: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![1; 3];
    store
        .read(key, 1 << 30, &mut bytes)
        .unwrap()
        .then_some(bytes)
}

/// The keys and sizes below `folder`, sorted.
pub(in crate::storage) fn listed(store: &dyn Store, folder: &str) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    store
        .list(folder, &mut |object| {
            all.push((object.key, object.size_bytes.unwrap()));
            ControlFlow::Continue(())
        })
        .unwrap();
    all.sort();
    all
}

/// Bytes without a pattern that repeats in a part.
pub(in crate::storage) fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * i / 7 + i) as u8).collect()
}

pub(in crate::storage) fn objects_are_written_replaced_and_read(place: &dyn Place) {
    let (sink, store) = place.open();
    sink.create_root().unwrap();
    for name in NAMES {
        let key = format!("folder/deep er/{name}");
        assert_eq!(contents(&*store, &key), None);
        assert_eq!(store.size(&key).unwrap(), None);
        assert!(store.open_object(&key).unwrap().is_none());
        sink.put(&key, name.as_bytes()).unwrap();
        assert_eq!(contents(&*store, &key).unwrap(), name.as_bytes(), "{key}");
        sink.put(&key, b"0123456789").unwrap();
        assert_eq!(contents(&*store, &key).unwrap(), b"0123456789", "{key}");
        let mut part = Vec::new();
        assert!(store.read_range(&key, 3..7, &mut part).unwrap());
        assert_eq!(part, b"3456");
        assert_eq!(store.size(&key).unwrap(), Some(10));
        let open = store.open_object(&key).unwrap().unwrap();
        let mut part = [0; 4];
        open.read_at(6, &mut part).unwrap();
        assert_eq!((open.size_bytes(), &part), (10, b"6789"));
        assert!(open.read_at(7, &mut part).is_err());
    }
    sink.put("empty", b"").unwrap();
    assert_eq!(contents(&*store, "empty").unwrap(), b"");
    assert_eq!(store.size("empty").unwrap(), Some(0));
    sink.flush_folders(&mut ["", "folder"].into_iter()).unwrap();
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

pub(in crate::storage) fn listings_have_every_key_below_a_folder(place: &dyn Place) {
    let (sink, store) = place.open();
    sink.create_root().unwrap();
    assert_eq!(listed(&*store, ""), []);
    let mut expected = Vec::new();
    for name in NAMES {
        expected.push((format!("a/{name}"), 1));
        expected.push((format!("a/b/{name}/c"), 1));
    }
    expected.extend((0..place.many_objects()).map(|i| (format!("a/many/{i}"), 1)));
    for (key, _) in expected.iter().map(|(key, size)| (key, size)) {
        sink.put(key, b"1").unwrap();
    }
    sink.put("ab", b"12").unwrap();
    sink.put("a/bc", b"123").unwrap();
    let below_b = expected.iter().filter(|(key, _)| key.starts_with("a/b/"));
    let mut below_b: Vec<_> = below_b.cloned().collect();
    below_b.sort();
    expected.push(("a/bc".to_owned(), 3));
    expected.sort();
    assert_eq!(listed(&*store, "a"), expected);
    expected.push(("ab".to_owned(), 2));
    expected.sort();
    assert_eq!(listed(&*store, ""), expected);
    assert_eq!(listed(&*store, "a/b"), below_b);
    assert_eq!(listed(&*store, "missing/folder"), []);
    let mut count = 0;
    let mut first_two = |_| {
        count += 1;
        if count < 2 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    store.list("a", &mut first_two).unwrap();
    assert_eq!(count, 2);
}

pub(in crate::storage) fn one_of_many_writers_creates_a_new_object(place: &dyn Place) {
    const WRITERS: usize = 16;
    let (sink, store) = place.open();
    sink.create_root().unwrap();
    let other = place.open().0;
    for round in 0..4 {
        let key = format!("folder/claim {round}");
        let barrier = Barrier::new(WRITERS);
        let write = |writer: usize| {
            let sink = [&sink, &other][writer % 2];
            barrier.wait();
            sink.create_new(&key, format!("writer {writer}").as_bytes())
        };
        let won: Vec<bool> = std::thread::scope(|scope| {
            let write = &write;
            let writers: Vec<_> = (0..WRITERS)
                .map(|w| scope.spawn(move || write(w)))
                .collect();
            writers
                .into_iter()
                .map(|writer| writer.join().unwrap().unwrap())
                .collect()
        });
        let winners: Vec<usize> = (0..WRITERS).filter(|w| won[*w]).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        let expected = format!("writer {}", winners[0]).into_bytes();
        assert_eq!(contents(&*store, &key).unwrap(), expected);
        assert!(!sink.create_new(&key, b"late").unwrap());
        assert!(!sink.create_new(&key, &expected).unwrap());
        assert_eq!(contents(&*store, &key).unwrap(), expected);
    }
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

pub(in crate::storage) fn an_object_appears_when_it_is_committed(place: &dyn Place) {
    let (sink, store) = place.open();
    sink.create_root().unwrap();
    for length in [0, 5, 100_000] {
        let key = format!("a/b/{length}");
        let all = bytes(length);
        for old in [None, Some(b"old".to_vec())] {
            if let Some(old) = &old {
                sink.put(&key, old).unwrap();
            }
            let mut pending = sink.begin(&key).unwrap();
            pending.write(&all).unwrap();
            assert_eq!(contents(&*store, &key), old, "{length}");
            pending.commit().unwrap();
            assert_eq!(contents(&*store, &key).unwrap(), all);
        }
    }
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

pub(in crate::storage) fn nothing_remains_of_an_object_that_is_dropped(place: &dyn Place) {
    let (sink, store) = place.open();
    sink.create_root().unwrap();
    sink.put("a/kept", b"1").unwrap();
    for length in [0, 5, 100_000] {
        let mut pending = sink.begin("a/b").unwrap();
        pending.write(&bytes(length)).unwrap();
        drop(pending);
    }
    assert_eq!(listed(&*store, ""), [("a/kept".to_owned(), 1)]);
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

pub(in crate::storage) fn an_object_of_many_parts_is_complete(place: &dyn Place) {
    let (sink, store) = place.open();
    sink.create_root().unwrap();
    let all = bytes(300_000);
    for piece in [1 << 10, 7777, 65_536, 300_000] {
        let mut pending = sink.begin("large").unwrap();
        all.chunks(piece)
            .for_each(|piece| pending.write(piece).unwrap());
        pending.commit().unwrap();
        assert!(contents(&*store, "large").unwrap() == all, "{piece}");
        assert_eq!(place.leftovers(), Vec::<String>::new());
        sink.delete("large").unwrap();
    }
}

pub(in crate::storage) fn an_object_of_another_location_is_copied(place: &dyn Place) {
    let (sink, store) = place.open();
    sink.create_root().unwrap();
    let earlier = place.location().join("earlier");
    for name in NAMES {
        let key = format!("deep/{name}");
        sink.put(&format!("earlier/{key}"), b"earlier").unwrap();
        assert!(sink.copy_unread(&earlier, &key).unwrap(), "{key}");
        assert_eq!(contents(&*store, &key).unwrap(), b"earlier");
        // Another object is replaced, and the same one stays.
        sink.put(&key, b"now").unwrap();
        assert_eq!(
            contents(&*store, &format!("earlier/{key}")).unwrap(),
            b"earlier"
        );
        for _ in 0..2 {
            assert!(sink.copy_unread(&earlier, &key).unwrap());
            assert_eq!(contents(&*store, &key).unwrap(), b"earlier");
        }
    }
    assert!(!sink.copy_unread(&earlier, "missing").unwrap());
    assert!(!sink.copy_unread(&earlier, "deep").unwrap());
    assert_eq!(contents(&*store, "missing"), None);
    for elsewhere in ["/nowhere/at all", "s3://other", "gs://other"] {
        let elsewhere = Location::parse(elsewhere).unwrap();
        assert!(!sink.copy_unread(&elsewhere, "deep/plain").unwrap());
    }
    assert!(sink.copy_unread(&earlier, "../x").is_err());
    assert_eq!(place.leftovers(), Vec::<String>::new());
}

pub(in crate::storage) fn deleting_removes_one_object(place: &dyn Place) {
    let (sink, store) = place.open();
    sink.create_root().unwrap();
    for key in ["a/b/c", "a/b/d", "e"] {
        sink.put(key, b"1").unwrap();
    }
    sink.delete("a/b/missing").unwrap();
    sink.delete("missing/folder/x").unwrap();
    sink.delete("a/b/c").unwrap();
    sink.delete("a/b/c").unwrap();
    assert_eq!(
        listed(&*store, ""),
        [("a/b/d".to_owned(), 1), ("e".to_owned(), 1)]
    );
    sink.delete("a/b/d").unwrap();
    sink.delete("e").unwrap();
    assert_eq!(listed(&*store, ""), []);
    // The name of a folder is free again, and the root remains.
    sink.put("a", b"2").unwrap();
    assert_eq!(contents(&*store, "a").unwrap(), b"2");
}

pub(in crate::storage) fn keys_cannot_leave_the_root(place: &dyn Place) {
    let (sink, store) = place.open();
    sink.create_root().unwrap();
    let leaves = |e: StorageError| matches!(e, StorageError::KeyLeavesRoot { .. });
    for key in ["../a", "/a", "", "a/../../b"] {
        assert!(leaves(sink.put(key, b"1").unwrap_err()), "{key}");
        assert!(leaves(sink.create_new(key, b"1").unwrap_err()), "{key}");
        assert!(leaves(sink.begin(key).unwrap_err()), "{key}");
        assert!(leaves(sink.delete(key).unwrap_err()), "{key}");
        let registered = sink.register_writer(key, WriterAccess::Shared);
        assert!(leaves(registered.unwrap_err()), "{key}");
        assert!(leaves(store.size(key).unwrap_err()), "{key}");
    }
    assert!(leaves(
        store
            .list("..", &mut |_| ControlFlow::Continue(()))
            .unwrap_err()
    ));
}

pub(in crate::storage) fn shared_writers_exclude_exclusive_ones(place: &dyn Place) {
    use WriterAccess::{Exclusive, Shared};
    const KEY: &str = ".pointshard/writers";
    let (sink, _) = place.open();
    sink.create_root().unwrap();
    let other = place.open().0;
    let shared = [&sink, &other].map(|sink| sink.register_writer(KEY, Shared).unwrap());
    assert!(shared.iter().all(Option::is_some));
    for sink in [&sink, &other] {
        assert!(sink.register_writer(KEY, Exclusive).unwrap().is_none());
    }
    let [first, second] = shared;
    drop(first);
    assert!(sink.register_writer(KEY, Exclusive).unwrap().is_none());
    drop(second);
    let exclusive = sink.register_writer(KEY, Exclusive).unwrap();
    assert!(exclusive.is_some());
    for access in [Exclusive, Shared] {
        assert!(sink.register_writer(KEY, access).unwrap().is_none());
        assert!(other.register_writer(KEY, access).unwrap().is_none());
    }
    // Another key is another registration.
    assert!(
        sink.register_writer(".pointshard/others", Exclusive)
            .unwrap()
            .is_some()
    );
    drop(exclusive);
    assert!(other.register_writer(KEY, Shared).unwrap().is_some());
    // The guard holds after the sink is closed.
    let exclusive = sink.register_writer(KEY, Exclusive).unwrap().unwrap();
    drop(sink);
    assert!(other.register_writer(KEY, Shared).unwrap().is_none());
    drop(exclusive);
    assert!(other.register_writer(KEY, Shared).unwrap().is_some());
}

pub(in crate::storage) fn objects_of_living_writers_are_not_abandoned(place: &dyn Place) {
    let (sink, store) = place.open();
    sink.create_root().unwrap();
    let other = place.open().0;
    other.remove_abandoned("", Depth::All).unwrap();
    other.remove_abandoned("missing", Depth::All).unwrap();
    sink.put("a/kept", b"1").unwrap();
    let all = bytes(100_000);
    let mut pending = sink.begin("a/b/alive").unwrap();
    let (before, after) = all.split_at(50_000);
    pending.write(before).unwrap();
    for folder in ["", "a", "a/b", "c"] {
        other.remove_abandoned(folder, Depth::All).unwrap();
        sink.remove_abandoned(folder, Depth::All).unwrap();
    }
    pending.write(after).unwrap();
    pending.commit().unwrap();
    assert!(contents(&*store, "a/b/alive").unwrap() == all);
    assert_eq!(contents(&*store, "a/kept").unwrap(), b"1");
    assert_eq!(place.leftovers(), Vec::<String>::new());
}
