"""Results go to stdout, everything else to stderr, and nothing is coloured where nobody looks."""

import json
import subprocess

from program import binary, pointshard, vnc_config


def test_results_are_on_stdout_and_progress_is_on_stderr(vnc_job, tmp_path):
    config, _ = vnc_job
    done = pointshard("preprocess", config, "--out", tmp_path / "out")
    assert "30 written" in done.stdout and "30 samples in 6 boxes" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_quiet_leaves_stderr_empty_but_for_warnings(shared, tmp_path):
    config = vnc_config(tmp_path, outside="drop")
    assert pointshard("preprocess", config, "--out", tmp_path / "out", "--quiet").stderr == ""
    config = vnc_config(tmp_path)
    told = pointshard("preprocess", config, "--out", tmp_path / "padded", "--quiet").stderr
    assert told and all(line.startswith("warning: ") for line in told.splitlines()), told


def test_the_summary_tells_samples_chunks_bytes_and_seconds(vnc_job, tmp_path):
    config, _ = vnc_job
    told = pointshard("preprocess", config, "--out", tmp_path / "out", "--verbose").stdout
    words = "train val annotations dropped windows/s fetched decoded missing read written extract output"
    for word in words.split():
        assert word in told, told


def test_a_reader_that_goes_away_is_no_error(vnc):
    done = subprocess.run(f"{binary()} schema | head -c 1", shell=True, capture_output=True, text=True, timeout=20)
    assert done.stderr == "" and done.stdout == "{"


def test_a_program_without_the_trainer_says_how_to_build_one_with_it():
    for command in (["train", "out", "--config", "c.json"], ["infer", "--help"]):
        error = pointshard(*command, code=2).stderr
        assert "`tch`" in error and "docs/train.md" in error


def test_the_schema_is_json_schema(tmp_path):
    schema = json.loads(pointshard("schema").stdout)
    assert schema["type"] == "object" and "window" in schema["required"]


def test_results_that_cannot_be_written_are_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run([binary(), "schema"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
    assert done.returncode == 75 and "standard output" in done.stderr and "space" in done.stderr, done.stderr
