//! MurmurHash3_x86_128 of a 64-bit number, for the sharded format.
//!
//! The input is the number as 8 little-endian bytes, with seed 0. The result is the first 8 of the 16 output bytes as a
//! little-endian number. Eight bytes of input are less than a block of this hash, so the code is only its tail.

const C1: u32 = 0x239b_961b;
const C2: u32 = 0xab0e_9789;
const C3: u32 = 0x38b3_4ae5;

/// The hash of `value`.
pub(super) fn murmurhash3_x86_128(value: u64) -> u64 {
    const LENGTH: u32 = 8;
    let (low, high) = (value as u32, (value >> 32) as u32);
    let h1 = low.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2) ^ LENGTH;
    let h2 = high.wrapping_mul(C2).rotate_left(16).wrapping_mul(C3) ^ LENGTH;
    // The third and fourth word are equal: they depend on the length only.
    let h1 = h1
        .wrapping_add(h2)
        .wrapping_add(LENGTH)
        .wrapping_add(LENGTH);
    let h2 = finish(h2.wrapping_add(h1));
    let h3 = finish(LENGTH.wrapping_add(h1));
    let h1 = finish(h1);
    let h1 = h1.wrapping_add(h2).wrapping_add(h3).wrapping_add(h3);
    let h2 = h2.wrapping_add(h1);
    u64::from(h2) << 32 | u64::from(h1)
}

fn finish(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_equal_those_of_other_implementations() {
        for (value, hash) in VECTORS {
            assert_eq!(murmurhash3_x86_128(value), hash, "{value:#x}");
        }
    }

    /// From the Python package mmh3. The first three are in tensorstore's tests too.
    const VECTORS: [(u64, u64); 8] = [
        (0, 0x4772_b084_e028_ae41),
        (1, 0xe8bd_67d6_16d4_ce9a),
        (42, 0xc20b_94f9_5119_f47a),
        (255, 0x4e2f_c5b5_b87b_f79a),
        (0x0000_0001_0000_0000, 0xbbb1_2d13_3b78_fd64),
        (0xdead_beef_cafe_babe, 0x1df3_8a4c_3cc0_65f4),
        (0x8000_0000_0000_0000, 0x998a_35e4_316a_cfa8),
        (0xffff_ffff_ffff_ffff, 0x574f_66bd_212b_5d1a),
    ];
}
