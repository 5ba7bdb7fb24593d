//! Converts panics of libraries that decode untrusted data to errors.
//!
//! zarrs panics on some invalid metadata, for example on a bz2 level of 0. Known cases are removed before a library gets
//! the data (for zarrs, see `volume::zarr::normalize`). All other panics are caught here, as a last resort.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`, which calls `library`. Converts the text of a panic with `error`. After a panic, the caller must not use
/// anything that `work` changed.
pub(crate) fn catch_library_panic<T, E>(
    library: &str,
    work: impl FnOnce() -> Result<T, E>,
    error: impl FnOnce(String) -> E,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(error(format!(
            "the {library} library panicked: {}",
            text.unwrap_or("no panic message")
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_text() {
        let panics = || -> Result<(), String> { panic!("ouch {}", 1) };
        let e = catch_library_panic("zarrs", panics, |e| e).unwrap_err();
        assert!(e.contains("zarrs") && e.contains("ouch 1"), "{e}");
    }
}
