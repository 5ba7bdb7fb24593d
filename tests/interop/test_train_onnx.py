"""`model.onnx` of `pointshard train`: valid for ONNX's checker, and equal to the TorchScript module in onnxruntime."""

import json

import pytest
from training import MODEL, TARGETS, make_dataset, run, train_config

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# Together these have every norm, skip and activation, with and without shortcuts, with and without their convolutions.
CASES = {
    "instance": {"residual": True},
    "group": {"norm": "group", "skip": "concat", "activation": "leaky_relu", "residual": True, "convolutions": 2},
    "batch": {"norm": "batch", "activation": "elu", "convolutions": 2},
    "residual batch": {"norm": "batch", "skip": "concat", "residual": True},
    "three levels without norm": {
        "norm": "none", "activation": "leaky_relu", "feature_maps": [3, 4, 5], "strides": [[2, 2, 1], [1, 2, 2]],
        "kernels": [[3, 5, 1], [1, 3, 3]],
    },
    "plain group": {"norm": "group", "activation": "elu", "feature_maps": [6, 9]},
}  # fmt: skip


@pytest.fixture(scope="module")
def dataset(shared, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="module", params=CASES, ids=lambda name: name.replace(" ", "-"))
def exported(request, dataset, tmp_path_factory):
    """A config and the folder of its finished run."""
    folder = tmp_path_factory.mktemp("exported")
    config = train_config(folder, model={**MODEL, **CASES[request.param]}, steps=3, optimizer={"lr": 0.05}, ema_decay=0.9)
    done = run("train", dataset, "--config", config, "--out", folder / "run")
    assert f"ONNX     {folder / 'run/model.onnx'}" in done.stdout
    return json.loads(config.read_text()), folder / "run"


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def test_the_model_is_valid_for_the_checker_of_onnx(exported):
    _, folder = exported
    model = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    # What onnxruntime 1.12 of 2022 reads.
    assert model.ir_version <= 8
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]


def test_input_and_output_have_any_number_and_size_of_windows(exported):
    _, folder = exported
    model = session(folder / "model.onnx")
    (image,), (logits,) = model.get_inputs(), model.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(float)", ["batch", 1, "z", "y", "x"])
    assert (logits.name, logits.type, logits.shape) == ("logits", "tensor(float)", ["batch", 2, "z", "y", "x"])


def test_logits_equal_those_of_the_module_at_any_batch_and_window_size(exported):
    _, folder = exported
    module = torch.jit.load(str(folder / "model.pt"))
    model = session(folder / "model.onnx")
    torch.manual_seed(3)
    for shape in ([4, 1, 8, 32, 32], [1, 1, 8, 32, 32], [2, 1, 6, 20, 44]):
        image = torch.rand(shape)
        with torch.no_grad():
            expected = module(image)
        (found,) = model.run(None, {"image": image.numpy()})
        found = torch.from_numpy(found)
        assert found.shape == expected.shape and expected.std() > 0
        error = (found - expected).abs().max() / expected.abs().max()
        assert error < 1e-5, f"{shape}: off by {error:.1e}"


def test_weights_have_the_names_and_values_of_the_checkpoint(exported):
    import torch_reference

    _, folder = exported
    tensors, _ = torch_reference.load(folder / "best.safetensors")
    graph = onnx.load(folder / "model.onnx").graph
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in graph.initializer}
    for name, tensor in tensors.items():
        assert torch.equal(torch.from_numpy(weights[name].copy()).reshape(tensor.shape), tensor), name


def test_the_metadata_is_that_of_the_checkpoint(exported):
    import torch_reference

    config, folder = exported
    found = json.loads(session(folder / "model.onnx").get_modelmeta().custom_metadata_map["pointshard"])
    assert found == torch_reference.load(folder / "best.safetensors")[1]
    assert found["config"]["targets"] == TARGETS
    assert config["model"].items() <= found["config"]["model"].items()
    assert found["config"]["model"].get("residual", False) == config["model"].get("residual", False)
