"""docs/trainers/zetta_windows.py in `zetta run`: samples are those of the dataset, as C X Y Z.

The tests use a stub of zetta_utils. With POINTSHARD_ZETTA=VENV/bin/zetta (and CUE) the spec is also run by zetta_utils.
"""

import importlib
import importlib.util
import json
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from order import shuffled
from program import REPOSITORY, checked_dataset, manifest
from readers import with_zarr
from server_fixtures import require_tool

TRAINERS = REPOSITORY / "docs/trainers"
STUB = Path(__file__).parent / "zetta_stub"
# How to run `zetta`, and the folders of its modules.
ZETTA = {"stub": ([sys.executable, "-m", "zetta_utils"], [STUB])}
if "POINTSHARD_ZETTA" in os.environ:
    ZETTA["zetta_utils"] = ([os.environ["POINTSHARD_ZETTA"]], [])

SAVE_BATCHES = """
import numpy as np
from zetta_utils import builder


@builder.register("save_batches")
def save_batches(path, **loaders):
    batches = {name: list(loader) for name, loader in loaders.items()}
    parts = [(name, i, batch) for name, found in batches.items() for i, batch in enumerate(found)]
    np.savez(path, **{f"{name}/{i}/{key}": values for name, i, batch in parts for key, values in batch.items()})
"""


@pytest.fixture(scope="module", autouse=True)
def torch():
    require_tool(importlib.util.find_spec("torchdata"), "torchdata", "pip install -r tests/interop/requirements-torch.txt")
    return importlib.import_module("torch")


@pytest.fixture
def zetta_windows(monkeypatch):
    """The module, with the stub."""
    monkeypatch.syspath_prepend(str(STUB))
    yield importlib.import_module("zetta_windows")
    for name in [name for name in sys.modules if name.split(".")[0] in ("zetta_utils", "zetta_windows")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def vnc_pair(shared, tmp_path_factory):
    """The same samples with both orders of axes, several boxes, and arrays of two types and sizes."""
    arrays = {"img": {"layer": "img"}, "seg": {"layer": "seg", "window": [16, 8, 4]}}
    return [
        checked_dataset(tmp_path_factory.mktemp(order), arrays=arrays, axis_order=order) / "train.zarr"
        for order in ("czyx", "cxyz")
    ]


def example_spec():
    return json.loads(re.sub(r"(?m)^\s*//.*$", "", (TRAINERS / "zetta_loaders.cue").read_text()))


def xyz(values):
    return np.moveaxis(values, (-1, -2, -3), (-3, -2, -1))


@pytest.mark.parametrize("zetta", ZETTA)
def test_the_example_spec_gives_the_samples_in_zetta_run(zetta, two_channel_shards, tmp_path):
    program, folders = ZETTA[zetta]
    (tmp_path / "shards").symlink_to(two_channel_shards)
    (tmp_path / "save_batches.py").write_text(SAVE_BATCHES)
    (tmp_path / "save_plugin.py").write_text("import save_batches\n")
    (tmp_path / "spec.cue").write_text(json.dumps({"@type": "save_batches", "path": "batches.npz", **example_spec()}))
    path = os.pathsep.join(map(str, [TRAINERS, tmp_path, *folders]))
    plugins = ["-i", TRAINERS / "zetta_plugin.py", "-i", "save_plugin.py"]
    command = [*program, "run", "--no-main-run-process", *plugins, "spec.cue"]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr

    found = {}
    for key, values in np.load(tmp_path / "batches.npz").items():
        loader, _, name = key.split("/")
        found.setdefault((loader, name), []).append(values)
    found = {key: np.concatenate(batches) for key, batches in found.items()}
    train, val = with_zarr(two_channel_shards, "train"), with_zarr(two_channel_shards, "val")
    rows = shuffled(16, 17, 0)
    names = {"data_in": "img", "target": "target_pre", "mask": "target_pre_mask"}
    assert {name for loader, name in found if loader == "train_dataloader"} == set(names)
    for name, array in names.items():
        values = found["train_dataloader", name]
        assert values.dtype == (np.float32 if name == "data_in" else np.uint8)
        np.testing.assert_array_equal(values, xyz(train[array][:][rows]))
    for name in val.attrs["pointshard"]["arrays"]:
        np.testing.assert_array_equal(found["val_dataloader", name], np.concatenate(2 * [xyz(val[name][:])]))


def test_the_plugin_only_imports_because_zetta_run_executes_it_inside_of_a_function():
    code = [line for line in (TRAINERS / "zetta_plugin.py").read_text().splitlines() if line and line[0] != "#"]
    assert all(line.startswith("import ") for line in code)


def test_samples_are_c_x_y_z_in_both_orders_of_axes(zetta_windows, vnc_pair, torch):
    first, second = (zetta_windows.PointshardDataset(str(path)) for path in vnc_pair)
    stored = with_zarr(vnc_pair[0].parent, "train")
    for i, together in zip((3, 0), first.__getitems__([3, 0])):
        assert {name: tuple(v.shape) for name, v in together.items()} == {"img": (1, 32, 32, 8), "seg": (1, 16, 8, 4)}
        assert together["seg"].dtype == torch.int64
        for name, values in together.items():
            np.testing.assert_array_equal(values.numpy(), xyz(stored[name][i]))
            np.testing.assert_array_equal(values.numpy(), first[i][name].numpy())
            np.testing.assert_array_equal(values.numpy(), second[i][name].numpy())


def test_tags_and_boxes_choose_samples(zetta_windows, vnc_pair):
    path = str(vnc_pair[0])
    boxes = [box for box in manifest(vnc_pair[0].parent)["boxes"] if box["split"] == "train" and box["samples"]]
    assert len(boxes) > 1
    stored = with_zarr(vnc_pair[0].parent, "train")
    everything = manifest(vnc_pair[0].parent)["boxes"]
    for box in boxes:
        wanted = np.flatnonzero(stored["box"][:] == everything.index(box))
        chosen = zetta_windows.PointshardDataset(path, boxes=[box["id"]])
        assert len(chosen) == len(wanted) == box["samples"]
        for i, row in enumerate(wanted):
            np.testing.assert_array_equal(chosen[i]["img"].numpy(), xyz(stored["img"][row]))
    for tags in {tuple(box["tags"][:n]) for box in boxes for n in (0, 1, len(box["tags"]))}:
        wanted = sum(box["samples"] for box in boxes if set(tags) <= set(box["tags"]))
        assert len(zetta_windows.PointshardDataset(path, tags=list(tags))) == wanted
    with pytest.raises(ValueError, match=r"has no tag \['validation'\]; it has \[.*'train'"):
        zetta_windows.PointshardDataset(path, tags=["train", "validation"])
    with pytest.raises(ValueError, match=r"has no box \['b'\]"):
        zetta_windows.PointshardDataset(path, boxes=["b"])


def double(values):
    return values * 2


def swap(sample):
    return {"image": sample["data_in"], "extra": {"labels": sample["seg"]}, "note": "text"}


def test_processors_see_arrays_then_the_sample_under_its_new_names(zetta_windows, vnc_pair, torch):
    options = {"layer_rename_map": {"img": "data_in"}, "per_layer_read_procs": {"data_in": [double, double]}, "shared_read_procs": [swap]}
    dataset = zetta_windows.PointshardDataset(str(vnc_pair[0]), **options)
    sample = pickle.loads(pickle.dumps(dataset))[2]
    stored = with_zarr(vnc_pair[0].parent, "train")
    np.testing.assert_array_equal(sample["image"].numpy(), xyz(stored["img"][2]) * np.uint8(4))
    assert isinstance(sample["extra"]["labels"], torch.Tensor) and sample["note"] == "text"


def flip(values):
    return np.flip(values)    # all axes, also the channel, of which there is one


def flip_sample(sample):
    return {**{name: values[:, ::-1, :, ::-1] for name, values in sample.items()}, "count": np.array(len(sample))}


def test_processors_may_flip(zetta_windows, vnc_pair):
    stored = with_zarr(vnc_pair[0].parent, "train")
    options = {"per_layer_read_procs": {"img": [flip]}, "shared_read_procs": [flip_sample]}
    for path in vnc_pair:
        sample = zetta_windows.PointshardDataset(str(path), **options)[2]
        np.testing.assert_array_equal(sample["img"].numpy(), np.flip(xyz(stored["img"][2]))[:, ::-1, :, ::-1])
        np.testing.assert_array_equal(sample["seg"].numpy(), xyz(stored["seg"][2])[:, ::-1, :, ::-1])
        assert sample["count"].shape == () and sample["count"] == 2


def test_names_and_processors_that_do_not_fit_are_errors(zetta_windows, vnc_pair):
    class Translates:
        def process_index(self, idx, mode):
            return idx

    path = str(vnc_pair[0])
    for options, expected in (
        ({"layer_rename_map": {"em": "data_in"}}, r"has no \['em'\]"),
        ({"per_layer_read_procs": {"data_in": [double]}}, r"has no \['data_in'\]"),
        ({"shared_read_procs": [Translates()]}, "samples have a fixed place"),
        ({"per_layer_read_procs": {"img": [Translates()]}}, "samples have a fixed place"),
        ({"layers": ["em"]}, r"has no array \['em'\]"),
    ):
        with pytest.raises(ValueError, match=expected):
            zetta_windows.PointshardDataset(path, **options)


def test_the_loader_resumes_in_the_middle_of_an_epoch(zetta_windows, vnc_pair):
    from order import EpochOrder
    from torch.utils.data import DataLoader, DistributedSampler

    dataset = zetta_windows.PointshardDataset(str(vnc_pair[0]), layers=["img"])

    def loader():
        return zetta_windows.build_pointshard_loader(dataset, batch_size=2, seed=6)

    whole = [batch["img"].numpy() for batch in loader()]
    first = loader()
    assert isinstance(first, DataLoader), "lightning_train requires a DataLoader"
    assert isinstance(first.sampler, DistributedSampler) and isinstance(first.sampler, EpochOrder)
    for _ in zip(range(3), first):
        pass
    resumed = loader()
    resumed.load_state_dict(first.state_dict())
    for found, wanted in zip([batch["img"].numpy() for batch in resumed], whole[3:], strict=True):
        np.testing.assert_array_equal(found, wanted)
