//! Converts codec configurations to the form that zarrs accepts.
//!
//! A compressed stream defines how to decompress it, so the configuration of a compressor is replaced by a constant.
//! Configurations that decoding needs are checked.

use serde_json::{Map, Value, json};

use super::flaw::MetadataFlaw;
use super::members::{extension, lengths};

/// Supported codecs, by their names in numcodecs.
const NAMES: [&str; 12] = [
    "adler32",
    "bitround",
    "blosc",
    "bz2",
    "crc32c",
    "fixedscaleoffset",
    "fletcher32",
    "gzip",
    "pcodec",
    "shuffle",
    "zlib",
    "zstd",
];

/// Supported v3 codecs that numcodecs does not have. All others may have the prefix `numcodecs.`.
const V3_NAMES: [&str; 7] = [
    "bytes",
    "sharding_indexed",
    "transpose",
    "packbits",
    "reshape",
    "squeeze",
    "zarrs.squeeze",
];

const NUMCODECS: &str = "numcodecs.";

/// The values of a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkValues {
    /// Bytes per value.
    pub bytes: usize,
    /// Number of dimensions of a chunk.
    pub rank: usize,
}

/// Converts a v2 filter or compressor.
pub(super) fn v2(codec: &Value, path: &str, values: ChunkValues) -> Result<Value, MetadataFlaw> {
    let id = codec.get("id");
    // zarrs does not support crc32c in v2.
    let names: Vec<_> = NAMES.into_iter().filter(|n| *n != "crc32c").collect();
    let expected = format!("one of {}", names.join(", "));
    let (Some(given), Some(name)) = (codec.as_object(), id.and_then(Value::as_str)) else {
        let expected = format!("an object with an `id`, {expected}");
        return Err(MetadataFlaw::new(path, Some(codec), &expected));
    };
    if !names.contains(&name) {
        return Err(MetadataFlaw::new(format!("{path}.id"), id, &expected));
    }
    let mut normal = configuration(name, given, path, values)?;
    if name == "blosc" {
        // A number in v2.
        normal.insert("shuffle".to_owned(), 0.into());
    }
    normal.remove("id");
    normal.insert("id".to_owned(), name.into());
    Ok(Value::Object(normal))
}

/// Converts the codecs of a v3 array, or of a codec with inner codecs.
pub(super) fn v3_chain(
    codecs: &[Value],
    path: &str,
    values: ChunkValues,
) -> Result<Vec<Value>, MetadataFlaw> {
    let codecs = codecs.iter().enumerate();
    let codecs = codecs.map(|(i, codec)| v3(codec, &format!("{path}[{i}]"), values));
    codecs.collect()
}

fn v3(codec: &Value, path: &str, values: ChunkValues) -> Result<Value, MetadataFlaw> {
    let expected = format!(
        "one of {}, {} (also as {NUMCODECS}NAME)",
        V3_NAMES[..3].join(", "),
        NAMES.join(", ")
    );
    let (found, given) = extension(Some(codec), path, &expected)?;
    let name = match found.strip_prefix(NUMCODECS).unwrap_or(found) {
        // The name of `bytes` in drafts of v3.
        "endian" => "bytes",
        name => name,
    };
    let known = NAMES.contains(&name) || (name == found && V3_NAMES.contains(&name));
    if !known && name != "bytes" {
        let path = format!("{path}.name");
        return Err(MetadataFlaw::new(path, Some(&found.into()), &expected));
    }
    let none = Map::new();
    let inside = format!("{path}.configuration");
    let configuration = configuration(name, given.unwrap_or(&none), &inside, values)?;
    Ok(json!({"name": v3_name(name), "configuration": configuration}))
}

/// The name of a v3 codec in zarrs.
fn v3_name(name: &str) -> String {
    match name {
        "adler32" | "bz2" | "fixedscaleoffset" | "fletcher32" | "pcodec" | "shuffle" | "zlib" => {
            format!("{NUMCODECS}{name}")
        }
        "squeeze" => "zarrs.squeeze".to_owned(),
        name => name.to_owned(),
    }
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// The configuration of the codec `name` that decoding needs. `path` is the path of `given`.
fn configuration(
    name: &str,
    given: &Map<String, Value>,
    path: &str,
    values: ChunkValues,
) -> Result<Map<String, Value>, MetadataFlaw> {
    let normal = match name {
        "gzip" | "zlib" | "bz2" => json!({"level": 1}),
        "zstd" => json!({"level": 0, "checksum": false}),
        "blosc" => json!({"cname": "lz4", "clevel": 5, "shuffle": "noshuffle", "blocksize": 0}),
        "fletcher32" => json!({}),
        "adler32" => json!({"location": start_or_end(given, path, "location", "start")?}),
        "crc32c" if start_or_end(given, path, "location", "end")? == "start" => {
            let path = format!("{path}.location");
            let expected = "\"end\": a checksum before the values is not supported";
            return Err(MetadataFlaw::new(path, given.get("location"), expected));
        }
        "crc32c" => json!({}),
        // Each chunk defines how it was compressed.
        "pcodec" => json!({}),
        // Decoding does not restore rounded bits.
        "bitround" => json!({"keepbits": 1}),
        "shuffle" => {
            let size = given.get("elementsize").filter(|s| !s.is_null());
            let bytes = size.map_or(Some(4), Value::as_u64).filter(|n| *n > 0);
            let path = format!("{path}.elementsize");
            json!({"elementsize": bytes.ok_or_else(|| MetadataFlaw::new(path, size, "a whole number from 1"))?})
        }
        // The form in drafts of v3.
        "transpose" if given.get("order").is_some_and(|o| o == "C") => {
            json!({"order": Vec::from_iter(0..values.rank)})
        }
        "transpose" if given.get("order").is_some_and(|o| o == "F") => {
            json!({"order": Vec::from_iter((0..values.rank).rev())})
        }
        "bytes" => bytes(given, path, values)?,
        "sharding_indexed" => sharding(given, path, values)?,
        // All of it is needed.
        _ => Value::Object(given.clone()),
    };
    Ok(members(normal))
}

/// The member `key`, the position of a checksum or index in a chunk or shard.
fn start_or_end<'a>(
    given: &'a Map<String, Value>,
    path: &str,
    key: &str,
    default: &'a str,
) -> Result<&'a str, MetadataFlaw> {
    match given.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::String(at)) if at == "start" || at == "end" => Ok(at),
        other => {
            let path = format!("{path}.{key}");
            Err(MetadataFlaw::new(path, other, "\"start\" or \"end\""))
        }
    }
}

fn bytes(
    given: &Map<String, Value>,
    path: &str,
    values: ChunkValues,
) -> Result<Value, MetadataFlaw> {
    let endian = given.get("endian").filter(|e| !e.is_null());
    match endian.and_then(Value::as_str) {
        Some(order @ ("little" | "big")) => Ok(json!({"endian": order})),
        // A single byte has no order.
        None if endian.is_none() && values.bytes == 1 => Ok(json!({})),
        _ => {
            let expected = "\"little\" or \"big\"";
            Err(MetadataFlaw::new(
                format!("{path}.endian"),
                endian,
                expected,
            ))
        }
    }
}

fn sharding(
    given: &Map<String, Value>,
    path: &str,
    values: ChunkValues,
) -> Result<Value, MetadataFlaw> {
    let member = |name: &str| (given.get(name), format!("{path}.{name}"));
    let (found, at) = member("chunk_shape");
    let chunk_shape = lengths(found, &at, 1)?;
    let chain = |name: &str, values| match member(name) {
        (Some(Value::Array(codecs)), at) => v3_chain(codecs, &at, values),
        (found, at) => Err(MetadataFlaw::new(at, found, "a list of codecs")),
    };
    // The index has two numbers for each inner chunk.
    let of_index = ChunkValues {
        bytes: 8,
        rank: values.rank + 1,
    };
    let (codecs, index_codecs) = (chain("codecs", values)?, chain("index_codecs", of_index)?);
    let index_location = start_or_end(given, path, "index_location", "end")?;
    Ok(json!({
        "chunk_shape": chunk_shape,
        "codecs": codecs,
        "index_codecs": index_codecs,
        "index_location": index_location,
    }))
}
