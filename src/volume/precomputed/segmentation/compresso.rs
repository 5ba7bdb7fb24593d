//! Decodes compresso.
//!
//! A voxel is a boundary voxel if its label differs from that of the next voxel along x or y (with connectivity 6 also
//! along z). The stream has, after its header: the label of each connected component of the other voxels, in the order of
//! their first voxels; the different windows of boundary bits; the locations, which say the labels of boundary voxels
//! whose left, upper and, with connectivity 6, previous neighbour are boundary voxels, too; and the run-length coded
//! numbers of the windows. In version 1, two counts for each slice follow: its components, and the locations of the slice
//! before it. Format: README of seung-lab/compresso.

mod boundaries;
mod header;

use std::slice::ChunksExact;

use super::check_shape;
use super::components::{BACK, Components, LEFT, NO_COMPONENT, OUTSIDE, UP};
use super::label_type::LabelType;
use super::reader::{Reader, number};
use boundaries::decode_boundaries;
use header::Header;

/// A location with this value or more is a label, plus this.
const FIRST_LABEL: u64 = 7;

/// Where the label of a boundary voxel is.
enum Location {
    Label(u64),
    /// The index of a neighbour that has the same label.
    Neighbour(usize),
}

/// The parts of a stream.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    shape: [usize; 3],
    header: Header,
    /// Labels of components.
    ids: &'a [u8],
    window_values: &'a [u8],
    windows: &'a [u8],
    locations: &'a [u8],
    /// Counts of components, and of the locations before each slice. Empty in version 0.
    components_per_slice: &'a [u8],
    locations_per_slice: &'a [u8],
}

impl<'a> Stream<'a> {
    /// Divides a stream into its parts. `shape` is that of the chunk, x, y, z.
    pub(super) fn parse(bytes: &'a [u8], shape: [usize; 3]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes);
        let header = Header::parse(&mut reader)?;
        check_shape(header.shape.map(u64::from), shape)?;
        let label_bytes = header.label_bytes;
        let window_bytes = header.window_bytes();
        let ids = reader.take(header.ids, label_bytes, "labels")?;
        let window_values = reader.take(header.window_values.into(), window_bytes, "windows")?;
        let locations = reader.take(header.locations, label_bytes, "locations")?;
        let index_bytes = if header.has_z_index {
            shape[2] * header.index_bytes()
        } else {
            0
        };
        let rest = reader.rest();
        let ends = rest.len().checked_sub(2 * index_bytes);
        let windows_end = ends.filter(|end| end.is_multiple_of(window_bytes));
        let Some(windows_end) = windows_end else {
            return Err(format!(
                "{} bytes follow its locations, expected windows of {window_bytes} bytes each and {} bytes of a z index: \
                 it is truncated or damaged",
                rest.len(),
                2 * index_bytes,
            ));
        };
        let (windows, z_index) = rest.split_at(windows_end);
        let (components_per_slice, locations_per_slice) = z_index.split_at(index_bytes);
        Ok(Self {
            shape,
            header,
            ids,
            window_values,
            windows,
            locations,
            components_per_slice,
            locations_per_slice,
        })
    }

    /// Writes the labels, x fastest.
    pub(super) fn decode<const N: usize>(
        &self,
        label_type: LabelType<N>,
        out: &mut [[u8; N]],
    ) -> Result<(), String> {
        let boundaries =
            decode_boundaries(&self.header, self.shape, self.windows, self.window_values)?;
        let ids = label_type.convert_all(self.ids, self.header.label_bytes, false)?;
        self.fill_components(&boundaries, &ids, out)?;
        self.fill_boundaries(&boundaries, label_type, out)
    }

    /// Writes the labels of voxels that are not at a boundary.
    fn fill_components<const N: usize>(
        &self,
        boundaries: &[bool],
        ids: &[[u8; N]],
        out: &mut [[u8; N]],
    ) -> Result<(), String> {
        let [nx, ny, nz] = self.shape;
        let slice_voxels = nx * ny;
        // Components with connectivity 4 end at their slice.
        let slices = if self.header.is_connected_along_z {
            nz
        } else {
            1
        };
        let mut numbers = vec![0; slices * slice_voxels];
        let mut links = vec![0; slices * slice_voxels];
        let mut components = Components::default();
        let mut first = 0;
        let parts = boundaries.chunks_exact(slices * slice_voxels);
        let outs = out.chunks_exact_mut(slices * slice_voxels);
        for (z, (boundaries, out)) in parts.zip(outs).enumerate() {
            set_links(boundaries, nx, slice_voxels, &mut links);
            let count = components.number(&links, nx, slice_voxels, &mut numbers) as usize;
            self.check_slice("components", self.components_per_slice, z, count)?;
            let labels = ids.get(first..).and_then(|ids| ids.get(..count));
            let labels = labels.ok_or_else(|| self.wrong_labels(first + count))?;
            for (value, number) in out.iter_mut().zip(&numbers) {
                // Boundary voxels follow.
                *value = match *number {
                    NO_COMPONENT => [0; N],
                    number => labels[number as usize],
                };
            }
            first += count;
        }
        if first != ids.len() {
            return Err(self.wrong_labels(first));
        }
        Ok(())
    }

    fn wrong_labels(&self, components: usize) -> String {
        format!(
            "it has {} labels, but its boundaries form {components} components or more: it is damaged",
            self.header.ids
        )
    }

    /// Compares a count with that in the z index, if there is one.
    fn check_slice(
        &self,
        what: &str,
        index: &[u8],
        slice: usize,
        found: usize,
    ) -> Result<(), String> {
        let expected = index.chunks_exact(self.header.index_bytes()).nth(slice);
        match expected.map(number) {
            Some(expected) if expected != found as u64 => Err(format!(
                "slice {slice} has {found} {what}, but its z index says {expected}: it is damaged"
            )),
            _ => Ok(()),
        }
    }

    /// The next location, which is that of the voxel at x, y, z.
    fn next_location(
        &self,
        locations: &mut ChunksExact<'_, u8>,
        [x, y, z]: [usize; 3],
    ) -> Result<Location, String> {
        let [nx, ny, nz] = self.shape;
        let at = x + nx * (y + ny * z);
        let mut next = || {
            let next = locations.next().map(number);
            next.ok_or("its locations end before its last boundary voxel: it is damaged")
        };
        let neighbour = match next()? {
            0 => (x > 0).then(|| at - 1),
            1 => (x + 1 < nx).then(|| at + 1),
            2 => (y > 0).then(|| at - nx),
            3 => (y + 1 < ny).then(|| at + nx),
            4 => (z > 0).then(|| at - nx * ny),
            5 => (z + 1 < nz).then(|| at + nx * ny),
            6 => return Ok(Location::Label(next()?)),
            label => return Ok(Location::Label(label - FIRST_LABEL)),
        };
        let neighbour = neighbour.map(Location::Neighbour);
        neighbour.ok_or_else(|| no_neighbour([x, y, z]))
    }

    /// Writes the labels of boundary voxels.
    fn fill_boundaries<const N: usize>(
        &self,
        boundaries: &[bool],
        label_type: LabelType<N>,
        out: &mut [[u8; N]],
    ) -> Result<(), String> {
        let [nx, ny, nz] = self.shape;
        let slice_voxels = nx * ny;
        let mut locations = self.locations.chunks_exact(self.header.label_bytes);
        let mut locations_before = locations.len();
        for z in 0..nz {
            let used = locations_before - locations.len();
            self.check_slice("locations before it", self.locations_per_slice, z, used)?;
            locations_before = locations.len();
            for y in 0..ny {
                let row = nx * (y + ny * z);
                for x in 0..nx {
                    let at = row + x;
                    if !boundaries[at] {
                        continue;
                    }
                    let is_regular = |has_neighbour: bool, distance: usize| {
                        has_neighbour && !boundaries[at - distance]
                    };
                    out[at] = if is_regular(x > 0, 1) {
                        out[at - 1]
                    } else if is_regular(y > 0, nx) {
                        out[at - nx]
                    } else if is_regular(self.header.is_connected_along_z && z > 0, slice_voxels) {
                        out[at - slice_voxels]
                    } else {
                        match self.next_location(&mut locations, [x, y, z])? {
                            Location::Label(label) => label_type.convert(label.into())?,
                            Location::Neighbour(at) if !boundaries[at] => out[at],
                            Location::Neighbour(_) => return Err(no_neighbour([x, y, z])),
                        }
                    };
                }
            }
        }
        match locations.len() {
            0 => Ok(()),
            n => Err(format!(
                "{n} of its {} locations are not used: it is damaged",
                self.header.locations
            )),
        }
    }
}

fn no_neighbour([x, y, z]: [usize; 3]) -> String {
    format!(
        "the location of voxel {x}, {y}, {z} (x, y, z) refers to a neighbour without a label: it is damaged"
    )
}

/// Links voxels to those before them, unless one of the two is a boundary voxel.
fn set_links(boundaries: &[bool], row_voxels: usize, slice_voxels: usize, links: &mut [u8]) {
    let rows = boundaries
        .chunks_exact(row_voxels)
        .zip(links.chunks_exact_mut(row_voxels));
    let mut at = 0usize;
    for (row, links) in rows {
        let before = |distance: usize| {
            let first = at.checked_sub(distance);
            first.and_then(|first| boundaries.get(first..first + row_voxels))
        };
        for (link, is_boundary) in links.iter_mut().zip(row) {
            *link = if *is_boundary { OUTSIDE } else { 0 };
        }
        for (link, pair) in links.iter_mut().skip(1).zip(row.windows(2)) {
            *link |= LEFT * u8::from(!pair[0] & !pair[1]);
        }
        for (bit, other) in [(UP, before(row_voxels)), (BACK, before(slice_voxels))] {
            // The row before the first one of a slice is in another slice.
            let is_first = bit == UP && at.is_multiple_of(slice_voxels);
            let Some(other) = other.filter(|_| !is_first) else {
                continue;
            };
            for (link, (is_boundary, other)) in links.iter_mut().zip(row.iter().zip(other)) {
                *link |= bit * u8::from(!is_boundary & !other);
            }
        }
        at += row_voxels;
    }
}
