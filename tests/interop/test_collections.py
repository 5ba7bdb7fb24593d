"""`collections`: several collections in one job. Its samples are those of a job for each of them."""

import json

import jsonschema
import numpy as np
import pytest
from program import drop_counts, error_message, manifest, pointshard
from readers import SPLITS, with_zarr
from volumes import write_precomputed

RESOLUTION, WINDOW, SIZE = (4, 4, 40), (8, 8, 4), (64, 64, 16)
COLUMNS = ["annotation_id", "center_nm", "start_voxel", "property_negative", "img"]


def box(i, tags=()):
    """The `i`th of 8 boxes of 32 x 16 x 16 voxels."""
    low = np.multiply(((i % 2) * 32, (i // 2) * 16, 0), RESOLUTION)
    high = low + np.multiply((32, 16, 16), RESOLUTION)
    return {"id": f"b{i}", "min": low.tolist(), "max": high.tolist(), "tags": list(tags)}


# The second box of each has no split.
TAGS = {0: ["train"], 1: [], 2: ["val"], 3: ["train", "extra"], 5: ["val"], 6: ["train"]}


def points(seed):
    return np.random.default_rng(seed).uniform(0, np.multiply(SIZE, RESOLUTION), (150, 3))


def collection_file(folder):
    """Two groups of layers, with a second image."""
    write_precomputed(folder / "img2", np.random.default_rng(8).integers(1, 60000, SIZE, "uint16"), RESOLUTION, (0, 0, 0))
    rows = [
        {"type": "axis_aligned_bounding_box", "id": one["id"], "tags": one["tags"], "layer_group": "gh"[i % 2],
         "pointA": one["min"], "pointB": one["max"]}
        for i, one in enumerate(box(i, tags) for i, tags in TAGS.items())
    ]  # fmt: skip
    rows.append({"type": "point", "id": "other"})
    layers = [{"id": "1", "name": "img", "source": "./img"}, {"id": "2", "name": "img", "source": "./img2"}]
    layers.append({"id": "p", "name": "synapses", "source": "notes.json|neuroglancer-state:synapses"})
    groups = [{"id": "g", "layers": ["1", "p"]}, {"id": "h", "layers": ["2", "p"]}]
    text = json.dumps({"layer_groups": groups, "layers": layers, "annotations": rows})
    (folder / "collection.json").write_text(text)
    return "collection.json", {}


def table(folder):
    """Other names of layers, and a tag that the config adds."""
    lines = [",".join(map(str, [one["id"], *one["min"], *one["max"], " ".join(one["tags"])])) for one in (box(i, t) for i, t in TAGS.items())]
    (folder / "boxes.csv").write_text("\n".join(["id,min_x,min_y,min_z,max_x,max_y,max_z,tags", *lines]))
    layers = {"em": "./img", "img": "./nothing", "synapses": "notes.json|neuroglancer-state:synapses"}
    return {"boxes": {"csv": "boxes.csv", "layers": layers}}, {"layers": {"img": "em"}}


def viewer_state(folder):
    """The state has the points, too."""
    boxes = [
        {"type": "axis_aligned_bounding_box", "id": one["id"], "description": ", ".join(one["tags"]),
         "pointA": (np.divide(one["min"], RESOLUTION)).tolist(), "pointB": (np.divide(one["max"], RESOLUTION)).tolist()}
        for one in (box(i, tags) for i, tags in TAGS.items())
    ]  # fmt: skip
    notes = json.loads((folder / "notes.json").read_text())
    in_nm = {"url": "local://annotations", "transform": {"outputDimensions": {axis: [1e-9, "m"] for axis in "xyz"}}}
    state = {
        "dimensions": {axis: [nm * 1e-9, "m"] for axis, nm in zip("xyz", RESOLUTION)},
        "layers": [
            {"type": "image", "name": "img", "source": "precomputed://file://./img"},
            {"type": "annotation", "name": "boxes", "source": "local://annotations", "annotations": boxes},
            {"type": "annotation", "name": "points of state", "source": in_nm, "annotations": notes["layers"][0]["annotations"]},
        ],
    }
    (folder / "state.json").write_text(json.dumps(state))
    return {"neuroglancer_state": {"source": "state.json", "layer": "boxes"}}, {"layers": {"synapses": "points of state"}}


FORMS = {"file": collection_file, "table": table, "state-3": viewer_state}


@pytest.fixture
def jobs(tmp_path):
    return Jobs(tmp_path)


class Jobs:
    """A folder with volumes and points for each form of a collection."""

    def __init__(self, folder):
        self.folder = folder
        self.forms = {}
        for seed, (name, form) in enumerate(FORMS.items()):
            inner = folder / name
            inner.mkdir()
            write_precomputed(inner / "img", np.random.default_rng(seed).integers(1, 60000, SIZE, "uint16"), RESOLUTION, (0, 0, 0))
            annotations = [{"type": "point", "id": str(1000 * seed + i), "point": p.tolist()} for i, p in enumerate(points(seed))]
            in_nm = {"url": "local://annotations", "transform": {"outputDimensions": {axis: [1e-9, "m"] for axis in "xyz"}}}
            layer = {"type": "annotation", "name": "synapses", "source": in_nm, "annotations": annotations}
            (inner / "notes.json").write_text(json.dumps({"layers": [layer]}))
            self.forms[name] = form(inner)

    def named(self, *names, **more):
        """`collections` of the config, in the folder that contains all folders."""
        named = {}
        for name in names or FORMS:
            source, changes = self.forms[name]
            if isinstance(source, str):
                source = {"path": f"{name}/{source}"}
            source = json.loads(json.dumps(source).replace("state.json", f"{name}/state.json").replace("boxes.csv", f"{name}/boxes.csv"))
            if "boxes" in source:
                source["boxes"]["layers"] = {key: f"{name}/{value.removeprefix('./')}" for key, value in source["boxes"]["layers"].items()}
            named[name] = {**source, **changes, **more}
            if set(named[name]) == {"path"}:
                named[name] = named[name]["path"]
        return named

    def config(self, name="config.json", **changes):
        config = {
            "resolution": RESOLUTION, "window": WINDOW,
            "points": {"layer": "synapses", "negatives": {"per_annotation": 0.5, "seed": 5}, "choose": {"max_per_box": 25, "seed": 9}},
            "arrays": {"img": {"layer": "img", "codec": "none"}}, "splits": {"train": ["train"], "val": ["val"]},
            "leaks": "allow", **changes,
        }  # fmt: skip
        path = self.folder / name
        path.write_text(json.dumps(config))
        return path

    def run(self, out="out", **changes):
        out = self.folder / out
        pointshard("preprocess", self.config(**changes), "--out", out)
        pointshard("check", out)
        pointshard("check", out, "--source")
        return out


def content(out, split):
    group = with_zarr(out, split)
    ids = [one["id"] for one in manifest(out)["boxes"]]
    return [[ids[i] for i in group["box"][:]], *(group[name][:] for name in COLUMNS)]


def test_the_samples_are_those_of_a_job_for_each_collection(jobs):
    joint = jobs.run(collections=jobs.named())
    alone = {}
    for name in FORMS:
        (named,) = jobs.named(name).values()
        # A collection of its own, without a name, whose layers have the names of the config.
        named = {"path": named} if isinstance(named, str) else dict(named)
        renamed = named.pop("layers", {})
        arrays = {"img": {"layer": renamed.get("img", "img"), "codec": "none"}}
        points = {"layer": renamed.get("synapses", "synapses"), "negatives": {"per_annotation": 0.5, "seed": 5}, "choose": {"max_per_box": 25, "seed": 9}}
        source = named.get("path", named)
        alone[name] = jobs.run(f"only-{name}", collection=source, arrays=arrays, points=points)
    for split in SPLITS:
        found = content(joint, split)
        parts = {name: content(out, split) for name, out in alone.items()}
        assert all(len(part[0]) > 30 for part in parts.values())
        assert found[0] == [f"{name}/{i}" for name, part in parts.items() for i in part[0]]
        for n, values in enumerate(found[1:], 1):
            np.testing.assert_array_equal(values, np.concatenate([part[n] for part in parts.values()]))
    assert drop_counts(joint)["over_max_per_box"] > 10
    about = manifest(joint)
    boxes = [{**one, "id": f"{name}/{one['id']}"} for name, out in alone.items() for one in manifest(out)["boxes"]]
    for one, expected in zip(about["boxes"], boxes, strict=True):
        for key in ("id", "tags", "split", "min_nm", "max_nm", "annotations", "samples", "dropped"):
            assert one.get(key) == expected.get(key), key
    places = [manifest(out)["collection"] for out in alone.values()]
    assert about["collection"] == ", ".join(f"{name}: {place}" for name, place in zip(FORMS, places))
    assert f"boxes    {about['collection']}" in pointshard("info", joint).stdout
    assert any("type `point`" in warning and "collection.json" in warning for warning in about["warnings"])


def test_tags_of_a_collection_are_those_of_its_boxes(jobs):
    collections = jobs.named("table", tags=["train", "new"]) | jobs.named("file", tags=["val"])
    out = jobs.run(collections=collections, splits={"first": ["new"], "second": {"all": ["val"], "none": ["new"]}})
    boxes = manifest(out)["boxes"]
    assert [one["id"] for one in boxes] == [f"{name}/b{i}" for name in ("table", "file") for i in TAGS]
    assert [one["split"] for one in boxes] == ["first"] * 6 + ["second"] * 6
    assert boxes[0]["tags"] == ["train", "new"] and boxes[9]["tags"] == ["val", "train", "extra"]


def test_a_collection_may_have_a_table_of_its_own(jobs):
    for seed, name in enumerate(FORMS):
        rows = [f"{1000 * seed + i},{','.join(map(repr, map(float, p)))}" for i, p in enumerate(points(seed))]
        (jobs.folder / f"{name}.csv").write_text("\n".join(["id,x,y,z", *rows]))
    table = {"file": "file.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}
    collections = {name: {"path": one} if isinstance(one, str) else one for name, one in jobs.named().items()}
    for name in ("table", "state-3"):
        collections[name]["table"] = f"{name}.csv"
    # No layer of annotations is read.
    for one in collections.values():
        one["layers"] = {layer: name for layer, name in one.get("layers", {}).items() if layer != "synapses"}
    tables = jobs.run("tables", collections=collections, points={"table": table})
    layers = jobs.run("layers", collections=jobs.named(), points={"layer": "synapses"})
    for split in SPLITS:
        for name in ("annotation_id", "box", "start_voxel", "img"):
            np.testing.assert_array_equal(with_zarr(tables, split)[name][:], with_zarr(layers, split)[name][:])
    message = error_message("plan", jobs.config(collections=collections))
    assert "`collections.table.table`" in message and "`points` has no `table`" in message, message
    (jobs.folder / "state-3.csv").unlink()
    message = error_message("plan", jobs.config(collections=collections, points={"table": table}), code=1)
    assert "state-3.csv" in message, message


def test_the_same_region_in_two_collections_leaks_and_repeats(jobs):
    first, second = jobs.named("file")["file"], {"path": "file/collection.json", "tags": ["copy"]}
    both = {"one": first, "two": second}
    splits = {"train": {"any": ["train", "val"], "none": ["copy"]}, "val": ["copy"]}
    message = error_message("plan", jobs.config(collections=both, splits=splits, leaks="error"))
    assert "share voxels" in message and "one/b" in message and "two/b" in message, message
    out = jobs.run("dropped", collections=both, splits=splits, leaks={"drop_from": "val"})
    assert drop_counts(out)["leak"] > 30
    # In one split, an annotation is a sample in each of its boxes, as within a collection.
    points = {"layer": "synapses"}
    each = jobs.run("each", collections=both, points=points)
    once = jobs.run("once", collections=both, points=points | {"choose": {"repeats": "once"}})
    alone = jobs.run("alone", collection="file/collection.json", points=points)
    for split in SPLITS:
        ids = [with_zarr(out, split)["annotation_id"][:].tolist() for out in (each, once, alone)]
        assert ids[0] == ids[2] * 2 and ids[1] == ids[2]
    assert drop_counts(once)["in_an_earlier_box"] == sum(one["samples"] for one in manifest(alone)["boxes"])


def test_a_new_collection_changes_the_random_split_of_no_box(jobs):
    random = {"fractions": {"train": 0.5, "val": 0.5}, "seed": 3}

    def splits(**collections):
        planned = pointshard("plan", jobs.config(**collections, splits={}, random_splits=random), "--json").stdout
        return {one["id"]: one["split"] for one in json.loads(planned)["boxes"]}

    one = splits(collection="file/collection.json")
    two = splits(collections=jobs.named("state-3", "file"))
    assert set(one.values()) == {"train", "val"}
    assert two == {f"{name}/{i}": split for name in ("state-3", "file") for i, split in one.items()}


def test_an_error_names_the_collection(jobs):
    collections = jobs.named()
    (jobs.folder / "table/boxes.csv").write_text("id,min,max\na,0 0 0,1 1\n")
    message = error_message("plan", jobs.config(collections=collections), code=1)
    assert "the collection `table` cannot be read" in message and "boxes.csv: line 2" in message, message
    listed = {"boxes": {"list": [box(0, ["train"]), box(2, ["val"])], "layers": {"em": "file/img", "synapses": "file/notes.json|neuroglancer-state:synapses"}}}
    collections = {**jobs.named("file"), "listed": listed}
    message = error_message("plan", jobs.config(collections=collections))
    assert 'box "listed/b0" needs the layer `img`' in message and "`collections.listed.boxes.layers`" in message, message
    listed["layers"] = {"img": "en"}
    message = error_message("plan", jobs.config(collections=collections))
    assert "has no layer `en`, which `collections.listed.layers.img` names; it has `em`, `synapses`; did you mean `em`?" in message, message
    listed["layers"] = {"imgs": "em"}
    message = error_message("plan", jobs.config(collections=collections))
    assert "`collections.listed.layers.imgs`: no array or point source uses a layer `imgs`" in message, message
    listed["layers"] = {"img": "em"}
    planned = pointshard("plan", jobs.config(collections=collections, splits={"train": ["train"]}))
    assert "listed/b0" in planned.stdout
    message = error_message("plan", jobs.config(collections=collections, splits={"train": ["tran"]}))
    assert "none of the 8 boxes of file: " in message and "listed: the config's `collections.listed.boxes.list`" in message, message


def test_the_memory_limit_is_for_all_collections_together(jobs):
    layers = {"img": "file/img", "synapses": "file/notes.json|neuroglancer-state:synapses"}
    for name, count in (("a", 45000), ("b", 45000), ("small", 10)):
        rows = [f"{i},0 0 0,128 128 640,{'train' if i == 0 else ''}" for i in range(count)]
        (jobs.folder / f"{name}.csv").write_text("\n".join(["id,min,max,tags", *rows]))
    named = {name: {"boxes": {"csv": f"{name}.csv", "layers": layers}} for name in ("a", "b", "small")}
    points = {"layer": "synapses"}

    def config(*names):
        return jobs.config(collections={name: named[name] for name in names}, points=points, splits={"train": ["train"]})

    pointshard("plan", config("small", "a"), "--memory", "96MiB")
    pointshard("plan", config("b"), "--memory", "96MiB")
    message = error_message("plan", config("a", "small", "b"), "--memory", "96MiB", code=1)
    assert "the collection `b` cannot be read" in message and "b.csv" in message and "its boxes take more than" in message, message


def test_the_schema_describes_collections_and_random_splits(jobs):
    schema = json.loads(pointshard("schema").stdout)
    both = [{"fractions": {"a": 0.5, "b": 0.25}, "seed": 1}, {"folds": 5, "fold": 4, "tags": {"none": ["x"]}, "group_by": {"block_nm": [1, 1, 1]}}]
    for random in both:
        config = json.loads(jobs.config(collections=jobs.named(tags=["t"]), splits={}, random_splits=random).read_text())
        jsonschema.validate(config, schema)
        for wrong in ({"collections": {"a": {"paths": "a.json"}}}, {"random_splits": {"fractions": {"a": 2}}}, {"random_splits": {"fold": 1, "folds": 1}}):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(config | wrong, schema)


def test_changes_of_a_collection_are_named(jobs):
    out = jobs.run(collections=jobs.named())
    config = jobs.config(collections=jobs.named())
    assert "no differences" in pointshard("diff", config, out).stdout
    assert "complete" in pointshard("status", out).stdout
    fewer = jobs.config("fewer.json", collections=jobs.named("file", "state-3"))
    printed = pointshard("diff", fewer, out, code=1).stdout
    assert '6 boxes were removed: "table/b0"' in printed and "config `collections.table." in printed, printed
    other = jobs.run("other", collections=jobs.named("file", "state-3"))
    printed = pointshard("diff", other, out, "-v", code=1).stdout
    assert "collections.table" in printed and "table/b0" in printed, printed
    # A collection that was moved is the same one.
    (jobs.folder / "file/collection.json").rename(jobs.folder / "file/moved.json")
    moved = jobs.named()
    moved["file"] = "file/moved.json"
    printed = pointshard("diff", jobs.config("moved.json", collections=moved), out).stdout
    assert "config `collections.file` was file/collection.json, is file/moved.json now" in printed, printed
    # In another order, the boxes and the samples have another order.
    order = jobs.named()
    order = {name: order[name] for name in reversed(order)}
    (jobs.folder / "file/moved.json").rename(jobs.folder / "file/collection.json")
    printed = pointshard("diff", jobs.config("order.json", collections=order), out, code=1).stdout
    assert "config `collections`: its members are in another order" in printed, printed
