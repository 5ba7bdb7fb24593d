//! The types of properties, and their values as text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are self-explanatory")]
pub enum PropertyKind {
    /// Three bytes: red, green, blue.
    Rgb,
    /// Four bytes: red, green, blue, alpha.
    Rgba,
    Uint8,
    Int8,
    Uint16,
    Int16,
    Uint32,
    Int32,
    Float32,
    /// In tables only, as the two below: Neuroglancer has no such properties.
    Uint64,
    Int64,
    Float64,
}

impl PropertyKind {
    /// The types that Neuroglancer has.
    const OF_NEUROGLANCER: [Self; 9] = [
        Self::Rgb,
        Self::Rgba,
        Self::Uint8,
        Self::Int8,
        Self::Uint16,
        Self::Int16,
        Self::Uint32,
        Self::Int32,
        Self::Float32,
    ];

    /// Its name in an info.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rgb => "rgb",
            Self::Rgba => "rgba",
            Self::Uint8 => "uint8",
            Self::Int8 => "int8",
            Self::Uint16 => "uint16",
            Self::Int16 => "int16",
            Self::Uint32 => "uint32",
            Self::Int32 => "int32",
            Self::Float32 => "float32",
            Self::Uint64 => "uint64",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
        }
    }

    /// The type with this name in an info or a viewer state, ignoring case.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::OF_NEUROGLANCER
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The names of Neuroglancer's types, for messages.
    pub(super) fn names() -> String {
        Self::OF_NEUROGLANCER.map(Self::name).join(", ")
    }

    /// The number of components of a value: 3 or 4 for colours, otherwise 1.
    pub fn components(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Rgba => 4,
            _ => 1,
        }
    }

    /// Bytes of each component; components are little-endian.
    pub fn component_bytes(self) -> usize {
        match self {
            Self::Rgb | Self::Rgba | Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 => 2,
            Self::Uint32 | Self::Int32 | Self::Float32 => 4,
            Self::Uint64 | Self::Int64 | Self::Float64 => 8,
        }
    }

    /// Parses a number, or a colour such as `#00ff7f`, to little-endian bytes. The error is what was expected.
    pub(super) fn parse(self, text: &str) -> Result<Vec<u8>, String> {
        let text = text.trim();
        let bytes = match self {
            Self::Rgb | Self::Rgba => colour(text, self.components()),
            Self::Uint8 => whole(text, 0, u8::MAX),
            Self::Int8 => whole(text, i8::MIN, i8::MAX),
            Self::Uint16 => whole(text, 0, u16::MAX),
            Self::Int16 => whole(text, i16::MIN, i16::MAX),
            Self::Uint32 => whole(text, 0, u32::MAX),
            Self::Int32 => whole(text, i32::MIN, i32::MAX),
            // Tables have empty cells for missing values.
            Self::Float32 if text.is_empty() => Some(f32::NAN.to_le_bytes().to_vec()),
            Self::Float32 => text.parse().ok().map(|v: f32| v.to_le_bytes().to_vec()),
            Self::Uint64 => exact(text, u64::to_le_bytes),
            Self::Int64 => exact(text, i64::to_le_bytes),
            Self::Float64 if text.is_empty() => Some(f64::NAN.to_le_bytes().to_vec()),
            Self::Float64 => text.parse().ok().map(|v: f64| v.to_le_bytes().to_vec()),
        };
        bytes.ok_or_else(|| match self {
            Self::Rgb => "a colour such as \"#00ff7f\"".to_owned(),
            Self::Rgba => "a colour such as \"#00ff7fff\"".to_owned(),
            Self::Float32 | Self::Float64 => "a number".to_owned(),
            _ => format!("a whole number in the range of {}", self.name()),
        })
    }

    /// Whether its values are whole numbers.
    pub fn is_whole_number(self) -> bool {
        !self.is_float() && self.components() == 1
    }

    /// Whether its values are floating-point numbers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float32 | Self::Float64)
    }

    /// Bytes of a value.
    pub fn value_bytes(self) -> usize {
        self.components() * self.component_bytes()
    }
}

/// Parses a whole number from `min` to `max` to as many bytes as `max` has. Tables also contain numbers such as `7.0`.
fn whole<T>(text: &str, min: impl Into<i64>, max: T) -> Option<Vec<u8>>
where
    T: Into<i64>,
{
    let value: i64 = text.parse().ok().or_else(|| {
        let value: f64 = text.parse().ok()?;
        (value.fract() == 0.0 && value.abs() < 1e15).then_some(value as i64)
    })?;
    let fits = (min.into()..=max.into()).contains(&value);
    fits.then(|| value.to_le_bytes()[..size_of::<T>()].to_vec())
}

/// Parses a whole number of 64 bits, such as `7` or `7.0`, never as a float.
fn exact<T: std::str::FromStr>(text: &str, bytes: fn(T) -> [u8; 8]) -> Option<Vec<u8>> {
    let digits = match text.split_once('.') {
        Some((digits, zeros)) if zeros.bytes().all(|b| b == b'0') => digits,
        _ => text,
    };
    digits.parse().ok().map(|v| bytes(v).to_vec())
}

fn colour(text: &str, components: usize) -> Option<Vec<u8>> {
    let digits = text.strip_prefix('#')?;
    let fits = digits.len() == 2 * components && digits.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then(|| {
        digits
            .as_bytes()
            .chunks(2)
            .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_parsed_within_their_range() {
        use PropertyKind::*;
        assert_eq!(Int16.parse(" -2 "), Ok(vec![0xfe, 0xff]));
        assert_eq!(Uint32.parse("4294967295.0"), Ok(vec![0xff; 4]));
        assert_eq!(Float32.parse("1e-3"), Ok(1e-3f32.to_le_bytes().to_vec()));
        assert_eq!(Rgba.parse("#01020aFF"), Ok(vec![1, 2, 10, 255]));
        assert!(Float32.parse("").is_ok() && Float64.parse("").is_ok());
        let id = 18_446_744_073_709_551_615u64;
        assert_eq!(
            Uint64.parse("18446744073709551615.0"),
            Ok(id.to_le_bytes().to_vec())
        );
        assert_eq!(
            Int64.parse("-9007199254740993"),
            Ok((-9_007_199_254_740_993i64).to_le_bytes().to_vec())
        );
        assert_eq!(Float64.parse("0.1"), Ok(0.1f64.to_le_bytes().to_vec()));
        for (kind, text) in [
            (Uint8, "256"),
            (Uint8, "-1"),
            (Int8, "1.5"),
            (Uint16, ""),
            (Rgb, "#01020"),
            (Rgb, "#é0000"),
            (Rgb, "red"),
            (Float32, "high"),
            (Int32, "1e300"),
            (Uint64, "18446744073709551616"),
            (Uint64, "1.5"),
            (Uint64, "-1"),
            (Int64, "1e3"),
        ] {
            assert!(kind.parse(text).is_err(), "{} {text}", kind.name());
        }
        let e = Uint8.parse("256").unwrap_err();
        assert!(e.contains("uint8"), "{e}");
    }

    #[test]
    fn type_names_ignore_case() {
        assert_eq!(
            PropertyKind::from_name("UINT16"),
            Some(PropertyKind::Uint16)
        );
        assert_eq!(PropertyKind::from_name("float64"), None);
    }
}
