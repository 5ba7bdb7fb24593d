"""Layout, codecs, windows and columns as zarr-python and tensorstore read them."""

import json

import numpy as np
import pytest
from program import LAYERS, manifest
from readers import SPLITS, with_tensorstore, with_zarr


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("layer", LAYERS)
def test_an_inner_chunk_is_one_sample_and_a_shard_is_many(vnc, split, layer):
    array = with_zarr(vnc, split)[layer]
    assert array.metadata.zarr_format == 3
    assert array.metadata.dimension_names == ("sample", "channel", "z", "y", "x")
    assert array.chunks == (1, 1, 8, 32, 32)
    assert array.shards == (3, 1, 8, 32, 32)
    assert array.shape[0] == manifest(vnc)["splits"][split]["samples"]
    grid = with_tensorstore(vnc, split, layer).chunk_layout
    assert grid.read_chunk.shape == (1, 1, 8, 32, 32)
    assert grid.write_chunk.shape == (3, 1, 8, 32, 32)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("layer", LAYERS)
def test_samples_and_shard_index_have_checksums(vnc, split, layer):
    metadata = json.loads((vnc / f"{split}.zarr/{layer}/zarr.json").read_text())
    (sharding,) = metadata["codecs"]
    assert sharding["name"] == "sharding_indexed"
    configuration = sharding["configuration"]
    # The choice of `auto`: EM hardly shrinks, labels do.
    compressed = [] if layer == "img" else ["zstd"]
    assert [c["name"] for c in configuration["codecs"]] == ["bytes", *compressed, "crc32c"]
    assert [c["name"] for c in configuration["index_codecs"]] == ["bytes", "crc32c"]


@pytest.mark.parametrize("split", SPLITS)
def test_consolidated_metadata_equal_those_of_each_array(vnc, split):
    group = json.loads((vnc / f"{split}.zarr/zarr.json").read_text())
    consolidated = group["consolidated_metadata"]["metadata"]
    files = {p.parent.name: json.loads(p.read_text()) for p in (vnc / f"{split}.zarr").glob("*/zarr.json")}
    assert consolidated == files


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_window_read_alone_equals_the_window_read_with_others(vnc, split, layer):
    array, store = with_zarr(vnc, split)[layer], with_tensorstore(vnc, split, layer)
    everything = array[:]
    assert everything.any()
    for i, window in enumerate(everything):
        np.testing.assert_array_equal(array[i], window)
        np.testing.assert_array_equal(store[i].read().result(), window)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("layer", LAYERS)
def test_nonzero_fractions_equal_those_of_numpy(vnc, split, layer):
    group = with_zarr(vnc, split)
    windows = group[layer][:]
    counted = np.count_nonzero(windows, axis=(1, 2, 3, 4)) / windows[0].size
    np.testing.assert_array_equal(group[f"{layer}_nonzero_fraction"][:], counted.astype(np.float32))


@pytest.mark.parametrize("split", SPLITS)
def test_properties_and_centers_equal_those_of_the_annotations(vnc, shared, split):
    rows = json.loads((shared / "data/annotations/rows.json").read_text())["rows"]
    rows = {row["id"]: row for row in rows}
    group = with_zarr(vnc, split)
    ids = group["annotation_id"][:].tolist()
    assert any(i > 2**53 for i in ids)
    for i, id in enumerate(ids):
        center = np.float64(rows[id]["point"]) * [4.6, 4.6, 45.0]
        np.testing.assert_allclose(group["center_nm"][i], center, rtol=0, atol=1e-6)
        for name, value in rows[id]["props"].items():
            column = group[f"property_{name}"]
            np.testing.assert_array_equal(column[i], np.asarray(value, column.dtype), err_msg=f"{id} {name}")


def test_enumerated_properties_have_their_labels(vnc):
    attributes = with_zarr(vnc, "train")["property_kind"].attrs
    assert attributes["flag_values"] == [0, 1, 2]
    assert attributes["flag_meanings"] == ["small", "medium", "large"]


@pytest.mark.parametrize("split", SPLITS)
def test_the_column_box_is_an_index_into_the_manifests_boxes(vnc, split):
    boxes = manifest(vnc)["boxes"]
    group = with_zarr(vnc, split)
    for index, center in zip(group["box"][:].tolist(), group["center_nm"][:]):
        box = boxes[index]
        assert box["split"] == split
        assert (box["min_nm"] <= center).all() and (center < box["max_nm"]).all()
    counts = np.bincount(group["box"][:], minlength=len(boxes))
    assert [b["samples"] if b["split"] == split else 0 for b in boxes] == counts.tolist()
