//! Arguments that are local paths. A URL is an error: it must not become a folder named `s3:`.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

/// Parses a path to write to.
pub(super) fn output() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        reject_url(
            path,
            "only local folders can be written here: write to one, then copy it with `aws s3 sync` or `gsutil rsync -r`",
        )
    })
}

/// Parses a path to read from.
pub(super) fn input() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        reject_url(
            path,
            "only local files and folders can be read here: copy it to this machine first, for example with `aws s3 cp`, `gsutil cp` or `curl -O`",
        )
    })
}

/// Returns the path, or `message` if it is a URL.
fn reject_url(path: PathBuf, message: &str) -> Result<PathBuf, String> {
    let text = path.to_string_lossy();
    match text.split_once("://") {
        None => Ok(path),
        Some(("file", rest)) => Err(format!("expected a plain path, such as `{rest}`")),
        Some(_) => Err(message.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_not_a_local_path() {
        for path in ["out", "/a/b", "../s3:/b", "C:/x", "a:b"] {
            assert_eq!(reject_url(path.into(), "no"), Ok(path.into()));
        }
        for url in ["s3://b/x", "gs://b", "http://h/c.json", "precomputed://a"] {
            assert_eq!(reject_url(url.into(), "no"), Err("no".to_owned()));
        }
        let e = reject_url("file:///a/b".into(), "no").unwrap_err();
        assert!(e.ends_with("`/a/b`"), "{e}");
    }
}
