//! The properties of annotations: their types, and where each lies in a record.
//!
//! On disk the order is not the declared one: first all properties of 4-byte numbers, then those of 2-byte
//! numbers, then those of single bytes, colours among them; within each group as declared, with nothing between.

use serde::Serialize;

/// The type of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it all")]
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
}

impl PropertyKind {
    const ALL: [Self; 9] = [
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

    /// The name that it has in an info.
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
        }
    }

    /// The type of that name, in any case.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// The names of all types, for messages.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Numbers that a value consists of: 3 or 4 for colours, otherwise 1.
    pub fn components(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Rgba => 4,
            _ => 1,
        }
    }

    /// Bytes of each of these numbers; they are little-endian.
    pub fn component_bytes(self) -> usize {
        match self {
            Self::Rgb | Self::Rgba | Self::Uint8 | Self::Int8 => 1,
            Self::Uint16 | Self::Int16 => 2,
            Self::Uint32 | Self::Int32 | Self::Float32 => 4,
        }
    }

    /// Bytes of a value.
    pub fn value_bytes(self) -> usize {
        self.components() * self.component_bytes()
    }
}

/// A property that every annotation of a layer has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PropertySpec {
    /// Its name in the layer.
    pub id: String,
    /// Its type.
    pub kind: PropertyKind,
    /// What it means.
    pub description: Option<String>,
    /// Values that have names; empty if none.
    pub enum_values: Vec<f64>,
    /// Their names, in the same order.
    pub enum_labels: Vec<String>,
    /// First byte of the value in [`Annotation::properties`](super::Annotation::properties).
    #[serde(skip)]
    offset: usize,
}

impl PropertySpec {
    /// A property for tests outside of this room.
    #[cfg(test)]
    pub(crate) fn for_test(id: &str, kind: PropertyKind) -> Self {
        Self::new(id.to_owned(), kind)
    }

    /// The property at its declared place; [`lay_out`] says where its value lies.
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

    /// The value's bytes in `record`, the [`properties`](super::Annotation::properties) of an annotation of
    /// the same layer; little-endian.
    pub fn bytes<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        record
            .get(self.offset..self.offset + self.kind.value_bytes())
            .unwrap_or_default()
    }
}

/// Gives every property its place in the record and returns the bytes of all, padding not included.
pub(super) fn lay_out(properties: &mut [PropertySpec]) -> usize {
    let mut offset = 0;
    for group in [4, 2, 1] {
        for property in properties.iter_mut() {
            if property.kind.component_bytes() == group {
                property.offset = offset;
                offset += property.kind.value_bytes();
            }
        }
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_lie_on_disk_by_size_and_then_as_declared() {
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
    fn a_record_of_another_layer_gives_no_bytes_and_no_panic() {
        let property = PropertySpec::new("p".to_owned(), PropertyKind::Uint32);
        assert!(property.bytes(&[1, 2]).is_empty());
    }

    #[test]
    fn types_are_read_in_any_case() {
        assert_eq!(
            PropertyKind::from_name("UINT16"),
            Some(PropertyKind::Uint16)
        );
        assert_eq!(PropertyKind::from_name("float64"), None);
    }
}
