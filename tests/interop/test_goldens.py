"""Windows computed by other tools: every sample, box, split, start voxel and byte."""

import json
import subprocess
import sys

import pytest
from program import VNC, pointshard, vnc_config

GOLDENS = ["a_points_32x32x8", "a_points_33x33x5", "a_lines_mid_32x32x8"]
COLLECTIONS = ["collection.json", "api", "pipe_urls/collection.json", "pipe_urls/api"]


@pytest.mark.parametrize("collection", COLLECTIONS)
@pytest.mark.parametrize("golden", GOLDENS)
def test_every_form_of_the_collection_gives_the_expected_windows(shared, tmp_path, golden, collection):
    expected = shared / f"data/goldens/{golden}.json"
    of = json.loads(expected.read_text())["config"]
    points = {"layer": of["annotations"]}
    if of["annotations"] == "lines":
        points["anchor"] = "midpoint"
    config = vnc_config(
        tmp_path, collection=str(VNC / collection), window=of["window_xyz"], points=points, shard_samples=None
    )
    pointshard("preprocess", config, "--out", tmp_path / "out")
    verify = [sys.executable, shared / "verify/verify_golden.py", tmp_path / "out", expected]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
