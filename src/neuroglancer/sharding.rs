//! The `sharding` member of an info file: which shard and minishard contain a chunk.

use serde_json::Value;

use super::JsonInteger;
use super::murmur::murmurhash3_x86_128;
use crate::storage::Compression;

const TYPE: &str = "neuroglancer_uint64_sharded_v1";

/// Bytes per minishard in the shard index.
pub(super) const ENTRY_BYTES: u64 = 16;

/// A checked sharding specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardingSpec {
    preshift_bits: u32,
    hash: Hash,
    minishard_bits: u32,
    shard_bits: u32,
    /// Compression of the minishard indexes.
    pub(super) index_encoding: Compression,
    /// Compression of the chunks.
    pub(super) data_encoding: Compression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Identity,
    Murmur,
}

/// The shard and minishard of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ShardPosition {
    pub(super) shard: u64,
    pub(super) minishard: u64,
}

/// An invalid `sharding` member.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrongSharding {
    /// The member of `sharding`.
    pub(crate) field: &'static str,
    pub(crate) found: String,
    pub(crate) expected: String,
}

impl ShardingSpec {
    /// Parses the `sharding` member of an info file.
    pub(crate) fn parse(value: &Value) -> Result<Self, WrongSharding> {
        let one_of = |field, choices: &[&'static str]| match value.get(field) {
            Some(Value::String(found)) if choices.contains(&found.as_str()) => Ok(found.as_str()),
            found => Err(WrongSharding {
                field,
                found: found.map_or("missing".to_owned(), Value::to_string),
                expected: choices.join(" or "),
            }),
        };
        let bits = |field, most: u32| match value.get(field).and_then(JsonInteger::from_value) {
            Some(bits) if (0..=i64::from(most)).contains(&bits) => Ok(bits as u32),
            _ => Err(WrongSharding {
                field,
                found: value
                    .get(field)
                    .map_or("missing".to_owned(), Value::to_string),
                expected: format!("a whole number from 0 to {most}"),
            }),
        };
        let encoding = |field| match value.get(field) {
            None | Some(Value::Null) => Ok(Compression::None),
            Some(_) => one_of(field, &["raw", "gzip"]).map(|name| match name {
                "gzip" => Compression::Gzip,
                _ => Compression::None,
            }),
        };
        one_of("@type", &[TYPE])?;
        // With more minishards, the size of the shard index would exceed 64 bits.
        let minishard_bits = bits("minishard_bits", 59)?;
        Ok(Self {
            preshift_bits: bits("preshift_bits", 64)?,
            hash: match one_of("hash", &["identity", "murmurhash3_x86_128"])? {
                "identity" => Hash::Identity,
                _ => Hash::Murmur,
            },
            minishard_bits,
            shard_bits: bits("shard_bits", 64 - minishard_bits)?,
            index_encoding: encoding("minishard_index_encoding")?,
            data_encoding: encoding("data_encoding")?,
        })
    }

    /// The shard and minishard of chunk `id`.
    pub(super) fn locate(&self, id: u64) -> ShardPosition {
        let hashed = match (self.hash, shift_right(id, self.preshift_bits)) {
            (Hash::Identity, shifted) => shifted,
            (Hash::Murmur, shifted) => murmurhash3_x86_128(shifted),
        };
        ShardPosition {
            shard: low_bits(shift_right(hashed, self.minishard_bits), self.shard_bits),
            minishard: low_bits(hashed, self.minishard_bits),
        }
    }

    /// The name of a shard's files, without suffix.
    pub(super) fn file_stem(&self, shard: u64) -> String {
        let digits = self.shard_bits.div_ceil(4) as usize;
        format!("{shard:0digits$x}")
    }

    /// Number of minishards per shard.
    pub(super) fn minishards(&self) -> u64 {
        1 << self.minishard_bits
    }

    /// Bytes of the shard index.
    pub(super) fn index_bytes(&self) -> u64 {
        ENTRY_BYTES << self.minishard_bits
    }
}

/// `value >> bits`, also for shifts by 64.
fn shift_right(value: u64, bits: u32) -> u64 {
    value.checked_shr(bits).unwrap_or(0)
}

/// The lowest `bits` bits of `value`, up to all 64.
fn low_bits(value: u64, bits: u32) -> u64 {
    match bits {
        0 => 0,
        _ => value & (u64::MAX >> (64 - bits)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(preshift: u32, hash: &str, minishard: u32, shard: u32) -> ShardingSpec {
        ShardingSpec::parse(&json!({
            "@type": TYPE, "preshift_bits": preshift, "hash": hash,
            "minishard_bits": minishard, "shard_bits": shard,
        }))
        .unwrap()
    }

    fn place(shard: u64, minishard: u64) -> ShardPosition {
        ShardPosition { shard, minishard }
    }

    #[test]
    fn the_low_bits_of_the_shifted_id_select_the_minishard_and_the_next_bits_the_shard() {
        let s = spec(2, "identity", 3, 4);
        assert_eq!(
            s.locate(0b1_1011 << 5 | 0b101 << 2 | 0b11),
            place(0b1011, 0b101)
        );
        let s = spec(0, "murmurhash3_x86_128", 4, 8);
        // The hash of 1 is 0xe8bd67d616d4ce9a.
        assert_eq!(s.locate(1), place(0xe9, 0xa));
    }

    #[test]
    fn shifts_by_64_bits_do_not_overflow() {
        assert_eq!(spec(64, "identity", 8, 8).locate(u64::MAX), place(0, 0));
        assert_eq!(
            spec(0, "identity", 0, 64).locate(u64::MAX),
            place(u64::MAX, 0)
        );
        assert_eq!(spec(0, "identity", 0, 0).locate(u64::MAX), place(0, 0));
        let s = spec(0, "identity", 59, 5);
        assert_eq!(s.locate(u64::MAX), place(31, (1 << 59) - 1));
        assert_eq!(s.index_bytes(), 1 << 63);
    }

    #[test]
    fn names_of_shard_files_are_padded_lower_case_hex() {
        assert_eq!(spec(0, "identity", 0, 0).file_stem(0), "0");
        assert_eq!(spec(0, "identity", 0, 1).file_stem(1), "1");
        assert_eq!(spec(0, "identity", 0, 4).file_stem(0xf), "f");
        assert_eq!(spec(0, "identity", 0, 5).file_stem(0xb), "0b");
        assert_eq!(spec(0, "identity", 0, 16).file_stem(0xab), "00ab");
        assert_eq!(
            spec(0, "identity", 0, 64).file_stem(u64::MAX),
            "f".repeat(16)
        );
    }

    #[test]
    fn index_and_data_encodings_are_independent_and_raw_by_default() {
        let mut value = json!({
            "@type": TYPE, "preshift_bits": 0, "hash": "identity", "minishard_bits": 1, "shard_bits": 1,
            "data_encoding": "gzip",
        });
        let s = ShardingSpec::parse(&value).unwrap();
        assert_eq!(
            (s.index_encoding, s.data_encoding),
            (Compression::None, Compression::Gzip)
        );
        value["minishard_index_encoding"] = json!("gzip");
        value["data_encoding"] = json!("raw");
        let s = ShardingSpec::parse(&value).unwrap();
        assert_eq!(
            (s.index_encoding, s.data_encoding),
            (Compression::Gzip, Compression::None)
        );
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let value = json!({
            "@type": TYPE, "preshift_bits": 2.0, "hash": "identity", "minishard_bits": 3.0, "shard_bits": 4.0,
        });
        assert_eq!(ShardingSpec::parse(&value), Ok(spec(2, "identity", 3, 4)));
    }

    #[test]
    fn an_invalid_member_is_an_error_with_the_allowed_values() {
        let good = json!({
            "@type": TYPE, "preshift_bits": 0, "hash": "identity", "minishard_bits": 1, "shard_bits": 1,
        });
        for (field, value) in [
            ("@type", json!("neuroglancer_uint64_sharded_v2")),
            ("hash", json!("sha256")),
            ("hash", json!(null)),
            ("preshift_bits", json!(65)),
            ("preshift_bits", json!(-1)),
            ("minishard_bits", json!(60)),
            ("minishard_bits", json!("1")),
            ("shard_bits", json!(64)),
            ("shard_bits", json!(1.5)),
            ("data_encoding", json!("zstd")),
            ("minishard_index_encoding", json!(7)),
        ] {
            let mut wrong = good.clone();
            wrong[field] = value.clone();
            let e = ShardingSpec::parse(&wrong).unwrap_err();
            assert_eq!((e.field, e.found), (field, value.to_string()));
        }
        for not_an_object in [json!(null), json!("x"), json!([])] {
            assert_eq!(
                ShardingSpec::parse(&not_an_object).unwrap_err().field,
                "@type"
            );
        }
    }
}
