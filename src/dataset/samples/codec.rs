//! Which codecs an array's inner chunks have, by its metadata.

use serde_json::{Value, json};
use zarrs::metadata::v3::MetadataV3;

use crate::data_type::DataType;
use crate::geometry::AxisOrder;

/// How an inner chunk is decoded to values `[channel, z, y, x]`, little-endian.
///
/// A new codec of the writer needs a variant here, a case in [`InnerCodec::of`], and an arm in `SampleReader::read_into`.
/// Without them zarrs decodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InnerCodec {
    /// `bytes` (little-endian), `zstd`, `crc32c`.
    Zstd,
    /// `bytes` (little-endian), `crc32c`.
    None,
    /// Any other: zarrs decodes it, to the array's axis order.
    Other,
}

impl InnerCodec {
    pub(super) fn of(codecs: &[MetadataV3], data_type: DataType, order: AxisOrder) -> Self {
        // After the codec `transpose`, values are stored as `[channel, z, y, x]`.
        let stored = match (order, codecs) {
            (AxisOrder::Czyx, codecs) => codecs,
            (AxisOrder::Cxyz, [first, rest @ ..]) if is_xyz_transpose(first) => rest,
            (AxisOrder::Cxyz, _) => return Self::Other,
        };
        let [bytes, rest @ ..] = stored else {
            return Self::Other;
        };
        let names: Vec<_> = rest.iter().map(|c| c.name()).collect();
        match names.as_slice() {
            _ if !is_little_endian(bytes, data_type) => Self::Other,
            ["zstd", "crc32c"] => Self::Zstd,
            ["crc32c"] => Self::None,
            _ => Self::Other,
        }
    }
}

fn is_xyz_transpose(codec: &MetadataV3) -> bool {
    codec.name() == "transpose" && option(codec, "order") == Some(&json!([0, 1, 4, 3, 2]))
}

fn is_little_endian(codec: &MetadataV3, data_type: DataType) -> bool {
    let little = match option(codec, "endian") {
        Some(endian) => endian == "little",
        None => data_type.size_bytes() == 1,
    };
    codec.name() == "bytes" && little
}

fn option<'c>(codec: &'c MetadataV3, name: &str) -> Option<&'c Value> {
    codec.configuration()?.get(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(codecs: Value, order: AxisOrder) -> InnerCodec {
        let codecs: Vec<MetadataV3> = serde_json::from_value(codecs).unwrap();
        InnerCodec::of(&codecs, DataType::UInt16, order)
    }

    #[test]
    fn only_codecs_in_the_order_of_the_writer_are_known() {
        let bytes = json!({"name": "bytes", "configuration": {"endian": "little"}});
        let big = json!({"name": "bytes", "configuration": {"endian": "big"}});
        let zstd = json!({"name": "zstd", "configuration": {"level": 1, "checksum": false}});
        let crc = json!({"name": "crc32c"});
        let turn = |order: Value| json!({"name": "transpose", "configuration": {"order": order}});
        let ours = turn(json!([0, 1, 4, 3, 2]));
        let (czyx, cxyz) = (AxisOrder::Czyx, AxisOrder::Cxyz);
        assert_eq!(of(json!([bytes, zstd, crc]), czyx), InnerCodec::Zstd);
        assert_eq!(of(json!([ours, bytes, zstd, crc]), cxyz), InnerCodec::Zstd);
        assert_eq!(of(json!([bytes, crc]), czyx), InnerCodec::None);
        assert_eq!(of(json!([ours, bytes, crc]), cxyz), InnerCodec::None);
        let other = turn(json!([0, 1, 2, 4, 3]));
        for (codecs, order) in [
            (json!([]), czyx),
            (json!([bytes]), czyx),
            (json!([bytes, zstd]), czyx),
            (json!([bytes, crc, zstd]), czyx),
            (json!([big, zstd, crc]), czyx),
            (json!([{"name": "bytes"}, zstd, crc]), czyx),
            (json!([big, crc]), czyx),
            (json!([crc]), czyx),
            (json!([ours, bytes, crc]), czyx),
            (json!([bytes, crc]), cxyz),
            (
                json!([bytes, {"name": "gzip", "configuration": {"level": 1}}, crc]),
                czyx,
            ),
            (json!([ours, bytes, zstd, crc]), czyx),
            (json!([bytes, zstd, crc]), cxyz),
            (json!([other, bytes, zstd, crc]), cxyz),
        ] {
            assert_eq!(of(codecs.clone(), order), InnerCodec::Other, "{codecs}");
        }
    }
}
