"""The files in `configs/cluster/slurm` on a real Slurm: tasks are requeued, a node fails, and the dataset is the same to the byte."""

import os
import shutil
import subprocess
import tempfile

import pytest
from faulty_server import FaultyServer
from gate import Gate
from program import LAYERS, REPOSITORY, error_message, pointshard, vnc_config
from server_fixtures import require_tool
from slurm_cluster import SlurmCluster
from test_bucket_output import Bucket, client  # noqa: F401 (a fixture)
from test_tasks import dataset

SUBMIT = REPOSITORY / "configs/cluster/slurm/submit"
TASKS = 4


@pytest.fixture
def cluster():
    for tool in ("slurmctld", "slurmd", "munged"):
        require_tool(shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin"), tool, "apt install slurm-wlm munge")
    require_tool(os.geteuid() == 0, "root", "these tests start Slurm's daemons")
    # The names of sockets have at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        with SlurmCluster(folder) as cluster:
            yield cluster


@pytest.fixture
def gate():
    """Some chunks of the image can be read, the others when it is opened."""
    gate = Gate("vnc/img/4.6_", 8)
    gate.close()
    yield gate
    gate.open()


@pytest.fixture
def gated_config(object_root, tmp_path, gate):
    """A config whose image is on a server behind the gate."""
    with FaultyServer(object_root, gate) as server:
        arrays = {layer: {"layer": layer, "codec": "zstd"} for layer in LAYERS}
        yield vnc_config(tmp_path, collection=f"{server.url}/vnc/collection.json", arrays=arrays, shard_samples=1)
        gate.open()


def submit(cluster, config, out, env=()):
    cluster.env.update(env)
    command = [SUBMIT, config, out, str(TASKS)]
    done = subprocess.run(command, env=cluster.env, cwd=cluster.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def running(cluster):
    """The running tasks of the array, and their nodes."""
    return {job: node for job, name, state, node in cluster.jobs() if name == "pointshard-task" and state == "RUNNING"}


def wait_for_end(cluster):
    """Waits until no job waits or runs. All must be complete."""
    ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY", "DEADLINE")
    cluster.wait_for(lambda: all(state in ended for *_, state, _ in cluster.jobs()), 150)
    jobs = cluster.jobs()
    assert len(jobs) == TASKS + 2 and all(state == "COMPLETED" for *_, state, _ in jobs), f"{jobs}\n{cluster.logs()}"


def test_an_array_whose_task_is_requeued_and_whose_node_fails_makes_the_same_bytes(cluster, gated_config, gate, tmp_path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    submit(cluster, gated_config, out)
    cluster.wait_for(lambda: len(running(cluster)) == 2 and gate.waiting.is_set())
    # One task is killed and starts again.
    on_first = [job for job, node in running(cluster).items() if node == "node1"]
    cluster.run("scontrol", "requeue", on_first[0])
    # The other node fails. Its task lives on, while Slurm starts it once more.
    cluster.stop_node("node2")
    assert f"tasks: 0 of {TASKS} are done" in pointshard("status", out).stdout
    gate.open()
    wait_for_end(cluster)
    assert cluster.restarts() >= 2, "a task of each node started again"
    assert (out / "manifest.json").exists(), cluster.logs()
    pointshard("preprocess", gated_config, "--out", whole)
    assert dataset(out) == dataset(whole)
    pointshard("check", out)


def test_an_array_whose_output_is_a_bucket(cluster, s3, client, tmp_path):  # noqa: F811
    bucket, whole = Bucket(s3, client), tmp_path / "whole"
    config = vnc_config(tmp_path)
    submit(cluster, config, bucket.out, bucket.env)
    wait_for_end(cluster)
    pointshard("preprocess", config, "--out", whole)
    found, expected = bucket.digests(), dataset(whole)
    found.pop(".pointshard/plan.json")
    assert {path: digest for path, digest in found.items() if not path.startswith(".pointshard")} == {
        path: digest for path, digest in expected.items() if not path.startswith(".pointshard")
    }
    pointshard("check", bucket.out, env=bucket.env)


def test_a_task_that_fails_is_named_and_the_seal_does_not_run(cluster, tmp_path):
    config, out = vnc_config(tmp_path, shard_samples=1), tmp_path / "out"
    pointshard("plan", config, "--out", out, "--tasks", TASKS)
    # The array is larger than the plan.
    env = {**cluster.env, "SLURM_CPUS_PER_TASK": "1"}
    task = SUBMIT.parent / "task.sbatch"
    command = ["sbatch", "--parsable", "--wait", f"--array=0-{TASKS}", task, out]
    done = subprocess.run(command, env=env, cwd=cluster.folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert f"SLURM_ARRAY_TASK_MAX={TASKS}" in cluster.logs() and "the plan has 4 task(s), 0 to 3" in cluster.logs()
    assert "0-3" in error_message("seal", out, code=1)
    # A part of the array is enough to continue.
    command = ["sbatch", "--parsable", "--wait", "--array=1,3", task, out]
    subprocess.run(command, env=env, cwd=cluster.folder, capture_output=True, check=True, timeout=120)
    assert "unfinished: 0,2" in pointshard("status", out).stdout
