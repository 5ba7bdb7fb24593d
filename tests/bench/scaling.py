"""Wall time and memory of pointshard for more points, larger volumes, many boxes and many small files.

    tests/bench/run --no-floor                  (creates the volume, the program and the virtual environment)
    target/bench/venv/bin/python tests/bench/scaling.py --binary target/release/pointshard --data target/bench/plain

Each row is a median of several runs with a warm page cache. Prints a table, writes JSON and draws a plot. Needs 3 GB of
temporary disk space.
"""

import argparse
import dataclasses
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import jobs
import layers
import measure
import numpy as np
import report

REPOSITORY = Path(__file__).resolve().parents[2]
MORE_POINTS, LARGER = "points", "volume"
HEAD = ("what", "times", "points", "volume MB", "files", "wall s", "lowest to highest", "CPU s", "peak MiB", "windows/s")


@dataclass
class Row:
    what: str
    times: float
    points: int
    volume_bytes: int
    files: int
    figures: list

    @property
    def median(self):
        return report.median(self.figures)

    def cells(self):
        m, walls = self.median, [f.wall_s for f in self.figures]
        spread = f"{min(walls):.2f} to {max(walls):.2f}"
        numbers = [f"{self.times:g}", str(self.points), f"{self.volume_bytes / 1e6:.0f}", str(self.files)]
        used = [f"{m.wall_s:.2f}", spread, f"{m.cpu_s:.2f}", f"{m.peak_mib:.0f}", f"{self.points / m.wall_s:.0f}"]
        return [self.what, *numbers, *used]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", type=Path, required=True)
    p.add_argument("--data", type=Path, required=True, help="a volume with the layer `image`")
    p.add_argument("--out", type=Path, default=REPOSITORY / "target/bench/scaling", help="the output folder, deleted before and after")
    p.add_argument("--points", type=int, default=500, help="points of the smallest job; the largest has 16 times as many")
    p.add_argument("--window", type=int, nargs=3, default=(64, 64, 64), metavar=("X", "Y", "Z"))
    p.add_argument("--boxes", type=int, default=10000, help="number of tiny boxes with 3 points each")
    p.add_argument("--files", type=int, default=100000, help="number of files with chunks of 8 x 8 x 8; 200 windows need some of them")
    p.add_argument("--most", type=int, default=16, choices=(1, 4, 16), help="largest factor of points and volume")
    p.add_argument("--runs", type=int, default=5, help="runs of each job, after one that does not count")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--only", nargs="+", choices=("points", "volume", "boxes", "files"))
    p.add_argument("--json", type=Path, help="default: scaling.json, next to --out")
    p.add_argument("--plot", type=Path, default=REPOSITORY / "docs/images/performance-scaling.svg")
    p.add_argument("--keep", action="store_true", help="keep the last output")
    p.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return p.parse_args()


def row(a, what, times, volume, window, box, boxes, points):
    """Measures one job. Its boxes may share chunks."""
    job = jobs.write(a.out / "job", volume, {"image": None}, window, box, boxes, points, share_chunks=True)
    program = jobs.ours(a.binary, job, a.out / "pointshard", a.threads)
    # The kernel may still be writing a new volume.
    os.sync()
    figures = [measure.measure(program, a.out) for _ in range(a.runs + 1)][1:]
    measured = Row(what, times, points, int(np.prod(volume.size)), len(volume.files(["image"])) - 1, figures)
    print(" ".join(measured.cells()), flush=True)
    return measured


def whole(volume, window):
    """The largest box for which no window extends past the volume."""
    return tuple(n - 2 * ((w + 1) // 2) for n, w in zip(volume.size, window))


def more_points(a, volume):
    for times in (n for n in (1, 2, 4, 8, 16) if n <= a.most):
        yield row(a, MORE_POINTS, times, volume, a.window, whole(volume, a.window), 1, a.points * times)


def larger_volume(a, volume):
    """The same number of windows in 1, 4 and 16 times the volume: a quarter of it, all of it, and four copies of it."""
    image = read(volume)
    half = [n // 2 // c * c for n, c in zip(image.shape[1:], volume.chunk[1::-1])]
    shapes = {1: image[:, : half[0], : half[1]], 4: image, 16: None}
    for times in (n for n in shapes if n <= a.most):
        values = np.tile(image, (1, 2, 2)) if times == 16 else shapes[times]
        larger = layers.write_raw(a.out / "volume", {"image": values}, volume.chunk, volume.resolution)
        yield row(a, LARGER, times, larger, a.window, whole(larger, a.window), 1, 4 * a.points)
        shutil.rmtree(larger.folder)


def tiny_boxes(a, volume):
    yield row(a, "tiny boxes", 1, volume, (16, 16, 16), (8, 8, 4), a.boxes, 3 * a.boxes)


def small_files(a, volume):
    """A layer of very many files, of which windows need few."""
    side = round(a.files ** (1 / 3))
    shape = (-(-a.files // side**2) * 8, side * 8, side * 8)
    values = np.resize(read(volume)[:8, :8, :8], shape)
    many = layers.write_raw(a.out / "files", {"image": values}, (8, 8, 8), volume.resolution)
    yield row(a, "small files", 1, many, (16, 16, 16), whole(many, (16, 16, 16)), 1, 200)


def read(volume):
    """The layer `image` as [z, y, x]."""
    import tensorstore as ts

    store = {"driver": "file", "path": f"{volume.folder.resolve()}/image/"}
    source = ts.open({"driver": "neuroglancer_precomputed", "kvstore": store}, read=True).result()
    return source[..., 0].transpose([2, 1, 0]).read(order="C").result()


def plot(path, rows):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "pointshard"
    from matplotlib import pyplot

    figure, (wall, memory) = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for what, mark in ((MORE_POINTS, "o-"), (LARGER, "s-")):
        of_kind = [r for r in rows if r.what == what]
        label = {MORE_POINTS: "times the points", LARGER: "times the volume, same points"}[what]
        if of_kind:
            times = [r.times for r in of_kind]
            wall.plot(times, [r.median.wall_s for r in of_kind], mark, label=label)
            memory.plot(times, [r.median.peak_mib for r in of_kind], mark, label=label)
    for axes, title in ((wall, "wall time, s"), (memory, "peak memory, MiB")):
        axes.set_xscale("log", base=2)
        axes.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
        axes.set_xlabel("times as much")
        axes.set_title(title)
        axes.grid(alpha=0.3)
    wall.set_yscale("log", base=2)
    wall.yaxis.set_major_formatter("{x:g}")
    drawn = [r.median.peak_mib for r in rows if r.what in (MORE_POINTS, LARGER)]
    memory.set_ylim(0, 1.3 * max(drawn, default=1))
    wall.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without a date, the same figures give the same file.
    figure.savefig(path, metadata={"Date": None})


def main():
    a = arguments()
    shutil.rmtree(a.out, ignore_errors=True)
    a.out.mkdir(parents=True)
    volume = layers.Volume.open(a.data)
    kinds = {"points": more_points, "volume": larger_volume, "boxes": tiny_boxes, "files": small_files}
    rows = [row for kind, rows_of in kinds.items() if kind in (a.only or kinds) for row in rows_of(a, volume)]

    cells = [r.cells() for r in rows]
    print(f"\n{a.threads} threads, medians of {a.runs} runs, warm page cache; windows of the image of")
    print(f"{' x '.join(map(str, a.window))} for more points and larger volumes, otherwise of 16 x 16 x 16\n")
    print((report.markdown if a.markdown else report.text)(HEAD, cells))
    rows_as_json = [{**dataclasses.asdict(r), "median": dataclasses.asdict(r.median)} for r in rows]
    (a.json or a.out.with_suffix(".json")).write_text(json.dumps(rows_as_json, indent=1) + "\n")
    if any(r.what in (MORE_POINTS, LARGER) for r in rows):
        plot(a.plot, rows)
    if not a.keep:
        shutil.rmtree(a.out)


if __name__ == "__main__":
    main()
