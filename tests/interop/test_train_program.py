"""`pointshard-train`: the only program that loads libtorch, started by `pointshard train` and `pointshard infer`."""

import os
import re
import shutil
import subprocess

import pytest
from training import make_dataset, run, train_config, trainer

TRAIN = "pointshard-train"


@pytest.fixture(scope="module")
def dataset(shared, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("program"))


@pytest.fixture
def installed(tmp_path):
    """A folder with both programs, which the test may change."""
    folder = tmp_path / "installed"
    folder.mkdir()
    for name in ("pointshard", TRAIN):
        shutil.copy(trainer().parent / name, folder)
    return folder


def dynamic(program, tag):
    """The entries `tag` of the dynamic section of a program."""
    section = subprocess.run(["readelf", "--dynamic", "--wide", program], capture_output=True, text=True, check=True).stdout
    return re.findall(rf"\({tag}\) .*\[(.*)\]", section)


def libtorch():
    (folder,) = dynamic(trainer().parent / TRAIN, "RPATH")
    return folder


def replace_in(file, old, new):
    """Replaces bytes of a program, whose length must not change."""
    assert len(old) == len(new)
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new))


def start(program, *arguments, code=0, **environment):
    command = [str(a) for a in (program, *arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == code, done
    return done


def train_arguments(dataset, folder):
    config = train_config(folder, steps=1, validation_interval=1)
    return ["train", dataset, "--config", config, "--out", folder / "run", "--quiet"]


def error_of(program, *arguments, **environment):
    """The error message of a program that must fail: one line."""
    done = start(program, *arguments, code=2, **environment)
    assert done.stdout == "" and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done
    return done.stderr


def test_only_the_trainer_is_linked_to_libtorch():
    is_of_torch = re.compile("torch|c10|gomp|cuda").search
    assert list(filter(is_of_torch, dynamic(trainer().parent / TRAIN, "NEEDED")))
    assert not list(filter(is_of_torch, dynamic(trainer(), "NEEDED")))
    assert not dynamic(trainer(), "RPATH") and not dynamic(trainer(), "RUNPATH")


def test_without_libtorch_all_other_commands_run_and_train_says_what_is_missing(installed, dataset, tmp_path):
    folder = libtorch()
    replace_in(installed / TRAIN, folder.encode(), b"/moved".ljust(len(folder), b"/"))
    program = installed / "pointshard"
    assert f"trainer: {installed / TRAIN}" in start(program, "--version").stdout
    assert "--initial-weights" in start(program, "train", "--help").stdout
    assert "clip_gradients" in start(program, "schema", "--train").stdout
    assert "--initial-weights" in start(program, "completions", "bash").stdout
    assert "initial" in start(program, "man", "train").stdout
    start(program, "check", dataset, "--quiet")
    assert "--config <FILE>" in start(program, "train", dataset, code=2).stderr
    arguments = train_arguments(dataset, tmp_path)
    message = error_of(program, *arguments)
    # A libtorch with CUDA has more libraries.
    assert re.search(f"{TRAIN} does not find libc10.so, .*libtorch_cpu.so", message) and folder in message
    assert not (tmp_path / "run").exists()
    start(program, *arguments, LD_LIBRARY_PATH=folder)
    assert (tmp_path / "run/model.pt").exists()


def test_the_trainer_is_the_same_process_with_the_same_arguments(installed, dataset, tmp_path):
    (installed / TRAIN).write_text('#!/bin/sh\nprintf "%s\\n" "$$" "$POINTSHARD_BUILD" "$@"\nexit 7\n')
    arguments = ["-v", "infer", str(dataset), "--model", "a b", "--dtype=uint8"]
    process = subprocess.Popen([installed / "pointshard", *arguments], stdout=subprocess.PIPE, text=True)
    pid, build, *found = process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 7 and int(pid) == process.pid
    assert re.fullmatch("[0-9a-f]{16}", build) and found == arguments


def test_a_trainer_of_another_build_is_an_error(installed, dataset, tmp_path):
    script = '#!/bin/sh\nprintf "%s" "$POINTSHARD_BUILD"\n'
    (installed / "script").write_text(script)
    (installed / "script").chmod(0o755)
    (installed / TRAIN).rename(installed / "real")
    (installed / "script").rename(installed / TRAIN)
    arguments = train_arguments(dataset, tmp_path)
    build = start(installed / "pointshard", *arguments).stdout
    (installed / "real").rename(installed / TRAIN)
    replace_in(installed / TRAIN, build.encode(), build[::-1].encode())
    message = error_of(installed / "pointshard", *arguments)
    assert "of different versions" in message and "install pointshard again" in message
    assert not (tmp_path / "run").exists()


def test_the_trainer_does_not_run_on_its_own(installed, dataset, tmp_path):
    for arguments in (train_arguments(dataset, tmp_path), ["--help"], []):
        assert "run `pointshard train` or `pointshard infer`" in error_of(installed / TRAIN, *arguments)


def test_a_missing_trainer_is_an_error_that_names_the_folder(installed, dataset, tmp_path):
    (installed / TRAIN).unlink()
    message = error_of(installed / "pointshard", *train_arguments(dataset, tmp_path))
    assert f"{TRAIN} is missing in {installed}: " in message and "feature `tch`" in message
    version = start(installed / "pointshard", "--version").stdout
    assert version.splitlines()[1] == f"trainer: missing, expected {TRAIN} in {installed}"
    (installed / TRAIN).write_text("no program")
    assert f"cannot start {installed / TRAIN}: " in error_of(installed / "pointshard", *train_arguments(dataset, tmp_path))


def test_links_lead_to_the_trainer(installed, dataset, tmp_path):
    one, each = tmp_path / "one", tmp_path / "each"
    for folder in (one, each, tmp_path / "other"):
        folder.mkdir()
    # A link to the program alone, and a folder of links to programs in different folders.
    (one / "pointshard").symlink_to(installed / "pointshard")
    run_with = train_arguments(dataset, tmp_path)
    start(one / "pointshard", *run_with)
    (installed / TRAIN).rename(tmp_path / "other" / TRAIN)
    assert f"missing in {installed} and {one}: " in error_of(one / "pointshard", *run_with)
    (each / "pointshard").symlink_to(installed / "pointshard")
    (each / TRAIN).symlink_to(tmp_path / "other" / TRAIN)
    start(each / "pointshard", *run_with)
    start("env", "pointshard", *run_with, PATH=f"{each}:{os.environ['PATH']}")


def test_help_names_the_commands_of_the_trainer():
    commands = run("--help").stdout
    assert re.search(r"(?m)^  train +Train a network on a dataset", commands)
    assert re.search(r"(?m)^  infer +Predict a split", commands)
