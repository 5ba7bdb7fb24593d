"""A lower bound of the cost of a job, from rates that rates.rs measures on this machine in the same run:

    stored bytes of touched chunks / read rate              each chunk once, from the page cache
  + their decompressed bytes / inflate rate                 for gzip
  + their decoded bytes / decode rate                       for jpeg, png and compressed_segmentation
  + window bytes / cut rate                                 row by row
  + window bytes of each array / its zstd-1 encode rate     if the output is compressed with zstd
  + output bytes / write rate                               to the page cache, in the output folder

CPU floor: the sum. Wall floor: the sum / threads. Checksums, hashes, statistics, labels made masks and flushing are not in it.
"""

import json
import subprocess
from dataclasses import dataclass

import chunks
import jobs
import numpy as np


@dataclass
class Term:
    what: str
    bytes: int
    # Bytes per second per core.
    rate: float

    @property
    def seconds(self):
        return self.bytes / self.rate


def measure(binary, job, dataset, scratch):
    """Runs rates.rs on the chunks and windows of the job, and returns its rates and the terms of the floor."""
    touched = {layer: chunks.touched(job.volume, layer, job.starts, job.window) for layer in job.arrays}
    sources = {}
    for layer, of_layer in touched.items():
        of_layer.sample(scratch / layer)
        sources[layer] = {"folder": str(scratch / layer), "gzip": of_layer.gzip, "encoding": of_layer.encoding}
        sources[layer] |= {"chunk": of_layer.shape, "block": of_layer.block, "voxel_bytes": of_layer.voxel_bytes}
    about = {"dataset": str(dataset), "scratch": str(scratch), "window": job.window, "sources": sources}
    (scratch / "job.json").write_text(json.dumps(about))
    done = subprocess.run([binary, scratch / "job.json"], check=True, capture_output=True, text=True)
    rates = json.loads(done.stdout)
    return rates, terms(job, dataset, touched, rates)


def terms(job, dataset, touched, rates):
    found = []
    for layer, of_layer in touched.items():
        of_source = rates["sources"][layer]
        found.append(Term(f"read {layer}", of_layer.stored_bytes, of_source["read"]))
        if of_source["inflate"]:
            inflated = round(of_layer.stored_bytes * of_source["inflates_to"])
            found.append(Term(f"inflate {layer}", inflated, of_source["inflate"]))
        if of_source["decode"]:
            found.append(Term(f"{of_layer.encoding} {layer}", of_layer.values_bytes, of_source["decode"]))
    window_bytes = len(job.starts) * int(np.prod(job.window))
    found.append(Term("cut", window_bytes * len(job.arrays), rates["cut"]))
    for array in job.arrays:
        if zstd(dataset, array):
            found.append(Term(f"zstd-1 {array}", window_bytes, rates["arrays"][array]["encode"]))
    written = sum(shard["bytes"] for shard in json.loads((dataset / "manifest.json").read_text())["shards"])
    found.append(Term("write", written, rates["write"]))
    return found


def zstd(dataset, array):
    """Whether the windows of an array are compressed with zstd."""
    group = next(iter(sorted(dataset.glob("*.zarr"))))
    (sharding,) = json.loads((group / array / "zarr.json").read_text())["codecs"]
    return any(codec["name"] == "zstd" for codec in sharding["configuration"]["codecs"])


def report(found, rates, threads, medians):
    """Returns lines of text, and the sums."""
    lines = [f"{'the floor, on one core':<28} {'MB':>9} {'MB/s':>9} {'s':>7}"]
    lines += [f"  {t.what:<26} {t.bytes / 1e6:9.0f} {t.rate / 1e6:9.0f} {t.seconds:7.3f}" for t in found]
    cpu = sum(t.seconds for t in found)
    wall = cpu / threads
    us, written = medians[jobs.OURS], found[-1].bytes
    lines.append(f"floor: CPU {cpu:.2f} s, wall on {threads} threads {wall:.2f} s")
    lines.append(f"{jobs.OURS} / floor: wall {us.wall_s / wall:.2f}, CPU {us.cpu_s / cpu:.2f}")
    aside = [f"memcpy {rates['memcpy'] / 1e9:.1f} GB/s", f"writes that flush every file {rates['write_synced'] / 1e6:.0f} MB/s"]
    aside += [f"zstd decode of {n} {r['decode'] / 1e9:.1f} GB/s" for n, r in rates["arrays"].items()]
    lines.append(f"the same output, every file flushed, one after the other: {written / rates['write_synced']:.2f} s")
    lines.append("measured as well: " + ", ".join(aside))
    return lines, {"wall_s": wall, "cpu_s": cpu}
