//! Decodes crackle.
//!
//! The connected components of each slice are stored as the cracks between them, paths along the edges of voxels (or, in
//! noise, as the cracks that are open); the labels of components are stored beside them. Order of parts: header, bytes of
//! cracks per slice, labels, Markov model, cracks of each slice; version 1 has checksums of all. Format: README of
//! seung-lab/crackle. Supported are the streams of crackle-codec 0.4 and later, which are those that it can read itself.

mod cracks;
mod flat;
mod header;
mod markov;
mod moves;
mod pins;

use super::check_shape;
use super::components::Components;
use super::label_type::LabelType;
use super::reader::{Reader, number};
use cracks::Cracks;
use flat::FlatLabels;
use header::{Header, LabelFormat};
use markov::MarkovModel;
use pins::PinnedLabels;

/// The parts of a stream.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    shape: [usize; 3],
    header: Header,
    labels: &'a [u8],
    model: Option<MarkovModel>,
    /// The cracks of each slice.
    cracks: Vec<&'a [u8]>,
    /// Checksums of the components of each slice, 4 bytes each. Empty in version 0.
    component_checksums: &'a [u8],
}

/// The labels of components.
enum Labels<'a, const N: usize> {
    Flat(FlatLabels<'a, N>),
    Pinned(PinnedLabels<N>),
}

impl<'a> Stream<'a> {
    /// Divides a stream into its parts. `shape` is that of the chunk, x, y, z.
    pub(super) fn parse(bytes: &'a [u8], shape: [usize; 3]) -> Result<Self, String> {
        let mut reader = Reader::new(bytes);
        let header = Header::parse(&mut reader)?;
        check_shape(header.shape.map(u64::from), shape)?;
        header.check_grid()?;
        let slices = u64::from(header.shape[2]);
        let lengths = reader.take(slices, 4, "lengths of cracks")?;
        if header.has_checksums {
            let stored = reader.number(4, "checksums")?;
            check("lengths of cracks", lengths, stored)?;
        }
        let labels = reader.take(header.label_section_bytes, 1, "labels")?;
        let model = match header.markov_order {
            0 => None,
            order => Some(MarkovModel::parse(&mut reader, order)?),
        };
        let lengths = lengths.chunks_exact(4).map(number);
        let cracks = lengths.map(|n| reader.take(n, 1, "cracks"));
        let cracks = cracks.collect::<Result<_, _>>()?;
        let mut component_checksums = &[][..];
        if header.has_checksums {
            let stored = reader.number(4, "checksums")?;
            check("labels", labels, stored)?;
            component_checksums = reader.take(slices, 4, "checksums")?;
        }
        reader.finish()?;
        Ok(Self {
            shape,
            header,
            labels,
            model,
            cracks,
            component_checksums,
        })
    }

    /// Writes the labels, x fastest.
    pub(super) fn decode<const N: usize>(
        &self,
        label_type: LabelType<N>,
        out: &mut [[u8; N]],
    ) -> Result<(), String> {
        let [nx, ny, _] = self.shape;
        let slice_voxels = nx * ny;
        let mut labels = self.parse_labels(label_type)?;
        let mut cracks = Cracks::new(nx, ny, self.header.cracks_are_open);
        let mut components = Components::default();
        let mut numbers = vec![0; slice_voxels];
        let slices = out.chunks_exact_mut(slice_voxels).zip(&self.cracks);
        for (z, (out, code)) in slices.enumerate() {
            let of_slice = |problem: String| format!("slice {z}: {problem}");
            let links = cracks.decode(code, self.model.as_ref()).map_err(of_slice)?;
            let count = components.number(links, nx, slice_voxels, &mut numbers);
            self.check_components(z, &numbers)?;
            let of_components = match &mut labels {
                Labels::Flat(labels) => labels.next_slice(count),
                Labels::Pinned(labels) => labels.next_slice(count, &numbers),
            };
            let of_components = of_components.map_err(of_slice)?;
            for (value, number) in out.iter_mut().zip(&numbers) {
                *value = of_components[*number as usize];
            }
        }
        Ok(())
    }

    fn parse_labels<const N: usize>(
        &self,
        label_type: LabelType<N>,
    ) -> Result<Labels<'a, N>, String> {
        let of_labels = |problem: String| format!("its labels are damaged: {problem}");
        match self.header.label_format {
            LabelFormat::Flat => {
                FlatLabels::parse(self.labels, &self.header, label_type).map(Labels::Flat)
            }
            LabelFormat::Pins => {
                PinnedLabels::parse(self.labels, &self.header, label_type).map(Labels::Pinned)
            }
        }
        .map_err(of_labels)
    }

    /// Compares the components of a slice with their checksum, if there is one.
    fn check_components(&self, slice: usize, numbers: &[u32]) -> Result<(), String> {
        let Some(stored) = self.component_checksums.chunks_exact(4).nth(slice) else {
            return Ok(());
        };
        let bytes: &[u8] = bytemuck::cast_slice(numbers);
        check(
            &format!("components of slice {slice}"),
            bytes,
            number(stored),
        )
    }
}

/// Compares data with their CRC-32C.
fn check(what: &str, bytes: &[u8], stored: u64) -> Result<(), String> {
    let found = crc32c::crc32c(bytes);
    if u64::from(found) == stored {
        return Ok(());
    }
    Err(format!(
        "its {what} have the checksum {found:08x}, expected {stored:08x}: it is damaged"
    ))
}

/// Bytes of the smallest unsigned type that has this value.
fn width_of(value: u64) -> usize {
    match value {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}
