//! The properties of annotations: their types, and their offsets in a record.
//!
//! The order in a record differs from the declared order: first all properties of 8-byte numbers (in tables only), then of 4-byte
//! numbers, then 2-byte numbers, then single bytes, including colours. Within each group the order is the declared one, without padding.

use super::error::PointsError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::property_number::PropertyNumber;

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
    fn from_name(name: &str) -> Option<Self> {
        Self::OF_NEUROGLANCER
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The names of Neuroglancer's types, for messages.
    fn names() -> String {
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
    fn parse(self, text: &str) -> Result<Vec<u8>, String> {
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

/// A property of every annotation of a layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PropertySpec {
    /// Its name in the layer.
    pub id: String,
    /// Its type.
    pub kind: PropertyKind,
    /// Its meaning.
    pub description: Option<String>,
    /// Values with labels; often empty.
    pub enum_values: Vec<f64>,
    /// The labels, in the same order.
    pub enum_labels: Vec<String>,
    /// Offset of the value in [`Annotation::properties`](super::Annotation::properties).
    #[serde(skip)]
    offset: usize,
}

/// A property as an info or a viewer state declares it.
#[derive(Deserialize)]
pub(super) struct RawProperty {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    description: Option<String>,
    #[serde(default)]
    enum_values: Vec<f64>,
    #[serde(default)]
    enum_labels: Vec<String>,
}

/// Why a declared property is invalid.
pub(super) struct InvalidProperty {
    /// The name of the wrong member.
    pub(super) member: &'static str,
    pub(super) found: String,
    pub(super) expected: String,
}

impl RawProperty {
    /// Checks the property, which is declared after `earlier`.
    pub(super) fn check(self, earlier: &[PropertySpec]) -> Result<PropertySpec, InvalidProperty> {
        let invalid = |member, found, expected: &str| InvalidProperty {
            member,
            found,
            expected: expected.to_owned(),
        };
        if let Some(expected) = PropertySpec::wrong_id(&self.id) {
            return Err(invalid("id", format!("{:?}", self.id), expected));
        }
        if earlier.iter().any(|other| other.id == self.id) {
            let found = format!("{:?} for the second time", self.id);
            return Err(invalid("id", found, "each id once"));
        }
        let kind = PropertyKind::from_name(&self.kind)
            .ok_or_else(|| invalid("type", format!("{:?}", self.kind), &PropertyKind::names()))?;
        Ok(PropertySpec {
            id: self.id,
            kind,
            description: self.description,
            enum_values: self.enum_values,
            enum_labels: self.enum_labels,
            offset: 0,
        })
    }
}

impl PropertySpec {
    /// A property for tests in other modules.
    #[cfg(test)]
    pub(crate) fn for_test(id: &str, kind: PropertyKind) -> Self {
        Self::new(id.to_owned(), kind)
    }

    /// The property for a column of its values: without an offset in records.
    pub(crate) fn of_column(self) -> Self {
        Self { offset: 0, ..self }
    }

    /// A property that the program computes.
    pub(super) fn computed(id: String, kind: PropertyKind, description: String) -> Self {
        Self {
            description: Some(description),
            ..Self::new(id, kind)
        }
    }

    /// A property that the program computes: the position of a label.
    pub(super) fn labeled(id: String, kind: PropertyKind, labels: Vec<String>) -> Self {
        Self {
            enum_values: (0..labels.len()).map(|i| i as f64).collect(),
            enum_labels: labels,
            ..Self::new(id, kind)
        }
    }

    /// Whether both have the same name, type and labels.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let labels = |p: &Self| (p.enum_values.clone(), p.enum_labels.clone());
        self.id == other.id && self.kind == other.kind && labels(self) == labels(other)
    }

    /// Adds a `uint8` property as the last one of `properties`; its value is the last byte of a record.
    ///
    /// # Errors
    /// There is a property with this name.
    pub(crate) fn push_flag(
        properties: &mut Vec<Self>,
        id: &'static str,
        description: &str,
    ) -> Result<(), PointsError> {
        if properties.iter().any(|p| p.id == id) {
            let by = "points.negatives";
            return Err(PointsError::PropertyTaken { id, by });
        }
        let flag = Self::computed(id.to_owned(), PropertyKind::Uint8, description.to_owned());
        let offset = record_bytes(properties);
        properties.push(Self { offset, ..flag });
        Ok(())
    }

    /// The bytes of a record of all properties.
    pub(crate) fn record_bytes(properties: &[Self]) -> usize {
        record_bytes(properties)
    }

    /// Writes the first bytes of `value` to the place of the property in `record`.
    pub(super) fn write_bytes(&self, value: &[u8], record: &mut [u8]) {
        let bytes = self.kind.value_bytes();
        let place = record.get_mut(self.offset..self.offset + bytes);
        if let (Some(place), Some(value)) = (place, value.get(..bytes)) {
            place.copy_from_slice(value);
        }
    }

    /// The property in a column of a table. The error says why the column cannot be one.
    pub(super) fn of_table(name: &str, kind: PropertyKind) -> Result<Self, String> {
        match Self::wrong_id(name) {
            None => Ok(Self::new(name.to_owned(), kind)),
            Some(expected) => Err(format!(
                "the column {name:?} cannot be a property; expected {expected}"
            )),
        }
    }

    /// A property without an offset, which [`lay_out`] sets.
    pub(super) fn new(id: String, kind: PropertyKind) -> Self {
        Self {
            id,
            kind,
            description: None,
            enum_values: Vec::new(),
            enum_labels: Vec::new(),
            offset: 0,
        }
    }

    /// What is expected of a property's id if `id` is invalid. The id becomes the name of an array in the output.
    pub(crate) fn wrong_id(id: &str) -> Option<&'static str> {
        let forbidden = |c: char| c.is_control() || c == '/' || c == '\\';
        (id.is_empty() || id.starts_with('.') || id.contains(forbidden))
            .then_some("a letter, then letters, digits and `_`")
    }

    /// Parses `text` and writes the value to `record`. The error is what was expected.
    pub(super) fn write(&self, text: &str, record: &mut [u8]) -> Result<(), String> {
        let bytes = self.kind.parse(text)?;
        let target = record.get_mut(self.offset..self.offset + bytes.len());
        target
            .map(|target| target.copy_from_slice(&bytes))
            .ok_or_else(|| "a longer record".to_owned())
    }

    /// The value in `record` as a whole number; `None` if the type is another one.
    pub(crate) fn whole_number(&self, record: &[u8]) -> Option<i128> {
        match self.number(record)? {
            PropertyNumber::Whole(value) => Some(value),
            PropertyNumber::Float(_) => None,
        }
    }

    /// The value in `record` as a number; `None` for colours.
    pub(crate) fn number(&self, record: &[u8]) -> Option<PropertyNumber> {
        fn value<const N: usize, T: Into<i128>>(
            bytes: &[u8],
            parse: fn([u8; N]) -> T,
        ) -> Option<PropertyNumber> {
            let bytes = bytes.try_into().ok()?;
            Some(PropertyNumber::Whole(parse(bytes).into()))
        }
        let bytes = self.bytes(record);
        match self.kind {
            PropertyKind::Rgb | PropertyKind::Rgba => None,
            PropertyKind::Uint8 => value(bytes, u8::from_le_bytes),
            PropertyKind::Int8 => value(bytes, i8::from_le_bytes),
            PropertyKind::Uint16 => value(bytes, u16::from_le_bytes),
            PropertyKind::Int16 => value(bytes, i16::from_le_bytes),
            PropertyKind::Uint32 => value(bytes, u32::from_le_bytes),
            PropertyKind::Int32 => value(bytes, i32::from_le_bytes),
            PropertyKind::Uint64 => value(bytes, u64::from_le_bytes),
            PropertyKind::Int64 => value(bytes, i64::from_le_bytes),
            PropertyKind::Float32 => {
                let value = f32::from_le_bytes(bytes.try_into().ok()?);
                Some(PropertyNumber::Float(value.into()))
            }
            PropertyKind::Float64 => {
                let value = f64::from_le_bytes(bytes.try_into().ok()?);
                Some(PropertyNumber::Float(value))
            }
        }
    }

    /// The little-endian bytes of the value in `record`, the [`properties`](super::Annotation::properties) of an
    /// annotation of the same layer.
    pub fn bytes<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        record
            .get(self.offset..self.offset + self.kind.value_bytes())
            .unwrap_or_default()
    }
}

/// Sets the offset of every property. Returns the bytes of all properties without padding.
pub(super) fn lay_out(properties: &mut [PropertySpec]) -> usize {
    let mut offset = 0;
    for group in [8, 4, 2, 1] {
        for property in properties.iter_mut() {
            if property.kind.component_bytes() == group {
                property.offset = offset;
                offset += property.kind.value_bytes();
            }
        }
    }
    offset
}

/// The bytes of all properties without padding.
pub(super) fn record_bytes(properties: &[PropertySpec]) -> usize {
    properties.iter().map(|p| p.kind.value_bytes()).sum()
}

/// The names and types of all properties.
pub(super) fn describe_all(properties: &[PropertySpec]) -> String {
    let of_one = |p: &PropertySpec| format!("{} ({})", p.id, p.kind.name());
    if properties.is_empty() {
        return "none".to_owned();
    }
    let texts: Vec<String> = properties.iter().map(of_one).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_stored_by_size_and_then_in_declared_order() {
        use PropertyKind::*;
        let declared = [
            Uint8, Float32, Rgb, Int16, Rgba, Uint32, Uint16, Int8, Int32,
        ];
        let mut properties: Vec<_> = (0..)
            .zip(declared)
            .map(|(i, kind)| PropertySpec::new(format!("p{i}"), kind))
            .collect();
        assert_eq!(lay_out(&mut properties), 3 * 4 + 2 * 2 + 1 + 3 + 4 + 1);
        let offsets: Vec<_> = properties.iter().map(|p| p.offset).collect();
        assert_eq!(offsets, [16, 0, 17, 12, 20, 4, 14, 24, 8]);
        let record: Vec<u8> = (0..25).collect();
        assert_eq!(properties[2].bytes(&record), [17, 18, 19]);
        assert_eq!(properties[5].bytes(&record), [4, 5, 6, 7]);
    }

    #[test]
    fn a_record_of_another_layer_has_no_bytes_and_does_not_panic() {
        let property = PropertySpec::new("p".to_owned(), PropertyKind::Uint32);
        assert!(property.bytes(&[1, 2]).is_empty());
    }

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
