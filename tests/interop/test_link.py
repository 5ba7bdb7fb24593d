"""`pointshard link`: viewer states with everything at its place, which Neuroglancer's own client opens in Chromium."""

import io
import json
import urllib.parse
from pathlib import Path

import neuroglancer
import numpy as np
import pytest
from browser import Tab
from PIL import Image
from program import error_message, manifest, pointshard
from server_fixtures import require_tool
from servers import Nginx, nginx_binary, static
from test_check_source import RESOLUTION, SIZE, values_of, write_job, write_layer
from test_dropped import job as dropped_job
from test_dropped import table
from test_preview import preview, samples_of, voxels, write_image

CLIENT = Path(neuroglancer.__file__).parent / "static/client"
VIEWER = "https://viewer.example/v/"


def link(out, *arguments, viewer=VIEWER, code=0):
    """The state of the link, and what was printed on stderr. The JSON is the state of the URL."""
    command = ["link", out, "--viewer", viewer, *arguments]
    done = pointshard(*command, code=code)
    base, fragment = done.stdout.strip().split("#!")
    assert base == viewer and not set(fragment) & set("\"'<>{}[] `\\")
    state = json.loads(urllib.parse.unquote(fragment))
    assert state == json.loads(pointshard(*command, "--json", code=code).stdout)
    return state, done.stderr


def layers(state):
    by_name = {layer["name"]: layer for layer in state["layers"]}
    assert len(by_name) == len(state["layers"])
    return by_name


@pytest.fixture(scope="module", params=["with units", "no units"])
def dataset(request, tmp_path_factory):
    """An image and a segmentation, two splits, and annotations that were dropped; with units, and, as where the
    resolution differs between samples, without."""
    folder = tmp_path_factory.mktemp("link")
    rng = np.random.default_rng(8)
    voxels = rng.integers(0, (48, 40, 24), (60, 3))
    write_layer(folder, values_of("uint8"))
    cells = rng.integers(0, 5, [n // 4 for n in SIZE], "uint64").repeat(4, 0).repeat(4, 1).repeat(4, 2)
    write_image(folder / "cells", cells * 2**40)
    config = dropped_job(folder, {7 + n: (*map(int, v), n % 5) for n, v in enumerate(voxels)}, outside="drop")
    job = json.loads(config.read_text())
    job["collection"]["boxes"]["layers"]["cells"] = "precomputed://./cells"
    job["arrays"] = {"em": {"layer": "layer", "role": "image"}, "cells": {"layer": "cells", "role": "target"}}
    config.write_text(json.dumps(job))
    pointshard("preprocess", config, "--out", folder / "out")
    if request.param == "no units":
        for metadata in (folder / "out").glob("*.zarr/*/zarr.json"):
            array = json.loads(metadata.read_text())
            array["attributes"].pop("dimension_units", None)
            metadata.write_text(json.dumps(array))
    return folder / "out"


def test_the_state_has_sources_boxes_samples_and_dropped_annotations(dataset):
    folder = dataset.parent
    state, stderr = link(dataset, "--map", f"{folder}=https://host/x y")
    assert "warning" not in stderr
    assert state["dimensions"] == {"x": [8e-9, "m"], "y": [8e-9, "m"], "z": [4e-8, "m"]}
    found = layers(state)
    about, rows = manifest(dataset), samples_of(dataset)
    assert found["layer"]["source"] == "precomputed://https://host/x y/layer" and found["layer"]["type"] == "image"
    assert found["cells"]["source"] == "precomputed://https://host/x y/cells" and found["cells"]["type"] == "segmentation"
    for split in ("train", "val"):
        boxes = [b for b in about["boxes"] if b["split"] == split]
        drawn = found[f"{split} boxes"]["annotations"]
        assert [b["description"] for b in drawn] == [b["id"] for b in boxes]
        for shown, box in zip(drawn, boxes):
            assert np.allclose(np.multiply(shown["pointA"], RESOLUTION), box["min_nm"])
            assert np.allclose(np.multiply(shown["pointB"], RESOLUTION), box["max_nm"])
        samples = [c for s, _, c in rows if s == split]
        points = found[f"{split} samples"]["annotations"]
        assert [p["description"] for p in points] == [str(c["annotation_id"]) for c in samples]
        nm = np.multiply([p["point"] for p in points], RESOLUTION)
        assert np.allclose(nm, [c["center_nm"] for c in samples], atol=1e-4)
    (dropped, centers) = table(dataset)
    reasons = {reason for _, _, reason in dropped}
    assert reasons
    for reason in reasons:
        points = found[f"dropped: {reason}"]["annotations"]
        wanted = [(str(i), c) for (_, i, r), c in zip(dropped, centers) if r == reason]
        assert [p["description"] for p in points] == [i for i, _ in wanted]
        assert np.allclose(np.multiply([p["point"] for p in points], RESOLUTION), [c for _, c in wanted], atol=1e-4)
    # Few points make a short link.
    few = layers(link(dataset, "--map", f"{folder}=https://host", "--points", "3")[0])
    assert 0 < len(few["train samples"]["annotations"]) <= 3
    assert 0 < sum(len(few[f"dropped: {r}"]["annotations"]) for r in reasons) <= 3 * len(reasons)


def test_a_link_to_a_sample_jumps_to_its_place(dataset):
    mapping = ["--map", f"{dataset.parent}=gs://bucket/data"]
    for split, position, columns in (samples_of(dataset)[2], samples_of(dataset)[-1]):
        state, _ = link(dataset, "--sample", f"{split}/{position}", *mapping)
        assert np.allclose(np.multiply(state["position"], RESOLUTION), columns["center_nm"], atol=1e-4)
        found = layers(state)
        assert set(found) == {"layer", "cells", f"{split}/em", f"{split}/cells", f"box of {split}"}
        for array in ("em", "cells"):
            layer = found[f"{split}/{array}"]
            assert layer["source"]["url"] == f"zarr3://gs://bucket/data/out/{split}.zarr/{array}"
            offsets = [row[-1] for row in layer["source"]["transform"]["matrix"]]
            assert offsets == [0, 0, *reversed(columns["start_voxel"].tolist())]
            assert layer["localPosition"][0] == position + 0.5
        assert state == link(dataset, "--id", columns["annotation_id"], *mapping)[0]


def test_arrays_that_neuroglancer_shows_wrong_are_left_out(dataset, tmp_path):
    """Its client mixes up the dimensions of transposed chunks in shards."""
    job = json.loads((dataset.parent / "config.json").read_text())
    (dataset.parent / "cxyz.json").write_text(json.dumps({**job, "axis_order": "cxyz"}))
    pointshard("preprocess", dataset.parent / "cxyz.json", "--out", tmp_path / "out")
    mapping = ["--map", f"{dataset.parent}=https://host", "--map", f"{tmp_path}=https://other"]
    state, stderr = link(tmp_path / "out", "--sample", "train/0", *mapping)
    assert set(layers(state)) == {"layer", "cells", "box of train"}
    assert "axis_order cxyz" in stderr and str(tmp_path / "out") in stderr


def test_what_a_browser_cannot_find_is_left_out_with_a_warning(dataset):
    folder = dataset.parent
    state, stderr = link(dataset)
    assert stderr.count("warning: ") == 1 and str(folder / "layer") in stderr and "--map" in stderr
    assert {layer["type"] for layer in state["layers"]} == {"annotation"}
    found = layers(link(dataset, "--map", f"{folder}/layer=https://host/l")[0])
    assert found["layer"]["source"] == "precomputed://https://host/l" and "cells" not in found and "train/em" not in found
    message = error_message("link", dataset, "--sample", "train/0")
    assert "--map" in message and str(folder / "cells") in message
    assert "train/0 to train/" in error_message("link", dataset, "--sample", "train/999")
    assert "test/0" in error_message("link", dataset, "--sample", "test/0")
    assert "999" in error_message("link", dataset, "--id", "999")
    assert "without `?`" in pointshard("link", dataset, "--viewer", "https://viewer.example/?a=b", code=2).stderr
    for wrong in ("/data", "/data=host"):
        assert "FROM=URL" in pointshard("link", dataset, "--map", wrong, code=2).stderr
    assert "viewer.example" in pointshard("link", dataset, "--viewer", "viewer.example", code=2).stderr


@pytest.fixture(scope="module")
def site(dataset, tmp_path_factory):
    """Neuroglancer's client on one server, the dataset on another one that allows this: the viewer, and the mapping of the dataset."""
    require_tool(nginx_binary(), "nginx", "apt install nginx")
    data = static(dataset.parent)
    # As docs/preview.md says.
    data.body += "add_header Access-Control-Allow-Origin *;"
    # The client expects this folder.
    root = tmp_path_factory.mktemp("client")
    (root / "v").symlink_to(CLIENT)
    nginx = Nginx(tmp_path_factory.mktemp("site_nginx"), {"viewer": static(root), "data": data})
    yield f"{nginx.url('viewer')}/v/index.html", ["--map", f"{dataset.parent}={nginx.url('data')}"]
    nginx.stop()


def screenshot(browser, viewer, state, wait_for):
    """Pixels of the viewer in this state, once it has all layers and `wait_for` holds for them, and the state of the viewer."""
    url = f"{viewer}#!{urllib.parse.quote(json.dumps(state))}"
    with Tab(browser, url, width=800, height=700) as tab:
        for attempt in range(60):
            tab.page.wait_for_timeout(500)
            # On a busy machine, the client sometimes loses a layer while it starts.
            if attempt in (20, 40):
                tab.page.goto("about:blank")
                tab.page.goto(url)
                continue
            pixels = np.array(Image.open(io.BytesIO(tab.page.screenshot())))[..., :3].astype(int)
            # Layers that are not loaded yet may be missing in the state.
            shown = tab.page.evaluate("() => window.viewer?.state.toJSON() ?? {layers: []}")
            if len(shown["layers"]) == len(state["layers"]) and wait_for(pixels):
                break
        errors = [p for p in tab.problems if "event source" not in p and "404" not in p]
        assert errors == []
        return pixels, shown


def bare(state, *names):
    """The state with these layers alone, in one panel, ten pixels per voxel, without lines over the image."""
    chosen = [layer for layer in state["layers"] if layer["name"] in names]
    plain = {"showAxisLines": False, "showScaleBar": False, "showDefaultAnnotations": False, "crossSectionBackgroundColor": "#000001"}
    return {**state, **plain, "layers": chosen, "layout": "xy", "crossSectionScale": 0.1}


def correlation(pixels, window, center):
    """The best correlation of the picture around its middle, sampled each ten pixels, with the window [y, x]."""
    height, width = pixels.shape[:2]
    gray = pixels.mean(axis=2)
    best = 0
    # The middle of the panel is somewhere below that of the page, by the height of the bars.
    for top in range(20, 80):
        middle = (top + height) / 2
        ys = np.round(middle + (np.arange(window.shape[0]) + 0.5 - center[1]) * 10).astype(int)
        xs = np.round(width / 2 + (np.arange(window.shape[1]) + 0.5 - center[0]) * 10).astype(int)
        if ys.min() < 0 or ys.max() >= height:
            continue
        seen = gray[np.ix_(ys, xs)]
        if seen.std() > 0:
            best = max(best, np.corrcoef(seen.ravel(), window.ravel())[0, 1])
    return best


@pytest.mark.parametrize("name", ["layer", "SPLIT/em"])
def test_neuroglancer_shows_source_and_sample_at_the_same_place(dataset, site, browser, name):
    viewer, mapping = site
    for split, position, columns in (samples_of(dataset)[3], samples_of(dataset)[-2]):
        state, _ = link(dataset, "--sample", f"{split}/{position}", *mapping, viewer=viewer)
        center = columns["center_nm"] / columns["resolution_nm"] - columns["start_voxel"]
        window = voxels(dataset, split, "em", position)[int(center[2])]
        state = bare(state, name.replace("SPLIT", split))
        assert len(state["layers"]) == 1
        pixels, shown = screenshot(browser, viewer, state, lambda p: correlation(p, window, center) > 0.99)
        assert correlation(pixels, window, center) > 0.99
        # Only space: samples and channels are dimensions of the layer.
        assert list(shown["dimensions"]) == ["x", "y", "z"]


def test_neuroglancer_shows_the_objects_of_a_sample(dataset, site, browser):
    viewer, mapping = site
    split, position, columns = samples_of(dataset)[3]
    state, _ = link(dataset, "--sample", f"{split}/{position}", *mapping, viewer=viewer)
    center = columns["center_nm"] / columns["resolution_nm"] - columns["start_voxel"]
    window = voxels(dataset, split, "cells", position)[int(center[2])]
    state = bare(state, f"{split}/cells")
    background = lambda p: correlation(p, window != 0, center)  # noqa: E731
    pixels, shown = screenshot(browser, viewer, state, lambda p: background(p) > 0.8)
    assert background(pixels) > 0.8
    assert list(shown["dimensions"]) == ["x", "y", "z"]


def test_neuroglancer_opens_the_link_of_the_dataset_and_that_of_every_sample_of_a_page(dataset, site, browser, tmp_path):
    viewer, mapping = site
    state, _ = link(dataset, *mapping, viewer=viewer)
    grays = lambda p: len(np.unique(p[100:, :, 0][(p[100:] == p[100:, :, :1]).all(axis=2)]))  # noqa: E731
    pixels, shown = screenshot(browser, viewer, state, lambda p: grays(p) > 40)
    # Neuroglancer understood every layer, and shows more than an empty strip.
    assert grays(pixels) > 40
    assert [layer["name"] for layer in shown["layers"]] == [layer["name"] for layer in state["layers"]]
    page = preview(dataset, tmp_path, "--samples", "2", "--viewer", viewer, *mapping)
    with Tab(browser, page.as_uri()) as tab:
        for number in range(4):
            tab.page.locator("#sheet button").nth(number).click()
            href = tab.page.locator("#open-link a").get_attribute("href")
            split, position = tab.page.url.split("#")[1].split("/")
            expected, _ = link(dataset, "--sample", f"{split}/{position}", *mapping, viewer=viewer)
            assert json.loads(urllib.parse.unquote(href.split("#!")[1])) == expected
            tab.page.keyboard.press("Escape")


def test_neuroglancer_opens_an_array_to_scale(dataset, site, browser):
    if "dimension_units" not in (dataset / "train.zarr/em/zarr.json").read_text():
        return
    viewer, mapping = site
    url = mapping[1].split("=")[1]
    layer = {"type": "image", "name": "em", "source": f"{url}/out/train.zarr/em/|zarr3:"}
    state = {"layers": [layer], "layout": "xy"}
    pixels, shown = screenshot(browser, viewer, state, lambda p: len(np.unique(p[100:, :, 0])) > 40)
    assert len(np.unique(pixels[100:, :, 0])) > 40
    assert {axis: shown["dimensions"][axis] for axis in "xyz"} == {"x": [8e-9, "m"], "y": [8e-9, "m"], "z": [4e-8, "m"]}
