"""`plan` and `--dry-run` say beforehand what the run then does, and write nothing."""

import json
import re

import numpy as np
import pytest
from program import manifest, pointshard, vnc_config
from readers import SPLITS, with_zarr


@pytest.fixture(scope="module")
def job(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    seg = {"layer": "seg", "transform": {"object_at": {"point": "anchor"}}}
    config = vnc_config(folder, arrays={"img": {"layer": "img"}, "own": seg}, shard_samples=4)
    planned = json.loads(pointshard("plan", config, "--json").stdout)
    dry = pointshard("preprocess", config, "--out", folder / "out", "--dry-run").stdout
    assert {p.name for p in folder.iterdir()} == {"config.json"}
    told = pointshard("preprocess", config, "--out", folder / "out").stdout
    return config, planned, dry, told, folder / "out"


@pytest.mark.parametrize("split", SPLITS)
def test_the_plan_lists_the_samples_that_the_run_writes(job, split):
    _, planned, _, _, out = job
    group, samples = with_zarr(out, split), planned["splits"][split]
    assert [int(s["annotation_id"]) for s in samples] == list(group["annotation_id"][:])
    for column in ("box", "center_nm", "start_voxel", "resolution_nm"):
        np.testing.assert_array_equal([s[column] for s in samples], group[column][:])
    assert planned["boxes"] == manifest(out)["boxes"]


def test_people_get_a_line_per_box_and_per_sample(job):
    config, planned, *_ = job
    lines = pointshard("plan", config).stdout
    assert all(b["id"] in lines for b in planned["boxes"])
    lines = pointshard("plan", config, "--samples").stdout
    for split in SPLITS:
        for sample in planned["splits"][split]:
            assert re.search(rf"\b{sample['annotation_id']}\b", lines)


def test_a_dry_run_says_what_the_run_reads_and_writes(job):
    _, _, dry, told, out = job
    samples = sum(s["samples"] for s in manifest(out)["splits"].values())
    assert f"would write {samples} samples: {2 * samples} windows" in dry
    assert f"in {len(manifest(out)['shards'])} shards" in dry
    chunks = sum(int(n) for n in re.findall(r"^\s*(?:img|seg)\s+([\d,]+)", dry, re.MULTILINE))
    assert chunks == int(re.search(r"([\d,]+) touched", told)[1])
