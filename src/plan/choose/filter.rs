//! A filter on the value of one property, resolved for one point layer.

use crate::config::{PropertyFilter, PropertyValue, nearest};
use crate::points::{PropertyKind, PropertyNumber, PropertySpec};

/// A filter on one property of a layer.
pub(super) struct LayerFilter {
    spec: PropertySpec,
    min: Option<f64>,
    max: Option<f64>,
    one_of: Option<Vec<PropertyNumber>>,
}

/// Why a filter does not fit a layer.
#[derive(Debug)]
pub(super) struct FilterProblem {
    /// The member of the filter with a leading dot; often empty.
    pub(super) member: &'static str,
    /// What is wrong, and what the layer has.
    pub(super) problem: String,
}

impl LayerFilter {
    /// Resolves `config` for the property `name` of a layer with these `properties`.
    pub(super) fn new(
        config: &PropertyFilter,
        name: &str,
        properties: &[PropertySpec],
    ) -> Result<Self, FilterProblem> {
        let wrong = |member, problem| FilterProblem { member, problem };
        let spec = properties.iter().find(|p| p.id == name).ok_or_else(|| {
            let known = properties.iter().map(|p| p.id.as_str());
            wrong(
                "",
                format!("has no property `{name}`; {}", known_names(name, known)),
            )
        })?;
        if spec.kind.components() > 1 {
            let kind = spec.kind.name();
            return Err(wrong(
                "",
                format!(
                    "has the property `{name}` of type {kind}; expected a number, because colours cannot be filtered"
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

    /// Whether the value in `record` is kept. NaN never is.
    pub(super) fn keeps(&self, record: &[u8]) -> bool {
        let Some(value) = self.spec.number(record) else {
            return false;
        };
        let listed = |values: &Vec<PropertyNumber>| values.iter().any(|v| v.is_equal(value));
        self.min.is_none_or(|min| value.is_at_least(min))
            && self.max.is_none_or(|max| value.is_at_most(max))
            && self.one_of.as_ref().is_none_or(listed)
    }
}

/// The values that `value` stands for: for a label, all values with this label.
fn numbers_of(value: &PropertyValue, spec: &PropertySpec) -> Result<Vec<PropertyNumber>, String> {
    let of_f64 = |v| PropertyNumber::of_f64(as_stored(v, spec));
    match value {
        PropertyValue::Number(number) => {
            let whole = number.as_i128().filter(|_| !spec.kind.is_float());
            let whole = whole.map(PropertyNumber::Whole);
            let number = whole.or_else(|| number.as_f64().map(of_f64));
            Ok(number.into_iter().collect())
        }
        PropertyValue::Label(label) => {
            let labels = spec.enum_values.iter().zip(&spec.enum_labels);
            let values: Vec<_> = labels
                .filter(|(_, l)| *l == label)
                .map(|(v, _)| of_f64(*v))
                .collect();
            if values.is_empty() {
                return Err(format!(
                    "has no label {label:?} for the property `{}`; {}",
                    spec.id,
                    known_names(label, spec.enum_labels.iter().map(String::as_str)),
                ));
            }
            Ok(values)
        }
    }
}

/// The number after conversion to the property's type: 0.1 as `float32` differs from 0.1 as `f64`.
fn as_stored(number: f64, spec: &PropertySpec) -> f64 {
    match spec.kind {
        PropertyKind::Float32 => f64::from(number as f32),
        _ => number,
    }
}

/// The known names, with a hint if one of them is similar to `found`.
fn known_names<'a>(found: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let hint = nearest(found, known.clone());
    let hint = hint.map_or(String::new(), |h| format!("; did you mean `{h}`?"));
    let known: Vec<_> = known.map(|k| format!("`{k}`")).collect();
    if known.is_empty() {
        return "it has none".to_owned();
    }
    format!("it has {}{hint}", known.join(", "))
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
            PropertySpec::for_test("cell", PropertyKind::Uint64),
        ]
    }

    fn filter(name: &str, value: Value) -> Result<LayerFilter, String> {
        let config = serde_json::from_value(value).unwrap();
        LayerFilter::new(&config, name, &specs())
            .map_err(|w| format!("{}: {}", w.member, w.problem))
    }

    #[test]
    fn bounds_are_inclusive_and_nan_matches_no_filter() {
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
    fn ids_of_cells_are_compared_exactly() {
        let cell = |value: Value, v: u64| filter("cell", value).unwrap().keeps(&v.to_le_bytes());
        let id = 864_691_135_463_611_009u64;
        assert!(cell(json!({"in": [id]}), id) && !cell(json!({"in": [id]}), id - 1));
        assert!(
            cell(json!({"in": [u64::MAX]}), u64::MAX)
                && !cell(json!({"in": [u64::MAX]}), u64::MAX - 1)
        );
        assert!(cell(json!({"in": [7.0]}), 7) && !cell(json!({"min": 8}), 7));
    }

    #[test]
    fn a_label_stands_for_all_values_that_have_it() {
        let kind = filter("kind", json!({"in": ["large", 5]})).unwrap();
        assert_eq!(
            [0, 1, 2, 3, 5].map(|v| kind.keeps(&[v])),
            [false, true, true, false, true]
        );
    }

    #[test]
    fn an_unknown_name_is_reported_with_the_known_names() {
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
