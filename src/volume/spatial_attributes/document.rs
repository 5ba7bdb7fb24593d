//! The attributes of an array or group, as a metadata document.

use serde_json::{Map, Value};

use super::units::Units;
use crate::volume::VolumeError;

/// The attributes in one metadata document.
#[derive(Clone, Copy, Debug)]
pub(in crate::volume) struct AttributesDocument<'a> {
    /// Path or URL of the document.
    pub object: &'a str,
    pub attributes: &'a Map<String, Value>,
}

impl<'a> AttributesDocument<'a> {
    pub(super) fn invalid(&self, path: &str, problem: String) -> VolumeError {
        VolumeError::InvalidMetadata {
            object: self.object.to_owned(),
            path: path.to_owned(),
            problem,
        }
    }

    /// The member `key`, if it is not null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.attributes.get(key).filter(|v| !v.is_null())
    }

    /// The member `key` as a list of numbers.
    pub(super) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, VolumeError> {
        let value = self.get(key);
        value.map(|v| self.as_numbers(key, v)).transpose()
    }

    pub(super) fn as_numbers(&self, path: &str, value: &Value) -> Result<Vec<f64>, VolumeError> {
        let list = value.as_array();
        let numbers = list.and_then(|l| l.iter().map(Value::as_f64).collect());
        numbers
            .ok_or_else(|| self.invalid(path, format!("found {value}, expected a list of numbers")))
    }

    /// The units in the member `key`: one for all, or a list.
    pub(super) fn units(&self, key: &str) -> Result<Option<Units>, VolumeError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let units = match value {
            Value::String(unit) => Some(Units::One(unit.clone())),
            Value::Array(list) => {
                // Channels have no unit.
                let unit = |v: &Value| match v {
                    Value::Null => Some(String::new()),
                    other => other.as_str().map(str::to_owned),
                };
                list.iter()
                    .map(unit)
                    .collect::<Option<_>>()
                    .map(Units::Each)
            }
            _ => None,
        };
        let units = units.ok_or_else(|| {
            self.invalid(
                key,
                format!("found {value}, expected a unit or a list of units"),
            )
        })?;
        Ok(Some(units))
    }
}
