//! The threads that drive requests. They start with the first request.

use std::sync::OnceLock;

use tokio::runtime::Runtime;

/// A runtime with two threads, shared by all reads. The reading threads block on it.
#[derive(Debug, Default)]
pub(super) struct RequestRuntime(OnceLock<Option<DetachedRuntime>>);

/// A runtime that does not wait for its threads at the end. One of them may be resolving a host name.
#[derive(Debug)]
struct DetachedRuntime(Option<Runtime>);

impl Drop for DetachedRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl RequestRuntime {
    /// The runtime, started if necessary.
    pub(super) fn get(&self) -> Result<&Runtime, String> {
        let start = || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(2).enable_all().build().ok()?;
            Some(DetachedRuntime(Some(runtime)))
        };
        let runtime = self.0.get_or_init(start).as_ref();
        runtime
            .and_then(|detached| detached.0.as_ref())
            .ok_or_else(|| "no threads could be started for requests".to_owned())
    }
}
