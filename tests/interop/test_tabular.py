"""Tabular layers of zetta_utils (`build_volumetric_tabular_layer`): one table per chunk, and JSON tables."""

import json

import numpy as np
import pandas
import pytest
from faulty_server import FaultyServer
from program import error_message, manifest, pointshard
from readers import with_zarr
from test_objects_by_id import RESOLUTION, SIZE, job, write_layer

OFFSET, CHUNK = (0, 0, 0), (16, 16, 8)
COLUMNS = ["centroid_x", "centroid_y", "centroid_z"]
GRID = [-(-n // c) for n, c in zip(SIZE, CHUNK)]


@pytest.fixture
def rows(tmp_path):
    write_layer(tmp_path / "img", np.random.default_rng(1).integers(1, 255, SIZE).astype("uint8"))
    rng = np.random.default_rng(2)
    positions = rng.uniform(0, np.subtract(SIZE, 0.1), (300, 3)).round(2)
    # Some more in one place.
    positions[250:] = rng.uniform((9, 9, 5), (15, 15, 7), (50, 3)).round(2)
    return pandas.DataFrame({
        "presyn_id": rng.integers(2**63, 2**64, 300, dtype="uint64"), "postsyn_id": rng.integers(0, 2**64, 300, dtype="uint64"),
        **dict(zip(COLUMNS, positions.T)), "size": rng.integers(1, 1000, 300), "mean_score": rng.random(300).round(4),
        "id": np.arange(300, dtype="uint64") * 10**16,
    })  # fmt: skip


def write_tabular(folder, rows, encoding="parquet", chunk=CHUNK, clipped=True, margin=0):
    """As zetta_utils' TabularBackend writes: `info`, and the rows of each chunk. Returns the rows of each file, by its name."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    schema = [{"name": name, "dtype": str(kind)} for name, kind in rows.dtypes.items()]
    info = {"type": "volumetric_tabular", "encoding": encoding, "resolution": RESOLUTION, "voxel_offset": OFFSET, "size": SIZE, "chunk_size": chunk}
    (folder / "info").write_text(json.dumps({**info, "column_schema": schema}))
    files = {}
    chunks = ((rows[COLUMNS] - margin) // list(chunk)).clip(lower=0).astype(int)
    for index, part in rows.groupby([chunks[c] for c in COLUMNS]):
        ends = [min((i + 1) * c, n) if clipped else (i + 1) * c for i, c, n in zip(index, chunk, SIZE)]
        name = "_".join(f"{i * c}-{e}" for i, c, e in zip(index, chunk, ends)) + f".{encoding}"
        if encoding == "parquet":
            part.to_parquet(folder / "data" / name, index=False)
        elif encoding == "csv":
            part.to_csv(folder / "data" / name, index=False)
        else:
            part.to_json(folder / "data" / name, orient="records")
        files[name] = part
    return files


def tabular_job(folder, file="synapses", boxes=(((0, 0, 0), SIZE),), with_id=True, **table):
    path = job(folder, {"img": {"layer": "img"}}, [], ["img"])
    config = json.loads(path.read_text())
    config["collection"]["boxes"]["list"] = [
        {"id": str(n), "min": np.multiply(low, RESOLUTION).tolist(), "max": np.multiply(high, RESOLUTION).tolist(), "tags": ["train"]}
        for n, (low, high) in enumerate(boxes)
    ]
    properties = {"presyn_id": "uint64", "postsyn_id": "uint64", "size": "uint32", "mean_score": "float32"}
    config["points"] = {"table": {"file": file, "unit": "voxel", "resolution": RESOLUTION, "point": COLUMNS, "properties": properties, **table}}
    if with_id:
        config["points"]["table"]["id"] = "id"
    path.write_text(json.dumps(config))
    return path


def assert_equal(out, rows):
    """The samples are these rows, exactly."""
    group = with_zarr(out, "train")
    order = np.argsort(group["annotation_id"][:])
    rows = rows.sort_values("id")
    np.testing.assert_array_equal(group["annotation_id"][:][order], rows["id"])
    np.testing.assert_allclose(np.divide(group["center_nm"][:], RESOLUTION)[order], rows[COLUMNS], rtol=1e-12)
    for name in ("presyn_id", "postsyn_id", "size", "mean_score"):
        found = group[f"property_{name}"][:][order]
        assert (found == rows[name].to_numpy().astype(found.dtype)).all(), name


@pytest.mark.parametrize("clipped", [True, False])
@pytest.mark.parametrize("encoding", ["parquet", "csv", "json"])
def test_all_chunks_are_one_table(tmp_path, rows, encoding, clipped):
    write_tabular(tmp_path / "synapses", rows, encoding, clipped=clipped)
    pointshard("preprocess", tabular_job(tmp_path), "--out", tmp_path / "out")
    assert_equal(tmp_path / "out", rows)
    assert not [w for w in manifest(tmp_path / "out")["warnings"] if "synapses" in w]


@pytest.mark.parametrize("encoding", ["parquet", "csv", "json"])
def test_files_of_an_older_chunk_size_are_ignored_with_a_warning(tmp_path, rows, encoding):
    # Other rows, so that none of them is only a repetition.
    older = write_tabular(tmp_path / "synapses", rows.assign(id=rows["id"] + 1), encoding, chunk=(32, 32, 8))
    older |= write_tabular(tmp_path / "synapses", rows.assign(id=rows["id"] + 2), encoding, chunk=(24, 16, 8))
    write_tabular(tmp_path / "synapses", rows.head(0), "parquet" if encoding != "parquet" else "csv")
    (tmp_path / "synapses/data/notes.txt").write_text("by hand")
    files = write_tabular(tmp_path / "synapses", rows, encoding)
    pointshard("preprocess", tabular_job(tmp_path), "--out", tmp_path / "out")
    assert_equal(tmp_path / "out", rows)
    (warning,) = [w for w in manifest(tmp_path / "out")["warnings"] if "were ignored" in w]
    assert f"{len(set(older) - set(files)) + 1} file(s) in {tmp_path / 'synapses/data'}" in warning


def test_related_objects_are_those_in_chunks_near_a_box(tmp_path, rows):
    """Also where another annotation in a chunk far away has the same id; no far file is read."""
    box = ((0, 0, 0), (12, 12, 6))
    inside = (rows[COLUMNS] < 12).all(axis=1) & (rows["centroid_z"] < 6)
    far = (rows[COLUMNS[0]] > 34) & (rows[COLUMNS[1]] > 33)
    rows = rows.assign(post=[[int(n), int(n) + 7] for n in range(len(rows))])
    rows.loc[far, "id"] = rows.loc[inside, "id"].to_numpy()[np.arange(far.sum()) % inside.sum()]
    files = write_tabular(tmp_path / "synapses", rows)
    related = {"layer": "img", "transform": {"object_at": {"id": {"relationship": "post"}, "missing": "keep"}}}
    path = tabular_job(tmp_path, boxes=[box], relationships=["post"])
    config = json.loads(path.read_text())
    config["arrays"]["m"] = related
    path.write_text(json.dumps(config))
    for out in ("whole", "damaged"):
        pointshard("preprocess", path, "--out", tmp_path / out)
        group = with_zarr(tmp_path / out, "train")
        own = {row.id: sorted(row.post) for row in rows[inside].itertuples()}
        found = dict(zip(group["annotation_id"][:].tolist(), group["m_object_ids"][:].tolist()))
        assert {i: [v for v in ids if v] for i, ids in found.items()} == {i: [v for v in ids if v] for i, ids in own.items()}
        for name in files:
            if name.startswith("32-"):
                (tmp_path / "synapses/data" / name).write_bytes(b"PAR1 damaged")


def test_only_chunks_near_a_box_are_read(tmp_path, rows):
    """A row may be a little outside of its chunk: then it is in a neighbour of the chunks of the box."""
    chunk = (8, 8, 4)
    files = write_tabular(tmp_path / "synapses", rows, chunk=chunk, margin=2)
    box = ((9, 9, 5), (15, 15.5, 7.5))
    for name in files:
        starts = [int(part.split("-")[0]) for part in name.split("_")]
        if any(start >= 3 * length for start, length in zip(starts, chunk)):
            (tmp_path / "synapses/data" / name).write_bytes(b"PAR1 damaged")
    pointshard("preprocess", tabular_job(tmp_path, boxes=[box]), "--out", tmp_path / "out")
    inside = ((rows[COLUMNS] >= list(box[0])) & (rows[COLUMNS] < list(box[1]))).all(axis=1)
    assert_equal(tmp_path / "out", rows[inside])
    starts = (rows[COLUMNS][inside] - 2) // list(chunk)
    assert 3 < inside.sum() < 100 and (starts == 0).any(axis=None)
    message = error_message("preprocess", tabular_job(tmp_path), "--out", tmp_path / "all", code=1)
    assert "synapses/data/" in message and "Parquet" in message


@pytest.mark.parametrize("encoding", ["parquet", "csv", "json"])
def test_rows_without_ids_are_numbered_by_chunk(tmp_path, rows, encoding):
    files = write_tabular(tmp_path / "synapses", rows.drop(columns="id"), encoding)
    wanted = []
    for name, part in files.items():
        x, y, z = (int(axis.split("-")[0]) // chunk for axis, chunk in zip(name.split("_"), CHUNK))
        index = x + GRID[0] * (y + GRID[1] * z)
        wanted.append(part.assign(id=[index * 2**32 + row for row in range(len(part))]))
    for box in (((0, 0, 0), SIZE), ((5, 5, 5), (30, 30, 20))):
        pointshard("preprocess", tabular_job(tmp_path, boxes=[box], with_id=False), "--out", tmp_path / "out", "--force")
        all_rows = pandas.concat(wanted)
        inside = ((all_rows[COLUMNS] >= list(box[0])) & (all_rows[COLUMNS] < list(box[1]))).all(axis=1)
        assert_equal(tmp_path / "out", all_rows[inside])


def test_names_do_not_say_whether_a_table_is_a_file_or_a_folder(tmp_path, rows):
    write_tabular(tmp_path / "synapses.v2", rows)
    rows.to_csv(tmp_path / "table", index=False)
    for number, file in enumerate(("synapses.v2", "table")):
        pointshard("preprocess", tabular_job(tmp_path, file), "--out", tmp_path / f"out{number}")
        assert_equal(tmp_path / f"out{number}", rows)


def test_a_json_file_is_a_table(tmp_path, rows):
    """Lists, null, and numbers as texts, as well."""
    table = rows.to_dict("records")
    for n, row in enumerate(table):
        row["place"] = [row[c] for c in COLUMNS]
        row["postsyn_id"] = str(row["postsyn_id"]) if n % 2 else row["postsyn_id"]
        row["mean_score"] = None if n == 7 else row["mean_score"]
    (tmp_path / "t.json").write_text(json.dumps(table, indent=1))
    pointshard("preprocess", tabular_job(tmp_path, "t.json", point="place"), "--out", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    scores = group["property_mean_score"][:][np.argsort(group["annotation_id"][:])]
    assert np.isnan(scores[7]) and np.isnan(scores).sum() == 1
    order = np.argsort(group["annotation_id"][:])
    for column, name in (("annotation_id", "id"), ("property_presyn_id", "presyn_id"), ("property_postsyn_id", "postsyn_id")):
        np.testing.assert_array_equal(group[column][:][order], rows[name])
    np.testing.assert_allclose(np.divide(group["center_nm"][:], RESOLUTION)[order], rows[COLUMNS], rtol=1e-12)


def test_wrong_layers_and_rows_are_named(tmp_path, rows):
    folder = tmp_path / "synapses"
    message = error_message("preprocess", tabular_job(tmp_path, "nothing"), "--out", tmp_path / "out", code=1)
    assert "nothing does not exist" in message
    message = error_message("preprocess", tabular_job(tmp_path, "img"), "--out", tmp_path / "out", code=1)
    assert "img/info" in message and '"volumetric_tabular"' in message and "name the file" in message
    files = write_tabular(folder, rows, "csv")
    first = folder / "data" / next(iter(files))
    for encoding, path in (("csv", first), ("json", first.with_suffix(".json"))):
        write_tabular(folder, rows, encoding)
        text = path.read_text()
        value = str(files[first.name]["size"].iloc[1])
        path.write_text(text.replace(f",{value},", ",many,", 1) if encoding == "csv" else text.replace(f'"size":{value},', '"size":"many",', 1))
        message = error_message("preprocess", tabular_job(tmp_path), "--out", tmp_path / "out", code=1)
        row = "line 3" if encoding == "csv" else "row 1"
        assert f"{path}: {row}" in message and '"many"' in message and "`size`" in message, message
        path.unlink()
    conflict = rows.assign(id=[1, 1, *range(2, 300)])
    files = write_tabular(folder, conflict, "csv")
    message = error_message("preprocess", tabular_job(tmp_path), "--out", tmp_path / "out", code=1)
    assert "two annotations have the id 1" in message
    for i in (0, 1):
        ((name, part),) = [(name, part) for name, part in files.items() if i in part.index]
        assert f"{folder / 'data' / name}: line {list(part.index).index(i) + 2}" in message, message
    info = json.loads((folder / "info").read_text())
    for change, words in [({"chunk_size": [0, 1, 1]}, "grid of chunks"), ({"size": [2**40] * 3, "chunk_size": [1, 1, 1]}, "2^31"), ({"size": "big"}, "size")]:
        (folder / "info").write_text(json.dumps({**info, **change}))
        message = error_message("preprocess", tabular_job(tmp_path), "--out", tmp_path / "out", code=1)
        assert words in message and "synapses/info" in message, message
    (folder / "info").write_text(json.dumps(info))
    with FaultyServer(tmp_path) as server:
        message = error_message("preprocess", tabular_job(tmp_path, f"{server.url}/synapses"), "--out", tmp_path / "out", code=1)
        assert "no listings" in message and "gs://" in message
    for path in (folder / "data").iterdir():
        path.unlink()
    message = error_message("preprocess", tabular_job(tmp_path), "--out", tmp_path / "out", code=1)
    assert "synapses/data does not exist" in message and "chunks" in message
