"""Compares the outputs of the programs with each other, window by window, and with the source."""

import importlib.util
import subprocess
import sys

import jobs
import numpy as np
import tensorstore as ts

AT_ONCE = 64


def read(path):
    return ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}, read=True).result()


def verify(binary, scripts, job, programs):
    """Exits with a message if an output is wrong. Returns the number of windows."""
    ours = programs[jobs.OURS].out
    subprocess.run([binary, "check", ours, "--quiet"], check=True)
    manifest = (ours / "manifest.json").read_bytes()
    if (programs[jobs.ONE_THREAD].out / "manifest.json").read_bytes() != manifest:
        sys.exit("one thread wrote another dataset than several threads")
    peers = {name: p.out for name, p in programs.items() if name not in (jobs.OURS, jobs.ONE_THREAD)}
    for name, out in peers.items():
        if out is None:
            print(f"{name}: writes nothing, not verified")
            continue
        against_source(scripts, job, name, out)
        windows = equal(job, ours, name, out)
        if windows != job.points:
            sys.exit(f"{windows} windows were written for {job.points} points")
    return job.points


def against_source(scripts, job, name, out):
    """Compares some windows of another tool with the source, with the script of these tools."""
    if not importlib.util.find_spec("cloudvolume"):
        print(f"{name}: not compared with the source, because that needs cloud-volume")
        return
    # More windows if they are small, because the script fails if all that it compares are 0.
    some = 60 if np.prod(job.window) >= 64**2 * 32 else 500
    command = [sys.executable, scripts / "verify_output.py", *jobs.peer_arguments(job), "--out", out, "--check", some]
    done = subprocess.run(list(map(str, command)), text=True, capture_output=True)
    print(f"{name} against the source: {(done.stdout + done.stderr).strip()}")
    if done.returncode:
        sys.exit(1)


def equal(job, ours, name, peer):
    """Compares all windows of all arrays."""
    windows, farthest = 0, 0
    for group in sorted(ours.glob("*.zarr")):
        rows = read(group / "annotation_id").read().result().astype(np.int64) - 1
        windows += len(rows)
        for array in job.arrays:
            # JPEG decoders may differ by one grey level.
            allowed = 1 if array == "image" and job.volume.about["image_encoding"] == "jpeg" else 0
            mine, theirs = read(group / array), read(peer / array)
            for i in range(0, len(rows), AT_ONCE):
                end = min(i + AT_ONCE, len(rows))
                a, b = mine[i:end].read().result(), theirs[rows[i:end]].read().result()
                difference = 0 if np.array_equal(a, b) else int(np.abs(a.astype(np.int16) - b).max())
                farthest = max(farthest, difference)
                if difference > allowed:
                    sys.exit(f"{group.name} {array}: windows {i}..{end} differ from those of {name} by {difference}")
    within = f", within {farthest} grey level (jpeg)" if farthest else ""
    print(f"verified equal{within}: all {windows} windows x {len(job.arrays)} arrays of {jobs.OURS} and {name}")
    return windows
