//! Arrow's IPC file format, which is Feather version 2. Record batches are read one after the other.

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::{Block, MetadataVersion, root_as_footer, root_as_message};
use arrow_schema::{Schema, SchemaRef};

use super::object_reader::ObjectReader;
use crate::points::error::PointsError;

/// An open Arrow file.
#[derive(Debug)]
pub(super) struct ArrowFile {
    object: String,
    reader: ObjectReader,
    schema: SchemaRef,
    version: MetadataVersion,
    dictionaries: Vec<Block>,
    batches: Vec<Block>,
    /// Most bytes that a record batch takes: stored, decompressed, and the rows that are collected of it.
    limit_bytes: u64,
}

/// Bytes at the end of a file: the length of the footer, and `ARROW1`.
const TRAILER_BYTES: usize = 10;

/// Largest footer, in bytes: it is read as a whole.
const MAX_FOOTER_BYTES: u64 = 64 << 20;

/// Memory for what is collected of a row: two numbers of 64 bits, in a list that doubles when it grows. Annotations in boxes count
/// separately.
const COLLECTED_ROW_BYTES: u64 = 32;

/// A record batch as it is stored.
pub(super) struct StoredBatch {
    pub bytes: Buffer,
    pub rows: u64,
    /// Bytes that it takes when it is decoded, with the stored ones.
    pub decoded_bytes: u64,
}

/// Reads the rows of a file, batch by batch.
pub(super) struct ArrowBatches<'f> {
    file: &'f ArrowFile,
    decoder: FileDecoder,
}

impl ArrowBatches<'_> {
    /// The record batch `number`, counted from 0; `None` after the last one.
    pub fn read(&self, number: usize) -> Option<Result<StoredBatch, PointsError>> {
        let block = self.file.batches.get(number)?;
        Some(self.file.block(block))
    }

    /// Decodes the record batch `number`, which has these bytes; `None` if it has no rows.
    pub fn decode(
        &self,
        number: usize,
        bytes: &Buffer,
    ) -> Result<Option<RecordBatch>, PointsError> {
        let Some(block) = self.file.batches.get(number) else {
            return Ok(None);
        };
        let batch = self.decoder.read_record_batch(block, bytes);
        batch.map_err(|e| PointsError::damaged_table(&self.file.object, e))
    }
}

impl ArrowFile {
    /// Reads the footer. Record batches that take more than `limit_bytes` will be errors.
    pub fn open(object: &str, reader: ObjectReader, limit_bytes: u64) -> Result<Self, PointsError> {
        let damaged = |problem: String| PointsError::damaged_table(object, problem);
        let size = reader.size_bytes();
        let trailer_start = size.saturating_sub(TRAILER_BYTES as u64);
        let trailer = reader.read(trailer_start, size - trailer_start);
        let trailer = trailer.map_err(|e| damaged(e.to_string()))?;
        let trailer: [u8; TRAILER_BYTES] = trailer
            .as_ref()
            .try_into()
            .map_err(|_| damaged("it is too short for an Arrow file".to_owned()))?;
        let length = read_footer_length(trailer).map_err(|_| {
            damaged(
                "it begins as an Arrow file, but does not end as one: it is not complete"
                    .to_owned(),
            )
        })? as u64;
        if length > MAX_FOOTER_BYTES.min(trailer_start) {
            return Err(damaged(format!(
                "its footer has {length} bytes, more than {MAX_FOOTER_BYTES}, or than the file"
            )));
        }
        let footer = reader.read(trailer_start - length, length);
        let footer = footer.map_err(|e| damaged(e.to_string()))?;
        let footer = root_as_footer(&footer).map_err(|e| damaged(e.to_string()))?;
        let schema = footer
            .schema()
            .ok_or_else(|| damaged("its footer has no schema".to_owned()))?;
        let schema = try_fb_to_schema(schema).map_err(|e| damaged(e.to_string()))?;
        Ok(Self {
            object: object.to_owned(),
            reader,
            schema: schema.into(),
            version: footer.version(),
            dictionaries: footer
                .dictionaries()
                .into_iter()
                .flatten()
                .copied()
                .collect(),
            batches: footer
                .recordBatches()
                .into_iter()
                .flatten()
                .copied()
                .collect(),
            limit_bytes,
        })
    }

    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The columns at `projection` of all rows. The dictionaries are read.
    pub fn batches(&self, projection: &[usize]) -> Result<ArrowBatches<'_>, PointsError> {
        let decoder = FileDecoder::new(self.schema.clone(), self.version);
        let mut decoder = decoder.with_projection(projection.to_vec());
        for block in &self.dictionaries {
            let bytes = self.block(block)?.bytes;
            let read = decoder.read_dictionary(block, &bytes);
            read.map_err(|e| PointsError::damaged_table(&self.object, e))?;
        }
        Ok(ArrowBatches {
            file: self,
            decoder,
        })
    }

    /// Reads a block, which does not take more than the limit.
    fn block(&self, block: &Block) -> Result<StoredBatch, PointsError> {
        let wrong =
            || PointsError::damaged_table(&self.object, "a record batch is not inside of the file");
        let length = |n: i64| u64::try_from(n).map_err(|_| wrong());
        let start = length(block.offset())?;
        let metadata = length(block.metaDataLength().into())?;
        let total = metadata
            .checked_add(length(block.bodyLength())?)
            .ok_or_else(wrong)?;
        let is_inside = start
            .checked_add(total)
            .is_some_and(|end| end <= self.reader.size_bytes());
        if !is_inside {
            return Err(wrong());
        }
        self.require_fit(total, 0, 0)?;
        let bytes = self.reader.read(start, total);
        let bytes = bytes.map_err(|e| PointsError::damaged_table(&self.object, e))?;
        let (metadata, body) = bytes.split_at(metadata as usize);
        let measured = measure_message(metadata, body);
        let (rows, decompressed) =
            measured.map_err(|problem| PointsError::damaged_table(&self.object, problem))?;
        self.require_fit(total, decompressed, rows)?;
        Ok(StoredBatch {
            bytes: Buffer::from(bytes),
            rows,
            decoded_bytes: total.saturating_add(decompressed),
        })
    }

    /// Fails if a record batch takes too much memory.
    fn require_fit(&self, stored: u64, decompressed: u64, rows: u64) -> Result<(), PointsError> {
        let collected = rows.saturating_mul(COLLECTED_ROW_BYTES);
        let bytes = stored
            .saturating_add(decompressed)
            .saturating_add(collected);
        if bytes <= self.limit_bytes {
            return Ok(());
        }
        Err(PointsError::damaged_table(
            &self.object,
            format!(
                "reading a record batch takes {bytes} bytes of memory, and --memory leaves {} for it: allow more memory, write the table with smaller chunks, or as Parquet",
                self.limit_bytes
            ),
        ))
    }
}

/// The rows of a message, and the bytes of all its buffers after they are decompressed; 0 bytes if they are not compressed.
fn measure_message(metadata: &[u8], body: &[u8]) -> Result<(u64, u64), String> {
    // A message has its length before it; since version 0.15 a mark of four bytes is before that.
    const MARK: &[u8] = &[0xff; 4];
    let message = metadata.strip_prefix(MARK).unwrap_or(metadata).get(4..);
    let message = message.ok_or("the metadata of a record batch are too short")?;
    let message = root_as_message(message).map_err(|e| e.to_string())?;
    let dictionary = message.header_as_dictionary_batch().and_then(|d| d.data());
    let Some(batch) = message.header_as_record_batch().or(dictionary) else {
        return Ok((0, 0));
    };
    let rows = u64::try_from(batch.length())
        .map_err(|_| "a record batch has a negative number of rows")?;
    let is_compressed = batch.compression().is_some();
    let mut total = 0u64;
    for buffer in batch.buffers().into_iter().flatten() {
        // The decoder panics where this is not so.
        let stored = stored_buffer(buffer, body);
        let stored = stored.ok_or("a buffer is not inside of its record batch")?;
        if !is_compressed || stored.is_empty() {
            continue;
        }
        let length = stored.first_chunk::<8>();
        let length = length.ok_or("a compressed buffer is too short")?;
        // -1 is written before bytes that are not compressed.
        let length = match i64::from_le_bytes(*length) {
            -1 => stored.len() as u64,
            length => {
                u64::try_from(length).map_err(|_| "a compressed buffer has a negative length")?
            }
        };
        total = total.saturating_add(length);
    }
    Ok((rows, total))
}

/// The bytes of a buffer in the body of its message.
fn stored_buffer<'b>(buffer: &arrow_ipc::Buffer, body: &'b [u8]) -> Option<&'b [u8]> {
    let start = usize::try_from(buffer.offset()).ok()?;
    let length = usize::try_from(buffer.length()).ok()?;
    body.get(start..start.checked_add(length)?)
}
