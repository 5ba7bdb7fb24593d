//! Values that several parts of a job read from the same place, and read once.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Values by their keys. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedValues(Arc<Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>>);

impl SharedValues {
    /// The value with this key, if it has the type `T`.
    pub fn get<T: Any + Send + Sync>(&self, key: &str) -> Option<Arc<T>> {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = Arc::clone(values.get(key)?);
        value.downcast().ok()
    }

    pub fn insert(&self, key: String, value: Arc<dyn Any + Send + Sync>) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.insert(key, value);
    }
}
