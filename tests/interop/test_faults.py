"""Servers that go wrong while the program runs: right windows come out, or one error and nothing that looks whole."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import zarr
from faults import FaultyServer, cut, other_range, reset, silent, silent_in_body, silent_in_headers, status
from objects import find_object
from program import pointshard, refused, vnc_config
from readers import SPLITS, with_tensorstore, with_zarr

PLAIN, SHARDED = "vnc/img", "encodings/sharded_raw_identity"


def job(folder, root, layer):
    """Writes a job on one layer, with collection and points at `root` as well."""
    if layer == PLAIN:
        changes = {"collection": f"{root}/vnc/collection.json", "arrays": {"img": {"layer": "img"}}}
        return vnc_config(folder, **changes)
    (folder / "points.csv").write_text("x,y,z\n3100,2620,110\n3050,2600,104\n")
    csv = {"file": "points.csv", "unit": "voxel", "resolution": [4.6, 4.6, 45.0], "point": ["x", "y", "z"]}
    return vnc_config(
        folder, collection=f"{root}/crop/collection.json", window=[64, 64, 16], points={"csv": csv},
        arrays={"img": {"layer": "sharded_raw_identity"}}, splits={"train": ["train"]},
    )  # fmt: skip


def windows(out):
    """Every column of every split, as bytes."""
    splits = [split for split in SPLITS if (out / f"{split}.zarr").exists()]
    return {(s, name): a[:].tobytes() for s in splits for name, a in with_zarr(out, s).arrays()}


@pytest.fixture(scope="module")
def undisturbed(tree_of_objects, tmp_path_factory):
    """By layer: the windows of a run on local files, and what a server is asked for, in order of the keys."""
    found = {}
    for layer in (PLAIN, SHARDED):
        folder = tmp_path_factory.mktemp("undisturbed")
        pointshard("preprocess", job(folder, tree_of_objects, layer), "--out", folder / "local")
        with FaultyServer(tree_of_objects) as server:
            pointshard("preprocess", job(folder, server.url, layer), "--out", folder / "served")
        assert windows(folder / "local") == windows(folder / "served")
        found[layer] = windows(folder / "local"), sorted({a.key for a in server.requests})
    return found


@dataclass(frozen=True)
class Case:
    """Which of the job's objects goes wrong (without a pattern: each), how, and whether only the first time."""

    name: str
    layer: str
    fault: object
    pattern: str = ""
    once: bool = False
    told: tuple = ()
    options: tuple = ()
    code: int = 1


BRIEF = ("--retry-for", 2)
TRIED = r"GET \(\d+ tr(y|ies), [0-9.]+ s\): "
CHUNK, SHARD = "vnc/img/4.6_", "[.]shard$"
ONCE = [
    Case("503", PLAIN, status(503), once=True),
    Case("429", PLAIN, status(429), once=True),
    Case("500", PLAIN, status(500), once=True),
    Case("a connection reset in the body", PLAIN, reset, once=True),
    Case("a body shorter than announced", PLAIN, cut, once=True),
    Case("503 to a range", SHARDED, status(503), once=True),
    Case("a connection reset in a range", SHARDED, reset, once=True),
    Case("a range shorter than announced", SHARDED, cut, once=True),
]
ALWAYS = [
    Case("403 on a chunk", PLAIN, status(403), CHUNK, told=(TRIED, "403")),
    Case("403 on the info", PLAIN, status(403), "vnc/img/info", told=(TRIED, "403")),
    Case("404 on the info", PLAIN, status(404), "vnc/img/info", told=("does not exist",)),
    Case("403 on the annotations", PLAIN, status(403), "vnc/points/spatial0", told=(TRIED, "403")),
    Case("404 on the collection", PLAIN, status(404), "collection.json", told=("does not exist",)),
    Case("403 on a shard", SHARDED, status(403), SHARD, told=(TRIED, "403")),
    Case("a chunk whose connection is always reset", PLAIN, reset, CHUNK, told=(TRIED, r"\d tries", "broke off"), options=BRIEF, code=75),
    Case("a chunk that is always short", PLAIN, cut, CHUNK, told=(TRIED, r"\d tries", "broke off"), options=BRIEF, code=75),
    Case("annotations that are always short", PLAIN, cut, "vnc/points/spatial0", told=(TRIED, r"\d tries", "broke off"), options=BRIEF, code=75),
    Case("a shard that is always short", SHARDED, cut, SHARD, told=(TRIED, r"\d tries", "broke off"), options=BRIEF, code=75),
    Case("a shard whose ranges are others than asked for", SHARDED, other_range, SHARD, told=(TRIED,)),
]
IDLE = ("--idle-timeout", 1, *BRIEF)
ALWAYS += [Case("silence in a shard", SHARDED, silent, SHARD, told=(TRIED,), options=IDLE, code=75)]
SILENT = {"silence": silent, "silence in the headers": silent_in_headers, "silence in the body": silent_in_body}
ONCE += [Case(f"{name} once", PLAIN, fault, CHUNK, once=True, options=IDLE) for name, fault in SILENT.items()]
ALWAYS += [Case(f"{name} for ever", PLAIN, fault, CHUNK, told=(TRIED,), options=IDLE, code=75) for name, fault in SILENT.items()]


def run(case, undisturbed, root, folder):
    """Runs the case: where it wrote to, the URL of the object that goes wrong, the program's message, the requests."""
    keys = [key for key in undisturbed[case.layer][1] if re.search(case.pattern, key)]
    struck = keys[len(keys) // 2] if case.pattern else None

    def fault(asked):
        spared = (struck and asked.key != struck) or (case.once and asked.before)
        return None if spared else case.fault

    with FaultyServer(root, fault) as server:
        command = ["preprocess", job(folder, server.url, case.layer), "--out", folder / "out", *case.options]
        message = pointshard(*command).stderr if case.once else refused(*command, code=case.code)
    return folder / "out", f"{server.url}/{struck}", message, server.requests


@pytest.fixture(scope="module")
def outcomes(request, undisturbed, tree_of_objects, tmp_path_factory):
    """What comes of the cases of all selected tests. They mostly wait, so they run side by side, long ones first."""
    cases = [item.callspec.params["case"] for item in request.session.items if "outcome" in item.fixturenames]
    with ThreadPoolExecutor(8) as pool:
        yield {
            case: pool.submit(run, case, undisturbed, tree_of_objects, tmp_path_factory.mktemp("fault"))
            for case in sorted(cases, key=lambda c: (not c.options, c.once))
        }


@pytest.fixture
def outcome(outcomes, case):
    return outcomes[case]


@pytest.mark.parametrize("case", ONCE, ids=lambda case: case.name)
def test_what_goes_wrong_once_changes_no_window(undisturbed, tree_of_objects, outcome, case):
    out, _, _, requests = outcome.result()
    windows_there, keys = undisturbed[case.layer]
    assert windows(out) == windows_there
    again = {asked.key for asked in requests if asked.before}
    if case.pattern:
        assert any(re.search(case.pattern, key) for key in again)
    else:
        assert again >= {key for key in keys if find_object(tree_of_objects, key)}, "every object went wrong once"


@pytest.mark.parametrize("case", ALWAYS, ids=lambda case: case.name)
def test_what_always_goes_wrong_is_one_error_and_no_windows(outcome, case):
    out, url, message, _ = outcome.result()
    assert_nothing_looks_whole(out)
    (line,) = [line for line in message.splitlines() if f"{url}: " in line or f"{url} does" in line]
    for text in case.told:
        assert re.search(text, line), message


def assert_nothing_looks_whole(out):
    assert not (out / "manifest.json").exists()
    for split in SPLITS:
        with pytest.raises((FileNotFoundError, zarr.errors.GroupNotFoundError)):
            with_zarr(out, split)
        with pytest.raises(ValueError):
            with_tensorstore(out, split, "img")
    if out.exists():
        pointshard("check", out, code=1)


def test_a_run_that_a_server_broke_off_is_finished_by_the_next(undisturbed, tree_of_objects, tmp_path):
    wanted, keys = undisturbed[PLAIN]
    chunk = [key for key in keys if re.search(CHUNK, key)][-1]
    with FaultyServer(tree_of_objects, lambda asked: status(403) if asked.key == chunk else None) as server:
        config = job(tmp_path, server.url, PLAIN)
        refused("preprocess", config, "--out", tmp_path / "out", code=1)
        server.fault = lambda asked: None
        pointshard("preprocess", config, "--out", tmp_path / "out")
    assert windows(tmp_path / "out") == wanted
