"""Windows of the vnc data follow the rules of zetta_utils' `build_collection_dataset`, which are repeated here."""

import json
import math

import numpy as np
import pytest
from program import VNC, checked_dataset, vnc_collection
from readers import with_tensorstore, with_zarr
from volumes import FULL, HALF, line_ends

GOLDENS = {"points": "a_points_32x32x8", "lines": "a_lines_mid_32x32x8"}
WINDOW = [33, 32, 5]


def golden(shared, annotations):
    return json.loads((shared / f"data/goldens/{GOLDENS[annotations]}.json").read_text())


def ids_of_boxes(out):
    """The annotations of each box."""
    ids = {}
    for split in ("train", "val"):
        group = with_zarr(out, split)
        for box, annotation in zip(group["box"][:].tolist(), group["annotation_id"][:].tolist()):
            ids.setdefault(box, set()).add(annotation)
    return ids


@pytest.mark.parametrize("annotations", GOLDENS)
def test_zetta_snap_keeps_the_samples_that_zetta_utils_keeps(shared, tmp_path, annotations):
    """`zetta_differs` was computed with zetta_utils' own `BBox3D`; `here` is whether the original box contains the point."""
    expected = golden(shared, annotations)
    ids = {}
    for sample in expected["samples"]:
        ids.setdefault(sample["bbox"], set()).add(int(sample["annotation_id"]))
    config = {"points": {"layer": annotations}, "arrays": {"img": {"layer": "img"}}}
    assert ids_of_boxes(checked_dataset(tmp_path, name="as_given", **config)) == ids
    assert expected["zetta_differs"]
    for other in expected["zetta_differs"]:
        of_box = ids.setdefault(other["bbox"], set())
        (of_box.remove if other["here"] else of_box.add)(int(other["annotation_id"]))
    assert ids_of_boxes(checked_dataset(tmp_path, name="snapped", snap="zetta", **config)) == ids


def test_zetta_snap_does_not_move_windows(shared, tmp_path):
    config = {"arrays": {"img": {"layer": "img"}}}
    by_id = []
    for snap in ("none", "zetta"):
        out = checked_dataset(tmp_path, name=snap, snap=snap, **config)
        groups = [with_zarr(out, split) for split in ("train", "val")]
        by_id.append({i: w for g in groups for i, w in zip(g["annotation_id"][:].tolist(), g["img"][:])})
    both = set(by_id[0]) & set(by_id[1])
    assert len(both) >= 29
    for annotation in both:
        np.testing.assert_array_equal(by_id[0][annotation], by_id[1][annotation])


def volumetric_indexer(center, resolution, chunk_size):
    """zetta_utils' `VolumetricNGLIndexer.__call__`: first and last corner in voxels."""
    start_raw = [c / r - s / 2 for c, r, s in zip(center, resolution, chunk_size)]
    start = [math.ceil(round(v, 10)) for v in start_raw]
    return start, [a + s for a, s in zip(start, chunk_size)]


def rows_of_boxes(annotations, boxes, tags):
    """(box, id, midpoint) of the lines whose midpoint is inside a box with all tags."""
    rows = set()
    for number, box in enumerate(boxes):
        low, high = np.sort([box["pointA"], box["pointB"]], axis=0)
        if not set(tags) <= set(box["tags"]):
            continue
        for i, ends in annotations.items():
            center = (ends[0] + ends[1]) / 2
            if (low <= center).all() and (center < high).all():
                rows.add((number, i, tuple(center.tolist())))
    return rows


@pytest.mark.parametrize("resolution", [FULL, HALF])
def test_windows_equal_those_of_a_zetta_utils_collection_dataset(volume, tmp_path, resolution):
    """Boxes have all `tags`, `layer_rename_map` names arrays, windows follow the indexer, arrays are [c, x, y, z]."""
    of_boxes = [["train", "good"], ["train"], ["good"], ["good", "train", "x"], ["val", "good"], ["val"]]

    def tag(rows):
        for row, tags in zip(rows["annotations"], of_boxes, strict=True):
            row["tags"] = tags

    collection = vnc_collection(tmp_path, tag)
    renamed = {"data_in": "img", "target_pre": "label0", "target_post": "label1"}
    wanted_tags = {"train": ["train", "good"], "val": ["val", "good"]}
    out = checked_dataset(
        tmp_path, collection=str(collection), points={"layer": "lines"}, resolution=resolution, window=WINDOW,
        arrays={name: {"layer": layer} for name, layer in renamed.items()}, splits=wanted_tags, axis_order="cxyz",
        flexible_z=True,
    )  # fmt: skip
    boxes = json.loads(collection.read_text())["annotations"]
    lines = line_ends(VNC / "lines")
    for split, tags in wanted_tags.items():
        group = with_zarr(out, split)
        columns = [group[name][:].tolist() for name in ("box", "annotation_id", "center_nm", "start_voxel")]
        rows = {(box, i, tuple(center)) for box, i, center, _ in zip(*columns, strict=True)}
        assert rows == rows_of_boxes(lines, boxes, tags) and rows
        assert {box for box, *_ in rows} <= ({0, 3} if split == "train" else {4})
        for name, layer in renamed.items():
            windows = with_tensorstore(out, split, name)
            assert windows.domain.labels == ("sample", "channel", "x", "y", "z")
            for _, _, center, start, window in zip(*columns, windows.read().result(), strict=True):
                first, end = volumetric_indexer(center, resolution, WINDOW)
                assert start == first and [b - a for a, b in zip(first, end)] == WINDOW
                np.testing.assert_array_equal(window, volume(layer, resolution).cut(first, WINDOW).transpose(0, 3, 2, 1))
