"""`axis_order: cxyz`: every reader reads the same arrays with x first."""

import numpy as np
import pytest
from program import checked_dataset, file_digests, manifest
from readers import SPLITS, with_tensorstore, with_xarray, with_zarr

# Three different lengths, so that swapped axes are detected.
WINDOW = [20, 31, 9]
ARRAYS = {
    "img": {"layer": "img"},
    "ids": {"layer": "seg", "window": [7, 12, 5]},
    "mask": {"layer": "seg", "transform": "nonzero", "dtype": "float32", "fill": 1},
    "coarse": {"layer": "img", "data_resolution": [9.2, 9.2, 45.0], "interpolation": "linear"},
}


@pytest.fixture(scope="module")
def both(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("axes")
    return {
        order: checked_dataset(folder, name=order, window=WINDOW, arrays=ARRAYS, axis_order=order) for order in ("czyx", "cxyz")
    }


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", ARRAYS)
def test_every_reader_reads_the_same_voxels_with_x_first(both, split, name):
    zyx = with_tensorstore(both["czyx"], split, name).read().result()
    assert np.unique(zyx).size > 1
    x, y, z = ARRAYS[name].get("window", WINDOW)
    assert zyx.shape[1:] == (1, z, y, x)
    wanted = zyx.transpose(0, 1, 4, 3, 2)
    assert wanted.shape[1:] == (1, x, y, z)
    out = both["cxyz"]
    by_tensorstore = with_tensorstore(out, split, name)
    # A dimension name has one length per split: arrays with another window have their own dimension names.
    of_array = f"_{name}" if "window" in ARRAYS[name] else ""
    names = ("sample", "channel", *(axis + of_array for axis in "xyz"))
    assert by_tensorstore.domain.labels == names
    np.testing.assert_array_equal(by_tensorstore.read().result(), wanted)
    by_zarr = with_zarr(out, split)[name]
    assert by_zarr.dtype == wanted.dtype and by_zarr.metadata.dimension_names == names
    np.testing.assert_array_equal(by_zarr[:], wanted)
    # A single sample, and a part of one.
    np.testing.assert_array_equal(by_zarr[1], wanted[1])
    part = (2, slice(None), slice(1, 6), slice(3, 11), slice(1, 4))
    np.testing.assert_array_equal(by_zarr[part], wanted[part])
    np.testing.assert_array_equal(by_tensorstore[part].read().result(), wanted[part])


@pytest.mark.parametrize("name", ARRAYS)
def test_voxels_have_their_size_in_tensorstore_and_viewers(both, name):
    for order, axes in (("czyx", (45.0, 4.6, 4.6)), ("cxyz", (4.6, 4.6, 45.0))):
        array = with_tensorstore(both[order], "train", name)
        assert array.dimension_units[:2] == (None, None)
        assert [(unit.multiplier, unit.base_unit) for unit in array.dimension_units[2:]] == [(nm, "nm") for nm in axes]
        # Neuroglancer reads this attribute of the array.
        attributes = with_zarr(both[order], "train")[name].attrs
        assert attributes["dimension_units"] == [None, None, *(f"{nm:g} nm" for nm in axes)]


@pytest.mark.parametrize("split", SPLITS)
def test_xarray_transposes_them_back_by_name(both, split):
    zyx, xyz = (with_xarray(both[order], split) for order in ("czyx", "cxyz"))
    assert xyz["img"].dims == ("sample", "channel", "x", "y", "z")
    for name in ARRAYS:
        np.testing.assert_array_equal(xyz[name].transpose(*zyx[name].dims).values, zyx[name].values)


def test_columns_and_chunk_layout_are_the_same(both):
    for split in SPLITS:
        zyx, xyz = (with_zarr(both[order], split) for order in ("czyx", "cxyz"))
        assert set(zyx.array_keys()) == set(xyz.array_keys())
        for name in set(zyx.array_keys()) - set(ARRAYS):
            np.testing.assert_array_equal(zyx[name][...], xyz[name][...])
        for name in ARRAYS:
            assert xyz[name].chunks[0] == 1 and xyz[name].chunks[1:] == xyz[name].shape[1:]
            assert xyz[name].shards[0] == zyx[name].shards[0]
    output = manifest(both["cxyz"])["arrays"]["img"]
    assert output["dimensions"] == ["sample", "channel", "x", "y", "z"]
    assert output["sample_shape"] == [1, *WINDOW] and output["window_voxels"] == WINDOW


def test_any_number_of_threads_gives_the_same_bytes(both, tmp_path):
    out = checked_dataset(tmp_path, "--threads", "1", window=WINDOW, arrays=ARRAYS, axis_order="cxyz")
    assert file_digests(out) == file_digests(both["cxyz"])
