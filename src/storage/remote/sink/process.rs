//! Which process wrote an object. A process of this machine that ended is known to be dead at once.

use serde::{Deserialize, Serialize};

/// A process. Its id may be used again, but not with the same start time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessIdentity {
    /// The boot of the machine, and the namespace of the process id.
    machine: String,
    process: u32,
    /// In clock ticks since the boot.
    start: u64,
}

impl ProcessIdentity {
    /// This process. Where it cannot be identified, it matches no machine.
    pub(super) fn current() -> Self {
        let process = std::process::id();
        Self {
            machine: machine().unwrap_or_default(),
            process,
            start: start_of(process).unwrap_or_default(),
        }
    }

    /// Whether it is a process of this machine that ended. A process of another machine may live.
    pub(super) fn has_ended(&self) -> bool {
        let here = machine().is_some_and(|machine| machine == self.machine);
        here && start_of(self.process) != Some(self.start)
    }
}

/// The running system and the namespace of its process ids; `None` if it is not known.
fn machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    // Without this, no process could be found.
    start_of(std::process::id())?;
    Some(format!("{} {}", boot.trim(), namespace.display()))
}

/// When the process with this id started; `None` if there is none.
fn start_of(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program, in parentheses, may contain spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    // A process that ended remains as a zombie until its parent notices.
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_of_this_machine_can_be_known_to_have_ended() {
        let current = ProcessIdentity::current();
        assert!(!current.has_ended() && current.start > 0);
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let other = ProcessIdentity {
            process: child.id(),
            start: start_of(child.id()).unwrap(),
            ..current.clone()
        };
        assert!(!other.has_ended());
        child.kill().unwrap();
        while start_of(child.id()).is_some() {
            std::thread::yield_now();
        }
        assert!(other.has_ended(), "also before its parent waits for it");
        child.wait().unwrap();
        assert!(other.has_ended());
        let reused = ProcessIdentity {
            start: current.start - 1,
            ..current
        };
        assert!(reused.has_ended());
        let elsewhere = ProcessIdentity {
            machine: "another".to_owned(),
            ..other
        };
        assert!(!elsewhere.has_ended());
        assert!(!ProcessIdentity::default().has_ended());
    }
}
