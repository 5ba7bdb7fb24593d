"""Annotations in boxes that are no samples are in a table of the dataset, with the reason."""

import json
import random

import numpy as np
import pytest
import xarray
import zarr
from program import error_message, file_digests, manifest, pointshard
from test_check import flip
from test_check_source import RESOLUTION, values_of, write_layer

TABLE = "dropped_annotations.zarr"


def job(folder, points, splits=("train", "val"), **changes):
    """Points are id: (x, y, z, kind), in voxels."""
    rows = "".join(
        f"{i},{','.join(str((v + 0.5) * r) for v, r in zip(p[:3], RESOLUTION))},{p[3]}\n" for i, p in points.items()
    )
    (folder / "points.csv").write_text("id,x,y,z,kind\n" + rows)
    boxes = [
        {"id": "left", "min": [0, 0, 0], "max": [192, 320, 960], "tags": [splits[0]]},
        {"id": "right", "min": [192, 0, 0], "max": [384, 320, 960], "tags": [splits[1]]},
        {"id": "other", "min": [0, 0, 0], "max": [384, 320, 960], "tags": ["no split"]},
    ]
    points_config = {"table": {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id", "properties": {"kind": "uint8"}}}
    config = {
        "collection": {"boxes": {"list": boxes, "layers": {"layer": "precomputed://./layer"}}},
        "resolution": RESOLUTION,
        "window": [8, 8, 4],
        "points": {**points_config, "choose": changes.pop("choose", {})},
        "arrays": {"a": {"layer": "layer", "codec": "zstd"}},
        "splits": {name: [name] for name in splits},
        "leaks": "allow",
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


@pytest.fixture
def points():
    rng = np.random.default_rng(8)
    voxels = rng.integers(0, (48, 40, 24), (400, 3))
    ids = random.Random(8).sample(range(10**9), 400)
    return {i: (*map(int, v), i % 5) for i, v in zip(ids, voxels)}


def table(out):
    """Rows (box id, annotation, reason) of the table, in its order, and the centres."""
    group = zarr.open_group(out / TABLE, mode="r")
    reasons = group["drop_reason"].attrs["flag_meanings"].split(" ")
    boxes = [b["id"] for b in manifest(out)["boxes"]]
    columns = [group[name][:] for name in ("box", "annotation_id", "drop_reason")]
    rows = [(boxes[b], int(i), reasons[r]) for b, i, r in zip(*columns)]
    return rows, group["center_nm"][:]


def samples(out):
    """(box id, annotation) of each sample."""
    boxes = [b["id"] for b in manifest(out)["boxes"]]
    groups = [zarr.open_group(out / f"{name}.zarr", mode="r") for name in manifest(out)["splits"]]
    return {(boxes[b], int(i)) for group in groups for b, i in zip(group["box"][:], group["annotation_id"][:])}


def test_each_annotation_of_a_box_is_a_sample_or_in_the_table(tmp_path, points):
    write_layer(tmp_path, values_of("uint8"))
    choose = {"filter": {"kind": {"max": 2}}, "min_distance_nm": 30, "max_per_box": 40}
    out = tmp_path / "out"
    pointshard("preprocess", job(tmp_path, points, choose=choose, outside="drop"), "--out", out)
    pointshard("check", out)
    rows, centers = table(out)
    found = [(box, i) for box, i, _ in rows]
    kept = samples(out)
    assert len(set(found)) == len(found) and not kept & set(found) and kept
    inside = {("left" if p[0] < 24 else "right", i) for i, p in points.items()}
    assert kept | set(found) == inside
    for (_, i), center in zip(found, centers):
        np.testing.assert_allclose(center, (np.array(points[i][:3]) + 0.5) * RESOLUTION)
    # In the order of boxes, then of ids.
    assert found == sorted(found)
    counts = {}
    for box, _, reason in rows:
        counts.setdefault(box, {}).setdefault(reason, 0)
        counts[box][reason] += 1
    assert counts == {b["id"]: b["dropped"] for b in manifest(out)["boxes"] if b["dropped"]}
    assert {reason for _, _, reason in rows} == {"filter", "too_near", "over_max_per_box", "window_leaves_volume"}
    assert {reason for _, i, reason in rows if points[i][3] > 2} == {"filter"}

    def leaves(i):
        start = [np.ceil(v + 0.5 - w / 2) for v, w in zip(points[i][:3], (8, 8, 4))]
        return any(s < 0 or s + w > n for s, w, n in zip(start, (8, 8, 4), (48, 40, 24)))

    assert all(leaves(i) for _, i, reason in rows if reason == "window_leaves_volume")
    assert not any(leaves(i) for _, i in kept)


def test_xarray_opens_the_table(tmp_path, points):
    write_layer(tmp_path, values_of("uint8"))
    out = tmp_path / "out"
    pointshard("preprocess", job(tmp_path, points, choose={"max_per_box": 10}), "--out", out)
    opened = xarray.open_zarr(out / TABLE)
    assert opened.sizes["annotation"] == 380 and set(opened.data_vars) == {"annotation_id", "box", "center_nm", "drop_reason"}
    train = xarray.open_zarr(out / "train.zarr")
    assert train.sizes["sample"] == 10


def test_tasks_and_reruns_write_the_same_table_and_a_job_that_drops_nothing_writes_none(tmp_path, points):
    write_layer(tmp_path, values_of("uint8"))
    config, out = job(tmp_path, points, choose={"max_per_box": 10}, shard_samples=4), tmp_path / "out"
    pointshard("preprocess", config, "--out", out)
    before = file_digests(out / TABLE)
    assert before
    tasks = tmp_path / "tasks"
    pointshard("plan", config, "--out", tasks, "--tasks", 2)
    for task in range(2):
        pointshard("preprocess", "--out", tasks, "--task", task)
    pointshard("seal", tasks)
    assert file_digests(tasks / TABLE) == before
    # Overwritten by a job that drops nothing.
    pointshard("preprocess", job(tmp_path, points), "--out", out, "--force")
    assert not (out / TABLE).exists() and len(samples(out)) == 400
    pointshard("check", out)


@pytest.mark.parametrize("name", ["zarr.json", "drop_reason/zarr.json", "center_nm/c.0.0", "drop_reason/c.0"])
def test_damage_of_the_table_is_found_and_repaired(tmp_path, points, name):
    write_layer(tmp_path, values_of("uint8"))
    out = tmp_path / "out"
    pointshard("preprocess", job(tmp_path, points, choose={"max_per_box": 10}), "--out", out)
    before = file_digests(out)
    (plan,) = (out / ".pointshard/plan").glob("*/dropped_annotations")
    places = [out / TABLE / name, *([plan / name] if (plan / name).exists() else [])]
    for file in places:
        flip(file, file.stat().st_size // 2)
        report = json.loads(pointshard("check", out, "--json", code=1).stdout)
        assert str(file.relative_to(out)) in {f["file"] for f in report["findings"]}
        pointshard("check", out, "--repair")
        assert file_digests(out) == before
    (out / TABLE / "notes.txt").write_text("mine")
    assert "unexpected_file" in pointshard("check", out, code=1).stdout
    assert "notes.txt" in pointshard("preprocess", job(tmp_path, points), "--out", out, "--force", code=2).stderr


def test_a_split_cannot_have_the_name_of_the_table(tmp_path, points):
    write_layer(tmp_path, values_of("uint8"))
    config = job(tmp_path, points, splits=("train", "Dropped_Annotations"))
    message = error_message("plan", config)
    assert "at `splits.Dropped_Annotations`" in message and "the name of the table of dropped annotations" in message
