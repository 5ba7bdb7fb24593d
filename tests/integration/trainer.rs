//! What the program says about the trainer, which is another program.

use std::process::Command;

#[test]
fn the_version_says_whether_the_trainer_is_built() {
    let program = env!("CARGO_BIN_EXE_pointshard");
    let output = Command::new(program).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (version, trainer) = text.trim_end().split_once('\n').unwrap();
    assert_eq!(version, concat!("pointshard ", env!("CARGO_PKG_VERSION")));
    if cfg!(feature = "tch") {
        assert!(trainer.starts_with("trainer: /"), "{trainer}");
        assert!(trainer.ends_with("/pointshard-train"), "{trainer}");
    } else {
        assert_eq!(trainer, "trainer: not built (cargo feature `tch`)");
    }
}

#[cfg(not(feature = "tch"))]
#[test]
fn without_the_trainer_its_commands_say_how_to_get_it() {
    let program = env!("CARGO_BIN_EXE_pointshard");
    for arguments in [&["train", "dataset", "--config", "a"][..], &["infer"]] {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("the cargo feature `tch`"), "{message}");
    }
}
