//! The compressions of TIFF.

/// A compression that is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Lzw,
    Deflate,
    PackBits,
    Zstd,
    Jpeg,
}

impl Compression {
    /// The compression with this number in a file, or its name.
    pub(super) fn of(number: u64) -> Result<Self, &'static str> {
        Ok(match number {
            1 => Self::None,
            5 => Self::Lzw,
            8 | 32946 => Self::Deflate,
            7 => Self::Jpeg,
            32773 => Self::PackBits,
            50000 => Self::Zstd,
            2 => return Err("CCITT RLE, of bilevel images"),
            3 | 4 => return Err("CCITT fax, of bilevel images"),
            6 => return Err("JPEG of TIFF 6, which is obsolete"),
            33003 | 33004 | 33005 | 34712 => return Err("JPEG 2000"),
            22610 | 34934 => return Err("JPEG XR"),
            34887 => return Err("LERC"),
            34925 => return Err("LZMA"),
            50001 => return Err("WebP"),
            50002 | 52546 => return Err("JPEG XL"),
            _ => return Err("unknown"),
        })
    }

    /// Its number in files.
    pub(super) fn number(self) -> u16 {
        match self {
            Self::None => 1,
            Self::Lzw => 5,
            Self::Deflate => 8,
            Self::PackBits => 32773,
            Self::Zstd => 50000,
            Self::Jpeg => 7,
        }
    }
}
