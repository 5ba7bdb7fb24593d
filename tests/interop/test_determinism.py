"""The same job gives the same bytes, whoever runs it and how."""

import pytest
from program import pointshard, times, tree


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_any_number_of_threads_gives_the_same_bytes(vnc_job, tmp_path, threads):
    config, expected = vnc_job
    pointshard("preprocess", config, "--out", tmp_path / "out", "--threads", threads)
    assert tree(tmp_path / "out") == tree(expected)


def test_little_memory_gives_the_same_bytes(vnc_job, tmp_path):
    config, expected = vnc_job
    pointshard("preprocess", config, "--out", tmp_path / "out", "--memory", "64MiB")
    assert tree(tmp_path / "out") == tree(expected)


def test_a_finished_job_run_again_writes_nothing(vnc_copy):
    config, out = vnc_copy
    before = times(out)
    assert "nothing to do" in pointshard("preprocess", config, "--out", out).stdout
    assert times(out) == before


def test_the_demo_is_the_same_everywhere(demo, tmp_path):
    folder, _ = demo
    pointshard("demo", tmp_path / "demo", "--threads", "1")
    assert tree(tmp_path / "demo/source") == tree(folder / "source")
    for split in ("train", "val"):
        # Only the group's attributes differ: the plan's digest knows where the source lies.
        made, expected = (tree(f / f"dataset/{split}.zarr") for f in (tmp_path / "demo", folder))
        assert {path for path in expected if made.pop(path, None) != expected[path]} == {"zarr.json"}
        assert made == {}
