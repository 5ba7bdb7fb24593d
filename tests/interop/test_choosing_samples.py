"""Which samples are kept: `outside`, `min_nonzero_fraction`, splits; and `inside` and `fill`."""

import json

import numpy as np
import pytest
from program import (
    VNC,
    checked_dataset,
    drop_counts,
    error_message,
    file_digests,
    manifest,
    pointshard,
    vnc_collection,
    vnc_config,
)
from readers import SPLITS, with_zarr
from volumes import first_voxel

WINDOW = (32, 32, 8)


def rows(out, split):
    """Id, centre and first voxel of each sample."""
    group = with_zarr(out, split)
    return list(zip(*(group[name][:].tolist() for name in ("annotation_id", "center_nm", "start_voxel"))))


@pytest.fixture(scope="module")
def everything(shared, tmp_path_factory):
    """All samples of the vnc data."""
    return checked_dataset(tmp_path_factory.mktemp("all"), arrays={"img": {"layer": "img"}})


def assert_kept(out, everything, keep, reason):
    """The samples are those for which `keep` is true; the others are counted per box."""
    lost = {}
    for split in SPLITS:
        assert rows(out, split) == [row for row in rows(everything, split) if keep(row)]
        group = with_zarr(everything, split)
        for row, box in zip(rows(everything, split), group["box"][:].tolist()):
            lost[box] = lost.get(box, 0) + (not keep(row))
    boxes = manifest(out)["boxes"]
    assert [b["dropped"].get(reason, 0) for b in boxes] == [lost.get(i, 0) for i in range(len(boxes))]
    assert set(drop_counts(out)) == {reason} and 0 < drop_counts(out)[reason] < 30
    assert all(b["annotations"] == b["samples"] + sum(b["dropped"].values()) for b in boxes)


def test_inside_is_1_in_the_volume_and_fill_outside(volume, tmp_path):
    arrays = {
        "img": {"layer": "img", "fill": 37},
        "img_mask": {"layer": "img", "role": "mask", "transform": "inside"},
        "wide_mask": {"layer": "img", "transform": "inside", "dtype": "float32", "window": [50, 70, 30]},
        "coarse": {"layer": "img", "transform": "inside", "data_resolution": [9.2, 9.2, 45.0]},
        "other": {"layer": "seg", "transform": "nonzero", "fill": 1},
        "hole": {"layer": "img", "transform": "inside", "fill": 9},
    }
    out = checked_dataset(tmp_path, arrays=arrays)
    img = volume("img")
    ones, cells = img.with_values(np.ones_like(img.values)), img.with_values((volume("seg").values != 0).astype("u1"))
    clipped = 0
    for split in SPLITS:
        group = with_zarr(out, split)
        assert group["wide_mask"].dtype == np.float32 and group["img_mask"].dtype == np.uint8
        for i, (_, center, start) in enumerate(rows(out, split)):
            np.testing.assert_array_equal(group["img"][i], img.cut(start, WINDOW, 37))
            np.testing.assert_array_equal(group["img_mask"][i], ones.cut(start, WINDOW))
            np.testing.assert_array_equal(group["coarse"][i], ones.cut(start, WINDOW))
            np.testing.assert_array_equal(group["hole"][i], ones.cut(start, WINDOW, 9))
            np.testing.assert_array_equal(group["other"][i], cells.cut(start, WINDOW, 1))
            wide = (50, 70, 30)
            wide_start = first_voxel(center, img.resolution, wide)
            np.testing.assert_array_equal(group["wide_mask"][i], ones.cut(wide_start, wide))
            clipped += not img.contains_window(start, WINDOW)
    assert clipped > 3


def test_an_inside_mask_alone_reads_no_chunk(shared, tmp_path):
    config = vnc_config(tmp_path, arrays={"mask": {"layer": "img", "transform": "inside"}})
    assert "chunks   0 touched, 0 fetched" in pointshard("preprocess", config, "--out", tmp_path / "out").stdout
    pointshard("check", tmp_path / "out")


def test_outside_drop_drops_samples_whose_window_extends_past_the_volume(volume, everything, tmp_path):
    img = volume("img")
    out = checked_dataset(tmp_path, arrays={"img": {"layer": "img"}}, outside="drop")
    assert_kept(out, everything, lambda row: img.contains_window(row[2], WINDOW), "window_leaves_volume")


def test_outside_drop_uses_the_window_and_resolution_of_each_array(volume, everything, tmp_path):
    img = volume("img")
    large = (140, 120, 3)
    arrays = {
        "img": {"layer": "img", "window": [8, 8, 1]},
        "label": {"layer": "label0", "window": large},
        "coarse": {"layer": "img", "window": [9, 9, 9], "data_resolution": [9.2, 9.2, 45.0], "interpolation": "area"},
    }
    out = checked_dataset(tmp_path, arrays=arrays, outside="drop")

    def keep(row):
        return all(img.contains_window(first_voxel(row[1], img.resolution, w), w) for w in ((8, 8, 1), large, (9, 9, 9)))

    assert_kept(out, everything, keep, "window_leaves_volume")


@pytest.mark.parametrize("least", [0.4, 0.6])
def test_min_nonzero_fraction_drops_samples_with_less(volume, everything, tmp_path, least):
    label = volume("label0")
    array = {"layer": "label0", "window": [24, 24, 8], "min_nonzero_fraction": least}
    out = checked_dataset(tmp_path, arrays={"label": array, "img": {"layer": "img"}})

    def share(row):
        return np.count_nonzero(label.cut(first_voxel(row[1], label.resolution, (24, 24, 8)), (24, 24, 8))) / 4608

    assert_kept(out, everything, lambda row: share(row) >= least, "too_little_nonzero")
    for split in SPLITS:
        shares = [share(row) for row in rows(out, split)]
        np.testing.assert_array_equal(with_zarr(out, split)["label_nonzero_fraction"][:], np.float32(shares))


def test_a_fraction_equal_to_min_nonzero_fraction_is_kept(volume, everything, tmp_path):
    label = volume("label0")
    counts = [np.count_nonzero(label.cut(row[2], WINDOW)) for split in SPLITS for row in rows(everything, split)]
    least = sorted(counts)[len(counts) // 2] / 8192
    out = checked_dataset(tmp_path, arrays={"label": {"layer": "label0", "min_nonzero_fraction": least}})
    assert_kept(out, everything, lambda row: np.count_nonzero(label.cut(row[2], WINDOW)) / 8192 >= least, "too_little_nonzero")  # fmt: skip


def test_min_nonzero_fraction_counts_transformed_values(volume, everything, tmp_path):
    img = volume("img")
    shares = [(img.cut(r[2], WINDOW) >= 128).mean() for split in SPLITS for r in rows(everything, split)]
    least = float(np.median(shares))
    bright = {"layer": "img", "transform": {"threshold": 128}, "min_nonzero_fraction": least}
    out = checked_dataset(tmp_path, arrays={"bright": bright})
    assert_kept(out, everything, lambda row: (img.cut(row[2], WINDOW) >= 128).mean() >= least, "too_little_nonzero")


def test_dropped_samples_do_not_depend_on_threads_or_memory(shared, tmp_path):
    arrays = {
        "cell": {"layer": "seg", "transform": {"object_at": {"point": "anchor", "radius_nm": 30}}},
        "label": {"layer": "label1", "min_nonzero_fraction": 0.05},
        "coarse": {"layer": "img", "data_resolution": [9.2, 9.2, 45.0], "interpolation": "area", "window": [40, 20, 8]},
        "scaled": {"layer": "img", "transform": {"scale": {"multiply": 0.1}}},
    }
    job = {"arrays": arrays, "outside": "drop", "axis_order": "cxyz", "shard_samples": 2}
    one = checked_dataset(tmp_path, "--threads", "1", name="one", **job)
    assert set(drop_counts(one)) == {"window_leaves_volume", "no_object", "too_little_nonzero"}
    assert len(rows(one, "train")) > 2
    for name, *options in (("two", "--threads", "2"), ("four", "--threads", "4"), ("small", "--memory", "64MiB")):
        assert file_digests(checked_dataset(tmp_path, *options, name=name, **job)) == file_digests(one)


def test_splits_select_boxes_by_all_any_and_none(shared, tmp_path):
    tags = [["train", "east"], ["train"], ["train", "bad"], ["spare", "north"], ["val"], ["val", "bad"]]

    def tag(table):
        for row, of_row in zip(table["annotations"], tags, strict=True):
            row["tags"] = of_row

    splits = {
        "train": {"any": ["east", "north"], "none": ["bad"]},
        "val": {"all": ["val"], "none": ["bad"]},
        "rest": {"all": ["train"], "none": ["east", "bad"]},
        "nothing": ["bad", "east"],
    }
    collection = vnc_collection(tmp_path, tag)
    out = checked_dataset(tmp_path, collection=str(collection), splits=splits, arrays={"img": {"layer": "img"}})
    found = [box["split"] for box in manifest(out)["boxes"]]
    assert found == ["train", "rest", None, "train", "val", None]
    for split in ("train", "rest", "val"):
        of_split = {i for i, name in enumerate(found) if name == split}
        assert set(with_zarr(out, split)["box"][:].tolist()) == of_split
    assert with_zarr(out, "nothing")["annotation_id"].shape == (0,)
    splits["rest"] = {"all": ["train"]}
    message = error_message("preprocess", vnc_config(tmp_path, collection=str(collection), splits=splits), "--out", tmp_path / "no")
    assert "`train`" in message and "`rest`" in message, message


def related_to(folder, name, *ids):
    choose = {"related": {"presyn_cell": list(ids)}}
    return vnc_config(folder, name, points={"layer": "lines", "choose": choose}, splits={"train": ["train"]})


def test_ids_of_related_objects_are_numbers_or_strings(shared, tmp_path):
    """The ids have 64 bits: no double can hold them."""
    folder = VNC / "lines/rel_presyn_cell"
    ids = sorted(int(p.name) for p in folder.iterdir() if int(p.name) > 2**53)
    expected = set()
    for i in ids:
        related = (folder / str(i)).read_bytes()
        count = int.from_bytes(related[:8], "little")
        expected |= set(np.frombuffer(related[-8 * count :], "<u8").tolist())
    planned = []
    for name, how in (("numbers.json", int), ("texts.json", str)):
        config = related_to(tmp_path, name, *map(how, ids))
        planned.append(json.loads(pointshard("plan", config, "--json").stdout)["splits"]["train"])
    assert planned[0] == planned[1] and planned[0]
    assert {int(s["annotation_id"]) for s in planned[0]} <= expected
    # Both configs are the same job.
    out = tmp_path / "out"
    pointshard("preprocess", tmp_path / "numbers.json", "--out", out)
    before = file_digests(out)
    pointshard("preprocess", tmp_path / "texts.json", "--out", out)
    assert file_digests(out) == before


@pytest.mark.parametrize("bad", [7.0, -1, 2**64, "7.5", "-1", "+1", " 1", "", "0x10", str(2**64), None, [1]])
def test_an_invalid_id_is_an_error_with_its_json_path(shared, tmp_path, bad):
    message = error_message("plan", related_to(tmp_path, "config.json", 7, bad))
    assert "points.choose.related.presyn_cell[1]" in message, message
    assert "a whole number from 0 to 2^64 - 1, or a string of its digits" in message, message


def test_the_schema_describes_both_forms_of_ids(shared):
    schema = json.loads(pointshard("schema").stdout)
    ids = schema["$defs"]["ObjectId"]["anyOf"]
    assert ids == [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+$"}]
    related = schema["$defs"]["ChoiceConfig"]["properties"]["related"]
    assert related["additionalProperties"]["items"] == {"$ref": "#/$defs/ObjectId"}


def test_boxes_without_tags_belong_to_no_split(shared, tmp_path, everything):
    """Rows of a collection as zetta_utils' web API may return them: without optional members."""

    def change(rows):
        boxes = rows["annotations"]
        del boxes[0]["tags"]
        boxes[1]["tags"], boxes[2]["tags"] = None, []
        for box in boxes:
            box["comment"] = None
            del box["collection"]
        boxes[0]["layer_group"] = None
        for row in (*rows["layers"], *rows["layer_groups"]):
            row["comment"] = None
        rows["layers"].append({"id": "unused", "name": None, "source": None})

    collection = vnc_collection(tmp_path, change)
    out = checked_dataset(tmp_path, collection=str(collection), arrays={"img": {"layer": "img"}})
    expected = [row for row, box in zip(rows(everything, "train"), with_zarr(everything, "train")["box"][:]) if box > 2]
    assert rows(out, "train") == expected and rows(out, "val") == rows(everything, "val")
    assert [(b["tags"], b["split"]) for b in manifest(out)["boxes"][:3]] == [([], None)] * 3
    boxes_id = manifest(out)["boxes"][0]["id"]
    untagged = {"train": {"none": ["val", "train"]}}
    config = vnc_config(tmp_path, "none.json", collection=str(collection), arrays={"img": {"layer": "img"}}, splits=untagged)
    message = error_message("plan", config)
    assert "`layer_group`" in message and "`points`" in message and boxes_id in message, message
