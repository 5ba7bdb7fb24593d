"""Each step of a job on a stored plan stays within `--memory`, measured, or fails with an error that says what needs more."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from program import binary, file_digests
from test_memory import MEASURE, MIB

RESOLUTION = (8, 8, 40)


def run(*arguments, memory, folder, code=0):
    """Runs the program with this many MiB; its peak memory must be within them. Returns its output."""
    output = folder / "measured.json"
    command = [str(a) for a in (binary(), *arguments, "--memory", f"{memory}MiB", "--threads", 2)]
    done = subprocess.run([sys.executable, "-S", "-c", MEASURE, output, *command], capture_output=True, text=True, timeout=300)
    found, peak = json.loads(output.read_text())
    assert found == code and "panicked" not in done.stderr, (found, done.stderr[-2000:])
    assert peak <= memory * MIB, f"{' '.join(command)}: {peak / MIB:.0f} MiB"
    return done.stdout + done.stderr


def layer(folder, size):
    """A layer of `size` voxels of which few chunks are stored."""
    scale = {"key": "s", "resolution": RESOLUTION, "size": list(size), "voxel_offset": [0, 0, 0]}
    scale |= {"chunk_sizes": [[64, 64, 64]], "encoding": "raw"}
    (folder / "img/s").mkdir(parents=True)
    info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale]}
    (folder / "img/info").write_text(json.dumps(info))
    noise = np.random.default_rng(3).integers(0, 255, 64**3, dtype=np.uint8).tobytes()
    for x, y, z in np.ndindex(4, 4, 2):
        (folder / f"img/s/{64 * x}-{64 * x + 64}_{64 * y}-{64 * y + 64}_{64 * z}-{64 * z + 64}").write_bytes(noise)


def job(folder, boxes, points, window, **changes):
    """A job with points given in voxels, in boxes given as corners in voxels."""
    with open(folder / "boxes.csv", "w") as out:
        out.write("id,tags,min_x,min_y,min_z,max_x,max_y,max_z\n")
        corners = np.multiply(boxes, RESOLUTION)
        out.writelines(f"b{i},train,{','.join(map(str, [*low, *high]))}\n" for i, (low, high) in enumerate(corners))
    with open(folder / "points.csv", "w") as out:
        out.write("id,x,y,z\n")
        out.writelines(f"{i},{x},{y},{z}\n" for i, (x, y, z) in enumerate(np.multiply(points, RESOLUTION)))
    config = {
        "collection": {"boxes": {"csv": "boxes.csv", "unit": "nm", "layers": {"img": "precomputed://./img"}}},
        "resolution": RESOLUTION,
        "window": window,
        "points": {"table": {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}},
        "arrays": {"img": {"layer": "img", "codec": "zstd"}},
        "splits": {"train": ["train"]},
        "leaks": "allow",
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


@pytest.mark.parametrize("memory", [80, 400])
def test_sparse_points_in_a_huge_box(tmp_path, memory):
    layer(tmp_path, (16384, 16384, 2048))
    rng = np.random.default_rng(1)
    points = np.concatenate([rng.integers(64, (200, 200, 100), (500, 3)), rng.integers(64, (16000, 16000, 2000), (500, 3))])
    config = job(tmp_path, [[(0, 0, 0), (16384, 16384, 2048)]], points, (64, 64, 64))
    run("preprocess", config, "--out", tmp_path / "out", memory=memory, folder=tmp_path)


@pytest.mark.parametrize("memory", [200, 800])
def test_two_hundred_thousand_points_in_a_box(tmp_path, memory):
    layer(tmp_path, (512, 512, 128))
    points = np.random.default_rng(1).integers(16, (496, 496, 112), (200_000, 3))
    config = job(tmp_path, [[(0, 0, 0), (512, 512, 128)]], points, (16, 16, 8))
    run("preprocess", config, "--out", tmp_path / "out", memory=memory, folder=tmp_path)


@pytest.mark.parametrize("memory", [160, 800])
def test_each_step_of_a_job_of_many_samples(tmp_path, memory):
    """400,000 samples in 4,000 boxes: the plan is made with more memory than the steps after it get."""
    layer(tmp_path, (512, 512, 128))
    lows = [(8 * i, 8 * j, 8 * k) for i in range(1, 21) for j in range(1, 21) for k in range(1, 11)]
    boxes = [(low, tuple(v + 8 for v in low)) for low in lows]
    points = np.repeat(lows, 100, axis=0) + np.random.default_rng(1).random((400_000, 3)) * 8
    config, out = job(tmp_path, boxes, points, (8, 8, 4), shard_samples=20_000), tmp_path / "out"
    run("plan", config, "--out", out, "--tasks", 3, memory=800, folder=tmp_path)
    for task in range(3):
        run("preprocess", "--out", out, "--task", task, memory=memory, folder=tmp_path)
    run("seal", out, memory=memory, folder=tmp_path)
    run("check", out, memory=memory, folder=tmp_path)
    assert json.loads((out / "manifest.json").read_text())["splits"]["train"]["samples"] == 400_000
    found = file_digests(out)
    # A rerun reads the plan and the receipts.
    run("preprocess", "--out", out, memory=memory, folder=tmp_path)
    assert file_digests(out) == found


def test_an_error_says_how_much_the_plan_needs(tmp_path):
    layer(tmp_path, (512, 512, 128))
    points = np.random.default_rng(1).integers(16, (496, 496, 112), (200_000, 3))
    config, out = job(tmp_path, [[(0, 0, 0), (512, 512, 128)]], points, (16, 16, 8)), tmp_path / "out"
    run("plan", config, "--out", out, memory=800, folder=tmp_path)
    for command in (("preprocess", "--out", out), ("seal", out)):
        said = run(*command, memory=55, folder=tmp_path, code=2)
        assert "the plan of 200000 samples alone takes" in said
    said = run("preprocess", "--out", out, memory=70, folder=tmp_path, code=2)
    assert "of it for the plan" in said
    assert not os.path.exists(out / "manifest.json")


def test_an_error_says_how_much_seal_and_check_need(tmp_path):
    """20,000 boxes of one sample: their metadata take more than the plan."""
    layer(tmp_path, (512, 512, 128))
    lows = [(8 + 4 * i, 8 + 4 * j, 8 + 4 * k) for i in range(50) for j in range(20) for k in range(20)]
    boxes = [(low, tuple(v + 4 for v in low)) for low in lows]
    config, out = job(tmp_path, boxes, lows, (8, 8, 4)), tmp_path / "out"
    run("plan", config, "--out", out, memory=800, folder=tmp_path)
    run("preprocess", "--out", out, "--task", "0", memory=800, folder=tmp_path)
    for memory in (65, 80):
        said = run("seal", out, memory=memory, folder=tmp_path, code=2)
        assert "to seal the dataset" in said and "for the plan" in said
    run("seal", out, memory=120, folder=tmp_path)
    said = run("check", out, memory=70, folder=tmp_path, code=2)
    assert "with 2 threads, the check takes" in said
    run("check", out, memory=120, folder=tmp_path)


@pytest.mark.parametrize("memory", [110, 220])
@pytest.mark.parametrize("resampled", [False, True], ids=["as stored", "resampled"])
def test_samples_are_compared_with_their_sources_within_the_limit(tmp_path, memory, resampled):
    layer(tmp_path, (512, 512, 128))
    points = np.random.default_rng(1).integers((64, 64, 32), (192, 192, 96), (6, 3))
    window, changes = (128, 128, 48), {}
    if resampled:
        array = {"layer": "img", "data_resolution": RESOLUTION, "interpolation": "area", "codec": "zstd"}
        window, changes = (56, 56, 48), {"resolution": (16, 16, 40), "arrays": {"img": array}}
    config, out = job(tmp_path, [[(0, 0, 0), (512, 512, 128)]], points, window, **changes), tmp_path / "out"
    run("preprocess", config, "--out", out, memory=400, folder=tmp_path)
    assert "6 windows compared" in run("check", out, "--source", memory=memory, folder=tmp_path)
    said = run("check", out, "--source", memory=75, folder=tmp_path, code=2)
    assert "too low to compare samples of `img` with their source: that takes" in said


@pytest.mark.parametrize("codec", ["zstd", None])
def test_the_memory_that_an_error_states_is_enough(tmp_path, codec):
    """The first step, which reads voxels for the plan, takes less than cutting the windows."""
    layer(tmp_path, (256, 256, 128))
    arrays = {"img": {"layer": "img"}, "mask": {"layer": "img", "transform": {"object_at": {"point": "anchor"}}}}
    if codec:
        arrays = {name: {**array, "codec": codec} for name, array in arrays.items()}
    points = np.random.default_rng(1).integers((64, 64, 20), (190, 190, 100), (20, 3))
    config = job(tmp_path, [[(0, 0, 0), (256, 256, 128)]], points, (160, 160, 40), arrays=arrays)
    refused = run("plan", config, "--out", tmp_path / "out", memory=50, folder=tmp_path, code=2)
    (needed,) = re.findall(r"needs at least ([\d.]+) MiB", refused)
    run("plan", config, "--out", tmp_path / "out", memory=float(needed), folder=tmp_path)
