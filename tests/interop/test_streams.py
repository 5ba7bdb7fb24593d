"""Results go to stdout, everything else to stderr, and there are no colours without a terminal."""

import json
import os
import pty
import re
import subprocess
from datetime import datetime, timezone

from program import binary, pointshard, vnc_config
from test_check_source import values_of, write_job, write_layer


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


def test_quiet_prints_one_line_of_results(vnc_job, tmp_path):
    config, _ = vnc_job
    out = tmp_path / "out"

    def said(*arguments, code=0):
        lines = pointshard(*arguments, "--quiet", code=code).stdout.splitlines()
        assert len(lines) == 1, lines
        return lines[0]

    assert said("plan", config) == "total    30 samples"
    assert said("preprocess", config, "--out", out, "--dry-run").startswith("would write 30 samples")
    said("plan", config, "--out", out, "--tasks", 2)
    assert said("preprocess", "--out", out, "--task", "0/2").startswith("task 0 of 2: ")
    assert said("preprocess", "--out", out, "--task", "all").startswith("complete: 30 samples, 30 shards (")
    assert said("preprocess", "--out", out).startswith("complete: 30 samples, 30 shards (")
    assert said("seal", out).startswith("complete: 30 samples, 30 shards (")
    assert said("check", out).startswith("ok: ")
    (out / "manifest.json").write_text("{}")
    assert said("check", out, code=1).startswith("failed: ")


def test_lines_of_a_log_have_times(vnc_job, tmp_path):
    config, _ = vnc_job
    before = datetime.now(timezone.utc).replace(microsecond=0)
    lines = pointshard("preprocess", config, "--out", tmp_path / "out").stderr.splitlines()
    notes = [line for line in lines if not line.startswith("warning: ")]
    assert notes
    for line in notes:
        time, text = line.split(" ", 1)
        assert before <= datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z") <= datetime.now(timezone.utc) and text


def on_a_terminal(*arguments, **env):
    """What the program prints on a terminal, standard output and standard error."""
    controller, terminal = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", **env}
    subprocess.run([str(a) for a in (binary(), *arguments)], stdout=terminal, stderr=terminal, env=env, timeout=60)
    os.close(terminal)
    output = b""
    while True:
        try:
            piece = os.read(controller, 4096)
        except OSError:
            break
        if not piece:
            break
        output += piece
    os.close(controller)
    return output.decode()


def test_a_terminal_has_colors_but_no_times_unless_they_are_unwanted(vnc_copy, tmp_path):
    _, out = vnc_copy
    assert "\x1b[32mok\x1b[0m: checked" in on_a_terminal("check", out)
    (out / "manifest.json").write_text("{}")
    said = on_a_terminal("check", out)
    assert "\x1b[31mfailed\x1b[0m" in said and "\x1b[31merror" in said and "checking" in said
    assert not re.search(r"\d\d:\d\d:\d\dZ", said)
    assert "\x1b[31merror:\x1b[0m" in on_a_terminal("check", tmp_path / "none")
    for plain in (on_a_terminal("check", out, NO_COLOR="1"), on_a_terminal("check", tmp_path / "none", NO_COLOR="1")):
        assert "\x1b[31m" not in plain and "error" in plain


def test_a_terminal_shows_the_stage_and_counts_while_a_job_is_planned(tmp_path):
    write_layer(tmp_path, values_of("uint8"))
    config = write_job(tmp_path, {})
    rows = "".join(f"{i},{100 + i % 200},{100 + i % 150},{400 + i % 300}\n" for i in range(400_000))
    (tmp_path / "points.csv").write_text("id,x,y,z\n" + rows)
    said = on_a_terminal("plan", config, "--threads", 1)
    counts = [int(n.replace(",", "")) for n in re.findall(r"read annotations: ([\d,]+) annotations in boxes", said)]
    assert counts and counts == sorted(counts) and 0 < counts[-1] <= 400_000, said[-2000:]


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
