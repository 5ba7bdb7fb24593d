//! Chunks that are objects of their own: `NAME` or, as CloudVolume writes on file systems, `NAME.gz` and the like.
//!
//! A bucket says by Content-Encoding what a file system says by the name's end, and so do most web servers. Behind one
//! that serves a file system as it is, names have their ends: which, is found out with the first chunks of a layer and
//! remembered.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::storage::{Compression, Store, looks_like_gzip};
use crate::volume::{EncodedBlock, VolumeError};

/// Most chunks that are searched under every name on a server. Where none of so many has any, the others are
/// searched under their plain name: a layer whose touched chunks are all missing is an error at the end.
const SEARCHED_CHUNKS: u32 = 64;

/// The objects of a scale.
#[derive(Debug)]
pub(super) struct ChunkFiles {
    store: Arc<dyn Store>,
    /// How the names on a server end, once it is known.
    names: OnceLock<Compression>,
    /// Chunks that were not found under any name before.
    searched: AtomicU32,
}

impl ChunkFiles {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            names: OnceLock::new(),
            searched: AtomicU32::new(0),
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Says that the chunk called `name` will be read soon.
    pub(super) fn will_read(&self, name: &str) {
        let mut keys = self.names().iter().map(|c| key(name, *c));
        keys.any(|key| self.store.will_read(&key, None));
    }

    /// Reads the stored bytes of the chunk called `name`; `false` where it is not stored.
    pub(super) fn read(
        &self,
        name: &str,
        limit_bytes: u64,
        encoded: &mut EncodedBlock,
    ) -> Result<bool, VolumeError> {
        let names = self.names();
        for compression in names {
            if self
                .store
                .read(&key(name, *compression), limit_bytes, &mut encoded.bytes)?
            {
                encoded.compression = *compression;
                if self.store.is_remote() {
                    let _ = self.names.set(*compression);
                    // Some servers say gzip of such a file, and it is undone already.
                    if *compression == Compression::Gzip && !looks_like_gzip(&encoded.bytes) {
                        encoded.compression = Compression::None;
                    }
                }
                return Ok(true);
            }
        }
        if names.len() > 1 {
            self.searched.fetch_add(1, Ordering::Relaxed);
        }
        Ok(false)
    }

    /// The ends that names can have.
    fn names(&self) -> &[Compression] {
        match self.names.get() {
            Some(known) => std::slice::from_ref(known),
            None if !self.store.has_files() => &Compression::ALL[..1],
            None if self.store.is_remote()
                && self.searched.load(Ordering::Relaxed) >= SEARCHED_CHUNKS =>
            {
                &Compression::ALL[..1]
            }
            None => &Compression::ALL,
        }
    }
}

fn key(name: &str, compression: Compression) -> String {
    format!("{name}{}", compression.suffix())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::loopback::{Request, Server, reply, serve};
    use crate::storage::{Location, SourceUrl};

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
        let mut packed = vec![0; packer.gzip_compress_bound(bytes.len())];
        let n = packer.gzip_compress(bytes, &mut packed).unwrap();
        packed.truncate(n);
        packed
    }

    /// A server of files with these names, and what is read of `wanted` there, one after the other.
    fn read(
        stored: &'static [&'static str],
        headers: &'static str,
        wanted: &[&str],
    ) -> (Server, Vec<Option<Compression>>) {
        let server = serve(move |_, request: &Request| {
            let path = request.first.split(' ').nth(1).unwrap().to_owned();
            match stored.contains(&path.trim_start_matches("/s/")) {
                true if path.ends_with(".gz") && headers.is_empty() => {
                    reply("200 OK", "", &gzip(b"1234"))
                }
                true => reply("200 OK", headers, &gzip(b"1234")),
                false => reply("404 Not Found", "", b""),
            }
        });
        let here = Location::Local("".into());
        let source = SourceUrl::parse(&format!("{}/s", server.url), &here).unwrap();
        let files = ChunkFiles::new(source.location.open());
        let mut encoded = EncodedBlock::default();
        let found = wanted.iter().map(|name| {
            let stored = files.read(name, 1000, &mut encoded).unwrap();
            stored.then_some(encoded.compression)
        });
        let found = found.collect();
        (server, found)
    }

    #[test]
    fn how_names_end_is_found_out_once_per_layer() {
        let (server, found) = read(&["a.gz", "b.gz"], "", &["a", "b", "c", "c"]);
        let gz = Some(Compression::Gzip);
        assert_eq!(found, [gz, gz, None, None]);
        assert_eq!(server.requests(), 2 + 1 + 1 + 1);
        let (server, found) = read(&["a", "b.gz"], "", &["a", "c", "b"]);
        assert_eq!(found, [Some(Compression::None), None, None]);
        assert_eq!(server.requests(), 3);
    }

    #[test]
    fn the_search_for_names_is_bounded() {
        let missing = vec!["x"; SEARCHED_CHUNKS as usize + 10];
        let (server, found) = read(&[], "", &missing);
        assert!(found.iter().all(Option::is_none));
        let searched = SEARCHED_CHUNKS as usize * Compression::ALL.len();
        assert_eq!(server.requests(), searched + 10);
    }

    #[test]
    fn what_the_server_undoes_is_not_undone_again() {
        let encoded = "Content-Encoding: gzip\r\n";
        let (_, found) = read(&["a.gz"], encoded, &["a"]);
        assert_eq!(found, [Some(Compression::None)]);
    }
}
