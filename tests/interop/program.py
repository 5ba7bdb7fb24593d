"""The program under test: run it, write configs for it, record its output files."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"
VNC = SHARED / "data/vnc"
LAYERS = ("img", "label0", "label1")


def binary():
    """The executable: POINTSHARD_BIN, or the release build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return Path(os.environ.get("POINTSHARD_BIN", target / "release/pointshard")).resolve()


def pointshard(*arguments, code=0, cwd=None, env=None):
    """Runs the program, with `env` added to the environment; its exit code must be `code`, and it must not panic."""
    command = [str(a) for a in (binary(), *arguments)]
    # A proxy of this machine cannot reach servers on loopback.
    env = {**os.environ, "NO_PROXY": "127.0.0.1", **(env or {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, env=env)
    output = f"$ {' '.join(command)}\nexit code {done.returncode}, expected {code}\n{done.stdout}\n{done.stderr}"
    assert "panicked" not in done.stderr, output
    assert done.returncode == code, output
    return done


def error_message(*arguments, code=2, env=None):
    """Runs the program, which must fail with one error message; returns the message."""
    message = pointshard(*arguments, "--quiet", code=code, env=env).stderr
    assert sum(line.startswith("error: ") for line in message.splitlines()) == 1, message
    return message


def vnc_config(folder, name="config.json", **changes):
    """Writes a config on the vnc data. A change to None removes the key."""
    config = {
        "collection": str(VNC / "collection.json"),
        "resolution": [4.6, 4.6, 45.0],
        "window": [32, 32, 8],
        "points": {"layer": "points"},
        "arrays": {layer: {"layer": layer} for layer in LAYERS},
        "splits": {"train": ["train"], "val": ["val"]},
        "leaks": "allow",
        "shard_samples": 3,
    }
    config.update(changes)
    config = {key: value for key, value in config.items() if value is not None}
    path = Path(folder) / name
    path.write_text(json.dumps(config))
    return path


def checked_dataset(folder, *arguments, name="out", **changes):
    """Runs a job on the vnc data and `check`; returns the dataset."""
    out = Path(folder) / name
    pointshard("preprocess", vnc_config(folder, **changes), "--out", out, *arguments)
    pointshard("check", out)
    return out


def vnc_collection(folder, change=lambda rows: None, **sources):
    """Writes a copy of the vnc collection. `sources` replaces the folders of layers, by layer name."""
    rows = json.loads((VNC / "collection.json").read_text())
    for layer in rows["layers"]:
        source = sources.get(layer["name"], VNC / layer["name"])
        layer["source"] = f"precomputed://file://{source}"
    change(rows)
    path = Path(folder) / "collection.json"
    path.write_text(json.dumps(rows))
    return path


def keep_one_box(rows):
    """Keeps one box around the point 1222, which is in the crop of ../shared/data/encodings."""
    (box, *_) = rows["annotations"]
    box["pointA"], box["pointB"] = [14181.0, 11959.0, 4500.0], [14182.0, 11961.0, 5400.0]
    rows["annotations"] = [box]


def manifest(out):
    return json.loads((Path(out) / "manifest.json").read_text())


def drop_counts(out):
    """The number of dropped samples in all boxes, by reason."""
    reasons = {}
    for box in manifest(out)["boxes"]:
        for reason, n in box["dropped"].items():
            reasons[reason] = reasons.get(reason, 0) + n
    return reasons


def file_digests(folder):
    """The digest of every file below `folder`."""
    folder = Path(folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def write_times(folder):
    """Modification time and inode of every file below `folder`."""
    folder = Path(folder)
    stats = {p: p.stat() for p in folder.rglob("*") if p.is_file()}
    return {str(p.relative_to(folder)): (s.st_mtime_ns, s.st_ino) for p, s in stats.items()}
