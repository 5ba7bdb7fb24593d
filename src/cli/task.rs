//! The option `--task`: which of the plan's tasks a process runs.

use std::str::FromStr;

use super::engine_task::engine_task;
use super::failure::Failure;
use crate::fault::FaultKind;

/// The value of `--task`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskArg {
    /// All shards, and the seal.
    All,
    /// One task, and how many there are.
    One { task: u32, of: Option<u32> },
}

impl FromStr for TaskArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let (task, of) = match text.split_once('/') {
            None => (text, None),
            Some((task, of)) => (task, Some(of)),
        };
        let number = |text: &str| text.parse::<u32>().ok();
        let parsed = match (number(task), of.map(number)) {
            (Some(task), None) => Some((task, None)),
            (Some(task), Some(Some(of))) if task < of => Some((task, Some(of))),
            _ => None,
        };
        let (task, of) = parsed.ok_or(
            "expected the number of a task, from 0, and the number of tasks, such as 3/8, or `all`",
        )?;
        Ok(Self::One { task, of })
    }
}

/// The task to run, of a plan with this many `tasks`; `None` for all shards and the seal. Without an argument, it is the task
/// that an engine started this process for.
pub(super) fn chosen_task(argument: Option<TaskArg>, tasks: u32) -> Result<Option<u32>, Failure> {
    let wrong = |what: String| {
        let advice =
            "number the tasks as the plan does, or use --task (`--task all` writes all shards)";
        Failure::new(FaultKind::Usage, anyhow::anyhow!("{what}: {advice}"))
    };
    match argument {
        Some(TaskArg::All) => Ok(None),
        Some(TaskArg::One { of: Some(of), .. }) if of != tasks => Err(Failure::new(
            FaultKind::Usage,
            anyhow::anyhow!("--task says that there are {of} tasks, but the plan has {tasks}"),
        )),
        Some(TaskArg::One { task, .. }) => Ok(Some(task)),
        None => engine_task(tasks, |name| std::env::var(name).ok()).map_err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_a_number_with_or_without_the_number_of_tasks() {
        let parse = |text: &str| text.parse::<TaskArg>();
        assert_eq!(parse("all"), Ok(TaskArg::All));
        let (task, of) = (3, None);
        assert_eq!(parse("3"), Ok(TaskArg::One { task, of }));
        let of = Some(8);
        assert_eq!(parse("3/8"), Ok(TaskArg::One { task, of }));
        for wrong in ["", "8/8", "-1", "1/", "/4", "1/4/5", "ALL", "0/0"] {
            assert!(parse(wrong).unwrap_err().contains("3/8"), "{wrong}");
        }
    }

    #[test]
    fn another_number_of_tasks_than_that_of_the_plan_is_an_error() {
        let chosen = |text: &str| chosen_task(text.parse().ok(), 4);
        assert_eq!(chosen("3/4").unwrap(), Some(3));
        assert_eq!(chosen("3").unwrap(), Some(3));
        assert_eq!(chosen("all").unwrap(), None);
        let error = chosen("3/8").unwrap_err().error.to_string();
        assert!(
            error.contains("8 tasks") && error.contains("the plan has 4"),
            "{error}"
        );
    }
}
