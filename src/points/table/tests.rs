//! Tables in all supported forms, and the errors for invalid ones.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::geometry::{BoxNm, PointNm};
use crate::points::{Anchor, Annotation, PointsInBoxes};

fn config(change: impl FnOnce(&mut Value)) -> TableConfig {
    let mut config = json!({"file": "t.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"});
    change(&mut config);
    serde_json::from_value(config).unwrap()
}

/// Opens a table with these bytes.
fn table(bytes: &[u8], config: &TableConfig) -> Result<TableLayer, PointsError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(&config.file), bytes).unwrap();
    let file = Location::Local(folder.path().join(&config.file));
    TableLayer::open(&file, config, &Storage::default())
}

fn all_of(bytes: &[u8], config: &TableConfig) -> Result<PointsInBoxes, PointsError> {
    let all = BoxNm::from_corners(PointNm([-1e12; 3]), PointNm([1e12; 3])).unwrap();
    table(bytes, config)?.read_boxes(&[all], Anchor::Midpoint, InBox::ByAnchor)
}

fn all(text: &str, config: &TableConfig) -> Result<PointsInBoxes, PointsError> {
    all_of(text.as_bytes(), config)
}

fn error_of(text: &str, config: &TableConfig) -> String {
    all(text, config).unwrap_err().to_string()
}

#[test]
fn columns_are_found_by_name_in_any_order() {
    let text =
        "\u{feff}note, z,id,y,x\n\"a, b\",3,18446744073709551615,2,1\n,6,9007199254740993,5,4.5\n";
    let found = all(text, &config(|_| ())).unwrap();
    let rows: Vec<_> = found.per_box[0]
        .iter()
        .map(|a| (a.id, a.anchor.0))
        .collect();
    assert_eq!(
        rows,
        [
            (9_007_199_254_740_993, [4.5, 5.0, 6.0]),
            (u64::MAX, [1.0, 2.0, 3.0])
        ]
    );
}

#[test]
fn a_table_on_a_server_is_read_and_an_html_page_is_an_error() {
    use crate::storage::loopback::{reply, serve};
    let server = serve(|_, request| match request.first.as_str() {
        "GET /t.tsv HTTP/1.1" => reply("200 OK", "", b"x\ty\tz\tid\n1\t2\t3\t4\n"),
        _ => reply("200 OK", "", b" <HTML>log in"),
    });
    let here = Location::Local("".into());
    let of = |name: &str| {
        let place = here.resolve(&format!("{}/{name}", server.url)).unwrap();
        TableLayer::open(&place, &config(|_| ()), &Storage::default())
    };
    assert!(of("t.tsv").is_ok());
    let e = of("t.csv").err().unwrap().to_string();
    assert!(e.contains("/t.csv is an HTML page"), "{e}");
}

#[test]
fn coordinates_are_in_the_unit_of_the_config() {
    let of = |change: fn(&mut Value)| all("x,y,z,id\n1,2,3,0\n", &config(change)).unwrap();
    let um = of(|c| c["unit"] = json!("um"));
    assert_eq!(um.per_box[0][0].anchor.0, [1000.0, 2000.0, 3000.0]);
    let voxel = of(|c| {
        c["unit"] = json!("voxel");
        c["resolution"] = json!([4, 4, 40]);
    });
    assert_eq!(voxel.per_box[0][0].anchor.0, [4.0, 8.0, 120.0]);
}

#[test]
fn rows_without_an_id_column_are_numbered_and_lines_have_two_ends() {
    let text = "ax;ay;az;bx;by;bz\n0;0;0;2;2;2\n\n1;1;1;3;3;3\n";
    let lines = config(|c| {
        *c = json!({"file": "t.csv", "unit": "nm", "start": ["ax", "ay", "az"],
            "end": ["bx", "by", "bz"], "delimiter": ";"});
    });
    let found = all(text, &lines).unwrap();
    let [first, second] = &found.per_box[0][..] else {
        panic!()
    };
    assert_eq!((first.id, second.id), (0, 1));
    assert_eq!(second.anchor.0, [2.0; 3]);
    assert_eq!(second.ends, [PointNm([1.0; 3]), PointNm([3.0; 3])]);
}

#[test]
fn properties_are_kept_and_an_invalid_value_is_an_error() {
    let with = config(|c| c["properties"] = json!({"n": "uint8", "score": "float32"}));
    let text = "id\tx\ty\tz\tscore\tn\n1\t0\t0\t0\t0.5\t7.0\n";
    let tsv = TableConfig {
        file: "t.tsv".to_owned(),
        ..with.clone()
    };
    let table = table(text.as_bytes(), &tsv).unwrap();
    assert_eq!(table.properties().len(), 2);
    let found = all(text, &tsv).unwrap();
    let values = |i: usize| table.properties()[i].bytes(&found.per_box[0][0].properties);
    assert_eq!(
        (values(0), values(1)),
        (&[7][..], &0.5f32.to_le_bytes()[..])
    );
    let e = error_of("id,x,y,z,score,n\n1,0,0,0,1,0\n2,0,0,0,1,256\n", &with);
    assert!(e.contains("t.csv: line 3: `n` is \"256\""), "{e}");
}

#[test]
fn an_error_names_the_file_the_line_and_the_column() {
    let c = config(|_| ());
    let e = error_of("id,x,y,z\n1,0,0,0\n2,0,a,0\n", &c);
    assert!(
        e.contains("t.csv: line 3: `y` is \"a\"; expected a number"),
        "{e}"
    );
    let e = error_of("id,x,y,z\n1,0,,0\n", &c);
    assert!(e.contains("line 2: `y` is empty"), "{e}");
    for id in [
        "1.5",
        "1e3",
        "1.01e2",
        "NaN",
        "-1",
        "18446744073709551616",
        "a",
    ] {
        let e = error_of(&format!("id,x,y,z\n{id},0,0,0\n"), &c);
        assert!(e.contains("line 2: `id`") && e.contains(id), "{e}");
    }
    let e = error_of("id,X,y,z\n", &c);
    assert!(e.contains("`x`") && e.contains("id, X, y, z"), "{e}");
    let e = error_of("id,x,x,y,z\n", &c);
    assert!(e.contains("two columns `x`"), "{e}");
    let e = error_of("id,x,y,z\n1,2,3\n", &c);
    assert!(
        e.contains("t.csv") && e.contains("line 2: the row has 3 fields, expected 4"),
        "{e}"
    );
    let e = error_of("", &c);
    assert!(e.contains("no column"), "{e}");
    let e = error_of("id,x,y,z\n7,0,0,0\n7,1,0,0\n", &c);
    assert!(e.contains("line 2") && e.contains("line 3"), "{e}");
    let e = all_of(b"id,x,y,z\n\n1,\xff,0,0\n", &c)
        .unwrap_err()
        .to_string();
    assert!(e.contains("line 3: its field 2 is not UTF-8"), "{e}");
}

proptest! {
    #[test]
    fn the_parser_does_not_panic_on_any_input(text in "(id|x|y|z|,|;|\"|\n|[0-9]|nan|.){0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let c = config(|_| ());
        let _ = all(&text, &c);
        let _ = all(&format!("id,x,y,z\n{text}"), &c);
        let _ = all_of(&bytes, &c);
    }
}

#[test]
fn ids_may_be_whole_numbers_written_as_floats() {
    let text = "\u{feff},id,x,y,z\n0,101.0,1,2,3\n1,9007199254740993.0,1,2,3\n2,18446744073709551615.0,1,2,3\n";
    let found = all(text, &config(|_| ())).unwrap();
    let ids: Vec<u64> = found.per_box[0].iter().map(|a| a.id).collect();
    assert_eq!(ids, [101, 9_007_199_254_740_993, u64::MAX]);
    assert!(found.report.warnings.is_empty());
    let found = all("id,x,y,z\n\n9007199254740992.0,1,2,3\n", &config(|_| ())).unwrap();
    let warning = &found.report.warnings[0];
    assert!(
        warning.contains("1 whole numbers are") && warning.contains("t.csv: line 3"),
        "{warning}"
    );
}

#[test]
fn the_line_in_an_error_is_the_line_in_an_editor() {
    for (text, line) in [
        ("id,x,y,z\n1,0,0,0\nx3,0,0,0\n", 3),
        ("id,x,y,z\r\n1,0,0,0\r\nx3,0,0,0\r\n", 3),
        ("id,x,y,z\r1,0,0,0\rx3,0,0,0\r", 3),
        ("\u{feff}id,x,y,z\r\n1,0,0,0\r\nx3,0,0,0", 3),
        ("\n\nid,x,y,z\n\n1,0,0,0\n\n\nx3,0,0,0\n", 8),
        ("\r\nid,x,y,z\r\n\r\n1,0,0,0\r\nx3,0,0,0\r\n", 5),
        ("id,x,y,z,note\n1,0,0,0,\"a\nb\n\"\nx3,0,0,0,\n", 5),
        ("id,x,y,z,note\r\n1,0,0,0,\"a\r\nb\"\r\nx3,0,0,0,\r\n", 4),
        ("id,x,y,z,\"a\nnote\"\nx3,0,0,0,\n", 3),
    ] {
        let e = error_of(text, &config(|_| ()));
        let expected = format!("t.csv: line {line}: `id` is \"x3\"");
        assert!(e.contains(&expected), "{text:?}: {e}");
    }
    let e = error_of(
        "id,x,y,z\r\n7,0,0,0\r\n8,0,0,0\r\n7,1,0,0\r\n",
        &config(|_| ()),
    );
    assert!(e.contains("line 2") && e.contains("line 4"), "{e}");
}

#[test]
fn a_conflict_with_a_row_outside_all_boxes_is_an_error() {
    let text = "id,x,y,z\n7,0,0,0\n8,500,0,0\n7,500,0,0\n";
    let near = BoxNm::from_corners(PointNm([0.0; 3]), PointNm([9.0; 3])).unwrap();
    let read = |layer: &TableLayer| layer.read_boxes(&[near], Anchor::Midpoint, InBox::ByAnchor);
    let layer = table(text.as_bytes(), &config(|_| ())).unwrap();
    let e = read(&layer).unwrap_err().to_string();
    assert!(
        e.contains("id 7") && e.contains("line 2") && e.contains("line 4"),
        "{e}"
    );
    // The same error results from a second pass, if there is no memory for the geometries of all rows.
    let found = conflicting_id(&[7, 8], &layer, Anchor::Midpoint).unwrap();
    assert_eq!(found, Some(7));
    let again = layer.conflict(7, Anchor::Midpoint);
    assert_eq!(again.to_string(), e);
}

/// A table of several blocks: `rows` rows, of which `change` changes some.
fn many_rows(rows: usize, change: impl Fn(usize) -> Option<String>) -> String {
    let row = |i: usize| change(i).unwrap_or_else(|| format!("{i},{i}.5,7,1,\"a note\",3\n"));
    let rows: String = (0..rows).map(row).collect();
    format!("id,x,y,z,note,n\n{rows}")
}

/// The results of `read` with one thread and with four.
fn with_threads<T: Send>(read: impl Fn() -> T + Sync) -> [T; 2] {
    [1, 4].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(&read)
    })
}

const MANY: usize = 100_000;

#[test]
fn rows_of_all_blocks_are_read_in_order_with_any_number_of_threads() {
    let with = config(|c| c["properties"] = json!({"n": "uint8"}));
    // Some fields have ends of lines, delimiters and quotation marks, and some lines are empty.
    let text = many_rows(MANY, |i| match i % 7 {
        0 => Some(format!("{i},{i}.5,7,1,\"a,\n\"\"b\r\n\",3\n\n")),
        1 => Some(format!("{i},\"{i}.5\",7,1,\"[1, 2]\",3\r\n")),
        _ => None,
    });
    for found in with_threads(|| all(&text, &with).unwrap()) {
        let ids: Vec<u64> = found.per_box[0].iter().map(|a| a.id).collect();
        assert!(ids == (0..MANY as u64).collect::<Vec<_>>());
        let is_right =
            |a: &Annotation| a.anchor.0 == [a.id as f64 + 0.5, 7.0, 1.0] && *a.properties == [3];
        assert!(found.per_box[0].iter().all(is_right));
        assert_eq!(found.report.annotations_read, MANY as u64);
    }
    let numbered = config(|c| c["id"] = Value::Null);
    for found in with_threads(|| all(&text, &numbered).unwrap()) {
        let is_right = |a: &Annotation| a.anchor.0[0] == a.id as f64 + 0.5;
        assert!(found.per_box[0].len() == MANY && found.per_box[0].iter().all(is_right));
    }
}

#[test]
fn the_first_error_and_its_line_do_not_depend_on_threads() {
    let c = config(|_| ());
    let wrong = |i: usize| match i {
        60_000 => Some("60000,x,1,1,\"two\nlines\",3\n".to_owned()),
        60_001 | 90_000 => Some("1,2\n".to_owned()),
        50_000 => Some("50000,1,1,1,\"two\r\nlines\",3\n".to_owned()),
        _ => None,
    };
    let text = many_rows(MANY, wrong);
    for e in with_threads(|| error_of(&text, &c)) {
        assert!(e.contains("line 60003: `x` is \"x\""), "{e}");
    }
    // A row before the damaged part of a compressed file is reported first.
    use std::io::Write;
    let gzip = |text: &str| {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        let packed = gz.finish().unwrap();
        packed[..packed.len() - 9].to_vec()
    };
    let damaged = |text: &str| {
        let packed = gzip(text);
        with_threads(|| all_of(&packed, &c).unwrap_err().to_string())
    };
    for e in damaged(&text) {
        assert!(e.contains("line 60003"), "{e}");
    }
    for e in damaged(&many_rows(MANY, |_| None)) {
        assert!(e.contains("gzip stream is damaged"), "{e}");
    }
}

#[test]
fn repeated_ids_of_different_blocks_are_found() {
    let c = config(|_| ());
    let again = |i: usize| (i == 99_999).then(|| "7,7.5,7,1,,3\n".to_owned());
    for found in with_threads(|| all(&many_rows(MANY, again), &c).unwrap()) {
        assert_eq!(found.report.repeated_records, 1);
    }
    let other = |i: usize| (i == 99_999).then(|| "7,8.5,7,1,,3\n".to_owned());
    for e in with_threads(|| error_of(&many_rows(MANY, other), &c)) {
        assert!(e.contains("line 9") && e.contains("line 100001"), "{e}");
    }
}

#[test]
fn properties_are_read_of_rows_in_boxes_only() {
    let with = config(|c| c["properties"] = json!({"n": "uint8"}));
    let near = BoxNm::from_corners(PointNm([0.0; 3]), PointNm([9.0; 3])).unwrap();
    let json = r#"[{"id": 1, "x": 0, "y": 0, "z": 0, "n": 5}, {"id": 2, "x": 99, "y": 0, "z": 0, "n": "none"}]"#;
    for text in ["id,x,y,z,n\n1,0,0,0,5\n2,99,0,0,none\n", json] {
        let layer = table(text.as_bytes(), &with).unwrap();
        let found = layer
            .read_boxes(&[near], Anchor::Midpoint, InBox::ByAnchor)
            .unwrap();
        assert_eq!(*found.per_box[0][0].properties, [5]);
        assert!(error_of(text, &with).contains("`n` is \"none\""));
    }
    // Its id and its position are read.
    for row in ["x,99,0,0,5", "2,99,y,0,5", "2,99,0,0"] {
        let text = format!("id,x,y,z,n\n1,0,0,0,5\n{row}\n");
        let layer = table(text.as_bytes(), &with).unwrap();
        let e = layer
            .read_boxes(&[near], Anchor::Midpoint, InBox::ByAnchor)
            .unwrap_err();
        assert!(e.to_string().contains("line 3"), "{e}");
    }
}

#[test]
fn a_compressed_table_is_read_and_a_damaged_one_is_an_error() {
    use std::io::Write;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(b"id,x,y,z\n7,0,0,0\n").unwrap();
    let packed = gz.finish().unwrap();
    let gz = config(|c| c["file"] = json!("t.csv.gz"));
    assert_eq!(all_of(&packed, &gz).unwrap().per_box[0][0].id, 7);
    let e = all_of(&packed[..packed.len() - 9], &gz)
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("t.csv.gz: its gzip stream is damaged or truncated"),
        "{e}"
    );
}

#[test]
fn annotations_in_boxes_must_fit_in_memory() {
    let mut text = "id,x,y,z\n".to_owned();
    for i in 0..150_000 {
        text.push_str(&format!("{i},{i},0,0\n"));
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), &text).unwrap();
    let file = Location::Local(folder.path().join("t.csv"));
    let read = |far: f64| {
        let storage = Storage::default().for_job(64 << 20);
        let some = BoxNm::from_corners(PointNm([0.0; 3]), PointNm([far, 1.0, 1.0])).unwrap();
        TableLayer::open(&file, &config(|_| ()), &storage)
            .unwrap()
            .read_boxes(&[some], Anchor::Midpoint, InBox::ByAnchor)
    };
    assert_eq!(read(1000.0).unwrap().per_box[0].len(), 1000);
    let e = read(1e9).unwrap_err().to_string();
    assert!(
        e.contains("t.csv is too large") && e.contains("--memory 64.0 MiB"),
        "{e}"
    );
}
