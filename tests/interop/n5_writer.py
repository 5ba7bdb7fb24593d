"""N5 datasets, written byte by byte."""

import gzip
import json
import struct
import zlib

import numpy as np

BLOCK = (16, 16, 8)


def write(folder, values, attributes=None, block=None, compression=None):
    """Writes `values`, with dimensions in N5's order, as a gzip dataset with additional `attributes`."""
    block = block or BLOCK[: values.ndim] + (2,) * (values.ndim - 3)
    compression = compression or {"type": "gzip", "level": -1, "useZlib": False}
    document = {
        "dimensions": values.shape,
        "blockSize": block,
        "dataType": values.dtype.name,
        "compression": compression,
        **(attributes or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attributes.json").write_text(json.dumps(document))
    pack = zlib.compress if compression.get("useZlib") else gzip.compress
    for index in np.ndindex(*(-(-n // b) for n, b in zip(values.shape, block))):
        part = values[tuple(slice(i * b, (i + 1) * b) for i, b in zip(index, block))]
        header = struct.pack(f">HH{part.ndim}I", 0, part.ndim, *part.shape)
        file = folder.joinpath(*map(str, index))
        file.parent.mkdir(parents=True, exist_ok=True)
        # The first dimension varies fastest.
        file.write_bytes(header + pack(part.astype(part.dtype.newbyteorder(">")).tobytes(order="F")))
