#!/usr/bin/env python3
"""Random samples per second of `Windows` in docs/trainers, compared with other formats and readers of the same samples.

Writes all formats from one dataset of pointshard, verifies that all readers return the same samples, and measures them in
rounds. Each round has another order, so that other load on the machine affects all readers. The page cache is warm, and each
process reads a few rows before the measurement starts. Two processes read half of the rows each. Figures are medians over the
rounds. Ratios compare with the documented loader in the same round.

    python -m venv VENV
    VENV/bin/pip install --no-deps -r tests/bench/requirements.txt -r tests/bench/requirements-readers.txt
    tests/bench/run --pairs 1 --keep
    VENV/bin/python tests/bench/readers.py --samples target/bench/out/pointshard --data target/bench/plain --out target/bench/formats
"""

import argparse
import json
import multiprocessing
import random
import resource
import shutil
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import zarr
from formats import (
    ARRAYS,
    BATCH,
    Blosc2,
    CloudVolumeCutouts,
    Hdf5,
    Mosaic,
    Npy,
    Shards,
    ShardsOneByOne,
    TensorStore,
    TensorStoreOneByOne,
    WebDataset,
    ZarrPython,
)

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = "pointshard, documented loader"
ZARRS, PYTHON = "zarrs.ZarrsCodecPipeline", "zarr.core.codec_pipeline.BatchedCodecPipeline"
BARE, CRC = {"name": "bytes"}, {"name": "crc32c"}
ZSTD = {"name": "zstd", "configuration": {"level": 1}}
AUTO = {"image": [CRC]}  # what `auto` chooses here: the image hardly compresses

# Title, folder, writer and reader of each row, by table. `None`: the folder of another row.
COMPRESSED = {
    OURS: ("samples", None, Shards),
    "pointshard, the same with 2 threads": ("samples", None, partial(Shards, threads=2)),
    "pointshard, the same with checksums": ("samples", None, partial(Shards, check=True)),
    "pointshard, the same without a memory map": ("samples", None, partial(Shards, memory_map=False)),
    "pointshard, sample by sample": ("samples", None, ShardsOneByOne),
    "pointshard, codecs of `auto`": ("zarr_auto", partial(Shards.write, codecs=AUTO), Shards),
    "pointshard, codecs of `auto`, 2 threads": ("zarr_auto", None, partial(Shards, threads=2)),
    "pointshard, tensorstore by the batch": ("samples", None, TensorStore),
    "pointshard, tensorstore by the batch, 2 threads": ("samples", None, partial(TensorStore, threads=2)),
    "pointshard, tensorstore sample by sample": ("samples", None, TensorStoreOneByOne),
    "pointshard, zarr-python + zarrs": ("samples", None, partial(ZarrPython, pipeline=ZARRS)),
    "pointshard, zarr-python alone": ("samples", None, partial(ZarrPython, pipeline=PYTHON)),
    "Blosc2, a file per sample (nnU-Net)": ("blosc2", Blosc2.write, Blosc2),
    "h5py, zstd-1 (hdf5plugin)": ("h5_zstd", partial(Hdf5.write, packed=True), Hdf5),
    "webdataset, .zst members (shuffle buffer)": ("tar", WebDataset.write, WebDataset),
    "MosaicML, samples by zstd-1": ("mds_zstd", partial(Mosaic.write, packed="sample"), partial(Mosaic, packed="sample")),
    "MosaicML, shards by zstd-1, first epoch": (
        "mds_shards", partial(Mosaic.write, packed="shard"), partial(Mosaic, packed="shard"),
    ),
    "CloudVolume, zstd chunks, nothing kept": ("volumes", "volumes", partial(CloudVolumeCutouts, lru_mb=0)),
    "CloudVolume, zstd chunks, 512 MiB kept per layer": ("volumes", None, partial(CloudVolumeCutouts, lru_mb=512)),
}  # fmt: skip
PLAIN = {
    "numpy memory map": ("npy", Npy.write, Npy),
    "h5py": ("h5", partial(Hdf5.write, packed=False), Hdf5),
    "MosaicML (also: later epochs of zstd'd shards)": ("mds", partial(Mosaic.write, packed=None), partial(Mosaic, packed=None)),
    "layout of pointshard, no codec": ("zarr_plain", partial(Shards.write, codecs=[]), Shards),
    "layout of pointshard, no codec, 2 threads": ("zarr_plain", None, partial(Shards, threads=2)),
    "layout of pointshard, no codec, tensorstore by the batch": ("zarr_plain", None, TensorStore),
}  # fmt: skip
CHOICES = {
    "no change, written by tensorstore": ("zarr_same", Shards.write, Shards),
    "without crc32c of samples": ("zarr_no_crc", partial(Shards.write, codecs=[ZSTD]), Shards),
    "index at the start": ("zarr_start", partial(Shards.write, index="start"), Shards),
    "shards of 512": ("zarr_512", partial(Shards.write, shard=512), Shards),
    "crc32c, no zstd": ("zarr_crc", partial(Shards.write, codecs=[CRC]), Shards),
}
TABLES = {"compressed": COMPRESSED, "not compressed": PLAIN, "format of pointshard with one change": CHOICES}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--samples", type=Path, required=True, help="a dataset of pointshard from the benchmark data")
    p.add_argument("--data", type=Path, required=True, help="the benchmark data of this dataset")
    p.add_argument("--out", type=Path, required=True, help="a folder for the other formats; existing ones are reused")
    p.add_argument("--count", type=int, default=1024, help="number of samples")
    p.add_argument("--draws", type=int, default=512, help="number of samples read in a round; streams read all")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", help="only rows with this text in their title, and the documented loader")
    return p.parse_args()


def rows():
    return {title: row for table in TABLES.values() for title, row in table.items()}


def make(a, samples, starts):
    for folder, write, _ in rows().values():
        if write is None or (a.out / folder / "made").exists():
            continue
        shutil.rmtree(a.out / folder, ignore_errors=True)
        (a.out / folder).mkdir()
        print(f"writing {folder}", flush=True)
        if write == "volumes":
            CloudVolumeCutouts.write(a.out / folder, a.data, starts)
        else:
            write(a.out / folder, samples)
        (a.out / folder / "made").touch()


def read(reader, order, seed, part, parts, use=lambda rows, batch: None):
    """Reads this part of `order`, or a whole stream, and returns the number of samples."""
    if hasattr(reader, "stream"):
        n = 0
        for row, sample in reader.stream(seed, part, parts):
            use([row], {name: value[None] for name, value in sample.items()})
            n += 1
        return n
    order = order[part::parts]
    for i in range(0, len(order), BATCH):
        use(order[i : i + BATCH], reader.batch(order[i : i + BATCH]))
    return len(order)


def verify(title, reader, count, draws, samples):
    seen = []

    def compare(chosen, batch):
        for name in ARRAYS:
            if not np.array_equal(batch[name], samples[name][chosen]):
                sys.exit(f"{title}: {name} of rows {chosen} differs from the dataset")
        seen.extend(chosen)

    expected = count if hasattr(reader, "stream") else draws
    read(reader, np.random.default_rng(99).permutation(count)[:draws], 99, 0, 1, compare)
    if len(set(map(int, seen))) != expected or len(seen) != expected:
        sys.exit(f"{title}: {len(seen)} samples were read instead of {expected}, or some were read twice")


def serve(pipe, title, folder, part, parts, count, draws):
    """A process with one reader. It receives seeds, and sends the number of samples and CPU seconds for each."""
    reader = rows()[title][2](folder)
    unpacks = "first epoch" in title
    if not unpacks:
        read(reader, np.random.default_rng(0).permutation(count)[: 4 * BATCH], 0, part, parts)
    pipe.send("ready")
    while (seed := pipe.recv()) is not None:
        if unpacks:
            reader = rows()[title][2](folder)
        order = np.random.default_rng(seed).permutation(count)[: count if unpacks else draws]
        before = resource.getrusage(resource.RUSAGE_SELF)
        begin = time.perf_counter()
        n = read(reader, order, seed, part, parts)
        wall = time.perf_counter() - begin
        after = resource.getrusage(resource.RUSAGE_SELF)
        pipe.send((n, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))


class Readers:
    """Processes that read concurrently, each a part of the rows."""

    def __init__(self, title, folder, parts, count, draws):
        clean = multiprocessing.get_context("forkserver")
        clean.set_forkserver_preload(["streaming", "webdataset", "h5py", "zarr", "zarrs", "cloudvolume", "tensorstore"])
        self.pipes, self.processes = [], []
        for part in range(parts):
            here, there = clean.Pipe()
            job = (there, title, folder, part, parts, count, draws)
            self.processes.append(clean.Process(target=serve, args=job, daemon=True))
            self.processes[-1].start()
            there.close()
            self.pipes.append(here)
        if {pipe.recv() for pipe in self.pipes} != {"ready"}:
            sys.exit(f"{title}: a process did not start")

    def measure(self, seed):
        """Samples per second, and CPU milliseconds per sample."""
        for pipe in self.pipes:
            pipe.send(seed)
        answers = [pipe.recv() for pipe in self.pipes]
        n = sum(samples for samples, _, _ in answers)
        return n / max(wall for _, wall, _ in answers), 1000 * sum(cpu for _, _, cpu in answers) / n

    def stop(self):
        for pipe, process in zip(self.pipes, self.processes):
            pipe.send(None)
            process.join()


def main():
    a = arguments()
    a.out.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(REPOSITORY / "docs/trainers"))    # all processes import from there
    group = zarr.open_group(a.samples / "train.zarr", mode="r")
    samples = {name: group[name][: a.count] for name in ARRAYS}
    make(a, samples, group["start_voxel"][: a.count])
    folders = {t: a.samples / "train.zarr" if f == "samples" else a.out / f for t, (f, _, _) in rows().items()}
    chosen = {t: row for t, row in rows().items() if not a.only or t == OURS or a.only in t}
    for title, (_, _, reader) in chosen.items():
        verify(title, reader(folders[title]), a.count, a.draws, samples)
    print(f"all {len(chosen)} readers read {a.draws} random samples (streams: all) x {len(ARRAYS)} arrays equally", flush=True)

    measured = {}
    for title in chosen:
        # Two processes that decompress would share a local folder. One process is enough to compare the options.
        for parts in (1,) if title in CHOICES or "first epoch" in title else (1, 2):
            measured[title, parts] = Readers(title, folders[title], parts, a.count, a.draws)
    figures = {title: {1: [], 2: []} for title in chosen}
    for seed in range(1, a.rounds + 1):
        # Another order in each round, so that a row does not always follow the same row.
        for (title, parts), readers in random.Random(seed).sample(list(measured.items()), len(measured)):
            figures[title][parts].append(readers.measure(seed))
        print(f"round {seed} of {a.rounds}", flush=True)
        (a.out / "figures.json").write_text(json.dumps(figures, indent=1))
    for readers in measured.values():
        readers.stop()
    for name, table in TABLES.items():
        show(name, {title: figures[title] for title in table if title in figures}, figures[OURS])


def show(name, table, ours):
    print(f"\n| {name} | 1 process | lowest to highest | CPU ms a sample | 2 processes | ratio to the documented loader, 1 process |")
    print("|---|---|---|---|---|---|")
    for title, figures in table.items():
        one, two = ([rate for rate, _ in figures[parts]] for parts in (1, 2))
        cpu = statistics.median(cpu for _, cpu in figures[1])
        ratio = statistics.median(rate / base for rate, (base, _) in zip(one, ours[1]))
        both = f"{statistics.median(two):,.0f}" if two else "-"
        spread = f"{min(one):,.0f} to {max(one):,.0f}"
        print(f"| {title} | {statistics.median(one):,.0f} | {spread} | {cpu:.2f} | {both} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
