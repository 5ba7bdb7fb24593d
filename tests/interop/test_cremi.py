"""CREMI files: volumes and annotations, written as cremi_python writes them. Windows are compared with slices of the arrays,
positions and partners with cremi_python's rules."""

import json

import h5py
import numpy as np
import pytest
import zarr
from program import error_message, pointshard
from test_memory import refused_within
from volumes import Volume, first_voxel

RESOLUTION, WINDOW, ORIGIN = (4.0, 4.0, 40.0), (8, 6, 4), (150, 90, 20)
SHAPE = (60, 50, 20)
# Another one than that of the volumes, in nm, x y z.
OFFSET = (320.0, 120.0, 400.0)
# Locations relative to OFFSET, in nm, x y z. The last two are outside of the volume.
SITES = {
    11: ("presynaptic_site", (390.5, 340.25, 520.0)), 12: ("postsynaptic_site", (410.0, 330.0, 560.0)),
    2**64 - 1: ("postsynaptic_site", (380.0, 352.0, 480.0)), 7: ("presynaptic_site", (430.0, 400.0, 700.0)),
    8: ("postsynaptic_site", (445.0, 410.5, 750.0)), 9: ("postsynaptic_site", (1e5, 1e5, 1e5)),
}
PARTNERS = [(11, 12), (11, 2**64 - 1), (7, 8), (7, 9), (11, 12)]


def volumes():
    random = np.random.default_rng(3)
    raw = random.integers(0, 256, SHAPE[::-1], dtype=np.uint8)
    neurons = random.integers(0, 2**63, SHAPE[::-1], dtype=np.uint64) * np.uint64(2)
    clefts = np.where(raw > 200, neurons, np.uint64(2**64 - 1))
    return {"raw": raw, "labels/neuron_ids": neurons, "labels/clefts": clefts}


def write(path, offset=OFFSET, sites=SITES, partners=PARTNERS):
    """Writes the file as `CremiFile.write_volume` and `write_annotations` do."""
    with h5py.File(path, "w") as file:
        file["/"].attrs["file_format"] = "0.2"
        for name, values in volumes().items():
            dataset = file.create_dataset(f"volumes/{name}", data=values, compression="gzip")
            dataset.attrs["resolution"] = RESOLUTION[::-1]
            dataset.attrs["offset"] = tuple(o * r for o, r in zip(ORIGIN[::-1], RESOLUTION[::-1]))
        group = file.create_group("annotations")
        if offset:
            group.attrs["offset"] = offset[::-1]
        group.create_dataset("ids", data=list(sites), dtype=np.uint64)
        types = [kind for kind, _ in sites.values()]
        group.create_dataset("types", data=types, dtype=h5py.string_dtype(), compression="gzip")
        group.create_dataset("locations", data=[at[::-1] for _, at in sites.values()], dtype=np.double)
        if partners:
            group.create_dataset("presynaptic_site/partners", data=partners, dtype=np.uint64)


def config(folder, points, source="a.hdf"):
    layers = {name.split("/")[-1]: f"a.hdf|hdf5:/volumes/{name}" for name in volumes()}
    value = {
        "collection": {"boxes": {"list": [{"min": [0, 0, 0], "max": [5000, 5000, 5000], "tags": ["train"]}], "layers": layers}},
        "resolution": RESOLUTION,
        "window": WINDOW,
        "points": points,
        "arrays": {name: {"layer": name} for name in layers},
        "splits": {"train": ["train"]},
    }
    (folder / "config.json").write_text(json.dumps(value))
    return folder / "config.json"


def run(folder, **points):
    cremi = points.pop("cremi", {})
    out = folder / "out"
    pointshard("preprocess", config(folder, {"cremi": {"file": "a.hdf", **cremi}, **points}), "--out", out, "--force")
    return zarr.open_group(out / "train.zarr", mode="r")


def site(annotation, offset=OFFSET, sites=SITES):
    return np.add(sites[annotation][1], offset)


def check_windows(group, centers):
    """The windows around the centre of each annotation equal slices of the arrays."""
    ids = group["annotation_id"][:]
    assert sorted(ids) == sorted(centers)
    for name, values in volumes().items():
        volume = Volume(values.T, ORIGIN, RESOLUTION)
        for annotation, window in zip(ids, group[name.split("/")[-1]][:]):
            start = first_voxel(centers[annotation], RESOLUTION, WINDOW)
            np.testing.assert_array_equal(window, volume.cut(start, WINDOW), err_msg=f"{name} {annotation}")
    for annotation, center in zip(ids, group["center_nm"][:]):
        np.testing.assert_allclose(center, centers[annotation], atol=1e-6)


ANCHORS = {"midpoint": lambda pre, post: (pre + post) / 2, "start": lambda pre, post: pre, "end": lambda pre, post: post}


@pytest.mark.parametrize("anchor", ANCHORS)
def test_partners_are_lines_and_both_offsets_are_applied(tmp_path, anchor):
    write(tmp_path / "a.hdf")
    group = run(tmp_path, anchor=anchor)
    centers = {row: ANCHORS[anchor](site(pre), site(post)) for row, (pre, post) in enumerate(PARTNERS)}
    inside = {row: center for row, center in centers.items() if (center < 5000).all()}
    assert len(inside) == (5 if anchor == "start" else 4)
    check_windows(group, inside)
    for row, pre, post in zip(group["annotation_id"][:], group["property_pre_id"][:], group["property_post_id"][:]):
        assert (int(pre), int(post)) == PARTNERS[row]


def test_without_an_offset_locations_are_world_coordinates(tmp_path):
    shifted = {key: (kind, tuple(np.add(at, OFFSET))) for key, (kind, at) in SITES.items()}
    write(tmp_path / "a.hdf", offset=None, sites=shifted)
    centers = {row: (site(pre) + site(post)) / 2 for row, (pre, post) in enumerate(PARTNERS) if post != 9}
    check_windows(run(tmp_path), centers)


@pytest.mark.parametrize("kind", ["presynaptic_site", "postsynaptic_site"])
def test_annotations_of_one_type_are_points(tmp_path, kind):
    write(tmp_path / "a.hdf", partners=None)
    group = run(tmp_path, cremi={"type": kind})
    check_windows(group, {key: site(key) for key, (found, _) in SITES.items() if found == kind and key != 9})


def test_the_cell_at_each_end_of_a_line_is_a_target(tmp_path):
    write(tmp_path / "a.hdf", partners=[(11, 12), (7, 8)])
    points = {"cremi": {"file": "a.hdf"}}
    path = config(tmp_path, points)
    value = json.loads(path.read_text())
    for name, end in {"target_pre": "start", "target_post": "end"}.items():
        value["arrays"][name] = {"layer": "neuron_ids", "transform": {"object_at": {"point": end}}}
    path.write_text(json.dumps(value))
    pointshard("preprocess", path, "--out", tmp_path / "out")
    group = zarr.open_group(tmp_path / "out/train.zarr", mode="r")
    neurons = Volume(volumes()["labels/neuron_ids"].T, ORIGIN, RESOLUTION)
    for row, pre, post in zip(*(group[name][:] for name in ["annotation_id", "target_pre_object_id", "target_post_object_id"])):
        expected = [neurons.at(tuple(site(end))) for end in [(11, 12), (7, 8)][row]]
        assert [int(pre), int(post)] == expected


def change(path, **datasets):
    with h5py.File(path, "a") as file:
        for name, values in datasets.items():
            name = f"annotations/{name.replace('__', '/')}"
            if name in file:
                del file[name]
            if values is not None:
                file[name] = values


ERRORS = {
    "no partners": ({"presynaptic_site__partners": None}, "no dataset `annotations/presynaptic_site/partners`", "points.cremi.type"),
    "no locations": ({"locations": None}, "no dataset `annotations/locations`", "CREMI"),
    "unknown id": ({"presynaptic_site__partners": np.array([[11, 12], [11, 99]])}, "row 1", "`post` is 99"),
    "ids as floats": ({"ids": np.arange(6.0)}, "float64", "whole numbers"),
    "negative partner": ({"presynaptic_site__partners": np.array([[11, 12], [11, -1]])}, "row 1", "negative id -1"),
    "negative id": ({"ids": np.array([11, 12, -1, 7, 8, 9])}, "annotations/ids, row 2", "negative id -1"),
    "two positions": ({"ids": np.array([11, 12, 11, 7, 8, 9])}, "id 11", "row 2"),
    "fewer positions": ({"locations": np.zeros((5, 3))}, "[5, 3]", "[6, 3]"),
    "four numbers": ({"locations": np.zeros((6, 4))}, "[6, 4]", "[n, 3]"),
    "triples": ({"presynaptic_site__partners": np.zeros((2, 3), "u8")}, "[2, 3]", "[n, 2]"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_wrong_annotations_are_errors_that_name_them(tmp_path, case):
    datasets, *expected = ERRORS[case]
    write(tmp_path / "a.hdf")
    change(tmp_path / "a.hdf", **datasets)
    message = error_message("plan", config(tmp_path, {"cremi": {"file": "a.hdf"}}), code=1)
    assert all(text in message for text in [*expected, "a.hdf"]), message


def test_a_wrong_offset_and_an_unknown_type_are_errors(tmp_path):
    write(tmp_path / "a.hdf", offset=None)
    message = error_message("plan", config(tmp_path, {"cremi": {"file": "a.hdf", "type": "presynaptic_sit"}}), code=2)
    assert "did you mean `presynaptic_site`?" in message and "postsynaptic_site" in message
    with h5py.File(tmp_path / "a.hdf", "a") as file:
        file["annotations"].attrs["offset"] = 40.0
    message = error_message("plan", config(tmp_path, {"cremi": {"file": "a.hdf"}}), code=1)
    assert "`offset` is 40.0" in message and "z y x" in message


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_annotations_that_may_grow_are_read(tmp_path, libver):
    # Chunks of one and of two dimensions, numbered in the largest shape.
    write(tmp_path / "a.hdf")
    sites = list(SITES.values())
    datasets = {
        "ids": (np.array(list(SITES), "u8"), (4,), (40,)),
        "locations": (np.array([at[::-1] for _, at in sites]), (2, 2), (40, 7)),
        "presynaptic_site/partners": (np.array(PARTNERS, "u8"), (2, 1), (50, 9)),
    }
    with h5py.File(tmp_path / "b.hdf", "w", libver=libver) as file, h5py.File(tmp_path / "a.hdf") as old:
        group = file.create_group("annotations")
        group.attrs["offset"] = OFFSET[::-1]
        for name, (values, chunk, largest) in datasets.items():
            group.create_dataset(name, data=values, chunks=chunk, maxshape=largest, compression="gzip")
        types = [kind for kind, _ in sites]
        group.create_dataset("types", data=types, dtype=h5py.string_dtype(), chunks=(4,), maxshape=(40,), compression="gzip")
        old.copy("volumes", file)
    (tmp_path / "b.hdf").rename(tmp_path / "a.hdf")
    centers = {row: (site(pre) + site(post)) / 2 for row, (pre, post) in enumerate(PARTNERS) if post != 9}
    check_windows(run(tmp_path), centers)
    group = run(tmp_path, cremi={"type": "presynaptic_site"})
    check_windows(group, {key: site(key) for key, (found, _) in SITES.items() if found == "presynaptic_site"})


def test_locations_may_be_negative_whole_numbers_and_ids_signed(tmp_path):
    offset = (4000.0, 4000.0, 8000.0)
    sites = {1: ("presynaptic_site", (-3280, -3540, -7080)), 2: ("postsynaptic_site", (-3270, -3550, -7040))}
    write(tmp_path / "a.hdf", offset=offset, sites=sites, partners=[(1, 2)])
    locations = np.array([at[::-1] for _, at in sites.values()])
    for kind in ["i2", ">i8"]:
        change(tmp_path / "a.hdf", locations=locations.astype(kind), ids=np.array([1, 2], kind))
        check_windows(run(tmp_path), {0: (site(1, offset, sites) + site(2, offset, sites)) / 2})


def test_a_line_to_a_location_that_is_not_finite_is_left_out(tmp_path):
    write(tmp_path / "a.hdf")
    locations = np.array([at[::-1] for _, at in SITES.values()])
    locations[1, 1], locations[3, 0] = np.nan, np.inf
    change(tmp_path / "a.hdf", locations=locations)
    done = pointshard("preprocess", config(tmp_path, {"cremi": {"file": "a.hdf"}}), "--out", tmp_path / "out")
    assert "conflict" not in done.stderr
    group = zarr.open_group(tmp_path / "out/train.zarr", mode="r")
    check_windows(group, {1: (site(11) + site(2**64 - 1)) / 2})


def test_empty_lists_of_numpy_are_no_annotations(tmp_path):
    write(tmp_path / "a.hdf")
    change(tmp_path / "a.hdf", presynaptic_site__partners=np.array([]))
    message = pointshard("plan", config(tmp_path, {"cremi": {"file": "a.hdf"}}), code=1).stderr
    assert "shape" not in message and "float64" not in message, message


def test_types_of_one_length_are_read(tmp_path):
    write(tmp_path / "a.hdf")
    change(tmp_path / "a.hdf", types=np.array([kind.encode() for kind, _ in SITES.values()]))
    group = run(tmp_path, cremi={"type": "presynaptic_site"})
    check_windows(group, {key: site(key) for key, (found, _) in SITES.items() if found == "presynaptic_site"})


def test_a_message_shows_the_beginning_of_some_types(tmp_path):
    sites = {number: (f"{number:03d}" + "x" * 900, (1.0, 2.0, 3.0)) for number in range(300)}
    write(tmp_path / "a.hdf", sites=sites)
    message = error_message("plan", config(tmp_path, {"cremi": {"file": "a.hdf", "type": "y" * 3000}}), code=2)
    assert "its types are 000xxx" in message and len(message) < 4000, len(message)


def test_many_references_to_one_long_type_are_an_error_within_the_memory_limit(tmp_path):
    count = 3000
    write(tmp_path / "a.hdf")
    change(tmp_path / "a.hdf", ids=np.arange(count), locations=np.zeros((count, 3)), types=None)
    with h5py.File(tmp_path / "a.hdf", "a") as file:
        types = file.create_dataset("annotations/types", (count,), h5py.string_dtype())
        types[0], types[1:] = "x" * (1 << 20), ["y"] * (count - 1)
        file.flush()
        offset = types.id.get_offset()
    data = bytearray((tmp_path / "a.hdf").read_bytes())
    data[offset : offset + 16 * count] = data[offset : offset + 16] * count
    (tmp_path / "a.hdf").write_bytes(data)
    path = config(tmp_path, {"cremi": {"file": "a.hdf", "type": "y"}})
    refused_within(path, tmp_path, "annotations/types, row 0", "1048576 bytes", memory=200)


def test_init_drafts_a_config_of_the_file(tmp_path):
    write(tmp_path / "a.hdf")
    pointshard("init", tmp_path / "a.hdf", "--out", tmp_path / "first.json")
    config = json.loads((tmp_path / "first.json").read_text())
    assert config["points"] == {"cremi": {"file": "./a.hdf"}}
    layers = config["collection"]["boxes"]["layers"]
    assert layers == {name.split("/")[-1]: f"./a.hdf|hdf5:/volumes/{name}" for name in volumes()}
    assert {config["arrays"][name]["layer"] for name in ["target_pre", "target_post"]} == {"neuron_ids"}
    pointshard("plan", tmp_path / "first.json")
