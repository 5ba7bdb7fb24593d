"""The layers of the benchmark: Neuroglancer precomputed layers, generated once and kept.

`make` runs make_bench_data.py of the shared folder, which tiles real electron microscopy, masks and labels. `write_raw`
writes arrays with one uncompressed file per chunk.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIZE = (1024, 1024, 256)


@dataclass(frozen=True)
class Volume:
    folder: Path
    size: tuple
    chunk: tuple
    resolution: tuple
    about: dict

    @classmethod
    def open(cls, folder):
        about = json.loads((folder / "dataset.json").read_text())
        resolution = scale(folder / "image")["resolution"]
        return cls(folder, tuple(about["size"]), tuple(about["chunk"]), tuple(resolution), about)

    def files(self, layers):
        """All files of some layers."""
        return [path for layer in layers for path in (self.folder / layer).rglob("*") if path.is_file()]


def scale(layer):
    """The metadata of the only scale of a layer."""
    (only,) = json.loads((layer / "info").read_text())["scales"]
    return only


def make(shared, bench, layout="plain", encoding="raw", contrast=1.0, size=SIZE):
    """The volume of this kind below `bench`, generated if it is missing."""
    name = layout
    name += f"-{encoding}" if encoding != "raw" else ""
    name += f"-contrast{contrast:g}" if contrast != 1 else ""
    name += "-" + "x".join(map(str, size)) if tuple(size) != SIZE else ""
    folder = bench / name
    # Written last.
    if not (folder / "dataset.json").exists():
        print(f"generating the volume {folder}", flush=True)
        stack = shared / "data/stack"
        command = [sys.executable, shared / "peers/make_bench_data.py", "--out", folder, "--layout", layout]
        command += ["--image-encoding", encoding, "--contrast", contrast, "--size", *size, "--em", stack / "raw"]
        command += ["--mask-a", stack / "synapses", "--mask-b", stack / "mitochondria", "--cells", stack / "membranes"]
        # It includes a job, which latency.py runs. For other windows, points.py writes a job.
        one = ["--boxes", 1, "--points", 1, "--margin", 0, "--box-size", 1, 1, 1]
        command += ["--box-size", 256, 256, 96] if tuple(size) == SIZE else one
        subprocess.run(list(map(str, command)), check=True)
    return Volume.open(folder)


def write_raw(folder, layers, chunk=(64, 64, 64), resolution=(8, 8, 40)):
    """Writes a volume of arrays [z, y, x] by layer name. Sizes must be multiples of `chunk`."""
    for name, array in layers.items():
        size = array.shape[::-1]
        key = "_".join(map(str, resolution))
        one = {"key": key, "size": list(size), "chunk_sizes": [list(chunk)], "encoding": "raw"}
        one |= {"resolution": list(resolution), "voxel_offset": [0, 0, 0]}
        info = {"@type": "neuroglancer_multiscale_volume", "type": "image", "num_channels": 1, "scales": [one]}
        info["data_type"] = str(array.dtype)
        (folder / name / key).mkdir(parents=True)
        (folder / name / "info").write_text(json.dumps(info))
        for cell in np.ndindex(*(n // c for n, c in zip(size, chunk))):
            first = [i * c for i, c in zip(cell, chunk)]
            spans = [(f, f + c) for f, c in zip(first, chunk)]
            part = array[tuple(slice(*span) for span in reversed(spans))]
            file = "_".join(f"{low}-{high}" for low, high in spans)
            (folder / name / key / file).write_bytes(np.ascontiguousarray(part).data)
    about = {"size": list(size), "chunk": list(chunk), "image_encoding": "raw", "layout": "plain", "contrast": 1.0}
    (folder / "dataset.json").write_text(json.dumps(about))
    return Volume.open(folder)
