//! Keys of chunks below the folder of an array or column.
//!
//! Zarr v3's chunk key encoding `default`, with the separator `.`: `c.7.0.0.0.0`. All shards of an array are in one folder then.
//! With `/`, which earlier versions wrote, each shard takes four folders more, and on network file systems a folder takes about
//! as long as a file. Both are read.

use zarrs::metadata::v3::MetadataV3;

/// What separates the numbers of a chunk's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Separator {
    /// Written by this version.
    #[default]
    Dot,
    /// Written by earlier versions.
    Slash,
}

impl Separator {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Dot, Self::Slash];

    /// The separator of an array with this `chunk_key_encoding`; `None` if pointshard does not write such an array.
    pub fn of(encoding: &MetadataV3) -> Option<Self> {
        let configuration = encoding.configuration();
        let separator = configuration.and_then(|c| c.get("separator"));
        let found = match separator.map(|s| s.as_str()) {
            None => Some(Self::Slash),
            Some(text) => Self::ALL.into_iter().find(|s| text == Some(s.text())),
        };
        found.filter(|_| encoding.name() == "default")
    }

    /// The key of a chunk of an array with this many dimensions. All its numbers but the first are 0.
    pub fn chunk_key(self, first: u64, dimensions: usize) -> String {
        let separator = self.text();
        let zeros = format!("{separator}0").repeat(dimensions.saturating_sub(1));
        format!("c{separator}{first}{zeros}")
    }

    fn text(self) -> &'static str {
        match self {
            Self::Dot => ".",
            Self::Slash => "/",
        }
    }
}

/// Whether the path, below the folder of an array or column, is the key of a chunk.
pub(super) fn is_chunk_key(path: &[&str]) -> bool {
    let of_numbers = |numbers: &[&str]| {
        let is_number = |n: &&str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
        (1..=5).contains(&numbers.len()) && numbers.iter().all(is_number)
    };
    match path {
        ["c", numbers @ ..] => of_numbers(numbers),
        [name] => match name.strip_prefix("c.") {
            Some(numbers) => of_numbers(&numbers.split('.').collect::<Vec<_>>()),
            None => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_the_one_of_the_chunk_key_encoding_in_the_metadata() {
        let of = |encoding| Separator::of(&serde_json::from_value(encoding).unwrap());
        let default =
            |separator| json!({"name": "default", "configuration": {"separator": separator}});
        assert_eq!(of(default(".")), Some(Separator::Dot));
        assert_eq!(of(default("/")), Some(Separator::Slash));
        assert_eq!(of(json!({"name": "default"})), Some(Separator::Slash));
        assert_eq!(of(default("-")), None);
        assert_eq!(
            of(json!({"name": "v2", "configuration": {"separator": "."}})),
            None
        );
        let keys = Separator::ALL.map(|s| [s.chunk_key(7, 1), s.chunk_key(12, 5)]);
        assert_eq!(keys, [["c.7", "c.12.0.0.0.0"], ["c/7", "c/12/0/0/0/0"]]);
    }

    #[test]
    fn chunk_keys_are_distinguished_from_other_paths() {
        let is_key = |path: &str| is_chunk_key(&path.split('/').collect::<Vec<_>>());
        for separator in Separator::ALL {
            for dimensions in 1..=5 {
                assert!(is_key(&separator.chunk_key(30, dimensions)));
            }
            assert!(!is_key(&separator.chunk_key(0, 6)));
        }
        for path in [
            "c",
            "c.",
            "c.x",
            "c.0.",
            "c..0",
            "c.0/0",
            "c/0/x",
            "c/",
            "zarr.json",
            "d.0",
        ] {
            assert!(!is_key(path), "{path}");
        }
    }
}
