//! Which layers the windows of each layer group are cut from, and in which shapes.
//!
//! Layers with the same location are the same, whatever their names and the resolution at which they are read. Layers
//! that the same groups cut in the same shapes count as one, and so do groups without any difference.

use std::collections::{HashMap, HashSet};

use super::super::table::{Plan, Sample};
use crate::geometry::{BoxNm, Resolution};

/// Boxes are shrunk by this part of a voxel on each side.
const MARGIN_VOXELS: f64 = 0.005;

/// The layers of all groups.
#[derive(Debug)]
pub(super) struct Layers {
    class_of_group: Vec<usize>,
    classes: Vec<GroupClass>,
    count: usize,
}

/// Layer groups whose windows have the same shapes in the same layers.
#[derive(Debug)]
struct GroupClass {
    resolution: Resolution,
    shapes: Vec<WindowShape>,
    /// Layers in ascending order, each with the shapes that are cut from it.
    layers: Vec<(usize, Vec<usize>)>,
}

/// The size of a window, and of the voxels that are read for it.
#[derive(Debug)]
struct WindowShape {
    /// The first array with this shape.
    array: usize,
    data_resolution: Option<Resolution>,
    margin_nm: [f64; 3],
}

/// Groups with the same key are in the same class: the resolution, and for each shape the locations of its layers.
type ClassKey = ([u64; 3], Vec<Vec<usize>>);

/// The classes and shapes that are cut from a location.
type Users = Vec<(usize, usize)>;

impl Layers {
    pub(super) fn new(plan: &Plan) -> Self {
        let shapes = shapes(plan);
        let location_of_source = number_locations(plan);
        let mut class_of_key: HashMap<ClassKey, usize> = HashMap::new();
        let mut classes = Vec::new();
        let mut users_of_location: Vec<Users> = vec![Vec::new(); plan.sources.len()];
        let class_of_group = plan.groups.iter().enumerate().map(|(group, planned)| {
            let locations_of = |arrays: &Vec<usize>| {
                let locations = arrays
                    .iter()
                    .map(|a| location_of_source[plan.arrays[*a].source_of_group[group]]);
                let mut locations: Vec<_> = locations.collect();
                locations.sort_unstable();
                locations.dedup();
                locations
            };
            let locations: Vec<Vec<usize>> = shapes.iter().map(locations_of).collect();
            let key = (planned.resolution.nm().map(f64::to_bits), locations.clone());
            *class_of_key.entry(key).or_insert_with(|| {
                for (shape, locations) in locations.iter().enumerate() {
                    for location in locations {
                        users_of_location[*location].push((classes.len(), shape));
                    }
                }
                classes.push(GroupClass::new(plan, planned.resolution, &shapes));
                classes.len() - 1
            })
        });
        let class_of_group = class_of_group.collect();
        let count = add_layers(&mut classes, users_of_location);
        Self {
            class_of_group,
            classes,
            count,
        }
    }

    /// The number of layers.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn class_of(&self, group: usize) -> usize {
        self.class_of_group[group]
    }

    /// The layers of a class in ascending order, each with the shapes that are cut from it.
    pub(super) fn of_class(&self, class: usize) -> &[(usize, Vec<usize>)] {
        &self.classes[class].layers
    }

    /// For each shape an array with it. All classes have the same shapes.
    pub(super) fn arrays(&self) -> impl Iterator<Item = usize> {
        let class = self.classes.first();
        class
            .into_iter()
            .flat_map(|c| c.shapes.iter().map(|s| s.array))
    }

    /// By how much a box of this shape is shrunk on each side.
    pub(super) fn margin_nm(&self, class: usize, shape: usize) -> [f64; 3] {
        self.classes[class].shapes[shape].margin_nm
    }

    /// For each shape of a class the box that a sample covers, in whole voxels of the data.
    pub(super) fn boxes_nm(
        &self,
        plan: &Plan,
        class: usize,
        sample: &Sample,
    ) -> impl Iterator<Item = BoxNm> {
        let GroupClass {
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

/// For each source a number that sources share if they have the same location.
fn number_locations(plan: &Plan) -> Vec<usize> {
    let mut numbers = HashMap::new();
    let urls = plan.sources.iter().map(|source| &source.url);
    urls.map(|url| {
        let next = numbers.len();
        *numbers.entry(&url.location).or_insert(next)
    })
    .collect()
}

/// Adds a layer to the classes for each different list of users. Returns the number of layers.
fn add_layers(classes: &mut [GroupClass], users_of_location: Vec<Users>) -> usize {
    let mut known: HashSet<Users> = HashSet::new();
    for users in users_of_location.into_iter().filter(|u| !u.is_empty()) {
        let layer = known.len();
        if known.contains(&users) {
            continue;
        }
        for (class, shape) in &users {
            let of_class = &mut classes[*class].layers;
            match of_class.last_mut().filter(|(last, _)| *last == layer) {
                Some((_, shapes)) => shapes.push(*shape),
                None => of_class.push((layer, vec![*shape])),
            }
        }
        known.insert(users);
    }
    known.len()
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

impl GroupClass {
    fn new(plan: &Plan, resolution: Resolution, shapes: &[Vec<usize>]) -> Self {
        let shape = |arrays: &Vec<usize>| {
            let data_resolution = data_resolution(plan, arrays[0]);
            let voxel = data_resolution.unwrap_or(resolution).nm();
            WindowShape {
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
