//! Sources as a config writes them, without secrets.

use std::path::Path;

use crate::storage::{Location, SourceUrl, redacted_source};

/// The source of a layer, as a config in `folder` (or anywhere) writes it.
pub(super) fn of_layer(source: &SourceUrl, folder: Option<&Path>) -> String {
    if let Some(inside) = &source.inside {
        let file = of_location(&inside.file, folder);
        let format = source.format.as_deref().unwrap_or_default();
        return format!("{file}|{format}:/{}", inside.path);
    }
    let place = of_location(&source.location, folder);
    match source.format.as_deref() {
        None => place,
        Some(format) => match &source.location {
            Location::Local(_) => format!("{format}://file://{place}"),
            Location::Remote(_) => format!("{format}://{place}"),
        },
    }
}

/// The path or URL of a place, as a config in `folder` (or anywhere) writes it.
pub(super) fn of_location(location: &Location, folder: Option<&Path>) -> String {
    let Location::Local(path) = location else {
        return redacted_source(&location.to_string()).into_owned();
    };
    let below = folder.and_then(|folder| path.strip_prefix(folder).ok());
    match below {
        Some(rest) if rest.as_os_str().is_empty() => ".".to_owned(),
        Some(rest) => format!("./{}", rest.display()),
        None => path.display().to_string(),
    }
}

/// A name for an array in the output that begins as `name`, made of the characters that such names may have.
pub(super) fn array_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "_-.".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().take(40).map(plain).collect();
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        name
    } else {
        format!("layer{name}")
    }
}

/// Numbers as a person writes three of them: `4 x 4 x 40`.
pub(super) fn triple(numbers: [f64; 3]) -> String {
    // Ten significant digits hide what floating point adds to decimal numbers.
    let short = |n: f64| format!("{n:.9e}").parse().unwrap_or(n);
    let [x, y, z] = numbers.map(short);
    format!("{x} x {y} x {z}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_source_below_the_folder_of_the_config_is_relative() {
        let source = |text: &str| SourceUrl::parse(text, &Location::Local("/a/b".into())).unwrap();
        let folder = Some(Path::new("/a"));
        for (text, written) in [
            ("img", "./b/img"),
            ("precomputed://img", "precomputed://file://./b/img"),
            ("zarr2:///c/img", "zarr2://file:///c/img"),
            ("n5://gs://bucket/img", "n5://gs://bucket/img"),
            ("c.hdf|hdf5:volumes/raw/", "./b/c.hdf|hdf5:/volumes/raw"),
            ("https://host/img?sig=hidden", "https://host/img?<redacted>"),
        ] {
            let written_text = of_layer(&source(text), folder);
            assert_eq!(written_text, written);
        }
        assert_eq!(of_layer(&source("img"), None), "/a/b/img");
    }

    #[test]
    fn an_array_name_has_only_characters_that_it_may_have() {
        assert_eq!(array_name("EM (v2)/x"), "EM__v2__x");
        assert_eq!(array_name("_a"), "layer_a");
        assert_eq!(triple([4.6, 4.6, 0.1 + 0.2]), "4.6 x 4.6 x 0.3");
    }
}
