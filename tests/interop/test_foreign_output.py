"""An output of another job, or a folder with other files, is never overwritten."""

import pytest
from program import error_message, file_digests, pointshard, vnc_collection, vnc_config, write_times


def move_a_box(rows):
    rows["annotations"][0]["pointA"][0] += 100


def drop_a_tag(rows):
    rows["annotations"][0]["tags"] = []


def another_job(folder, change):
    folder.mkdir()
    if callable(change):
        return vnc_config(folder, collection=str(vnc_collection(folder, change)))
    return vnc_config(folder, **change)


CHANGES = {
    "window": {"window": [32, 32, 9]},
    "shard_samples": {"shard_samples": 4},
    "arrays": {"arrays": {"img": {"layer": "label0"}}},
    "splits": {"splits": {"train": ["train"]}},
    "points": {"points": {"layer": "lines"}},
    "box": move_a_box,
    "tags": drop_a_tag,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_output_of_a_changed_job_is_an_error_and_does_not_change(vnc_copy, tmp_path, change):
    _, out = vnc_copy
    before = file_digests(out), write_times(out)
    message = error_message("preprocess", another_job(tmp_path / "other", change), "--out", out)
    assert str(out) in message and "--force" in message, message
    assert (file_digests(out), write_times(out)) == before


@pytest.mark.parametrize("change", ["window", "splits", "box"])
def test_force_equals_a_fresh_run(vnc_copy, tmp_path, change):
    _, out = vnc_copy
    config = another_job(tmp_path / "other", CHANGES[change])
    pointshard("preprocess", config, "--out", out, "--force")
    pointshard("preprocess", config, "--out", tmp_path / "fresh")
    assert file_digests(out) == file_digests(tmp_path / "fresh")


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["without force", "with force"])
def test_a_folder_with_other_files_is_an_error_even_with_force(vnc_job, tmp_path, force):
    config, _ = vnc_job
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "thesis.tex").write_text("\\documentclass{article}")
    (out / "manifest.json").write_text("{}")
    before = write_times(out)
    message = error_message("preprocess", config, "--out", out, *force)
    assert str(out) in message, message
    assert write_times(out) == before


def test_an_empty_folder_is_used(vnc_job, tmp_path):
    config, expected = vnc_job
    pointshard("preprocess", config, "--out", tmp_path)
    assert file_digests(tmp_path) == file_digests(expected)
