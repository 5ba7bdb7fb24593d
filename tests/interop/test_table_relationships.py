"""Related objects in columns of tables: masks of `object_at` and `choose.related`, against numpy, in every format."""

import gzip
import json

import numpy as np
import pandas
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
from program import error_message, pointshard
from readers import with_zarr
from test_objects_by_id import LARGE, RESOLUTION, blocks, write_layer
from test_related_objects import annotation_rows, assert_masks, related, related_job

FIRST_ID = 2**63 + 12345
TABLE = {"unit": "voxel", "resolution": RESOLUTION, "point": ["x", "y", "z"], "id": "id", "relationships": ["pre", "post"]}


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layer")
    values = blocks(40, 1) * np.uint64(3) + np.where(blocks(40, 1) > 0, np.uint64(LARGE), np.uint64(0))
    return folder / "seg", write_layer(folder / "seg", values)


@pytest.fixture(scope="module")
def rows(layer):
    """Each annotation with several objects `post`, and with one or no object `pre`."""
    rows = annotation_rows(layer[1])
    return [{**row, "id": FIRST_ID + n, "pre": row["pre"][:1]} for n, row in enumerate(rows)]


def frame(rows, post=lambda ids: ids, pre=lambda ids: ids[0] if ids else None, identity=lambda id: id):
    """A column of single ids, and one of lists. The rows of the first annotations occur a second time, with other objects."""
    parts = [(row, row["pre"], row["post"][: len(row["post"]) // 2 if n < 9 else None]) for n, row in enumerate(rows)]
    parts += [(row, [], row["post"][len(row["post"]) // 2 :]) for row in rows[:9]]
    return {
        "id": [identity(row["id"]) for row, _, _ in parts], **{axis: [int(row["point"][d]) for row, _, _ in parts] for d, axis in enumerate("xyz")},
        "pre": [pre(p) for _, p, _ in parts], "post": [post(ids) for _, _, ids in parts],
    }  # fmt: skip


def write_csv(path, columns, **options):
    text = pandas.DataFrame(columns, dtype=object).to_csv(index=False, **options)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_json(path, columns):
    path.write_text(json.dumps([dict(zip(columns, row)) for row in zip(*columns.values())]))


def arrow(columns, lists=pyarrow.list_, pre=pyarrow.uint64()):
    types = {"id": pyarrow.uint64(), "pre": pre, "post": lists(pyarrow.uint64()), **dict.fromkeys("xyz", pyarrow.int64())}
    return pyarrow.table({name: pyarrow.array(values, types[name]) for name, values in columns.items()})


def numpys_text(ids):
    return str(np.array(ids, np.uint64)) if ids else "[]"


WAYS = {
    "csv": lambda r, p: write_csv(p / "t.csv", frame(r)),
    "csv.gz": lambda r, p: write_csv(p / "t.csv.gz", frame(r)),
    "tsv": lambda r, p: write_csv(p / "t.tsv", frame(r), sep="\t"),
    "csv, numpy's lists": lambda r, p: write_csv(p / "t.csv", frame(r, numpys_text)),
    "csv, lists of numpy's numbers": lambda r, p: write_csv(p / "t.csv", frame(r, lambda ids: [np.uint64(i) for i in ids])),
    "csv, tuples": lambda r, p: write_csv(p / "t.csv", frame(r, tuple)),
    "csv, sets": lambda r, p: write_csv(p / "t.csv", frame(r, lambda ids: set(ids) or "{}")),
    "csv, lists of text": lambda r, p: write_csv(p / "t.csv", frame(r, lambda ids: [str(i) for i in ids])),
    "json": lambda r, p: write_json(p / "t.json", frame(r)),
    "json, text": lambda r, p: write_json(p / "t.json", frame(r, lambda ids: [str(i) for i in ids], lambda ids: str(ids[0]) if ids else "", str)),
    "parquet": lambda r, p: pyarrow.parquet.write_table(arrow(frame(r)), p / "t.parquet"),
    "parquet, large lists": lambda r, p: pyarrow.parquet.write_table(arrow(frame(r), pyarrow.large_list), p / "t.parquet"),
    "parquet, null and empty lists": lambda r, p: pyarrow.parquet.write_table(arrow(frame(r, lambda ids: ids or None)), p / "t.parquet", row_group_size=7),
    "parquet, lists as text": lambda r, p: pandas.DataFrame(frame(r, str, str)).astype({"id": "uint64"}).to_parquet(p / "t.parquet"),
    "feather": lambda r, p: pyarrow.feather.write_feather(arrow(frame(r)), p / "t.feather", chunksize=11),
}  # fmt: skip


def config(folder, layer, arrays, file=None, choose=None, **changes):
    table = {key: value for key, value in {**TABLE, **changes}.items() if value is not None}
    table["file"] = file or next(path.name for path in folder.iterdir() if path.name.startswith("t."))
    path = related_job(folder, arrays, {"table": table, **({"choose": choose} if choose else {})})
    text = json.loads(path.read_text())
    text["collection"]["boxes"]["layers"] = {"seg": f"precomputed://{layer[0]}"}
    path.write_text(json.dumps(text))
    return path


ARRAYS = {"pre": related("pre", missing="keep"), "post": related("post", missing="keep"), "both": related(["post", "pre"], missing="keep")}


@pytest.mark.parametrize("way", WAYS)
def test_the_mask_is_the_union_of_the_objects_in_the_columns(tmp_path, layer, rows, way):
    WAYS[way](rows, tmp_path)
    pointshard("preprocess", config(tmp_path, layer, ARRAYS), "--out", tmp_path / "out")
    pointshard("check", "--source", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    assert sorted(group["annotation_id"][:].tolist()) == [row["id"] for row in rows]
    assert_masks(group, layer[1], rows, {
        "pre": {row["id"]: row["pre"] for row in rows}, "post": {row["id"]: row["post"] for row in rows},
        "both": {row["id"]: row["pre"] + row["post"] for row in rows},
    })  # fmt: skip


@pytest.mark.parametrize("way", ["csv", "json, text", "parquet", "feather"])
def test_annotations_are_selected_by_related_objects(tmp_path, layer, rows, way):
    """An annotation counts with the objects of all its rows, and must have one of each relationship."""
    WAYS[way](rows, tmp_path)
    pre = sorted({i for row in rows for i in row["pre"]})[::2]
    post = sorted({i for row in rows for i in row["post"]})[::3]
    own = rows[3]["post"][-1:] + rows[5]["post"][-1:]
    for number, wanted in enumerate([{"post": own}, {"pre": pre, "post": post}, {"pre": [1]}]):
        expected = [row["id"] for row in rows if all(set(row[name]) & set(ids) for name, ids in wanted.items())]
        choose = {"related": {name: [str(i) for i in ids] for name, ids in wanted.items()}}
        path = config(tmp_path, layer, {"post": related("post", missing="keep")}, choose=choose)
        if not expected:
            assert "not_related" in error_message("plan", path, code=1)
            continue
        pointshard("preprocess", path, "--out", tmp_path / f"out{number}")
        group = with_zarr(tmp_path / f"out{number}", "train")
        assert 0 < len(expected) < len(rows) and sorted(group["annotation_id"][:].tolist()) == expected


def test_rows_in_skipped_row_groups_have_no_objects_for_annotations_in_boxes(tmp_path, layer, rows):
    """Another annotation far away may have the same id: the first pass does not see it, so the second one must not, either."""
    near = frame(rows)
    far = {**near, "x": [9000] * len(near["x"]), "post": [[3]] * len(near["x"])}
    both = {name: near[name] + far[name] for name in near}
    pyarrow.parquet.write_table(arrow(both), tmp_path / "t.parquet", row_group_size=len(near["x"]))
    path = config(tmp_path, layer, {"post": ARRAYS["post"]})
    text = json.loads(path.read_text())
    (box,) = text["collection"]["boxes"]["list"]
    box["max"] = [1000.0, 1e6, 1e6]
    path.write_text(json.dumps(text))
    pointshard("preprocess", path, "--out", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    assert_masks(group, layer[1], rows, {"post": {row["id"]: row["post"] for row in rows}})
    text["points"]["choose"] = {"related": {"post": [3]}}
    path.write_text(json.dumps(text))
    assert f"{len(rows)} `not_related`" in error_message("plan", path, code=1)


def test_null_in_a_list_is_no_object(tmp_path, layer, rows):
    for write in (
        lambda columns: pyarrow.parquet.write_table(arrow(columns), tmp_path / "t.file"),
        lambda columns: write_json(tmp_path / "t.file", columns),
    ):
        write(frame(rows, lambda ids: [None, *ids, None]))
        path = config(tmp_path, layer, {"post": ARRAYS["post"]})
        pointshard("preprocess", path, "--out", tmp_path / "out", "--force")
        group = with_zarr(tmp_path / "out", "train")
        assert_masks(group, layer[1], rows, {"post": {row["id"]: row["post"] for row in rows}})


def test_other_columns_of_lists_change_the_plan(tmp_path, layer, rows):
    """A rerun with a table in which only related objects differ is another job."""
    WAYS["csv"](rows, tmp_path)
    path = config(tmp_path, layer, ARRAYS)
    pointshard("preprocess", path, "--out", tmp_path / "out")
    pointshard("preprocess", path, "--out", tmp_path / "out")
    other = [{**row, "post": row["post"][1:]} for row in rows]
    WAYS["csv"](other, tmp_path)
    assert "related objects" in error_message("preprocess", path, "--out", tmp_path / "out")


def changed(rows, value):
    """The table with another value in the first row of `post`."""
    columns = frame(rows)
    columns["post"] = [value, *columns["post"][1:]]
    return columns


@pytest.mark.parametrize("value", ["[1, x]", "7.5", "[-1]", "[1,, 2]", "[1, 2", "[18446744073709551616]", "[9007199254740994.0]", "9007199254740994.0"])
def test_a_wrong_list_is_an_error_with_file_row_and_column(tmp_path, layer, rows, value):
    write_csv(tmp_path / "t.csv", changed(rows, value))
    path = config(tmp_path, layer, ARRAYS)
    message = error_message("plan", path, code=1)
    assert "t.csv: line 2" in message and "`post`" in message and value in message
    assert ("may have rounded it" if value.strip("[]") == "9007199254740994.0" else "in a list such as [101, 102]") in message
    # Not read, unless a job needs it.
    pointshard("plan", config(tmp_path, layer, {"seg": {"layer": "seg"}}))


def test_lists_of_floats_that_may_be_rounded_are_an_error(tmp_path, layer, rows):
    table = arrow(frame(rows)).drop_columns("post")
    floats = [[101.0, 2.0**24]] * table.num_rows
    for kind, problem in [(pyarrow.float64(), None), (pyarrow.float32(), "may have rounded it")]:
        pyarrow.parquet.write_table(table.append_column("post", pyarrow.array(floats, pyarrow.list_(kind))), tmp_path / "t.parquet")
        path = config(tmp_path, layer, {"post": related("post", missing="keep")})
        if problem:
            message = error_message("plan", path, code=1)
            assert problem in message and "t.parquet: row 0" in message
        else:
            pointshard("preprocess", path, "--out", tmp_path / "out")
            assert set(with_zarr(tmp_path / "out", "train")["post_object_ids"][:].ravel().tolist()) == {101, 2**24}


def test_wrong_configs_are_errors(tmp_path, layer, rows):
    WAYS["csv"](rows, tmp_path)
    array = {"post": related("post", missing="keep")}
    for changes, parts in [
        ({"id": None}, ["`relationships` and no `id`"]),
        ({"relationships": ["post", "pre", "post"]}, ["`table.relationships` has `post` twice"]),
        ({"relationships": ["posts"]}, ["no column `posts`", "did you mean `post`"]),
        ({"relationships": ["pre"]}, ["arrays.post.transform.object_at.id.relationship", "`post`", "`pre`"]),
        ({"relationships": None}, ["arrays.post.transform.object_at.id.relationship", "points.table.relationships"]),
    ]:
        message = error_message("plan", config(tmp_path, layer, array, **changes))
        assert all(part in message for part in parts), message
