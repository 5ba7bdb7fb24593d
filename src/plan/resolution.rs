//! `flexible_z`: the z resolution of a layer group's windows, derived from the resolutions of its layers.

use std::collections::{BTreeSet, HashMap};

use rayon::prelude::*;

use crate::collection::LayerGroup;
use crate::config::{ConfigFile, LayerConfig, nearest};
use crate::geometry::Resolution;
use crate::storage::{Location, SourceUrl};
use crate::volume::VolumeError;

use super::error::{PlanError, UnreadableLayer};
use super::table::VolumeSource;

/// Returns the resolutions that a volume has.
pub(super) type ResolutionsOf<'a> =
    dyn Fn(&SourceUrl, &LayerConfig) -> Result<Vec<Resolution>, VolumeError> + Sync + 'a;

/// The z resolution of layer groups. Each volume is looked up once.
pub(super) struct FlexibleZ<'a> {
    file: &'a ConfigFile,
    resolutions_of: &'a ResolutionsOf<'a>,
    /// `None` if the layer is not a volume.
    looked_up: HashMap<LayerKey, Option<Vec<Resolution>>>,
}

/// Name and location of a layer. The name is part of it, because the config may have an entry for it.
type LayerKey = (String, Location);

/// A layer whose resolutions are considered.
struct ConsideredLayer {
    name: String,
    /// Whether a window is cut from it at the resolution of the group.
    in_array: bool,
    source: SourceUrl,
}

impl<'a> FlexibleZ<'a> {
    pub(super) fn new(file: &'a ConfigFile, resolutions_of: &'a ResolutionsOf<'a>) -> Self {
        Self {
            file,
            resolutions_of,
            looked_up: HashMap::new(),
        }
    }

    /// The config's resolution in x and y with the smallest z that all volumes of the group have at this x and y, as in
    /// zetta_utils. Volumes in no array are considered too; if such a volume has only other x and y, all of its z
    /// resolutions count. Volumes whose arrays all have a `data_resolution` are ignored.
    ///
    /// `sources` are the sources of the config's arrays, `box_id` is the group's first box.
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
            let Some(Some(all)) = self.looked_up.get(&layer.key()) else {
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

    /// The config's x and y with each z that counts, for a layer with the resolutions `all`.
    fn at_xy(&self, layer: &ConsideredLayer, all: &[Resolution]) -> Vec<Resolution> {
        let [x, y, _] = self.file.config.resolution.nm();
        let with_z_of = |r: &Resolution| Resolution::new([x, y, r.nm()[2]]);
        let same_xy = |r: &&Resolution| with_z_of(r).is_some_and(|m| m.matches(r));
        let at_xy: Vec<_> = all.iter().filter(same_xy).filter_map(with_z_of).collect();
        if at_xy.is_empty() && !layer.in_array {
            return all.iter().filter_map(with_z_of).collect();
        }
        at_xy
    }

    /// The layers of the group that are considered: those in arrays, in the config's order, then all others that may be
    /// volumes.
    fn layers(
        &self,
        group: &LayerGroup,
        sources: &[VolumeSource],
    ) -> Result<Vec<ConsideredLayer>, PlanError> {
        let arrays = self.file.config.arrays.values();
        let mut layers: Vec<ConsideredLayer> = Vec::new();
        for (array, source) in arrays.clone().zip(sources) {
            let is_new = layers.iter().all(|l| l.name != array.layer);
            if array.data_resolution.is_none() && is_new {
                layers.push(ConsideredLayer {
                    name: array.layer.clone(),
                    in_array: true,
                    source: source.url.clone(),
                });
            }
        }
        let in_no_array = |name: &&str| arrays.clone().all(|a| a.layer != *name);
        for name in group.possible_volumes().filter(in_no_array) {
            let source = group.source(name);
            layers.push(ConsideredLayer {
                name: name.to_owned(),
                in_array: false,
                source: source.map_err(|e| self.unreadable_layer(name, group, e.into()))?,
            });
        }
        Ok(layers)
    }

    /// Looks up the resolutions of the layers that were not looked up before.
    fn look_up(&mut self, layers: &[ConsideredLayer], group: &LayerGroup) -> Result<(), PlanError> {
        let is_new = |layer: &&ConsideredLayer| !self.looked_up.contains_key(&layer.key());
        let new: Vec<&ConsideredLayer> = layers.iter().filter(is_new).collect();
        let configs = &self.file.config.layers;
        let looked_up: Vec<_> = new
            .par_iter()
            .map(|layer| {
                let config = configs.get(&layer.name).cloned().unwrap_or_default();
                (self.resolutions_of)(&layer.source, &config).map_err(|e| e.of_layer(&layer.name))
            })
            .collect();
        for (layer, found) in new.into_iter().zip(looked_up) {
            let resolutions = match (found, layer.in_array) {
                (Ok(resolutions), _) => Some(resolutions),
                (Err(e), false) if e.is_not_a_volume() => None,
                (Err(source), true) => {
                    return Err(PlanError::Resolutions {
                        layer: layer.name.clone(),
                        source,
                    });
                }
                (Err(e), false) => return Err(self.unreadable_layer(&layer.name, group, e.into())),
            };
            self.looked_up.insert(layer.key(), resolutions);
        }
        Ok(())
    }

    /// Fails if the config's `layers` has a name that is neither in an array nor in one of the groups so far.
    pub(super) fn require_known_names(&self) -> Result<(), PlanError> {
        let config = &self.file.config;
        let in_arrays = || config.arrays.values().map(|a| a.layer.as_str());
        let in_groups = || self.looked_up.keys().map(|(name, _)| name.as_str());
        let names = || in_arrays().chain(in_groups());
        let Some(name) = config.layers.keys().find(|n| names().all(|m| m != *n)) else {
            return Ok(());
        };
        let known: BTreeSet<&str> = names().collect();
        let known: Vec<String> = known.into_iter().map(|n| format!("`{n}`")).collect();
        Err(PlanError::UnknownLayer {
            config: self.file.path.clone(),
            name: name.clone(),
            known: known.join(", "),
            hint: nearest(name, names()).map(str::to_owned),
        })
    }

    /// The error for a layer in no array whose resolutions cannot be read.
    fn unreadable_layer(
        &self,
        layer: &str,
        group: &LayerGroup,
        source: UnreadableLayer,
    ) -> PlanError {
        PlanError::UnreadableLayer {
            config: self.file.path.clone(),
            layer: layer.to_owned(),
            group: group.id().to_owned(),
            source,
        }
    }
}

impl ConsideredLayer {
    fn key(&self) -> LayerKey {
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
