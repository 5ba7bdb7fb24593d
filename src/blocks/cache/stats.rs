//! What the block cache did.

/// What the cache did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Blocks that were read from the source.
    pub fetched: u64,
    /// Blocks that were decoded.
    pub decoded: u64,
    /// Missing chunks.
    pub missing: u64,
    /// Blocks among the fetched ones that were read before, and evicted because memory was short.
    pub repeated: u64,
    /// Lookups of blocks that were decoded before.
    pub reused: u64,
    /// Stored bytes that were read.
    pub read_bytes: u64,
    /// Most bytes of decoded blocks that were held at once.
    pub peak_bytes: u64,
}

impl CacheStats {
    /// Adds what another part of the cache did. Only the whole cache has a peak.
    pub(super) fn add(&mut self, other: &Self) {
        self.fetched += other.fetched;
        self.decoded += other.decoded;
        self.missing += other.missing;
        self.repeated += other.repeated;
        self.reused += other.reused;
        self.read_bytes += other.read_bytes;
    }
}
