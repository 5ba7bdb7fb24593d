"""Volumes and annotations as numpy arrays, read with tensorstore or byte by byte, never with pointshard."""

import gzip
import json
import math
import struct
from dataclasses import dataclass

import numpy as np
import tensorstore

FULL, HALF = (4.6, 4.6, 45.0), (9.2, 9.2, 45.0)


@dataclass
class Volume:
    """A volume's voxels [x, y, z], the position of the first one, and their size in nm."""

    values: np.ndarray
    origin: tuple
    resolution: tuple

    def cut(self, start, shape, fill=0):
        """The window [channel, z, y, x] of `shape` (x, y, z) that starts at the voxel `start`; `fill` outside."""
        window = np.full(tuple(shape), fill, self.values.dtype)
        low = np.maximum(start, self.origin)
        high = np.minimum(np.add(start, shape), np.add(self.origin, self.values.shape))
        if (low < high).all():
            to = tuple(slice(a, b) for a, b in zip(low - start, high - start))
            window[to] = self.values[tuple(slice(a, b) for a, b in zip(low - self.origin, high - self.origin))]
        return window.transpose(2, 1, 0)[None]

    def contains_window(self, start, shape):
        """Whether the whole window is inside the volume."""
        inside = np.greater_equal(start, self.origin).all()
        return inside and np.less_equal(np.add(start, shape), np.add(self.origin, self.values.shape)).all()

    def voxel(self, point):
        """The voxel that contains a point in nm, counted from the first voxel."""
        of = [math.floor(round(p / r, 10)) - o for p, r, o in zip(point, self.resolution, self.origin)]
        return tuple(of) if all(0 <= v < n for v, n in zip(of, self.values.shape)) else None

    def at(self, point):
        """The value at a point in nm; 0 outside."""
        voxel = self.voxel(point)
        return 0 if voxel is None else int(self.values[voxel])

    def with_values(self, values):
        """A volume with other values at the same position."""
        return Volume(values, self.origin, self.resolution)


def first_voxel(center, resolution, window):
    """zetta_utils' window rule, with Python's own `round`."""
    return [math.ceil(round(c / r - w / 2, 10)) for c, r, w in zip(center, resolution, window)]


def open_precomputed(folder, resolution, unpack_to):
    """Opens a scale of a layer that cloud-volume wrote with tensorstore, which ignores files named NAME.gz: they are
    decompressed to another folder first."""
    scales = json.loads((folder / "info").read_text())["scales"]
    (index,) = (i for i, s in enumerate(scales) if np.allclose(s["resolution"], resolution))
    (unpack_to / scales[index]["key"]).mkdir()
    (unpack_to / "info").write_bytes((folder / "info").read_bytes())
    for chunk in (folder / scales[index]["key"]).glob("*.gz"):
        (unpack_to / scales[index]["key"] / chunk.stem).write_bytes(gzip.decompress(chunk.read_bytes()))
    store = {"driver": "file", "path": f"{unpack_to}/"}
    spec = {"driver": "neuroglancer_precomputed", "kvstore": store, "scale_index": index}
    return tensorstore.open(spec, read=True).result()


def write_precomputed(folder, values, resolution, origin, chunk=(32, 32, 8)):
    """Adds a scale with `values` [x, y, z] to a layer, with tensorstore."""
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "multiscale_metadata": {"data_type": str(values.dtype), "num_channels": 1, "type": "image"},
        "scale_metadata": {
            "size": list(values.shape), "voxel_offset": list(origin), "resolution": list(resolution),
            "chunk_size": list(chunk), "encoding": "raw",
        },
    }  # fmt: skip
    tensorstore.open(spec, create=True).result()[..., 0].write(values).result()
    return Volume(values, tuple(origin), tuple(resolution))


def line_ends(layer):
    """Both ends in nm of every line of a layer with one cell, by id."""
    info = json.loads((layer / "info").read_text())
    nm = np.array([float(f"{info['dimensions'][d][0] * 1e9:.11e}") for d in "xyz"])
    data = (layer / "spatial0/0_0_0").read_bytes()
    (count,) = struct.unpack_from("<Q", data)
    row_bytes = (len(data) - 8 - 8 * count) // count
    ids = np.frombuffer(data, "<u8", count, 8 + row_bytes * count)
    ends = [np.frombuffer(data, "<f4", 6, 8 + row_bytes * i).astype(np.float64).reshape(2, 3) for i in range(count)]
    return {int(i): tuple(e * nm) for i, e in zip(ids, ends)}


def write_huge_empty_layer(folder, resolution):
    """A precomputed layer of about a million voxels along every axis, around 0, without chunks: every window touches it.
    A job that uses it needs `layers.NAME.empty`."""
    half = 1 << 19
    scale = {"key": "s", "resolution": list(resolution), "size": [2 * half] * 3, "voxel_offset": [-half] * 3}
    scale |= {"chunk_sizes": [[64, 64, 64]], "encoding": "raw"}
    info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale]}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "info").write_text(json.dumps(info))
    return f"precomputed://file://{folder}"
