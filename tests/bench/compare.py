"""Runs pointshard and a peer in turn, A B A B, warm; verifies what both wrote; prints medians and pairwise ratios."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorstore as ts

ARRAYS = ("image", "mask_a", "mask_b")


@dataclass
class Figures:
    wall_s: float
    cpu_s: float
    peak_mib: float


def arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--binary", type=Path, required=True)
    p.add_argument("--peers", type=Path, required=True, help="folder of the peer scripts")
    p.add_argument("--data", type=Path, required=True, help="what make_bench_data.py made")
    p.add_argument("--out", type=Path, required=True, help="a folder to write to; deleted at the end")
    p.add_argument("--pairs", type=int, default=7)
    p.add_argument("--threads", type=int, default=2)
    return p.parse_args()


def measure(command, log):
    """Wall time, user and system time, and peak memory of a process, all by the kernel's account of it."""
    with open(log, "wb") as told:
        start = time.perf_counter()
        process = subprocess.Popen([str(c) for c in command], stdout=told, stderr=told)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} failed: {Path(log).read_text()}")
    return Figures(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def commands(a):
    """Both programs' command lines: the same points, arrays, shards, compression and threads."""
    config = json.loads((a.data / "config.json").read_text())
    config["shard_samples"] = 64
    path = a.data / "config_shards_of_64.json"
    path.write_text(json.dumps(config, indent=1))
    ours = [a.binary, "preprocess", path, "--out", a.out / "pointshard", "--threads", a.threads, "--quiet"]
    peer = [sys.executable, a.peers / "peer_tensorstore.py", "--data", a.data, "--points", a.data / "points.json"]
    peer += ["--out", a.out / "tensorstore", "--in-flight", 8, "--threads", a.threads]
    return {"pointshard": ours, "tensorstore": peer}


def read(path):
    return ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}, read=True).result()


def verify(a):
    """The peer's output against the source, by its own script; ours against the peer's, every window of it."""
    check = [sys.executable, a.peers / "verify_output.py", "--data", a.data, "--points", a.data / "points.json"]
    subprocess.run([*check, "--out", a.out / "tensorstore"], check=True)
    subprocess.run([a.binary, "check", a.out / "pointshard"], check=True)
    compared = 0
    for split in ("train", "val"):
        group = a.out / f"pointshard/{split}.zarr"
        rows = read(group / "annotation_id").read().result().astype(np.int64) - 1
        for array in ARRAYS:
            ours, peers = read(group / array), read(a.out / "tensorstore" / array)
            for i in range(0, len(rows), 64):
                end = min(i + 64, len(rows))
                same = ours[i:end].read().result() == peers[rows[i:end]].read().result()
                if not same.all():
                    sys.exit(f"{split} {array}: windows {i}..{end} differ from the peer's")
        compared += len(rows)
    print(f"all {compared} samples x {len(ARRAYS)} arrays of pointshard equal the peer's")
    return compared


def main():
    a = arguments()
    shutil.rmtree(a.out, ignore_errors=True)
    a.out.mkdir(parents=True)
    runs = commands(a)
    for name, command in runs.items():
        print(name, "$", " ".join(map(str, command)))
    figures = {name: [] for name in runs}
    for pair in range(-1, a.pairs):
        for name, command in runs.items():
            shutil.rmtree(a.out / name, ignore_errors=True)
            os.sync()
            figure = measure(command, a.out / f"{name}.log")
            if pair < 0:
                continue  # warms the page cache
            figures[name].append(figure)
            print(f"pair {pair + 1} {name}: {figure.wall_s:.2f} s", flush=True)
    windows = verify(a)

    print(f"\n{windows} windows of 64^3 in {len(ARRAYS)} arrays, {a.threads} threads, medians of {a.pairs} runs, warm")
    print(f"{'program':<12} {'wall s':>7} {'CPU s':>7} {'peak MiB':>9} {'windows/s':>10}")
    for name, all_of in figures.items():
        keys = ("wall_s", "cpu_s", "peak_mib")
        wall, cpu, peak = (statistics.median(getattr(f, key) for f in all_of) for key in keys)
        print(f"{name:<12} {wall:7.2f} {cpu:7.2f} {peak:9.0f} {windows / wall:10.0f}")
    ratios = [peer.wall_s / ours.wall_s for ours, peer in zip(*figures.values())]
    pairs = ", ".join(f"{r:.2f}" for r in ratios)
    print(f"tensorstore's wall time / pointshard's, pair by pair: {pairs}; median {statistics.median(ratios):.2f}")
    shutil.rmtree(a.out)


if __name__ == "__main__":
    main()
