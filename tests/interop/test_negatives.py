"""`points.negatives`: random points under a mask and away from annotations, as labelled samples."""

import json

import blake3
import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import pytest
import tensorstore
from program import checked_dataset, drop_counts, error_message, file_digests, manifest, pointshard
from readers import with_zarr
from test_objects_by_id import RESOLUTION, SIZE, blocks, job, write_layer
from test_related_objects import write_annotations
from volumes import Volume

BOXES = [((2.5, 3, 2), (38, 30, 19)), ((17, 9, 0), (40, 36, 24)), ((0, 0, 0), (8, 8, 8))]
ARRAYS = {"img": {"layer": "img", "codec": "zstd"}}


@pytest.fixture
def rows(tmp_path):
    """An image, a mask, and the rows of a table: id, position in voxels, score."""
    write_layer(tmp_path / "img", np.random.default_rng(1).integers(1, 255, SIZE).astype("uint8"))
    write_layer(tmp_path / "tissue", blocks(2, 2, dtype="uint8"))
    rng = np.random.default_rng(3)
    return [[100 + n, *rng.uniform(0, SIZE).round(2).tolist(), round(rng.random(), 3)] for n in range(90)]


def negatives_job(folder, rows, name="config.json", boxes=BOXES, choose=None, **negatives):
    path = job(folder, ARRAYS, rows, ["img", "tissue"], properties={"score": "float32"}, splits={"train": ["train"], "val": ["val"]}, leaks="allow")
    config = json.loads(path.read_text())
    config["collection"]["boxes"]["list"] = [
        {"id": f"b{n}", "min": np.multiply(low, RESOLUTION).tolist(), "max": np.multiply(high, RESOLUTION).tolist(), "tags": [tag]}
        for n, ((low, high), tag) in enumerate(zip(boxes, ["train", "val", "train"]))
    ]
    config["points"] |= {"negatives": {"per_annotation": 2, **negatives}, "choose": choose or {}}
    (folder / name).write_text(json.dumps(config))
    return folder / name


def table(out):
    """For each box: positions in voxels, ids and scores of annotations, and of negatives."""
    boxes = {}
    for split in [s for s in ("train", "val") if (out / f"{s}.zarr").exists()]:
        group = with_zarr(out, split)
        names = ("box", "annotation_id", "center_nm", "property_score", "property_negative")
        for box, i, center, score, negative in zip(*(group[name][:].tolist() for name in names)):
            assert negative in (0, 1)
            boxes.setdefault(box, ([], []))[negative].append((i, tuple(np.round(np.divide(center, RESOLUTION), 9)), score))
    return boxes


def inside(position, number):
    low, high = BOXES[number]
    return all(a <= v < b for a, v, b in zip(low, position, high))


def test_negatives_are_in_the_box_and_the_mask_and_away_from_all_annotations(tmp_path, rows):
    config = negatives_job(tmp_path, rows, min_distance_nm=40, mask={"layer": "tissue"}, seed=5)
    pointshard("preprocess", config, "--out", tmp_path / "out")
    pointshard("check", tmp_path / "out")
    tissue = Volume(blocks(2, 2, dtype="uint8"), (0, 0, 0), RESOLUTION)
    annotations = np.array([row[1:4] for row in rows]) * RESOLUTION
    distances, places = [], []
    for box, (positives, negatives) in table(tmp_path / "out").items():
        expected = {row[0] for row in rows if inside(row[1:4], box)}
        assert {i for i, *_ in positives} == expected and len(positives) == len(expected)
        assert len(negatives) == 2 * len(expected) and len({i for i, *_ in negatives}) == len(negatives)
        for _, position, score in negatives:
            nm = np.multiply(position, RESOLUTION)
            assert inside(position, box) and tissue.at(nm) == 1 and score == 0
            distances.append(np.sqrt(((annotations - nm) ** 2).sum(1)).min())
            places.append(position)
    assert min(distances) >= 40 and len(distances) > 100
    # They are everywhere in the box, not only near annotations or at its corner.
    assert max(distances) > 80 and (np.ptp(places, axis=0) > np.multiply(SIZE, 0.85)).all()
    about = manifest(tmp_path / "out")["boxes"]
    assert all(b["annotations"] == b["samples"] for b in about) and drop_counts(tmp_path / "out") == {}
    # The windows are cut like those of annotations.
    group, img = with_zarr(tmp_path / "out", "val"), tensorstore_volume(tmp_path / "img")
    for start, window in zip(group["start_voxel"][:], group["img"][:]):
        np.testing.assert_array_equal(window, img.cut(start, window.shape[:0:-1]))


def tensorstore_volume(folder):
    spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{folder}/"}}
    return Volume(tensorstore.open(spec).result()[..., 0].read().result(), (0, 0, 0), RESOLUTION)


def test_annotations_outside_of_the_box_count_for_the_distance(tmp_path, rows):
    """All annotations but one are just outside of the box."""
    low, high = (8, 8, 8), (24, 24, 16)
    outside = [[n, 24.5, y, z, 0] for n, (y, z) in enumerate((y, z) for y in range(8, 26, 2) for z in range(8, 18, 2))]
    config = negatives_job(tmp_path, [*outside, [999, 9, 9, 9, 0]], boxes=[(low, high), ((100, 0, 0), (101, 1, 1))], per_annotation=60, min_distance_nm=64)
    pointshard("preprocess", config, "--out", tmp_path / "out")
    (_, negatives), = table(tmp_path / "out").values()
    assert len(negatives) == 60
    # The annotations are 16 nm apart along y, 80 nm along z.
    least = np.sqrt(64**2 - 8**2 - 40**2) / 8
    assert 12 < max(position[0] for _, position, _ in negatives) <= 24.5 - least


def test_the_number_follows_the_annotations_that_filters_keep(tmp_path, rows):
    choose = {"filter": {"score": {"min": 0.5}}}
    for per_annotation in (1, 0.5, 3):
        config = negatives_job(tmp_path, rows, choose=choose, per_annotation=per_annotation)
        pointshard("preprocess", config, "--out", tmp_path / "out", "--force")
        for box, (positives, negatives) in table(tmp_path / "out").items():
            kept = [row for row in rows if inside(row[1:4], box) and row[4] >= 0.5]
            assert len(positives) == len(kept)
            # Filters are for annotations: a negative has no score.
            assert len(negatives) in {int(len(kept) * per_annotation + rounding) for rounding in (0.49, 0.5)}
        dropped = sum(inside(row[1:4], box) and row[4] < 0.5 for row in rows for box in range(3))
        assert drop_counts(tmp_path / "out") == {"filter": dropped}


def test_the_seed_decides_and_threads_do_not(tmp_path, rows):
    files = []
    for seed, threads in ((1, 1), (1, 4), (2, 1)):
        config = negatives_job(tmp_path, rows, seed=seed, mask={"layer": "tissue"}, min_distance_nm=20)
        out = tmp_path / f"{seed}_{threads}"
        pointshard("preprocess", config, "--out", out, "--threads", threads)
        files.append({name: digest for name, digest in file_digests(out).items() if ".zarr/" in name})
    assert files[0] == files[1] != files[2]
    first, other = table(tmp_path / "1_1"), table(tmp_path / "2_1")
    for box in first:
        assert first[box][0] == other[box][0]
        assert not {p for _, p, _ in first[box][1]} & {p for _, p, _ in other[box][1]}


def test_boxes_with_the_same_bounds_have_other_negatives(tmp_path, rows):
    pointshard("preprocess", negatives_job(tmp_path, rows, boxes=[BOXES[0]] * 2), "--out", tmp_path / "out")
    first, second = table(tmp_path / "out").values()
    assert first[0] == second[0] and len(first[1]) == len(second[1]) > 50
    assert not {p for _, p, _ in first[1]} & {p for _, p, _ in second[1]}


def test_random_points_are_those_of_the_seed_and_the_id_of_the_box(tmp_path, rows):
    """So that the same config places the same negatives, in this version and the next."""
    pointshard("preprocess", negatives_job(tmp_path, rows, seed=3, mask={"layer": "tissue"}), "--out", tmp_path / "out")
    tissue = Volume(blocks(2, 2, dtype="uint8"), (0, 0, 0), RESOLUTION)
    for box, (positives, negatives) in table(tmp_path / "out").items():
        numbers = blake3.blake3(b"negatives" + (3).to_bytes(8, "little") + f"b{box}".encode()).digest(length=32 * 1000)
        numbers = np.frombuffer(numbers, "<u8").reshape(-1, 4)
        low, high = (np.multiply(corner, RESOLUTION) for corner in BOXES[box])
        points = low + (numbers[:, :3] >> np.uint64(11)) / 2.0**53 * (high - low)
        expected = [i for i, point in zip(numbers[:, 3].tolist(), points) if tissue.at(point)][: 2 * len(positives)]
        assert sorted(i for i, *_ in negatives) == sorted(expected) and len(expected) == 2 * len(positives)


def sparse_mask(folder, voxels):
    """A mask of these voxels."""
    values = np.zeros(SIZE, "uint8")
    values[tuple(np.transpose(voxels))] = 1
    write_layer(folder / "sparse", values)


def sparse_job(folder, rows, **negatives):
    path = negatives_job(folder, rows, mask={"layer": "sparse"}, **negatives)
    config = json.loads(path.read_text())
    config["collection"]["boxes"]["layers"]["sparse"] = "precomputed://./sparse"
    used = {tag for of_box in config["collection"]["boxes"]["list"] for tag in of_box["tags"]}
    config["splits"] = {split: tags for split, tags in config["splits"].items() if split in used}
    path.write_text(json.dumps(config))
    return path


# Three in the first box, one of these and another one in the second, none in the third; in several chunks.
FEW = [(9, 4, 3), (15, 28, 17), (30, 10, 9), (38, 34, 22)]


def test_few_voxels_of_a_mask_have_as_many_negatives_as_others(tmp_path, rows):
    """About one random point of 12,000 is in one of them."""
    sparse_mask(tmp_path, FEW)
    files = []
    for threads in (1, 4):
        out = tmp_path / f"{threads}"
        pointshard("preprocess", sparse_job(tmp_path, rows), "--out", out, "--threads", threads)
        files.append({name: digest for name, digest in file_digests(out).items() if ".zarr/" in name})
    assert files[0] == files[1]
    found = table(tmp_path / "1")
    for box, expected in [(0, FEW[:3]), (1, [FEW[2], FEW[3]])]:
        positives, negatives = found[box]
        assert len(negatives) == 2 * len(positives) > 50 and len({i for i, *_ in negatives}) == len(negatives)
        voxels = [tuple(np.floor(position).astype(int)) for _, position, _ in negatives]
        shares = [voxels.count(voxel) / len(voxels) for voxel in expected]
        assert sum(shares) == 1 and min(shares) > 0.6 / len(expected)
        # They are everywhere in the voxel.
        inside_voxel = np.array([np.mod(position, 1) for _, position, _ in negatives])
        assert (np.ptp(inside_voxel, axis=0) > 0.85).all() and abs(inside_voxel.mean() - 0.5) < 0.1
    assert found[2][1] == []
    (warning,) = [w for w in manifest(tmp_path / "1")["warnings"] if "negatives" in w]
    assert '1 box(es)' in warning and '"b2": 0 of' in warning


def test_few_voxels_of_a_mask_near_annotations(tmp_path, rows):
    """An annotation is in one of the voxels, one beside another voxel, so that a part of that is far enough."""
    sparse_mask(tmp_path, FEW[:3])
    near = [[1, 9.5, 4.5, 3.5, 0], [2, 13, 28.5, 17.5, 0], *([n, 36, 3, 15, 0] for n in range(3, 60))]
    pointshard("preprocess", sparse_job(tmp_path, near, min_distance_nm=22), "--out", tmp_path / "out")
    positives, negatives = table(tmp_path / "out")[0]
    assert len(negatives) == 2 * len(positives) > 100
    annotations = np.array([row[1:4] for row in near]) * RESOLUTION
    voxels = []
    for _, position, _ in negatives:
        assert np.sqrt(((annotations - np.multiply(position, RESOLUTION)) ** 2).sum(1)).min() >= 22
        voxels.append(tuple(np.floor(position).astype(int)))
    # Of the second voxel, less than half is far enough.
    assert set(voxels) == set(FEW[1:3]) and 0 < voxels.count(FEW[1]) / len(voxels) < 0.45


EVERYWHERE = [((-1e5,) * 3, (1e5,) * 3)]


@pytest.mark.parametrize("distance", [0, 150, 700])
def test_a_mask_in_a_large_box_is_used_everywhere(tmp_path, rows, distance):
    """The mask has thousands of voxels, but is less than a billionth of the box."""
    path = negatives_job(tmp_path, [[1, 1, 1, 1, 0]], boxes=EVERYWHERE, per_annotation=400, mask={"layer": "tissue"}, min_distance_nm=distance)
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"splits": {"train": ["train"]}}))
    pointshard("preprocess", path, "--out", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    negatives = group["center_nm"][:][group["property_negative"][:] == 1]
    assert len(negatives) == 400
    nm, tissue = np.array(RESOLUTION), blocks(2, 2, dtype="uint8")
    voxels = np.floor(negatives / nm).astype(int)
    assert (tissue[tuple(voxels.T)] == 1).all() and np.sqrt(((negatives - nm) ** 2).sum(1)).min() >= distance
    assert len({tuple(voxel) for voxel in voxels}) > 250
    # As if they were drawn from all places with room. The standard error is 1 / sqrt(400) of the deviation.
    places = np.argwhere(tissue == 1) + np.random.default_rng(7).uniform(0, 1, (16, (tissue == 1).sum(), 3))
    places = places[np.sqrt((((places - 1) * nm) ** 2).sum(-1)) >= distance] * nm
    assert (abs(negatives.mean(0) - places.mean(0)) < 0.2 * places.std(0)).all()
    assert (abs(negatives.std(0) / places.std(0) - 1) < 0.15).all()


def test_a_part_of_very_many_chunks_is_used(tmp_path, rows):
    """Chunks of one voxel, most of them missing: 34,560 in the box."""
    voxels = np.random.default_rng(5).permutation(np.argwhere(np.ones(SIZE)))[:40]
    sparse_mask(tmp_path, voxels)
    info = json.loads((tmp_path / "sparse/info").read_text())
    scale = info["scales"][0]
    scale["chunk_sizes"], scale["key"] = [[1, 1, 1]], "ones"
    (tmp_path / "sparse/info").write_text(json.dumps(info))
    (tmp_path / "sparse/ones").mkdir()
    for voxel in voxels:
        (tmp_path / "sparse/ones" / "_".join(f"{v}-{v + 1}" for v in voxel)).write_bytes(b"\1")
    pointshard("preprocess", sparse_job(tmp_path, [[1, 1, 1, 1, 0]], boxes=EVERYWHERE, per_annotation=300), "--out", tmp_path / "out")
    _, negatives = table(tmp_path / "out")[0]
    used = {tuple(np.floor(position).astype(int)) for _, position, _ in negatives}
    assert len(negatives) == 300 and used < {tuple(voxel) for voxel in voxels} and 12 < len(used) < 38


def test_boxes_without_space_are_a_warning(tmp_path, rows):
    empty = blocks(2, 2, dtype="uint8")
    empty[:12, :12, :12] = 0
    write_layer(tmp_path / "nothing", empty)
    path = negatives_job(tmp_path, rows, mask={"layer": "nothing"})
    config = json.loads(path.read_text())
    config["collection"]["boxes"]["layers"]["nothing"] = "precomputed://./nothing"
    path.write_text(json.dumps(config))
    pointshard("preprocess", path, "--out", tmp_path / "out")
    found = table(tmp_path / "out")
    in_third = sum(inside(row[1:4], 2) for row in rows)
    assert found[2][1] == [] and len(found[2][0]) == in_third > 0
    (warning,) = [w for w in manifest(tmp_path / "out")["warnings"] if "negatives" in w]
    assert '1 box(es) have fewer negatives' in warning and f'"b2": 0 of {2 * in_third}' in warning


def test_masks_have_a_resolution_of_their_own_and_any_type(tmp_path, rows):
    values = np.where(blocks(2, 7, side=4)[::2, ::2] > 0, 0.5, 0).astype("float32")
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{tmp_path}/probability/"},
        "multiscale_metadata": {"data_type": "float32", "num_channels": 1, "type": "image"},
        "scale_metadata": {"size": list(values.shape), "resolution": [16, 16, 40], "chunk_size": [8, 8, 8], "encoding": "raw"},
    }  # fmt: skip
    tensorstore.open(spec, create=True).result()[..., 0].write(values).result()
    path = negatives_job(tmp_path, rows, mask={"layer": "probability", "resolution": [16, 16, 40]})
    config = json.loads(path.read_text())
    config["collection"]["boxes"]["layers"]["probability"] = "precomputed://./probability"
    path.write_text(json.dumps(config))
    pointshard("preprocess", path, "--out", tmp_path / "out")
    mask = Volume(values, (0, 0, 0), (16.0, 16.0, 40.0))
    negatives = [p for _, of_box in table(tmp_path / "out").values() for _, p, _ in of_box]
    assert len(negatives) > 100 and all(values[mask.voxel(np.multiply(p, RESOLUTION))] == 0.5 for p in negatives)


LINES = {"id": "id", **{end: [f"{end}_{axis}" for axis in "xyz"] for end in ("start", "end")}}


def write_lines(folder, kind, lines):
    """Lines as a layer or a table: a part of the config."""
    if kind == "precomputed":
        write_annotations(folder / "lines", [{"id": i, "point": a, "end": b} for i, (a, b) in enumerate(lines)])
        return {"layer": "lines"}
    columns = {name: lines[:, end, axis] for end, names in enumerate((LINES["start"], LINES["end"])) for axis, name in enumerate(names)}
    rows = pyarrow.table({"id": range(len(lines)), **columns})
    if kind == "csv":
        pyarrow.csv.write_csv(rows, folder / "lines.csv")
    else:
        pyarrow.parquet.write_table(rows, folder / "lines.parquet", row_group_size=2)
    return {"table": {"file": f"lines.{kind}", "unit": "voxel", "resolution": RESOLUTION, **LINES}}


def distance_from_lines(point, lines):
    start, end = (lines[:, i] * RESOLUTION for i in range(2))
    share = np.clip(((point - start) * (end - start)).sum(1) / ((end - start) ** 2).sum(1), 0, 1)
    return np.sqrt(((start + share[:, None] * (end - start) - point) ** 2).sum(1)).min()


@pytest.mark.parametrize("anchor", ["start", "midpoint", "end"])
@pytest.mark.parametrize("kind", ["csv", "parquet", "precomputed"])
def test_the_distance_from_a_line_is_that_from_its_nearest_point(tmp_path, rows, kind, anchor):
    """Lines in the box, from the box to the outside, and through the box from one side to the other, without an end near it."""
    low, high = (12, 0, 0), (26, 36, 24)
    y, z = np.arange(2, 36, 8), np.arange(1, 24, 5)
    inside = [[(14, a, b), (20, a + 1, b)] for a, b in zip(y, z)]
    leaving = [[(22, a, b), (38, a, b)] for a, b in zip(y[::-1], z)]
    through = [[(1, a, b), (36.5 if anchor == "midpoint" else 30, a, b)] for a, b in zip(y, np.roll(z, 2))]
    lines = np.array([*inside, *leaving, *[line[::-1] for line in leaving[:2]], *through], float)
    path = negatives_job(tmp_path, rows, boxes=[(low, high)], per_annotation=40, min_distance_nm=24)
    config = json.loads(path.read_text())
    config["collection"]["boxes"]["layers"]["lines"] = "precomputed://./lines"
    config["points"] = {**write_lines(tmp_path, kind, lines), "anchor": anchor, "negatives": config["points"]["negatives"]}
    config["splits"] = {"train": ["train"]}
    path.write_text(json.dumps(config))
    pointshard("preprocess", path, "--out", tmp_path / "out")
    group = with_zarr(tmp_path / "out", "train")
    negative = group["property_negative"][:] == 1
    places = {"start": lines[:, 0], "end": lines[:, 1], "midpoint": lines.mean(1)}[anchor]
    in_box = [i for i, place in enumerate(places) if all(a <= v < b for a, v, b in zip(low, place, high))]
    assert sorted(group["annotation_id"][:][~negative]) == in_box and negative.sum() == 40 * len(in_box) > 150
    distances = [distance_from_lines(point, lines) for point in group["center_nm"][:][negative]]
    assert 24 <= min(distances) < 26


def test_negatives_of_objects(tmp_path, rows):
    """The objects of a segmentation and random points: the mask of a negative is empty."""
    write_layer(tmp_path / "seg", blocks(40, 8))
    path = negatives_job(tmp_path, rows)
    config = json.loads(path.read_text())
    config["collection"]["boxes"]["layers"]["seg"] = "precomputed://./seg"
    config["points"] = {"objects": {"layer": "seg"}, "negatives": {"per_annotation": 1}}
    config["arrays"]["mask"] = {"layer": "seg", "transform": {"object_at": {"id": "annotation", "missing": "keep"}}}
    path.write_text(json.dumps(config))
    pointshard("preprocess", path, "--out", tmp_path / "out")
    for split in ("train", "val"):
        group = with_zarr(tmp_path / "out", split)
        negative = group["property_negative"][:] == 1
        assert 10 < negative.sum() == (~negative).sum()
        assert not group["mask"][:][negative].any() and (group["property_voxels"][:][negative] == 0).all()
        assert (group["property_voxels"][:][~negative] > 0).all()


def test_properties_of_precomputed_annotations_stay_as_they_are(shared, tmp_path):
    """Their records end with padding."""
    arrays = {"img": {"layer": "img"}}
    plain = checked_dataset(tmp_path, name="plain", arrays=arrays)
    out = checked_dataset(tmp_path, arrays=arrays, points={"layer": "points", "negatives": {"per_annotation": 1}})
    for split in ("train", "val"):
        before, after = with_zarr(plain, split), with_zarr(out, split)
        negative = after["property_negative"][:] == 1
        assert negative.sum() == (~negative).sum() == before["annotation_id"].shape[0] > 5
        order, kept = before["annotation_id"][:].argsort(), after["annotation_id"][:][~negative].argsort()
        names = [name for name in before.array_keys() if name.startswith("property_") or name == "center_nm"]
        assert len(names) > 3
        for name in names:
            np.testing.assert_array_equal(after[name][:][~negative][kept], before[name][:][order])
            assert name == "center_nm" or not after[name][:][negative].any()


def test_wrong_negatives_are_errors(tmp_path, rows):
    for change, words in [
        ({"per_annotation": 0}, ["`points`", "`per_annotation` is 0", "greater than 0"]),
        ({"min_distance_nm": -1}, ["`min_distance_nm` is -1"]),
        ({"mask": {"layer": "tisue"}}, ["`points.negatives.mask.layer`", "did you mean `tissue`"]),
        ({"mask": {"layer": "tissue", "resolution": [64, 64, 40]}}, ["`points.negatives.mask.resolution`", "64 x 64 x 40"]),
    ]:
        message = error_message("preprocess", negatives_job(tmp_path, rows, **change), "--out", tmp_path / "out")
        for word in words:
            assert word in message, message
    # The mask has no scale of the job's resolution, which other layers have.
    sparse_mask(tmp_path, FEW)
    info = json.loads((tmp_path / "sparse/info").read_text())
    info["scales"][0]["resolution"] = [32, 32, 160]
    (tmp_path / "sparse/info").write_text(json.dumps(info))
    message = error_message("preprocess", sparse_job(tmp_path, rows), "--out", tmp_path / "out")
    assert "`points.negatives.mask.resolution`" in message and "[32.0, 32.0, 160.0]" in message and "sparse" in message
    assert "points.table" not in message and "`resolution`" not in message, message
    path = negatives_job(tmp_path, rows)
    path.write_text(path.read_text().replace('"score"', '"negative"'))
    (tmp_path / "points.csv").write_text((tmp_path / "points.csv").read_text().replace("score", "negative"))
    assert "a property `negative`" in error_message("preprocess", path, "--out", tmp_path / "out")
