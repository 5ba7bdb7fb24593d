#!/usr/bin/env python3
"""Finds the centroid and the size of each object of a segmentation: pointshard, and numpy on what tensorstore reads, in each round.

    cargo build --release
    tests/bench/objects.py --edge 512

The segmentation is a cube of uint64 ids in compressed chunks of 64 x 64 x 64 voxels: blobs as large as synapses on background. Both programs use
all cores, read the same files from memory and find the same objects. pointshard also plans the samples and writes nothing.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
from pathlib import Path

from tables import run, summaries

PEER = """
import numpy as np
import tensorstore

spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": sys.argv[1]}}
values = tensorstore.open(spec).result()[..., 0].read().result()
ids, numbers, counts = np.unique(values, return_inverse=True, return_counts=True)
numbers = numbers.reshape(values.shape)
centroids = np.empty((len(ids), 3), int)
for axis in range(3):
    index = np.arange(values.shape[axis]).reshape([-1 if d == axis else 1 for d in range(3)])
    sums = np.bincount(numbers.ravel(), np.broadcast_to(index, values.shape).ravel(), len(ids))
    centroids[:, axis] = np.round(sums / counts)
rows = [[int(i), *c, int(n)] for i, c, n in zip(ids, centroids.tolist(), counts) if i]
"""


def write_layer(folder, edge):
    import numpy as np
    import tensorstore

    rng, ids = np.random.default_rng(1), 0
    values = np.zeros((edge,) * 3, np.uint64)
    shape = np.array([14, 14, 4])
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    for corner in rng.integers(0, np.subtract(edge, shape), (edge**3 // 6000, 3)):
        part = tuple(slice(a, a + n) for a, n in zip(corner, shape))
        ids += 1
        blob = (grid**2).sum(0) <= rng.uniform(0.6, 1.2)
        values[part][blob] = ids * 1_000_003 + 2**60
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{folder}/seg/"},
        "multiscale_metadata": {"data_type": "uint64", "num_channels": 1, "type": "segmentation"},
        "scale_metadata": {"size": [edge] * 3, "resolution": [8, 8, 40], "chunk_size": [64, 64, 64], "encoding": "compressed_segmentation",
                           "compressed_segmentation_block_size": [8, 8, 8]},
    }  # fmt: skip
    tensorstore.open(spec, create=True).result()[..., 0].write(values).result()


def write_job(folder, edge):
    config = {
        "collection": {"boxes": {"list": [{"min": [0, 0, 0], "max": [8 * edge, 8 * edge, 40 * edge], "tags": ["train"]}],
                                 "layers": {"seg": "precomputed://./seg"}}},
        "resolution": [8, 8, 40], "window": [24, 24, 8], "points": {"objects": {"layer": "seg"}},
        "arrays": {"mask": {"layer": "seg", "codec": "zstd", "transform": "nonzero"}}, "splits": {"train": ["train"]},
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(config))
    return folder / "job.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=512, help="voxels along each axis")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--binary", default="target/release/pointshard")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder, edge = Path(folder), arguments.edge
        writer = multiprocessing.Process(target=write_layer, args=(folder, edge))
        writer.start()
        writer.join()
        assert writer.exitcode == 0
        config = write_job(folder, edge)
        figures = {"pointshard": [], "tensorstore and numpy": []}
        for _ in range(arguments.rounds):
            *figure, output = run([arguments.binary, "plan", config, "--json"])
            samples = json.loads(output)["splits"]["train"]
            found = sorted([int(s["annotation_id"]), *(round(p / r) for p, r in zip(s["center_nm"], (8, 8, 40)))] for s in samples)
            figures["pointshard"].append(figure)
            program = f"import json, sys\n{PEER}\nprint(json.dumps(rows))"
            *figure, output = run([sys.executable, "-c", program, folder / "seg"])
            figures["tensorstore and numpy"].append(figure)
            assert found == sorted(row[:4] for row in json.loads(output)), "the programs find different objects"
        print(f"{len(found)} objects in {edge**3:,} voxels")
        print("| program | wall s | voxels/s | CPU s | peak MiB | pointshard's wall to it |\n|---|---|---|---|---|---|")
        for cells in summaries(figures, edge**3):
            print(f"| {cells} |", flush=True)


if __name__ == "__main__":
    main()
