//! Layers on a slow server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::storage::loopback::{Request, reply, serve};

#[test]
fn chunks_are_fetched_in_parallel_to_choose_codecs() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_owned();
    let in_flight = Arc::new([const { AtomicUsize::new(0) }; 2]);
    let most = Arc::clone(&in_flight);
    let server = serve(move |_, request: &Request| {
        let [now, most] = &*in_flight;
        let path = request.first.split(' ').nth(1).unwrap_or_default();
        let chunks = usize::from(path.contains("8_8_40"));
        most.fetch_max(
            now.fetch_add(chunks, Ordering::SeqCst) + chunks,
            Ordering::SeqCst,
        );
        std::thread::sleep(Duration::from_millis(50));
        let answer = match fs::read(folder.join(path.trim_start_matches('/'))) {
            Ok(bytes) => reply("200 OK", "", &bytes),
            Err(_) => reply("404 Not Found", "", b""),
        };
        now.fetch_sub(chunks, Ordering::SeqCst);
        answer
    });
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    let job = pool.unwrap().install(|| {
        job(dir.path(), |_| {
            let rows = dir.path().join("collection.json");
            let text = fs::read_to_string(&rows).unwrap();
            fs::write(&rows, text.replace("file://.", &server.url)).unwrap();
        })
    });
    let most = most[1].load(Ordering::SeqCst);
    let requests = server.requests();
    assert!(job.unwrap().selected.chunks_touched > 8);
    assert!(most > 8, "{most} of {requests} requests at once");
}
