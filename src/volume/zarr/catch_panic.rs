//! What zarrs panics over, turned into errors.
//!
//! zarrs expects well-meant metadata: a bz2 level of 0, for one, is a panic there. What is known never reaches it
//! (see `normalize`). Any other panic inside of zarrs is caught here, as a last resort, and becomes an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`, which calls zarrs; `error` makes an error of a panic's text. Nothing that it changes is used
/// after a panic.
pub(super) fn catch_zarrs_panic<T, E>(
    work: impl FnOnce() -> Result<T, E>,
    error: impl FnOnce(String) -> E,
) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(error(format!(
            "the zarrs library panicked: {}",
            text.unwrap_or("for no reason that it told")
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_text() {
        let e = catch_zarrs_panic(|| -> Result<(), String> { panic!("ouch {}", 1) }, |e| e)
            .unwrap_err();
        assert!(e.contains("ouch 1"), "{e}");
    }
}
