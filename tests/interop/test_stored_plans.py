"""A stored plan of every kind of job makes the same dataset as its config, after config, collection and annotations are gone."""

import json
import shutil

import pytest
from program import VNC, manifest, pointshard, vnc_collection, vnc_config
from test_protocol import dataset_digests
from test_viewer_states import PRECOMPUTED, voxels, write_config, write_state
from volumes import write_precomputed


def lines_with_objects(folder):
    """Objects at the ends of lines, resampled arrays, arrays with their own window, dropped samples, another axis order."""
    data = {"data_resolution": [4.6, 4.6, 45.0]}
    objects = {"layer": "seg", "interpolation": "nearest", **data}
    arrays = {
        "img": {"layer": "img", "interpolation": "area", "codec": {"blosc": {"shuffle": "bit"}}, **data},
        "pre": {**objects, "transform": {"object_at": {"point": "start", "radius_nm": 50}}},
        "post": {**objects, "transform": {"object_at": {"point": "end", "missing": "keep"}}, "window": [10, 12, 3]},
        "inside": {"layer": "img", "transform": "inside"},
        "scaled": {"layer": "img", "transform": {"scale": {"multiply": 0.1, "add": -3}}, "fill": -0.5, "interpolation": "linear", **data},
    }
    choose = {"max_per_box": 6, "seed": 2**64 - 1}
    collection = vnc_collection(folder)
    config = {"points": {"layer": "lines", "choose": choose}, "arrays": arrays, "resolution": [9.2, 9.2, 45.0]}
    return vnc_config(folder, collection=str(collection), axis_order="cxyz", leaks={"drop_from": "train"}, **config)


def two_layer_groups(folder):
    """A second layer group with other sources of the same layers, and sources with relative paths."""
    for layer in ("img", "label0"):
        shutil.copytree(VNC / layer, folder / "second" / layer)

    def change(rows):
        (group,) = rows["layer_groups"]
        others = {layer["id"]: layer["name"] for layer in rows["layers"]}
        rows["layers"] += [{"id": f"o-{n}", "name": n, "source": f"precomputed://file://./second/{n}"} for n in ("img", "label0")]
        shared = [i for i in group["layers"] if others[i] in ("points", "lines")]
        rows["layer_groups"].append({**group, "id": "second", "layers": [*shared, "o-img", "o-label0"]})
        for box in rows["annotations"][::2]:
            box["layer_group"] = "second"

    arrays = {"img": {"layer": "img", "min_nonzero_fraction": 0.5}, "label": {"layer": "label0", "transform": "nonzero"}}
    return vnc_config(folder, collection=str(vnc_collection(folder, change)), arrays=arrays, flexible_z=True, outside="drop")


def viewer_state(folder):
    """A source with a transform in a viewer state, and points in a table."""
    transform, resolution = PRECOMPUTED["all"]
    write_precomputed(folder / "img", voxels(60, 56, 24), [4, 4, 40], [26, 30, 14], chunk=(16, 12, 8))
    write_state(folder, {"url": "precomputed://file://./img", "transform": transform})
    spots = [(26 * 12 - 40 + 12 * i, 30 * 10 + 40 + 9 * i, 14 * 30 + 30 * i) for i in range(12)]
    return write_config(folder, resolution, spots=spots, shard_samples=5)


@pytest.mark.parametrize("job", [lines_with_objects, two_layer_groups, viewer_state], ids=lambda job: job.__name__)
def test_the_stored_plan_makes_the_same_dataset(tmp_path, job):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    config = job(inputs)
    direct, planned = tmp_path / "direct", tmp_path / "planned"
    pointshard("preprocess", config, "--out", direct)
    assert sum(split["samples"] for split in manifest(direct)["splits"].values()) > 5
    pointshard("plan", config, "--out", planned)
    for path in inputs.iterdir():
        if path.is_file():
            path.unlink()
    pointshard("preprocess", "--out", planned, cwd=tmp_path)
    assert dataset_digests(planned) == dataset_digests(direct)
    pointshard("check", planned)
    header = json.loads((planned / ".pointshard/plan.json").read_text())["contents"]
    assert header["plan_digest"] == manifest(planned)["plan_digest"]
