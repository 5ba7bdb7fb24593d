//! Shell completions and man pages describe the commands of the program.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_pointshard");
    Command::new(program).args(arguments).output().unwrap()
}

fn stdout(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_shell_gets_a_script_with_the_commands_and_their_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&["completions", shell]);
        for word in ["preprocess", "check", "memory", "completions"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
}

#[test]
fn bash_completes_a_command_and_its_options() {
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), stdout(&["completions", "bash"])).unwrap();
    for (words, expected) in [
        ("pointshard prepr", "preprocess"),
        ("pointshard preprocess --mem", "--memory"),
    ] {
        let last = words.split(' ').next_back().unwrap();
        let before = words.split(' ').rev().nth(1).unwrap();
        let complete = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD={}; _pointshard pointshard '{last}' {before}; \
             echo \"${{COMPREPLY[@]}}\"",
            script.path().display(),
            words.split(' ').count() - 1,
        );
        let output = Command::new("bash").args(["-c", &complete]).output();
        let completed = String::from_utf8(output.unwrap().stdout).unwrap();
        assert_eq!(completed.trim(), expected, "{words}");
    }
}

#[test]
fn man_pages_describe_the_program_and_each_command() {
    let program = stdout(&["man"]);
    assert!(program.contains(".TH pointshard 1"), "{program}");
    assert!(program.contains("preprocess"), "{program}");
    let command = stdout(&["man", "preprocess"]);
    assert!(command.contains(".TH pointshard-preprocess 1"), "{command}");
    assert!(command.contains("\\-\\-memory"), "{command}");
}

#[test]
fn a_man_page_of_an_unknown_command_is_an_error_that_lists_the_commands() {
    let output = run(&["man", "preproces"]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    let expected = "error: no command `preproces`; commands: `demo`, `init`, `preprocess`,";
    assert!(message.starts_with(expected), "{message}");
}
