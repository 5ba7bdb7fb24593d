"""The stored chunks of a layer that windows need: whole files, or parts of shards."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import layers


@dataclass
class Chunks:
    """The needed chunks and their encoding."""

    # (file, first byte, number of bytes) of each needed chunk.
    places: list
    # Size of a chunk in voxels.
    voxels: np.ndarray
    gzip: bool
    encoding: str
    shape: tuple
    block: tuple
    voxel_bytes: int

    @property
    def stored_bytes(self):
        return sum(n for _, _, n in self.places)

    @property
    def values_bytes(self):
        return int(self.voxels.sum()) * self.voxel_bytes

    def sample(self, folder, most=200):
        """Writes some chunks to files in a folder, but no chunks at the end of the volume, which may be smaller."""
        folder.mkdir(parents=True)
        whole = [place for place, n in zip(self.places, self.voxels) if n == np.prod(self.shape)]
        step = max(1, len(whole) // most)
        for i, (path, first, n) in enumerate(whole[::step][:most]):
            with open(path, "rb") as file:
                file.seek(first)
                (folder / str(i)).write_bytes(file.read(n))


def touched(volume, layer, starts, window):
    """The chunks that windows with these first voxels need."""
    scale = layers.scale(volume.folder / layer)
    (chunk,) = scale["chunk_sizes"]
    size = np.array(scale["size"])
    # Windows that need the same chunks count once.
    first, last = starts // chunk, (starts + np.array(window) - 1) // chunk
    ranges = np.unique(np.concatenate([first, last], 1), axis=0)
    cells = {
        (x, y, z)
        for x0, y0, z0, x1, y1, z1 in ranges.tolist()
        for x in range(x0, x1 + 1)
        for y in range(y0, y1 + 1)
        for z in range(z0, z1 + 1)
    }
    cells = np.array(sorted(cells))
    info = json.loads((volume.folder / layer / "info").read_text())
    folder = volume.folder / layer / scale["key"]
    sharding = scale.get("sharding")
    places = sharded(folder, sharding, cells, -(-size // chunk)) if sharding else files(folder, cells, chunk, size)
    zipped = sharding["data_encoding"] == "gzip" if sharding else places[0][0].suffix == ".gz"
    block = scale.get("compressed_segmentation_block_size", [8, 8, 8])
    voxel_bytes = np.dtype(info["data_type"]).itemsize
    voxels = np.prod(np.minimum((cells + 1) * chunk, size) - cells * chunk, 1)
    return Chunks(places, voxels, zipped, scale["encoding"], tuple(chunk), tuple(block), voxel_bytes)


def files(folder, cells, chunk, size):
    low = cells * chunk
    high = np.minimum(low + chunk, size)
    names = ["_".join(f"{a}-{b}" for a, b in zip(*ends)) for ends in zip(low.tolist(), high.tolist())]
    suffix = ".gz" if (folder / f"{names[0]}.gz").exists() else ""
    paths = [folder / (name + suffix) for name in names]
    return [(path, 0, path.stat().st_size) for path in paths]


def sharded(folder, spec, cells, grid):
    """Finds the chunks with the indexes of the shards (neuroglancer_uint64_sharded_v1, hash identity)."""
    ids = morton(cells, grid) >> spec["preshift_bits"]
    minishard = ids & ((1 << spec["minishard_bits"]) - 1)
    shard = (ids >> spec["minishard_bits"]) & ((1 << spec["shard_bits"]) - 1)
    places, known = [], {}
    for id_, m, s in zip(morton(cells, grid).tolist(), minishard.tolist(), shard.tolist()):
        path = folder / f"{s:0{-(-spec['shard_bits'] // 4)}x}.shard"
        if (m, s) not in known:
            known[m, s] = minishard_index(path, m, spec)
        places.append((path, *known[m, s][id_]))
    return places


def minishard_index(path: Path, minishard, spec):
    """Returns {chunk: (first byte, number of bytes)}."""
    base = 16 << spec["minishard_bits"]
    with open(path, "rb") as file:
        file.seek(16 * minishard)
        start, end = np.frombuffer(file.read(16), "<u8").tolist()
        file.seek(base + start)
        data = file.read(end - start)
    if spec["minishard_index_encoding"] == "gzip":
        data = gzip.decompress(data)
    ids, gaps, sizes = np.frombuffer(data, "<u8").reshape(3, -1)
    # A chunk starts at the end of the previous one, plus the gap.
    begins = base + np.cumsum(gaps) + np.cumsum(sizes) - sizes
    return dict(zip(np.cumsum(ids).tolist(), zip(begins.tolist(), sizes.tolist())))


def morton(cells, grid):
    """Compressed Morton codes: interleaved bits of x, y, z, as many as the grid needs."""
    codes, bit = np.zeros(len(cells), np.int64), 0
    for level in range(max(int(n - 1).bit_length() for n in grid)):
        for axis in range(3):
            if level < int(grid[axis] - 1).bit_length():
                codes |= ((cells[:, axis] >> level) & 1) << bit
                bit += 1
    return codes
