//! Layers whose info redirects to another location.

use super::*;

#[test]
fn a_layer_is_read_at_the_location_that_its_info_redirects_to() {
    let mut layer = TestLayer::new("POINT").cell("s0/0_0_0", &[(3, &[1.0, 1.0, 1.0])]);
    let old = layer.dir.path().join("old");
    std::fs::create_dir_all(&old).unwrap();
    std::fs::write(
        old.join("info"),
        r#"{"redirect": "precomputed://../layer"}"#,
    )
    .unwrap();
    assert_eq!(layer.ids(&[everything()]), [[3]]);
    let redirected = PointLayer::open(&source(&old), &Storage::default()).unwrap();
    let found = redirected
        .read_boxes(&[everything()], Anchor::Midpoint)
        .unwrap();
    assert_eq!(ids(&found), [[3]]);
    layer.info["lower_bound"] = json!([0]);
    layer.open().unwrap_err();
    let e = PointLayer::open(&source(&old), &Storage::default())
        .unwrap_err()
        .to_string();
    assert!(e.contains("layer/info") && e.contains("/old)"), "{e}");
    std::fs::write(old.join("info"), r#"{"redirect": "../old"}"#).unwrap();
    let e = PointLayer::open(&source(&old), &Storage::default())
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("old/info: at `redirect`") && e.contains("loop"),
        "{e}"
    );
}
