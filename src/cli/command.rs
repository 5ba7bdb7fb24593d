//! Commands that a user can copy: what comes next.

use std::path::Path;

use crate::storage::Location;

/// Plans the job of a config.
pub(super) fn plan(config: &Path) -> String {
    format!("pointshard plan {}", quoted(config.display()))
}

/// Writes all shards that are missing, and seals the dataset.
pub(super) fn preprocess(out: &Location) -> String {
    format!("pointshard preprocess --out {}", quoted(out))
}

/// Writes the missing shards of a task.
pub(super) fn preprocess_task(out: &Location, task: u32, tasks: u32) -> String {
    format!("{} --task {task}/{tasks}", preprocess(out))
}

/// Seals the dataset.
pub(super) fn seal(out: &Location) -> String {
    format!("pointshard seal {}", quoted(out))
}

/// Says what is missing.
pub(super) fn status(out: &Location) -> String {
    format!("pointshard status {}", quoted(out))
}

/// The path or location as an argument in a shell.
fn quoted(place: impl ToString) -> String {
    let text = place.to_string();
    let quoted = shlex::try_quote(&text).map(|quoted| quoted.into_owned());
    quoted.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_spaces_is_quoted() {
        let out = Location::Local("/data/my set".into());
        assert_eq!(seal(&out), "pointshard seal '/data/my set'");
        assert_eq!(
            plan(Path::new("my dir/i.json")),
            "pointshard plan 'my dir/i.json'"
        );
        let out = Location::Local("out".into());
        assert_eq!(
            preprocess_task(&out, 3, 8),
            "pointshard preprocess --out out --task 3/8"
        );
    }
}
