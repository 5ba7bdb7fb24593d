"""`random_splits`: the split of a box, computed again in Python by the documented rule, and how it changes with the boxes."""

import json
import math

import numpy as np
import pytest
from blake3 import blake3
from program import drop_counts, error_message, manifest, pointshard, write_times
from readers import with_zarr
from volumes import write_precomputed

RESOLUTION, WINDOW = (4, 4, 40), (4, 4, 2)
SIZE = (160, 160, 8)


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


class Job:
    """A volume with 400 boxes of 8 x 8 x 8 voxels, one point in the middle of each, and a config with random splits."""

    def __init__(self, folder):
        self.folder = folder
        write_precomputed(folder / "img", np.random.default_rng(1).integers(1, 255, SIZE, "uint8"), RESOLUTION, (0, 0, 0))
        rng = np.random.default_rng(2)
        self.boxes = []
        for i, (x, y) in enumerate(np.ndindex(20, 20)):
            low = np.multiply((x * 8, y * 8, 0), RESOLUTION)
            high = low + np.multiply((8, 8, 8), RESOLUTION)
            tags = [["some", "all", "few"][i % 3], f"animal:{rng.integers(40)}"] + ["last"] * (i > 360)
            self.boxes.append({"id": f"é{i}-box", "min": low.tolist(), "max": high.tolist(), "tags": tags})
        rows = [f"{i},{','.join(str((a + b) / 2) for a, b in zip(one['min'], one['max']))}" for i, one in enumerate(self.boxes)]
        (folder / "points.csv").write_text("\n".join(["id,x,y,z", *rows]))

    def config(self, random, name="config.json", boxes=None, **changes):
        table = {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}
        config = {
            "collection": {"boxes": {"list": self.boxes if boxes is None else boxes, "layers": {"img": "./img"}}},
            "resolution": RESOLUTION, "window": WINDOW, "points": {"table": table},
            "arrays": {"img": {"layer": "img", "codec": "none"}}, "random_splits": random, **changes,
        }  # fmt: skip
        path = self.folder / name
        path.write_text(json.dumps(config))
        return path

    def plan(self, random, **changes):
        """The split of each box."""
        planned = json.loads(pointshard("plan", self.config(random, **changes), "--json").stdout)
        return {one["id"]: one["split"] for one in planned["boxes"]}

    def run(self, random, name="out", **changes):
        out = self.folder / name
        pointshard("preprocess", self.config(random, **changes), "--out", out)
        pointshard("check", out)
        return out


def number(text, seed):
    digest = blake3(b"splits" + seed.to_bytes(8, "little") + text.encode()).digest()
    return int.from_bytes(digest[:8], "little")


def by_fractions(text, seed, fractions):
    point, end = (number(text, seed) >> 11) / 2**53, 0
    for split, fraction in fractions.items():
        end += fraction
        if point < end:
            return split
    return split if end >= 1 - 1e-9 else None


THREE = {"train": 0.8, "val": 0.1, "test": 0.1}


@pytest.mark.parametrize("fractions, seed", [(THREE, 0), (THREE, 2**64 - 1), ({"b": 0.3, "a": 0.2}, 17), ({"one": 1}, 5)])
def test_a_split_gets_about_its_fraction_of_the_boxes(job, fractions, seed):
    splits = job.plan({"fractions": fractions, "seed": seed})
    assert splits == {one["id"]: by_fractions(one["id"], seed, fractions) for one in job.boxes}
    for split, fraction in fractions.items():
        found, expected = list(splits.values()).count(split), 400 * fraction
        assert abs(found - expected) <= 4 * math.sqrt(400 * fraction * (1 - fraction)), (split, found)
    assert (None in splits.values()) == (sum(fractions.values()) < 0.99)


def test_a_box_keeps_its_split_when_others_are_added_or_removed(job):
    random = {"fractions": THREE, "seed": 17}
    all_boxes, rng = job.plan(random), np.random.default_rng(3)
    for count in (60, 200):
        some = [job.boxes[i] for i in rng.permutation(400)[:count]]
        splits = job.plan(random, boxes=some)
        assert splits == {one["id"]: all_boxes[one["id"]] for one in some}
    assert job.plan({**random, "seed": 18}) != all_boxes


def test_tags_say_which_boxes_take_part_and_splits_by_tags_come_first(job):
    random = {"fractions": {"train": 0.75, "val": 0.25}, "seed": 4, "tags": {"any": ["some", "few"]}}
    out = job.run(random, splits={"test": ["last"]})
    expected = {}
    for one in job.boxes:
        takes_part = bool({"some", "few"} & set(one["tags"]))
        drawn = by_fractions(one["id"], 4, random["fractions"]) if takes_part else None
        expected[one["id"]] = "test" if "last" in one["tags"] else drawn
    about = manifest(out)
    assert {one["id"]: one["split"] for one in about["boxes"]} == expected
    assert set(expected.values()) == {"train", "val", "test", None}
    assert list(about["splits"]) == ["train", "val", "test"]
    assert about["config"]["random_splits"] == random
    for split in about["splits"]:
        ids = [i for i, one in enumerate(job.boxes) if expected[one["id"]] == split]
        assert with_zarr(out, split)["annotation_id"][:].tolist() == ids and ids


def test_every_box_is_in_val_of_exactly_one_fold(job):
    folds, samples = 5, []
    for fold in range(folds):
        random = {"folds": folds, "fold": fold, "seed": 17}
        out = job.run(random, name=f"fold{fold}")
        boxes = {one["id"]: one["split"] for one in manifest(out)["boxes"]}
        assert boxes == {one["id"]: "val" if number(one["id"], 17) % folds == fold else "train" for one in job.boxes}
        val, train = (with_zarr(out, split)["annotation_id"][:].tolist() for split in ("val", "train"))
        assert sorted(val + train) == list(range(400)) and 40 < len(val) < 120
        samples += val
    assert sorted(samples) == list(range(400))


def test_the_boxes_of_a_group_are_in_one_split(job):
    fractions = {"train": 0.6, "val": 0.4}
    block = [130, 200.5, 1e6]
    splits = job.plan({"fractions": fractions, "seed": 2, "group_by": {"block_nm": block}})
    for one in job.boxes:
        at = [math.floor((a + b) / 2 / nm) for a, b, nm in zip(one["min"], one["max"], block)]
        assert splits[one["id"]] == by_fractions("block {} {} {}".format(*at), 2, fractions)
    assert set(splits.values()) == {"train", "val"}

    without = [{**one, "tags": one["tags"][: 1 + i % 2] + ["animal:last"] * (i % 4 == 1)} for i, one in enumerate(job.boxes)]
    splits = job.plan({"folds": 3, "fold": 1, "group_by": {"tag_prefix": "animal:"}}, boxes=without)
    for i, one in enumerate(without):
        # The first tag with the prefix; a box without such a tag is alone.
        group = one["tags"][1] if i % 2 else one["id"]
        assert splits[one["id"]] == ("val" if number(group, 0) % 3 == 1 else "train")


def test_boxes_without_the_tag_that_groups_them_are_warned_of_and_an_error_if_none_has_it(job):
    random = {"folds": 2, "fold": 0, "group_by": {"tag_prefix": "animal:"}}
    few = [{**one, "tags": ["train", *["animal:a"] * (i > 2)]} for i, one in enumerate(job.boxes)]
    done = pointshard("plan", job.config(random, boxes=few))
    done = done.stdout + done.stderr
    assert f"3 of {len(few)} box(es) in the random splits have no tag that begins with `animal:`" in done
    assert f'"{few[0]["id"]}"' in done
    none = [{**one, "tags": ["train"]} for one in job.boxes]
    message = error_message("plan", job.config(random, boxes=none))
    assert "`random_splits.group_by.tag_prefix`: no box has a tag that begins with `animal:`" in message
    assert "available tags: `train`" in message, message


def test_leaks_between_random_splits_are_found(job):
    """Windows in neighbouring boxes share voxels: the points are 8 voxels apart, and the windows are larger."""
    random = {"fractions": {"train": 0.5, "val": 0.5}}
    message = error_message("plan", job.config(random, window=[12, 4, 2]))
    assert "windows of different splits share voxels" in message and "`random_splits.group_by`" in message, message
    out = job.run(random, window=[12, 4, 2], leaks={"drop_from": "val"})
    assert drop_counts(out).keys() == {"leak"}
    # In rows along x, which the windows do not leave, nothing leaks.
    rows = {**random, "group_by": {"block_nm": [1e6, 32, 1e6]}}
    assert set(job.plan(rows, window=[12, 4, 2]).values()) == {"train", "val"}


def test_the_plan_prints_the_number_of_boxes_in_each_split(job):
    random = {"fractions": THREE, "seed": 17}
    counts = [list(job.plan(random).values()).count(split) for split in THREE]
    expected = "random   train {} boxes (fraction 0.8), val {} boxes (fraction 0.1), test {} boxes (fraction 0.1)"
    assert expected.format(*counts) in pointshard("plan", job.config(random)).stdout
    folds = {"folds": 4, "fold": 3}
    counts_of_folds = [list(job.plan(folds).values()).count(split) for split in ("train", "val")]
    printed = pointshard("plan", job.config(folds)).stdout
    assert "random   fold 3 of 4: train {} boxes, val {} boxes".format(*counts_of_folds) in printed, printed
    printed = pointshard("preprocess", job.config(random), "--out", job.folder / "out", "--dry-run").stdout
    rows = [line.split()[:2] for line in printed.splitlines()]
    assert all([split, str(n)] in rows for split, n in zip(THREE, counts)), printed


@pytest.mark.parametrize(
    "random, boxes, words",
    [
        ({"fractions": {"train": 0.5, "val": 0.5}}, 1, ["none of the 1 boxes", "a fraction of 0.5", "another `seed`"]),
        ({"folds": 400, "fold": 7}, 3, ["`val`", "the fold 7 of 400", "fewer folds"]),
        ({"folds": 2, "fold": 0, "group_by": {"block_nm": [1e9, 1e9, 1e9]}}, 9, ["all of the 2 folds except 0", "smaller groups"]),
        ({"folds": 2, "fold": 0, "tags": ["sme"]}, 9, ["`random_splits.tags`", "`sme`", "available tags: ", "`some`"]),
    ],
)
def test_a_random_split_without_a_box_is_an_error(job, random, boxes, words):
    message = error_message("plan", job.config(random, boxes=job.boxes[:boxes]))
    missing = [word for word in words if word not in message]
    # The seed may put the only group into `train` or into `val`.
    if "all of the 2 folds except 0" in missing and "the fold 0 of 2" in message:
        missing.remove("all of the 2 folds except 0")
    assert not missing, message


def test_another_seed_or_fold_is_another_job_and_the_same_is_resumed(job):
    random = {"folds": 4, "fold": 0, "seed": 1}
    out = job.run(random)
    times = write_times(out)
    pointshard("preprocess", job.config(random), "--out", out)
    assert write_times(out) == times
    assert "no differences" in pointshard("diff", job.config(random), out).stdout
    other = job.config({**random, "fold": 1})
    message = error_message("preprocess", other, "--out", out)
    assert "config `random_splits.fold`: was 0, is now 1" in message and "was in the split" not in message, message
    assert "config `random_splits.fold`: was 0, is now 1" in pointshard("diff", other, out, code=1).stdout
    second = job.run({**random, "fold": 1}, name="second")
    differences = pointshard("diff", out, second, "-v", code=1).stdout
    assert "random_splits.fold: 0, 1" in differences and 'split: "val", "train"' in differences, differences
    assert json.loads(pointshard("info", out, "--json").stdout)["config"]["random_splits"] == random
    pointshard("status", out)
