//! Names of arrays and splits, which become names of folders in the output.

/// Longest name, in characters.
const MAX_NAME_CHARS: usize = 64;

/// Index columns of every split.
const COLUMNS: [&str; 7] = [
    "annotation_id",
    "box",
    "center_nm",
    "start_nm",
    "end_nm",
    "start_voxel",
    "resolution_nm",
];

/// Endings of the names of index columns that belong to one array.
const COLUMN_ENDINGS: [&str; 5] = [
    "_nonzero_fraction",
    "_inside_fraction",
    "_start_voxel",
    "_object_id",
    "_object_ids",
];

/// The group in the output of annotations that are no samples.
pub(crate) const DROPPED_ANNOTATIONS: &str = "dropped_annotations";

/// Names of dimensions in the output.
const DIMENSIONS: [&str; 8] = ["sample", "channel", "x", "y", "z", "xyz", "rgb", "rgba"];

/// What is wrong with `name` as the name of a folder in the output, if anything.
pub(super) fn name_problem(name: &str) -> Option<String> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_valid = name.len() <= MAX_NAME_CHARS
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_allowed);
    (!is_valid).then(|| {
        format!(
            "found the name {name:?}, expected 1 to {MAX_NAME_CHARS} of A-Z a-z 0-9 _ - . that start with a letter or digit"
        )
    })
}

/// Whether an array cannot have this name, because something else in the output has it.
pub(crate) fn is_reserved_array_name(name: &str) -> bool {
    reserved_for(name).is_some()
}

/// What else in the output has the name, if anything: an index column, a dimension, the group's metadata. The case of
/// letters makes no difference, because it makes none in some file systems.
pub(super) fn reserved_for(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let name = name.as_str();
    let is_column = COLUMNS.contains(&name)
        || name.starts_with("property_")
        || COLUMN_ENDINGS.iter().any(|ending| name.ends_with(ending));
    match name {
        "zarr.json" => Some("the metadata of the group"),
        _ if DIMENSIONS.contains(&name) => Some("a dimension"),
        _ if is_column => Some("an index column"),
        _ => None,
    }
}

/// Two names that differ only in the case of letters: the later one first.
pub(super) fn differ_only_in_case<'n>(names: &[&'n str]) -> Option<(&'n str, &'n str)> {
    names.iter().enumerate().find_map(|(i, name)| {
        let mut earlier = names[..i].iter();
        let other = earlier.find(|other| other.eq_ignore_ascii_case(name))?;
        Some((*name, *other))
    })
}
