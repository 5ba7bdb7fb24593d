"""`points.objects`: one sample for each object of a segmentation in a box, against numpy."""

import json

import numpy as np
import pytest
from faulty_server import FaultyServer
from program import drop_counts, error_message, manifest, pointshard
from readers import with_zarr
from test_objects_by_id import LARGE, RESOLUTION, SIZE, blocks, job, write_layer
from volumes import Volume

# In voxels: two that overlap, of which one is not aligned, one that extends past the volume, and one around a single voxel.
BOXES = [((2.25, 3.5, 1.5), (22.75, 29.5, 18.25)), ((17, 9, 0), (33, 36, 11)), ((30, 20, 10), (60, 60, 60)), ((6, 7, 5), (7, 8, 6))]


def scattered(seed, ids, dtype="uint64"):
    """Objects of several parts: the same id occurs in many cubes."""
    values = blocks(len(ids), seed, side=2)
    return np.array(ids, dtype)[values]


def objects_job(folder, boxes=BOXES, nm=RESOLUTION, **objects):
    """A config with one sample for each object of `seg` in each box."""
    config = json.loads(job(folder, {"mask": {"layer": "seg", "transform": {"object_at": {"id": "annotation"}}}}, [], ["seg"]).read_text())
    config["collection"]["boxes"]["list"] = [
        # As people write them: 6 x 9.2 is 55.199999999999996.
        {"id": str(n), "min": np.round(np.multiply(low, nm), 4).tolist(), "max": np.round(np.multiply(high, nm), 4).tolist(), "tags": ["train"]}
        for n, (low, high) in enumerate(boxes)
    ]
    config["arrays"]["mask"]["transform"]["object_at"]["missing"] = "keep"
    config["points"] = {"objects": {"layer": "seg", **objects}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


def voxel_of(indices, anchor, nm=RESOLUTION):
    """The voxel that represents an object with voxels at these indices [n, xyz]."""
    if anchor == "box":
        return np.round((indices.min(0) + indices.max(0)) / 2).astype(int)
    centroid = np.round(indices.mean(0)).astype(int)
    if anchor == "centroid":
        return centroid
    distances = (((indices - centroid) * nm) ** 2).sum(1)
    # The first along z, y, x of those that are equally near.
    nearest = indices[distances == distances.min()]
    return nearest[np.lexsort(nearest.T)[0]]


def expected_of_boxes(values, anchor, boxes=BOXES, nm=RESOLUTION):
    """For each box and object: the voxel, the number of voxels, and whether the object may extend past the box."""
    objects = {}
    for number, (low, high) in enumerate(boxes):
        # A voxel is in a box if its first corner is.
        low, high = np.ceil(low).astype(int), np.minimum(np.ceil(high).astype(int), values.shape)
        part = values[tuple(slice(a, b) for a, b in zip(low, high))]
        for found in np.unique(part[part != 0]):
            indices = np.argwhere(part == found) + low
            at_face = ((indices.min(0) == low) & (low > 0)) | ((indices.max(0) + 1 == high) & (high < values.shape))
            objects[number, int(found) % 2**64] = (*voxel_of(indices, anchor, nm).tolist(), len(indices), int(at_face.any()))
    return objects


def objects_of(out, nm=RESOLUTION):
    group = with_zarr(out, "train")
    names = ("box", "annotation_id", "center_nm", "property_voxels", "property_at_face")
    rows = zip(*(group[name][:].tolist() for name in names))
    return {(box, i): (*np.round(np.divide(p, nm), 9).tolist(), voxels, face) for box, i, p, voxels, face in rows}


@pytest.mark.parametrize("anchor", ["centroid", "inside", "box"])
def test_each_object_in_each_box_is_a_sample_with_its_id(tmp_path, anchor):
    values = scattered(1, [0, 0, 7, 2**53 + 1, LARGE, *range(100, 160)])
    write_layer(tmp_path / "seg", values)
    out = tmp_path / "out"
    pointshard("preprocess", objects_job(tmp_path, anchor=anchor), "--out", out)
    pointshard("check", out)
    expected = expected_of_boxes(values, anchor)
    assert objects_of(out) == expected and len(expected) > 150
    assert {face for *_, face in expected.values()} == {0, 1}
    assert [box["annotations"] for box in manifest(out)["boxes"]] == [sum(b == n for b, _ in expected) for n in range(4)]
    if anchor == "inside":
        layer = Volume(values, (0, 0, 0), RESOLUTION)
        assert all(layer.at(np.multiply(voxel[:3], RESOLUTION)) == i for (_, i), voxel in expected.items())


def test_sizes_and_faces_drop_objects_and_count_them(tmp_path):
    values = scattered(2, [0, *range(1, 90)])
    write_layer(tmp_path / "seg", values)
    everything = expected_of_boxes(values, "centroid")
    for objects, keeps in [
        ({"min_voxels": 60}, lambda voxels, face: voxels >= 60),
        ({"max_voxels": 60}, lambda voxels, face: voxels <= 60),
        ({"min_voxels": 30, "max_voxels": 90, "at_faces": "drop"}, lambda voxels, face: 30 <= voxels <= 90 and not face),
    ]:
        pointshard("preprocess", objects_job(tmp_path, **objects), "--out", tmp_path / "out", "--force")
        kept = {key: row for key, row in everything.items() if keeps(*row[3:])}
        assert objects_of(tmp_path / "out") == kept and 0 < len(kept) < len(everything)
        assert drop_counts(tmp_path / "out") == {"filter": len(everything) - len(kept)}


def test_ids_may_be_negative_and_scales_have_other_resolutions(tmp_path):
    """Objects are counted at 8 x 8 x 40 nm, windows have voxels of 4 x 4 x 40 nm; the layer's resolution is rounded to float32."""
    import zarr

    values = scattered(3, [0, -5, -2**31, 3, 9, 2**31 - 1], dtype="int32")
    zarr.save_array(tmp_path / "seg", np.ascontiguousarray(values.T), zarr_format=3)
    img = np.random.default_rng(4).integers(1, 255, (80, 72, 24)).astype("uint8")
    zarr.save_array(tmp_path / "img", np.ascontiguousarray(img.T), zarr_format=3)
    nm = (9.2, 9.2, 45.0)
    config = json.loads(objects_job(tmp_path, nm=nm, resolution=nm).read_text())
    config |= {"arrays": {"img": {"layer": "img"}}, "resolution": [4.6, 4.6, 45.0], "window": [16, 16, 4]}
    config["layers"] = {
        "seg": {"resolution": [9.199999809265137, 9.199999809265137, 45], "axes": "zyx"}, "img": {"resolution": [4.6, 4.6, 45], "axes": "zyx"},
    }  # fmt: skip
    config["collection"]["boxes"]["layers"] = {name: f"zarr://./{name}" for name in ("seg", "img")}
    (tmp_path / "config.json").write_text(json.dumps(config))
    pointshard("preprocess", tmp_path / "config.json", "--out", tmp_path / "out")
    pointshard("check", "--source", tmp_path / "out")
    expected = expected_of_boxes(values, "centroid", nm=nm)
    assert objects_of(tmp_path / "out", nm) == expected and len(expected) == 16
    group, fine = with_zarr(tmp_path / "out", "train"), Volume(img, (0, 0, 0), (4.6, 4.6, 45.0))
    for key, start, window in zip(zip(group["box"][:].tolist(), group["annotation_id"][:].tolist()), group["start_voxel"][:], group["img"][:]):
        x, y, z, *_ = expected[key]
        assert start.tolist() == [2 * x - 8, 2 * y - 8, z - 2]
        np.testing.assert_array_equal(window, fine.cut(start, (16, 16, 4)))


def test_a_hundred_thousand_objects_in_a_box(tmp_path):
    shape = (112, 112, 64)
    values = (1 + np.arange(100352, dtype="uint64")).reshape(56, 56, 32).repeat(2, 0).repeat(2, 1).repeat(2, 2)
    values = values * np.uint64(2**40 + 1)
    write_layer(tmp_path / "seg", values)
    config = json.loads(objects_job(tmp_path, boxes=[((0, 0, 0), shape)], anchor="box").read_text())
    config |= {"window": [1, 1, 1], "arrays": {"id": {"layer": "seg"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    pointshard("preprocess", tmp_path / "config.json", "--out", tmp_path / "out", "--memory", "400M")
    group = with_zarr(tmp_path / "out", "train")
    ids = group["annotation_id"][:]
    assert len(np.unique(ids)) == 100352 and (group["id"][:].ravel() == ids).all() and (group["property_voxels"][:] == 8).all()
    small = error_message("preprocess", tmp_path / "config.json", "--out", tmp_path / "small", "--memory", "64M", code=1)
    assert "objects" in small and "--memory" in small


@pytest.mark.parametrize("anchor", ["centroid", "inside"])
def test_each_chunk_that_a_box_touches_is_read_once_per_pass_and_no_other_one(tmp_path, anchor):
    values = scattered(5, [0, *range(1, 90)])
    write_layer(tmp_path / "seg", values)
    write_layer(tmp_path / "img", values.astype("uint8"))
    config = json.loads(objects_job(tmp_path, anchor=anchor).read_text())
    with FaultyServer(tmp_path) as server:
        config["arrays"] = {"img": {"layer": "img", "codec": "zstd"}}
        config["collection"]["boxes"]["layers"] = {"seg": f"precomputed://{server.url}/seg", "img": "precomputed://./img"}
        (tmp_path / "config.json").write_text(json.dumps(config))
        pointshard("preprocess", tmp_path / "config.json", "--out", tmp_path / "out")
        chunks = [request.key for request in server.requests if "seg/" in request.key and "info" not in request.key]
    assert objects_of(tmp_path / "out") == expected_of_boxes(values, anchor)
    size, touched = (16, 16, 8), set()
    for low, high in BOXES:
        low, high = np.ceil(low).astype(int).tolist(), np.ceil(high).astype(int).tolist()
        ranges = [range(a // s, -(-min(b, n) // s)) for a, b, s, n in zip(low, high, size, SIZE)]
        touched |= {(x, y, z) for x in ranges[0] for y in ranges[1] for z in ranges[2]}
    assert len(touched) < 27
    assert len(chunks) == len(touched) * (2 if anchor == "inside" else 1) and len(set(chunks)) == len(touched)


def test_missing_chunks_have_no_objects(tmp_path):
    values = scattered(6, [0, *range(1, 40)])
    write_layer(tmp_path / "seg", values)
    (tmp_path / "seg/8_8_40/0-16_0-16_0-8").unlink()
    values[:16, :16, :8] = 0
    pointshard("preprocess", objects_job(tmp_path), "--out", tmp_path / "out")
    assert objects_of(tmp_path / "out") == expected_of_boxes(values, "centroid")


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_chunk_that_cannot_be_read_is_named(tmp_path, is_remote):
    write_layer(tmp_path / "seg", scattered(9, [0, *range(1, 40)]))
    chunk = tmp_path / "seg/8_8_40/16-32_16-32_8-16"
    chunk.write_bytes(chunk.read_bytes()[:-5])
    config = json.loads(objects_job(tmp_path).read_text())
    with FaultyServer(tmp_path) as server:
        if is_remote:
            config["collection"]["boxes"]["layers"] = {"seg": f"precomputed://{server.url}/seg"}
        (tmp_path / "config.json").write_text(json.dumps(config))
        message = error_message("preprocess", tmp_path / "config.json", "--out", tmp_path / "out", code=1)
    assert chunk.name in message and "`seg`" in message, message


def test_missing_chunks_are_errors_where_the_config_says_so(tmp_path):
    write_layer(tmp_path / "seg", scattered(6, [0, *range(1, 40)]))
    (tmp_path / "seg/8_8_40/0-16_0-16_0-8").unlink()
    config = json.loads(objects_job(tmp_path).read_text()) | {"missing": "error"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    message = error_message("preprocess", tmp_path / "config.json", "--out", tmp_path / "out", code=1)
    assert "0-16_0-16_0-8" in message and '`missing` in the config is "error"' in message
    # A layer without any chunk is probably another one.
    for chunk in (tmp_path / "seg/8_8_40").iterdir():
        chunk.unlink()
    message = error_message("preprocess", objects_job(tmp_path), "--out", tmp_path / "out", code=1)
    assert "no chunk of" in message and "`layers.seg.empty`" in message and "seg/8_8_40" in message
    config = json.loads(objects_job(tmp_path).read_text()) | {"layers": {"seg": {"empty": "allow"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    message = error_message("preprocess", tmp_path / "config.json", "--out", tmp_path / "out", code=1)
    assert "no sample" in message and "no chunk of" not in message


def test_boxes_with_more_chunks_than_memory_are_an_error(tmp_path):
    """An info of a layer of 10^18 voxels, of which no chunk is read."""
    size = [10**6] * 3
    write_layer(tmp_path / "seg", scattered(6, [0, 1]))
    info = json.loads((tmp_path / "seg/info").read_text())
    info["scales"][0]["size"] = size
    (tmp_path / "seg/info").write_text(json.dumps(info))
    path = objects_job(tmp_path, boxes=[((0, 0, 0), size)])
    message = error_message("preprocess", path, "--out", tmp_path / "out", "--memory", "1G", code=1)
    assert "chunks in the boxes" in message and "`points.objects.resolution`" in message


def test_wrong_configs_are_errors(tmp_path):
    write_layer(tmp_path / "seg", scattered(7, [0, 1, 2]))
    write_layer(tmp_path / "probability", scattered(8, [0, 1], dtype="float32"))
    for change, words in [
        ({"min_voxels": 9, "max_voxels": 8}, ["`objects.max_voxels` is 8", "at least 9"]),
        ({"layer": "sgg"}, ["`points.objects.layer`", "did you mean `seg`"]),
        ({"layer": "probability"}, ["float32", "expected a segmentation"]),
        ({"resolution": [16, 16, 40]}, ["`points.objects.resolution`", "16 x 16 x 40", "8.0, 8.0, 40.0"]),
        ({"anchor": "middle"}, ["`points", "middle"]),
    ]:
        path = objects_job(tmp_path, **change)
        config = json.loads(path.read_text())
        config["collection"]["boxes"]["layers"]["probability"] = "precomputed://./probability"
        path.write_text(json.dumps(config))
        message = error_message("preprocess", path, "--out", tmp_path / "out")
        for word in words:
            assert word in message, (change, message)
    config = json.loads(objects_job(tmp_path).read_text())
    config["points"]["choose"] = {"related": {"cell": [1]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "objects have no relationships" in error_message("preprocess", tmp_path / "config.json", "--out", tmp_path / "out")
    # No object in any box.
    path = objects_job(tmp_path, boxes=[((100, 100, 100), (200, 200, 200))])
    message = error_message("preprocess", path, "--out", tmp_path / "out", code=1)
    assert "the objects in" in message, message
