//! Which suffix the names of a layer's chunk files have. Where each look at a name waits for a server, it is detected with the
//! first chunks and remembered.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::storage::{Compression, Store};

/// Number of chunks of a layer for which all suffixes are tried without finding one that is not known. Later chunks are read
/// with the known suffix only, or without one. A layer without any chunk is an error at the end.
const SEARCHED_CHUNKS: u32 = 64;

/// Where suffixes are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// Nowhere: the storage states the compression in another way.
    Nowhere,
    /// On a local disk, at each chunk: it takes little time.
    Always,
    /// On a network file system, at chunks that are missing under the known suffix: a folder may have files with several.
    UntilKnownOrMissing,
    /// On a web server, until a chunk is found.
    UntilFound,
}

/// The suffixes of a layer's chunk files.
#[derive(Debug)]
pub(super) struct Suffixes {
    search: Search,
    /// The suffix that was found first.
    known: OnceLock<Compression>,
    /// Whether another one was found later.
    are_mixed: AtomicBool,
    /// Number of chunks for which no suffix was found.
    searched: AtomicU32,
}

impl Suffixes {
    /// The suffixes of files in this storage.
    pub fn of(store: &dyn Store) -> Self {
        Self::new(match (store.has_files(), store.is_remote()) {
            (false, _) => Search::Nowhere,
            (true, true) => Search::UntilFound,
            (true, false) if store.has_latency() => Search::UntilKnownOrMissing,
            (true, false) => Search::Always,
        })
    }

    fn new(search: Search) -> Self {
        Self {
            search,
            known: OnceLock::new(),
            are_mixed: AtomicBool::new(false),
            searched: AtomicU32::new(0),
        }
    }

    /// The suffixes that a chunk may have, in the order in which they are tried.
    pub fn to_try(&self) -> impl Iterator<Item = Compression> + use<> {
        let known = self.known.get().copied();
        let is_searched = self.searched.load(Ordering::Relaxed) >= SEARCHED_CHUNKS;
        let first = match self.search {
            Search::UntilKnownOrMissing if self.are_mixed.load(Ordering::Relaxed) => None,
            _ => known,
        };
        let others_follow = match self.search {
            Search::Nowhere => false,
            Search::Always => true,
            Search::UntilKnownOrMissing => !is_searched || self.are_mixed.load(Ordering::Relaxed),
            Search::UntilFound => known.is_none() && !is_searched,
        };
        let first = first.or((!others_follow).then_some(Compression::None));
        let others = Compression::ALL.into_iter();
        let others = others.filter(move |other| others_follow && Some(*other) != first);
        first.into_iter().chain(others)
    }

    /// Notes that a chunk has this suffix.
    pub fn note_found(&self, suffix: Compression) {
        if matches!(
            self.search,
            Search::UntilKnownOrMissing | Search::UntilFound
        ) && *self.known.get_or_init(|| suffix) != suffix
        {
            self.are_mixed.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that a chunk has none of `tried` suffixes.
    pub fn note_missing(&self, tried: usize) {
        if tried > 1 {
            self.searched.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GZ: Compression = Compression::Gzip;
    const NONE: Compression = Compression::None;

    fn tried(suffixes: &Suffixes) -> Vec<Compression> {
        suffixes.to_try().collect()
    }

    #[test]
    fn on_a_network_file_system_the_known_suffix_is_tried_first() {
        let suffixes = Suffixes::new(Search::UntilKnownOrMissing);
        assert_eq!(tried(&suffixes), Compression::ALL);
        suffixes.note_found(GZ);
        let found = tried(&suffixes);
        assert_eq!((found[0], found.len()), (GZ, Compression::ALL.len()));
        for _ in 0..SEARCHED_CHUNKS {
            suffixes.note_missing(found.len());
        }
        assert_eq!(tried(&suffixes), [GZ]);
    }

    #[test]
    fn files_with_several_suffixes_on_a_network_file_system_are_found_in_a_fixed_order() {
        let suffixes = Suffixes::new(Search::UntilKnownOrMissing);
        suffixes.note_found(GZ);
        suffixes.note_found(NONE);
        for _ in 0..SEARCHED_CHUNKS {
            suffixes.note_missing(Compression::ALL.len());
        }
        assert_eq!(tried(&suffixes), Compression::ALL);
    }

    #[test]
    fn a_network_file_system_without_chunks_is_searched_a_limited_number_of_times() {
        let suffixes = Suffixes::new(Search::UntilKnownOrMissing);
        for _ in 0..SEARCHED_CHUNKS {
            suffixes.note_missing(Compression::ALL.len());
        }
        assert_eq!(tried(&suffixes), [NONE]);
        // A chunk that was being read meanwhile.
        suffixes.note_found(GZ);
        assert_eq!(tried(&suffixes), [GZ]);
    }

    #[test]
    fn local_disks_are_always_searched_and_buckets_never() {
        let local = Suffixes::new(Search::Always);
        local.note_found(GZ);
        assert_eq!(tried(&local), Compression::ALL);
        assert_eq!(tried(&Suffixes::new(Search::Nowhere)), [NONE]);
        let server = Suffixes::new(Search::UntilFound);
        server.note_found(GZ);
        assert_eq!(tried(&server), [GZ]);
    }
}
