"""The examples in `configs/` run, and their datasets pass `check`."""

import json
import shutil

import pytest
from program import REPOSITORY, manifest, pointshard

JOBS = sorted(p for p in (REPOSITORY / "configs").glob("*.json") if not p.stem.startswith("train_"))


@pytest.mark.parametrize("config", JOBS, ids=lambda path: path.stem)
def test_every_example_config_runs(shared, tmp_path, config):
    if json.loads(config.read_text())["collection"].startswith("../demo/"):
        pointshard("demo", tmp_path / "demo")
        (tmp_path / "configs").mkdir()
        config = shutil.copy(config, tmp_path / "configs")
    pointshard("preprocess", config, "--out", tmp_path / "out")
    pointshard("check", tmp_path / "out")
    assert all(split["samples"] > 0 for split in manifest(tmp_path / "out")["splits"].values())
