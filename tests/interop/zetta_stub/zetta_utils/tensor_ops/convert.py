"""Types of arrays and tensors."""

import numpy as np
import torch
from zetta_utils import builder


def to_torch(data):
    if data.dtype in (np.uint64, np.uint32):
        data = data.astype({8: np.int64, 4: np.int32}[data.dtype.itemsize])
    return torch.from_numpy(data)


@builder.register("to_float32")
def to_float32(data):
    return data.astype(np.float32)
