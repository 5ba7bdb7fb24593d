//! What an array of the dataset is used as in a batch.

/// What an array of the dataset is used as in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArrayKind {
    Image,
    /// The target with this number.
    Target(usize),
    /// The mask of the target with this number.
    Mask(usize),
}

impl ArrayKind {
    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "the image",
            Self::Target(_) => "a target",
            Self::Mask(_) => "a mask",
        }
    }
}
