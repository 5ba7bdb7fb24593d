//! Errors about sources that need more or less configuration, or do not exist.

use std::path::Path;

use super::open;
use super::sources::{Source, sources};
use crate::config::LayerConfig;
use crate::geometry::Resolution;

fn plain(dir: &Path) -> Source {
    sources(dir)
        .into_iter()
        .find(|s| s.name == "zarr v2, C order")
        .unwrap()
}

#[test]
fn a_plain_array_without_a_config_is_an_error_with_what_to_add() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = plain(dir.path());
    let whole = source.layer.clone();
    source.layer.axes = None;
    let e = open(&source).unwrap_err().to_string();
    assert!(
        e.contains(".zarray") && e.contains("\"axes\": \"zyx\""),
        "{e}"
    );
    source.layer = LayerConfig {
        resolution: None,
        ..whole.clone()
    };
    let e = open(&source).unwrap_err().to_string();
    assert!(
        e.contains("`layers`") && e.contains("\"resolution\""),
        "{e}"
    );
    source.layer.resolution = Resolution::new([8.0, 8.0, 40.0]);
    let e = open(&source).unwrap_err().to_string();
    assert!(
        e.contains("4 x 4 x 40 nm") && e.contains("[8.0, 8.0, 40.0]"),
        "{e}"
    );
    source.layer = LayerConfig {
        axes: Some("czyx".into()),
        ..whole
    };
    let e = open(&source).unwrap_err().to_string();
    assert!(e.contains("3 dimension(s)") && e.contains("4 name"), "{e}");
}

#[test]
fn a_precomputed_volume_with_settings_in_the_config_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = sources(dir.path());
    let source = all.iter_mut().find(|s| s.name == "precomputed").unwrap();
    source.layer.voxel_offset = Some([0; 3]);
    let e = open(source).unwrap_err().to_string();
    assert!(e.contains("remove them from the config"), "{e}");
}

#[test]
fn a_missing_folder_and_an_unknown_format_are_errors_that_name_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = plain(dir.path());
    source.url = dir.path().join("nothing").display().to_string();
    let e = open(&source).unwrap_err().to_string();
    assert!(e.contains("nothing") && e.contains("zarr.json"), "{e}");
    for (scheme, word) in [
        ("zarr", "zarr.json"),
        ("zarr2", ".zarray"),
        ("n5", "attributes.json"),
    ] {
        source.url = format!("{scheme}://{}/nothing", dir.path().display());
        let e = open(&source).unwrap_err().to_string();
        assert!(e.contains("nothing") && e.contains(word), "{e}");
    }
    source.url = format!("nifti://{}", dir.path().display());
    assert!(open(&source).unwrap_err().to_string().contains("`nifti`"));
}
