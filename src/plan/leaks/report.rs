//! The report on leaks, for people.

use std::fmt;

/// Which splits share voxels, and how much.
#[derive(Clone, Debug, PartialEq)]
pub struct LeakReport {
    /// One entry for each pair of splits that leak.
    pub between: Vec<Leak>,
}

/// The windows of two splits that share voxels.
#[derive(Clone, Debug, PartialEq)]
pub struct Leak {
    /// The names of the splits.
    pub splits: [String; 2],
    /// Pairs of samples, one of each split, whose windows share voxels of a layer.
    pub pairs: u64,
    /// Whether all pairs were counted. If there are very many, counting stops early.
    pub all: bool,
    /// Share of the smaller window's volume, from 0 to 1: the mean over all counted pairs.
    pub mean_shared: f64,
    /// The largest share.
    pub max_shared: f64,
    /// The first few pairs.
    pub examples: Vec<LeakExample>,
}

/// A pair of samples whose windows share voxels.
#[derive(Clone, Debug, PartialEq)]
pub struct LeakExample {
    /// One of each split.
    pub samples: [LeakSample; 2],
    /// Share of the smaller window's volume, from 0 to 1.
    pub shared: f64,
}

/// A sample, identified by its box and its annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeakSample {
    /// The id of its box.
    pub box_id: String,
    /// The annotation's id.
    pub annotation_id: u64,
}

impl fmt::Display for LeakReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "windows of different splits share voxels of a layer:")?;
        for leak in &self.between {
            write!(f, "\n  {leak}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { splits, pairs, .. } = self;
        let number = match (pairs, self.all) {
            (1, true) => "1 pair".to_owned(),
            (pairs, true) => format!("{pairs} pairs"),
            (pairs, false) => format!("more than {pairs} pairs"),
        };
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        write!(
            f,
            "`{}` and `{}`: {number}, on average {} of the smaller window, at most {}",
            splits[0],
            splits[1],
            percent(self.mean_shared),
            percent(self.max_shared),
        )?;
        for LeakExample { samples, shared } in &self.examples {
            let [a, b] = samples;
            write!(f, "\n    {a} and {b}: {}", percent(*shared))?;
        }
        if self.pairs > self.examples.len() as u64 {
            write!(f, "\n    ...")?;
        }
        Ok(())
    }
}

impl fmt::Display for LeakSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "annotation {} of box {:?}",
            self.annotation_id, self.box_id
        )
    }
}
