"""`plan` and `--dry-run` print what the run will do, and write nothing."""

import json
import re

import numpy as np
import pytest
from program import error_message, manifest, pointshard, vnc_config, write_times
from readers import SPLITS, with_zarr


@pytest.fixture(scope="module")
def job(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    seg = {"layer": "seg", "transform": {"object_at": {"point": "anchor"}}}
    config = vnc_config(folder, arrays={"img": {"layer": "img"}, "own": seg}, shard_samples=4)
    planned = json.loads(pointshard("plan", config, "--json").stdout)
    dry = pointshard("preprocess", config, "--out", folder / "out", "--dry-run").stdout
    assert {p.name for p in folder.iterdir()} == {"config.json"}
    output = pointshard("preprocess", config, "--out", folder / "out").stdout
    return config, planned, dry, output, folder / "out"


@pytest.mark.parametrize("split", SPLITS)
def test_the_plan_lists_the_samples_that_the_run_writes(job, split):
    _, planned, _, _, out = job
    group, samples = with_zarr(out, split), planned["splits"][split]
    assert [int(s["annotation_id"]) for s in samples] == list(group["annotation_id"][:])
    for column in ("box", "center_nm", "start_voxel", "resolution_nm"):
        np.testing.assert_array_equal([s[column] for s in samples], group[column][:])
    assert planned["boxes"] == manifest(out)["boxes"]


def test_plan_prints_a_line_per_box_and_per_sample(job):
    config, planned, *_ = job
    lines = pointshard("plan", config).stdout
    assert all(b["id"][-10:] in lines for b in planned["boxes"])
    lines = pointshard("plan", config, "-v").stdout
    assert all(b["id"] in lines for b in planned["boxes"])
    lines = pointshard("plan", config, "--samples").stdout
    for split in SPLITS:
        for sample in planned["splits"][split]:
            assert re.search(rf"\b{sample['annotation_id']}\b", lines)


def test_a_dry_run_prints_what_the_run_reads_and_writes(job):
    _, _, dry, output, out = job
    samples = sum(s["samples"] for s in manifest(out)["splits"].values())
    assert f"would write {samples} samples: {2 * samples} windows" in dry
    assert f"in {len(manifest(out)['shards'])} shards" in dry
    chunks = sum(int(n) for n in re.findall(r"^\s*(?:img|seg)\s+([\d,]+)", dry, re.MULTILINE))
    assert chunks == int(re.search(r"([\d,]+) touched", output)[1])


def test_a_dry_run_prints_the_warnings_of_the_run(shared, tmp_path):
    points = {"layer": "points", "choose": {"max_per_box": 3}}
    config = vnc_config(tmp_path, points=points, leaks="warn", window=[512, 512, 16])
    dry = pointshard("preprocess", config, "--out", tmp_path / "out", "--dry-run", "--verbose")
    run = pointshard("preprocess", config, "--out", tmp_path / "out", "--verbose")

    def warnings(done):
        return [line for line in done.stderr.splitlines() if line.startswith("warning: ") and "are missing in" not in line]

    assert warnings(dry) == warnings(run) and "share voxels" in "".join(warnings(dry))
    boxes = [line for line in run.stdout.splitlines() if re.match(r"\s*(train|val)\s|\s*[0-9a-f]{8}-", line)]
    assert len(boxes) >= 8
    for line in boxes:
        words = line.split()[: -2 if line.split()[0] in ("train", "val") else None]
        assert " ".join(words) in " ".join(dry.stdout.split()), line


def test_a_dry_run_checks_the_output_folder_and_changes_nothing(vnc_copy, tmp_path):
    config, out = vnc_copy
    (shard, *_) = [out / s["path"] for s in manifest(out)["shards"]]
    shard.unlink()
    before = write_times(out)
    assert "29 of 30 shards are already present" in pointshard("preprocess", config, "--out", out, "--dry-run").stdout
    (tmp_path / "other").mkdir()
    other = vnc_config(tmp_path / "other", window=[16, 16, 8])
    assert "another job" in error_message("preprocess", other, "--out", out, "--dry-run")
    assert "already present" not in pointshard("preprocess", other, "--out", out, "--dry-run", "--force").stdout
    assert write_times(out) == before
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/thesis.tex").write_text("x")
    assert "not written by pointshard" in error_message("preprocess", config, "--out", tmp_path / "thesis", "--dry-run")
    assert "--memory" in error_message("preprocess", config, "--out", out, "--dry-run", "--memory", "1MiB")


def test_verbose_prints_the_location_of_each_layer(job):
    config, *_ = job
    assert "layer img: " in pointshard("plan", config, "-v").stdout
    assert "layer img: " not in pointshard("plan", config).stdout
