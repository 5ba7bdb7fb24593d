//! What the value of one property must be, resolved for one point layer.

use crate::config::{PropertyFilter, PropertyValue, nearest};
use crate::points::{PropertyKind, PropertySpec};

/// A filter on one property of a layer.
pub(super) struct Filter {
    spec: PropertySpec,
    min: Option<f64>,
    max: Option<f64>,
    one_of: Option<Vec<f64>>,
}

/// What is wrong with a filter.
#[derive(Debug)]
pub(super) struct Wrong {
    /// The member of the filter, with a dot before it; often none.
    pub(super) member: &'static str,
    /// What was found, and what there is.
    pub(super) problem: String,
}

impl Filter {
    /// `config`, for the property `name` of a layer that has `properties`.
    pub(super) fn new(
        config: &PropertyFilter,
        name: &str,
        properties: &[PropertySpec],
    ) -> Result<Self, Wrong> {
        let wrong = |member, problem| Wrong { member, problem };
        let spec = properties.iter().find(|p| p.id == name).ok_or_else(|| {
            let known = properties.iter().map(|p| p.id.as_str());
            wrong(
                "",
                format!("has no property `{name}`; {}", has(name, known)),
            )
        })?;
        if spec.kind.components() > 1 {
            let kind = spec.kind.name();
            return Err(wrong(
                "",
                format!(
                    "has `{name}` of type {kind}, expected a number: colours cannot be filtered"
                ),
            ));
        }
        let one_of = match &config.one_of {
            None => None,
            Some(values) => {
                let mut numbers = Vec::new();
                for value in values {
                    numbers.extend(numbers_of(value, spec).map_err(|p| wrong(".in", p))?);
                }
                Some(numbers)
            }
        };
        Ok(Self {
            min: config.min.map(|v| as_stored(v, spec)),
            max: config.max.map(|v| as_stored(v, spec)),
            one_of,
            spec: spec.clone(),
        })
    }

    /// Whether the value in `record` is one of those that are kept. NaN is none.
    pub(super) fn keeps(&self, record: &[u8]) -> bool {
        let Some(value) = self.spec.number(record) else {
            return false;
        };
        let listed = |values: &Vec<f64>| values.contains(&value);
        self.min.is_none_or(|min| value >= min)
            && self.max.is_none_or(|max| value <= max)
            && self.one_of.as_ref().is_none_or(listed)
    }
}

/// The values that are meant: of a label, those that bear it.
fn numbers_of(value: &PropertyValue, spec: &PropertySpec) -> Result<Vec<f64>, String> {
    match value {
        PropertyValue::Number(number) => {
            let number = number.as_f64().map(|v| as_stored(v, spec));
            Ok(number.into_iter().collect())
        }
        PropertyValue::Label(label) => {
            let labels = spec.enum_values.iter().zip(&spec.enum_labels);
            let values: Vec<_> = labels
                .filter(|(_, l)| *l == label)
                .map(|(v, _)| as_stored(*v, spec))
                .collect();
            match values.is_empty() {
                false => Ok(values),
                true => Err(format!(
                    "has no label {label:?} among the values of `{}`; {}",
                    spec.id,
                    has(label, spec.enum_labels.iter().map(String::as_str)),
                )),
            }
        }
    }
}

/// As the property has the number: 0.1 is another number as `float32` than as `f64`.
fn as_stored(number: f64, spec: &PropertySpec) -> f64 {
    match spec.kind {
        PropertyKind::Float32 => f64::from(number as f32),
        _ => number,
    }
}

/// What there is, and which of it may be meant.
fn has<'a>(found: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let hint = nearest(found, known.clone());
    let hint = hint.map_or(String::new(), |h| format!("; did you mean `{h}`?"));
    let known: Vec<_> = known.map(|k| format!("`{k}`")).collect();
    match known.is_empty() {
        true => "it has none".to_owned(),
        false => format!("it has {}{hint}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn specs() -> Vec<PropertySpec> {
        let mut kind = PropertySpec::for_test("kind", PropertyKind::Uint8);
        kind.enum_values = vec![0.0, 1.0, 2.0];
        kind.enum_labels = ["small", "large", "large"].map(str::to_owned).to_vec();
        vec![
            kind,
            PropertySpec::for_test("score", PropertyKind::Float32),
            PropertySpec::for_test("depth", PropertyKind::Int16),
            PropertySpec::for_test("colour", PropertyKind::Rgb),
        ]
    }

    fn filter(name: &str, value: Value) -> Result<Filter, String> {
        let config = serde_json::from_value(value).unwrap();
        Filter::new(&config, name, &specs()).map_err(|w| format!("{}: {}", w.member, w.problem))
    }

    #[test]
    fn bounds_are_included_and_nan_passes_none() {
        let score = |value, v: f32| filter("score", value).unwrap().keeps(&v.to_le_bytes());
        let range = json!({"min": 0.7, "max": 0.9});
        let kept = [0.69, 0.7, 0.8, 0.9, 0.91].map(|v| score(range.clone(), v));
        assert_eq!(kept, [false, true, true, true, false]);
        for value in [
            json!({"min": -1e300}),
            json!({"max": 1e300}),
            json!({"in": [0]}),
        ] {
            assert!(!score(value, f32::NAN));
        }
        assert!(score(json!({"in": [0.1, 7]}), 0.1) && score(json!({"in": [0.1, 7]}), 7.0));
        assert!(
            score(json!({"in": [1], "max": 1}), 1.0)
                && !score(json!({"in": [1, 2], "max": 1}), 2.0)
        );
        let depth = |v: i16| {
            filter("depth", json!({"min": -2.5}))
                .unwrap()
                .keeps(&v.to_le_bytes())
        };
        assert!(depth(-2) && !depth(-3));
    }

    #[test]
    fn labels_stand_for_all_values_that_bear_them() {
        let kind = filter("kind", json!({"in": ["large", 5]})).unwrap();
        assert_eq!(
            [0, 1, 2, 3, 5].map(|v| kind.keeps(&[v])),
            [false, true, true, false, true]
        );
    }

    #[test]
    fn what_there_is_not_is_told_with_what_there_is() {
        let wrong = |name, value| filter(name, value).map(|_| ()).unwrap_err();
        let e = wrong("scor", json!({"min": 1}));
        assert!(
            e.contains("`kind`, `score`") && e.contains("did you mean `score`"),
            "{e}"
        );
        let e = wrong("kind", json!({"in": ["lage"]}));
        assert!(
            e.starts_with(".in: ") && e.contains("\"lage\"") && e.contains("did you mean `large`"),
            "{e}"
        );
        let e = wrong("score", json!({"in": ["large"]}));
        assert!(e.contains("`score`; it has none"), "{e}");
        let e = wrong("colour", json!({"in": [1]}));
        assert!(e.contains("rgb"), "{e}");
    }
}
