//! The `transform` of a layer's source in a Neuroglancer state, which moves the layer.
//!
//! The rule is Neuroglancer's (google/neuroglancer `src/coordinate_transform.ts`, `spec` of
//! `WatchableCoordinateSpaceTransform`, and `scaleTransformSubmatrix` in `src/render_coordinate_transform.ts`).
//! `inputDimensions` are the sizes of the source's voxels, by the names of its dimensions; they replace the sizes in the
//! source. `matrix` has one row for each output dimension: a factor for each input dimension, from length to
//! length, then a translation in units of the output dimension. Without a matrix, input `i` becomes output `i`.
//! `outputDimensions` name the output; alone they move nothing.
//!
//! The input is a transform and the dimensions of the source; the output is, for each of x, y, z, the source dimension
//! along it, the size of its voxels and its offset. Other transforms (rotation, shear, mirroring, mixed channels) are
//! errors that name the reason.

mod space;
mod stored;

use super::AXES;
use super::dimensions::{Dimensions, spatial_axes};
use crate::fault::{Fault, FaultKind};
use space::Space;

/// A layer source's `transform`.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceTransform {
    origin: TransformOrigin,
    input: Option<Dimensions>,
    output: Option<Dimensions>,
    /// A row for each output dimension; `None` is the identity.
    matrix: Option<Vec<Vec<f64>>>,
    /// Dimensions from this one on are not in the source; they have a single position.
    source_rank: usize,
}

/// The place of a transform, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformOrigin {
    /// The state: a file or URL.
    pub document: String,
    /// The layer's name.
    pub layer: String,
    /// The path of the transform in the state.
    pub path: String,
}

/// Why a transform cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{document}: `{path}` is {found} (the layer `{layer}`); expected {expected}")]
pub struct TransformError {
    /// The state: a file or URL.
    pub document: String,
    /// The layer's name.
    pub layer: String,
    /// The member, as a path in the state.
    pub path: String,
    /// Its value, and why it is wrong.
    pub found: String,
    /// What would be right.
    pub expected: String,
}

/// A dimension of a source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SourceDimension {
    pub(crate) name: String,
    /// Size of a voxel, or of a unit of annotations; `None` if the source does not define it.
    pub(crate) unit_nm: Option<f64>,
}

/// The dimension of a source along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PlacedAxis {
    /// Its index in the source.
    pub(crate) dimension: usize,
    /// Size of a voxel, or of a unit of annotations, along the axis.
    pub(crate) unit_nm: f64,
    /// The position of the source's coordinate 0.
    pub(crate) offset_nm: f64,
}

impl PlacedAxis {
    /// The position along the axis of `position` in the source.
    pub(crate) fn nm(&self, position: f64) -> f64 {
        match self.offset_nm {
            0.0 => position * self.unit_nm,
            offset_nm => position * self.unit_nm + offset_nm,
        }
    }
}

/// The source dimensions along x, y, z.
pub(crate) type Placement = [PlacedAxis; 3];

/// What to do if a transform is not supported.
const ADVICE: &str = "a scale greater than 0, a translation, or another order of the axes: resample the layer, or name its source in a \
     collection file";

impl SourceTransform {
    /// The transform with these members, which must be consistent; `None` if it is empty.
    pub(crate) fn new(
        origin: TransformOrigin,
        input: Option<Dimensions>,
        output: Option<Dimensions>,
        matrix: Option<Vec<Vec<f64>>>,
        source_rank: Option<usize>,
    ) -> Result<Option<Self>, TransformError> {
        let matrix = matrix.filter(|rows| !is_identity(rows));
        let Some(rank) = output.as_ref().or(input.as_ref()).map(Dimensions::len) else {
            return match matrix {
                None => Ok(None),
                Some(_) => Err(origin.wrong(
                    "outputDimensions",
                    "missing",
                    "the space that `matrix` maps to",
                )),
            };
        };
        if let Some(input) = input.as_ref().filter(|input| input.len() != rank) {
            let found = format!("{} dimension(s)", input.len());
            let expected = format!("{rank}, as many as `outputDimensions` has");
            return Err(origin.wrong("inputDimensions", found, expected));
        }
        origin.check_scales("inputDimensions", input.as_ref())?;
        origin.check_scales("outputDimensions", output.as_ref())?;
        if let Some(rows) = &matrix
            && (rows.len() != rank || rows.iter().any(|row| row.len() != rank + 1))
        {
            let lengths: Vec<_> = rows.iter().map(Vec::len).collect();
            return Err(origin.wrong(
                "matrix",
                format!("{} rows of {lengths:?} numbers", rows.len()),
                format!(
                    "{rank} rows of {} numbers, as there are {rank} dimensions",
                    rank + 1
                ),
            ));
        }
        let source_rank = source_rank.unwrap_or(rank);
        if source_rank > rank {
            let expected = format!("at most {rank}, the number of dimensions");
            return Err(origin.wrong("sourceRank", source_rank.to_string(), expected));
        }
        Ok(Some(Self {
            origin,
            input,
            output,
            matrix,
            source_rank,
        }))
    }

    /// The placement of a source with these dimensions.
    pub(crate) fn place(&self, source: &[SourceDimension]) -> Result<Placement, TransformError> {
        let in_order = |d: usize| (d < self.source_rank).then_some(d);
        let by_order: Vec<_> = (0..source.len()).map(in_order).collect();
        let Some(input) = &self.input else {
            return self.place_at(source, &by_order);
        };
        let position = |d: &SourceDimension| {
            let same = |name: &String| unmarked(name) == unmarked(&d.name);
            input
                .keys()
                .position(same)
                .filter(|s| *s < self.source_rank)
        };
        let by_name: Vec<_> = source.iter().map(position).collect();
        if by_name.iter().any(Option::is_some) {
            return self.place_at(source, &by_name);
        }
        // Neuroglancer numbers dimensions without names, and ignores a transform with other names.
        let numbered = |names: &mut dyn Iterator<Item = &String>| {
            names.enumerate().all(|(i, name)| number(name) == Some(i))
        };
        let is_unnamed = numbered(&mut source.iter().map(|d| &d.name));
        let placed = self.place_at(source, &by_order);
        if let Ok(placed) = placed.as_ref()
            && (is_unnamed && numbered(&mut input.keys()) || is_unmoved(placed, source))
        {
            return Ok(*placed);
        }
        let names = |names: &mut dyn Iterator<Item = &String>| {
            let names: Vec<_> = names.map(|n| format!("`{n}`")).collect();
            names.join(", ")
        };
        Err(self.origin.wrong(
            "inputDimensions",
            format!("a space of {}", names(&mut input.keys())),
            format!(
                "the names of the source's dimensions, {}: Neuroglancer ignores a transform of others",
                names(&mut source.iter().map(|d| &d.name))
            ),
        ))
    }

    /// The placement of annotations in the state itself: their dimensions are those of the transform, in order.
    pub(crate) fn place_local(&self) -> Result<Placement, TransformError> {
        let space = self.input.as_ref().or(self.output.as_ref());
        let rank = space.map_or(0, Dimensions::len);
        let source: Vec<_> = (0..rank)
            .map(|d| SourceDimension {
                name: d.to_string(),
                unit_nm: None,
            })
            .collect();
        let local = Self {
            input: space.cloned(),
            source_rank: rank,
            ..self.clone()
        };
        local.place_at(&source, &(0..rank).map(Some).collect::<Vec<_>>())
    }

    /// Names of the dimensions of annotations in the state itself.
    pub(crate) fn local_names(&self) -> Vec<String> {
        let space = self.output.as_ref().or(self.input.as_ref());
        space
            .into_iter()
            .flat_map(Dimensions::keys)
            .cloned()
            .collect()
    }

    /// An error about a member, or about the whole transform.
    pub(crate) fn wrong(
        &self,
        member: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> TransformError {
        self.origin.wrong(member, found, expected)
    }

    /// Its description for messages: `the ``transform`` of the layer ``img`` in state.json`.
    pub(crate) fn describe(&self) -> String {
        let TransformOrigin {
            document, layer, ..
        } = &self.origin;
        format!("the `transform` of the layer `{layer}` in {document}")
    }

    /// `to_spec` is, for each dimension of the source, its index in this transform, if it is there.
    fn place_at(
        &self,
        source: &[SourceDimension],
        to_spec: &[Option<usize>],
    ) -> Result<Placement, TransformError> {
        let space = Space::new(self, source, to_spec)?;
        let output = space.output()?;
        let (axes, unit_nm) = spatial_axes(&output).map_err(|wrong| {
            let member = match (&self.output, wrong.name) {
                (Some(_), Some(name)) => format!("outputDimensions.{name}"),
                (None, Some(name)) => format!("inputDimensions.{name}"),
                (_, None) => "outputDimensions".to_owned(),
            };
            self.origin.wrong(&member, wrong.found, wrong.expected)
        })?;
        for row in (0..space.rank()).filter(|row| !axes.contains(row)) {
            space.check_further(row, &axes)?;
        }
        let mut placed = Vec::with_capacity(3);
        for (i, row) in axes.into_iter().enumerate() {
            let (dimension, factor) = space.along(row, AXES[i])?;
            placed.push(PlacedAxis {
                dimension,
                unit_nm: factor * space.input_nm(dimension)?,
                offset_nm: space.translation(row) * unit_nm[i],
            });
        }
        match placed[..] {
            [x, y, z]
                if x.dimension != y.dimension
                    && y.dimension != z.dimension
                    && z.dimension != x.dimension =>
            {
                Ok([x, y, z])
            }
            _ => Err(self.origin.wrong(
                "matrix",
                "one that takes two axes from one dimension",
                ADVICE,
            )),
        }
    }
}

/// Whether `placed` is the placement in the source's own metadata.
pub(crate) fn is_unmoved(placed: &Placement, source: &[SourceDimension]) -> bool {
    placed.iter().zip(AXES).all(|(axis, name)| {
        source.get(axis.dimension).is_some_and(|own| {
            let same_unit =
                |nm: f64| (nm - axis.unit_nm).abs() <= 1e-9 * nm.abs().max(axis.unit_nm.abs());
            own.name.eq_ignore_ascii_case(name)
                && own.unit_nm.is_some_and(same_unit)
                && axis.offset_nm == 0.0
        })
    })
}

impl TransformOrigin {
    /// Checks that the scales of a space, the member `member`, are greater than 0.
    fn check_scales(&self, member: &str, space: Option<&Dimensions>) -> Result<(), TransformError> {
        let is_valid = |scale: f64| scale.is_finite() && scale > 0.0;
        let mut all = space.into_iter().flatten();
        match all.find(|(_, (scale, _))| !is_valid(*scale)) {
            None => Ok(()),
            Some((name, (scale, unit))) => Err(self.wrong(
                &format!("{member}.{name}"),
                format!("[{scale:?}, {unit:?}]"),
                "a scale greater than 0",
            )),
        }
    }

    /// An error about a member, or about the whole transform.
    pub(crate) fn wrong(
        &self,
        member: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> TransformError {
        let dot = if member.is_empty() || self.path.is_empty() {
            ""
        } else {
            "."
        };
        TransformError {
            document: self.document.clone(),
            layer: self.layer.clone(),
            path: format!("{}{dot}{member}", self.path),
            found: found.into(),
            expected: expected.into(),
        }
    }
}

/// A dimension's name without Neuroglancer's mark of channels (`c^`) and local dimensions (`c'`).
fn unmarked(name: &str) -> &str {
    name.trim_end_matches(['^', '\''])
}

/// The index in the name of a dimension that is named after its index: `d0`, `dim_0`, `0`.
fn number(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("dim_").or(name.strip_prefix('d'));
    digits.unwrap_or(name).parse().ok()
}

fn is_identity(rows: &[Vec<f64>]) -> bool {
    let is_row = |(i, row): (usize, &Vec<f64>)| {
        let expected = |j| if i == j { 1.0 } else { 0.0 };
        let fits = |(j, value): (usize, &f64)| *value == expected(j);
        row.len() == rows.len() + 1 && row.iter().enumerate().all(fits)
    };
    rows.iter().enumerate().all(is_row)
}

impl Fault for TransformError {
    fn kind(&self) -> FaultKind {
        FaultKind::Data
    }
}

#[cfg(test)]
mod tests;
