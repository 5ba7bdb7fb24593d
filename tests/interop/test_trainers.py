"""The loader and the loss of docs/trainers.md. (test_docs.py runs the programs of the page.)"""

import importlib.util
import sys

import numpy as np
import pytest
from document_blocks import blocks
from program import REPOSITORY
from readers import with_zarr
from server_fixtures import require_tool

TITLED = ("windows", "zarr_windows", "two_channel")


@pytest.fixture(scope="module")
def documented(tmp_path_factory):
    """The documented modules by name. Workers can import them too."""
    require_tool(importlib.util.find_spec("torch"), "torch", "pip install -r tests/interop/requirements-torch.txt")
    folder = tmp_path_factory.mktemp("documented")
    for block in blocks(REPOSITORY / "docs/trainers.md"):
        if block.title:
            (folder / block.title).write_text(block.text)
    sys.path.insert(0, str(folder))
    yield {name: importlib.import_module(name) for name in TITLED}
    sys.path.remove(str(folder))
    for name in TITLED:
        del sys.modules[name]


@pytest.fixture
def windows(documented, two_channel_shards):
    return documented["windows"].Windows(str(two_channel_shards / "train.zarr"))


@pytest.fixture
def stored(two_channel_shards):
    return with_zarr(two_channel_shards, "train")


@pytest.mark.parametrize("reader", ["windows.Windows", "zarr_windows.ZarrWindows"])
def test_a_batch_has_the_requested_rows_in_their_order(documented, two_channel_shards, stored, reader):
    module, name = reader.split(".")
    samples = getattr(documented[module], name)(str(two_channel_shards / "train.zarr"))
    count = stored["annotation_id"].shape[0]
    rows = [count - 1, 0, 7, 7]
    batch = samples.__getitems__(rows)
    assert len(samples) == count > 8 and set(batch) == {"img", "target_pre", "target_post", "target_pre_mask", "target_post_mask"}
    for name, values in batch.items():
        np.testing.assert_array_equal(values, stored[name][:][rows])
        np.testing.assert_array_equal(samples[7][name], values[2])


def test_spawned_workers_read_every_sample_once(windows, stored):
    from torch.utils.data import DataLoader, default_convert

    windows[0]  # open the arrays here: workers must not inherit them
    options = {"num_workers": 2, "multiprocessing_context": "spawn", "collate_fn": default_convert}
    images = np.concatenate([batch["img"].numpy() for batch in DataLoader(windows, batch_size=4, **options)])
    np.testing.assert_array_equal(images, stored["img"][:])


def test_ranks_divide_each_epoch_and_epochs_differ_in_order(windows):
    from torch.utils.data import DistributedSampler

    def order(epoch, rank):
        sampler = DistributedSampler(windows, num_replicas=2, rank=rank, seed=17)
        sampler.set_epoch(epoch)
        return list(sampler)

    for epoch in (0, 1):
        assert set(order(epoch, 0)) | set(order(epoch, 1)) == set(range(len(windows)))
        assert order(epoch, 0) == order(epoch, 0)
    assert order(0, 0) != order(1, 0)


def loss_by_numpy(logits, targets, masks, balance, reduction):
    """The same loss, voxel by voxel in float64."""
    total = 0.0
    for channel in range(logits.shape[1]):
        x, one = logits[:, channel].astype(float), targets[:, channel] != 0
        mask = (masks[:, channel] != 0).astype(float)
        loss = -np.where(one, -np.log1p(np.exp(-x)), -np.log1p(np.exp(x))) * mask
        if balance:
            ones, zeros = (mask * one).sum(), (mask * ~one).sum()
            share = ones / (ones + zeros)
            loss *= np.where(one, np.clip(1 - share, 0.1, 0.9), np.clip(share, 0.1, 0.9))
        total += loss.sum() / (max(np.count_nonzero(mask), mask.size * 0.1) if reduction == "mean" else 1)
    return total


@pytest.mark.parametrize("covered", [0.7, 0.02], ids=["much mask", "little mask"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("balance", [True, False])
def test_the_loss_equals_a_reference_in_numpy(documented, balance, reduction, covered):
    import torch

    random = np.random.default_rng(5)
    shape = (3, 2, 4, 8, 8)
    logits = random.normal(size=shape).astype("float32")
    targets, masks = (random.random(shape) < 0.03) * np.uint8(7), (random.random(shape) < covered) * np.uint8(2)
    found = documented["two_channel"].two_channel_loss(
        *map(torch.from_numpy, (logits, targets, masks)), balance=balance, reduction=reduction
    )
    np.testing.assert_allclose(float(found), loss_by_numpy(logits, targets, masks, balance, reduction), rtol=1e-5)


def test_channels_are_summed_or_averaged_by_weight(documented):
    import torch

    loss = documented["two_channel"].two_channel_loss
    logits = torch.tensor([2.0, -1.0]).reshape(1, 2, 1, 1, 1)
    targets, masks = torch.ones_like(logits), torch.ones_like(logits)
    a, b = (float(loss(logits[:, [c]], targets[:, [c]], masks[:, [c]])) for c in (0, 1))
    assert float(loss(logits, targets, masks)) == pytest.approx(a + b)
    assert float(loss(logits, targets, masks, weights=(3, 1))) == pytest.approx((3 * a + b) / 4)


def test_a_batch_without_any_mask_has_loss_0_and_a_gradient(documented):
    import torch

    logits = torch.zeros(1, 2, 2, 2, 2, requires_grad=True)
    loss = documented["two_channel"].two_channel_loss(logits, torch.ones(1, 2, 2, 2, 2), torch.zeros(1, 2, 2, 2, 2))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_the_loss_counts_inside_masks_and_rim_where_the_image_has_data(documented):
    import torch

    image = torch.ones(1, 1, 6, 8, 10, dtype=torch.uint8)
    image[0, 0, 3, 4, 5] = 0
    batch = {"a_mask": torch.ones_like(image)}
    batch["a_mask"][0, 0, 3, 4, 6] = 0
    masks = documented["two_channel"].loss_masks(
        batch, ["a", "b"], image, loss_crop_pad=(3, 2, 1), mask_loss_on_zeros=True
    )
    expected = torch.zeros(1, 2, 6, 8, 10, dtype=torch.bool)
    expected[:, :, 1:5, 2:6, 3:7] = True
    expected[:, :, 3, 4, 5] = False
    expected[:, 0, 3, 4, 6] = False
    assert torch.equal(masks, expected)
