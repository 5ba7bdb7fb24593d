"""Loaders and datasets of specs."""

import torch
from zetta_utils import builder

builder.register("TorchDataLoader")(torch.utils.data.DataLoader)


@builder.register("JointDataset")
class JointDataset(torch.utils.data.Dataset):
    """One dataset after another. It has no `__getitems__`."""

    def __init__(self, mode, datasets):
        assert mode == "vertical"
        self.datasets = datasets

    def __len__(self):
        return sum(map(len, self.datasets.values()))

    def __getitem__(self, idx):
        for dataset in self.datasets.values():
            if idx < len(dataset):
                return dataset[idx]
            idx -= len(dataset)
