//! Which dimension of an array is x, y, z or the channel. Dimensions are identified by name, not by position.

/// The dimensions of an array that are x, y, z and the channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ArrayAxes {
    /// Index of the dimension for each of x, y, z.
    pub xyz: [usize; 3],
    /// Index of the channel dimension.
    pub channel: Option<usize>,
}

impl ArrayAxes {
    /// Finds x, y, z and the channel in an array with this shape. All other dimensions, including time, must have
    /// length 1. The error is a description for the user.
    pub(super) fn find(names: &[String], shape: &[u64]) -> Result<Self, String> {
        if names.len() != shape.len() {
            return Err(format!(
                "found {} dimension(s) {shape:?} but {} name(s) {names:?}",
                shape.len(),
                names.len()
            ));
        }
        let lower: Vec<String> = names.iter().map(|n| n.to_lowercase()).collect();
        let find = |wanted: &[&str]| -> Result<Option<usize>, String> {
            let mut found = (0..lower.len()).filter(|d| wanted.contains(&lower[*d].as_str()));
            match (found.next(), found.next()) {
                (Some(_), Some(_)) => Err(format!(
                    "two of the dimensions {names:?} have the same name"
                )),
                (found, _) => Ok(found),
            }
        };
        let mut xyz = [0; 3];
        for (d, name) in ["x", "y", "z"].into_iter().enumerate() {
            xyz[d] = find(&[name])?.ok_or_else(|| {
                format!("found the dimensions {names:?}, expected x, y and z among them")
            })?;
        }
        let channel = find(&["c", "ch", "channel", "channels"])?;
        for d in 0..shape.len() {
            if shape[d] != 1 && !xyz.contains(&d) && channel != Some(d) {
                return Err(format!(
                    "dimension {:?} has length {}, expected 1: only x, y, z and channels can be longer",
                    names[d], shape[d]
                ));
            }
        }
        Ok(Self { xyz, channel })
    }

    /// The items of `of` for x, y, z.
    pub(super) fn xyz_of<T: Copy>(&self, of: &[T]) -> [T; 3] {
        self.xyz.map(|d| of[d])
    }

    /// The item of `of` for the channel, or `default` without a channel dimension.
    pub(super) fn channel_of<T: Copy>(&self, of: &[T], default: T) -> T {
        self.channel.map_or(default, |d| of[d])
    }

    /// Number of stored parts of a block of a volume with this many channels: one for each chunk, of this shape, along them.
    pub(super) fn parts(&self, channels: u32, chunk: &[u64]) -> u64 {
        u64::from(channels).div_ceil(self.channel_of(chunk, 1))
    }

    /// Indices for an array with `rank` dimensions: `xyz`, `channel`, and 0 for all others.
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
    fn axes_are_found_by_name_and_not_by_position() {
        let axes = find("zyx", &[3, 4, 5]).unwrap();
        assert_eq!((axes.xyz, axes.channel), ([2, 1, 0], None));
        let axes = find("XtYcZ", &[3, 1, 4, 2, 5]).unwrap();
        assert_eq!((axes.xyz, axes.channel), ([0, 2, 4], Some(3)));
        assert_eq!(axes.xyz_of(&[3, 1, 4, 2, 5]), [3, 4, 5]);
        assert_eq!(axes.array_indices(5, [7, 8, 9], 6), [7, 0, 8, 6, 9]);
    }

    #[test]
    fn a_long_time_axis_a_missing_axis_and_a_duplicate_axis_are_errors() {
        assert!(
            find("tzyx", &[2, 3, 4, 5])
                .unwrap_err()
                .contains("\"t\" has length 2")
        );
        assert!(find("zyc", &[3, 4, 5]).unwrap_err().contains("x, y and z"));
        assert!(
            find("zyxx", &[3, 4, 5, 6])
                .unwrap_err()
                .contains("same name")
        );
        assert!(find("zyx", &[3, 4]).unwrap_err().contains("2 dimension"));
    }
}
