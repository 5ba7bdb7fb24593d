"""Positions of N5 and Zarr arrays from their attributes, in every form that tools write."""

import json

import h5py
import n5_writer
import numpy as np
import pytest
import tifffile
import zarr
from one_array_job import RESOLUTION, check_windows, job_error, voxels
from volumes import Volume, write_precomputed

# The corner of the array's first voxel, and the centre, in nm; its voxel.
CORNER, ORIGIN = [120.0, 80.0, 240.0], (30, 20, 6)
CENTER = [122.0, 82.0, 260.0]


def volume(origin=ORIGIN, resolution=RESOLUTION, values=None):
    return Volume(voxels() if values is None else values, origin, resolution)


def reverse(values):
    return list(reversed(values))


def transform(order, center=CENTER, unit="nm", scale=RESOLUTION):
    """CellMap's, written in this order."""
    turn = reverse if order == "C" else list
    return {"axes": turn("xyz"), "scale": turn(scale), "translate": turn(center), "units": [unit] * 3}


R = list(RESOLUTION)
N5 = {
    "offset without units": {"resolution": R, "offset": CORNER},
    "units for each": {"resolution": R, "offset": CORNER, "units": ["nm"] * 3},
    "one unit": {"resolution": R, "offset": CORNER, "units": "nm"},
    "no unit is an empty one": {"resolution": R, "offset": CORNER, "units": [""] * 3},
    "um": {"resolution": [0.004, 0.004, 0.04], "offset": [0.12, 0.08, 0.24], "units": ["um"] * 3},
    "nanometer": {"resolution": R, "offset": CORNER, "units": ["nanometer"] * 3},
    "angstrom": {"resolution": [40, 40, 400], "offset": [1200, 800, 2400], "units": ["angstrom"] * 3},
    "an offset in another unit": {"resolution": R, "offset": [0.12, 0.08, 0.24], "offset_unit": "um"},
    "names and units of Neuroglancer": {"axes": ["x", "y", "z"], "resolution": R, "offset": CORNER, "units": ["nm"] * 3},
    "floats that are not exact": {"resolution": [3.9999999, 4.0000001, 40.0], "offset": [119.9999, 80.0001, 240.0]},
    "funlib 0.5": {"voxel_size": reverse(R), "offset": reverse(CORNER), "axis_names": ["z", "y", "x"], "units": ["nm"] * 3},
    "CellMap, from the slowest": {"transform": transform("C")},
    "CellMap, with order C": {"transform": {**transform("C"), "order": "C"}},
    "CellMap, from the fastest": {"transform": {**transform("F"), "order": "F"}},
    "CellMap, with N5Viewer's": {"transform": transform("C"), "pixelResolution": {"dimensions": R, "unit": "nm"}},
    "CellMap, in um": {"transform": transform("C", [0.122, 0.082, 0.26], "um", [0.004, 0.004, 0.04])},
    "N5Viewer, with an offset": {"pixelResolution": {"dimensions": R, "unit": "nm"}, "offset": CORNER},
    "N5Viewer, a list": {"pixelResolution": R, "offset": CORNER},
    "CellMap and daisy": {"transform": transform("C"), "resolution": R, "offset": CORNER},
}


@pytest.mark.parametrize("case", N5)
def test_an_n5_dataset_has_the_position_in_its_attributes(tmp_path, case):
    n5_writer.write(tmp_path / "img", voxels(), N5[case])
    check_windows(tmp_path, "n5://./img", volume())


@pytest.mark.parametrize("axes", ["zyx", "yxz", "xzy"])
@pytest.mark.parametrize("named", ["file", "config"])
def test_axes_have_the_order_of_the_dimensions_in_the_file(tmp_path, axes, named):
    order = ["xyz".index(a) for a in axes]
    attributes = {"resolution": [R[d] for d in order], "offset": [CORNER[d] for d in order]}
    if named == "file":
        attributes["axes"] = list(axes)
    n5_writer.write(tmp_path / "img", voxels().transpose(order), attributes)
    check_windows(tmp_path, "n5://./img", volume(), layer={"axes": axes} if named == "config" else None)


@pytest.mark.parametrize("values", [3, 4], ids=["x y z", "and channels"])
def test_channels_need_no_resolution_or_offset(tmp_path, values):
    channels = np.stack([voxels(), voxels()[::-1]], axis=3)
    attributes = {"axes": list("xyzc"), "resolution": [*R, 1][:values], "offset": [*CORNER, 0][:values]}
    n5_writer.write(tmp_path / "img", channels, attributes)
    first, second = volume(values=channels[..., 0]), volume(values=channels[..., 1])
    both = volume()
    both.cut = lambda start, shape: np.concatenate([first.cut(start, shape), second.cut(start, shape)])
    check_windows(tmp_path, "n5://./img", both)


def test_a_missing_resolution_is_an_error_and_a_missing_offset_is_zero(tmp_path):
    n5_writer.write(tmp_path / "img", voxels(), {"resolution": R})
    check_windows(tmp_path, "n5://./img", volume((0, 0, 0)))
    n5_writer.write(tmp_path / "img", voxels(), {"offset": CORNER})
    message = job_error(tmp_path, "n5://./img")
    assert "attributes.json" in message and '"resolution"' in message, message


def test_an_offset_without_resolution_uses_that_of_the_config(tmp_path):
    n5_writer.write(tmp_path / "img", voxels(), {"offset": CORNER})
    check_windows(tmp_path, "n5://./img", volume(), layer={"resolution": R})


@pytest.mark.parametrize("opened", ["img", "img/s1"])
@pytest.mark.parametrize("case", ["own", "list", "inherited", "scales", "factors of the group", "final", "levels without factors"])
def test_a_pyramid_level_has_its_own_resolution(tmp_path, case, opened):
    """Level s1 has every second voxel along x and y of a base of 4 x 4 x 40 nm."""
    pixel = {"pixelResolution": {"dimensions": R, "unit": "nm"}}
    final = {"pixelResolution": {"dimensions": [8.0, 8.0, 40.0], "unit": "nm"}}
    of_0, of_1 = {"downsamplingFactors": [1, 1, 1]}, {"downsamplingFactors": [2, 2, 1]}
    group, level_0, level_1 = {
        "own": ({}, {**pixel, **of_0}, {**pixel, **of_1}),
        "list": ({}, {"pixelResolution": R}, {"pixelResolution": R, **of_1}),
        "inherited": (pixel, {}, of_1),
        "scales": ({**pixel, "scales": [[1, 1, 1], [2, 2, 1]]}, {}, {}),
        "factors of the group": ({"resolution": R, "units": ["nm"] * 3, "downsamplingFactors": [[1, 1, 1], [2, 2, 1]]}, {}, {}),
        "final": ({**pixel, "scales": [[1, 1, 1], [2, 2, 1]]}, pixel, final),
        "levels without factors": ({}, {"resolution": R}, {"resolution": [8.0, 8.0, 40.0]}),
    }[case]
    small = voxels(shape=(20, 18, 12))
    n5_writer.write(tmp_path / "img/s0", voxels(), level_0)
    n5_writer.write(tmp_path / "img/s1", small, level_1)
    (tmp_path / "img/attributes.json").write_text(json.dumps({"n5": "2.5.1", **group}))
    small = np.pad(small, [(0, 20), (0, 18), (0, 0)])
    check_windows(tmp_path, f"n5://./{opened}", volume((0, 0, 0), (8.0, 8.0, 40.0), small[:20, :18]))


def test_levels_without_an_offset_use_that_of_their_group(tmp_path):
    n5_writer.write(tmp_path / "img/s0", voxels(), {})
    group = {"resolution": R, "offset": CORNER, "multiScale": True}
    (tmp_path / "img/attributes.json").write_text(json.dumps(group))
    check_windows(tmp_path, "n5://./img", volume())


def test_levels_use_the_transforms_that_their_group_lists(tmp_path):
    n5_writer.write(tmp_path / "img/s0", voxels(), {})
    group = {"multiscales": [{"name": "", "datasets": [{"path": "s0", "transform": transform("C")}]}]}
    (tmp_path / "img/attributes.json").write_text(json.dumps(group))
    check_windows(tmp_path, "n5://./img", volume())


ZARR = {
    "daisy": {"resolution": reverse(R), "offset": reverse(CORNER)},
    "funlib 0.5": {"voxel_size": reverse(R), "offset": reverse(CORNER), "units": ["nm"] * 3, "axis_names": ["z", "y", "x"]},
    "um": {"resolution": [0.04, 0.004, 0.004], "offset": [0.24, 0.08, 0.12], "units": ["um"] * 3},
    "CellMap": {"transform": transform("C")},
}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("case", ZARR)
def test_a_zarr_array_has_the_position_in_its_attributes(tmp_path, case, version):
    write_zarr(tmp_path / "img", voxels().transpose(2, 1, 0), version, ZARR[case])
    check_windows(tmp_path, "zarr://./img", volume(), layer={"axes": "zyx"})
    if case in ("funlib 0.5", "CellMap"):
        (tmp_path / "again").mkdir()
        check_windows(tmp_path / "again", "zarr://../img", volume())


def test_a_zarr_array_without_axis_names_is_an_error_that_asks_for_axes(tmp_path):
    write_zarr(tmp_path / "img", voxels().transpose(2, 1, 0), 2, ZARR["daisy"])
    message = job_error(tmp_path, "zarr://./img")
    for word in ['"axes": "zyx"', "`resolution` and `offset`", "[12, 36, 40]"]:
        assert word in message, message


def test_a_zarr_array_may_have_a_channel_axis(tmp_path):
    attributes = {"resolution": reverse(R), "offset": reverse(CORNER), "axis_names": ["c0^", "z", "y", "x"]}
    write_zarr(tmp_path / "img", voxels().transpose(2, 1, 0)[None], 2, attributes)
    check_windows(tmp_path, "zarr://./img", volume())


def write_zarr(folder, values, version, attributes):
    chunks = (1,) * (values.ndim - 3) + (5, 16, 16)
    array = zarr.create_array(folder, shape=values.shape, chunks=chunks, dtype=values.dtype, zarr_format=version, attributes=attributes)
    array[:] = values


REFUSED = {
    "half a voxel": ({"resolution": R, "offset": [122.0, 80.0, 240.0]}, None, ["`offset`", "122 nm along x", "30.5 voxels", "voxel_offset"]),
    "names against the config": ({"axes": ["x", "y", "z"], "resolution": R}, {"axes": "zyx"}, ["`axes`", '["x", "y", "z"]', '"zyx"']),
    "names of a transform against the config": ({"transform": transform("C")}, {"axes": "zyx"}, ["`transform.axes`", '["x", "y", "z"]', '"zyx"']),
    "two names": ({"axes": ["x", "y", "z"], "transform": {**transform("F"), "order": "C"}}, None, ["`axes`", "transform.axes", "`axes` in the config"]),
    "two resolutions": ({"resolution": R, "transform": transform("C", scale=(8, 8, 40))}, None, ["[4.0, 4.0, 40.0]", "[8.0, 8.0, 40.0]", "`resolution` in the config"]),
    "two positions": ({"resolution": R, "offset": [0, 0, 0], "transform": transform("C")}, None, ["[0, 0, 0]", "[30, 20, 6]", "`voxel_offset` in the config"]),
    "another resolution in the config": ({"resolution": [1, 1, 1], "offset": [30, 20, 6]}, {"resolution": R}, ["`offset`", "[1.0, 1.0, 1.0] nm", "[4.0, 4.0, 40.0] nm", "voxel_offset"]),
    "an order that is not known": ({"voxel_size": R, "offset": CORNER}, None, ["`voxel_size`", "reverse order", "`resolution`"]),
    "factors of a resolution": ({"resolution": R, "downsamplingFactors": [2, 2, 1]}, None, ["`resolution`", "[2.0, 2.0, 1.0]", "[8.0, 8.0, 40.0]"]),
    "a unit that is not a length": ({"resolution": R, "units": ["s"] * 3}, None, ["`units`", '"s"', '"nm"']),
    "an offset with a resolution in um": ({"pixelResolution": {"dimensions": [0.004, 0.004, 0.04], "unit": "um"}, "offset": CORNER}, None, ["`offset`", '"um"', "voxel_offset"]),
    "too few numbers": ({"resolution": R[:2]}, None, ["`resolution`", "[4.0, 4.0]"]),
    "no numbers": ({"resolution": "4 4 40"}, None, ["`resolution`", "4 4 40", "a list of numbers"]),
    "a label multiset": ({"resolution": R, "isLabelMultiset": True}, None, ["`isLabelMultiset`", "Paintera label multiset", "paintera-convert to-scalar"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["hdf5", "zarr", "n5", "tiff", "precomputed"])
def test_a_resolution_in_another_order_is_not_resampled(tmp_path, kind):
    values, layer = voxels(), {"resolution": R}
    if kind == "hdf5":
        source = "a.h5|hdf5:img"
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("img", data=values.T).attrs["resolution"] = R
    elif kind == "zarr":
        source = "zarr://./img"
        write_zarr(tmp_path / "img", values.T, 2, {"resolution": R, "axis_names": ["z", "y", "x"]})
    elif kind == "n5":
        source = "n5://./img"
        n5_writer.write(tmp_path / "img", values, {"resolution": reverse(R)})
    elif kind == "tiff":
        source = "img.ome.tif"
        units = {f"PhysicalSize{axis}Unit": "nm" for axis in "XYZ"}
        sizes = {"PhysicalSizeX": 40, "PhysicalSizeY": 4, "PhysicalSizeZ": 4}
        tifffile.imwrite(tmp_path / source, np.ascontiguousarray(values.T), metadata={"axes": "ZYX", **sizes, **units})
    else:
        source = "precomputed://./img"
        write_precomputed(tmp_path / "img", values, reverse(R), (0, 0, 0))
    message = job_error(tmp_path, source, code=2)
    assert "[40.0, 4.0, 4.0]" in message and "the same numbers in another order" in message, message
    assert "data_resolution" not in message and "interpolation" not in message, message
    if kind == "precomputed":
        assert "layers.img" not in message and "layers.NAME" not in message, message
        return
    assert "`layers.img.resolution`: [4.0, 4.0, 40.0]" in message, message
    check_windows(tmp_path, source, volume((0, 0, 0)), layer=layer)


@pytest.mark.parametrize("case", REFUSED)
def test_ambiguous_attributes_are_an_error_that_shows_both_readings(tmp_path, case):
    attributes, layer, words = REFUSED[case]
    n5_writer.write(tmp_path / "img", voxels(), attributes)
    message = job_error(tmp_path, "n5://./img", layer=layer)
    for word in ["img/attributes.json", *words]:
        assert word in message, message


def test_a_label_multiset_is_an_error_in_zarr_and_in_groups(tmp_path):
    write_zarr(tmp_path / "img", voxels("uint8"), 2, {"isLabelMultiset": True})
    assert "Paintera label multiset" in job_error(tmp_path, "zarr://./img", layer={"axes": "xyz", "resolution": R})
    n5_writer.write(tmp_path / "seg/s0", voxels("uint8"), {"resolution": R})
    (tmp_path / "seg/attributes.json").write_text(json.dumps({"isLabelMultiset": True}))
    assert "Paintera label multiset" in job_error(tmp_path, "n5://./seg")


def test_axes_in_the_config_that_contradict_zarr_dimension_names_are_an_error(tmp_path):
    values = voxels().transpose(2, 1, 0)
    array = zarr.create_array(tmp_path / "img", shape=values.shape, chunks=(5, 16, 16), dtype="uint16", zarr_format=3, dimension_names=["z", "y", "x"])
    array[:] = values
    message = job_error(tmp_path, "zarr://./img", layer={"axes": "xyz", "resolution": R})
    for word in ["zarr.json", "`dimension_names`", '["z", "y", "x"]', '"xyz"']:
        assert word in message, message
    check_windows(tmp_path, "zarr://./img", volume((0, 0, 0)), layer={"axes": "zyx", "resolution": R})


def test_resolution_and_offset_in_the_config_override_those_in_the_file(tmp_path):
    n5_writer.write(tmp_path / "img", voxels(), {"resolution": [1, 1, 1], "offset": [5, 5, 5]})
    check_windows(tmp_path, "n5://./img", volume(), layer={"resolution": R, "voxel_offset": ORIGIN})


@pytest.mark.parametrize("case", ["float lengths", "capital type", "zlib", "unknown members", "old compression"])
def test_unusual_n5_metadata_are_accepted(tmp_path, case):
    compression = {"type": "gzip", "level": -1, "useZlib": case == "zlib", "other": 1}
    n5_writer.write(tmp_path / "img", voxels(), {"resolution": R, "offset": CORNER}, compression=compression)
    path = tmp_path / "img/attributes.json"
    document = json.loads(path.read_text())
    if case == "float lengths":
        document |= {key: [float(n) for n in document[key]] for key in ("dimensions", "blockSize")}
    if case == "capital type":
        document["dataType"] = "UINT16"
    if case == "old compression":
        del document["compression"]
        document["compressionType"] = "gzip"
    path.write_text(json.dumps(document))
    check_windows(tmp_path, "n5://./img", volume())
