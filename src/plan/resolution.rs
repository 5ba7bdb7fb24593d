//! `flexible_z`: the resolution of a layer group's windows, as far as its layers decide it.

use std::collections::{BTreeSet, HashMap};

use rayon::prelude::*;

use crate::collection::LayerGroup;
use crate::config::{ConfigFile, LayerConfig, nearest};
use crate::geometry::Resolution;
use crate::storage::{Location, SourceUrl};
use crate::volume::VolumeError;

use super::{NotCounted, PlanError, VolumeSource};

/// Says which resolutions a volume has.
pub(super) type ResolutionsOf<'a> =
    dyn Fn(&SourceUrl, &LayerConfig) -> Result<Vec<Resolution>, VolumeError> + Sync + 'a;

/// The z resolution of layer groups. Each volume is looked up once.
pub(super) struct FlexibleZ<'a> {
    file: &'a ConfigFile,
    resolutions_of: &'a ResolutionsOf<'a>,
    /// By layer name and place; `None` where there is something else than a volume.
    known: HashMap<Key, Option<Vec<Resolution>>>,
}

/// What a layer's resolutions are known by: the config may say something of its name.
type Key = (String, Location);

/// A layer that counts.
struct Counted {
    name: String,
    /// Whether a window is cut out of it at the resolution of the group.
    in_array: bool,
    source: SourceUrl,
}

impl<'a> FlexibleZ<'a> {
    pub(super) fn new(file: &'a ConfigFile, resolutions_of: &'a ResolutionsOf<'a>) -> Self {
        Self {
            file,
            resolutions_of,
            known: HashMap::new(),
        }
    }

    /// The config's resolution in x and y with the smallest z that all volumes of the group have there, whether an
    /// array is cut out of them or not, as in zetta_utils. All z of a volume count that no array is cut out of and
    /// that has other x and y only. Volumes whose arrays all have a `data_resolution` have no say.
    ///
    /// `sources` are those of the config's arrays, `box_id` is the group's first box.
    pub(super) fn of_group(
        &mut self,
        group: &LayerGroup,
        sources: &[VolumeSource],
        box_id: &str,
    ) -> Result<Resolution, PlanError> {
        let layers = self.layers(group, sources)?;
        self.look_up(&layers, group)?;
        let mut shared: Option<Vec<Resolution>> = None;
        let mut found = Vec::new();
        for layer in &layers {
            let Some(Some(all)) = self.known.get(&layer.key()) else {
                continue;
            };
            let with_z = self.at_xy(layer, all);
            let z: Vec<_> = with_z.iter().map(|r| r.nm()[2].to_string()).collect();
            found.push(format!("`{}` has z {}", layer.name, list(&z)));
            shared = Some(match shared {
                None => with_z,
                Some(shared) => {
                    let has = |r: &Resolution| with_z.iter().any(|other| other.matches(r));
                    shared.into_iter().filter(has).collect()
                }
            });
        }
        let Some(shared) = shared else {
            return Ok(self.file.config.resolution);
        };
        let [x, y, _] = self.file.config.resolution.nm();
        shared
            .into_iter()
            .min_by(|a, b| a.nm()[2].total_cmp(&b.nm()[2]))
            .ok_or_else(|| PlanError::NoSharedZ {
                config: self.file.path.clone(),
                box_id: box_id.to_owned(),
                xy: format!("{x} x {y} nm"),
                found: found.join(", "),
            })
    }

    /// The config's x and y with each z that counts of a layer that has the resolutions `all`.
    fn at_xy(&self, layer: &Counted, all: &[Resolution]) -> Vec<Resolution> {
        let [x, y, _] = self.file.config.resolution.nm();
        let moved = |r: &Resolution| Resolution::new([x, y, r.nm()[2]]);
        let same_xy = |r: &&Resolution| moved(r).is_some_and(|m| m.matches(r));
        let at_xy: Vec<_> = all.iter().filter(same_xy).filter_map(moved).collect();
        if at_xy.is_empty() && !layer.in_array {
            return all.iter().filter_map(moved).collect();
        }
        at_xy
    }

    /// The layers of the group that count: those of arrays in the order of the config, then all others that may be
    /// volumes.
    fn layers(
        &self,
        group: &LayerGroup,
        sources: &[VolumeSource],
    ) -> Result<Vec<Counted>, PlanError> {
        let arrays = self.file.config.arrays.values();
        let mut layers: Vec<Counted> = Vec::new();
        for (array, source) in arrays.clone().zip(sources) {
            let known = layers.iter().any(|l| l.name == array.layer);
            if array.data_resolution.is_none() && !known {
                layers.push(Counted {
                    name: array.layer.clone(),
                    in_array: true,
                    source: source.url.clone(),
                });
            }
        }
        let in_no_array = |name: &&str| arrays.clone().all(|a| a.layer != *name);
        for name in group.possible_volumes().filter(in_no_array) {
            let source = group.source(name);
            layers.push(Counted {
                name: name.to_owned(),
                in_array: false,
                source: source.map_err(|e| self.not_counted(name, group, e.into()))?,
            });
        }
        Ok(layers)
    }

    /// Looks up the resolutions of the layers that are not known yet.
    fn look_up(&mut self, layers: &[Counted], group: &LayerGroup) -> Result<(), PlanError> {
        let unknown = |layer: &&Counted| !self.known.contains_key(&layer.key());
        let unknown: Vec<&Counted> = layers.iter().filter(unknown).collect();
        let configs = &self.file.config.layers;
        let looked_up: Vec<_> = unknown
            .par_iter()
            .map(|layer| {
                let config = configs.get(&layer.name).cloned().unwrap_or_default();
                (self.resolutions_of)(&layer.source, &config).map_err(|e| e.of_layer(&layer.name))
            })
            .collect();
        for (layer, found) in unknown.into_iter().zip(looked_up) {
            let resolutions = match (found, layer.in_array) {
                (Ok(resolutions), _) => Some(resolutions),
                (Err(e), false) if e.is_not_a_volume() => None,
                (Err(source), true) => {
                    return Err(PlanError::Resolutions {
                        layer: layer.name.clone(),
                        source,
                    });
                }
                (Err(e), false) => return Err(self.not_counted(&layer.name, group, e.into())),
            };
            self.known.insert(layer.key(), resolutions);
        }
        Ok(())
    }

    /// Fails where the config's `layers` names what is a layer of no array and of none of the groups so far.
    pub(super) fn require_known_names(&self) -> Result<(), PlanError> {
        let config = &self.file.config;
        let in_arrays = || config.arrays.values().map(|a| a.layer.as_str());
        let in_groups = || self.known.keys().map(|(name, _)| name.as_str());
        let names = || in_arrays().chain(in_groups());
        let unknown = config.layers.keys().find(|n| names().all(|m| m != *n));
        match unknown {
            None => Ok(()),
            Some(name) => Err(PlanError::UnknownLayer {
                config: self.file.path.clone(),
                name: name.clone(),
                known: names()
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .map(|n| format!("`{n}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
                hint: nearest(name, names()).map(str::to_owned),
            }),
        }
    }

    /// A layer that no array is cut out of cannot be read, so that its z are not known.
    fn not_counted(&self, layer: &str, group: &LayerGroup, source: NotCounted) -> PlanError {
        PlanError::NotCounted {
            config: self.file.path.clone(),
            layer: layer.to_owned(),
            group: group.id().to_owned(),
            source,
        }
    }
}

impl Counted {
    fn key(&self) -> Key {
        (self.name.clone(), self.source.location.clone())
    }
}

fn list(values: &[String]) -> String {
    if values.is_empty() {
        "none".to_owned()
    } else {
        values.join(", ")
    }
}
