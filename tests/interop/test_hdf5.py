"""HDF5 datasets as layers: windows are compared with those that numpy cuts from what h5py reads."""

import ctypes
import itertools
import json
import re
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest
import zarr
from one_array_job import RESOLUTION, WINDOW, check_windows, job, job_error, points, voxels
from program import error_message, pointshard
from servers import Nginx, static
from test_memory import measured, refused_within
from volumes import Volume, first_voxel

# The array's first voxel, x y z.
ORIGIN = (30, 20, 6)
CHUNK = (5, 8, 16)
# h5py's "latest" has indexes other than B-trees of version 1.
VERSIONS = ("earliest", "v110", "latest")
TYPES = ("uint8", ">u2", "uint32", ">u8", "int8", ">i2", "int32", "int64", "float32", ">f8", "bool")
LAYOUTS = {
    "contiguous": {},
    "chunked": {"chunks": CHUNK},
    "gzip": {"chunks": CHUNK, "compression": "gzip"},
    "gzip and shuffle": {"chunks": CHUNK, "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": CHUNK, "compression": "lzf"},
    "lzf and shuffle": {"chunks": CHUNK, "compression": "lzf", "shuffle": True},
    "fletcher32": {"chunks": CHUNK, "fletcher32": True},
    "all filters": {"chunks": CHUNK, "compression": "gzip", "shuffle": True, "fletcher32": True},
    "one chunk": {"chunks": (12, 36, 40), "compression": "gzip"},
    "one unlimited dimension": {"chunks": CHUNK, "maxshape": (None, 36, 40), "compression": "gzip"},
    "unlimited": {"chunks": CHUNK, "maxshape": (None, None, None)},
    "small chunks": {"chunks": (1, 2, 3)},
    "chunks larger than the array": {"chunks": (20, 50, 64), "maxshape": (None, None, None)},
}


def zyx(values):
    return np.ascontiguousarray(values.T)


def write(path, values, name="volumes/raw", libver="earliest", resolution=RESOLUTION, origin=ORIGIN, **options):
    """Writes an array [z, y, x] as CREMI's tools do."""
    with h5py.File(path, "a", libver=libver) as file:
        dataset = file.create_dataset(name, data=values, **options)
        place(dataset, resolution, origin)


def place(dataset, resolution=RESOLUTION, origin=ORIGIN):
    dataset.attrs["resolution"] = tuple(reversed(resolution))
    dataset.attrs["offset"] = tuple(o * r for o, r in zip(reversed(origin), reversed(resolution)))


def as_read(path, name="volumes/raw", origin=ORIGIN):
    """What h5py reads, as a Volume."""
    with h5py.File(path) as file:
        values = file[name][...]
    values = values.astype(values.dtype.newbyteorder("="))
    return Volume(values.T, origin, RESOLUTION)


def check_arrays(folder, file, datasets, layers=None, fills=None):
    """One job on several datasets of `file`: the windows of each equal those of what h5py reads (Volumes by name)."""
    config = json.loads(job(folder, "", ORIGIN).read_text())
    box = {"min": [-1e7] * 3, "max": [1e7] * 3, "tags": ["train"]}
    config["collection"] = {"boxes": {"list": [box], "layers": {name: f"{file}|hdf5:{name}" for name in datasets}}}
    config["arrays"] = {name: {"layer": name} for name in datasets}
    config["layers"] = layers or {}
    (folder / "config.json").write_text(json.dumps(config))
    pointshard("preprocess", folder / "config.json", "--out", folder / "out", "--threads", "2", "--quiet")
    group = zarr.open_group(folder / "out/train.zarr", mode="r")
    centers = points(ORIGIN, RESOLUTION)
    for name, volume in datasets.items():
        channels = volume if isinstance(volume, list) else [volume]
        for annotation, window in zip(group["annotation_id"][:], group[name][:], strict=True):
            start = first_voxel(centers[annotation], RESOLUTION, WINDOW)
            expected = np.concatenate([v.cut(start, WINDOW, (fills or {}).get(name, 0)) for v in channels])
            np.testing.assert_array_equal(window, expected.astype(window.dtype), err_msg=f"{name} {annotation}")


def create(file, name, values, change, largest=None):
    """Creates a dataset with properties that only h5py's low-level functions set."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    change(properties)
    most = tuple(h5py.h5s.UNLIMITED if n is None else n for n in largest or values.shape)
    space, kind = h5py.h5s.create_simple(values.shape, most), h5py.h5t.py_create(values.dtype)
    dataset = h5py.Dataset(h5py.h5d.create(file.id, name.encode(), kind, space, properties))
    dataset[...] = values
    place(dataset)


@pytest.mark.parametrize("libver", VERSIONS)
def test_every_layout_and_type_is_read_as_h5py_reads_it(tmp_path, libver):
    path, names, fills = tmp_path / "a.hdf", [], {}
    for number, (layout, options) in enumerate(LAYOUTS.items()):
        kind = TYPES[(number + 3 * VERSIONS.index(libver)) % len(TYPES)]
        names.append(layout.replace(" ", "_"))
        write(path, zyx(voxels(kind)), names[-1], libver, **options)
    for kind in TYPES:
        names.append(f"type_{np.dtype(kind).str[1:]}_{'big' if kind.startswith('>') else 'little'}")
        write(path, zyx(voxels(kind)), names[-1], libver, **LAYOUTS["gzip and shuffle"])
    with h5py.File(path, "a", libver=libver) as file:
        create(file, "early", zyx(voxels(">u2")), early)
        create(file, "compact", zyx(voxels(">i2")), lambda properties: properties.set_layout(h5py.h5d.COMPACT))
        for kind in ["uint16", ">i4", ">f4"]:
            # Missing chunks, and voxels outside of the array, are the fill value.
            name = f"fill_{kind[-2:]}"
            dataset = file.create_dataset(name, (12, 36, 40), kind, chunks=CHUNK, fillvalue=300, compression="gzip")
            dataset[3:9, 10:30, 5:33] = zyx(voxels(kind))[3:9, 10:30, 5:33]
            place(dataset)
            fills[name] = 300
        # Chunks outside of a dataset that shrank are still in the file.
        shrunk = file.create_dataset("shrunk", data=np.pad(zyx(voxels()), 9), chunks=CHUNK, maxshape=(None, None, None))
        shrunk[:12, :36, :40] = zyx(voxels())
        shrunk.resize((12, 36, 40))
        place(shrunk)
    names += ["early", "compact", "shrunk", *fills]
    volumes = {name: as_read(path, name) for name in names}
    for name in fills:
        assert (volumes[name].values == 300).any() and (volumes[name].values != 300).any()
    check_arrays(tmp_path, "a.hdf", volumes, fills=fills)


def early(properties, chunk=CHUNK):
    properties.set_chunk(chunk)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)


def library():
    """h5py's own libhdf5, for functions that h5py does not call."""
    (path,) = (Path(h5py.__file__).parents[1] / "h5py.libs").glob("libhdf5-*")
    functions = ctypes.CDLL(str(path))
    functions.H5Pset_szip.argtypes = [ctypes.c_int64, ctypes.c_uint, ctypes.c_uint]
    functions.H5Pset_nbit.argtypes = [ctypes.c_int64]
    functions.H5Pset_chunk_opts.argtypes = [ctypes.c_int64, ctypes.c_uint]
    return functions


# The largest shapes of a dataset of the shape (12, 36, 40): each version has its own kinds of index for them.
LARGEST = [
    (12, 36, 40), (13, 36, 40), (12, 37, 40), (12, 36, 41), (24, 72, 80), (12, 72, 100), (100, 36, 40),
    (None, 36, 40), (12, None, 80), (24, 36, None), (None, None, 40), (None, None, None),
]


@pytest.mark.parametrize("libver", VERSIONS)
def test_a_dataset_that_may_grow_is_read_as_h5py_reads_it(tmp_path, libver):
    # Chunks of implicit indexes and fixed arrays are numbered in the largest shape, not in that of the dataset.
    names, values = [], zyx(voxels())
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        for number, largest in enumerate(LARGEST):
            for kind in ["early", "plain", "gzip", "sparse"]:
                chunk = [(5, 8, 16), (2, 3, 4), (1, 1, 3), (12, 36, 40)][(number + len(names)) % 4]
                name = f"{kind}_{number}"
                if kind == "early":
                    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                    early(properties, chunk)
                    most = tuple(h5py.h5s.UNLIMITED if n is None else n for n in largest)
                    space, code = h5py.h5s.create_simple(values.shape, most), h5py.h5t.NATIVE_UINT16
                    dataset = h5py.Dataset(h5py.h5d.create(file.id, name.encode(), code, space, properties))
                else:
                    compression = "gzip" if kind == "gzip" else None
                    dataset = file.create_dataset(name, values.shape, "u2", chunks=chunk, maxshape=largest, compression=compression)
                if kind == "sparse":
                    for z, y, x in [(0, 0, 0), (7, 11, 13), (11, 30, 2), (4, 5, 30)]:
                        dataset[z : z + 3, y : y + 6, x : x + 9] = values[z : z + 3, y : y + 6, x : x + 9]
                else:
                    dataset[...] = values
                place(dataset)
                names.append(name)
        # A dataset that grew and shrank.
        grown = file.create_dataset("grown", (5, 30, 20), "u2", chunks=CHUNK, maxshape=(30, 72, 80), compression="gzip")
        grown.resize((30, 72, 80))
        grown[...] = 7
        grown.resize((12, 36, 40))
        grown[...] = values
        place(grown)
    names.append("grown")
    check_arrays(tmp_path, "a.h5", {name: as_read(tmp_path / "a.h5", name) for name in names})


@pytest.mark.parametrize("libver", VERSIONS)
def test_a_channel_axis_that_may_grow_is_read_as_h5py_reads_it(tmp_path, libver):
    channels = np.stack([zyx(voxels()), zyx(voxels()) + 7, zyx(voxels()) + 31])
    volumes = {}
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        for number, largest in enumerate([(3, 12, 36, 80), (6, 24, 36, 40), (5, None, 40, 40), (4, 20, 40, 50)]):
            chunk = (1 + number % 2, 5, 8, 16)
            dataset = file.create_dataset(f"a{number}", data=channels, chunks=chunk, maxshape=largest, shuffle=True)
            place(dataset)
            volumes[f"a{number}"] = [Volume(c.T, ORIGIN, RESOLUTION) for c in channels]
    check_arrays(tmp_path, "a.h5", volumes, {name: {"axes": "czyx"} for name in volumes})


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_chunks_at_the_edges_may_have_no_filters(tmp_path, libver):
    functions, names = library(), []
    filters = {
        "shuffle": lambda p: p.set_shuffle(), "gzip": lambda p: p.set_deflate(4), "fletcher32": lambda p: p.set_fletcher32(),
        "all": lambda p: (p.set_shuffle(), p.set_deflate(4), p.set_fletcher32()), "none": lambda p: None,
    }
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        for (name, change), kind, largest in itertools.product(filters.items(), ["uint16", ">u4"], [None, (24, None, 80)]):
            def properties(p):
                p.set_chunk(CHUNK)
                change(p)
                assert functions.H5Pset_chunk_opts(p.id, 2) >= 0
            names.append(f"{name}_{np.dtype(kind).itemsize}_{'grows' if largest else 'fixed'}")
            create(file, names[-1], zyx(voxels(kind)), properties, largest)
            if name == "all" and libver == "latest":
                # The layout is in a continuation of the header.
                for number in range(5):
                    file[names[-1]].attrs[f"text{number}"] = "text " * 100
    check_arrays(tmp_path, "a.h5", {name: as_read(tmp_path / "a.h5", name) for name in names})


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_every_filter_is_undone_as_h5py_undoes_it(tmp_path, libver):
    functions, names, random = library(), [], np.random.default_rng(1)
    szip = lambda coding, block: lambda p: functions.H5Pset_szip(p.id, coding, block)
    filters = {
        "szip_ec": szip(4, 8), "szip_nn": szip(32, 16), "nbit": lambda p: functions.H5Pset_nbit(p.id),
        "szip_shuffle": lambda p: (p.set_shuffle(), szip(32, 8)(p), p.set_fletcher32()),
        "scaleoffset": lambda p: p.set_scaleoffset(h5py.h5z.SO_INT, 0),
    }
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        for (name, change), kind in itertools.product(filters.items(), ["uint8", ">u2", "int32", ">i8", "uint64", "float32"]):
            if name == "scaleoffset" and kind == "float32":
                continue
            values = zyx(voxels(kind))
            # Noise in one half, so that chunks are stored larger and smaller than their values.
            values[:, :18] = random.integers(0, 120, values[:, :18].shape)
            names.append(f"{name}_{np.dtype(kind).str[1:]}")
            create(file, names[-1], values, lambda p: (p.set_chunk(CHUNK), change(p)))
            dataset = file[names[-1]].id
            masks = [dataset.get_chunk_info(number).filter_mask for number in range(dataset.get_num_chunks())]
            # libhdf5 leaves a filter out of a chunk that it would not shorten.
            assert 0 in masks, (names[-1], masks)
        for kind in ["uint8", ">u2", "float32", ">i8"]:
            names.append(f"zstd_{np.dtype(kind).str[1:]}")
            dataset = file.create_dataset(names[-1], data=zyx(voxels(kind)), chunks=CHUNK, shuffle=True, **hdf5plugin.Zstd())
            place(dataset)
        for kind, digits in [("float32", 3), (">f8", 1)]:
            names.append(f"scaleoffset_{np.dtype(kind).str[1:]}")
            values = (zyx(voxels(kind)) / 8).astype(kind)
            place(file.create_dataset(names[-1], data=values, chunks=CHUNK, scaleoffset=digits))
    check_arrays(tmp_path, "a.h5", {name: as_read(tmp_path / "a.h5", name) for name in names})


def test_an_enumeration_has_the_type_of_its_values(tmp_path):
    volumes = {}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, base in {"one": "i1", "two": ">i2"}.items():
            values = (zyx(voxels("uint8")).astype("i8") % 3 - 1).astype(base)
            place(file.create_dataset(name, data=values, dtype=h5py.enum_dtype({"A": -1, "B": 1, "C": 0}, base)))
            volumes[name] = Volume(values.astype(np.dtype(base).newbyteorder("=")).T, ORIGIN, RESOLUTION)
    check_arrays(tmp_path, "a.h5", volumes)
    group = zarr.open_group(tmp_path / "out/train.zarr", mode="r")
    assert group["one"].dtype == "int8" and group["two"].dtype == "int16" and (group["one"][:] == -1).any()


@pytest.mark.parametrize("names", [np.array([b"x", b"y", b"z"]), np.array([b"x", b"y", b"z"], "S8"), ["x", "y", "z"]], ids=["S1", "S8", "text"])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_names_of_axes_of_one_length_are_read(tmp_path, libver, names):
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as file:
        # As long in all dimensions, so that wrong axes are no error.
        dataset = file.create_dataset("a", data=voxels("uint16", (40, 40, 40)))
        dataset.attrs["resolution"] = (4.0, 4.0, 4.0)
        dataset.attrs["axis_names"] = names
    volume = Volume(voxels("uint16", (40, 40, 40)), (0, 0, 0), (4.0, 4.0, 4.0))
    check_windows(tmp_path, "a.h5", volume)


def attribute_of_type(dataset, name, values, kind, shape):
    """Replaces an attribute by one of a type that h5py would not choose."""
    del dataset.attrs[name]
    space = h5py.h5s.create_simple(shape) if shape else h5py.h5s.create(h5py.h5s.SCALAR)
    h5py.h5a.create(dataset.id, name.encode(), kind, space).write(values, mtype=None if shape else kind)


UNSUPPORTED = {
    "half": lambda d, key: d.attrs.create(key, np.array(d.attrs[key], "f2")),
    "long double": lambda d, key: d.attrs.create(key, np.array(d.attrs[key], "g")),
    "compound": lambda d, key: d.attrs.create(key, np.zeros(1, [("z", "f8"), ("y", "f8"), ("x", "f8")])),
    "enumeration": lambda d, key: d.attrs.create(key, np.array([40, 4, 4], "i4"), dtype=h5py.enum_dtype({"A": 40, "B": 4}, "i4")),
    "array": lambda d, key: attribute_of_type(d, key, np.ones(3), h5py.h5t.array_create(h5py.h5t.IEEE_F64LE, (3,)), ()),
    "too large": lambda d, key: d.attrs.create(key, np.zeros(5000)),
    "bits": lambda d, key: attribute_of_type(d, key, np.array([40, 4, 4], "i4"), twenty_bits(), (3,)),
}


def twenty_bits():
    kind = h5py.h5t.NATIVE_INT32.copy()
    kind.set_precision(20)
    return kind


@pytest.mark.parametrize("key", ["offset", "resolution", "units", "axis_names"])
@pytest.mark.parametrize("change", UNSUPPORTED)
def test_an_attribute_of_an_unsupported_type_is_an_error_where_it_matters(tmp_path, key, change):
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        dataset = file.create_dataset("a", data=zyx(voxels()))
        place(dataset)
        if key not in dataset.attrs:
            dataset.attrs[key] = [40.0, 4.0, 4.0]
        UNSUPPORTED[change](dataset, key)
    message = job_error(tmp_path, "a.h5", origin=ORIGIN)
    assert f"`{key}`" in message and "unsupported" in message, message
    if key != "units":
        (tmp_path / "again").mkdir()
        layer = {"resolution": RESOLUTION, "voxel_offset": ORIGIN, "axes": "zyx"}
        check_windows(tmp_path / "again", "../a.h5", as_read(tmp_path / "a.h5", "a"), layer=layer)


def test_attributes_that_do_not_matter_are_ignored(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        dataset = file.create_dataset("a", data=zyx(voxels()))
        place(dataset)
        dataset.attrs["compound"] = np.zeros(2, [("a", "f4"), ("b", "S3")])
        dataset.attrs["reference"] = dataset.ref
        dataset.attrs["large"] = np.zeros(2_000_000)
        dataset.attrs["text"] = "x" * 100_000
        dataset.attrs["latin"] = np.bytes_(b"\xe9")
        dataset.attrs["empty"] = h5py.Empty("f8")
        for number in range(20):
            dataset.attrs[f"more{number}"] = np.arange(50.0)
    check_windows(tmp_path, "a.h5", as_read(tmp_path / "a.h5", "a"))


def test_large_attributes_are_an_error_within_the_memory_limit(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        dataset = file.create_dataset("a", data=zyx(voxels()))
        place(dataset)
        for number in range(4):
            dataset.attrs[f"large{number}"] = np.zeros(10_000_000)
    refused_within(job(tmp_path, "a.h5|hdf5:a", ORIGIN), tmp_path, "a.h5|hdf5:/a", "attributes", "--memory")


def test_a_channel_axis_is_found_by_name(tmp_path):
    channels = np.stack([zyx(voxels()), zyx(voxels()) + 7, zyx(voxels()) + 31])
    volumes, layers = {}, {}
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for axes in ["czyx", "zyxc"]:
            values = channels if axes == "czyx" else np.moveaxis(channels, 0, -1)
            for per_chunk in [0, 1, 2, 3]:
                shape = (per_chunk, *CHUNK) if axes == "czyx" else (*CHUNK, per_chunk)
                name = f"{axes}_{per_chunk}"
                dataset = file.create_dataset(name, data=values, chunks=shape if per_chunk else None)
                place(dataset)
                volumes[name] = [Volume(c.T, ORIGIN, RESOLUTION) for c in channels]
                if per_chunk % 2:
                    layers[name] = {"axes": axes}
                else:
                    for dimension, label in zip(dataset.dims, axes):
                        dimension.label = label
    check_arrays(tmp_path, "a.h5", volumes, layers)


@pytest.mark.parametrize("axes", ["czyx", "zyxc", "tczyx"])
def test_the_proposed_axes_fit_a_dataset_without_names(tmp_path, axes):
    channels = np.stack([zyx(voxels()), zyx(voxels()) + 7])
    values = {"czyx": channels, "zyxc": np.moveaxis(channels, 0, -1), "tczyx": channels[None]}[axes]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        place(file.create_dataset("unnamed", data=values))
        place(file.create_dataset("movies", data=np.stack([channels, channels, channels])))
        file["section"] = channels[0, 0]
        file["section"].attrs["resolution"] = (4.0, 4.0)
    message = job_error(tmp_path, "a.h5|hdf5:unnamed")
    (proposed,) = re.findall(r'"layers": { "img": { "axes": "(\w+)" } }', message)
    assert proposed == axes and f"{len(axes)} dimensions" in message, message
    check_arrays(tmp_path, "a.h5", {"unnamed": [Volume(c.T, ORIGIN, RESOLUTION) for c in channels]}, {"unnamed": {"axes": proposed}})
    message = job_error(tmp_path, "a.h5|hdf5:movies")
    assert "at most one other dimension that is longer than 1" in message and '"axes"' not in message, message
    message = job_error(tmp_path, "a.h5|hdf5:section")
    assert "found 2 dimensions" in message and "not a volume" in message and '"axes"' not in message, message


def copied(file, other):
    """As h5py copies: an attribute that was added later may have another place."""
    file.copy("raw", other)


def written_again(file, other):
    dataset = other.create_dataset("raw", data=file["raw"], **LAYOUTS["gzip"])
    for name in reversed(list(file["raw"].attrs)):
        dataset.attrs[name] = file["raw"].attrs[name]


@pytest.mark.parametrize("copy", [copied, written_again])
def test_a_copy_with_its_attributes_in_another_order_is_the_same_source(tmp_path, copy):
    path, out = tmp_path / "a.h5", tmp_path / "out"
    write(path, zyx(voxels()), "raw", **LAYOUTS["gzip"])
    with h5py.File(path, "r+") as file:
        file["raw"].attrs["comment"] = "x"
    config = job(tmp_path, "a.h5|hdf5:raw", ORIGIN)
    pointshard("preprocess", config, "--out", out)
    with h5py.File(path) as file, h5py.File(tmp_path / "copy.h5", "w") as other:
        copy(file, other)
    (tmp_path / "copy.h5").replace(path)
    assert "all 1 already present" in pointshard("preprocess", config, "--out", out).stdout
    with h5py.File(path, "r+") as file:
        file["raw"].attrs["comment"] = "y"
    assert "its metadata (info or attributes) has changed" in error_message("preprocess", config, "--out", out)


def test_the_config_names_what_the_file_lacks(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = voxels("uint8")
    layer = {"resolution": RESOLUTION, "voxel_offset": ORIGIN, "axes": "xyz"}
    check_windows(tmp_path, "a.h5", Volume(voxels("uint8"), ORIGIN, RESOLUTION), layer=layer)
    (tmp_path / "again").mkdir()
    message = job_error(tmp_path / "again", "../a.h5|hdf5:a")
    assert "a.h5|hdf5:/a has no attribute `resolution`" in message and '"layers": { "img"' in message


def test_names_of_other_tools_are_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("a", data=voxels("uint8"))
        dataset.attrs["voxel_size"] = np.array(RESOLUTION) / 1000
        dataset.attrs["offset"] = np.array([o * r for o, r in zip(ORIGIN, RESOLUTION)])
        dataset.attrs["offset_unit"] = "nm"
        dataset.attrs["units"] = ["um", "um", "um"]
        dataset.attrs["axis_names"] = ["x", "y", "z"]
    check_windows(tmp_path, "a.h5", Volume(voxels("uint8"), ORIGIN, RESOLUTION))


def test_a_file_with_several_volumes_lists_them(tmp_path):
    write(tmp_path / "a.hdf", zyx(voxels("uint8")))
    write(tmp_path / "a.hdf", zyx(voxels("uint64")), "volumes/labels/neuron_ids")
    with h5py.File(tmp_path / "a.hdf", "a") as file:
        file["annotations/locations"] = np.zeros((5, 3))
        file["z/volumes"] = file["volumes"]
    message = job_error(tmp_path, "a.hdf", code=2)
    for name in ["volumes/raw", "volumes/labels/neuron_ids"]:
        assert f"`{tmp_path}/a.hdf|hdf5:/{name}`" in message
    assert "locations" not in message
    message = job_error(tmp_path, "a.hdf|hdf5:/volumes/row", code=2)
    assert "has no dataset /volumes/row" in message and "|hdf5:/volumes/raw`" in message
    message = job_error(tmp_path, "a.hdf/volumes/raw")
    assert "a.hdf|hdf5:/volumes/raw`" in message
    message = job_error(tmp_path, "b.hdf|hdf5:/volumes/raw")
    assert "b.hdf does not exist" in message
    check_windows(tmp_path, "a.hdf|hdf5:volumes/raw/", as_read(tmp_path / "a.hdf"))


def test_what_is_not_supported_is_an_error_that_names_it(tmp_path):
    values = zyx(voxels("uint8"))
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        layout = h5py.VirtualLayout(values.shape, "uint8")
        layout[...] = h5py.VirtualSource("b.h5", "b", values.shape)
        file.create_virtual_dataset("virtual", layout)
        file["compound"] = np.zeros((3, 4, 5), [("a", "u1"), ("b", "f4")])
        file["half"] = np.zeros((3, 4, 5), "float16")
        file["flat"] = np.zeros(5)
        file["empty"] = np.zeros((0, 4, 5))
        twelve_bits = h5py.h5t.NATIVE_UINT16.copy()
        twelve_bits.set_precision(12)
        space = h5py.h5s.create_simple((3, 4, 5))
        place(h5py.Dataset(h5py.h5d.create(file.id, b"bits", twelve_bits, space)))
        external = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        external.set_external(b"raw.bin", 0, 60)
        place(h5py.Dataset(h5py.h5d.create(file.id, b"external", h5py.h5t.NATIVE_UINT8, space, external)))
        blosc = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        blosc.set_chunk((3, 4, 5))
        blosc.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (2, 2, 1, 60))
        place(h5py.Dataset(h5py.h5d.create(file.id, b"blosc", h5py.h5t.NATIVE_UINT8, space, blosc)))
    layer = {"resolution": RESOLUTION}
    for name, expected in {
        "virtual": "it is a virtual dataset", "compound": "compound", "half": "float of 2 bytes", "flat": "1 dimension",
        "empty": "found 0 voxels", "bits": "12 of 16 bits", "external": "external files", "blosc": "32001 (blosc)",
    }.items():
        message = job_error(tmp_path, f"a.h5|hdf5:{name}", layer=layer)
        assert expected in message and f"a.h5|hdf5:/{name}" in message, message
    (tmp_path / "text.h5").write_text("no HDF5")
    assert "found no HDF5 signature" in job_error(tmp_path, "text.h5|hdf5:a")
    assert "not an HDF5 file" in job_error(tmp_path, "text.h5")


@pytest.mark.parametrize("size", [512, 4096, 32768])
def test_a_file_behind_a_user_block_is_read(tmp_path, size):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=size) as file:
        place(file.create_dataset("a", data=zyx(voxels()), chunks=CHUNK))
        place(file.create_dataset("b", data=zyx(voxels())))
    for name in ["a", "b"]:
        (tmp_path / name).mkdir()
        check_windows(tmp_path / name, f"../a.mat|hdf5:{name}", as_read(tmp_path / "a.mat", name))
    with h5py.File(tmp_path / "a.mat", "a") as file:
        del file["b"]
    (tmp_path / "only").mkdir()
    check_windows(tmp_path / "only", "../a.mat", as_read(tmp_path / "a.mat", "a"))


def test_links_to_files_and_missing_labels_are_errors_that_name_them(tmp_path):
    write(tmp_path / "b.h5", zyx(voxels()), "raw")
    for libver in ["earliest", "latest"]:
        with h5py.File(tmp_path / f"{libver}.h5", "w", libver=libver) as file:
            file["a"] = h5py.ExternalLink("b.h5", "raw")
            file["soft"] = h5py.SoftLink("/a")
            dataset = file.create_dataset("labels", data=zyx(voxels()))
            place(dataset)
            dataset.dims[2].label = "x"
        for name in ["a", "soft"]:
            message = job_error(tmp_path, f"{libver}.h5|hdf5:{name}", code=2)
            assert f"{libver}.h5|hdf5:/{name} is a link to the file" in message and '"b.h5"' in message, message
        message = job_error(tmp_path, f"{libver}.h5|hdf5:labels", code=1)
        assert "`DIMENSION_LABELS`" in message and 'found the labels ["", "", "x"]' in message and "`axes`" in message, message
    (tmp_path / "again").mkdir()
    volume = as_read(tmp_path / "latest.h5", "labels")
    check_windows(tmp_path / "again", "../latest.h5|hdf5:labels", volume, layer={"axes": "zyx"})


def test_init_leaves_out_what_cannot_be_read(tmp_path):
    write(tmp_path / "a.h5", zyx(voxels()), "good")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        place(file.create_dataset("blosc", data=zyx(voxels()), chunks=CHUNK, compression=hdf5plugin.Blosc()))
        file["link"] = h5py.ExternalLink("b.h5", "raw")
        file["type"] = np.dtype("u2")
        file["half"] = np.zeros((3, 4, 5), "float16")
    done = pointshard("init", tmp_path / "a.h5", "--out", tmp_path / "config.json")
    assert "32001 (blosc)" in done.stdout + done.stderr
    layers = json.loads((tmp_path / "config.json").read_text())["collection"]["boxes"]["layers"]
    assert layers == {"good": "./a.h5|hdf5:/good"}


@pytest.mark.parametrize("layout", ["all filters", "contiguous"])
def test_a_file_on_a_server_is_read_by_ranges(tmp_path, layout):
    values = zyx(np.tile(voxels("uint8"), (4, 4, 8)))
    write(tmp_path / "a.hdf", values, **LAYOUTS[layout])
    nginx = Nginx(tmp_path, {"files": static(tmp_path)})
    try:
        source = f"{nginx.url('files')}/a.hdf|hdf5:/volumes/raw"
        check_windows(tmp_path, source, as_read(tmp_path / "a.hdf"))
        requests = [r for r in nginx.requests("files") if r.path.startswith("/a.hdf") and r.method == "GET"]
    finally:
        nginx.stop()
    assert requests and all(r.status == 206 for r in requests)
    ranges = [r.range for r in requests]
    assert len(set(ranges)) > len(ranges) / 3


def test_a_damaged_chunk_is_an_error_that_names_it(tmp_path):
    write(tmp_path / "a.hdf", zyx(voxels()), **LAYOUTS["all filters"])
    with h5py.File(tmp_path / "a.hdf") as file:
        chunk = file["volumes/raw"].id.get_chunk_info_by_coord((5, 16, 16))
    with open(tmp_path / "a.hdf", "r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    message = job_error(tmp_path, "a.hdf|hdf5:/volumes/raw", code=1, origin=ORIGIN)
    assert "a.hdf|hdf5:/volumes/raw, at [5, 16, 16]" in message and "mismatch" in message


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("compression", ["lzf", "gzip", "szip"])
def test_damaged_files_are_errors_and_never_other_voxels(tmp_path, libver, compression):
    random, functions = np.random.default_rng(7), library()
    filters = {"lzf": lambda p: p.set_filter(h5py.h5z.FILTER_LZF, h5py.h5z.FLAG_OPTIONAL), "gzip": lambda p: p.set_deflate(4)}
    filters["szip"] = lambda p: functions.H5Pset_szip(p.id, 32, 8)
    with h5py.File(tmp_path / "whole.hdf", "w", libver=libver) as file:
        group = file.create_group("volumes")
        create(group, "raw", zyx(voxels()), lambda p: (p.set_chunk((2, 4, 8)), filters[compression](p), p.set_fletcher32()))
        dataset = group["raw"].id
        infos = [dataset.get_chunk_info(number) for number in range(dataset.get_num_chunks())]
    volume = as_read(tmp_path / "whole.hdf")
    whole = (tmp_path / "whole.hdf").read_bytes()
    in_chunks = np.zeros(len(whole), bool)
    for info in infos:
        in_chunks[info.byte_offset : info.byte_offset + info.size] = True
    structure = np.flatnonzero(~in_chunks)
    results = set()
    for number in range(24):
        damaged = bytearray(whole)
        in_values = number % 3 == 0
        if number % 8 == 7:
            damaged = damaged[: random.integers(len(whole))]
        elif in_values:
            # In a chunk that a window needs. Its checksum does not match.
            info = infos[[i.chunk_offset for i in infos].index((6, 16, 16))]
            damaged[info.byte_offset + random.integers(info.size - 4)] ^= 1 << random.integers(8)
        else:
            for at in random.choice(structure, size=1 + number % 3):
                damaged[at] = random.choice([0, 255, damaged[at] ^ 1, random.integers(256)])
        (tmp_path / "a.hdf").write_bytes(damaged)
        result = run_damaged(tmp_path)
        if in_values:
            assert result == 1, number
        # Headers of the old version and its indexes have no checksum: what they say may be wrong.
        if result == 0 and libver == "latest":
            compare_with(tmp_path, volume)
        results.add(result)
    assert results == {0, 1}


def run_damaged(folder):
    config = job(folder, "a.hdf|hdf5:/volumes/raw", ORIGIN)
    try:
        pointshard("preprocess", config, "--out", folder / "out", "--threads", "1", "--quiet", "--force", "--memory", "200MiB")
        return 0
    except AssertionError as failed:
        text = str(failed)
        assert "panicked" not in text and "exit code 101" not in text, text
        return 1


def compare_with(folder, volume):
    group = zarr.open_group(folder / "out/train.zarr", mode="r")
    for annotation, window in zip(group["annotation_id"][:], group["img"][:], strict=True):
        start = first_voxel(points(ORIGIN, RESOLUTION)[annotation], RESOLUTION, WINDOW)
        np.testing.assert_array_equal(window, volume.cut(start, WINDOW).astype(window.dtype))


FILTERS_OF_LARGE_CHUNKS = {
    "checksum": {"fletcher32": True}, "shuffle": {"shuffle": True, "fletcher32": True},
    "all": {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True},
}


@pytest.mark.parametrize("filters", FILTERS_OF_LARGE_CHUNKS)
def test_large_chunks_stay_within_the_memory_limit(tmp_path, monkeypatch, filters):
    # Chunks of 16 MiB, one for each window. Noise is as long when it is compressed.
    values = np.random.default_rng(1).integers(0, 1 << 16, (64, 1024, 1024), dtype="u2")
    write(tmp_path / "a.h5", values, chunks=(8, 1024, 1024), **FILTERS_OF_LARGE_CHUNKS[filters])
    monkeypatch.setattr("one_array_job.VOXELS", [(500, 500, 4 + 8 * number) for number in range(8)])
    config = job(tmp_path, "a.h5", ORIGIN)
    # The smallest limit that is accepted.
    memory = 64
    for _ in range(4):
        code, said, peak = measured(config, tmp_path, memory, action=["--force"])
        if code == 0:
            break
        memory = int(float(re.search(r"at least ([\d.]+) MiB", said)[1])) + 1
    assert code == 0, said
    assert peak <= memory << 20, (peak / (1 << 20), memory)


def test_the_check_against_the_source_reads_it_again(tmp_path):
    write(tmp_path / "a.hdf", zyx(voxels("uint64")), **LAYOUTS["gzip"])
    check_windows(tmp_path, "a.hdf", as_read(tmp_path / "a.hdf"))
    pointshard("check", tmp_path / "out", "--source")
    with h5py.File(tmp_path / "a.hdf", "a") as file:
        file["volumes/raw"][...] += np.uint64(1)
        # Other datasets do not change the source.
        file["volumes/other"] = np.zeros(3)
    pointshard("check", tmp_path / "out", "--source", code=1)
