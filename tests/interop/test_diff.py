"""`pointshard diff` names what two datasets, or a config and a dataset, differ in."""

import json

from faulty_server import FaultyServer
from program import pointshard
from test_check_source import RESOLUTION, values_of, write_layer

POINTS = {1: (10, 12, 5), 2: (14, 20, 9), 3: (30, 11, 14), 4: (34, 20, 12)}


def job(folder, points=POINTS, boxes=None, **changes):
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
        "points": {"table": {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}},
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
    assert {(kind, name) for kind, name, _ in found} == {("file", f"{s}.zarr/a/c.0.0.0.0.0") for s in ("train", "val")}
    write_layer(tmp_path, values_of("uint16"))
    found = differences(b, dataset(tmp_path, "c"))
    assert any(kind == "source" and name == "layer" and said.startswith("metadata: ") for kind, name, said in found)
    assert ("array", "a", 'data_type: "uint8", "uint16"') in found


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
