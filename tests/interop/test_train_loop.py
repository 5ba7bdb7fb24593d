"""The loop of a training: learning rate, clipping, averaged weights, several batches per step, the end, and the start."""

import math

import pytest
from training import MODEL, losses, make_dataset, metrics, run, train_config

torch = pytest.importorskip("torch")

import torch_reference  # noqa: E402


@pytest.fixture(scope="module")
def dataset(shared, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("loop"))


def part(step, name):
    return {key.removeprefix(name + "."): value for key, value in step.items() if key.startswith(name + ".")}


def expected_lr(step, lr, warmup, end, least):
    if step < warmup:
        return lr * step / warmup
    return least + (lr - least) / 2 * (1 + math.cos(math.pi * min((step - warmup) / (end - warmup), 1)))


def test_steps_with_warm_up_cosine_and_clipping_equal_those_of_pytorch(dataset, tmp_path):
    schedule = {"warmup_steps": 3, "cosine_steps": 7, "min_lr": 0.001}
    optimizer = {"name": "adamw", "lr": 0.02, "weight_decay": 0.1}
    path = train_config(
        tmp_path, steps=9, validation_interval=9, schedule=schedule, optimizer=optimizer, clip_gradients=0.4
    )
    run("train", dataset, "--config", path, "--out", tmp_path / "run", "--record", 9)
    steps = [torch_reference.load(tmp_path / f"run/steps/{n}.safetensors")[0] for n in range(1, 10)]
    weights = {name: torch.nn.Parameter(part(steps[0], "before")[name].clone()) for name in part(steps[0], "grad")}
    reference = torch_reference.optimizer(list(weights.values()), optimizer)
    norms = []
    for number, step in enumerate(steps, start=1):
        for name, weight in weights.items():
            weight.grad = part(step, "grad")[name].clone()
        norms.append(float(torch.nn.utils.clip_grad_norm_(weights.values(), 0.4)))
        reference.param_groups[0]["lr"] = expected_lr(number, 0.02, 3, 7, 0.001)
        reference.step()
        for name, weight in weights.items():
            torch.testing.assert_close(part(step, "after")[name], weight.detach(), rtol=1e-4, atol=1e-7)
    assert min(norms) < 0.4 < max(norms), "no step was clipped, or all were"
    rates = [line["lr"] for line in metrics(tmp_path / "run") if line["kind"] == "train"]
    assert rates == pytest.approx([expected_lr(n, 0.02, 3, 7, 0.001) for n in range(1, 10)])


def test_averaged_weights_are_validated_and_saved(dataset, tmp_path):
    path = train_config(tmp_path, steps=6, validation_interval=6, ema_decay=0.4)
    run("train", dataset, "--config", path, "--out", tmp_path / "run", "--record", 6)
    average = None
    for number in range(1, 7):
        step = torch_reference.load(tmp_path / f"run/steps/{number}.safetensors")[0]
        average = average or part(step, "before")
        decay = min(0.4, (1 + number) / (10 + number))
        average = {name: decay * a + (1 - decay) * part(step, "after")[name] for name, a in average.items()}
    last, _ = torch_reference.load(tmp_path / "run/last.safetensors")
    best, _ = torch_reference.load(tmp_path / "run/best.safetensors")
    assert not any(name.startswith(("average.", "optimizer.")) for name in best)
    for name, expected in average.items():
        torch.testing.assert_close(part(last, "average")[name], expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(best[name], expected, rtol=1e-4, atol=1e-6)
        assert not torch.equal(last[name], best[name])


def test_several_batches_per_step_are_one_large_batch(dataset, tmp_path):
    """Without masks, the mean of the losses and of the gradients is that of all samples together."""
    common = {"targets": ["target_label1"], "model": {**MODEL, "out_channels": 1}, "steps": 3, "validation_interval": 3}
    # With the default `eps`, a step of Adam hardly depends on the size of the gradients.
    common["optimizer"] = {"lr": 0.1, "eps": 0.1}
    small = train_config(tmp_path, "small.json", batch_size=2, accumulate=3, **common)
    large = train_config(tmp_path, "large.json", batch_size=6, **common)
    for path in (small, large):
        run("train", dataset, "--config", path, "--out", tmp_path / path.stem)
    found, expected = ([line["loss"] for line in metrics(tmp_path / name)[:3]] for name in ("small", "large"))
    assert found == pytest.approx(expected, rel=1e-4) and len(set(found)) == 3
    found, expected = (
        [line["loss"] for line in metrics(tmp_path / name) if line["kind"] == "validation"] for name in ("small", "large")
    )
    assert found == pytest.approx(expected, rel=1e-2)


def test_a_training_with_all_options_in_two_runs_has_the_losses_of_one(dataset, tmp_path):
    path = train_config(
        tmp_path,
        batch_size=2,
        accumulate=2,
        ema_decay=0.9,
        clip_gradients=0.1,
        schedule={"warmup_steps": 2, "cosine_steps": 8},
        optimizer={"name": "radam", "lr": 0.01, "weight_decay": 0.01, "decoupled_weight_decay": True},
        validation_interval=4,
        steps=8,
    )
    run("train", dataset, "--config", path, "--out", tmp_path / "whole")
    run("train", dataset, "--config", path, "--out", tmp_path / "parts", "--steps", 4)
    run("train", dataset, "--config", path, "--out", tmp_path / "parts")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    for name in ("last.safetensors", "best.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_training_ends_after_validations_without_a_lower_loss(dataset, tmp_path):
    # Weights that do not change have the same loss in all validations.
    path = train_config(tmp_path, optimizer={"lr": 1e-30}, steps=40, validation_interval=2, patience=3)
    done = run("train", dataset, "--config", path, "--out", tmp_path / "run")
    assert "stopped  early: no lower loss within `patience`" in done.stdout
    validations = [line["step"] for line in metrics(tmp_path / "run") if line["kind"] == "validation"]
    assert validations == [2, 4, 6, 8]
    again = run("train", dataset, "--config", path, "--out", tmp_path / "run")
    assert "steps    all 8 already present" in again.stdout
    # Without patience the same training continues.
    longer = train_config(tmp_path, optimizer={"lr": 1e-30}, steps=10, validation_interval=2)
    run("train", dataset, "--config", longer, "--out", tmp_path / "run")
    assert metrics(tmp_path / "run")[-1]["step"] == 10


def test_a_training_starts_from_given_weights(dataset, tmp_path):
    path = train_config(tmp_path, steps=2, validation_interval=2)
    run("train", dataset, "--config", path, "--out", tmp_path / "first")
    given = tmp_path / "first/best.safetensors"
    tuned = train_config(tmp_path, "tuned.json", steps=2, validation_interval=2, loss={"balance": True}, seed=9)
    run("train", dataset, "--config", tuned, "--out", tmp_path / "tuned", "--initial-weights", given, "--record", 1)
    step = torch_reference.load(tmp_path / "tuned/steps/1.safetensors")[0]
    weights = torch_reference.load(given)[0]
    for name, before in part(step, "before").items():
        assert torch.equal(before, weights[name]), name
    other = train_config(tmp_path, "other.json", model={**MODEL, "feature_maps": [4, 6]})
    done = run("train", dataset, "--config", other, "--out", tmp_path / "other", "--initial-weights", given, code=1)
    assert "best.safetensors" in done.stderr and "expected the same `model`" in done.stderr


def test_validations_without_a_lower_loss_are_counted_across_runs(dataset, tmp_path):
    """The first run ends with a validation between two others, which has the lowest loss; then the weights do not change."""
    changes = {"schedule": {"cosine_steps": 4}, "optimizer": {"lr": 0.02}, "validation_interval": 2, "patience": 2}
    run("train", dataset, "--config", train_config(tmp_path, steps=3, **changes), "--out", tmp_path / "run")
    validations = {line["step"]: line["loss"] for line in metrics(tmp_path / "run") if line["kind"] == "validation"}
    assert list(validations) == [2, 3] and validations[3] < validations[2]
    run("train", dataset, "--config", train_config(tmp_path, steps=20, **changes), "--out", tmp_path / "run")
    assert [line["step"] for line in metrics(tmp_path / "run") if line["kind"] == "validation"] == [2, 3, 4, 6]


def test_averaged_weights_start_from_given_ones_and_a_resumed_run_does_not(dataset, tmp_path):
    run("train", dataset, "--config", train_config(tmp_path, steps=2), "--out", tmp_path / "first")
    given = tmp_path / "first/best.safetensors"
    path = train_config(tmp_path, steps=1, validation_interval=1, ema_decay=0.4, seed=9)
    arguments = ("train", dataset, "--config", path, "--initial-weights", given)
    run(*arguments, "--out", tmp_path / "tuned", "--record", 1)
    step = torch_reference.load(tmp_path / "tuned/steps/1.safetensors")[0]
    average = part(torch_reference.load(tmp_path / "tuned/last.safetensors")[0], "average")
    decay = 2 / 11
    for name, weights in torch_reference.load(given)[0].items():
        assert torch.equal(part(step, "before")[name], weights), name
        torch.testing.assert_close(average[name], decay * weights + (1 - decay) * part(step, "after")[name])
    train_config(tmp_path, steps=4, validation_interval=1, ema_decay=0.4, seed=9)
    run(*arguments, "--out", tmp_path / "tuned")
    run(*arguments, "--out", tmp_path / "at_once")
    assert losses(tmp_path / "tuned") == losses(tmp_path / "at_once")


def test_force_reads_the_weights_before_it_deletes_them(dataset, tmp_path):
    run("train", dataset, "--config", train_config(tmp_path, steps=2), "--out", tmp_path / "run")
    given = torch_reference.load(tmp_path / "run/best.safetensors")[0]
    tuned = train_config(tmp_path, "tuned.json", steps=1, validation_interval=1, seed=9)
    own = ("--out", tmp_path / "run", "--force", "--initial-weights", tmp_path / "run/best.safetensors")
    files = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    # Wrong options and weights of another network leave the earlier training as it is.
    other = train_config(tmp_path, "other.json", model={**MODEL, "feature_maps": [4, 6]})
    assert "expected the same `model`" in run("train", dataset, "--config", other, *own, code=1).stderr
    recorded = train_config(tmp_path, "recorded.json", accumulate=2)
    run("train", dataset, "--config", recorded, "--out", tmp_path / "run", "--force", "--record", 1, code=2)
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    run("train", dataset, "--config", tuned, *own, "--record", 1)
    step = torch_reference.load(tmp_path / "run/steps/1.safetensors")[0]
    assert all(torch.equal(part(step, "before")[name], weights) for name, weights in given.items())


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"schedule": {"warmup_steps": 5, "cosine_steps": 5}}, "`schedule.cosine_steps`: found 5, expected more than"),
        ({"schedule": {"min_lr": 1}}, "`schedule.min_lr`: found 1, expected a number from 0 to `lr`"),
        ({"clip_gradients": 0}, "`clip_gradients`: found 0, expected a number above 0"),
        ({"ema_decay": 1}, "`ema_decay`: found 1, expected a number from 0 to below 1"),
        ({"accumulate": 0}, "`accumulate`: found 0, expected at least 1"),
        ({"patience": 0}, "`patience`: found 0, expected at least 1"),
        ({"loss": {"balance": "equal"}}, '"equal", expected true, false, "default", "frequency"'),
        ({"loss": {"balance": {"ones": 0, "zeros": 0}}}, "`loss.balance`: found 0 for ones and 0 for zeros"),
        (
            {"optimizer": {"lr": 0.1, "decoupled_weight_decay": True}},
            "`optimizer.decoupled_weight_decay`: found true, expected it only with `radam`",
        ),
    ],
)
def test_a_wrong_option_is_an_error_with_the_key(dataset, tmp_path, changes, words):
    path = train_config(tmp_path, **changes)
    message = run("train", dataset, "--config", path, "--out", tmp_path / "run", code=2).stderr
    assert words in message, message
    recorded = train_config(tmp_path, accumulate=2)
    message = run("train", dataset, "--config", recorded, "--out", tmp_path / "r", "--record", 1, code=2).stderr
    assert "`accumulate`: found 2, expected 1 to record steps" in message
