"""Results go to stdout, everything else to stderr, and there are no colours without a terminal."""

import json
import subprocess

from program import binary, pointshard, vnc_config


def test_results_are_on_stdout_and_progress_is_on_stderr(vnc_job, tmp_path):
    config, _ = vnc_job
    done = pointshard("preprocess", config, "--out", tmp_path / "out")
    assert "30 written" in done.stdout and "30 samples in 6 boxes" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_quiet_prints_only_warnings_to_stderr(shared, tmp_path):
    config = vnc_config(tmp_path, outside="drop")
    assert pointshard("preprocess", config, "--out", tmp_path / "out", "--quiet").stderr == ""
    config = vnc_config(tmp_path)
    output = pointshard("preprocess", config, "--out", tmp_path / "padded", "--quiet").stderr
    assert output and all(line.startswith("warning: ") for line in output.splitlines()), output


def test_the_summary_has_samples_chunks_bytes_and_seconds(vnc_job, tmp_path):
    config, _ = vnc_job
    output = pointshard("preprocess", config, "--out", tmp_path / "out", "--verbose").stdout
    words = "train val annotations dropped windows/s fetched decoded missing read written extract output"
    for word in words.split():
        assert word in output, output


def test_a_closed_pipe_is_not_an_error(vnc):
    done = subprocess.run(f"{binary()} schema | head -c 1", shell=True, capture_output=True, text=True, timeout=20)
    assert done.stderr == "" and done.stdout == "{"


def test_a_program_without_trainer_says_how_to_build_it():
    for command in (["train", "out", "--config", "c.json"], ["infer", "--help"]):
        error = pointshard(*command, code=2).stderr
        assert "`tch`" in error and "docs/train.md" in error


def test_schema_prints_a_json_schema(tmp_path):
    schema = json.loads(pointshard("schema").stdout)
    assert schema["type"] == "object" and "window" in schema["required"]


def test_unwritable_results_are_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run([binary(), "schema"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)
    assert done.returncode == 75 and "standard output" in done.stderr and "space" in done.stderr, done.stderr
