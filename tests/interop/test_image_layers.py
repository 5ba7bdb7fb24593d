"""Objects of layers that are images, because the wrong layer is named: a warning."""

import json

import numpy as np
import pytest
from program import manifest, pointshard
from test_objects_by_id import RESOLUTION, blocks, job, write_layer

ROWS = [[n, *point] for n, point in enumerate([(9, 9, 5), (20, 14, 10), (30, 22, 15)])]


@pytest.fixture
def layers(tmp_path):
    """The same voxels as an image and as a segmentation."""
    for name, kind in (("em", "image"), ("seg", "segmentation")):
        write_layer(tmp_path / name, blocks(200, 3, dtype="uint8"))
        info = json.loads((tmp_path / name / "info").read_text())
        (tmp_path / name / "info").write_text(json.dumps(info | {"type": kind}))
    return tmp_path


def object_at(layer):
    return {"layer": layer, "transform": {"object_at": {"point": "anchor", "missing": "keep"}}}


def image_warnings(folder, arrays, **changes):
    """The warnings in the manifest, which `preprocess` and `plan` print as well."""
    path = job(folder, arrays, ROWS, ["em", "seg"], **changes)
    plan = pointshard("plan", path)
    done = pointshard("preprocess", path, "--out", folder / "out", "--force")
    warnings = [w for w in manifest(folder / "out")["warnings"] if "image" in w]
    for printed in (plan.stdout + plan.stderr, done.stdout + done.stderr):
        text = " ".join(printed.split())
        assert all(w in text for w in warnings) and text.count("is an image") == len(warnings), printed
    return warnings


def test_objects_of_an_image_are_a_warning(layers):
    arrays = {"img": {"layer": "em"}, "pre": object_at("em"), "post": object_at("seg"), "other": object_at("em")}
    (warning,) = image_warnings(layers, arrays)
    assert "layer `em` is an image" in warning and "`arrays.pre.layer`, `arrays.other.layer`" in warning
    assert "post" not in warning and "segmentation" in warning
    (warning,) = image_warnings(layers, {"img": {"layer": "em"}}, points={"objects": {"layer": "em"}})
    assert "layer `em` is an image" in warning and "`points.objects.layer`" in warning


def test_objects_of_a_segmentation_and_images_without_objects_are_none(layers):
    assert image_warnings(layers, {"img": {"layer": "em"}, "pre": object_at("seg")}, points={"objects": {"layer": "seg"}}) == []
