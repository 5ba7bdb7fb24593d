"""Runs one program and takes down what it used, by the kernel's account."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Figures:
    wall_s: float
    # User and system time, of its processes, too.
    cpu_s: float
    # Of the largest process.
    peak_mib: float


def clean(out):
    """Removes what an earlier run wrote, and lets the disk finish."""
    if out:
        shutil.rmtree(out, ignore_errors=True)
    os.sync()


def forget(files):
    """Drops files from the page cache; those not flushed would stay in it."""
    for path in files:
        with open(path, "rb") as file:
            os.fsync(file)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def flush(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file)


def measure(program, log, flushed=False):
    """Runs a program; with `flushed` its time ends when what it wrote is on the disk."""
    with open(log, "wb") as told:
        start = time.perf_counter()
        process = subprocess.Popen([str(c) for c in program.command], stdout=told, stderr=told)
        _, status, used = os.wait4(process.pid, 0)
        if flushed and program.out:
            flush(program.out)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        command = " ".join(map(str, program.command))
        sys.exit(f"$ {command}\nexit code {process.returncode}\n{Path(log).read_text()}")
    return Figures(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
