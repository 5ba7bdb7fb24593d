"""Windows of sources in many encodings equal the values that other programs read."""

import json

import numpy as np
import pytest
from encoding_crop import ENCODINGS, window_of
from program import keep_one_box, pointshard, vnc_collection, vnc_config
from readers import SPLITS, with_zarr

READ = ["raw_gzip", "raw_plain", "raw_tensorstore", "cseg_u64_gzip", "cseg_u32", "seg_raw_u64_gzip", "missing_chunk", "rgb3", "u16", "f32"]  # fmt: skip


@pytest.mark.parametrize("encoding", READ)
def test_a_window_over_a_whole_layer_equals_the_written_values(shared, tmp_path, encoding):
    about = json.loads((ENCODINGS / "index.json").read_text())[encoding]
    expected = np.load(ENCODINGS / "expected.npz")[about["expected"]].reshape(*about["shape"][:3], -1)
    collection = vnc_collection(tmp_path, keep_one_box, img=ENCODINGS / encoding)
    config = vnc_config(
        tmp_path, collection=str(collection), window=[300, 201, 42],
        arrays={"img": {"layer": "img"}}, splits={"train": ["train"]},
    )  # fmt: skip
    pointshard("preprocess", config, "--out", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    (window,), (start,) = group["img"][:], group["start_voxel"][:]
    assert window.dtype == about["dtype"]
    np.testing.assert_array_equal(window, window_of(expected, about["voxel_offset"], start, (300, 201, 42)))
    assert np.count_nonzero(window) == np.count_nonzero(expected), "the window should contain the whole crop"


@pytest.mark.parametrize(
    ("layer", "resolution"),
    [("img", [4.6, 4.6, 45.0]), ("img", [9.2, 9.2, 45.0]), ("label1", [9.2, 9.2, 45.0]), ("seg", [4.6, 4.6, 45.0])],
)
def test_windows_of_every_scale_and_layer_equal_those_of_tensorstore(open_scale, tmp_path, layer, resolution):
    source = open_scale(layer, resolution)
    offset, volume = source.domain.origin[:3], source.read().result()
    arrays = {"voxels": {"layer": layer}}
    config = vnc_config(tmp_path, resolution=resolution, window=[50, 41, 9], arrays=arrays, shard_samples=4)
    pointshard("preprocess", config, "--out", tmp_path / "out")
    for split in SPLITS:
        group = with_zarr(tmp_path / "out", split)
        windows, centers = group["voxels"][:], group["center_nm"][:]
        assert windows.any()
        for start, center, window in zip(group["start_voxel"][:], centers, windows):
            rule = np.ceil(np.round(center / resolution - np.array([50, 41, 9]) / 2, 10)).astype(np.int64)
            np.testing.assert_array_equal(start, rule)
            np.testing.assert_array_equal(window, window_of(volume, offset, start, (50, 41, 9)))
