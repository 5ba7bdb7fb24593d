"""Trainings for tests: the program with the feature `tch`, a dataset, configs, and the output of a run."""

import json
import os
import subprocess
from pathlib import Path

from program import pointshard, vnc_config
from server_fixtures import require_tool

TARGETS = ["target_label0", "target_label1"]
# Small and fast on one core.
MODEL = {"feature_maps": [4, 8], "convolutions": 1, "kernels": [[3, 3, 1]], "strides": [[2, 2, 1]]}


def trainer_available():
    """Whether the program with the feature `tch` is to be tested."""
    return bool(os.environ.get("POINTSHARD_TRAINER") or os.environ.get("CI"))


def trainer():
    """The program `pointshard` of a build with the feature `tch`, from POINTSHARD_TRAINER. `pointshard-train` is beside it."""
    path = os.environ.get("POINTSHARD_TRAINER")
    require_tool(path, "POINTSHARD_TRAINER", "tests/run --torch builds the program with the feature tch and sets it")
    return Path(path)


def run(*arguments, code=0, threads=1):
    """Runs the program, which must end with the exit code `code`; returns its output."""
    # OpenMP is very slow with more threads than cores.
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "NO_COLOR": "1"}
    command = [str(a) for a in (trainer(), *arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    output = f"$ {' '.join(command)}\n{done.stdout}\n{done.stderr}"
    assert "panicked" not in done.stderr, output
    assert done.returncode == code, output
    return done


def train_config(folder, name="train.json", **changes):
    """Writes a small training config. A change to None removes the key."""
    config = {
        "image": "img",
        "targets": TARGETS,
        "model": MODEL,
        "optimizer": {"lr": 0.01},
        "batch_size": 4,
        "steps": 6,
        "validation_interval": 3,
        "seed": 5,
    }
    config.update(changes)
    path = Path(folder) / name
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return path


def make_dataset(folder, **changes):
    """A dataset of two targets, the first with a mask, which has zeros."""
    arrays = {
        "img": {"layer": "img", "role": "image"},
        "target_label0": {"layer": "label0", "role": "target"},
        "target_label0_mask": {"layer": "seg", "role": "mask", "transform": "nonzero"},
        "target_label1": {"layer": "label1", "role": "target"},
    }
    changes = {"arrays": arrays, "window": [32, 32, 8], **changes}
    out = folder / "dataset"
    pointshard("preprocess", vnc_config(folder, **changes), "--out", out)
    return out


def metrics(run):
    return [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]


def losses(run):
    """The metrics that must not depend on timing or on interruptions."""
    timing = {"samples_per_s", "data_wait"}
    return [{k: v for k, v in line.items() if k not in timing} for line in metrics(run)]
