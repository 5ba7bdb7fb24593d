//! A transform applied to a source, dimension by dimension: which inputs each output has, with which factors.

use super::{ADVICE, SourceDimension, SourceTransform, TransformError};
use crate::geometry::{Dimensions, length_nm};

/// A transform and a source: first the dimensions of the source, then those that only the transform has.
pub(super) struct Space<'t> {
    transform: &'t SourceTransform,
    source: &'t [SourceDimension],
    to_spec: Vec<Option<usize>>,
}

impl<'t> Space<'t> {
    pub(super) fn new(
        transform: &'t SourceTransform,
        source: &'t [SourceDimension],
        to_spec: &[Option<usize>],
    ) -> Result<Self, TransformError> {
        let rank = transform.output.as_ref().or(transform.input.as_ref());
        let further = transform.source_rank..rank.map_or(0, Dimensions::len);
        Ok(Self {
            transform,
            source,
            to_spec: to_spec.iter().copied().chain(further.map(Some)).collect(),
        })
    }

    pub(super) fn rank(&self) -> usize {
        self.to_spec.len()
    }

    /// The output space: the transform's, and the source's for dimensions that the transform omits.
    pub(super) fn output(&self) -> Result<Dimensions, TransformError> {
        let mut output = Dimensions::new();
        for (d, spec) in self.to_spec.iter().enumerate() {
            let own = self.source.get(d);
            let named = |space: &Option<Dimensions>| {
                let (name, unit) = space.as_ref()?.get_index((*spec)?)?;
                Some((name.clone(), unit.clone()))
            };
            let (name, unit) = match (named(&self.transform.output), named(&self.transform.input)) {
                (Some(output), _) => output,
                (None, Some((name, unit))) => (own.map_or(name, |own| own.name.clone()), unit),
                (None, None) => {
                    let name = own.map_or_else(|| d.to_string(), |own| own.name.clone());
                    let unit_nm = own.and_then(|own| own.unit_nm);
                    (
                        name,
                        unit_nm.map_or((1.0, String::new()), |nm| (nm, "nm".to_owned())),
                    )
                }
            };
            if output.insert(name.clone(), unit).is_some() {
                return Err(self.transform.wrong(
                    "outputDimensions",
                    format!("a space with two dimensions `{name}`"),
                    "each name once",
                ));
            }
        }
        Ok(output)
    }

    /// The factor of the input dimension `column` in the output dimension `row`.
    fn factor(&self, row: usize, column: usize) -> f64 {
        let same = if row == column { 1.0 } else { 0.0 };
        match (
            self.to_spec[row],
            self.to_spec[column],
            &self.transform.matrix,
        ) {
            (Some(row), Some(column), Some(rows)) => rows[row][column],
            (Some(_), None, _) | (None, Some(_), _) => 0.0,
            _ => same,
        }
    }

    /// The translation of an output dimension, in its units.
    pub(super) fn translation(&self, row: usize) -> f64 {
        match (self.to_spec[row], &self.transform.matrix) {
            (Some(row), Some(rows)) => rows[row].last().copied().unwrap_or(0.0),
            _ => 0.0,
        }
    }

    /// The input dimensions of an output dimension, with their factors.
    fn columns(&self, row: usize) -> Vec<(usize, f64)> {
        let all = (0..self.rank()).map(|column| (column, self.factor(row, column)));
        all.filter(|(_, factor)| *factor != 0.0).collect()
    }

    /// An error about the matrix's row for the output dimension `row`.
    fn wrong_row(&self, row: usize, problem: &str) -> TransformError {
        let shown = self.to_spec[row].and_then(|spec| {
            let rows = self.transform.matrix.as_ref()?;
            Some((
                format!("matrix[{spec}]"),
                format!("{:?}, ", rows.get(spec)?),
            ))
        });
        let (member, shown) = shown.unwrap_or_default();
        self.transform
            .wrong(&member, format!("{shown}{problem}"), ADVICE)
    }

    /// The only source dimension of the output dimension `row`, and its factor.
    pub(super) fn along(&self, row: usize, axis: &str) -> Result<(usize, f64), TransformError> {
        let problem = match self.columns(row)[..] {
            [(column, factor)] if column < self.source.len() => match factor {
                factor if factor > 0.0 && factor.is_finite() => return Ok((column, factor)),
                _ => format!("which mirrors the layer along {axis}"),
            },
            [] => format!("which has no input for {axis}"),
            [_] => format!("whose input for {axis} is not a dimension of the source"),
            _ => format!("a rotation or shear: {axis} has several inputs"),
        };
        Err(self.wrong_row(row, &problem))
    }

    /// Checks the row of an output dimension other than x, y, z: it must not have inputs of those, and a channel must stay
    /// the same.
    pub(super) fn check_further(
        &self,
        row: usize,
        axes: &[usize; 3],
    ) -> Result<(), TransformError> {
        let spatial: Vec<usize> = axes
            .iter()
            .flat_map(|axis| self.columns(*axis))
            .map(|(column, _)| column)
            .collect();
        let mut others = self.columns(row).into_iter().map(|(column, _)| column);
        let mixes = others
            .any(|column| spatial.contains(&column) || row < self.source.len() && column != row);
        if mixes {
            return Err(self.wrong_row(
                row,
                "which mixes x, y, z or channels into another dimension",
            ));
        }
        Ok(())
    }

    /// Size of a unit of the source's dimension `d`.
    pub(super) fn input_nm(&self, d: usize) -> Result<f64, TransformError> {
        let spec = self.to_spec[d];
        let input = spec.and_then(|spec| self.transform.input.as_ref()?.get_index(spec));
        let (member, found, nm) = match (input, self.source.get(d).and_then(|own| own.unit_nm)) {
            (Some((name, (scale, unit))), _) => (
                format!("inputDimensions.{name}"),
                format!("[{scale:?}, {unit:?}]"),
                length_nm(*scale, unit),
            ),
            (None, own) => {
                let name = self.source.get(d).map_or("", |own| &own.name);
                let found = format!("missing, and the source does not define the size of `{name}`");
                ("inputDimensions".to_owned(), found, own)
            }
        };
        nm.filter(|nm| nm.is_finite() && *nm > 0.0).ok_or_else(|| {
            let expected = "a length greater than 0 in a unit such as \"m\", \"um\" or \"nm\"";
            self.transform.wrong(&member, found, expected)
        })
    }
}
