//! What an operation on an object does.

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    List,
    Write,
    Delete,
}

impl Action {
    /// Continues "cannot ..." in messages.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
            Self::Delete => "delete",
        }
    }

    pub(super) fn is_change(self) -> bool {
        matches!(self, Self::Write | Self::Delete)
    }
}
