"""Sources on a folder whose operations wait, as on NFS or Lustre: many reads are in progress at a time, and no name is searched
for each chunk."""

import gzip
import json
import warnings

import numpy as np
import pytest
from late_folder import LateFolder, is_available
from one_array_job import RESOLUTION
from program import VNC, file_digests, manifest, pointshard, vnc_config
from volumes import write_precomputed

DELAY_S = 0.02


@pytest.fixture
def mounted(tmp_path):
    """A function that mounts a folder; `None` where that is not possible."""
    folders = []

    def mount(folder):
        if not is_available():
            warnings.warn("FUSE cannot be used here: network file systems are not tested", stacklevel=1)
            return None
        folders.append(LateFolder(folder, tmp_path / f"mount{len(folders)}", DELAY_S))
        return folders[-1]

    yield mount
    for folder in folders:
        folder.stop()


def run(folder, source, collection):
    """Runs the job of `collection` with its layers below `source`."""
    rows = json.loads(collection.read_text())
    for layer in rows["layers"]:
        layer["source"] = f"precomputed://file://{source}/{layer['name']}"
    folder.mkdir()
    (folder / "collection.json").write_text(json.dumps(rows))
    config = vnc_config(folder, collection="collection.json")
    pointshard("preprocess", config, "--out", folder / "out", "--threads", 2)
    return folder / "out"


def shards(out):
    return {name: digest for name, digest in file_digests(out).items() if "/c." in name}


def test_many_files_are_read_at_a_time(tmp_path, mounted):
    late = mounted(VNC)
    expected = shards(run(tmp_path / "local", VNC, VNC / "collection.json"))
    if late is None:
        return
    assert shards(run(tmp_path / "late", late.mount, VNC / "collection.json")) == expected
    assert late.most_at_once("open") > 16
    # No file is opened twice in a pass: one chooses codecs, the other one cuts windows.
    opened = [path for name, path in late.operations() if name == "open"]
    assert max(map(opened.count, opened)) <= 2


def test_many_files_of_an_output_are_looked_up_at_a_time(vnc, mounted):
    late = mounted(vnc)
    if late is None:
        return
    pointshard("check", late.mount, "--quick", "--threads", 1)
    in_group = [path for name, path in late.operations() if name == "lookup" and "/train.zarr/img/c." in path]
    assert len(in_group) == len(set(in_group)) == 7
    assert late.most_at_once("lookup", "/train.zarr/img/c.") > 4


def test_the_suffix_of_chunk_files_is_not_searched_for_each_chunk(tmp_path, mounted):
    """600 chunks that cloud-volume's suffix follows; each would be looked up twice."""
    values = np.random.default_rng(5).integers(1, 255, (240, 240, 24), dtype=np.uint8)
    layer = tmp_path / "data/img"
    write_precomputed(layer, values, RESOLUTION, (0, 0, 0), chunk=(16, 16, 8))
    chunks = [path for path in layer.rglob("*_*_*") if "-" in path.name]
    assert len(chunks) == 675
    for path in chunks:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    late = mounted(tmp_path / "data")
    corner = {"pointA": [0, 0, 0], "pointB": [1e6, 1e6, 1e6]}
    box = {"type": "axis_aligned_bounding_box", **corner, "id": "b", "layer_group": "g", "collection": "c", "tags": ["train"]}
    collection = {
        "collections": [{"id": "c", "name": "c"}],
        "layer_groups": [{"id": "g", "name": "g", "collection": "c", "layers": ["l"]}],
        "layers": [{"id": "l", "name": "img", "source": f"precomputed://file://{late.mount if late else tmp_path / 'data'}/img"}],
        "annotations": [box],
    }
    (tmp_path / "collection.json").write_text(json.dumps(collection))
    voxels = [(30 + 45 * (i % 5), 30 + 45 * (i // 5), 12) for i in range(25)]
    rows = [",".join(map(str, [i, *np.multiply(v, RESOLUTION)])) for i, v in enumerate(voxels)]
    (tmp_path / "points.csv").write_text("\n".join(["id,x,y,z", *rows]))
    job = {
        "collection": "collection.json",
        "resolution": RESOLUTION,
        "window": (48, 48, 16),
        "points": {"table": {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}},
        "arrays": {"img": {"layer": "img", "codec": "none"}},
        "splits": {"train": ["train"]},
        "leaks": "allow",
    }
    (tmp_path / "config.json").write_text(json.dumps(job))
    pointshard("preprocess", tmp_path / "config.json", "--out", tmp_path / "out")
    pointshard("check", tmp_path / "out")
    assert manifest(tmp_path / "out")["splits"]["train"]["samples"] == 25
    if late is None:
        return
    looked_up = [path for name, path in late.operations() if name == "lookup" and "-" in path.rsplit("/", 1)[1]]
    with_suffix = {path for path in looked_up if path.endswith(".gz")}
    without = [path for path in looked_up if not path.endswith(".gz")]
    assert len(with_suffix) > 400
    # Those whose reading began before the first one was found.
    assert len(without) < len(with_suffix) / 2
