"""Windows from every kind of server equal those from local files: every encoding, and jobs with all inputs remote."""

import json
import subprocess
import sys

import numpy as np
import pytest
from encoding_crop import CROP_SHAPE, CROP_START, expected, index, layer_config, window_of
from program import SHARED, error_message, pointshard, vnc_config
from readers import with_zarr

SERVERS = ["http", "https", "slow", "without_ranges", "s3", "gcs"]
GOLDEN = SHARED / "data/goldens/a_points_32x32x8.json"
LEVELS = {(4.6, 4.6, 45.0): [156, 106, 24], (9.2, 9.2, 45.0): [78, 53, 24]}


def array_of(name):
    return name.replace("/", "_")


def crop_config(folder, location, resolution, names):
    """Writes a job with three windows of each of the encodings `names`; the first contains the whole crop."""
    middle = [a + n / 2 for a, n in zip(CROP_START, CROP_SHAPE)]
    points = [middle, [3033.5, 2580, 101], [3178, 2675, 118.5]]
    table = "".join(f"{x},{y},{z}\n" for x, y, z in points)
    (folder / "points.csv").write_text("x,y,z\n" + table)
    csv = {"file": "points.csv", "unit": "voxel", "resolution": [4.6, 4.6, 45.0], "point": ["x", "y", "z"]}
    layers = {name: layer_config(index()[name]) for name in names}
    return vnc_config(
        folder, collection=f"{location.root}/crop/collection.json", resolution=resolution, window=LEVELS[resolution],
        points={"table": csv}, arrays={array_of(name): {"layer": name} for name in names},
        layers={name: of for name, of in layers.items() if of} or None, splits={"train": ["train"]}, shard_samples=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def crop_at(request, tmp_path_factory):
    """Reads the crop in all encodings at a location, once: every array's windows and their start voxels."""
    read = {}

    def read_at(location):
        if location not in read:
            read[location] = dict(run(request.getfixturevalue(location), tmp_path_factory.mktemp(location)))
        return read[location]

    def run(location, folder):
        for resolution in LEVELS:
            names = [name for name in index() if name.endswith("/s1") == (resolution[0] == 9.2)]
            config = crop_config(folder, location, resolution, names)
            out = folder / f"out_{resolution[0]}"
            pointshard("preprocess", config, "--out", out, env=location.env)
            group = with_zarr(out, "train")
            for name in names:
                yield name, (group["start_voxel"][:], group[array_of(name)][:])

    return read_at


@pytest.mark.parametrize("name", index() if SHARED.is_dir() else [])
def test_every_encoding_in_local_files_equals_the_written_values(crop_at, name):
    about = index()[name]
    volume = expected(name, about)
    starts, windows = crop_at("local")[name]
    half = name.endswith("/s1")
    offset = [CROP_START[0] // 2, CROP_START[1] // 2, CROP_START[2]] if half else CROP_START
    shape = LEVELS[9.2 if half else 4.6, 9.2 if half else 4.6, 45.0]
    assert windows.dtype == about["dtype"] and len(windows) == 3
    for start, window in zip(starts, windows):
        wanted = window_of(volume, offset, start, shape)
        if "decoded" in about:
            differing = np.abs(wanted.astype(int) - window)
            assert differing.max() <= 1 and np.count_nonzero(differing) * 20 < differing.size
        else:
            assert wanted.tobytes() == window.tobytes()
    assert np.count_nonzero(windows[0]) >= 0.9 * np.count_nonzero(volume), "the first window should contain the whole crop"


@pytest.mark.parametrize("location", SERVERS)
def test_every_encoding_on_a_server_equals_local_files(crop_at, location):
    there = crop_at(location)
    for name, (starts, windows) in crop_at("local").items():
        assert (starts == there[name][0]).all()
        assert windows.tobytes() == there[name][1].tobytes(), f"{name} at {location}"


def test_the_server_sent_ranges_and_compressed_chunks_over_http_1(crop_at, http):
    crop_at("http")
    requests = http.requests()
    assert {r.protocol for r in requests} == {"HTTP/1.1"}
    shards = [r for r in requests if r.path.endswith(".shard") and "sharded_raw_identity" in r.path]
    assert shards and all(r.status == 206 and r.range.startswith("bytes=") for r in shards)
    packed = [r for r in requests if r.path.startswith("/encodings/raw_gzip/4.6") and r.status == 200]
    assert packed and {r.encoding for r in packed} == {"gzip"}


def test_a_server_with_tls_is_used_with_http_2(crop_at, https):
    crop_at("https")
    requests = https.requests()
    assert requests and {r.protocol for r in requests} == {"HTTP/2.0"}


def test_a_certificate_of_an_unknown_authority_is_an_error(https, tmp_path):
    config = vnc_config(tmp_path, collection=f"{https.root}/vnc/collection.json")
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=75)
    assert https.root in message.splitlines()[0] and "certificate" in message, message


@pytest.mark.parametrize("location", SERVERS)
def test_golden_windows_are_equal_with_all_inputs_on_a_server(request, tmp_path, location):
    location = request.getfixturevalue(location)
    config = vnc_config(tmp_path, collection=f"{location.root}/vnc/collection.json", shard_samples=None)
    pointshard("preprocess", config, "--out", tmp_path / "out", env=location.env)
    verify = [sys.executable, SHARED / "verify/verify_golden.py", tmp_path / "out", GOLDEN]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_golden_job_has_samples():
    assert len(json.loads(GOLDEN.read_text())["samples"]) == 30


def boxes_job(folder, location):
    """Runs a job with a layer of boxes and sharded points: id, window and start of every sample."""
    boxes = {
        "source": f"precomputed://{location.root}/annotations/ng_boxes",
        "layers": {
            "img": f"precomputed://{location.root}/vnc/img",
            "points": f"precomputed://{location.root}/annotations/points_sharded_raw",
        },
        "tags": ["train"],
    }
    config = vnc_config(
        folder, collection={"boxes": boxes}, arrays={"img": {"layer": "img"}}, splits={"train": ["train"]}
    )
    pointshard("preprocess", config, "--out", folder / "out", env=location.env)
    group = with_zarr(folder / "out", "train")
    return [group[name][:] for name in ("annotation_id", "start_voxel", "img")]


@pytest.fixture(scope="module")
def boxes_locally(local, tmp_path_factory):
    return boxes_job(tmp_path_factory.mktemp("boxes"), local)


@pytest.mark.parametrize("location", SERVERS)
def test_a_box_layer_and_sharded_points_on_a_server_equal_local_ones(request, boxes_locally, tmp_path, location):
    there = boxes_job(tmp_path, request.getfixturevalue(location))
    assert len(there[0]) == 7
    for here, found in zip(boxes_locally, there):
        np.testing.assert_array_equal(here, found)
