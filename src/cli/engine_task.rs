//! The task that an engine (Slurm, Kubernetes, AWS Batch, Google Batch) started this process for, by its variables.

/// The variables of an engine.
struct Engine {
    name: &'static str,
    /// Has the number of the task, from 0.
    index: &'static str,
    size: Size,
}

/// How many tasks an engine says that there are.
#[derive(Clone, Copy)]
enum Size {
    /// This variable has the number of tasks, which must be that of the plan.
    Exact(&'static str),
    /// This variable has the largest index. A part of the tasks may be run, as `--array=3,17`.
    Largest(&'static str),
    Unknown,
}

const ENGINES: [Engine; 4] = [
    Engine {
        name: "Slurm",
        index: "SLURM_ARRAY_TASK_ID",
        size: Size::Largest("SLURM_ARRAY_TASK_MAX"),
    },
    Engine {
        name: "Kubernetes",
        index: "JOB_COMPLETION_INDEX",
        size: Size::Unknown,
    },
    Engine {
        name: "AWS Batch",
        index: "AWS_BATCH_JOB_ARRAY_INDEX",
        size: Size::Exact("AWS_BATCH_JOB_ARRAY_SIZE"),
    },
    Engine {
        name: "Google Batch",
        index: "BATCH_TASK_INDEX",
        size: Size::Exact("BATCH_TASK_COUNT"),
    },
];

/// The task that the environment names, of a plan with this many `tasks`. `None` if there is none, or if the plan has one
/// task and the environment does not contradict it. `variable` looks up a variable.
///
/// # Errors
/// What the environment says, and what the plan has.
pub(super) fn engine_task(
    tasks: u32,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<u32>, String> {
    let mut found: Option<(&Engine, u32)> = None;
    for engine in &ENGINES {
        let Some(index) = number(engine.index, &variable)? else {
            continue;
        };
        if let Some((other, other_index)) = found {
            return Err(format!(
                "both {}={other_index} and {}={index} are set",
                other.index, engine.index
            ));
        }
        check_size(engine, index, tasks, &variable)?;
        found = Some((engine, index));
    }
    Ok(found.map(|(_, index)| index).filter(|_| tasks > 1))
}

fn check_size(
    engine: &Engine,
    index: u32,
    tasks: u32,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<(), String> {
    let expected = format!("the plan has {tasks} task(s), 0 to {}", tasks - 1);
    let wrong = match engine.size {
        Size::Exact(name) => number(name, variable)?
            .filter(|n| *n != tasks)
            .map(|n| (name, n)),
        Size::Largest(name) => number(name, variable)?
            .filter(|n| *n >= tasks)
            .map(|n| (name, n)),
        Size::Unknown => None,
    };
    let wrong = wrong.or((index >= tasks).then_some((engine.index, index)));
    match wrong {
        None => Ok(()),
        Some((name, found)) => Err(format!(
            "{} says {name}={found}, but {expected}",
            engine.name
        )),
    }
}

fn number(name: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<Option<u32>, String> {
    let Some(text) = variable(name) else {
        return Ok(None);
    };
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| format!("{name} is {text:?}, expected the number of a task"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(tasks: u32, variables: &[(&str, &str)]) -> Result<Option<u32>, String> {
        engine_task(tasks, |name| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn every_engine_gives_the_number_of_the_task() {
        assert_eq!(task(4, &[]), Ok(None));
        for variables in [
            &[
                ("SLURM_ARRAY_TASK_ID", "3"),
                ("SLURM_ARRAY_TASK_MAX", "3"),
                ("SLURM_ARRAY_TASK_COUNT", "4"),
            ][..],
            // A part of the array, run again.
            &[
                ("SLURM_ARRAY_TASK_ID", "3"),
                ("SLURM_ARRAY_TASK_MAX", "3"),
                ("SLURM_ARRAY_TASK_COUNT", "2"),
            ],
            &[("JOB_COMPLETION_INDEX", "3")],
            &[
                ("AWS_BATCH_JOB_ARRAY_INDEX", "3"),
                ("AWS_BATCH_JOB_ARRAY_SIZE", "4"),
            ],
            &[("BATCH_TASK_INDEX", "3"), ("BATCH_TASK_COUNT", "4")],
        ] {
            assert_eq!(task(4, variables), Ok(Some(3)), "{variables:?}");
        }
    }

    #[test]
    fn a_plan_with_one_task_needs_no_number() {
        let alone = [("BATCH_TASK_INDEX", "0"), ("BATCH_TASK_COUNT", "1")];
        assert_eq!(task(1, &alone), Ok(None));
        assert_eq!(task(1, &[("JOB_COMPLETION_INDEX", "0")]), Ok(None));
    }

    #[test]
    fn numbers_that_contradict_the_plan_are_errors() {
        for (tasks, variables, expected) in [
            // Counted from 1.
            (
                4,
                &[("SLURM_ARRAY_TASK_ID", "1"), ("SLURM_ARRAY_TASK_MAX", "4")][..],
                "SLURM_ARRAY_TASK_MAX=4",
            ),
            (4, &[("SLURM_ARRAY_TASK_ID", "4")], "SLURM_ARRAY_TASK_ID=4"),
            (
                4,
                &[("JOB_COMPLETION_INDEX", "4")],
                "Kubernetes says JOB_COMPLETION_INDEX=4",
            ),
            (
                4,
                &[
                    ("AWS_BATCH_JOB_ARRAY_INDEX", "0"),
                    ("AWS_BATCH_JOB_ARRAY_SIZE", "8"),
                ],
                "AWS_BATCH_JOB_ARRAY_SIZE=8",
            ),
            (
                4,
                &[("BATCH_TASK_INDEX", "0"), ("BATCH_TASK_COUNT", "1")],
                "4 task(s), 0 to 3",
            ),
            (1, &[("JOB_COMPLETION_INDEX", "1")], "1 task(s), 0 to 0"),
            (
                4,
                &[("JOB_COMPLETION_INDEX", "x")],
                "JOB_COMPLETION_INDEX is \"x\"",
            ),
            (
                4,
                &[("JOB_COMPLETION_INDEX", "-1")],
                "JOB_COMPLETION_INDEX is \"-1\"",
            ),
            (
                4,
                &[("JOB_COMPLETION_INDEX", "1"), ("BATCH_TASK_INDEX", "2")],
                "both JOB_COMPLETION_INDEX=1 and BATCH_TASK_INDEX=2",
            ),
        ] {
            let error = task(tasks, variables).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
