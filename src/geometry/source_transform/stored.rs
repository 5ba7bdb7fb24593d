//! Transforms as JSON, exactly and without secrets.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{SourceTransform, TransformOrigin};
use crate::geometry::Dimensions;
use crate::storage::redacted_source;

/// The form in JSON. Values have the types of [`SourceTransform`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    document: String,
    layer: String,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<Dimensions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<Dimensions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    matrix: Option<Vec<Vec<f64>>>,
    source_rank: usize,
}

impl SourceTransform {
    /// The transform as it is stored: the URL of its document has no query.
    pub(crate) fn without_secrets(&self) -> Self {
        let origin = TransformOrigin {
            document: redacted_source(&self.origin.document).into_owned(),
            ..self.origin.clone()
        };
        Self {
            origin,
            ..self.clone()
        }
    }
}

impl Serialize for SourceTransform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            origin,
            input,
            output,
            matrix,
            source_rank,
        } = self.without_secrets();
        let stored = Stored {
            document: origin.document,
            layer: origin.layer,
            path: origin.path,
            input,
            output,
            matrix,
            source_rank,
        };
        stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SourceTransform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        let origin = TransformOrigin {
            document: stored.document,
            layer: stored.layer,
            path: stored.path,
        };
        let rank = Some(stored.source_rank);
        Self::new(origin, stored.input, stored.output, stored.matrix, rank)
            .map_err(de::Error::custom)?
            .ok_or_else(|| de::Error::custom("found a transform without members"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transform(matrix: Option<Vec<Vec<f64>>>, document: &str) -> SourceTransform {
        let dimensions = |scale: f64| {
            let names = ["x", "ÿ \"q\"", "z"].into_iter();
            names.map(move |name| (name.to_owned(), (scale, "nm".to_owned())))
        };
        let origin = TransformOrigin {
            document: document.to_owned(),
            layer: "img".to_owned(),
            path: "layers[0].source.transform".to_owned(),
        };
        let (input, output) = (dimensions(4.6).collect(), dimensions(0.1 + 0.2).collect());
        SourceTransform::new(origin, Some(input), Some(output), matrix, Some(2))
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_transform_is_equal_after_a_round_trip() {
        let row = |a: f64| vec![a, 1.0 / 3.0, f64::MIN_POSITIVE / 4.0, -1e300];
        let matrix = vec![row(-0.0), row(0.1), row(1e-7)];
        for matrix in [None, Some(matrix)] {
            let written = transform(matrix, "state.json");
            let text = serde_json::to_string(&written).unwrap();
            let read: SourceTransform = serde_json::from_str(&text).unwrap();
            assert_eq!(read, written);
            // -0.0 is equal to 0.0, so that texts are compared, too.
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
    }

    #[test]
    fn the_query_of_the_state_is_not_stored() {
        let written = transform(None, "https://host/state.json?sig=secret");
        let text = serde_json::to_string(&written).unwrap();
        assert!(!text.contains("secret"), "{text}");
        let read: SourceTransform = serde_json::from_str(&text).unwrap();
        assert_eq!(read, written.without_secrets());
    }

    #[test]
    fn inconsistent_members_are_errors() {
        let good = serde_json::to_value(transform(None, "state.json")).unwrap();
        for (member, value) in [
            ("source_rank", serde_json::json!(9)),
            ("matrix", serde_json::json!([[1.0, 2.0]])),
            ("output", serde_json::json!({"x": [0.0, "m"]})),
            ("other", serde_json::json!(1)),
        ] {
            let mut bad = good.clone();
            bad[member] = value;
            assert!(
                serde_json::from_value::<SourceTransform>(bad).is_err(),
                "{member}"
            );
        }
    }
}
