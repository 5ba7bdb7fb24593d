"""`object_at`: the mask of a sample is the object at an end of its line."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from program import VNC, checked_dataset, drop_counts, error_message, manifest, vnc_collection, vnc_config
from readers import SPLITS, with_tensorstore, with_zarr
from volumes import HALF, line_ends

PRE_POST = {
    "pre": {"layer": "seg", "role": "target", "transform": {"object_at": {"point": "start"}}},
    "post": {"layer": "seg", "role": "target", "transform": {"object_at": {"point": "end"}}},
}


def object_at(**at):
    return {"layer": "seg", "transform": {"object_at": at}}


def nearest_objects(seg, point, radius):
    """The nearest ids to the point (in nm) within the radius, by a full search: several at equal distance, or none."""
    own = seg.at(point)
    if own:
        return {own}
    first = [max(0, int((p - radius) / r - o) - 2) for p, o, r in zip(point, seg.origin, seg.resolution)]
    last = [int((p + radius) / r - o) + 3 for p, o, r in zip(point, seg.origin, seg.resolution)]
    near = seg.values[tuple(slice(a, b) for a, b in zip(first, last))]
    of_axes = zip(near.shape, first, seg.origin, seg.resolution, point)
    away = [(np.arange(n) + f + o + 0.5) * r - p for n, f, o, r, p in of_axes]
    squares = away[0][:, None, None] ** 2 + away[1][None, :, None] ** 2 + away[2][None, None, :] ** 2
    distances = np.where(near != 0, np.sqrt(squares), np.inf)
    least = distances.min()
    return set(near[distances <= least + 1e-6].tolist()) if least <= radius else set()


def annotations(out, split):
    """Id, centre and first voxel of each sample."""
    group = with_zarr(out, split)
    return list(zip(*(group[name][:].tolist() for name in ("annotation_id", "center_nm", "start_voxel"))))


@pytest.fixture(scope="module")
def pre_post(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("objects")
    return checked_dataset(folder, points={"layer": "lines"}, arrays={"img": {"layer": "img"}, **PRE_POST})


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("name", "end"), [("pre", 0), ("post", 1)])
def test_pre_and_post_are_the_objects_at_the_ends_of_a_line(volume, pre_post, split, name, end):
    seg, lines, group = volume("seg"), line_ends(VNC / "lines"), with_zarr(pre_post, split)
    windows, ids = with_tensorstore(pre_post, split, name).read().result(), group[f"{name}_object_id"][:]
    assert windows.dtype == np.uint8 and ids.dtype == np.uint64 and len(ids) > 3
    for (annotation, center, start), window, found in zip(annotations(pre_post, split), windows, ids.tolist()):
        np.testing.assert_allclose(np.mean(lines[annotation], axis=0), center, rtol=1e-12)
        wanted = seg.at(lines[annotation][end])
        assert wanted != 0 and found == wanted
        np.testing.assert_array_equal(window, (seg.cut(start, (32, 32, 8)) == np.uint64(wanted)).astype("u1"))
    assert windows.any()
    assert drop_counts(pre_post) == {}


def test_pre_and_post_are_different_objects(pre_post):
    for split in SPLITS:
        group = with_zarr(pre_post, split)
        assert (group["pre_object_id"][:] != group["post_object_id"][:]).all()
        assert not (group["pre"][:] & group["post"][:]).any()
        assert "img_object_id" not in group


def test_objects_equal_those_in_the_layers_relationships(volume, pre_post):
    """The annotations have each line's cells as relationships: a second source besides the voxels."""
    for split in SPLITS:
        group = with_zarr(pre_post, split)
        for name, relationship in (("pre", "rel_presyn_cell"), ("post", "rel_postsyn_cell")):
            for annotation, found in zip(group["annotation_id"][:].tolist(), group[f"{name}_object_id"][:].tolist()):
                related = (VNC / "lines" / relationship / str(found)).read_bytes()
                count = int.from_bytes(related[:8], "little")
                assert annotation in np.frombuffer(related[-8 * count :], "<u8").tolist()


def test_samples_on_background_are_dropped_and_counted(volume, tmp_path):
    seg = volume("seg")
    everything = checked_dataset(tmp_path, name="all")
    out = checked_dataset(tmp_path, arrays={"cell": object_at(point="anchor")})
    lost = 0
    for split in SPLITS:
        rows = annotations(everything, split)
        kept = [row for row in rows if seg.at(row[1]) != 0]
        lost += len(rows) - len(kept)
        assert annotations(out, split) == kept
        assert with_zarr(out, split)["cell_object_id"][:].tolist() == [seg.at(center) for _, center, _ in kept]
    assert lost > 0 and drop_counts(out) == {"no_object": lost}
    for before, after in zip(manifest(everything)["boxes"], manifest(out)["boxes"]):
        assert before["annotations"] == after["annotations"] == after["samples"] + sum(after["dropped"].values())


def test_missing_keep_writes_empty_masks_and_a_warning(volume, tmp_path):
    seg = volume("seg")
    out = checked_dataset(tmp_path, arrays={"cell": object_at(point="anchor", missing="keep"), "img": {"layer": "img"}})
    without = 0
    for split in SPLITS:
        rows, group = annotations(out, split), with_zarr(out, split)
        wanted = [seg.at(center) for _, center, _ in rows]
        assert group["cell_object_id"][:].tolist() == wanted
        for (_, _, start), found, window in zip(rows, wanted, group["cell"][:]):
            mask = (seg.cut(start, (32, 32, 8)) == np.uint64(found)) & (found != 0)
            np.testing.assert_array_equal(window, mask)
        without += wanted.count(0)
        assert len(rows) > wanted.count(0)
    assert drop_counts(out) == {}
    (warning,) = (w for w in manifest(out)["warnings"] if "are padded" not in w)
    assert warning.startswith(f"{without} sample(s) have no object in `cell`")


@pytest.mark.parametrize("radius", [20.0, 46.0, 200.0])
def test_a_radius_finds_the_same_nearest_object_as_a_full_search(volume, tmp_path, radius):
    seg = volume("seg")
    arrays = {"cell": object_at(point="anchor", radius_nm=radius, missing="keep")}
    out = checked_dataset(tmp_path, arrays=arrays)
    searched = 0
    for split in SPLITS:
        rows, group = annotations(out, split), with_zarr(out, split)
        for (_, center, start), found, window in zip(rows, group["cell_object_id"][:].tolist(), group["cell"][:]):
            wanted = nearest_objects(seg, center, radius)
            assert found in wanted if wanted else found == 0
            searched += seg.at(center) == 0 and len(wanted) > 0
            mask = (seg.cut(start, (32, 32, 8)) == np.uint64(found)) & (found != 0)
            np.testing.assert_array_equal(window, mask)
    assert searched > 0


def test_objects_are_found_at_data_resolution(volume, tmp_path):
    seg, lines = volume("seg"), line_ends(VNC / "lines")
    pre = {**PRE_POST["pre"], "data_resolution": [4.6, 4.6, 45.0], "interpolation": "nearest"}
    out = checked_dataset(tmp_path, points={"layer": "lines"}, resolution=HALF, arrays={"pre": pre})
    # Every second voxel of a volume that starts at an even voxel.
    coarse = type(seg)(seg.values[::2, ::2], (1500, 1000, 100), HALF)
    for split in SPLITS:
        rows, group = annotations(out, split), with_zarr(out, split)
        for (annotation, _, start), found, window in zip(rows, group["pre_object_id"][:].tolist(), group["pre"][:]):
            assert found == seg.at(lines[annotation][0]) != 0
            np.testing.assert_array_equal(window, coarse.cut(start, (32, 32, 8)) == np.uint64(found))
        assert group["pre"][:].any()


def without_chunks(folder, gone):
    """A copy of the layer `seg` without the chunks for whose names `gone` is true, and a collection with it."""
    shutil.copytree(VNC / "seg", folder / "seg")
    removed = [chunk for chunk in (folder / "seg").glob("4.6_*/*") if gone(chunk.name)]
    for chunk in removed:
        chunk.unlink()
    return str(vnc_collection(folder, seg=folder / "seg")), {chunk.name.removesuffix(".gz") for chunk in removed}


@pytest.mark.parametrize("missing", ["drop", "keep"])
def test_points_in_missing_chunks_are_counted_separately_from_background(shared, tmp_path, missing):
    points = {"layer": "lines"}
    arrays = {"pre": object_at(point="start", missing=missing), "img": {"layer": "img"}}
    whole = checked_dataset(tmp_path, name="whole", points=points, arrays=arrays)
    assert drop_counts(whole) == {} and all("are padded" in w for w in manifest(whole)["warnings"])
    collection, removed = without_chunks(tmp_path, lambda name: int(name.split("-")[0]) < 3300)
    out = checked_dataset(tmp_path, name="out", collection=collection, points=points, arrays=arrays)
    warnings = manifest(out)["warnings"]
    if missing == "drop":
        lost = drop_counts(out)["no_object"]
    else:
        (empty,) = [w for w in warnings if "have no object in `pre`" in w]
        lost = int(empty.split()[0])
    assert lost > 0
    (output,) = [w for w in warnings if "is missing, for example" in w]
    assert output.startswith(f"{lost} sample(s)") and "the layer `seg`" in output and "`pre`" in output
    chunk = output.split("for example ")[1].split(": ")[0]
    assert Path(chunk).parent.parent == tmp_path / "seg" and Path(chunk).name in removed


def test_a_layer_without_a_stored_chunk_at_any_point_is_an_error(shared, tmp_path):
    collection, removed = without_chunks(tmp_path, lambda name: True)
    config = vnc_config(tmp_path, collection=collection, points={"layer": "lines"}, arrays=PRE_POST)
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=1)
    for part in ("`seg`", "`arrays.pre.transform.object_at`", "all chunks at their points are missing", str(tmp_path / "seg")):
        assert part in message, message
    assert any(name in message for name in removed), message
    assert not (tmp_path / "out").exists()
    for part in ("`layers.seg.empty`", '"allow"'):
        assert part in message, message
    # If the config allows it, the samples are dropped like others without an object.
    layers = {"seg": {"empty": "allow"}}
    config = vnc_config(tmp_path, collection=collection, points={"layer": "lines"}, arrays=PRE_POST, layers=layers)
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=1)
    assert "no sample" in message and "`no_object`" in message, message
