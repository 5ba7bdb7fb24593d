"""`xarray.open_zarr` opens a split as a labelled dataset."""

import warnings

import numpy as np
import pytest
from program import LAYERS
from readers import SPLITS, with_tensorstore, with_xarray, with_zarr

COORDINATES = {
    "annotation_id": "uint64",
    "box": "uint32",
    "center_nm": "float64",
    "start_voxel": "int64",
    "resolution_nm": "float64",
    "property_confidence": "float32",
    "property_kind": "uint8",
    "property_size": "uint32",
    "property_color": "uint8",
    "img_inside_fraction": "float32",
    "label0_inside_fraction": "float32",
    "label1_inside_fraction": "float32",
    "img_nonzero_fraction": "float32",
    "label0_nonzero_fraction": "float32",
    "label1_nonzero_fraction": "float32",
}


@pytest.mark.parametrize("split", SPLITS)
def test_xarray_opens_a_split_without_a_warning(vnc, split):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with_xarray(vnc, split).load()


@pytest.mark.parametrize("split", SPLITS)
def test_arrays_have_named_dimensions_and_keep_their_type(vnc, split):
    dataset = with_xarray(vnc, split)
    assert set(dataset.data_vars) == set(LAYERS)
    for layer in LAYERS:
        assert dataset[layer].dims == ("sample", "channel", "z", "y", "x")
        assert dataset[layer].dtype == np.uint8, "a fill value must not make xarray mask zeros"


@pytest.mark.parametrize("split", SPLITS)
def test_index_columns_are_coordinates_and_keep_their_type(vnc, split):
    dataset = with_xarray(vnc, split)
    assert {name: str(c.dtype) for name, c in dataset.coords.items()} == COORDINATES
    assert dataset.center_nm.dims == ("sample", "xyz")
    assert dataset.property_color.dims == ("sample", "rgb")
    assert all(c.dims[0] == "sample" for c in dataset.coords.values())


@pytest.mark.parametrize("split", SPLITS)
def test_xarray_zarr_and_tensorstore_read_the_same_values(vnc, split):
    dataset, group = with_xarray(vnc, split), with_zarr(vnc, split)
    assert set(dataset.variables) == set(group.array_keys())
    for name, variable in dataset.variables.items():
        by_tensorstore = with_tensorstore(vnc, split, name).read().result()
        np.testing.assert_array_equal(variable.values, group[name][...])
        np.testing.assert_array_equal(variable.values, by_tensorstore)
        assert variable.dtype == group[name].dtype == by_tensorstore.dtype


def test_a_sample_can_be_selected_by_its_coordinates(vnc):
    train = with_xarray(vnc, "train")
    picked = train.where(train.annotation_id == 1222, drop=True)
    assert picked.sizes["sample"] == 1
    assert picked.start_voxel.values.tolist() == [[3067, 2584, 99]]
