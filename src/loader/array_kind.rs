//! What an array of the dataset is used as in a batch.

use super::input::InputChannels;

/// What an array of the dataset is used as in a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ArrayKind {
    /// An input, that is, these channels of the image.
    Input(InputChannels),
    /// The target with this number.
    Target(usize),
    /// The mask of the target with this number.
    Mask(usize),
    /// The ids of the segmentation.
    Ids,
}

impl ArrayKind {
    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input(_) => "an input",
            Self::Target(_) => "a target",
            Self::Mask(_) => "a mask",
            Self::Ids => "the segmentation",
        }
    }
}
