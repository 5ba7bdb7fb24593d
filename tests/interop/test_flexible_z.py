"""`flexible_z`: boxes whose layers have another z resolution, with the same number of voxels per window."""

import json

import numpy as np
import pytest
import zarr
from program import VNC, checked_dataset, error_message, manifest, pointshard, vnc_collection, vnc_config
from readers import with_tensorstore, with_zarr
from volumes import FULL, first_voxel, write_precomputed

WINDOW = (32, 30, 7)
# Boxes of the second data set: the third of train and the last of val.
THICK_BOXES = (3, 5)
THICK = (4.6, 4.6, 60.0)


def noise(shape, dtype, seed):
    return np.random.default_rng(seed).integers(1, 200, shape, dtype=dtype)


@pytest.fixture(scope="module")
def thick(tmp_path_factory):
    """A second data set at the same position. At 4.6 nm in x and y its layers share only z 60."""
    folder = tmp_path_factory.mktemp("thick")
    layers = {
        # A z below 60 that `label0` does not have, and a finer z at other x and y.
        "img": [(4.6, 4.6, 30.0), THICK, (4.6, 4.6, 120.0), (9.2, 9.2, 10.0)],
        "label0": [THICK, (9.2, 9.2, 30.0), (4.6, 4.6, 15.0)],
    }
    volumes = {}
    for layer, resolutions in layers.items():
        for seed, resolution in enumerate(resolutions):
            factor = round(resolution[0] / 4.6)
            shape = (1024 // factor, 1024 // factor, round(900 / resolution[2]))
            origin = (3000 // factor, 2000 // factor, round(4500 / resolution[2]))
            if shape[2] > 40:
                # Never read: a few voxels suffice.
                shape = (64, 64, 8)
            values = noise(shape, np.uint8, seed)
            volumes[layer, resolution] = write_precomputed(folder / layer, values, resolution, origin, (128, 128, 16))
    return folder, volumes


def with_second_group(folder, sources):
    """The vnc collection, with some boxes in a second layer group."""

    def change(rows):
        (group,) = rows["layer_groups"]
        names = {layer["id"]: layer["name"] for layer in rows["layers"]}
        others = [{"id": f"other-{n}", "name": n, "source": f"precomputed://file://{s}"} for n, s in sources.items()]
        shared = [i for i in group["layers"] if names[i] in ("points", "lines")]
        rows["layers"] += others
        second = {**group, "id": "second", "name": "second", "layers": [*shared, *(o["id"] for o in others)]}
        rows["layer_groups"].append(second)
        for box in THICK_BOXES:
            rows["annotations"][box]["layer_group"] = "second"

    return str(vnc_collection(folder, change))


ARRAYS = {"img": {"layer": "img"}, "target_label0": {"layer": "label0", "window": [20, 20, 3]}}


def assert_provenance(out, attributes, split, box, resolution, folder):
    """The manifest and the attributes of the split's group lead from a box to the volume of each array."""
    described = manifest(out)
    entry = described["boxes"][box]
    assert entry["split"] == split
    assert attributes["boxes"][str(box)] == {key: entry[key] for key in ("id", "tags", "group")}
    assert {int(i) for i in attributes["boxes"]} == {i for i, b in enumerate(described["boxes"]) if b["split"] == split}
    for about in (described, attributes):
        layer_group = about["groups"][entry["group"]]
        assert tuple(layer_group["resolution_nm"]) == resolution
        for array, position in layer_group["sources"].items():
            layer = ARRAYS[array]["layer"]
            source = about["sources"][position]
            assert source["layer"] == layer and tuple(source["resolution_nm"]) == resolution
            assert source["location"] == str((folder if resolution == THICK else VNC) / layer)


def test_windows_are_cut_at_the_z_resolution_of_their_group(volume, thick, tmp_path):
    folder, volumes = thick
    collection = with_second_group(tmp_path, {layer: folder / layer for layer in ("img", "label0")})
    config = {"collection": collection, "window": WINDOW, "arrays": ARRAYS, "flexible_z": True}
    out = checked_dataset(tmp_path, **config)
    found = {FULL: 0, THICK: 0}
    for split in ("train", "val"):
        group = with_zarr(out, split)
        columns = ("box", "center_nm", "start_voxel", "target_label0_start_voxel", "resolution_nm")
        columns = zip(*(group[name][:].tolist() for name in columns))
        windows = [with_tensorstore(out, split, name).read().result() for name in ARRAYS]
        assert windows[0].shape[1:] == (1, *WINDOW[::-1])
        for img, label, (box, center, start, label_start, resolution) in zip(*windows, columns, strict=True):
            expected = THICK if box in THICK_BOXES else FULL
            assert tuple(resolution) == expected
            assert_provenance(out, group.attrs["pointshard"], split, box, expected, folder)
            of = {n: volumes[n, THICK] if expected == THICK else volume(n) for n in ("img", "label0")}
            assert start == first_voxel(center, expected, WINDOW)
            assert label_start == first_voxel(center, expected, (20, 20, 3))
            np.testing.assert_array_equal(img, of["img"].cut(start, WINDOW))
            np.testing.assert_array_equal(label, of["label0"].cut(label_start, (20, 20, 3)))
            found[expected] += 1
    assert min(found.values()) > 2
    resolutions = {tuple(s["resolution_nm"]) for s in manifest(out)["sources"]}
    assert resolutions == {FULL, THICK}
    assert dict(with_zarr(out, "train")["img"].attrs)["resolution_nm"] is None, "it is not the same for all"


def test_without_flexible_z_another_z_resolution_is_an_error(thick, tmp_path):
    folder, _ = thick
    collection = with_second_group(tmp_path, {layer: folder / layer for layer in ("img", "label0")})
    message = error_message("preprocess", vnc_config(tmp_path, collection=collection, arrays=ARRAYS), "--out", tmp_path / "out")
    assert "4.6 x 4.6 x 45 nm" in message and "60" in message, message


def test_the_z_in_the_config_may_be_one_that_no_group_has(volume, tmp_path):
    out = checked_dataset(tmp_path, resolution=[4.6, 4.6, 1.0], flexible_z=True, arrays={"img": {"layer": "img"}})
    group = with_zarr(out, "train")
    assert (group["resolution_nm"][:] == FULL).all()
    for start, window in zip(group["start_voxel"][:], group["img"][:]):
        np.testing.assert_array_equal(window, volume("img").cut(start, (32, 32, 8)))


def test_the_smallest_shared_z_is_used(thick, tmp_path):
    folder, volumes = thick
    collection = with_second_group(tmp_path, {"img": folder / "img"})
    out = checked_dataset(tmp_path, collection=collection, flexible_z=True, window=WINDOW, arrays={"img": {"layer": "img"}})
    fine = volumes["img", (4.6, 4.6, 30.0)]
    group = with_zarr(out, "train")
    rows = zip(group["box"][:], group["start_voxel"][:], group["resolution_nm"][:, 2], group["img"][:])
    of_fine = [(start, z, window) for box, start, z, window in rows if box in THICK_BOXES]
    assert of_fine and all(z == 30.0 for _, z, _ in of_fine)
    for start, _, window in of_fine:
        np.testing.assert_array_equal(window, fine.cut(start, WINDOW))


def test_arrays_with_data_resolution_do_not_affect_the_shared_z(tmp_path):
    """The label has z 45; the image, which has only z 60, is resampled."""
    thick = write_precomputed(tmp_path / "img", noise((1024, 1024, 15), np.uint8, 9), THICK, (3000, 2000, 75), (512, 512, 15))  # fmt: skip
    collection = vnc_collection(tmp_path, img=tmp_path / "img")
    coarse = {"layer": "img", "data_resolution": THICK, "interpolation": "nearest"}
    arrays = {"coarse": coarse, "label": {"layer": "label0"}}
    out = checked_dataset(tmp_path, collection=str(collection), flexible_z=True, window=WINDOW, arrays=arrays)
    group = with_zarr(out, "train")
    assert (group["resolution_nm"][:] == FULL).all()
    for start, window in zip(group["start_voxel"][:].tolist(), group["coarse"][:]):
        # The centre at 45 z + 22.5 nm is inside one thick voxel, never between two.
        of_thick = [(45 * (start[2] + i) + 22.5) // 60 for i in range(WINDOW[2])]
        rows = [thick.cut((start[0], start[1], int(z)), (WINDOW[0], WINDOW[1], 1)) for z in of_thick]
        np.testing.assert_array_equal(window, np.concatenate(rows, axis=1))


def test_layers_that_share_no_z_are_an_error_that_names_both(tmp_path):
    thick = tmp_path / "thick"
    write_precomputed(thick, noise((32, 32, 8), np.uint8, 1), (4.6, 4.6, 50.0), (3000, 2000, 90))
    collection = vnc_collection(tmp_path, label0=thick)
    config = vnc_config(tmp_path, collection=str(collection), flexible_z=True)
    message = error_message("preprocess", config, "--out", tmp_path / "out")
    for text in ("config.json", "`flexible_z`", "`img` has z 45", "`label0` has z 50", "4.6 x 4.6 nm"):
        assert text in message, message
    assert not (tmp_path / "out").exists()


def test_layers_without_the_configs_x_and_y_are_an_error(tmp_path):
    config = vnc_config(tmp_path, resolution=[5.0, 5.0, 45.0], flexible_z=True)
    message = error_message("preprocess", config, "--out", tmp_path / "out")
    assert "`flexible_z`" in message and "5 x 5 nm" in message and "none" in message, message


def with_third(rows, source, name="third"):
    """Adds a layer that no array uses to the layer group."""
    rows["layers"].append({"id": "third-id", "name": name, "source": source})
    rows["layer_groups"][0]["layers"].append("third-id")


DOUBLE = (4.6, 4.6, 90.0)


def two_scales(folder):
    """A layer with z 45 and 90; at 45 its grid is that of `img`."""
    for z, seed in ((45.0, 1), (90.0, 2)):
        shape = (1024, 1024, round(900 / z))
        write_precomputed(folder, noise(shape, np.uint8, seed), (4.6, 4.6, z), (3000, 2000, round(4500 / z)), (256, 256, 20))
    return folder


@pytest.mark.parametrize(
    "of_third, expected",
    [([DOUBLE], 90.0), ([FULL, DOUBLE], 45.0), ([(9.2, 9.2, 90.0)], 90.0), ([DOUBLE, (9.2, 9.2, 45.0)], 90.0)],
    ids=["its z alone is shared", "the smallest of both", "other x and y", "other x and y in addition"],
)
def test_layers_that_no_array_uses_count(tmp_path, of_third, expected):
    for resolution in of_third:
        write_precomputed(tmp_path / "third", noise((8, 8, 8), np.uint8, 3), resolution, (300, 200, 10))

    def change(rows):
        # Only annotations remain of the others, and they are not volumes.
        names = {layer["id"]: layer["name"] for layer in rows["layers"]}
        kept = [i for i in rows["layer_groups"][0]["layers"] if names[i] in ("img", "points", "lines")]
        rows["layer_groups"][0]["layers"] = kept
        with_third(rows, f"precomputed://file://{tmp_path / 'third'}")

    collection = vnc_collection(tmp_path, change, img=two_scales(tmp_path / "img"))
    out = checked_dataset(tmp_path, collection=str(collection), flexible_z=True, window=WINDOW, arrays={"img": {"layer": "img"}})
    assert (with_zarr(out, "train")["resolution_nm"][:] == (4.6, 4.6, expected)).all()


def test_an_error_about_z_names_a_layer_that_no_array_uses(tmp_path):
    write_precomputed(tmp_path / "third", noise((8, 8, 8), np.uint8, 3), (9.2, 9.2, 33.0), (300, 200, 10))
    collection = vnc_collection(tmp_path, lambda rows: with_third(rows, f"precomputed://file://{tmp_path / 'third'}"))
    config = vnc_config(tmp_path, collection=str(collection), flexible_z=True)
    message = error_message("preprocess", config, "--out", tmp_path / "out")
    assert "`flexible_z`" in message and "`third` has z 33" in message and "`img` has z 45" in message, message


@pytest.mark.parametrize(
    "source, why",
    [
        ("precomputed://file:///no/such/folder", "/no/such/folder"),
        ("graphene://https://localhost/segmentation", "graphene"),
        ("ftp://localhost/third", "ftp"),
    ],
)
def test_an_unreadable_layer_that_no_array_uses_is_an_error(tmp_path, source, why):
    collection = vnc_collection(tmp_path, lambda rows: with_third(rows, source))
    config = vnc_config(tmp_path, collection=str(collection), flexible_z=True)
    message = error_message("preprocess", config, "--out", tmp_path / "out")
    for text in ("`flexible_z`", "`third`", "in no array", why, "remove it from the group"):
        assert text in message, message
    pointshard("plan", vnc_config(tmp_path, "other.json", collection=str(collection)))


@pytest.mark.parametrize(
    "info",
    [
        {"@type": "neuroglancer_multilod_draco"},
        {"@type": "neuroglancer_skeletons"},
        {"@type": "neuroglancer_segment_properties", "inline": {"ids": []}},
        {"type": "volumetric_tabular", "encoding": "csv", "resolution": [4, 4, 40], "size": [1, 1, 1]},
    ],
    ids=lambda info: info.get("@type", info.get("type")),
)
def test_layers_that_are_not_volumes_do_not_count(tmp_path, info):
    (tmp_path / "third").mkdir()
    (tmp_path / "third/info").write_text(json.dumps(info))
    collection = vnc_collection(tmp_path, lambda rows: with_third(rows, f"precomputed://file://{tmp_path / 'third'}"))
    pointshard("plan", vnc_config(tmp_path, collection=str(collection), flexible_z=True))


def test_annotations_of_a_viewer_state_do_not_count(shared, tmp_path):
    config = vnc_config(tmp_path, collection={"neuroglancer_state": {"source": str(VNC / "ng_state.json")}}, flexible_z=True)
    pointshard("plan", config)


def test_layers_in_the_config_may_describe_a_layer_that_no_array_uses(tmp_path):
    """A plain Zarr array does not state its resolution."""
    zarr.create_array(tmp_path / "third", shape=(8, 8, 8), chunks=(8, 8, 8), dtype="u1")
    collection = vnc_collection(tmp_path, lambda rows: with_third(rows, f"zarr://file://{tmp_path / 'third'}"))

    def config(**layers):
        return vnc_config(tmp_path, collection=str(collection), flexible_z=True, layers=layers)

    message = error_message("plan", config())
    assert "`third`" in message and "resolution" in message, message
    said = {"axes": "zyx", "resolution": [4.6, 4.6, 45.0]}
    pointshard("plan", config(third=said))
    message = error_message("plan", config(third=said, thrid=said))
    assert "layers.thrid" in message and "did you mean `third`" in message, message
