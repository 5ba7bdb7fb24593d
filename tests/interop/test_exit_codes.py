"""The exit code shows the kind of error: 1 the data, 2 usage or configuration, 75 the environment, which may recover."""

import errno
import os
import resource
import shutil
import socket
import subprocess

import pytest
from faulty_server import FaultyServer, never_answer, status, truncate_body
from program import binary, error_message, pointshard, vnc_collection, vnc_config

DATA, USAGE, ENVIRONMENT = 1, 2, 75
BRIEF = ("--retry-for", 1)


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (status(401), DATA),
        (status(403), DATA),
        (status(404), DATA),
        (status(410), DATA),
        (status(501), DATA),
        (status(408), ENVIRONMENT),
        (status(429), ENVIRONMENT),
        (status(500), ENVIRONMENT),
        (status(503), ENVIRONMENT),
        (truncate_body, ENVIRONMENT),
        (never_answer, ENVIRONMENT),
    ],
    ids=["401", "403", "404", "410", "501", "408", "429", "500", "503", "cut off", "silent"],
)
@pytest.mark.parametrize("pattern", ["vnc/collection.json", "vnc/img/info", "vnc/points/spatial0"])
def test_servers_that_fail(object_root, tmp_path, fault, code, pattern):
    with FaultyServer(object_root, lambda request: fault if request.key.startswith(pattern) else None) as server:
        config = vnc_config(tmp_path, collection=f"{server.url}/vnc/collection.json")
        error_message("plan", config, *BRIEF, "--idle-timeout", 1, code=code)


@pytest.mark.parametrize("server", ["127.0.0.1:{port}", "no-such-host.invalid"])
def test_servers_that_cannot_be_reached(tmp_path, server):
    url = f"http://{server.format(port=closed_port())}/vnc/collection.json"
    error_message("plan", vnc_config(tmp_path, collection=url), *BRIEF, code=ENVIRONMENT)


def test_a_layer_whose_resolutions_cannot_be_read(object_root, tmp_path):
    """The server is at fault, not the config."""
    with FaultyServer(object_root, lambda request: status(503) if request.key == "vnc/img/info" else None) as server:
        config = vnc_config(tmp_path, collection=f"{server.url}/vnc/collection.json", flexible_z=True)
        error_message("plan", config, *BRIEF, code=ENVIRONMENT)


def test_missing_and_damaged_data(shared, tmp_path):
    out = tmp_path / "out"
    missing = vnc_config(tmp_path, "missing.json", collection="nowhere.json")
    error_message("preprocess", missing, "--out", out, code=DATA)
    damaged = tmp_path / "img"
    shutil.copytree(shared / "data/vnc/img", damaged)
    for chunk in [path for path in damaged.rglob("*") if path.is_file() and path.name != "info"]:
        chunk.write_bytes(chunk.read_bytes()[:50])
    # With a codec in the config, the run fails after it has claimed the folder.
    arrays = {"img": {"layer": "img", "codec": "zstd"}}
    config = vnc_config(tmp_path, collection=str(vnc_collection(tmp_path, img=damaged)), arrays=arrays)
    error_message("preprocess", config, "--out", out, code=DATA)
    pointshard("check", out, code=DATA)


def test_wrong_usage_and_configuration(vnc_job, tmp_path):
    config, out = vnc_job
    bad = vnc_config(tmp_path, window=[0, 0, 0])
    error_message("preprocess", bad, "--out", tmp_path / "out", code=USAGE)
    error_message("preprocess", config, "--out", tmp_path / "out", "--memory", "1MiB", code=USAGE)
    for memory in ("-1", "-1GiB", "much", "2 bananas"):
        found = error_message("preprocess", config, "--out", tmp_path / "out", f"--memory={memory}", code=USAGE)
        assert "expected a size with its unit, for example 2GiB" in found, found
    found = error_message("preprocess", config, "--out", tmp_path / "out", "--memory", "-1", code=USAGE)
    assert "expected a size with its unit, for example 2GiB" in found, found
    error_message("preprocess", config, "--out", tmp_path / ("n" * 300), code=USAGE)
    error_message("check", tmp_path / "nowhere", code=USAGE)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("")
    error_message("preprocess", config, "--out", foreign, code=USAGE)


def run(*arguments, **options):
    command = [str(a) for a in (binary(), *arguments)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120, **options)
    assert "panicked" not in done.stderr, done.stderr
    return done


def small_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_a_full_disk(vnc_job, tmp_path):
    """A limit on file sizes emulates a full disk. Python ignores the signal, and the program inherits that."""
    config, _ = vnc_job
    out = tmp_path / "out"
    done = run("preprocess", config, "--out", out, preexec_fn=small_files, restore_signals=False)
    assert done.returncode == ENVIRONMENT and os.strerror(errno.EFBIG) in done.stderr, done
    pointshard("preprocess", config, "--out", out)
    with open("/dev/full", "w") as full:
        done = run("schema", stdout=full)
    assert done.returncode == ENVIRONMENT and os.strerror(errno.ENOSPC) in done.stderr, done
