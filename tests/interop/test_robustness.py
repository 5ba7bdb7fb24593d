"""Robustness: unwritable streams, control characters, special files as inputs, files of others in the output."""

import ctypes
import json
import os
import socket
import subprocess

import pytest
from program import (
    VNC,
    binary,
    checked_dataset,
    error_message,
    file_digests,
    manifest,
    pointshard,
    vnc_collection,
    vnc_config,
)

HOSTILE = "x\x1b]52;c;aGk=\x07\x1b[2J\r\x9b1m\u202e\nerror: forged\nok: forged"
CONTROL_CHARACTERS = [chr(c) for c in (*range(9), *range(11, 32), *range(127, 160))] + list("\u202a\u202b\u202e\u2066\u2069\u2028")
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24


def assert_escaped(text):
    assert not [c for c in CONTROL_CHARACTERS if c in text], repr(text)
    assert not any(line.startswith(("error: forged", "ok: forged")) for line in text.splitlines()), text


def hostile_collection(folder, change=lambda rows: None):
    def make_hostile(rows):
        for box in rows["annotations"]:
            box["id"] += HOSTILE
            box["tags"].append(HOSTILE)
            box["comment"] = HOSTILE
        change(rows)

    return str(vnc_collection(folder, make_hostile))


def shell(script, **arguments):
    """Runs a script in which `$P` is the program."""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "P": str(binary())}, **arguments)  # fmt: skip
    assert "panicked" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def commands(vnc_job, tmp_path_factory):
    """Command lines with their exit codes."""
    config, out = vnc_job
    folder = tmp_path_factory.mktemp("doors")
    bad = folder / "bad.json"
    bad.write_text("{}")
    (folder / "empty").mkdir()
    return [
        (2, f"preprocess {bad} --out {folder / 'out'}"),
        (2, f"preprocess {config} --out {folder / 'out'} --dry-run --memory 1MiB"),
        (2, f"plan {bad}"),
        (2, f"plan {folder / 'none.json'}"),
        (2, f"check {folder / 'empty'}"),
        (2, "demo s3://bucket/demo"),
        (2, "schema --unknown"),
        (2, "nonsense"),
        (2, ""),
        (0, f"preprocess {config} --out {folder / 'out'}"),
        (0, f"preprocess {config} --out {folder / 'out'} --quiet"),
        (0, f"plan {config} --samples"),
        (0, f"check {out} --verbose"),
        (0, f"check {out} --json"),
        (0, "schema"),
        (0, "--help"),
        (0, "check --help"),
        (0, "--version"),
    ]


@pytest.mark.parametrize("stream", ["2>/dev/full", "2>&-", "2> >(exec true)", "2>&1 >/dev/null | true"])
def test_the_exit_code_is_right_if_stderr_cannot_be_written(commands, stream):
    for code, command in commands:
        done = shell(f"$P {command} {stream}; exit ${{PIPESTATUS[0]}}")
        assert done.returncode == code, (command, stream, done)


def test_a_terminal_that_closes_causes_no_panic(vnc_job, tmp_path):
    config, _ = vnc_job
    controller, terminal = os.openpty()
    run = subprocess.Popen([binary(), "preprocess", config, "--out", tmp_path / "out"],
                           stdout=subprocess.DEVNULL, stderr=terminal)  # fmt: skip
    os.close(terminal)
    os.close(controller)
    assert run.wait(60) == 0


def test_unwritable_results_are_an_error_and_a_closed_pipe_is_not(commands):
    for code, command in commands:
        if code == 0:
            done = shell(f"$P {command} >/dev/full")
            assert done.returncode == 75 and "standard output" in done.stderr, (command, done)
            done = shell(f"$P {command} | true; exit ${{PIPESTATUS[0]}}")
            assert done.returncode == 0 and "rror" not in done.stderr, (command, done)


def test_control_characters_of_a_collection_are_escaped(tmp_path):
    config = vnc_config(tmp_path, collection=hostile_collection(tmp_path))
    out = tmp_path / "out"
    for arguments in (
        ["plan", config, "--samples", "--verbose"],
        ["preprocess", config, "--out", out, "--dry-run", "--verbose"],
        ["preprocess", config, "--out", out, "--verbose"],
        ["check", out, "--verbose"],
    ):
        done = pointshard(*arguments)
        assert_escaped(done.stdout + done.stderr)
        assert r"\u{1b}]52" in done.stdout, arguments
    text = pointshard("plan", config, "--json").stdout
    assert_escaped(text)
    assert all(HOSTILE in box["id"] for box in json.loads(text)["boxes"])


def leak(folder):
    return {"collection": hostile_collection(folder), "leaks": None, "window": [512, 512, 16]}


def of_layer(folder):
    def change(rows):
        for layer in rows["layers"]:
            layer["source"] = f"precomputed://file:///none{HOSTILE}" if layer["name"] == "img" else layer["source"]

    return {"collection": hostile_collection(folder, change)}


def twice(folder):
    def change(rows):
        rows["annotations"].append(rows["annotations"][0])

    return {"collection": hostile_collection(folder, change)}


ERRORS = {
    "leak": leak,
    "source": of_layer,
    "box twice": twice,
    "tag": lambda folder: {"collection": hostile_collection(folder), "splits": {"train": [f"none{HOSTILE}"]}},
    "layer": lambda folder: {"collection": hostile_collection(folder), "arrays": {"a": {"layer": f"none{HOSTILE}"}}},
    "points": lambda folder: {"points": {"layer": f"none{HOSTILE}"}},
    "file": lambda folder: {"collection": f"/none{HOSTILE.replace(chr(0), '')}"},
    "key": lambda folder: {f"key{HOSTILE}": 1},
    "array": lambda folder: {"arrays": {f"img{HOSTILE}": {"layer": "img"}}},
}


@pytest.mark.parametrize("change", ERRORS.values(), ids=ERRORS.keys())
def test_control_characters_in_errors_are_escaped(tmp_path, change):
    config = vnc_config(tmp_path, **change(tmp_path))
    done = subprocess.run([binary(), "plan", config], capture_output=True, text=True, timeout=60)
    assert "error: " in done.stderr and done.returncode in (0, 1, 2), done
    assert_escaped(done.stdout + done.stderr)


def test_control_characters_in_file_names_are_escaped(vnc_copy):
    _, out = vnc_copy
    (out / "train.zarr" / HOSTILE.replace("/", "")).write_text("x")
    done = pointshard("check", out, code=1)
    assert_escaped(done.stdout + done.stderr)
    assert r"\nok: forged" in done.stdout
    text = pointshard("check", out, "--json", code=1).stdout
    assert_escaped(text)
    assert any(HOSTILE in f["file"] for f in json.loads(text)["findings"])
    for arguments in (["check", f"/none{HOSTILE}"], ["plan", f"/none{HOSTILE}"], [f"x{HOSTILE}"], ["check", "a", f"b{HOSTILE}"]):
        assert_escaped(pointshard(*arguments, code=2).stderr)


def pipe(path):
    os.mkfifo(path)


def device(path):
    os.symlink("/dev/zero", path)


def a_socket(path):
    os.chdir(path.parent)  # the path of a socket must be short
    socket.socket(socket.AF_UNIX).bind(path.name)


INPUTS = ["config", "collection", "csv", "info", "chunk", "annotations"]
SPECIAL_FILES = {"pipe": pipe, "device": device, "socket": a_socket, "folder": os.mkdir}
# A folder is a valid collection.
PAIRS = [(p, m) for p in INPUTS for m in SPECIAL_FILES if (p, m) != ("collection", "folder")]


@pytest.mark.parametrize(("input_kind", "kind"), PAIRS)
def test_an_input_that_is_not_a_regular_file_is_an_error(tmp_path, monkeypatch, input_kind, kind):
    make = SPECIAL_FILES[kind]
    monkeypatch.chdir(tmp_path)
    layer = tmp_path / "img"
    key = "4.6_4.6_45.0"
    (layer / key).mkdir(parents=True)
    info = json.loads((VNC / "img/info").read_text())
    chunks = [chunk.name for chunk in (VNC / "img" / key).iterdir()]
    (tmp_path / "points.csv").write_text("x,y,z\n3100,2620,110\n")
    csv = {"file": "points.csv", "unit": "voxel", "resolution": [4.6, 4.6, 45.0], "point": ["x", "y", "z"]}
    collection = vnc_collection(tmp_path, img=layer)
    config = vnc_config(tmp_path, collection=str(collection), points={"table": csv}, arrays={"img": {"layer": "img"}})
    (layer / "info").write_text(json.dumps(info))
    if input_kind == "annotations":
        (tmp_path / "made").mkdir()
        (tmp_path / "made/info").symlink_to(VNC / "points/info")
        bad = [tmp_path / "made/spatial0"]
        bad[0].mkdir()
        bad = [bad[0] / cell.name for cell in (VNC / "points/spatial0").iterdir()]
        config = vnc_config(tmp_path, collection=str(vnc_collection(tmp_path, points=tmp_path / "made")))
    elif input_kind == "chunk":
        bad = [layer / key / chunk.removesuffix(".gz") for chunk in chunks]
    else:
        bad = [{"config": config, "collection": collection, "csv": tmp_path / "points.csv", "info": layer / "info"}[input_kind]]
    for path in bad:
        path.unlink(missing_ok=True)
        make(path)
    code = 2 if input_kind == "config" else 1
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=code)
    assert any(str(path) in message for path in bad), message
    words = {pipe: "pipe", device: "character device", a_socket: "socket", os.mkdir: "directory"}
    assert words[make] in message, message


def test_a_config_may_come_from_a_pipe_of_the_shell(vnc_job):
    config, _ = vnc_job
    for script in (f"$P plan <(cat {config})", f"cat {config} | $P plan /dev/stdin", f"$P plan /dev/stdin < {config}"):
        done = shell(script)
        assert done.returncode == 0 and "30 samples" in done.stdout, (script, done)


def without_root():
    """Makes root subject to file permissions."""
    libc = ctypes.CDLL(None)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.mark.parametrize("force", [[], ["--force"], ["--dry-run"]], ids=["", "force", "dry run"])
def test_an_output_folder_that_cannot_be_listed_is_an_error(vnc_job, tmp_path, force):
    config, _ = vnc_job
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    out.chmod(0o311)
    command = [binary(), "preprocess", config, "--out", out, *force]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, preexec_fn=without_root)
    out.chmod(0o755)
    assert done.returncode == 75 and str(out) in done.stderr and "denied" in done.stderr, done
    assert sorted(os.listdir(out)) == ["thesis.tex"]


@pytest.mark.parametrize("mine", ["train.zarr/notes.txt", "val.zarr/img/c/mine.npy", "train.zarr/mine/zarr.json"])
def test_force_deletes_no_files_of_others(vnc_copy, tmp_path, mine):
    _, out = vnc_copy
    config = vnc_config(tmp_path, name="other.json", window=[16, 16, 4])
    (out / mine).parent.mkdir(exist_ok=True)
    (out / mine).write_text("mine")
    (out / "notes.txt").write_text("mine")
    before = file_digests(out)
    for dry in ([], ["--dry-run"]):
        message = error_message("preprocess", config, "--out", out, "--force", *dry)
        assert str(out / mine) in message, message
        assert file_digests(out) == before
    (out / mine).unlink()
    pointshard("preprocess", config, "--out", out, "--force")
    assert (out / "notes.txt").read_text() == "mine" and manifest(out)["window_voxels"] == [16, 16, 4]


def test_a_run_that_fails_because_of_memory_writes_nothing(tmp_path):
    # With codecs in the config, nothing is read before the folder is claimed.
    config = vnc_config(tmp_path, arrays={"img": {"layer": "img", "codec": "zstd"}})
    for out in (tmp_path / "new", tmp_path / "empty"):
        if out.name == "empty":
            out.mkdir()
        assert "--memory" in error_message("preprocess", config, "--out", out, "--memory", "1MiB")
        assert not out.exists() or not os.listdir(out)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0o027])
def test_files_and_folders_have_the_permissions_of_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        out = checked_dataset(tmp_path)
    finally:
        os.umask(before)
    for path in out.rglob("*"):
        expected = (0o777 if path.is_dir() else 0o666) & ~mask
        assert path.stat().st_mode & 0o777 == expected, path
