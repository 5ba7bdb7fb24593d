"""The reader docs/trainers/windows.py: the same samples as other libraries read, and clear errors on damaged files."""

import gc
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import crc32c
import numpy as np
import pytest
import zarr
from numcodecs import blosc, zstd
from program import REPOSITORY, checked_dataset
from readers import SPLITS, with_tensorstore, with_zarr
from server_fixtures import require_tool
from servers import Nginx, nginx_binary, static
from test_codecs import CODECS, arrays
from windows import Windows
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec

ROWS = [5, 0, 11, 3, 3, 10, 1]


def group_of(folder, samples, names):
    """A group that looks like a split to `Windows`."""
    group = zarr.create_group(folder, attributes={"pointshard": {"samples": samples, "arrays": dict.fromkeys(names, {})}})
    return group


def shard_files(array):
    return sorted(p for p in Path(array).rglob("*") if p.is_file() and p.name != "zarr.json")


@pytest.fixture(scope="module", params=[*CODECS, "lz4 cxyz", "none cxyz"])
def coded(request, shared, tmp_path_factory):
    """A dataset of pointshard with one codec; in `nothing` no sample is stored. Tests must not change it."""
    codec, *axis_order = request.param.split()
    nothing = {"layer": "label0", "transform": {"equals": 200}}
    kinds = {**arrays(CODECS[codec][0]), "nothing": nothing}
    changes = {"axis_order": axis_order[0]} if axis_order else {}
    return checked_dataset(tmp_path_factory.mktemp("coded"), arrays=kinds, **changes)


@pytest.fixture
def uncoded(shared, tmp_path):
    """A split that the test may change: one array, no codec but the checksum."""
    return checked_dataset(tmp_path, arrays={"img": {"layer": "img", "codec": "none"}}) / "train.zarr"


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("options", [{}, {"threads": 1, "check": True}, {"threads": 5, "memory_map": False}], ids=str)
def test_every_codec_reads_as_zarr_python_and_tensorstore_read_it(coded, split, options):
    windows, stored = Windows(coded / f"{split}.zarr", **options), with_zarr(coded, split)
    rows = [row % len(windows) for row in ROWS]
    batch = windows.__getitems__(rows)
    assert set(batch) == {*arrays("none"), "nothing"}
    for name, values in batch.items():
        wanted = stored[name][:]
        assert values.dtype == wanted.dtype and values.flags.writeable
        np.testing.assert_array_equal(values, wanted[rows])
        np.testing.assert_array_equal(values, with_tensorstore(coded, split, name)[rows].read().result())
        np.testing.assert_array_equal(windows[3][name], wanted[3])
    assert np.unique(batch["img"]).size > 1 and not batch["nothing"].any()


def test_index_columns_read_as_zarr_python_reads_them(coded):
    windows, stored = Windows(coded / "train.zarr"), with_zarr(coded, "train")
    columns = [name for name in stored.array_keys() if name not in windows.arrays]
    assert {"annotation_id", "box", "center_nm", "img_nonzero_fraction"} <= set(columns)
    for name in columns:
        values, wanted = windows.column(name), stored[name][:]
        assert values.dtype == wanted.dtype
        np.testing.assert_array_equal(values, wanted)


@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize(
    ("data_type", "fill"),
    [
        *[(f"{kind}{bits}", 7) for kind in ("int", "uint") for bits in (8, 16, 32, 64)],
        ("uint64", 2**64 - 1), ("int64", -(2**63)), ("float32", np.nan), ("float64", -np.inf), ("float32", 0.1),
    ],
)  # fmt: skip
def test_every_type_fill_value_index_location_and_separator(tmp_path, data_type, fill, location, separator):
    """Written by zarr-python."""
    shape = (11, 2, 3, 4, 5)
    values = np.random.default_rng(3).integers(0, 100, shape).astype(data_type)
    values[[2, 4, 5, 6, 7]] = fill    # samples that are not stored, among them one shard
    group = group_of(tmp_path, 11, ["a"])
    sharding = ShardingCodec(chunk_shape=(1, *shape[1:]), codecs=[BytesCodec(), Crc32cCodec()], index_location=location)
    array = zarr.create_array(
        group.store, name="a", shape=shape, dtype=data_type, chunks=(4, *shape[1:]), serializer=sharding, compressors=None,
        filters=None, fill_value=np.dtype(data_type).type(fill), chunk_key_encoding={"name": "default", "separator": separator},
    )  # fmt: skip
    array[:] = values
    written = {str(p.relative_to(tmp_path / "a")).split(separator)[1] for p in shard_files(tmp_path / "a")}
    assert written == {"0", "2"}, "the second shard has nothing but fill values"
    rows = [row for row in range(11) if row // 4 != 1]
    found = Windows(tmp_path, check=True).__getitems__(rows)["a"]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values[rows])
    # pointshard writes all shards, so a missing file is an error.
    with pytest.raises(FileNotFoundError, match=r"is missing. Run `pointshard check OUT --repair`"):
        Windows(tmp_path)[4]


@pytest.mark.parametrize("order", [(0, 1, 4, 3, 2), (0, 2, 3, 4, 1), (0, 1, 2, 3, 4)], ids=str)
@pytest.mark.parametrize("codecs", [[], [ZstdCodec(level=3)], [ZstdCodec(level=3, checksum=True)], [BloscCodec(typesize=2)]], ids=len)
def test_any_order_of_axes_with_any_compressor(tmp_path, order, codecs):
    values = np.random.default_rng(3).integers(0, 9, (6, 2, 3, 4, 5)).astype("u2")
    group = group_of(tmp_path, 6, ["a"])
    inner = [TransposeCodec(order=order), BytesCodec(), *codecs]
    sharding = ShardingCodec(chunk_shape=(1, *values.shape[1:]), codecs=inner)
    array = zarr.create_array(
        group.store, name="a", shape=values.shape, dtype="u2", chunks=(3, *values.shape[1:]), serializer=sharding,
        compressors=None, filters=None,
    )  # fmt: skip
    array[:] = values
    np.testing.assert_array_equal(Windows(tmp_path).__getitems__([5, 0, 2])["a"], values[[5, 0, 2]])


@pytest.mark.parametrize(
    ("chunk", "codecs", "expected"),
    [
        ((1, 2, 3), [BytesCodec(), GzipCodec()], r"a: it has the codec {\"name\": \"gzip\""),
        ((1, 2, 3), [TransposeCodec(order=(1, 0, 2)), BytesCodec()], r"the order \[1, 0, 2\], which moves samples"),
        ((2, 2, 3), [BytesCodec()], r"its inner chunks are \[2, 2, 3\], expected one sample each"),
        (None, [], "its inner chunks are None, expected one sample each"),
    ],
)
def test_an_array_that_pointshard_does_not_write_is_an_error(tmp_path, chunk, codecs, expected):
    group = group_of(tmp_path, 4, ["a"])
    how = {"serializer": ShardingCodec(chunk_shape=chunk, codecs=codecs)} if chunk else {}
    zarr.create_array(
        group.store, name="a", shape=(4, 2, 3), dtype="u1", chunks=(4, 2, 3), compressors=None, filters=None, **how
    )[:] = 1
    with pytest.raises(ValueError, match=expected) as error:
        Windows(tmp_path)[0]
    assert "Read it with tensorstore or zarr-python" in str(error.value)


def test_a_path_that_is_no_split_and_an_unknown_array_are_errors(vnc, tmp_path):
    for path in (vnc, tmp_path, vnc / "train.zarr/img"):
        with pytest.raises(FileNotFoundError, match=f"{path} is no split of a dataset; expected a path such as OUT/train.zarr"):
            Windows(path)
    with pytest.raises(ValueError, match=r"has no array \['em'\]; it has \['img', 'label0', 'label1'\]"):
        Windows(vnc / "train.zarr", ["img", "em"])


def test_rows_count_from_the_end_and_must_exist(vnc):
    windows = Windows(vnc / "train.zarr", ["img"])
    count = len(windows)
    np.testing.assert_array_equal(windows[-1]["img"], windows[np.int64(count - 1)]["img"])
    assert sum(1 for _ in windows) == count
    for row in (count, -count - 1):
        with pytest.raises(IndexError, match=f"has {count} samples, so there is no sample {row}"):
            windows.__getitems__([0, row])


def test_a_mask_or_a_fraction_is_not_a_row(vnc):
    windows = Windows(vnc / "train.zarr", ["img"])
    mask = np.arange(len(windows)) > 3
    for rows in (mask, mask.tolist(), [0, True], [1.9], [np.float32(2)], ["1"], [[0, 1]], [None]):
        with pytest.raises(TypeError):
            windows.__getitems__(rows)
    with pytest.raises(TypeError, match=r"train.zarr: a row is np.False_, expected an integer. For a mask use np.flatnonzero"):
        windows.__getitems__(mask)
    for row in (1.9, True, np.True_):
        with pytest.raises(TypeError, match="expected an integer"):
            windows[row]
    rows = np.flatnonzero(mask)
    for same in (rows, rows.astype("u1"), rows.tolist()):
        np.testing.assert_array_equal(windows.__getitems__(same)["img"], with_zarr(vnc, "train")["img"][:][mask])


@pytest.mark.parametrize("codec", ["none", "zstd", "lz4"])
def test_a_flipped_bit_is_found_on_request(shared, tmp_path, codec):
    split = checked_dataset(tmp_path, arrays={"img": {"layer": "img", "codec": codec}}) / "train.zarr"
    (first, *_) = shard_files(split / "img")
    data = bytearray(first.read_bytes())
    index = np.frombuffer(data[-52:-4], "<u8").reshape(3, 2)
    data[int(index[1].sum()) - 5] ^= 1    # the last value of the second sample
    first.write_bytes(data)
    windows = Windows(split, check=True)
    windows.__getitems__([0, 2])
    with pytest.raises(ValueError, match=f"{first}: sample 1 of the split: the checksum is wrong. Run `pointshard check"):
        windows.__getitems__([0, 1, 2])
    if codec == "none":
        Windows(split).__getitems__([1])    # not requested


@pytest.mark.parametrize("codec", ["zstd", "lz4", "blosc", "none"])
@pytest.mark.parametrize("checks", [True, False])
def test_a_sample_of_another_size_or_of_noise_is_an_error_and_no_other_is_affected(shared, tmp_path, codec, checks):
    split = checked_dataset(tmp_path, arrays={"img": {"layer": "img", "codec": codec}}) / "train.zarr"
    (first, *_) = shard_files(split / "img")
    good, data = Windows(split)[0]["img"].copy(), first.read_bytes()
    index = np.frombuffer(data[-52:-4], "<u8").reshape(3, 2).copy()
    at, size = (int(n) for n in index[1])
    for replacement in (data[at : at + size // 2], os.urandom(size), b"1234", b"1", data[at : at + size] * 2):
        changed = index.copy()
        changed[1] = len(data), len(replacement)
        table = changed.tobytes()
        first.write_bytes(data + replacement + table + crc32c.crc32c(table).to_bytes(4, "little"))
        windows = Windows(split, check=checks)
        if len(replacement) == size and codec == "none" and not checks:
            continue    # values cannot be told from noise without a checksum
        with pytest.raises(ValueError, match=f"{first}: sample 1 of the split: "):
            windows[1]
        np.testing.assert_array_equal(windows[0]["img"], good)


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_whole_frame_of_fewer_or_more_values_is_an_error(shared, tmp_path, codec, checks):
    split = checked_dataset(tmp_path, arrays={"img": {"layer": "img", "codec": codec}}) / "train.zarr"
    (first, *_) = shard_files(split / "img")
    data, values = first.read_bytes(), Windows(split)[1]["img"].tobytes()
    for other in (values[:-1], values + b"1", b""):
        frame = zstd.compress(other, 1) if codec == "zstd" else blosc.compress(other, b"lz4", 5, 0)
        frame += crc32c.crc32c(frame).to_bytes(4, "little")
        index = np.frombuffer(data[-52:-4], "<u8").reshape(3, 2).copy()
        index[1] = len(data), len(frame)
        table = index.tobytes()
        first.write_bytes(data + frame + table + crc32c.crc32c(table).to_bytes(4, "little"))
        with pytest.raises(ValueError, match=f"{first}: sample 1 of the split: it has .* bytes, expected {len(values)}"):
            Windows(split, check=checks)[1]


def test_an_index_with_a_wrong_checksum_is_an_error(uncoded):
    (first, *_) = shard_files(uncoded / "img")
    data = first.read_bytes()
    index = np.frombuffer(data[-52:-4], "<u8").reshape(3, 2)
    first.write_bytes(data[:-52] + index[[1, 0, 2]].tobytes() + data[-4:])    # two samples exchanged
    with pytest.raises(ValueError, match=f"{first} is damaged: the checksum of its index is wrong"):
        Windows(uncoded)[0]


@pytest.mark.parametrize("memory_map", [True, False])
@pytest.mark.parametrize("kept", [0, 1, 30, 52, 2000, -1])
def test_a_truncated_shard_is_an_error_that_names_the_file(uncoded, kept, memory_map):
    (first, *_) = shard_files(uncoded / "img")
    os.truncate(first, kept if kept >= 0 else first.stat().st_size - 1)
    with pytest.raises(ValueError, match=f"{first} is damaged: .*Run `pointshard check OUT --repair`"):
        Windows(uncoded, memory_map=memory_map)[0]


def test_an_index_that_points_beyond_the_file_is_an_error(uncoded):
    (first, *_) = shard_files(uncoded / "img")
    data = first.read_bytes()
    for entry in ((len(data), 10), (2**64 - 2, 3), (5, 2**64 - 3), (0, len(data) + 1), (5, 0)):
        index = np.frombuffer(data[-52:-4], "<u8").reshape(3, 2).copy()
        index[1] = entry
        table = index.tobytes()
        first.write_bytes(data[:-52] + table + crc32c.crc32c(table).to_bytes(4, "little"))
        with pytest.raises(ValueError, match=f"{first} is damaged: its index has a sample beyond its end"):
            Windows(uncoded)[0]


def test_a_shard_that_becomes_shorter_while_it_is_open_is_an_error_without_memory_map(uncoded):
    (first, *_) = shard_files(uncoded / "img")
    windows = Windows(uncoded, memory_map=False)
    windows[0]
    os.truncate(first, 100)
    with pytest.raises(ValueError, match="bytes at 0 could be read: it became shorter"):
        windows[0]


def test_memory_is_used_again_but_never_while_an_array_refers_to_it(vnc):
    windows = Windows(vnc / "train.zarr", ["img"])
    wanted = with_zarr(vnc, "train")["img"][:12]

    def address(batch):
        return batch["img"].__array_interface__["data"][0]

    first = windows.__getitems__([0, 1, 2])
    part, before = first["img"][1, 0, ::2], address(first)
    del first
    others = [windows.__getitems__([i, i + 1, i + 2]) for i in range(3, 9)]
    assert before not in map(address, others)
    np.testing.assert_array_equal(part, wanted[1, 0, ::2])
    for i, batch in zip(range(3, 9), others):
        np.testing.assert_array_equal(batch["img"], wanted[i : i + 3])
    del part, others, batch
    gc.collect()
    kept = [memory.__array_interface__["data"][0] for memory in windows.opened["img"].free]
    assert len(kept) == 3, "more is given back to the system"
    assert [address(windows.__getitems__([4, 5, 6])) for _ in range(5)] == 5 * [kept[-1]]


def test_smaller_and_larger_batches_follow_each_other(vnc):
    windows, wanted = Windows(vnc / "train.zarr", ["img"]), with_zarr(vnc, "train")["img"][:]
    for rows in ([0, 1, 2], [3], [4, 5, 6, 7, 8], [], [9, 10]):
        np.testing.assert_array_equal(windows.__getitems__(rows)["img"], wanted[rows])


def test_many_threads_of_a_program_can_read_at_the_same_time(vnc):
    windows, wanted = Windows(vnc / "train.zarr", threads=3, open_shards=3), with_zarr(vnc, "train")
    wanted = {name: wanted[name][:] for name in windows.arrays}
    problems = []

    def read(seed):
        try:
            for _ in range(20):
                rows = np.random.default_rng(seed).permutation(len(windows))[:5]
                for name, values in windows.__getitems__(rows).items():
                    np.testing.assert_array_equal(values, wanted[name][rows])
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


@pytest.mark.parametrize("memory_map", [True, False])
def test_the_number_of_open_files_is_limited(vnc, memory_map):
    def open_files():
        return sum(str(vnc) in os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd"))

    windows = Windows(vnc / "train.zarr", open_shards=6, memory_map=memory_map)
    assert len(shard_files(vnc / "train.zarr/img")) > 3
    for row in range(len(windows)):
        windows[row]
    gc.collect()
    assert open_files() <= 6
    del windows
    gc.collect()
    assert open_files() == 0


# In a program of its own: other tests import libraries whose threads do not survive a fork.
ANOTHER_PROCESS = """
import multiprocessing, sys
from windows import Windows

def sums(windows, pipe):
    pipe.send([int(windows[row]["img"].sum(dtype="u8")) for row in range(12)])

if __name__ == "__main__":
    windows = Windows(sys.argv[1], threads=3)
    windows.__getitems__(range(8))    # starts threads, which do not survive a fork
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context(sys.argv[2]).Process(target=sums, args=(windows, there))
    process.start()
    assert here.poll(60), "the process does not answer"
    print(here.recv())
    process.join()
    sys.exit(process.exitcode)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_another_process_reads_after_this_one_has_read(vnc, method, tmp_path):
    (tmp_path / "program.py").write_text(ANOTHER_PROCESS)
    command = [sys.executable, tmp_path / "program.py", vnc / "train.zarr", method]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "docs/trainers")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [int(v.sum(dtype="u8")) for v in with_zarr(vnc, "train")["img"][:12]]


def test_a_pickled_reader_is_small_and_reads_the_same(vnc):
    windows = Windows(vnc / "train.zarr")
    before = windows.__getitems__([3, 4])
    data = pickle.dumps(windows)
    assert len(data) < 100_000
    for name, values in pickle.loads(data).__getitems__([3, 4]).items():
        np.testing.assert_array_equal(values, before[name])


def test_a_server_gives_the_same_samples_and_columns(vnc, tmp_path):
    require_tool(nginx_binary(), "nginx", "apt install nginx-light")
    nginx, local = Nginx(tmp_path, {"http": static(vnc)}), Windows(vnc / "train.zarr")
    try:
        remote = Windows(f"{nginx.url('http')}/train.zarr/")
        assert len(remote) == len(local) and remote.metadata == local.metadata
        for name, values in remote.__getitems__(ROWS).items():
            np.testing.assert_array_equal(values, local.__getitems__(ROWS)[name])
        for column in ("box", "center_nm"):
            np.testing.assert_array_equal(remote.column(column), local.column(column))
        with pytest.raises(FileNotFoundError, match="is no split of a dataset"):
            Windows(nginx.url("http"))
    finally:
        nginx.stop()


def test_a_missing_shard_or_chunk_of_a_column_is_an_error_from_a_server_and_from_files(vnc, tmp_path):
    require_tool(nginx_binary(), "nginx", "apt install nginx-light")
    shutil.copytree(vnc / "train.zarr", tmp_path / "data/train.zarr")
    split = tmp_path / "data/train.zarr"
    nginx = Nginx(tmp_path, {"http": static(split.parent)})
    try:
        for url in (str(split), f"{nginx.url('http')}/train.zarr"):
            before = Windows(url)
            last = len(before) - 1
            kept, boxes = before[last]["img"].copy(), before.column("box")
            shard, chunk = shard_files(split / "img")[0], shard_files(split / "box")[0]
            shard.rename(tmp_path / "shard")
            chunk.rename(tmp_path / "chunk")
            for windows in (before, Windows(url), pickle.loads(pickle.dumps(before))):
                np.testing.assert_array_equal(windows[last]["img"], kept)
                for rows in ([0], [last, 0]):
                    expected = f"{url}/{shard.relative_to(split)} is missing. Run `pointshard check OUT --repair`"
                    with pytest.raises(FileNotFoundError, match=expected):
                        windows.__getitems__(rows)
                expected = f"{url}/{chunk.relative_to(split)} is missing. Run `pointshard check OUT --repair`"
                with pytest.raises(FileNotFoundError, match=expected):
                    windows.column("box")
            (tmp_path / "shard").rename(shard)
            (tmp_path / "chunk").rename(chunk)
            np.testing.assert_array_equal(Windows(url).column("box"), boxes)
            assert Windows(url)[0]["img"].any()
    finally:
        nginx.stop()


def test_each_shard_behind_a_url_is_looked_up_once(vnc, tmp_path):
    require_tool(nginx_binary(), "nginx", "apt install nginx-light")
    nginx = Nginx(tmp_path, {"http": static(vnc)})
    try:
        windows = Windows(f"{nginx.url('http')}/train.zarr")
        for rows in (ROWS, ROWS[::-1], [0], range(len(windows))):
            windows.__getitems__(rows)
        found = [request.path for request in nginx.requests("http") if request.range == "bytes=0-0"]
    finally:
        nginx.stop()
    shards = [file for name in windows.arrays for file in shard_files(vnc / "train.zarr" / name)]
    assert sorted(found) == sorted(f"/{shard.relative_to(vnc)}" for shard in shards)


def test_a_file_url_is_a_local_path(vnc, tmp_path):
    shutil.copytree(vnc / "val.zarr", tmp_path / "with space.zarr")
    a, b = Windows(f"file://{tmp_path}/with space.zarr", check=True), Windows(vnc / "val.zarr")
    np.testing.assert_array_equal(a[1]["img"], b[1]["img"])
