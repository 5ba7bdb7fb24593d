"""HDF5 datasets as layers: windows are compared with those that numpy cuts from what h5py reads."""

import json

import h5py
import numpy as np
import pytest
import zarr
from one_array_job import RESOLUTION, WINDOW, check_windows, job, job_error, points, voxels
from program import pointshard
from servers import Nginx, static
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


def create(file, name, values, change):
    """Creates a dataset with properties that only h5py's low-level functions set."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    change(properties)
    space, kind = h5py.h5s.create_simple(values.shape), h5py.h5t.py_create(values.dtype)
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


def early(properties):
    properties.set_chunk(CHUNK)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)


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
        place(file.create_dataset("unnamed", data=channels))
    check_arrays(tmp_path, "a.h5", volumes, layers)
    message = job_error(tmp_path, "a.h5|hdf5:unnamed")
    assert "4 dimensions" in message and '"axes"' in message


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
    assert "no HDF5 file" in job_error(tmp_path, "text.h5")


def test_a_file_behind_a_user_block_is_read(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        place(file.create_dataset("a", data=zyx(voxels()), chunks=CHUNK))
        place(file.create_dataset("b", data=zyx(voxels())))
    for name in ["a", "b"]:
        (tmp_path / name).mkdir()
        check_windows(tmp_path / name, f"../a.mat|hdf5:{name}", as_read(tmp_path / "a.mat", name))


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
def test_damaged_files_never_panic(tmp_path, libver):
    random = np.random.default_rng(7)
    options = {"chunks": (2, 4, 8), "compression": "lzf", "shuffle": True}
    write(tmp_path / "whole.hdf", zyx(voxels("uint8")), libver=libver, **options)
    whole = (tmp_path / "whole.hdf").read_bytes()
    results = set()
    for number in range(24):
        damaged = bytearray(whole)
        if number % 6 == 0:
            damaged = damaged[: random.integers(len(whole))]
        else:
            # Most of the structure is at the beginning.
            for at in random.integers(min(len(whole), 4096 if number % 2 else len(whole)), size=1 + number % 3):
                damaged[at] = random.choice([0, 255, damaged[at] ^ 1, random.integers(256)])
        (tmp_path / "a.hdf").write_bytes(damaged)
        results.add(run_damaged(tmp_path))
    assert results >= {0, 1}


def run_damaged(folder):
    config = job(folder, "a.hdf|hdf5:/volumes/raw", ORIGIN)
    try:
        pointshard("preprocess", config, "--out", folder / "out", "--threads", "1", "--quiet", "--force", "--memory", "200MiB")
        return 0
    except AssertionError as failed:
        text = str(failed)
        assert "panicked" not in text and "exit code 101" not in text, text
        return 1


def test_the_check_against_the_source_reads_it_again(tmp_path):
    write(tmp_path / "a.hdf", zyx(voxels("uint64")), **LAYOUTS["gzip"])
    check_windows(tmp_path, "a.hdf", as_read(tmp_path / "a.hdf"))
    pointshard("check", tmp_path / "out", "--source")
    with h5py.File(tmp_path / "a.hdf", "a") as file:
        file["volumes/raw"][...] += np.uint64(1)
        # Other datasets do not change the source.
        file["volumes/other"] = np.zeros(3)
    pointshard("check", tmp_path / "out", "--source", code=1)
