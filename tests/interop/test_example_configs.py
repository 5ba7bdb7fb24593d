"""The examples in `configs/` run, and their datasets pass `check`."""

import pytest
from program import REPOSITORY, manifest, pointshard

JOBS = sorted(p for p in (REPOSITORY / "configs").glob("*.json") if not p.stem.startswith("train_"))


@pytest.mark.parametrize("config", JOBS, ids=lambda path: path.stem)
def test_every_example_config_runs(shared, tmp_path, config):
    pointshard("preprocess", config, "--out", tmp_path / "out")
    pointshard("check", tmp_path / "out")
    assert all(split["samples"] > 0 for split in manifest(tmp_path / "out")["splits"].values())
