"""The columns `start_nm` and `end_nm`: the ends of lines as other programs read them, in every kind of source."""

import json

import numpy as np
import pytest
from program import VNC, error_message, file_digests, manifest, pointshard, vnc_config
from readers import with_xarray, with_zarr
from test_ends_in_layers import COUNT, at, ends_job, layer, write_layers  # noqa: F401, a fixture
from test_objects_by_id import RESOLUTION, SIZE, blocks, write_layer

EM = {"seg": {"layer": "seg"}}


def table_job(folder, anchor, center, count=60):
    """Lines in a CSV, with their positions in nm, by id; with `center`, a third position in other columns."""
    rng = np.random.default_rng(5)
    positions = {i + 2**63: rng.uniform([80, 0, 0], np.multiply(SIZE, RESOLUTION) - [90, 0, 0], (3, 3)).round(2) for i in range(count)}
    names = [f"{point}{axis}" for point in ("start", "end", "center") for axis in "xyz"]
    lines = [",".join(["id", *names]), *(",".join(map(str, [i, *p.ravel()])) for i, p in positions.items())]
    (folder / "lines.csv").write_text("\n".join(lines) + "\n")
    columns = {point: [f"{point}{axis}" for axis in "xyz"] for point in ("start", "end")}
    if center:
        columns["point"] = [f"center{axis}" for axis in "xyz"]
    write_layer(folder / "seg", blocks(300, 1))
    config = ends_job(folder, {"table": {"file": "lines.csv", "unit": "nm", "id": "id", **columns}, "anchor": anchor}, [], EM)
    text = json.loads(config.read_text())
    text["collection"]["boxes"]["list"] = [
        {"id": side, "min": [low, -1e6, -1e6], "max": [low + 80, 1e6, 1e6], "tags": [tag]}
        for side, low, tag in [("left", 80, "train"), ("right", 160, "val")]
    ]
    text["splits"], text["leaks"] = {"train": ["train"], "val": ["val"]}, "allow"
    config.write_text(json.dumps(text))
    return config, positions


@pytest.mark.parametrize(("anchor", "center"), [("start", False), ("end", False), ("midpoint", False), ("midpoint", True), ("start", True)])
def test_ends_are_those_of_the_table_and_anchors_do_not_change_them(tmp_path, anchor, center):
    config, positions = table_job(tmp_path, anchor, center)
    pointshard("preprocess", config, "--out", tmp_path / "out")
    pointshard("check", "--source", tmp_path / "out")
    seen = 0
    for split in ("train", "val"):
        group = with_zarr(tmp_path / "out", split)
        for name, place in (("start_nm", 0), ("end_nm", 1)):
            column = group[name]
            assert (column.dtype, column.metadata.dimension_names) == (np.float64, ("sample", "xyz")) and column.attrs["units"] == "nm"
            found = dict(zip(group["annotation_id"][:].tolist(), column[:]))
            seen += len(found)
            assert all((point == positions[i][place]).all() for i, point in found.items())
        centers = dict(zip(group["annotation_id"][:].tolist(), group["center_nm"][:]))
        for i, point in centers.items():
            start, end, given = positions[i]
            middle = given if center else (start + end) / 2
            np.testing.assert_allclose(point, {"start": start, "end": end, "midpoint": middle}[anchor], rtol=1e-15)
    assert seen > 40
    opened = with_xarray(tmp_path / "out", "train")
    assert {"start_nm", "end_nm"} <= set(opened.coords)


def test_tasks_and_a_seal_of_a_stored_plan_give_the_same_columns(tmp_path):
    """Neither reads the table again."""
    config, _ = table_job(tmp_path, "midpoint", True)
    pointshard("preprocess", config, "--out", tmp_path / "at_once")
    pointshard("plan", config, "--out", tmp_path / "out", "--tasks", 3)
    (tmp_path / "lines.csv").unlink()
    for task in range(3):
        pointshard("preprocess", "--out", tmp_path / "out", "--task", f"{task}/3")
    pointshard("seal", tmp_path / "out")
    at_once, in_tasks = (file_digests(tmp_path / name) for name in ("at_once", "out"))
    data = [{k: v for k, v in digests.items() if ".zarr/" in k} for digests in (at_once, in_tasks)]
    assert data[0] == data[1] and any("train.zarr/end_nm/" in name for name in data[0])
    assert manifest(tmp_path / "at_once")["plan_digest"] == manifest(tmp_path / "out")["plan_digest"]


def ends_by_id(out):
    group = with_zarr(out, "train")
    return {i: (tuple(start), tuple(end)) for i, start, end in zip(group["annotation_id"][:].tolist(), group["start_nm"][:], group["end_nm"][:])}


def test_other_ends_are_another_job_also_with_the_same_centres(tmp_path):
    config, _ = table_job(tmp_path, "midpoint", True)
    pointshard("preprocess", config, "--out", tmp_path / "out")
    wanted = str(with_zarr(tmp_path / "out", "train")["annotation_id"][0])
    rows = [line.split(",") for line in (tmp_path / "lines.csv").read_text().splitlines()]
    for row in rows:
        if row[0] == wanted:
            row[4] = str(float(row[4]) + 1)
    (tmp_path / "lines.csv").write_text("\n".join(map(",".join, rows)) + "\n")
    assert "other ids, positions" in error_message("preprocess", config, "--out", tmp_path / "out")
    pointshard("preprocess", config, "--out", tmp_path / "new", "--reuse", tmp_path / "out")
    pointshard("preprocess", config, "--out", tmp_path / "alone")
    old, new, alone = (ends_by_id(tmp_path / name) for name in ("out", "new", "alone"))
    assert new == alone and [i for i in old if old[i] != new[i]] == [int(wanted)]
    assert manifest(tmp_path / "new")["plan_digest"] != manifest(tmp_path / "out")["plan_digest"]


def test_ends_have_the_order_of_the_output_that_is_used_again(tmp_path):
    """Lines that are new are elsewhere in the space-filling curve, and last in the order."""
    config, positions = table_job(tmp_path, "midpoint", False)
    text = (tmp_path / "lines.csv").read_text().splitlines()
    (tmp_path / "lines.csv").write_text("\n".join([text[0], *text[1::2]]) + "\n")
    pointshard("preprocess", config, "--out", tmp_path / "old")
    (tmp_path / "lines.csv").write_text("\n".join(text) + "\n")
    pointshard("preprocess", config, "--out", tmp_path / "new", "--reuse", tmp_path / "old")
    pointshard("preprocess", config, "--out", tmp_path / "alone")
    old, new, alone = (with_zarr(tmp_path / name, "train")["annotation_id"][:].tolist() for name in ("old", "new", "alone"))
    assert new[: len(old)] == old and new != alone and sorted(new) == sorted(alone)
    for i, ends in ends_by_id(tmp_path / "new").items():
        np.testing.assert_array_equal(ends, positions[i][:2])


def test_lines_of_precomputed_annotations(shared, tmp_path):
    rows = json.loads((shared / "data/annotations/rows.json").read_text())["rows"]
    config = vnc_config(tmp_path, points={"layer": "lines", "anchor": "end"}, collection=str(VNC / "collection.json"))
    pointshard("preprocess", config, "--out", tmp_path / "out")
    by_id = {int(row["id"]): row for row in rows}
    seen = 0
    for split in ("train", "val"):
        group = with_zarr(tmp_path / "out", split)
        for i, start, end, center in zip(*(group[name][:].tolist() for name in ("annotation_id", "start_nm", "end_nm", "center_nm"))):
            assert end == center and start != end
            seen += i in by_id
    assert seen > 0


def test_kinds_of_a_viewer_state(tmp_path):
    """Polylines have their first and last point, all others their centre twice; without lines there are no columns."""
    write_layer(tmp_path / "seg", blocks(300, 1))
    notes = [
        {"type": "polyline", "id": "1", "points": [[12, 5, 5], [15, 9, 6], [16, 20, 9]]},
        {"type": "point", "id": "2", "point": [13, 8, 8]},
        {"type": "line", "id": "3", "pointA": [11, 3, 4], "pointB": [18, 7, 9]},
        {"type": "axis_aligned_bounding_box", "id": "4", "pointA": [12, 2, 2], "pointB": [18, 8, 6]},
    ]
    expected = {1: ([12, 5, 5], [16, 20, 9]), 2: ([13, 8, 8],) * 2, 3: ([11, 3, 4], [18, 7, 9]), 4: ([15, 5, 4],) * 2}
    for name, chosen in [("all", notes), ("no_lines", [notes[1], notes[3]]), ("polyline", notes[:1])]:
        layer_of_state = {"type": "annotation", "name": "notes", "source": "local://annotations", "annotations": chosen}
        scales = {axis: [r * 1e-9, "m"] for axis, r in zip("xyz", RESOLUTION)}
        (tmp_path / "state.json").write_text(json.dumps({"dimensions": scales, "layers": [layer_of_state]}))
        config = ends_job(tmp_path, {"neuroglancer_state": {"source": "state.json"}}, [], EM)
        pointshard("preprocess", config, "--out", tmp_path / name)
        group = with_zarr(tmp_path / name, "train")
        if name == "no_lines":
            assert "start_nm" not in group and "end_nm" not in group
            continue
        ids = group["annotation_id"][:].tolist()
        assert sorted(ids) == [int(note["id"]) for note in chosen]
        for column, place in (("start_nm", 0), ("end_nm", 1)):
            wanted = np.array([expected[i][place] for i in ids]) * RESOLUTION
            np.testing.assert_allclose(group[column][:], wanted, rtol=1e-12)


def test_ends_in_other_layers_and_negatives(tmp_path, layer):  # noqa: F811
    """Also without an array that shows an object at an end."""
    ids, centers, pre, post = write_layers(tmp_path, without=lambda n: False)
    points = {"layer": "tbars", "start": {"layer": "before"}, "end": {"layer": "after"}, "negatives": {"per_annotation": 1}}
    config = ends_job(tmp_path, points, ["tbars", "before", "after"], {"seg": {"layer": "seg"}, "here": at("anchor")})
    pointshard("preprocess", config, "--out", tmp_path / "out")
    pointshard("check", "--source", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    number = {i: n for n, i in enumerate(ids)}
    is_negative = group["property_negative"][:] == 1
    assert (~is_negative).sum() == COUNT and is_negative.sum() == COUNT
    own = [number[i] for i in group["annotation_id"][:][~is_negative].tolist()]
    np.testing.assert_array_equal(group["start_nm"][:][~is_negative], pre[own] * np.array(RESOLUTION))
    np.testing.assert_array_equal(group["end_nm"][:][~is_negative], post[own] * np.array(RESOLUTION))
    for column in ("start_nm", "end_nm"):
        np.testing.assert_array_equal(group[column][:][is_negative], group["center_nm"][:][is_negative])


def test_arrays_cannot_have_their_names(tmp_path):
    for name in ("start_nm", "End_nm"):
        config = vnc_config(tmp_path, arrays={name: {"layer": "img"}})
        assert "an index column" in error_message("plan", config)
