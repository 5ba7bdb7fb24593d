//! What the splits hold as a whole: distributions of index columns, class balance, boxes and points, dropped annotations.
//!
//! Columns are read once or twice, in batches: they may not fit in memory.

mod distribution;
mod map;
mod points;

pub(super) use distribution::{Distribution, distributions};
pub(super) use map::box_map;
pub(super) use points::{PointList, Points, read_points};
