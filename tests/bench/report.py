"""Tables of figures: medians, and ratios in each round."""

import dataclasses
import statistics

import jobs
from measure import Figures

HEAD = ("program", "wall s", "CPU s", "peak MiB", "windows/s", "wall / ours", "CPU / ours")


def medians(figures):
    """The median of each figure, by program."""
    return {name: median(all_of) for name, all_of in figures.items()}


def median(figures):
    return Figures(*(statistics.median(getattr(f, field.name) for f in figures) for field in dataclasses.fields(Figures)))


def ratios(figures):
    """For each other program, the ratio of a figure to that of pointshard in the same round."""
    found = {}
    for name, theirs in figures.items():
        if name != jobs.OURS:
            pairs = list(zip(theirs, figures[jobs.OURS], strict=True))
            found[name] = {key: [getattr(t, key) / getattr(o, key) for t, o in pairs] for key in ("wall_s", "cpu_s")}
    return found


def rows(figures, windows, floor=None):
    of_pairs = ratios(figures)
    lines = []
    for name, m in medians(figures).items():
        pair = of_pairs.get(name)
        beside = [f"{statistics.median(pair[key]):.2f}" for key in ("wall_s", "cpu_s")] if pair else ["1.00", "1.00"]
        lines.append([name, f"{m.wall_s:.2f}", f"{m.cpu_s:.2f}", f"{m.peak_mib:.0f}", f"{windows / m.wall_s:.0f}", *beside])
    if floor:
        ours = medians(figures)[jobs.OURS]
        beside = [f"{floor[key] / getattr(ours, key):.2f}" for key in ("wall_s", "cpu_s")]
        line = [f"{floor['wall_s']:.2f}", f"{floor['cpu_s']:.2f}", "", f"{windows / floor['wall_s']:.0f}", *beside]
        lines.append(["floor (computed)", *line])
    return lines


def text(head, lines):
    widths = [max(len(row[i]) for row in [head, *lines]) for i in range(len(head))]

    def line(row):
        return "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:]))])

    return "\n".join(map(line, [head, *lines]))


def markdown(head, lines):
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *lines])


def pairwise(figures):
    """All ratios. The ratio of one thread is the speed-up of several threads."""
    for name, of_pairs in ratios(figures).items():
        for key, what in (("wall_s", "wall"), ("cpu_s", "CPU")):
            pairs = ", ".join(f"{r:.2f}" for r in of_pairs[key])
            middle = statistics.median(of_pairs[key])
            yield f"{what} of {name} / {jobs.OURS}, round by round: {pairs}; median {middle:.2f}"
