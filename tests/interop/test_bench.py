"""The benchmark on a tiny volume: every program runs, and their outputs are compared.

Times are ignored.
"""

import importlib.util
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorstore as ts
from program import REPOSITORY, binary

BENCH = REPOSITORY / "tests/bench"
SIZE = (192, 128, 96)
PEERS = ["tensorstore", *(["cloudvolume"] if importlib.util.find_spec("cloudvolume") else [])]
RATES = """#!/usr/bin/env python3
import json, sys
job = json.load(open(sys.argv[1]))
source, array = {"read": 2e6, "inflate": 8e6, "inflates_to": 1.5, "decode": None}, {"encode": 1e6, "decode": 1e6}
rates = {"memcpy": 1e6, "cut": 4e6, "write": 1e6, "write_synced": 1e6}
print(json.dumps(rates | {"sources": dict.fromkeys(job["sources"], source), "arrays": dict.fromkeys(job["sources"], array)}))
"""


@pytest.fixture(scope="module")
def modules():
    """Makes the modules of the benchmark importable."""
    sys.path.append(str(BENCH))
    yield
    sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def layers():
    """Values of a volume, by layer, [z, y, x]."""
    rng = np.random.default_rng(3)
    shape = SIZE[::-1]
    masks = {name: (rng.random(shape) < share).astype(np.uint8) for name, share in (("mask_a", 0.1), ("mask_b", 0.5))}
    image = rng.integers(0, 256, shape, np.uint8)
    return {"image": image, **masks, "seg": masks["mask_b"] * np.uint64(1 << 50)}


@pytest.fixture(scope="module")
def volume(modules, layers, tmp_path_factory):
    from layers import write_raw

    return write_raw(tmp_path_factory.mktemp("volume"), layers, (64, 64, 32))


@pytest.fixture
def compare(shared, volume, tmp_path):
    """Runs the driver on the volume; returns its output and the figures that it wrote."""

    def run(*arguments, code=0):
        small = ["--window", 17, 16, 8, "--points", 24, "--boxes", 2, "--box-size", 9, 20, 16, "--pairs", 1]
        places = ["--binary", binary(), "--shared", shared, "--data", volume.folder, "--out", tmp_path / "out"]
        command = [sys.executable, BENCH / "compare.py", *places, *small, "--json", tmp_path / "figures.json", *arguments]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout, json.loads((tmp_path / "figures.json").read_text())

    return run


def test_all_programs_write_the_same_windows_and_appear_in_the_table(compare, tmp_path):
    output, figures = compare("--no-floor", "--peers", *PEERS, "--markdown")
    for peer in PEERS:
        assert f"verified equal: all 24 windows x 3 arrays of pointshard and {peer}\n" in output
    for program in ("pointshard", "pointshard, 1 thread", *PEERS):
        assert f"\n| {program} | " in output
        assert len(figures["figures"][program]) == 1
    assert not (tmp_path / "out").exists()


def test_masks_of_labels_in_many_small_boxes_are_equal_with_a_cold_cache(compare):
    output, _ = compare("--no-floor", "--labels", "--small-boxes", "--boxes", "5", "--cold")
    assert "verified equal: all 24 windows x 2 arrays of pointshard and tensorstore\n" in output


def test_the_floor_is_the_sum_of_its_terms(compare, tmp_path):
    rates = tmp_path / "rates"
    rates.write_text(RATES)
    rates.chmod(0o755)
    _, figures = compare("--rates", rates, "--labels", "--keep")
    terms = {term["what"]: term["bytes"] for term in figures["floor"]["terms"]}
    windows = 24 * 17 * 16 * 8
    points = json.loads((tmp_path / "out/job/points.json").read_text())["points"]
    first = np.array([p["xyz"] for p in points]) - (8, 8, 4)
    last = first + (16, 15, 7)
    cells = {cell for ends in zip(first // (64, 64, 32), last // (64, 64, 32)) for cell in corners(*ends)}
    assert terms["read image"] == len(cells) * 64 * 64 * 32
    assert terms["inflate image"] == 1.5 * terms["read image"]
    assert terms["read seg"] == 8 * terms["read image"]
    assert terms["cut"] == 2 * windows
    assert terms["zstd-1 seg"] == windows
    shards = list((tmp_path / "out/pointshard").glob("*.zarr/[is]*/c.*.0.0.0.0"))
    assert terms["write"] == sum(shard.stat().st_size for shard in shards)
    stored = terms["read image"] + terms["read seg"]
    seconds = stored / 2e6 + 1.5 * stored / 8e6 + terms["cut"] / 4e6 + (2 * windows + terms["write"]) / 1e6
    assert figures["floor"]["cpu_s"] == pytest.approx(seconds)
    assert figures["floor"]["wall_s"] == pytest.approx(seconds / 2)


def corners(first, last):
    """The chunks at the corners of a window smaller than a chunk, which are all that it touches."""
    return list(itertools.product(*zip(first.tolist(), last.tolist())))


def test_chunks_are_found_in_shards(modules, volume, layers, tmp_path):
    import chunks

    sharding = {"@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 1, "minishard_bits": 1}
    sharding |= {"shard_bits": 1, "data_encoding": "raw", "minishard_index_encoding": "gzip"}
    scale = {"size": SIZE, "encoding": "raw", "chunk_size": [64, 64, 32], "resolution": [8, 8, 40], "sharding": sharding}
    store = {"driver": "file", "path": f"{tmp_path}/image/"}
    about = {"type": "image", "data_type": "uint8", "num_channels": 1}
    spec = {"driver": "neuroglancer_precomputed", "kvstore": store, "scale_metadata": scale, "multiscale_metadata": about}
    ts.open(spec, create=True).result()[..., 0].transpose([2, 1, 0]).write(layers["image"]).result()
    (tmp_path / "dataset.json").write_text((volume.folder / "dataset.json").read_text())
    starts = np.array([[0, 0, 0], [60, 60, 30], [130, 70, 64]])

    stored = {}
    for where in (volume, type(volume).open(tmp_path)):
        found = chunks.touched(where, "image", starts, (8, 8, 8))
        stored[where.folder] = [path.read_bytes()[at : at + n] for path, at, n in found.places]
    plain, sharded = stored.values()
    assert len(plain) == 9
    assert plain == sharded


def test_all_programs_find_the_same_rows_of_tables(tmp_path):
    command = [sys.executable, BENCH / "tables.py", "--rows", "20000", "--rounds", "1", "--sort", "--binary", binary()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ")[:2] for line in done.stdout.splitlines()[2:]]
    assert len(rows) == 15 and {r[1] for r in rows} == {"pointshard", "pandas", "pyarrow"}


def test_both_programs_find_the_same_objects(tmp_path):
    command = [sys.executable, BENCH / "objects.py", "--edge", "100", "--rounds", "1", "--binary", binary()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found, *rows = done.stdout.splitlines()
    assert int(found.split()[0]) > 50 and {row.split(" | ")[0] for row in rows[2:]} == {"| pointshard", "| tensorstore and numpy"}
