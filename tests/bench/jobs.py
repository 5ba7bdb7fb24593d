"""The job: the config of pointshard, and the command line of each program."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import points
from layers import Volume

SHARD = 64
# The key `codec` of each array in the config, unless `--codec` is given. None: no key.
CODEC = "zstd"
# Minimum cache of readers that read box by box, in chunks of 64: for boxes of this size around windows of 64.
BOX, WINDOW = (256, 256, 96), (64, 64, 64)
OURS, ONE_THREAD = "pointshard", "pointshard, 1 thread"
PEERS = ("tensorstore", "cloudvolume", "per-sample", "per-sample-shuffled")


@dataclass
class Job:
    volume: Volume
    folder: Path
    # The layer, and the transform of its values, if any.
    arrays: dict
    window: tuple
    boxes: int
    points: int
    # First voxel of each window, [point, xyz].
    starts: np.ndarray
    # Whether windows of different boxes share chunks.
    share_chunks: bool
    codec: object
    # Samples per shard.
    shard: int

    def describe(self):
        v = self.volume.about
        arrays = ", ".join(f"{n} ({how})" if how else n for n, how in self.arrays.items())
        window = " x ".join(map(str, self.window))
        kind = f"{v['layout']}, image {v['image_encoding']}, contrast {v['contrast']:g}"
        boxes = "1 box" if self.boxes == 1 else f"{self.boxes} boxes"
        return f"{self.points} windows of {window} in {boxes} out of {arrays}; chunks: {kind}"


@dataclass
class Program:
    command: list
    # The output, if any.
    out: Path | None


def parse_codec(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def shape(size, window, box=None, boxes=None, count=None, sparse=False, small_boxes=False):
    """Defaults of the box size, the number of boxes and the number of points."""
    # As many voxels as 2,000 windows of 64 x 64 x 64 have, within limits.
    usual = min(2000 * 64**3 // int(np.prod(window)), 20000)
    if sparse:
        box = box or [n - 2 * ((w + 1) // 2) for n, w in zip(size, window)]
        boxes, usual = boxes or 1, 60
    elif small_boxes:
        box, boxes = box or (32, 32, 16), boxes or 500
        usual = min(4 * boxes, usual)
    else:
        box = box or [min(b, b + w - own) for b, w, own in zip(BOX, WINDOW, window)]
        boxes = boxes or 4
    return tuple(box), boxes, count or usual


def write(folder, volume, arrays, window, box, boxes, count, share_chunks=False, codec=CODEC, shard=SHARD):
    """Writes the points and the config of a job to `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    starts = points.write(folder, volume, arrays, window, boxes, box, count, share_chunks)
    # The script that verifies other tools needs a whole shard.
    shard = min(shard, count)
    job = Job(volume, folder, arrays, tuple(window), boxes, count, starts, share_chunks, codec, shard)
    entries = {}
    for name, how in arrays.items():
        entries[name] = {"layer": name}
        entries[name] |= {"transform": how} if how else {}
        entries[name] |= {"codec": codec} if codec is not None else {}
    splits = ("train", "val") if boxes > 1 else ("train",)
    config = {
        "collection": "collection.json",
        "resolution": list(volume.resolution),
        "window": list(window),
        "points": {"layer": "annotations"},
        "arrays": entries,
        "splits": {name: [name] for name in splits},
        "leaks": "allow",
        "shard_samples": shard,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return job


def ours(binary, job, out, threads):
    command = [binary, "preprocess", job.folder / "config.json", "--out", out, "--threads", threads, "--quiet"]
    return Program(command, out)


def peer_arguments(job):
    layers = [f"{name}:{how}" if how else name for name, how in job.arrays.items()]
    arguments = ["--data", job.volume.folder, "--points", job.folder / "points.json", "--shard", job.shard]
    arguments += ["--level", -1 if job.codec == "none" else 1]
    return [*arguments, "--window", *job.window, "--layers", *layers]


def peer(name, scripts, job, out, threads, cold):
    """The command of another tool. Exits with a message if the tool cannot read the volume."""
    arguments = [*peer_arguments(job), "--threads", threads]
    if name == "tensorstore":
        if job.volume.about["layout"] == "gz-files":
            raise SystemExit("tensorstore takes NAME.gz files for missing: --peers cloudvolume")
        command = [scripts / "peer_tensorstore.py", *arguments, "--out", out, "--in-flight", 8]
        # Its cache holds all chunks that two boxes share.
        command += ["--cache-mb", 4096] if job.share_chunks else []
        return Program([sys.executable, *command, *(["--sync"] if cold else [])], out)
    arguments += ["--workers", threads]
    if name == "cloudvolume":
        return Program([sys.executable, scripts / "peer_cloudvolume_zarr.py", *arguments, "--out", out], out)
    command = [sys.executable, scripts / "peer_per_sample.py", *arguments]
    if name == "per-sample-shuffled":
        return Program([*command, "--shuffle"], None)
    return Program([*command, "--out", out], out)
