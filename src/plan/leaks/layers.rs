//! Which layers the windows of each layer group are cut out of, and in which shapes.
//!
//! Layers are the same where their sources lie at one place, whatever their names and the resolution at which they are
//! read. Layers that the same groups cut in the same shapes are one here, and so are groups that differ in nothing.

use std::collections::HashMap;

use super::super::{Plan, Sample};
use crate::geometry::{BoxNm, Resolution};

/// Boxes are drawn in by this much of a voxel on each side.
const MARGIN_VOXELS: f64 = 0.005;

/// The layers of all groups.
#[derive(Debug)]
pub(super) struct Layers {
    class_of_group: Vec<usize>,
    classes: Vec<Class>,
    count: usize,
}

/// Groups whose windows have the same shapes in the same layers.
#[derive(Debug)]
struct Class {
    resolution: Resolution,
    shapes: Vec<Shape>,
    /// Layers in ascending order, each with the shapes that are cut out of it.
    layers: Vec<(usize, Vec<usize>)>,
}

/// A window's size and the size of the voxels that are read for it.
#[derive(Debug)]
struct Shape {
    /// The first array that has it.
    array: usize,
    data_resolution: Option<Resolution>,
    margin_nm: [f64; 3],
}

/// What makes classes equal: the resolution, and for each shape the places that it is cut out of.
type ClassKey = ([u64; 3], Vec<Vec<usize>>);

impl Layers {
    pub(super) fn new(plan: &Plan) -> Self {
        let shapes = shapes(plan);
        let mut places = HashMap::new();
        let place_of_source: Vec<usize> = plan
            .sources
            .iter()
            .map(|source| {
                let next = places.len();
                *places.entry(&source.url.location).or_insert(next)
            })
            .collect();
        let mut keys: HashMap<ClassKey, usize> = HashMap::new();
        let mut classes = Vec::new();
        let mut users: Vec<Vec<(usize, usize)>> = vec![Vec::new(); places.len()];
        let class_of_group = plan.groups.iter().enumerate().map(|(group, planned)| {
            let places_of = |arrays: &Vec<usize>| {
                let places = arrays
                    .iter()
                    .map(|a| place_of_source[plan.arrays[*a].source_of_group[group]]);
                let mut places: Vec<_> = places.collect();
                places.sort_unstable();
                places.dedup();
                places
            };
            let places: Vec<Vec<usize>> = shapes.iter().map(places_of).collect();
            let key = (planned.resolution.nm().map(f64::to_bits), places.clone());
            *keys.entry(key).or_insert_with(|| {
                for (shape, places) in places.iter().enumerate() {
                    for place in places {
                        users[*place].push((classes.len(), shape));
                    }
                }
                classes.push(Class::new(plan, planned.resolution, &shapes));
                classes.len() - 1
            })
        });
        let class_of_group = class_of_group.collect();
        let mut layers: HashMap<Vec<(usize, usize)>, usize> = HashMap::new();
        for users in users.into_iter().filter(|u| !u.is_empty()) {
            let layer = layers.len();
            if layers.contains_key(&users) {
                continue;
            }
            for (class, shape) in &users {
                let of_class = &mut classes[*class].layers;
                match of_class.last_mut().filter(|(last, _)| *last == layer) {
                    Some((_, shapes)) => shapes.push(*shape),
                    None => of_class.push((layer, vec![*shape])),
                }
            }
            layers.insert(users, layer);
        }
        Self {
            class_of_group,
            classes,
            count: layers.len(),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn class_of(&self, group: usize) -> usize {
        self.class_of_group[group]
    }

    /// The layers of a class in ascending order, each with the shapes that are cut out of it.
    pub(super) fn of_class(&self, class: usize) -> &[(usize, Vec<usize>)] {
        &self.classes[class].layers
    }

    /// For each shape an array that has it; all classes have the same.
    pub(super) fn arrays(&self) -> impl Iterator<Item = usize> {
        let class = self.classes.first();
        class
            .into_iter()
            .flat_map(|c| c.shapes.iter().map(|s| s.array))
    }

    /// What a box of this shape is drawn in by on each side.
    pub(super) fn margin_nm(&self, class: usize, shape: usize) -> [f64; 3] {
        self.classes[class].shapes[shape].margin_nm
    }

    /// For each shape of a class the box that a sample covers: of whole voxels of the data.
    pub(super) fn boxes_nm(
        &self,
        plan: &Plan,
        class: usize,
        sample: &Sample,
    ) -> impl Iterator<Item = BoxNm> {
        let Class {
            resolution, shapes, ..
        } = &self.classes[class];
        shapes.iter().map(move |shape| {
            let window = plan.window_of(shape.array, sample).nm(resolution);
            match &shape.data_resolution {
                None => window,
                Some(data) => window.covering_voxels(data).nm(data),
            }
        })
    }
}

/// The arrays of each shape.
fn shapes(plan: &Plan) -> Vec<Vec<usize>> {
    let mut shapes: HashMap<_, usize> = HashMap::new();
    let mut arrays: Vec<Vec<usize>> = Vec::new();
    for (i, array) in plan.arrays.iter().enumerate() {
        let data = data_resolution(plan, i).map(|r| r.nm().map(f64::to_bits));
        let next = arrays.len();
        let shape = *shapes.entry((array.window.voxels(), data)).or_insert(next);
        if shape == next {
            arrays.push(Vec::new());
        }
        arrays[shape].push(i);
    }
    arrays
}

fn data_resolution(plan: &Plan, array: usize) -> Option<Resolution> {
    let (_, config) = plan.config.arrays.get_index(array)?;
    config.data_resolution
}

impl Class {
    fn new(plan: &Plan, resolution: Resolution, shapes: &[Vec<usize>]) -> Self {
        let shape = |arrays: &Vec<usize>| {
            let data_resolution = data_resolution(plan, arrays[0]);
            let voxel = data_resolution.unwrap_or(resolution).nm();
            Shape {
                array: arrays[0],
                data_resolution,
                margin_nm: voxel.map(|nm| MARGIN_VOXELS * nm),
            }
        };
        Self {
            resolution,
            shapes: shapes.iter().map(shape).collect(),
            layers: Vec::new(),
        }
    }
}
