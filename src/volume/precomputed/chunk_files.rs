//! Chunks in files of their own: `NAME` or, as CloudVolume writes them on file systems, `NAME.gz` and similar.
//!
//! Buckets and most web servers declare the compression with Content-Encoding; a file system with a suffix of the name.
//! A web server that serves a plain file system has suffixes too.

use std::sync::Arc;

use super::suffixes::Suffixes;
use crate::storage::{Compression, Store, looks_like_gzip};
use crate::volume::{EncodedBlock, VolumeError};

/// The chunk files of a scale.
#[derive(Debug)]
pub(super) struct ChunkFiles {
    store: Arc<dyn Store>,
    suffixes: Suffixes,
}

impl ChunkFiles {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            suffixes: Suffixes::of(&*store),
            store,
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Prefetches the chunk called `name`.
    pub(super) fn prefetch(&self, name: &str) {
        let mut keys = self.suffixes.to_try().map(|c| key(name, c));
        keys.any(|key| self.store.prefetch(&key, None));
    }

    /// Reads the stored bytes of the chunk called `name`. Returns `false` if it is missing.
    pub(super) fn read(
        &self,
        name: &str,
        limit_bytes: u64,
        encoded: &mut EncodedBlock,
    ) -> Result<bool, VolumeError> {
        let mut tried = 0;
        for compression in self.suffixes.to_try() {
            let key = key(name, compression);
            tried += 1;
            if self.store.read(&key, limit_bytes, &mut encoded.bytes)? {
                encoded.compression = compression;
                self.suffixes.note_found(compression);
                // Some servers declare gzip for such a file, so it is already decompressed.
                if self.store.is_remote()
                    && compression == Compression::Gzip
                    && !looks_like_gzip(&encoded.bytes)
                {
                    encoded.compression = Compression::None;
                }
                return Ok(true);
            }
        }
        self.suffixes.note_missing(tried);
        Ok(false)
    }
}

fn key(name: &str, compression: Compression) -> String {
    format!("{name}{}", compression.suffix())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::loopback::{Request, Server, reply, serve};
    use crate::storage::{Location, SourceUrl, Storage};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
        let mut packed = vec![0; packer.gzip_compress_bound(bytes.len())];
        let n = packer.gzip_compress(bytes, &mut packed).unwrap();
        packed.truncate(n);
        packed
    }

    /// Serves files with the names `stored` and reads each of `wanted`. Returns the compression of those found.
    fn read(
        stored: &'static [&'static str],
        headers: &'static str,
        wanted: &[&str],
    ) -> (Server, Vec<Option<Compression>>) {
        let server = serve(move |_, request: &Request| {
            let path = request.first.split(' ').nth(1).unwrap().to_owned();
            if !stored.contains(&path.trim_start_matches("/s/")) {
                return reply("404 Not Found", "", b"");
            }
            if path.ends_with(".gz") && headers.is_empty() {
                reply("200 OK", "", &gzip(b"1234"))
            } else {
                reply("200 OK", headers, &gzip(b"1234"))
            }
        });
        let here = Location::Local("".into());
        let source = SourceUrl::parse(&format!("{}/s", server.url), &here).unwrap();
        let files = ChunkFiles::new(Storage::default().open(&source.location));
        let mut encoded = EncodedBlock::default();
        let found = wanted.iter().map(|name| {
            let stored = files.read(name, 1000, &mut encoded).unwrap();
            stored.then_some(encoded.compression)
        });
        let found = found.collect();
        (server, found)
    }

    #[test]
    fn the_suffix_of_names_is_detected_once_per_layer() {
        let (server, found) = read(&["a.gz", "b.gz"], "", &["a", "b", "c", "c"]);
        let gz = Some(Compression::Gzip);
        assert_eq!(found, [gz, gz, None, None]);
        assert_eq!(server.requests(), 2 + 1 + 1 + 1);
        let (server, found) = read(&["a", "b.gz"], "", &["a", "c", "b"]);
        assert_eq!(found, [Some(Compression::None), None, None]);
        assert_eq!(server.requests(), 3);
    }

    #[test]
    fn the_search_for_suffixes_is_bounded() {
        let missing = ["x"; 100];
        let (server, found) = read(&[], "", &missing);
        assert!(found.iter().all(Option::is_none));
        let searched = 64 * Compression::ALL.len();
        assert_eq!(server.requests(), searched + missing.len() - 64);
    }

    #[test]
    fn bytes_that_the_server_decompresses_are_not_decompressed_again() {
        let encoded = "Content-Encoding: gzip\r\n";
        let (_, found) = read(&["a.gz"], encoded, &["a"]);
        assert_eq!(found, [Some(Compression::None)]);
    }
}
