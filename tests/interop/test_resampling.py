"""`data_resolution` and `interpolation`: resampled windows, compared with numpy on values that tensorstore reads, and with
tensorstore's own downsampling."""

import json
from fractions import Fraction

import numpy as np
import pytest
import tensorstore
from program import checked_dataset, error_message, vnc_collection, vnc_config
from readers import SPLITS, with_tensorstore, with_zarr
from volumes import FULL, HALF, Volume, first_voxel, write_precomputed

THIRD = (13.8, 13.8, 90.0)
WINDOW = (24, 23, 8)


def sampled(layer, interpolation, data_resolution=FULL, **more):
    return {"layer": layer, "data_resolution": list(data_resolution), "interpolation": interpolation, **more}


def weights(first, count, origin, size, nm, data_nm, interpolation):
    """The weights of the volume's voxels for each window voxel along one axis: whole numbers [count, size]. Voxel `i`
    covers `i * nm` to `(i + 1) * nm` in both grids; voxels outside the volume are excluded."""
    nm, data_nm = (Fraction(str(v)) for v in (nm, data_nm))
    unit = 2 * nm.denominator * data_nm.denominator
    nm, data_nm = int(nm * unit), int(data_nm * unit)
    low = (np.arange(first, first + count) * nm)[:, None]
    begin = (np.arange(origin, origin + size) * data_nm)[None, :]
    centre, data_centre = low + nm // 2, begin + data_nm // 2
    if interpolation == "area":
        return np.maximum(np.minimum(low + nm, begin + data_nm) - np.maximum(low, begin), 0)
    if interpolation == "linear":
        return np.maximum(data_nm - np.abs(centre - data_centre), 0)
    return ((begin < centre) & (centre <= begin + data_nm)).astype(np.int64)


def half_to_even(sums, totals):
    """sums / totals to the nearest whole number; exact."""
    whole, rest = np.divmod(sums, totals)
    return whole + ((2 * rest > totals) | ((2 * rest == totals) & (whole % 2 == 1)))


def resampled(volume, start, shape, resolution, interpolation, fill=0, whole=True):
    """The window [channel, z, y, x] resampled from the volume, in whole numbers until the end."""
    axes, near = [], []
    for d in range(3):
        # Only voxels that the window can touch.
        scale = resolution[d] / volume.resolution[d]
        low = max(int(start[d] * scale) - 2 - volume.origin[d], 0)
        high = min(int((start[d] + shape[d]) * scale) + 3 - volume.origin[d], volume.values.shape[d])
        near.append(slice(low, high))
        grid = (volume.origin[d] + low, high - low, resolution[d], volume.resolution[d])
        axes.append(weights(start[d], shape[d], *grid, interpolation))
    values = volume.values[tuple(near)]
    for axis in axes:
        # The first axis becomes the last: after three steps the order is restored.
        values = np.tensordot(values.astype(np.int64 if whole else np.float64), axis, axes=(0, 1))
    x, y, z = (axis.sum(axis=1) for axis in axes)
    totals = x[:, None, None] * y[None, :, None] * z[None, None, :]
    made = half_to_even(values, np.maximum(totals, 1)) if whole else values / np.maximum(totals, 1)
    return np.where(totals > 0, made, fill).transpose(2, 1, 0)[None]


def coarsened(source, factors, method):
    """The whole layer, downsampled by tensorstore's `downsample` driver."""
    view = tensorstore.downsample(source[..., 0], factors, method)
    return view.read().result(), view.domain.origin


def windows_of(out, name):
    """First voxel and window of all samples of the array."""
    for split in SPLITS:
        starts = with_zarr(out, split)["start_voxel"][:].tolist()
        yield from zip(starts, with_tensorstore(out, split, name).read().result(), strict=True)


@pytest.fixture(scope="module")
def half(shared, tmp_path_factory):
    """Windows at half the resolution, resampled from full-resolution voxels."""
    arrays = {
        "mean": sampled("img", "area"),
        "line": sampled("img", "linear"),
        "pick": sampled("img", "nearest"),
        "label": sampled("label0", "nearest"),
        "ids": sampled("seg", "nearest"),
    }
    return checked_dataset(tmp_path_factory.mktemp("half"), resolution=HALF, window=WINDOW, arrays=arrays)


def test_at_half_resolution_area_is_a_mean_of_four_and_nearest_every_second_voxel(volume, half):
    """Plain slicing, if the volume starts at an even voxel."""
    img, place = volume("img"), ((1500, 1000, 100), HALF)
    of = img.values.astype(np.int64)
    sums = of[::2, ::2] + of[1::2, ::2] + of[::2, 1::2] + of[1::2, 1::2]
    wanted = {
        "mean": Volume(np.rint(sums / 4).astype("u1"), *place),
        # A centre halfway between two voxel centres along x and y.
        "line": Volume(np.rint(sums / 4).astype("u1"), *place),
        "pick": Volume(img.values[::2, ::2], *place),
        "label": Volume(volume("label0").values[::2, ::2], *place),
        "ids": Volume(volume("seg").values[::2, ::2], *place),
    }
    assert (sums % 4 == 2).any(), "ties must occur"
    clipped = 0
    for name, expected in wanted.items():
        for start, window in windows_of(half, name):
            assert window.dtype == expected.values.dtype
            np.testing.assert_array_equal(window, expected.cut(start, WINDOW))
            clipped += not expected.contains_window(start, WINDOW)
    assert clipped > 0, "some windows must run over the edge"


@pytest.mark.parametrize(("name", "layer", "method"), [("mean", "img", "mean"), ("pick", "img", "stride"), ("ids", "seg", "stride")])  # fmt: skip
def test_half_resolution_equals_tensorstore_downsampling(open_scale, half, name, layer, method):
    values, origin = coarsened(open_scale(layer), [2, 2, 1], method)
    expected = Volume(values, origin, HALF)
    for start, window in windows_of(half, name):
        np.testing.assert_array_equal(window, expected.cut(start, WINDOW))


def test_windows_start_by_the_window_rule_at_the_output_resolution(half):
    for split in SPLITS:
        group = with_zarr(half, split)
        rule = [first_voxel(center, HALF, WINDOW) for center in group["center_nm"][:].tolist()]
        np.testing.assert_array_equal(group["start_voxel"][:], rule)
        assert (group["resolution_nm"][:] == HALF).all()
        assert dict(group["mean"].attrs)["resolution_nm"] == list(HALF)


def test_factor_3_and_2_with_voxels_cut_by_the_edge(volume, open_scale, tmp_path):
    """2000 is not a multiple of 3: the first output voxels along y cover one voxel of the volume, the last ones two."""
    arrays = {"mean": sampled("img", "area"), "pick": sampled("img", "nearest"), "ids": sampled("seg", "nearest")}
    out = checked_dataset(tmp_path, resolution=THIRD, window=[80, 160, 12], arrays=arrays)
    values, origin = coarsened(open_scale("img"), [3, 3, 2], "mean")
    mean = Volume(values, origin, THIRD)
    assert origin[1] * 3 < 2000
    over_cut_cells = 0
    for start, window in windows_of(out, "mean"):
        np.testing.assert_array_equal(window, mean.cut(start, (80, 160, 12)))
        over_cut_cells += start[1] <= origin[1]
    assert over_cut_cells > 0
    # The middle one of three, the lower one of two; nothing if the middle one is outside.
    for name, layer in (("pick", "img"), ("ids", "seg")):
        source = volume(layer)
        pick = Volume(source.values[1::3, 2::3, ::2], (1000, 667, 50), THIRD)
        for start, window in windows_of(out, name):
            np.testing.assert_array_equal(window, pick.cut(start, (80, 160, 12)))


@pytest.mark.parametrize("layer", ["img", "label1"])
def test_double_resolution_repeats_voxels(volume, tmp_path, layer):
    out = checked_dataset(tmp_path, window=WINDOW, arrays={"twice": sampled(layer, "nearest", HALF), "same": sampled(layer, "nearest", FULL)})  # fmt: skip
    coarse, full = volume(layer, HALF), volume(layer)
    repeated = Volume(coarse.values.repeat(2, axis=0).repeat(2, axis=1), full.origin, FULL)
    for start, window in windows_of(out, "twice"):
        np.testing.assert_array_equal(window, repeated.cut(start, WINDOW))
    for start, window in windows_of(out, "same"):
        np.testing.assert_array_equal(window, full.cut(start, WINDOW))


@pytest.mark.parametrize(
    ("resolution", "data_resolution"),
    [
        (FULL, HALF),  # up, along x and y
        ((6.9, 6.9, 45.0), FULL),  # 3 : 2, from 4.6
        ((6.9, 4.6, 30.0), FULL),  # down along x, as it is along y, up along z
        ((5.0, 11.5, 100.0), FULL),  # 25 : 23, 5 : 2, 20 : 9
        ((8.0, 8.0, 40.0), HALF),
    ],
)
def test_any_ratio_equals_exact_weights(volume, tmp_path, resolution, data_resolution):
    names = {"mean": "area", "line": "linear", "pick": "nearest"}
    arrays = {name: sampled("img", kind, data_resolution) for name, kind in names.items()}
    config = {"resolution": resolution, "window": [16, 13, 5], "splits": {"train": ["train"], "val": ["val"]}}
    out = checked_dataset(tmp_path, arrays=arrays, **config)
    img = volume("img", data_resolution)
    clipped = 0
    for name, kind in names.items():
        for start, window in windows_of(out, name):
            expected = resampled(img, start, (16, 13, 5), resolution, kind)
            np.testing.assert_array_equal(window, expected, err_msg=f"{name} at {start}")
            clipped += not window.all()
    assert clipped > 0


def test_linear_equals_numpy_interp_inside_the_volume(volume, tmp_path):
    """Axis by axis, with numpy's own linear interpolation between centres."""
    out = checked_dataset(tmp_path, window=WINDOW, arrays={"line": sampled("img", "linear", HALF)})
    img = volume("img", HALF)
    for start, window in windows_of(out, "line"):
        values = img.values[:, :, [z - 100 for z in range(start[2], start[2] + 8) if 100 <= z < 120]].astype(float)
        for d in (0, 1):
            at = (np.arange(start[d], start[d] + WINDOW[d]) + 0.5) * 4.6
            centres = (np.arange(values.shape[d]) + img.origin[d] + 0.5) * 9.2
            take = slice(max(np.searchsorted(centres, at[0]) - 2, 0), np.searchsorted(centres, at[-1]) + 2)
            near = np.moveaxis(values, d, 0)[take].reshape(len(centres[take]), -1)
            lines = np.stack([np.interp(at, centres[take], line) for line in near.T], axis=1)
            values = np.moveaxis(lines.reshape(WINDOW[d], *np.moveaxis(values, d, 0).shape[1:]), 0, d)
        lowest = max(100 - start[2], 0)
        inside = window[0, lowest : lowest + values.shape[2]].transpose(2, 1, 0)
        x, y = (np.arange(start[d], start[d] + WINDOW[d]) for d in (0, 1))
        held = ((x >= 3000) & (x < 4024))[:, None] & ((y >= 2000) & (y < 3024))[None, :]
        assert (np.abs(inside - values)[held] <= 0.5 + 1e-6).all()


@pytest.mark.parametrize(
    ("resolution", "array", "line"),
    [
        ([4.6, 4.6, 45.0], {"layer": "half"}, '"data_resolution": [9.2, 9.2, 45.0], "interpolation": "nearest"'),
        ([9.2, 9.2, 90.0], {"layer": "img", "role": "image"}, '"data_resolution": [9.2, 9.2, 45.0], "interpolation": "area"'),
        (
            [4.6, 4.6, 45.0],
            {"layer": "half", "data_resolution": [2.3, 4.6, 45.0], "interpolation": "nearest"},
            '"data_resolution": [9.2, 9.2, 45.0]',
        ),
    ],
)  # fmt: skip
def test_a_layer_at_another_mip_is_an_error_with_a_working_fix(volume, tmp_path, resolution, array, line):
    half = volume("label0", HALF)
    write_precomputed(tmp_path / "half", half.values, HALF, half.origin)

    def add(rows):
        rows["layers"].append({**rows["layers"][0], "id": "half", "name": "half", "source": f"precomputed://file://{tmp_path}/half"})
        for group in rows["layer_groups"]:
            group["layers"].append("half")

    job = {"collection": str(vnc_collection(tmp_path, add)), "resolution": resolution}
    config = vnc_config(tmp_path, arrays={"cells": array}, **job)
    message = error_message("preprocess", config, "--out", tmp_path / "out")
    for part in (f"`{array['layer']}`", "`arrays.cells.data_resolution`", line, str(resolution).strip("[]").split(",")[0]):
        assert part in message, message
    assert ("`arrays.cells.interpolation`" in message) == ("interpolation" not in array), message
    checked_dataset(tmp_path, arrays={"cells": {**array, **json.loads(f"{{{line}}}")}}, **job)


def test_transforms_come_after_interpolation(volume, tmp_path):
    arrays = {
        "mask": sampled("img", "nearest", transform={"threshold": 128}),
        "scaled": sampled("img", "area", transform={"scale": {"multiply": 0.5}}),
        "filled": sampled("img", "area", fill=255),
        "float": sampled("img", "area", dtype="float32"),
    }
    out = checked_dataset(tmp_path, resolution=HALF, window=WINDOW, arrays=arrays)
    of = volume("img").values.astype(np.int64)
    mean = np.rint((of[::2, ::2] + of[1::2, ::2] + of[::2, 1::2] + of[1::2, 1::2]) / 4)
    place = ((1500, 1000, 100), HALF)
    wanted = {
        "mask": (Volume((of[::2, ::2] >= 128).astype("u1"), *place), 0),
        "scaled": (Volume((mean * 0.5).astype("f4"), *place), 0),
        "filled": (Volume(mean.astype("u1"), *place), 255),
        "float": (Volume(mean.astype("f4"), *place), 0),
    }
    for name, (expected, fill) in wanted.items():
        for start, window in windows_of(out, name):
            assert window.dtype == expected.values.dtype
            np.testing.assert_array_equal(window, expected.cut(start, WINDOW, fill))
