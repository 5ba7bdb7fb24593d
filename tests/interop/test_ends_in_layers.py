"""`points.start` and `points.end`: the ends of annotations are those with the same ids in other layers, against numpy."""

import json

import numpy as np
import pytest
from program import drop_counts, error_message, manifest, pointshard
from readers import with_zarr
from server_fixtures import require_tool
from servers import Nginx, nginx_binary, static
from test_objects_by_id import RESOLUTION, SIZE, WINDOW, blocks, job, samples, write_layer
from test_related_objects import SHARDINGS, write_annotations

COUNT = 80


def at(point, **options):
    return {"layer": "seg", "transform": {"object_at": {"point": point, "missing": "keep", **options}}}


ARRAYS = {"pre": at("start"), "post": at("end"), "here": at("anchor")}


@pytest.fixture
def layer(tmp_path):
    return write_layer(tmp_path / "seg", blocks(300, 1))


def positions():
    """Voxels: of the centres, and of the sites before and after them. Every seventh annotation lacks the latter."""
    rng = np.random.default_rng(3)
    centers, pre, post = (rng.integers(0, SIZE, (COUNT, 3)) for _ in range(3))
    # The centres are in the box, most sites are not.
    centers[:, 0] = rng.integers(10, 20, COUNT)
    return centers, pre, post


def ends_job(folder, points, layers, arrays=ARRAYS, **changes):
    """A config with one box, in which the centres are."""
    path = job(folder, arrays, [], ["seg", *layers], **changes)
    config = json.loads(path.read_text())
    nm = RESOLUTION[0]
    config["collection"]["boxes"]["list"] = [{"id": "part", "min": [10 * nm, -1e6, -1e6], "max": [20 * nm, 1e6, 1e6], "tags": ["train"]}]
    config["points"] = points
    path.write_text(json.dumps(config))
    return path


def write_layers(folder, sharding=None, without=lambda n: n % 7 == 3):
    """Points of T-bars; points before them; lines whose last end is after them. Ids of other annotations are in between."""
    centers, pre, post = positions()
    ids = [n * 3 + 2**60 for n in range(COUNT)]
    write_annotations(folder / "tbars", [{"id": i, "point": p, "score": n % 2} for n, (i, p) in enumerate(zip(ids, centers))], sharding)
    write_annotations(folder / "before", [{"id": i + d, "point": p + d} for i, p in zip(ids, pre) for d in (0, 1)], sharding)
    lines = [{"id": i, "point": c, "end": p} for n, (i, c, p) in enumerate(zip(ids, pre[::-1], post)) if not without(n)]
    write_annotations(folder / "after", lines, sharding)
    return ids, centers, pre, post


def assert_ends(out, layer, ids, centers, pre, post, missing=lambda n: n % 7 == 3):
    group = with_zarr(out, "train")
    number = {i: n for n, i in enumerate(ids)}
    found = [number[i] for i in group["annotation_id"][:].tolist()]
    assert sorted(found) == [n for n in range(COUNT) if not missing(n)]
    np.testing.assert_array_equal(group["center_nm"][:], centers[found] * np.array(RESOLUTION))
    for name, points in (("pre", pre), ("post", post), ("here", centers)):
        objects = layer.values[tuple(points[found].T)]
        np.testing.assert_array_equal(group[f"{name}_object_id"][:], objects)
        for _, start, i in samples(group):
            np.testing.assert_array_equal(group[name][i], (layer.cut(start, WINDOW) == objects[i]) & (objects[i] != 0))
    return group


POINTS = {"layer": "tbars", "start": {"layer": "before"}, "end": {"layer": "after"}}


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_ends_are_found_by_id_also_outside_of_the_box(tmp_path, layer, sharding):
    found = write_layers(tmp_path, sharding)
    config = ends_job(tmp_path, POINTS, ["tbars", "before", "after"])
    pointshard("preprocess", config, "--out", tmp_path / "out")
    pointshard("check", "--source", tmp_path / "out")
    assert_ends(tmp_path / "out", layer, *found)
    lost = len([n for n in range(COUNT) if n % 7 == 3])
    assert drop_counts(tmp_path / "out") == {"no_end": lost}
    (warning,) = [w for w in manifest(tmp_path / "out")["warnings"] if "no_end" in w]
    assert warning.startswith(f"{lost} annotation(s)") and "`points.end`" in warning and "after" in warning
    assert int(warning.split("for example ")[1]) == found[0][3]
    import xarray

    dropped = xarray.open_zarr(tmp_path / "out/dropped_annotations.zarr")
    names = dropped["drop_reason"].attrs["flag_meanings"].split()
    assert {names[int(v)] for v in dropped["drop_reason"]} == {"no_end"}
    assert sorted(dropped["annotation_id"].values.tolist()) == [i for n, i in enumerate(found[0]) if n % 7 == 3]
    # Only one of the ends is elsewhere: the other one is that of the annotation itself.
    config = ends_job(tmp_path, {"layer": "tbars", "start": {"layer": "before"}}, ["tbars", "before"])
    pointshard("preprocess", config, "--out", tmp_path / "start")
    ids, centers, pre, _ = found
    assert_ends(tmp_path / "start", layer, ids, centers, pre, centers, missing=lambda n: False)


def test_both_ends_are_those_of_one_layer_of_lines(tmp_path, layer):
    """Centres in a layer of points, partners in one of lines, which is read once."""
    require_tool(nginx_binary(), "nginx", "apt install nginx-light")
    ids, centers, pre, post = write_layers(tmp_path)
    write_annotations(tmp_path / "partners", [{"id": i, "point": a, "end": b} for i, a, b in zip(ids, pre, post)])
    (tmp_path / "nginx").mkdir()
    nginx = Nginx(tmp_path / "nginx", {"http": static(tmp_path)})
    try:
        points = {"layer": "tbars", "start": {"layer": "partners"}, "end": {"layer": "partners"}}
        config = ends_job(tmp_path, points, ["tbars", "partners"])
        config.write_text(config.read_text().replace("precomputed://./partners", f"precomputed://{nginx.url('http')}/partners"))
        pointshard("preprocess", config, "--out", tmp_path / "out")
        paths = [r.path for r in nginx.requests("http") if "/by_id/" in r.path]
    finally:
        nginx.stop()
    assert sorted(paths) == sorted(f"/partners/by_id/{i}" for i in ids)
    assert_ends(tmp_path / "out", layer, ids, centers, pre, post, missing=lambda n: False)


def test_the_centre_of_a_line_and_its_ends_from_points(tmp_path, layer):
    """The anchor stays that of the main layer, here the end of a line."""
    ids, centers, pre, post = write_layers(tmp_path)
    lines = [{"id": i, "point": p, "end": c} for i, p, c in zip(ids, post, centers)]
    write_annotations(tmp_path / "lines", lines)
    points = {"layer": "lines", "anchor": "end", "start": {"layer": "before"}}
    config = ends_job(tmp_path, points, ["lines", "before"])
    pointshard("preprocess", config, "--out", tmp_path / "out")
    assert_ends(tmp_path / "out", layer, ids, centers, pre, centers, missing=lambda n: False)


@pytest.mark.parametrize("main", ["state", "groups", "table"])
def test_layers_of_a_viewer_state_and_a_table_as_the_main_source(tmp_path, layer, main):
    ids, (centers, pre, post) = list(range(COUNT)), positions()

    def notes(name, rows):
        return {"type": "annotation", "name": name, "source": "local://annotations", "annotations": rows}

    def point(i, position):
        return {"type": "point", "id": str(i), "point": position.tolist()}

    layers = [
        notes("tbars", [point(i, p) for i, p in zip(ids, centers)]),
        notes("before", [point(i, p) for i, p in zip(ids, pre)] + [point("x", pre[0])]),
        notes("after", [
            {"type": "line", "id": str(i), "pointA": a.tolist(), "pointB": b.tolist()}
            for i, a, b in zip(ids, pre[::-1], post) if i % 7 != 3
        ]),
    ]  # fmt: skip
    dimensions = {axis: [nm * 1e-9, "m"] for axis, nm in zip("xyz", RESOLUTION)}
    (tmp_path / "state.json").write_text(json.dumps({"dimensions": dimensions, "layers": layers}))
    ends = {"start": {"layer": "before"}, "end": {"layer": "after"}}
    names = ["tbars", "before", "after"]
    points = {
        "state": {"neuroglancer_state": {"source": "state.json", "layer": "tbars"}}, "groups": {"layer": "tbars"},
        "table": {"table": {"file": "points.csv", "unit": "voxel", "resolution": RESOLUTION, "point": ["x", "y", "z"], "id": "id"}},
    }[main]  # fmt: skip
    config = ends_job(tmp_path, {**points, **ends}, names)
    text = json.loads(config.read_text())
    text["collection"]["boxes"]["layers"] |= {name: f"state.json|neuroglancer-state:{name}" for name in names}
    config.write_text(json.dumps(text))
    rows = "".join(f"{i},{','.join(map(str, p))}\n" for i, p in zip(ids, centers.tolist()))
    (tmp_path / "points.csv").write_text("id,x,y,z\n" + rows)
    pointshard("preprocess", config, "--out", tmp_path / "out")
    assert_ends(tmp_path / "out", layer, ids, centers, pre, post)


def test_only_samples_are_looked_up_and_negatives_are_where_they_are(tmp_path, layer):
    require_tool(nginx_binary(), "nginx", "apt install nginx-light")
    ids, *_ = write_layers(tmp_path)
    (tmp_path / "nginx").mkdir()
    nginx = Nginx(tmp_path / "nginx", {"http": static(tmp_path)})
    try:
        choose = {"filter": {"score": {"in": [1]}}}
        points = {**POINTS, "choose": choose, "negatives": {"per_annotation": 2}}
        config = ends_job(tmp_path, points, ["tbars", "before", "after"])
        text = json.loads(config.read_text())
        text["collection"]["boxes"]["list"][0] |= {"min": [80, 0, 0], "max": [160, SIZE[1] * 8, SIZE[2] * 40]}
        text["collection"]["boxes"]["layers"] |= {name: f"precomputed://{nginx.url('http')}/{name}" for name in ("before", "after")}
        config.write_text(json.dumps(text))
        pointshard("preprocess", config, "--out", tmp_path / "out")
        paths = [r.path for r in nginx.requests("http") if "/by_id/" in r.path]
    finally:
        nginx.stop()
    kept = [i for n, i in enumerate(ids) if n % 2]
    assert sorted(paths) == sorted(f"/{name}/by_id/{i}" for name in ("before", "after") for i in kept)
    group = with_zarr(tmp_path / "out", "train")
    negative = group["property_negative"][:] == 1
    assert negative.sum() == 2 * len(kept) and (~negative).sum() == len([n for n in range(1, COUNT, 2) if n % 7 != 3])
    for name in ("pre", "post"):
        np.testing.assert_array_equal(group[f"{name}_object_id"][:][negative], group["here_object_id"][:][negative])


def test_a_rerun_notices_other_ends(tmp_path, layer):
    write_layers(tmp_path)
    config = ends_job(tmp_path, POINTS, ["tbars", "before", "after"])
    pointshard("preprocess", config, "--out", tmp_path / "out")
    pointshard("preprocess", config, "--out", tmp_path / "out")
    write_layers(tmp_path, without=lambda n: n % 7 == 4)
    message = error_message("preprocess", config, "--out", tmp_path / "out")
    assert 'box 0 ("part")' in message and "related objects" in message, message


def test_wrong_ends_are_errors(tmp_path, layer):
    ids, centers, *_ = write_layers(tmp_path)
    write_annotations(tmp_path / "other", [{"id": i, "point": p} for i, p in enumerate(centers)])
    names = ["tbars", "before", "after", "other"]
    for changes, arrays, code, words in [
        ({"end": {"layer": "aftr"}}, ARRAYS, 2, ["`points.end.layer`", "`aftr`", "did you mean `after`"]),
        ({"end": {"layer": "seg"}}, ARRAYS, 1, ["seg/info"]),
        ({"end": {"layer": "other"}}, ARRAYS, 1, ["`points.end.layer`", f"has none of the {COUNT} annotation(s)", str(ids[0])]),
        ({"end": "after"}, ARRAYS, 2, ["`points.end`", "expected"]),
    ]:
        config = ends_job(tmp_path, {**POINTS, **changes}, names, arrays)
        message = error_message("preprocess", config, "--out", tmp_path / "out", code=code)
        assert all(word in message for word in words), (words, message)
    info = json.loads((tmp_path / "after/info").read_text())
    del info["by_id"]
    (tmp_path / "after/info").write_text(json.dumps(info))
    message = error_message("preprocess", ends_job(tmp_path, POINTS, names), "--out", tmp_path / "out", code=1)
    assert "after/info" in message and "`by_id` is missing" in message and "`before`, `after`" in message
