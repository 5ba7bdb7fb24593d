//! Reading objects of a dataset, which must exist.

use std::sync::Arc;

use super::DatasetError;
use crate::storage::{OpenObject, Store};

/// The bytes of the object at `key`, at most `limit_bytes`. A missing object is an error.
pub(super) fn read_object(
    store: &dyn Store,
    key: &str,
    limit_bytes: u64,
) -> Result<Vec<u8>, DatasetError> {
    let mut bytes = Vec::new();
    if store.read(key, limit_bytes, &mut bytes)? {
        Ok(bytes)
    } else {
        Err(missing(store, key))
    }
}

/// Opens the object at `key`. A missing object is an error.
pub(super) fn open_object(
    store: &dyn Store,
    key: &str,
) -> Result<Arc<dyn OpenObject>, DatasetError> {
    let object = store.open_object(key)?;
    object.map(Arc::from).ok_or_else(|| missing(store, key))
}

fn missing(store: &dyn Store, key: &str) -> DatasetError {
    DatasetError::Missing {
        object: store.describe(key),
    }
}

/// The error for an object with wrong contents.
pub(super) fn damaged(store: &dyn Store, key: &str) -> impl Fn(String) -> DatasetError + use<> {
    let path = store.describe(key);
    move |problem| DatasetError::Damaged {
        path: path.clone(),
        problem,
    }
}
