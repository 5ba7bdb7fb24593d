"""The same job gives the same bytes, on any number of threads and within any memory limit."""

import pytest
from program import file_digests, pointshard, write_times


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_any_number_of_threads_gives_the_same_bytes(vnc_job, tmp_path, threads):
    config, expected = vnc_job
    pointshard("preprocess", config, "--out", tmp_path / "out", "--threads", threads)
    assert file_digests(tmp_path / "out") == file_digests(expected)


def test_a_low_memory_limit_gives_the_same_bytes(vnc_job, tmp_path):
    config, expected = vnc_job
    pointshard("preprocess", config, "--out", tmp_path / "out", "--memory", "64MiB")
    assert file_digests(tmp_path / "out") == file_digests(expected)


def test_rerunning_a_finished_job_writes_nothing(vnc_copy):
    config, out = vnc_copy
    before = write_times(out)
    assert "nothing to do" in pointshard("preprocess", config, "--out", out).stdout
    assert write_times(out) == before


def test_the_demo_is_the_same_in_every_folder(demo, tmp_path):
    folder, _ = demo
    pointshard("demo", tmp_path / "demo", "--threads", "1")
    assert file_digests(tmp_path / "demo/source") == file_digests(folder / "source")
    for split in ("train", "val"):
        # Only the group's attributes differ: the plan's digest includes the location of the source.
        made, expected = (file_digests(f / f"dataset/{split}.zarr") for f in (tmp_path / "demo", folder))
        assert {path for path in expected if made.pop(path, None) != expected[path]} == {"zarr.json"}
        assert made == {}
