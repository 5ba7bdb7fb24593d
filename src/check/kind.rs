//! Kinds of findings. Their names are stable: scripts may rely on them. docs/check.md describes each.

use serde::{Deserialize, Serialize};

/// Whether a dataset is wrong, or only suspicious.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is wrong.
    Error,
    /// Something is unusual, and a person should look at it.
    Warning,
}

/// Kinds of things that can be wrong or suspicious.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// There is no manifest, or its contents are not possible.
    Manifest,
    /// A file is missing.
    MissingFile,
    /// A file exists but cannot be read.
    Unreadable,
    /// A file has the wrong size.
    Size,
    /// A file has other bytes than were written.
    Digest,
    /// Metadata does not agree with the manifest.
    Structure,
    /// A sample cannot be decoded.
    Decode,
    /// A column cannot be read, or has another type or shape.
    Column,
    /// A file that the manifest does not list.
    UnexpectedFile,
    /// The claim, the plan or a receipt does not agree with the manifest.
    Plan,
    /// A sample's box is not one of its split's.
    ForeignBox,
    /// The samples of a box do not follow each other.
    BoxOrder,
    /// A box has another number of samples than the manifest says.
    BoxCount,
    /// A sample's centre is outside of its box.
    CenterOutsideBox,
    /// A window does not start where the rule says.
    WindowStart,
    /// A sample's resolution is not that of its layer group.
    Resolution,
    /// An annotation occurs twice in one box.
    RepeatedAnnotation,
    /// The fraction of nonzero values in the column is not that of the sample.
    NonzeroFraction,
    /// The column of inside fractions does not agree with the manifest.
    InsideFraction,
    /// A sample differs from its source.
    Source,
    /// Windows of two splits overlap.
    Leak,
    /// Samples have equal values in all arrays.
    EqualSamples,
    /// All values of an image are equal.
    ConstantImage,
    /// A sample has values that are infinite or not a number.
    NotFinite,
    /// A mask has values other than 0 and 1.
    MaskValues,
    /// All values of a target are 0 in all samples of a split.
    EmptyTarget,
    /// A target is nonzero much more or less often in one box than in the others.
    ClassBalance,
}

impl FindingKind {
    /// All kinds.
    pub const ALL: [Self; 27] = [
        Self::Manifest,
        Self::MissingFile,
        Self::Unreadable,
        Self::Size,
        Self::Digest,
        Self::Structure,
        Self::Decode,
        Self::Column,
        Self::UnexpectedFile,
        Self::Plan,
        Self::ForeignBox,
        Self::BoxOrder,
        Self::BoxCount,
        Self::CenterOutsideBox,
        Self::WindowStart,
        Self::Resolution,
        Self::RepeatedAnnotation,
        Self::NonzeroFraction,
        Self::InsideFraction,
        Self::Source,
        Self::Leak,
        Self::EqualSamples,
        Self::ConstantImage,
        Self::NotFinite,
        Self::MaskValues,
        Self::EmptyTarget,
        Self::ClassBalance,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::MissingFile => "missing_file",
            Self::Unreadable => "unreadable",
            Self::Size => "size",
            Self::Digest => "digest",
            Self::Structure => "structure",
            Self::Decode => "decode",
            Self::Column => "column",
            Self::UnexpectedFile => "unexpected_file",
            Self::Plan => "plan",
            Self::ForeignBox => "foreign_box",
            Self::BoxOrder => "box_order",
            Self::BoxCount => "box_count",
            Self::CenterOutsideBox => "center_outside_box",
            Self::WindowStart => "window_start",
            Self::Resolution => "resolution",
            Self::RepeatedAnnotation => "repeated_annotation",
            Self::NonzeroFraction => "nonzero_fraction",
            Self::InsideFraction => "inside_fraction",
            Self::Source => "source",
            Self::Leak => "leak",
            Self::EqualSamples => "equal_samples",
            Self::ConstantImage => "constant_image",
            Self::NotFinite => "not_finite",
            Self::MaskValues => "mask_values",
            Self::EmptyTarget => "empty_target",
            Self::ClassBalance => "class_balance",
        }
    }

    /// Whether it makes a dataset wrong.
    pub fn severity(self) -> Severity {
        match self {
            Self::Leak
            | Self::EqualSamples
            | Self::ConstantImage
            | Self::NotFinite
            | Self::MaskValues
            | Self::EmptyTarget
            | Self::ClassBalance => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_in_json_and_each_is_in_the_documentation() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/check.md");
        let page = std::fs::read_to_string(page).unwrap();
        for kind in FindingKind::ALL {
            let name = kind.name();
            assert_eq!(serde_json::to_value(kind).unwrap(), name);
            let severity = match kind.severity() {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let row = format!("| `{name}` | {severity} |");
            assert!(page.contains(&row), "no row {row:?}");
        }
        let is_row = |line: &&str| line.contains("` | error |") || line.contains("` | warning |");
        let rows = page.lines().filter(is_row);
        assert_eq!(rows.count(), FindingKind::ALL.len());
    }
}
