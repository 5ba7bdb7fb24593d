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

    /// All values of the type `T`, in the order of their keys.
    pub fn all<T: Any + Send + Sync>(&self) -> Vec<Arc<T>> {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_type: Vec<(&String, Arc<T>)> = Vec::new();
        for (key, value) in values.iter() {
            let value = Arc::clone(value).downcast().ok();
            of_type.extend(value.map(|value| (key, value)));
        }
        of_type.sort_by_key(|(key, _)| *key);
        of_type.into_iter().map(|(_, value)| value).collect()
    }

    pub fn insert(&self, key: String, value: Arc<dyn Any + Send + Sync>) {
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.insert(key, value);
    }
}
