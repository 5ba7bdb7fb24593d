"""`object_at` by relationship and by several properties, against numpy: the mask is the union of the related objects."""

import json
import math
import re
import shutil
import struct
from pathlib import Path

import neuroglancer
import numpy as np
import pytest
import tensorstore
import zarr
from neuroglancer.write_annotations import AnnotationWriter
from program import VNC, drop_counts, error_message, file_digests, manifest, pointshard
from readers import with_xarray, with_zarr
from server_fixtures import require_tool
from servers import Nginx, nginx_binary, static
from test_objects_by_id import LARGE, RESOLUTION, SIZE, WINDOW, blocks, job, random_rows, samples, write_layer
from volumes import Volume

SPACE = neuroglancer.CoordinateSpace(names=["x", "y", "z"], units="nm", scales=RESOLUTION)
PROPERTIES = [neuroglancer.AnnotationPropertySpec(id="score", type="uint8")]
RELATIONSHIPS = ("pre", "post")


def list_of(rng, near, ids, most):
    """Ids of none, one, or several objects: some of them twice, 0, absent, or far away."""
    choices = np.concatenate([near, near, rng.choice(ids, 3), np.array([0, LARGE + 1], "uint64")])
    assert choices.dtype == np.uint64
    return [int(v) for v in rng.choice(choices, rng.integers(0, most + 1))]


def write_annotations(folder, rows, sharding=None):
    """Precomputed annotations as Neuroglancer writes them: points, or lines with `end`. With `sharding`, `by_id` is in shards."""
    kind = "line" if "end" in rows[0] else "point"
    writer = AnnotationWriter(SPACE, kind, relationships=RELATIONSHIPS, properties=PROPERTIES)
    for row in rows:
        of_row = {"id": row["id"], "score": row.get("score", 0), **{name: row.get(name, []) for name in RELATIONSHIPS}}
        if kind == "line":
            writer.add_line(row["point"], row["end"], **of_row)
        else:
            writer.add_point(row["point"], **of_row)
    writer.write(folder)
    if sharding:
        shard_by_id(Path(folder), sharding)


def shard_by_id(folder, sharding):
    """Moves the files of the index by id into shards, which tensorstore writes."""
    spec = {
        "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 2, "hash": "murmurhash3_x86_128", "minishard_bits": 2, "shard_bits": 1,
        "minishard_index_encoding": "gzip", "data_encoding": "raw", **sharding,
    }  # fmt: skip
    info = json.loads((folder / "info").read_text())
    info["by_id"] = {"key": "ids", "sharding": spec}
    base = {"driver": "file", "path": f"{folder / 'ids'}/"}
    store = tensorstore.KvStore.open({"driver": "neuroglancer_uint64_sharded", "metadata": spec, "base": base}).result()
    with tensorstore.Transaction() as transaction:
        for file in (folder / "by_id").iterdir():
            store.with_transaction(transaction)[struct.pack(">Q", int(file.name))] = file.read_bytes()
    shutil.rmtree(folder / "by_id")
    (folder / "info").write_text(json.dumps(info))


def annotation_rows(layer, count=70, seed=1):
    ids, rng = np.unique(layer.values), np.random.default_rng(seed)
    rows = []
    for n, row in enumerate(random_rows(count, seed + 2)):
        near = np.unique(layer.cut([math.ceil(v - w / 2) for v, w in zip(row[1:], WINDOW)], WINDOW))
        pre, post = list_of(rng, near, ids, 2), list_of(rng, near, ids, 12)
        rows.append({"id": n * 7 + 2**40, "point": row[1:], "score": n % 5, "pre": pre, "post": post})
    return rows


def related(name, **options):
    return {"layer": "seg", "transform": {"object_at": {"id": {"relationship": name}, **options}}}


def related_job(folder, arrays, points=None, layers=("seg",), **changes):
    """A config on the layer `notes`, or on other `points`."""
    path = job(folder, arrays, [], [*layers, "notes"], **changes)
    config = json.loads(path.read_text())
    config["points"] = points or {"layer": "notes"}
    path.write_text(json.dumps(config))
    return path


def union(layer, start, ids):
    window = layer.cut(start, WINDOW)
    wanted = np.array([i for i in ids if i], "uint64").astype(window.dtype)
    return np.isin(window, wanted)


def assert_masks(group, layer, rows, arrays):
    """All samples have the masks and ids of their rows; `arrays` has for each array the lists of ids by annotation."""
    assert len(group["annotation_id"][:]) > 0
    for name, wanted in arrays.items():
        ids = group[f"{name}_object_ids"]
        assert ids.dtype == np.uint64 and ids.metadata.dimension_names == ("sample", f"{name}_object_id")
        own = [sorted({i for i in wanted[annotation] if i}) for annotation, _, _ in samples(group)]
        width = max(1, max(map(len, own)))
        assert ids.shape == (len(own), width) and f"{name}_object_id" not in group
        assert ids[:].tolist() == [list_ + [0] * (width - len(list_)) for list_ in own]
        for annotation, start, i in samples(group):
            np.testing.assert_array_equal(group[name][i], union(layer, start, wanted[annotation]))


SHARDINGS = [None, {}, {"hash": "identity", "preshift_bits": 0, "minishard_bits": 0, "shard_bits": 0}, {"data_encoding": "gzip", "minishard_index_encoding": "raw"}]


@pytest.mark.parametrize("sharding", SHARDINGS)
@pytest.mark.parametrize("missing", ["drop", "keep"])
def test_the_mask_is_the_union_of_the_related_objects(tmp_path, missing, sharding):
    layer = write_layer(tmp_path / "seg", blocks(40, 1) * np.uint64(3) + np.where(blocks(40, 1) > 0, np.uint64(LARGE), np.uint64(0)))
    rows = annotation_rows(layer)
    write_annotations(tmp_path / "notes", rows, sharding)
    arrays = {"pre": related("pre", missing=missing), "post": related("post", missing=missing), "both": related(["post", "pre"], missing="keep")}
    pointshard("preprocess", related_job(tmp_path, arrays), "--out", tmp_path / "out")
    pointshard("check", "--source", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    wanted = {row["id"]: row for row in rows}
    assert_masks(group, layer, rows, {
        "pre": {i: row["pre"] for i, row in wanted.items()}, "post": {i: row["post"] for i, row in wanted.items()},
        "both": {i: row["pre"] + row["post"] for i, row in wanted.items()},
    })  # fmt: skip
    kept = set(group["annotation_id"][:].tolist())
    starts = {row["id"]: [math.ceil(v - w / 2) for v, w in zip(row["point"], WINDOW)] for row in rows}
    visible = {row["id"] for row in rows if all(union(layer, starts[row["id"]], row[name]).any() for name in RELATIONSHIPS)}
    warnings = manifest(tmp_path / "out")["warnings"]
    assert 0 < len(visible) < len(rows)
    if missing == "drop":
        assert kept == visible and drop_counts(tmp_path / "out") == {"no_object": len(rows) - len(visible)}
        assert any("has the id of their object" in w for w in warnings)
        return
    assert kept == set(wanted)
    for name in RELATIONSHIPS:
        empty = sum(not any(row[name]) for row in rows)
        assert empty > 0 and any(w.startswith(f"{empty} sample(s) have no object in `{name}`") for w in warnings)
    opened = with_xarray(tmp_path / "out", "train")
    assert "post_object_ids" in opened.coords and opened["post_object_ids"].dims == ("sample", "post_object_id")


def test_lines_of_the_vnc_data_have_the_cells_of_their_relationships(shared, tmp_path):
    """Written by others: in files, in shards, and by zetta_utils, which names its relationships otherwise."""
    rows = json.loads((shared / "data/annotations/rows.json").read_text())["rows"]
    of_row = {int(row["id"]): {name: [int(v) for v in ids] for name, ids in row["rels"].items()} for row in rows}
    seen = 0
    for layer, names in [
        ("vnc/lines", ["presyn_cell", "postsyn_cell"]), ("annotations/points_sharded_raw", ["presyn_cell", "postsyn_cell"]),
        ("annotations/lines_multilevel", ["presyn_cell", "postsyn_cell"]), ("annotations/zetta_points_multilevel", ["Presyn Cell", "Postsyn Cell"]),
    ]:  # fmt: skip
        folder = tmp_path / layer.replace("/", "_")
        folder.mkdir()
        boxes = {"list": [{"id": "all", "min": [-1e9] * 3, "max": [1e9] * 3, "tags": ["train"]}], "unit": "nm"}
        boxes["layers"] = {"seg": f"precomputed://{VNC / 'seg'}", "notes": f"precomputed://{shared / 'data' / layer}"}
        arrays = {name: related(relationship, missing="keep") for name, relationship in zip(RELATIONSHIPS, names)}
        config = {
            "collection": {"boxes": boxes}, "resolution": [4.6, 4.6, 45.0], "window": WINDOW, "points": {"layer": "notes"}, "arrays": arrays,
            "splits": {"train": ["train"]},
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config))
        pointshard("preprocess", folder / "config.json", "--out", folder / "out")
        pointshard("check", "--source", folder / "out")
        group = with_zarr(folder / "out", "train")
        for i, annotation in enumerate(group["annotation_id"][:].tolist()):
            for name, key in zip(RELATIONSHIPS, ("presyn_cell", "postsyn_cell")):
                found = [v for v in group[f"{name}_object_ids"][i].tolist() if v]
                assert found == sorted(set(of_row[annotation][key])), (layer, annotation)
                seen += len(found)
    assert seen > 200


def test_many_negative_ids_of_a_signed_layer(tmp_path):
    """More ids than are compared one by one, in a layer of 32 bits."""
    values = blocks(60, 3, side=2, dtype="int32") - 30
    zarr.save_array(tmp_path / "seg", np.ascontiguousarray(values.T), zarr_format=3)
    rng = np.random.default_rng(5)
    rows = [
        {"id": n, "point": row[1:], "post": [int(v) % 2**64 for v in rng.integers(-30, 30, 2 + 25 * (n % 2))]}
        for n, row in enumerate(random_rows(30, 4))
    ]
    write_annotations(tmp_path / "notes", rows)
    layers = {"seg": {"resolution": RESOLUTION, "axes": "zyx"}}
    config = related_job(tmp_path, {"post": related("post", missing="keep")}, layers=["seg"])
    text = json.loads(config.read_text())
    text["layers"] = layers
    text["collection"]["boxes"]["layers"]["seg"] = "zarr://./seg"
    config.write_text(json.dumps(text))
    pointshard("preprocess", config, "--out", tmp_path / "out")
    pointshard("check", "--source", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    layer, wanted = Volume(values, (0, 0, 0), RESOLUTION), {row["id"]: row["post"] for row in rows}
    assert_masks(group, layer, rows, {"post": wanted})


@pytest.mark.parametrize("named", [True, False])
def test_segments_of_a_viewer_state(tmp_path, named):
    layer = write_layer(tmp_path / "seg", blocks(40, 1))
    rows = annotation_rows(layer)
    annotations = []
    for row in rows:
        segments = [[str(i) for i in row[name]] for name in RELATIONSHIPS]
        annotations.append({"type": "point", "id": str(row["id"]), "point": row["point"], "segments": segments if named else segments[0]})
    notes = {"type": "annotation", "name": "notes", "source": "local://annotations", "annotations": annotations}
    if named:
        notes["annotationRelationships"] = list(RELATIONSHIPS)
    dimensions = {axis: [nm * 1e-9, "m"] for axis, nm in zip("xyz", RESOLUTION)}
    (tmp_path / "state.json").write_text(json.dumps({"dimensions": dimensions, "layers": [notes]}))
    names = {"pre": "pre", "post": "post"} if named else {"pre": "segments"}
    arrays = {name: related(relationship, missing="keep") for name, relationship in names.items()}
    pointshard("preprocess", related_job(tmp_path, arrays, {"neuroglancer_state": {"source": "state.json"}}), "--out", tmp_path / "out")
    pointshard("check", "--source", tmp_path / "out")
    wanted = {name: {row["id"]: row[name] for row in rows} for name in names}
    assert_masks(with_zarr(tmp_path / "out", "train"), layer, rows, wanted)


@pytest.mark.parametrize("missing", ["drop", "keep"])
def test_several_properties_are_the_ids_of_several_objects(tmp_path, missing):
    layer = write_layer(tmp_path / "seg", blocks(20, 1))
    rng = np.random.default_rng(2)
    rows = [[*row, *rng.choice([0, *range(20)], 3).tolist()] for row in random_rows(60, 3)]
    names = {"a": "uint64", "b": "int32", "c": "uint16"}
    arrays = {
        "cells": {"layer": "seg", "transform": {"object_at": {"id": {"property": ["c", "a"]}, "missing": missing}}},
        "only": {"layer": "seg", "transform": {"object_at": {"id": {"property": ["b"]}, "missing": "keep"}}},
        "one": {"layer": "seg", "transform": {"object_at": {"id": {"property": "b"}, "missing": "keep"}}},
    }
    pointshard("preprocess", job(tmp_path, arrays, rows, ["seg"], names), "--out", tmp_path / "out")
    pointshard("check", "--source", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    assert_masks(group, layer, rows, {"cells": {r[0]: [r[4], r[6]] for r in rows}, "only": {r[0]: [r[5]] for r in rows}})
    np.testing.assert_array_equal(group["one"][:], group["only"][:])
    np.testing.assert_array_equal(group["one_object_id"][:], group["only_object_ids"][:, 0])
    dropped = drop_counts(tmp_path / "out")
    assert (dropped["no_object"] > 5) if missing == "drop" else dropped == {}


def test_the_majority_under_the_union_of_the_related_objects(tmp_path):
    layer = write_layer(tmp_path / "seg", blocks(40, 1))
    cells = write_layer(tmp_path / "cells", blocks(5, 9, side=3))
    rows = annotation_rows(layer)
    write_annotations(tmp_path / "notes", rows)
    most = {"layer": "cells", "transform": {"object_at": {"majority": "post", "missing": "keep"}}}
    pointshard("preprocess", related_job(tmp_path, {"most": most, "post": related("post", missing="keep")}, layers=["seg", "cells"]), "--out", tmp_path / "out")
    pointshard("check", "--source", tmp_path / "out")
    group, wanted, found = with_zarr(tmp_path / "out", "train"), {row["id"]: row["post"] for row in rows}, 0
    for annotation, start, i in samples(group):
        labels = cells.cut(start, WINDOW)[union(layer, start, wanted[annotation])]
        ids, counts = np.unique(labels[labels != 0], return_counts=True)
        assert int(group["most_object_id"][i]) == (int(ids[counts.argmax()]) if len(ids) else 0)
        found += len(ids) > 0
    assert found > 30


@pytest.fixture
def relations(tmp_path):
    layer = write_layer(tmp_path / "seg", blocks(40, 1))
    rows = annotation_rows(layer)
    write_annotations(tmp_path / "notes", rows)
    return rows


def test_the_output_does_not_depend_on_threads_tasks_or_memory_and_can_be_repaired(tmp_path, relations):
    arrays = {"pre": related("pre"), "post": related("post", missing="keep"), "seg": {"layer": "seg"}}
    config = related_job(tmp_path, arrays, shard_samples=7)
    pointshard("preprocess", config, "--out", tmp_path / "one", "--threads", 1)
    expected = file_digests(tmp_path / "one")
    for name, *options in (("many", "--threads", 4), ("small", "--memory", "96MiB")):
        pointshard("preprocess", config, "--out", tmp_path / name, *options)
        assert file_digests(tmp_path / name) == expected
    tasks = tmp_path / "tasks"
    pointshard("plan", config, "--out", tasks, "--tasks", 3)
    for task in (2, 0, 1):
        pointshard("preprocess", "--out", tasks, "--task", f"{task}/3")
    pointshard("seal", tasks)
    pointshard("diff", tasks, tmp_path / "one")
    differ = {path for path, digest in file_digests(tasks).items() if expected.get(path) != digest}
    assert all(".pointshard" in path for path in differ)
    # A rerun with and without the config does nothing.
    for arguments in ([config], []):
        pointshard("preprocess", *arguments, "--out", tmp_path / "one")
    assert file_digests(tmp_path / "one") == expected
    # The column of the plan is restored from that of the dataset, and the other way round.
    out = tmp_path / "one"
    (of_plan,) = out.glob(".pointshard/plan/*/train/post_object_ids/c.0.0")
    (shard, *_) = sorted((out / "train.zarr/post").glob("c.*"))
    for file in (of_plan, out / "train.zarr/post_object_ids/c.0.0", shard):
        file.write_bytes(file.read_bytes()[:-1] + b"?")
        pointshard("check", out, code=1)
        pointshard("check", out, "--repair")
        assert file_digests(out) == expected


def test_preview_info_and_link_of_several_objects(tmp_path, relations):
    pointshard("preprocess", related_job(tmp_path, {"post": related("post", missing="keep")}), "--out", tmp_path / "out")
    assert "post_object_ids" in json.loads(pointshard("info", "--json", tmp_path / "out").stdout)["columns"]
    pointshard("link", tmp_path / "out", "--map", f"{tmp_path}=http://127.0.0.1:1")
    pointshard("preview", tmp_path / "out", "--html", tmp_path / "preview.html")
    page = (tmp_path / "preview.html").read_text()
    shown = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page)[1])["samples"]
    ids = with_zarr(tmp_path / "out", "train")["post_object_ids"][:].tolist()
    several = 0
    for sample in shown:
        found = sample["columns"]["post_object_ids"]
        found = found if isinstance(found, list) else [found]
        assert [int(i) for i in found] == [i for i in ids[sample["position"]] if i]
        several += len(found) > 1
    assert several > 3


def test_a_rerun_notices_other_relationships(tmp_path, relations):
    config = related_job(tmp_path, {"post": related("post", missing="keep"), "seg": {"layer": "seg"}})
    pointshard("preprocess", config, "--out", tmp_path / "out")
    row = next(row for row in relations if row["post"])
    row["post"] = row["post"][1:] + [39]
    write_annotations(tmp_path / "notes", relations)
    message = error_message("preprocess", config, "--out", tmp_path / "out")
    assert "with other ids, positions, properties or related objects" in message, message


def test_only_annotations_that_may_be_samples_are_read_by_id_with_few_requests(tmp_path):
    """In files, one request for each annotation that `filter` keeps; in shards, one for many annotations."""
    require_tool(nginx_binary(), "nginx", "apt install nginx-light")
    layer = write_layer(tmp_path / "seg", blocks(40, 1))
    rows = annotation_rows(layer, count=400)
    kept = {row["id"] for row in rows if row["score"] == 3}
    for name, sharding in (("files", None), ("shards", {"preshift_bits": 6, "hash": "identity"})):
        write_annotations(tmp_path / "notes", rows, sharding)
        (tmp_path / name).mkdir()
        nginx = Nginx(tmp_path / name, {"http": static(tmp_path)})
        try:
            choose = {"filter": {"score": {"in": [3]}}} if sharding is None else {}
            arrays = {"pre": related("pre", missing="keep"), "post": related("post", missing="keep")}
            config = related_job(tmp_path, arrays, {"layer": "notes", "choose": choose})
            config.write_text(config.read_text().replace("precomputed://./notes", f"precomputed://{nginx.url('http')}/notes"))
            pointshard("preprocess", config, "--out", tmp_path / f"{name}.out", "--threads", 2)
            paths = [r.path for r in nginx.requests("http")]
        finally:
            nginx.stop()
        of_index = [path for path in paths if "/by_id/" in path or "/ids/" in path]
        group = with_zarr(tmp_path / f"{name}.out", "train")
        if sharding is None:
            assert sorted(of_index) == sorted(f"/notes/by_id/{i}" for i in kept)
            assert set(group["annotation_id"][:].tolist()) == kept
        else:
            # Two shards of four minishards: an index of each shard and minishard, and one request for the annotations of each.
            assert 0 < len(of_index) <= 2 + 2 * 8 and len(group["annotation_id"][:]) == 400
        wanted = {name: {row["id"]: row[name] for row in rows} for name in RELATIONSHIPS}
        assert_masks(group, layer, rows, wanted)
        shutil.rmtree(tmp_path / "notes")


def test_negatives_have_no_related_objects(tmp_path, relations):
    """Also those whose random ids are those of annotations, which is not likely."""
    points = {"layer": "notes", "negatives": {"per_annotation": 1}}
    config = related_job(tmp_path, {"post": related("post", missing="keep")}, points)
    text = json.loads(config.read_text())
    text["collection"]["boxes"]["list"][0] |= {"min": [0, 0, 0], "max": [n * r for n, r in zip(SIZE, RESOLUTION)]}
    config.write_text(json.dumps(text))
    pointshard("preprocess", config, "--out", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    negative = group["property_negative"][:] == 1
    assert negative.sum() == len(relations) == (~negative).sum()
    assert not group["post_object_ids"][:][negative].any() and group["post_object_ids"][:][~negative].any()
    assert not group["post"][:][negative].any()


def test_wrong_relationships_are_errors(tmp_path, relations):
    def message(arrays=None, points=None, code=2, change=lambda folder: None):
        write_annotations(tmp_path / "notes", relations)
        change(tmp_path / "notes")
        config = related_job(tmp_path, arrays or {"post": related("post")}, points)
        return error_message("preprocess", config, "--out", tmp_path / "out", code=code)

    key = "`arrays.post.transform.object_at.id.relationship`"
    for arrays, words in [
        ({"post": related("pos")}, [key, "no relationship `pos`", "`pre`, `post`", "did you mean `post`"]),
        ({"post": related([])}, [key, "found an empty list"]),
        ({"post": related(["pre", "pre"])}, [key, "`pre` twice"]),
        ({"post": related(7)}, [key, "expected a name, such as"]),
        ({"post": related("post"), "a_object_ids": {"layer": "seg"}}, ["`arrays.a_object_ids`", "an index column"]),
    ]:
        found = message(arrays)
        assert all(word in found for word in words), found
    table = {"table": {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"]}}
    found = message(points=table)
    assert key in found and "points.table.relationships" in found
    found = message(points={"objects": {"layer": "seg"}})
    assert key in found and "objects have no relationships" in found

    def change_info(**changes):
        def change(folder):
            info = json.loads((folder / "info").read_text()) | changes
            (folder / "info").write_text(json.dumps(info))

        return change

    first = min(row["id"] for row in relations)

    def write_first(contents):
        return lambda folder: (folder / f"by_id/{first}").write_bytes(contents((folder / f"by_id/{first}").read_bytes()))

    for change, words in [
        (change_info(by_id=None), ["notes/info", "`by_id` is missing", "`id.relationship`"]),
        (change_info(by_id={"key": "/etc"}), ["`by_id.key` is \"/etc\""]),
        (change_info(by_id=7), ["`by_id`", "an object with `key`"]),
        (change_info(by_id={"key": "by_id", "sharding": {"@type": "other"}}), ["`by_id.sharding."]),
        (lambda folder: (folder / f"by_id/{first}").unlink(), [f"no entry for the annotation {first}", "notes"]),
        (write_first(lambda entry: entry[:-1]), [f"by_id/{first}", "its record and 2 list(s)"]),
        (write_first(lambda entry: entry + b"12345678"), [f"by_id/{first}", "8 bytes after it"]),
        (write_first(lambda entry: entry[:16] + b"\xff" * 4), [f"by_id/{first}", "list 0 of objects"]),
        (write_first(lambda entry: b""), [f"by_id/{first}", "a record with"]),
        (write_first(lambda entry: entry + bytes(2**20)), [f"by_id/{first}", "is too large for an annotation", "1048576"]),
    ]:
        found = message(code=1, change=change)
        assert all(word in found for word in words), (words, found)
    relations[0]["post"] = list(range(1, 1025))
    write_annotations(tmp_path / "notes", relations)
    out = tmp_path / "wide"
    pointshard("preprocess", related_job(tmp_path, {"post": related("post", missing="keep")}), "--out", out)
    pointshard("check", out)
    assert with_zarr(out, "train")["post_object_ids"].shape == (len(relations), 1024)
    relations[0]["post"] += [1, 2000]
    found = message(code=1)
    assert key in found and "related to 1025 objects; expected at most 1024" in found and str(relations[0]["id"]) in found
