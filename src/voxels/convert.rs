//! Converting the values of a layer to those of an array, a row at a time.
//!
//! Little-endian values of the layer's type come in, and as many of the array's type go out. Every value is converted on its
//! own, without its neighbours or coordinates. A value that the array's type cannot hold is an error, never another value.

#[cfg(test)]
mod tests;

use super::cast::{Cast, Computed};
use crate::config::Transform;
use crate::data_type::{DataType, with_type};

/// How values of one type are converted to another.
#[derive(Clone, Debug)]
pub(crate) struct Conversion {
    from: DataType,
    to: DataType,
    kind: Operation,
}

/// The operation, with everything that can be computed before the first value. Integers are compared by their bits.
#[derive(Clone, Debug)]
enum Operation {
    Copy,
    Cast,
    Scale {
        multiply: f64,
        add: f64,
    },
    /// The same for every value.
    Constant(bool),
    Nonzero,
    Equals(u64),
    /// 2 to [`FEW`] values, the last one repeated.
    IsInFew([u64; FEW]),
    /// More values, ascending.
    IsInMany(Vec<u64>),
    /// For integers: this or more.
    AtLeastInteger(i128),
    /// For floating point numbers: this or more.
    AtLeastFloat(f64),
    /// The objects of a sample, see [`Conversion::of_objects`].
    ObjectAt,
}

/// Up to this many values are compared with each voxel one by one.
const FEW: usize = 8;

/// A value that does not fit in the array's type.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the value {value} of a {from} layer{} does not fit in {to}", becomes(.scaled))]
pub(crate) struct ValueDoesNotFit {
    /// The layer's value.
    pub value: String,
    /// The layer's type.
    pub from: DataType,
    /// The value after `scale`.
    pub scaled: Option<f64>,
    /// The array's type.
    pub to: DataType,
}

fn becomes(scaled: &Option<f64>) -> String {
    scaled.map_or_else(String::new, |to| format!(" becomes {to}, which"))
}

impl Conversion {
    /// The conversion of `transform` from values of the type `from` to the type `dtype`. Without `dtype`: to `uint8` for masks,
    /// to `float32` for `scale`, else to `from`.
    ///
    /// # Errors
    /// The transform does not work for layers of this type: what was found and expected.
    pub fn new(
        transform: &Transform,
        from: DataType,
        dtype: Option<DataType>,
    ) -> Result<Self, String> {
        let to = dtype.unwrap_or(match transform {
            Transform::None => from,
            Transform::Scale(_) => DataType::Float32,
            _ => DataType::UInt8,
        });
        let for_integers = match transform {
            Transform::Equals(_) => Some("equals"),
            Transform::In(_) => Some("in"),
            Transform::ObjectAt(_) => Some("object_at"),
            _ => None,
        };
        if let Some(name) = for_integers.filter(|_| from.is_float()) {
            return Err(format!(
                "`{name}` compares whole numbers, found a {from} layer, expected one of an integer type"
            ));
        }
        let kind = match transform {
            Transform::None if from == to => Operation::Copy,
            Transform::None => Operation::Cast,
            Transform::Scale(scale) => Operation::Scale {
                multiply: scale.multiply,
                add: scale.add,
            },
            Transform::Nonzero => Operation::Nonzero,
            Transform::Equals(value) => one_of(from, &[*value]),
            Transform::In(values) => one_of(from, values),
            Transform::Threshold(least) => from_least(from, *least),
            Transform::ObjectAt(_) => Operation::ObjectAt,
            Transform::Inside => Operation::Constant(true),
        };
        Ok(Self { from, to, kind })
    }

    /// Type of the converted values.
    pub fn to(&self) -> DataType {
        self.to
    }

    /// Whether values do not change.
    pub fn is_identity(&self) -> bool {
        matches!(self.kind, Operation::Copy)
    }

    /// Whether values depend on the objects of a sample: see [`Conversion::of_objects`].
    pub fn needs_objects(&self) -> bool {
        matches!(self.kind, Operation::ObjectAt)
    }

    /// The conversion for a sample: 1 for voxels of one of `objects`, which are results of [`Conversion::object_of`]. Without
    /// [`Conversion::needs_objects`] it is the same conversion.
    pub fn of_objects(&self, objects: &[u64]) -> Self {
        let kind = match &self.kind {
            Operation::ObjectAt => {
                let bits = objects
                    .iter()
                    .filter_map(|id| bits_of_object(self.from, *id));
                any_of(bits.collect())
            }
            other => other.clone(),
        };
        let Self { from, to, .. } = *self;
        Self { from, to, kind }
    }

    /// Whether every value of the layer's type fits.
    pub fn fits_all(&self) -> bool {
        // Values that fit are a range without holes, except for those that are not finite.
        with_type!(self.from, T => {
            let not_finite = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(|v| Cast::<T>::cast(v).0);
            let not_finite = not_finite.into_iter().filter(|_| self.from.is_float());
            not_finite.chain([T::MIN, T::MAX]).all(|value| {
                let mut out = [0; 8];
                let out = &mut out[..self.to.size_bytes()];
                self.convert(&value.to_le_bytes(), out).is_ok()
            })
        })
    }

    /// The object that a voxel of this little-endian value belongs to; 0 for none. Negative values are
    /// sign-extended.
    pub fn object_of(&self, value: &[u8]) -> u64 {
        with_type!(self.from, T => {
            let first = value.first_chunk::<{ size_of::<T>() }>();
            first.map_or(0, |v| T::from_le_bytes(*v) as i128 as u64)
        })
    }

    /// Converts each value of `from` to one of `to`; both are little-endian and have equally many values. For `object_at`
    /// without [`Conversion::of_objects`] every result is 0. For `inside` every result is 1, because these values were read
    /// from the volume.
    ///
    /// # Errors
    /// The first value that does not fit; `to` is unspecified then.
    pub fn convert(&self, from: &[u8], to: &mut [u8]) -> Result<(), ValueDoesNotFit> {
        debug_assert_eq!(
            from.len() / self.from.size_bytes(),
            to.len() / self.to.size_bytes()
        );
        match &self.kind {
            Operation::Copy => to.copy_from_slice(from),
            Operation::Cast => return self.cast(from, to),
            Operation::Scale { multiply, add } => return self.scale(from, to, *multiply, *add),
            Operation::ObjectAt => self.mask(&Operation::Constant(false), from, to),
            mask => self.mask(mask, from, to),
        }
        Ok(())
    }

    fn cast(&self, from: &[u8], to: &mut [u8]) -> Result<(), ValueDoesNotFit> {
        let fits = with_type!(self.from, T => with_type!(self.to, U => {
            map_checked(from, to, |v| {
                let (value, fits): (U, bool) = T::from_le_bytes(v).cast();
                (value.to_le_bytes(), fits)
            })
        }));
        if fits {
            return Ok(());
        }
        let value = with_type!(self.from, T => with_type!(self.to, U => {
            let fits = |v: &T| Cast::<U>::cast(*v).1;
            values(from, T::from_le_bytes).find(|v| !fits(v)).map(|v| v.to_string())
        }));
        Err(self.bad(value, None))
    }

    fn scale(
        &self,
        from: &[u8],
        to: &mut [u8],
        multiply: f64,
        add: f64,
    ) -> Result<(), ValueDoesNotFit> {
        let scaled = |of: f64| Computed {
            value: of * multiply + add,
            of,
        };
        let fits = with_type!(self.from, T => with_type!(self.to, U => {
            map_checked(from, to, |v| {
                let (of, _): (f64, bool) = T::from_le_bytes(v).cast();
                let (value, fits): (U, bool) = scaled(of).cast();
                (value.to_le_bytes(), fits)
            })
        }));
        if fits {
            return Ok(());
        }
        let fits = |of: f64| with_type!(self.to, U => Cast::<U>::cast(scaled(of)).1);
        let (value, of) = with_type!(self.from, T => {
            let mut values = values(from, T::from_le_bytes).map(|v| (v, Cast::<f64>::cast(v).0));
            let bad = values.find(|(_, of)| !fits(*of));
            (bad.map(|(v, _)| v.to_string()), bad.map(|(_, of)| of))
        });
        Err(self.bad(value, of.map(|of| scaled(of).value)))
    }

    fn bad(&self, value: Option<String>, scaled: Option<f64>) -> ValueDoesNotFit {
        ValueDoesNotFit {
            value: value.unwrap_or_default(),
            from: self.from,
            scaled,
            to: self.to,
        }
    }

    /// Writes a mask of 0 and 1 in the type `self.to`. The loops depend only on the width of that type, and on the width of the
    /// layer's type where values are tested for equality.
    fn mask(&self, kind: &Operation, from: &[u8], to: &mut [u8]) {
        let one = with_type!(self.to, U => {
            let mut one = [0; 8];
            one[..size_of::<U>()].copy_from_slice(&(1 as U).to_le_bytes());
            u64::from_le_bytes(one)
        });
        match self.to.size_bytes() {
            1 => mask(self.from, kind, from, to, one as u8, u8::to_le_bytes),
            2 => mask(self.from, kind, from, to, one as u16, u16::to_le_bytes),
            4 => mask(self.from, kind, from, to, one as u32, u32::to_le_bytes),
            _ => mask(self.from, kind, from, to, one, u64::to_le_bytes),
        }
    }
}

/// The mask that is 1 where the value is one of `wanted`. A value that the type cannot hold is never equal.
fn one_of(from: DataType, wanted: &[u64]) -> Operation {
    let holds = |v: &u64| with_type!(from, T => (*v as u128) <= T::MAX as u128);
    any_of(wanted.iter().copied().filter(holds).collect())
}

/// The mask that is 1 where the bits of the value are those of one of `wanted`.
fn any_of(mut wanted: Vec<u64>) -> Operation {
    wanted.sort_unstable();
    wanted.dedup();
    match wanted[..] {
        [] => Operation::Constant(false),
        [one] => Operation::Equals(one),
        [.., last] if wanted.len() <= FEW => Operation::IsInFew(std::array::from_fn(|i| {
            wanted.get(i).copied().unwrap_or(last)
        })),
        _ => Operation::IsInMany(wanted),
    }
}

/// What is wrong with the values that `transform` tests for in a layer of integers of the type `from`, if anything: a value
/// that no voxel can have is probably a mistake, or the layer is wrong.
pub(crate) fn unreachable_value(transform: &Transform, from: DataType) -> Option<String> {
    let (name, values) = match transform {
        Transform::Equals(value) => ("equals", std::slice::from_ref(value)),
        Transform::In(values) => ("in", values.as_slice()),
        _ => return None,
    };
    let largest = with_type!(from, T => T::MAX as u128);
    let value = values.iter().find(|v| u128::from(**v) > largest)?;
    Some(format!(
        "`{name}` tests for {value}, found a {from} layer, expected values up to {largest}"
    ))
}

/// The mask that is 1 for values of `least` or more.
fn from_least(from: DataType, least: f64) -> Operation {
    if from.is_float() {
        return Operation::AtLeastFloat(least);
    }
    // Integers are compared as integers: above 2^53 not every integer is an `f64`.
    let least = least.ceil();
    let (min, max) = with_type!(from, T => (T::MIN as i128, T::MAX as i128));
    match least as i128 {
        least if least <= min => Operation::Constant(true),
        least if least > max => Operation::Constant(false),
        least => Operation::AtLeastInteger(least),
    }
}

/// The bits of the object's value in a layer of this type, without those of its sign extension; `None` where no voxel can have it.
fn bits_of_object(from: DataType, object: u64) -> Option<u64> {
    let value = with_type!(from, T => object as T as i128 as u64);
    let own_bits = u64::MAX >> (64 - 8 * from.size_bytes());
    (object != 0 && value == object).then_some(object & own_bits)
}

/// The row's values.
fn values<const N: usize, T>(
    row: &[u8],
    from_le_bytes: impl Fn([u8; N]) -> T,
) -> impl Iterator<Item = T> {
    row.as_chunks::<N>()
        .0
        .iter()
        .map(move |v| from_le_bytes(*v))
}

/// Maps each value. Returns whether all fit.
fn map_checked<const N: usize, const M: usize>(
    from: &[u8],
    to: &mut [u8],
    map: impl Fn([u8; N]) -> ([u8; M], bool),
) -> bool {
    let mut all_fit = true;
    let ((from, _), (to, _)) = (from.as_chunks(), to.as_chunks_mut());
    for (to, from) in to.iter_mut().zip(from) {
        let (value, fits) = map(*from);
        *to = value;
        all_fit &= fits;
    }
    all_fit
}

/// Writes `one` where the mask is set, else 0. `O` is the integer with the width of the mask's type.
fn mask<const M: usize, O: Copy + Default>(
    data_type: DataType,
    kind: &Operation,
    from: &[u8],
    to: &mut [u8],
    one: O,
    to_le_bytes: impl Fn(O) -> [u8; M],
) {
    let zero = O::default();
    let bytes = |set: bool| to_le_bytes(if set { one } else { zero });
    match (kind, data_type) {
        (Operation::Constant(set), _) => to.as_chunks_mut().0.fill(bytes(*set)),
        (Operation::AtLeastInteger(least), _) => with_type!(data_type, T => {
            let least = *least as T;
            map(from, to, |v| bytes(T::from_le_bytes(v) >= least));
        }),
        (Operation::AtLeastFloat(least), DataType::Float32) => {
            map(from, to, |v| {
                bytes(f64::from(f32::from_le_bytes(v)) >= *least)
            });
        }
        (Operation::AtLeastFloat(least), _) => {
            map(from, to, |v| bytes(f64::from_le_bytes(v) >= *least))
        }
        (Operation::Nonzero, DataType::Float32) => {
            map(from, to, |v| bytes(f32::from_le_bytes(v) != 0.0));
        }
        (Operation::Nonzero, DataType::Float64) => {
            map(from, to, |v| bytes(f64::from_le_bytes(v) != 0.0));
        }
        _ => match data_type.size_bytes() {
            1 => equal(kind, from, to, u8::from_le_bytes, |w| w as u8, bytes),
            2 => equal(kind, from, to, u16::from_le_bytes, |w| w as u16, bytes),
            4 => equal(kind, from, to, u32::from_le_bytes, |w| w as u32, bytes),
            _ => equal(kind, from, to, u64::from_le_bytes, |w| w, bytes),
        },
    }
}

/// The masks that test values for equality, by their bits. `W` is the integer with the width of the values.
fn equal<const N: usize, const M: usize, W: Copy + Default + PartialEq + Into<u64>>(
    kind: &Operation,
    from: &[u8],
    to: &mut [u8],
    from_le_bytes: impl Fn([u8; N]) -> W,
    narrow: impl Fn(u64) -> W,
    bytes: impl Fn(bool) -> [u8; M],
) {
    match kind {
        Operation::Equals(wanted) => {
            let wanted = narrow(*wanted);
            map(from, to, |v| bytes(from_le_bytes(v) == wanted));
        }
        Operation::IsInFew(wanted) => {
            let wanted = wanted.map(narrow);
            map(from, to, |v| {
                let value = from_le_bytes(v);
                bytes(wanted.iter().fold(false, |any, w| any | (value == *w)))
            });
        }
        Operation::IsInMany(wanted) => {
            let contains = |value: W| wanted.binary_search(&value.into()).is_ok();
            // Labels come in runs: most values are equal to their neighbour.
            let mut last = W::default();
            let mut is_in = contains(last);
            let ((from, _), (to, _)) = (from.as_chunks(), to.as_chunks_mut());
            for (to, from) in to.iter_mut().zip(from) {
                let value = from_le_bytes(*from);
                if value != last {
                    (last, is_in) = (value, contains(value));
                }
                *to = bytes(is_in);
            }
        }
        _ => {
            let zero = W::default();
            map(from, to, |v| bytes(from_le_bytes(v) != zero));
        }
    }
}

fn map<const N: usize, const M: usize>(
    from: &[u8],
    to: &mut [u8],
    map: impl Fn([u8; N]) -> [u8; M],
) {
    let ((from, _), (to, _)) = (from.as_chunks(), to.as_chunks_mut());
    for (to, from) in to.iter_mut().zip(from) {
        *to = map(*from);
    }
}
