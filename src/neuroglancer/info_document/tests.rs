use std::path::Path;

use serde_json::json;

use super::*;
use crate::storage::loopback::{Request, reply, serve};

fn write(folder: &Path, name: &str, info: Value) {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("info"), info.to_string()).unwrap();
}

fn read(location: &Location) -> Result<InfoDocument, String> {
    read_info(location, "an info", &Storage::default()).map_err(|problem| match problem {
        InfoError::Document(e) => e.to_string(),
        InfoError::Redirect { object, problem } => format!("{object}: {problem}"),
    })
}

fn local(folder: &Path, name: &str) -> Location {
    Location::Local(folder.join(name))
}

#[test]
fn a_redirect_is_followed_in_every_notation() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write(at, "new", json!({"here": 1}));
    let new = at.join("new").display().to_string();
    for text in [
        format!("precomputed://file://{new}"),
        format!("precomputed://file://{new}/"),
        format!("file://{new}"),
        format!("file://{new}/|neuroglancer-precomputed:"),
        new,
        "../new".to_owned(),
        "precomputed://../new".to_owned(),
        "precomputed://file://../new".to_owned(),
    ] {
        write(at, "old", json!({"redirect": text, "scales": "garbage"}));
        let found = read(&local(at, "old")).unwrap();
        assert_eq!(found.value, json!({"here": 1}), "{text}");
        assert_eq!(found.location, local(at, "new"), "{text}");
        assert!(found.is_redirected);
        let both = ["new/info", "redirected from", "old"];
        assert!(both.iter().all(|w| found.object.contains(w)), "{text}");
    }
}

#[test]
fn an_info_without_a_redirect_is_read_in_place() {
    let dir = tempfile::tempdir().unwrap();
    for info in [
        json!({"a": 1}),
        json!({"a": 1, "redirect": null}),
        json!({"a": 1, "redirect": ""}),
        // CloudVolume reads such a layer.
        json!({"a": 1, "redirect": format!("precomputed://file://{}/l", dir.path().display())}),
    ] {
        write(dir.path(), "l", info.clone());
        let found = read(&local(dir.path(), "l")).unwrap();
        assert_eq!(found.value, info);
        assert!(!found.is_redirected);
    }
}

#[test]
fn at_most_ten_redirects_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..11 {
        let next = json!({"redirect": format!("../l{}", i + 1)});
        write(dir.path(), &format!("l{i}"), next);
    }
    write(dir.path(), "l11", json!({}));
    let found = read(&local(dir.path(), "l1")).unwrap();
    assert_eq!(found.location, local(dir.path(), "l11"));
    let e = read(&local(dir.path(), "l0")).unwrap_err();
    assert!(e.contains("more than 10 redirects"), "{e}");
}

#[test]
fn an_error_about_a_loop_names_every_place() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    write(at, "a", json!({"redirect": "../b"}));
    write(at, "b", json!({"redirect": "../c"}));
    write(at, "c", json!({"redirect": "../a"}));
    let e = read(&local(at, "a")).unwrap_err();
    assert!(e.contains("loop"), "{e}");
    for place in ["a -> ", "b -> ", "/c -> "] {
        assert!(e.contains(place), "{e}");
    }
    write(at, "self", json!({"redirect": "../self"}));
    let e = read(&local(at, "self")).unwrap_err();
    assert!(e.contains("loop"), "{e}");
}

#[test]
fn a_redirect_to_something_else_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    for (redirect, words) in [
        (json!(7), vec!["found 7"]),
        (json!({"url": "x"}), vec!["expected the URL"]),
        (json!("zarr://file:///x"), vec!["`zarr`", "/x"]),
        (json!("graphene://https://host/x"), vec!["`graphene`"]),
        (json!("carrierpigeon://x"), vec!["`carrierpigeon`"]),
        (json!("precomputed://"), vec!["has no path"]),
        (
            json!("../none"),
            vec!["none/info", "redirected from", "does not exist"],
        ),
    ] {
        write(dir.path(), "l", json!({"redirect": redirect}));
        let e = read(&local(dir.path(), "l")).unwrap_err();
        assert!(words.iter().all(|w| e.contains(w)), "{redirect}: {e}");
    }
}

#[test]
fn a_server_cannot_redirect_to_local_files() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "secret", json!({"secret": 1}));
    let secret = dir.path().join("secret").display().to_string();
    let server = serve(move |_, request: &Request| {
        let redirect =
            |to: &str| reply("200 OK", "", json!({"redirect": to}).to_string().as_bytes());
        match request.first.as_str() {
            "GET /a/info HTTP/1.1" => redirect("../b"),
            // A relative file:// URL is relative to the document, which is on the server.
            "GET /b/info HTTP/1.1" => redirect("precomputed://file://../c"),
            "GET /c/info HTTP/1.1" => reply("200 OK", "", br#"{"here": 1}"#),
            "GET /bad/info HTTP/1.1" => redirect(&format!("precomputed://file://{secret}")),
            _ => reply("404 Not Found", "", b""),
        }
    });
    let here = Location::Local("".into());
    let remote = |name: &str| here.resolve(&format!("{}/{name}", server.url)).unwrap();
    let found = read(&remote("a")).unwrap();
    assert_eq!(found.value, json!({"here": 1}));
    assert_eq!(found.location, remote("c"));
    let e = read(&remote("bad")).unwrap_err();
    assert!(e.contains("/bad/info") && e.contains("local path"), "{e}");
    let to_server = json!({"redirect": format!("precomputed://{}/a", server.url)});
    write(dir.path(), "l", to_server);
    let found = read(&local(dir.path(), "l")).unwrap();
    assert_eq!(found.location, remote("c"));
}

#[test]
fn the_kind_of_an_info_is_found_by_its_type_or_its_members() {
    for (info, word) in [
        (
            json!({"@type": "neuroglancer_annotations_v1"}),
            Some(ANNOTATIONS),
        ),
        (json!({"annotation_type": "POINT"}), Some(ANNOTATIONS)),
        (json!({"type": "image", "scales": []}), Some(VOLUME)),
        (
            json!({"@type": "neuroglancer_skeletons"}),
            Some("skeletons"),
        ),
        (
            json!({"type": "volumetric_tabular"}),
            Some("a volumetric tabular layer"),
        ),
        (json!({"@type": "x", "scales": []}), None),
        (json!([]), None),
    ] {
        assert_eq!(info_kind(&info), word, "{info}");
    }
}
