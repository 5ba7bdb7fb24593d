//! The example configs are configs.

use std::path::Path;

use pointshard::config::Config;

#[test]
fn every_example_config_parses() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut parsed = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "json") {
            Config::read(&path).unwrap();
            parsed += 1;
        }
    }
    assert!(parsed >= 2);
}
