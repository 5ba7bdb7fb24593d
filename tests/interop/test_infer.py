"""`pointshard infer`: predictions and scores with pointshard's weights and any TorchScript module; errors."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import xarray
import zarr
from training import MODEL, TARGETS, make_dataset, run, train_config

torch = pytest.importorskip("torch")

import torch_reference  # noqa: E402


@pytest.fixture(scope="module")
def dataset(shared, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("infer"))


@pytest.fixture(scope="module", params=["instance", "batch"])
def trained(request, dataset, tmp_path_factory):
    """The folder of a finished run. Tests must not change it."""
    folder = tmp_path_factory.mktemp("trained")
    model = {**MODEL, "norm": request.param, "skip": "concat"}
    config = train_config(folder, model=model, steps=3)
    run("train", dataset, "--config", config, "--out", folder / "run")
    return folder / "run"


def images(dataset, split="val"):
    img = zarr.open_group(dataset / f"{split}.zarr", mode="r")["img"][:]
    return torch.from_numpy(img).float() / 255


def predicted(folder, split="val"):
    return zarr.open_group(folder / f"{split}.zarr", mode="r")["probability"][:]


def test_predictions_equal_those_of_pytorch_with_the_same_weights(dataset, trained, tmp_path):
    run("infer", dataset, "--model", trained / "best.safetensors", "--out", tmp_path / "p")
    model = torch_reference.weights_of(trained / "best.safetensors")
    with torch.no_grad():
        expected = torch.sigmoid(model(images(dataset))).numpy()
    found = predicted(tmp_path / "p")
    assert found.dtype == np.float32 and found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5


def test_the_module_loads_in_python_and_accepts_other_windows(dataset, trained):
    module = torch.jit.load(str(trained / "model.pt"), map_location="cpu")
    model = torch_reference.weights_of(trained / "best.safetensors")
    whole = images(dataset)
    with torch.no_grad():
        for image in (whole, whole[:1], whole[:2, :, :6, :16, :20]):
            expected = model(image)
            error = (module(image) - expected).abs().max() / expected.abs().max()
            assert error < 1e-5


def test_module_and_weights_predict_the_same(dataset, trained, tmp_path):
    for name in ("best.safetensors", "model.pt"):
        run("infer", dataset, "--model", trained / name, "--out", tmp_path / name, "--split", "train")
    found, expected = predicted(tmp_path / "model.pt", "train"), predicted(tmp_path / "best.safetensors", "train")
    assert np.abs(found - expected).max() < 1e-6


class Foreign(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv3d(1, 2, 3, padding=1)

    def forward(self, image):
        return self.conv(image) * 3


def test_a_torchscript_module_from_python_predicts_the_same_bits(dataset, tmp_path):
    torch.manual_seed(1)
    torch.set_num_threads(1)
    module = torch.jit.script(Foreign().eval())
    module.save(str(tmp_path / "foreign.pt"))
    run("infer", dataset, "--model", tmp_path / "foreign.pt", "--out", tmp_path / "p", "--batch-size", 9)
    with torch.no_grad():
        expected = torch.sigmoid(module(images(dataset))).numpy()
    assert np.array_equal(predicted(tmp_path / "p"), expected)
    scores = json.loads((tmp_path / "p/val.json").read_text())
    assert list(scores["channels"]) == TARGETS


def average_precision(probabilities, targets):
    order = np.argsort(-probabilities, kind="stable")
    p, t = probabilities[order], targets[order]
    last = np.flatnonzero(np.append(np.diff(p) != 0, True))
    hits = np.cumsum(t)[last]
    precision, recall = hits / (last + 1), hits / t.sum()
    return float((np.diff(recall, prepend=0) * precision).sum())


def test_scores_equal_those_of_numpy(dataset, trained, tmp_path):
    run("infer", dataset, "--model", trained / "best.safetensors", "--out", tmp_path / "p")
    scores = json.loads((tmp_path / "p/val.json").read_text())
    group, probabilities = zarr.open_group(dataset / "val.zarr", mode="r"), predicted(tmp_path / "p")
    for c, name in enumerate(TARGETS):
        target = group[name][:, 0] != 0
        mask = group[f"{name}_mask"][:, 0] != 0 if f"{name}_mask" in group else np.ones_like(target)
        p, t = probabilities[:, c][mask], target[mask]
        found = scores["channels"][name]
        assert (found["voxels"], found["positives"]) == (t.size, t.sum())
        yes = p >= 0.5
        if yes.any():
            assert found["dice"] == pytest.approx(2 * (yes & t).sum() / (yes.sum() + t.sum()), abs=1e-6)
            assert found["iou"] == pytest.approx((yes & t).sum() / (yes | t).sum(), abs=1e-6)
        assert found["average_precision"] == pytest.approx(average_precision(p, t), abs=1e-3)
        assert len(found["curve"]) > 10
        for point in found["curve"]:
            yes = p >= np.float32(point["threshold"])
            hits = (yes & t).sum()
            assert point["recall"] == pytest.approx(hits / t.sum(), abs=1e-4)
            assert point["dice"] == pytest.approx(2 * hits / (yes.sum() + t.sum()), abs=1e-4)
            assert point["iou"] == pytest.approx(hits / (yes | t).sum(), abs=1e-4)
            if yes.any():
                assert point["precision"] == pytest.approx(hits / yes.sum(), abs=1e-3)
            else:
                assert point["precision"] is None


def targets_and_masks(dataset):
    """The targets of the validation split and their masks, [sample, channel, z, y, x]."""
    group = zarr.open_group(dataset / "val.zarr", mode="r")
    targets = np.concatenate([group[name][:] != 0 for name in TARGETS], axis=1)
    masks = [group[f"{name}_mask"][:] if f"{name}_mask" in group else np.ones_like(group[name]) for name in TARGETS]
    return targets, np.concatenate(masks, axis=1)


def test_losses_are_means_over_samples_if_the_last_batch_is_smaller(dataset, tmp_path):
    loss = {"crop_pad": [2, 2, 1], "balance": True}
    config = train_config(tmp_path, loss=loss, steps=3)
    run("train", dataset, "--config", config, "--out", tmp_path / "run")
    best = tmp_path / "run/best.safetensors"
    run("infer", dataset, "--model", best, "--out", tmp_path / "p", "--batch-size", 4)
    found = json.loads((tmp_path / "p/val.json").read_text())
    image = images(dataset)
    targets, masks = (torch.from_numpy(values).float() for values in targets_and_masks(dataset))
    batches = [slice(0, 4), slice(4, 8), slice(8, 9)]
    assert len(image) == 9

    def mean_losses(logits):
        """The loss, and that of each channel."""
        sums = np.zeros(3)
        for b in batches:
            total, channels = torch_reference.two_channel_loss(logits[b], image[b], targets[b], masks[b], loss)
            sums += len(image[b]) * np.array([float(total), *map(float, channels)])
        return sums / len(image)

    with torch.no_grad():
        total, *channels = mean_losses(torch_reference.weights_of(best)(image))
        # Class weights make 0 a good constant: the best one is near it.
        constants = np.min([mean_losses(torch.full(targets.shape, k)) for k in np.linspace(-2, 2, 81)], axis=0)[1:]
    assert found["loss"] == pytest.approx(total, rel=1e-5)
    scores = [found["channels"][name] for name in TARGETS]
    assert [score["loss"] for score in scores] == pytest.approx(channels, rel=1e-5)
    assert [score["constant_loss"] for score in scores] == pytest.approx(constants, rel=1e-3)


def test_the_report_shows_the_samples_with_the_largest_errors_first(dataset, tmp_path):
    """Their errors are the mean cross-entropy of the voxels that count, and no sample is shown twice."""
    config = train_config(tmp_path, loss={"crop_pad": [2, 2, 1]}, steps=3)
    run("train", dataset, "--config", config, "--out", tmp_path / "run")
    run("infer", dataset, "--model", tmp_path / "run/best.safetensors", "--out", tmp_path / "p")
    targets, masks = targets_and_masks(dataset)
    assert set(np.unique(masks)) == {0, 1}
    inside = np.zeros(masks.shape)
    inside[:, :, 1:-1, 2:-2, 2:-2] = 1
    p = predicted(tmp_path / "p").astype(np.float64)
    weights, entropy = masks * inside, -np.log(np.where(targets, p, 1 - p))
    errors = (weights * entropy).sum(axis=(1, 2, 3, 4)) / weights.sum(axis=(1, 2, 3, 4))
    report = (tmp_path / "p/val.html").read_text()
    shown = [(int(sample), float(error)) for sample, error in re.findall(r"sample (\d+), error (\d+\.\d+)", report)]
    samples = [sample for sample, _ in shown]
    assert len(set(samples)) == len(samples) >= 8
    for sample, error in shown:
        assert error == pytest.approx(errors[sample], abs=6e-4), sample
    assert samples[:8] == list(np.argsort(-errors)[:8])
    # The longest bar of 1, 2 or 5 times a power of ten that is at most two fifths of 32 voxels of 4.6 nm.
    assert report.count("scale bar 50 nm") == len(samples)


def test_predictions_have_the_rows_of_the_samples(dataset, trained, tmp_path):
    run("infer", dataset, "--model", trained / "best.safetensors", "--out", tmp_path / "p")
    run("infer", dataset, "--model", trained / "best.safetensors", "--out", tmp_path / "bytes", "--dtype", "uint8")
    samples = xarray.open_zarr(dataset / "val.zarr")
    exact = xarray.open_zarr(tmp_path / "p/val.zarr").probability
    assert exact.dims == ("sample", "channel", "z", "y", "x")
    assert exact.sizes["sample"] == samples.sizes["sample"]
    assert exact.attrs["channels"] == TARGETS
    for name in ("annotation_id", "center_nm"):
        column = xarray.open_zarr(tmp_path / "p/val.zarr")[name]
        np.testing.assert_array_equal(column, samples[name])
        assert column.dims == samples[name].dims and column.dtype == samples[name].dtype
    assert exact.attrs["dataset_digest"] == json.loads((dataset / "manifest.json").read_text())["digest"]
    small = xarray.open_zarr(tmp_path / "bytes/val.zarr").probability
    assert zarr.open_group(tmp_path / "bytes/val.zarr", mode="r")["probability"].dtype == np.uint8
    assert float(abs(small - exact).max()) <= 0.5 / 255 + 1e-6


def test_predictions_of_several_shards_are_in_the_order_of_the_samples(dataset, tmp_path):
    class Many(torch.nn.Module):
        def __init__(self, channels: int):
            super().__init__()
            self.channels = channels

        def forward(self, image):
            channel = torch.arange(self.channels).reshape(1, -1, 1, 1, 1)
            return image * channel

    image = images(dataset, "train")
    sample_bytes = image[0].numel() * 4
    channels = (64 << 20) // sample_bytes // 5 // 2  # Shards of ten samples, for any batch size.
    torch.jit.script(Many(channels)).save(str(tmp_path / "many.pt"))
    run("infer", dataset, "--model", tmp_path / "many.pt", "--out", tmp_path / "p", "--split", "train", "--batch-size", 4)
    found = zarr.open_group(tmp_path / "p/train.zarr", mode="r")["probability"]
    assert found.shape == (len(image), channels, *image.shape[2:])
    shard = found.shards[0]
    assert 1 < len(image) / shard and len(image) % shard != 0 and shard % 4 != 0
    assert f"the first 8 of {channels} channels" in (tmp_path / "p/train.html").read_text()
    for sample in range(len(image)):
        expected = torch.sigmoid(image[sample] * torch.arange(channels).reshape(-1, 1, 1, 1)).numpy()
        assert np.abs(found[sample] - expected).max() < 1e-6


def test_scores_equal_those_of_the_validation(dataset, tmp_path):
    """Of our weights as they are, of a module with the training's config; in the window that was trained with."""
    loss = {"crop_pad": [2, 2, 1], "balance": True}
    changes = {"crop": {"window": [16, 24, 8], "jitter": [8, 4, 0]}, "loss": loss, "batch_size": 3}
    config = train_config(tmp_path, steps=3, min_nonzero={"image": 0.9}, **changes)
    run("train", dataset, "--config", config, "--out", tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    expected = {k: v for k, v in lines[-1].items() if k not in ("kind", "step")}
    window = ["--window", 16, 24, 8]
    run("infer", dataset, "--model", tmp_path / "run/best.safetensors", "--out", tmp_path / "ours", *window)
    assert json.loads((tmp_path / "ours/val.json").read_text()) == expected
    module = ["--model", tmp_path / "run/model.pt"]
    run("infer", dataset, *module, "--config", config, "--out", tmp_path / "module", *window)
    found = json.loads((tmp_path / "module/val.json").read_text())
    assert found["samples_left_out"] == expected["samples_left_out"] > 0
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    group = zarr.open_group(tmp_path / "ours/val.zarr", mode="r")
    assert group["probability"].attrs["window_voxels"] == [16, 24, 8]
    model = torch_reference.weights_of(tmp_path / "run/best.safetensors")
    with torch.no_grad():
        middle = torch.sigmoid(model(images(dataset)[:, :, :, 4:28, 8:24])).numpy()
    assert np.abs(group["probability"][:] - middle).max() < 1e-5
    # Without, all of the samples.
    run("infer", dataset, *module, "--out", tmp_path / "whole")
    assert predicted(tmp_path / "whole").shape == (9, 2, 8, 32, 32)
    other = tmp_path / "run/best.safetensors"
    error_message = run("infer", dataset, "--model", other, "--out", tmp_path / "p", "--window", 15, 16, 8, code=1).stderr
    assert "15 x 16 x 8 voxels, expected a multiple of 2 x 2 x 1" in error_message and "--window" in error_message
    twice = run("infer", dataset, "--model", other, "--out", tmp_path / "p", "--targets", "img,img", code=2).stderr
    assert "found `img` twice" in twice


def test_predictions_are_replaced_only_with_force(dataset, trained, tmp_path):
    command = ["infer", dataset, "--model", trained / "best.safetensors", "--out", tmp_path / "p"]
    run(*command)
    message = run(*command, "--quiet", code=2).stderr
    assert "--force" in message and "val.zarr" in message
    run(*command, "--force")
    assert {p.name for p in (tmp_path / "p").iterdir()} == {"val.zarr", "val.json", "val.html"}
    notes = tmp_path / "p/val.zarr/notes.txt"
    notes.write_text("mine")
    message = run(*command, "--force", "--quiet", code=2).stderr
    assert "did not write" in message and str(notes) in message, message
    assert notes.read_text() == "mine"


def test_a_network_with_other_channels_predicts_without_scores(dataset, tmp_path):
    class Three(torch.nn.Module):
        def forward(self, image):
            return torch.cat([image, image, image], 1)

    torch.jit.script(Three()).save(str(tmp_path / "three.pt"))
    done = run("infer", dataset, "--model", tmp_path / "three.pt", "--out", tmp_path / "p")
    assert "no targets" in done.stdout
    assert predicted(tmp_path / "p").shape[1] == 3
    given = ["--targets", ",".join(TARGETS), "--out", tmp_path / "q"]
    message = run("infer", dataset, "--model", tmp_path / "three.pt", *given, "--quiet", code=2).stderr
    assert "2 target" in message and "3 channel" in message


def test_a_file_that_is_not_a_network_is_an_error_that_names_it(dataset, trained, tmp_path):
    (tmp_path / "noise.pt").write_bytes(os.urandom(1000))
    (tmp_path / "noise.safetensors").write_bytes(os.urandom(1000))
    shutil.copy(trained / "best.safetensors", tmp_path / "wrong.pt")
    module = torch.jit.script(torch.nn.Conv3d(3, 2, 3))
    module.save(str(tmp_path / "three_inputs.pt"))
    torch.jit.script(torch.nn.Conv3d(1, 2, 3)).save(str(tmp_path / "smaller.pt"))
    for name, expected in {
        "missing.pt": "cannot read",
        "noise.pt": "TorchScript",
        "noise.safetensors": "pointshard train",
        "wrong.pt": "TorchScript",
        "three_inputs.pt": "does not accept a window of 1 x 8 x 32 x 32",
        "smaller.pt": "with the size of the window",
    }.items():
        model = tmp_path / name
        message = run("infer", dataset, "--model", model, "--out", tmp_path / "p", "--quiet", code=1).stderr
        assert name in message and expected in message, message
        assert message.count("error: ") == 1 and "frame #" not in message
    assert not (tmp_path / "p").exists()


def test_a_missing_split_is_an_error_that_names_it(dataset, trained, tmp_path):
    command = ["infer", dataset, "--model", trained / "best.safetensors", "--out", tmp_path / "p", "--split", "test"]
    assert "test" in run(*command, "--quiet", code=2).stderr
