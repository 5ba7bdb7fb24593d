"""Windows of compresso and crackle layers, written with the encoders that CloudVolume uses, equal those that numpy cuts."""

import gzip
import json

import compresso
import crackle
import numpy as np
import pytest
import tensorstore
from one_array_job import RESOLUTION, SHAPE, check_windows, job_error
from program import pointshard
from volumes import Volume

ORIGIN, CHUNK = (5, -3, 2), (16, 16, 8)

# As in cloudvolume/chunks.py, and every option that changes the stream.
OPTIONS = {
    "compresso": ("compresso", {}),
    "compresso version 0": ("compresso", {"random_access_z_index": False}),
    "compresso 8 x 8": ("compresso", {"steps": (8, 8, 1)}),
    "compresso along z": ("compresso", {"steps": (4, 4, 2), "connectivity": 6}),
    "crackle": ("crackle", {}),
    "crackle pins": ("crackle", {"allow_pins": 1}),
    "crackle Markov": ("crackle", {"markov_model_order": 3}),
    "crackle all": ("crackle", {"allow_pins": 2, "markov_model_order": 5}),
}


def encode(chunk, option):
    encoding, options = OPTIONS[option]
    return bytes({"compresso": compresso, "crackle": crackle}[encoding].compress(chunk, **options))


def labels(dtype, kind="cells", seed=1):
    """Labels [x, y, z] up to the highest of the type."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, np.iinfo(dtype).max, 30, dtype=dtype, endpoint=True)
    ids[:2] = 0, np.iinfo(dtype).max
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    picks = {
        "cells": ((x - 19) ** 2 + (y - 16) ** 2 + 6 * (z - 5) ** 2) // 50 % 30,
        "noise": random.integers(0, 30, SHAPE),
        "sparse cells": np.where(random.random(SHAPE) < 0.02, 7, (x // 9 + y // 7 + z // 3) % 5 * (x % 11 > 0)),
        "one label": np.ones(SHAPE, int),
        "objects along z": (x // 10 + y // 9) % 30,
    }
    return np.asfortranarray(ids[picks[kind]])


def write(folder, values, option, data_type=None, gzipped=False, sharding=None, channels=1):
    """Writes a layer of `values` [x, y, z] at ORIGIN. Chunks at the upper sides are smaller than CHUNK."""
    encoding, _ = OPTIONS[option]
    scale = {"key": "s", "resolution": RESOLUTION, "size": SHAPE, "voxel_offset": ORIGIN, "chunk_sizes": [CHUNK]}
    scale |= {"encoding": encoding} | ({"sharding": sharding} if sharding else {})
    info = {"type": "segmentation", "data_type": data_type or values.dtype.name, "num_channels": channels, "scales": [scale]}
    (folder / "layer/s").mkdir(parents=True)
    (folder / "layer/info").write_text(json.dumps(info))
    grid = [-(-n // c) for n, c in zip(SHAPE, CHUNK)]
    chunks = {}
    for index in np.ndindex(*grid):
        low = [i * c for i, c in zip(index, CHUNK)]
        high = [min(at + c, n) for at, c, n in zip(low, CHUNK, SHAPE)]
        stream = encode(values[tuple(slice(a, b) for a, b in zip(low, high))], option)
        name = "_".join(f"{a + o}-{b + o}" for a, b, o in zip(low, high, ORIGIN))
        chunks[morton(index, grid)] = name, stream
    if sharding:
        base = {"driver": "file", "path": f"{folder / 'layer/s'}/"}
        store = {"driver": "neuroglancer_uint64_sharded", "metadata": sharding, "base": base}
        with tensorstore.Transaction() as transaction:
            shards = tensorstore.KvStore.open(store).result().with_transaction(transaction)
            for chunk_id, (_, stream) in chunks.items():
                shards[chunk_id.to_bytes(8, "big")] = stream
    for name, stream in [] if sharding else chunks.values():
        # On file systems, CloudVolume writes NAME.gz.
        path = folder / "layer/s" / (f"{name}.gz" if gzipped else name)
        path.write_bytes(gzip.compress(stream) if gzipped else stream)
    return f"precomputed://file://{folder / 'layer'}"


def morton(index, grid):
    """The compressed Morton code: a bit of each axis in turn, of those that still have bits."""
    code, at = 0, 0
    for bit in range(32):
        for i, n in zip(index, grid):
            if n > 1 << bit:
                code |= (i >> bit & 1) << at
                at += 1
    return code


def check_layer(folder, values, source):
    check_windows(folder, source, Volume(values, ORIGIN, RESOLUTION))
    pointshard("check", folder / "out", "--source", "--quiet")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("option", OPTIONS)
def test_windows_equal_the_encoded_labels(tmp_path, option, dtype):
    values = labels(dtype)
    check_layer(tmp_path, values, write(tmp_path, values, option))


@pytest.mark.parametrize("kind", ["noise", "sparse cells", "one label", "objects along z"])
@pytest.mark.parametrize("option", OPTIONS)
def test_windows_of_labels_of_any_shape_equal_the_encoded_labels(tmp_path, option, kind):
    values = labels("uint64", kind)
    check_layer(tmp_path, values, write(tmp_path, values, option, gzipped=True))


@pytest.mark.parametrize("encodings", ["raw", "gzip"])
@pytest.mark.parametrize("option", ["compresso", "crackle", "crackle pins"])
def test_windows_of_shards_equal_the_encoded_labels(tmp_path, option, encodings):
    sharding = {
        "@type": "neuroglancer_uint64_sharded_v1",
        "preshift_bits": 1, "hash": "murmurhash3_x86_128", "minishard_bits": 2, "shard_bits": 1,
        "minishard_index_encoding": encodings, "data_encoding": encodings,
    }  # fmt: skip
    values = labels("uint64")
    source = write(tmp_path, values, option, sharding=sharding)
    assert list((tmp_path / "layer/s").glob("*.shard"))
    check_layer(tmp_path, values, source)


@pytest.mark.parametrize("option", ["compresso", "crackle", "crackle pins"])
def test_labels_may_have_another_width_than_the_volume(tmp_path, option):
    values = labels("uint16")
    check_layer(tmp_path, values, write(tmp_path, values, option, data_type="uint64"))
    too_wide = tmp_path / "too wide"
    too_wide.mkdir()
    message = job_error(too_wide, write(too_wide, values, option, data_type="uint8"))
    assert "layer/s/" in message and "does not fit in uint8" in message


@pytest.mark.parametrize("option", ["compresso", "crackle"])
def test_several_channels_and_floats_are_an_error_that_names_the_encoding(tmp_path, option):
    for data_type, channels in (("uint64", 2), ("float32", 1)):
        folder = tmp_path / data_type
        folder.mkdir()
        message = job_error(folder, write(folder, labels("uint64"), option, data_type=data_type, channels=channels))
        assert f"found {option} of {data_type} with {channels} channel(s)" in message


@pytest.mark.parametrize(("option", "words"), [("compresso", "truncated or damaged"), ("crackle", "checksum")])
def test_a_damaged_chunk_is_an_error_that_names_it(tmp_path, option, words):
    source = write(tmp_path, labels("uint64"), option)
    name = "5-21_-3-13_2-10"
    path = tmp_path / "layer/s" / name
    stream = bytearray(path.read_bytes())
    if option == "compresso":
        del stream[-5:]
    else:
        stream[8] ^= 4
    path.write_bytes(stream)
    message = job_error(tmp_path, source, origin=ORIGIN)
    assert name in message and words in message
