"""The demo writes a dataset that the printed Python snippet reads."""

import subprocess
import sys

import pytest
from program import file_digests, manifest, pointshard


def test_the_demo_writes_a_dataset_that_passes_check(demo):
    folder, output = demo
    assert "ok: " in output
    pointshard("check", folder / "dataset")
    splits = manifest(folder / "dataset")["splits"]
    assert all(splits[name]["samples"] > 10 for name in ("train", "val"))


def test_the_printed_snippet_runs(demo, tmp_path):
    folder, output = demo
    snippet = output[output.index("\nimport ") :]
    done = subprocess.run([sys.executable, "-W", "error", "-c", snippet], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, snippet + done.stderr
    assert "annotation" in done.stdout and "uint8" in done.stdout, done.stdout


def test_rerunning_the_demo_changes_nothing(demo):
    folder, _ = demo
    before = file_digests(folder)
    pointshard("demo", folder)
    assert file_digests(folder) == before


def test_the_demo_does_not_write_to_a_folder_with_other_files(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset/thesis.tex").write_text("x")
    pointshard("demo", tmp_path, code=2)
    assert (tmp_path / "dataset/thesis.tex").read_text() == "x"


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_the_demos_config_runs_from_anywhere(demo, tmp_path, form):
    folder, _ = demo
    config = folder / "source/config.json" if form == "absolute" else "source/config.json"
    pointshard("preprocess", config, "--out", tmp_path / "out", cwd=tmp_path if form == "absolute" else folder)
    assert file_digests(tmp_path / "out/train.zarr") == file_digests(folder / "dataset/train.zarr")


@pytest.mark.parametrize("file", ["config.json", "collection.json", "img/info", "notes.txt"])
def test_the_demo_does_not_change_a_source_folder_with_other_files(tmp_path, file):
    mine = tmp_path / "source" / file
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    message = pointshard("demo", tmp_path, code=2).stderr
    assert str(tmp_path / "source") in message and "another folder" in message, message
    assert file_digests(tmp_path).keys() == {f"source/{file}"} and mine.read_text() == "mine"


def test_an_edited_demo_config_is_not_reset(tmp_path):
    pointshard("demo", tmp_path)
    config = tmp_path / "source/config.json"
    config.write_text(config.read_text().replace("64", "32", 1))
    before = file_digests(tmp_path)
    assert "config.json" in pointshard("demo", tmp_path, code=2).stderr
    assert file_digests(tmp_path) == before
