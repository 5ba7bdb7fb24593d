"""Fixtures: the program, the shared data, and datasets that many tests read."""

import os
import shutil
import sys

import pytest
from program import REPOSITORY, SHARED, VNC, binary, pointshard, vnc_config
from volumes import FULL, Volume, open_precomputed

pytest_plugins = ["server_fixtures", "browser"]

# The modules that users copy. Worker processes get the same path.
sys.path.append(str(REPOSITORY / "docs/trainers"))


# If an engine runs these tests, its task is not that of the jobs in them.
for variable in ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ARRAY_INDEX", "BATCH_TASK_INDEX"):
    os.environ.pop(variable, None)


def pytest_sessionstart(session):
    if not os.access(binary(), os.X_OK):
        pytest.exit(f"{binary()} does not exist: run `cargo build --release`, or set POINTSHARD_BIN", 4)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """If `CI` is set, skipped tests are a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    # Worker processes have no reporter: the process that started them counts for all.
    if reporter and os.environ.get("CI") and reporter.stats.get("skipped"):
        reporter.write_line("tests were skipped although CI is set", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def shared():
    """The folder of real data next to the repository."""
    if not (SHARED / "data").is_dir():
        message = f"{SHARED} has no data: these tests require it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return SHARED


@pytest.fixture(scope="session")
def vnc_job(shared, tmp_path_factory):
    """A config on the vnc data with many shards, and its finished dataset. Tests must not change them."""
    folder = tmp_path_factory.mktemp("vnc")
    config, out = vnc_config(folder), folder / "out"
    pointshard("preprocess", config, "--out", out)
    return config, out


@pytest.fixture(scope="session")
def vnc(vnc_job):
    """The dataset of `vnc_job`. Tests must not change it."""
    return vnc_job[1]


@pytest.fixture
def vnc_copy(vnc_job, tmp_path):
    """The config of `vnc_job` and a copy of its dataset that the test may change."""
    config, out = vnc_job
    shutil.copytree(out, tmp_path / "out")
    return config, tmp_path / "out"


@pytest.fixture(scope="session")
def open_scale(shared, tmp_path_factory):
    """Opens a scale of a vnc layer with tensorstore."""
    opened = {}

    def open_scale(layer, resolution=FULL):
        key = (layer, *resolution)
        if key not in opened:
            opened[key] = open_precomputed(VNC / layer, resolution, tmp_path_factory.mktemp(layer))
        return opened[key]

    return open_scale


@pytest.fixture(scope="session")
def volume(open_scale):
    """Reads a scale of a vnc layer as a `Volume`. Tests must not change it."""
    read = {}

    def read_scale(layer, resolution=FULL):
        key = (layer, *resolution)
        if key not in read:
            source = open_scale(layer, resolution)
            read[key] = Volume(source.read().result()[..., 0], source.domain.origin[:3], tuple(resolution))
        return read[key]

    return read_scale


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The demo's folder and its output. Tests must not change it."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    return folder, pointshard("demo", folder).stdout
