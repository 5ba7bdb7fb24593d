//! Labels in the volume's type. A stream may have labels of another width: CloudVolume writes what it is given.

use super::reader::number;
use crate::data_type::DataType;

/// The type of the volume's labels, `N` bytes each.
#[derive(Clone, Copy, Debug)]
pub(super) struct LabelType<const N: usize> {
    data_type: DataType,
    lowest: i128,
    highest: i128,
}

impl<const N: usize> LabelType<N> {
    pub(super) fn new(data_type: DataType) -> Self {
        let bits = 8 * N;
        let is_signed = matches!(
            data_type,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64
        );
        let (lowest, highest) = if is_signed {
            (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        } else {
            (0, (1 << bits) - 1)
        };
        Self {
            data_type,
            lowest,
            highest,
        }
    }

    /// The label of a stream, little-endian in this type.
    pub(super) fn convert(self, label: i128) -> Result<[u8; N], String> {
        if !(self.lowest..=self.highest).contains(&label) {
            return Err(format!(
                "it has the label {label}, which does not fit in {}, the volume's type in the info file",
                self.data_type
            ));
        }
        let bytes = (label as u64).to_le_bytes();
        Ok(std::array::from_fn(|i| bytes[i]))
    }

    /// The labels of `label_bytes` bytes each in `bytes`.
    pub(super) fn convert_all(
        self,
        bytes: &[u8],
        label_bytes: usize,
        is_signed: bool,
    ) -> Result<Vec<[u8; N]>, String> {
        let labels = bytes.chunks_exact(label_bytes);
        labels
            .map(|label| self.convert(label_value(label, is_signed)))
            .collect()
    }
}

/// The value of a little-endian label of up to 8 bytes.
pub(super) fn label_value(label: &[u8], is_signed: bool) -> i128 {
    let value = number(label);
    if !is_signed {
        return value.into();
    }
    let unused_bits = 64 - 8 * label.len() as u32;
    i128::from((value << unused_bits) as i64 >> unused_bits)
}
