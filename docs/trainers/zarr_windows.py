"""Samples of a pointshard dataset with zarr-python and the codecs of the Rust crate zarrs."""

import numpy as np
import zarr


class ZarrWindows:
    """Like `Windows`, with zarr-python and zarrs. `store` is a path or a store of zarr-python.

    It sets the codec pipeline in `zarr.config`, for the whole process. zarr-python reads missing shards as zeros: run
    `pointshard check` first.
    """

    def __init__(self, store, arrays=None):
        self.store, self.group = store, None
        self.metadata = zarr.open_group(store, mode="r").attrs["pointshard"]
        self.arrays = arrays or list(self.metadata["arrays"])

    def __len__(self):
        return self.metadata["samples"]

    def __getstate__(self):
        return {**self.__dict__, "group": None}

    def __getitem__(self, row):
        return {name: batch[0] for name, batch in self.__getitems__([row]).items()}

    def __getitems__(self, rows):
        rows = np.asarray(rows)
        if rows.dtype.kind not in "iu":
            raise TypeError(f"rows are {rows.dtype}, expected integers. For a mask use np.flatnonzero(mask)")
        if self.group is None:
            zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
            self.group = zarr.open_group(self.store, mode="r")
        return {name: np.stack([self.group[name][int(row)] for row in rows]) for name in self.arrays}
