"""Transforms, types, windows and names of arrays, compared with numpy on values that tensorstore reads."""

import re

import numpy as np
import pytest
from program import checked_dataset, error_message, manifest, pointshard, vnc_collection, vnc_config
from readers import SPLITS, with_tensorstore, with_xarray, with_zarr
from volumes import first_voxel, write_precomputed

WINDOW = (32, 31, 8)


def expected(volume, starts, shape=WINDOW, fill=0):
    return np.stack([volume.cut(start, shape, fill) for start in starts])


def assert_windows(out, name, volume, dtype, shape=WINDOW, fill=0, column="start_voxel"):
    """Every window of the array equals the volume's values at its position."""
    found = 0
    for split in SPLITS:
        windows = with_tensorstore(out, split, name).read().result()
        assert windows.dtype == dtype
        wanted = expected(volume, with_zarr(out, split)[column][:], shape, fill)
        np.testing.assert_array_equal(windows, wanted)
        found += np.unique(wanted).size > 1
    assert found, "all windows are equal, so the test proves nothing"


def some_ids(volume, starts):
    """Twelve frequent ids beyond 2^53, and a small one."""
    ids, counts = np.unique(expected(volume, starts), return_counts=True)
    ids = ids[np.argsort(-counts)].tolist()
    large, small = [i for i in ids if i > 2**53][:12], [i for i in ids if 0 < i < 2**53]
    assert len(large) == 12 and float(large[0]) == float(large[0] + 1)
    return large, small[0]


def test_masks_of_ids_beyond_2_53_equal_those_of_numpy(volume, vnc, tmp_path):
    seg = volume("seg")
    large, small = some_ids(seg, with_zarr(vnc, "train")["start_voxel"][:])
    few, many = [*large[:3], small, 3], [*large, small]
    arrays = {
        "any": {"layer": "seg", "transform": "nonzero"},
        "one": {"layer": "seg", "transform": {"equals": large[0]}},
        "near": {"layer": "seg", "transform": {"equals": large[0] + 1}},
        "few": {"layer": "seg", "transform": {"in": few}},
        "many": {"layer": "seg", "transform": {"in": many}, "dtype": "float32"},
        "as_it_is": {"layer": "seg"},
        "from": {"layer": "seg", "transform": {"threshold": float(2**53)}},
    }
    out = checked_dataset(tmp_path, window=WINDOW, arrays=arrays)
    values = seg.values
    assert_windows(out, "any", seg.with_values((values != 0).astype("u1")), np.uint8)
    assert_windows(out, "one", seg.with_values((values == np.uint64(large[0])).astype("u1")), np.uint8)
    for split in SPLITS:
        assert not with_zarr(out, split)["near"][:].any(), "ids must not be compared as float64"
    assert_windows(out, "few", seg.with_values(np.isin(values, np.array(few, "u8")).astype("u1")), np.uint8)
    assert_windows(out, "many", seg.with_values(np.isin(values, np.array(many, "u8")).astype("f4")), np.float32)
    assert_windows(out, "as_it_is", seg, np.uint64)
    assert_windows(out, "from", seg.with_values((values >= np.uint64(2**53)).astype("u1")), np.uint8)


def test_thresholds_scales_and_types_of_an_image_equal_those_of_numpy(volume, tmp_path):
    scale = {"scale": {"multiply": 1 / 255, "add": -0.5}}
    arrays = {
        "over": {"layer": "img", "transform": {"threshold": 99.5}},
        "at": {"layer": "img", "transform": {"threshold": 100}, "dtype": "int16"},
        "scaled": {"layer": "img", "transform": scale},
        "wide": {"layer": "img", "transform": {"scale": {"multiply": 2.5, "add": 0.5}}, "dtype": "uint16"},
        "float": {"layer": "img", "dtype": "float32"},
        "double": {"layer": "img", "dtype": "float64"},
        "signed": {"layer": "img", "dtype": "int64"},
    }
    out = checked_dataset(tmp_path, window=WINDOW, arrays=arrays)
    img = volume("img")
    values = img.values
    assert_windows(out, "over", img.with_values((values >= 100).astype("u1")), np.uint8)
    assert_windows(out, "at", img.with_values((values >= 100).astype("i2")), np.int16)
    scaled = (values.astype("f8") * (1 / 255) - 0.5).astype("f4")
    # Outside, the layer's own 0 is transformed.
    assert_windows(out, "scaled", img.with_values(scaled), np.float32, fill=np.float32(-0.5))
    # 2.5 v + 0.5 is often halfway between two whole numbers: half to even, like `np.rint`.
    wide = np.rint(values.astype("f8") * 2.5 + 0.5).astype("u2")
    assert_windows(out, "wide", img.with_values(wide), np.uint16, fill=0)
    for name, dtype in (("float", "f4"), ("double", "f8"), ("signed", "i8")):
        assert_windows(out, name, img.with_values(values.astype(dtype)), np.dtype(dtype))


@pytest.mark.parametrize(
    ("array", "expected_text"),
    [
        ({"layer": "seg", "dtype": "uint32"}, "uint32"),
        ({"layer": "img", "dtype": "int8"}, "int8"),
        ({"layer": "img", "transform": {"scale": {"add": -1}}, "dtype": "uint8", "fill": 0}, "uint8"),
        ({"layer": "img", "transform": {"scale": {"multiply": 300}}, "dtype": "uint16"}, "uint16"),
        ({"layer": "img", "transform": {"scale": {"multiply": 1e40}}}, "float32"),
    ],
)
def test_a_value_that_the_type_cannot_hold_is_an_error_that_names_array_and_value(volume, tmp_path, array, expected_text):
    config = vnc_config(tmp_path, arrays={"small": array})
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=1)
    assert "`small`" in message and expected_text in message and "does not fit" in message, message
    (value,) = re.findall(r"the value (\d+) of a", message)
    assert (volume(array["layer"]).values == np.uint64(value)).any(), message
    assert not (tmp_path / "out/manifest.json").exists()


def test_a_fill_value_that_the_type_cannot_hold_is_an_error_that_names_the_key(tmp_path):
    array = {"layer": "img", "transform": {"scale": {"add": -1}}, "dtype": "uint8"}
    config = vnc_config(tmp_path, arrays={"small": array})
    message = error_message("preprocess", config, "--out", tmp_path / "out")
    assert "`arrays.small`" in message and "`fill`" in message, message


@pytest.mark.parametrize("alone", [True, False])
def test_a_value_outside_all_windows_may_exceed_the_type(volume, tmp_path, alone):
    """Also if another array uses the same layer, and although the chunk is read."""
    seg, shape = volume("label0"), (32, 32, 8)
    values = seg.values.copy()
    starts = with_zarr(checked_dataset(tmp_path, name="all"), "train")["start_voxel"][:].tolist()
    marked = np.zeros_like(values, bool)
    for start in starts:
        low = np.maximum(np.subtract(start, seg.origin), 0)
        marked[tuple(slice(a, max(s - o, 0) + n) for a, s, o, n in zip(low, start, seg.origin, shape))] = True
    values[~marked] = 200
    write_precomputed(tmp_path / "layer", values, seg.resolution, seg.origin, (128, 128, 20))
    arrays = {"small": {"layer": "label0", "dtype": "int8"}, "raw": {"layer": "label0"}}
    if alone:
        del arrays["raw"]
    collection = str(vnc_collection(tmp_path, label0=tmp_path / "layer"))
    out = checked_dataset(tmp_path, collection=collection, arrays=arrays, splits={"train": ["train"]})
    np.testing.assert_array_equal(with_zarr(out, "train")["small"][:], expected(seg, starts, shape).astype("i1"))


def chunks_of(volume, windows, chunk):
    """The chunks of a layer that windows (start, shape) touch."""
    touched = set()
    for start, shape in windows:
        low = np.maximum(np.subtract(start, volume.origin), 0)
        high = np.minimum(np.add(start, shape) - volume.origin, volume.values.shape)
        ranges = [range(a // c, -(-b // c)) for a, b, c in zip(low, high, chunk)]
        touched |= {(x, y, z) for x in ranges[0] for y in ranges[1] for z in ranges[2]}
    return touched


@pytest.mark.parametrize("threads", [1, 4])
def test_arrays_of_one_layer_may_have_any_names_and_fetch_each_chunk_once(volume, tmp_path, threads):
    arrays = {
        "target_label0": {"layer": "label0"},
        "target_label0_mask": {"layer": "label0", "role": "mask", "transform": "nonzero", "dtype": "float32"},
        "target_label0_inverse": {"layer": "label0", "transform": {"equals": 0}, "dtype": "uint16"},
    }
    config = vnc_config(tmp_path, arrays=arrays, shard_samples=None)
    output = pointshard("preprocess", config, "--out", tmp_path / "out", "--threads", threads).stdout
    fetched, again = re.search(r"chunks +[\d,]+ touched, ([\d,]+) fetched.* (\d+) re-read", output).groups()
    pointshard("check", tmp_path / "out")
    starts = np.concatenate([with_zarr(tmp_path / "out", split)["start_voxel"][:] for split in SPLITS])
    label = volume("label0")
    touched = chunks_of(label, [(start, (32, 32, 8)) for start in starts], (128, 128, 20))
    assert len(touched) > 10 and int(fetched.replace(",", "")) == len(touched) and again == "0", output
    (source,) = manifest(tmp_path / "out")["sources"]
    assert source["layer"] == "label0" and source["chunks_missing"] == 0
    # Three arrays, and shards of two splits that share chunks: counted per shard.
    of_splits = [
        chunks_of(label, [(s, (32, 32, 8)) for s in with_zarr(tmp_path / "out", split)["start_voxel"][:]], (128, 128, 20))
        for split in SPLITS
    ]  # fmt: skip
    assert source["chunks_touched"] == 3 * sum(map(len, of_splits))
    values = label.values
    shape = (32, 32, 8)
    assert_windows(tmp_path / "out", "target_label0", label, np.uint8, shape)
    assert_windows(tmp_path / "out", "target_label0_mask", label.with_values((values != 0).astype("f4")), np.float32, shape)
    inverse = label.with_values((values == 0).astype("u2"))
    assert_windows(tmp_path / "out", "target_label0_inverse", inverse, np.uint16, shape, fill=1)


def test_an_array_may_have_its_own_window(volume, tmp_path):
    arrays = {
        "img": {"layer": "img"},
        "label": {"layer": "label0", "window": [17, 16, 5]},
        "context": {"layer": "img", "window": [65, 40, 20]},
    }
    out = checked_dataset(tmp_path, window=WINDOW, arrays=arrays)
    shapes = {"img": WINDOW, "label": (17, 16, 5), "context": (65, 40, 20)}
    for split in SPLITS:
        group = with_zarr(out, split)
        assert "img_start_voxel" not in group
        for name, shape in shapes.items():
            column = "start_voxel" if name == "img" else f"{name}_start_voxel"
            rule = [first_voxel(c, (4.6, 4.6, 45.0), shape) for c in group["center_nm"][:].tolist()]
            np.testing.assert_array_equal(group[column][:], rule)
    assert_windows(out, "img", volume("img"), np.uint8)
    assert_windows(out, "label", volume("label0"), np.uint8, (17, 16, 5), column="label_start_voxel")
    assert_windows(out, "context", volume("img"), np.uint8, (65, 40, 20), column="context_start_voxel")
    output = manifest(out)["arrays"]
    assert {name: tuple(output[name]["window_voxels"]) for name in output} == shapes
    dataset = with_xarray(out, "train")
    assert dataset["img"].dims == ("sample", "channel", "z", "y", "x")
    assert dataset["label"].dims == ("sample", "channel", "z_label", "y_label", "x_label")
    assert output["context"]["dimensions"] == list(dataset["context"].dims)


def test_manifest_and_attributes_have_roles_and_transforms(shared, tmp_path):
    arrays = {
        "img": {"layer": "img", "role": "image"},
        "pre": {"layer": "label0", "role": "target", "transform": "nonzero"},
        "pre_mask": {"layer": "label0", "role": "mask", "transform": "inside"},
        "plain": {"layer": "label1"},
    }
    out = checked_dataset(tmp_path, arrays=arrays)
    for name, config in arrays.items():
        output = manifest(out)["arrays"][name]
        attributes = dict(with_zarr(out, "train")[name].attrs)
        for key, default in (("layer", None), ("role", None), ("transform", "none")):
            assert output[key] == attributes[key] == config.get(key, default)
