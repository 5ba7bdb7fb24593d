"""`pointshard init` drafts configs that `plan` accepts."""

import json
import re
import shlex
import shutil
from urllib.parse import quote

import numpy as np
import pandas
import pytest
import tifffile
import zarr
from program import SHARED, VNC, error_message, pointshard
from signed_server import SECRETS, SIGNATURES, SignedServer
from volumes import write_precomputed

FLAT, CUBE = (4, 4, 40), (8, 8, 8)
SHAPE, ORIGIN = (200, 96, 40), (10, 20, 5)


def init(*arguments, out, **options):
    """The drafted config, and the list of checks."""
    done = pointshard("init", *arguments, "--out", out, **options)
    assert done.stdout == ""
    return json.loads(out.read_text()), done.stderr


def planned(config):
    """The splits of the job, each with its samples."""
    job = json.loads(pointshard("plan", config, "--json").stdout)
    return {name: samples for name, samples in job["splits"].items()}


def numbers(stderr):
    """The numbers of the list of checks."""
    starts = [line.split(".")[0].strip() for line in stderr.splitlines() if line.startswith("  ")]
    return [int(n) for n in starts if n.isdigit()]


def write_volumes(folder, resolution=FLAT):
    """An image and a segmentation with one object per slab of 20 voxels."""
    rng = np.random.default_rng(3)
    write_precomputed(folder / "em", rng.integers(1, 255, SHAPE, "uint8"), resolution, ORIGIN)
    ids = np.broadcast_to(1 + np.arange(SHAPE[0])[:, None, None] // 20, SHAPE).astype("uint64")
    write_precomputed(folder / "cells", ids, resolution, ORIGIN)
    info = folder / "cells/info"
    info.write_text(info.read_text().replace('"image"', '"segmentation"'))


def positions(resolution, n=50):
    low, high = np.multiply(ORIGIN, resolution), np.multiply(np.add(ORIGIN, SHAPE), resolution)
    return np.random.default_rng(4).uniform(low, high, (n, 3)).round(1)


def write_points(file, points, header="id,x,y,z", scale=1):
    rows = [",".join(map(str, [i, *(p / scale)])) for i, p in enumerate(points)]
    file.write_text("\n".join([header, *rows]) + "\n")


def write_lines(file, points):
    rows = [",".join(map(str, [*(p - [30, 0, 0]), *(p + [30, 0, 0])])) for p in points]
    file.write_text("\n".join(["pre_x,pre_y,pre_z,post_x,post_y,post_z", *rows]) + "\n")


@pytest.mark.parametrize("resolution", [FLAT, CUBE])
def test_a_folder_of_layers_becomes_a_config_that_plan_accepts(tmp_path, resolution):
    write_volumes(tmp_path, resolution)
    write_lines(tmp_path / "synapses.csv", positions(resolution))
    config, output = init(tmp_path, out=tmp_path / "config.json")
    assert config["resolution"] == list(resolution)
    assert config["window"] == ([64, 64, 16] if resolution == FLAT else [64, 64, 64])
    csv = config["points"]["table"]
    assert csv["file"] == "./synapses.csv" and csv["unit"] == "nm", csv
    assert (csv["start"], csv["end"]) == (["pre_x", "pre_y", "pre_z"], ["post_x", "post_y", "post_z"])
    arrays = config["arrays"]
    assert list(arrays) == ["em", "target_pre", "target_post"]
    assert [a["role"] for a in arrays.values()] == ["image", "target", "target"]
    assert arrays["target_pre"]["transform"] == {"object_at": {"point": "start", "radius_nm": 50}}
    assert config["collection"]["boxes"]["layers"] == {"cells": "./cells", "em": "./em"}
    assert numbers(output) == list(range(1, len(numbers(output)) + 1)) and len(numbers(output)) >= 6, output
    for word in ["boxes: none were found", "window: 64 x 64 x", "lines of `synapses.csv`", "samples: "]:
        assert word in output, output
    samples = planned(tmp_path / "config.json")
    assert sum(map(len, samples.values())) > 20


def test_a_drafted_config_cuts_the_expected_windows(tmp_path):
    write_volumes(tmp_path)
    write_lines(tmp_path / "synapses.csv", positions(FLAT))
    init(tmp_path, out=tmp_path / "config.json")
    pointshard("preprocess", tmp_path / "config.json", "--out", tmp_path / "out")
    pointshard("check", tmp_path / "out")
    group = zarr.open_group(str(tmp_path / "out/train.zarr"), mode="r")
    for center, pre, post in zip(group["center_nm"][:], group["target_pre_object_id"][:], group["target_post_object_id"][:]):
        expected = [1 + int((center[0] + side) / FLAT[0] - ORIGIN[0]) // 20 for side in (-30, 30)]
        # Ends outside the volume get the nearest object, or none.
        assert (pre, post) == tuple(np.clip(expected, 1, 10)) or 0 in (pre, post)


@pytest.mark.parametrize(("unit", "scale"), [("nm", 1), ("voxel", FLAT), ("um", 1000)])
def test_the_unit_of_a_table_is_found_by_its_position_in_the_volume(tmp_path, unit, scale):
    write_volumes(tmp_path)
    write_points(tmp_path / "points.csv", positions(FLAT), "name,x,y,z", scale)
    text = (tmp_path / "points.csv").read_text().replace("name", "id", 1)
    (tmp_path / "points.csv").write_text(text)
    config, output = init(tmp_path / "em", tmp_path / "points.csv", out=tmp_path / "config.json")
    csv = config["points"]["table"]
    assert (csv["unit"], csv["id"], csv.get("resolution")) == (unit, "id", list(FLAT) if unit == "voxel" else None)
    assert f"the unit `{unit}`, which were guessed" in output
    assert len(planned(tmp_path / "config.json")["train"]) > 5


def test_ids_that_are_not_numbers_are_omitted(tmp_path):
    write_volumes(tmp_path)
    write_points(tmp_path / "points.csv", positions(FLAT))
    rows = (tmp_path / "points.csv").read_text().splitlines()
    (tmp_path / "points.csv").write_text("\n".join([rows[0], *(f"a{row}" for row in rows[1:])]))
    config, _ = init(tmp_path, out=tmp_path / "config.json")
    assert "id" not in config["points"]["table"]
    assert len(planned(tmp_path / "config.json")["train"]) > 5


@pytest.mark.parametrize("tagged", [True, False])
def test_a_table_of_boxes_gives_the_boxes_and_their_splits(tmp_path, tagged):
    write_volumes(tmp_path)
    write_points(tmp_path / "points.csv", positions(FLAT, 200))
    boxes = [([10 + 40 * i, 20, 5], [44 + 40 * i, 116, 45], "val" if i == 2 else "train") for i in range(5)]
    nm = [[f"b{i}", *np.multiply(a, FLAT), *np.multiply(b, FLAT), tag if tagged else ""] for i, (a, b, tag) in enumerate(boxes)]
    rows = [",".join(map(str, row)) for row in nm]
    (tmp_path / "boxes.csv").write_text("\n".join(["id,min_x,min_y,min_z,max_x,max_y,max_z,tags", *rows]))
    config, output = init(tmp_path, out=tmp_path / "config.json")
    assert config["splits"] == {"train": ["train"], "val": ["val"]}
    if tagged:
        assert config["collection"]["boxes"]["csv"] == "./boxes.csv"
        assert "by the tags of the 5 boxes" in output
    else:
        listed = config["collection"]["boxes"]["list"]
        assert [b["id"] for b in listed] == ["b0", "b1", "b2", "b3", "b4"]
        assert sorted(b["tags"] for b in listed) == [["train"]] * 4 + [["val"]]
        assert "splits: guessed" in output and "4 of 5 boxes are `train` and 1 `val`" in output
        again, _ = init(tmp_path, "--force", out=tmp_path / "config.json")
        assert again == config
    # Windows of neighbouring boxes share voxels.
    assert config["leaks"] == {"drop_from": "train"} and "leaks: windows of two splits share voxels" in output
    assert all(len(s) > 3 for s in planned(tmp_path / "config.json").values())


@pytest.mark.parametrize("kind", ["tiff", "zarr"])
def test_a_volume_without_a_resolution_gets_the_given_one(tmp_path, kind):
    values = np.random.default_rng(3).integers(1, 255, SHAPE[::-1], "uint8")
    if kind == "tiff":
        tifffile.imwrite(tmp_path / "em.tif", values, photometric="minisblack")
        source = "em.tif"
    else:
        zarr.save_array(tmp_path / "em", values, zarr_format=3, dimension_names=["z", "y", "x"])
        source = "em"
    low_high = np.random.default_rng(4).uniform([0, 0, 0], np.multiply(SHAPE, FLAT), (30, 3)).round(1)
    write_points(tmp_path / "points.csv", low_high)
    sources = [tmp_path / source, tmp_path / "points.csv"]
    assert "--resolution" in error_message("init", *sources, "--out", tmp_path / "config.json", code=1)
    config, _ = init(*sources, "--resolution", *FLAT, out=tmp_path / "config.json")
    name = next(iter(config["layers"]))
    assert config["layers"] == {name: {"resolution": list(FLAT)}} and config["resolution"] == list(FLAT)
    assert sum(map(len, planned(tmp_path / "config.json").values())) > 0
    for wrong in [(0, 4, 40), (4, "nan", 40)]:
        assert "--resolution" in error_message("init", *sources, "--resolution", *wrong, "--out", tmp_path / "other.json")


def test_a_resolution_in_the_metadata_is_not_replaced(tmp_path):
    write_volumes(tmp_path)
    write_points(tmp_path / "points.csv", positions(FLAT))
    config, _ = init(tmp_path, "--resolution", 8, 8, 8, out=tmp_path / "config.json")
    assert config["resolution"] == list(FLAT) and "layers" not in config


def test_layers_that_share_no_resolution_are_resampled(tmp_path):
    write_volumes(tmp_path)
    shutil.rmtree(tmp_path / "cells")
    coarse = np.ones((100, 48, 40), "uint32")
    write_precomputed(tmp_path / "labels", coarse, (8, 8, 40), (5, 10, 5))
    write_points(tmp_path / "points.csv", positions(FLAT))
    config, output = init(tmp_path, out=tmp_path / "config.json")
    assert config["resolution"] == list(FLAT)
    array = config["arrays"]["target_labels"]
    assert (array["data_resolution"], array["interpolation"]) == ([8, 8, 40], "nearest")
    assert "resampled: `labels` from 8 x 8 x 40 nm (`nearest`)" in output
    assert planned(tmp_path / "config.json")


def test_an_unreadable_layer_is_reported_with_the_reason(tmp_path):
    write_volumes(tmp_path)
    write_points(tmp_path / "points.csv", positions(FLAT))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/info").write_text('{"type": "image", "scales": 7}')
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes/info").write_text('{"@type": "neuroglancer_multilod_draco"}')
    (tmp_path / "notes.csv").write_text("who,what\na,b\n")
    zarr.create_array(tmp_path / "plain", data=np.ones((8, 8, 8), "uint8"))
    config, output = init(tmp_path, out=tmp_path / "config.json")
    assert list(config["collection"]["boxes"]["layers"]) == ["cells", "em"]
    for word in ["`broken` is left out", "scales", "`meshes` is left out: it holds meshes", "`notes.csv` is left out",
                 "who, what", "`plain` is left out", "\"layers\": { \"plain\""]:  # fmt: skip
        assert word in output, output
    assert planned(tmp_path / "config.json")


def test_without_annotations_the_config_has_a_placeholder(tmp_path):
    write_volumes(tmp_path)
    config, output = init(tmp_path, out=tmp_path / "config.json")
    placeholder = "NAME_OF_THE_ANNOTATION_LAYER"
    assert config["points"] == {"layer": placeholder}
    assert f"  1. points: no annotations were found; replace `{placeholder}`" in output
    assert placeholder in error_message("plan", tmp_path / "config.json")


def test_a_folder_of_the_demo_becomes_its_config(tmp_path):
    pointshard("demo", tmp_path / "demo")
    source = tmp_path / "demo/source"
    config, output = init(source, out=source / "first.json")
    demo = json.loads((source / "config.json").read_text())
    assert config["collection"] == "./collection.json"
    for key in ["resolution", "window", "splits", "leaks"]:
        assert config[key] == demo[key], key
    assert config["points"] == {"layer": "lines"} and "other annotations: `points`" in output
    assert list(config["arrays"]) == ["img", "target_pre", "target_post", "target_label0", "target_label1", "target_synseg"]
    assert [a["layer"] for a in config["arrays"].values()] == ["img", "seg", "seg", "label0", "label1", "synseg"]
    assert all(len(s) > 10 for s in planned(source / "first.json").values()), output


@pytest.mark.usefixtures("shared")
class TestSharedData:
    @pytest.mark.parametrize("source", ["collection.json", "ng_state.json", "", "api", "pipe_urls/collection.json"])
    def test_collections_and_states(self, tmp_path, source):
        config, output = init(VNC / source, out=tmp_path / "config.json")
        assert config["resolution"] == [4.6, 4.6, 45.0] and config["window"] == [64, 64, 16]
        assert config["points"] == {"layer": "lines"} and config["splits"] == {"train": ["train"], "val": ["val"]}
        assert list(config["arrays"])[:3] == ["img", "target_pre", "target_post"]
        assert "6 boxes hold 26 annotations" in output, output
        samples = planned(tmp_path / "config.json")
        assert {name: len(s) for name, s in samples.items()} == {"train": 19, "val": 7}

    @pytest.mark.parametrize("as_link", [False, True])
    def test_a_pasted_url(self, tmp_path, as_link):
        state = json.loads((VNC / "ng_state.json").read_text())
        for layer in state["layers"]:
            for source in layer["source"]:
                source["url"] = source["url"].replace("file://./", f"file://{VNC}/")
        url = f"https://neuroglancer-demo.appspot.com/#!{quote(json.dumps(state))}"
        if as_link:
            (tmp_path / "state.url").write_text(url)
        config, output = init(tmp_path / "state.url" if as_link else url, out=tmp_path / "config.json")
        assert "6 boxes hold 26 annotations" in output, output
        assert len(planned(tmp_path / "config.json")["val"]) == 7

    def test_a_state_without_boxes_gets_boxes_and_keeps_its_own_annotations(self, tmp_path):
        state = json.loads((VNC / "ng_state.json").read_text())
        boxes = state["layers"][-1]
        a = boxes["annotations"][0]["pointA"]
        boxes["annotations"] = [{"type": "point", "id": str(i), "point": [a[0] + i, a[1], a[2]]} for i in range(5)]
        state["layers"] = [layer for layer in state["layers"] if layer["name"] not in ("points", "lines")]
        for name in ["img", "seg", "label0", "label1"]:
            (tmp_path / name).symlink_to(VNC / name)
        (tmp_path / "state.json").write_text(json.dumps(state))
        config, output = init(tmp_path / "state.json", out=tmp_path / "config.json")
        name = boxes["name"]
        layers = config["collection"]["boxes"]["layers"]
        assert layers[name] == f"./state.json|neuroglancer-state:{name}"
        assert layers["img"] == "precomputed://file://./img"
        assert config["points"] == {"layer": name}
        assert len(planned(tmp_path / "config.json")["train"]) == 5, output

    def test_boxes_in_a_layer_of_annotations(self, tmp_path):
        sources = [VNC / "img", VNC / "points", SHARED / "data/annotations/ng_boxes"]
        config, output = init(*sources, out=tmp_path / "config.json")
        boxes = config["collection"]["boxes"]
        assert set(boxes["layers"]) == {"img", "points"}
        assert boxes.get("source", "").endswith("ng_boxes") or "list" in boxes
        assert planned(tmp_path / "config.json"), output


def test_untagged_boxes_of_a_state_are_listed_with_tags(tmp_path):
    write_volumes(tmp_path)
    write_points(tmp_path / "points.csv", positions(FLAT, 100))
    boxes = [{"type": "axis_aligned_bounding_box", "id": f"b{i}", "pointA": [10 + 90 * i, 20, 5], "pointB": [60 + 90 * i, 116, 45]}
             for i in range(2)]  # fmt: skip
    dimensions = {axis: [nm * 1e-9, "m"] for axis, nm in zip("xyz", FLAT)}
    notes = [{"type": "point", "id": str(i), "point": (p / FLAT).tolist()} for i, p in enumerate(positions(FLAT, 100))]
    layers = [
        {"type": "image", "name": "em", "source": "precomputed://file://./em"},
        {"type": "segmentation", "name": "cells", "source": "precomputed://file://./cells"},
        {"type": "annotation", "name": "boxes", "source": "local://annotations", "annotations": boxes},
        {"type": "annotation", "name": "synapses", "source": "local://annotations", "annotations": notes},
    ]
    (tmp_path / "state.json").write_text(json.dumps({"dimensions": dimensions, "layers": layers}))
    config, output = init(tmp_path / "state.json", out=tmp_path / "config.json")
    listed = config["collection"]["boxes"]["list"]
    assert [b["id"] for b in listed] == ["b0", "b1"] and sorted(b["tags"][0] for b in listed) == ["train", "val"]
    assert listed[0]["min"] == [40, 80, 200]
    assert config["points"] == {"layer": "synapses"}
    assert all(planned(tmp_path / "config.json").values()), output


def test_no_file_is_overwritten_without_force(tmp_path):
    write_volumes(tmp_path)
    out = tmp_path / "config.json"
    out.write_text("mine")
    message = error_message("init", tmp_path, "--out", out)
    assert f"{out} already exists" in message and "--force" in message and out.read_text() == "mine"
    init(tmp_path, "--force", out=out)
    assert out.read_text() != "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells", "config.json", "em"]


def test_standard_output_is_the_config_and_has_absolute_paths(tmp_path):
    write_volumes(tmp_path)
    write_points(tmp_path / "points.csv", positions(FLAT))
    done = pointshard("init", ".", cwd=tmp_path)
    config = json.loads(done.stdout)
    assert config["collection"]["boxes"]["layers"]["em"] == str(tmp_path / "em")
    assert '"window": [64, 64, 16]' in done.stdout
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/config.json").write_text(done.stdout)
    assert planned(tmp_path / "elsewhere/config.json")["train"]
    assert pointshard("init", ".", "--quiet", cwd=tmp_path).stderr == ""


def test_tiff_files_beside_layers_are_left_out(tmp_path):
    folder = tmp_path / "my layers"
    folder.mkdir()
    write_volumes(folder)
    section = np.zeros((8, 8), "uint8")
    for name in ["overview", "figure"]:
        tifffile.imwrite(folder / f"{name}.tif", section)
    out = tmp_path / "my config.json"
    config, output = init(folder, "--resolution", *FLAT, out=out)
    assert config["collection"]["boxes"]["layers"] == {"cells": "./my layers/cells", "em": "./my layers/em"}
    assert "TIFF files beside the layers were left out (`figure.tif` and 1 more)" in output
    # The command works in a shell.
    command = re.search("next: run `(.*)`", output)[1]
    assert shlex.split(command) == ["pointshard", "plan", str(out)]


def test_a_stack_with_folders_of_sections_is_one_layer(tmp_path):
    section = np.random.default_rng(1).integers(0, 255, (96, 96), "uint8")
    for folder in [tmp_path / "em", tmp_path / "em/thumbnails"]:
        folder.mkdir()
        for z in range(20):
            tifffile.imwrite(folder / f"{z:02}.tif", section)
    config, output = init(tmp_path / "em", "--resolution", *FLAT, out=tmp_path / "config.json")
    assert config["collection"]["boxes"]["layers"] == {"em": "./em"}
    assert "its folders of TIFF files, `thumbnails`, were left out" in output


@pytest.mark.parametrize(("source", "code", "words"), [
    ("nothing", 2, ["nothing does not exist", "check the path"]),
    ("empty", 2, ["holds no collection.json and no layer", "info"]),
    ("odd.json", 1, ["odd.json is neither a viewer state nor a collection", "as a collection: ", "`layer_groups`"]),
    ("no.json", 1, ["no.json is neither a viewer state nor a collection", "expected ident"]),
    ("ftp://host/a", 2, ["`ftp`"]),
    ("meshes", 1, ["none of the layers", "it holds meshes"]),
])  # fmt: skip
def test_a_source_without_layers_is_an_error_that_says_what_is_expected(tmp_path, source, code, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes/info").write_text('{"@type": "neuroglancer_multilod_draco"}')
    (tmp_path / "odd.json").write_text('{"a": 1}')
    (tmp_path / "no.json").write_text("no")
    message = error_message("init", source if "://" in source else tmp_path / source, code=code)
    for word in words:
        assert word in message, message


def test_secrets_of_urls_are_not_written(tmp_path):
    write_volumes(tmp_path / "objects")
    write_points(tmp_path / "objects/points.csv", positions(FLAT))
    with SignedServer(tmp_path / "objects") as server:
        query = f"X-Amz-Signature={SIGNATURES[0]}"
        urls = [f"precomputed://http://{server.host}/em?{query}", f"http://{server.host}/points.csv?{query}"]
        for arguments in [["--out", tmp_path / "config.json"], []]:
            done = pointshard("init", *urls, *arguments)
            text = done.stdout + done.stderr + (tmp_path / "config.json").read_text()
            assert f"http://{server.host}/em?<redacted>" in text
            assert "  1. a URL has `<redacted>` in place of its query" in done.stderr
            for secret in SECRETS:
                assert secret not in text
        message = error_message("init", f"http://{server.host}/?{query}")
        assert "folders on http(s) servers cannot be listed" in message
        assert not any(secret in message for secret in SECRETS)


@pytest.mark.parametrize("name", ["local", "s3", "gcs"])
def test_a_folder_in_a_bucket_is_listed_like_a_local_one(request, tmp_path, name):
    place, local = request.getfixturevalue(name), request.getfixturevalue("local")
    config, output = init(f"{place.root}/encodings", out=tmp_path / "config.json", env=place.env)
    layers = config["collection"]["boxes"]["layers"]
    assert len(layers) > 8 and layers["raw_plain"] == f"{place.root}/encodings/raw_plain", output
    expected, _ = init(f"{local.root}/encodings", out=tmp_path / "local.json")
    assert list(layers) == list(expected["collection"]["boxes"]["layers"])
    assert config["arrays"] == expected["arrays"]


@pytest.mark.parametrize("name", ["synapses.parquet", "synapses.feather", "synapses.csv.gz"])
def test_a_table_of_cave_has_lists_of_positions(tmp_path, name):
    """CAVE's columns, in voxels of the volume."""
    write_volumes(tmp_path)
    centers = np.array([[v / r for v, r in zip(p, FLAT)] for p in positions(FLAT)])
    rows = pandas.DataFrame({
        "id": np.arange(len(centers), dtype=np.uint64) + 2**60,
        "pre_pt_position": (centers - 1).tolist(), "post_pt_position": (centers + 1).tolist(), "ctr_pt_position": centers.tolist(),
        "pre_pt_root_id": np.uint64(864691135463611009),
    })  # fmt: skip
    write = {"parquet": rows.to_parquet, "feather": rows.to_feather, "gz": lambda path: rows.to_csv(path, index=False)}
    write[name.rsplit(".", 1)[1]](tmp_path / name)
    config, output = init(tmp_path, out=tmp_path / "config.json")
    table = config["points"]["table"]
    assert table["file"] == f"./{name}" and table["unit"] == "voxel" and table["id"] == "id"
    assert (table["start"], table["end"]) == ("pre_pt_position", "post_pt_position")
    assert "lines of" in output
    assert len(planned(tmp_path / "config.json")) > 0
