"""Logits, loss, gradients and steps of the trainer equal those of PyTorch."""

import json

import pytest
from training import MODEL, TARGETS, make_dataset, run, train_config

torch = pytest.importorskip("torch")

import torch_reference  # noqa: E402
import two_channel  # noqa: E402

# Together these use every rule of the loss, every norm, skip, activation and optimizer.
CASES = {
    "balanced mean": {
        "loss": {"balance": True, "crop_pad": [3, 2, 1], "mask_on_zeros": True},
        "optimizer": {"name": "adam", "lr": 0.01},
    },
    "sum with weights": {
        "loss": {"reduction": "sum", "channel_weights": [3, 1], "balance": True, "balance_clip": 0.3},
        "model": {**MODEL, "skip": "concat", "norm": "group", "activation": "leaky_relu"},
        "optimizer": {"name": "adamw", "lr": 0.001, "betas": [0.8, 0.9]},
    },
    "clipped mean": {
        "loss": {"crop_pad": [13, 13, 2], "mean_reduction_clip": 0.4},
        "model": {**MODEL, "norm": "batch", "activation": "elu", "convolutions": 2},
        "optimizer": {"name": "radam", "lr": 0.001, "weight_decay": 0.1},
    },
    "zetta default": {
        "loss": {"balance": "default", "crop_pad": [1, 1, 1], "mask_on_zeros": True},
        "optimizer": {"name": "radam", "lr": 0.003, "weight_decay": 0.1, "decoupled_weight_decay": True},
    },
    "zetta frequency": {
        "loss": {"balance": "frequency", "balance_clip": 0.05},
        "optimizer": {"name": "adam", "lr": 0.003},
    },
    "fixed weights": {
        "loss": {"balance": {"ones": 4.0, "zeros": 0.0}, "mean_reduction_clip": 0.01},
        "optimizer": {"name": "adam", "lr": 0.003},
    },
    "three levels without norm": {
        "model": {"feature_maps": [3, 4, 5], "norm": "none", "skip": "concat", "strides": [[2, 2, 1], [1, 2, 2]]},
        "optimizer": {"name": "adam", "lr": 0.001, "weight_decay": 0.01, "eps": 1e-6},
        "augmentation": {"flip": {"x": True}, "brightness": 0.2, "noise": 0.1, "missing_section": 0.5},
        "crop": {"window": [16, 16, 4], "jitter": [4, 4, 2]},
    },
    "residual": {
        "model": {**MODEL, "residual": True, "skip": "concat", "convolutions": 2},
        "optimizer": {"name": "adam", "lr": 0.01},
    },
    "residual sums without projections": {
        "model": {**MODEL, "residual": True, "feature_maps": [1, 6], "norm": "none", "activation": "leaky_relu"},
        "optimizer": {"name": "adam", "lr": 0.001},
    },
}
STEPS = 8


@pytest.fixture(scope="module")
def dataset(shared, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("parity"))


@pytest.fixture(scope="module", params=CASES, ids=lambda name: name.replace(" ", "-"))
def recorded(request, dataset, tmp_path_factory):
    """A config, and the recorded inputs and outputs of its first steps."""
    folder = tmp_path_factory.mktemp("run")
    path = train_config(folder, steps=STEPS, validation_interval=STEPS, **CASES[request.param])
    run("train", dataset, "--config", path, "--out", folder / "out", "--record", STEPS, "--threads", 1)
    torch.set_num_threads(1)
    steps = [torch_reference.load(folder / f"out/steps/{n}.safetensors")[0] for n in range(1, STEPS + 1)]
    return json.loads(path.read_text()), steps


def part(step, name):
    return {key.removeprefix(name + "."): value for key, value in step.items() if key.startswith(name + ".")}


def assert_equal(found, expected, what):
    """Equality to 1e-5, relative to the largest value."""
    found, expected = torch.as_tensor(found), torch.as_tensor(expected)
    assert found.shape == expected.shape, what
    error = (found - expected).abs().max() / expected.abs().max().clamp_min(1e-12)
    assert error < 1e-5, f"{what}: off by {error:.1e}"


def test_logits_loss_and_gradients_equal_those_of_pytorch(recorded):
    config, steps = recorded
    for step in steps:
        model = torch_reference.unet(config["model"]).train()
        model.load_state_dict(part(step, "before"), strict=False)
        logits = model(step["image"])
        assert_equal(step["logits"], logits, "logits")
        masks = step.get("masks")
        loss, channels = torch_reference.two_channel_loss(logits, step["image"], step["targets"], masks, config.get("loss", {}))
        assert_equal(step["loss"], loss, "loss")
        for name, channel in zip(TARGETS, channels):
            assert_equal(step[f"loss.{name}"], channel, name)
        loss.backward()
        grads = part(step, "grad")
        largest = max(g.abs().max() for g in grads.values())
        for name, weight in model.named_parameters():
            # The gradient of a bias before a norm is only rounding error: compare on the scale of all gradients.
            error = (grads[name] - weight.grad).abs().max() / largest
            assert error < 1e-5, f"gradient of {name}: off by {error:.1e}"
        for name, buffer in model.named_buffers():
            if not name.endswith("num_batches_tracked"):
                assert_equal(step[f"after.{name}"], buffer, name)


def test_every_step_of_the_optimizer_equals_that_of_pytorch(recorded):
    config, steps = recorded
    weights = {name: torch.nn.Parameter(part(steps[0], "before")[name].clone()) for name in part(steps[0], "grad")}
    optimizer = torch_reference.optimizer(list(weights.values()), config["optimizer"])
    for step in steps:
        for name, weight in weights.items():
            weight.grad = step[f"grad.{name}"]
        optimizer.step()
        for name, weight in weights.items():
            moved = step[f"after.{name}"] - step[f"before.{name}"]
            assert moved.abs().max() > 0, f"{name} does not move"
            assert_equal(step[f"after.{name}"], weight.detach(), name)


def test_the_loss_in_the_documentation_is_the_same(recorded):
    config, steps = recorded
    loss = config.get("loss", {})
    options = {key: loss[key] for key in ("balance_clip", "reduction", "mean_reduction_clip") if key in loss}
    options |= {"balance": loss.get("balance", False), "weights": loss.get("channel_weights")}
    where = {"loss_crop_pad": loss.get("crop_pad", (0, 0, 0)), "mask_loss_on_zeros": loss.get("mask_on_zeros", False)}
    for step in steps:
        batch = {f"{name}_mask": step["masks"][:, c : c + 1] for c, name in enumerate(TARGETS)}
        masks = two_channel.loss_masks(batch, TARGETS, step["image"], **where)
        found = two_channel.two_channel_loss(step["logits"], step["targets"], masks, **options)
        assert_equal(found, step["loss"], "loss")


def test_each_recorded_step_starts_from_the_previous_weights(recorded):
    _, steps = recorded
    for step, following in zip(steps, steps[1:]):
        after = part(step, "after")
        assert all(torch.equal(after[name], before) for name, before in part(following, "before").items())


def test_the_recorded_steps_cover_masks_zeros_and_both_classes(recorded):
    """The recorded steps exercise every rule."""
    _, steps = recorded
    masks = torch.cat([step["masks"].flatten() for step in steps])
    assert 0 < (masks == 0).float().mean() < 1
    assert any((step["image"] == 0).any() for step in steps)
    for c in range(2):
        assert 0 < torch.cat([step["targets"][:, c].flatten() for step in steps]).mean() < 1
