"""Documents, annotations and tables stay within `--memory`, or the error says that the limit is too low."""

import gzip
import http.server
import io
import json
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from one_array_job import job, voxels
from program import VNC, binary, vnc_config
from volumes import write_huge_empty_layer, write_precomputed

MIB = 1 << 20
MEMORY = 128
BOX = {"type": "axis_aligned_bounding_box", "pointA": [0, 0, 0], "pointB": [1e6, 1e6, 1e6], "layer_group": "g"}
# Runs a command and says how it ended and the most memory it took. What a process took before it became another one
# counts for that one, too: so this is a process of its own, and small.
MEASURE = """
import json, os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(pid, 0)
with open(sys.argv[1], "w") as report:
    json.dump([os.waitstatus_to_exitcode(status), used.ru_maxrss * 1024], report)
"""


def measured(config, tmp_path, memory=MEMORY, action=("--dry-run",)):
    """Plans the job, or does what `action` says, with this many MiB: exit code, output, and peak memory in bytes."""
    output = tmp_path / "output.json"
    command = [binary(), "preprocess", config, "--out", tmp_path / "out", *action, "--threads", "2"]
    command = [*map(str, command), "--memory", f"{memory}MiB"]
    env = {**os.environ, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, output, *command], capture_output=True, text=True, timeout=300, env=env
    )
    code, peak = json.loads(output.read_text())
    assert "panicked" not in done.stderr and code in (0, 1, 2), (code, done.stderr[-2000:])
    return code, done.stdout + done.stderr, peak


def refused_within(config, tmp_path, *words, memory=MEMORY):
    """Plans the job, which must fail with one error with these words, within its memory limit."""
    code, said, peak = measured(config, tmp_path, memory=memory)
    assert code != 0 and said.count("error: ") == 1, said[-2000:]
    for word in words:
        assert word in said, said[-2000:]
    assert peak <= memory * MIB, f"{peak / MIB:.0f} MiB"


def planned_within(config, tmp_path, memory=MEMORY):
    code, said, peak = measured(config, tmp_path, memory=memory)
    assert code == 0, said[-2000:]
    assert peak <= memory * MIB, f"{peak / MIB:.0f} MiB"
    return said


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves by path what the test provides: bytes and a Content-Encoding, or a function that writes."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        answer = self.server.answers.get(self.path)
        if answer is None:
            self.send_error(404)
        elif callable(answer):
            self.close_connection = True
            try:
                answer(self)
            except OSError:
                pass
        else:
            body, encoding = answer
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            if encoding:
                self.send_header("Content-Encoding", encoding)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.answers = {}
        server.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def endless(length=None, piece=b"\0" * 65536, first=b""):
    """Sends without end: in chunks, or with a Content-Length of `length`."""

    def send(request):
        request.send_response(200)
        request.send_header(*(("Content-Length", str(length)) if length else ("Transfer-Encoding", "chunked")))
        request.end_headers()
        if request.command == "HEAD":
            return
        body = first
        while True:
            body = body or piece
            request.wfile.write(body if length else b"%x\r\n%b\r\n" % (len(body), body))
            body = b""

    return send


def bomb(before, piece, after, size):
    """gzip of about `size` bytes of text, which is never in memory as a whole."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as out:
        out.write(before)
        block = piece * max(1, MIB // len(piece))
        for _ in range(size // len(block)):
            out.write(block)
        out.write(after)
    return packed.getvalue()


def rows(**changes):
    rows = json.loads((VNC / "collection.json").read_text())
    for layer in rows["layers"]:
        layer["source"] = f"precomputed://file://{VNC / layer['name']}"
    return {**rows, **changes}


BOMBS = {
    "of_boxes": (b'{"annotations": [', json.dumps({**BOX, "id": "b", "tags": ["a"]}).encode() + b",", b"0]}"),
    "in_a_row": (b'{"annotations": [{"tags": [', b"[],", b"0]}]}"),
    "in_a_text": (b'{"annotations": [{"id": "', b"x", b'"}]}'),
    "in_a_name": (b'{"', b"x", b'": 0}'),
    "of_layers": (b'{"layers": [', b'{"id": "1", "name": "n", "source": "s"},', b"0]}"),
    "of_other_types": (b'{"annotations": [', b"0,", b"x]}"),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("how", ["served", "stored"])
def test_a_collection_that_inflates_a_thousandfold_is_an_error_within_the_memory_limit(name, how, server, tmp_path):
    packed = bomb(*BOMBS[name], 100 * MIB)
    assert len(packed) < MIB
    if how == "served":
        server.answers["/c.json"] = packed, "gzip"
        collection = f"{server.url}/c.json"
    else:
        collection = str(tmp_path / "c.json")
        Path(collection).write_bytes(packed)
    refused_within(vnc_config(tmp_path, collection=collection), tmp_path, "c.json")


def test_unused_members_of_a_collection_take_no_memory(tmp_path):
    text = json.dumps(rows()).encode()
    packed = bomb(b'{"note": [', b"[[],{}],", b"0]," + text.lstrip(b"{"), 100 * MIB)
    (tmp_path / "c.json").write_bytes(packed)
    config = vnc_config(tmp_path, collection="c.json")
    without = planned_within(vnc_config(tmp_path, "plain.json"), tmp_path)
    assert planned_within(config, tmp_path) == without


@pytest.mark.parametrize("document", ["info", "zarr.json", ".zattrs", "attributes.json"])
def test_metadata_of_a_layer_have_a_size_limit(document, server, tmp_path):
    server.answers[f"/img/{document}"] = bomb(b'{"x": [', b"[],", b"0]}", 100 * MIB), "gzip"
    collection = rows()
    collection["layers"] = [
        {**layer, "source": f"{server.url}/img" if layer["name"] == "img" else layer["source"]}
        for layer in collection["layers"]
    ]
    (tmp_path / "c.json").write_text(json.dumps(collection))
    refused_within(vnc_config(tmp_path, collection="c.json"), tmp_path, f"/img/{document}", "too large")
    # Small as text, large when parsed.
    server.answers[f"/img/{document}"] = bomb(b'{"x": [', b"[],", b"0]}", 14 * MIB), "gzip"
    refused_within(vnc_config(tmp_path, collection="c.json"), tmp_path, f"/img/{document}", "bytes of memory")


def test_a_viewer_state_stays_within_the_memory_limit(server, tmp_path):
    for size in 10, 100:
        server.answers["/s.json"] = bomb(b'{"layers": [', b"[],", b"0]}", size * MIB), "gzip"
        config = vnc_config(tmp_path, collection={"neuroglancer_state": {"source": f"{server.url}/s.json"}})
        refused_within(config, tmp_path, "/s.json is too large for a Neuroglancer viewer state", "--memory")


def test_a_response_of_the_web_api_stays_within_the_memory_limit(server, tmp_path):
    config = vnc_config(tmp_path, collection={"zetta_api": {"url": server.url, "collection": "c"}})
    server.answers["/collections/multiple"] = bomb(b"[", b'{"id": "c"},', b"0]", 100 * MIB), "gzip"
    refused_within(config, tmp_path, "/collections/multiple")
    server.answers["/collections/multiple"] = endless(piece=b'{"id": "c"},', first=b"[")
    refused_within(config, tmp_path, "/collections/multiple")


@pytest.mark.parametrize("announced", [None, 1 << 60])
def test_endless_documents_are_an_error(announced, server, tmp_path):
    collection = vnc_config(tmp_path, collection=f"{server.url}/c.json")
    csv = {"file": f"{server.url}/t.csv", "unit": "nm", "point": ["x", "y", "z"]}
    table = vnc_config(tmp_path, "table.json", points={"table": csv})
    server.answers.update({"/c.json": endless(announced), "/t.csv": endless(announced)})
    refused_within(collection, tmp_path, "/c.json")
    refused_within(table, tmp_path, "/t.csv")
    # A body without length is not read in parts: all of it must fit.
    if announced is None:
        server.answers["/c.json"] = endless(None, b'{"id": 0},' * 6000, b'{"annotations": [')
        server.answers["/t.csv"] = endless(None, b"1,2,3\n" * 10000, b"x,y,z\n")
        refused_within(collection, tmp_path, "/c.json", "--memory")
        refused_within(table, tmp_path, "/t.csv", "--memory")


def annotation_layer(folder, **changes):
    """A layer of points with one cell, written by the test."""
    spatial = {"key": "s0", "grid_shape": [1, 1, 1], "chunk_size": [1e9, 1e9, 1e9], "limit": 1}
    info = {
        "@type": "neuroglancer_annotations_v1", "annotation_type": "POINT", "properties": [], "relationships": [],
        "dimensions": {d: [1e-9, "m"] for d in "xyz"}, "by_id": {"key": "by_id"},
        "lower_bound": [0, 0, 0], "upper_bound": [1e9, 1e9, 1e9], "spatial": [{**spatial, **changes}],
    }  # fmt: skip
    (folder / "s0").mkdir(parents=True)
    (folder / "info").write_text(json.dumps(info))
    return info


def with_points(tmp_path, source):
    """A job whose annotations are in the layer at `source`."""
    collection = rows()
    for layer in collection["layers"]:
        if layer["name"] == "points":
            layer["source"] = source
    (tmp_path / "c.json").write_text(json.dumps(collection))
    return vnc_config(tmp_path, collection="c.json")


def test_a_cell_larger_than_the_memory_limit_is_an_error(tmp_path):
    annotation_layer(tmp_path / "a")
    config = with_points(tmp_path, f"precomputed://file://{tmp_path}/a")
    cell = tmp_path / "a/s0/0_0_0"
    with open(cell, "wb") as file:
        file.truncate(1 << 40)
    refused_within(config, tmp_path, "s0/0_0_0", f"{1 << 40} bytes", "--memory")
    # Small enough to read, but with too many annotations to keep.
    count = 35 * MIB // 20
    with open(cell, "wb") as file:
        file.write(struct.pack("<Q", count))
        file.truncate(8 + 20 * count)
    refused_within(config, tmp_path, "/a is too large", "--memory")


@pytest.mark.parametrize("announced", [None, 1 << 60])
def test_an_endless_cell_is_an_error(announced, server, tmp_path):
    server.answers["/a/info"] = json.dumps(annotation_layer(tmp_path / "a")).encode(), None
    server.answers["/a/s0/0_0_0"] = endless(announced)
    refused_within(with_points(tmp_path, f"precomputed://{server.url}/a"), tmp_path, "/a/s0/0_0_0", "--memory")


def test_cells_that_inflate_a_thousandfold_are_an_error(server, tmp_path):
    spec = {
        "@type": "neuroglancer_uint64_sharded_v1", "preshift_bits": 0, "hash": "identity", "minishard_bits": 0,
        "shard_bits": 0, "data_encoding": "gzip", "minishard_index_encoding": "raw",
    }  # fmt: skip
    info = annotation_layer(tmp_path / "a", sharding=spec)
    config = with_points(tmp_path, f"precomputed://file://{tmp_path}/a")
    shard, packed = tmp_path / "a/s0/0.shard", bomb(b"", b"\0", b"", 100 * MIB)
    index = struct.pack("<QQQ", 0, 0, len(packed))
    shard.write_bytes(struct.pack("<QQ", len(packed), len(packed) + len(index)) + packed + index)
    refused_within(config, tmp_path, "0.shard", "--memory")
    # The minishard index.
    spec.update(data_encoding="raw", minishard_index_encoding="gzip")
    (tmp_path / "a/info").write_text(json.dumps(info))
    shard.write_bytes(struct.pack("<QQ", 0, len(packed)) + packed)
    refused_within(config, tmp_path, "0.shard", "inflates to more than")
    # An unsharded cell that the server compresses.
    del info["spatial"][0]["sharding"]
    server.answers["/a/info"] = json.dumps(info).encode(), None
    server.answers["/a/s0/0_0_0"] = packed, "gzip"
    refused_within(with_points(tmp_path, f"precomputed://{server.url}/a"), tmp_path, "/a/s0/0_0_0", "--memory")


def table(path, count, at=lambda i: i % 1000):
    with open(path, "w") as out:
        out.write("id,x,y,z\n")
        out.writelines(f"{i},{at(i)},{i % 777},{i % 555}\n" for i in range(count))
    return {"table": {"file": str(path), "unit": "nm", "point": ["x", "y", "z"], "id": "id"}}


def everywhere(folder, collection):
    """The collection with each layer replaced by one that every window touches."""
    source = write_huge_empty_layer(folder / "everywhere", [4.6, 4.6, 45])
    return {**collection, "layers": [{**layer, "source": source} for layer in collection["layers"]]}


def test_rows_outside_all_boxes_take_no_memory(tmp_path):
    """A table of 200 MB with a limit of 128 MiB."""
    points = table(tmp_path / "t.csv", 100)
    rows_outside = "".join(f"{10**9 + i},1e12,1e12,{'0' * 1000}1\n" for i in range(1000))
    with open(tmp_path / "t.csv", "a") as out:
        out.writelines(rows_outside for _ in range(200))
    box = {**BOX, "id": "b", "tags": ["train"], "pointB": [1000, 1000, 1000]}
    box["layer_group"] = rows()["layer_groups"][0]["id"]
    (tmp_path / "c.json").write_text(json.dumps(everywhere(tmp_path, rows(annotations=[box]))))
    config = vnc_config(tmp_path, collection="c.json", points=points, splits={"train": ["train"]})
    assert (tmp_path / "t.csv").stat().st_size > 200 * 10**6
    assert "100 samples" in planned_within(config, tmp_path)


def test_an_endless_row_is_an_error(tmp_path):
    points = table(tmp_path / "t.csv", 3)
    with open(tmp_path / "t.csv", "a") as out:
        out.write('4,"')
        out.truncate(1 << 33)
    refused_within(vnc_config(tmp_path, points=points), tmp_path, "t.csv", "line 5", "quotation mark")


def test_a_million_rows_in_a_box_succeed_or_fail_within_the_memory_limit(tmp_path):
    box = {**BOX, "id": "b", "tags": ["train"], "layer_group": rows()["layer_groups"][0]["id"]}
    (tmp_path / "c.json").write_text(json.dumps(everywhere(tmp_path, rows(annotations=[box]))))
    points = table(tmp_path / "t.csv", 1_000_000)
    config = vnc_config(tmp_path, collection="c.json", points=points, splits={"train": ["train"]}, leaks="allow")
    refused_within(config, tmp_path, "t.csv is too large", "--memory 128.0 MiB")
    planned_within(config, tmp_path, memory=1024)


def test_a_hundred_thousand_boxes_succeed_or_fail_within_the_memory_limit(tmp_path):
    group = rows()["layer_groups"][0]["id"]
    boxes = [{**BOX, "id": f"box-{i}", "tags": ["train"], "layer_group": group} for i in range(100_000)]
    for i, box in enumerate(boxes):
        box["pointA"], box["pointB"] = [i * 10, 0, 0], [i * 10 + 9, 9, 9]
    (tmp_path / "c.json").write_text(json.dumps(everywhere(tmp_path, rows(annotations=boxes))))
    points = table(tmp_path / "t.csv", 1000, lambda i: 10 * i)
    config = vnc_config(tmp_path, collection="c.json", points=points, splits={"train": ["train"]})
    planned_within(config, tmp_path, memory=256)
    refused_within(config, tmp_path, "c.json is too large", "--memory", memory=80)


def aligned_job(folder, align_bytes, shard_samples, samples):
    """A job of windows of 256 bytes that begin at multiples of this number of bytes."""
    write_precomputed(folder / "img", voxels("uint8"), (4, 4, 40), (0, 0, 0))
    path = job(folder, f"precomputed://file://{folder / 'img'}")
    config = json.loads(path.read_text())
    config["arrays"]["img"]["codec"] = {"none": {"align_bytes": align_bytes}}
    config["shard_samples"] = shard_samples
    path.write_text(json.dumps(config))
    rows = [f"{i},{100 + i % 20},{40 + i // 20 % 40},{80 + i // 800}" for i in range(samples)]
    (folder / "points.csv").write_text("\n".join(["id,x,y,z", *rows]))
    return path


def test_gaps_between_aligned_samples_count(tmp_path):
    """Each of two threads encodes 2048 samples of 256 bytes, which take 128 MiB at multiples of 64 KiB."""
    path = aligned_job(tmp_path, 1 << 16, shard_samples=4096, samples=4096)
    refused_within(path, tmp_path, "--memory 200.0 MiB is too low", memory=200)
    assert "4,096 samples" in planned_within(path, tmp_path, memory=600)


def test_a_piece_has_no_more_samples_than_a_shard(tmp_path):
    """Windows of 256 bytes at multiples of 1 MiB: three of them in a shard, and not the 2048 that are cut at once elsewhere."""
    path = aligned_job(tmp_path, 1 << 20, shard_samples=3, samples=60)
    code, said, peak = measured(path, tmp_path, action=())
    assert code == 0 and "60 samples" in said and peak <= MEMORY * MIB, (said[-2000:], peak / MIB)


@pytest.mark.parametrize("limit_kib", [1 << 20, 4 << 20])
def test_the_default_limit_is_half_of_the_address_space(tmp_path, limit_kib):
    # The message about a limit that is too low names it: windows of a gigabyte need more.
    config, out = vnc_config(tmp_path, window=[2048, 2048, 256]), tmp_path / "out"
    command = f"ulimit -v {limit_kib}; exec '{binary()}' preprocess '{config}' --out '{out}' --threads 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    expected = {1 << 20: "512.0 MiB", 4 << 20: "2.0 GiB"}[limit_kib]
    assert f"--memory {expected} is too low" in done.stderr and done.returncode == 2, done.stderr
