//! A stack: the pages of a file, or of the files of a folder, as sections and channels.
//!
//! Only the first page is read when a stack of files is opened. The others are read when they are needed, and must have the
//! same size and type. The directories of a file are linked, so all of them are read when it is opened; of each, only the
//! position is kept.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::description::{self, Description, Planes};
use super::directory::{TiffReader, tag};
use super::error::TiffError;
use super::page::{Page, is_auxiliary};
use super::section_names::{is_pattern, matches, may_be_tiff, sort};
use crate::storage::{Location, Storage, StorageError, Store};

/// Memory for pages, which have the tables of their chunks.
const CACHE_BYTES: u64 = 32 << 20;

/// Most pages of a file, and files of a folder.
const MAX_PAGES: u64 = 1 << 20;

/// Memory of a page or file that is not read, in bytes.
const PAGE_BYTES: u64 = 32;

/// Chunks of this size are accepted in any page, whatever the first page has.
const ALLOWED_CHUNK_BYTES: u64 = 1 << 20;

/// An open stack.
#[derive(Debug)]
pub(super) struct TiffStack {
    /// The file or folder, for messages.
    object: String,
    store: Arc<dyn Store>,
    pages: Pages,
    first: Arc<Page>,
    description: Description,
    cache: Cache<u64, Arc<Page>, MemoryBytes>,
}

/// Where the pages are.
#[derive(Debug)]
enum Pages {
    /// One in each file.
    Files(Vec<String>),
    /// In one file, with a directory for each.
    Directories { key: String, positions: Vec<u64> },
    /// In one file, one after the other as raw values.
    Raw { count: u64 },
}

#[derive(Clone, Debug)]
struct MemoryBytes;

impl Weighter<u64, Arc<Page>> for MemoryBytes {
    fn weight(&self, _: &u64, page: &Arc<Page>) -> u64 {
        page.memory_bytes()
    }
}

/// The files of a source.
enum Files {
    /// One file.
    One { folder: Location, name: String },
    /// All files of a folder.
    Several {
        folder: Location,
        names: Vec<String>,
    },
}

/// Finds the files at `location`: a file, a folder of files, or a pattern of the names of files.
fn find_files(location: &Location, storage: &Storage) -> Result<Files, TiffError> {
    if let Some((folder, name)) = location.split_file() {
        if is_pattern(&name) {
            let fits = |other: &str| !other.starts_with('.') && matches(&name, other);
            return list(folder, location, fits, storage);
        }
        let found = storage.open(&folder).size(&name);
        let is_file = match found {
            Err(StorageError::Read { source, .. }) if source.kind() == ErrorKind::IsADirectory => {
                false
            }
            found => found?.is_some(),
        };
        if is_file {
            return Ok(Files::One { folder, name });
        }
    }
    list(location.clone(), location, may_be_tiff, storage)
}

fn list(
    folder: Location,
    location: &Location,
    fits: impl Fn(&str) -> bool,
    storage: &Storage,
) -> Result<Files, TiffError> {
    let object = location.to_string();
    if !folder.can_be_listed() {
        return Err(TiffError::NoStack {
            object,
            problem: "there is no such file, and a folder on this server cannot be listed: copy the sections to a bucket or a local folder, or put them into one file, for example with `tiffcp`".to_owned(),
        });
    }
    let listing = match storage.list(&folder) {
        Err(StorageError::Read { source, .. })
            if matches!(
                source.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory
            ) =>
        {
            return Err(TiffError::Missing { object });
        }
        listing => listing?,
    };
    let names: Vec<String> = { listing.files.into_iter() }
        .filter(|name| fits(name))
        .collect();
    if names.is_empty() {
        return Err(TiffError::NoStack {
            object,
            problem: "found no TIFF file in it (`*.tif`, `*.tiff`); check the path".to_owned(),
        });
    }
    Ok(Files::Several { folder, names })
}

impl TiffStack {
    /// Opens the stack at `location`. If `is_simple`, each page is a section, whatever the file states.
    pub(super) fn open(
        location: &Location,
        is_simple: bool,
        storage: &Storage,
    ) -> Result<Self, TiffError> {
        match find_files(location, storage)? {
            Files::One { folder, name } => Self::of_file(&folder, name, is_simple, storage),
            Files::Several { folder, names } => {
                Self::of_files(location, &folder, &names, is_simple, storage)
            }
        }
    }

    fn of_files(
        location: &Location,
        folder: &Location,
        names: &[String],
        is_simple: bool,
        storage: &Storage,
    ) -> Result<Self, TiffError> {
        let object = location.to_string();
        keep(&object, names.len() as u64, storage)?;
        let names = sort(names).map_err(|problem| TiffError::NoStack {
            object: object.clone(),
            problem,
        })?;
        let store = storage.open(folder);
        let key = names.first().cloned().unwrap_or_default();
        let (first, description) = read_file(&*store, &key, is_simple, Some(storage))?;
        Ok(Self {
            object,
            store,
            pages: Pages::Files(names),
            first: Arc::new(first),
            description: Description {
                // The channels of a file are in its page.
                planes: Planes::Sections,
                ..description
            },
            cache: cache(),
        })
    }

    fn of_file(
        folder: &Location,
        key: String,
        is_simple: bool,
        storage: &Storage,
    ) -> Result<Self, TiffError> {
        let store = storage.open(folder);
        let mut reader = open(&*store, &key)?;
        let object = reader.name().to_owned();
        let directory = reader.first_directory()?;
        let first = Page::read(&mut reader, &directory, &key, object.clone())?;
        let positions = directories(&mut reader, directory.next, &first)?;
        let count = positions.len() as u64;
        keep(&object, count, storage)?;
        let budget = storage.budget();
        let description =
            description::read(&mut reader, &directory, &first, count, is_simple, budget)?;
        let (pages, first) = match description.raw_pages {
            None => {
                let name = page_name(&object, 0, count);
                (Pages::Directories { key, positions }, first.named(name))
            }
            Some(count) => (Pages::Raw { count }, raw_first(&reader, first, count)?),
        };
        Ok(Self {
            object,
            store,
            pages,
            first: Arc::new(first),
            description,
            cache: cache(),
        })
    }

    /// The file or folder, for messages.
    pub(super) fn object(&self) -> &str {
        &self.object
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(super) fn first(&self) -> &Page {
        &self.first
    }

    /// The size of a voxel along x, y, z, as far as it is stated.
    pub(super) fn voxel_nm(&self) -> [Option<f64>; 3] {
        self.description.voxel_nm
    }

    fn page_count(&self) -> u64 {
        match &self.pages {
            Pages::Files(names) => names.len() as u64,
            Pages::Directories { positions, .. } => positions.len() as u64,
            Pages::Raw { count } => *count,
        }
    }

    /// Number of sections.
    pub(super) fn sections(&self) -> u64 {
        match &self.description.planes {
            Planes::Sections => self.page_count(),
            Planes::Grid(grid) => grid.sections,
            Planes::Listed { channels, pages } => pages.len() as u64 / channels,
        }
    }

    /// Number of pages that make up a section: one for some of its channels each.
    pub(super) fn pages_per_section(&self) -> u64 {
        match &self.description.planes {
            Planes::Sections => 1,
            Planes::Grid(grid) => grid.channels,
            Planes::Listed { channels, .. } => *channels,
        }
    }

    /// The page with number `channel` of the pages of a section.
    pub(super) fn page(&self, section: u64, channel: u64) -> Result<Arc<Page>, TiffError> {
        let sections = self.sections();
        let number = match &self.description.planes {
            Planes::Sections => section,
            Planes::Grid(grid) if grid.is_channel_fastest => section * grid.channels + channel,
            Planes::Grid(_) => channel * sections + section,
            Planes::Listed { pages, .. } => {
                let page = pages.get((channel * sections + section) as usize);
                page.map_or(u64::MAX, |page| u64::from(*page))
            }
        };
        self.cache.get_or_insert_with(&number, || {
            let page = self.read(number)?;
            self.check(&page)?;
            Ok(Arc::new(page))
        })
    }

    fn read(&self, number: u64) -> Result<Page, TiffError> {
        let out_of_range = || TiffError::Damaged {
            object: self.object.clone(),
            problem: format!("page {number} of {} does not exist", self.page_count()),
        };
        match &self.pages {
            Pages::Files(names) => {
                let key = names.get(number as usize).ok_or_else(out_of_range)?;
                Ok(read_file(&*self.store, key, true, None)?.0)
            }
            Pages::Directories { key, positions } => {
                let position = positions.get(number as usize).ok_or_else(out_of_range)?;
                let name = page_name(&self.object, number, positions.len() as u64);
                let mut reader = open(&*self.store, key)?;
                let directory = reader.directory(*position)?;
                Page::read(&mut reader, &directory, key, name)
            }
            Pages::Raw { count } => {
                let start = self.first.raw_start().unwrap_or(0);
                let start = start + number * self.first.page_bytes();
                Ok(self
                    .first
                    .moved(page_name(&self.object, number, *count), start))
            }
        }
    }

    /// All pages of a stack are alike.
    fn check(&self, page: &Page) -> Result<(), TiffError> {
        let first = &*self.first;
        let same = |page: &Page| (page.width, page.height, page.samples, page.data_type);
        let problem = if same(page) != same(first) {
            format!(
                "found {}, but {} has {}, expected the same for all sections of a stack",
                page.describe_shape(),
                first.name,
                first.describe_shape()
            )
        } else if !page.has_raw_rows()
            && page.chunk_bytes() > first.chunk_bytes().max(ALLOWED_CHUNK_BYTES)
        {
            format!(
                "found strips or tiles of {:?} pixels, but {} has {:?}, expected no larger ones: rewrite the file, for example with `tiffcp -r {}` of libtiff",
                page.chunk, first.name, first.chunk, first.chunk[1]
            )
        } else {
            return Ok(());
        };
        Err(TiffError::NoStack {
            object: page.name.clone(),
            problem,
        })
    }

    /// Largest decoded chunk of any page, in bytes.
    pub(super) fn largest_chunk_bytes(&self) -> u64 {
        let of_first = if self.first.has_raw_rows() {
            0
        } else {
            self.first.chunk_bytes()
        };
        of_first.max(ALLOWED_CHUNK_BYTES)
    }

    /// Digest of where the pages are, and of the first one.
    pub(super) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let first = &*self.first;
        let text = format!(
            "{} {:?} {:?} {} {:?} {}",
            first.describe_shape(),
            first.chunk,
            first.format,
            first.is_planar,
            self.description,
            self.page_count()
        );
        hasher.update(text.as_bytes());
        match &self.pages {
            Pages::Files(names) => {
                for name in names {
                    hasher.update(&(name.len() as u64).to_le_bytes());
                    hasher.update(name.as_bytes());
                }
            }
            Pages::Directories { positions, .. } => {
                for position in positions {
                    hasher.update(&position.to_le_bytes());
                }
            }
            Pages::Raw { .. } => {}
        }
        hasher.finalize()
    }
}

fn cache() -> Cache<u64, Arc<Page>, MemoryBytes> {
    // A small estimate of items gives a cache with a single part, which can hold a page as large as its whole capacity.
    Cache::with_weighter(31, CACHE_BYTES, MemoryBytes)
}

/// Counts the memory of the list of pages.
fn keep(object: &str, pages: u64, storage: &Storage) -> Result<(), TiffError> {
    let kept = storage.budget().keep(pages * PAGE_BYTES);
    kept.map_err(|over| TiffError::NoStack {
        object: object.to_owned(),
        problem: format!("its {pages} pages need more memory than {over}: use a larger --memory"),
    })
}

fn open(store: &dyn Store, key: &str) -> Result<TiffReader, TiffError> {
    let reader = TiffReader::open(store, key)?;
    reader.ok_or_else(|| TiffError::Missing {
        object: store.describe(key),
    })
}

fn page_name(file: &str, number: u64, count: u64) -> String {
    match count {
        1 => file.to_owned(),
        _ => format!("{file}, page {} of {count}", number + 1),
    }
}

/// Reads a file that has a single page. Its description is read if `storage` is given.
fn read_file(
    store: &dyn Store,
    key: &str,
    is_simple: bool,
    storage: Option<&Storage>,
) -> Result<(Page, Description), TiffError> {
    let mut reader = open(store, key)?;
    let directory = reader.first_directory()?;
    let name = reader.name().to_owned();
    let page = Page::read(&mut reader, &directory, key, name)?;
    let several = |object: String| {
        TiffError::NoStack {
        object,
        problem: "found several pages, expected one in each file of a folder: use a file alone as the source, `FILE|tiff:`, or write each page into a file of its own, for example with `tiffsplit` of libtiff".to_owned(),
    }
    };
    let mut seen = HashSet::new();
    let mut next = directory.next;
    while let Some(position) = next.filter(|position| seen.insert(*position)) {
        let other = reader.directory(position)?;
        if !is_auxiliary(&mut reader, &other)? {
            return Err(several(page.name));
        }
        next = other.next;
    }
    let description = match storage {
        None => Description::default(),
        Some(storage) => {
            let budget = storage.budget();
            description::read(&mut reader, &directory, &page, 1, is_simple, budget)?
        }
    };
    // A page that was split off from a stack of ImageJ still has the description of all.
    let has_all = |count| raw_end(&page, count).is_some_and(|end| end <= reader.size_bytes());
    if description.raw_pages.is_some_and(has_all) {
        return Err(several(page.name));
    }
    Ok((page, description))
}

/// The positions of the directories of all pages. Smaller copies of pages, and masks, are left out.
fn directories(
    reader: &mut TiffReader,
    mut next: Option<u64>,
    first: &Page,
) -> Result<Vec<u64>, TiffError> {
    let mut positions = vec![reader.first_position()];
    let mut seen: HashSet<u64> = positions.iter().copied().collect();
    while let Some(position) = next {
        if !seen.insert(position) {
            return Err(reader.damaged(format!(
                "found the directory of a page at byte {position} twice: its list of pages is a loop"
            )));
        }
        if seen.len() as u64 > MAX_PAGES {
            return Err(reader.damaged(format!("found more than {MAX_PAGES} pages")));
        }
        let directory = reader.directory(position)?;
        next = directory.next;
        if is_auxiliary(reader, &directory)? {
            continue;
        }
        positions.push(position);
        let width = reader
            .first_number(&directory, tag::IMAGE_WIDTH)?
            .unwrap_or(0);
        let height = reader
            .first_number(&directory, tag::IMAGE_LENGTH)?
            .unwrap_or(0);
        if (width, height) != (first.width, first.height) {
            return Err(TiffError::NoStack {
                object: format!("{}, page {}", reader.name(), positions.len()),
                problem: format!(
                    "found {width} x {height} pixels, but the first page has {} x {}, expected the same for all sections of a stack: save the sections alone",
                    first.width, first.height
                ),
            });
        }
    }
    Ok(positions)
}

/// The end in the file of `count` pages that follow each other as raw values.
fn raw_end(first: &Page, count: u64) -> Option<u64> {
    let bytes = first.page_bytes().checked_mul(count)?;
    first.raw_start()?.checked_add(bytes)
}

/// The first of `count` pages that follow each other as raw values.
fn raw_first(reader: &TiffReader, first: Page, count: u64) -> Result<Page, TiffError> {
    let Some(start) = first.raw_start() else {
        return Err(reader.damaged(format!(
            "its description states {count} pages, but it has one, which is not a single range of raw values: it is truncated, or another program changed it"
        )));
    };
    let end = raw_end(&first, count);
    let size = reader.size_bytes();
    if count > MAX_PAGES || end.is_none_or(|end| end > size) {
        return Err(reader.damaged(format!(
            "its description states {count} pages of {} bytes from byte {start} on, but the file has {size} bytes: it is truncated",
            first.page_bytes()
        )));
    }
    let name = page_name(reader.name(), 0, count);
    Ok(first.named(name))
}
