"""Several inputs of the trainer, and how often its output selects the sample's object."""

import json

import numpy as np
import pytest
import zarr
from training import MODEL, make_dataset, metrics, run, train_config
from volumes import write_precomputed

torch = pytest.importorskip("torch")

import torch_reference  # noqa: E402

CELLS = {"layer": "seg", "data_resolution": [4.6, 4.6, 45.0], "interpolation": "nearest"}
TARGETS = ["target_pre", "target_post"]
TWO_INPUTS = {**MODEL, "in_channels": 2}


def mask_of(point, role):
    return {**CELLS, "role": role, "transform": {"object_at": {"point": point, "radius_nm": 50}}}


@pytest.fixture(scope="module")
def dataset(shared, tmp_path_factory):
    """Image, cells, the mask of the presynaptic cell as an input, and both cells as targets."""
    arrays = {
        "img": {"layer": "img", "role": "image"},
        "img16": {"layer": "img", "transform": {"scale": {"multiply": 16.0}}, "dtype": "uint16"},
        "cells": CELLS,
        "given": mask_of("start", "image"),
        "target_pre": mask_of("start", "target"),
        "target_post": mask_of("end", "target"),
    }
    changes = {"points": {"layer": "lines"}, "resolution": [9.2, 9.2, 45.0], "window": [32, 32, 8], "outside": "pad"}
    return make_dataset(tmp_path_factory.mktemp("inputs"), arrays=arrays, **changes)


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """A config, the run folder and the predictions of a network of two inputs."""
    folder = tmp_path_factory.mktemp("trained")
    path = config(folder, image=["img", "given"])
    done = run("train", dataset, "--config", path, "--out", folder / "run")
    run("infer", dataset, "--model", folder / "run/best.safetensors", "--out", folder / "predicted")
    return folder, done.stdout


def config(folder, **changes):
    return train_config(
        folder,
        **{"model": TWO_INPUTS, "targets": TARGETS, "assignment": {"segmentation": "cells"}, **changes},
    )


def stored(dataset, split, name):
    return zarr.open_array(f"{dataset}/{split}.zarr/{name}", mode="r")[:]


def first_step(dataset, folder, **changes):
    """The tensors of the first step of a training with one batch per epoch, sorted by sample."""
    path = config(folder, steps=1, validation_interval=1, assignment=None, **changes)
    run("train", dataset, "--config", path, "--out", folder / "run", "--record", 1, "--force")
    return torch_reference.load(folder / "run/steps/1.safetensors")[0]


def sorted_rows(rows):
    """Rows in an order that does not depend on that of the samples."""
    return np.array(sorted(np.asarray(rows).reshape(len(rows), -1).tolist()))


@pytest.mark.parametrize(
    "inputs, scaled",
    [
        (["img", "given"], lambda a: [a["img"] / 255, a["given"] != 0]),
        (["given", "img"], lambda a: [a["given"] != 0, a["img"] / 255]),
        (
            [{"array": "img", "scale": {"range": [20, 120]}}, {"array": "cells", "scale": "nonzero"}],
            lambda a: [(a["img"] - 20.0) / 100, a["cells"] != 0],
        ),
        (
            [{"array": "img16", "scale": {"range": [0, 4080]}}, {"array": "given", "scale": "full_scale"}],
            lambda a: [a["img16"] / 4080, a["given"] / 255],
        ),
        (["img16", "img"], lambda a: [a["img16"] / 65535, a["img"] / 255]),
    ],
    ids=["image-and-mask", "mask-first", "range-and-ids", "range-of-uint16", "full-scale-of-uint16"],
)
def test_each_input_is_scaled_as_the_config_says(dataset, tmp_path, inputs, scaled):
    samples = len(stored(dataset, "train", "img"))
    step = first_step(dataset, tmp_path, image=inputs, batch_size=samples)
    arrays = {name: stored(dataset, "train", name) for name in ("img", "img16", "cells", "given")}
    expected = np.concatenate([np.asarray(channel, np.float32) for channel in scaled(arrays)], axis=1)
    found = step["image"].numpy()
    assert found.shape == expected.shape and len(np.unique(found[:, 1])) > 1
    np.testing.assert_allclose(sorted_rows(found), sorted_rows(expected), rtol=1e-6, atol=1e-7)


def test_augmentation_moves_a_mask_but_changes_none_of_its_values(dataset, tmp_path):
    """Brightness, noise and missing sections change the image only; mirroring changes both in the same way."""
    augmentation = {"flip": {"x": True, "y": True}, "brightness": 0.2, "noise": 0.1, "missing_section": 1.0}
    step = first_step(
        dataset, tmp_path, image=["img", "given"], augmentation=augmentation, targets=["target_pre"],
        model={**TWO_INPUTS, "out_channels": 1},
    )  # fmt: skip
    image, mask = step["image"].numpy().swapaxes(0, 1)
    assert set(np.unique(mask)) == {0, 1}
    # The input is the same mask as the target, so it has moved with it.
    np.testing.assert_array_equal(mask, step["targets"].numpy()[:, 0])
    assert (image.reshape(*image.shape[:2], -1) == 0).all(axis=2).sum(axis=1).min() >= 1
    assert np.abs(image * 255 - np.round(image * 255)).max() > 0.01


def test_voxels_without_data_are_those_where_the_image_is_zero_whatever_the_mask(dataset, tmp_path):
    loss = {"mask_on_zeros": True}
    step = first_step(dataset, tmp_path, image=["img", "given"], loss=loss, augmentation={"missing_section": 1.0})
    image = step["image"]
    assert ((image[:, 0] == 0) & (image[:, 1] != 0)).any(), "no voxel tells the two rules apart"
    reference, _ = torch_reference.two_channel_loss(
        step["logits"], image[:, :1], step["targets"], step.get("masks"), loss
    )
    assert float(step["loss"]) == pytest.approx(float(reference), rel=1e-5)


def test_the_network_and_its_module_have_as_many_input_channels(dataset, trained, tmp_path):
    folder, _ = trained
    module = torch.jit.load(str(folder / "run/model.pt"))
    image = stored(dataset, "val", "img")[:2] / 255
    batch = np.concatenate([image, stored(dataset, "val", "given")[:2] != 0], axis=1).astype(np.float32)
    with torch.no_grad():
        found = module(torch.from_numpy(batch)).sigmoid().numpy()
    predicted = zarr.open_array(f"{folder}/predicted/val.zarr/probability", mode="r")
    np.testing.assert_allclose(predicted[:2], found, atol=1e-5)
    assert predicted.attrs["inputs"] == ["img", "given"]
    # A module does not contain its inputs: without the training's config they are named.
    unnamed = run("infer", dataset, "--model", folder / "run/model.pt", "--out", tmp_path / "unnamed", code=2).stderr
    assert "several arrays have the role image (img, given)" in unnamed and "img, img16, cells, given, target_pre" in unnamed
    done = run(
        "infer", dataset, "--model", folder / "run/model.pt", "--image", "img,given", "--targets", ",".join(TARGETS),
        "--out", tmp_path / "named",
    )  # fmt: skip
    assert "target_pre" in done.stdout
    named = zarr.open_array(f"{tmp_path}/named/val.zarr/probability", mode="r")
    np.testing.assert_allclose(named[:], predicted[:], atol=1e-5)


def test_predictions_scale_each_input_as_the_training_did(dataset, tmp_path):
    path = config(tmp_path, image=[{"array": "img", "scale": {"range": [20, 120]}}, {"array": "given", "scale": "full_scale"}], steps=2)
    run("train", dataset, "--config", path, "--out", tmp_path / "run")
    run("infer", dataset, "--model", tmp_path / "run/best.safetensors", "--out", tmp_path / "predicted")
    batch = np.concatenate([(stored(dataset, "val", "img")[:2] - 20.0) / 100, stored(dataset, "val", "given")[:2] / 255], axis=1)
    with torch.no_grad():
        expected = torch.jit.load(str(tmp_path / "run/model.pt"))(torch.from_numpy(batch.astype(np.float32))).sigmoid()
    # Inputs that are named are scaled in the same way.
    run("infer", dataset, "--model", tmp_path / "run/best.safetensors", "--image", "img,given", "--out", tmp_path / "named")
    for folder in ("predicted", "named"):
        predicted = zarr.open_array(f"{tmp_path}/{folder}/val.zarr/probability", mode="r")
        np.testing.assert_allclose(predicted[:2], expected.numpy(), atol=1e-5, err_msg=folder)


def largest(values, cells):
    """The cell with the largest sum of values."""
    ids = np.unique(cells[cells != 0])
    return ids[np.argmax([values[cells == i].sum(dtype=np.float64) for i in ids])]


def test_assignment_scores_equal_those_of_numpy(dataset, trained):
    folder, printed = trained
    scores = json.loads((folder / "predicted/val.json").read_text())["channels"]
    predicted = zarr.open_array(f"{folder}/predicted/val.zarr/probability", mode="r")[:]
    cells = stored(dataset, "val", "cells")[:, 0]
    counts = []
    for channel, target in enumerate(TARGETS):
        mean_target = (stored(dataset, "train", target)[:, 0] != 0).mean(axis=0)
        objects = stored(dataset, "val", f"{target}_object_id")
        inside = [i for i, id in enumerate(objects) if (cells[i] == id).any()]
        rules = {
            "accuracy": lambda i: predicted[i, channel],
            "largest_object": lambda i: np.ones_like(predicted[i, channel]),
            "mean_target": lambda i: mean_target,
        }
        expected = {
            name: np.mean([largest(rule(i), cells[i]) == objects[i] for i in inside]) for name, rule in rules.items()
        }
        found = scores[target]["assignment"]
        assert {name: found[name] for name in rules} == pytest.approx(expected), target
        assert (found["samples"], found["samples_left_out"]) == (len(inside), len(objects) - len(inside))
        counts.append(tuple(expected.values()))
        assert f"{expected['accuracy']:.4f}" in printed
    assert len({value for row in counts for value in row}) > 2, "the rules are not told apart"


def test_the_mean_target_is_that_of_samples_from_all_boxes(tmp_path):
    """It is the mean of at most 512 samples. 1300 samples of one box have their object at the left of the window. 700 of
    another box, and all of the validation, have it at the right, where more of it is in the window."""
    x, y, z = np.meshgrid(np.arange(96), np.arange(96), np.arange(16), indexing="ij")
    nm = (1.0, 1.0, 1.0)
    for name, values in {"cells": (1 + x // 8).astype("uint64"), "img": (1 + (x + y + z) % 200).astype("uint8")}.items():
        write_precomputed(tmp_path / name, values, nm, (0, 0, 0))
    rows, boxes = ["id,x,y,z"], []
    # A window of 8 voxels begins 3 before its point: points are at the end of a cell, or at its beginning.
    for first_x, (first_y, end_y), count, split in [
        (15, (0, 28), 1300, "train"),
        (16, (28, 88), 700, "train"),
        (16, (88, 96), 8, "val"),
    ]:
        boxes.append({"min": [0, first_y, 0], "max": [96, end_y, 16], "tags": [split]})
        points = [(first_x + 8 * i, first_y + 4 + j, 2 + k) for j in range(20) for i in range(8) for k in range(12)]
        rows += [f"{len(rows) + i},{x + 0.5},{y + 0.5},{z + 0.5}" for i, (x, y, z) in enumerate(points[:count])]
    (tmp_path / "points.csv").write_text("\n".join(rows))
    layers = {name: f"precomputed://file://{tmp_path / name}" for name in ("cells", "img")}
    dataset = make_dataset(
        tmp_path,
        collection={"boxes": {"list": boxes, "layers": layers}},
        points={"table": {"file": "points.csv", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}},
        resolution=nm,
        window=[8, 4, 2],
        arrays={
            "img": {"layer": "img", "role": "image"},
            "cells": {"layer": "cells"},
            "target": {"layer": "cells", "role": "target", "transform": {"object_at": {"point": "anchor"}}},
        },
        shard_samples=256,
    )
    target = stored(dataset, "train", "target")[:, 0] != 0
    cells, objects = stored(dataset, "val", "cells")[:, 0], stored(dataset, "val", "target_object_id")
    assert (len(target), len(objects)) == (2000, 8)
    # Neither the first samples nor a single one are enough.
    for windows, is_correct in [(target, True), (target[:512], False), (target[:1], False)]:
        mean = windows.mean(axis=0)
        assert all((largest(mean, window) == object) == is_correct for window, object in zip(cells, objects))
    changes = {"image": "img", "targets": ["target"], "model": {**MODEL, "out_channels": 1}}
    path = config(tmp_path, steps=1, validation_interval=1, batch_size=1, **changes)
    run("train", dataset, "--config", path, "--out", tmp_path / "run")
    assignment = metrics(tmp_path / "run")[-1]["channels"]["target"]["assignment"]
    assert (assignment["samples"], assignment["mean_target"]) == (8, 1)


def test_metrics_events_and_report_have_the_assignment_scores(trained):
    import tensorboard_events

    folder, printed = trained
    assert "assignment" in printed and "largest object" in printed and "mean target" in printed
    validations = [line for line in metrics(folder / "run") if line["kind"] == "validation"]
    curves = tensorboard_events.scalars(folder / "run/events")
    for target in TARGETS:
        accuracies = {line["step"]: line["channels"][target]["assignment"]["accuracy"] for line in validations}
        assert dict(curves[f"assignment/val/{target}"]) == pytest.approx(accuracies)
    for report in ("run/report.html", "predicted/val.html"):
        assert "Assignment: the object with the largest summed output" in (folder / report).read_text()


def test_a_network_that_sees_the_cell_assigns_it(dataset, tmp_path):
    """The mask of the presynaptic cell is an input: its channel is learned, and the cell is assigned."""
    path = config(
        tmp_path,
        image=["img", "given"],
        steps=60,
        validation_interval=20,
        optimizer={"lr": 0.02},
        model={**TWO_INPUTS, "feature_maps": [6, 12]},
    )
    done = run("train", dataset, "--config", path, "--out", tmp_path / "run")
    last = [line for line in metrics(tmp_path / "run") if line["kind"] == "validation"][-1]
    pre = last["channels"]["target_pre"]
    assert pre["assignment"]["accuracy"] == 1 and pre["loss"] < 0.5 * pre["constant_loss"], last
    assert "target_pre: nothing learned" not in done.stderr


def test_a_target_that_is_not_learned_is_named(dataset, tmp_path):
    path = config(tmp_path, image=["img", "given"], optimizer={"lr": 1e-9})
    done = run("train", dataset, "--config", path, "--out", tmp_path / "run")
    for target in TARGETS:
        assert f"{target}: nothing learned after 6 steps: the loss " in done.stderr, done.stderr
    assert "the loss of the best constant prediction; train longer" in done.stderr
    report = (tmp_path / "run/report.html").read_text()
    assert "target_pre: nothing learned after 6 steps" in report


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"image": ["img", "given"], "model": MODEL}, "`model.in_channels`: found 1, but the image has 2 channel(s)"),
        ({"image": ["img", "img"]}, "`image`: found `img` twice"),
        ({"image": []}, "`image`: found an empty list"),
        ({"image": ["img", "cells"]}, "`cells` cannot be an input: found uint64"),
        ({"image": ["img", {"array": "given", "scale": {"range": [1, 0]}}]}, "`image[1].scale.range`: found [1, 0]"),
        (
            {"image": ["img", {"array": "img16", "scale": {"range": [16, 4080]}}], "loss": {"mask_on_zeros": True}},
            "`image[1].scale.range`: found [16, 4080], expected a range from 0 on, because `loss.mask_on_zeros` ignores voxels",
        ),
        (
            {"image": {"array": "img16", "scale": {"range": [16, 4080]}}, "min_nonzero": {"image": 0.5}},
            "`image.scale.range`: found [16, 4080], expected a range from 0 on, because `min_nonzero.image` ignores voxels",
        ),
        ({"image": ["img", "other"]}, "no array `other` (requested as an input)"),
        ({"image": ["img", "given"], "assignment": {"segmentation": "masks"}}, "no array `masks` (requested as the segm"),
        (
            {"image": ["img", "given"], "targets": ["img", "img16"]},
            "`assignment`: found no objects of the targets (img, img16)",
        ),
    ],
    ids=["channels", "twice", "empty", "ids", "range", "zeros", "zeros-of-one", "missing", "no-segmentation", "no-objects"],
)
def test_a_wrong_input_is_an_error_that_names_it(dataset, tmp_path, changes, words):
    path = config(tmp_path, **changes)
    message = run("train", dataset, "--config", path, "--out", tmp_path / "run", code=2).stderr
    assert words in message, message


def test_the_mean_target_is_that_of_the_same_samples_in_training_and_prediction(dataset, tmp_path):
    """There are more training samples than the mean is computed from, in another order and in other batches."""
    rng = np.random.default_rng(7)
    start, end = (np.concatenate([stored(dataset, s, f"{e}_nm") for s in ("train", "val")]) for e in ("start", "end"))
    copies = 1000 // len(start)
    moved = np.tile(np.hstack([start, end]), (copies, 1)) + np.tile(rng.uniform(-40, 40, (copies * len(start), 3)) * [1, 1, 0], 2)
    names = [f"{point}_{axis}" for point in ("pre", "post") for axis in "xyz"]
    np.savetxt(tmp_path / "lines.csv", moved, delimiter=",", header=",".join(names), comments="", fmt="%.2f")
    target = {**mask_of("start", "target"), "transform": {"object_at": {"point": "start", "radius_nm": 200}}}
    table = {"file": str(tmp_path / "lines.csv"), "unit": "nm", "start": names[:3], "end": names[3:]}
    large = make_dataset(
        tmp_path,
        arrays={"img": {"layer": "img"}, "cells": CELLS, "target_pre": target},
        points={"table": table}, resolution=[9.2, 9.2, 45.0], window=[16, 16, 4], outside="pad",
    )  # fmt: skip
    targets = stored(large, "train", "target_pre")[:, 0] != 0
    assert len(targets) > 600
    model = {**MODEL, "out_channels": 1}
    path = config(tmp_path, targets=["target_pre"], model=model, batch_size=3, steps=1, validation_interval=1, seed=11)
    run("train", large, "--config", path, "--out", tmp_path / "run")
    trained = metrics(tmp_path / "run")[-1]["channels"]["target_pre"]["assignment"]["mean_target"]
    infer = ["infer", large, "--model", tmp_path / "run/last.safetensors", "--out", tmp_path / "predicted"]
    for batch_size in (5, 64):
        run(*infer, "--batch-size", batch_size, "--force")
        found = json.loads((tmp_path / "predicted/val.json").read_text())["channels"]["target_pre"]["assignment"]
        assert found["mean_target"] == trained, batch_size
