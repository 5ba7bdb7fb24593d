"""`check --source` cuts samples again from their sources, without the code of the job, and finds a single changed voxel."""

import json

import numpy as np
import pytest
from program import pointshard, vnc_config

RESOLUTION, SIZE, CHUNK = (8, 8, 40), (48, 40, 24), (16, 16, 8)
POINTS = [(12, 20, 9), (30, 11, 14), (2, 3, 1), (47, 39, 23), (24, 20, 12)]
VOXEL = (12, 20, 9)


def write_layer(folder, values, missing=()):
    """A precomputed layer of `values` [x, y, z]; chunks that begin at the voxels `missing` are not stored."""
    scale = {"key": "s", "resolution": RESOLUTION, "size": SIZE, "voxel_offset": [0, 0, 0]}
    scale |= {"chunk_sizes": [CHUNK], "encoding": "raw"}
    (folder / "layer/s").mkdir(parents=True, exist_ok=True)
    info = {"type": "image", "data_type": values.dtype.name, "num_channels": 1, "scales": [scale]}
    (folder / "layer/info").write_text(json.dumps(info))
    for start in np.ndindex(*(-(-n // c) for n, c in zip(SIZE, CHUNK))):
        low = [s * c for s, c in zip(start, CHUNK)]
        high = [min(at + c, n) for at, c, n in zip(low, CHUNK, SIZE)]
        name = "_".join(f"{a}-{b}" for a, b in zip(low, high))
        chunk = values[tuple(slice(a, b) for a, b in zip(low, high))]
        if tuple(low) not in missing:
            (folder / "layer/s" / name).write_bytes(chunk.tobytes("F"))


def write_job(folder, array, **changes):
    rows = "".join(f"{i},{','.join(str((v + 0.5) * r) for v, r in zip(p, RESOLUTION))}\n" for i, p in enumerate(POINTS))
    (folder / "points.csv").write_text("id,x,y,z\n" + rows)
    high = [n * r for n, r in zip(SIZE, RESOLUTION)]
    boxes = [{"id": "b", "min": [0, 0, 0], "max": high, "tags": ["train"]}]
    config = {
        "collection": {"boxes": {"list": boxes, "layers": {"layer": "precomputed://./layer"}}},
        "resolution": RESOLUTION,
        "window": [8, 8, 4],
        "points": {"table": {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}},
        "arrays": {"a": {"layer": "layer", **array}},
        "splits": {"train": ["train"]},
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "config.json"


def check(out, *arguments, code=0):
    return json.loads(pointshard("check", out, "--source", "--json", *arguments, code=code).stdout)


def coarse(factors):
    """A window at voxels that are larger by these factors than those of the layer."""
    resolution = [r * f for r, f in zip(RESOLUTION, factors)]
    return {"resolution": resolution, "window": [4, 4, 4]}


def data(interpolation):
    return {"data_resolution": RESOLUTION, "interpolation": interpolation}


# Data type of the layer, array, job.
CASES = {
    "as it is": ("uint8", {}, {}),
    "wide": ("uint64", {}, {}),
    "signed, as float": ("int16", {"dtype": "float32"}, {}),
    "float": ("float32", {}, {}),
    "x, y, z": ("uint16", {}, {"axis_order": "cxyz"}),
    "with a fill value": ("uint8", {"fill": 7}, {}),
    "nonzero": ("uint32", {"transform": "nonzero"}, {}),
    "equals": ("uint8", {"transform": {"equals": 41}}, {}),
    "in": ("uint8", {"transform": {"in": list(range(0, 256, 2))}}, {}),
    "threshold": ("float32", {"transform": {"threshold": 100.5}}, {}),
    "scale": ("uint8", {"transform": {"scale": {"multiply": 0.25, "add": -3}}}, {}),
    "scale to integers": ("uint8", {"transform": {"scale": {"multiply": 0.5}}, "dtype": "int16"}, {}),
    "nearest": ("uint8", data("nearest"), coarse((1.5, 1.5, 1))),
    "mean": ("uint8", data("area"), coarse((2, 2, 1))),
    "truncated mean": ("uint16", data({"area": {"rounding": "truncate"}}), coarse((2, 3, 1))),
    "mean of floats": ("float32", data("area"), coarse((1.25, 2, 1))),
    "linear": ("uint8", data("linear"), coarse((0.5, 0.75, 1))),
    "any": ("uint8", {**data("any"), "transform": "nonzero"}, coarse((2, 2, 2))),
    "majority of squares": ("uint64", data("majority"), coarse((2, 2, 1))),
    "majority of cubes": ("uint64", data("majority"), coarse((2, 2, 2))),
    "majority in steps": ("uint32", data("majority"), coarse((4, 4, 2))),
    "majority by volume": ("uint8", data("majority"), coarse((3, 2, 1))),
}


def values_of(data_type, seed=1):
    """Labels: few different values, so that they have majorities; some are 0."""
    labels = np.random.default_rng(seed).integers(0, 12, SIZE)
    noise = np.random.default_rng(seed + 1).integers(0, 30, SIZE)
    return (labels * 20 + noise % 2).astype(data_type) if data_type != "float32" else (labels * 20 + noise / 7).astype(data_type)


@pytest.mark.parametrize("case", CASES)
def test_samples_are_equal_to_their_source_until_it_changes(tmp_path, case):
    data_type, array, changes = CASES[case]
    values = values_of(data_type)
    write_layer(tmp_path, values, missing=[(32, 0, 8)])
    out = tmp_path / "out"
    pointshard("preprocess", write_job(tmp_path, array, **changes), "--out", out)
    # Neither config nor annotations are needed.
    (tmp_path / "config.json").unlink()
    (tmp_path / "points.csv").unlink()
    report = check(out)
    assert report["ok"] and not [f for f in report["findings"] if f["kind"] == "source"]
    # A change that no transform or interpolation hides: all voxels near the first point.
    near = tuple(slice(v - 3, v + 3) for v in VOXEL)
    values[near] = 0 if case == "any" else np.where(values[near] > 41, 0, 200).astype(data_type)
    write_layer(tmp_path, values, missing=[(32, 0, 8)])
    report = check(out, code=1)
    (finding,) = [f for f in report["findings"] if f["kind"] == "source"]
    assert not report["ok"] and finding["file"] == "train.zarr/a" and 0 in ids(out, finding["samples"])
    assert 3 not in ids(out, finding["samples"])
    # A repair would mix voxels of both sources.
    assert "--repair" not in pointshard("check", out, "--source", code=1).stdout


def ids(out, samples):
    import zarr

    column = zarr.open_group(out / "train.zarr", mode="r")["annotation_id"][:]
    return {int(column[i]) for i in samples}


def test_one_voxel_is_named_with_both_values(tmp_path):
    values = values_of("uint8")
    write_layer(tmp_path, values)
    out = tmp_path / "out"
    pointshard("preprocess", write_job(tmp_path, {}), "--out", out)
    before = int(values[VOXEL])
    values[VOXEL] = 199
    write_layer(tmp_path, values)
    (finding,) = check(out, code=1)["findings"]
    # The window begins at ceil(12.5 - 4), ceil(20.5 - 4), ceil(9.5 - 2).
    assert ids(out, finding["samples"]) == {0}
    assert f"voxel 3, 3, 1 (x, y, z) of the window is {before}, expected 199" in finding["message"]


def test_random_samples_are_compared(tmp_path):
    write_layer(tmp_path, values_of("uint8"))
    out = tmp_path / "out"
    pointshard("preprocess", write_job(tmp_path, {}), "--out", out)
    assert "2 windows compared" in pointshard("check", out, "--source", "--sample", 2).stderr
    assert "5 windows compared" in pointshard("check", out, "--source").stderr
    write_layer(tmp_path, values_of("uint8", seed=9))
    found = [check(out, "--sample", 1, "--seed", seed, code=1)["findings"][0]["samples"] for seed in range(12)]
    assert {len(samples) for samples in found} == {1} and len({samples[0] for samples in found}) > 2


def test_masks_of_objects_and_of_the_inside_are_equal_to_their_source(tmp_path, shared):
    arrays = {
        "img": {"layer": "img"},
        "pre": {"layer": "label0", "transform": {"object_at": {"point": "start", "radius_nm": 400, "missing": "keep"}}},
        "inside": {"layer": "img", "transform": "inside"},
        "inside_coarse": {"layer": "img", "transform": "inside", "data_resolution": [9.2, 9.2, 45.0], "interpolation": "nearest"},
    }
    out = tmp_path / "out"
    pointshard("preprocess", vnc_config(tmp_path, arrays=arrays, points={"layer": "lines"}), "--out", out)
    report = check(out)
    assert report["ok"] and report["checked"]["samples"] > 10


def test_a_dataset_without_its_sources_or_with_damage_is_not_compared(tmp_path):
    write_layer(tmp_path, values_of("uint8"))
    out = tmp_path / "out"
    pointshard("preprocess", write_job(tmp_path, {}), "--out", out)
    (tmp_path / "layer").rename(tmp_path / "elsewhere")
    said = pointshard("check", out, "--source", code=1).stderr
    assert str(tmp_path / "layer") in said and "put it back, or make a link there" in said
    (tmp_path / "layer").symlink_to(tmp_path / "elsewhere")
    pointshard("check", out, "--source")
    (out / "train.zarr/box/c.0").unlink()
    said = pointshard("check", out, "--source", code=1).stderr
    assert "not compared, because the dataset is damaged" in said
