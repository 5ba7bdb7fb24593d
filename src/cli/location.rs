//! Arguments that are a local folder or a URL.

use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::storage::Location;

/// Parses the location of an output.
pub(super) fn output() -> impl TypedValueParser<Value = Location> {
    OsStringValueParser::new().try_map(Location::parse)
}
