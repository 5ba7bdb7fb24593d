"""Samples of a pointshard dataset in random order, one or a batch at a time.

Needs numpy, zstandard and crc32c; numcodecs for arrays with the codec `blosc`; tensorstore for buckets and servers.
"""

import json
import mmap
import operator
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import crc32c
import numpy as np
import zstandard

MISSING = 2**64 - 1  # in a shard's index: the sample is not stored, because all its values are the fill value


class Windows:
    """The samples of a split such as `shards/train.zarr`: `windows[i]` is {array: [channel, z, y, x]}.

    `url` is a path, or a URL that tensorstore reads (gs://, s3://, http://, https://). `arrays` are the names of the arrays to
    read, by default all. `threads` read and decode a batch. `check` verifies the checksum of each sample (local files: on
    request; URLs: always). `memory_map=False` reads files instead of mapping them: for network file systems, and for files that
    may become shorter while they are open. `open_shards` is the largest number of open files.

    Batches are in memory that is used again when no array and no tensor refers to it any more.
    """

    def __init__(self, url, arrays=None, threads=2, check=False, memory_map=True, open_shards=256):
        self.url = str(url).rstrip("/").removeprefix("file://")
        self.threads, self.check, self.memory_map, self.open_shards = threads, check, memory_map, open_shards
        try:
            self.metadata = read_json(self.url, "zarr.json")["attributes"]["pointshard"]
        except (FileNotFoundError, KeyError):
            raise FileNotFoundError(f"{self.url} is no split of a dataset; expected a path such as OUT/train.zarr") from None
        self.arrays = list(arrays or self.metadata["arrays"])
        if unknown := set(self.arrays) - set(self.metadata["arrays"]):
            raise ValueError(f"{self.url} has no array {sorted(unknown)}; it has {list(self.metadata['arrays'])}")
        self.process = None

    def __len__(self):
        return self.metadata["samples"]

    def __getitem__(self, row):
        return {name: batch[0] for name, batch in self.__getitems__([row]).items()}

    def __getitems__(self, rows):
        """Several samples as one batch, {array: [row, channel, z, y, x]}. PyTorch's DataLoader calls this."""
        rows = [self.valid(row) for row in rows]
        self.open()
        if "://" in self.url:
            return self.opened.read(rows)
        batch, jobs = {}, []
        for name, array in self.opened.items():
            stored, batch[name] = array.allocate(len(rows))
            for sample, row in zip(stored, rows):
                jobs.append((array, row, *array.locate(row), sample))
        for array, _, shard, at, size, _ in jobs:
            array.prefetch(shard, at, size)
        todo = iter(jobs)
        helpers = [self.pool.submit(decode, todo) for _ in range(min(self.threads, len(rows)) - 1)]
        try:
            decode(todo)
        finally:
            for helper in helpers:
                helper.result()
        return batch

    def column(self, name):
        """All values of an index column, such as `annotation_id` or `box`."""
        if "://" in self.url:
            return RemoteArrays(self.url, [name], self.threads).read(range(len(self)))[name]
        return read_column(os.path.join(self.url, name))

    def valid(self, row):
        if np.asarray(row).dtype.kind not in "iu":
            raise TypeError(f"{self.url}: a row is {row!r}, expected an integer. For a mask use np.flatnonzero(mask)")
        row, count = operator.index(row), len(self)
        if not -count <= row < count:
            raise IndexError(f"{self.url} has {count} samples, so there is no sample {row}")
        return row % count

    def open(self):
        """Opens the arrays, once in each process: threads do not survive a fork."""
        if self.process == os.getpid():
            return
        if "://" in self.url:
            self.opened = RemoteArrays(self.url, self.arrays, self.threads)
        else:
            share = max(1, self.open_shards // len(self.arrays))
            paths = {name: os.path.join(self.url, name) for name in self.arrays}
            self.opened = {name: LocalArray(path, self.check, self.memory_map, share) for name, path in paths.items()}
            self.pool = ThreadPoolExecutor(max(1, self.threads - 1), "pointshard")
        self.process = os.getpid()

    def __getstate__(self):
        """Another process opens the arrays itself."""
        return {**{k: v for k, v in self.__dict__.items() if k not in ("opened", "pool")}, "process": None}


def decode(jobs):
    """Decodes samples until none is left. Several threads share the jobs."""
    for array, row, shard, at, size, out in jobs:
        array.read(row, shard, at, size, out)


class LocalArray:
    """An array of a local dataset: `sharding_indexed`, with one inner chunk per sample."""

    def __init__(self, path, check, memory_map, open_shards):
        self.path, self.check, self.memory_map = path, check, memory_map
        self.about = about = read_json(path, "zarr.json")
        (sharding,) = [c["configuration"] for c in about["codecs"] if c["name"] == "sharding_indexed"] or [None]
        chunk = sharding and sharding["chunk_shape"]
        if chunk != [1, *about["shape"][1:]]:
            raise unsupported(path, f"its inner chunks are {chunk}, expected one sample each")
        self.samples_per_shard = about["chunk_grid"]["configuration"]["chunk_shape"][0]
        self.index_first = sharding.get("index_location", "end") == "start"
        self.index_has_checksum = any(codec["name"] == "crc32c" for codec in sharding["index_codecs"])
        self.codecs = Codecs(path, sharding["codecs"], about["data_type"], chunk)
        self.fill = fill_value(about["fill_value"], self.codecs.dtype)
        self.open_shard = lru_cache(open_shards)(self.open_shard)
        self.free = deque(maxlen=3)

    def allocate(self, count):
        """Memory of `count` samples, as stored, and as one array in the order of the metadata."""
        flat = np.asarray(Reused(self.free, count * self.codecs.nbytes)).view(self.codecs.dtype)
        stored = flat.reshape(count, *self.codecs.stored_shape[1:])
        return stored, stored.transpose(self.codecs.axes)

    def locate(self, row):
        """Where a sample is stored: its shard, offset and size in bytes. The size is 0 if it is not stored."""
        number, within = divmod(row, self.samples_per_shard)
        shard = self.open_shard(number)
        at, size = shard.index[within].tolist()
        return (shard, 0, 0) if at == MISSING else (shard, at, size)

    def prefetch(self, shard, at, size):
        """Lets the system read the samples of a batch from the disk at the same time."""
        if size and shard.map and hasattr(shard.map, "madvise"):
            start = at - at % mmap.PAGESIZE
            shard.map.madvise(mmap.MADV_WILLNEED, start, at + size - start)

    def read(self, row, shard, at, size, out):
        """Decodes a sample into `out`."""
        if not size:
            out[...] = self.fill
            return
        try:
            self.codecs.decode(shard.bytes(at, size), out, self.check)
        except Exception as problem:
            raise ValueError(f"{shard.path}: sample {row} of the split: {problem}. {HOW_TO_REPAIR}") from problem

    def open_shard(self, number):
        return Shard(os.path.join(self.path, chunk_key(self.about, number)), self)


def chunk_key(about, number):
    """The name of a shard, or of a chunk of an index column, in the folder of its array. `about` is the array's metadata."""
    separator = about["chunk_key_encoding"].get("configuration", {}).get("separator", "/")
    return separator.join(map(str, ["c", number, *[0] * (len(about["shape"]) - 1)]))


def missing(path):
    """pointshard writes all shards and chunks, also those of nothing but fill values."""
    return FileNotFoundError(f"{path} is missing. {HOW_TO_REPAIR}")


HOW_TO_REPAIR = "Run `pointshard check OUT --repair`, then start the training again"


class Shard:
    """An open shard. `index` has the offset and the size of each sample."""

    def __init__(self, path, array):
        self.path, self.map, self.file = path, None, None
        try:
            self.file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise missing(path) from None
        self.size = os.fstat(self.file).st_size
        if array.memory_map and self.size:
            self.map = mmap.mmap(self.file, 0, access=mmap.ACCESS_READ)
            self.view = memoryview(self.map)
            os.close(self.file)
            self.file = None
        self.index = self.read_index(array)

    def read_index(self, array):
        count = array.samples_per_shard
        length = 16 * count + 4 * array.index_has_checksum
        if self.size < length:
            raise self.damaged(f"it has {self.size} bytes, fewer than its index of {length}")
        data = self.bytes(0 if array.index_first else self.size - length, length)
        if array.index_has_checksum and crc32c.crc32c(data[: 16 * count]) != int.from_bytes(data[16 * count :], "little"):
            raise self.damaged("the checksum of its index is wrong: it is truncated, or not written to the end")
        index = np.frombuffer(data, "<u8", 2 * count).reshape(count, 2).copy()
        stored = index[index[:, 0] != MISSING]
        if (stored[:, 1] == 0).any() or (stored > self.size).any() or (stored.sum(1) > self.size).any():
            raise self.damaged(f"its index has a sample beyond its end at {self.size} bytes")
        return index

    def bytes(self, at, size):
        if self.map:
            return self.view[at : at + size]
        data = os.pread(self.file, size, at)
        if len(data) != size:
            raise self.damaged(f"{len(data)} of {size} bytes at {at} could be read: it became shorter")
        return data

    def damaged(self, problem):
        return ValueError(f"{self.path} is damaged: {problem}. {HOW_TO_REPAIR}")

    def __del__(self):
        if self.file is not None:
            os.close(self.file)


class Codecs:
    """The codecs of a chunk of the shape `shape`. They decode into memory of the shape `stored_shape`."""

    def __init__(self, path, codecs, data_type, shape):
        self.dtype = np.dtype(data_type)
        self.nbytes = self.dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self.checksum, self.compressor, order = False, None, list(range(len(shape)))
        for codec in codecs:
            name, options = codec["name"], codec.get("configuration", {})
            if self.checksum:
                raise unsupported(path, f"the codec `{name}` comes after `crc32c`")
            if name == "transpose":
                order = [order[axis] for axis in options["order"]]
            elif name == "bytes" and (self.dtype.itemsize == 1 or options.get("endian") == "little"):
                self.dtype = self.dtype.newbyteorder("<")
            elif name in ("zstd", "blosc") and self.compressor is None:
                self.compressor = unzstd if name == "zstd" else unblosc
            elif name == "crc32c":
                self.checksum = True
            else:
                raise unsupported(path, f"it has the codec {json.dumps(codec)}")
        if order[0] != 0:
            raise unsupported(path, f"the codec `transpose` has the order {order}, which moves samples")
        self.stored_shape = [shape[axis] for axis in order]
        self.axes = np.argsort(order)

    def decode(self, data, out, check):
        if self.checksum:
            stored, data = int.from_bytes(data[-4:], "little"), data[:-4]
            if check and crc32c.crc32c(data) != stored:
                raise ValueError("the checksum is wrong")
        if self.compressor:
            self.compressor(data, out)
        else:
            expect_bytes(len(data), out)
            np.copyto(out, np.frombuffer(data, out.dtype).reshape(out.shape))


def expect_bytes(found, out):
    if found != out.nbytes:
        raise ValueError(f"it has {found} bytes, expected {out.nbytes}")


DECODERS = threading.local()


def unzstd(data, out):
    if not hasattr(DECODERS, "zstd"):
        DECODERS.zstd = zstandard.ZstdDecompressor()  # cannot be shared by threads
    with DECODERS.zstd.stream_reader(data) as frame:
        expect_bytes(frame.readinto(out.reshape(-1).view(np.uint8)) + len(frame.read(1)), out)


def unblosc(data, out):
    from numcodecs import blosc

    blosc.use_threads = False  # else one sample is decoded at a time
    if len(data) < 16 or int.from_bytes(data[12:16], "little") != len(data):
        raise ValueError("it is no frame of blosc")
    expect_bytes(int.from_bytes(data[4:8], "little"), out)
    blosc.decompress(data, out)


class Reused:
    """Memory that goes back to `free` when the last array or tensor that refers to it is gone."""

    def __init__(self, free, nbytes):
        self.free = free
        try:
            self.memory = free.pop()
        except IndexError:
            self.memory = np.empty(0, np.uint8)
        if self.memory.nbytes < nbytes:
            self.memory = np.empty(nbytes, np.uint8)
        self.__array_interface__ = self.memory[:nbytes].__array_interface__

    def __del__(self):
        self.free.append(self.memory)


def read_column(path):
    about = read_json(path, "zarr.json")
    chunk = about["chunk_grid"]["configuration"]["chunk_shape"]
    codecs = Codecs(path, about["codecs"], about["data_type"], chunk)
    parts = []
    for number in range(-(-about["shape"][0] // chunk[0])):
        part, file = np.empty(codecs.stored_shape, codecs.dtype), os.path.join(path, chunk_key(about, number))
        try:
            with open(file, "rb") as stored:
                codecs.decode(stored.read(), part, check=True)
        except FileNotFoundError:
            raise missing(file) from None
        parts.append(part.transpose(codecs.axes))
    return np.concatenate(parts)[: about["shape"][0]]


def fill_value(value, dtype):
    """A fill value in metadata: a number, "NaN", "Infinity", "-Infinity", or bytes such as "0x7fc00000"."""
    if isinstance(value, str) and value.startswith("0x"):
        return np.array(int(value, 16), f"<u{dtype.itemsize}").view(dtype)
    return np.array(value, dtype)


def unsupported(path, problem):
    return ValueError(f"{path}: {problem}. Read it with tensorstore or zarr-python")


def read_json(url, name):
    if "://" not in url:
        with open(os.path.join(url, name), encoding="utf-8") as file:
            return json.load(file)
    import tensorstore as ts

    store = ts.KvStore.open(kvstore(url)).result()
    if not (found := store.read(name).result()).value:
        raise FileNotFoundError(f"{url}/{name}")
    return json.loads(found.value)


def kvstore(url):
    """tensorstore's spec of a URL. Set AWS_ENDPOINT_URL for an S3 server other than Amazon's."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if not url.startswith("s3://") or not endpoint:
        return url + "/"
    bucket, _, path = url.removeprefix("s3://").partition("/")
    region = os.environ.get("AWS_REGION", "us-east-1")
    return {"driver": "s3", "bucket": bucket, "path": path + "/", "endpoint": endpoint, "aws_region": region}


class RemoteArrays:
    """Arrays behind a URL. tensorstore reads a missing shard or chunk as fill values; here it is an error."""

    def __init__(self, url, names, threads):
        self.url, self.arrays, self.found = url, open_with_tensorstore(url, names, threads), set()

    def read(self, rows):
        reads = {name: array[rows].read() for name, array in self.arrays.items()}
        self.expect_stored(rows)
        return {name: read.result() for name, read in reads.items()}

    def expect_stored(self, rows):
        """Reads one byte of each shard that has some of the rows, at the same time as the rows, and once only."""
        reads = {}
        for name, array in self.arrays.items():
            samples_per_shard = array.chunk_layout.write_chunk.shape[0]
            for number in {row // samples_per_shard for row in rows}:
                if (name, number) not in self.found:
                    key = chunk_key(array.spec().to_json()["metadata"], number)
                    reads[name, number] = key, array.kvstore.read(key, byte_range=slice(0, 1))
        for (name, number), (key, read) in reads.items():
            if read.result().state == "missing":
                raise missing(f"{self.url}/{name}/{key}")
            self.found.add((name, number))


def open_with_tensorstore(url, names, threads, cache_bytes=64 << 20):
    import tensorstore as ts

    # The cache holds the indexes of shards. A finished dataset never changes, so nothing is read again.
    limits = {"cache_pool": {"total_bytes_limit": cache_bytes}, "data_copy_concurrency": {"limit": threads}}
    options = {"driver": "zarr3", "recheck_cached_metadata": "open", "recheck_cached_data": "open"}
    context = ts.Context(limits)
    specs = [{**options, "kvstore": kvstore(f"{url}/{name}")} for name in names]
    return {name: ts.open(spec, read=True, context=context).result() for name, spec in zip(names, specs)}
