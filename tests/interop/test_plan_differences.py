"""A run into the output of another plan lists the differences."""

import json
import shutil

import numpy as np
import pytest
from program import error_message, manifest, pointshard, write_times
from volumes import write_precomputed

RESOLUTION = (4, 4, 40)
N_BOXES = 4


def noise(seed):
    return np.random.default_rng(seed).integers(1, 255, (64, 64, 16), dtype=np.uint8)


def collection(layers=("img",)):
    """Four adjacent boxes along x with two annotations each; the last box is in val."""
    boxes = []
    for i in range(N_BOXES):
        tags = ["val" if i == 3 else "train"]
        corners = {"pointA": [i * 64, 0, 0], "pointB": [i * 64 + 64, 256, 640]}
        boxes.append({"type": "axis_aligned_bounding_box", "id": f"b{i}", "tags": tags, "layer_group": "g", **corners})
    return {
        "layer_groups": [{"id": "g", "layers": list(layers)}],
        "layers": [{"id": name, "name": name, "source": f"precomputed://file://./{name}"} for name in layers],
        "annotations": boxes,
    }


def points():
    return {2 * i + j: (i * 64 + 30, 100 + 40 * j, 300) for i in range(N_BOXES) for j in range(2)}


class Job:
    """A job in its own folder, whose inputs tests can change."""

    def __init__(self, folder):
        self.folder = folder
        self.out = folder / "out"
        self.collection = collection()
        self.points = points()
        csv = {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}
        self.config = {
            "collection": "collection.json", "resolution": RESOLUTION, "window": [4, 4, 2], "points": {"table": csv},
            "arrays": {"img": {"layer": "img", "codec": "none"}}, "splits": {"train": ["train"], "val": ["val"]},
        }  # fmt: skip
        write_precomputed(folder / "img", noise(1), RESOLUTION, (0, 0, 0))

    def write(self):
        (self.folder / "collection.json").write_text(json.dumps(self.collection))
        rows = [f"{i},{x},{y},{z}" for i, (x, y, z) in self.points.items()]
        (self.folder / "points.csv").write_text("\n".join(["id,x,y,z", *rows]))
        path = self.folder / "config.json"
        path.write_text(json.dumps(self.config))
        return path

    def run(self):
        pointshard("preprocess", self.write(), "--out", self.out)

    def error_message(self, *arguments):
        """The lines of the message that list differences."""
        before = write_times(self.out)
        message = error_message("preprocess", self.write(), "--out", self.out, *arguments)
        assert write_times(self.out) == before
        assert "another job" in message and "--force" in message and str(self.out) in message, message
        lines = message.splitlines()
        return [line.strip() for line in lines if line.startswith("  ")], message


@pytest.fixture
def job(tmp_path):
    made = Job(tmp_path)
    made.run()
    return made


def window(job):
    job.config["window"] = [2, 4, 2]


def more_keys(job):
    job.config["snap"] = "zetta"
    job.config["arrays"]["img"]["fill"] = 3


def another_array(job):
    job.config["arrays"]["second"] = {"layer": "img"}


def long_list(job):
    job.config["arrays"]["img"]["transform"] = {"in": list(range(200))}


def order(job):
    job.config["splits"] = {"val": ["val"], "train": ["train"]}


def bounds(job):
    job.collection["annotations"][2]["pointB"][0] -= 1


def tags(job):
    job.collection["annotations"][1]["tags"].append("good")


def other_split(job):
    job.collection["annotations"][1]["tags"] = ["val"]


def no_split(job):
    job.collection["annotations"][1]["tags"] = []


def two_added(job):
    for i in range(2):
        job.collection["annotations"].append({**job.collection["annotations"][0], "id": f"new{i}", "tags": []})


def one_removed(job):
    del job.collection["annotations"][1]


def one_annotation_more(job):
    job.points[100] = (70, 120, 320)


def moved_annotation(job):
    job.points[5] = (158, 120, 320)


def info(job):
    path = job.folder / "img/info"
    text = json.loads(path.read_text())
    text["scales"][0]["hidden"] = True
    path.write_text(json.dumps(text))


def moved_source(job):
    shutil.copytree(job.folder / "img", job.folder / "img2")
    job.collection["layers"][0]["source"] = "precomputed://file://./img2"


def other_group(job):
    shutil.copytree(job.folder / "img", job.folder / "img2")
    job.collection["layers"].append({"id": "img2", "name": "img", "source": "precomputed://file://./img2"})
    job.collection["layer_groups"].append({"id": "h", "layers": ["img2"]})
    job.collection["annotations"][0]["layer_group"] = "h"


CHANGES = {
    window: ["config `window`: was [4,4,2], is now [2,4,2]"],
    more_keys: ["config `arrays.img.fill`: was not given, is now 3.0", 'config `snap`: was "none", is now "zetta"'],
    another_array: ['config `arrays.second.layer`: was not given, is now "img"'],
    long_list: ["config `arrays.img.transform.in`: was not given, is now [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,1... ("],
    order: ["config `splits`: its members are in another order"],
    bounds: ['box 2 ("b2") has other bounds'],
    tags: ['box 1 ("b1") has other tags'],
    other_split: ['box 1 ("b1") has other tags', 'box 1 ("b1") was in the split `train`, is in the split `val` now'],
    no_split: ['box 1 ("b1") has other tags', 'box 1 ("b1") was in the split `train`, is in no split now'],
    two_added: ['2 boxes were added: "new0", "new1"'],
    one_removed: ['1 box was removed: "b1"'],
    one_annotation_more: ['annotation layer `points.csv`: box 1 ("b1") held 2 annotations, holds 3 now'],
    moved_annotation: ['annotation layer `points.csv`: box 2 ("b2") holds 2 annotations as before, with other ids, positions, properties or related objects'],
    info: ["source `img` (", "has changed"],
    other_group: ["source `img` (", "/img2) was added"],
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_error_names_each_difference(job, change):
    change(job)
    lines, message = job.error_message()
    if change in (info, other_group):
        assert len(lines) == 1 and all(text in lines[0] for text in CHANGES[change]), message
    elif change is long_list:
        assert len(lines) == 1 and lines[0].startswith(CHANGES[change][0]), message
    else:
        assert lines == CHANGES[change], message
    assert job.error_message("--dry-run")[0] == lines
    pointshard("preprocess", job.write(), "--out", job.out, "--force")
    pointshard("check", job.out)
    # The output has the new plan now.
    job.config["axis_order"] = "cxyz"
    assert 'config `axis_order`: was "czyx", is now "cxyz"' in job.error_message()[0]


def test_a_source_that_moved_without_a_change_is_the_same_source(job):
    shards = {path: time for path, time in write_times(job.out).items() if "/img/c." in path}
    moved_source(job)
    job.run()
    assert shards.items() <= write_times(job.out).items()
    pointshard("check", job.out)


def test_many_differences_are_counted(job):
    job.config["shard_samples"] = 1
    job.collection["annotations"] += [{**job.collection["annotations"][0], "id": f"c{i}", "tags": []} for i in range(30)]
    pointshard("preprocess", job.write(), "--out", job.out, "--force")
    for box in job.collection["annotations"][4:]:
        box["pointA"] = [1, 1, 1]
    job.config["shard_samples"] = 2
    lines, message = job.error_message()
    assert lines[0] == "config `shard_samples`: was 1, is now 2"
    assert len(lines) == 11 and lines[-1] == "and 21 more", message


def test_changed_voxels_change_nothing_because_the_answers_are_in_the_plan(tmp_path):
    job = Job(tmp_path)
    job.config["arrays"]["img"] = {"layer": "img", "codec": "auto", "min_nonzero_fraction": 0.5}
    job.run()
    before = write_times(job.out)
    shutil.rmtree(tmp_path / "img")
    values = noise(1)
    values[:16] = 0
    write_precomputed(tmp_path / "img", values, RESOLUTION, (0, 0, 0))
    job.run()
    assert write_times(job.out) == before
    # A new plan has other samples.
    pointshard("preprocess", job.write(), "--out", job.out, "--force")
    assert manifest(job.out)["splits"]["train"]["samples"] == 4


def test_the_plan_is_small_and_is_not_rewritten(tmp_path):
    job = Job(tmp_path)
    boxes = job.collection["annotations"]
    boxes += [{**boxes[0], "id": f"{i:036d}", "tags": []} for i in range(5000)]
    job.run()
    assert (job.out / ".pointshard/plan.json").stat().st_size < 5100 * 400
    before = write_times(job.out)
    job.run()
    assert write_times(job.out) == before
