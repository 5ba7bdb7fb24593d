//! The annotations of a CREMI file, as cremi_python writes them.
//!
//! `/annotations` has the datasets `ids` (n), `types` (n texts) and `locations` (n x 3, nm, z y x). Locations are relative to
//! the attribute `offset` of the group (nm, z y x), which is not the `offset` of the volumes in the file.
//! `presynaptic_site/partners` (m x 2) has the ids of a pre- and a postsynaptic annotation in each row: a synapse. A synapse is a
//! line; its id is the number of its row, from 0, because a presynaptic site has several partners.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::error::PointsError;
use super::in_memory::InMemoryLayer;
use super::property::PropertySpec;
use super::property_kind::PropertyKind;
use crate::config::{CremiConfig, nearest};
use crate::data_type::DataType;
use crate::geometry::PointNm;
use crate::hdf5::{Hdf5Dataset, Hdf5Error, Hdf5File};
use crate::neuroglancer::GeometryKind;
use crate::storage::{Location, Storage};

const GROUP: &str = "annotations";
const IDS: &str = "annotations/ids";
const TYPES: &str = "annotations/types";
const LOCATIONS: &str = "annotations/locations";
const PARTNERS: &str = "annotations/presynaptic_site/partners";

/// Most bytes of the name of a type.
const MAX_TYPE_BYTES: usize = 1024;

/// Most types that a message names, and most characters of each.
const NAMED_TYPES: usize = 20;
const NAMED_TYPE_CHARACTERS: usize = 60;

/// Names of the properties with the ids of the annotations at the ends of a line.
const PRE_ID: &str = "pre_id";
const POST_ID: &str = "post_id";

/// Reads the annotations of the file at `location`.
pub(super) fn read(
    location: &Location,
    config: &CremiConfig,
    storage: &Storage,
) -> Result<InMemoryLayer, PointsError> {
    let file = CremiFile {
        file: Hdf5File::open(location, storage)?,
        limit_bytes: storage.budget().keep_limit_bytes() / 16,
    };
    let ids = file.ids()?;
    let points = file.points(ids.len())?;
    match &config.annotation_type {
        None => file.lines(&ids, &points),
        Some(wanted) => file.points_of_type(wanted, &ids, &points),
    }
}

/// Whether a file has pairs of annotations.
pub(crate) fn has_partners(file: &Hdf5File) -> Result<bool, Hdf5Error> {
    Ok(file.optional_dataset(PARTNERS)?.is_some() && file.optional_dataset(IDS)?.is_some())
}

/// An open file.
struct CremiFile {
    file: Hdf5File,
    /// Largest dataset, in bytes.
    limit_bytes: u64,
}

impl CremiFile {
    /// The ids of all annotations.
    fn ids(&self) -> Result<Vec<u64>, PointsError> {
        let dataset = self.dataset(IDS)?;
        let [_] = shape(&dataset, "[n]")?;
        self.ids_of(&dataset)
    }

    /// The positions of `count` annotations.
    fn points(&self, count: usize) -> Result<Vec<PointNm>, PointsError> {
        let dataset = self.dataset(LOCATIONS)?;
        let found = rows::<3>(&dataset)?;
        if found != count as u64 {
            return Err(wrong_shape(
                &dataset,
                &format!("[{count}, 3], a position for each of `{IDS}`"),
            ));
        }
        let offset = self.offset_nm()?;
        let values = self.numbers(&dataset)?;
        let (rows, _) = values.as_chunks::<3>();
        let point = |row: &[f64; 3]| {
            let [z, y, x] = *row;
            PointNm([x + offset[0], y + offset[1], z + offset[2]])
        };
        Ok(rows.iter().map(point).collect())
    }

    /// What locations are relative to, in nm, x y z.
    fn offset_nm(&self) -> Result<[f64; 3], PointsError> {
        let attributes = self.file.group_attributes(GROUP)?.unwrap_or_default();
        let Some(value) = attributes.get("offset") else {
            return Ok([0.0; 3]);
        };
        let list = value.as_array().map(|list| list.iter().map(Value::as_f64));
        let list = list.and_then(|list| list.collect::<Option<Vec<_>>>());
        match list.as_deref() {
            Some([z, y, x]) => Ok([*x, *y, *z]),
            _ => Err(PointsError::Row {
                object: self.file.describe(GROUP),
                field: "offset".to_owned(),
                found: value.to_string(),
                expected: "three numbers in nm, z y x".to_owned(),
            }),
        }
    }

    /// A line for each row of the partners.
    fn lines(&self, ids: &[u64], points: &[PointNm]) -> Result<InMemoryLayer, PointsError> {
        let Some(dataset) = self.optional(PARTNERS)? else {
            return Err(PointsError::Cremi {
                object: self.file.object().to_owned(),
                problem: format!(
                    "it has annotations, but no dataset `{PARTNERS}` with pairs of them; expected it, or `points.cremi.type` in the config, for points of one type"
                ),
            });
        };
        rows::<2>(&dataset)?;
        let object = dataset.object().to_owned();
        let position_of = positions(ids, points, &self.file.describe(IDS))?;
        let properties = [PRE_ID, POST_ID];
        let properties =
            properties.map(|id| PropertySpec::new(id.to_owned(), PropertyKind::Uint64));
        let mut lines = InMemoryLayer::new(
            object.clone(),
            (format!("{object}, row "), ""),
            properties.to_vec(),
        );
        let pairs = self.ids_of(&dataset)?;
        let (pairs, _) = pairs.as_chunks::<2>();
        for (row, pair) in (0..).zip(pairs) {
            let end = |i: usize| {
                let found = position_of.get(&pair[i]).copied();
                found.ok_or_else(|| PointsError::Row {
                    object: format!("{object}, row {row}"),
                    field: ["pre", "post"][i].to_owned(),
                    found: pair[i].to_string(),
                    expected: format!("an id in `{IDS}`"),
                })
            };
            let ends = [end(0)?, end(1)?];
            lines.push(row, row, GeometryKind::Line, &ends, |specs, record| {
                for (spec, id) in specs.iter().zip(pair) {
                    spec.write_bytes(&id.to_le_bytes(), record);
                }
                Ok(())
            })?;
        }
        lines.finish()
    }

    /// The annotations of the type `wanted`.
    fn points_of_type(
        &self,
        wanted: &str,
        ids: &[u64],
        points: &[PointNm],
    ) -> Result<InMemoryLayer, PointsError> {
        let types = self.file.texts(TYPES)?.ok_or_else(|| self.missing(TYPES))?;
        let object = self.file.describe(GROUP);
        if types.shape() != [ids.len() as u64] {
            return Err(PointsError::Cremi {
                object: types.object().to_owned(),
                problem: format!(
                    "found the shape {:?}, expected [{}], a text for each of `{IDS}`",
                    types.shape(),
                    ids.len()
                ),
            });
        }
        let mut layer =
            InMemoryLayer::new(object.clone(), (format!("{object}, row "), ""), Vec::new());
        let mut annotations = (0..).zip(ids.iter().zip(points));
        let mut known = BTreeSet::new();
        let mut pushed = Ok(());
        let longest = MAX_TYPE_BYTES.max(wanted.len());
        types.for_each(self.limit_bytes, longest, |found| {
            let Some((row, (id, point))) = annotations.next() else {
                return;
            };
            if found == wanted && pushed.is_ok() {
                pushed = layer.push(row, *id, GeometryKind::Point, &[*point], |_, _| Ok(()));
            }
            if known.len() < NAMED_TYPES && !known.contains(found) {
                known.insert(found.to_owned());
            }
        })?;
        pushed?;
        if layer.kind().is_none() && !known.is_empty() {
            let hint = nearest(wanted, known.iter().map(String::as_str));
            let hint = hint.map_or(String::new(), |hint| {
                format!("; did you mean `{}`?", shortened(hint))
            });
            let mut named: Vec<_> = known.iter().map(|name| shortened(name)).collect();
            if known.len() == NAMED_TYPES {
                named.push("...".to_owned());
            }
            return Err(PointsError::CremiType {
                object,
                wanted: shortened(wanted),
                known: format!("{}{hint}", named.join(", ")),
            });
        }
        layer.finish()
    }

    fn dataset(&self, path: &str) -> Result<Hdf5Dataset, PointsError> {
        self.optional(path)?.ok_or_else(|| self.missing(path))
    }

    fn optional(&self, path: &str) -> Result<Option<Hdf5Dataset>, PointsError> {
        Ok(self.file.optional_dataset(path)?)
    }

    fn missing(&self, path: &str) -> PointsError {
        PointsError::Cremi {
            object: self.file.object().to_owned(),
            problem: format!(
                "it has no dataset `{path}`; expected the annotations of a CREMI file: `{IDS}`, `{TYPES}` and `{LOCATIONS}`"
            ),
        }
    }

    /// The values of a dataset of ids.
    fn ids_of(&self, dataset: &Hdf5Dataset) -> Result<Vec<u64>, PointsError> {
        let row_values = dataset.shape().last().copied().unwrap_or(1).max(1);
        let ids = (0u64..).zip(self.whole_numbers(dataset)?);
        let id = |(i, id): (u64, i128)| {
            u64::try_from(id).map_err(|_| PointsError::Cremi {
                object: match dataset.shape().len() {
                    1 => format!("{}, row {i}", dataset.object()),
                    _ => format!("{}, row {}", dataset.object(), i / row_values),
                },
                problem: format!("found the negative id {id}, expected ids from 0 to 2^64 - 1"),
            })
        };
        ids.map(id).collect()
    }

    /// The values of a dataset of whole numbers.
    fn whole_numbers(
        &self,
        dataset: &Hdf5Dataset,
    ) -> Result<impl Iterator<Item = i128> + use<>, PointsError> {
        let data_type = dataset.data_type();
        // numpy's empty list is one of floating-point numbers.
        let is_empty = dataset.shape().contains(&0);
        if data_type.is_float() && !is_empty {
            return Err(wrong_type(dataset, "whole numbers"));
        }
        let values = dataset.read_all(self.limit_bytes)?;
        let size = data_type.size_bytes();
        let is_signed = is_signed(data_type);
        let number = move |i: usize| {
            let bytes = values.get(i * size..(i + 1) * size)?;
            let is_negative = is_signed && bytes.last().is_some_and(|b| b & 0x80 != 0);
            let mut whole = [if is_negative { 0xff } else { 0 }; 16];
            whole.get_mut(..size)?.copy_from_slice(bytes);
            Some(i128::from_le_bytes(whole))
        };
        Ok((0..).map_while(number))
    }

    /// The values of a dataset of floating-point numbers or of whole numbers.
    fn numbers(&self, dataset: &Hdf5Dataset) -> Result<Vec<f64>, PointsError> {
        let values = || dataset.read_all(self.limit_bytes);
        Ok(match dataset.data_type() {
            DataType::Float32 => {
                let values = values()?;
                let (numbers, _) = values.as_chunks::<4>();
                let numbers = numbers.iter().map(|n| f64::from(f32::from_le_bytes(*n)));
                numbers.collect()
            }
            DataType::Float64 => {
                let values = values()?;
                let (numbers, _) = values.as_chunks::<8>();
                numbers.iter().map(|n| f64::from_le_bytes(*n)).collect()
            }
            _ => self.whole_numbers(dataset)?.map(|n| n as f64).collect(),
        })
    }
}

/// The position of each annotation. An id with two positions is an error, unless neither is finite.
fn positions(
    ids: &[u64],
    points: &[PointNm],
    object: &str,
) -> Result<HashMap<u64, PointNm>, PointsError> {
    let mut all = HashMap::with_capacity(ids.len());
    for (row, (id, point)) in ids.iter().zip(points).enumerate() {
        let first = *all.entry(*id).or_insert(*point);
        // NaN differs from itself. A line to such a position is left out.
        if first != *point && (first.is_finite() || point.is_finite()) {
            return Err(PointsError::Conflict {
                id: *id,
                first: first.to_string(),
                first_object: object.to_owned(),
                second: point.to_string(),
                second_object: format!("{object}, row {row}"),
            });
        }
    }
    Ok(all)
}

fn is_signed(data_type: DataType) -> bool {
    matches!(
        data_type,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64
    )
}

/// The shape of a dataset with `N` dimensions.
fn shape<const N: usize>(dataset: &Hdf5Dataset, expected: &str) -> Result<[u64; N], PointsError> {
    let shape = dataset.shape().try_into();
    shape.map_err(|_| wrong_shape(dataset, expected))
}

/// The number of rows of `N` values of a dataset. numpy's empty list has one dimension.
fn rows<const N: u64>(dataset: &Hdf5Dataset) -> Result<u64, PointsError> {
    match dataset.shape() {
        [rows, values] if *values == N => Ok(*rows),
        [0] => Ok(0),
        _ => Err(wrong_shape(dataset, &format!("[n, {N}]"))),
    }
}

/// A type for messages.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(NAMED_TYPE_CHARACTERS) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

fn wrong_shape(dataset: &Hdf5Dataset, expected: &str) -> PointsError {
    PointsError::Cremi {
        object: dataset.object().to_owned(),
        problem: format!("found the shape {:?}, expected {expected}", dataset.shape()),
    }
}

fn wrong_type(dataset: &Hdf5Dataset, expected: &str) -> PointsError {
    PointsError::Cremi {
        object: dataset.object().to_owned(),
        problem: format!(
            "found values of the type {}, expected {expected}",
            dataset.data_type()
        ),
    }
}
