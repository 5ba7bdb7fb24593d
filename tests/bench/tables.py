#!/usr/bin/env python3
"""Reads the annotations in one box from a table of many rows: pointshard, pandas and pyarrow, one after the other in each round.

    cargo build --release
    tests/bench/tables.py --rows 10000000

The table has ids, positions, a root id and a score. One box holds a thousandth of the rows. All programs read the same file from memory and
return the same number of rows. pointshard also plans the samples, checks all ids, and opens the volume. `--sort` sorts the rows by position.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KINDS = ["csv", "csv.gz", "csv.zst", "parquet", "feather"]
SIZE = 1000.0
HIGH = SIZE / 10

PEERS = {
    "pandas": """
import pandas

names = ["id", "x", "y", "z", "root", "score"]
kind = sys.argv[2].split(".")[0]
read = {"csv": pandas.read_csv, "parquet": pandas.read_parquet, "feather": pandas.read_feather}[kind]
rows = read(sys.argv[1], **({"usecols": names} if kind == "csv" else {"columns": names}))
found = len(rows[(rows.x < HIGH) & (rows.y < HIGH) & (rows.z < HIGH)])
""",
    "pyarrow": """
import pyarrow.csv
import pyarrow.dataset as ds
near = (ds.field("x") < HIGH) & (ds.field("y") < HIGH) & (ds.field("z") < HIGH)
# A dataset does not read CSV in zstd.
is_zst = sys.argv[2] == "csv.zst"
rows = pyarrow.csv.read_csv(sys.argv[1]) if is_zst else ds.dataset(sys.argv[1], format=sys.argv[2].split(".")[0])
found = len(rows.filter(near) if is_zst else rows.to_table(filter=near))
""",
}


def write_tables(folder, rows, is_sorted):
    # Imported here, in a process of its own: the peak memory of a program includes that of the process that started it.
    import numpy as np
    import pyarrow
    import pyarrow.csv
    import pyarrow.feather
    import pyarrow.parquet

    rng = np.random.default_rng(1)
    positions = rng.random((rows, 3)) * SIZE
    if is_sorted:
        positions = positions[np.argsort(positions[:, 0])]
    table = pyarrow.table({
        "id": np.arange(rows, dtype=np.uint64), "x": positions[:, 0].round(1), "y": positions[:, 1].round(1),
        "z": positions[:, 2].round(1), "root": rng.integers(2**59, 2**60, rows, dtype=np.uint64),
        "score": rng.random(rows, dtype=np.float32),
    })  # fmt: skip
    pyarrow.csv.write_csv(table, folder / "table.csv")
    for name, compression in (("table.csv.gz", "gzip"), ("table.csv.zst", "zstd")):
        with pyarrow.CompressedOutputStream(str(folder / name), compression) as out:
            pyarrow.csv.write_csv(table, out)
    pyarrow.parquet.write_table(table, folder / "table.parquet", write_page_index=True, row_group_size=1 << 18)
    pyarrow.feather.write_feather(table, folder / "table.feather")


def write_job(folder, kind):
    info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [{
        "key": "s", "resolution": [10, 10, 10], "size": [100, 100, 100], "voxel_offset": [0, 0, 0], "chunk_sizes": [[50, 50, 50]],
        "encoding": "raw"}]}  # fmt: skip
    (folder / "em/s").mkdir(parents=True, exist_ok=True)
    (folder / "em/info").write_text(json.dumps(info))
    points = {"file": f"table.{kind}", "unit": "nm", "point": ["x", "y", "z"], "id": "id"}
    config = {
        "collection": {"boxes": {"list": [{"min": [0, 0, 0], "max": [HIGH] * 3, "tags": ["train"]}], "layers": {"em": "precomputed://./em"}}},
        "resolution": [10, 10, 10], "window": [2, 2, 2],
        "points": {"table": {**points, "properties": {"root": "uint64", "score": "float32"}}},
        "arrays": {"em": {"layer": "em", "codec": "zstd"}}, "layers": {"em": {"empty": "allow"}}, "splits": {"train": ["train"]},
    }  # fmt: skip
    (folder / f"{kind}.json").write_text(json.dumps(config))
    return folder / f"{kind}.json"


def run(command):
    """Wall time, CPU time and peak memory in MiB of a command, and its output."""
    begin = time.monotonic()
    process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output, errors = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, errors
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output


def summaries(figures, amount):
    """For each program the cells of its row: medians of wall time, rate, CPU time and peak memory, and pointshard's wall time to it."""
    for name, rounds in figures.items():
        wall, cpu, peak = (statistics.median(values) for values in zip(*rounds))
        ratio = statistics.median(own[0] / other[0] for own, other in zip(figures["pointshard"], rounds))
        yield f"{name} | {wall:.2f} | {amount / wall:,.0f} | {cpu:.2f} | {peak:,.0f} | {ratio:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sort", action="store_true")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--binary", default="target/release/pointshard")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        writer = multiprocessing.Process(target=write_tables, args=(folder, arguments.rows, arguments.sort))
        writer.start()
        writer.join()
        assert writer.exitcode == 0
        print("| table | program | wall s | rows/s | CPU s | peak MiB | pointshard's wall to it |\n|---|---|---|---|---|---|---|")
        for kind in arguments.kinds:
            figures = {name: [] for name in ("pointshard", *PEERS)}
            config = write_job(folder, kind)
            for _ in range(arguments.rounds):
                *figure, output = run([arguments.binary, "plan", config, "--json"])
                found = {"pointshard": len(json.loads(output)["splits"]["train"])}
                figures["pointshard"].append(figure)
                for name, code in PEERS.items():
                    program = f"import sys\nHIGH = {HIGH}\n{code}\nprint(found)"
                    *figure, output = run([sys.executable, "-c", program, folder / f"table.{kind}", kind])
                    found[name] = int(output)
                    figures[name].append(figure)
                assert len(set(found.values())) == 1, found
            for cells in summaries(figures, arguments.rows):
                print(f"| {kind} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
