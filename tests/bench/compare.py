"""Runs pointshard and other tools in rounds, verifies their output, and prints medians, ratios and a floor.

A round runs pointshard, each other tool, and pointshard with one thread. The first round warms up caches and does not count.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import statistics
import subprocess
from pathlib import Path

import floor
import jobs
import layers
import measure
import report
from verify import verify

REPOSITORY = Path(__file__).resolve().parents[2]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", type=Path, required=True, help="the program")
    p.add_argument("--rates", type=Path, help="the executable of the benchmark `rates`, for the floor")
    p.add_argument("--no-floor", action="store_true")
    p.add_argument("--shared", type=Path, default=REPOSITORY.parent / "shared", help="the folder with the other tools and real data")
    p.add_argument("--bench", type=Path, default=REPOSITORY / "target/bench", help="the folder for generated volumes, which are kept")
    p.add_argument("--out", type=Path, help="the output folder, deleted before and after; default: out, below --bench")
    p.add_argument("--keep", action="store_true", help="keep the output")
    p.add_argument("--json", type=Path, help="also write all figures to this file")
    p.add_argument("--markdown", action="store_true", help="print the table as Markdown")

    g = p.add_argument_group("the volume")
    xyz = {"type": int, "nargs": 3, "metavar": ("X", "Y", "Z")}
    g.add_argument("--layout", choices=("plain", "sharded", "gz-files"), default="plain")
    g.add_argument("--encoding", choices=("raw", "jpeg", "png"), default="raw", help="encoding of the image")
    g.add_argument("--contrast", type=float, default=1.0, help="0.5: an image that compresses better")
    g.add_argument("--size", **xyz, default=layers.SIZE)
    g.add_argument("--data", type=Path, help="a folder with a volume, instead of a generated one")

    g = p.add_argument_group("the job")
    g.add_argument("--window", **xyz, default=(64, 64, 64))
    g.add_argument("--points", type=int, help="default: as many voxels as 2,000 windows of 64 x 64 x 64 have")
    g.add_argument("--boxes", type=int)
    g.add_argument("--box-size", **xyz)
    kind = g.add_mutually_exclusive_group()
    kind.add_argument("--sparse", action="store_true", help="one box as large as the volume, 60 points")
    kind.add_argument("--small-boxes", action="store_true", help="500 boxes of 4 points, which share chunks")
    g.add_argument("--labels", action="store_true", help="an image and uint64 labels, converted to a mask, instead of an image and masks")
    g.add_argument("--shard", type=int, default=jobs.SHARD, help="samples per shard, for all programs")
    g.add_argument("--codec", help="the program's codec: auto, none, zstd, lz4, blosc, or JSON; with none, the other tools do not compress either")

    g = p.add_argument_group("the runs")
    g.add_argument("--peers", nargs="+", choices=jobs.PEERS, help="default: tensorstore; cloudvolume for gz-files")
    g.add_argument("--pairs", type=int, default=7, help="rounds that count")
    g.add_argument("--threads", type=int, default=2)
    g.add_argument("--cold", action="store_true", help="drop source files from memory first, and flush the output")
    a = p.parse_args()
    if not a.no_floor and not a.rates:
        p.error("--rates or --no-floor is needed")
    a.out = a.out or a.bench / "out"
    a.peers = a.peers or (["cloudvolume"] if a.layout == "gz-files" else ["tensorstore"])
    return a


def job(a):
    volume = layers.Volume.open(a.data) if a.data else layers.make(a.shared, a.bench, a.layout, a.encoding, a.contrast, a.size)
    arrays = {"image": None, "seg": "nonzero"} if a.labels else {"image": None, "mask_a": None, "mask_b": None}
    box, boxes, points = jobs.shape(volume.size, a.window, a.box_size, a.boxes, a.points, a.sparse, a.small_boxes)
    codec = jobs.parse_codec(a.codec) if a.codec else jobs.CODEC
    return jobs.write(a.out / "job", volume, arrays, a.window, box, boxes, points, a.small_boxes, codec, a.shard)


def programs(a, job):
    found = {jobs.OURS: jobs.ours(a.binary, job, a.out / "pointshard", a.threads)}
    for name in dict.fromkeys(a.peers):
        found[name] = jobs.peer(name, a.shared / "peers", job, a.out / name, a.threads, a.cold)
    found[jobs.ONE_THREAD] = jobs.ours(a.binary, job, a.out / "pointshard-1-thread", 1)
    return found


def rounds(a, job, runs):
    """Returns all figures by program."""
    sources = [*job.volume.files(job.arrays), *job.folder.rglob("*.json"), *job.folder.rglob("0_0_0")]
    figures = {name: [] for name in runs}
    # The kernel may still be writing a new volume.
    os.sync()
    for number in range(a.pairs + 1):
        for name, program in runs.items():
            if a.cold:
                measure.forget(sources)
            figure = measure.measure(program, a.out, flushed=a.cold)
            if number:
                figures[name].append(figure)
                print(f"round {number} {name}: {figure.wall_s:.2f} s", flush=True)
    return figures


def version(binary):
    return subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def head(a, job):
    state = "cold (source files dropped from memory, output flushed)" if a.cold else "warm page cache"
    codec = "the default" if job.codec is None else json.dumps(job.codec)
    flushing = "all flush what they write" if a.cold else f"{jobs.OURS} flushes every shard, peers do not"
    return [
        f"{version(a.binary)}: {job.describe()}; {job.shard} samples per shard",
        f"{a.threads} threads, medians of {a.pairs} rounds, {state}; {flushing}; peak is that of the largest process",
        f"codec of {jobs.OURS}: {codec}; of peers: {'none' if job.codec == 'none' else 'zstd, level 1'}",
    ]


def main():
    a = arguments()
    shutil.rmtree(a.out, ignore_errors=True)
    a.out.mkdir(parents=True)
    this = job(a)
    runs = programs(a, this)
    for name, program in runs.items():
        print(name, "$", " ".join(map(str, program.command)))
    figures = rounds(a, this, runs)
    windows = verify(a.binary, a.shared / "peers", this, runs)

    ours, rates, terms, least = runs[jobs.OURS].out, None, [], None
    lines = []
    if not a.no_floor:
        rates, terms = floor.measure(a.rates, this, ours, a.out / "rates")
        lines, least = floor.report(terms, rates, a.threads, report.medians(figures))
    print("\n" + "\n".join(head(a, this)) + "\n")
    print((report.markdown if a.markdown else report.text)(report.HEAD, report.rows(figures, windows, least)) + "\n")
    print("\n".join([*report.pairwise(figures), *lines]))
    if a.json:
        write_json(a, this, figures, rates, terms, least)
    if not a.keep:
        shutil.rmtree(a.out)


def write_json(a, job, figures, rates, terms, least):
    a.json.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "head": head(a, job),
        "machine": platform.platform(),
        "options": {key: str(value) if isinstance(value, Path) else value for key, value in vars(a).items()},
        "windows": job.points,
        "figures": {name: list(map(dataclasses.asdict, all_of)) for name, all_of in figures.items()},
        "medians": {name: dataclasses.asdict(m) for name, m in report.medians(figures).items()},
        "ratios": report.ratios(figures),
        "median_ratios": {n: {k: statistics.median(v) for k, v in r.items()} for n, r in report.ratios(figures).items()},
        "rates": rates,
        "floor": least and {**least, "terms": [{**dataclasses.asdict(t), "seconds": t.seconds} for t in terms]},
    }
    a.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
