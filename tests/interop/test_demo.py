"""The demo: from nothing to a dataset that the printed Python snippet reads."""

import subprocess
import sys

import pytest
from program import manifest, pointshard, tree


def test_the_demo_makes_a_dataset_that_checks(demo):
    folder, told = demo
    assert "ok: " in told
    pointshard("check", folder / "dataset")
    splits = manifest(folder / "dataset")["splits"]
    assert all(splits[name]["samples"] > 10 for name in ("train", "val"))


def test_the_printed_snippet_works_when_pasted(demo, tmp_path):
    folder, told = demo
    snippet = told[told.index("\nimport ") :]
    done = subprocess.run([sys.executable, "-W", "error", "-c", snippet], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, snippet + done.stderr
    assert "annotation" in done.stdout and "uint8" in done.stdout, done.stdout


def test_the_demo_run_again_gives_the_same(demo):
    folder, _ = demo
    before = tree(folder)
    pointshard("demo", folder)
    assert tree(folder) == before


def test_the_demo_does_not_write_into_somebody_elses_folder(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset/thesis.tex").write_text("x")
    pointshard("demo", tmp_path, code=2)
    assert (tmp_path / "dataset/thesis.tex").read_text() == "x"


@pytest.mark.parametrize("form", ["absolute", "relative"])
def test_the_demos_config_runs_from_anywhere(demo, tmp_path, form):
    folder, _ = demo
    config = folder / "source/config.json" if form == "absolute" else "source/config.json"
    pointshard("preprocess", config, "--out", tmp_path / "out", cwd=tmp_path if form == "absolute" else folder)
    assert tree(tmp_path / "out/train.zarr") == tree(folder / "dataset/train.zarr")


@pytest.mark.parametrize("file", ["config.json", "collection.json", "img/info", "notes.txt"])
def test_the_demo_leaves_a_source_folder_alone_that_is_not_its_own(tmp_path, file):
    mine = tmp_path / "source" / file
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    message = pointshard("demo", tmp_path, code=2).stderr
    assert str(tmp_path / "source") in message and "another folder" in message, message
    assert tree(tmp_path).keys() == {f"source/{file}"} and mine.read_text() == "mine"


def test_a_config_of_the_demo_that_was_edited_is_not_reset(tmp_path):
    pointshard("demo", tmp_path)
    config = tmp_path / "source/config.json"
    config.write_text(config.read_text().replace("64", "32", 1))
    before = tree(tmp_path)
    assert "config.json" in pointshard("demo", tmp_path, code=2).stderr
    assert tree(tmp_path) == before
