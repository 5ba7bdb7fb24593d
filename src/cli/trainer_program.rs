//! The program `pointshard-train`, which has the commands that use libtorch. It is in the folder of `pointshard`, which
//! starts it for these commands only: libtorch takes long to load, and may be missing where nothing else needs it.
//!
//! 1. `pointshard` parses the arguments, so that help and errors in them need no libtorch.
//! 2. It finds the trainer, and the libraries that the trainer needs.
//! 3. It replaces itself with the trainer: same process, same arguments, same streams. The environment has the build.
//! 4. The trainer checks that it is of the same build, and parses the arguments again.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io};

use anyhow::anyhow;

use super::failure::Failure;
use crate::fault::FaultKind;

const NAME: &str = "pointshard-train";
/// The variable that tells the trainer which build started it.
const BUILD_VARIABLE: &str = "POINTSHARD_BUILD";
/// Digest of the sources of both programs.
const BUILD: &str = env!("POINTSHARD_BUILD");
/// The folder of libtorch when the programs were built.
const LIBTORCH: &str = env!("POINTSHARD_LIBTORCH");
const INSTALL_AGAIN: &str = "install pointshard again with the cargo feature `tch` (see docs/train.md), or copy both programs of one installation";

/// Replaces this process with the trainer, which gets the same arguments. Returns only if that fails.
pub(super) fn start() -> Result<Infallible, Failure> {
    let program = find().ok_or_else(|| {
        let folders = expected_folders();
        failure(format!(
            "{NAME} is missing in {folders}: it runs `train` and `infer`; {INSTALL_AGAIN}"
        ))
    })?;
    check_libraries(&program)?;
    let mut arguments = env::args_os();
    let mut command = Command::new(&program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let error = command.args(arguments).env(BUILD_VARIABLE, BUILD).exec();
    Err(cannot_start(&program, &error))
}

/// Fails unless `pointshard` of the same build started this process, the trainer.
pub(super) fn check_caller() -> Result<(), Failure> {
    match env::var_os(BUILD_VARIABLE) {
        Some(build) if build == BUILD => Ok(()),
        Some(_) => Err(failure(format!(
            "pointshard and {NAME} are of different versions; {INSTALL_AGAIN}"
        ))),
        None => Err(only_trains()),
    }
}

/// The error of the trainer for other commands, and when a person starts it.
pub(super) fn only_trains() -> Failure {
    failure(format!(
        "{NAME} is a part of pointshard: run `pointshard train` or `pointshard infer`"
    ))
}

/// A line that says where the trainer is.
pub(super) fn description() -> String {
    match find() {
        Some(program) => format!("trainer: {}", program.display()),
        None => format!(
            "trainer: missing, expected {NAME} in {}",
            expected_folders()
        ),
    }
}

/// The path of the trainer, if there is one.
fn find() -> Option<PathBuf> {
    let mut programs = folders().into_iter().map(|folder| folder.join(NAME));
    programs.find(|program| program.is_file())
}

fn expected_folders() -> String {
    let folders = folders().into_iter();
    let folders: Vec<_> = folders.map(|f| f.display().to_string()).collect();
    folders.join(" and ")
}

/// The folders that may have the trainer: that of this program, then that of the link by which it was started.
fn folders() -> Vec<PathBuf> {
    let program = env::current_exe().and_then(|program| program.canonicalize());
    let started = env::args_os().next().and_then(|name| path_of(&name));
    let folder = |program: PathBuf| Some(program.parent()?.to_owned());
    let mut folders: Vec<_> = program
        .ok()
        .into_iter()
        .chain(started)
        .filter_map(folder)
        .collect();
    folders.dedup();
    folders
}

/// The path of the program that was started as `name`, links not resolved.
fn path_of(name: &OsStr) -> Option<PathBuf> {
    let name = Path::new(name);
    if name.components().count() > 1 {
        return std::path::absolute(name).ok();
    }
    let path = env::var_os("PATH")?;
    let mut programs = env::split_paths(&path).map(|folder| folder.join(name));
    programs.find(|program| program.is_file())
}

/// Fails if the dynamic linker would not find a library. Its own message does not say what to do.
fn check_libraries(program: &Path) -> Result<(), Failure> {
    // This is what `ldd` does: the linker lists the libraries, and the program does not run. Other linkers than that of
    // glibc run the program, which ends at once, because no build started it.
    let listed = Command::new(program)
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .env_remove(BUILD_VARIABLE)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| cannot_start(program, &e))?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    let missing = missing_libraries(&listed);
    if missing.is_empty() {
        return Ok(());
    }
    Err(failure(format!(
        "{NAME} does not find {}; it was built with the libtorch in {LIBTORCH}: put this folder back, name its new place in LD_LIBRARY_PATH, or install pointshard again (see docs/train.md)",
        missing.join(", ")
    )))
}

/// The missing libraries in the output of `ldd`.
fn missing_libraries(listed: &str) -> Vec<&str> {
    let lines = listed.lines().map(str::trim);
    let mut missing: Vec<_> = lines
        .filter_map(|l| l.strip_suffix(" => not found"))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn cannot_start(program: &Path, error: &io::Error) -> Failure {
    failure(format!(
        "cannot start {}: {error}; {INSTALL_AGAIN}",
        program.display()
    ))
}

/// All of these are mistakes in the installation: another try ends in the same way.
fn failure(message: String) -> Failure {
    Failure::new(FaultKind::Usage, anyhow!(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_libraries_are_those_that_the_linker_does_not_find() {
        let listed = "\tlinux-vdso.so.1 (0x00007ffc)\n\
            \tlibtorch_cpu.so => not found\n\
            \tlibc10.so => not found\n\
            \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)\n\
            \tlibc10.so => not found\n";
        assert_eq!(missing_libraries(listed), ["libc10.so", "libtorch_cpu.so"]);
        assert!(missing_libraries("\tlibm.so.6 => /lib/libm.so.6 (0x00007f)\n").is_empty());
        assert!(missing_libraries("\tstatically linked\n").is_empty());
    }

    #[test]
    fn a_program_without_a_folder_is_found_in_the_path() {
        let path = path_of(OsStr::new("sh")).unwrap();
        assert!(path.is_absolute() && path.ends_with("sh"), "{path:?}");
        assert_eq!(path_of(OsStr::new("/a/b")), Some("/a/b".into()));
        let relative = path_of(OsStr::new("./b")).unwrap();
        assert!(relative.is_absolute() && relative.ends_with("b"));
        assert_eq!(path_of(OsStr::new("no-such-program")), None);
    }
}
