//! Each request of each method fails in turn: once, or from then on.

use super::*;
use crate::fault::{Fault, FaultKind};
use crate::storage::sink::contract::proxy::{FaultPlan, ServerFault};

const FAULTS: [ServerFault; 3] = [
    ServerFault::InternalError,
    ServerFault::CutBefore,
    ServerFault::CutAfter,
];

/// One operation, and what it must have done.
struct Operation {
    name: &'static str,
    run: fn(&dyn Sink, &dyn Store) -> Result<(), StorageError>,
    check: fn(&dyn Store),
    /// Continues "cannot ..." in its errors.
    verbs: &'static [&'static str],
}

fn large() -> Vec<u8> {
    bytes(50_000)
}

const OPERATIONS: [Operation; 10] = [
    Operation {
        name: "put",
        run: |sink, _| sink.put("a/b", b"new"),
        check: |store| assert_eq!(contents(store, "a/b").unwrap(), b"new"),
        verbs: &["write"],
    },
    Operation {
        name: "create new",
        run: |sink, _| sink.create_new("a/c", b"new").map(|new| assert!(new)),
        check: |store| assert_eq!(contents(store, "a/c").unwrap(), b"new"),
        verbs: &["write", "read"],
    },
    Operation {
        name: "create existing",
        run: |sink, _| sink.create_new("a/old", b"new").map(|new| assert!(!new)),
        check: |store| assert_eq!(contents(store, "a/old").unwrap(), b"old"),
        verbs: &["write", "read"],
    },
    Operation {
        name: "small object",
        run: |sink, _| {
            let mut pending = sink.begin("a/b")?;
            pending.write(b"new")?;
            pending.commit()
        },
        check: |store| assert_eq!(contents(store, "a/b").unwrap(), b"new"),
        verbs: &["write"],
    },
    Operation {
        name: "large object",
        run: |sink, _| {
            let mut pending = sink.begin("a/old")?;
            pending.write(&large())?;
            pending.commit()
        },
        check: |store| assert!(contents(store, "a/old").unwrap() == large()),
        verbs: &["write"],
    },
    Operation {
        name: "dropped object",
        run: |sink, _| {
            let mut pending = sink.begin("a/b")?;
            pending.write(&large())
        },
        check: |store| assert_eq!(contents(store, "a/b"), None),
        verbs: &["write"],
    },
    Operation {
        name: "delete",
        run: |sink, _| sink.delete("a/old"),
        check: |store| assert_eq!(contents(store, "a/old"), None),
        verbs: &["delete"],
    },
    Operation {
        name: "read",
        run: |_, store| {
            let mut into = Vec::new();
            assert!(store.read_range("a/old", 1..3, &mut into)?);
            assert_eq!(into, b"ld");
            assert_eq!(store.size("a/old")?, Some(3));
            assert!(store.read("a/old", 3, &mut into)?);
            assert_eq!(into, b"old");
            Ok(())
        },
        check: |_| {},
        verbs: &["read"],
    },
    Operation {
        name: "list",
        run: |_, store| {
            let mut count = 0;
            store.list("many", &mut |_| {
                count += 1;
                std::ops::ControlFlow::Continue(())
            })?;
            assert_eq!(count, 2 * bucket_server::PAGE_OBJECTS + 1);
            Ok(())
        },
        check: |_| {},
        verbs: &["list"],
    },
    Operation {
        name: "register",
        run: |sink, _| {
            let guard = sink.register_writer("writers", WriterAccess::Exclusive)?;
            assert!(guard.is_some());
            Ok(())
        },
        check: |store| assert_eq!(listed(store, "writers"), []),
        verbs: &["write", "list"],
    },
];

impl TestBucket {
    /// The state before each operation.
    fn reset(&self, operation: &Operation) {
        let (sink, store) = self.open();
        for (key, _) in listed(&*store, "a") {
            sink.delete(&key).unwrap();
        }
        for (key, _) in listed(&*store, "writers") {
            sink.delete(&key).unwrap();
        }
        sink.put("a/old", b"old").unwrap();
        if operation.name == "list" && listed(&*store, "many").is_empty() {
            let many = 2 * bucket_server::PAGE_OBJECTS + 1;
            (0..many).for_each(|i| sink.put(&format!("many/{i}"), b"1").unwrap());
        }
    }

    /// Runs the operation without faults, and returns its requests.
    fn requests_of(&self, operation: &Operation) -> Vec<String> {
        self.reset(operation);
        let (sink, store) = self.open();
        self.proxy.set(None);
        (operation.run)(&*sink, &*store).unwrap();
        let requests = self.proxy.set(None);
        (operation.check)(&*store);
        requests
    }
}

/// The operation succeeds although one request fails, and leaves nothing.
fn check_single_faults(place: &TestBucket) {
    for operation in &OPERATIONS {
        let requests = place.requests_of(operation);
        assert!(!requests.is_empty());
        for (first, request) in requests.iter().enumerate() {
            for fault in FAULTS {
                let case = format!("{}, {request}: {fault:?}", operation.name);
                place.reset(operation);
                let (sink, store) = place.open();
                let forever = false;
                place.proxy.set(Some(FaultPlan {
                    fault,
                    first,
                    forever,
                }));
                let result = (operation.run)(&*sink, &*store);
                let sent = place.proxy.set(None);
                result.unwrap_or_else(|e| panic!("{case}: {e}"));
                assert!(
                    sent.len() > requests.len(),
                    "{case} is tried again: {sent:#?}"
                );
                (operation.check)(&*store);
                // An upload whose id is lost cannot be aborted. It has no parts.
                let lost = request.contains("?uploads") && fault == ServerFault::CutAfter;
                assert_eq!(place.unfinished().len(), usize::from(lost), "{case}");
                if lost {
                    place.abort_all();
                }
            }
        }
    }
}

/// The operation ends with one clear error if a request and all later ones fail.
fn check_lasting_faults(mut place: TestBucket) {
    place.network.retry.retry_for = Duration::from_millis(100);
    for operation in &OPERATIONS {
        let requests = place.requests_of(operation);
        for (first, request) in requests.iter().enumerate() {
            // Each takes seconds, so the kinds take turns.
            let fault = FAULTS[first % FAULTS.len()];
            let case = format!("{}, {request}: {fault:?}", operation.name);
            place.reset(operation);
            let (sink, store) = place.open();
            let forever = true;
            place.proxy.set(Some(FaultPlan {
                fault,
                first,
                forever,
            }));
            let result = (operation.run)(&*sink, &*store);
            place.proxy.set(None);
            // What cleans up has no error.
            let Err(e) = result else {
                assert!(request.starts_with("DELETE"), "{case}");
                continue;
            };
            assert_eq!(e.kind(), FaultKind::Environment, "{case}: {e}");
            let text = e.to_string();
            let begins = operation.verbs.iter().any(|verb| {
                let url = format!("{}://{}/out put", place.scheme, place.bucket);
                text.starts_with(&format!("cannot {verb} {url}"))
            });
            assert!(begins && !text.contains("hidden"), "{case}: {text}");
            // What could not be cleaned up does not remain forever.
            place.abandon_all();
            let (sink, _) = place.open();
            sink.remove_abandoned("", Depth::All).unwrap();
            // An upload that is not recorded has no parts.
            let recorded = request.contains("uploads/") || request.contains("uploads%2F");
            let lost = recorded || request.contains("?uploads");
            assert!(
                lost || place.unfinished().is_empty(),
                "{case}: {:?}",
                place.unfinished()
            );
            place.abort_all();
        }
    }
}

#[test]
fn a_single_fault_of_amazon_changes_nothing() {
    if let Some(place) = s3() {
        check_single_faults(&place);
    }
}

#[test]
fn a_single_fault_of_google_changes_nothing() {
    if let Some(place) = gs() {
        check_single_faults(&place);
    }
}

#[test]
fn a_lasting_fault_of_amazon_is_one_clear_error() {
    if let Some(place) = s3() {
        check_lasting_faults(place);
    }
}

#[test]
fn a_lasting_fault_of_google_is_one_clear_error() {
    if let Some(place) = gs() {
        check_lasting_faults(place);
    }
}
