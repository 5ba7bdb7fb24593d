"""The two-channel regime in Lightning. Resumes from a checkpoint in the middle of an epoch.

Lightning saves the state of `Batches` in each checkpoint, and loads it with `Trainer.fit(..., ckpt_path=...)`. On another number
of GPUs it must know the number of batches before it loads the state of loaders, and again in the next epoch. Therefore the
position is also a state of the data module, and loaders are created in each epoch (`reload_dataloaders_every_n_epochs`).
"""

import os
import sys

import lightning
from order import Batches, EpochOrder
from regime import TwoChannelRegime
from torch.utils.data import default_convert
from windows import Windows


class WindowsModule(lightning.LightningDataModule):
    """The splits of a dataset. The ranks divide the samples; Lightning adds no sampler to loaders that are no DataLoader."""

    def __init__(self, out, batch_size, seed=17):
        super().__init__()
        self.train, self.val = Windows(f"{out}/train.zarr"), Windows(f"{out}/val.zarr")
        self.batch_size, self.seed, self.position = batch_size, seed, None

    def train_dataloader(self):
        order = EpochOrder(len(self.train), seed=self.seed)
        self.batches = Batches(self.train, order, self.batch_size, convert=default_convert)
        if self.position:
            self.batches.load_state_dict(self.position)
            self.position = None
        return self.batches

    def state_dict(self):
        return self.batches.state_dict()

    def load_state_dict(self, state):
        self.position = state

    def val_dataloader(self):
        return Batches(self.val, EpochOrder(len(self.val), shuffle=False), self.batch_size, convert=default_convert)


def main(out="shards", folder="runs"):
    data = WindowsModule(out, batch_size=4)
    targets = [name for name, array in data.train.metadata["arrays"].items() if array["role"] == "target"]
    regime = TwoChannelRegime(
        targets, loss={"balance_clip": 0.1}, loss_crop_pad=(4, 4, 1), mask_loss_on_zeros=True, min_nonz_frac=0.1
    )
    keep = lightning.pytorch.callbacks.ModelCheckpoint(folder, "latest", every_n_train_steps=2, enable_version_counter=False)
    trainer = lightning.Trainer(
        max_epochs=2, logger=False, enable_progress_bar=False, default_root_dir=folder, callbacks=[keep],
        reload_dataloaders_every_n_epochs=1,
    )
    latest = os.path.join(folder, "latest.ckpt")
    trainer.fit(regime, datamodule=data, ckpt_path=latest if os.path.exists(latest) else None)
    print({name: round(float(value), 3) for name, value in trainer.callback_metrics.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
