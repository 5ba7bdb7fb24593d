"""TIFF stacks as layers: windows are compared with those that numpy cuts from what tifffile reads."""

import io
import itertools
import json
import struct

import numpy as np
import pytest
import tifffile
import zarr
from faulty_server import FaultyServer, status
from one_array_job import RESOLUTION, SHAPE, WINDOW, job, job_error, points, voxels
from PIL import Image
from program import error_message, pointshard
from s3_server import upload_objects
from servers import Nginx, static
from volumes import Volume, first_voxel

# The stack's first voxel, x y z.
ORIGIN = (30, 20, 6)
PLACED = {"resolution": RESOLUTION, "voxel_offset": ORIGIN}
TYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64")
COMPRESSIONS = ("none", "lzw", "zlib", "deflate", "packbits", "zstd")
LAYOUTS = {
    "strips": {"rowsperstrip": 5},
    "rows": {"rowsperstrip": 1},
    "page": {},
    "tiles": {"tile": (16, 32)},
    "large tiles": {"tile": (64, 64)},
}


def zyx(values):
    return np.ascontiguousarray(values.T)


def stack(dtype="uint16"):
    return zyx(voxels(dtype))


def write(path, values, folder=False, **options):
    """Writes a stack [z, y, x, ...] as one file, or as a folder with a file per section."""
    if options.get("compression") in ("none", "packbits", "jpeg") or (values.dtype.itemsize == 8 and values.dtype.kind in "iu"):
        options.pop("predictor", None)
    if options.get("compression") == "none":
        options.pop("compression")
    if not folder:
        tifffile.imwrite(path, values, **options)
        return path.name
    path.mkdir()
    for z, section in enumerate(values):
        tifffile.imwrite(path / f"z{z + 95}.tif", section, **options)
    return path.name


def channels_of(values):
    """The channels of [z, y, x] or [channel, z, y, x]."""
    values = values.astype(values.dtype.newbyteorder("="))
    values = values if values.ndim == 4 else values[None]
    return [Volume(channel.T, ORIGIN, RESOLUTION) for channel in values]


def check_arrays(folder, sources, layers=None, tolerances=None, **options):
    """One job on several sources: the windows of each equal those of an array [z, y, x] or [channel, z, y, x]."""
    config = json.loads(job(folder, "", ORIGIN).read_text())
    box = {"min": [-1e7] * 3, "max": [1e7] * 3, "tags": ["train"]}
    names = {name: source for name, (source, _) in sources.items()}
    config["collection"] = {"boxes": {"list": [box], "layers": names}}
    config["arrays"] = {name: {"layer": name} for name in sources}
    config["layers"] = {name: PLACED for name in sources} if layers is None else layers
    (folder / "config.json").write_text(json.dumps(config))
    pointshard("preprocess", folder / "config.json", "--out", folder / "out", "--threads", "2", "--quiet", **options)
    group = zarr.open_group(folder / "out/train.zarr", mode="r")
    centers = points(ORIGIN, RESOLUTION)
    for name, (_, values) in sources.items():
        assert group[name].dtype == values.dtype.newbyteorder("="), name
        for annotation, window in zip(group["annotation_id"][:], group[name][:], strict=True):
            start = first_voxel(centers[annotation], RESOLUTION, WINDOW)
            expected = np.concatenate([channel.cut(start, WINDOW) for channel in channels_of(values)])
            assert expected.any() or name.startswith("sparse"), name
            if tolerances:
                difference = np.abs(window.astype(int) - expected.astype(int))
                assert difference.max() <= tolerances[name], (name, annotation)
            else:
                np.testing.assert_array_equal(window, expected, err_msg=f"{name} {annotation}")


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_type_compression_and_layout_is_read_as_tifffile_reads_it(tmp_path, byteorder):
    sources = {}
    cases = [(kind, compression) for kind in TYPES for compression in COMPRESSIONS]
    for number, (kind, compression) in enumerate(cases):
        layout = list(LAYOUTS)[(number + number // len(COMPRESSIONS)) % len(LAYOUTS)]
        predictor = number // 2 % 3 > 0
        is_folder = number % 7 == 3
        name = f"{kind}_{compression}_{layout.replace(' ', '_')}_{number}"
        path = tmp_path / name if is_folder else tmp_path / f"{name}.tif"
        options = {"compression": compression, "predictor": predictor, "byteorder": byteorder, "bigtiff": number % 3 == 0}
        source = write(path, stack(kind), is_folder, **options, **LAYOUTS[layout])
        read = tifffile.imread(sorted(path.glob("*.tif"), key=lambda p: int(p.stem[1:])) if is_folder else path)
        np.testing.assert_array_equal(read, stack(kind))
        sources[name] = (source, read)
    check_arrays(tmp_path, sources)
    pointshard("check", tmp_path / "out", "--source")


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_channels_of_pixels_and_of_pages_become_channels(tmp_path, planar):
    colours = np.stack([stack("uint8"), stack("uint8") + 7, stack("uint8") + 31])
    pixels = np.moveaxis(colours, 0, -1 if planar == "contig" else 1)
    sources = {}
    for number, (layout, options) in enumerate(LAYOUTS.items()):
        for compression in ["none", "lzw", "zlib"]:
            name = f"{layout.replace(' ', '_')}_{compression}"
            options = options | {"photometric": "rgb", "planarconfig": planar}
            options |= {"compression": compression, "predictor": number % 2 == 0, "metadata": None if number % 2 else {}}
            path = tmp_path / (name if compression == "zlib" else f"{name}.tif")
            sources[name] = (write(path, pixels, compression == "zlib", **options), colours)
    # Further channels, with 16 bits.
    wide = np.stack([stack("uint16") + k for k in range(5)])
    options = {"photometric": "minisblack", "planarconfig": planar, "compression": "lzw", "predictor": True}
    moved = np.moveaxis(wide, 0, -1 if planar == "contig" else 1)
    sources["wide"] = (write(tmp_path / "wide", moved, True, **options), wide)
    # Channels in pages, sections and channels the fastest.
    two = colours[:2]
    tifffile.imwrite(tmp_path / "zc.ome.tif", np.moveaxis(two, 0, 1), metadata={"axes": "ZCYX"}, compression="zlib")
    tifffile.imwrite(tmp_path / "cz.ome.tif", two, metadata={"axes": "CZYX"}, tile=(16, 16))
    tifffile.imwrite(tmp_path / "ij.tif", np.moveaxis(two, 0, 1), imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite(tmp_path / "shaped.tif", two, metadata={"axes": "CZYX"})
    tifffile.imwrite(tmp_path / "shaped_zc.tif", np.moveaxis(two, 0, 1), metadata={"axes": "ZCYX"}, truncate=True)
    for name in ["zc.ome", "cz.ome", "ij", "shaped", "shaped_zc"]:
        sources[name.replace(".", "_")] = (f"{name}.tif", two)
    check_arrays(tmp_path, sources)


def jpeg_tolerance(path):
    """How far decoders may differ: by 1 in each component, of which blue adds luma and 1.772 times chroma, and by the
    rounding of chroma that is interpolated."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        if page.photometric.name != "YCBCR":
            return 1
        return 3 if page.tags["YCbCrSubSampling"].value == (1, 1) else 4


def test_jpeg_is_decoded_with_and_without_shared_tables_and_with_every_subsampling(tmp_path):
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    smooth = zyx(((np.sin(x / 9) + np.cos(y / 7 + z / 5) + 2) * 60).astype("uint8"))
    # A multiple of the blocks of 16 pixels: decoders continue chroma differently at an edge inside a block.
    noise = np.random.default_rng(1).integers(0, 256, (12, 48, 64, 3), np.uint8)
    pictures = {"smooth": np.stack([smooth, 255 - smooth, smooth // 2 + 40], -1), "noise": noise}
    sources, layouts = {}, ["page", "tiles"]
    for picture, colours in pictures.items():
        grey = np.ascontiguousarray(colours[..., 0])
        for layout in layouts:
            options = LAYOUTS[layout] | {"compression": "jpeg"}
            name = f"grey_{picture}_{layout}"
            sources[name] = write(tmp_path / f"{name}.tif", grey, **options)
            for photometric, subsampling in itertools.product(["rgb", "ycbcr"], [(1, 1), (2, 1), (2, 2)]):
                name = f"{photometric}_{picture}_{layout}_{subsampling[0]}{subsampling[1]}"
                options |= {"photometric": photometric, "subsampling": subsampling}
                sources[name] = write(tmp_path / f"{name}.tif", colours, **options)
        # libtiff writes tables that all strips share.
        for name, values in {f"pillow_grey_{picture}": grey, f"pillow_rgb_{picture}": colours}.items():
            (tmp_path / name).mkdir()
            for z, section in enumerate(values):
                Image.fromarray(section).save(tmp_path / name / f"{z}.tif", compression="jpeg", quality=90)
            with tifffile.TiffFile(tmp_path / name / "0.tif") as file:
                assert file.pages[0].jpegtables
            sources[name] = name
    # RGB whose JPEG does not say so: by their numbers 1, 2 and 3 the components could be YCbCr.
    (tmp_path / "numbered").mkdir()
    for file in (tmp_path / "pillow_rgb_smooth").iterdir():
        data = file.read_bytes()
        for frame_or_scan in [b"\x03R\x11\0G\x11\0B\x11\0", b"\x03R\0G\0B\0"]:
            assert data.count(frame_or_scan) == 1
            data = data.replace(frame_or_scan, frame_or_scan.translate(bytes.maketrans(b"RGB", b"\1\2\3")))
        (tmp_path / "numbered" / file.name).write_bytes(data)
    assert tifffile.TiffFile(tmp_path / "numbered/0.tif").pages[0].photometric == 2
    sources["numbered"] = "numbered"
    read, tolerances = {}, {}
    for name, source in sources.items():
        path = tmp_path / source
        files = sorted(path.glob("*.tif"), key=lambda p: int(p.stem)) if path.is_dir() else [path]
        values = tifffile.imread(files if path.is_dir() else path)
        read[name] = (source, values if values.ndim == 3 else np.moveaxis(values, -1, 0))
        tolerances[name] = jpeg_tolerance(files[0])
    assert set(tolerances.values()) == {1, 3, 4}
    check_arrays(tmp_path, read, tolerances=tolerances)


def test_files_of_pillow_and_libtiff_are_read(tmp_path):
    sources = {}
    for mode, kind in {"L": "uint8", "I;16": "uint16", "I": "int32", "F": "float32"}.items():
        for compression in ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "tiff_deflate"]:
            name = f"{kind}_{compression}"
            sections = [Image.fromarray(section) for section in stack(kind)]
            assert {section.mode for section in sections} == {mode}
            options = {"save_all": True, "append_images": sections[1:], "compression": compression}
            sections[0].save(tmp_path / f"{name}.tif", **options)
            read = tifffile.imread(tmp_path / f"{name}.tif")
            np.testing.assert_array_equal(read, stack(kind))
            sources[name] = (f"{name}.tif", read)
    check_arrays(tmp_path, sources)


def test_values_are_not_changed_by_colours(tmp_path):
    values = stack("uint8")
    tifffile.imwrite(tmp_path / "white.tif", values, photometric="miniswhite", compression="lzw")
    palette = np.arange(768, dtype="uint16").reshape(3, 256) * 85
    tifffile.imwrite(tmp_path / "palette.tif", values, photometric="palette", colormap=palette)
    assert tifffile.TiffFile(tmp_path / "palette.tif").pages[0].photometric == 3
    check_arrays(tmp_path, {name: (f"{name}.tif", values) for name in ["white", "palette"]})


def test_the_voxel_size_comes_from_ome_and_image_j(tmp_path):
    values = stack()
    for name, metadata in {
        "nm": {"PhysicalSizeX": 4, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 4, "PhysicalSizeYUnit": "nm"},
        "um": {"PhysicalSizeX": 0.004, "PhysicalSizeY": 0.004, "PhysicalSizeYUnit": "µm"},
    }.items():
        metadata |= {"axes": "ZYX", "PhysicalSizeZ": 400, "PhysicalSizeZUnit": "Å"}
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", values, metadata=metadata)
    for unit, x, z in [("um", 250, 0.04), ("micron", 250, 0.04), ("\\u00B5m", 250, 0.04), ("nm", 0.25, 40), ("mm", 250_000, 4e-5)]:
        metadata = {"axes": "ZYX", "unit": unit, "spacing": z}
        tifffile.imwrite(tmp_path / f"ij_{len(unit)}{unit[-2]}.tif", values, imagej=True, metadata=metadata, resolution=(x, x))
    metadata = {"axes": "ZYX", "unit": "um", "zunit": "nm", "spacing": 40}
    tifffile.imwrite(tmp_path / "unit_of_z.tif", values, imagej=True, metadata=metadata, resolution=(250, 250))
    # Java writes the character of a byte as this byte, which is no UTF-8.
    metadata = {"axes": "ZYX", "unit": "@m", "spacing": 0.04}
    tifffile.imwrite(tmp_path / "latin.tif", values, imagej=True, metadata=metadata, resolution=(250, 250))
    replace_bytes(tmp_path / "latin.tif", b"unit=@m", b"unit=\xb5m")
    files = sorted(tmp_path.glob("*.tif"))
    assert len(files) == 9
    sources = {file.name.replace(".", "_"): (file.name, values) for file in files}
    check_arrays(tmp_path, sources, layers={name: {"voxel_offset": ORIGIN} for name in sources})
    tifffile.imwrite(tmp_path / "flat.tif", values, imagej=True, metadata={"axes": "ZYX", "unit": "um"}, resolution=(250, 250))
    message = job_error(tmp_path, "flat.tif")
    assert "flat.tif states pixels of 4 x 4 nm, but no distance between sections" in message
    assert '"layers": { "img": { "resolution": [4, 4, 40]' in message
    tifffile.imwrite(tmp_path / "inches.tif", values, resolution=(72, 72), resolutionunit="INCH")
    assert "states no voxel size in nm" in job_error(tmp_path, "inches.tif")


def replace_bytes(path, old, new):
    data = path.read_bytes()
    assert data.count(old) == 1 and len(old) == len(new)
    path.write_bytes(data.replace(old, new))


def test_image_j_stacks_beyond_4_gb_have_one_directory(tmp_path):
    values = stack()
    for name, options in {"imagej": {"imagej": True, "metadata": {"axes": "ZYX"}}, "shaped": {"truncate": True}}.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", values, **options)
    keep_first_directory(tmp_path / "imagej.tif")
    channels = np.stack([values, values + np.uint16(3)])
    tifffile.imwrite(tmp_path / "channels.tif", np.moveaxis(channels, 0, 1), imagej=True, metadata={"axes": "ZCYX"})
    keep_first_directory(tmp_path / "channels.tif")
    for name in ["imagej", "shaped", "channels"]:
        with tifffile.TiffFile(tmp_path / f"{name}.tif") as file:
            assert file.fstat.st_size > 11 * file.pages[0].nbytes and file.pages[0].offset < 1000
            assert file.series[0].is_multifile is False
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "imagej.tif"), values)
    sources = {name: (f"{name}.tif", values) for name in ["imagej", "shaped"]} | {"channels": ("channels.tif", channels)}
    check_arrays(tmp_path, sources)
    whole = (tmp_path / "imagej.tif").read_bytes()
    first = tifffile.TiffFile(tmp_path / "imagej.tif").pages[0]
    (tmp_path / "imagej.tif").write_bytes(whole[: first.dataoffsets[0] + 11 * first.nbytes])
    message = job_error(tmp_path, "imagej.tif", layer=PLACED)
    assert "states 12 pages of 2880 bytes" in message and "truncated" in message


def test_pages_that_were_split_from_a_stack_of_image_j_are_sections(tmp_path):
    """Each still has the description of the whole stack. A file that does have all pages is no section."""
    values = stack()
    tifffile.imwrite(tmp_path / "whole.tif", values, imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(tmp_path / "whole.tif") as file:
        description = file.pages[0].description
    assert "images=12" in description
    folder = tmp_path / "split"
    folder.mkdir()
    for z, section in enumerate(values):
        tifffile.imwrite(folder / f"{z}.tif", section, description=description, metadata=None)
    check_arrays(tmp_path, {"split": ("split", values)})
    keep_first_directory(tmp_path / "whole.tif")
    (tmp_path / "whole.tif").rename(folder / "0.tif")
    message = job_error(tmp_path, "split", layer=PLACED)
    assert f"{folder}/0.tif: found several pages, expected one" in message


def keep_first_directory(path):
    """Makes the first directory of a classic file the last one."""
    data = bytearray(path.read_bytes())
    order = "<" if data[:2] == b"II" else ">"
    (offset,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, offset)
    struct.pack_into(f"{order}I", data, offset + 2 + 12 * count, 0)
    path.write_bytes(data)


def test_sections_are_ordered_by_the_number_in_their_names(tmp_path):
    values = stack()
    folder = tmp_path / "sections"
    write(folder, values, folder=True)
    assert sorted(p.name for p in folder.iterdir())[:2] == ["z100.tif", "z101.tif"]
    (folder / "._z95.tif").write_bytes(b"macOS")
    (folder / "notes.txt").write_text("not a section")
    for number, section in enumerate(values):
        for channel in [0, 1]:
            tifffile.imwrite(tmp_path / f"s{number}_ch{channel:02}.tif", section + np.uint16(channel))
    sources = {
        "plain": ("sections", values),
        "named": ("sections|tiff:", values),
        "url": (f"file://{folder}", values),
        "pattern": ("sections/z*.tif", values),
        "ch0": ("*_ch00.tif", values),
        "ch1": ("*_ch01.tif|tiff:", values + np.uint16(1)),
    }
    check_arrays(tmp_path, sources)
    pointshard("check", tmp_path / "out", "--source")
    message = job_error(tmp_path, f"{tmp_path}|tiff:", layer=PLACED)
    assert "2 numbers differ" in message and "|tiff:`" in message
    (folder / "z100.tif").rename(tmp_path / "lost.tif")
    message = job_error(tmp_path, "sections", layer=PLACED)
    assert f"{folder}: section 100 is missing between `z99.tif` and `z101.tif`" in message
    (tmp_path / "lost.tif").rename(folder / "z100.tif")
    (folder / "z0100.tif").write_bytes((folder / "z100.tif").read_bytes())
    assert "`z0100.tif` and `z100.tif` for section 100" in job_error(tmp_path, "sections", layer=PLACED)


def test_sections_of_another_shape_type_or_number_of_pages_are_errors_that_name_the_file(tmp_path):
    for name, section in {
        "width": np.zeros((36, 41), "uint16"),
        "height": np.zeros((37, 40), "uint16"),
        "type": np.zeros((36, 40), "uint8"),
        "channels": np.zeros((36, 40, 3), "uint16"),
        "pages": np.zeros((2, 36, 40), "uint16"),
        "truncated": None,
    }.items():
        folder = tmp_path / name
        write(folder, stack(), folder=True, compression="zlib")
        if section is None:
            data = (folder / "z101.tif").read_bytes()
            (folder / "z101.tif").write_bytes(data[: len(data) - 40])
        else:
            tifffile.imwrite(folder / "z101.tif", section)
        message = job_error(tmp_path, name, layer=PLACED)
        assert f"{folder}/z101.tif" in message, message
        expected = {"truncated": "truncated", "pages": "several pages"}.get(name, "40 x 36 pixels of uint16 with 1 channel(s)")
        assert expected in message, message
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for shape in [(36, 40), (36, 40), (18, 20)]:
            file.write(np.ones(shape, "uint8"), metadata=None)
    message = job_error(tmp_path, "a.tif", layer=PLACED)
    assert "a.tif, page 3: found 20 x 18 pixels, but the first page has 40 x 36" in message


def test_sections_may_be_stored_in_other_ways_than_the_first(tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for z, section in enumerate(stack()):
        layout = list(LAYOUTS.values())[z % len(LAYOUTS)]
        compression = {"compression": COMPRESSIONS[z % 4 + 1]} if z % 3 else {}
        tifffile.imwrite(folder / f"{z}.tif", section, byteorder="<>"[z % 2], bigtiff=z % 5 == 0, **compression, **layout)
    check_arrays(tmp_path, {"mixed": ("mixed", stack())})


def test_smaller_copies_masks_and_missing_chunks(tmp_path):
    values = stack("uint8")
    with tifffile.TiffWriter(tmp_path / "pyramid.ome.tif") as file:
        file.write(values, subifds=1, tile=(16, 16), metadata={"axes": "ZYX"})
        file.write(values[:, ::2, ::2], subfiletype=1, tile=(16, 16))
    with tifffile.TiffWriter(tmp_path / "thumbnails.tif") as file:
        for section in values:
            file.write(section, metadata=None)
            file.write(section[::4, ::4], subfiletype=1, metadata=None)
    sources = {"pyramid": ("pyramid.ome.tif", values), "thumbnails": ("thumbnails.tif", values)}
    tiles, strips = (slice(None), slice(16, 32), slice(16)), (slice(None), slice(15, 20))
    for name, missing, options in [
        ("sparse_zlib", tiles, {"tile": (16, 16), "compression": "zlib"}),
        ("sparse_tiles", tiles, {"tile": (16, 16)}),
        ("sparse_strips", strips, {"rowsperstrip": 5}),
    ]:
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, values, **options)
        data = bytearray(path.read_bytes())
        for entries in entries_of_chunks(path):
            for place, size in entries:
                data[place + 3 * size : place + 4 * size] = bytes(size)
        path.write_bytes(data)
        sparse = values.copy()
        sparse[missing] = 0
        np.testing.assert_array_equal(tifffile.imread(path), sparse)
        sources[name] = (path.name, sparse)
    check_arrays(tmp_path, sources)


def entries_of_chunks(path):
    """For each page, the positions in the file of the offsets and of the lengths of its chunks, and the bytes of a number."""
    with tifffile.TiffFile(path) as file:
        file.pages.useframes = False
        for page in file.pages:
            tags = [page.tags.get(f"Tile{name}") or page.tags[f"Strip{name}"] for name in ["Offsets", "ByteCounts"]]
            yield [(tag.valueoffset, {3: 2, 4: 4}[tag.dtype]) for tag in tags]


def test_raw_strips_may_be_in_any_order(tmp_path):
    values = stack()
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, rowsperstrip=5)
    data = bytearray(path.read_bytes())
    strip_bytes = 5 * 40 * 2
    for (place, size), _ in entries_of_chunks(path):
        assert size == 4
        second, fourth = (struct.unpack_from("<I", data, place + size * k)[0] for k in (1, 3))
        strips = [bytes(data[start : start + strip_bytes]) for start in (second, fourth)]
        for start, strip in zip((fourth, second), strips):
            data[start : start + strip_bytes] = strip
        struct.pack_into("<I", data, place + size, fourth)
        struct.pack_into("<I", data, place + 3 * size, second)
    path.write_bytes(data)
    np.testing.assert_array_equal(tifffile.imread(path), values)
    check_arrays(tmp_path, {"a": ("a.tif", values)})


def test_pages_that_are_frames_or_channels_by_mistake_can_be_read_as_sections(tmp_path):
    values = stack()
    tifffile.imwrite(tmp_path / "frames.tif", values, imagej=True, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "channels.tif", values, imagej=True)
    tifffile.imwrite(tmp_path / "frames.ome.tif", values, metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "unnamed.tif", values.reshape(6, 2, 36, 40))
    names = {"frames": "12 frames", "channels": "12 channels", "frames.ome": "12 frames", "unnamed": "[6, 2, 36, 40]"}
    for name, expected in names.items():
        message = job_error(tmp_path, f"{name}.tif", layer=PLACED)
        assert expected in message and '"axes": "zyx"' in message, message
    sources = {name.replace(".", "_"): (f"{name}.tif", values) for name in names}
    check_arrays(tmp_path, sources, {name: PLACED | {"axes": "zyx"} for name in sources})
    message = job_error(tmp_path, "frames.tif", layer=PLACED | {"axes": "czyx"})
    assert '"czyx"' in message and 'expected "zyx"' in message


def test_unsupported_files_are_errors_that_say_what_to_do(tmp_path):
    eight, sixteen = stack("uint8"), stack()
    for name, (values, options, expected) in {
        "lzma": (sixteen, {"compression": "lzma"}, "34925 (LZMA)"),
        "jpeg2000": (sixteen, {"compression": "jpeg2000"}, "34712 (JPEG 2000)"),
        "jxl": (eight, {"compression": "jpegxl"}, "50002 (JPEG XL)"),
        "lerc": (sixteen, {"compression": "lerc"}, "34887 (LERC)"),
        "bits": (voxels("bool").T, {}, "values of 1 bit"),
        "half": (sixteen.astype("float16"), {}, "floating point values of 16 bit"),
        "complex": (sixteen.astype("complex64"), {}, "complex values of 64 bit"),
    }.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", values, **options)
        message = job_error(tmp_path, f"{name}.tif", code=1, layer=PLACED)
        assert expected in message and f"{tmp_path}/{name}.tif" in message, message
        assert "tiffcp -c lzw" in message or "convert the file" in message
    tifffile.imwrite(tmp_path / "stk.tif", sixteen[0], extratags=[(33629, 4, 2, (1, 2), True)])
    assert "MetaMorph" in job_error(tmp_path, "stk.tif", layer=PLACED)
    (tmp_path / "text.tif").write_text("This is no TIFF file.")
    assert "found no TIFF signature" in job_error(tmp_path, "text.tif", layer=PLACED)
    (tmp_path / "empty.tif").write_bytes(b"")
    assert "found 0 bytes" in job_error(tmp_path, "empty.tif", layer=PLACED)
    assert "missing.tif does not exist" in job_error(tmp_path, "missing.tif", layer=PLACED)
    (tmp_path / "none").mkdir()
    assert "found no TIFF file in it" in job_error(tmp_path, "none|tiff:", layer=PLACED)
    assert "found no TIFF file in it" in job_error(tmp_path, "none/*.tif", layer=PLACED)
    with tifffile.TiffWriter(tmp_path / "images.ome.tif") as file:
        for _ in range(2):
            file.write(sixteen, metadata={"axes": "ZYX"})
    assert "several images" in job_error(tmp_path, "images.ome.tif", layer=PLACED)


def test_a_folder_in_a_bucket_is_listed_and_read(tmp_path, moto, s3):
    values = stack("uint8")
    write(tmp_path / "sections", values, folder=True, tile=(16, 16), compression="lzw")
    write(tmp_path / "pages.tif", values, compression="lzw")
    (tmp_path / "upload").mkdir()
    (tmp_path / "sections").rename(tmp_path / "upload/sections")
    (tmp_path / "pages.tif").rename(tmp_path / "upload/pages.tif")
    upload_objects(moto.url, "tiff", tmp_path / "upload")
    names = ["sections", "sections|tiff:", "sections/z*.tif", "pages.tif", "pages.tif|tiff:"]
    sources = {f"a{number}": (f"{s3.root}/tiff/{name}", values) for number, name in enumerate(names)}
    check_arrays(tmp_path, sources, env=s3.env)


def test_a_file_on_a_server_is_read_by_ranges(tmp_path):
    values = zyx(np.tile(voxels("uint8"), (8, 8, 1)))
    (tmp_path / "www").mkdir()
    tifffile.imwrite(tmp_path / "www/a.tif", values, tile=(64, 64), compression="zlib")
    tifffile.imwrite(tmp_path / "www/raw.tif", values)
    nginx = Nginx(tmp_path, {"files": static(tmp_path / "www")})
    try:
        url = nginx.url("files")
        sources = {"tiles": (f"{url}/a.tif", values), "raw": (f"{url}/raw.tif|tiff:", values)}
        check_arrays(tmp_path, sources)
        requests = [r for r in nginx.requests("files") if r.method == "GET"]
        message = job_error(tmp_path, f"{url}/sections|tiff:", layer=PLACED)
    finally:
        nginx.stop()
    assert requests and all(r.status == 206 for r in requests)
    # Each section is read for the codec and for the shards. The structure takes a few requests when a section is read.
    raw = [r for r in requests if r.path.startswith("/raw.tif")]
    sections = [r.range for r in raw if r.body_bytes == 288 * 320]
    assert len(sections) <= 2 * len(set(sections)) and len(raw) <= 4 * len(values)
    assert "cannot be listed" in message


def test_a_file_that_is_deleted_while_it_is_read_is_an_error(tmp_path):
    """Missing chunks are zeros, but a missing file is not."""
    values = zyx(np.tile(voxels("uint8"), (8, 8, 1)))
    (tmp_path / "www").mkdir()
    tifffile.imwrite(tmp_path / "www/a.tif", values)
    deleted = []

    def fault(request):
        if request.range and request.range[1] - request.range[0] == values[0].size:
            deleted.append(request)
            return status(404)

    with FaultyServer(tmp_path / "www", fault) as server:
        message = job_error(tmp_path, f"{server.url}/a.tif", code=1, layer=PLACED)
        assert deleted and f"{server.url}/a.tif does not exist" in message, message


def test_damaged_files_never_panic(tmp_path):
    random = np.random.default_rng(7)
    results = set()
    for number in range(30):
        kind = ["uint16", "float32", "uint8"][number % 3]
        compression = ["lzw", "zstd", "zlib", "packbits", "jpeg" if kind == "uint8" else "none"][number % 5]
        options = {"compression": compression, "predictor": number % 2 == 0, "bigtiff": number % 4 == 1}
        write(tmp_path / "a.tif", stack(kind), **options, rowsperstrip=7)
        damaged = bytearray((tmp_path / "a.tif").read_bytes())
        if number % 6 == 0:
            damaged = damaged[: random.integers(len(damaged))]
        else:
            for at in random.integers(400 if number % 2 else len(damaged), size=1 + number % 3):
                damaged[at] = random.choice([0, 255, damaged[at] ^ 1, random.integers(256)])
        (tmp_path / "a.tif").write_bytes(damaged)
        results.add(run_damaged(tmp_path))
    assert results >= {0, 1}


def run_damaged(folder):
    config = job(folder, "a.tif", ORIGIN, layer=PLACED)
    try:
        pointshard("preprocess", config, "--out", folder / "out", "--threads", "1", "--quiet", "--force", "--memory", "200MiB")
        return 0
    except AssertionError as failed:
        text = str(failed)
        assert "panicked" not in text and "exit code 101" not in text, text
        return 1


def test_the_check_against_the_source_reads_it_again(tmp_path):
    write(tmp_path / "sections", stack(), folder=True, compression="lzw")
    check_arrays(tmp_path, {"img": ("sections", stack())})
    pointshard("check", tmp_path / "out", "--source")
    # At the centre of the first window.
    path = tmp_path / "sections/z101.tif"
    tifffile.imwrite(path, tifffile.imread(path) + np.uint16(1), compression="lzw")
    pointshard("check", tmp_path / "out", "--source", code=1)


def test_other_names_or_positions_of_pages_are_another_source(tmp_path):
    """An output is not continued with another file, whose first page may be the same."""
    values = stack()
    write(tmp_path / "sections", values, folder=True)
    write(tmp_path / "pages.tif", values, compression="zlib")

    def renamed():
        for path in list((tmp_path / "sections").iterdir()):
            path.rename(path.with_name(f"s{path.name}"))

    def rewritten():
        other = values.copy()
        other[1:] = 7
        write(tmp_path / "pages.tif", other, compression="zlib")

    for source, change in {"sections": renamed, "pages.tif": rewritten}.items():
        out = tmp_path / f"out_{source}"
        config = job(tmp_path, source, ORIGIN, layer=PLACED)
        pointshard("preprocess", config, "--out", out, "--quiet")
        assert "all 1 already present" in pointshard("preprocess", config, "--out", out).stdout
        change()
        message = error_message("preprocess", config, "--out", out)
        assert f"source `img` ({tmp_path}/{source}): its metadata" in message and "has changed" in message, message


def test_labels_of_a_stack_are_masked_by_object(tmp_path):
    labels = (1 + np.arange(12)[:, None, None] // 4 + 10 * (np.arange(40) // 8)).astype("uint32") + np.zeros((1, 36, 1), "uint32")
    write(tmp_path / "seg", labels, folder=True, compression="zlib", predictor=True)
    path = job(tmp_path, "seg", ORIGIN, layer=PLACED)
    config = json.loads(path.read_text())
    config["arrays"] = {"seg": {"layer": "img"}, "mask": {"layer": "img", "transform": {"object_at": {"point": "anchor"}}}}
    path.write_text(json.dumps(config))
    pointshard("preprocess", path, "--out", tmp_path / "out", "--quiet")
    group = zarr.open_group(tmp_path / "out/train.zarr", mode="r")
    volume = Volume(labels.T, ORIGIN, RESOLUTION)
    centers = points(ORIGIN, RESOLUTION)
    for annotation, mask in zip(group["annotation_id"][:], group["mask"][:], strict=True):
        window = volume.cut(first_voxel(centers[annotation], RESOLUTION, WINDOW), WINDOW)
        np.testing.assert_array_equal(mask, window == volume.at(centers[annotation]))


def test_init_drafts_a_config_for_stacks(tmp_path):
    values = zyx(np.tile(voxels("uint8"), (3, 3, 3)))
    metadata = {"axes": "ZYX", "PhysicalSizeX": 4, "PhysicalSizeY": 4, "PhysicalSizeZ": 40}
    metadata |= {f"PhysicalSize{axis}Unit": "nm" for axis in "XYZ"}
    for name in ["em.ome.tif", "cells.ome.tif"]:
        kind = "uint8" if name.startswith("em") else "uint32"
        tifffile.imwrite(tmp_path / name, values.astype(kind), metadata=metadata)
    rows = [f"{i},{200 + i},{200 + 2 * i},{600 + i}" for i in range(20)]
    (tmp_path / "points.csv").write_text("\n".join(["id,x,y,z", *rows]))
    out = tmp_path / "config.json"
    pointshard("init", tmp_path / "em.ome.tif", tmp_path / "cells.ome.tif", tmp_path / "points.csv", "--out", out)
    config = json.loads(out.read_text())
    assert config["resolution"] == list(RESOLUTION)
    layers = config["collection"]["boxes"]["layers"]
    assert {name: source.rsplit("/")[-1] for name, source in layers.items()} == {"em.ome": "em.ome.tif", "cells.ome": "cells.ome.tif"}
    (tmp_path / "layers").mkdir()
    write(tmp_path / "layers/sections", values, folder=True)
    message = error_message("init", tmp_path / "layers", "--out", tmp_path / "other.json", code=1)
    assert "states no voxel size in nm" in message and '"layers": { "sections": { "resolution"' in message
    message = error_message("init", tmp_path / "missing.tif", "--out", tmp_path / "third.json")
    assert "missing.tif" in message


def jpeg_with_a_scan_per_component(planes, sampling):
    """A baseline JPEG of grey ones: their tables and their data, with a frame of three components."""

    def parts(plane):
        file = io.BytesIO()
        Image.fromarray(plane).save(file, "jpeg", quality=90)
        data, at, tables = file.getvalue(), 2, {}
        while data[at + 1] != 0xDA:
            length = 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
            tables[data[at + 1]] = tables.get(data[at + 1], b"") + data[at : at + length]
            at += length
        return tables, data[at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0] : -2]

    tables, _ = parts(planes[0])
    height, width = planes[0].shape
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3)
    frame += b"".join(bytes([i + 1, factors, 0]) for i, factors in enumerate(sampling))
    scans = [b"\xff\xda" + struct.pack(">HBBB", 8, 1, i + 1, 0) + b"\0\x3f\0" + parts(plane)[1] for i, plane in enumerate(planes)]
    return b"\xff\xd8" + tables[0xDB] + frame + tables[0xC4] + b"".join(scans) + b"\xff\xd9"


@pytest.mark.parametrize("sampling", [(0x11, 0x11, 0x11), (0x22, 0x11, 0x11)], ids=["full", "subsampled"])
def test_a_jpeg_with_a_scan_per_component_is_an_error(tmp_path, sampling):
    """zune-jpeg decodes it to wrong colours. A precomputed chunk is such a file without a container."""
    noise = np.random.default_rng(1).integers(0, 256, (3, 48, 64), np.uint8)
    step = 2 if sampling[0] == 0x22 else 1
    planes = [noise[0], *(np.ascontiguousarray(plane[::step, ::step]) for plane in noise[1:])]
    data = jpeg_with_a_scan_per_component(planes, sampling)
    assert np.abs(np.array(Image.open(io.BytesIO(data)).convert("YCbCr"))[..., 0] - noise[0].astype(int)).mean() < 16
    scale = {"key": "s", "resolution": RESOLUTION, "size": [64, 48, 1], "voxel_offset": [30, 20, 6], "chunk_sizes": [[64, 48, 1]], "encoding": "jpeg"}
    (tmp_path / "layer/s").mkdir(parents=True)
    (tmp_path / "layer/info").write_text(json.dumps({"type": "image", "data_type": "uint8", "num_channels": 3, "scales": [scale]}))
    (tmp_path / "layer/s/30-94_20-68_6-7").write_bytes(data)
    config = job(tmp_path, "precomputed://./layer", ORIGIN)
    assert "has a scan for each component" in error_message("preprocess", config, "--out", tmp_path / "out", code=1)
