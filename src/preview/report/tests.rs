//! Tests of whole pages.

use super::*;
use crate::preview::picture::{ContactSheet, Picture};

fn report() -> Report {
    Report {
        title: "Run <7> & \"more\"".into(),
        facts: vec![("model".into(), "<script>alert(1)</script>".into())],
        charts: vec![Chart {
            title: "Loss </svg>".into(),
            x: "step & <b>".into(),
            y: "per voxel".into(),
            series: vec![Series {
                name: "train <i>".into(),
                points: vec![(0.0, 0.75), (100.0, 0.1234), (200.0, 0.25)],
            }],
        }],
        tables: vec![Table {
            title: "Scores".into(),
            head: vec!["channel".into(), "Dice".into()],
            rows: vec![vec!["cleft".into(), "0.8765".into()]],
        }],
        pictures: vec![PictureRow {
            caption: "sample 'x' <".into(),
            titles: vec!["image".into(), "pre > post".into()],
            picture: Picture {
                width: 2,
                height: 1,
                rgb: vec![1, 2, 3, 4, 5, 6],
            },
        }],
        texts: vec![("Config".into(), "{\n  \"image\": \"<img>\"\n}".into())],
    }
}

/// The elements of a page in order. Panics if an element is not closed.
fn elements(page: &str) -> Vec<String> {
    let (mut open, mut all) = (Vec::<String>::new(), Vec::new());
    let body = page.strip_prefix("<!DOCTYPE html>").unwrap();
    for tag in body.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("a tag ends");
        let name = tag.split([' ', '/', '\n']).next().unwrap();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(closed));
        } else {
            all.push(name.to_owned());
            if !tag.ends_with('/') && !["meta", "img"].contains(&name) {
                open.push(name.to_owned());
            }
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    all
}

#[test]
fn a_page_has_all_parts_and_closes_every_element() {
    let page = report().html();
    let elements = elements(&page);
    let count = |name: &str| elements.iter().filter(|e| *e == name).count();
    assert!(page.contains("<h2>Config</h2>") && page.contains("&lt;img&gt;") && count("pre") == 1);
    assert_eq!((count("svg"), count("table"), count("img")), (1, 2, 1));
    assert_eq!((count("h1"), count("dt")), (1, 1));
}

#[test]
fn text_from_outside_is_escaped() {
    let page = report().html();
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(page.contains("<h1>Run &lt;7&gt; &amp; &quot;more&quot;</h1>"));
    assert!(page.contains("step &amp; &lt;b&gt;"));
    for word in ["<i>", "<b>", "Loss </svg>", "<7>"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn a_page_refers_to_nothing_outside() {
    let page = report().html();
    let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for reference in ["http", "url(", "@import", "<link", "//www"] {
        assert!(!page.contains(reference), "{reference}");
    }
    assert_eq!(page.matches("src=").count(), 1);
    assert!(page.contains("src=\"data:image/png;base64,iVBORw0KGgo"));
}

#[test]
fn numbers_are_formatted() {
    let page = report().html();
    for number in ["0.2500", "0.1234", "0.7500", "0.8765"] {
        let cell = format!("<td class=\"number\">{number}</td>");
        assert!(page.contains(&cell), "{cell}");
    }
    assert!(page.contains("<th class=\"number\">Dice</th>"));
}

#[test]
fn an_empty_report_is_a_valid_page() {
    assert!(elements(&Report::default().html()).contains(&"main".into()));
}

#[test]
fn a_chart_without_values_says_so() {
    let mut report = report();
    report.charts[0].series[0].points = vec![(0.0, f64::NAN)];
    let page = report.html();
    assert!(page.contains("no values yet"));
    assert!(page.contains("<td class=\"number\">NaN</td>"));
}

#[test]
fn a_contact_sheet_becomes_a_picture_with_headings_and_sections() {
    let (image, target, probability) = (vec![0.5; 8], vec![1; 8], vec![0.5; 8]);
    let sheet = ContactSheet {
        shape: [8, 1, 1],
        voxel_nm: Some(500.0),
        image: &image,
        targets: vec![Some(&target)],
        probabilities: vec![&probability],
        masks: vec![None],
        names: vec!["cleft".into()],
        caption: "sample 5".into(),
    };
    let row = PictureRow::from(&sheet);
    assert_eq!(
        row.caption,
        "sample 5 · sections 2, 4, 6 of 8, from the top · scale bar 200 nm"
    );
    assert_eq!(row.titles, ["image", "cleft target", "cleft prediction"]);
}
