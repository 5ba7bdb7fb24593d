"""`kill -9` at any moment: an incomplete output never looks complete, and a resumed run equals an uninterrupted one."""

import random
import subprocess
import time

import pytest
from program import binary, file_digests, pointshard, vnc_config


@pytest.fixture(scope="module")
def slow_job(shared, tmp_path_factory):
    """A job with many shards: (config, digests of an uninterrupted run, its seconds)."""
    folder = tmp_path_factory.mktemp("kills")
    config = vnc_config(folder, shard_samples=1)
    start = time.monotonic()
    pointshard("preprocess", config, "--out", folder / "out", "--threads", 2)
    return config, file_digests(folder / "out"), time.monotonic() - start


def start_and_kill(config, out, after_s):
    """Whether the program was killed before it had finished."""
    command = [binary(), "preprocess", config, "--out", out, "--threads", "2", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
    message = process.communicate()[1]
    assert process.returncode in (0, -9), message
    return process.returncode == -9


def test_a_run_killed_at_random_moments_resumes_to_the_same_bytes(slow_job, tmp_path):
    config, expected, seconds = slow_job
    moment = random.Random(1137)
    kill = unfinished = half_way = 0
    # How many of the moments are before the end of a run depends on what else the machine does.
    while kill < 20 or unfinished < 10 or half_way < 5:
        kill += 1
        assert kill <= 80, f"{unfinished} kills hit an unfinished run, {half_way} of them one with shards"
        out = tmp_path / f"out{kill}"
        killed = start_and_kill(config, out, moment.uniform(0, seconds))
        if killed and not (out / "manifest.json").exists():
            unfinished += 1
            # Before the plan is written, the folder does not belong to pointshard.
            pointshard("check", out, code=1 if (out / ".pointshard").exists() else 2)
            half_way += any(out.glob("*.zarr/*/c.*.0.0.0.0"))
        pointshard("preprocess", config, "--out", out, "--threads", 2)
        assert file_digests(out) == expected, f"kill {kill}"


def test_twenty_consecutive_kills_lose_no_shard(slow_job, tmp_path):
    config, expected, seconds = slow_job
    moment = random.Random(2)
    out = tmp_path / "out"
    shards = [0]
    for _ in range(20):
        start_and_kill(config, out, moment.uniform(seconds / 40, seconds / 6))
        shards.append(len(list(out.glob("*.zarr/*/c.*.0.0.0.0"))))
    assert shards == sorted(shards), f"shards were lost: {shards}"
    pointshard("preprocess", config, "--out", out)
    assert file_digests(out) == expected


def test_force_starts_a_killed_run_again(slow_job, tmp_path):
    config, expected, seconds = slow_job
    assert start_and_kill(config, tmp_path / "out", seconds / 2)
    pointshard("preprocess", config, "--out", tmp_path / "out", "--force")
    assert file_digests(tmp_path / "out") == expected
