//! The properties of annotations, and their offsets in a record.
//!
//! The order in a record differs from the declared order: first all properties of 8-byte numbers (in tables only), then of 4-byte
//! numbers, then 2-byte numbers, then single bytes, including colours. Within each group the order is the declared one, without padding.

use serde::{Deserialize, Serialize};

use super::error::PointsError;
use super::property_kind::PropertyKind;
use super::property_number::PropertyNumber;

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
}
