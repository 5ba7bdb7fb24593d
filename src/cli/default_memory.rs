//! The memory limit of a run, if none is given: half of what the process may use.

use std::path::{Path, PathBuf};

/// The limit where nothing is known about the machine.
const FALLBACK_BYTES: u64 = 2 << 30;

/// Half of the least of these: the memory of the machine, of the cgroup (container, Slurm job) that the process is in, and
/// the address space that it may use (`ulimit -v`).
pub(super) fn default_memory_bytes() -> u64 {
    let limits = [available_bytes(Path::new("/")), address_space_bytes()];
    let least = limits.into_iter().flatten().min();
    least.map_or(FALLBACK_BYTES, |bytes| bytes / 2)
}

#[cfg(target_os = "linux")]
fn address_space_bytes() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}

#[cfg(not(target_os = "linux"))]
fn address_space_bytes() -> Option<u64> {
    None
}

/// What the process may use, by the files of Linux below `root`.
fn available_bytes(root: &Path) -> Option<u64> {
    let machine = machine_bytes(&read(&root.join("proc/meminfo"))?)?;
    let groups = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        match controllers {
            "" => group_bytes(&root.join("sys/fs/cgroup"), path, "memory.max"),
            _ if controllers.split(',').any(|c| c == "memory") => {
                let mounted = root.join("sys/fs/cgroup/memory");
                group_bytes(&mounted, path, "memory.limit_in_bytes")
            }
            _ => None,
        }
    });
    limits.chain([machine]).min()
}

fn machine_bytes(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The lowest limit of the group at `path` and of those above it. In a container, `path` may lie outside of what is mounted.
fn group_bytes(mounted: &Path, path: &str, file: &str) -> Option<u64> {
    let below = PathBuf::from(path.trim_start_matches('/'));
    let groups = below.ancestors().map(|group| mounted.join(group));
    // A group without a limit has `max`, or a number that is larger than any machine's memory.
    groups
        .filter_map(|group| read(&group.join(file))?.trim().parse().ok())
        .min()
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder with these files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let meminfo = ("proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\n");
        for (path, contents) in files.iter().chain([&meminfo]) {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
        dir
    }

    fn available(files: &[(&str, &str)]) -> Option<u64> {
        available_bytes(machine(files).path())
    }

    #[test]
    fn without_a_group_it_is_the_memory_of_the_machine() {
        assert_eq!(available(&[]), Some(1_024_000));
        let unlimited = [
            ("proc/self/cgroup", "4:memory:/a\n0::/b\n"),
            (
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("sys/fs/cgroup/b/memory.max", "max\n"),
        ];
        assert_eq!(available(&unlimited), Some(1_024_000));
    }

    #[test]
    fn the_lowest_limit_of_the_group_and_those_above_counts() {
        let second_version = [
            ("proc/self/cgroup", "0::/slurm/job/step\n"),
            ("sys/fs/cgroup/slurm/job/step/memory.max", "max"),
            ("sys/fs/cgroup/slurm/job/memory.max", "5000\n"),
            ("sys/fs/cgroup/slurm/memory.max", "7000\n"),
        ];
        assert_eq!(available(&second_version), Some(5000));
        let first_version = [
            ("proc/self/cgroup", "5:cpuset:/x\n4:cpu,memory:/job\n"),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "6000\n"),
        ];
        assert_eq!(available(&first_version), Some(6000));
    }

    #[test]
    fn in_a_container_the_group_is_the_mounted_one() {
        let container = [
            ("proc/self/cgroup", "0::/../outside\n"),
            ("sys/fs/cgroup/memory.max", "4000\n"),
        ];
        assert_eq!(available(&container), Some(4000));
    }

    #[test]
    fn a_system_without_these_files_has_no_answer() {
        assert_eq!(available_bytes(Path::new("/nowhere")), None);
    }
}
