"""Jobs on one array that the test writes; windows are compared with those that numpy cuts."""

import json

import numpy as np
import zarr
from program import error_message, pointshard
from volumes import first_voxel

RESOLUTION, WINDOW = (4.0, 4.0, 40.0), (8, 8, 4)
# Along x, y, z: three different lengths, so that swapped axes are detected.
SHAPE = (40, 36, 12)
# Voxels of the array, x y z, at the centres of windows: inside, and at every side.
VOXELS = ((20, 18, 6), (11, 22, 5), (0, 0, 0), (39, 35, 11))


def voxels(dtype="uint16", shape=SHAPE):
    """Values [x, y, z] in which all rows differ."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    values = 1 + x + 40 * y + 1440 * z
    if np.dtype(dtype) == np.bool_:
        return (values * 7919 % 5 < 2).astype(dtype)
    return (values % 251 - (100 if np.dtype(dtype).kind == "i" else 0)).astype(dtype)


def job(folder, source, origin=(0, 0, 0), resolution=RESOLUTION, layer=None):
    """A config of a job on the array `source`, with points around the voxels VOXELS of an array at `origin` (voxels)."""
    corner = {"pointA": [-1e7] * 3, "pointB": [1e7] * 3}
    box = {"type": "axis_aligned_bounding_box", **corner, "id": "b", "layer_group": "g", "collection": "c", "tags": ["train"]}
    collection = {
        "collections": [{"id": "c", "name": "c"}],
        "layer_groups": [{"id": "g", "name": "g", "collection": "c", "layers": ["l"]}],
        "layers": [{"id": "l", "name": "img", "source": str(source)}],
        "annotations": [box],
    }
    (folder / "collection.json").write_text(json.dumps(collection))
    rows = [",".join(map(str, [i, *point])) for i, point in enumerate(points(origin, resolution))]
    (folder / "points.csv").write_text("\n".join(["id,x,y,z", *rows]))
    config = {
        "collection": "collection.json",
        "resolution": resolution,
        "window": WINDOW,
        "points": {"table": {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}},
        "arrays": {"img": {"layer": "img"}},
        "splits": {"train": ["train"]},
        "layers": {"img": layer} if layer else None,
    }
    path = folder / "config.json"
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return path


def points(origin, resolution):
    """The centres of the voxels VOXELS, in nm."""
    return [[(o + v + 0.5) * r for o, v, r in zip(origin, voxel, resolution)] for voxel in VOXELS]


def check_windows(folder, source, volume, **about):
    """The job's windows equal those of `volume` (a Volume). `options` are further arguments of `job`."""
    config = job(folder, source, volume.origin, volume.resolution, **about)
    pointshard("preprocess", config, "--out", folder / "out", "--threads", "1", "--quiet")
    group = zarr.open_group(folder / "out/train.zarr", mode="r")
    windows, ids = group["img"][:], group["annotation_id"][:]
    assert sorted(ids) == list(range(len(VOXELS)))
    centers = points(volume.origin, volume.resolution)
    for annotation_id, window in zip(ids, windows):
        start = first_voxel(centers[annotation_id], volume.resolution, WINDOW)
        expected = volume.cut(start, WINDOW).astype(windows.dtype)
        np.testing.assert_array_equal(window, expected, err_msg=f"annotation {annotation_id}")


def job_error(folder, source, code=None, **about):
    """The error message of the job, which must fail."""
    config = job(folder, source, **about)
    for code in [code] if code else [1, 2]:
        try:
            return error_message("preprocess", config, "--out", folder / "out", "--threads", "1", code=code)
        except AssertionError as wrong:
            if "exit code" not in str(wrong) or code == 2:
                raise
    raise AssertionError("unreachable")
