//! A short list of differences: the first few, and the number of the others.

use std::fmt;

/// Most differences that are shown.
const SHOWN: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Differences {
    shown: Vec<String>,
    more: u64,
}

impl Differences {
    pub(super) fn add(&mut self, difference: impl FnOnce() -> String) {
        if self.shown.len() < SHOWN {
            self.shown.push(difference());
        } else {
            self.more += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.shown {
            write!(f, "\n  {difference}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}
