"""Windows that extend past a layer are counted; a layer that no window touches, or boxes without annotations, are errors."""

import json
import struct

import numpy as np
import pytest
import tensorstore
import zarr
from program import error_message, manifest, pointshard
from readers import with_zarr
from volumes import write_precomputed

NM = np.array([4.0, 4.0, 40.0])
START, SIZE = np.array([3000, 2000, 400]), np.array([60, 50, 24])
LOW, HIGH = START * NM, (START + SIZE) * NM
FORMATS = ["precomputed", "zarr2", "zarr3", "n5"]


def write_layer(folder, kind, start, scales=()):
    """A layer of ones with its first voxel at `start`: its source and its entry in the config."""
    values = np.ones(SIZE, np.uint8)
    if kind == "precomputed":
        write_precomputed(folder, values, NM, [int(v) for v in start], chunk=(16, 16, 8))
        for i, (resolution, offset) in enumerate(scales, 1):
            write_precomputed(folder, values[: 30 * i], resolution, offset, chunk=(16, 16, 8))
        return f"precomputed://file://{folder}", {}
    says = {"resolution": list(NM), "voxel_offset": [int(v) for v in start]}
    if kind == "n5":
        spec = {
            "driver": "n5",
            "kvstore": {"driver": "file", "path": f"{folder}/"},
            "metadata": {"dataType": "uint8", "dimensions": SIZE.tolist(), "blockSize": [16, 16, 8], "axes": ["x", "y", "z"]},
        }
        tensorstore.open(spec, create=True).result().write(values).result()
        return f"n5://file://{folder}", says
    array = zarr.create_array(
        folder, shape=tuple(SIZE), chunks=(16, 16, 8), dtype="u1", zarr_format=int(kind[-1]), fill_value=0
    )
    array[:] = values
    return f"{kind}://file://{folder}", says | {"axes": "xyz"}


def write_job(folder, sources, points, box, **changes):
    """A job on one box with these points (or a `points` of the config)."""
    layers = [{"id": f"l{i}", "name": name, "source": source} for i, (name, source) in enumerate(sources.items())]
    low, high = (list(map(float, corner)) for corner in box)
    rows = {
        "collections": [{"id": "c", "name": "c"}],
        "layer_groups": [{"id": "g", "name": "g", "collection": "c", "layers": [layer["id"] for layer in layers]}],
        "layers": layers,
        "annotations": [
            {"type": "axis_aligned_bounding_box", "id": "b0", "pointA": low, "pointB": high, "layer_group": "g", "tags": ["train"]}
        ],
    }  # fmt: skip
    (folder / "collection.json").write_text(json.dumps(rows))
    if not isinstance(points, dict):
        table = [f"{i},{x!r},{y!r},{z!r}\n" for i, (x, y, z) in enumerate(np.asarray(points, float).tolist())]
        (folder / "points.csv").write_text("id,x,y,z\n" + "".join(table))
        points = {"table": {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}}
    config = {
        "collection": "collection.json", "resolution": NM.tolist(), "window": [8, 8, 4], "points": points,
        "arrays": {name: {"layer": name} for name in sources}, "splits": {"train": ["train"]}, **changes,
    }  # fmt: skip
    path = folder / "config.json"
    path.write_text(json.dumps({key: value for key, value in config.items() if value != {}}))
    return path


def positions():
    """Positions in nm inside the layer, away from its faces."""
    return LOW + np.random.default_rng(5).uniform(0.2, 0.8, (25, 3)) * (HIGH - LOW)


def is_refused(folder, config, *words):
    """`preprocess`, `--dry-run` and `plan` all fail with this error and exit code 1, and no dataset is written."""
    out = folder / "out"
    messages = {
        error_message("preprocess", config, "--out", out, code=1),
        error_message("preprocess", config, "--out", out, "--dry-run", code=1),
        error_message("plan", config, code=1),
    }
    assert len(messages) == 1 and not out.exists()
    (message,) = messages
    for word in words:
        assert word in message, f"{word}: {message}"
    return message


POSITIONS = {
    "um": (lambda p: p / 1e3, ["multiplied by 1,000", "um, read as nm", "`points.table.unit`", "`collection`"]),
    "m": (lambda p: p / 1e9, ["multiplied by 1,000,000,000", "probably m, read as nm"]),
    "nm for um": (lambda p: p * 1e3, ["divided by 1,000:", "nm, read as um"]),
    "voxels": (lambda p: p / NM, ["multiplied by 4, 4, 40", "voxels of 4 x 4 x 40 nm, read as nm", "`points.table.unit`"]),
    "nm times voxels": (lambda p: p * NM, ["divided by 4, 4, 40", "nm, read as voxels"]),
    "zyx": (lambda p: p[..., ::-1], ["z, y, x", "`points.table.point`"]),
    "yxz": (lambda p: p[..., [1, 0, 2]], ["y, x, z"]),
    "zyx voxels": (lambda p: (p / NM)[..., ::-1], ["z, y, x", "voxels of 4 x 4 x 40 nm"]),
    "counted from the layer": (lambda p: p - LOW, ["offset were 0, 0, 0", "counted from the layer's first voxel"]),
    "elsewhere": (lambda p: p + [7.7e6, 3e6, -1e6], []),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mistake", POSITIONS)
def test_a_layer_that_no_window_touches_is_an_error_with_the_likely_cause(tmp_path, mistake, kind):
    source, says = write_layer(tmp_path / "img", kind, START)
    wrong, words = POSITIONS[mistake]
    points = wrong(positions())
    box = sorted([wrong(LOW), wrong(HIGH)], key=lambda p: p[0])
    config = write_job(tmp_path, {"img": source}, points, box, layers={"img": says} if says else {})
    lies = ["`img`", "(12000, 8000, 16000) to (12240, 8200, 16960) nm", "(3000, 2000, 400) to (3060, 2050, 424)"]
    message = is_refused(tmp_path, config, *lies, *words)
    assert ("likely cause" in message) == bool(words), message


def test_positions_in_voxels_of_another_scale_are_recognised(tmp_path):
    half = [8.0, 8.0, 40.0]
    source, _ = write_layer(tmp_path / "img", "precomputed", START, scales=[(half, [1500, 1000, 400])])
    # Voxels of 8 nm that were used as voxels of 4 nm.
    scaled = lambda p: p / [2, 2, 1]  # noqa: E731
    config = write_job(tmp_path, {"img": source}, scaled(positions()), (scaled(LOW), scaled(HIGH)))
    is_refused(tmp_path, config, "multiplied by 2, 2, 1", "voxels of 8 x 8 x 40 nm, read as voxels of 4 x 4 x 40 nm")


OFFSETS = {
    "missing": (lambda start: start * 0, ["offset is missing"]),
    "nm": (lambda start: start * NM, ["divided by its resolution", "nm, read as voxels"]),
    "thousandfold": (lambda start: start * 1000, ["divided by 1,000"]),
    "zyx": (lambda start: start[::-1], ["z, y, x"]),
}
KEYS = {"precomputed": "`voxel_offset` in the layer's info"}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mistake", OFFSETS)
@pytest.mark.parametrize("transform", ["none", "inside"])
def test_one_layer_with_a_wrong_offset_is_an_error(tmp_path, mistake, kind, transform):
    image, of_image = write_layer(tmp_path / "img", kind, START)
    wrong, words = OFFSETS[mistake]
    label, of_label = write_layer(tmp_path / "lab", kind, wrong(START))
    arrays = {"img": {"layer": "img"}, "target": {"layer": "lab", "transform": transform}}
    says = {"img": of_image, "lab": of_label} if of_image else {}
    config = write_job(
        tmp_path, {"img": image, "lab": label}, positions(), (LOW, HIGH), arrays=arrays, layers=says, outside="drop"
    )
    key = KEYS.get(kind, "`layers.lab.voxel_offset` in the config")
    message = is_refused(tmp_path, config, "layer `lab`", key, *words)
    assert "layer `img`" not in message and "window_leaves_volume" not in message


def annotation_layer(folder, points):
    """A precomputed layer of points in nm whose info has their bounds."""
    low, high = points.min(0).tolist(), (points.max(0) + 1).tolist()
    info = {
        "@type": "neuroglancer_annotations_v1", "annotation_type": "POINT", "properties": [], "relationships": [],
        "dimensions": {axis: [1e-9, "m"] for axis in "xyz"}, "lower_bound": low, "upper_bound": high,
        "by_id": {"key": "by_id"},
        "spatial": [{"key": "spatial0", "grid_shape": [1, 1, 1], "chunk_size": (np.array(high) - low).tolist(), "limit": len(points)}],
    }  # fmt: skip
    (folder / "spatial0").mkdir(parents=True)
    (folder / "info").write_text(json.dumps(info))
    ids = np.arange(len(points), dtype="<u8").tobytes()
    cell = struct.pack("<Q", len(points)) + points.astype("<f4").tobytes() + ids
    (folder / "spatial0/0_0_0").write_bytes(cell)


def state(folder, points):
    rows = [{"type": "point", "id": str(i), "point": p} for i, p in enumerate(points.tolist())]
    nm = {axis: [1e-9, "m"] for axis in "xyz"}
    layer = {"type": "annotation", "name": "synapses", "annotations": rows, "source": {"url": "local://annotations", "transform": {"outputDimensions": nm}}}  # fmt: skip
    (folder / "state.json").write_text(json.dumps({"dimensions": nm, "layers": [layer]}))
    return {"neuroglancer_state": {"source": "state.json"}}


APART = {
    "um": (lambda p: p / 1e3, ["multiplied by 1,000"]),
    "voxels": (lambda p: p / NM, ["multiplied by 4, 4, 40"]),
    "zyx": (lambda p: p[..., ::-1], ["z, y, x"]),
    "elsewhere": (lambda p: p + [7.7e6, 3e6, -1e6], []),
}


@pytest.mark.parametrize("source", ["csv", "state", "layer"])
@pytest.mark.parametrize("mistake", APART)
def test_annotations_outside_all_boxes_are_an_error_with_their_position(tmp_path, mistake, source):
    image, _ = write_layer(tmp_path / "img", "precomputed", START)
    wrong, words = APART[mistake]
    points = wrong(positions())
    sources = {"img": image}
    if source == "csv":
        key = "`points.table."
    elif source == "state":
        points, key = state(tmp_path, points), "viewer state"
    else:
        annotation_layer(tmp_path / "points", points)
        sources["points"] = f"precomputed://file://{tmp_path}/points"
        points, key = {"layer": "points"}, "annotation layer `points`"
    config = write_job(tmp_path, sources, points, (LOW, HIGH), arrays={"img": {"layer": "img"}})
    out = tmp_path / "out"
    message = error_message("preprocess", config, "--out", out, code=1)
    assert not out.exists()
    lies = "the 1 box(es) are at (12000, 8000, 16000) to (12240, 8200, 16960) nm, voxels (3000, 2000, 400)"
    for word in ["no annotation is in any of the 1 box(es)", lies, "the annotations of", *words, *[key] * bool(words)]:
        assert word in message, f"{word}: {message}"
    assert ("likely cause" in message) == bool(words), message
    assert message.split("error: ")[1] in pointshard("plan", config, code=1).stderr


def test_no_cause_is_suggested_if_boxes_are_between_annotations(tmp_path):
    image, _ = write_layer(tmp_path / "img", "precomputed", START)
    points = positions()
    points = points[points[:, 0] < (LOW + 0.3 * (HIGH - LOW))[0]].tolist() + [HIGH - 1]
    box = LOW + 0.45 * (HIGH - LOW), LOW + 0.55 * (HIGH - LOW)
    config = write_job(tmp_path, {"img": image}, points, box)
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=1)
    assert "the annotations of" in message and "likely cause" not in message, message


def inside(start, shape, voxel):
    """The fraction of a window's voxels whose centre is inside the layer."""
    of_axis = []
    for d in range(3):
        centre = (np.arange(start[d], start[d] + shape[d]) + 0.5) * voxel[d]
        of_axis.append(((LOW[d] <= centre) & (centre < HIGH[d])).mean())
    return np.prod(of_axis)


@pytest.mark.parametrize("kind", FORMATS)
def test_padded_windows_are_counted_per_array_and_split(tmp_path, kind):
    image, says = write_layer(tmp_path / "img", kind, START)
    # Points near the faces, some of them outside.
    points = LOW + np.random.default_rng(7).uniform(-0.05, 1.05, (40, 3)) * (HIGH - LOW)
    arrays = {
        "img": {"layer": "img"},
        "wide": {"layer": "img", "window": [21, 13, 5]},
        "coarse": {"layer": "img", "data_resolution": NM.tolist(), "interpolation": "nearest"},
        "mark": {"layer": "img", "transform": "inside"},
        "marked": {"layer": "img", "transform": "inside", "data_resolution": NM.tolist()},
    }
    config = write_job(
        tmp_path, {"img": image}, points, (LOW - 1e3, HIGH + 1e3), arrays=arrays, resolution=[7.0, 6.0, 50.0],
        layers={"img": says} if says else {},
    )  # fmt: skip
    for array in ("img", "wide", "mark"):
        arrays[array] |= {"data_resolution": NM.tolist(), "interpolation": "nearest"}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"arrays": arrays}))
    out = tmp_path / "out"
    done = pointshard("preprocess", config, "--out", out)
    pointshard("check", out)
    group = with_zarr(out, "train")
    counted = {}
    for name in arrays:
        shape = arrays[name].get("window", [8, 8, 4])
        starts = group["wide_start_voxel" if name == "wide" else "start_voxel"][:]
        wanted = np.array([inside(s, shape, [7.0, 6.0, 50.0]) for s in starts])
        shares = group[f"{name}_inside_fraction"]
        assert shares.dtype == np.float32
        np.testing.assert_allclose(shares[:], wanted, rtol=1e-6)
        # The layer has only ones, so zeros are padding.
        np.testing.assert_allclose(group[name][:].mean((1, 2, 3, 4)), wanted, rtol=1e-6)
        counted[name] = {"train": int((wanted < 1).sum())}
        assert 0 < counted[name]["train"] < len(starts)
        summary = next(line for line in done.stdout.splitlines() if line.startswith("padded "))
        entry = next(e for e in summary.split(")") if f"{counted[name]['train']} of 40 in train (" in e)
        assert name in entry.split("(")[1].split(", "), summary
    of_manifest = manifest(out)
    assert {name: a["padded_windows"] for name, a in of_manifest["arrays"].items()} == counted
    plan = pointshard("plan", config, "--json")
    assert json.loads(plan.stdout)["padded_windows"] == counted
    dry = pointshard("preprocess", config, "--out", out, "--dry-run").stdout
    assert f"{counted['wide']['train']} of 40 in train (" in dry
    for name, n in counted.items():
        begin = f"{n['train']} of the 40 windows in the split `train` extend past the layer's volume"
        (warning,) = (w for w in of_manifest["warnings"] if w.startswith(begin) and f"`{name}` (layer `img`)" in w)
        assert warning in done.stderr


def test_a_few_padded_windows_are_counted_without_a_warning(tmp_path):
    image, _ = write_layer(tmp_path / "img", "precomputed", START)
    points = [*positions(), LOW + 1]
    config = write_job(tmp_path, {"img": image}, points, (LOW, HIGH))
    done = pointshard("preprocess", config, "--out", tmp_path / "out")
    assert "padded   1 of 26 in train (img)" in done.stdout and "warning" not in done.stderr
    assert manifest(tmp_path / "out")["warnings"] == []


@pytest.mark.parametrize("kind", FORMATS)
def test_a_layer_without_stored_chunks_needs_empty_allow(tmp_path, kind):
    image, says = write_layer(tmp_path / "img", kind, START)
    label, _ = write_layer(tmp_path / "lab", kind, START)
    # zetta_utils does not store chunks of zeros.
    names = ("info", ".zarray", "zarr.json", "attributes.json", ".zattrs")
    for file in [p for p in (tmp_path / "lab").rglob("*") if p.is_file() and p.name not in names]:
        file.unlink()
    layers = {"img": says, "lab": says} if says else {}
    config = write_job(tmp_path, {"img": image, "lab": label}, positions(), (LOW, HIGH), layers=layers)
    out = tmp_path / "out"
    message = error_message("preprocess", config, "--out", out, code=1)
    assert '"empty": "allow" in `layers.lab`' in message and not (out / "manifest.json").exists(), message
    allowed = layers | {"lab": (says or {}) | {"empty": "allow"}}
    config = write_job(tmp_path, {"img": image, "lab": label}, positions(), (LOW, HIGH), layers=allowed)
    done = pointshard("preprocess", config, "--out", out, "--force")
    pointshard("check", out)
    assert "the layer `lab`" in done.stderr
    group = with_zarr(out, "train")
    assert not group["lab"][:].any() and group["img"][:].all() and (group["lab_inside_fraction"][:] == 1).all()


def test_an_empty_layer_must_still_be_touched_by_a_window(tmp_path):
    image, _ = write_layer(tmp_path / "img", "precomputed", START)
    label, _ = write_layer(tmp_path / "lab", "precomputed", START * 0)
    config = write_job(
        tmp_path, {"img": image, "lab": label}, positions(), (LOW, HIGH), layers={"lab": {"empty": "allow"}}
    )
    is_refused(tmp_path, config, "layer `lab`")
