"""Runs jobs from local files and from a server that lets every request wait, in turn; prints times, requests, bytes.

The server is nginx. Before each response it sends a request to another server, which answers after the delay;
requests wait side by side. Needs nginx and the Python packages of tests/interop: run it with their environment, as
`target/venv/bin/python tests/bench/latency.py --bench target/bench/plain` (tests/run makes it, tests/bench/run the data).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))

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
    p.add_argument("--bench", type=Path, help="also the job in this folder, which tests/bench/run made")
    p.add_argument("--delay-ms", type=float, default=50)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--runs", type=int, default=3)
    return p.parse_args()


def write_job(folder, job, data, root):
    """Writes the job with its layers at `root`, the place of the folder `data`."""
    rows = json.loads((data / "collection.json").read_text())
    for layer in rows["layers"]:
        layer["source"] = f"precomputed://{root}/{layer['name']}"
    (folder / "collection.json").write_text(json.dumps(rows))
    (folder / "config.json").write_text(json.dumps({**job, "collection": "collection.json"}))
    return folder / "config.json"


def run(config, out, threads):
    """Seconds of a whole run into an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    os.sync()
    command = [binary(), "preprocess", config, "--out", out, "--threads", threads, "--quiet"]
    start = time.perf_counter()
    env = {**os.environ, "NO_PROXY": "127.0.0.1"}
    subprocess.run([str(c) for c in command], check=True, env=env, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def shards(out):
    """The digests of all that is in the splits; the manifest beside them holds the places of layers."""
    return {name: digest for name, digest in file_digests(out).items() if ".zarr/" in name and "/c/" in name}


def measure(a, name, job, data, folder):
    delay_server = DelayServer(a.delay_ms / 1000)
    nginx = Nginx(folder, {"delayed": delayed(data, delay_server)})
    try:
        places = {"local": f"file://{data}", "delayed": nginx.url("delayed")}
        seconds = {place: [] for place in places}
        configs = {}
        for place, root in places.items():
            (folder / place).mkdir()
            configs[place] = write_job(folder / place, job, data, root)
        for _ in range(a.runs):
            for place, config in configs.items():
                seconds[place].append(run(config, folder / place / "out", a.threads))
        requests = nginx.requests("delayed")
    finally:
        nginx.stop()
        delay_server.stop()
    if shards(folder / "local/out") != shards(folder / "delayed/out"):
        sys.exit(f"{name}: what came from the server is not what came from local files")
    check = [str(binary()), "check", str(folder / "delayed/out"), "--quiet"]
    subprocess.run(check, check=True, stdout=subprocess.DEVNULL)
    count, size = len(requests) / a.runs, sum(r.body_bytes for r in requests) / a.runs
    local, far = (statistics.median(seconds[place]) for place in places)
    print(f"{name:<6} {local:9.2f} {far:11.2f} {far / local:6.2f} {count:9.0f} {size / 2**20:8.1f}", flush=True)


def main():
    a = arguments()
    if not nginx_binary():
        sys.exit("nginx is missing: apt install nginx-light")
    jobs = {"vnc": (VNC_JOB, VNC)}
    if a.bench:
        jobs["bench"] = (json.loads((a.bench / "config.json").read_text()), a.bench.resolve())
    print(f"each request waits {a.delay_ms:g} ms; {a.threads} threads; medians of {a.runs} runs; windows equal")
    print(f"{'job':<6} {'local s':>9} {'delayed s':>11} {'ratio':>6} {'requests':>9} {'MiB':>8}")
    for name, (job, data) in jobs.items():
        with tempfile.TemporaryDirectory(prefix="latency-") as folder:
            measure(a, name, job, data, Path(folder))


if __name__ == "__main__":
    main()
