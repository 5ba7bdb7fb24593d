//! What zarrs panics over, turned into errors.
//!
//! zarrs expects well-meant metadata: a bz2 level of 0, for one, is a panic there. What is known is checked
//! before; for what is not, a panic inside of zarrs is caught here, as a last resort, and refused by name.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

/// Runs `work`, which calls zarrs; `error` makes an error of a panic's text. Nothing that it changes is used
/// after a panic.
pub(super) fn guarded<T, E>(
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

/// Checks what is known to make zarrs panic, anywhere in an array's metadata: (path, problem).
pub(super) fn check(metadata: &Value) -> Result<(), (String, String)> {
    let bz2 = |name: Option<&Value>| {
        name.and_then(Value::as_str)
            .is_some_and(|n| n.contains("bz2"))
    };
    let children: Vec<(String, &Value)> = match metadata {
        Value::Object(map) => {
            let settings = map.get("configuration").unwrap_or(metadata);
            let level = settings.get("level");
            if (bz2(map.get("id")) || bz2(map.get("name")))
                && level.is_some_and(|l| !(1..=9).contains(&l.as_i64().unwrap_or(0)))
            {
                let found = level.unwrap_or(&Value::Null);
                return Err(("level".into(), format!("found {found}, expected 1 to 9")));
            }
            map.iter().map(|(k, v)| (k.clone(), v)).collect()
        }
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), v))
            .collect(),
        _ => Vec::new(),
    };
    children.into_iter().try_for_each(|(key, value)| {
        check(value).map_err(|(path, problem)| (format!("{key}.{path}"), problem))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_level_that_zarrs_panics_over_is_found_wherever_it_stands() {
        assert!(check(&json!({"compressor": {"id": "bz2", "level": 9}})).is_ok());
        let (path, _) = check(&json!({"compressor": {"id": "bz2", "level": 0}})).unwrap_err();
        assert_eq!(path, "compressor.level");
        let inner = json!({"name": "numcodecs.bz2", "configuration": {"level": -1}});
        let (path, _) =
            check(&json!({"codecs": [{"configuration": {"codecs": [inner]}}]})).unwrap_err();
        assert_eq!(path, "codecs.0.configuration.codecs.0.level");
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_text() {
        let e = guarded(|| -> Result<(), String> { panic!("ouch {}", 1) }, |e| e).unwrap_err();
        assert!(e.contains("ouch 1"), "{e}");
    }
}
