"""Writers and random readers of the same samples in several formats.

A reader has `batch(rows)`, which returns {array: [row, channel, z, y, x]}. webdataset has no random access, so its reader has
`stream(seed)`. Readers are created in the process that reads.
"""

import io
import json
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import tensorstore as ts

ARRAYS = ("image", "mask_a", "mask_b")
SHARD = 64
BATCH = 16


def stacked(samples):
    return {name: np.stack([sample[name] for sample in samples]) for name in ARRAYS}


def zstd(data):
    import zstandard

    return zstandard.ZstdCompressor(level=1).compress(data)


def unzstd(data, shape):
    import zstandard

    return np.frombuffer(zstandard.ZstdDecompressor().decompress(data), np.uint8).reshape(shape)


class Npy:
    """A memory map of raw arrays: the cost of reading without a codec. The other formats are written from it."""

    @staticmethod
    def write(folder, samples):
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", samples[name])

    def __init__(self, folder):
        self.arrays = {name: np.load(Path(folder) / f"{name}.npy", mmap_mode="r") for name in ARRAYS}

    def batch(self, rows):
        return {name: array[rows] for name, array in self.arrays.items()}


class Shards:
    """`Windows` of docs/trainers, on shards of pointshard or on shards with another layout (see `write`)."""

    @staticmethod
    def write(folder, samples, codecs=None, index="end", shard=SHARD):
        """Writes Zarr shards like those of pointshard, with one difference. `codecs` are those of all arrays, or by array."""
        zstd_1 = [{"name": "zstd", "configuration": {"level": 1}}, {"name": "crc32c"}]
        for name in ARRAYS:
            own = codecs.get(name) if isinstance(codecs, dict) else codecs
            inner = [{"name": "bytes"}, *(zstd_1 if own is None else own)]
            chunk = [1, *samples[name].shape[1:]]
            sharding = {"chunk_shape": chunk, "codecs": inner, "index_location": index}
            sharding["index_codecs"] = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
            grid = {"name": "regular", "configuration": {"chunk_shape": [shard, *chunk[1:]]}}
            metadata = {
                "shape": samples[name].shape, "data_type": "uint8", "chunk_grid": grid,
                "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
            }  # fmt: skip
            store = {"driver": "file", "path": f"{folder}/{name}/"}
            spec = {"driver": "zarr3", "kvstore": store, "metadata": metadata}
            array = ts.open(spec, create=True).result()
            for i in range(0, len(samples[name]), shard):
                array[i : i + shard].write(samples[name][i : i + shard]).result()
        about = {"samples": len(samples["image"]), "arrays": {name: {} for name in ARRAYS}}
        group = {"zarr_format": 3, "node_type": "group", "attributes": {"pointshard": about}}
        (folder / "zarr.json").write_text(json.dumps(group))

    def __init__(self, folder, **options):
        from windows import Windows

        self.windows = Windows(str(folder), list(ARRAYS), **{"threads": 1, **options})

    def batch(self, rows):
        return self.windows.__getitems__(rows)


class ShardsOneByOne(Shards):
    def batch(self, rows):
        return stacked([self.windows[row] for row in rows])


class TensorStore:
    """The same shards with tensorstore, which verifies checksums: a batch is one request per array."""

    def __init__(self, folder, threads=1):
        from windows import open_with_tensorstore

        self.arrays = open_with_tensorstore(f"file://{Path(folder).resolve()}", ARRAYS, threads)

    def batch(self, rows):
        reads = {name: array[list(map(int, rows))].read() for name, array in self.arrays.items()}
        return {name: read.result() for name, read in reads.items()}


class TensorStoreOneByOne(TensorStore):
    def batch(self, rows):
        samples = [super(TensorStoreOneByOne, self).batch([row]) for row in rows]
        return {name: np.concatenate([sample[name] for sample in samples]) for name in ARRAYS}


class Blosc2:
    """One file of Blosc2 per sample and array, mapped into memory, with the options of nnU-Net v2 (zstd, level 8)."""

    @staticmethod
    def write(folder, samples):
        import blosc2

        for name in ARRAYS:
            for row, sample in enumerate(samples[name]):
                options = {"codec": blosc2.Codec.ZSTD, "clevel": 8}
                blosc2.asarray(np.ascontiguousarray(sample), urlpath=str(folder / f"{row}_{name}.b2nd"), cparams=options)

    def __init__(self, folder):
        import blosc2

        blosc2.set_nthreads(1)
        self.folder, self.open = folder, blosc2.open

    def batch(self, rows):
        files = [{name: f"{self.folder}/{row}_{name}.b2nd" for name in ARRAYS} for row in rows]
        options = {"mode": "r", "mmap_mode": "r", "dparams": {"nthreads": 1}}
        return stacked([{name: self.open(path, **options)[:] for name, path in sample.items()} for sample in files])


class ZarrPython:
    """zarr-python, with its own codec pipeline or that of zarrs."""

    def __init__(self, folder, pipeline, threads=1):
        import zarr
        from zarr_windows import ZarrWindows

        zarr.config.set({"threading.max_workers": threads})
        self.windows, self.pipeline, self.config = ZarrWindows(str(folder), list(ARRAYS)), pipeline, zarr.config

    def batch(self, rows):
        if self.windows.group is None:
            self.windows.__getitems__(rows)
            self.config.set({"codec_pipeline.path": self.pipeline})
            self.windows.group = type(self.windows.group).open(self.windows.store)
        return self.windows.__getitems__(rows)


class Hdf5:
    """h5py, with one chunk per sample."""

    @staticmethod
    def write(folder, samples, packed):
        import h5py
        import hdf5plugin

        how = hdf5plugin.Zstd(clevel=1) if packed else {}
        with h5py.File(folder / "samples.h5", "w") as file:
            for name in ARRAYS:
                file.create_dataset(name, data=samples[name], chunks=(1, *samples[name].shape[1:]), **how)

    def __init__(self, folder):
        import h5py
        import hdf5plugin  # noqa: F401, registers the codec

        self.file = h5py.File(Path(folder) / "samples.h5")

    def batch(self, rows):
        return stacked([{name: self.file[name][row] for name in ARRAYS} for row in rows])


class WebDataset:
    """Tar files with zstd members. The order of shards is shuffled, and samples are shuffled in a buffer. No random access."""

    @staticmethod
    def write(folder, samples):
        for first in range(0, len(samples["image"]), SHARD):
            with tarfile.open(folder / f"{first:06}.tar", "w") as tar:
                for row in range(first, min(first + SHARD, len(samples["image"]))):
                    for name in ARRAYS:
                        data = zstd(samples[name][row].tobytes())
                        member = tarfile.TarInfo(f"{row:06}.{name}.zst")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
        (folder / "shape.json").write_text(json.dumps(samples["image"].shape[1:]))

    def __init__(self, folder):
        self.tars = sorted(map(str, Path(folder).glob("*.tar")))
        self.shape = json.loads((Path(folder) / "shape.json").read_text())

    def stream(self, seed, part=0, parts=1):
        """Yields (row, sample) of each sample in this part of the shards."""
        import webdataset

        tars = self.tars[part::parts]
        pipeline = webdataset.WebDataset(tars, shardshuffle=len(tars), seed=seed, empty_check=False).shuffle(2 * SHARD)
        for packed in pipeline:
            yield int(packed["__key__"]), {name: unzstd(packed[f"{name}.zst"], self.shape) for name in ARRAYS}


class Mosaic:
    """MosaicML streaming. `packed`: None, "sample" (each array compressed with zstd) or "shard" (shards compressed by the library).

    It unpacks such a shard into a local file when a sample of it is first touched, and reads that file ever after. With
    "shard" there is no such file yet; afterwards it is as fast as None.
    """

    @staticmethod
    def write(folder, samples, packed):
        from streaming import MDSWriter

        columns = dict.fromkeys(ARRAYS, "bytes")
        size = SHARD * sum(samples[name][0].nbytes for name in ARRAYS)
        compression = "zstd:1" if packed == "shard" else None
        with MDSWriter(out=str(folder / "remote"), columns=columns, compression=compression, size_limit=size) as writer:
            for row in range(len(samples["image"])):
                data = {name: samples[name][row].tobytes() for name in ARRAYS}
                writer.write({n: zstd(d) for n, d in data.items()} if packed == "sample" else data)
        (folder / "shape.json").write_text(json.dumps(samples["image"].shape[1:]))

    def __init__(self, folder, packed):
        from streaming import LocalDataset, StreamingDataset
        from streaming.base.util import clean_stale_shared_memory

        folder, self.packed = Path(folder), packed
        self.shape, self.local = json.loads((folder / "shape.json").read_text()), None
        if packed == "shard":
            self.local = tempfile.TemporaryDirectory(dir=folder)
            clean_stale_shared_memory()
            self.data = StreamingDataset(remote=str(folder / "remote"), local=self.local.name, batch_size=BATCH)
        else:
            self.data = LocalDataset(str(folder / "remote"))

    def batch(self, rows):
        unpack = unzstd if self.packed == "sample" else lambda data, shape: np.frombuffer(data, np.uint8).reshape(shape)
        return stacked([{n: unpack(d, self.shape) for n, d in self.data[int(row)].items()} for row in rows])


class CloudVolumeCutouts:
    """Cuts each sample out of the volumes, whose chunks are zstd. Caches `lru_mb` of decoded chunks."""

    @staticmethod
    def write(folder, data, starts):
        from cloudvolume import CloudVolume

        for name in ARRAYS:
            source = CloudVolume(f"file://{data / name}", progress=False)
            target = CloudVolume(
                f"file://{folder / name}", info=source.info, progress=False, compress="zstd", compress_level=1
            )
            target.commit_info()
            low, high, step = source.bounds.minpt, source.bounds.maxpt, 256
            for z in range(int(low[2]), int(high[2]), step):
                part = np.s_[int(low[0]) : int(high[0]), int(low[1]) : int(high[1]), z : min(z + step, int(high[2]))]
                target[part] = source[part]
        np.save(folder / "starts.npy", starts)

    def __init__(self, folder, lru_mb):
        from cloudvolume import CloudVolume

        self.starts = np.load(Path(folder) / "starts.npy")
        how = {"progress": False, "fill_missing": True, "lru_bytes": lru_mb << 20}
        self.volumes = {name: CloudVolume(f"file://{folder}/{name}", **how) for name in ARRAYS}

    def batch(self, rows):
        return stacked([{name: self.cut(name, *map(int, self.starts[row])) for name in ARRAYS} for row in rows])

    def cut(self, name, x, y, z, size=64):
        return np.asarray(self.volumes[name][x : x + size, y : y + size, z : z + size])[..., 0].T[None]
