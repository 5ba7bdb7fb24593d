"""The plan in the output, and what a run may do to an output that another one uses."""

import fcntl
import json
import shutil
import subprocess
import time

import pytest
from program import binary, error_message, file_digests, manifest, pointshard, vnc_collection, vnc_config, write_times
from test_plan_differences import Job

PRIVATE = (".pointshard/writers",)


def dataset_digests(out):
    """The digests of all files but those that only say that a writer was there."""
    return {path: digest for path, digest in file_digests(out).items() if path not in PRIVATE}


def start(*arguments):
    command = [str(a) for a in (binary(), *arguments, "--quiet")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def one_step(tmp_path):
    """A small job, run with one command."""
    job = Job(tmp_path)
    job.config["shard_samples"] = 1
    job.run()
    return job


def test_a_plan_in_the_output_needs_neither_config_nor_collection_nor_annotations(one_step):
    job, out = one_step, one_step.folder / "planned"
    printed = pointshard("plan", job.write(), "--out", out).stdout
    assert f"pointshard preprocess --out {out}" in printed
    assert not (out / "manifest.json").exists() and not list(out.glob("*.zarr"))
    before = dataset_digests(out)
    for name in ("config.json", "collection.json", "points.csv"):
        (job.folder / name).unlink()
    status = json.loads(pointshard("status", out, "--json").stdout)
    assert (status["complete"], status["present"], status["shards"]) == (False, 0, 8)
    lines = pointshard("status", out).stdout.splitlines()
    assert lines[-2:] == ["0 of 8 shards are written", f"next: pointshard preprocess --out {out}"]
    message = error_message("seal", out, code=1)
    assert "8 of 8 shards" in message and "train.zarr/img/c.0" in message
    pointshard("preprocess", "--out", out)
    assert {path: digest for path, digest in dataset_digests(out).items() if path in before} == before
    assert dataset_digests(out) == dataset_digests(job.out)
    status = json.loads(pointshard("status", out, "--json").stdout)
    assert status["complete"] and all(array["missing"] == [] for array in status["arrays"])
    pointshard("check", out)


def test_seal_finishes_a_dataset_without_any_source(one_step):
    expected = dataset_digests(one_step.out)
    for name in ("config.json", "collection.json", "points.csv"):
        (one_step.folder / name).unlink()
    shutil.rmtree(one_step.folder / "img")
    pointshard("preprocess", "--out", one_step.out)
    (one_step.out / "manifest.json").unlink()
    (one_step.out / "train.zarr/box/c.0").unlink()
    assert "pointshard seal" in pointshard("status", one_step.out).stdout
    pointshard("seal", one_step.out)
    assert dataset_digests(one_step.out) == expected
    pointshard("preprocess", "--out", one_step.out)
    (one_step.out / "train.zarr/img/c.2.0.0.0.0").unlink()
    assert "img" in error_message("preprocess", "--out", one_step.out, code=1)


def test_an_output_without_a_plan_says_what_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    for command in (["preprocess", "--out"], ["seal"], ["status"]):
        message = error_message(*command, tmp_path / "empty")
        assert "has no plan" in message and "pointshard plan CONFIG --out" in message
    assert "CONFIG" in pointshard("preprocess", "--force", "--out", tmp_path, code=2).stderr


def test_a_finished_output_is_not_written_to(one_step):
    before = write_times(one_step.out)
    for arguments in (["preprocess", one_step.write(), "--out"], ["preprocess", "--out"], ["seal"], ["status"]):
        pointshard(*arguments, one_step.out)
    pointshard("plan", one_step.write(), "--out", one_step.out)
    assert write_times(one_step.out) == before


def test_of_two_jobs_at_the_same_moment_one_is_refused(tmp_path):
    job = Job(tmp_path)
    configs = []
    for codec in ("none", "zstd"):
        job.config["arrays"]["img"]["codec"] = codec
        config = job.write()
        configs.append(config.rename(tmp_path / f"{codec}.json"))
        pointshard("preprocess", configs[-1], "--out", tmp_path / codec)
    expected = [dataset_digests(tmp_path / "none"), dataset_digests(tmp_path / "zstd")]
    for trial in range(30):
        out = tmp_path / f"out{trial}"
        processes = [start("preprocess", config, "--out", out) for config in configs[:: (-1) ** trial]]
        messages = [process.communicate()[1] for process in processes]
        codes = [process.returncode for process in processes]
        assert sorted(codes) == [0, 2], messages
        assert "another job" in messages[codes.index(2)], messages
        assert dataset_digests(out) in expected
        pointshard("check", out)


def test_two_runs_of_one_job_at_the_same_moment_write_the_same_bytes(one_step, tmp_path):
    config = one_step.write()
    for trial in range(10):
        out = tmp_path / f"both{trial}"
        processes = [start("preprocess", config, "--out", out) for _ in range(2)]
        messages = [process.communicate()[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], messages
        assert dataset_digests(out) == dataset_digests(one_step.out)


def test_force_beside_a_writer_is_refused(one_step):
    expected = dataset_digests(one_step.out)
    with open(one_step.out / ".pointshard/writers", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        message = error_message("preprocess", one_step.write(), "--out", one_step.out, "--force", code=75)
        assert "another pointshard process writes to" in message
        assert dataset_digests(one_step.out) == expected
    pointshard("preprocess", one_step.write(), "--out", one_step.out, "--force")
    assert dataset_digests(one_step.out) == expected


def test_a_source_that_moved_but_is_the_same_resumes(one_step):
    expected = dataset_digests(one_step.out)
    (one_step.folder / "img").rename(one_step.folder / "moved")
    one_step.collection["layers"][0]["source"] = "precomputed://file://./moved"
    done = pointshard("preprocess", one_step.write(), "--out", one_step.out)
    assert "moved" in done.stderr and str(one_step.folder / "img") in done.stderr
    (one_step.out / "train.zarr/img/c.2.0.0.0.0").unlink()
    pointshard("preprocess", one_step.write(), "--out", one_step.out)
    assert dataset_digests(one_step.out) == expected


@pytest.mark.parametrize(
    "path, word", [("claim.json", "claim.json"), ("plan.json", "plan.json"), ("plan/*/train/box/c.0", "box")]
)
def test_a_damaged_claim_or_plan_is_an_error_and_changes_nothing(one_step, path, word):
    (path,) = (one_step.out / ".pointshard").glob(path)
    bytes_ = bytearray(path.read_bytes())
    bytes_[len(bytes_) // 2] ^= 1
    path.write_bytes(bytes_)
    before = write_times(one_step.out)
    commands = [["preprocess", one_step.write(), "--out"], ["preprocess", "--out"], ["seal"]]
    # The status needs only the header of the plan.
    commands += [["status"]] if word != "box" else []
    for arguments in commands:
        assert word in error_message(*arguments, one_step.out, code=1)
    assert write_times(one_step.out) == before


def test_every_flipped_bit_of_a_receipt_is_noticed(one_step):
    expected = dataset_digests(one_step.out)
    path = one_step.out / ".pointshard/receipts/train/img/1.json"
    good = path.read_bytes()
    for at in range(0, len(good) - 1, len(good) // 40):
        bad = bytearray(good)
        bad[at] ^= 4
        path.write_bytes(bad)
        done = pointshard("preprocess", "--out", one_step.out)
        assert "1 written, 7 already present" in done.stdout
        assert dataset_digests(one_step.out) == expected


def test_a_shard_with_another_digest_is_written_again_with_verify(one_step):
    expected = dataset_digests(one_step.out)
    shard = one_step.out / "train.zarr/img/c.3.0.0.0.0"
    bytes_ = bytearray(shard.read_bytes())
    bytes_[10] ^= 1
    shard.write_bytes(bytes_)
    assert "nothing to do" in pointshard("preprocess", "--out", one_step.out).stdout
    assert "7 of 8 shards" in pointshard("status", one_step.out, "--verify").stdout
    assert "1 written, 7 already present" in pointshard("preprocess", "--out", one_step.out, "--verify").stdout
    assert dataset_digests(one_step.out) == expected


def test_a_folder_removed_under_a_running_job_is_one_clear_error(shared, tmp_path):
    config = vnc_config(tmp_path, shard_samples=1)
    out = tmp_path / "out"
    process = start("preprocess", config, "--out", out, "--threads", 1)
    while not list(out.glob("train.zarr/*/c.*.0.0.0.0")) and process.poll() is None:
        time.sleep(0.001)
    out.rename(tmp_path / "moved")
    message = process.communicate()[1]
    if process.returncode == 0:
        pytest.fail("the job was done before the folder was renamed")
    assert process.returncode == 75, message
    assert message.count("error: ") == 1 and str(out) in message and "moved" in message, message
    assert not out.exists()
    pointshard("preprocess", config, "--out", tmp_path / "moved")
    pointshard("check", tmp_path / "moved")


@pytest.mark.parametrize(
    "place, code",
    [(".pointshard/plan.json", 1), ("train.zarr/img/c.1.0.0.0.0", 2), ("train.zarr/zarr.json", 2), ("manifest.json", 1)],
)
def test_a_folder_in_the_place_of_a_file_is_one_clear_error(one_step, place, code):
    path = one_step.out / place
    path.unlink()
    path.mkdir()
    (path / "mine").write_text("mine")
    message = pointshard("preprocess", one_step.write(), "--out", one_step.out, "--quiet", code=code).stderr
    assert message.count("error: ") == 1 and str(path) in message, message
    assert (path / "mine").read_text() == "mine"


def test_a_rerun_reads_no_voxel_and_without_config_nothing_at_all(http, object_root, tmp_path):
    def remote(rows):
        for layer in rows["layers"]:
            if layer["name"] in ("img", "label0", "label1", "points"):
                layer["source"] = f"precomputed://{http.root.rstrip('/')}/vnc/{layer['name']}"

    config = vnc_config(tmp_path, collection=str(vnc_collection(tmp_path, remote)))
    out = tmp_path / "out"
    pointshard("preprocess", config, "--out", out)
    before = http.requests()
    pointshard("preprocess", "--out", out)
    pointshard("seal", out)
    pointshard("status", out)
    assert http.requests() == before
    pointshard("preprocess", config, "--out", out)
    asked = http.requests()[len(before) :]
    assert asked and not [request for request in asked if "4.6_4.6_45.0" in str(request)], asked
    assert manifest(out)["schema_version"] >= 2
