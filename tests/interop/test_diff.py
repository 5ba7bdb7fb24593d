"""`pointshard diff` names what two datasets, or a config and a dataset, differ in."""

import json

import numpy as np
import zarr
from faulty_server import FaultyServer
from program import manifest, pointshard
from test_check_source import RESOLUTION, values_of, write_layer

POINTS = {1: (10, 12, 5), 2: (14, 20, 9), 3: (30, 11, 14), 4: (34, 20, 12)}


def job(folder, points=POINTS, boxes=None, table=None, **changes):
    rows = "".join(f"{i},{','.join(str((v + 0.5) * r) for v, r in zip(p, RESOLUTION))}\n" for i, p in points.items())
    (folder / "points.csv").write_text("id,x,y,z\n" + rows)
    boxes = boxes or [
        {"id": "left", "min": [0, 0, 0], "max": [160, 320, 960], "tags": ["train"]},
        {"id": "right", "min": [200, 0, 0], "max": [384, 320, 960], "tags": ["val"]},
    ]
    config = {
        "collection": {"boxes": {"list": boxes, "layers": {"layer": "precomputed://./layer"}}},
        "resolution": RESOLUTION,
        "window": [8, 8, 4],
        "points": {"table": table or {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}},
        "arrays": {"a": {"layer": "layer", "codec": "zstd"}},
        "splits": {"train": ["train"], "val": ["val"]},
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


def dataset(folder, name, **changes):
    pointshard("preprocess", job(folder, **changes), "--out", folder / name)
    return folder / name


def differences(a, b):
    report = json.loads(pointshard("diff", a, b, "--json", code=1).stdout)
    assert not report["equal"]
    return {(d["kind"], d["name"], d["message"]) for d in report["differences"]}


def test_equal_datasets_have_no_difference(tmp_path):
    write_layer(tmp_path, values_of("uint8"))
    a, b = dataset(tmp_path, "a"), dataset(tmp_path, "b")
    assert "no differences" in pointshard("diff", a, b).stdout
    assert json.loads(pointshard("diff", a, b, "--json").stdout) == {"equal": True, "differences": []}


def test_each_kind_of_difference_is_named(tmp_path):
    write_layer(tmp_path, values_of("uint8"))
    a = dataset(tmp_path, "a")
    points = {1: (10, 12, 5), 3: (31, 11, 14), 4: (34, 20, 12), 7: (15, 21, 3), 8: (20, 30, 8)}
    boxes = [
        {"id": "left", "min": [0, 0, 0], "max": [176, 320, 960], "tags": ["train", "good"]},
        {"id": "right", "min": [200, 0, 0], "max": [384, 320, 960], "tags": ["val"]},
        {"id": "new", "min": [0, 0, 0], "max": [8, 8, 40], "tags": ["train"]},
    ]
    arrays = {"a": {"layer": "layer", "codec": "none"}, "m": {"layer": "layer", "transform": "nonzero"}}
    b = dataset(tmp_path, "b", points=points, boxes=boxes, arrays=arrays, leaks="allow")
    found = differences(a, b)
    kinds = {kind for kind, _, _ in found}
    assert kinds == {"config", "array", "box", "annotation"}
    assert ("config", "leaks", '"error", "allow"') in found
    assert ("array", "m", "only in the second dataset") in found
    assert any(kind == "array" and name == "a" and "codec" in said for kind, name, said in found)
    assert ("box", "new", "only in the second dataset") in found
    assert ("box", "left", "max_nm: [160.0,320.0,960.0], [176.0,320.0,960.0]") in found
    assert ("box", "left", 'tags: ["train"], ["train","good"]') in found
    assert ("annotation", "left", "only in the first dataset: sample 2") in found
    assert ("annotation", "left", "only in the second dataset: samples 7, 8") in found
    assert ("annotation", "right", "moved: sample 3") in found
    reverse = differences(b, a)
    assert ("annotation", "left", "only in the first dataset: samples 7, 8") in reverse
    assert ("box", "new", "only in the first dataset") in reverse
    assert len(reverse) == len(found)
    lines = pointshard("diff", a, b, code=1).stdout.splitlines()
    assert len(lines) == len(found) + 1 and f"{len(found)} differences" in lines[-1]


def test_a_difference_of_the_collection_has_its_key_as_name(tmp_path):
    write_layer(tmp_path, values_of("uint8"))
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("id,min_x,min_y,min_z,max_x,max_y,max_z,tags\nleft,0,0,0,160,320,960,train\nright,200,0,0,384,320,960,val\n")
        collection = {"boxes": {"csv": f"{name}.csv", "unit": "nm", "layers": {"layer": "precomputed://./layer"}}}
        dataset(tmp_path, name, collection=collection)
    a, b = tmp_path / "a", tmp_path / "b"
    (found,) = [d for d in differences(a, b) if d[0] == "collection"]
    assert found == ("collection", "collection", f'"{tmp_path}/a.csv", "{tmp_path}/b.csv"')
    assert "collection  collection: " in pointshard("diff", a, b, code=1).stdout


def test_another_layer_and_changed_voxels_are_named(tmp_path):
    write_layer(tmp_path, values_of("uint8"))
    a = dataset(tmp_path, "a")
    write_layer(tmp_path, values_of("uint8", seed=5))
    b = dataset(tmp_path, "b")
    found = differences(a, b)
    files = {("file", f"{s}.zarr/a/c.0.0.0.0.0") for s in ("train", "val")}
    assert {(kind, name) for kind, name, _ in found} == files | {("column", "a_nonzero_fraction")}
    write_layer(tmp_path, values_of("uint16"))
    found = differences(b, dataset(tmp_path, "c"))
    assert any(kind == "source" and name == "layer" and said.startswith("metadata: ") for kind, name, said in found)
    assert ("array", "a", 'data_type: "uint8", "uint16"') in found


def lines_job(folder, name, rows, **changes):
    """A dataset of lines with a property; the target shows the object at the start of each, or the one of the property."""
    (folder / "lines.csv").write_text("id,ax,ay,az,bx,by,bz,cell,score\n" + "".join(f"{','.join(map(str, row))}\n" for row in rows))
    table = {"file": "lines.csv", "unit": "nm", "id": "id", "start": ["ax", "ay", "az"], "end": ["bx", "by", "bz"]}
    table["properties"] = {"cell": "uint64", "score": "float32"}
    at = {"object_at": {"id": {"property": "cell"}, "missing": "keep"}}
    arrays = {"a": {"layer": "layer"}, "cell": {"layer": "layer", "transform": at}}
    return dataset(folder, name, table=table, arrays=arrays, shard_samples=1, **changes)


def test_other_properties_ends_objects_and_voxels_of_the_same_samples_are_named(tmp_path):
    values = values_of("uint8")
    write_layer(tmp_path, values)
    place = lambda v: [(n + 0.5) * r for n, r in zip(v, RESOLUTION)]
    starts, ends = [(10, 12, 5), (14, 20, 9), (30, 11, 14)], [(14, 14, 7), (16, 24, 9), (32, 15, 14)]
    cells = [int(np.bincount(values.ravel(), minlength=256)[1:].argmax()) + 1] * 3
    rows = [[i, *place(s), *place(e), cell, 0.5] for i, (s, e, cell) in enumerate(zip(starts, ends, cells))]
    rows[2][8] = "nan"
    a = lines_job(tmp_path, "a", rows)
    assert "no differences" in pointshard("diff", a, lines_job(tmp_path, "same", rows)).stdout
    other = [[*row[:7], cells[0] % 255 + 1, *row[8:]] if row[0] == 1 else row for row in rows]
    found = {(kind, name): said for kind, name, said in differences(a, lines_job(tmp_path, "cells", other))}
    said = f"1 sample has another value: sample 1 of box left: {cells[0]}, {cells[0] % 255 + 1}"
    assert found[("column", "property_cell")] == said and found[("column", "cell_object_id")] == said
    train = manifest(a)["splits"]["train"]
    assert train["shard_samples"] == 1 and train["samples"] == 2
    files = [name for kind, name in found if kind == "file"]
    assert len(files) == 1 and files[0].startswith("train.zarr/cell/c.")
    # The midpoint is the same, the ends are swapped.
    swapped = [[row[0], *row[4:7], *row[1:4], *row[7:]] for row in rows]
    found = {(kind, name): said for kind, name, said in differences(a, lines_job(tmp_path, "swapped", swapped))}
    assert set(found) == {("column", "start_nm"), ("column", "end_nm")}
    assert found[("column", "end_nm")].startswith("3 samples have other values, the first: sample 0 of box left: ")
    # Voxels changed, and a sample was added: the plans differ.
    write_layer(tmp_path, values_of("uint8", seed=9))
    more = [*rows, [9, *place((12, 30, 12)), *place((12, 30, 12)), cells[0], 1]]
    kinds = {(kind, name.split("/c.")[0]) for kind, name, _ in differences(a, lines_job(tmp_path, "voxels", more))}
    assert ("annotation", "left") in kinds and ("file", "val.zarr/a") in kinds


def test_samples_of_a_dataset_that_grew_are_compared_though_those_of_a_box_do_not_follow_each_other(tmp_path):
    write_layer(tmp_path, values_of("uint8"))
    boxes = [
        {"id": "left", "min": [0, 0, 0], "max": [160, 320, 960], "tags": ["train"]},
        {"id": "right", "min": [200, 0, 0], "max": [384, 320, 960], "tags": ["train"]},
    ]
    common = {"boxes": boxes, "splits": {"train": ["train"]}}
    old = dataset(tmp_path, "old", **common)
    points = {**POINTS, 5: (12, 25, 11), 6: (28, 25, 11), 7: (15, 11, 17)}
    natural = dataset(tmp_path, "natural", points=points, **common)
    grown = tmp_path / "grown"
    pointshard("preprocess", tmp_path / "config.json", "--out", grown, "--reuse", old)
    in_box = zarr.open_array(f"{grown}/train.zarr/box", mode="r")[:]
    assert (np.diff(in_box.astype(int)) < 0).any()
    found = {said for kind, _, said in differences(old, grown) if kind == "annotation"}
    assert found == {"only in the second dataset: samples 5, 7", "only in the second dataset: sample 6"}
    assert differences(natural, grown) == {("order", "train", "the same samples in another order")}


def test_a_config_is_compared_with_the_plan_of_a_dataset(tmp_path):
    write_layer(tmp_path, values_of("uint8"))
    out = dataset(tmp_path, "out")
    config = tmp_path / "config.json"
    assert "no differences" in pointshard("diff", config, out).stdout
    with FaultyServer(tmp_path) as server:
        assert "no differences" in pointshard("diff", config, f"{server.url}/{out.name}").stdout
    job(tmp_path, window=[8, 8, 8], points={1: (10, 12, 5)})
    said = pointshard("diff", config, out, code=1).stdout
    assert "window" in said
    job(tmp_path, points={1: (10, 12, 5), 3: (30, 11, 14), 4: (34, 20, 12)})
    said = pointshard("diff", config, out, code=1).stdout
    assert "left" in said and "annotations" in said
    report = json.loads(pointshard("diff", config, out, "--json", code=1).stdout)
    assert not report["equal"] and any("left" in line for line in report["differences"])
    assert "was not written by pointshard" in pointshard("diff", config, tmp_path / "layer", code=2).stderr
    assert "has no plan" in pointshard("diff", config, tmp_path / "new", code=2).stderr


def test_what_is_no_dataset_is_an_error(tmp_path):
    assert "is not a pointshard dataset" in pointshard("diff", tmp_path, tmp_path, code=2).stderr
