"""Server faults during a run: the windows are right, or there is one error and no dataset."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import zarr
from faulty_server import (
    FaultyServer,
    never_answer,
    reset_connection,
    status,
    stop_in_body,
    stop_in_headers,
    truncate_body,
    wrong_range,
)
from object_tree import find_object
from program import error_message, pointshard, vnc_config
from readers import SPLITS, with_tensorstore, with_zarr

PLAIN, SHARDED = "vnc/img", "encodings/sharded_raw_identity"


def job(folder, root, layer):
    """Writes a job on one layer, with collection and points also at `root`."""
    if layer == PLAIN:
        changes = {"collection": f"{root}/vnc/collection.json", "arrays": {"img": {"layer": "img"}}}
        return vnc_config(folder, **changes)
    (folder / "points.csv").write_text("x,y,z\n3100,2620,110\n3050,2600,104\n")
    csv = {"file": "points.csv", "unit": "voxel", "resolution": [4.6, 4.6, 45.0], "point": ["x", "y", "z"]}
    return vnc_config(
        folder, collection=f"{root}/crop/collection.json", window=[64, 64, 16], points={"table": csv},
        arrays={"img": {"layer": "sharded_raw_identity"}}, splits={"train": ["train"]},
    )  # fmt: skip


def windows(out):
    """Every column of every split, as bytes."""
    splits = [split for split in SPLITS if (out / f"{split}.zarr").exists()]
    return {(s, name): a[:].tobytes() for s in splits for name, a in with_zarr(out, s).arrays()}


@pytest.fixture(scope="module")
def faultless(object_root, tmp_path_factory):
    """By layer: the windows of a run on local files, and the requested keys in order."""
    found = {}
    for layer in (PLAIN, SHARDED):
        folder = tmp_path_factory.mktemp("faultless")
        pointshard("preprocess", job(folder, object_root, layer), "--out", folder / "local")
        with FaultyServer(object_root) as server:
            pointshard("preprocess", job(folder, server.url, layer), "--out", folder / "served")
        assert windows(folder / "local") == windows(folder / "served")
        found[layer] = windows(folder / "local"), sorted({a.key for a in server.requests})
    return found


@dataclass(frozen=True)
class Case:
    """A fault, the objects that it affects (without a pattern: all), and whether it occurs only once."""

    name: str
    layer: str
    fault: object
    pattern: str = ""
    once: bool = False
    patterns: tuple = ()
    options: tuple = ()
    code: int = 1


BRIEF = ("--retry-for", 2)
TRIED = r"GET \(\d+ tr(y|ies), [0-9.]+ s\): "
CHUNK, SHARD = "vnc/img/4.6_", "[.]shard$"
ONCE = [
    Case("503", PLAIN, status(503), once=True),
    Case("429", PLAIN, status(429), once=True),
    Case("500", PLAIN, status(500), once=True),
    Case("a connection reset in the body", PLAIN, reset_connection, once=True),
    Case("a body shorter than announced", PLAIN, truncate_body, once=True),
    Case("503 to a range", SHARDED, status(503), once=True),
    Case("a connection reset in a range", SHARDED, reset_connection, once=True),
    Case("a range shorter than announced", SHARDED, truncate_body, once=True),
]
ALWAYS = [
    Case("403 on a chunk", PLAIN, status(403), CHUNK, patterns=(TRIED, "403")),
    Case("403 on the info", PLAIN, status(403), "vnc/img/info", patterns=(TRIED, "403")),
    Case("404 on the info", PLAIN, status(404), "vnc/img/info", patterns=("does not exist",)),
    Case("403 on the annotations", PLAIN, status(403), "vnc/points/spatial0", patterns=(TRIED, "403")),
    Case("404 on the collection", PLAIN, status(404), "collection.json", patterns=("does not exist",)),
    Case("403 on a shard", SHARDED, status(403), SHARD, patterns=(TRIED, "403")),
    Case("a chunk whose connection is always reset", PLAIN, reset_connection, CHUNK, patterns=(TRIED, r"\d tries", "broke off"), options=BRIEF, code=75),
    Case("a chunk that is always short", PLAIN, truncate_body, CHUNK, patterns=(TRIED, r"\d tries", "broke off"), options=BRIEF, code=75),
    Case("annotations that are always short", PLAIN, truncate_body, "vnc/points/spatial0", patterns=(TRIED, r"\d tries", "broke off"), options=BRIEF, code=75),
    Case("a shard that is always short", SHARDED, truncate_body, SHARD, patterns=(TRIED, r"\d tries", "broke off"), options=BRIEF, code=75),
    Case("a shard with other ranges than requested", SHARDED, wrong_range, SHARD, patterns=(TRIED,)),
]
IDLE = ("--idle-timeout", 1, *BRIEF)
ALWAYS += [Case("silence in a shard", SHARDED, never_answer, SHARD, patterns=(TRIED,), options=IDLE, code=75)]
SILENT = {"silence": never_answer, "silence in the headers": stop_in_headers, "silence in the body": stop_in_body}
ONCE += [Case(f"{name} once", PLAIN, fault, CHUNK, once=True, options=IDLE) for name, fault in SILENT.items()]
ALWAYS += [Case(f"{name} for ever", PLAIN, fault, CHUNK, patterns=(TRIED,), options=IDLE, code=75) for name, fault in SILENT.items()]


def run(case, faultless, root, folder):
    """Runs the case; returns its output folder, the URL of the faulty object, the message and the requests."""
    keys = [key for key in faultless[case.layer][1] if re.search(case.pattern, key)]
    faulty_key = keys[len(keys) // 2] if case.pattern else None

    def fault(request):
        faultless_request = (faulty_key and request.key != faulty_key) or (case.once and request.before)
        return None if faultless_request else case.fault

    with FaultyServer(root, fault) as server:
        command = ["preprocess", job(folder, server.url, case.layer), "--out", folder / "out", *case.options]
        message = pointshard(*command).stderr if case.once else error_message(*command, code=case.code)
    return folder / "out", f"{server.url}/{faulty_key}", message, server.requests


@pytest.fixture(scope="module")
def outcomes(request, faultless, object_root, tmp_path_factory):
    """The results of all selected cases. They mostly wait, so they run concurrently, long ones first."""
    cases = [item.callspec.params["case"] for item in request.session.items if "outcome" in item.fixturenames]
    with ThreadPoolExecutor(8) as pool:
        yield {
            case: pool.submit(run, case, faultless, object_root, tmp_path_factory.mktemp("fault"))
            for case in sorted(cases, key=lambda c: (not c.options, c.once))
        }


@pytest.fixture
def outcome(outcomes, case):
    return outcomes[case]


@pytest.mark.parametrize("case", ONCE, ids=lambda case: case.name)
def test_a_fault_that_occurs_once_changes_no_window(faultless, object_root, outcome, case):
    out, _, _, requests = outcome.result()
    expected, keys = faultless[case.layer]
    assert windows(out) == expected
    again = {request.key for request in requests if request.before}
    if case.pattern:
        assert any(re.search(case.pattern, key) for key in again)
    else:
        assert again >= {key for key in keys if find_object(object_root, key)}, "every object had a fault once"


@pytest.mark.parametrize("case", ALWAYS, ids=lambda case: case.name)
def test_a_permanent_fault_is_one_error_and_leaves_no_dataset(outcome, case):
    out, url, message, _ = outcome.result()
    assert_no_dataset(out)
    (line,) = [line for line in message.splitlines() if f"{url}: " in line or f"{url} does" in line]
    for text in case.patterns:
        assert re.search(text, line), message


def assert_no_dataset(out):
    assert not (out / "manifest.json").exists()
    for split in SPLITS:
        with pytest.raises((FileNotFoundError, zarr.errors.GroupNotFoundError)):
            with_zarr(out, split)
        with pytest.raises(ValueError):
            with_tensorstore(out, split, "img")
    if out.exists():
        pointshard("check", out, code=1)


def test_a_run_that_a_server_interrupted_resumes(faultless, object_root, tmp_path):
    wanted, keys = faultless[PLAIN]
    chunk = [key for key in keys if re.search(CHUNK, key)][-1]
    with FaultyServer(object_root, lambda request: status(403) if request.key == chunk else None) as server:
        config = job(tmp_path, server.url, PLAIN)
        error_message("preprocess", config, "--out", tmp_path / "out", code=1)
        server.fault = lambda request: None
        pointshard("preprocess", config, "--out", tmp_path / "out")
    assert windows(tmp_path / "out") == wanted
