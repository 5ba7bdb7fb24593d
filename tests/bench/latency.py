"""Runs jobs in turn from local files, from a server that delays each response, and from a mounted folder that delays each
operation. Prints times, requests and bytes.

The server is nginx. Before each response, it sends a request to another server, which responds after the delay. Requests
wait concurrently. The folder is mounted by FUSE, as root. Needs nginx and the virtual environment of tests/run, and data of tests/bench/run:
`target/venv/bin/python tests/bench/latency.py --bench target/bench/plain`
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))

from late_folder import LateFolder, is_available
from program import VNC, binary, file_digests
from servers import DelayServer, Nginx, delayed, nginx_binary

VNC_JOB = {
    "resolution": [4.6, 4.6, 45.0],
    "window": [32, 32, 8],
    "points": {"layer": "points"},
    "arrays": {layer: {"layer": layer} for layer in ("img", "label0", "label1")},
    "splits": {"train": ["train"], "val": ["val"]},
    "leaks": "allow",
}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bench", type=Path, help="also run the job in this folder of tests/bench/run")
    p.add_argument("--delay-ms", type=float, default=50)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--runs", type=int, default=3)
    return p.parse_args()


def write_job(folder, job, data, root):
    """Writes the job with layers at `root`, the URL of the folder `data`."""
    rows = json.loads((data / "collection.json").read_text())
    for layer in rows["layers"]:
        layer["source"] = f"precomputed://{root}/{layer['name']}"
    (folder / "collection.json").write_text(json.dumps(rows))
    (folder / "config.json").write_text(json.dumps({**job, "collection": "collection.json"}))
    return folder / "config.json"


def run(config, out, threads):
    """Seconds of a run into an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    command = [binary(), "preprocess", config, "--out", out, "--threads", threads, "--quiet"]
    start = time.perf_counter()
    env = {**os.environ, "NO_PROXY": "127.0.0.1"}
    subprocess.run([str(c) for c in command], check=True, env=env, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def shards(out):
    """Digests of all files of the splits. The manifest differs, because it contains the URLs of layers."""
    return {name: digest for name, digest in file_digests(out).items() if ".zarr/" in name and "/c." in name}


def measure(a, name, job, data, folder):
    delay_server = DelayServer(a.delay_ms / 1000)
    nginx = Nginx(folder, {"delayed": delayed(data, delay_server)})
    try:
        places = {"local": f"file://{data}", "delayed": nginx.url("delayed"), "mounted": f"file://{folder}/mount"}
        seconds = {place: [] for place in places if place != "mounted" or is_available()}
        operations = 0
        for place in seconds:
            (folder / place).mkdir()
        configs = {place: write_job(folder / place, job, data, places[place]) for place in seconds}
        for _ in range(a.runs):
            for place, config in configs.items():
                # A new mount for each run, because the kernel remembers names and bytes.
                mounted = LateFolder(data, folder / "mount", a.delay_ms / 1000) if place == "mounted" else None
                seconds[place].append(run(config, folder / place / "out", a.threads))
                if mounted:
                    operations = len(mounted.operations())
                    mounted.stop()
                    (folder / "mount").rmdir()
        requests = nginx.requests("delayed")
    finally:
        nginx.stop()
        delay_server.stop()
    for place in seconds:
        if shards(folder / "local/out") != shards(folder / place / "out"):
            sys.exit(f"{name}: the output from {places[place]} differs from the output from local files")
        check = [str(binary()), "check", str(folder / place / "out"), "--quiet"]
        subprocess.run(check, check=True, stdout=subprocess.DEVNULL)
    count, size = len(requests) / a.runs, sum(r.body_bytes for r in requests) / a.runs
    local, far, mounted = (statistics.median(seconds.get(place, [math.nan])) for place in places)
    cells = f"{name:<6} {local:9.2f} {far:11.2f} {far / local:6.2f} {count:9.0f} {size / 2**20:8.1f}"
    print(f"{cells} {mounted:11.2f} {mounted / far:8.2f} {operations:11}", flush=True)


def main():
    a = arguments()
    if not nginx_binary():
        sys.exit("nginx is missing: apt install nginx-light")
    jobs = {"vnc": (VNC_JOB, VNC)}
    if a.bench:
        jobs["bench"] = (json.loads((a.bench / "config.json").read_text()), a.bench.resolve())
    print(f"each response is delayed by {a.delay_ms:g} ms; {a.threads} threads; medians of {a.runs} runs; windows equal")
    head = f"{'job':<6} {'local s':>9} {'delayed s':>11} {'ratio':>6} {'requests':>9} {'MiB':>8}"
    print(f"{head} {'mounted s':>11} {'/ server':>8} {'operations':>11}")
    for name, (job, data) in jobs.items():
        with tempfile.TemporaryDirectory(prefix="latency-") as folder:
            measure(a, name, job, data, Path(folder))


if __name__ == "__main__":
    main()
