//! Sizes in messages that say how much memory is needed: a user who copies the number must get enough.

use bytesize::ByteSize;

/// The smallest size of at least `bytes` whose text, which has one decimal, does not round it down.
pub(crate) fn enough(bytes: u64) -> ByteSize {
    let units = (1..=6).map(|power| 1u64 << (10 * power));
    let Some(unit) = units.take_while(|unit| *unit <= bytes).last() else {
        return ByteSize(bytes);
    };
    let unit = u128::from(unit);
    let tenths = (u128::from(bytes) * 10).div_ceil(unit);
    let rounded_up = (tenths * unit).div_ceil(10);
    ByteSize(u64::try_from(rounded_up).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_size_is_rounded_up_to_a_tenth() {
        assert_eq!(enough((95 << 20) + 1).to_string(), "95.1 MiB");
        assert_eq!(enough(95 << 20).to_string(), "95.0 MiB");
        assert_eq!(enough(1000).to_string(), "1000 B");
    }

    proptest! {
        #[test]
        fn the_text_is_parsed_as_a_sufficient_size(bytes in 0u64..1 << 50) {
            let parsed: ByteSize = enough(bytes).to_string().parse().unwrap();
            prop_assert!(parsed.as_u64() >= bytes);
            prop_assert!(parsed.as_u64() <= bytes + bytes / 10);
        }
    }
}
