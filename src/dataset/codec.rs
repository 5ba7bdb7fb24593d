//! How samples are compressed: the codec in the manifest, and the same codec in Zarr.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zarrs::array::codec::{
    BloscCodec, BloscCompressionLevel, BloscCompressor, BloscShuffleMode, Crc32cCodec, ZstdCodec,
};
use zarrs::array::{BytesToBytesCodecTraits, CodecMetadataOptions};
use zarrs::metadata::v3::MetadataV3;

use super::DatasetError;
use super::metadata::zarr_error;
use crate::config::{CodecConfig, Shuffle};

/// Default level of zstd. Higher levels take more time than they save.
pub(super) const ZSTD_LEVEL: i32 = 1;

/// How the samples of an array are compressed. Each of these is followed by `crc32c`. Names and options are those of the Zarr
/// codecs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Codec {
    /// Not compressed.
    None,
    /// By the Zarr codec `zstd`.
    Zstd {
        /// Compression level, from 1 to 19.
        level: i32,
    },
    /// By the Zarr codec `blosc`.
    Blosc {
        /// The compressor inside of the frame.
        cname: BloscName,
        /// Compression level, from 1 to 9.
        clevel: u8,
        /// How values are shuffled before.
        shuffle: BloscShuffle,
    },
}

/// The compressor inside of a Blosc frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum BloscName {
    Lz4,
    Zstd,
}

impl BloscName {
    /// Its name in metadata and summary.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// How Blosc shuffles values before it compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BloscShuffle {
    /// Not at all.
    NoShuffle,
    /// By bytes.
    Shuffle,
    /// By bits.
    BitShuffle,
}

/// A codec, and how it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecChoice {
    /// The codec.
    #[serde(flatten)]
    pub codec: Codec,
    /// The trial of `auto`; `None` where the config states the codec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto: Option<CodecTrial>,
    /// Each sample begins at a multiple of so many bytes in its shard; `None`: samples follow each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub align_bytes: Option<u32>,
}

/// Sizes of some windows of an array before and after zstd, level 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecTrial {
    /// Number of windows.
    pub windows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their compressed bytes.
    pub compressed_bytes: u64,
}

impl Default for Codec {
    fn default() -> Self {
        Self::Zstd { level: ZSTD_LEVEL }
    }
}

impl From<Codec> for CodecChoice {
    fn from(codec: Codec) -> Self {
        Self {
            codec,
            auto: None,
            align_bytes: None,
        }
    }
}

impl CodecChoice {
    /// The codec and the alignment that the config states; `None` for `auto`.
    pub(crate) fn stated(config: &CodecConfig) -> Option<Self> {
        let align_bytes = match config {
            CodecConfig::Aligned(aligned) => Some(aligned.align_bytes),
            _ => None,
        };
        Some(Self {
            align_bytes,
            ..Codec::stated(config)?.into()
        })
    }

    /// The first byte at or after `end` where a sample can begin.
    pub(super) fn aligned(self, end: u64) -> u64 {
        match self.align_bytes {
            Some(align) => end.next_multiple_of(u64::from(align.max(1))),
            None => end,
        }
    }
}

impl CodecTrial {
    /// A window of these values.
    pub fn of(values: &[u8]) -> Result<Self, DatasetError> {
        let compressed = zstd::bulk::compress(values, ZSTD_LEVEL)
            .map_err(|e| zarr_error("a window", format!("zstd: {e}")))?;
        Ok(Self {
            windows: 1,
            bytes: values.len() as u64,
            compressed_bytes: compressed.len() as u64,
        })
    }

    /// Adds more windows.
    pub fn add(&mut self, other: &Self) {
        self.windows += other.windows;
        self.bytes += other.bytes;
        self.compressed_bytes += other.compressed_bytes;
    }

    /// The codec for values like these: zstd where they shrink to two thirds or less, else none. Values that shrink less, such
    /// as most EM, take longer to decompress than reading the saved bytes takes. Without any window, zstd.
    pub fn codec(&self) -> Codec {
        if 3 * u128::from(self.compressed_bytes) <= 2 * u128::from(self.bytes) {
            Codec::default()
        } else {
            Codec::None
        }
    }
}

impl Codec {
    /// The codec that the config names; `None` for `auto`.
    fn stated(config: &CodecConfig) -> Option<Self> {
        Some(match config {
            CodecConfig::Auto => return None,
            CodecConfig::None | CodecConfig::Aligned(_) => Self::None,
            // The ranges of levels were checked when the config was read.
            CodecConfig::Zstd(zstd) => Self::Zstd {
                level: zstd.level as i32,
            },
            CodecConfig::Lz4 => Self::Blosc {
                cname: BloscName::Lz4,
                clevel: 5,
                shuffle: BloscShuffle::NoShuffle,
            },
            CodecConfig::Blosc(blosc) => Self::Blosc {
                cname: BloscName::Zstd,
                clevel: blosc.level as u8,
                shuffle: match blosc.shuffle {
                    Shuffle::None => BloscShuffle::NoShuffle,
                    Shuffle::Byte => BloscShuffle::Shuffle,
                    Shuffle::Bit => BloscShuffle::BitShuffle,
                },
            },
        })
    }

    /// The Zarr codecs that come after `bytes`, for values of `value_bytes` each.
    pub(super) fn zarr(
        self,
        value_bytes: usize,
    ) -> Result<Vec<Arc<dyn BytesToBytesCodecTraits>>, DatasetError> {
        let crc = Arc::new(Crc32cCodec::new());
        Ok(match self {
            Self::None => vec![crc],
            Self::Zstd { level } => vec![Arc::new(ZstdCodec::new(level, false)), crc],
            Self::Blosc {
                cname,
                clevel,
                shuffle,
            } => vec![Arc::new(blosc(cname, clevel, shuffle, value_bytes)?), crc],
        })
    }

    /// The codecs that an array's metadata must have after `bytes`.
    pub(super) fn metadata(self, value_bytes: usize) -> Result<Vec<MetadataV3>, DatasetError> {
        let options = CodecMetadataOptions::default();
        let codecs = self.zarr(value_bytes)?.into_iter();
        codecs
            .map(|codec| {
                let name = codec.name_v3().unwrap_or_default().into_owned();
                let configuration = codec.configuration_v3(&options).unwrap_or_default();
                Ok(MetadataV3::new_with_configuration(name, configuration))
            })
            .collect()
    }
}

/// The Zarr codec `blosc`, with the block size that Blosc chooses.
pub(super) fn blosc(
    cname: BloscName,
    clevel: u8,
    shuffle: BloscShuffle,
    value_bytes: usize,
) -> Result<BloscCodec, DatasetError> {
    let bad = |problem: String| zarr_error("the codec blosc", problem);
    let cname = match cname {
        BloscName::Lz4 => BloscCompressor::LZ4,
        BloscName::Zstd => BloscCompressor::Zstd,
    };
    let shuffle = match shuffle {
        BloscShuffle::NoShuffle => BloscShuffleMode::NoShuffle,
        BloscShuffle::Shuffle => BloscShuffleMode::Shuffle,
        BloscShuffle::BitShuffle => BloscShuffleMode::BitShuffle,
    };
    let clevel = BloscCompressionLevel::try_from(clevel)
        .map_err(|found| bad(format!("its clevel is {found}, expected 0 to 9")))?;
    BloscCodec::new(cname, clevel, None, shuffle, Some(value_bytes)).map_err(|e| bad(e.to_string()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// One of every kind.
    pub(in crate::dataset) const ALL: [Codec; 7] = [
        Codec::None,
        Codec::Zstd { level: 1 },
        Codec::Zstd { level: 5 },
        Codec::Blosc {
            cname: BloscName::Lz4,
            clevel: 5,
            shuffle: BloscShuffle::NoShuffle,
        },
        Codec::Blosc {
            cname: BloscName::Zstd,
            clevel: 1,
            shuffle: BloscShuffle::Shuffle,
        },
        Codec::Blosc {
            cname: BloscName::Zstd,
            clevel: 3,
            shuffle: BloscShuffle::BitShuffle,
        },
        Codec::Blosc {
            cname: BloscName::Zstd,
            clevel: 1,
            shuffle: BloscShuffle::NoShuffle,
        },
    ];

    #[test]
    fn values_are_compressed_if_they_shrink_to_two_thirds() {
        let trial = |bytes, compressed_bytes| CodecTrial {
            windows: 8,
            bytes,
            compressed_bytes,
        };
        for (bytes, compressed, codec) in [
            (300, 200, Codec::Zstd { level: 1 }),
            (300, 201, Codec::None),
            (300, 3, Codec::Zstd { level: 1 }),
            (300, 310, Codec::None),
            (3 << 61, 2 << 61, Codec::Zstd { level: 1 }),
        ] {
            assert_eq!(
                trial(bytes, compressed).codec(),
                codec,
                "{compressed}/{bytes}"
            );
        }
        assert_eq!(CodecTrial::default().codec(), Codec::Zstd { level: 1 });
    }

    #[test]
    fn a_trial_is_the_sum_of_its_windows() {
        let mut all = CodecTrial::default();
        let noise: Vec<u8> = blake3::hash(b"noise").as_bytes().to_vec();
        for values in [&noise[..], &[0; 4096]] {
            all.add(&CodecTrial::of(values).unwrap());
        }
        assert_eq!((all.windows, all.bytes), (2, 4096 + 32));
        assert!((32..100).contains(&all.compressed_bytes), "{all:?}");
    }

    #[test]
    fn a_codec_choice_is_the_same_after_a_round_trip_through_json() {
        let auto = Some(CodecTrial {
            windows: 8,
            bytes: 100,
            compressed_bytes: 99,
        });
        for codec in ALL {
            for auto in [None, auto] {
                let align_bytes = auto.map(|_| 4096);
                let choice = CodecChoice {
                    codec,
                    auto,
                    align_bytes,
                };
                let text = serde_json::to_string(&choice).unwrap();
                assert_eq!(
                    serde_json::from_str::<CodecChoice>(&text).unwrap(),
                    choice,
                    "{text}"
                );
            }
        }
        let none = CodecChoice {
            codec: Codec::None,
            auto,
            align_bytes: None,
        };
        assert_eq!(
            serde_json::to_value(none).unwrap(),
            json!({"name": "none", "auto": {"windows": 8, "bytes": 100, "compressed_bytes": 99}})
        );
    }

    #[test]
    fn the_last_codec_is_always_a_checksum() {
        for codec in ALL {
            let metadata = codec.metadata(2).unwrap();
            let last = metadata.last().unwrap();
            assert_eq!(last.name(), "crc32c");
            assert_eq!(metadata.len(), if codec == Codec::None { 1 } else { 2 });
        }
        let of = |codec: Codec| serde_json::to_value(codec.metadata(8).unwrap()).unwrap();
        let first = |codec| -> Value { of(codec)[0].clone() };
        assert_eq!(of(Codec::None), json!([{"name": "crc32c"}]));
        assert_eq!(
            first(Codec::Zstd { level: 5 }),
            json!({"name": "zstd", "configuration": {"level": 5, "checksum": false}})
        );
        assert_eq!(
            first(ALL[3]),
            json!({"name": "blosc", "configuration":
                {"cname": "lz4", "clevel": 5, "shuffle": "noshuffle", "typesize": 8, "blocksize": 0}})
        );
        assert_eq!(
            first(ALL[4]),
            json!({"name": "blosc", "configuration":
                {"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "typesize": 8, "blocksize": 0}})
        );
    }
}
