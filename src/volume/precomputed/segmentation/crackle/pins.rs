//! The pin format: a background label, and for each other label the pins through its components. A pin is a line along z:
//! the voxel where it begins, and the number of slices after it. Components may also be listed by number.

use super::super::label_type::{LabelType, label_value};
use super::super::reader::{Reader, number};
use super::flat::check_count;
use super::header::Header;
use super::width_of;

/// Labels by component. Slices are read one after the other.
pub(super) struct PinnedLabels<const N: usize> {
    slice_voxels: u64,
    /// Components of each slice.
    counts: Vec<u64>,
    slice: usize,
    /// Number of the first component of the next slice.
    first: usize,
    of_components: Vec<[u8; N]>,
    /// Sorted by first slice.
    pins: Vec<Pin<N>>,
    /// The next pin to begin.
    next_pin: usize,
    /// The pins that pass through the slice.
    active: Vec<Pin<N>>,
}

#[derive(Clone, Copy)]
struct Pin<const N: usize> {
    first_slice: u32,
    last_slice: u32,
    /// The voxel in each slice.
    voxel: u32,
    label: [u8; N],
}

impl<const N: usize> PinnedLabels<N> {
    pub(super) fn parse(
        bytes: &[u8],
        header: &Header,
        label_type: LabelType<N>,
    ) -> Result<Self, String> {
        let mut reader = Reader::new(bytes);
        let stored_bytes = header.stored_label_bytes;
        let background = reader.take(1, stored_bytes, "background label")?;
        let background = label_type.convert(label_value(background, header.is_signed))?;
        let count = reader.number(8, "labels")?;
        let labels = reader.take(count, stored_bytes, "labels")?;
        let component_bytes = header.component_bytes();
        let slices = header.shape[2];
        let counts = reader.take(slices.into(), component_bytes, "counts")?;
        let counts: Vec<u64> = counts.chunks_exact(component_bytes).map(number).collect();
        let slice_voxels = header.slice_voxels();
        if let Some(count) = counts.iter().find(|count| **count > slice_voxels) {
            return Err(format!(
                "a slice of {slice_voxels} voxels has {count} components"
            ));
        }
        let components = counts.iter().sum::<u64>();
        if count > components {
            return Err(format!("it has {count} labels of {components} components"));
        }
        let labels = label_type.convert_all(labels, stored_bytes, header.is_signed)?;
        let mut of_components = vec![background; components as usize];
        let mut pins = PinReader {
            widths: reader.number(1, "widths of pins")?,
            reader,
            index_bytes: width_of(slice_voxels * u64::from(slices)),
            slice_voxels,
            slices: slices.into(),
            pins: Vec::new(),
        };
        for label in labels {
            pins.read_label(label, &mut of_components)?;
        }
        pins.reader.finish()?;
        let mut pins = pins.pins;
        pins.sort_by_key(|pin| pin.first_slice);
        Ok(Self {
            slice_voxels,
            counts,
            slice: 0,
            first: 0,
            of_components,
            pins,
            next_pin: 0,
            active: Vec::new(),
        })
    }

    /// The labels of the components of the next slice, which has `found` components. `numbers` has that of each voxel.
    pub(super) fn next_slice(&mut self, found: u32, numbers: &[u32]) -> Result<&[[u8; N]], String> {
        debug_assert_eq!(numbers.len() as u64, self.slice_voxels);
        let expected = self.counts.get(self.slice).copied().unwrap_or(0);
        check_count(found, expected)?;
        let slice = self.slice as u32;
        self.active.retain(|pin| pin.last_slice >= slice);
        let beginning = self.pins[self.next_pin..].iter();
        let beginning = beginning.take_while(|pin| pin.first_slice == slice);
        self.active.extend(beginning);
        self.next_pin += self.pins[self.next_pin..].partition_point(|pin| pin.first_slice <= slice);
        let labels = self.of_components.get_mut(self.first..);
        let labels = labels.and_then(|labels| labels.get_mut(..found as usize));
        let labels = labels.ok_or("its components have no labels: it is damaged")?;
        for pin in &self.active {
            let number = numbers.get(pin.voxel as usize);
            if let Some(label) = number.and_then(|n| labels.get_mut(*n as usize)) {
                *label = pin.label;
            }
        }
        self.slice += 1;
        self.first += found as usize;
        Ok(labels)
    }
}

/// Reads the pins of labels.
struct PinReader<'a, const N: usize> {
    reader: Reader<'a>,
    /// Logarithms of the widths of numbers in bytes: counts, depths and components, two bits each.
    widths: u64,
    /// Bytes of the number of a voxel.
    index_bytes: usize,
    slice_voxels: u64,
    slices: u64,
    pins: Vec<Pin<N>>,
}

impl<const N: usize> PinReader<'_, N> {
    fn width(&self, shift: u32) -> usize {
        1 << (self.widths >> shift & 3)
    }

    /// Reads the pins of a label, and the components that are listed.
    fn read_label(&mut self, label: [u8; N], of_components: &mut [[u8; N]]) -> Result<(), String> {
        let (count_bytes, depth_bytes, component_bytes) =
            (self.width(0), self.width(2), self.width(4));
        let count = self.reader.number(count_bytes, "pins")?;
        let first_voxels = self.reader.take(count, self.index_bytes, "pins")?;
        let depths = self.reader.take(count, depth_bytes, "pins")?;
        // Each pin has a component that no other has.
        if count > (of_components.len() - self.pins.len()) as u64 {
            return Err("it has more pins than components".to_owned());
        }
        let depths = depths.chunks_exact(depth_bytes).map(number);
        let first_voxels = first_voxels.chunks_exact(self.index_bytes);
        // Numbers are stored as differences.
        let mut voxel = 0u64;
        for (difference, depth) in first_voxels.map(number).zip(depths) {
            voxel = voxel.saturating_add(difference);
            let slice = voxel / self.slice_voxels;
            let last_slice = slice.saturating_add(depth);
            if last_slice >= self.slices {
                return Err(format!(
                    "a pin has the slices {slice} to {last_slice} of {}, counted from 0",
                    self.slices
                ));
            }
            self.pins.push(Pin {
                first_slice: slice as u32,
                last_slice: last_slice as u32,
                voxel: (voxel % self.slice_voxels) as u32,
                label,
            });
        }
        let count = self.reader.number(count_bytes, "pins")?;
        let listed = self.reader.take(count, component_bytes, "pins")?;
        let mut component = 0u64;
        for difference in listed.chunks_exact(component_bytes).map(number) {
            component = component.saturating_add(difference);
            let at = usize::try_from(component).ok();
            let of_component = at.and_then(|at| of_components.get_mut(at));
            let components = || format!("it lists component {component}, but it has fewer");
            *of_component.ok_or_else(components)? = label;
        }
        Ok(())
    }
}
