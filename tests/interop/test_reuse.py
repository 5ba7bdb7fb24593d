"""`--reuse`: a job that grew keeps the order of the samples of an earlier output, and copies its shards that stay the same."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from faulty_server import FaultyServer
from program import REPOSITORY, error_message, manifest, pointshard
from test_bucket_output import Bucket, client  # noqa: F401
from test_protocol import dataset_digests
from volumes import write_precomputed

RESOLUTION, SIZE, WINDOW, SHARD = (8, 8, 40), (128, 96, 32), (8, 8, 4), 4
LEFT = {"id": "left", "min": [0, 0, 0], "max": [400, 768, 1280], "tags": ["train"]}
RIGHT = {"id": "right", "min": [500, 0, 0], "max": [1024, 300, 1280], "tags": ["train"]}
ABOVE = {"id": "above", "min": [500, 400, 0], "max": [1024, 768, 1280], "tags": ["val"]}
ARRAYS = {
    "img": {"layer": "em", "codec": "auto"},
    "cell": {"layer": "seg", "transform": {"object_at": {"point": "anchor", "radius_nm": 0}}, "codec": "zstd"},
}


def random_points(seed, n, ids):
    """Points, by id, in nm, in the middle of voxels."""
    generator = np.random.default_rng(seed)
    voxels = generator.integers([4, 4, 2], np.array(SIZE) - [4, 4, 2], (n, 3))
    return {ids + i: [float((v + 0.5) * r) for v, r in zip(voxel, RESOLUTION)] for i, voxel in enumerate(voxels)}


VERSION_2 = REPOSITORY / "tests/datasets/version_2"
POINTS = random_points(1, 60, 100)
MORE = random_points(2, 25, 1000)


@pytest.fixture
def layers(tmp_path):
    """An image of noise, and a segmentation without background."""
    generator = np.random.default_rng(5)
    write_precomputed(tmp_path / "em", generator.integers(0, 255, SIZE).astype("uint8"), RESOLUTION, (0, 0, 0), (16, 16, 8))
    x, y, z = np.meshgrid(*(np.arange(n) for n in SIZE), indexing="ij")
    cells = (1 + x // 9 + 20 * (y // 7) + 400 * (z // 5)).astype("uint32")
    write_precomputed(tmp_path / "seg", cells, RESOLUTION, (0, 0, 0), (16, 16, 8))
    return tmp_path


def config(folder, points=POINTS, boxes=(LEFT, RIGHT), em="em", **changes):
    rows = "".join(f"{i},{','.join(map(str, p))},{i % 7}\n" for i, p in points.items())
    (folder / "points.csv").write_text("id,x,y,z,kind\n" + rows)
    table = {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id", "properties": {"kind": "uint8"}}
    layers = {"em": f"precomputed://./{em}", "seg": "precomputed://./seg"}
    job = {
        "collection": {"boxes": {"list": list(boxes), "layers": layers}},
        "resolution": RESOLUTION,
        "window": WINDOW,
        "points": {"table": table},
        "arrays": ARRAYS,
        "splits": {"train": ["train"]},
        "shard_samples": SHARD,
        **changes,
    }
    path = folder / "config.json"
    path.write_text(json.dumps({key: value for key, value in job.items() if value is not None}))
    return path


def run(folder, name, *arguments, **changes):
    """Runs the job into the folder `name` and checks the dataset; returns the folder and the summary."""
    out = folder / name
    said = pointshard("preprocess", config(folder, **changes), "--out", out, *arguments).stdout
    report = json.loads(pointshard("check", out, "--source", "--json").stdout)
    assert not [f for f in report["findings"] if f["severity"] == "error"], report["findings"]
    return out, said


def keys(out, split="train"):
    """Box and annotation of each sample."""
    group, boxes = zarr.open_group(out / f"{split}.zarr", mode="r"), manifest(out)["boxes"]
    return [(boxes[b]["id"], int(i)) for b, i in zip(group["box"][:], group["annotation_id"][:])]


def contents(out, split="train"):
    """What each sample has in all arrays and columns but `box`, by box and annotation."""
    group = zarr.open_group(out / f"{split}.zarr", mode="r")
    values = {name: array[:] for name, array in group.arrays() if name != "box"}
    return {key: {name: v[i].tobytes() for name, v in values.items()} for i, key in enumerate(keys(out, split))}


def order_after(old, new):
    """The documented order: samples of both keep their positions, new ones fill free positions and follow at the end."""
    wanted, added = set(new), [key for key in new if key not in set(old)]
    places = [key if key in wanted else None for key in old]
    places = [key if key or not added else added.pop(0) for key in places]
    return [key for key in places if key] + added


def same_shards(before, now, arrays, split="train"):
    """The paths of shards whose samples are the same in two lists of samples, or in two datasets."""
    before, now = (keys(of, split) if isinstance(of, Path) else of for of in (before, now))
    of_shard = {s: slice(s * SHARD, (s + 1) * SHARD) for s in range(-(-len(now) // SHARD))}
    same = [s for s, rows in of_shard.items() if now[rows] == before[rows]]
    return {f"{split}.zarr/{array}/c.{s}.0.0.0.0" for array in arrays for s in same}


def linked(old, new):
    """The paths of shards that are the same file in both."""
    shards = {s["path"] for s in manifest(new)["shards"]}
    places = {path for path in shards if (old / path).exists()}
    return {path for path in places if (old / path).stat().st_ino == (new / path).stat().st_ino}


def test_a_job_with_more_boxes_rows_arrays_and_tags_copies_what_stays_the_same(layers):
    old, _ = run(layers, "old")
    grown = {
        # New rows in old boxes, a box before the others, another split, another array.
        "points": {**MORE, **POINTS},
        "boxes": [ABOVE, {**LEFT, "tags": ["checked", "train"]}, RIGHT],
        "splits": {"val": ["val"], "train": ["train"]},
        "arrays": {"inside": {"layer": "em", "transform": "inside"}, **ARRAYS},
    }
    natural, _ = run(layers, "natural", **grown)
    new, said = run(layers, "new", "--reuse", str(old), **grown)
    assert keys(new) == order_after(keys(old), keys(natural)) != keys(natural)
    assert keys(new)[: len(keys(old))] == keys(old) and keys(new, "val") == keys(natural, "val")
    for split in ("train", "val"):
        assert contents(new, split) == contents(natural, split)
    expected = same_shards(old, new, ["img", "cell"])
    assert linked(old, new) == expected and len(expected) > 10
    total = len(manifest(new)["shards"])
    assert f"{total - len(expected)} written, {len(expected)} copied, 0 already present" in said
    assert manifest(new)["order_of_plan"] == manifest(old)["plan_digest"]
    assert "order_of_plan" not in manifest(natural) and not linked(old, natural)


def test_samples_of_a_box_that_is_in_another_split_now_are_new_there(layers):
    splits = {"train": ["train"], "val": ["val"]}
    old, _ = run(layers, "old", boxes=[LEFT, RIGHT, ABOVE], splits=splits)
    moved = {"boxes": [LEFT, {**RIGHT, "tags": ["val"]}, ABOVE], "splits": splits}
    natural, _ = run(layers, "natural", **moved)
    new, _ = run(layers, "new", "--reuse", old, **moved)
    for split in splits:
        assert keys(new, split) == order_after(keys(old, split), keys(natural, split))
        assert contents(new, split) == contents(natural, split)
    expected = same_shards(old, new, ARRAYS) | same_shards(old, new, ARRAYS, "val")
    assert linked(old, new) == expected and len(keys(new, "val")) > len(keys(old, "val")) > SHARD


def test_without_the_files_of_the_earlier_output_the_dataset_is_the_same(layers):
    old, _ = run(layers, "old")
    # The volumes have other numbers, because the arrays are in another order.
    grown = {"points": {**MORE, **POINTS}, "boxes": [ABOVE, LEFT, RIGHT], "arrays": dict(reversed(ARRAYS.items()))}
    new, _ = run(layers, "new", "--reuse", old, **grown)
    assert linked(old, new) == same_shards(old, new, ARRAYS)
    tasks = layers / "tasks"
    pointshard("plan", config(layers, **grown), "--out", tasks, "--reuse", old, "--tasks", 3)
    old.rename(layers / "gone")
    for task in range(3):
        said = pointshard("preprocess", "--out", tasks, "--task", task)
        assert "no shard was copied" in said.stderr and str(old) in said.stderr
        assert " copied, " not in said.stdout
    pointshard("seal", tasks)
    assert dataset(dataset_digests(tasks)) == dataset(dataset_digests(new))


def test_tasks_copy_their_own_shards_from_wherever_the_earlier_output_is_now(layers):
    old, _ = run(layers, "old")
    grown, new = {"points": {**POINTS, **MORE}}, layers / "new"
    pointshard("plan", config(layers, **grown), "--out", new, "--reuse", old, "--tasks", 2)
    old = old.rename(layers / "moved")
    job = config(layers, **grown)
    said = [pointshard("preprocess", job, "--out", new, "--reuse", old, "--task", task).stdout for task in range(2)]
    pointshard("seal", new)
    expected = same_shards(old, new, ARRAYS)
    assert linked(old, new) == expected and all(" copied, " in text for text in said)


def test_new_samples_take_the_places_of_those_that_are_gone_and_a_moved_one_keeps_its_place(layers):
    old, _ = run(layers, "old")
    before = keys(old)
    points = dict(POINTS)
    gone, moved = [key[1] for key in (before[5], before[14], before[15])], before[21][1]
    for annotation in gone:
        del points[annotation]
    points[moved] = [points[moved][0] + 8, *points[moved][1:]]
    points |= {5000: [100.0, 100.0, 500.0], 5001: [44.0, 500.0, 700.0]}
    natural, _ = run(layers, "natural", points=points)
    new, _ = run(layers, "new", "--reuse", old, points=points)
    assert keys(new) == order_after(before, keys(natural)) and keys(new)[20] == before[21]
    assert keys(new)[:15] == [*before[:5], ("left", keys(new)[5][1]), *before[6:14], keys(new)[14]]
    assert {keys(new)[5][1], keys(new)[14][1]} == {5000, 5001} and keys(new)[15] == before[16]
    assert contents(new) == contents(natural)
    # Shards 1 and 3 have new samples. From the one that is closed on, all samples have other places.
    assert linked(old, new) == {f"train.zarr/{a}/c.{s}.0.0.0.0" for a in ARRAYS for s in (0, 2)}


def test_the_shards_of_a_sample_that_moved_are_cut(layers):
    old, _ = run(layers, "old")
    moved = keys(old)[9][1]
    points = {**POINTS, moved: [POINTS[moved][0] + 8, *POINTS[moved][1:]]}
    natural, _ = run(layers, "natural", points=points)
    new, _ = run(layers, "new", "--reuse", old, points=points)
    assert keys(new) == keys(old) and contents(new) == contents(natural) != contents(old)
    assert linked(old, new) == same_shards(old, new, ARRAYS) - {f"train.zarr/{a}/c.2.0.0.0.0" for a in ARRAYS}


def test_what_is_known_is_not_read_again(layers):
    """The chunks that only windows of the earlier output touch are gone, and reading one is an error."""
    old, _ = run(layers, "old", missing="error", boxes=[RIGHT, LEFT])
    for layer in ("em", "seg"):
        (chunks,) = (p for p in (layers / layer).iterdir() if p.is_dir())
        for chunk in chunks.iterdir():
            x = int(chunk.name.split("-")[0])
            if x >= 64:
                chunk.unlink()
    grown = {"points": POINTS, "boxes": [RIGHT, LEFT, {**LEFT, "id": "again"}], "missing": "error", "leaks": "allow"}
    grown["points"] = {i: p for i, p in POINTS.items() if p[0] < 400 or p[1] < 300}
    job = config(layers, **grown)
    assert "missing" in error_message("preprocess", job, "--out", layers / "natural", code=1)
    new = layers / "new"
    said = pointshard("preprocess", job, "--out", new, "--reuse", old).stdout
    pointshard("check", new)
    assert linked(old, new) == same_shards(old, new, ARRAYS)
    assert 0 < said.count("copied") and keys(new)[: len(keys(old))] == keys(old)


@pytest.mark.parametrize(
    "change",
    [
        {"arrays": {**ARRAYS, "img": {**ARRAYS["img"], "fill": 9}}},
        {"arrays": {**ARRAYS, "img": {**ARRAYS["img"], "transform": {"threshold": 100}}}},
        {"arrays": {**ARRAYS, "img": {**ARRAYS["img"], "dtype": "uint16"}}},
        {"arrays": {**ARRAYS, "img": {**ARRAYS["img"], "codec": {"zstd": {"level": 5}}}}},
        {"arrays": {**ARRAYS, "img": {**ARRAYS["img"], "window": [8, 8, 8]}}},
        {"layers": {"em": {"empty": "allow"}}},
        {"em": "em_elsewhere"},
        {"em": "em_in_other_chunks"},
    ],
    ids=["fill", "transform", "dtype", "codec", "window", "layer", "place", "metadata"],
)
def test_shards_of_a_changed_array_are_cut(layers, change):
    shutil.copytree(layers / "em", layers / "em_elsewhere")
    values = np.random.default_rng(6).integers(0, 255, SIZE).astype("uint8")
    write_precomputed(layers / "em_in_other_chunks", values, RESOLUTION, (0, 0, 0), (32, 16, 8))
    old, _ = run(layers, "old")
    natural, _ = run(layers, "natural", **change)
    new, _ = run(layers, "new", "--reuse", old, **change)
    assert keys(new) == keys(old) == keys(natural)
    moved = pointshard("plan", layers / "config.json", "--out", layers / "plan", "--reuse", old).stderr
    assert ("its windows are cut again" in moved and "em_elsewhere" in moved) == (change == {"em": "em_elsewhere"})
    assert linked(old, new) == same_shards(old, new, ["cell"]) and contents(new) == contents(natural)


@pytest.mark.parametrize(
    "change",
    [
        {"window": [16, 8, 4]},
        {"axis_order": "cxyz"},
        {"shard_samples": 5},
        {"rule": "floor", "window": [7, 7, 3]},
        {"resolution": [8, 8, 80]},
    ],
    ids=["window", "axis_order", "shard_samples", "rule", "resolution"],
)
def test_nothing_is_copied_if_all_windows_change(layers, change):
    if "resolution" in change:
        for layer in ("em", "seg"):
            values = np.zeros((128, 96, 16), "uint8" if layer == "em" else "uint32") + 3
            write_precomputed(layers / layer, values, change["resolution"], (0, 0, 0), (16, 16, 8))
    old, _ = run(layers, "old")
    natural, _ = run(layers, "natural", **change)
    new, said = run(layers, "new", "--reuse", old, **change)
    assert not linked(old, new) and " copied, " not in said
    assert contents(new) == contents(natural)


def test_another_object_of_a_sample_is_seen(layers):
    """The annotation has another end, and thus another object, but the same centre."""
    lines = {i: [*p, p[0] - 16, *p[1:], p[0] + 16, *p[1:]] for i, p in POINTS.items()}

    def job(name, lines):
        rows = "".join(f"{i},{','.join(map(str, p))}\n" for i, p in lines.items())
        path = config(layers, arrays={"cell": {"layer": "seg", "transform": {"object_at": {"point": "end", "radius_nm": 0}}}})
        (layers / f"{name}.csv").write_text("id,x,y,z,sx,sy,sz,ex,ey,ez\n" + rows)
        written = json.loads(path.read_text())
        ends = {"point": ["x", "y", "z"], "start": ["sx", "sy", "sz"], "end": ["ex", "ey", "ez"]}
        written["points"] = {"table": {"file": f"{name}.csv", "unit": "nm", "id": "id", **ends}}
        path.write_text(json.dumps(written))
        return path

    old, new = layers / "old", layers / "new"
    pointshard("preprocess", job("old", lines), "--out", old)
    changed = keys(old)[10][1]
    lines[changed][6] += 80
    pointshard("preprocess", job("new", lines), "--out", new, "--reuse", old)
    pointshard("preprocess", job("new", lines), "--out", layers / "natural")
    assert contents(new) == contents(layers / "natural") and contents(new) != contents(old)
    assert linked(old, new) == same_shards(old, new, ["cell"]) - {"train.zarr/cell/c.2.0.0.0.0"}


def test_codecs_and_sizes_of_shards_stay_those_of_the_earlier_output(layers):
    """The new points are where the image is constant, so that compression would pay now."""
    values = np.random.default_rng(5).integers(0, 255, SIZE).astype("uint8")
    values[64:] = 3
    shutil.rmtree(layers / "em")
    write_precomputed(layers / "em", values, RESOLUTION, (0, 0, 0), (16, 16, 8))
    few = {i: p for i, p in POINTS.items() if p[0] < 300}
    many = {**few, **{9000 + i: [900.0 + i, 200.0, 600.0] for i in range(90)}}
    big = {"layer": "em", "window": [64, 64, 64], "transform": "nonzero"}
    old, _ = run(layers, "old", points=few, shard_samples=None, arrays={"img": ARRAYS["img"]})
    grown = {"points": many, "shard_samples": None, "arrays": {"img": ARRAYS["img"], "big": big}}
    natural, _ = run(layers, "natural", **grown)
    new, _ = run(layers, "new", "--reuse", old, **grown)
    codec = [manifest(out)["arrays"]["img"]["codec"] for out in (old, natural, new)]
    assert codec[0] == codec[2] != codec[1]
    # One shard that was not full is not a reason for small shards.
    sizes = [manifest(out)["splits"]["train"]["shard_samples"] for out in (old, natural, new)]
    assert sizes == [len(few), len(few) + 90, len(few) + 90]
    only_array = {**grown, "points": few}
    same_size, _ = run(layers, "same_size", "--reuse", old, **only_array)
    assert linked(old, same_size) == {"train.zarr/img/c.0.0.0.0.0"}


def test_a_larger_array_does_not_change_the_sizes_of_shards(layers):
    """Without `shard_samples`, shards of the largest array have 128 MiB: 64 windows of 2 MiB, or 32 of 4 MiB."""
    large = {"layer": "seg", "window": [64, 64, 64], "dtype": "uint64", "codec": "zstd"}
    job = {"points": {i: [200.0 + i, 300.0, 500.0] for i in range(70)}, "shard_samples": None}
    old, _ = run(layers, "old", "--threads", "2", arrays={"large": large}, **job)
    arrays = {"large": large, "larger": {**large, "window": [128, 64, 64], "transform": "nonzero", "dtype": "uint64"}}
    new, _ = run(layers, "new", "--reuse", old, arrays=arrays, **job)
    assert [manifest(out)["splits"]["train"]["shard_samples"] for out in (old, new)] == [64, 64]
    assert linked(old, new) == {"train.zarr/large/c.0.0.0.0.0", "train.zarr/large/c.1.0.0.0.0"}


def test_an_unfinished_output_can_be_reused_and_a_copy_is_resumed(layers):
    old, _ = run(layers, "old")
    lost, before = "train.zarr/img/c.1.0.0.0.0", keys(old)
    (old / lost).unlink()
    (old / "manifest.json").unlink()
    grown = {"points": {**POINTS, **MORE}}
    new, _ = run(layers, "new", "--reuse", old, **grown)
    expected = same_shards(before, keys(new), ARRAYS) - {lost}
    whole = dataset_digests(new)
    assert linked(old, new) == expected
    for path in sorted(expected)[:3]:
        (new / path).unlink()
    (new / "manifest.json").unlink()
    assert "shards   3 copied, " in pointshard("preprocess", config(layers, **grown), "--out", new).stdout
    assert dataset_digests(new) == whole and linked(old, new) == expected
    # A copy without its receipt, as a killed run leaves it, is the same file already.
    (new / f".pointshard/receipts/train/cell/{sorted(expected)[0].split('.')[2]}.json").unlink()
    assert "shards   1 copied, " in pointshard("preprocess", "--out", new).stdout
    assert dataset_digests(new) == whole and not [p for p in new.rglob("*") if p.name.startswith(".writing")]


def test_an_output_is_reused_again(layers):
    old, _ = run(layers, "old")
    second, _ = run(layers, "second", "--reuse", old, points={**MORE, **POINTS})
    third, _ = run(layers, "third", "--reuse", second, points={**random_points(7, 9, 7000), **MORE, **POINTS})
    assert keys(third)[: len(keys(second))] == keys(second) and keys(second)[: len(keys(old))] == keys(old)
    assert linked(second, third) == same_shards(second, third, ARRAYS) >= linked(old, third) > set()
    report = json.loads(pointshard("diff", second, third, "--json", code=1).stdout)
    assert {d["kind"] for d in report["differences"]} == {"annotation", "box"}


def test_damage_of_the_earlier_output_is_found_and_repaired(layers):
    old, _ = run(layers, "old")
    right = dataset_digests(run(layers, "right", "--reuse", old, points={**POINTS, **MORE})[0])
    path = sorted(same_shards(old, layers / "right", ["img"]))[0]
    shutil.rmtree(layers / "right")
    damaged = bytearray((old / path).read_bytes())
    damaged[100] ^= 1
    (old / path).write_bytes(damaged)
    job, linked_new = config(layers, points={**POINTS, **MORE}), layers / "linked"
    pointshard("preprocess", job, "--out", linked_new, "--reuse", old)
    pointshard("check", linked_new, code=1)
    pointshard("check", linked_new, "--repair")
    assert dataset_digests(linked_new) == right and (old / path).read_bytes() == damaged
    verified = layers / "verified"
    said = pointshard("preprocess", job, "--out", verified, "--reuse", old, "--verify").stdout
    assert dataset_digests(verified) == right, said
    # On another file system, bytes are copied and compared with their digest.
    with tempfile.TemporaryDirectory(dir=other_file_system(layers)) as elsewhere:
        copy = Path(elsewhere) / "copy"
        pointshard("preprocess", job, "--out", copy, "--reuse", old)
        assert dataset_digests(copy) == right and (copy / path).stat().st_dev != old.stat().st_dev
        assert (copy / path).read_bytes() != damaged


def other_file_system(folder):
    """A writable folder that is not on the file system of `folder`."""
    for place in ("/dev/shm", "/var/tmp", "/tmp"):
        if Path(place).is_dir() and os.access(place, os.W_OK) and Path(place).stat().st_dev != folder.stat().st_dev:
            return place
    raise AssertionError("there is only one writable file system")


def test_a_symbolic_link_is_not_linked(layers):
    old, _ = run(layers, "old")
    path = "train.zarr/img/c.0.0.0.0.0"
    (old / path).rename(layers / "elsewhere")
    (old / path).symlink_to(layers / "elsewhere")
    new, _ = run(layers, "new", "--reuse", old, points={**POINTS, **MORE})
    assert not (new / path).is_symlink() and (new / path).stat().st_nlink == 1
    assert (new / path).read_bytes() == (old / path).read_bytes()


def test_a_dry_run_says_what_would_be_copied(layers):
    old, _ = run(layers, "old")
    job, out = config(layers, points={**POINTS, **MORE}), layers / "new"
    said = pointshard("preprocess", job, "--out", out, "--reuse", old, "--dry-run").stdout
    assert not out.exists()
    run_said = pointshard("preprocess", job, "--out", out, "--reuse", old).stdout
    total, copied = len(manifest(out)["shards"]), len(linked(old, out))
    assert f"{copied} of {total} shards are the same in the earlier output" in said
    windows = 2 * len(keys(out)) - SHARD * copied
    assert f"{windows} windows" in said and f"{windows} windows" in run_said


def test_wrong_uses_are_errors(layers):
    old, _ = run(layers, "old")
    job, new = config(layers, points={**POINTS, **MORE}), layers / "new"
    assert "is the output itself" in error_message("preprocess", job, "--out", old, "--reuse", old, "--force")
    assert dataset_digests(old)["manifest.json"]
    (layers / "empty").mkdir()
    for nothing in (layers / "empty", layers / "missing", VERSION_2):
        message = error_message("preprocess", job, "--out", new, "--reuse", nothing, code=2)
        assert f"--reuse {nothing} has no plan" in message and not new.exists()
    (layers / "notes").mkdir()
    (layers / "notes/a.txt").write_text("not of pointshard")
    message = error_message("preprocess", job, "--out", new, "--reuse", layers / "notes", code=2)
    assert f"--reuse {layers / 'notes'} has no plan" in message and not new.exists()
    shutil.copytree(old, layers / "damaged")
    (layers / "damaged/.pointshard/plan.json").write_text("{")
    message = error_message("preprocess", job, "--out", new, "--reuse", layers / "damaged", code=1)
    assert f"--reuse {layers / 'damaged'}: run `pointshard check {layers / 'damaged'} --repair`" in message
    pointshard("check", layers / "damaged", "--repair")
    pointshard("preprocess", job, "--out", new, "--reuse", layers / "damaged")
    shutil.rmtree(new)
    pointshard("preprocess", job, "--out", new)
    message = error_message("preprocess", job, "--out", new, "--reuse", old)
    assert "without --reuse" in message and str(new) in message
    pointshard("preprocess", job, "--out", layers / "reusing", "--reuse", old)
    message = error_message("preprocess", job, "--out", layers / "reusing", "--reuse", new)
    assert f"with --reuse {old}" in message and str(new) in message
    assert "<CONFIG>" in error_message("preprocess", "--out", new, "--reuse", old)


def test_the_objects_of_a_sample_are_those_of_its_properties_if_their_names_are_swapped(layers):
    """The object is that of a property. The names of two properties are swapped, so that all values together stay the same."""

    def cell(x, y, z):
        return 1 + x // 9 + 20 * (y // 7) + 400 * (z // 5)

    voxels = {i: [int(a // r) for a, r in zip(p, RESOLUTION)] for i, p in POINTS.items()}
    cells = {i: (cell(x, y, z), cell(x, y - 3, z)) for i, (x, y, z) in voxels.items()}

    def job(name, pre, post):
        rows = "".join(f"{i},{','.join(map(str, p))},{cells[i][0]},{cells[i][1]}\n" for i, p in POINTS.items())
        one = {"layer": "seg", "transform": {"object_at": {"id": {"property": "pre"}}}}
        path = config(layers, arrays={"img": ARRAYS["img"], "cell": one})
        (layers / f"{name}.csv").write_text(f"id,x,y,z,{pre},{post}\n" + rows)
        written = json.loads(path.read_text())
        written["points"]["table"].update(file=f"{name}.csv", properties={pre: "uint64", post: "uint64"})
        path.write_text(json.dumps(written))
        return path

    old, new, natural = layers / "old", layers / "new", layers / "natural"
    pointshard("preprocess", job("old", "pre", "post"), "--out", old)
    pointshard("preprocess", job("new", "post", "pre"), "--out", new, "--reuse", old)
    pointshard("preprocess", job("new", "post", "pre"), "--out", natural)
    ids = zarr.open_group(new / "train.zarr", mode="r")["cell_object_id"][:]
    assert sorted(ids.tolist()) == sorted(cells[i][1] for _, i in keys(new))
    assert contents(new) == contents(natural)
    # The image does not depend on properties.
    assert {path.split("/")[1] for path in linked(old, new)} == {"img"}


def test_a_missing_chunk_is_an_error_that_says_which_samples_need_it_with_and_without_an_earlier_output(layers):
    old, _ = run(layers, "old")
    grown = {"points": {**POINTS, **MORE}, "missing": "error"}
    for chunk in (layers / "seg").glob("*/32-48_*"):
        chunk.unlink()
    for arguments in ((), ("--reuse", old)):
        message = error_message("preprocess", config(layers, **grown), "--out", layers / "new", *arguments, code=1)
        assert "missing" in message and "seg" in message, message


def test_the_same_command_is_rerun_after_the_earlier_output_is_gone(layers):
    old, _ = run(layers, "old")
    grown = {"points": {**POINTS, **MORE}}
    new, _ = run(layers, "new", "--reuse", str(old), **grown)
    before, lost = contents(new), sorted(new.glob("train.zarr/img/c.*"))[0]
    digest = manifest(new)["digest"]
    shutil.rmtree(old)
    lost.unlink()
    again = pointshard("preprocess", config(layers, **grown), "--out", new, "--reuse", old).stdout
    assert "1 written" in again and contents(new) == before and manifest(new)["digest"] == digest


def test_an_earlier_output_without_a_common_box_is_warned_of(layers):
    old, _ = run(layers, "old")
    other = [{**LEFT, "id": "renamed"}]
    done = pointshard("preprocess", config(layers, boxes=other), "--out", layers / "new", "--reuse", old)
    assert "no box has the id and the split of one of its boxes" in done.stderr
    assert '"renamed"' in done.stderr and '"left"' in done.stderr, done.stderr


def test_an_annotation_that_is_twice_in_a_box_is_found_in_any_order(layers):
    """`check` of a dataset whose samples are not ordered by box."""
    old, _ = run(layers, "old", shard_samples=SHARD)
    new, _ = run(layers, "new", "--reuse", old, points={**POINTS, **MORE})
    now = keys(new)
    first = next(i for i, key in enumerate(now) if key[0] == "left")
    last = max(i for i, key in enumerate(now) if key[0] == "left")
    assert last - first > sum(key[0] == "left" for key in now), "the samples of the box are apart"
    column = zarr.open_group(new / "train.zarr", mode="r+")["annotation_id"]
    column[last] = column[first]
    report = json.loads(pointshard("check", new, "--json", code=1).stdout)
    repeated = [f for f in report["findings"] if f["kind"] == "repeated_annotation"]
    assert [f["samples"] for f in repeated] == [[last]], report["findings"]


@pytest.mark.parametrize("server", ["s3", "gcs"])
def test_a_bucket_copies_its_own_objects(layers, server, request, client):  # noqa: F811
    location = request.getfixturevalue(server)
    old, new, other = (Bucket(location, client) for _ in range(3))
    local_old, _ = run(layers, "old")
    local_new, _ = run(layers, "new", "--reuse", local_old, points={**POINTS, **MORE})
    pointshard("preprocess", config(layers), "--out", old.out, env=old.env)
    job = config(layers, points={**POINTS, **MORE})
    copied = f"{len(same_shards(local_old, local_new, ARRAYS))} copied, "
    assert copied in pointshard("preprocess", job, "--out", new.out, "--reuse", old.out, env=new.env).stdout
    expected = dataset(dataset_digests(local_new))
    assert dataset(new.digests()) == expected and not new.uploads()
    # From a folder to a bucket and back, bytes are read and written.
    assert copied in pointshard("preprocess", job, "--out", other.out, "--reuse", local_old, env=new.env).stdout
    assert dataset(other.digests()) == expected
    back = layers / "back"
    assert copied in pointshard("preprocess", job, "--out", back, "--reuse", old.out, env=new.env).stdout
    assert dataset(dataset_digests(back)) == expected


def test_an_output_on_an_http_server_is_reused(layers):
    old, _ = run(layers, "old")
    more = {**POINTS, **MORE}
    local, _ = run(layers, "local", "--reuse", old, points=more)
    copied = f"{len(same_shards(old, local, ARRAYS))} copied, "
    with FaultyServer(layers) as server:
        new, said = run(layers, "new", "--reuse", f"{server.url}/old", points=more)
        assert copied in said
        assert dataset(dataset_digests(new)) == dataset(dataset_digests(local))
        # Nothing is planned for a place that cannot be written to.
        for force in ([], ["--force"]):
            message = error_message("preprocess", layers / "config.json", "--out", f"{server.url}/other", *force, code=2)
            assert "http(s) servers cannot be written to" in message


def dataset(digests):
    """The digests of what does not depend on where the earlier output was, and in how many tasks the job was done."""
    return {path: digest for path, digest in digests.items() if not path.endswith("plan.json")}
