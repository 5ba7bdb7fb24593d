//! Digits as pixels, so that a picture can name its samples.

/// For each digit its five rows of three pixels, the leftmost in the highest bit.
const ROWS: [[u8; 5]; 10] = [
    [0b111, 0b101, 0b101, 0b101, 0b111],
    [0b010, 0b110, 0b010, 0b010, 0b111],
    [0b111, 0b001, 0b111, 0b100, 0b111],
    [0b111, 0b001, 0b111, 0b001, 0b111],
    [0b101, 0b101, 0b111, 0b001, 0b001],
    [0b111, 0b100, 0b111, 0b001, 0b111],
    [0b111, 0b100, 0b111, 0b101, 0b111],
    [0b111, 0b001, 0b010, 0b010, 0b010],
    [0b111, 0b101, 0b111, 0b101, 0b111],
    [0b111, 0b101, 0b111, 0b001, 0b111],
];

/// The pixels, right and down, of the digits in `text`, each of whose pixels is `scale` wide and high. Other characters are spaces.
pub(in crate::preview) fn digits(text: &str, scale: usize) -> Vec<[usize; 2]> {
    let mut pixels = Vec::new();
    for (place, character) in text.chars().enumerate() {
        let digit = character.to_digit(10).and_then(|d| ROWS.get(d as usize));
        for (row, bits) in digit.into_iter().flatten().enumerate() {
            for column in (0..3).filter(|column| bits >> (2 - column) & 1 == 1) {
                for dy in 0..scale {
                    for dx in 0..scale {
                        pixels.push([(place * 4 + column) * scale + dx, row * scale + dy]);
                    }
                }
            }
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_digits_look_different_and_stand_side_by_side() {
        for (i, rows) in ROWS.iter().enumerate() {
            assert!(ROWS[i + 1..].iter().all(|other| other != rows));
        }
        assert_eq!(digits("1", 1).len(), 8);
        let right = digits("01", 2).iter().map(|[x, _]| *x).max();
        assert_eq!(right, Some(2 * 7 - 1));
        assert!(digits("a", 1).is_empty());
    }
}
