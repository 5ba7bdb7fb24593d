"""Runs a program and measures its resource usage, as the kernel counts it."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ACCOUNT = Path(__file__).with_name("account.py")


@dataclass
class Figures:
    wall_s: float
    # User and system time, including child processes.
    cpu_s: float
    # Peak of the largest process.
    peak_mib: float


def forget(files):
    """Drops files from the page cache. Files that are not flushed would remain there."""
    for path in files:
        with open(path, "rb") as file:
            os.fsync(file)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def flush(folder):
    """Waits until all files of a folder are on disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file)


def measure(program, scratch, flushed=False):
    """Runs a program. With `flushed`, its time includes writing its output to disk.

    It is on the disk afterwards in any case, so that the next program does not wait for it.
    """
    if program.out and program.out.exists():
        # Not deleted: for minutes after files were deleted, ext4 searches long for an inode that a new file may use, which took
        # half of the time of a job with many shards.
        earlier = scratch / "earlier" / f"{program.out.name}-{time.monotonic_ns()}"
        earlier.parent.mkdir(exist_ok=True)
        program.out.rename(earlier)
        forget(path for path in earlier.rglob("*") if path.is_file())
    command, used, log = list(map(str, program.command)), scratch / "used.json", scratch / "log"
    with open(log, "wb") as output:
        done = subprocess.run([sys.executable, "-I", "-S", ACCOUNT, used, *command], stdout=output, stderr=output)
    if done.returncode:
        sys.exit(f"$ {' '.join(command)}\nfailed\n{log.read_text()}")
    figures = Figures(**json.loads(used.read_text()))
    start = time.perf_counter()
    if program.out:
        flush(program.out)
    if flushed:
        figures.wall_s += time.perf_counter() - start
    return figures
