//! The types of values in a file.

use hdf5_reader::{ByteOrder, Datatype};

use crate::data_type::DataType;

/// The type of a dataset's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredType {
    pub data_type: DataType,
    /// Whether the most significant byte is stored first.
    pub is_big_endian: bool,
}

impl StoredType {
    /// The type `stored`, if its values are numbers. An enumeration has the type of its values. That of h5py's `bool` is int8;
    /// it is read as uint8, as `bool` of other formats is.
    pub fn of(stored: &Datatype) -> Option<Self> {
        let (data_type, byte_order) = match stored {
            Datatype::FixedPoint {
                size,
                signed,
                byte_order,
            } => (whole_number(*size, *signed)?, byte_order),
            Datatype::FloatingPoint { size, byte_order } => {
                let data_type = match size {
                    4 => DataType::Float32,
                    8 => DataType::Float64,
                    _ => return None,
                };
                (data_type, byte_order)
            }
            Datatype::Enum { base, .. } => {
                let of_base = Self::of(base)?;
                let data_type = if is_bool(stored) {
                    DataType::UInt8
                } else {
                    of_base.data_type
                };
                return Some(Self {
                    data_type,
                    ..of_base
                });
            }
            _ => return None,
        };
        Some(Self {
            data_type,
            is_big_endian: *byte_order == ByteOrder::BigEndian,
        })
    }
}

/// Whether a type is h5py's `bool`: an enumeration of one byte with the members `FALSE` and `TRUE`.
pub(super) fn is_bool(stored: &Datatype) -> bool {
    let Datatype::Enum { base, members } = stored else {
        return false;
    };
    let is = |i: usize, name: &str, value: u8| {
        let member = members.get(i);
        member.is_some_and(|member| member.name == name && member.value == [value])
    };
    let in_any_order =
        is(0, "FALSE", 0) && is(1, "TRUE", 1) || is(0, "TRUE", 1) && is(1, "FALSE", 0);
    matches!(**base, Datatype::FixedPoint { size: 1, .. }) && members.len() == 2 && in_any_order
}

/// The name of a type for messages.
pub(super) fn describe_type(found: &Datatype) -> String {
    match found {
        Datatype::FixedPoint { size, .. } => format!("integer of {size} bytes"),
        Datatype::FloatingPoint { size, .. } => format!("float of {size} bytes"),
        Datatype::String { .. } | Datatype::VarLen { .. } => "text or lists".to_owned(),
        Datatype::Compound { .. } => "compound".to_owned(),
        Datatype::Array { .. } => "array".to_owned(),
        Datatype::Enum { .. } => "enumeration".to_owned(),
        Datatype::Opaque { .. } => "opaque".to_owned(),
        Datatype::Reference { .. } => "reference".to_owned(),
        Datatype::Bitfield { .. } => "bit field".to_owned(),
    }
}

/// The type of whole numbers of `size` bytes.
fn whole_number(size: u8, signed: bool) -> Option<DataType> {
    Some(match (size, signed) {
        (1, false) => DataType::UInt8,
        (2, false) => DataType::UInt16,
        (4, false) => DataType::UInt32,
        (8, false) => DataType::UInt64,
        (1, true) => DataType::Int8,
        (2, true) => DataType::Int16,
        (4, true) => DataType::Int32,
        (8, true) => DataType::Int64,
        _ => return None,
    })
}

/// Checks the encoding of a type: the numbers of `size` bytes must use all their bits in the usual way. `encoding` is the
/// datatype message. The error is a description for the user.
pub(super) fn check_encoding(encoding: &[u8]) -> Result<(), String> {
    const FIXED_POINT: u8 = 0;
    const FLOATING_POINT: u8 = 1;
    const ENUMERATION: u8 = 8;
    let word = |at: usize| -> Option<u16> {
        let bytes = encoding.get(at..at + 2)?;
        Some(u16::from_le_bytes(bytes.try_into().ok()?))
    };
    let class = encoding.first().map(|b| b & 0x0f);
    let size = encoding
        .get(4..8)
        .and_then(|b| Some(u32::from_le_bytes(b.try_into().ok()?)));
    let (Some(class), Some(size)) = (class, size) else {
        return Err("its datatype is truncated".to_owned());
    };
    if class == ENUMERATION {
        // The type of its values comes first.
        return check_encoding(&encoding[8..]);
    }
    let bits = u64::from(size) * 8;
    if matches!(class, FIXED_POINT | FLOATING_POINT) {
        let (offset, precision) = (word(8), word(10));
        if offset != Some(0) || precision.map(u64::from) != Some(bits) {
            return Err(format!(
                "its values use {} of {bits} bits, expected all of them: convert it to a standard type",
                precision.unwrap_or_default()
            ));
        }
    }
    if class == FLOATING_POINT {
        // Position and size of the exponent, those of the mantissa, and the bias.
        let found = encoding.get(12..20);
        let ieee: [u8; 8] = match size {
            4 => [23, 8, 0, 23, 127, 0, 0, 0],
            _ => [52, 11, 0, 52, 0xff, 3, 0, 0],
        };
        let is_vax = encoding.get(1).is_some_and(|flags| flags & 0x40 != 0);
        if found != Some(&ieee[..]) || is_vax {
            return Err("its floating-point values are not those of IEEE 754: convert it to a standard type".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hdf5_reader::datatype_api::EnumMember;

    use super::*;

    /// The datatype message of little-endian numbers.
    fn encoding(class: u8, size: u8, properties: &[u8]) -> Vec<u8> {
        [&[0x10 | class, 0, 0, 0, size, 0, 0, 0], properties].concat()
    }

    #[test]
    fn numbers_must_use_all_their_bits_in_the_usual_way() {
        let whole = |offset, precision| encoding(0, 2, &[offset, 0, precision, 0]);
        assert_eq!(check_encoding(&whole(0, 16)), Ok(()));
        assert!(
            check_encoding(&whole(0, 12))
                .unwrap_err()
                .contains("12 of 16 bits")
        );
        assert!(check_encoding(&whole(4, 12)).is_err());
        let float = |bias| encoding(1, 4, &[0, 0, 32, 0, 23, 8, 0, 23, bias, 0, 0, 0]);
        assert_eq!(check_encoding(&float(127)), Ok(()));
        assert!(check_encoding(&float(126)).unwrap_err().contains("IEEE"));
        let double = encoding(1, 8, &[0, 0, 64, 0, 52, 11, 0, 52, 0xff, 3, 0, 0]);
        assert_eq!(check_encoding(&double), Ok(()));
        for length in 0..double.len() {
            assert!(check_encoding(&double[..length]).is_err());
        }
        let of_values = |precision| encoding(8, 2, &whole(0, precision));
        assert_eq!(check_encoding(&of_values(16)), Ok(()));
        assert!(check_encoding(&of_values(12)).is_err());
    }

    #[test]
    fn only_the_enumeration_of_h5py_is_a_bool() {
        let of = |size, members: &[(&str, &[u8])]| {
            let members = members.iter().map(|(name, value)| EnumMember {
                name: (*name).to_owned(),
                value: value.to_vec(),
            });
            let base = Datatype::FixedPoint {
                size,
                signed: true,
                byte_order: ByteOrder::LittleEndian,
            };
            let members = members.collect();
            StoredType::of(&Datatype::Enum {
                base: base.into(),
                members,
            })
            .unwrap()
            .data_type
        };
        assert_eq!(of(1, &[("FALSE", &[0]), ("TRUE", &[1])]), DataType::UInt8);
        assert_eq!(of(1, &[("FALSE", &[1]), ("TRUE", &[0])]), DataType::Int8);
        assert_eq!(of(1, &[("A", &[0]), ("B", &[1])]), DataType::Int8);
        assert_eq!(
            of(1, &[("FALSE", &[0]), ("TRUE", &[1]), ("C", &[255])]),
            DataType::Int8
        );
        assert_eq!(
            of(2, &[("FALSE", &[0, 0]), ("TRUE", &[1, 0])]),
            DataType::Int16
        );
    }
}
