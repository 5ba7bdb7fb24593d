"""Invalid arguments and configs: exit code 2 and one message with the place and the problem."""

import json
import shutil

import pytest
from program import VNC, error_message, file_digests, keep_one_box, manifest, pointshard, vnc_collection, vnc_config

BAD = {
    "a misspelt key": ({"windw": [1, 1, 1]}, ["windw", "did you mean `window`"]),
    "a misspelt inner key": ({"arrays": {"img": {"layr": "img"}}}, ["arrays.img", "did you mean `layer`"]),
    "a wrong type": ({"window": [32, "32", 8]}, ["window[1]", "32"]),
    "a window of 0": ({"window": [0, 32, 8]}, ["window", "[0, 32, 8]"]),
    "a missing key": ({"resolution": None}, ["resolution"]),
    "a negative resolution": ({"resolution": [4.6, -4.6, 45]}, ["resolution", "-4.6"]),
    "a resolution that no scale has": ({"resolution": [5, 5, 45]}, ["`resolution`", "5 x 5 x 45 nm", "[4.6, 4.6, 45.0]"]),
    "a layer that is not there": ({"arrays": {"img": {"layer": "imgg"}}}, ["arrays.img", "imgg", "did you mean `img`"]),
    "a points layer that is not there": ({"points": {"layer": "point"}}, ["points", "point", "did you mean `points`"]),
    "no arrays": ({"arrays": {}}, ["arrays"]),
    "a split without tags": ({"splits": {"train": []}}, ["splits.train"]),
    "tags that no box has": ({"splits": {"train": ["nobody"]}}, ["train", "nobody"]),
    "tags of one split that no box has": (
        {"splits": {"train": ["train"], "test": ["tset"]}}, ["`splits.test`", "`tset`", "available tags: `train`, `val`"]
    ),
    "a value that no voxel can have": (
        {"arrays": {"m": {"layer": "label0", "transform": {"in": [1, 300]}}}}, ["arrays.m", "300", "uint8", "up to 255"]
    ),
    "a data resolution that no scale has": (
        {"arrays": {"img": {"layer": "img", "data_resolution": [3, 3, 45], "interpolation": "area"}}},
        ["`arrays.img.data_resolution`", "use one of these"],
    ),
    "an output that is a file": ({}, ["is a file", "expected a folder"]),
    "an array that leaves the folder": ({"arrays": {"../img": {"layer": "img"}}}, ["../img"]),
    "a shard without samples": ({"shard_samples": 0}, ["shard_samples"]),
}


@pytest.mark.parametrize(("change", "expected_text"), BAD.values(), ids=BAD.keys())
def test_a_bad_config_is_an_error_with_the_json_path(shared, tmp_path, change, expected_text):
    config = vnc_config(tmp_path, **change)
    if not change:
        (tmp_path / "out").write_text("")
    message = error_message("preprocess", config, "--out", tmp_path / "out")
    for text in expected_text:
        assert text in message, message
    assert not (tmp_path / "out/manifest.json").exists()


def test_splits_that_share_voxels_are_an_error_by_default(shared, tmp_path):
    config = vnc_config(tmp_path, window=[512, 512, 16], leaks=None)
    message = error_message("preprocess", config, "--out", tmp_path / "out")
    assert "train" in message and "val" in message and "leaks" in message, message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"])
def test_a_config_that_is_not_a_json_object_is_an_error(tmp_path, text):
    config = tmp_path / "config.json"
    config.write_bytes(text.encode("latin-1"))
    assert "config.json" in error_message("preprocess", config, "--out", tmp_path / "out")


def test_a_missing_config_or_collection_is_an_error_that_names_it(tmp_path):
    assert "nowhere.json" in error_message("preprocess", tmp_path / "nowhere.json", "--out", tmp_path / "out")
    config = vnc_config(tmp_path, collection="nowhere/collection.json")
    assert "nowhere/collection.json" in error_message("preprocess", config, "--out", tmp_path / "out", code=1)


def test_a_volume_as_points_layer_is_an_error(shared, tmp_path):
    config = vnc_config(tmp_path, points={"layer": "img"})
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=1)
    assert "`img`" in message and "annotation" in message, message


@pytest.mark.parametrize("missing", ["zeros", "error"])
def test_a_missing_chunk_is_zeros_or_an_error_as_the_config_says(shared, tmp_path, missing):
    layer = shared / "data/encodings/missing_chunk"
    collection = vnc_collection(tmp_path, keep_one_box, img=layer)
    config = vnc_config(
        tmp_path, collection=str(collection), window=[300, 300, 40], arrays={"img": {"layer": "img"}},
        splits={"train": ["train"]}, missing=missing,
    )  # fmt: skip
    if missing == "zeros":
        done = pointshard("preprocess", config, "--out", tmp_path / "out")
        assert ", 1 missing" in done.stdout
        (warning,) = [line for line in done.stderr.splitlines() if "are missing in" in line]
        assert warning.startswith("warning: the layer `img`: 1 of ") and str(layer) in warning, warning
        assert warning == f"warning: {manifest(tmp_path / 'out')['warnings'][-1]}"
        before = file_digests(tmp_path / "out")
        pointshard("preprocess", config, "--out", tmp_path / "out")
        assert file_digests(tmp_path / "out") == before
        return
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=1)
    assert "`img`" in message and str(layer) in message, message
    assert not (tmp_path / "out/manifest.json").exists()


def test_a_layer_without_any_stored_chunk_is_an_error(shared, tmp_path):
    empty = tmp_path / "empty_layer"
    empty.mkdir()
    shutil.copy(VNC / "img/info", empty / "info")
    config = vnc_config(tmp_path, collection=str(vnc_collection(tmp_path, img=empty)))
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=1)
    assert "`img`" in message and str(empty) in message, message
    assert not (tmp_path / "out/manifest.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [["preprocess", "--treads", "2"], ["preprocess"], ["shred"], ["check"], [], ["check", "x", "--threads", "0"]],
    ids=" ".join,
)
def test_bad_arguments_are_an_error(arguments):
    assert pointshard(*arguments, code=2).stderr


def test_a_path_that_is_not_a_dataset_is_an_error_that_suggests_one_nearby(vnc_copy, tmp_path):
    _, out = vnc_copy
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign/manifest.json").write_text('{"files": []}')
    (tmp_path / "file").write_text("")
    cases = {
        "nowhere": "no such folder", "file": "is a file", "foreign": "not one of pointshard's",
        ".": str(out), "out/train.zarr": str(out), "out/train.zarr/img": str(out), "out/manifest.json": str(out),
    }  # fmt: skip
    for name, output in cases.items():
        message = error_message("check", tmp_path / name)
        assert "not a pointshard dataset" in message and output in message, message
    (out / "manifest.json").unlink()
    assert "--repair" in pointshard("check", out, code=1).stdout


@pytest.mark.parametrize("url", ["s3://bucket/out", "gs://bucket/out", "file:///out", "http://host/out"])
@pytest.mark.parametrize("command", ["preprocess CONFIG", "plan", "demo"])
def test_a_url_is_never_used_as_a_local_path(tmp_path, command, url):
    config = vnc_config(tmp_path)
    name, _, at = command.partition(" ")
    arguments = [name, url if at == "CONFIG" else config, "--out", "out"] if name == "preprocess" else [name, url]
    message = pointshard(*arguments, code=2, cwd=tmp_path).stderr
    assert url in message and ("local" in message or "plain path" in message), message
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    "url, code", [("s3://bucket/out", 75), ("gs://bucket/out", 75), ("http://127.0.0.1:1/out", 2), ("ftp://host/out", 2)]
)
def test_a_url_of_an_output_is_never_a_local_folder(tmp_path, url, code):
    config = vnc_config(tmp_path)
    # A server that cannot be reached.
    env = {"AWS_ENDPOINT": "http://127.0.0.1:1", "AWS_ALLOW_HTTP": "true", "AWS_SKIP_SIGNATURE": "true"}
    account = tmp_path.parent / f"{tmp_path.name}.json"
    unused = dict.fromkeys(["client_email", "private_key", "private_key_id"], "")
    account.write_text(json.dumps({"gcs_base_url": "http://127.0.0.1:1", "disable_oauth": True, **unused}))
    env["GOOGLE_SERVICE_ACCOUNT"] = str(account)
    arguments = ["preprocess", config, "--out", url, "--retry-for", "0"]
    message = pointshard(*arguments, code=code, cwd=tmp_path, env=env).stderr
    assert url.partition("://")[0] in message and message.count("error: ") == 1, message
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_a_file_url_is_a_local_output(vnc_job, tmp_path):
    config, out = vnc_job
    pointshard("preprocess", config, "--out", f"file://{tmp_path}/out", "--threads", 2)
    assert file_digests(tmp_path / "out") == file_digests(out)
    pointshard("check", f"file://{tmp_path}/out")


def test_a_repeated_array_name_is_an_error(tmp_path):
    config = vnc_config(tmp_path)
    config.write_text(config.read_text().replace('"label0": {', '"img": {'))
    message = error_message("plan", config)
    assert "`arrays.img`" in message and "twice" in message, message


STATE = str(VNC / "ng_state.json")
TABLE = {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"]}
ABSENT = {
    "a layer of a viewer state": ({"points": {"neuroglancer_state": {"source": STATE, "layer": "nobody"}}}, "nobody"),
    "a layer of boxes": ({"collection": {"neuroglancer_state": {"source": STATE, "layer": "nobody"}}}, "nobody"),
    "a column": ({"points": {"table": {**TABLE, "id": "nobody"}}}, "nobody"),
    "a token": (
        {"collection": {"zetta_api": {"url": "https://127.0.0.1:1", "collection": "c", "token_env": "NOBODY"}}}, "NOBODY"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "expected_text"), ABSENT.values(), ids=ABSENT.keys())
def test_names_in_the_config_that_do_not_exist_are_a_configuration_error(shared, tmp_path, change, expected_text):
    (tmp_path / "points.csv").write_text("x,y,z\n1,2,3\n")
    message = error_message("plan", vnc_config(tmp_path, **change))
    assert expected_text in message, message


NOTHING = {
    "no annotation in any box": (["1e9,1e9,1e9"], {}, ["no annotation is in any"]),
    "all dropped": (["14500,12100,4600"] * 2, {"filter": {"score": {"min": 5}}}, ["all of the 2 annotation(s)", "2 `filter`"]),
}


@pytest.mark.parametrize(("rows", "choose", "expected_text"), NOTHING.values(), ids=NOTHING.keys())
def test_a_job_without_samples_is_an_error_with_the_reason(shared, tmp_path, rows, choose, expected_text):
    rows = [f"{i},{row},1" for i, row in enumerate(rows)]
    (tmp_path / "points.csv").write_text("\n".join(["id,x,y,z,score", *rows, ""]))
    csv = {**TABLE, "id": "id", "properties": {"score": "float32"}}
    boxes = vnc_collection(tmp_path, around_all)
    config = vnc_config(tmp_path, collection=str(boxes), points={"table": csv, "choose": choose}, splits={"train": ["train"]})
    for command in (["plan", config], ["preprocess", config, "--out", tmp_path / "out"]):
        for more in [[], ["--dry-run"]] if command[0] == "preprocess" else [[]]:
            message = error_message(*command, *more, code=1)
            assert "no sample" in message and all(t in message for t in expected_text), message
    assert not (tmp_path / "out").exists()


def around_all(rows):
    """One box that contains the whole volume."""
    (box, *_) = rows["annotations"]
    box["pointA"], box["pointB"], box["tags"] = [0, 0, 0], [1e6, 1e6, 1e6], ["train"]
    rows["annotations"] = [box]


def test_a_split_without_samples_is_a_warning(shared, tmp_path):
    def far_away(rows):
        for box in rows["annotations"]:
            if box["tags"] == ["val"]:
                box["pointA"], box["pointB"] = [0, 0, 0], [1, 1, 1]

    config = vnc_config(tmp_path, collection=str(vnc_collection(tmp_path, far_away)))
    done = pointshard("preprocess", config, "--out", tmp_path / "out")
    assert "warning: the split `val` has no sample" in done.stderr, done.stderr
    pointshard("check", tmp_path / "out")
    assert "all 0" not in pointshard("preprocess", config, "--out", tmp_path / "out").stdout
