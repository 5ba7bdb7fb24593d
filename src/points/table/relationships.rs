//! The objects that annotations of a table are related to: whole numbers, or lists of them, in columns that the config names.
//!
//! The first pass over a table, which finds the annotations in boxes, does not read these columns. Here the ids and these columns are
//! read, and no others. An annotation with several rows is related to the objects of all its rows.
//!
//! Both passes skip the same parts of the table: a row far from all boxes may have the id of another annotation, which the first pass
//! does not see.

use std::collections::HashSet;

use super::cells::{RowCells, RowCollector};
use super::source::{NearRows, TableSource};
use super::{ADVICE, EXPECTED};
use crate::config::TableConfig;
use crate::points::error::PointsError;
use crate::points::layer::RelatedObjects;
use crate::storage::{DocumentError, Location, MemoryBudget, Storage};

/// Position of the column of ids; the relationships follow.
const ID: usize = 0;

/// Memory for the id of an annotation in a set.
const ID_BYTES: u64 = 24;

/// Memory of related objects is counted in steps of this size.
const KEEP_STEP_BYTES: u64 = 256 << 10;

/// The columns of related objects of a table.
#[derive(Debug)]
pub(super) struct TableRelationships {
    source: TableSource,
    names: Vec<String>,
    budget: MemoryBudget,
}

impl TableRelationships {
    /// Finds the columns in the table at `location`; `None` if the config names none.
    pub fn open(
        location: &Location,
        config: &TableConfig,
        storage: &Storage,
    ) -> Result<Option<Self>, PointsError> {
        let Some(id) = config
            .id
            .as_ref()
            .filter(|_| !config.relationships.is_empty())
        else {
            return Ok(None);
        };
        let columns = std::iter::once(id).chain(&config.relationships);
        let columns: Vec<String> = columns.cloned().collect();
        Ok(Some(Self {
            source: TableSource::open(location, &columns, config.delimiter, storage)?,
            names: config.relationships.clone(),
            budget: storage.budget().clone(),
        }))
    }

    /// The names of the relationships: those of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The annotations that each of `wanted`, a position of a relationship with objects, relates to at least one of these.
    pub fn related(
        &self,
        wanted: &[(usize, &[u64])],
        near: NearRows<'_>,
    ) -> Result<HashSet<u64>, PointsError> {
        let objects = wanted.iter().map(|(_, objects)| objects.iter().collect());
        let collector = RelatedRows {
            columns: wanted
                .iter()
                .map(|(position, _)| ID + 1 + position)
                .collect(),
            objects: objects.collect(),
        };
        let mut found = vec![HashSet::new(); wanted.len()];
        let mut kept = 0;
        let mut merge = |rows: Vec<(u64, usize)>| {
            for (id, relationship) in rows {
                found[relationship].insert(id);
            }
            let all = found.iter().map(|ids| ids.len() as u64 * ID_BYTES).sum();
            self.keep(&mut kept, all)
        };
        self.source
            .collect(Some(near), &collector, &mut |rows, _| merge(rows))?;
        let all = found.into_iter();
        let all = all.reduce(|all, ids| all.intersection(&ids).copied().collect());
        Ok(all.unwrap_or_default())
    }

    /// For each of these annotations, whose ids are ascending: for each member of `wanted`, which has positions of relationships, the
    /// objects that these relate it to; `None` if no row has its id.
    pub fn objects_of(
        &self,
        ids: &[u64],
        wanted: &[Vec<usize>],
        near: NearRows<'_>,
    ) -> Result<Vec<Option<RelatedObjects>>, PointsError> {
        let columns = wanted.iter().map(|positions| {
            let columns = positions.iter().map(|position| ID + 1 + position);
            columns.collect()
        });
        let collector = ObjectsOfRows {
            ids,
            columns: columns.collect(),
        };
        let mut found: Vec<Option<Vec<Vec<u64>>>> = vec![None; ids.len()];
        let (mut kept, mut all) = (0, 0);
        let mut merge = |rows: Vec<ObjectsOfRow>| {
            for row in rows {
                let lists = found[row.place].get_or_insert_with(|| vec![Vec::new(); wanted.len()]);
                for (list, objects) in lists.iter_mut().zip(row.objects) {
                    all += size_of_val(&objects[..]) as u64;
                    list.extend(objects);
                }
            }
            self.keep(&mut kept, all)
        };
        self.source
            .collect(Some(near), &collector, &mut |rows, _| merge(rows))?;
        let boxed = |lists: Vec<Vec<u64>>| lists.into_iter().map(Vec::into_boxed_slice).collect();
        Ok(found.into_iter().map(|lists| lists.map(boxed)).collect())
    }

    /// Counts memory, of which `kept` is counted, up to `bytes`.
    fn keep(&self, kept: &mut u64, bytes: u64) -> Result<(), PointsError> {
        if bytes < *kept + KEEP_STEP_BYTES {
            return Ok(());
        }
        let more = bytes - std::mem::replace(kept, bytes);
        self.budget.keep(more).map_err(|over| {
            DocumentError::TooLarge {
                object: self.source.object(),
                expected: EXPECTED,
                problem: format!("the objects of its annotations take more than {over}"),
                advice: ADVICE,
            }
            .into()
        })
    }
}

/// Collects the ids of annotations that are related to some objects, with the positions in `columns`.
struct RelatedRows<'t> {
    columns: Vec<usize>,
    /// For each of the columns.
    objects: Vec<HashSet<&'t u64>>,
}

impl RowCollector for RelatedRows<'_> {
    type Block = Vec<(u64, usize)>;

    fn add(&self, cells: &impl RowCells, block: &mut Self::Block) -> Result<(), PointsError> {
        for (position, (column, objects)) in self.columns.iter().zip(&self.objects).enumerate() {
            let related = cells.objects(*column)?;
            if related.iter().any(|object| objects.contains(object)) {
                block.push((cells.whole_number(ID)?.value, position));
            }
        }
        Ok(())
    }
}

/// Collects the objects of some annotations.
struct ObjectsOfRows<'t> {
    /// Ascending.
    ids: &'t [u64],
    /// For each list of objects the columns that have them.
    columns: Vec<Vec<usize>>,
}

/// The objects of a row.
struct ObjectsOfRow {
    /// The position of the id of its annotation.
    place: usize,
    /// For each list that is wanted.
    objects: Vec<Vec<u64>>,
}

impl RowCollector for ObjectsOfRows<'_> {
    type Block = Vec<ObjectsOfRow>;

    fn add(&self, cells: &impl RowCells, block: &mut Self::Block) -> Result<(), PointsError> {
        let id = cells.whole_number(ID)?.value;
        let Ok(place) = self.ids.binary_search(&id) else {
            return Ok(());
        };
        let of_list = |columns: &Vec<usize>| -> Result<Vec<u64>, PointsError> {
            let of_columns = columns.iter().map(|column| cells.objects(*column));
            Ok(of_columns.collect::<Result<Vec<_>, _>>()?.concat())
        };
        let objects = self.columns.iter().map(of_list);
        block.push(ObjectsOfRow {
            place,
            objects: objects.collect::<Result<_, _>>()?,
        });
        Ok(())
    }
}
