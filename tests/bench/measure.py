"""Runs one program and takes down what it used, by the kernel's account."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ACCOUNT = Path(__file__).with_name("account.py")


@dataclass
class Figures:
    wall_s: float
    # User and system time, of its processes, too.
    cpu_s: float
    # Of the largest process.
    peak_mib: float


def forget(files):
    """Drops files from the page cache; those not flushed would stay in it."""
    for path in files:
        with open(path, "rb") as file:
            os.fsync(file)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def flush(folder):
    """Waits until all files of a folder are on the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file)


def measure(program, scratch, flushed=False):
    """Runs a program; with `flushed` its time ends when what it wrote is on the disk.

    It is on the disk afterwards in any case, so that the next program does not wait for it.
    """
    if program.out:
        shutil.rmtree(program.out, ignore_errors=True)
    command, used, log = list(map(str, program.command)), scratch / "used.json", scratch / "log"
    with open(log, "wb") as told:
        done = subprocess.run([sys.executable, "-I", "-S", ACCOUNT, used, *command], stdout=told, stderr=told)
    if done.returncode:
        sys.exit(f"$ {' '.join(command)}\nfailed\n{log.read_text()}")
    figures = Figures(**json.loads(used.read_text()))
    start = time.perf_counter()
    if program.out:
        flush(program.out)
    if flushed:
        figures.wall_s += time.perf_counter() - start
    return figures
