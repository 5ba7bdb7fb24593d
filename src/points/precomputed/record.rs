//! The list of annotations in a cell: `count`, all records, then all ids.
//!
//! The count is compared with the length of the file before the records are read. Positions are float32 in the layer's
//! units and are converted to `f64` before any computation.

use super::info::AnnotationInfo;
use crate::geometry::{Placement, PointNm};
use crate::neuroglancer::GeometryKind;
use crate::points::annotation::Anchor;
use crate::points::error::PointsError;
use crate::points::position::AnnotationPosition;

/// The layout of a layer's records, and their conversion to nm.
#[derive(Debug)]
pub(super) struct RecordLayout {
    kind: GeometryKind,
    rank: usize,
    placed: Placement,
    property_bytes: usize,
}

/// One record of a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnnotationRecord<'a> {
    pub(super) id: u64,
    /// The vectors as stored.
    pub(super) geometry: &'a [u8],
    /// The properties as stored, without padding.
    pub(super) properties: &'a [u8],
}

/// The entry of one annotation in the index by id.
#[derive(Debug)]
pub(super) struct AnnotationEntry<'a> {
    /// The vectors as stored.
    pub(super) geometry: &'a [u8],
    /// For each relationship the ids of the related objects, little-endian.
    pub(super) related: Vec<&'a [[u8; ID_BYTES]]>,
}

const COUNT_BYTES: usize = 8;
const ID_BYTES: usize = 8;
const RELATED_COUNT_BYTES: usize = 4;

impl RecordLayout {
    pub(super) fn new(info: &AnnotationInfo) -> Self {
        Self {
            kind: info.kind,
            rank: info.rank,
            placed: info.placed,
            property_bytes: info.property_bytes,
        }
    }

    /// Calls `visit` for every record in `bytes`, the contents of the file `object`.
    pub(super) fn read(
        &self,
        bytes: &[u8],
        object: &dyn Fn() -> String,
        mut visit: impl FnMut(AnnotationRecord),
    ) -> Result<(), PointsError> {
        let Some((count, body)) = bytes.split_first_chunk::<COUNT_BYTES>() else {
            return Err(PointsError::Cell {
                object: object(),
                found: format!("{} bytes", bytes.len()),
                expected: format!("at least {COUNT_BYTES} bytes for a count"),
            });
        };
        let count = u64::from_le_bytes(*count);
        self.check_length(count, body.len(), object)?;
        // Now the count is known to be less than the length of the file.
        let (mut records, ids) = body.split_at(body.len() - count as usize * ID_BYTES);
        for (i, id) in ids.as_chunks::<ID_BYTES>().0.iter().enumerate() {
            let record = self.split_record(&mut records);
            let (geometry, properties) = record.map_err(|found| PointsError::Cell {
                object: object(),
                found: format!("record {i} of {count} with {found}"),
                expected: "a polyline of at least one point that ends before the ids".to_owned(),
            })?;
            visit(AnnotationRecord {
                id: u64::from_le_bytes(*id),
                geometry,
                properties,
            });
        }
        match records.len() {
            0 => Ok(()),
            left => Err(PointsError::Cell {
                object: object(),
                found: format!("{left} bytes between its {count} records and their ids"),
                expected:
                    "none: the file is damaged, or its writer encodes properties in another way"
                        .to_owned(),
            }),
        }
    }

    /// The entry of one annotation in the index by id, `bytes`: its record without an id, then for each of `relationships` a count
    /// and as many ids of objects.
    pub(super) fn read_entry<'a>(
        &self,
        bytes: &'a [u8],
        relationships: usize,
        object: &dyn Fn() -> String,
    ) -> Result<AnnotationEntry<'a>, PointsError> {
        let wrong = |found: String| PointsError::Cell {
            object: object(),
            found,
            expected: format!(
                "an annotation by id: its record and {relationships} list(s) of ids of objects"
            ),
        };
        let mut rest = bytes;
        let (geometry, _) = self
            .split_record(&mut rest)
            .map_err(|found| wrong(format!("a record with {found}")))?;
        let mut related = Vec::with_capacity(relationships);
        for relationship in 0..relationships {
            let too_short = || {
                let bytes = bytes.len();
                wrong(format!(
                    "{bytes} bytes, which end in its list {relationship} of objects"
                ))
            };
            let (count, after) = rest
                .split_first_chunk::<RELATED_COUNT_BYTES>()
                .ok_or_else(too_short)?;
            let length = (u32::from_le_bytes(*count) as usize).checked_mul(ID_BYTES);
            let (ids, after) = length
                .and_then(|length| after.split_at_checked(length))
                .ok_or_else(too_short)?;
            related.push(ids.as_chunks::<ID_BYTES>().0);
            rest = after;
        }
        match rest.len() {
            0 => Ok(AnnotationEntry { geometry, related }),
            left => Err(wrong(format!("{left} bytes after it"))),
        }
    }

    /// Checks that `count` annotations have the length `body_bytes`, or may have it.
    fn check_length(
        &self,
        count: u64,
        body_bytes: usize,
        object: &dyn Fn() -> String,
    ) -> Result<(), PointsError> {
        let vectors = self.kind.vectors();
        // The minimum for records of variable length.
        let record_bytes = match vectors {
            Some(vectors) => self.vector_bytes() * vectors + self.padded_bytes(),
            None => 4 + self.vector_bytes() + self.padded_bytes(),
        };
        let expected = u128::from(count) * (record_bytes + ID_BYTES) as u128;
        let fits = match vectors {
            Some(_) => body_bytes as u128 == expected,
            None => body_bytes as u128 >= expected,
        };
        if fits {
            return Ok(());
        }
        Err(PointsError::CellLength {
            object: object(),
            found_bytes: COUNT_BYTES + body_bytes,
            expected_bytes: expected + COUNT_BYTES as u128,
            count,
            record_bytes,
        })
    }

    fn vector_bytes(&self) -> usize {
        self.rank * 4
    }

    /// Bytes of the properties of a record, padded to whole words.
    fn padded_bytes(&self) -> usize {
        self.property_bytes.next_multiple_of(4)
    }

    /// Takes geometry and properties from the front of `records`. The error describes what was found.
    fn split_record<'a>(&self, records: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8]), String> {
        let mut take = |n: usize| {
            let (front, rest) = records.split_at_checked(n)?;
            *records = rest;
            Some(front)
        };
        let vectors = match self.kind.vectors() {
            Some(vectors) => vectors,
            None => match take(4).map(|n| n.try_into().map(u32::from_le_bytes)) {
                Some(Ok(n)) if n > 0 => n as usize,
                Some(_) => return Err("no points".to_owned()),
                None => return Err("no room for its number of points".to_owned()),
            },
        };
        let geometry = vectors.checked_mul(self.vector_bytes()).and_then(&mut take);
        let properties = take(self.padded_bytes());
        match (geometry, properties) {
            (Some(geometry), Some(properties)) => {
                Ok((geometry, &properties[..self.property_bytes]))
            }
            _ => Err(format!("{vectors} points, which extend past the records")),
        }
    }

    /// The position of a record; `None` if a coordinate is not finite.
    pub(super) fn position(&self, geometry: &[u8], anchor: Anchor) -> Option<AnnotationPosition> {
        AnnotationPosition::of(self.kind, self.points(geometry), anchor)
    }

    /// The geometry of a record for messages: its vectors in nm.
    pub(super) fn describe(&self, geometry: &[u8]) -> String {
        const SHOWN: usize = 4;
        let mut vectors: Vec<String> = self
            .points(geometry)
            .take(SHOWN)
            .map(|p| p.to_string())
            .collect();
        if self.points(geometry).count() > SHOWN {
            vectors.push("...".to_owned());
        }
        vectors.join(" - ")
    }

    /// The vectors of a record in nm, axes x, y, z.
    pub(super) fn points<'a>(
        &'a self,
        geometry: &'a [u8],
    ) -> impl Iterator<Item = PointNm> + Clone + 'a {
        let (floats, _) = geometry.as_chunks::<4>();
        floats.chunks_exact(self.rank).map(|vector| {
            let voxel = |d: usize| f64::from(f32::from_le_bytes(vector[d]));
            PointNm(self.placed.map(|axis| axis.nm(voxel(axis.dimension))))
        })
    }
}

/// A digest of a geometry. -0.0 and 0.0 are equal.
pub(super) fn geometry_digest(geometry: &[u8]) -> u64 {
    let (floats, _) = geometry.as_chunks::<4>();
    floats
        .iter()
        .fold(0x9e37_79b9_7f4a_7c15, |digest: u64, float| {
            let bits = (f32::from_le_bytes(*float) + 0.0).to_bits();
            let mixed = (digest ^ u64::from(bits)).wrapping_mul(0xff51_afd7_ed55_8ccd);
            mixed ^ (mixed >> 32)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::PlacedAxis;

    fn layout(kind: GeometryKind, property_bytes: usize) -> RecordLayout {
        RecordLayout {
            kind,
            rank: 3,
            placed: [(0, 4.0), (1, 4.0), (2, 40.0)].map(|(dimension, unit_nm)| PlacedAxis {
                dimension,
                unit_nm,
                offset_nm: 0.0,
            }),
            property_bytes,
        }
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// Id, geometry, properties.
    type Owned = (u64, Vec<u8>, Vec<u8>);

    fn read(layout: &RecordLayout, bytes: &[u8]) -> Result<Vec<Owned>, PointsError> {
        let mut records = Vec::new();
        layout.read(bytes, &|| "layer/s0/0_0_0".to_owned(), |r| {
            records.push((r.id, r.geometry.to_vec(), r.properties.to_vec()));
        })?;
        Ok(records)
    }

    fn position(kind: GeometryKind, values: &[f32], anchor: Anchor) -> Option<[[f64; 3]; 3]> {
        let position = layout(kind, 0).position(&floats(values), anchor)?;
        Some([position.anchor.0, position.ends[0].0, position.ends[1].0])
    }

    /// Two points with five bytes of properties, padded to eight.
    fn two_points() -> Vec<u8> {
        let mut bytes = 2u64.to_le_bytes().to_vec();
        bytes.extend(floats(&[1.0, 2.0, 3.0]));
        bytes.extend([1, 2, 3, 4, 5, 0, 0, 0]);
        bytes.extend(floats(&[4.0, 5.0, 6.0]));
        bytes.extend([6, 7, 8, 9, 10, 0, 0, 0]);
        bytes.extend(u64::MAX.to_le_bytes());
        bytes.extend((1u64 << 53 | 1).to_le_bytes());
        bytes
    }

    #[test]
    fn all_records_precede_all_ids() {
        let records = read(&layout(GeometryKind::Point, 5), &two_points()).unwrap();
        assert_eq!(
            records[0],
            (u64::MAX, floats(&[1.0, 2.0, 3.0]), vec![1, 2, 3, 4, 5])
        );
        assert_eq!(records[1].0, (1 << 53) + 1);
        assert_eq!(records[1].2, [6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_wrong_length_is_an_error_with_both_lengths() {
        // One property byte more than two words can hold, as from a writer with different padding.
        let e = read(&layout(GeometryKind::Point, 9), &two_points())
            .unwrap_err()
            .to_string();
        assert!(
            e.starts_with("layer/s0/0_0_0 has 64 bytes; expected 72"),
            "{e}"
        );
        for end in 0..two_points().len() {
            assert!(read(&layout(GeometryKind::Point, 5), &two_points()[..end]).is_err());
        }
        let longer = [two_points(), vec![0]].concat();
        assert!(read(&layout(GeometryKind::Point, 5), &longer).is_err());
    }

    #[test]
    fn an_entry_has_its_record_and_the_objects_of_each_relationship() {
        let layout = layout(GeometryKind::Point, 5);
        let mut bytes = floats(&[1.0, 2.0, 3.0]);
        bytes.extend([1, 2, 3, 4, 5, 0, 0, 0]);
        bytes.extend(2u32.to_le_bytes());
        bytes.extend([u64::MAX, 7].map(u64::to_le_bytes).concat());
        bytes.extend(0u32.to_le_bytes());
        let object = || "layer/by_id/9".to_owned();
        let entry = layout.read_entry(&bytes, 2, &object).unwrap();
        assert_eq!(entry.geometry, floats(&[1.0, 2.0, 3.0]));
        let ids = |list: &[[u8; 8]]| list.iter().map(|id| u64::from_le_bytes(*id)).collect();
        let lists: Vec<Vec<u64>> = entry.related.into_iter().map(ids).collect();
        assert_eq!(lists, [vec![u64::MAX, 7], vec![]]);
        for relationships in [0, 1, 3] {
            let e = layout
                .read_entry(&bytes, relationships, &object)
                .unwrap_err();
            assert!(e.to_string().contains("layer/by_id/9"), "{e}");
        }
        for end in 0..bytes.len() {
            layout.read_entry(&bytes[..end], 2, &object).unwrap_err();
        }
    }

    #[test]
    fn an_impossible_count_is_an_error_before_memory_is_allocated() {
        for count in [1u64 << 40, u64::MAX, 1 << 61] {
            for kind in [GeometryKind::Point, GeometryKind::Polyline] {
                let bytes = [&count.to_le_bytes()[..], &[0; 100]].concat();
                let e = read(&layout(kind, 5), &bytes).unwrap_err().to_string();
                assert!(
                    e.contains("has 108 bytes") && e.contains(&count.to_string()),
                    "{e}"
                );
            }
        }
    }

    #[test]
    fn the_anchor_of_a_line_is_its_middle_its_start_or_its_end() {
        let line =
            |anchor| position(GeometryKind::Line, &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0], anchor).unwrap();
        let (a, b) = ([4.0, 8.0, 120.0], [16.0, 24.0, 320.0]);
        assert_eq!(line(Anchor::Midpoint), [[10.0, 16.0, 220.0], a, b]);
        assert_eq!(line(Anchor::Start), [a, a, b]);
        assert_eq!(line(Anchor::End), [b, a, b]);
    }

    #[test]
    fn the_anchor_of_a_box_or_an_ellipsoid_is_its_centre() {
        let two = [1.0, 2.0, 3.0, 3.0, 4.0, 5.0];
        for anchor in [Anchor::Midpoint, Anchor::Start, Anchor::End] {
            assert_eq!(
                position(GeometryKind::Box, &two, anchor),
                Some([[8.0, 12.0, 160.0]; 3])
            );
            assert_eq!(
                position(GeometryKind::Ellipsoid, &two, anchor),
                Some([[4.0, 8.0, 120.0]; 3])
            );
        }
    }

    #[test]
    fn the_anchor_of_a_polyline_is_its_middle_by_length_in_nm() {
        // 40 nm along x, then 120 nm along z: the middle is 40 nm down.
        let bent = [
            0.0, 0.0, 0.0, 10.0, 0.0, 0.0, 10.0, 0.0, 0.0, 10.0, 0.0, 3.0,
        ];
        let found = position(GeometryKind::Polyline, &bent, Anchor::Midpoint).unwrap();
        assert_eq!(found, [[40.0, 0.0, 40.0], [0.0; 3], [40.0, 0.0, 120.0]]);
        let end = position(GeometryKind::Polyline, &bent, Anchor::End).unwrap();
        assert_eq!(end[0], [40.0, 0.0, 120.0]);
        let single = position(GeometryKind::Polyline, &[1.0; 6], Anchor::Midpoint).unwrap();
        assert_eq!(single, [[4.0, 4.0, 40.0]; 3]);
    }

    #[test]
    fn records_of_polylines_have_variable_length() {
        let layout = layout(GeometryKind::Polyline, 2);
        let mut bytes = 2u64.to_le_bytes().to_vec();
        for n in [3u32, 1] {
            bytes.extend(n.to_le_bytes());
            bytes.extend(floats(&vec![n as f32; 3 * n as usize]));
            bytes.extend([n as u8, 9, 0, 0]);
        }
        bytes.extend(7u64.to_le_bytes());
        bytes.extend(8u64.to_le_bytes());
        let records = read(&layout, &bytes).unwrap();
        assert_eq!(records[0], (7, floats(&[3.0; 9]), vec![3, 9]));
        assert_eq!(records[1], (8, floats(&[1.0; 3]), vec![1, 9]));
        // Wrong numbers of points.
        for n in [0u32, 2, 4, u32::MAX] {
            bytes[8..12].copy_from_slice(&n.to_le_bytes());
            let e = read(&layout, &bytes).unwrap_err().to_string();
            assert!(e.contains("layer/s0/0_0_0"), "{e}");
        }
    }

    #[test]
    fn positions_are_converted_to_f64_before_computation() {
        // Half of an odd sum at 3 million needs more than float32.
        let found = position(
            GeometryKind::Line,
            &[3e6, 0.0, 0.0, 3e6 + 0.25, 0.0, 0.0],
            Anchor::Midpoint,
        );
        assert_eq!(found.unwrap()[0][0], 3_000_000.125 * 4.0);
    }

    #[test]
    fn an_annotation_with_infinite_coordinates_has_no_position() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(
                position(GeometryKind::Point, &[1.0, bad, 1.0], Anchor::Start),
                None
            );
            let line = [1.0, 1.0, 1.0, 1.0, 1.0, bad];
            assert_eq!(position(GeometryKind::Line, &line, Anchor::Start), None);
            let bent = [1.0, 1.0, 1.0, 1.0, 1.0, bad, 1.0, 1.0, 1.0];
            assert_eq!(position(GeometryKind::Polyline, &bent, Anchor::Start), None);
        }
    }

    #[test]
    fn dimensions_in_another_order_are_converted_to_x_y_z() {
        let mut layout = layout(GeometryKind::Point, 0);
        layout.rank = 4;
        for (axis, dimension) in layout.placed.iter_mut().zip([3, 1, 0]) {
            axis.dimension = dimension;
        }
        let found = layout
            .position(&floats(&[3.0, 2.0, f32::NAN, 1.0]), Anchor::Midpoint)
            .unwrap();
        assert_eq!(found.anchor.0, [4.0, 8.0, 120.0]);
    }

    #[test]
    fn equal_geometries_have_equal_digests() {
        assert_eq!(
            geometry_digest(&floats(&[0.0, 1.0])),
            geometry_digest(&floats(&[-0.0, 1.0]))
        );
        assert_ne!(
            geometry_digest(&floats(&[0.0, 1.0])),
            geometry_digest(&floats(&[1.0, 0.0]))
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            count in prop_oneof![0u64..6, any::<u64>()],
            body in prop::collection::vec(0u8..4, 0..200),
            property_bytes in 0usize..20,
            kind in prop::sample::select(vec![
                GeometryKind::Point, GeometryKind::Line, GeometryKind::Polyline, GeometryKind::Ellipsoid,
            ]),
        ) {
            let layout = layout(kind, property_bytes);
            let bytes = [&count.to_le_bytes()[..], &body].concat();
            for (_, geometry, properties) in read(&layout, &bytes).unwrap_or_default() {
                prop_assert_eq!(properties.len(), property_bytes);
                layout.position(&geometry, Anchor::Midpoint);
            }
            let _ = layout.read_entry(&body, 2, &String::new);
        }
    }
}
