//! Arguments that are paths on this machine: a URL in their place is refused, never taken for a folder `s3:`.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

/// A path that is written to.
pub(super) fn written() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        local(
            path,
            "only local folders can be written here: write to one, then copy it with `aws s3 sync` or `gsutil rsync -r`",
        )
    })
}

/// A path that is read from.
pub(super) fn read() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        local(
            path,
            "only local files and folders can be read here: copy it to this machine first, for example with `aws s3 cp`, `gsutil cp` or `curl -O`",
        )
    })
}

/// The path, unless it looks like a URL; `refusal` says why that cannot be, and what to do.
fn local(path: PathBuf, refusal: &str) -> Result<PathBuf, String> {
    let text = path.to_string_lossy();
    match text.split_once("://") {
        None => Ok(path),
        Some(("file", rest)) => Err(format!("expected a plain path, such as `{rest}`")),
        Some(_) => Err(refusal.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_no_path() {
        for path in ["out", "/a/b", "../s3:/b", "C:/x", "a:b"] {
            assert_eq!(local(path.into(), "no"), Ok(path.into()));
        }
        for url in ["s3://b/x", "gs://b", "http://h/c.json", "precomputed://a"] {
            assert_eq!(local(url.into(), "no"), Err("no".to_owned()));
        }
        let e = local("file:///a/b".into(), "no").unwrap_err();
        assert!(e.ends_with("`/a/b`"), "{e}");
    }
}
