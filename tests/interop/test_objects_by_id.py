"""`object_at` by id and by majority, against numpy: the object whose id is the annotation's or a property, and the object under a mask."""

import csv
import json
import math

import numpy as np
import pytest
import tensorstore
import zarr
from program import REPOSITORY, VNC, checked_dataset, drop_counts, error_message, manifest, pointshard
from readers import with_zarr
from volumes import Volume, line_ends

RESOLUTION, SIZE, WINDOW = (8.0, 8.0, 40.0), (40, 36, 24), (9, 8, 5)
LARGE = 2**63 + 2**40


def write_layer(folder, values):
    """A precomputed segmentation with the values [x, y, z]."""
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{folder}/"},
        "multiscale_metadata": {"data_type": str(values.dtype), "num_channels": 1, "type": "segmentation"},
        "scale_metadata": {"size": list(values.shape), "resolution": RESOLUTION, "chunk_size": [16, 16, 8], "encoding": "raw"},
    }  # fmt: skip
    tensorstore.open(spec, create=True).result()[..., 0].write(values).result()
    return Volume(values, (0, 0, 0), RESOLUTION)


def blocks(high, seed, side=4, dtype="uint64", scale=1):
    """Random objects in cubes [x, y, z]; 0 is background."""
    values = np.random.default_rng(seed).integers(0, high, [n // side for n in SIZE]).astype(dtype) * np.array(scale, dtype)
    return values.repeat(side, 0).repeat(side, 1).repeat(side, 2)


def job(folder, arrays, rows, volumes, properties=None, **changes):
    """A config with one box around everything, the layers `volumes` in `folder`, and the rows of a table: voxel x, y, z, and properties."""
    names = ["id", "x", "y", "z", *(properties or {})]
    with open(folder / "points.csv", "w") as file:
        csv.writer(file).writerows([names, *rows])
    boxes = [{"id": "all", "min": [-1e6] * 3, "max": [1e6] * 3, "tags": ["train"]}]
    sources = {name: f"precomputed://./{name}" for name in volumes}
    table = {"file": "points.csv", "unit": "voxel", "resolution": RESOLUTION, "point": ["x", "y", "z"], "id": "id"}
    config = {
        "collection": {"boxes": {"unit": "nm", "list": boxes, "layers": sources}}, "resolution": RESOLUTION, "window": WINDOW,
        "points": {"table": {**table, "properties": properties or {}}}, "arrays": arrays, "splits": {"train": ["train"]}, **changes,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


def dataset(folder, *arguments, **about):
    pointshard("preprocess", job(folder, *arguments, **about), "--out", folder / "out")
    pointshard("check", "--source", folder / "out")
    return folder / "out", with_zarr(folder / "out", "train")


def samples(group):
    columns = [group[name][:].tolist() for name in ("annotation_id", "start_voxel")]
    return zip(*columns, range(len(columns[0])))


def random_rows(count, seed, margin=0):
    rng = np.random.default_rng(seed)
    return [[n, *rng.integers(margin, np.subtract(SIZE, margin)).tolist()] for n in range(count)]


def test_the_mask_of_the_one_synapse_object_is_that_of_its_id(shared, tmp_path):
    """assign_synapses.py's `synseg == syn_id`: 168 and 15 voxels, where a point finds 15 voxels for both."""
    source = shared / "data/zetta/object_of_the_sample"
    config = json.loads((source / "config.json").read_text())
    config["collection"] = str(source / "collection.json")
    config["points"]["csv"]["file"] = str(source / "centroids.csv")
    config["arrays"]["syn"]["transform"] = {"object_at": {"id": "annotation"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    pointshard("preprocess", tmp_path / "config.json", "--out", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    voxels = dict(zip(group["annotation_id"][:].tolist(), group["syn"][:].sum(axis=(1, 2, 3, 4)).tolist()))
    assert voxels == {1: 168, 2: 15}
    assert group["syn_object_id"][:].tolist() == group["annotation_id"][:].tolist()


@pytest.mark.parametrize("missing", ["drop", "keep"])
def test_a_property_is_the_id_of_the_object(tmp_path, missing):
    layer = write_layer(tmp_path / "seg", blocks(30, 1, scale=1) * np.uint64(3) + np.where(blocks(30, 1) > 0, np.uint64(LARGE), np.uint64(0)))
    ids = np.unique(layer.values)
    rng = np.random.default_rng(2)
    rows = [[*row, int(rng.choice(ids))] for row in random_rows(80, 3)]
    rows = [[*row[:4], [row[4], LARGE + 1, 0][row[0] % 8 // 6 + (row[0] % 8 == 7)]] for row in rows]
    arrays = {"cell": {"layer": "seg", "transform": {"object_at": {"id": {"property": "cell"}, "missing": missing}}}}
    out, group = dataset(tmp_path, arrays, rows, ["seg"], properties={"cell": "uint64"})
    wanted = {row[0]: row[4] for row in rows}
    kept, seen = set(), 0
    for annotation, start, i in samples(group):
        mask = (layer.cut(start, WINDOW) == np.uint64(wanted[annotation])) & (wanted[annotation] != 0)
        np.testing.assert_array_equal(group["cell"][i], mask)
        assert int(group["cell_object_id"][i]) == wanted[annotation]
        assert mask.any() or missing == "keep"
        kept.add(annotation)
        seen += mask.any()
    starts = {row[0]: [math.ceil(v - w / 2) for v, w in zip(row[1:4], WINDOW)] for row in rows}
    visible = {row[0] for row in rows if row[4] and (layer.cut(starts[row[0]], WINDOW) == np.uint64(row[4])).any()}
    assert 0 < len(visible) < len(rows) and seen == len(visible)
    about = manifest(out)["warnings"]
    if missing == "keep":
        assert len(kept) == len(rows)
        empty = [row[4] for row in rows].count(0)
        assert [w for w in about if w.startswith(f"{empty} sample(s) have no object in `cell`")] and empty > 0
    else:
        assert kept == visible and drop_counts(out) == {"no_object": len(rows) - len(visible)}
        absent = {row[0]: row[4] for row in rows if row[4] and row[0] not in visible}
        (warning,) = [w for w in about if "has the id of their object" in w]
        assert warning.startswith(f"{len(absent)} sample(s) were dropped") and "`seg`" in warning
        named = warning.split("example object ")[1].split(":")[0].split(" of annotation ")
        assert absent[int(named[1])] == int(named[0])


def test_ids_of_a_signed_layer_may_be_negative(tmp_path):
    values = blocks(9, 4, dtype="int32") - 4
    zarr.save_array(tmp_path / "seg", np.ascontiguousarray(values.T), zarr_format=3)
    rows = [[*row, int(row[0] % 9 - 4)] for row in random_rows(40, 5)]
    arrays = {"cell": {"layer": "seg", "transform": {"object_at": {"id": {"property": "cell"}}}}}
    layers = {"seg": {"resolution": RESOLUTION, "axes": "zyx"}}
    config = job(tmp_path, arrays, rows, ["seg"], properties={"cell": "int64"}, layers=layers)
    config.write_text(config.read_text().replace("precomputed://./seg", "zarr://./seg"))
    pointshard("preprocess", config, "--out", tmp_path / "out")
    group, layer, wanted = with_zarr(tmp_path / "out", "train"), Volume(values, (0, 0, 0), RESOLUTION), {r[0]: r[4] for r in rows}
    negative = 0
    for annotation, start, i in samples(group):
        np.testing.assert_array_equal(group["cell"][i], layer.cut(start, WINDOW) == wanted[annotation])
        assert int(group["cell_object_id"][i]) == wanted[annotation] % 2**64
        negative += wanted[annotation] < 0
    assert negative > 5


def most_frequent(labels, mask):
    """As in assign_synapses.py, without background; the smallest id if several are equally frequent."""
    ids, counts = np.unique(labels[(mask != 0) & (labels != 0)], return_counts=True)
    return int(ids[counts.argmax()]) if len(ids) else 0


@pytest.mark.parametrize("missing", ["drop", "keep"])
def test_the_majority_under_the_mask_of_the_synapse(tmp_path, missing):
    cells = blocks(4, 6, side=2, scale=LARGE + 7)
    cells[:12] = 0
    cells = write_layer(tmp_path / "cells", cells)
    # A missing chunk has no cell.
    (tmp_path / "cells/8_8_40/16-32_16-32_8-16").unlink()
    cells.values[16:32, 16:32, 8:16] = 0
    synapses = write_layer(tmp_path / "synapses", blocks(60, 7, dtype="uint32"))
    own = [[int(synapses.values[tuple(row[1:4])]), *row[1:4]] for row in random_rows(60, 8)]
    rows = list({row[0]: row for row in own if row[0]}.values())
    arrays = {
        "post": {"layer": "cells", "role": "target", "transform": {"object_at": {"majority": "synapse", "missing": missing}}},
        "synapse": {"layer": "synapses", "role": "image", "transform": {"object_at": {"id": "annotation"}}},
    }
    out, group = dataset(tmp_path, arrays, rows, ["cells", "synapses"])
    kept, tied, none = set(), 0, 0
    for annotation, start, i in samples(group):
        mask = synapses.cut(start, WINDOW) == np.uint32(annotation)
        np.testing.assert_array_equal(group["synapse"][i], mask)
        labels = cells.cut(start, WINDOW)
        post = most_frequent(labels, mask)
        counts = np.unique(labels[mask & (labels != 0)], return_counts=True)[1]
        tied += len(counts) > 1 and (counts == counts.max()).sum() > 1
        none += post == 0
        assert int(group["post_object_id"][i]) == post
        np.testing.assert_array_equal(group["post"][i], (labels == np.uint64(post)) & (post != 0))
        kept.add(annotation)
    assert tied > 0
    if missing == "keep":
        assert kept == {row[0] for row in rows} and none > 0
    else:
        assert none == 0 and 0 < len(kept) < len(rows)
        assert drop_counts(out) == {"no_object": len(rows) - len(kept)}


def test_the_majority_at_data_resolution_is_that_of_the_windows(volume, tmp_path):
    """The layer's ids are resampled before they are counted."""
    seg, lines = volume("seg"), line_ends(VNC / "lines")
    data = {"data_resolution": [4.6, 4.6, 45.0], "interpolation": "nearest"}
    arrays = {
        "most": {"layer": "seg", **data, "transform": {"object_at": {"majority": "pre_or_post"}}},
        "pre_or_post": {"layer": "label0", **data, "transform": "nonzero"},
    }
    half = (9.2, 9.2, 45.0)
    out = checked_dataset(tmp_path, points={"layer": "lines"}, resolution=half, arrays=arrays)
    coarse = Volume(seg.values[::2, ::2], (1500, 1000, 100), half)
    found = 0
    for split in ("train", "val"):
        group = with_zarr(out, split)
        for annotation, start, i in samples(group):
            assert annotation in lines
            most = most_frequent(coarse.cut(start, (32, 32, 8)), group["pre_or_post"][i])
            assert int(group["most_object_id"][i]) == most != 0
            found += 1
    assert found > 5


@pytest.mark.parametrize("window", [(9, 7, 5), (24, 24, 8), (9, 8, 5)])
@pytest.mark.parametrize("rule", ["floor", "ceil"])
def test_windows_start_at_the_voxel_of_the_rule(tmp_path, window, rule):
    """assign_synapses.py: `floor(c - w / 2)`, c the rounded mean voxel; VolumetricNGLIndexer: `ceil(round(p / r - w / 2, 10))`."""
    layer = write_layer(tmp_path / "img", np.random.default_rng(9).integers(1, 255, SIZE).astype("uint8"))
    rows = [*random_rows(20, 10), *([100 + n, *np.add(row[1:], [0.3, 0.5, 0.7]).tolist()] for n, row in enumerate(random_rows(20, 11)))]
    arrays = {"img": {"layer": "img"}, "small": {"layer": "img", "window": [5, 6, 3]}}
    out, group = dataset(tmp_path, arrays, rows, ["img"], window=window, rule=rule)
    positions, differ = {row[0]: row[1:] for row in rows}, 0
    assert group["annotation_id"].shape == (len(rows),)
    for annotation, start, i in samples(group):
        for name, size, column in (("img", window, start), ("small", (5, 6, 3), group["small_start_voxel"][i].tolist())):
            exact = [round(v - w / 2, 10) for v, w in zip(positions[annotation], size)]
            wanted, other = [[f(v) for v in exact] for f in ((math.floor, math.ceil) if rule == "floor" else (math.ceil, math.floor))]
            assert column == wanted
            np.testing.assert_array_equal(group[name][i], layer.cut(wanted, size))
            differ += wanted != other
    assert differ > 0


def test_wrong_objects_are_errors(tmp_path):
    write_layer(tmp_path / "seg", blocks(9, 1))
    properties = {"cell": "uint64", "score": "float32"}
    for at, words in [
        ({}, ["`point`, `id`, `majority`", "found none"]),
        ({"point": "anchor", "id": "annotation"}, ["found several"]),
        ({"id": "annotation", "radius_nm": 5}, ["`arrays.a.transform.object_at.radius_nm`", "`point`"]),
        ({"id": {"property": "cel"}}, ["`arrays.a.transform.object_at.id.property`", "did you mean `cell`"]),
        ({"id": {"property": "score"}}, ["float32", "expected a property of whole numbers: cell"]),
        ({"id": "annotations"}, ["`arrays.a.transform.object_at.id`", "did you mean `annotation`"]),
        ({"majority": "b"}, ["`arrays.a.transform.object_at.majority`", "another array", "c"]),
        ({"majority": "a"}, ["`arrays.a.transform.object_at.majority`", "another array"]),
        ({"majority": "d"}, ["4 x 4 x 4", "9 x 8 x 5"]),
    ]:
        arrays = {
            "a": {"layer": "seg", "transform": {"object_at": at}}, "c": {"layer": "seg"}, "d": {"layer": "seg", "window": [4, 4, 4]},
        }  # fmt: skip
        config = job(tmp_path, arrays, [[1, 4, 4, 4, 1, 0.5]], ["seg"], properties=properties)
        message = error_message("preprocess", config, "--out", tmp_path / "out")
        for word in words:
            assert word in message, (at, message)


def test_the_centre_and_the_ends_of_a_line_may_be_in_different_columns(tmp_path):
    """CAVE's `ctr_pt_position` beside `pre_pt_position` and `post_pt_position`; lists and three columns, CSV and Parquet."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    layer = write_layer(tmp_path / "seg", blocks(30, 12))
    rng = np.random.default_rng(13)
    centers, starts, ends = (rng.integers(0, SIZE, (50, 3)) for _ in range(3))
    # Sorted, so that row groups may be skipped; the starts are somewhere else.
    centers = centers[centers[:, 0].argsort()]
    starts[:, 0] = (centers[:, 0] + SIZE[0] // 2) % SIZE[0]
    columns = {"id": np.arange(50)}
    for name, positions in (("c", centers), ("pre", starts), ("post", ends)):
        columns |= {f"{name}_{axis}": positions[:, d] for d, axis in enumerate("xyz")}
    table = pa.table(columns)
    pa.csv.write_csv(table, tmp_path / "t.csv")
    lists = pa.array(centers.tolist(), pa.list_(pa.int64()))
    pa.parquet.write_table(table.append_column("ctr", lists), tmp_path / "t.parquet", row_group_size=7)
    three = lambda name: [f"{name}_{axis}" for axis in "xyz"]  # noqa: E731
    at = lambda point: {"layer": "seg", "transform": {"object_at": {"point": point, "missing": "keep"}}}  # noqa: E731
    arrays = {"pre": at("start"), "post": at("end"), "here": at("anchor")}
    config = job(tmp_path, arrays, [], ["seg"])
    of_job = json.loads(config.read_text())
    box = {"id": "all", "min": [80, 0, 0], "max": [200, 1e6, 1e6], "tags": ["train"]}
    of_job["collection"]["boxes"]["list"] = [box]
    position = {"midpoint": centers, "start": starts, "end": ends}
    for file, point in (("t.csv", three("c")), ("t.parquet", three("c")), ("t.parquet", "ctr")):
        for anchor, anchors in position.items():
            of_job["points"]["table"] |= {"file": file, "point": point, "start": three("pre"), "end": three("post")}
            of_job["points"]["anchor"] = anchor
            config.write_text(json.dumps(of_job))
            pointshard("preprocess", config, "--out", tmp_path / "out", "--force")
            group = with_zarr(tmp_path / "out", "train")
            ids = group["annotation_id"][:]
            inside = [i for i, p in enumerate(anchors) if 80 <= p[0] * 8 < 200]
            assert sorted(ids.tolist()) == inside and 0 < len(inside) < 50
            np.testing.assert_array_equal(group["center_nm"][:], anchors[ids] * np.array(RESOLUTION))
            for name, points in (("pre", starts), ("post", ends), ("here", anchors)):
                assert group[f"{name}_object_id"][:].tolist() == [int(layer.values[tuple(points[i])]) for i in ids]


def test_the_demo_has_the_regime_of_zettas_script(tmp_path):
    """EM and the mask of one synapse in, pre and post out, in windows of 24 x 24 x 8 voxels."""
    pointshard("demo", tmp_path / "demo")
    config = json.loads((REPOSITORY / "configs/zetta_assignment_24.json").read_text())
    config["collection"] = str(tmp_path / "demo/source/collection.json")
    (tmp_path / "config.json").write_text(json.dumps(config))
    pointshard("preprocess", tmp_path / "config.json", "--out", tmp_path / "out")
    pointshard("check", "--source", tmp_path / "out")
    for split in ("train", "val"):
        group = with_zarr(tmp_path / "out", split)
        assert group["em"].shape[1:] == (1, 8, 24, 24) and group["em"].shape[0] >= 15
        assert group["synapse_object_id"][:].tolist() == group["annotation_id"][:].tolist()
        masks, post = group["synapse"][:], group["target_post"][:]
        assert (masks.sum(axis=(1, 2, 3, 4)) > 15).all()
        # The post cell is the most frequent one under the mask, so it has voxels there.
        assert ((masks & post).sum(axis=(1, 2, 3, 4)) > 0).all()
        assert (group["target_pre_object_id"][:] != group["target_post_object_id"][:]).all()
