"""Reads a dataset with independent libraries."""

import tensorstore
import xarray
import zarr

SPLITS = ("train", "val")


def with_xarray(out, split):
    return xarray.open_zarr(str(out / f"{split}.zarr"))


def with_zarr(out, split):
    return zarr.open_group(str(out / f"{split}.zarr"), mode="r")


def with_tensorstore(out, split, name):
    store = {"driver": "file", "path": f"{out}/{split}.zarr/{name}/"}
    return tensorstore.open({"driver": "zarr3", "kvstore": store}).result()
