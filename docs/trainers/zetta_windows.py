"""pointshard datasets in specs of zetta_utils: `PointshardDataset` and `build_pointshard_loader`.

    PYTHONPATH=. zetta run -i zetta_plugin.py zetta_loaders.cue
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from order import EpochOrder
from torchdata.stateful_dataloader import StatefulDataLoader
from windows import Windows
from zetta_utils import builder
from zetta_utils.tensor_ops import convert

AXES = ("channel", "x", "y", "z")


@builder.register("PointshardDataset")
class PointshardDataset(torch.utils.data.Dataset):
    """Samples of a split as {name: tensor of C, X, Y, Z}, like those of `build_collection_dataset`, whose names it uses.

    :param path: a split such as `OUT/train.zarr`; also gs:// and s3://.
    :param layers: the arrays to read; by default all.
    :param layer_rename_map: other names for arrays.
    :param per_layer_read_procs: what each array goes through, by its new name. It is a numpy array of C, X, Y, Z.
    :param shared_read_procs: what the whole sample goes through after that.
    :param tags: only samples of boxes that have all of these tags.
    :param boxes: only samples of the boxes with these ids.
    :param threads: threads that decode the samples of a batch.
    """

    def __init__(
        self,
        path: str,
        layers: Sequence[str] | None = None,
        layer_rename_map: Mapping[str, str] | None = None,
        per_layer_read_procs: Mapping[str, Sequence[Callable]] | None = None,
        shared_read_procs: Sequence[Callable] = (),
        tags: Sequence[str] | None = None,
        boxes: Sequence[str] | None = None,
        threads: int = 2,
    ):
        self.windows = Windows(path, layers, threads=threads)
        new_names = layer_rename_map or {}
        self.names = {array: new_names.get(array, array) for array in self.windows.arrays}
        self.layer_procs, self.shared_procs = per_layer_read_procs or {}, shared_read_procs
        for given in (set(new_names) - set(self.names), set(self.layer_procs) - set(self.names.values())):
            if given:
                raise ValueError(f"{path} has no {sorted(given)}; it has {self.names}")
        for proc in [*shared_read_procs, *(proc for procs in self.layer_procs.values() for proc in procs)]:
            if hasattr(proc, "process_index"):
                raise ValueError(f"{proc} changes where data are read, but samples have a fixed place. Use a larger window")
        dimensions = {name: self.windows.metadata["arrays"][name]["dimensions"][1:] for name in self.names}
        self.axes = {name: [[d.split("_")[0] for d in of].index(axis) for axis in AXES] for name, of in dimensions.items()}
        self.rows = chosen_rows(self.windows, tags, boxes)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, idx: int) -> dict:
        return self.__getitems__([idx])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict]:
        """Samples that are read together. DataLoader calls this, but not through a JointDataset."""
        batch = self.windows.__getitems__(self.rows[np.asarray(indices)])
        return [self.sample({name: values[i] for name, values in batch.items()}) for i in range(len(indices))]

    def sample(self, arrays):
        sample = {}
        for array, values in arrays.items():
            name, values = self.names[array], values.transpose(self.axes[array])
            for proc in self.layer_procs.get(name, ()):
                values = proc(values)
            sample[name] = values
        for proc in self.shared_procs:
            sample = proc(sample)
        return tensors(sample)


def tensors(data):
    if isinstance(data, np.ndarray):
        # torch has no negative strides, as np.flip gives them.
        return convert.to_torch(data.copy() if min(data.strides, default=0) < 0 else data)
    return {key: tensors(value) for key, value in data.items()} if isinstance(data, dict) else data


def chosen_rows(windows, tags, boxes):
    """The rows of samples whose box has all tags, and one of the ids."""
    about = {int(number): box for number, box in windows.metadata["boxes"].items()}
    for key, given, known in (
        ("tag", tags, {tag for box in about.values() for tag in box["tags"]}),
        ("box", boxes, {box["id"] for box in about.values()}),
    ):
        if unknown := set(given or ()) - known:
            raise ValueError(f"{windows.url} has no {key} {sorted(unknown)}; it has {sorted(known)}")
    chosen = [
        number
        for number, box in about.items()
        if set(tags or ()) <= set(box["tags"]) and (boxes is None or box["id"] in boxes)
    ]
    rows = np.flatnonzero(np.isin(windows.column("box"), chosen))
    if not len(rows):
        raise ValueError(f"{windows.url} has no sample of a box with the tags {tags} and an id of {boxes}")
    return rows


@builder.register("build_pointshard_loader")
def build_pointshard_loader(
    dataset: torch.utils.data.Dataset, batch_size: int, seed: int = 0, shuffle: bool = True, num_workers: int = 0, **options
) -> StatefulDataLoader:
    """A DataLoader that resumes in the middle of an epoch, also on another number of ranks.

    Lightning saves its state in checkpoints. It divides the samples among ranks itself. `options` are those of DataLoader.
    """
    if num_workers:
        options = {"multiprocessing_context": "forkserver", "persistent_workers": True, **options}
    order = EpochOrder(len(dataset), seed=seed, shuffle=shuffle)
    return StatefulDataLoader(dataset, batch_size=batch_size, sampler=order, num_workers=num_workers, **options)
