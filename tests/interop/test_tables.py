"""Tables of annotations in every format: the same rows give the same samples, exactly, in bounded memory."""

import gzip
import json
import random
import re
import resource
import subprocess
import sys

import numpy as np
import pandas
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
import zarr
from program import binary, error_message, file_digests, manifest, pointshard
from server_fixtures import require_tool
from servers import Nginx, nginx_binary, static
from test_check_source import RESOLUTION, SIZE
from test_preview import write_image

ROWS = 300


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layer")
    write_image(folder, np.random.default_rng(1).integers(1, 200, SIZE).astype("uint8"))
    return folder


@pytest.fixture(scope="module")
def rows():
    """Ids up to 2^64 - 1, positions in voxels of 4 x 4 x 40 nm, root ids that no float can hold."""
    rng = np.random.default_rng(3)
    source = random.Random(3)
    ids = [2**64 - 1, *(source.randrange(2**63, 2**64 - 1) for _ in range(ROWS - 1))]
    return pandas.DataFrame({
        "id": np.array(ids, np.uint64),
        "x": rng.integers(0, 2 * SIZE[0], ROWS),
        "y": rng.integers(0, 2 * SIZE[1], ROWS),
        "z": rng.integers(0, SIZE[2], ROWS) + 0.5,
        "root": np.array([source.randrange(2**60, 2**61) for _ in range(ROWS)], np.uint64),
        "score": rng.random(ROWS).astype(np.float32),
    })


def config(folder, layer, table, **changes):
    points = {"unit": "voxel", "resolution": [4, 4, 40], "point": ["x", "y", "z"], "id": "id"}
    points |= {"file": str(table), "properties": {"root": "uint64", "score": "float32"}, **changes}
    points = {key: value for key, value in points.items() if value is not None}
    high = [n * r for n, r in zip(SIZE, RESOLUTION)]
    boxes = [{"id": "left", "min": [0, 0, 0], "max": [high[0] / 3, *high[1:]], "tags": ["train"]}]
    job = {
        "collection": {"boxes": {"list": boxes, "layers": {"em": f"precomputed://file://{layer}"}}},
        "resolution": RESOLUTION, "window": [4, 4, 2], "points": {"table": points},
        "arrays": {"em": {"layer": "em", "codec": "zstd"}}, "splits": {"train": ["train"]},
    }
    path = folder / "config.json"
    path.write_text(json.dumps(job))
    return path


def samples(out):
    """Columns of the samples, ordered by id."""
    group = zarr.open_group(out / "train.zarr", mode="r")
    order = np.argsort(group["annotation_id"][:])
    names = ("annotation_id", "center_nm", "property_root", "property_score")
    return [group[name][:][order] for name in names]


def expected(rows):
    inside = rows[rows.x * 4 < SIZE[0] * RESOLUTION[0] / 3].sort_values("id")
    centers = inside[["x", "y", "z"]].to_numpy(float) * (4, 4, 40)
    return [inside.id.to_numpy(), centers, inside.root.to_numpy(), inside.score.to_numpy()]


def assert_right(out, rows):
    for found, wanted in zip(samples(out), expected(rows), strict=True):
        assert found.dtype == wanted.dtype and (found == wanted).all()


def with_lists(rows, convert=list):
    """Positions in one column."""
    lists = [convert(row) for row in rows[["x", "y", "z"]].to_numpy(float)]
    return rows.drop(columns=["x", "y", "z"]).assign(position=lists)


def csv_text(rows, **options):
    return rows.to_csv(index=False, **options).encode()


def arrow_table(rows):
    return pyarrow.Table.from_pandas(rows, preserve_index=False)


def fixed_size_lists(rows):
    table = arrow_table(with_lists(rows))
    flat = pyarrow.array(rows[["x", "y", "z"]].to_numpy(float).ravel())
    lists = pyarrow.FixedSizeListArray.from_arrays(flat, 3)
    return table.set_column(table.schema.get_field_index("position"), "position", lists)


def write_zst(path, data):
    with pyarrow.CompressedOutputStream(str(path), "zstd") as out:
        out.write(data)


def parquet(rows, path, **options):
    pyarrow.parquet.write_table(rows if isinstance(rows, pyarrow.Table) else arrow_table(rows), path, **options)


def feather(rows, path, **options):
    pyarrow.feather.write_feather(rows if isinstance(rows, pyarrow.Table) else arrow_table(rows), path, **options)


LISTS = {"point": "position"}
# How a table is written, and what the config says about its columns. No name has the suffix of its format.
WAYS = {
    "csv": (lambda r, p: p.write_bytes(csv_text(r)), {}),
    "csv.gz": (lambda r, p: p.write_bytes(gzip.compress(csv_text(r))), {}),
    "csv.zst": (lambda r, p: write_zst(p, csv_text(r)), {}),
    "tabs": (lambda r, p: p.write_bytes(csv_text(r, sep="\t")), {"delimiter": "\t"}),
    "lists in csv": (lambda r, p: p.write_bytes(csv_text(with_lists(r, np.ndarray.tolist))), LISTS),
    "numpy's lists in csv": (lambda r, p: p.write_bytes(csv_text(with_lists(r, lambda v: str(np.array(v))))), LISTS),
    "lists of numpy's numbers in csv": (lambda r, p: p.write_bytes(csv_text(with_lists(r))), LISTS),
    "parquet": (parquet, {}),
    "parquet, gzip": (lambda r, p: parquet(r, p, compression="gzip"), {}),
    "parquet, zstd": (lambda r, p: parquet(r, p, compression="zstd"), {}),
    "parquet, lz4": (lambda r, p: parquet(r, p, compression="lz4"), {}),
    "parquet, not compressed": (lambda r, p: parquet(r, p, compression="none"), {}),
    "parquet, small row groups": (lambda r, p: parquet(r, p, row_group_size=7), {}),
    "parquet, small pages": (lambda r, p: parquet(r, p, data_page_size=64, write_batch_size=5, write_page_index=True), {}),
    "parquet, version 1": (lambda r, p: parquet(r, p, version="1.0", data_page_version="2.0", use_dictionary=False), {}),
    "parquet, no statistics": (lambda r, p: parquet(r, p, write_statistics=False), {}),
    "parquet, lists": (lambda r, p: parquet(with_lists(r), p), LISTS),
    "parquet, lists of fixed size": (lambda r, p: parquet(fixed_size_lists(r), p), LISTS),
    "parquet, lists as text": (lambda r, p: parquet(with_lists(r, str), p), LISTS),
    "parquet, ids as text": (lambda r, p: parquet(r.assign(id=r.id.astype(str)), p), {}),
    "parquet, ids in a dictionary": (lambda r, p: parquet(r.assign(id=r.id.astype(str).astype("category")), p), {}),
    "feather": (feather, {}),
    "feather, zstd": (lambda r, p: feather(r, p, compression="zstd"), {}),
    "feather, not compressed": (lambda r, p: feather(r, p, compression="uncompressed"), {}),
    "feather, small chunks": (lambda r, p: feather(r, p, chunksize=11), {}),
    "feather, lists": (lambda r, p: feather(with_lists(r), p), LISTS),
    "feather, ids in a dictionary": (lambda r, p: feather(r.assign(id=r.id.astype(str).astype("category")), p), {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_format_gives_the_same_samples(tmp_path, layer, rows, way):
    write, columns = WAYS[way]
    write(rows, tmp_path / "table")
    pointshard("preprocess", config(tmp_path, layer, tmp_path / "table", **columns), "--out", tmp_path / "out")
    assert_right(tmp_path / "out", rows)
    pointshard("check", tmp_path / "out")


def test_shards_do_not_depend_on_the_format(tmp_path, layer, rows):
    digests = []
    for name, write in (("csv", WAYS["csv"][0]), ("parquet", parquet), ("feather", feather)):
        (tmp_path / name).mkdir()
        write(rows, tmp_path / name / "table")
        pointshard("preprocess", config(tmp_path / name, layer, tmp_path / name / "table"), "--out", tmp_path / name / "out")
        digests.append({k: v for k, v in file_digests(tmp_path / name / "out").items() if k.startswith("train.zarr/") and "zarr.json" not in k})
    assert digests[0] == digests[1] == digests[2]


def test_lines_in_parquet_by_each_anchor(tmp_path, layer):
    rng = np.random.default_rng(6)
    ends = {f"{side}_{axis}": rng.integers(0, 2 * n, 500) for side in ("pre", "post") for axis, n in zip("xyz", SIZE)}
    rows = pandas.DataFrame({"id": np.arange(500, dtype=np.uint64), **ends}).sort_values("pre_x")
    parquet(rows, tmp_path / "table", row_group_size=20, write_page_index=True)
    columns = {side: [f"{prefix}_{axis}" for axis in "xyz"] for side, prefix in (("start", "pre"), ("end", "post"))}
    path = config(tmp_path, layer, tmp_path / "table", point=None, properties=None, **columns)
    job = json.loads(path.read_text())
    for anchor in ("start", "end", "midpoint"):
        job["points"]["anchor"] = anchor
        path.write_text(json.dumps(job))
        pointshard("preprocess", path, "--out", tmp_path / anchor)
        start, end = (rows[columns[side]].to_numpy(float) * (4, 4, 40) for side in ("start", "end"))
        at = {"start": start, "end": end, "midpoint": (start + end) / 2}[anchor]
        (box,) = manifest(tmp_path / anchor)["boxes"]
        inside = ((at >= box["min_nm"]) & (at < box["max_nm"])).all(axis=1)
        found = zarr.open_group(tmp_path / anchor / "train.zarr", mode="r")["annotation_id"][:]
        assert 0 < inside.sum() < 500 and sorted(found) == sorted(rows.id[inside])


def test_rows_without_a_position_are_dropped_and_counted(tmp_path, layer, rows):
    holes = rows.astype({"x": float})
    holes.loc[[3, 50], "x"] = np.nan
    kept = rows.drop(index=[3, 50])
    for name, write in (("csv", lambda r, p: p.write_bytes(csv_text(r, na_rep="nan"))), ("parquet", parquet), ("feather", feather)):
        write(holes, tmp_path / name)
        done = pointshard("preprocess", config(tmp_path, layer, tmp_path / name), "--out", tmp_path / f"out_{name}")
        assert_right(tmp_path / f"out_{name}", kept)
        assert "2 annotation" in done.stderr, name


def test_ids_that_may_be_rounded_are_a_warning_and_rows_can_be_numbered(tmp_path, layer, rows):
    floats = rows.assign(id=2.0**54 + 4 * np.arange(ROWS))
    for name, write in (("csv", WAYS["csv"][0]), ("parquet", parquet)):
        write(floats.assign(id=[f"{int(i)}.0" for i in floats.id]) if name == "csv" else floats, tmp_path / name)
        path = config(tmp_path, layer, tmp_path / name)
        done = pointshard("plan", path)
        assert f"{tmp_path / name}: {ROWS} whole numbers are stored as floats" in done.stderr and "may have rounded" in done.stderr
    parquet(rows, tmp_path / "numbered", row_group_size=9, write_page_index=True)
    pointshard("preprocess", config(tmp_path, layer, tmp_path / "numbered", id=None), "--out", tmp_path / "out")
    inside = np.flatnonzero(rows.x * 4 < SIZE[0] * RESOLUTION[0] / 3)
    assert samples(tmp_path / "out")[0].tolist() == inside.tolist()


# For each type of floats: the first whole number that others are rounded to.
ROUNDED_FROM = {"float16": 2**11, "float32": 2**24, "float64": 2**53}


@pytest.mark.parametrize("write", [parquet, feather])
@pytest.mark.parametrize("kind", ROUNDED_FROM)
def test_ids_in_floats_are_those_of_pandas_and_those_that_may_be_rounded_are_a_warning(tmp_path, layer, rows, kind, write):
    first = ROUNDED_FROM[kind]
    for low, count in ((first - ROWS, 0), (first, ROWS)):
        # Numbers of which every one is a float of this type.
        ids = np.arange(ROWS) if count == 0 else 2 * np.arange(ROWS)
        floats = rows.assign(id=(low + ids).astype(kind))
        write(floats, tmp_path / "table")
        done = pointshard("preprocess", config(tmp_path, layer, tmp_path / "table"), "--out", tmp_path / "out", "--force")
        assert_right(tmp_path / "out", floats.assign(id=floats.id.astype(np.uint64)))
        warnings = [line for line in done.stderr.splitlines() if "rounded" in line]
        assert len(warnings) == (count > 0), done.stderr
        if warnings:
            assert f"{count} whole numbers are stored as floats" in warnings[0] and f"for example {first} in `id` of {tmp_path / 'table'}: row 0" in warnings[0]


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_whole_numbers_of_properties_in_floats_are_those_of_pandas_with_a_warning(tmp_path, layer, rows, kind):
    # The shortest text of these floats has other digits than their value.
    floats = rows.assign(root=(864691135463611008 + 10**6 * np.arange(ROWS)).astype(kind))
    for name, write in (("parquet", parquet), ("feather", feather)):
        write(floats, tmp_path / name)
        done = pointshard("preprocess", config(tmp_path, layer, tmp_path / name), "--out", tmp_path / f"out_{name}")
        assert_right(tmp_path / f"out_{name}", floats.assign(root=floats.root.astype(np.uint64)))
        # Properties are read in boxes only.
        inside = len(samples(tmp_path / f"out_{name}")[0])
        assert f"{inside} whole numbers are stored as floats" in done.stderr and "in `root` of" in done.stderr, done.stderr
    (tmp_path / "csv").write_bytes(csv_text(floats.assign(root=[f"{int(v)}.0" for v in floats.root])))
    done = pointshard("plan", config(tmp_path, layer, tmp_path / "csv"))
    assert f"{inside} whole numbers are stored as floats" in done.stderr, done.stderr


def test_lists_of_decimals_are_an_error(tmp_path, layer, rows):
    table = arrow_table(with_lists(rows))
    lists = table["position"].cast(pyarrow.list_(pyarrow.decimal128(12, 2)))
    parquet(table.set_column(table.schema.get_field_index("position"), "position", lists), tmp_path / "table")
    found = error_message("plan", config(tmp_path, layer, tmp_path / "table", point="position"), code=2)
    assert "its column `position` has the type" in found and "expected numbers, text, or lists of numbers" in found, found


@pytest.mark.parametrize("repeated, compared", [(60_000, True), (70_000, False)])
def test_of_a_large_table_with_many_repeated_ids_only_those_in_boxes_are_compared(tmp_path, layer, repeated, compared):
    """More ids than memory holds with their geometries. `compared`: whether repeated ids outside boxes are compared, too."""
    count = 700_000
    high = SIZE[0] * RESOLUTION[0] / 3 / 4
    ids = np.concatenate([np.arange(count), np.arange(repeated)])
    rows = pandas.DataFrame({"id": ids.astype(np.uint64), "x": high + 9.0, "y": 1.0, "z": 1.0})
    rows.loc[rows.id == 5, "x"] = 1.0
    parquet(rows, tmp_path / "table")
    path = config(tmp_path, layer, tmp_path / "table", properties=None)
    memory = ("--memory", "96MiB")
    assert "1 sample" in pointshard("plan", path, *memory).stdout
    # Another geometry in the box is an error, outside of it only if all repeated ids are compared.
    for row, is_found in ((count + 5, True), (count + 7, compared)):
        parquet(rows.assign(y=np.where(rows.index == row, 2.0, 1.0)), tmp_path / "table")
        if is_found:
            found = error_message("plan", path, *memory, code=1)
            assert f"two annotations have the id {row - count}:" in found and f"row {row}" in found, found
        else:
            pointshard("plan", path, *memory)


def test_a_record_batch_that_exceeds_the_memory_is_an_error_and_its_annotations_are_counted(tmp_path, layer):
    """One record batch: all rows are in a box."""
    rows = many_rows(1_200_000, sort=False)
    rows[["x", "y", "z"]] //= 30
    feather(rows, tmp_path / "table", chunksize=len(rows))
    path = config(tmp_path, layer, tmp_path / "table", properties=None)
    job = json.loads(path.read_text())
    job["collection"]["boxes"]["list"][0]["max"] = [10**9] * 3
    path.write_text(json.dumps(job))
    found, peak = failure_and_peak("plan", path, "--memory", "280MiB")
    assert "the annotations inside boxes take more than" in found and peak < 280 << 20, (found, peak)
    found, peak = failure_and_peak("plan", path, "--memory", "64MiB")
    assert "reading a record batch takes" in found and "--memory" in found and peak < 64 << 20, (found, peak)


def failure_and_peak(*arguments):
    """The message of a command that fails, and the most memory that it took, in bytes."""
    script = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True, text=True); assert done.returncode == 1, done;"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); print(done.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, binary(), *map(str, arguments)], check=True, capture_output=True, text=True)
    peak, found = done.stdout.split("\n", 1)
    return found, int(peak) << 10


def test_errors_name_the_key_of_the_table(tmp_path, layer, rows):
    parquet(rows, tmp_path / "table")
    found = error_message("plan", config(tmp_path, layer, tmp_path / "table", id="score"), code=1)
    assert "at `points.table` in the config" in found and f"{tmp_path / 'table'}: row 0: `score` is" in found, found


def test_a_uint64_property_is_filtered_exactly(tmp_path, layer, rows):
    roots = rows.assign(root=np.uint64(2**60 + 1))
    roots.loc[roots.index % 2 == 0, "root"] = np.uint64(2**60)
    for name, write in (("csv", WAYS["csv"][0]), ("parquet", parquet)):
        write(roots, tmp_path / name)
        path = config(tmp_path, layer, tmp_path / name)
        job = json.loads(path.read_text())
        job["points"]["choose"] = {"filter": {"root": {"in": [2**60 + 1]}}}
        path.write_text(json.dumps(job))
        pointshard("preprocess", path, "--out", tmp_path / f"out_{name}")
        wanted = expected(roots[roots.root == np.uint64(2**60 + 1)])
        assert (samples(tmp_path / f"out_{name}")[0] == wanted[0]).all() and len(wanted[0]) > 0


WRONG = {
    "a missing column": ({"point": ["x", "y", "depth"]}, r"no column `depth`.*columns are id, x, y, z"),
    "text as a coordinate": ({"point": ["x", "y", "name"]}, r"row 0: `name` is \"a\"; expected a number"),
    "a list as a coordinate": ({"point": ["x", "y", "pair"]}, r"`pair` is a list of 2 values; expected a number"),
    "two numbers as a position": ({"point": "pair"}, r"row 0: `pair` is a list of 2 values; expected a list of three numbers"),
    "a number as a position": ({"point": "x"}, r"`x` is \d+; expected a list of three numbers"),
    "a time": ({"id": "time"}, r"`time` has the type .*; expected numbers"),
    "a fraction as an id": ({"id": "z"}, r"row 0: `z` is [\d.]+; expected a whole number"),
    "a missing id": ({"id": "gap"}, r"row 5: `gap` is missing"),
    "a property out of range": ({"properties": {"root": "uint32"}}, r"`root` is \d+; expected a whole number in the range of uint32"),
}


@pytest.mark.parametrize("write", [parquet, feather])
@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_column_is_an_error_with_row_and_column(tmp_path, layer, rows, case, write):
    more = rows.assign(name="a", time=pandas.Timestamp("2026-01-01"), z=rows.z)
    more["pair"] = [[1.0, 2.0]] * ROWS
    more["gap"] = pandas.array([1, 2, 3, 4, 5, None] * (ROWS // 6), "UInt64")
    write(more, tmp_path / "table")
    columns, message = WRONG[case]
    # A column that does not exist, or has a type without numbers, is a mistake in the config.
    code = 2 if case in ("a missing column", "a time") else 1
    found = error_message("plan", config(tmp_path, layer, tmp_path / "table", **columns), code=code)
    assert re.search(message, found) and str(tmp_path / "table") in found, found


def test_other_formats_are_named(tmp_path, layer, rows):
    (tmp_path / "v1").write_bytes(b"FEA1" + bytes(100))
    assert "Feather version 1" in error_message("plan", config(tmp_path, layer, tmp_path / "v1"), code=1)
    parquet(rows, tmp_path / "brotli", compression="brotli")
    assert "brotli" in error_message("plan", config(tmp_path, layer, tmp_path / "brotli"), code=1).lower()
    for write in (parquet, feather):
        write(rows, tmp_path / "cut")
        data = (tmp_path / "cut").read_bytes()
        for end in (len(data) - 1, len(data) // 2, 20, 8):
            (tmp_path / "cut").write_bytes(data[:end])
            found = error_message("plan", config(tmp_path, layer, tmp_path / "cut"), code=1)
            assert str(tmp_path / "cut") in found


@pytest.mark.parametrize("write", [parquet, feather])
def test_a_damaged_file_is_an_error_or_read_and_never_a_panic(tmp_path, layer, rows, write):
    write(rows, tmp_path / "good")
    data = (tmp_path / "good").read_bytes()
    path = config(tmp_path, layer, tmp_path / "bad")
    rng = random.Random(9)
    codes = set()
    for _ in range(150):
        bad = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(8, len(bad))] = rng.randrange(256)
        (tmp_path / "bad").write_bytes(bad)
        done = subprocess.run([binary(), "plan", path], capture_output=True, text=True, timeout=60, preexec_fn=limit_memory)
        assert "panicked" not in done.stderr and done.returncode in (0, 1), done.stderr
        codes.add(done.returncode)
    assert codes == {0, 1}


def limit_memory():
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))


def many_rows(count, sort):
    rng = np.random.default_rng(12)
    rows = {axis: rng.integers(0, 20 * n, count) for axis, n in zip("xyz", SIZE)}
    if sort:
        rows["x"].sort()
    return pandas.DataFrame({"id": np.arange(count, dtype=np.uint64), **rows, "root": np.uint64(7), "score": np.float32(0.5)})


def test_of_a_sorted_parquet_file_on_a_server_only_the_near_parts_are_read(tmp_path, layer):
    require_tool(nginx_binary(), "nginx", "apt install nginx")
    rows = many_rows(2_000_000, sort=True)
    parquet(rows, tmp_path / "table.parquet", row_group_size=100_000, write_page_index=True)
    size = (tmp_path / "table.parquet").stat().st_size
    nginx = Nginx(tmp_path, {"tables": static(tmp_path)})
    try:
        path = config(tmp_path, layer, f"{nginx.url('tables')}/table.parquet")
        pointshard("preprocess", path, "--out", tmp_path / "out")
        # The first request reads the beginning, to find the format; how much nginx sends until it is closed varies.
        read = sum(r.body_bytes for r in nginx.requests("tables") if r.range != "-")
    finally:
        nginx.stop()
    high = [n * r for n, r in zip(SIZE, RESOLUTION)]
    inside = (rows.x * 4 < high[0] / 3) & (rows.y * 4 < high[1]) & (rows.z * 40 < high[2])
    assert samples(tmp_path / "out")[0].tolist() == rows.id[inside].tolist()
    assert size > 15 << 20 and 0 < read < size / 2, (read, size)


@pytest.mark.parametrize("write", [parquet, feather])
def test_memory_does_not_grow_with_the_table(tmp_path, layer, write):
    peaks = []
    for count in (200_000, 6_000_000):
        write(many_rows(count, sort=False), tmp_path / "table")
        path = config(tmp_path, layer, tmp_path / "table", properties=None, id=None)
        script = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, capture_output=True);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        command = [sys.executable, "-c", script, binary(), "plan", path, "--memory", "256MiB"]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] < 256 << 10, peaks
