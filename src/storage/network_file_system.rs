//! Which folders are on network file systems: each operation on them waits for a server, so many at a time are faster.

use std::path::Path;

/// File systems whose operations wait for a server or another process, by the number that Linux has for them (`f_type` in
/// statfs(2); `linux/magic.h` and the sources of the file systems).
#[cfg(target_os = "linux")]
const NETWORK_FILE_SYSTEMS: [(u32, &str); 15] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x6573_5546, "FUSE"),
    (0x00c3_6400, "Ceph"),
    (0x1983_0326, "BeeGFS"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "kAFS"),
    (0x0102_1997, "9p"),
    (0x2003_0528, "OrangeFS"),
    (0xaad7_aaea, "PanFS"),
    (0x1803_1977, "WekaFS"),
];

/// The network file system that `path`, or the nearest existing folder above it, is on. `None` where it is on another file
/// system, or the system does not say.
#[cfg(target_os = "linux")]
pub(super) fn network_file_system(path: &Path) -> Option<&'static str> {
    let existing = path.ancestors().map(|folder| match folder.as_os_str() {
        // A relative path begins in the working directory.
        name if name.is_empty() => Path::new("."),
        _ => folder,
    });
    let found = existing.map(rustix::fs::statfs).find_map(Result::ok)?;
    named(found.f_type as u32)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn network_file_system(_: &Path) -> Option<&'static str> {
    None
}

#[cfg(target_os = "linux")]
fn named(f_type: u32) -> Option<&'static str> {
    let mut all = NETWORK_FILE_SYSTEMS.iter();
    all.find(|(number, _)| *number == f_type)
        .map(|(_, name)| *name)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_recognized_by_their_numbers() {
        let local = [
            0xef53,
            0x5846_5342,
            0x9123_683e,
            0x0102_1994,
            0x2fc1_2fc1,
            0x794c_7630,
        ];
        assert!(local.into_iter().all(|f_type| named(f_type).is_none()));
        assert_eq!(named(0x6969), Some("NFS"));
        // The number is negative where the system's type is signed.
        assert_eq!(named(0xff53_4d42_u32 as i32 as u32), Some("CIFS"));
    }

    #[test]
    fn a_path_that_does_not_exist_is_on_the_file_system_of_the_folder_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let here = network_file_system(folder.path());
        let below = folder.path().join("a/b/c");
        assert_eq!(network_file_system(&below), here);
        assert_eq!(
            network_file_system(Path::new("no such folder")),
            network_file_system(Path::new("."))
        );
    }
}
