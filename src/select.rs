//! Everything that needs voxels before the plan is final: which object is at a point, how much of a window is nonzero,
//! whether a window extends past its volume, which codec suits an array.
//!
//! A draft and its volumes come in. The finished plan goes out with fewer samples, and the volumes with a codec for each
//! array. The volumes are read in one pass, through one block cache.

mod answers;
mod candidates;
mod codecs;
mod error;
#[cfg(any(test, feature = "bench"))]
mod every_window;
mod majority;
mod object_chunks;
mod object_query;
mod outside;
mod pass;
mod queries;
mod query_box;
mod report;
mod search;
#[cfg(test)]
mod tests;
mod unit_blocks;
mod window;

use crate::extract::{ExtractError, Sources};
use crate::plan::{EarlierPlan, Plan};
use answers::Trials;
use candidates::Candidates;
pub use error::SelectError;
#[cfg(any(test, feature = "bench"))]
pub use every_window::map_windows;
use pass::VoxelPass;
use queries::SampleQueries;
pub use report::SelectReport;

/// A finished plan.
#[derive(Debug)]
pub(crate) struct Selected {
    pub plan: Plan,
    /// What was read for it.
    pub report: SelectReport,
}

/// Drops the samples that the config does not want, finds the objects of the others, finishes the plan, and chooses the codec
/// of each array. Takes `memory_bytes` at most. What follows from an earlier plan is not read again.
///
/// # Errors
/// A volume cannot be read, a window cannot be cut, or splits leak.
pub(crate) fn select(
    draft: Plan,
    sources: &mut Sources,
    memory_bytes: u64,
    earlier: Option<&EarlierPlan<'_>>,
) -> Result<Selected, SelectError> {
    let mut plan = draft;
    outside::drop_outside(&mut plan, sources);
    let open = codecs::open_arrays(&plan, sources, earlier);
    if !queries::read_voxels(&plan, sources) {
        // The windows of the finished plan are known before a voxel is read.
        let none = Candidates::default();
        filter(&mut plan, sources, memory_bytes, &none, earlier)?;
        let plan = plan.finish()?;
        let report = codecs::choose_by_windows(&plan, sources, memory_bytes, &open)?;
        return Ok(Selected { plan, report });
    }
    let candidates = Candidates::of(&plan, &open);
    let (trials, report) = filter(&mut plan, sources, memory_bytes, &candidates, earlier)?;
    let plan = plan.finish()?;
    codecs::choose(sources, &open, &trials.in_plan(&candidates, &plan)?);
    Ok(Selected { plan, report })
}

/// Drops the samples that the config does not want, and finds the objects of the others. Tries the windows of candidates.
fn filter(
    plan: &mut Plan,
    sources: &Sources,
    memory_bytes: u64,
    candidates: &Candidates,
    earlier: Option<&EarlierPlan<'_>>,
) -> Result<(Trials, SelectReport), ExtractError> {
    let queries = SampleQueries::new(plan, sources, candidates, earlier);
    let pass = VoxelPass {
        plan,
        sources,
        memory_bytes,
    };
    let (answers, report) = pass.run(&queries)?;
    let conclusion = queries.conclude(answers)?;
    Ok((conclusion.apply(plan), report))
}
