//! `flexible_z`: the resolution of a layer group's windows, as far as its layers decide it.

use crate::config::{ConfigFile, LayerConfig};
use crate::geometry::Resolution;
use crate::storage::SourceUrl;
use crate::volume::VolumeError;

use super::{PlanError, VolumeSource};

/// Says which resolutions a volume has.
pub(super) type ResolutionsOf<'a> =
    dyn Fn(&SourceUrl, &LayerConfig) -> Result<Vec<Resolution>, VolumeError> + 'a;

/// The config's resolution in x and y with the smallest z at which all layers have it. `sources` are those of the
/// config's arrays; arrays with a `data_resolution` of their own have no say.
pub(super) fn flexible_z(
    file: &ConfigFile,
    sources: &[VolumeSource],
    box_id: &str,
    resolutions_of: &ResolutionsOf<'_>,
) -> Result<Resolution, PlanError> {
    let config = &file.config;
    let [x, y, _] = config.resolution.nm();
    let mut shared: Option<Vec<Resolution>> = None;
    let mut found = Vec::new();
    for (source, (_, array)) in sources.iter().zip(&config.arrays) {
        if array.data_resolution.is_some() {
            continue;
        }
        let all =
            resolutions_of(&source.url, &source.layer).map_err(|e| PlanError::Resolutions {
                layer: array.layer.clone(),
                source: e,
            })?;
        let at_xy =
            |r: &Resolution| Resolution::new([x, y, r.nm()[2]]).is_some_and(|w| w.matches(r));
        let fitting: Vec<_> = all.into_iter().filter(at_xy).collect();
        let z: Vec<_> = fitting.iter().map(|r| r.nm()[2].to_string()).collect();
        found.push(format!("`{}` has z {}", array.layer, list(&z)));
        shared = Some(match shared {
            None => fitting,
            Some(shared) => {
                let has = |r: &Resolution| fitting.iter().any(|f| f.matches(r));
                shared.into_iter().filter(has).collect()
            }
        });
    }
    let Some(shared) = shared else {
        return Ok(config.resolution);
    };
    let smallest = shared.iter().map(|r| r.nm()[2]).min_by(f64::total_cmp);
    smallest
        .and_then(|z| Resolution::new([x, y, z]))
        .ok_or_else(|| PlanError::NoSharedZ {
            config: file.path.clone(),
            box_id: box_id.to_owned(),
            xy: format!("{x} x {y} nm"),
            found: found.join(", "),
        })
}

fn list(values: &[String]) -> String {
    match values.is_empty() {
        true => "none".to_owned(),
        false => values.join(", "),
    }
}
