"""`interpolation` compared with tinybrain, which CloudVolume, Igneous and zetta_utils use, and with a numpy version of
zetta_utils' `tensor_ops.interpolate` (f64f6cde), which needs no torch."""

import numpy as np
import pytest
import tensorstore
from program import checked_dataset, vnc_collection
from readers import SPLITS, with_tensorstore, with_zarr
from volumes import FULL, Volume, write_precomputed

# Virtual environments from before it was required do not have it.
tinybrain = pytest.importorskip("tinybrain")

# zetta_utils uses tinybrain for these, and torch for all others.
HALVES = [(2, 2, 1), (4, 4, 1), (8, 8, 1), (2, 2, 2), (4, 4, 4)]
# Steps that only tinybrain has.
STEPS = [(4, 4, 2), (1, 2, 2), (2, 1, 2), (1, 4, 4)]
OTHERS = [(3, 3, 1), (1, 1, 2), (2, 1, 1), (5, 4, 2), (6, 6, 4)]
ORIGIN, SHAPE = (3200, 2200, 100), (512, 512, 20)
WINDOW = (10, 9, 3)


def name(factors):
    return "x".join(map(str, factors))


@pytest.fixture(scope="module")
def layers(tmp_path_factory):
    """Volumes with many kinds of values, instead of those of the vnc data: name and voxels."""
    folder, random = tmp_path_factory.mktemp("layers"), np.random.default_rng(7)
    coarse = random.integers(0, 9, (SHAPE[0] // 8, SHAPE[1] // 8, SHAPE[2]), "u8").repeat(8, 0).repeat(8, 1)
    values = {
        "u8": random.integers(0, 256, SHAPE, "u1"),
        "i8": random.integers(-128, 128, SHAPE, "i1"),
        "u16": random.integers(0, 1 << 16, SHAPE, "u2"),
        "i16": random.integers(-(1 << 15), 1 << 15, SHAPE, "i2"),
        "u32": random.integers(0, 1 << 32, SHAPE, "u4"),
        # Three ids that are equal as f64, so that there are ties, in a quarter of all voxels.
        "ties": (np.uint64(1 << 63) + random.integers(0, 3, SHAPE, "u8")) * random.integers(0, 4, SHAPE, "u8").clip(0, 1),
        # Objects with frayed edges.
        "objects": np.where(random.random(SHAPE) < 0.8, coarse, random.integers(0, 9, SHAPE, "u8")) * np.uint64(3**39),
        "few": (random.random(SHAPE) < 0.05).astype("u1") * np.uint8(200),
    }  # fmt: skip
    volumes = {}
    for layer, of_layer in values.items():
        of_layer = np.asfortranarray(of_layer)
        volumes[layer] = write_precomputed(folder / layer, of_layer, FULL, ORIGIN)
    collection = folder / "collection.json"

    def add(rows):
        """Adds the layers to every layer group."""
        (like,) = (row for row in rows["layers"] if row["name"] == "img")
        for layer in values:
            source = f"precomputed://file://{folder / layer}"
            rows["layers"].append({**like, "id": f"layer-{layer}", "name": layer, "source": source})
        for group in rows["layer_groups"]:
            group["layers"] += [f"layer-{layer}" for layer in values]

    assert vnc_collection(folder, add) == collection
    return collection, volumes


def cut(folder, collection, factors, arrays):
    """Windows at a resolution coarser by these factors, by array: first voxel and window."""
    resolution = [round(r * f, 6) for r, f in zip(FULL, factors)]
    arrays = {
        key: {"layer": layer, "data_resolution": list(FULL), "interpolation": how} for key, (layer, how) in arrays.items()
    }  # fmt: skip
    out = checked_dataset(folder, collection=str(collection), resolution=resolution, window=list(WINDOW), arrays=arrays)
    windows = {}
    for key in arrays:
        windows[key] = []
        for split in SPLITS:
            starts = with_zarr(out, split)["start_voxel"][:].tolist()
            windows[key] += zip(starts, with_tensorstore(out, split, key).read().result(), strict=True)
    return windows


def same(windows, values, factors):
    """The windows equal cuts from `values`, which start where the layers start; some are inside."""
    expected = Volume(values, tuple(int(o // f) for o, f in zip(ORIGIN, factors)), None)
    inside = 0
    for start, window in windows:
        assert window.dtype == values.dtype
        np.testing.assert_array_equal(window, expected.cut(start, WINDOW))
        inside += expected.contains_window(start, WINDOW)
    assert inside > 3


def whole(values, factors):
    """The voxels from the first one on that form whole blocks of the factors."""
    return values[tuple(slice(0, n // f * f) for n, f in zip(values.shape, factors))]


def blocks(values, factors):
    """The voxels that each block covers, on the last axis; x varies fastest, then y, then z."""
    (x, y, z), (fx, fy, fz) = values.shape, factors
    split = values.reshape(x // fx, fx, y // fy, fy, z // fz, fz)
    return split.transpose(0, 2, 4, 5, 3, 1).reshape(x // fx, y // fy, z // fz, -1)


TRUNCATE = {"area": {"rounding": "truncate"}}


@pytest.mark.parametrize("factors", HALVES, ids=name)
def test_truncated_area_equals_the_average_of_tinybrain(layers, tmp_path, factors):
    collection, volumes = layers
    # Beyond 2 x 2 and 2 x 2 x 2 tinybrain adds in float32: 32-bit values lose their last bits.
    kinds = ["u8", "i8", "u16", "i16"] + ["u32"] * (max(factors) == 2)
    windows = cut(tmp_path, collection, factors, {kind: (kind, TRUNCATE) for kind in kinds})
    for kind in kinds:
        (averaged,) = tinybrain.downsample_with_averaging(volumes[kind].values, factors, num_mips=1)
        same(windows[kind], averaged, factors)
        sums, count = blocks(volumes[kind].values.astype("i8"), factors).sum(axis=-1), np.prod(factors)
        np.testing.assert_array_equal(averaged, np.sign(sums) * (np.abs(sums) // count))


@pytest.mark.parametrize("mip", [1, 2, 3])
def test_truncated_area_of_8_bits_equals_a_tinybrain_mip_in_one_step(layers, tmp_path, mip):
    collection, volumes = layers
    factors = (2**mip, 2**mip, 1)
    windows = cut(tmp_path, collection, factors, {"u8": ("u8", TRUNCATE)})
    same(windows["u8"], tinybrain.downsample_with_averaging(volumes["u8"].values, (2, 2, 1), num_mips=mip)[-1], factors)


@pytest.mark.parametrize("factors", HALVES + STEPS, ids=name)
def test_majority_equals_the_segmentation_of_tinybrain(layers, tmp_path, factors):
    collection, volumes = layers
    # tinybrain's countless3d ignores the largest number of a type.
    kinds = ["ties", "objects"] + ["u8", "i16"] * (1 in factors or factors == (2, 2, 2))
    windows = cut(tmp_path, collection, factors, {kind: (kind, "majority") for kind in kinds})
    for kind in kinds:
        same(windows[kind], tinybrain.downsample_segmentation(volumes[kind].values, factors)[0], factors)


def test_majority_resolves_every_tie_of_2_x_2(layers, tmp_path):
    """All 256 patterns of four labels, many times."""
    collection, volumes = layers
    values = volumes["ties"].values
    four = blocks(values, (2, 2, 1))
    patterns = {tuple(p) for p in np.unique(np.searchsorted(np.unique(values), four).reshape(-1, 4), axis=0).tolist()}
    assert len(patterns) == 256
    windows = cut(tmp_path, collection, (2, 2, 1), {"ties": ("ties", "majority")})
    a, b, c, d = np.moveaxis(four, -1, 0)
    same(windows["ties"], np.where((a == b) | (a == c), a, np.where(b == c, b, d)), (2, 2, 1))


@pytest.mark.parametrize("factors", HALVES + OTHERS, ids=name)
def test_any_equals_mask_of_zetta_utils(layers, tmp_path, factors):
    """torch's `area` is the mean; the mask is 1 where the mean is greater than 0."""
    collection, volumes = layers
    kinds = ["few", "objects"]
    aligned = aligned_to(factors)
    windows = cut(tmp_path, collection, factors, {kind: (kind, "any") for kind in kinds})
    for kind in kinds:
        covered = blocks(whole(volumes[kind].values[aligned.first], factors), factors)
        aligned.same(windows[kind], (covered > 0).any(axis=-1).astype(covered.dtype))


@pytest.mark.parametrize("factors", OTHERS, ids=name)
def test_truncated_linear_equals_img_of_zetta_utils_without_tinybrain(layers, tmp_path, factors):
    """torch's `trilinear`: the middle voxel or, for an even number, the mean of the two along each axis."""
    collection, volumes = layers
    kinds = ["u8", "u16", "i16"]
    aligned = aligned_to(factors)
    windows = cut(tmp_path, collection, factors, {kind: (kind, {"linear": {"rounding": "truncate"}}) for kind in kinds})
    for kind in kinds:
        values = whole(volumes[kind].values[aligned.first], factors).astype("i8")
        count = 1
        for d, f in enumerate(factors):
            at = np.arange(values.shape[d] // f) * f + f // 2
            if f % 2 == 1:
                values = values.take(at, axis=d)
            else:
                values, count = values.take(at, axis=d) + values.take(at - 1, axis=d), count * 2
        truncated = np.sign(values) * (np.abs(values) // count)
        aligned.same(windows[kind], truncated.astype(volumes[kind].values.dtype))


@pytest.mark.parametrize("factors", OTHERS, ids=name)
def test_majority_at_other_factors_is_the_first_most_frequent_value(layers, tmp_path, factors):
    collection, volumes = layers
    kinds = ["ties", "objects"]
    aligned = aligned_to(factors)
    windows = cut(tmp_path, collection, factors, {kind: (kind, "majority") for kind in kinds})
    for kind in kinds:
        covered = blocks(whole(volumes[kind].values[aligned.first], factors), factors)
        aligned.same(windows[kind], most_frequent(covered))


def most_frequent(covered):
    """The most frequent value on the last axis; the first of several."""
    labels = np.unique(covered)
    counts = np.stack([(covered == label).sum(axis=-1) for label in labels], axis=-1)
    of_each = np.take_along_axis(counts, np.searchsorted(labels, covered), axis=-1)
    first = of_each.argmax(axis=-1)[..., None]
    return np.take_along_axis(covered, first, axis=-1)[..., 0]


class aligned_to:
    """The first voxels of whole blocks inside the layers, and the comparison of windows there."""

    def __init__(self, factors):
        self.start = [-(-o // f) for o, f in zip(ORIGIN, factors)]
        self.first = tuple(slice(s * f - o, None) for s, f, o in zip(self.start, factors, ORIGIN))

    def same(self, windows, values):
        expected, inside = Volume(values, tuple(self.start), None), 0
        for start, window in windows:
            if expected.contains_window(start, WINDOW):
                assert window.dtype == values.dtype
                np.testing.assert_array_equal(window, expected.cut(start, WINDOW))
                inside += 1
        assert inside > 3


def test_smaller_voxels_repeat_the_voxel_that_contains_them(layers, tmp_path):
    collection, volumes = layers
    arrays = {"majority": ("objects", "majority"), "any": ("few", "any"), "area": ("u8", TRUNCATE)}
    factors = (0.5, 0.25, 1)
    windows = cut(tmp_path, collection, factors, arrays)
    wanted = {
        "majority": volumes["objects"].values,
        "any": (volumes["few"].values > 0).astype("u1"),
        "area": volumes["u8"].values,
    }
    for key, values in wanted.items():
        same(windows[key], values.repeat(2, axis=0).repeat(4, axis=1), factors)


def test_voxels_outside_the_volume_are_excluded(layers, tmp_path):
    """The layers end inside voxels that are 24 times as long: 512 = 21 * 24 + 8, 3200 = 133 * 24 + 8."""
    collection, volumes = layers
    factors, first = (24, 24, 1), (133, 91, 100)
    windows = cut(tmp_path, collection, factors, {"majority": ("objects", "majority"), "any": ("few", "any")})
    low = [o - s * f for o, s, f in zip(ORIGIN, first, factors)]
    assert low == [8, 16, 0]
    edge = 0
    for key, kind in (("majority", "objects"), ("any", "few")):
        values = volumes[kind].values
        for start, window in windows[key]:
            for x in range(start[0], start[0] + WINDOW[0]):
                for y in range(start[1], start[1] + WINDOW[1]):
                    ends = [(max(v * 24 - o, 0), min((v + 1) * 24 - o, 512)) for v, o in ((x, 3200), (y, 2200))]
                    z = start[2] - 100
                    if ends[0][0] >= ends[0][1] or ends[1][0] >= ends[1][1] or not 0 <= z < 20:
                        continue
                    covered = values[slice(*ends[0]), slice(*ends[1]), z].T.reshape(1, -1)
                    edge += covered.size < 24 * 24
                    expected = most_frequent(covered)[0] if key == "majority" else (covered > 0).any()
                    assert window[0, 0, y - start[1], x - start[0]] == expected
    assert edge > 0


def test_labels_are_resampled_before_they_become_a_mask(layers, tmp_path):
    """As in zetta_utils, whose `read_procs` come after the interpolation."""
    collection, volumes = layers
    label = int(volumes["objects"].values.max())
    of = {"layer": "objects", "data_resolution": list(FULL)}
    arrays = {
        "label": {**of, "interpolation": "majority", "transform": {"equals": label}},
        "some": {**of, "interpolation": "any", "transform": "nonzero"},
    }
    out = checked_dataset(tmp_path, collection=str(collection), resolution=[9.2, 9.2, 45], window=list(WINDOW), arrays=arrays)
    values = volumes["objects"].values
    resampled = tinybrain.downsample_segmentation(values, (2, 2, 1))[0]
    wanted = {"label": resampled == label, "some": (blocks(values, (2, 2, 1)) > 0).any(axis=-1)}
    for key, mask in wanted.items():
        expected = Volume(mask.astype("u1"), (1600, 1100, 100), None)
        for split in SPLITS:
            starts = with_zarr(out, split)["start_voxel"][:].tolist()
            for start, window in zip(starts, with_tensorstore(out, split, key).read().result(), strict=True):
                np.testing.assert_array_equal(window, expected.cut(start, WINDOW))


def test_any_is_1_for_a_nonzero_fill_value(shared, tmp_path):
    """A layer of zeros in which missing chunks are 5."""
    size, origin = (200, 200, 10), (3200, 2300, 100)
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": f"{tmp_path}/zeros/"},
        "metadata": {"shape": list(size), "chunks": list(size), "dtype": "<u2", "fill_value": 5, "compressor": None},
        "store_data_equal_to_fill_value": True,
    }
    tensorstore.open(spec, create=True).result()[...].write(np.zeros(size, "u2")).result()

    def move(rows):
        for layer in rows["layers"]:
            if layer["name"] == "img":
                layer["source"] = f"zarr2://file://{tmp_path}/zeros"

    arrays = {"any": {"layer": "img", "data_resolution": list(FULL), "interpolation": "any"}}
    layers = {"img": {"resolution": list(FULL), "voxel_offset": list(origin), "axes": "xyz"}}
    collection = str(vnc_collection(tmp_path, move))
    half = [round(r * f, 6) for r, f in zip(FULL, (2, 2, 1))]
    out = checked_dataset(tmp_path, collection=collection, layers=layers, resolution=half, window=[32, 32, 8], arrays=arrays)
    expected, found = Volume(np.zeros((100, 100, 10), "u2"), (1600, 1150, 100), None), set()
    for split in SPLITS:
        starts = with_zarr(out, split)["start_voxel"][:].tolist()
        for start, window in zip(starts, with_tensorstore(out, split, "any").read().result(), strict=True):
            np.testing.assert_array_equal(window, expected.cut(start, (32, 32, 8), fill=1))
            found |= set(np.unique(window).tolist())
    assert found == {0, 1}
