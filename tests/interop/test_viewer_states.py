"""Viewer states with transforms: windows and points are where Neuroglancer shows them."""

import json
import struct

import numpy as np
import pytest
import tensorstore
import zarr
from neuroglancer_transform import shown, shown_locally, to_xyz
from program import error_message, pointshard
from volumes import first_voxel, write_huge_empty_layer, write_precomputed

WINDOW = [8, 6, 4]
FAR = 1e6
# For an image layer without stored chunks.
EMPTY = {"img": {"empty": "allow"}}
# Positions of points in a volume: inside, at corners and faces.
PARTS = [(0.5, 0.5, 0.5), (0, 0, 0), (1, 0.3, 0.6), (0.2, 0.9, 0.1)]


def dims(x, y, z, names="xyz"):
    return {n: [v, "nm"] for n, v in zip(names, (x, y, z))}


def moved(*translation, scale=(1, 1, 1)):
    return [[scale[i] if i == j else 0 for j in range(3)] + [translation[i]] for i in range(3)]


def write_state(folder, source, boxes=None, layers=()):
    boxes = boxes or {"url": "local://annotations", "transform": {"outputDimensions": dims(1, 1, 1)}}
    box = {"type": "axis_aligned_bounding_box", "id": "b", "description": "train"}
    state = {
        "dimensions": dims(1, 1, 1),
        "layers": [
            {"type": "image", "name": "img", "source": source},
            {"type": "annotation", "name": "boxes", "source": boxes,
             "annotations": [{**box, "pointA": [-FAR] * 3, "pointB": [FAR] * 3}]},
            *layers,
        ],
    }  # fmt: skip
    (folder / "state.json").write_text(json.dumps(state))


def write_config(folder, resolution, points=None, spots=((0, 0, 0),), **changes):
    rows = "".join(f"{i},{x},{y},{z}\n" for i, (x, y, z) in enumerate(spots))
    (folder / "points.csv").write_text(f"id,x,y,z\n{rows}")
    csv = {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}
    config = {
        "collection": {"neuroglancer_state": {"source": "state.json", "layer": "boxes"}},
        "resolution": resolution, "window": WINDOW, "points": points or {"table": csv},
        "arrays": {"img": {"layer": "img"}}, "splits": {"train": ["train"]}, **changes,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


def windows(folder, resolution, spots, **changes):
    config = write_config(folder, resolution, spots=spots, **changes)
    pointshard("preprocess", config, "--out", folder / "out", "--threads", "1")
    group = zarr.open_group(str(folder / "out/train.zarr"), mode="r")
    return dict(zip((int(i) for i in group["annotation_id"][:]), group["img"][:]))


def expected(point, resolution, space, values, origin, scale=(1, 1, 1)):
    """The window [channel, z, y, x], voxel by voxel: the centre of each is transformed back to the source.
    `values` have the order of the source's dimensions and start at `origin`. Their voxels are `scale` times as large as
    those of its space."""
    linear, translation = to_xyz(space)
    start = np.array(first_voxel(point, resolution, WINDOW))
    index = np.stack(np.meshgrid(*map(np.arange, WINDOW), indexing="ij"), -1)
    world = (start + index + 0.5) * resolution
    voxel = np.floor(np.einsum("ij,...j->...i", np.linalg.inv(linear), world - translation) / scale - origin)
    voxel = voxel.astype(int)
    inside = ((voxel >= 0) & (voxel < values.shape)).all(-1)
    window = np.zeros(WINDOW, values.dtype)
    window[inside] = values[tuple(voxel[inside].T)]
    return window.transpose(2, 1, 0)[None]


def check(folder, resolution, space, values, origin, scale=(1, 1, 1), **changes):
    """Compares windows in and around the volume."""
    linear, translation = to_xyz(space)
    corners = [(origin + np.multiply(part, values.shape)) * scale for part in PARTS]
    spots = [tuple(linear @ corner + translation) for corner in corners]
    found = windows(folder, resolution, spots, **changes)
    assert len(found) == len(spots)
    for i, spot in enumerate(spots):
        wanted = expected(spot, resolution, space, values, origin, scale)
        assert wanted.any(), "nothing of the volume is in the window: the test proves nothing"
        np.testing.assert_array_equal(found[i], wanted, f"at {spot}")


def voxels(*shape):
    return np.random.default_rng(7).integers(1, 60000, shape, "uint16")


SWAP = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
TURN = [[0, 0, 1, 3], [1, 0, 0, -2], [0, 1, 0, 5]]
PRECOMPUTED = {
    "output_alone": ({"outputDimensions": dims(8, 8, 80)}, [4, 4, 40]),
    "input_is_own": ({"inputDimensions": dims(4, 4, 40), "outputDimensions": dims(8, 8, 8)}, [4, 4, 40]),
    "input": ({"inputDimensions": dims(8, 8, 40), "outputDimensions": dims(4, 4, 40)}, [8, 8, 40]),
    "input_of_the_coarse_scale": ({"inputDimensions": dims(8, 8, 40), "outputDimensions": dims(4, 4, 40)}, [16, 16, 40]),
    "both_alike": ({"inputDimensions": dims(5, 6, 50), "outputDimensions": dims(5, 6, 50)}, [5, 6, 50]),
    "um": ({"inputDimensions": {a: [0.006, "um"] for a in "xyz"}, "outputDimensions": dims(1, 1, 1)}, [6, 6, 6]),
    "input_in_another_order": (
        {"inputDimensions": dims(40, 4, 8, "zyx"), "outputDimensions": dims(1, 1, 1, "zyx")}, [8, 4, 40]),
    "renamed": ({"outputDimensions": dims(1, 1, 1, "zyx")}, [40, 4, 4]),
    "translation": ({"outputDimensions": dims(8, 8, 20), "matrix": moved(3, -2, 8)}, [4, 4, 40]),
    "translation_of_the_coarse_scale": ({"outputDimensions": dims(8, 8, 40), "matrix": moved(3, -2, -4)}, [8, 8, 40]),
    "factor": ({"outputDimensions": dims(4, 4, 40), "matrix": moved(0, 0, 0, scale=(2, 1, 0.5))}, [8, 4, 20]),
    "all": (
        {"inputDimensions": dims(6, 5, 30), "outputDimensions": dims(3, 10, 15),
         "matrix": moved(-8, 3, 2, scale=(2, 2, 1))}, [12, 10, 30]),
    "swapped": ({"outputDimensions": dims(4, 4, 40), "matrix": SWAP}, [4, 4, 40]),
    "turned": ({"inputDimensions": dims(4, 5, 40), "outputDimensions": dims(40, 4, 5), "matrix": TURN}, [40, 4, 5]),
    "one_dimension_left_out": ({"outputDimensions": {"x": [4, "nm"], "y": [4, "nm"]},
                                "inputDimensions": {"x": [8, "nm"], "y": [8, "nm"]}}, [8, 8, 40]),
    "a_further_dimension": (
        {"inputDimensions": {**dims(8, 8, 40), "t": [1, "s"]}, "outputDimensions": {**dims(8, 8, 40), "t": [1, "s"]},
         "sourceRank": 3}, [8, 8, 40]),
}  # fmt: skip


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    """A precomputed layer of two scales."""
    folder = tmp_path_factory.mktemp("layer") / "img"
    fine, coarse = voxels(60, 56, 24), voxels(30, 28, 24)
    write_precomputed(folder, fine, [4, 4, 40], [26, 30, 14], chunk=(16, 12, 8))
    write_precomputed(folder, coarse, [8, 8, 40], [13, 15, 14], chunk=(16, 12, 8))
    return folder, fine, coarse


@pytest.mark.parametrize("case", PRECOMPUTED)
@pytest.mark.parametrize("form", ["object", "list", "pipe"])
def test_a_volume_is_where_neuroglancer_shows_it(tmp_path, layer, case, form):
    folder, fine, coarse = layer
    transform, resolution = PRECOMPUTED[case]
    url = f"file://{folder}/|neuroglancer-precomputed:" if form == "pipe" else f"precomputed://file://{folder}"
    source = {"url": url, "transform": transform, "subsources": {"default": True, "mesh": False}}
    write_state(tmp_path, [source, f"precomputed://file://{folder}/mesh"] if form == "list" else source)
    space = shown(transform, list("xyz"), [4, 4, 40])
    is_coarse = "coarse" in case
    values, origin, scale = (coarse, [13, 15, 14], (2, 2, 1)) if is_coarse else (fine, [26, 30, 14], (1, 1, 1))
    check(tmp_path, resolution, space, values, origin, scale)


@pytest.mark.parametrize("case", ["input", "turned"])
def test_a_sharded_volume_with_channels_is_transformed_too(tmp_path, case):
    values = np.random.default_rng(9).integers(1, 60000, (60, 56, 24, 2), "uint16")
    sharding = {"@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 1, "hash": "identity", "minishard_bits": 2,
                "shard_bits": 2, "data_encoding": "gzip", "minishard_index_encoding": "raw"}  # fmt: skip
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{tmp_path}/img/"},
        "multiscale_metadata": {"data_type": "uint16", "num_channels": 2, "type": "image"},
        "scale_metadata": {"size": [60, 56, 24], "voxel_offset": [26, 30, 14], "resolution": [4, 4, 40],
                           "chunk_size": [16, 12, 8], "encoding": "raw", "sharding": sharding},
    }  # fmt: skip
    tensorstore.open(spec, create=True).result().write(values).result()
    transform, resolution = PRECOMPUTED[case]
    write_state(tmp_path, {"url": f"precomputed://file://{tmp_path}/img", "transform": transform})
    space = shown(transform, list("xyz"), [4, 4, 40])
    linear, translation = to_xyz(space)
    spots = [tuple(linear @ ([26, 30, 14] + np.multiply(part, [60, 56, 24])) + translation) for part in PARTS]
    arrays = {"img": {"layer": "img"}, "mask": {"layer": "img", "transform": {"threshold": 30000}}}
    found = windows(tmp_path, resolution, spots, arrays=arrays)
    masks = zarr.open_group(str(tmp_path / "out/train.zarr"), mode="r")
    masks = dict(zip(masks["annotation_id"][:], masks["mask"][:]))
    for i, spot in enumerate(spots):
        channels = [values[..., c] for c in range(2)]
        wanted = np.concatenate([expected(spot, resolution, space, v, [26, 30, 14]) for v in channels])
        np.testing.assert_array_equal(found[i], wanted)
        np.testing.assert_array_equal(masks[i], wanted >= 30000)


REFUSED = {
    "rotation": ({"outputDimensions": dims(4, 4, 40), "matrix": [[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0]]},
                 ["transform.matrix[0]", "rotation"]),
    "mirror": ({"outputDimensions": dims(4, 4, 40), "matrix": moved(0, 0, 0, scale=(1, -1, 1))},
               ["transform.matrix[1]", "mirrors"]),
    "shear": ({"outputDimensions": dims(4, 4, 40), "matrix": [[1, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 1, 0]]},
              ["transform.matrix[0]", "shear"]),
    "half_a_voxel": ({"outputDimensions": dims(4, 4, 40), "matrix": moved(0, 0.5, 0)},
                     ["transform.matrix", "0.5 voxels along y", "whole voxels"]),
    "no_length": ({"inputDimensions": {a: [1, ""] for a in "xyz"}, "outputDimensions": dims(4, 4, 40)},
                  ["transform.inputDimensions.x", "length"]),
    "other_names": ({"inputDimensions": dims(8, 8, 40, "abc"), "outputDimensions": dims(4, 4, 40)},
                    ["transform.inputDimensions", "`a`, `b`, `c`"]),
    "other_resolution": ({"inputDimensions": dims(8, 8, 40), "outputDimensions": dims(8, 8, 40)},
                         ["`transform`", "[8.0, 8.0, 40.0], [16.0, 16.0, 40.0]"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_unsupported_transform_is_an_error_with_the_reason(tmp_path, layer, case):
    transform, words = REFUSED[case]
    write_state(tmp_path, {"url": f"precomputed://file://{layer[0]}", "transform": transform})
    config = write_config(tmp_path, [4, 4, 40])
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=2 if case == "other_resolution" else 1)
    for word in ["state.json", "`img`", *words]:
        assert word in message, message


ZYX = dims(50, 6, 5, "zyx")


@pytest.mark.parametrize("kind", ["v2 unnamed", "v3 unnamed", "v3 named", "v2 named"])
def test_dimensions_of_a_zarr_array_are_in_its_own_order(tmp_path, kind):
    values = voxels(24, 56, 60)
    version, named = int(kind[1]), kind.endswith(" named")
    options = {"dimension_names": list("zyx")} if named and version == 3 else {}
    attributes = {"_ARRAY_DIMENSIONS": list("zyx")} if named and version == 2 else {}
    zarr.create_array(
        str(tmp_path / "img"), data=values, chunks=(8, 16, 16), zarr_format=version, attributes=attributes, **options
    )
    names = list("zyx") if named else [f"d{d}" if version == 2 else f"dim_{d}" for d in range(3)]
    transform = {
        "inputDimensions": dict(zip(names, ZYX.values())), "outputDimensions": dims(25, 12, 5, "zyx"),
        "matrix": moved(4, 3, -2),
    }  # fmt: skip
    write_state(tmp_path, {"url": f"zarr://file://{tmp_path}/img", "transform": transform})
    space = shown(transform, names, [1, 1, 1])
    check(tmp_path, [5, 6, 50], space, values, [0, 0, 0])


def test_an_ome_zarr_image_keeps_its_own_offset(tmp_path):
    values = voxels(24, 56, 60)
    image = zarr.create_group(str(tmp_path / "img"), zarr_format=2)
    image.create_array("0", data=values, chunks=(8, 16, 16))
    scale = {"type": "scale", "scale": [40.0, 4.0, 4.0]}
    translation = {"type": "translation", "translation": [80.0, 12.0, 20.0]}
    image.attrs["multiscales"] = [{
        "version": "0.4", "axes": [{"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"],
        "datasets": [{"path": "0", "coordinateTransformations": [scale, translation]}],
    }]  # fmt: skip
    transform = {"inputDimensions": ZYX, "outputDimensions": dims(50, 6, 5, "zyx"), "matrix": moved(1, 2, 3)}
    write_state(tmp_path, {"url": f"zarr2://file://{tmp_path}/img/", "transform": transform})
    check(tmp_path, [5, 6, 50], shown(transform, list("zyx"), [40, 4, 4]), values, [2, 3, 5])


def test_dimensions_of_an_n5_dataset_are_in_its_own_order(tmp_path):
    values = voxels(60, 56, 24)
    spec = {
        "driver": "n5", "kvstore": {"driver": "file", "path": f"{tmp_path}/img/"},
        "metadata": {"dimensions": list(values.shape), "blockSize": [16, 16, 8], "dataType": "uint16",
                     "compression": {"type": "raw"}},
    }  # fmt: skip
    tensorstore.open(spec, create=True).result().write(values).result()
    transform = {"inputDimensions": dims(5, 6, 50), "outputDimensions": dims(5, 6, 50), "matrix": moved(3, 2, 1)}
    write_state(tmp_path, {"url": f"n5://file://{tmp_path}/img", "transform": transform})
    check(tmp_path, [5, 6, 50], shown(transform, list("xyz"), [1, 1, 1]), values, [0, 0, 0])


ANNOTATIONS = {
    "output_alone": {"outputDimensions": dims(4, 5, 40)},
    "input": {"inputDimensions": dims(8, 4, 40), "outputDimensions": dims(4, 5, 40)},
    "moved": {"inputDimensions": dims(8, 4, 40), "outputDimensions": dims(4, 5, 40),
              "matrix": moved(1.25, -3, 2, scale=(2, 0.5, 1))},
    "swapped": {"outputDimensions": dims(4, 5, 40), "matrix": SWAP},
    "turned": {"outputDimensions": dims(40, 4, 5), "matrix": TURN},
    "renamed": {"outputDimensions": dims(40, 5, 4, "zyx")},
}  # fmt: skip
SPOTS = {1: (10.0, 20.0, 3.0), 2: (30.5, 11.25, 7.0), 3: (-4.0, 2.0, 9.5)}


def written_points(folder):
    """A precomputed layer of points, written by the specification."""
    (folder / "points/s0").mkdir(parents=True)
    low, high = np.min(list(SPOTS.values()), 0), np.max(list(SPOTS.values()), 0)
    info = {
        "@type": "neuroglancer_annotations_v1", "dimensions": dims(4, 4, 40), "annotation_type": "POINT",
        "lower_bound": low.tolist(), "upper_bound": high.tolist(), "properties": [], "relationships": [],
        "by_id": {"key": "by_id"},
        "spatial": [{"key": "s0", "grid_shape": [1, 1, 1], "chunk_size": (high - low).tolist(), "limit": 3}],
    }  # fmt: skip
    (folder / "points/info").write_text(json.dumps(info))
    cell = struct.pack("<Q", len(SPOTS)) + np.array(list(SPOTS.values()), "<f4").tobytes()
    (folder / "points/s0/0_0_0").write_bytes(cell + np.array(list(SPOTS), "<u8").tobytes())
    return f"precomputed://file://{folder}/points"


@pytest.mark.parametrize("case", ANNOTATIONS)
@pytest.mark.parametrize("kind", ["local", "precomputed"])
def test_points_are_where_neuroglancer_shows_them(tmp_path, case, kind):
    transform = ANNOTATIONS[case]
    if kind == "local":
        url, space = "local://annotations", shown_locally(transform)
    else:
        url, space = written_points(tmp_path), shown(transform, list("xyz"), [4, 4, 40])
    rows = [{"type": "point", "id": str(i), "point": p} for i, p in SPOTS.items()]
    notes = {"type": "annotation", "name": "notes", "source": [{"url": url, "transform": transform}]}
    if kind == "local":
        notes["annotations"] = rows
    write_state(tmp_path, write_huge_empty_layer(tmp_path / "everywhere", [4, 4, 40]), layers=[notes])
    linear, translation = to_xyz(space)
    config = write_config(tmp_path, [4, 4, 40], points={"layer": "notes"}, layers=EMPTY)
    pointshard("preprocess", config, "--out", tmp_path / "out", "--threads", "1")
    group = zarr.open_group(str(tmp_path / "out/train.zarr"), mode="r")
    found = dict(zip((int(i) for i in group["annotation_id"][:]), group["center_nm"][:]))
    for i, spot in SPOTS.items():
        np.testing.assert_allclose(found[i], linear @ spot + translation, atol=1e-9)


@pytest.mark.parametrize("case", ANNOTATIONS)
def test_boxes_are_where_neuroglancer_shows_them(tmp_path, case):
    transform = ANNOTATIONS[case]
    linear, translation = to_xyz(shown_locally(transform))
    a, b = np.array([10.5, 20, 3]), np.array([4, 40, 9.5])
    corners = np.sort([linear @ a + translation, linear @ b + translation], 0)
    boxes = {"url": "local://annotations", "transform": transform}
    write_state(tmp_path, write_huge_empty_layer(tmp_path / "everywhere", [4, 4, 40]), boxes=boxes)
    state = json.loads((tmp_path / "state.json").read_text())
    (box,) = state["layers"][1]["annotations"]
    box.update(pointA=a.tolist(), pointB=b.tolist())
    (tmp_path / "state.json").write_text(json.dumps(state))
    config = write_config(tmp_path, [4, 4, 40], spots=[(corners[0] + corners[1]) / 2], layers=EMPTY)
    pointshard("preprocess", config, "--out", tmp_path / "out", "--threads", "1")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    (entry,) = manifest["boxes"]
    np.testing.assert_allclose([entry["min_nm"], entry["max_nm"]], corners, atol=1e-9)


def test_a_viewer_state_may_be_the_collection(tmp_path, layer):
    write_state(tmp_path, f"precomputed://file://{layer[0]}")
    space = shown(None, list("xyz"), [4, 4, 40])
    check(tmp_path, [4, 4, 40], space, layer[1], [26, 30, 14], collection="state.json")


def test_a_single_layer_as_collection_has_no_layers_to_cut_windows_from(tmp_path, layer):
    write_state(tmp_path, f"precomputed://file://{layer[0]}")
    state = json.loads((tmp_path / "state.json").read_text())
    (tmp_path / "layer.json").write_text(json.dumps(state["layers"][1]))
    for collection in ["layer.json", {"neuroglancer_state": {"source": "layer.json"}}]:
        message = error_message("preprocess", write_config(tmp_path, [4, 4, 40], collection=collection), "--out",
                          tmp_path / "out", code=2)  # fmt: skip
        for word in ["no layer `img`", "it has `boxes`", "`arrays.img.layer`"]:
            assert word in message, message


def test_a_volume_as_points_and_points_as_volume_are_errors(tmp_path, layer):
    notes = {"type": "annotation", "name": "notes", "source": written_points(tmp_path)}
    write_state(tmp_path, f"precomputed://file://{layer[0]}", layers=[notes])
    config = write_config(tmp_path, [4, 4, 40], points={"layer": "img"})
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=1)
    for word in ["img/info", "a volume", "an annotation layer", "`points.layer`", "`arrays.NAME.layer`"]:
        assert word in message, message
    config = write_config(tmp_path, [4, 4, 40], arrays={"img": {"layer": "notes"}})
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=1)
    for word in ["points/info", "an annotation layer", "expected a volume", "`arrays.NAME.layer`", "`notes`"]:
        assert word in message, message
    config = write_config(tmp_path, [4, 4, 40], arrays={"img": {"layer": "boxes"}})
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=1)
    for word in ["`boxes`", "annotations", "viewer state", "`arrays.NAME.layer`"]:
        assert word in message, message


def test_a_layer_alone_is_read_as_zetta_utils_reads_it(shared, tmp_path):
    """The lines of a bare layer, in voxels of 8, 8, 40 nm, whose dimensions are called 0, 1, 2."""
    path = shared / "data/zetta/gt_layer_json/gt_lines.json"
    lines = json.loads(path.read_text())["annotations"]
    write_precomputed(tmp_path / "img", np.ones((200, 200, 40), np.uint8), (64, 64, 320), (0, 0, 0))
    boxes = [{"min": [0, 0, 0], "max": [20000, 20000, 20000], "tags": ["train"]}]
    config = {
        "collection": {"boxes": {"list": boxes, "layers": {"img": "precomputed://./img"}}},
        "resolution": [64, 64, 320], "window": [2, 2, 2], "points": {"neuroglancer_state": {"source": str(path)}},
        "arrays": {"img": {"layer": "img"}}, "splits": {"train": ["train"]}, "leaks": "allow",
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    pointshard("preprocess", tmp_path / "config.json", "--out", tmp_path / "out")
    group = zarr.open_group(tmp_path / "out/train.zarr", mode="r")
    found = dict(zip(group["annotation_id"][:].tolist(), group["center_nm"][:].tolist()))
    wanted = {int(a["id"]): np.mean([a["pointA"], a["pointB"]], axis=0) * (8, 8, 40) for a in lines}
    assert len(lines) == 61 and set(found) == set(wanted)
    assert all(np.allclose(found[i], wanted[i]) for i in wanted)
