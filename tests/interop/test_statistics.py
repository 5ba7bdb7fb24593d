"""Statistics in manifest and attributes equal those of numpy over the written windows."""

import json

import numpy as np
import pytest
from program import manifest, pointshard, vnc_config
from readers import SPLITS, with_xarray, with_zarr

ARRAYS = {
    "img": {"layer": "img"},
    "mask": {"layer": "label0", "transform": "nonzero"},
    "scaled": {"layer": "img", "transform": {"scale": {"multiply": 0.5, "add": -30}}},
    "seg": {"layer": "seg"},
    "signed": {"layer": "img", "transform": {"scale": {"add": -128}}, "dtype": "int8"},
    "none": {"layer": "seg", "transform": {"equals": 1}},
}


@pytest.fixture(scope="module")
def out(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("statistics")
    config = vnc_config(folder, arrays=ARRAYS, shard_samples=4)
    pointshard("preprocess", config, "--out", folder / "out", "--threads", 1)
    pointshard("preprocess", config, "--out", folder / "four", "--threads", 4)
    assert manifest(folder / "out") == manifest(folder / "four")
    return folder / "out"


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("array", ARRAYS)
def test_statistics_equal_those_of_numpy(out, split, array):
    output = manifest(out)["arrays"][array]["statistics"][split]
    values = with_zarr(out, split)[array][:]
    samples = values.reshape(len(values), -1)
    wide = samples.astype(object) if array == "seg" else samples.astype(np.float64)
    assert output["samples"] == len(samples)
    assert output["count"] == samples.size
    assert output["nonzero"] == np.count_nonzero(samples)
    assert output["empty_samples"] == np.count_nonzero(~samples.any(axis=1))
    assert output["positive_fraction"] == pytest.approx((samples > 0).mean(), rel=1e-12)
    assert (output["min"], output["max"]) == (float(samples.min()), float(samples.max()))
    assert output["mean"] == pytest.approx(float(wide.mean()), rel=1e-9, abs=1e-12)
    if array != "seg":
        assert output["std"] == pytest.approx(float(wide.std()), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("array", ["img", "signed", "mask", "scaled"])
def test_the_histogram_counts_every_eighth_value(out, array):
    output = manifest(out)["arrays"][array]["statistics"]["train"]
    values = with_zarr(out, "train")[array][:]
    eighth = np.concatenate([sample.ravel()[::8] for sample in values]).astype(np.float64)
    assert sum(b["count"] for b in output["histogram"]) == eighth.size
    for b in output["histogram"]:
        low, high = b["from"], b["to"]
        if low == high:
            inside = eighth == low
        elif low >= 0 or values.dtype.itemsize == 1:
            inside = (eighth >= low) & (eighth < high)
        else:  # For wider types a bin includes its end nearer to 0.
            inside = (eighth > low) & (eighth <= high)
        assert b["count"] == np.count_nonzero(inside), b


def test_the_attributes_have_the_statistics(out):
    for split in SPLITS:
        attributes = with_xarray(out, split).attrs["pointshard"]["arrays"]
        assert attributes == json.loads((out / "manifest.json").read_text())["arrays"]
