//! `plan.json`: everything of a plan except its columns, with the size and digest of each of their files.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::stored_parts::{
    StoredArray, StoredBox, StoredReuse, StoredSource, StoredSplit, parse_digest,
};
use crate::config::Config;
use crate::dataset::{FileEntry, Layout, SCHEMA_VERSION, ShardId, from_checksummed};
use crate::geometry::{PointNm, Resolution};
use crate::plan::{
    BOX_BYTES, FinishedPlan, MAX_OBJECTS, Padding, Plan, PlannedArray, PlannedGroup, PlannedSplit,
    Sample, SampleObjects, Tasks, work_order,
};
use crate::points::PropertySpec;

/// The contents of `plan.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanHeader {
    schema_version: u32,
    /// Version of the program that made the plan.
    program: String,
    plan_digest: String,
    draft_digest: String,
    /// See [`Tasks::from_ends`].
    task_ends: Vec<u64>,
    config: Value,
    collection: String,
    groups_nm: Vec<Resolution>,
    sources: Vec<StoredSource>,
    arrays: Vec<StoredArray>,
    splits: Vec<StoredSplit>,
    #[serde(default, skip_serializing_if = "is_false")]
    has_ends: bool,
    properties: Vec<PropertySpec>,
    boxes: Vec<StoredBox>,
    layers_outside_boxes: Vec<String>,
    warnings: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reuse: Option<StoredReuse>,
    files: Vec<FileEntry>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The part of the contents that every version has.
#[derive(Deserialize)]
struct Version {
    schema_version: u32,
    program: String,
}

impl PlanHeader {
    /// The header in the bytes of `plan.json`.
    ///
    /// # Errors
    /// What was found and expected, for a message that names the file.
    pub(crate) fn parse(checksummed: &[u8]) -> Result<Self, String> {
        let Version {
            schema_version,
            program,
        } = from_checksummed(checksummed)?;
        if schema_version != SCHEMA_VERSION {
            return Err(format!(
                "it has the schema version {schema_version} of pointshard {program}, expected {SCHEMA_VERSION}: use that version of pointshard, or start again with --force"
            ));
        }
        from_checksummed(checksummed)
    }

    /// The header of `plan`, whose digest is `plan_digest` and whose columns are `files`.
    pub(super) fn of(plan: &FinishedPlan, plan_digest: String, files: Vec<FileEntry>) -> Self {
        let FinishedPlan {
            table,
            sources,
            padding,
            layout,
            ..
        } = plan;
        let with_facts = table.sources.iter().zip(sources);
        let arrays = table.arrays.iter().zip(&layout.arrays).enumerate();
        let padded = |array| {
            let splits = 0..table.splits.len();
            splits.map(|split| padding.windows(split, array)).collect()
        };
        Self {
            schema_version: SCHEMA_VERSION,
            program: plan.program.clone(),
            plan_digest,
            draft_digest: table.draft_digest.to_string(),
            task_ends: plan.tasks.ends().to_vec(),
            config: table.config.published(),
            collection: plan.collection.clone(),
            groups_nm: table.groups.iter().map(|g| g.resolution).collect(),
            sources: with_facts.map(|(s, f)| StoredSource::of(s, f)).collect(),
            arrays: arrays
                .map(|(i, (planned, layout))| StoredArray::of(planned, layout, padded(i)))
                .collect(),
            splits: layout.splits.iter().map(StoredSplit::of).collect(),
            has_ends: table.has_ends,
            properties: table.properties.clone(),
            boxes: table.boxes.iter().map(StoredBox::of).collect(),
            layers_outside_boxes: table.layers_outside_boxes.clone(),
            warnings: table.warnings.clone(),
            reuse: plan.reuse.as_ref().map(StoredReuse::of),
            files,
        }
    }

    /// The config of the job.
    ///
    /// # Errors
    /// What was found and expected, for a message that names `plan.json`.
    pub(crate) fn config(&self) -> Result<Config, String> {
        Config::parse_published(&self.config).map_err(|e| e.to_string())
    }

    /// Digest of the plan.
    pub(crate) fn plan_digest(&self) -> &str {
        &self.plan_digest
    }

    /// The shards, in the order in which work on them begins, and which task writes which.
    ///
    /// # Errors
    /// What was found and expected, for a message that names `plan.json`.
    pub(crate) fn tasks(&self) -> Result<(Vec<ShardId>, Tasks), String> {
        let config = self.config()?;
        let arrays = self.arrays_of(&config)?;
        let layout = self.layout_of(&config, &arrays)?;
        Ok((work_order(&arrays, &layout), self.tasks_of(&layout)?))
    }

    fn tasks_of(&self, layout: &Layout) -> Result<Tasks, String> {
        Tasks::from_ends(self.task_ends.clone(), layout.all_shards().count() as u64)
    }

    /// Every file of the plan's columns; paths are relative to the output.
    pub(crate) fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Samples of all splits.
    pub(crate) fn samples(&self) -> u64 {
        let samples = self.splits.iter().map(|split| split.samples);
        samples.fold(0, u64::saturating_add)
    }

    /// Memory that the plan takes, in bytes, approximately: of each sample the row of the table, and of each array a fraction
    /// and an object.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let of_arrays = self.arrays.len() * (size_of::<f32>() + size_of::<u64>());
        let of_properties = self.properties.iter().map(|p| p.kind.value_bytes());
        let of_ends = if self.has_ends {
            size_of::<[PointNm; 2]>()
        } else {
            0
        };
        let of_sample = size_of::<Sample>() + of_ends + of_arrays + of_properties.sum::<usize>();
        let samples = self.samples().saturating_mul(of_sample as u64);
        let of_objects = self.arrays.iter().filter_map(|array| array.objects);
        let of_objects =
            of_objects.map(|counts| counts.all.saturating_mul(size_of::<u64>() as u64));
        let samples = of_objects.fold(samples, u64::saturating_add);
        samples.saturating_add((self.boxes.len() * BOX_BYTES) as u64)
    }

    pub(super) fn splits(&self) -> impl Iterator<Item = &StoredSplit> {
        self.splits.iter()
    }

    /// The layout of the output.
    ///
    /// # Errors
    /// What was found and expected, for a message that names `plan.json`.
    pub(crate) fn layout(&self) -> Result<Layout, String> {
        let config = Config::parse_published(&self.config).map_err(|e| e.to_string())?;
        self.layout_of(&config, &self.arrays_of(&config)?)
    }

    /// The plan without its samples.
    pub(super) fn without_samples(&self) -> Result<FinishedPlan, String> {
        let config = Config::parse_published(&self.config).map_err(|e| e.to_string())?;
        let arrays = self.arrays_of(&config)?;
        let layout = self.layout_of(&config, &arrays)?;
        let sources = self.sources.iter().map(StoredSource::parse);
        let (sources, facts) = sources.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let boxes = self.boxes.iter().map(StoredBox::parse);
        let objects = arrays.iter().map(|array| match array.objects {
            Some(_) => SampleObjects::several(0, 0),
            None => SampleObjects::default(),
        });
        let objects: Vec<_> = objects.collect();
        let split = |split: &StoredSplit| PlannedSplit {
            name: split.name.clone(),
            samples: Vec::new(),
            objects: objects.clone(),
            ends: Vec::new(),
            properties: vec![Vec::new(); self.properties.len()],
        };
        let groups = self.groups_nm.iter();
        let table = Plan {
            boxes: boxes.collect::<Result<_, _>>()?,
            splits: self.splits.iter().map(split).collect(),
            sources,
            groups: groups.map(|nm| PlannedGroup { resolution: *nm }).collect(),
            has_ends: self.has_ends,
            properties: self.properties.clone(),
            layers_outside_boxes: self.layers_outside_boxes.clone(),
            dropped: Vec::new(),
            warnings: self.warnings.clone(),
            draft_digest: parse_digest(&self.draft_digest)?,
            config,
            arrays,
        };
        check_table(&table)?;
        let reuse = self.reuse.as_ref().map(StoredReuse::parse);
        reuse.iter().try_for_each(|r| r.check(&layout, &table))?;
        Ok(FinishedPlan {
            reuse,
            tasks: self.tasks_of(&layout)?,
            table,
            sources: facts,
            padding: Padding::default(),
            layout,
            collection: self.collection.clone(),
            program: self.program.clone(),
        })
    }

    /// The plan with its samples and the fractions of its windows that are inside, by split, array and sample.
    pub(super) fn complete(
        &self,
        mut plan: FinishedPlan,
        inside_fractions: Vec<Vec<Vec<f32>>>,
    ) -> Result<FinishedPlan, String> {
        plan.padding = Padding::new(inside_fractions);
        let mut samples = vec![0; plan.table.boxes.len()];
        for sample in plan.table.splits.iter().flat_map(|s| &s.samples) {
            samples[sample.box_index as usize] += 1;
        }
        let mut boxes = plan.table.boxes.iter().zip(samples);
        if let Some((b, found)) = boxes.find(|(b, found)| b.samples != *found) {
            let (id, expected) = (&b.id, b.samples);
            return Err(format!(
                "the box {id:?} has {expected} samples, but the columns have {found}"
            ));
        }
        for (i, array) in self.arrays.iter().enumerate() {
            let splits = 0..plan.table.splits.len();
            let found: Vec<u64> = splits.map(|split| plan.padding.windows(split, i)).collect();
            if found != array.padded_windows {
                return Err(format!(
                    "the array `{}` has {:?} padded windows, but the columns have {found:?}",
                    array.name, array.padded_windows
                ));
            }
        }
        for (i, array) in plan.table.arrays.iter().enumerate() {
            let splits = plan.table.splits.iter().map(|split| &split.objects[i]);
            let found = array.objects.map(|_| SampleObjects::count(splits));
            if found != array.objects {
                return Err(format!(
                    "the numbers of objects of the array `{}` are not those of its column",
                    array.name
                ));
            }
        }
        let digest = plan.digest().to_string();
        if digest == self.plan_digest {
            Ok(plan)
        } else {
            let stated = &self.plan_digest;
            Err(format!(
                "the digest of the plan is {digest}, expected {stated}"
            ))
        }
    }

    /// The arrays of the config, with their sources.
    fn arrays_of(&self, config: &Config) -> Result<Vec<PlannedArray>, String> {
        require_names(
            "arrays",
            self.arrays.iter().map(|array| array.name.as_str()),
            config.arrays.keys().map(String::as_str),
        )?;
        let arrays = config.arrays.iter().zip(&self.arrays);
        let arrays = arrays.map(|((name, array), stored)| {
            let is_possible = match stored.objects {
                Some(counts) => (1..=MAX_OBJECTS).contains(&counts.most_per_sample),
                None => true,
            };
            if !is_possible || stored.objects.is_some() != array.shows_several_objects() {
                return Err(format!(
                    "the numbers of objects of the array `{name}` do not fit its config, expected at most 1 to {MAX_OBJECTS} per sample where it shows several, otherwise none"
                ));
            }
            Ok(PlannedArray {
                name: name.clone(),
                window: array.window.unwrap_or(config.window),
                source_of_group: stored.source_of_group.clone(),
                objects: stored.objects,
            })
        });
        arrays.collect()
    }

    fn layout_of(&self, config: &Config, arrays: &[PlannedArray]) -> Result<Layout, String> {
        let splits = self.splits.iter();
        require_names(
            "splits",
            splits.map(|s| s.name.as_str()),
            config.split_names(),
        )?;
        let arrays = self.arrays.iter().zip(arrays);
        let layout = Layout {
            axis_order: config.axis_order,
            splits: self
                .splits
                .iter()
                .map(StoredSplit::layout)
                .collect::<Result<_, _>>()?,
            arrays: arrays
                .map(|(stored, planned)| stored.layout(planned))
                .collect::<Result<_, _>>()?,
        };
        layout.check_shards()?;
        Ok(layout)
    }
}

/// Fails unless the names are those in the config, in the same order.
fn require_names<'a>(
    what: &str,
    found: impl Iterator<Item = &'a str>,
    expected: impl Iterator<Item = &'a str>,
) -> Result<(), String> {
    let (found, expected): (Vec<_>, Vec<_>) = (found.collect(), expected.collect());
    if found == expected {
        Ok(())
    } else {
        Err(format!(
            "its {what} are {found:?}, expected {expected:?} from its config"
        ))
    }
}

/// Checks every position in another list, and the ids of properties.
fn check_table(table: &Plan) -> Result<(), String> {
    let groups = table.groups.len();
    for array in &table.arrays {
        let known = |source: &usize| *source < table.sources.len();
        let sources = &array.source_of_group;
        if sources.len() != groups || !sources.iter().all(known) {
            return Err(format!(
                "the array `{}` has the sources {sources:?}, expected one of the {} sources for each of the {groups} layer groups",
                array.name,
                table.sources.len()
            ));
        }
    }
    for b in &table.boxes {
        let splits = table.splits.len();
        let has_group = b.split.is_none() || b.group < groups;
        if b.split.is_some_and(|split| split >= splits) || !has_group {
            return Err(format!(
                "the box {:?} is in the split {:?} with the layer group {}, expected positions below {splits} and {groups}",
                b.id, b.split, b.group
            ));
        }
    }
    for (i, property) in table.properties.iter().enumerate() {
        let is_repeated = table.properties[..i].iter().any(|p| p.id == property.id);
        if let Some(expected) =
            PropertySpec::wrong_id(&property.id).or(is_repeated.then_some("each id once"))
        {
            return Err(format!(
                "found the property {:?}, expected {expected}",
                property.id
            ));
        }
    }
    Ok(())
}
