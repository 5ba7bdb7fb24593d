"""SIGINT and SIGTERM: the run ends soon, says how to continue, and leaves no file that is not complete."""

import random
import signal
import subprocess
import time

import pytest
from faulty_server import FaultyServer
from gate import Gate
from program import LAYERS, binary, file_digests, pointshard, vnc_config

# The image is cut before them.
LABELS = ("vnc/label0/4.6_", "vnc/label1/4.6_")
SIGNALS = [signal.SIGINT, signal.SIGTERM]


def start(config, out, *arguments):
    command = [binary(), "preprocess", config, "--out", out, "--threads", "2", *arguments]
    return subprocess.Popen([str(a) for a in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for_shards(out, process, shards):
    """Waits until so many shards are complete."""
    deadline = time.monotonic() + 60
    while len(list(out.glob(".pointshard/receipts/*/*/*.json"))) < shards and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def temporary_files(out):
    return [path for path in out.rglob("*") if path.name.startswith(".writing-")]


def served_config(folder, server):
    """A config whose layers are on the server. No voxel is read to plan it."""
    arrays = {layer: {"layer": layer, "codec": "zstd"} for layer in LAYERS}
    return vnc_config(folder, collection=f"{server.url}/vnc/collection.json", arrays=arrays, shard_samples=1)


@pytest.fixture(autouse=True)
def signals_are_not_ignored():
    """A shell has SIGINT ignored in what it runs in the background, such as these tests."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def gate():
    """Open, until a test closes it. Then shards of the image can be written, and none of the labels."""
    gate = Gate(LABELS, 0)
    yield gate
    gate.open()


@pytest.fixture
def slow(object_root, tmp_path, gate):
    """A config whose labels are on a server behind the gate."""
    with FaultyServer(object_root, gate) as server:
        yield served_config(tmp_path, server)
        gate.open()


@pytest.mark.parametrize("number", SIGNALS, ids=lambda s: s.name)
def test_a_signal_ends_the_run_which_continues_when_it_is_run_again(slow, gate, tmp_path, number):
    expected, out = tmp_path / "expected", tmp_path / "out"
    pointshard("preprocess", slow, "--out", expected)
    gate.close()
    process = start(slow, out)
    wait_for_shards(out, process, 3)
    process.send_signal(number)
    began = time.monotonic()
    message = process.communicate(timeout=20)[1]
    assert time.monotonic() - began < 5
    assert process.returncode == 128 + number, message
    assert f"error: interrupted by {number.name}" in message and "run the same command again to continue" in message
    assert temporary_files(out) == [] and not (out / "manifest.json").exists()
    kept = len(list(out.glob(".pointshard/receipts/*/*/*.json")))
    gate.open()
    summary = pointshard("preprocess", slow, "--out", out).stdout
    assert f"{kept} already present" in summary and kept >= 3
    assert file_digests(out) == file_digests(expected)


def test_a_signal_at_any_moment_leaves_no_partial_file(shared, tmp_path):
    config, expected = vnc_config(tmp_path, shard_samples=1), tmp_path / "expected"
    began = time.monotonic()
    pointshard("preprocess", config, "--out", expected, "--threads", 2)
    seconds, moment, ended = time.monotonic() - began, random.Random(5), []
    for attempt in range(60):
        if attempt >= 12 and any(code > 0 for code in ended):
            break
        out = tmp_path / f"out{attempt}"
        began = time.monotonic()
        process = start(config, out, "--quiet")
        time.sleep(moment.uniform(0, seconds))
        process.send_signal(SIGNALS[attempt % 2])
        message = process.communicate(timeout=20)[1]
        # Before there is a plan, the signal kills the process. A run that is done ends as usual.
        allowed = (0, 128 + SIGNALS[attempt % 2], -SIGNALS[attempt % 2])
        assert process.returncode in allowed, message
        ended.append(process.returncode)
        # The first run may have been slower: moments after the end of a run would interrupt nothing.
        seconds = min(seconds, time.monotonic() - began) if process.returncode == 0 else seconds
        if process.returncode > 0:
            assert temporary_files(out) == [], attempt
        pointshard("preprocess", config, "--out", out)
        assert file_digests(out) == file_digests(expected), attempt
    assert any(code > 0 for code in ended), ended


def test_a_run_that_waits_for_a_server_ends_soon(slow, gate, tmp_path):
    gate.close()
    process = start(slow, tmp_path / "out")
    assert gate.waiting.wait(60)
    began = time.monotonic()
    process.terminate()
    message = process.communicate(timeout=20)[1]
    assert time.monotonic() - began < 5
    assert process.returncode == 143 and "error: interrupted by SIGTERM" in message, message
    assert temporary_files(tmp_path / "out") == []


def test_a_task_is_interrupted_as_a_run_is(slow, gate, tmp_path):
    out = tmp_path / "out"
    pointshard("plan", slow, "--out", out, "--tasks", "2")
    gate.close()
    process = start(slow, out, "--task", "0/2")
    wait_for_shards(out, process, 1)
    process.terminate()
    assert process.wait(10) == 143
    gate.open()
    pointshard("preprocess", "--out", out, "--task", "0/2")
    pointshard("preprocess", "--out", out, "--task", "1/2")
    pointshard("seal", out)
    pointshard("check", out)


def test_a_signal_that_the_parent_ignores_is_ignored(slow, gate, tmp_path):
    out = tmp_path / "out"
    gate.close()
    command = f"trap '' INT; exec '{binary()}' preprocess '{slow}' --out '{out}' --quiet"
    process = subprocess.Popen(["bash", "-c", command])
    wait_for_shards(out, process, 1)
    process.send_signal(signal.SIGINT)
    gate.open()
    assert process.wait(60) == 0
    pointshard("check", out)
