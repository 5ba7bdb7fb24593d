"""Boxes in the config and in tables: windows equal those of numpy, datasets equal those of other collections."""

import json

import numpy as np
import pytest
import zarr
from program import error_message, manifest, pointshard, write_times
from signed_server import SECRETS, SIGNATURES, SignedServer
from volumes import Volume, first_voxel, write_precomputed

RESOLUTION, ORIGIN, WINDOW = (4, 4, 40), (10, 20, 5), (8, 8, 4)
# Corners in voxels, in any order. The fourth box has no tag of a split.
BOXES = {
    "west": ([10, 20, 5], [40, 84, 21], ["train", "hard"]),
    "east": ([74, 20, 21], [55, 84, 5], ["val"]),
    "south": ([40, 60, 5], [47, 84, 21], ["train"]),
    "none": ([48, 20, 5], [54, 30, 21], []),
}
LAYERS = {"img": "precomputed://file://./img", "raw": "./img"}


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


class Job:
    """A volume, a table of points, and a config without a collection."""

    def __init__(self, folder):
        self.folder = folder
        values = np.random.default_rng(5).integers(1, 60000, (64, 64, 16), "uint16")
        write_precomputed(folder / "img", values, RESOLUTION, ORIGIN)
        self.volume = Volume(values, ORIGIN, RESOLUTION)
        voxels = np.random.default_rng(6).uniform(ORIGIN, np.add(ORIGIN, values.shape), (60, 3))
        self.points = {i: tuple(point) for i, point in enumerate(voxels * RESOLUTION)}
        rows = "".join(f"{i},{x!r},{y!r},{z!r}\n" for i, (x, y, z) in ((i, map(float, p)) for i, p in self.points.items()))
        (folder / "points.csv").write_text(f"id,x,y,z\n{rows}")

    def config(self, collection, **changes):
        csv = {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}
        config = {
            "collection": collection, "resolution": RESOLUTION, "window": WINDOW, "points": {"table": csv},
            "arrays": {"img": {"layer": "img", "codec": "none"}},
            "splits": {"train": ["train"], "val": ["val"]}, "leaks": "allow", **changes,
        }  # fmt: skip
        path = self.folder / "config.json"
        path.write_text(json.dumps(config))
        return path

    def run(self, collection, name="out", **changes):
        out = self.folder / name
        pointshard("preprocess", self.config(collection, **changes), "--out", out)
        pointshard("check", out)
        return out

    def inside(self, split):
        """The ids of the points in the boxes of a split, computed with numpy."""
        ids = set()
        for a, b, tags in BOXES.values():
            low, high = np.sort([a, b], 0) * RESOLUTION
            if split in tags:
                ids |= {i for i, p in self.points.items() if (low <= p).all() and (p < high).all()}
        return ids


def listed(unit_nm=RESOLUTION):
    def corner(voxel):
        return np.divide(np.multiply(voxel, RESOLUTION), unit_nm).tolist()

    return [{"id": i, "min": corner(a), "max": corner(b), "tags": tags} for i, (a, b, tags) in BOXES.items()]


def inline_voxels(folder):
    return {"boxes": {"list": listed(), "unit": "voxel", "resolution": RESOLUTION, "layers": LAYERS}}


def inline_nm(folder):
    return {"boxes": {"list": listed((1, 1, 1)), "layers": LAYERS}}


def table_of_numbers(folder):
    rows = [[i, *one["min"], *one["max"], ";".join(one["tags"])] for i, one in ((o["id"], o) for o in listed((1, 1, 1)))]
    lines = [",".join(map(str, row)) for row in rows]
    (folder / "boxes.csv").write_text("\n".join(["id,min_x,min_y,min_z,max_x,max_y,max_z,tags", *lines]))
    return {"boxes": {"csv": "boxes.csv", "layers": LAYERS}}


def table_of_cells(folder):
    lines = [f"{one['max']}\t{one['id']}\t{one['min']}\t{one['tags']}" for one in listed((1000, 1000, 1000))]
    (folder / "boxes.tsv").write_text("\r\n".join(["max\tid\tmin\ttags", *lines]))
    return {"boxes": {"csv": "boxes.tsv", "unit": "um", "layers": LAYERS}}


def collection_file(folder):
    boxes = [
        {"type": "axis_aligned_bounding_box", "id": one["id"], "tags": one["tags"], "layer_group": "g",
         "pointA": one["min"], "pointB": one["max"]}
        for one in listed((1, 1, 1))
    ]  # fmt: skip
    layers = [{"id": name, "name": name, "source": source} for name, source in LAYERS.items()]
    groups = [{"id": "g", "layers": list(LAYERS)}]
    text = json.dumps({"layer_groups": groups, "layers": layers, "annotations": boxes})
    (folder / "collection.json").write_text(text)
    return "collection.json"


def viewer_state(folder):
    boxes = [
        {"type": "axis_aligned_bounding_box", "id": one["id"], "description": ", ".join(one["tags"]),
         "pointA": one["min"], "pointB": one["max"]}
        for one in listed()
    ]  # fmt: skip
    dimensions = {axis: [nm * 1e-9, "m"] for axis, nm in zip("xyz", RESOLUTION)}
    state = {
        "dimensions": dimensions,
        "layers": [
            {"type": "image", "name": "img", "source": LAYERS["img"]},
            {"type": "annotation", "name": "boxes", "source": "local://annotations", "annotations": boxes},
        ],
    }
    (folder / "state.json").write_text(json.dumps(state))
    return {"neuroglancer_state": {"source": "state.json"}}


FORMS = [inline_voxels, inline_nm, table_of_numbers, table_of_cells, collection_file, viewer_state]


@pytest.mark.parametrize("form", FORMS)
def test_windows_equal_what_numpy_cuts(job, form):
    out = job.run(form(job.folder))
    for split in ["train", "val"]:
        group = zarr.open_group(str(out / f"{split}.zarr"), mode="r")
        ids = [int(i) for i in group["annotation_id"][:]]
        assert set(ids) == job.inside(split) and len(ids) > 5
        for i, window in zip(ids, group["img"][:]):
            start = first_voxel(job.points[i], RESOLUTION, WINDOW)
            np.testing.assert_array_equal(window, job.volume.cut(start, WINDOW))


def test_every_form_of_the_same_boxes_gives_the_same_samples(job):
    def content(out):
        arrays = [zarr.open_group(str(out / f"{s}.zarr"), mode="r") for s in ["train", "val"]]
        columns = [a[name][:] for a in arrays for name in ["annotation_id", "box", "start_voxel", "img"]]
        boxes = manifest(out)["boxes"]
        # A viewer state and a unit of voxels round corners differently, below 1e-9 nm.
        corners = [np.round([b.pop("min_nm"), b.pop("max_nm")], 6).tolist() for b in boxes]
        return boxes, corners, columns

    first, *others = [content(job.run(form(job.folder), name=form.__name__)) for form in FORMS]
    for boxes, corners, columns in others:
        assert boxes == first[0] and corners == first[1]
        for a, b in zip(columns, first[2]):
            np.testing.assert_array_equal(a, b)


def test_boxes_without_ids_are_numbered_and_share_the_tags_of_all(job):
    unnamed = [{key: one[key] for key in ["min", "max"]} for one in listed((1, 1, 1))]
    boxes = {"list": unnamed, "tags": ["train"], "layers": LAYERS}
    about = manifest(job.run({"boxes": boxes}, splits={"train": ["train"]}))
    assert [b["id"] for b in about["boxes"]] == ["0", "1", "2", "3"]
    assert all(b["tags"] == ["train"] for b in about["boxes"])
    assert about["collection"] == "the config's `collection.boxes.list`"


def test_points_may_be_a_layer_that_is_named_in_layers(job):
    state = {"layers": [{"type": "annotation", "name": "notes", "annotations": [
        {"type": "point", "id": str(i), "point": list(map(float, p))} for i, p in job.points.items()],
        "source": {"url": "local://annotations", "transform": {"outputDimensions": {a: [1, "nm"] for a in "xyz"}}}}]}  # fmt: skip
    (job.folder / "notes.json").write_text(json.dumps(state))
    collection = inline_nm(job.folder)
    collection["boxes"]["layers"] = {**LAYERS, "synapses": "notes.json|neuroglancer-state:notes"}
    group = zarr.open_group(str(job.run(collection, points={"layer": "synapses"}) / "train.zarr"), mode="r")
    assert {int(i) for i in group["annotation_id"][:]} == job.inside("train")


def test_a_rerun_is_the_same_job_until_the_table_changes(job):
    collection = table_of_numbers(job.folder)
    out = job.run(collection)
    before = write_times(out)
    again = pointshard("preprocess", job.config(collection), "--out", out)
    assert "nothing to do" in again.stdout and write_times(out) == before
    table = job.folder / "boxes.csv"
    text = table.read_text()
    for change, expected in [
        (text.replace("train;hard", "train;easy"), 'box 0 ("west") has other tags'),
        (text.replace("west,40.0,", "west,44.0,"), 'box 0 ("west") has other bounds'),
        (text.rsplit("\n", 1)[0], '1 box was removed: "none"'),
    ]:
        assert change != text
        table.write_text(change)
        message = error_message("preprocess", job.config(collection), "--out", out)
        assert expected in message and write_times(out) == before, message


def test_a_split_that_no_box_has_the_tag_of_is_an_error_that_names_the_tags(job):
    message = error_message("plan", job.config(inline_nm(job.folder), splits={"train": ["trian"]}))
    for word in ["none of the 4 boxes of the config's `collection.boxes.list`", "`trian`", "`train`", "`val`"]:
        assert word in message, message


def test_errors_name_the_table_the_line_and_the_column(job):
    collection = table_of_numbers(job.folder)
    table = job.folder / "boxes.csv"
    table.write_text(table.read_text().replace("east,", "east,x"))
    message = error_message("plan", job.config(collection), code=1)
    assert f"{table}: line 3: `min_x` is \"x296.0\"; expected a finite number" in message, message
    table.write_text("a,b\n1,2\n")
    message = error_message("plan", job.config(collection), code=1)
    assert f"{table} is not a table of boxes: it has no column `min`" in message, message
    table.unlink()
    message = error_message("plan", job.config(collection), code=1)
    assert f"{table} does not exist; expected a table of boxes (CSV)" in message, message


def test_a_signed_url_of_a_table_is_read_and_its_signature_is_not_shown(job):
    table_of_numbers(job.folder)
    with SignedServer(job.folder) as server:
        url = f"http://{server.host}/boxes.csv"
        boxes = {"csv": f"{url}?X-Amz-Signature={SIGNATURES[0]}", "layers": LAYERS}
        out = job.run({"boxes": boxes})
        about = manifest(out)
        assert about["collection"] == about["config"]["collection"]["boxes"]["csv"] == f"{url}?<redacted>"
        renewed = {"boxes": {**boxes, "csv": f"{url}?X-Amz-Signature={SIGNATURES[1]}"}}
        again = pointshard("preprocess", job.config(renewed), "--out", out)
        assert "nothing to do" in again.stdout
        (job.folder / "boxes.csv").write_text("id,min,max\n1,2,3\n")
        message = error_message("plan", job.config({"boxes": boxes}), code=1)
        assert f"{url}?<redacted>: line 2: `min` is \"2\"" in message, message
    written = [p.read_bytes() for p in out.rglob("*") if p.is_file()]
    for secret in SECRETS:
        assert secret not in message + again.stderr and not any(secret.encode() in text for text in written)
