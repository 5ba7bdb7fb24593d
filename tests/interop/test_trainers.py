"""The files of docs/trainers in PyTorch, Lightning, JAX and grain, and the loss. (test_docs.py runs the programs of the page.)"""

import ast
import functools
import importlib
import importlib.util
import itertools
import os
import re
import resource
import subprocess
import sys
import zlib

import numpy as np
import pytest
from order import Batches, EpochOrder, shuffled
from program import REPOSITORY
from readers import with_zarr
from server_fixtures import require_tool
from servers import free_port
from windows import Windows

TRAINERS = REPOSITORY / "docs/trainers"
# The part of the state of an `EpochOrder` of 16 samples that says which order it is.
IDENTITY = {"samples": 16, "rows_crc32": zlib.crc32(np.arange(16, dtype="<i8").tobytes()), "seed": 17, "shuffle": True}
ARRAYS = {"img", "target_pre", "target_post", "target_pre_mask", "target_post_mask"}


@pytest.fixture(scope="module", autouse=True)
def torch():
    require_tool(importlib.util.find_spec("torch"), "torch", "pip install -r tests/interop/requirements-torch.txt")
    return importlib.import_module("torch")


@pytest.fixture
def loss():
    return importlib.import_module("two_channel")


@pytest.fixture
def stored(two_channel_shards):
    return with_zarr(two_channel_shards, "train")


@pytest.fixture
def folder(two_channel_shards, tmp_path, monkeypatch):
    """A working directory with the dataset."""
    (tmp_path / "shards").symlink_to(two_channel_shards)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Rows:
    """Stands for a dataset: a sample is its row number."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitems__(self, rows):
        import torch

        return torch.tensor([int(row) for row in rows])


def same(batch):
    return batch


def run(*command, cwd, **environment):
    """Runs a program; returns its output, which is also that of logs."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TRAINERS), **environment}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def torchrun(processes, *command, cwd):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
    return run(*launcher, *command, cwd=cwd)


def test_every_file_is_on_the_page_and_is_used():
    """By a program of the page, which test_docs.py runs, by a test, or by another file."""
    page = (REPOSITORY / "docs/trainers.md").read_text()
    files = sorted(p.name for p in TRAINERS.iterdir() if p.is_file())
    assert files == sorted(set(re.findall(r"\]\(trainers/([^)]+)\)", page)))
    tests = [REPOSITORY / f"tests/interop/test_{name}.py" for name in ("trainers", "windows", "order", "zetta_dataset")]
    text = page + "".join(p.read_text() for p in [*tests, *TRAINERS.glob("*.py")])
    for name in files:
        imported = rf"^ *(import|from) {name.removesuffix('.py')}\b|import_module\(\"{name.removesuffix('.py')}\"\)"
        assert re.search(imported, text, re.MULTILINE) or f'TRAINERS / "{name}"' in text, f"nothing uses {name}"


@pytest.mark.parametrize("reader", ["windows.Windows", "zarr_windows.ZarrWindows"])
def test_a_batch_has_the_requested_rows_in_their_order(two_channel_shards, stored, reader):
    module, name = reader.split(".")
    samples = getattr(importlib.import_module(module), name)(str(two_channel_shards / "train.zarr"))
    count = stored["annotation_id"].shape[0]
    rows = [count - 1, 0, 7, 7]
    batch = samples.__getitems__(rows)
    assert len(samples) == count > 8 and set(batch) == ARRAYS
    for name, values in batch.items():
        np.testing.assert_array_equal(values, stored[name][:][rows])
        np.testing.assert_array_equal(samples[7][name], values[2])


@pytest.mark.parametrize("reader", ["windows.Windows", "zarr_windows.ZarrWindows"])
def test_a_mask_of_any_library_is_not_rows(torch, two_channel_shards, reader):
    module, name = reader.split(".")
    samples = getattr(importlib.import_module(module), name)(str(two_channel_shards / "train.zarr"), ["img"])
    mask = torch.arange(len(samples)) > 3
    for rows in (mask, mask.numpy(), mask.tolist(), [1.9]):
        with pytest.raises(TypeError, match="For a mask use np.flatnonzero"):
            samples.__getitems__(rows)
    rows = torch.nonzero(mask).flatten()
    np.testing.assert_array_equal(samples.__getitems__(rows)["img"], samples.__getitems__(np.flatnonzero(mask))["img"])


def test_batches_of_tensors_have_the_samples_in_their_order(two_channel_shards, stored):
    from torch.utils.data import default_convert

    windows = Windows(two_channel_shards / "train.zarr")
    kept = list(Batches(windows, EpochOrder(len(windows), seed=4), batch_size=5, convert=default_convert))
    rows = shuffled(len(windows), 4, 0)
    assert len(kept) == 4
    for name in ARRAYS:
        np.testing.assert_array_equal(np.concatenate([batch[name].numpy() for batch in kept]), stored[name][:][rows])


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_workers_read_every_sample_once(two_channel_shards, stored, method):
    from torch.utils.data import DataLoader, default_convert

    windows = Windows(two_channel_shards / "train.zarr")
    windows.__getitems__([0, 1])  # workers must not use the threads of this process
    options = {"num_workers": 2, "multiprocessing_context": method, "collate_fn": default_convert}
    images = np.concatenate([batch["img"].numpy() for batch in DataLoader(windows, batch_size=4, **options)])
    np.testing.assert_array_equal(images, stored["img"][:])


def stateful(count, size, workers, rank, world):
    from torchdata.stateful_dataloader import StatefulDataLoader

    order = EpochOrder(count, seed=3, rank=rank, world=world, uneven="keep")
    options = {"multiprocessing_context": "forkserver", "persistent_workers": True} if workers else {}
    return StatefulDataLoader(
        Rows(count), batch_size=size, sampler=order, num_workers=workers, collate_fn=same, **options
    )


ELASTIC = list(itertools.product(range(1, 4), (1, 2), (1, 2, 4)))


@pytest.mark.parametrize(("workers", "cases"), [(0, ELASTIC), (2, [(2, 2, 1)])], ids=["no workers", "2 workers"])
def test_a_stateful_loader_resumes_on_any_number_of_ranks(workers, cases):
    count, size = 16, 2
    for stop, before, after in cases:
        seen, states = [], []
        for rank in range(before):
            loader = stateful(count, size, workers, rank, before)
            for _, batch in zip(range(stop), loader):
                seen += batch.tolist()
            states.append(loader.state_dict())
        for rank in range(after):
            loader = stateful(count, size, workers, rank, after)
            loader.load_state_dict(states[0])
            seen += [row for batch in loader for row in batch.tolist()]
            again = [row for batch in loader for row in batch.tolist()]
            assert again == shuffled(count, 3, 1)[rank::after].tolist(), "the next epoch is whole"
        assert sorted(seen) == list(range(count)), (stop, before, after)


def module_that_records(torch, seen):
    lightning = importlib.import_module("lightning")

    class Records(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch):
            seen.append((self.current_epoch, batch.tolist()))
            return self.layer(batch[:, None].float()).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    return Records()


def lightning_fit(torch, loader, folder, ckpt_path=None, **options):
    lightning = importlib.import_module("lightning")
    keep = lightning.pytorch.callbacks.ModelCheckpoint(folder, "step-{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = lightning.Trainer(
        logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, callbacks=[keep], **options
    )
    seen = []
    trainer.fit(module_that_records(torch, seen), loader, ckpt_path=ckpt_path)
    return seen


@pytest.mark.parametrize("kind", ["WindowsModule", "Batches", "StatefulDataLoader"])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 1), (4, 2), (1, 4)])
def test_lightning_resumes_in_the_middle_of_an_epoch(torch, folder, monkeypatch, kind, before, after):
    count, size, stop = 32, 2, 3
    program = importlib.import_module("train_lightning")

    def loader(world):
        monkeypatch.setattr(EpochOrder, "place", lambda order: (0, world))
        if kind == "StatefulDataLoader":
            return stateful(count, size, 0, 0, world)
        if kind == "Batches":
            return Batches(Rows(count), EpochOrder(count, seed=3), size)
        module = program.WindowsModule("shards", size, seed=3)
        module.train, module.val_dataloader = Rows(count), None
        return module

    options = {"reload_dataloaders_every_n_epochs": int(kind == "WindowsModule")}
    first = lightning_fit(torch, loader(before), folder, max_steps=stop, **options)
    rows = [shuffled(count, 3, epoch) for epoch in range(3)]
    assert [row for _, batch in first for row in batch] == rows[0][::before][: stop * size].tolist()
    (checkpoint,) = folder.glob(f"step-step={stop}.ckpt")
    second = lightning_fit(torch, loader(after), folder / "second", ckpt_path=checkpoint, max_epochs=3, **options)
    left = rows[0][stop * size * before :][::after].tolist()
    found = [row for epoch, batch in second for row in batch if epoch == 0]
    if kind != "WindowsModule" and after > before:
        assert found == left[: len(found)] and len(found) < len(left), "Lightning counts batches correctly: change the page"
    else:
        assert found == left
    for epoch in (1, 2):
        assert [row for e, batch in second for row in batch if e == epoch] == rows[epoch][::after].tolist()


def test_the_program_for_lightning_trains_and_resumes(torch, folder):
    program = TRAINERS / "train_lightning.py"
    assert "val_loss" in run(sys.executable, program, cwd=folder)
    saved = torch.load(folder / "runs/latest.ckpt", weights_only=False)
    assert saved["WindowsModule"] == {**IDENTITY, "epoch": 1, "passed": 16, "yielded": 16}
    assert "Restored all states from the checkpoint" in run(sys.executable, program, cwd=folder)


class Shown:
    """Stands for the writer of TensorBoard."""

    def __init__(self):
        self.pictures = []

    def add_image(self, tag, picture, step, dataformats):
        self.pictures.append((tag, picture.numpy(), dataformats))


def test_the_regime_logs_each_channel_and_shows_samples(torch):
    lightning = pytest.importorskip("lightning")
    from lightning.pytorch.loggers.logger import DummyLogger

    regime = importlib.import_module("regime")
    shown, random = Shown(), np.random.default_rng(2)
    shape, batches = (2, 1, 4, 16, 12), []
    for _ in range(2):
        names = ("em", "synapse", "pre", "post", "pre_mask")
        batch = {name: torch.from_numpy((random.random(shape) < 0.4).astype("uint8")) for name in names}
        batches.append(batch | {"em": batch["em"] * 200})

    class Logger(DummyLogger):
        experiment = shown

    module = regime.TwoChannelRegime(
        ["pre", "post"], {"em": 255, "synapse": 1}, loss={"balance": "default"}, loss_crop_pad=(1, 1, 0), picture_interval=(2, 1)
    )
    logged, log_dict = [], module.log_dict
    module.log_dict = lambda values, **options: (logged.append((values, options)), log_dict(values, **options))
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=Logger(), enable_progress_bar=False, enable_checkpointing=False,
        enable_model_summary=False, num_sanity_val_steps=0, log_every_n_steps=1,
    )
    train, val = (torch.utils.data.DataLoader(part, batch_size=None) for part in (batches, batches[:1]))
    trainer.fit(module, train, val)
    image = module.image(batches[0])
    assert image.shape == (2, 2, 4, 16, 12) and sorted(image.unique().tolist()) == pytest.approx([0, 200 / 255, 1])
    stages = {"train": [entry for entry in logged if "train_loss" in entry[0]], "val": [entry for entry in logged if "val_loss" in entry[0]]}
    assert [len(entries) for entries in stages.values()] == [2, 1]
    for stage, entries in stages.items():
        for values, options in entries:
            assert set(values) == {f"{stage}_loss", f"{stage}_loss/pre", f"{stage}_loss/post"}
            assert values[f"{stage}_loss"] == pytest.approx(float(values[f"{stage}_loss/pre"] + values[f"{stage}_loss/post"]))
            assert options["sync_dist"] == (stage == "val") and options["batch_size"] == 2
    # The first of two training batches, and the validation batch. 7 rows: the image, and three of each channel.
    assert [tag for tag, *_ in shown.pictures] == ["train/sample", "val/sample"]
    for _, picture, form in shown.pictures:
        assert form == "HW" and picture.shape == (7 * (16 + 2), 3 * 2 + 12 + 12 + 16)
    expected = batches[0]["em"][0, 0, 2].numpy() / 255
    np.testing.assert_allclose(shown.pictures[0][1][:16, :12], expected, rtol=1e-6)
    np.testing.assert_array_equal(shown.pictures[0][1][18:34, :12], batches[0]["pre"][0, 0, 2].numpy())


def test_the_regime_skips_batches_that_are_empty_inside_the_rim(torch):
    pytest.importorskip("lightning")
    regime = importlib.import_module("regime")
    batch = {name: torch.zeros((1, 1, 4, 8, 8), dtype=torch.uint8) for name in ("img", "pre")}
    batch["img"][..., 0] = 255
    for rim, skipped in (((0, 0, 0), False), ((1, 0, 0), True)):
        module = regime.TwoChannelRegime(["pre"], loss_crop_pad=rim, min_nonz_frac=0.1)
        module.log_dict = lambda *_, **__: None
        assert (module.step(batch, 1, "val") is None) == skipped


RANKS_IN_LIGHTNING = """
import sys
import lightning, torch
from test_trainers import Batches, EpochOrder, Rows, module_that_records, same
from torchdata.stateful_dataloader import StatefulDataLoader

seen = []
order = EpochOrder(12, seed=3)
if sys.argv[1] == "Batches":
    loader = Batches(Rows(12), order, 2)
else:
    loader = StatefulDataLoader(Rows(12), batch_size=2, sampler=order, collate_fn=same)
trainer = lightning.Trainer(
    max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", logger=False, enable_progress_bar=False,
    enable_checkpointing=False, enable_model_summary=False,
)
trainer.fit(module_that_records(torch, seen), loader)
with open(f"rank-{trainer.global_rank}", "w") as file:
    file.write(repr(seen))
"""


@pytest.mark.parametrize("kind", ["Batches", "StatefulDataLoader"])
def test_ranks_in_lightning_divide_the_samples_once(tmp_path, kind):
    (tmp_path / "ranks.py").write_text(RANKS_IN_LIGHTNING)
    environment = {"PYTHONPATH": f"{TRAINERS}:{REPOSITORY / 'tests/interop'}"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "ranks.py", kind]
    run(*command, cwd=tmp_path, **environment)
    for rank in range(2):
        seen = ast.literal_eval((tmp_path / f"rank-{rank}").read_text())
        for epoch in range(2):
            rows = [row for e, batch in seen for row in batch if e == epoch]
            assert rows == shuffled(12, 3, epoch)[rank::2].tolist()


def test_the_program_for_ddp_resumes_on_another_number_of_processes(torch, folder):
    first = torchrun(2, TRAINERS / "train_ddp.py", "--steps", 3, cwd=folder)
    assert sorted(re.findall(r"rank (\d) of 2: 6 samples in 3 steps", first)) == ["0", "1"]
    state = torch.load(folder / "checkpoint.pt")["batches"]
    assert state == {**IDENTITY, "epoch": 0, "passed": 12, "yielded": 6}
    # 4 samples of the first epoch are left, and the second epoch.
    assert "rank 0 of 1: 20 samples in 10 steps" in torchrun(1, TRAINERS / "train_ddp.py", cwd=folder)
    assert "rank 0 of 1: 0 samples in 0 steps" in torchrun(1, TRAINERS / "train_ddp.py", cwd=folder)


def test_the_program_for_jax_resumes(folder):
    output = run(sys.executable, TRAINERS / "train_jax.py", cwd=folder)
    assert re.findall(r"^(\d) 0\.\d+ {'img'", output, re.MULTILINE) == ["0"] * 4 + ["1"] * 4
    # An earlier state stands for a run that was killed.
    state = (folder / "jax_batches.json").read_text()
    assert '"passed": 16' in state
    (folder / "jax_batches.json").write_text(state.replace('"passed": 16', '"passed": 12'))
    again = run(sys.executable, TRAINERS / "train_jax.py", cwd=folder)
    assert again.splitlines()[:1] == output.splitlines()[7:8] and again.count("img") == 1


# What a program on several hosts does first. It fails if JAX was used before.
INITIALIZE = "import train_jax, train_grain, jax; jax.distributed.initialize({!r}, num_processes=1, process_id=0)"


def test_importing_the_programs_for_jax_and_grain_does_not_use_jax(folder):
    run(sys.executable, "-c", INITIALIZE.format(f"127.0.0.1:{free_port()}"), cwd=folder)


@pytest.mark.parametrize(
    ("program", "state", "largest_file"), [("train_ddp.py", "checkpoint.pt", 1500), ("train_jax.py", "jax_batches.json", 30)]
)
def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(folder, program, state, largest_file):
    """The limit ends the writing in the middle, as a full disk or a killed run does."""
    one_process = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, str(TRAINERS / program)]
    # `--steps` is of train_ddp.py; the other program saves each step.
    run(*command, *(["--steps", "2"] if program == "train_ddp.py" else []), cwd=folder, **one_process)
    if program == "train_jax.py":
        (folder / state).write_text((folder / state).read_text().replace('"passed": 16', '"passed": 4'))
    before = (folder / state).read_bytes()
    assert len(before) > largest_file
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TRAINERS), **one_process}
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (largest_file, largest_file))
    done = subprocess.run(command, cwd=folder, env=environment, preexec_fn=limit, capture_output=True, text=True, timeout=240)
    assert done.returncode != 0, "the limit applies"
    kept = (folder / state).read_bytes() == before    # not in the assertion: a diff of bytes takes minutes
    assert kept, "the earlier checkpoint is still there"


def test_grain_divides_epochs_and_resumes_on_another_number_of_hosts(folder, monkeypatch):
    program = importlib.import_module("train_grain")
    monkeypatch.setattr(program, "windows", Rows(16))

    def rows(iterator, steps=None):
        return [row for batch in itertools.islice(iterator, steps) for row in batch.tolist()]

    whole = rows(program.batches())
    assert len(whole) == 32 and sorted(whole[:16]) == sorted(whole[16:]) == list(range(16)) and whole[:16] != whole[16:]
    for before, after, stop in itertools.product((1, 2, 4), (1, 2, 4), (1, 3, 5)):
        hosts = [program.batches(host=host, hosts=before) for host in range(before)]
        seen = [rows(host, stop) for host in hosts]
        states = [host.get_state() for host in hosts]
        assert all(state == states[0] for state in states)
        resumed = [program.batches(host=host, hosts=after) for host in range(after)]
        for host in resumed:
            host.set_state(states[0])
        left = [rows(host) for host in resumed]
        assert sorted(itertools.chain(*seen)) == sorted(whole[: 4 * stop])
        assert sorted(itertools.chain(*left)) == sorted(whole[4 * stop :])


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
def test_the_loss_equals_a_reference_in_numpy(torch, loss, balance, reduction, covered):
    random = np.random.default_rng(5)
    shape = (3, 2, 4, 8, 8)
    logits = random.normal(size=shape).astype("float32")
    targets, masks = (random.random(shape) < 0.03) * np.uint8(7), (random.random(shape) < covered) * np.uint8(2)
    found = loss.two_channel_loss(
        *map(torch.from_numpy, (logits, targets, masks)), balance=balance, reduction=reduction
    )
    np.testing.assert_allclose(float(found), loss_by_numpy(logits, targets, masks, balance, reduction), rtol=1e-5)


def test_channels_are_summed_or_averaged_by_weight(torch, loss):
    loss = loss.two_channel_loss
    logits = torch.tensor([2.0, -1.0]).reshape(1, 2, 1, 1, 1)
    targets, masks = torch.ones_like(logits), torch.ones_like(logits)
    a, b = (float(loss(logits[:, [c]], targets[:, [c]], masks[:, [c]])) for c in (0, 1))
    assert float(loss(logits, targets, masks)) == pytest.approx(a + b)
    assert float(loss(logits, targets, masks, weights=(3, 1))) == pytest.approx((3 * a + b) / 4)


def test_a_batch_without_any_mask_has_loss_0_and_a_gradient(torch, loss):
    logits = torch.zeros(1, 2, 2, 2, 2, requires_grad=True)
    found = loss.two_channel_loss(logits, torch.ones(1, 2, 2, 2, 2), torch.zeros(1, 2, 2, 2, 2))
    found.backward()
    assert found.item() == 0 and not logits.grad.any()


def test_the_loss_counts_inside_masks_and_rim_where_the_image_has_data(torch, loss):
    image = torch.ones(1, 1, 6, 8, 10, dtype=torch.uint8)
    image[0, 0, 3, 4, 5] = 0
    batch = {"a_mask": torch.ones_like(image)}
    batch["a_mask"][0, 0, 3, 4, 6] = 0
    masks = loss.loss_masks(
        batch, ["a", "b"], image, loss_crop_pad=(3, 2, 1), mask_loss_on_zeros=True
    )
    expected = torch.zeros(1, 2, 6, 8, 10, dtype=torch.bool)
    expected[:, :, 1:5, 2:6, 3:7] = True
    expected[:, :, 3, 4, 5] = False
    expected[:, 0, 3, 4, 6] = False
    assert torch.equal(masks, expected)
