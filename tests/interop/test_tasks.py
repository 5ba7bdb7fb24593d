"""A job in several tasks: the dataset is the same in any order, repeated, killed, at once, and started by any engine."""

import json
import random
import subprocess
import time

import pytest
from program import binary, error_message, file_digests, manifest, pointshard, vnc_config
from test_protocol import dataset_digests

TASKS = 4
SLURM = {"SLURM_ARRAY_TASK_MAX": str(TASKS - 1), "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": str(TASKS)}
ENGINES = {
    "slurm": ("SLURM_ARRAY_TASK_ID", SLURM),
    "kubernetes": ("JOB_COMPLETION_INDEX", {}),
    "aws": ("AWS_BATCH_JOB_ARRAY_INDEX", {"AWS_BATCH_JOB_ARRAY_SIZE": str(TASKS)}),
    "google": ("BATCH_TASK_INDEX", {"BATCH_TASK_COUNT": str(TASKS)}),
}


@pytest.fixture
def planned(tmp_path):
    """An output with a plan of four tasks, its config, and the dataset of the same job in one task."""
    config, whole, out = vnc_config(tmp_path, shard_samples=2), tmp_path / "whole", tmp_path / "out"
    pointshard("preprocess", config, "--out", whole)
    said = pointshard("plan", config, "--out", out, "--tasks", TASKS).stdout
    assert f"pointshard preprocess --out {out} --task 0/{TASKS}" in said and f"pointshard seal {out}" in said
    return config, out, whole


def dataset(out):
    """The digests of what does not depend on the tasks."""
    return {path: digest for path, digest in dataset_digests(out).items() if not path.endswith("/plan.json")}


def status(out):
    return json.loads(pointshard("status", out, "--json").stdout)


def task(out, number, *arguments, **options):
    return pointshard("preprocess", "--out", out, "--task", f"{number}/{TASKS}", *arguments, **options).stdout


def test_tasks_in_any_order_make_the_dataset_of_one_process(planned):
    config, out, whole = planned
    config.unlink()
    shares = {t["task"]: t["shards"] for t in status(out)["tasks"]}
    assert sum(shares.values()) == status(out)["shards"] and min(shares.values()) > 0
    for done, number in enumerate([2, 0, 3, 1]):
        summary = task(out, number)
        assert f"task     {number} of {TASKS}" in summary and f"shards   {shares[number]} written" in summary
        now = {t["task"]: t["missing"] for t in status(out)["tasks"]}
        assert now[number] == 0 and sum(missing == 0 for missing in now.values()) == done + 1
        assert not (out / "manifest.json").exists(), "a task does not seal"
    assert status(out)["next"] == f"pointshard seal {out}"
    pointshard("seal", out)
    assert dataset(out) == dataset(whole)
    pointshard("check", out)
    sealed = file_digests(out)
    assert "already present; nothing to do" in task(out, 1), "a finished task writes nothing"
    assert file_digests(out) == sealed and status(out)["next"] is None


def test_tasks_at_once_and_twice_make_the_dataset_of_one_process(planned):
    _, out, whole = planned
    command = [binary(), "preprocess", "--out", out, "--quiet", "--threads", "1", "--task"]
    running = [subprocess.Popen([*command, str(number)]) for number in range(TASKS) for _ in range(2)]
    assert [process.wait(120) for process in running] == [0] * 2 * TASKS
    pointshard("seal", out)
    assert file_digests(out / "train.zarr") == file_digests(whole / "train.zarr")
    assert dataset(out) == dataset(whole)


def test_a_killed_task_is_named_and_run_again(planned):
    _, out, whole = planned
    moment = random.Random(4)
    for number in range(TASKS):
        process = subprocess.Popen([binary(), "preprocess", "--out", out, "--quiet", "--task", str(number)])
        time.sleep(moment.uniform(0, 0.05))
        process.kill()
        process.wait()
    (out / "train.zarr/img/c.0.0.0.0.0").unlink(missing_ok=True)
    missing = {t["task"] for t in status(out)["tasks"] if t["missing"]}
    text = error_message("seal", out, code=1)
    assert "shards are not written yet" in text and f"--out {out} --task N/{TASKS}" in text
    first = min(missing)
    assert status(out)["next"] == f"pointshard preprocess --out {out} --task {first}/{TASKS}"
    assert f"tasks: {TASKS - len(missing)} of {TASKS} are done; unfinished: {first}" in pointshard("status", out).stdout
    for number in missing:
        task(out, number)
    pointshard("seal", out)
    assert dataset(out) == dataset(whole)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_says_which_task_it_is(planned, engine):
    _, out, whole = planned
    index, others = ENGINES[engine]
    for number in range(TASKS):
        summary = pointshard("preprocess", "--out", out, env={**others, index: str(number)}).stdout
        assert f"task     {number} of {TASKS}" in summary
    # Other commands do not depend on it.
    pointshard("seal", out, env={**others, index: "0"})
    assert dataset(out) == dataset(whole)


def test_a_number_that_contradicts_the_plan_is_an_error(planned):
    config, out, _ = planned
    before = file_digests(out)
    for environment, found in [
        ({"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_MAX": "4"}, "SLURM_ARRAY_TASK_MAX=4"),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "5"}, "AWS_BATCH_JOB_ARRAY_SIZE=5"),
        ({"BATCH_TASK_INDEX": "0", "BATCH_TASK_COUNT": "1"}, "BATCH_TASK_COUNT=1"),
        ({"JOB_COMPLETION_INDEX": "4"}, "JOB_COMPLETION_INDEX=4"),
    ]:
        message = error_message("preprocess", "--out", out, env=environment)
        assert found in message and "the plan has 4 task(s), 0 to 3" in message, message
    assert "--task says that there are 5 tasks" in error_message("preprocess", "--out", out, "--task", "0/5")
    assert "there is no task 4: the plan has 4 task(s)" in error_message("preprocess", "--out", out, "--task", "4")
    assert "has 4 task(s), but --tasks is 5" in error_message("plan", config, "--out", out, "--tasks", "5")
    assert file_digests(out) == before
    # A part of an array, submitted again.
    environment = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MAX": "3"}
    assert "task     3 of 4" in pointshard("preprocess", "--out", out, env=environment).stdout
    pointshard("plan", config, "--out", out)
    pointshard("plan", config, "--out", out, "--tasks", TASKS)


def test_all_shards_of_a_plan_with_tasks_can_be_made_at_once(planned):
    config, out, whole = planned
    pointshard("preprocess", config, "--out", out, "--task", "all", env={"JOB_COMPLETION_INDEX": "1"})
    assert dataset(out) == dataset(whole)


def test_a_config_per_index_is_a_job_of_its_own(tmp_path):
    config, out = vnc_config(tmp_path), tmp_path / "out"
    environment = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MAX": "9"}
    pointshard("preprocess", config, "--out", out, env=environment)
    assert manifest(out)["shards"]


def test_a_task_needs_a_plan_and_compares_the_config_with_it(planned, tmp_path):
    config, out, _ = planned
    message = error_message("preprocess", config, "--out", tmp_path / "new", "--task", "0/4")
    assert "has no plan" in message and not (tmp_path / "new").exists()
    assert "task     0 of 4" in pointshard("preprocess", config, "--out", out, "--task", "0/4").stdout
    other = vnc_config(tmp_path, "other.json", shard_samples=2, window=[16, 16, 4])
    assert "`window`" in error_message("preprocess", other, "--out", out, "--task", "0/4")


def test_more_tasks_than_shards_leave_some_without_work(tmp_path):
    config, out = vnc_config(tmp_path, shard_samples=100), tmp_path / "out"
    pointshard("plan", config, "--out", out, "--tasks", "20")
    shares = [t["shards"] for t in status(out)["tasks"]]
    assert len(shares) == 20 and shares[-1] == 0
    assert "all 0 already present" in pointshard("preprocess", "--out", out, "--task", "19").stdout
    pointshard("preprocess", "--out", out, "--task", "all")
    pointshard("check", out)


def test_the_rate_is_that_of_the_last_shards(planned):
    _, out, _ = planned
    assert status(out)["throughput"] is None
    task(out, 0, "--threads", "1")
    task(out, 1, "--threads", "1")
    rate = status(out)["throughput"]
    assert rate["windows_per_second"] > 0 and 0 <= rate["seconds_since_last_shard"] < 60
    assert rate["windows_missing"] > 0
    assert "windows/s; last shard written" in pointshard("status", out).stdout
