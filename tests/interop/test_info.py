"""`pointshard info` prints what a dataset holds."""

import json

import numpy as np
import pytest
import zarr
from program import manifest, pointshard
from test_check import flip


def info(out, **options):
    return json.loads(pointshard("info", out, "--json", **options).stdout)


def test_json_is_what_zarr_and_the_files_say(vnc):
    found = info(vnc)
    assert found["samples"] == 30 and list(found["splits"]) == ["train", "val"]
    assert found["bytes"] == sum(p.stat().st_size for p in vnc.glob("*.zarr/**/*") if p.is_file())
    assert found["window_voxels"] == [32, 32, 8] and found["resolutions_nm"] == [[4.6, 4.6, 45.0]]
    columns = set()
    for name, split in found["splits"].items():
        group = zarr.open_group(vnc / split["path"], mode="r")
        columns |= {member for member, _ in group.members()} - set(found["arrays"])
        shards = list((vnc / split["path"]).glob("*/c.*.0.0.0.0"))
        assert (split["shards"], split["bytes"]) == (len(shards), sum(p.stat().st_size for p in shards))
        assert split["samples"] == group["annotation_id"].shape[0]
        assert split["boxes"] == len({b["id"] for b in manifest(vnc)["boxes"] if b["split"] == name})
        for array, of_array in found["arrays"].items():
            values = group[array]
            assert of_array["sample_shape"] == list(values.shape[1:]) and of_array["data_type"] == values.dtype.name
            statistics = of_array["statistics"][name]
            assert statistics["max"] == values[:].max() and np.isclose(statistics["mean"], values[:].mean())
            padded = group[f"{array}_inside_fraction"][:] < 1
            assert of_array["padded_windows"][name] == padded.sum()
    assert set(found["columns"]) == columns
    assert [s["layer"] for s in found["sources"]] == ["img", "label0", "label1"]
    assert found["config"]["window"] == [32, 32, 8] and found["collection"].endswith("collection.json")
    for name, of_array in found["arrays"].items():
        shards = list(vnc.glob(f"*.zarr/{name}/c.*.0.0.0.0"))
        assert of_array["bytes"] == sum(p.stat().st_size for p in shards)
        assert of_array["values_bytes"] == 30 * 32 * 32 * 8


def test_text_fits_a_terminal_and_opens_in_python(vnc):
    text = pointshard("info", vnc).stdout
    lines = [line for line in text.splitlines() if str(vnc) not in line and "/" not in line]
    assert max(map(len, lines)) <= 80, text
    assert "30 samples" in lines[0] or "30 samples" in text
    (snippet,) = [line.strip() for line in text.splitlines() if "open_zarr" in line]
    xarray = pytest.importorskip("xarray")
    opened = eval(snippet, {"xarray": xarray})
    assert opened.sizes["sample"] == 21 and "img" in opened


def test_a_dataset_that_is_not_complete_or_damaged_is_an_error(vnc_copy, tmp_path):
    _, out = vnc_copy
    flip(out / "manifest.json", 99)
    assert "is damaged" in pointshard("info", out, code=1).stderr
    (out / "manifest.json").unlink()
    assert "no manifest.json" in pointshard("info", out, code=1).stderr
    assert "is not a pointshard dataset" in pointshard("info", tmp_path, code=2).stderr


def test_tables_of_all_commands_fit_60_columns(demo, tmp_path):
    """Ids of boxes in the demo are UUIDs, as in CAVE and zetta_utils."""
    config, out = demo[0] / "source/config.json", tmp_path / "out"
    printed = [pointshard("plan", config).stdout, pointshard("preprocess", config, "--out", out).stdout]
    printed += [pointshard(command, out).stdout for command in ("status", "info")]
    # A table has rows of words that are aligned by spaces.
    rows = [line for text in printed for line in text.splitlines() if line.startswith("  ") or line.count("   ") > 1]
    tables = [line for line in rows if "xarray" not in line and not line.startswith("         ")]
    assert len(tables) > 25
    assert max(map(len, tables)) <= 60, max(tables, key=len)
    boxes = [b["id"] for b in manifest(out)["boxes"]]
    verbose = pointshard("plan", config, "-v").stdout
    assert len(boxes[0]) == 36 and all(b in verbose for b in boxes) and boxes[0] not in printed[0]
