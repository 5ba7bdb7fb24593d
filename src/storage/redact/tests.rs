//! Tests of the removal of secrets.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn queries_and_passwords_of_urls_in_any_text_are_replaced() {
    for (text, expected) in [
        ("no URL? none@all", "no URL? none@all"),
        ("is https://h/x right? Yes", "is https://h/x right? Yes"),
        (
            "cannot read https://h:1/a/b?sig=S%2F&t=S: 403",
            "cannot read https://h:1/a/b?<redacted> 403",
        ),
        (
            "{\"a\":\"https://h/x?S\",\"b\":\"gs://b/y?S\"}",
            "{\"a\":\"https://h/x?<redacted>\",\"b\":\"gs://b/y?<redacted>\"}",
        ),
        ("https://h?S", "https://h?<redacted>"),
        ("https://h/x?", "https://h/x?"),
        ("HTTPS://S:S@h/x", "HTTPS://<redacted>@h/x"),
        (
            "precomputed://s3://S:S/S@b/x",
            "precomputed://s3://<redacted>@b/x",
        ),
        (
            "zarr://https://S:S@h/x?S",
            "zarr://https://<redacted>@h/x?<redacted>",
        ),
        ("https://S:S?S@h/x", "https://<redacted>@h/x"),
        ("https://S%3AS%40h/x", "https://<redacted>@h/x"),
        ("https://h\\S@evil/x", "https://<redacted>@evil/x"),
        ("https://[::1]:80/a@b", "https://[::1]:80/a@b"),
        ("file://./a@b/c file://d@2/e", "file://./a@b/c file://d@2/e"),
        ("file://S:S@h/x", "file://<redacted>@h/x"),
        ("https://h/x?<redacted>", "https://h/x?<redacted>"),
        (
            "https://S:S|S@h/x?S|n5:",
            "https://<redacted>@h/x?<redacted>|n5:",
        ),
    ] {
        assert_eq!(redacted(text), expected, "{text}");
        assert_eq!(redacted(expected), expected, "again");
    }
}

#[test]
fn the_whole_query_of_a_source_is_replaced() {
    for (source, expected) in [
        ("a/b?c@d", "a/b?c@d"),
        (
            "zarr://https://h/a?S=S S'S",
            "zarr://https://h/a?<redacted>",
        ),
        (
            "https://h/a?S\"S|zarr2:s1",
            "https://h/a?<redacted>|zarr2:s1",
        ),
        (
            "https://h/?v=1#!https://g/s?S",
            "https://h/?<redacted>#!https://g/s?<redacted>",
        ),
        (
            "https://h/#!%7B%22source%22:%22precomputed://https://g/i%3FS%22%7D",
            "https://h/#!{\"source\":\"precomputed://https://g/i?<redacted>\"}",
        ),
        (
            "https://h/#!{'source':'https%3A%2F%2Fg/i'}",
            "https://h/#!{'source':'https%3A%2F%2Fg/i'}",
        ),
    ] {
        assert_eq!(redacted_source(source), expected, "{source}");
    }
    let mut value = json!({"a": ["https://h/x?S", {"b": "https://S:S@h"}], "c": 1});
    redact_json(&mut value);
    let expected = json!({"a": ["https://h/x?<redacted>", {"b": "https://<redacted>@h"}], "c": 1});
    assert_eq!(value, expected);
}

#[test]
fn a_name_before_any_host_in_a_source_is_found() {
    for text in [
        "https://me@h/x",
        "https://me:S@h",
        "precomputed://https://me:S@h/x",
        "s3://K:S/S@b",
        "https://me:S@h/a.zarr|zarr2:",
        "https://me:S|S@h/a.zarr|zarr2:",
        "https://site/#!%7B%22source%22:%22zarr://https://me:S@h/x%22%7D",
        "https://site/#!https%3A%2F%2Fme%3AS%40h%2Fx",
        "http://localhost:S@h",
        "https://@h",
    ] {
        assert!(has_userinfo(text), "{text}");
    }
    for text in [
        "a@b",
        "https://h/a@b",
        "https://h:80/a@b",
        "https://h/x?mail=a@b",
        "file://./me@lab/x",
        "https://site/#!{\"a\":\"https://h\",\"b\":\"c@d\"}",
        "local://annotations",
    ] {
        assert!(!has_userinfo(text), "{text}");
    }
}

#[test]
fn echoed_secrets_are_hidden_as_written_and_decoded() {
    let mut secrets = Secrets::default();
    secrets.add_query("v=1&X-Amz-Signature=aBc%2Fd%2b%3D&flag");
    let echo = "got aBc%2fd%2B%3d and aBc/d+= at https://h/y?z=1 (v=1)";
    assert_eq!(
        secrets.hide(echo),
        "got <redacted> and <redacted> at https://h/y?<redacted> (v=1)"
    );
    assert!(!format!("{secrets:?}").contains("aBc"));
}

proptest! {
    #[test]
    fn no_text_causes_a_panic(text in "[a-zA-Z0-9:/?@%#|\"' \\[\\]é.]{0,40}") {
        let _ = (redacted(&text).len(), redacted_source(&text).len(), has_userinfo(&text));
        let mut secrets = Secrets::default();
        secrets.add_query(&text);
        let _ = secrets.hide(&text);
    }

    #[test]
    fn a_secret_in_a_query_is_always_replaced(
        before in "[a-z ]{0,8}", path in "[a-z/]{0,8}", key in "[a-zA-Z-]{0,8}", after in "[ \"'|].{0,8}",
    ) {
        let text = format!("{before}https://host/{path}?{key}=SECRET&x=SECRET{after}");
        prop_assert!(!redacted(&text).contains("SECRET"), "{}", text);
        prop_assert!(!redacted_source(&text).contains("SECRET"), "{}", text);
    }
}
