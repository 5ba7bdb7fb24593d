//! The axes of an array: which dimension is x, y, z or the channel, by name and never by position.

/// Which dimensions of an array are which axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ArrayAxes {
    /// The dimensions that are x, y, z.
    pub xyz: [usize; 3],
    /// The dimension that counts channels.
    pub channel: Option<usize>,
}

impl ArrayAxes {
    /// Finds x, y, z and the channel in an array of this shape. Every other dimension, time too, must have
    /// length 1. Says what is wrong.
    pub(super) fn find(names: &[String], shape: &[u64]) -> Result<Self, String> {
        if names.len() != shape.len() {
            return Err(format!(
                "it has {} dimension(s) {shape:?} but {} name(s) for them {names:?}",
                shape.len(),
                names.len()
            ));
        }
        let lower: Vec<String> = names.iter().map(|n| n.to_lowercase()).collect();
        let find = |wanted: &[&str]| -> Result<Option<usize>, String> {
            let mut found = (0..lower.len()).filter(|d| wanted.contains(&lower[*d].as_str()));
            match (found.next(), found.next()) {
                (Some(_), Some(_)) => Err(format!("two of its dimensions {names:?} have one name")),
                (found, _) => Ok(found),
            }
        };
        let mut xyz = [0; 3];
        for (d, name) in ["x", "y", "z"].into_iter().enumerate() {
            xyz[d] = find(&[name])?.ok_or_else(|| {
                format!("its dimensions are {names:?}, expected x, y and z among them")
            })?;
        }
        let channel = find(&["c", "ch", "channel", "channels"])?;
        for d in 0..shape.len() {
            if shape[d] != 1 && !xyz.contains(&d) && channel != Some(d) {
                return Err(format!(
                    "its dimension {:?} has length {}, expected 1: only x, y, z and channels can be longer",
                    names[d], shape[d]
                ));
            }
        }
        Ok(Self { xyz, channel })
    }

    /// What `of` has for x, y, z.
    pub(super) fn pick<T: Copy>(&self, of: &[T]) -> [T; 3] {
        self.xyz.map(|d| of[d])
    }

    /// What `of` has for the channel, or `default` where there is no such dimension.
    pub(super) fn pick_channel<T: Copy>(&self, of: &[T], default: T) -> T {
        self.channel.map_or(default, |d| of[d])
    }

    /// Indices over all `rank` dimensions: those of x, y, z, of the channel, and 0 for all others.
    pub(super) fn array_indices(&self, rank: usize, xyz: [u64; 3], channel: u64) -> Vec<u64> {
        let mut indices = vec![0; rank];
        for (d, index) in self.xyz.into_iter().zip(xyz) {
            indices[d] = index;
        }
        if let Some(d) = self.channel {
            indices[d] = channel;
        }
        indices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(names: &str, shape: &[u64]) -> Result<ArrayAxes, String> {
        let names: Vec<_> = names.chars().map(String::from).collect();
        ArrayAxes::find(&names, shape)
    }

    #[test]
    fn axes_are_found_by_name_not_by_position() {
        let axes = find("zyx", &[3, 4, 5]).unwrap();
        assert_eq!((axes.xyz, axes.channel), ([2, 1, 0], None));
        let axes = find("XtYcZ", &[3, 1, 4, 2, 5]).unwrap();
        assert_eq!((axes.xyz, axes.channel), ([0, 2, 4], Some(3)));
        assert_eq!(axes.pick(&[3, 1, 4, 2, 5]), [3, 4, 5]);
        assert_eq!(axes.array_indices(5, [7, 8, 9], 6), [7, 0, 8, 6, 9]);
    }

    #[test]
    fn a_long_time_axis_a_missing_axis_and_a_double_one_are_refused() {
        assert!(
            find("tzyx", &[2, 3, 4, 5])
                .unwrap_err()
                .contains("\"t\" has length 2")
        );
        assert!(find("zyc", &[3, 4, 5]).unwrap_err().contains("x, y and z"));
        assert!(
            find("zyxx", &[3, 4, 5, 6])
                .unwrap_err()
                .contains("one name")
        );
        assert!(find("zyx", &[3, 4]).unwrap_err().contains("2 dimension"));
    }
}
