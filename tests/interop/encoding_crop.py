"""The crop of ../shared/data/encodings: its layers, their entries in a config, and their values."""

import json

import numpy as np
from program import SHARED

ENCODINGS = SHARED / "data/encodings"
CROP_START, CROP_SHAPE = (3031, 2577, 100), (150, 100, 20)


def index():
    """The facts about every encoding, by name."""
    return json.loads((ENCODINGS / "index.json").read_text())


def source(name, about):
    """The layer's source, relative to a collection in a folder next to `encodings`; an image, not one of its levels."""
    kind = "precomputed" if about["format"] == "precomputed" else "zarr"
    return f"{kind}://../encodings/{name.partition('/')[0]}"


def layer_config(about):
    """The value of `layers.NAME` for a plain Zarr array; None for formats that need none."""
    if about["format"] not in ("zarr2", "zarr3"):
        return None
    return {"resolution": about["resolution_nm"], "voxel_offset": about["voxel_offset"], "axes": about["axes"]}


def expected(name, about):
    """The values of the volume as [x, y, z, channel]; for lossy encodings, as libjpeg-turbo decodes them."""
    if "decoded" in about:
        (volume,) = np.load(ENCODINGS / about["decoded"]).values()
    else:
        volume = np.load(ENCODINGS / "expected.npz")[about["expected"]]
    if about["axes"].endswith("zyx"):
        volume = volume.reshape(volume.shape[-3:]).transpose(2, 1, 0)
    return volume.reshape(*volume.shape[:3], -1)


def window_of(volume, offset, start, shape):
    """The window of `shape` that starts at `start` in a volume [x, y, z, channel] at `offset`; 0 outside."""
    window = np.zeros((*shape, volume.shape[3]), volume.dtype)
    low = np.maximum(start, offset)
    high = np.minimum(np.add(start, shape), np.add(offset, volume.shape[:3]))
    if (low < high).all():
        to = tuple(slice(a, b) for a, b in zip(low - start, high - start))
        window[to] = volume[tuple(slice(a, b) for a, b in zip(low - offset, high - offset))]
    return window.transpose(3, 2, 1, 0)
