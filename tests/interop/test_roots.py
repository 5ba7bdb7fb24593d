"""Supervoxels whose roots are in a table, compared with a lookup by numpy."""

import json
import random
import re

import numpy as np
import pandas
import pyarrow
import pyarrow.feather
import pyarrow.parquet
import pytest
import tensorstore
import zarr
from faulty_server import FaultyServer
from program import error_message, file_digests, manifest, pointshard

SIZE = (64, 48, 32)
RESOLUTION = [8, 8, 40]
WINDOW = [16, 12, 8]


@pytest.fixture(scope="module")
def supervoxels(tmp_path_factory):
    """A precomputed layer of supervoxels as in a PyChunkedGraph, its voxels, and a root for each supervoxel."""
    rng = np.random.default_rng(5)
    source = random.Random(5)
    # Ids that no float can hold.
    ids = np.array([0, *(source.randrange(2**56, 2**57) for _ in range(300))], np.uint64)
    blocks = rng.integers(0, len(ids), [n // 4 for n in SIZE])
    voxels = ids[blocks.repeat(4, 0).repeat(4, 1).repeat(4, 2)]
    voxels[rng.random(SIZE) < 0.02] = 0
    neurons = np.array([source.randrange(2**59, 2**60) for _ in range(40)], np.uint64)
    roots = dict(zip(ids.tolist(), neurons[rng.integers(0, 40, len(ids))].tolist()))
    roots.pop(0)
    folder = tmp_path_factory.mktemp("graph") / "ws"
    write_layer(folder, voxels, "compressed_segmentation")
    return folder, voxels, roots


def write_layer(folder, voxels, encoding):
    scale = {"key": "8_8_40", "size": SIZE, "resolution": RESOLUTION, "encoding": encoding, "chunk_size": [16, 16, 16]}
    if encoding == "compressed_segmentation":
        scale["compressed_segmentation_block_size"] = [8, 8, 8]
    store = tensorstore.open({
        "driver": "neuroglancer_precomputed", "kvstore": f"file://{folder}", "create": True,
        "multiscale_metadata": {"type": "segmentation", "data_type": str(voxels.dtype), "num_channels": 1}, "scale_metadata": scale,
    }).result()  # fmt: skip
    store.write(voxels[..., None]).result()


def table(roots):
    return pandas.DataFrame({"supervoxel_id": np.array(list(roots), np.uint64), "root_id": np.array(list(roots.values()), np.uint64)})


WRITERS = {
    "csv": lambda rows, path: rows.to_csv(path, index=False),
    "parquet": lambda rows, path: pyarrow.parquet.write_table(pyarrow.Table.from_pandas(rows), path),
    "feather": lambda rows, path: pyarrow.feather.write_feather(rows, path),
    "json": lambda rows, path: rows.to_json(path, orient="records"),
}


def config(folder, layer, roots, **changes):
    points = [[20, 14, 8], [40, 30, 20], [30, 24, 16]]
    pandas.DataFrame(points, columns=list("xyz")).to_csv(folder / "points.csv", index=False)
    high = [n * r for n, r in zip(SIZE, RESOLUTION)]
    job = {
        "collection": {"boxes": {"list": [{"id": "all", "min": [0, 0, 0], "max": high, "tags": ["train"]}], "layers": {"seg": layer}}},
        "resolution": RESOLUTION, "window": WINDOW,
        "points": {"table": {"file": "points.csv", "unit": "voxel", "resolution": RESOLUTION, "point": ["x", "y", "z"]}},
        "arrays": {"seg": {"layer": "seg", "codec": "zstd"}}, "layers": {"seg": {"roots": roots}}, "splits": {"train": ["train"]},
    }  # fmt: skip
    if roots is None:
        del job["layers"]
    job |= changes
    path = folder / "config.json"
    path.write_text(json.dumps(job))
    return path


def lookup(voxels, roots):
    """numpy's lookup, exact."""
    known = np.array(sorted(roots), np.uint64)
    values = np.array([roots[k] for k in known.tolist()], np.uint64)
    place = np.searchsorted(known, voxels).clip(max=len(known) - 1)
    return np.where(known[place] == voxels, values[place], 0).astype(np.uint64)


def assert_windows(out, voxels):
    group = zarr.open_group(out / "train.zarr", mode="r")
    starts, found = group["start_voxel"][:], group["seg"][:]
    assert len(found) == 3
    for start, window in zip(starts, found):
        x, y, z = (slice(s, s + w) for s, w in zip(start, WINDOW))
        assert (window[0] == voxels[x, y, z].transpose(2, 1, 0)).all()


@pytest.mark.parametrize("kind", WRITERS)
def test_windows_have_the_roots_of_their_supervoxels(tmp_path, supervoxels, kind):
    layer, voxels, roots = supervoxels
    # A row may occur twice, and supervoxels that are in no window do not matter.
    rows = table(roots | {2**63: 5})
    WRITERS[kind](pandas.concat([rows, rows[:9]], ignore_index=True), tmp_path / "roots")
    path = config(tmp_path, f"precomputed://file://{layer}", {"file": "roots"})
    pointshard("preprocess", path, "--out", tmp_path / "out")
    assert_windows(tmp_path / "out", lookup(voxels, roots))
    pointshard("check", tmp_path / "out", "--source")
    [source] = manifest(tmp_path / "out")["sources"]
    assert source["roots"] == str(tmp_path / "roots")


def test_columns_have_any_names(tmp_path, supervoxels):
    layer, voxels, roots = supervoxels
    rows = table(roots).rename(columns={"supervoxel_id": "pre_pt_supervoxel_id", "root_id": "pre_pt_root_id"})
    rows.assign(note="a").to_csv(tmp_path / "roots.tsv", index=False, sep="\t")
    columns = {"file": "roots.tsv", "supervoxel": "pre_pt_supervoxel_id", "root": "pre_pt_root_id"}
    pointshard("preprocess", config(tmp_path, f"precomputed://file://{layer}", columns), "--out", tmp_path / "out")
    assert_windows(tmp_path / "out", lookup(voxels, roots))


def test_a_supervoxel_without_a_root_is_an_error_or_itself_or_zero(tmp_path, supervoxels):
    layer, voxels, roots = supervoxels
    center = int(voxels[30, 24, 16] or voxels[31, 24, 16])
    some = {k: v for k, v in roots.items() if k != center}
    table(some).to_csv(tmp_path / "roots.csv", index=False)
    source = f"precomputed://file://{layer}"
    found = error_message("preprocess", config(tmp_path, source, {"file": "roots.csv"}), "--out", tmp_path / "out", code=1)
    assert re.search(rf"the supervoxel {center} in {layer}/8_8_40/\d+-\d+_\d+-\d+_\d+-\d+ has no row in {tmp_path}/roots.csv", found), found
    assert "layers.NAME.roots.missing" in found
    for missing, root in (("keep", center), ("zero", 0)):
        path = config(tmp_path, source, {"file": "roots.csv", "missing": missing})
        done = pointshard("preprocess", path, "--out", tmp_path / missing)
        assert_windows(tmp_path / missing, lookup(voxels, some | {center: root}))
        warning = f"1 supervoxel(s) in the chunks that were read have no row in {tmp_path}/roots.csv, for example {center}: each"
        assert warning in done.stderr and f'"{missing}"' in done.stderr, done.stderr
        # A rerun reads no chunk.
        assert "supervoxel(s)" not in pointshard("preprocess", path, "--out", tmp_path / missing).stderr
        tasks = tmp_path / f"{missing}_tasks"
        pointshard("plan", path, "--out", tasks, "--tasks", "1")
        assert warning in pointshard("preprocess", "--out", tasks, "--task", "0/1").stderr
        pointshard("check", tmp_path / missing, "--source")


def test_another_table_is_another_plan_and_a_moved_one_is_the_same(tmp_path, supervoxels):
    layer, voxels, roots = supervoxels
    source = f"precomputed://file://{layer}"
    table(roots).to_csv(tmp_path / "roots.csv", index=False)
    pointshard("preprocess", config(tmp_path, source, {"file": "roots.csv"}), "--out", tmp_path / "out")
    WRITERS["parquet"](table(roots)[::-1], tmp_path / "moved.parquet")
    before = file_digests(tmp_path / "out")
    pointshard("preprocess", config(tmp_path, source, {"file": "moved.parquet"}), "--out", tmp_path / "out")
    assert file_digests(tmp_path / "out") == before
    first = next(iter(roots))
    table(roots | {first: roots[first] + 1}).to_csv(tmp_path / "roots.csv", index=False)
    found = error_message("preprocess", config(tmp_path, source, {"file": "roots.csv"}), "--out", tmp_path / "out", code=2)
    assert "the table of its roots, has changed" in found, found
    # Without the config, too.
    pointshard("plan", config(tmp_path, source, {"file": "roots.csv"}), "--out", tmp_path / "planned")
    table(roots).to_csv(tmp_path / "roots.csv", index=False)
    found = error_message("preprocess", "--out", tmp_path / "planned", code=1)
    assert "the table of its roots, has changed" in found, found


def test_objects_and_ids_at_points_are_roots(tmp_path, supervoxels):
    layer, voxels, roots = supervoxels
    table(roots).to_csv(tmp_path / "roots.csv", index=False)
    source = f"precomputed://file://{layer}"
    agglomerated = lookup(voxels, roots)
    arrays = {"seg": {"layer": "seg", "codec": "zstd"}, "mask": {"layer": "seg", "codec": "zstd", "transform": {"object_at": {"point": "anchor"}}}}
    path = config(tmp_path, source, {"file": "roots.csv"}, arrays=arrays)
    pointshard("preprocess", path, "--out", tmp_path / "out")
    group = zarr.open_group(tmp_path / "out/train.zarr", mode="r")
    centers = (group["center_nm"][:] / RESOLUTION).astype(int)
    ids = [agglomerated[tuple(center)] for center in centers]
    for start, mask, root in zip(group["start_voxel"][:], group["mask"][:], ids):
        x, y, z = (slice(s, s + w) for s, w in zip(start, WINDOW))
        assert ((mask[0] != 0) == (agglomerated[x, y, z].transpose(2, 1, 0) == root)).all()
    points = {"objects": {"layer": "seg", "anchor": "centroid"}}
    path = config(tmp_path, source, {"file": "roots.csv"}, points=points, window=[2, 2, 2])
    pointshard("preprocess", path, "--out", tmp_path / "objects")
    found = zarr.open_group(tmp_path / "objects/train.zarr", mode="r")
    ids, counts = np.unique(agglomerated[agglomerated != 0], return_counts=True)
    expected = dict(zip(ids.tolist(), counts.tolist()))
    assert dict(zip(found["annotation_id"][:].tolist(), found["property_voxels"][:].tolist())) == expected


def test_majority_is_that_of_roots(tmp_path, supervoxels):
    layer, voxels, roots = supervoxels
    table(roots).to_csv(tmp_path / "roots.csv", index=False)
    arrays = {"seg": {"layer": "seg", "codec": "zstd", "data_resolution": RESOLUTION, "interpolation": "majority"}}
    path = config(tmp_path, f"precomputed://file://{layer}", {"file": "roots.csv"}, arrays=arrays, resolution=[16, 16, 80], window=[6, 6, 4])
    pointshard("preprocess", path, "--out", tmp_path / "out")
    pointshard("check", tmp_path / "out", "--source")
    group = zarr.open_group(tmp_path / "out/train.zarr", mode="r")
    agglomerated = lookup(voxels, roots)
    for start, window in zip(group["start_voxel"][:], group["seg"][:, 0]):
        for z, y, x in np.ndindex(*window.shape):
            low = 2 * (start + (x, y, z))
            cells = agglomerated[tuple(slice(n, n + 2) for n in low)]
            ids, counts = np.unique(cells, return_counts=True)
            assert counts[ids == window[z, y, x]] == counts.max()


def test_graphene_layers_are_read_by_their_data_dir(tmp_path, supervoxels):
    layer, voxels, roots = supervoxels
    table(roots).to_csv(tmp_path / "roots.csv", index=False)
    graph = tmp_path / "graph"
    graph.mkdir()
    (graph / "info").write_text(json.dumps({"app": {"supported_api_versions": [0, 1]}, "data_dir": f"file://{layer}", "graph": {"n_layers": 5}}))
    source = f"graphene://file://{graph}"
    pointshard("preprocess", config(tmp_path, source, {"file": "roots.csv"}), "--out", tmp_path / "out")
    assert_windows(tmp_path / "out", lookup(voxels, roots))
    # Without a table, the error says where the supervoxels are.
    found = error_message("plan", config(tmp_path, source, None), code=2)
    assert str(layer) in found and '"roots"' in found and "supervoxels" in found, found
    # The info of a server with a login cannot be read.
    source = "graphene://middleauth+https://localhost:9/segmentation/table/x"
    found = error_message("plan", config(tmp_path, source, {"file": "roots.csv"}), "--retry-for", "0", code=75)
    assert "layers.NAME.roots.data_dir" in found, found
    path = config(tmp_path, source, {"file": "roots.csv", "data_dir": f"precomputed://file://{layer}"})
    pointshard("preprocess", path, "--out", tmp_path / "login")
    assert_windows(tmp_path / "login", lookup(voxels, roots))


def test_a_layer_with_roots_is_opened_once(tmp_path, supervoxels):
    layer, voxels, roots = supervoxels
    table(roots).to_csv(tmp_path / "roots.csv", index=False)
    with FaultyServer(layer) as server:
        path = config(tmp_path, f"precomputed://{server.url}", {"file": f"{server.url}/roots.csv"})
        (layer / "roots.csv").write_bytes((tmp_path / "roots.csv").read_bytes())
        pointshard("preprocess", path, "--out", tmp_path / "out")
        keys = [request.key for request in server.requests]
    (layer / "roots.csv").unlink()
    assert_windows(tmp_path / "out", lookup(voxels, roots))
    assert keys.count("info") == 1, keys
    # Of the table the beginning is read, the header, and the rows.
    assert keys.count("roots.csv") <= 3, keys


def test_negatives_are_where_the_mask_has_a_root(tmp_path, supervoxels):
    layer, voxels, roots = supervoxels
    some = {k: v if v % 2 else 0 for k, v in roots.items()}
    table(some).to_csv(tmp_path / "roots.csv", index=False)
    path = config(tmp_path, f"precomputed://file://{layer}", {"file": "roots.csv"}, window=[2, 2, 2])
    job = json.loads(path.read_text())
    job["points"]["negatives"] = {"per_annotation": 200, "mask": {"layer": "seg"}}
    path.write_text(json.dumps(job))
    pointshard("preprocess", path, "--out", tmp_path / "out")
    group = zarr.open_group(tmp_path / "out/train.zarr", mode="r")
    centers = group["center_nm"][:][group["property_negative"][:] == 1]
    masked, all_voxels = lookup(voxels, some), lookup(voxels, roots)
    assert len(centers) == 600 and 0.2 < (masked[all_voxels != 0] == 0).mean() < 0.8
    assert all(masked[tuple((center // RESOLUTION).astype(int))] != 0 for center in centers)


def test_a_data_dir_of_another_layer_is_an_error(tmp_path, supervoxels):
    layer, voxels, roots = supervoxels
    table(roots).to_csv(tmp_path / "roots.csv", index=False)
    data_dir = {"file": "roots.csv", "data_dir": f"precomputed://file://{layer}"}
    found = error_message("plan", config(tmp_path, f"precomputed://file://{layer}", data_dir), code=2)
    assert "layers.seg.roots.data_dir" in found and "`graphene://`" in found and str(layer) in found, found


def test_ids_that_may_be_rounded_are_errors(tmp_path, supervoxels):
    layer, voxels, roots = supervoxels
    source = f"precomputed://file://{layer}"
    for kind, first in (("float16", 2**11), ("float32", 2**24), ("float64", 2**53)):
        for column in ("supervoxel_id", "root_id"):
            rows = table({1: 2, 3: 4})
            rows[column] = np.array([first - 1, first]).astype(kind)
            for name in ("parquet", "feather"):
                WRITERS[name](rows, tmp_path / "roots")
                found = error_message("plan", config(tmp_path, source, {"file": "roots"}), code=1)
                assert f"{tmp_path}/roots: row 1: `{column}` is {first}; expected a whole number that is not stored as a float" in found, found
                assert "`layers.NAME.roots`" in found, found


def test_wrong_tables_are_errors(tmp_path, supervoxels):
    layer, voxels, roots = supervoxels
    source = f"precomputed://file://{layer}"
    first = next(iter(roots))
    rows = pandas.concat([table(roots), table({first: 7})])
    rows.to_csv(tmp_path / "roots.csv", index=False)
    found = error_message("plan", config(tmp_path, source, {"file": "roots.csv"}), code=1)
    assert f"the supervoxel {first} has the roots 7 and {roots[first]}" in found and "roots.csv" in found, found
    found = error_message("plan", config(tmp_path, source, {"file": "none.csv"}), code=1)
    assert "none.csv does not exist" in found, found
    found = error_message("plan", config(tmp_path, source, {"file": "roots.csv", "root": "root"}), code=2)
    assert "no column `root`" in found and "columns are supervoxel_id, root_id" in found, found
    em = tmp_path / "em"
    write_layer(em, np.ones(SIZE, np.uint32), "raw")
    table(roots).to_csv(tmp_path / "roots.csv", index=False)
    found = error_message("plan", config(tmp_path, f"precomputed://file://{em}", {"file": "roots.csv"}), code=2)
    assert "uint32" in found and "expects supervoxels of type uint64" in found, found
