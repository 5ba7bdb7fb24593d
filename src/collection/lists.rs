//! Reads the lists of a collection as a stream: one row is in memory at a time, with only the members that are needed.
//!
//! A collection is an object with one list per member, in any order, or one document per list. Rows go to a [`RowSink`].
//! Other members are skipped, whatever their type.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::storage::OverBudget;

/// Maximum memory of a row while it is parsed.
const MAX_ROW_BYTES: u64 = 16 << 20;

/// Memory of a value, including the growth of lists.
const VALUE_BYTES: u64 = 144;

/// Receives the rows of a list.
pub(super) trait RowSink {
    /// The members of a row that are needed.
    fn members(&self) -> &'static [&'static str];

    /// A list begins. If a document has a list twice, the last one counts.
    fn begin(&mut self);

    /// Receives the row at `index`, without the members that are not needed. An invalid row is not an error here; the sink
    /// reports it later. An error means that the memory budget is exceeded.
    fn row(&mut self, index: usize, row: Value) -> Result<(), OverBudget>;
}

/// Reads a list of rows.
pub(super) struct ListOf<'s> {
    pub(super) sink: &'s mut dyn RowSink,
    /// Set if the memory budget is exceeded.
    pub(super) over: &'s mut Option<OverBudget>,
    /// Whether the list may be an object with a row per id.
    pub(super) by_id: bool,
}

/// Reads an object whose members are lists; other members are skipped.
pub(super) struct Lists<'s, 'n> {
    pub(super) lists: &'n mut [(&'static str, &'s mut dyn RowSink)],
    pub(super) over: &'n mut Option<OverBudget>,
}

impl<'de> DeserializeSeed<'de> for ListOf<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.by_id {
            deserializer.deserialize_any(self)
        } else {
            deserializer.deserialize_seq(self)
        }
    }
}

impl ListOf<'_> {
    fn take<E: Error>(&mut self, index: usize, row: Value) -> Result<(), E> {
        self.sink.row(index, row).map_err(|over| {
            *self.over = Some(over);
            E::custom(format!("it takes more than {over}"))
        })
    }
}

impl<'de> Visitor<'de> for ListOf<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(if self.by_id {
            "a list of rows, or an object with a row for each id"
        } else {
            "a sequence"
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut rows: A) -> Result<(), A::Error> {
        self.sink.begin();
        let members = self.sink.members();
        let mut index = 0;
        while let Some(row) = rows.next_element_seed(Row { members })? {
            self.take(index, row)?;
            index += 1;
        }
        Ok(())
    }

    /// Rows by id, as older servers send them.
    fn visit_map<A: MapAccess<'de>>(mut self, mut rows: A) -> Result<(), A::Error> {
        self.sink.begin();
        let members = self.sink.members();
        let mut index = 0;
        while let Some(id) = rows.next_key::<String>()? {
            let mut row = rows.next_value_seed(Row { members })?;
            if let Some(row) = row.as_object_mut() {
                row.entry("id").or_insert(Value::String(id));
            }
            self.take(index, row)?;
            index += 1;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Lists<'_, '_> {
    type Value = Vec<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Lists<'_, '_> {
    /// The lists that were found.
    type Value = Vec<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found: Vec<&'static str> = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            let list = self.lists.iter_mut().find(|(list, _)| *list == name);
            let Some((list, sink)) = list else {
                members.next_value::<IgnoredAny>()?;
                continue;
            };
            found.retain(|other| other != list);
            let of_list = MaybeList(ListOf {
                sink: &mut **sink,
                over: &mut *self.over,
                by_id: false,
            });
            if members.next_value_seed(of_list)? {
                found.push(*list);
            }
        }
        Ok(found)
    }
}

/// Reads a value if it is a list, otherwise skips it. The result says whether it is a list.
struct MaybeList<'s>(ListOf<'s>);

impl<'de> DeserializeSeed<'de> for MaybeList<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MaybeList<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, rows: A) -> Result<bool, A::Error> {
        self.0.visit_seq(rows).map(|()| true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }
}

/// Reads a row: only the needed members of an object, all of any other value.
struct Row {
    members: &'static [&'static str],
}

impl<'de> DeserializeSeed<'de> for Row {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = Cell::new(MAX_ROW_BYTES);
        deserializer.deserialize_any(Bounded {
            left: &left,
            only: Some(self.members),
        })
    }
}

/// Reads a JSON value within the memory that is left; with `only`, only these members.
#[derive(Clone, Copy)]
struct Bounded<'l> {
    left: &'l Cell<u64>,
    only: Option<&'static [&'static str]>,
}

impl Bounded<'_> {
    fn within(self) -> Self {
        Self { only: None, ..self }
    }

    /// Counts a value and `text_bytes` of text.
    fn count<E: Error>(self, text_bytes: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(VALUE_BYTES + text_bytes as u64);
        let too_large = || E::custom(format!("the row takes more than {MAX_ROW_BYTES} bytes"));
        self.left.set(left.ok_or_else(too_large)?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.count(0).map(|()| value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.count(0).map(|()| value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.count(0).map(|()| value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.count(0).map(|()| value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.count(value.len()).map(|()| value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.count(0).map(|()| Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.count(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.within())? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        self.count(0)?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if self.only.is_some_and(|only| !only.contains(&name.as_str())) {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            self.count(name.len())?;
            map.insert(name, members.next_value_seed(self.within())?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Keeps all rows.
    #[derive(Default)]
    struct Rows(Vec<(usize, Value)>, usize);

    const MEMBERS: &[&str] = &["id", "tags", "at"];

    impl RowSink for Rows {
        fn members(&self) -> &'static [&'static str] {
            MEMBERS
        }

        fn begin(&mut self) {
            self.0.clear();
            self.1 += 1;
        }

        fn row(&mut self, index: usize, row: Value) -> Result<(), OverBudget> {
            self.0.push((index, row));
            Ok(())
        }
    }

    fn read(text: &str) -> Result<(Vec<&'static str>, Rows, Rows), serde_json::Error> {
        let (mut a, mut b, mut over) = (Rows::default(), Rows::default(), None);
        let mut json = serde_json::Deserializer::from_str(text);
        let seed = Lists {
            lists: &mut [("a", &mut a), ("b", &mut b)],
            over: &mut over,
        };
        let found = seed.deserialize(&mut json)?;
        json.end()?;
        Ok((found, a, b))
    }

    #[test]
    fn lists_may_be_in_any_order_and_only_needed_members_are_kept() {
        let text = r#"{"x": [[{"a": [1]}]], "b": [{"id": "1", "note": {"id": 2}, "at": [1, {"x": null}]}, 7], "a": []}"#;
        let (found, a, b) = read(text).unwrap();
        assert_eq!(found, ["b", "a"]);
        assert!(a.0.is_empty());
        let row = json!({"id": "1", "at": [1, {"x": null}]});
        assert_eq!(b.0, [(0, row), (1, json!(7))]);
    }

    #[test]
    fn the_last_of_repeated_members_is_used() {
        let (found, a, _) = read(r#"{"a": [1, 2], "a": [{"id": 1, "id": 2}]}"#).unwrap();
        assert_eq!((found, a.0), (vec!["a"], vec![(0, json!({"id": 2}))]));
        // As when the whole document is parsed: the last member is not a list.
        assert!(read(r#"{"a": [1, 2], "a": 3}"#).unwrap().0.is_empty());
    }

    #[test]
    fn a_row_that_is_too_large_is_an_error_unless_the_large_member_is_skipped() {
        let many = format!("[{}0]", "0,".repeat(200_000));
        let e = read(&format!(r#"{{"a": [{{"at": {many}}}]}}"#))
            .err()
            .unwrap();
        assert!(e.to_string().contains("the row takes more than"), "{e}");
        let (_, a, _) = read(&format!(r#"{{"a": [{{"note": {many}}}], "x": {many}}}"#)).unwrap();
        assert_eq!(a.0, [(0, json!({}))]);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            let name = prop_oneof![Just("id".to_owned()), Just("at".to_owned()), "[a-c]"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn streaming_gives_the_same_rows_as_parsing_the_whole_document(
            members in prop::collection::vec((prop_oneof!["a", "b", "c"], value()), 0..5),
        ) {
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("{}: {value}", json!(name)))
                .collect();
            let text = format!("{{{}}}", members.join(", "));
            let whole: Value = serde_json::from_str(&text).unwrap();
            let (found, a, b) = read(&text).unwrap();
            for (name, rows) in [("a", a), ("b", b)] {
                let list = whole.get(name).and_then(Value::as_array);
                prop_assert_eq!(list.is_some(), found.contains(&name));
                let mut expected: Vec<Value> = list.cloned().unwrap_or_default();
                for row in expected.iter_mut().filter_map(Value::as_object_mut) {
                    row.retain(|name, _| MEMBERS.contains(&name.as_str()));
                }
                if list.is_some() {
                    let rows: Vec<Value> = rows.0.into_iter().map(|(_, row)| row).collect();
                    prop_assert_eq!(rows, expected);
                }
            }
        }
    }
}
