"""`pointshard train`: its output, exact resume, learning, and errors."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from faulty_server import FaultyServer, status, truncate_body
from program import REPOSITORY, pointshard
from s3_server import upload_objects
from training import MODEL, TARGETS, losses, make_dataset, metrics, run, train_config, trainer


@pytest.fixture(scope="module")
def dataset(shared, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("train"))


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """A config and the folder of its finished run. Tests must not change it."""
    folder = tmp_path_factory.mktemp("trained")
    config = train_config(folder)
    run("train", dataset, "--config", config, "--out", folder / "run")
    return config, folder / "run"


def test_a_run_writes_weights_module_metrics_events_and_report(trained):
    _, folder = trained
    there = {p.name for p in folder.iterdir()}
    assert there == {
        "last.safetensors", "best.safetensors", "model.pt", "model.onnx", "metrics.jsonl", "events", "report.html",
    }  # fmt: skip


def test_metrics_have_a_line_per_step_and_per_validation(trained):
    _, folder = trained
    lines = metrics(folder)
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    validations = [line for line in lines if line["kind"] == "validation"]
    assert [line["step"] for line in validations] == [3, 6]
    for line in lines:
        assert list(line["channels"]) == TARGETS
        assert line["loss"] > 0
    for line in validations:
        assert line["samples"] == 9
        for channel in line["channels"].values():
            assert {"loss", "constant_loss", "dice", "iou", "average_precision", "curve"} <= set(channel)
            assert 0 < channel["positives"] < channel["voxels"]


def test_rerunning_a_finished_training_does_nothing(dataset, trained, tmp_path):
    config, folder = trained
    copy = shutil.copytree(folder, tmp_path / "run")
    done = run("train", dataset, "--config", config, "--out", copy)
    assert "steps    all 6 already present" in done.stdout
    assert losses(copy) == losses(folder)


def test_losses_do_not_depend_on_the_number_of_workers(dataset, trained, tmp_path):
    _, folder = trained
    config = train_config(tmp_path, workers=5, prefetch=1)
    run("train", dataset, "--config", config, "--out", tmp_path / "run")
    assert losses(tmp_path / "run") == losses(folder)
    other = train_config(tmp_path, seed=6)
    run("train", dataset, "--config", other, "--out", tmp_path / "other")
    assert losses(tmp_path / "other") != losses(folder)


@pytest.mark.parametrize("rule", ["adam", "adamw", "radam"])
def test_a_training_in_two_runs_has_the_losses_of_one(dataset, tmp_path, rule):
    changes = {
        "optimizer": {"name": rule, "lr": 0.01},
        "model": {**MODEL, "norm": "batch"},
        "augmentation": {"flip": {"x": True}, "noise": 0.1},
        "validation_interval": 7,
        "steps": 14,
    }
    config = train_config(tmp_path, **changes)
    run("train", dataset, "--config", config, "--out", tmp_path / "whole")
    run("train", dataset, "--config", config, "--out", tmp_path / "parts", "--steps", 7)
    done = run("train", dataset, "--config", config, "--out", tmp_path / "parts")
    assert "steps    7 (resumed after step 7)" in done.stdout
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for name in ("last.safetensors", "best.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_killed_training_resumes_with_the_same_losses(dataset, tmp_path):
    config = train_config(tmp_path, steps=60, validation_interval=5)
    run("train", dataset, "--config", config, "--out", tmp_path / "whole")
    kills = 0
    for lines in (8, 25, 44):
        command = [trainer(), "train", dataset, "--config", config, "--out", tmp_path / "killed", "--quiet"]
        process = subprocess.Popen([str(c) for c in command], env={**os.environ, "OMP_NUM_THREADS": "1"})
        history = tmp_path / "killed/metrics.jsonl"
        while process.poll() is None and not (history.exists() and history.read_text().count("\n") >= lines):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2
    run("train", dataset, "--config", config, "--out", tmp_path / "killed")
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    import tensorboard_events

    curves = [tensorboard_events.scalars(tmp_path / name / "events")["loss/train"] for name in ("killed", "whole")]
    assert curves[0] == curves[1] and [step for step, _ in curves[0]] == list(range(1, 61))
    left = {p.name for p in (tmp_path / "killed").iterdir()}
    assert {n for n in left if not n.startswith(".part-")} == {p.name for p in (tmp_path / "whole").iterdir()}


def test_another_training_in_the_same_folder_is_an_error_without_force(dataset, trained, tmp_path):
    _, folder = trained
    copy = shutil.copytree(folder, tmp_path / "run")
    config = train_config(tmp_path, batch_size=2)
    message = run("train", dataset, "--config", config, "--out", copy, code=2).stderr
    assert "another training: its `batch_size` is 4, the config's is 2" in message and "--force" in message
    assert losses(copy) == losses(folder)
    run("train", dataset, "--config", config, "--out", copy, "--force")
    assert metrics(copy)[0]["step"] == 1 and losses(copy) != losses(folder)


def test_the_default_output_is_in_the_dataset_which_still_passes_check(dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "dataset")
    config = train_config(tmp_path, name="small.json", steps=1)
    run("train", copy, "--config", config)
    assert (copy / "training/small/best.safetensors").exists()
    run("infer", copy, "--model", copy / "training/small/best.safetensors")
    assert (copy / "predictions/small/best/val.zarr").exists()
    pointshard("check", copy)


def test_tensorboard_reads_the_events(trained):
    import tensorboard_events

    _, folder = trained
    curves = tensorboard_events.scalars(folder / "events")
    lines = metrics(folder)
    for tag, kind in (("loss/train", "train"), ("loss/val", "validation")):
        expected = [(line["step"], line["loss"]) for line in lines if line["kind"] == kind]
        assert [step for step, _ in curves[tag]] == [step for step, _ in expected]
        assert np.allclose([v for _, v in curves[tag]], [v for _, v in expected], rtol=1e-6)
    assert {f"dice/val/{target}" for target in TARGETS} <= set(curves)
    pictures = tensorboard_events.pictures(folder / "events")
    assert len(pictures) == 6
    for shown in pictures.values():
        assert [step for step, *_ in shown] == [3, 6]
        assert all(png.startswith(b"\x89PNG") for *_, png in shown)


def test_the_report_needs_no_other_file(trained):
    _, folder = trained
    html = (folder / "report.html").read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|\#)""", html)
    assert html.count("<svg") >= 5 and html.count("data:image/png;base64,") >= 6
    best = min((line for line in metrics(folder) if line["kind"] == "validation"), key=lambda line: line["loss"])
    for name in TARGETS:
        assert name in html and f"{best['channels'][name]['loss']:.4f}" in html
    errors = [float(e) for e in re.findall(r"sample \d+, error (\d+\.\d+)", html)]
    assert 6 <= len(errors) <= 9 and errors[:6] == sorted(errors, reverse=True)[:6] and errors[0] > errors[5]
    assert re.search(r"scale bar \d+ nm", html) and "&quot;batch_size&quot;: 4" in html


def test_a_batch_with_too_few_nonzero_image_voxels_is_skipped(dataset, tmp_path):
    loss = {"crop_pad": [6, 4, 1]}
    config = train_config(tmp_path, min_nonzero={"image": 0.95}, loss=loss, batch_size=1, steps=21, validation_interval=21)
    run("train", dataset, "--config", config, "--out", tmp_path / "run")
    lines = metrics(tmp_path / "run")
    left_out = [line for line in lines if line["kind"] == "train" and line["loss"] is None]
    assert 0 < len(left_out) < 21
    import zarr

    def thin(split):
        img = zarr.open_group(dataset / f"{split}.zarr", mode="r")["img"][:]
        return int(sum((sample[:, 1:-1, 4:-4, 6:-6] != 0).mean() < 0.95 for sample in img))

    def thin_with_the_rim(split):
        img = zarr.open_group(dataset / f"{split}.zarr", mode="r")["img"][:]
        return int(sum((sample != 0).mean() < 0.95 for sample in img))

    assert thin("train") != thin_with_the_rim("train"), "the rim makes no difference"

    assert len(left_out) == thin("train")
    assert lines[-1]["samples_left_out"] == thin("val") > 0


def test_a_batch_with_too_few_counted_voxels_is_skipped(dataset, tmp_path):
    """The fraction counts the voxels that the loss counts, among those inside the pad."""
    pad = [4, 4, 1]
    steps = {"steps": 12, "validation_interval": 12, "batch_size": 2}
    loss = {"crop_pad": pad, "mask_on_zeros": True}
    config = train_config(tmp_path, loss=loss, **steps)
    run("train", dataset, "--config", config, "--out", tmp_path / "all", "--record", 12)
    from safetensors.numpy import load_file

    inside = np.zeros((8, 32, 32), bool)
    inside[1:-1, 4:-4, 4:-4] = True
    counted = []
    for step in range(1, 13):
        made = load_file(tmp_path / f"all/steps/{step}.safetensors")
        counted.append(((made["masks"] != 0) & (made["image"] != 0))[..., inside].mean())
    least = float(np.mean(sorted(counted)[5:7]))
    config = train_config(tmp_path, name="less.json", loss=loss, min_nonzero={"mask": least}, **steps)
    done = run("train", dataset, "--config", config, "--out", tmp_path / "less")
    lines = [line for line in metrics(tmp_path / "less") if line["kind"] == "train"]
    expected = [fraction < least for fraction in counted]
    assert [line["loss"] is None for line in lines] == expected and 0 < sum(expected) < 12
    assert f"{sum(expected)} of these steps were skipped" in done.stderr


def test_a_training_in_which_all_batches_are_skipped_is_an_error(dataset, tmp_path):
    config = train_config(tmp_path, min_nonzero={"mask": 1.0}, loss={"crop_pad": [1, 0, 0]})
    message = run("train", dataset, "--config", config, "--out", tmp_path / "run", code=2).stderr
    assert "`min_nonzero`: nothing was learned" in message and "train.json" in message


def test_a_diverging_training_is_an_error_in_every_run(dataset, tmp_path):
    config = train_config(tmp_path, optimizer={"lr": 1e30})
    for _ in range(2):
        message = run("train", dataset, "--config", config, "--out", tmp_path / "run", code=1).stderr
        assert re.search("the (training|validation) loss is (NaN|inf|-inf) at step [1-6]: .*`optimizer.lr`", message)
    # There is nothing to resume from, so another training may start.
    (tmp_path / "run/.part-dead").write_text("half")
    config = train_config(tmp_path, name="lower.json", precision="bfloat16")
    run("train", dataset, "--config", config, "--out", tmp_path / "run")
    assert [line["step"] for line in metrics(tmp_path / "run")] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert all(line["loss"] > 0 for line in metrics(tmp_path / "run"))
    assert not list((tmp_path / "run").glob(".part-*"))


def test_a_summed_loss_does_not_depend_on_the_batch_size(dataset, tmp_path):
    found = {}
    for batch_size in (3, 4):
        config = train_config(tmp_path, loss={"reduction": "sum"}, batch_size=batch_size, steps=1, optimizer={"lr": 1e-30})
        run("train", dataset, "--config", config, "--out", tmp_path / f"run{batch_size}")
        (line,) = [line for line in metrics(tmp_path / f"run{batch_size}") if line["kind"] == "validation"]
        assert line["samples"] == 9
        found[batch_size] = [channel["loss"] / batch_size for channel in line["channels"].values()]
    # A sum scales with the batch size.
    assert np.allclose(found[3], found[4], rtol=1e-5)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"targets": [TARGETS[0]] * 2}, "`targets`: found `target_label0` twice"),
        ({"loss": {"crop_pad": [16, 0, 0]}}, "`loss.crop_pad`: found [16, 0, 0], expected less than half"),
        ({"model": {**MODEL, "feature_maps": [4, 8, 8]}}, "`model.strides`: the window is 32 x 32 x 8 voxels"),
        ({"crop": {"window": [2, 2, 1]}, "loss": {}}, "`model.norm`: `instance` turns a single voxel into 0"),
        ({"targets": ["nowhere", TARGETS[0]]}, "no array `nowhere`"),
    ],
)
def test_an_untrainable_config_is_an_error_with_the_key(dataset, tmp_path, changes, words):
    if "feature_maps" in changes.get("model", {}):
        changes["model"]["strides"] = [[2, 2, 1], [5, 1, 1]]
    config = train_config(tmp_path, **changes)
    message = run("train", dataset, "--config", config, "--out", tmp_path / "run", code=2).stderr
    assert words in message
    assert "train.json" in message or "nowhere" in message


def test_training_on_a_server_is_equal_to_training_on_local_files(dataset, moto, s3, tmp_path, monkeypatch):
    config = train_config(tmp_path, steps=1)
    upload_objects(moto.url, "trained", dataset)
    for name, value in {**s3.env, "NO_PROXY": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    runs = []
    # Each object fails at first, then its body is cut, then it is sent.
    faults = [status(503), truncate_body]
    fault = lambda request: dict(enumerate(faults)).get(request.before)  # noqa: E731
    with FaultyServer(dataset, fault) as server:
        for place in (dataset, f"{s3.root}/trained", server.url):
            out = tmp_path / f"run{len(runs)}"
            run("train", place, "--config", config, "--out", out)
            runs.append(losses(out))
    assert runs[0] and runs[0] == runs[1] == runs[2]
    assert any(request.before > 1 for request in server.requests)


def test_a_url_is_never_used_as_a_local_path(dataset, tmp_path):
    config = train_config(tmp_path)
    for command in (["train", dataset, "--config", config, "--out", "s3://b/run"], ["infer", dataset, "--model", "gs://b/m.pt"]):
        assert "only local" in run(*command, code=2).stderr
    for command in (["train", "s3://b/out", "--config", config], ["infer", "s3://b/out", "--model", "m.pt"]):
        assert "give a local output folder with --out" in run(*command, code=2).stderr
    assert [p.name for p in tmp_path.iterdir()] == ["train.json"]


def test_the_constant_loss_predicts_the_fraction_of_ones(dataset, tmp_path):
    config = train_config(tmp_path, steps=1, batch_size=9)
    run("train", dataset, "--config", config, "--out", tmp_path / "run")
    (line,) = [line for line in metrics(tmp_path / "run") if line["kind"] == "validation"]
    import zarr

    group = zarr.open_group(dataset / "val.zarr", mode="r")
    for name in TARGETS:
        target = group[name][:] != 0
        mask = group[f"{name}_mask"][:] != 0 if f"{name}_mask" in group else np.ones_like(target)
        p = target[mask].mean()
        expected = -(p * np.log(p) + (1 - p) * np.log(1 - p))
        assert line["channels"][name]["constant_loss"] == pytest.approx(expected, rel=1e-5)
        assert line["channels"][name]["positives"] == target[mask].sum()
        assert line["channels"][name]["voxels"] == mask.sum()


def test_a_small_network_learns_both_channels(shared, tmp_path):
    """The network learns where cells are and which one is presynaptic: better than the best constant prediction."""
    arrays = {
        "img": {"layer": "img"},
        "target_cell": {
            "layer": "seg",
            "data_resolution": [4.6, 4.6, 45.0],
            "interpolation": "nearest",
            "transform": "nonzero",
        },
        "target_label0": {"layer": "label0"},
    }
    dataset = make_dataset(tmp_path, arrays=arrays, window=[64, 64, 16], resolution=[9.2, 9.2, 45.0])
    config = train_config(
        tmp_path,
        targets=["target_cell", "target_label0"],
        model={
            "feature_maps": [6, 12, 16],
            "convolutions": 1,
            "kernels": [[3, 3, 1], [3, 3, 3]],
            "strides": [[2, 2, 1], [4, 4, 4]],
        },
        optimizer={"lr": 0.02},
        loss={"mask_on_zeros": True},
        augmentation={
            "flip": {"x": True, "y": True, "z": True},
            "transpose_xy": True,
            "brightness": 0.1,
            "contrast": 0.1,
            "noise": 0.05,
        },
        steps=100,
        validation_interval=20,
        seed=1,
    )
    run("train", dataset, "--config", config, "--out", tmp_path / "run", threads=2)
    best = min((line for line in metrics(tmp_path / "run") if line["kind"] == "validation"), key=lambda v: v["loss"])
    cell, pre = best["channels"].values()
    assert cell["loss"] < 0.75 * cell["constant_loss"], best
    assert pre["loss"] < 0.95 * pre["constant_loss"], best


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"image": "imag"}, ["imag", "img"]),
        ({"targets": ["img", "label"]}, ["label"]),
        ({"targets": TARGETS[:1]}, ["model.out_channels", "1"]),
        ({"model": {**MODEL, "in_channels": 3}}, ["model.in_channels", "found 3", "1 channel"]),
        ({"model": {**MODEL, "strides": [[3, 2, 1]]}}, ["32 x 32 x 8", "multiple of 3 x 2 x 1"]),
        ({"model": {**MODEL, "norm": "layer"}}, ["model.norm", "layer", "instance"]),
        ({"optimizer": {"lr": -1}}, ["optimizer.lr", "-1"]),
        ({"optimizer": {"lr": 0.1, "momentum": 1}}, ["momentum"]),
        ({"device": "gpu"}, ["device", "gpu", "cuda:N"]),
        ({"device": "cuda:7"}, ["device", "cuda:7"]),
        ({"splits": {"train": "training"}}, ["training"]),
        ({"crop": {"window": [64, 32, 8]}}, ["crop", "64"]),
        ({"batch_size": 0}, ["batch_size", "at least 1"]),
        ({"loss": {"channel_weights": [1]}}, ["loss.channel_weights", "2 weight"]),
        ({"steps": None}, ["steps"]),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_an_invalid_training_config_is_an_error_with_the_key(dataset, tmp_path, changes, expected):
    config = train_config(tmp_path, **changes)
    message = run("train", dataset, "--config", config, "--out", tmp_path / "run", "--quiet", code=2).stderr
    assert message.count("error: ") == 1
    for text in expected:
        assert text in message, message
    assert not (tmp_path / "run/metrics.jsonl").exists()


def test_a_truncated_checkpoint_is_an_error_that_names_it(dataset, trained, tmp_path):
    config, folder = trained
    copy = shutil.copytree(folder, tmp_path / "run")
    whole = (copy / "last.safetensors").read_bytes()
    for cut in (0, 7, 100, len(whole) - 1):
        (copy / "last.safetensors").write_bytes(whole[:cut])
        message = run("train", dataset, "--config", config, "--out", copy, "--quiet", code=1).stderr
        assert "last.safetensors" in message and "pointshard train" in message, message


def test_the_page_on_training_lists_every_key_of_the_schema():
    schema = json.loads(run("schema", "--train").stdout)
    page = (REPOSITORY / "docs/train.md").read_text()
    rooms = {"model": "model.", "loss": "loss.", "optimizer": "optimizer.", "min_nonzero": "min_nonzero."}
    rooms |= {"schedule": "schedule.", "assignment": "assignment.", "augmentation": ""}
    for key, value in schema["properties"].items():
        assert f"\n| `{key}` |" in page or key in rooms, key
        if key in rooms:
            choices = [value, *value.get("allOf", []), *value.get("anyOf", [])]
            name = next(choice["$ref"] for choice in choices if "$ref" in choice).rsplit("/", 1)[1]
            for inner in schema["$defs"][name]["properties"]:
                assert f"\n| `{rooms[key]}{inner}` |" in page, f"{key}.{inner}"


def test_a_missing_gpu_is_blamed_on_the_flag_that_asks_for_it(dataset, trained, tmp_path):
    config = train_config(tmp_path, device="cuda:7")
    message = run("train", dataset, "--config", config, "--out", tmp_path / "run", code=2).stderr
    assert "train.json" in message and "`device`" in message and "cuda:7" in message
    config = train_config(tmp_path)
    for command in (
        ("train", dataset, "--config", config, "--out", tmp_path / "run"),
        ("infer", dataset, "--model", trained[1] / "best.safetensors", "--out", tmp_path / "p"),
    ):
        message = run(*command, "--device", "cuda:7", code=2).stderr
        assert "`--device`" in message and "cuda:7" in message and "train.json" not in message, message
