"""Zarr metadata of other writers: members that decoding does not need are accepted in any form; others are errors with the
file, the member, the value and the allowed values. Arrays are written with zarr-python and numcodecs."""

import json

import numcodecs
import numpy as np
import pytest
import zarr
from one_array_job import RESOLUTION, check_windows, job_error, voxels
from volumes import Volume

LAYER = {"resolution": RESOLUTION, "axes": "zyx"}


def write_v2(folder, dtype="uint16", fill_value=0, missing=False, **how):
    """A v2 array and its values; with `missing` its first chunk is missing."""
    values = voxels(dtype)
    how = {"compressors": None, "filters": None, "order": "C", **how}
    array = zarr.create_array(
        folder, shape=values.shape[::-1], chunks=(5, 16, 16), dtype=dtype, zarr_format=2, fill_value=fill_value, **how
    )
    array[:] = values.transpose(2, 1, 0)
    if missing:
        (folder / "0.0.0").unlink()
        values[:16, :16, :5] = fill_value or 0
    return Volume(values, (0, 0, 0), RESOLUTION)


def write_v3(folder, dtype="uint16", fill_value=0, missing=False, **how):
    values = voxels(dtype)
    how = {"compressors": None, **how}
    array = zarr.create_array(
        folder, shape=values.shape[::-1], chunks=(5, 16, 16), dtype=dtype, zarr_format=3, fill_value=fill_value, **how
    )
    array[:] = values.transpose(2, 1, 0)
    if missing:
        (folder / "c/0/0/0").unlink()
        values[:16, :16, :5] = fill_value or 0
    return Volume(values, (0, 0, 0), RESOLUTION)


def change(file, *changes):
    """Sets members of a JSON document: (path, value). `None` writes null, REMOVE removes the member."""
    document = json.loads(file.read_text())
    for path, value in changes:
        at = document
        *parents, last = path
        for step in parents:
            at = at[step]
        if value is REMOVE:
            del at[last]
        else:
            at[last] = value
    file.write_text(json.dumps(document))


REMOVE = object()
COMPRESSORS = {
    "gzip": numcodecs.GZip(5),
    "zlib": numcodecs.Zlib(5),
    "bz2": numcodecs.BZ2(5),
    "zstd": numcodecs.Zstd(3),
    "blosc": numcodecs.Blosc("lz4", shuffle=1),
}


@pytest.mark.parametrize("level", [-1, None, REMOVE, 0, 99, "9"], ids=["-1", "null", "missing", "0", "99", "text"])
@pytest.mark.parametrize("codec", COMPRESSORS)
def test_a_compression_level_does_not_affect_decoding(tmp_path, codec, level):
    volume = write_v2(tmp_path / "img", compressors=COMPRESSORS[codec])
    key = "clevel" if codec == "blosc" else "level"
    change(tmp_path / "img/.zarray", (["compressor", key], level))
    check_windows(tmp_path, "img", volume, layer=LAYER)


@pytest.mark.parametrize("shuffle", [0, 1, 2])
@pytest.mark.parametrize("cname", ["lz4", "zstd", "blosclz", "zlib"])
def test_blosc_options_in_the_metadata_do_not_affect_decoding(tmp_path, cname, shuffle):
    volume = write_v2(tmp_path / "img", compressors=numcodecs.Blosc(cname, shuffle=shuffle))
    members = ["blocksize", "shuffle", "clevel", "cname"]
    change(tmp_path / "img/.zarray", *((["compressor", key], REMOVE) for key in members), (["compressor", "typesize"], 7))
    check_windows(tmp_path, "img", volume, layer=LAYER)


ONE_BYTE = [(">u1", "uint8"), ("<u1", "uint8"), ("=u1", "uint8"), ("<i1", "int8"), (">i1", "int8"), ("<b1", "bool"), (">b1", "bool")]


@pytest.mark.parametrize(("written", "dtype"), ONE_BYTE)
def test_one_byte_types_may_have_any_byte_order(tmp_path, written, dtype):
    volume = write_v2(tmp_path / "img", dtype, compressors=numcodecs.Zlib(1))
    change(tmp_path / "img/.zarray", (["dtype"], written))
    check_windows(tmp_path, "img", volume, layer=LAYER)


FILLS = {
    "a float": ("uint8", 0.0, 0),
    "a whole float": ("uint16", 7.0, 7),
    "text": ("uint8", "0", 0),
    "text of a float": ("int16", "-3.0", -3),
    "null": ("uint16", None, 0),
    "missing": ("uint16", REMOVE, 0),
    "false": ("uint8", False, 0),
    "a number for a boolean": ("bool", 0, False),
    "a float for a boolean": ("bool", 1.0, True),
    "null for a boolean": ("bool", None, False),
    "nan as Python writes it": ("float32", "nan", np.nan),
    "an integer for a float": ("float32", 3, 3.0),
    "text for a float": ("float64", "0.5", 0.5),
    "null for a float": ("float32", None, 0.0),
    "the largest": ("uint64", 2**64 - 1, 2**64 - 1),
}


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("case", FILLS)
def test_every_exact_form_of_a_fill_value_is_accepted(tmp_path, case, version):
    dtype, written, means = FILLS[case]
    write, file = (write_v2, ".zarray") if version == 2 else (write_v3, "zarr.json")
    volume = write(tmp_path / "img", dtype, fill_value=means, missing=True)
    change(tmp_path / "img" / file, (["fill_value"], written))
    # Voxels outside have the fill value too.
    cut = volume.cut
    volume.cut = lambda start, shape: cut(start, shape, fill=means)
    check_windows(tmp_path, "img", volume, layer=LAYER)


V2 = {
    "a version written as a float": [(["zarr_format"], 2.0)],
    "a shape of floats": [(["shape"], [12.0, 36.0, 40.0]), (["chunks"], [5.0, 16.0, 16.0])],
    "a small letter": [(["order"], "c")],
    "no filters": [(["filters"], [])],
    "without filters": [(["filters"], REMOVE)],
    "without compressor": [(["compressor"], REMOVE)],
    "without separator": [(["dimension_separator"], REMOVE)],
    "separator null": [(["dimension_separator"], None)],
    "a member that nobody knows": [(["generator"], {"name": "jzarr"})],
}


@pytest.mark.parametrize("case", V2)
def test_other_forms_of_v2_members_are_accepted(tmp_path, case):
    volume = write_v2(tmp_path / "img")
    change(tmp_path / "img/.zarray", *V2[case])
    check_windows(tmp_path, "img", volume, layer=LAYER)


def test_lower_case_f_order_is_accepted(tmp_path):
    volume = write_v2(tmp_path / "img", order="F")
    change(tmp_path / "img/.zarray", (["order"], "f"))
    check_windows(tmp_path, "img", volume, layer=LAYER)


V3 = {
    "attributes null": [(["attributes"], None)],
    "without attributes": [(["attributes"], REMOVE)],
    "without transformers": [(["storage_transformers"], REMOVE)],
    "transformers null": [(["storage_transformers"], None)],
    "dimension names null": [(["dimension_names"], None)],
    "a version written as a float": [(["zarr_format"], 3.0)],
    "a shape of floats": [(["shape"], [12.0, 36.0, 40.0]), (["chunk_grid", "configuration", "chunk_shape"], [5.0, 16.0, 16.0])],
    "the old name of bytes": [(["codecs", 0, "name"], "endian")],
    "without separator": [(["chunk_key_encoding"], {"name": "default"})],
    "an encoding without configuration": [(["chunk_key_encoding"], "default")],
    "what need not be understood": [(["origin"], {"must_understand": False, "x": 1})],
    "consolidated null": [(["consolidated_metadata"], None)],
}


@pytest.mark.parametrize("case", V3)
def test_other_forms_of_v3_members_are_accepted(tmp_path, case):
    volume = write_v3(tmp_path / "img")
    change(tmp_path / "img/zarr.json", *V3[case])
    check_windows(tmp_path, "img", volume, layer=LAYER)


@pytest.mark.parametrize("codec", ["bytes", {"name": "bytes"}, {"name": "bytes", "configuration": None}, {"name": "bytes", "configuration": {"endian": None}}])
def test_one_byte_types_need_no_endian(tmp_path, codec):
    volume = write_v3(tmp_path / "img", "uint8")
    change(tmp_path / "img/zarr.json", (["codecs"], [codec]))
    check_windows(tmp_path, "img", volume, layer=LAYER)


CODECS = {
    "zstd": (numcodecs.Zstd(3), {"name": "zstd", "configuration": {"level": 3}}),
    "zstd without options": (numcodecs.Zstd(3), "zstd"),
    "gzip, level -1": (numcodecs.GZip(5), {"name": "gzip", "configuration": {"level": -1}}),
    "blosc": (numcodecs.Blosc("zstd", shuffle=2), {"name": "blosc", "configuration": {"cname": "zstd", "clevel": 5}}),
    "blosc with numbers": (numcodecs.Blosc("lz4"), {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}}),
    "numcodecs.zstd": (numcodecs.Zstd(3), {"name": "numcodecs.zstd", "configuration": {"level": 3}}),
    "numcodecs.gzip": (numcodecs.GZip(5), {"name": "numcodecs.gzip", "configuration": {"level": 5}}),
    "numcodecs.zlib": (numcodecs.Zlib(5), {"name": "numcodecs.zlib", "configuration": {"level": -1}}),
    "numcodecs.bz2": (numcodecs.BZ2(5), {"name": "numcodecs.bz2", "configuration": {}}),
    "numcodecs.blosc": (numcodecs.Blosc("lz4"), {"name": "numcodecs.blosc", "configuration": {"cname": "lz4"}}),
    "numcodecs.crc32c": (numcodecs.CRC32C(), {"name": "numcodecs.crc32c"}),
    "numcodecs.adler32": (numcodecs.Adler32(), {"name": "numcodecs.adler32"}),
    "numcodecs.adler32 behind": (numcodecs.Adler32(location="end"), {"name": "numcodecs.adler32", "configuration": {"location": "end"}}),
    "numcodecs.fletcher32": (numcodecs.Fletcher32(), {"name": "numcodecs.fletcher32", "configuration": {}}),
    "numcodecs.shuffle": (numcodecs.Shuffle(4), {"name": "numcodecs.shuffle", "configuration": {}}),
    "numcodecs.shuffle of 2": (numcodecs.Shuffle(2), {"name": "numcodecs.shuffle", "configuration": {"elementsize": 2}}),
}  # fmt: skip


@pytest.mark.parametrize("case", CODECS)
def test_v3_codecs_are_accepted_under_both_names(tmp_path, case):
    codec, written = CODECS[case]
    volume = write_v3(tmp_path / "img")
    for chunk in (tmp_path / "img/c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(bytes(codec.encode(chunk.read_bytes())))
    little = {"name": "bytes", "configuration": {"endian": "little"}}
    change(tmp_path / "img/zarr.json", (["codecs"], [little, written]))
    check_windows(tmp_path, "img", volume, layer=LAYER)


FILTERS = {
    "adler32": numcodecs.Adler32(),
    "fletcher32": numcodecs.Fletcher32(),
}


@pytest.mark.parametrize("bare", [False, True], ids=["as written", "id alone"])
@pytest.mark.parametrize("case", FILTERS)
def test_v2_filters_are_decoded(tmp_path, case, bare):
    codec = FILTERS[case]
    volume = write_v2(tmp_path / "img", filters=[codec], compressors=numcodecs.Zlib(1))
    if bare:
        change(tmp_path / "img/.zarray", (["filters"], [{"id": codec.codec_id}]))
    check_windows(tmp_path, "img", volume, layer=LAYER)


def test_codecs_inside_shards_are_decoded(tmp_path):
    values = voxels()
    how = {"chunks": (5, 16, 16), "shards": (10, 32, 32), "compressors": zarr.codecs.ZstdCodec(level=3)}
    array = zarr.create_array(tmp_path / "img", shape=values.shape[::-1], dtype="uint16", zarr_format=3, fill_value=0, **how)
    array[:] = values.transpose(2, 1, 0)
    inner = ["codecs", 0, "configuration", "codecs", 1]
    change(
        tmp_path / "img/zarr.json",
        ([*inner, "name"], "numcodecs.zstd"),
        ([*inner, "configuration"], {"level": -1}),
        (["codecs", 0, "configuration", "index_location"], REMOVE),
        (["codecs", 0, "configuration", "chunk_shape"], [5.0, 16.0, 16.0]),
    )
    volume = Volume(values, (0, 0, 0), RESOLUTION)
    check_windows(tmp_path, "img", volume, layer=LAYER)


REFUSED_V2 = {
    "half a fill": ("uint8", ["fill_value"], 0.5, ["`fill_value`", "0.5", "from 0 to 255"]),
    "a fill that does not fit": ("uint8", ["fill_value"], 256, ["`fill_value`", "256", "from 0 to 255"]),
    "a negative fill": ("uint8", ["fill_value"], -1, ["`fill_value`", "-1", "from 0 to 255"]),
    "no number for whole numbers": ("uint16", ["fill_value"], "NaN", ["`fill_value`", "NaN", "from 0 to 65535"]),
    "a codec that is not read": ("uint16", ["compressor"], {"id": "lz4", "acceleration": 1}, ["`compressor.id`", "lz4", "zstd"]),
    "lzma": ("uint16", ["compressor"], {"id": "lzma"}, ["`compressor.id`", "lzma", "blosc"]),
    "a filter that is not read": ("uint16", ["filters"], [{"id": "delta", "dtype": "<u2"}], ["`filters[0].id`", "delta"]),
    "an order that is none": ("uint16", ["order"], "A", ["`order`", "\"A\"", "\"C\" or \"F\""]),
    "two bytes without order": ("uint16", ["dtype"], "|u2", ["`dtype`", "|u2", "<u2"]),
    "complex numbers": ("uint16", ["dtype"], "<c8", ["`dtype`", "<c8", "<f4"]),
    "a record": ("uint16", ["dtype"], [["a", "<u2"]], ["`dtype`", "<u2"]),
    "another version": ("uint16", ["zarr_format"], 1, ["`zarr_format`", "found 1", "expected 2"]),
    "a separator that is none": ("uint16", ["dimension_separator"], "_", ["`dimension_separator`", "\"_\""]),
    "a chunk of nothing": ("uint16", ["chunks"], [5, 0, 16], ["`chunks`", "[5,0,16]", "from 1"]),
    "a broken length": ("uint16", ["shape"], [12.5, 36, 40], ["`shape`", "12.5", "whole numbers"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_V2)
def test_invalid_metadata_are_an_error_with_file_and_member(tmp_path, case):
    dtype, path, value, words = REFUSED_V2[case]
    write_v2(tmp_path / "img", dtype)
    change(tmp_path / "img/.zarray", (path, value))
    message = job_error(tmp_path, "img", layer=LAYER)
    for word in [".zarray", *words]:
        assert word in message, message
    assert "Some(" not in message and "variant" not in message


LITTLE = [{"name": "bytes", "configuration": {"endian": "little"}}]
REFUSED_V3 = {
    "a codec that is not read": (["codecs", 0, "name"], "numcodecs.lz4", ["`codecs[0].name`", "numcodecs.lz4", "zstd"]),
    "a checksum before the values": (["codecs"], [*LITTLE, {"name": "numcodecs.crc32c", "configuration": {"location": "start"}}], ["`codecs[1].configuration.location`", "\"start\"", "\"end\""]),
    "no endian": (["codecs", 0, "configuration"], {}, ["`codecs[0].configuration.endian`", "\"little\" or \"big\""]),
    "a type that is not read": (["data_type"], "float16", ["`data_type`", "float16", "uint16"]),
    "an extension": (["scaling"], {"factor": 2}, ["`scaling`", "must_understand"]),
    "a transformer": (["storage_transformers"], [{"name": "x"}], ["`storage_transformers`", "none"]),
    "another grid": (["chunk_grid", "name"], "rectangular", ["`chunk_grid`", "rectangular", "regular"]),
    "another encoding": (["chunk_key_encoding", "name"], "v1", ["`chunk_key_encoding`", "v1", "\"default\" or \"v2\""]),
    "half a fill": (["fill_value"], 0.5, ["`fill_value`", "0.5", "from 0 to 65535"]),
    "names for other dimensions": (["dimension_names"], ["z", "y"], ["`dimension_names`", "3 of them"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_V3)
def test_invalid_v3_metadata_are_an_error_with_file_and_member(tmp_path, case):
    path, value, words = REFUSED_V3[case]
    write_v3(tmp_path / "img")
    change(tmp_path / "img/zarr.json", (path, value))
    message = job_error(tmp_path, "img", layer=LAYER)
    for word in ["zarr.json", *words]:
        assert word in message, message
    assert "Some(" not in message and "variant" not in message


@pytest.mark.parametrize("stored", [".", "/"])
def test_chunks_with_the_other_separator_do_not_read_as_missing(tmp_path, stored):
    encoding = {"name": "v2", "separator": stored}
    write_v2(tmp_path / "img", chunk_key_encoding=encoding)
    stated = "/" if stored == "." else "."
    change(tmp_path / "img/.zarray", (["dimension_separator"], stated))
    message = job_error(tmp_path, "img", layer=LAYER)
    for word in ["`dimension_separator`", f'"dimension_separator": "{stored}"', ".zarray", f"img/0{stored}", f"img/0{stated}"]:
        assert word in message, message


def test_chunks_with_another_key_encoding_do_not_read_as_missing(tmp_path):
    write_v3(tmp_path / "img")
    change(tmp_path / "img/zarr.json", (["chunk_key_encoding"], {"name": "v2"}))
    message = job_error(tmp_path, "img", layer=LAYER)
    for word in ["`chunk_key_encoding`", '"separator": "/"', "zarr.json"]:
        assert word in message, message


def test_nan_and_infinity_as_python_writes_them_are_accepted(tmp_path):
    """Python's `json` writes NaN and Infinity, and zarr-python reads them."""
    volume = write_v2(tmp_path / "img", "float32", fill_value=np.nan, missing=True)
    change(tmp_path / "img/.zarray", (["fill_value"], np.nan))
    assert ": NaN" in (tmp_path / "img/.zarray").read_text()
    (tmp_path / "img/.zattrs").write_text('{"_FillValue": NaN, "valid_range": [-Infinity, Infinity]}')
    cut = volume.cut
    volume.cut = lambda start, shape: cut(start, shape, fill=np.nan)
    check_windows(tmp_path, "img", volume, layer=LAYER)


@pytest.mark.parametrize("version", [2, 3])
def test_metadata_may_be_in_the_consolidated_metadata_only(tmp_path, version):
    """An image with only its consolidated metadata."""
    write, file = (write_v2, ".zarray") if version == 2 else (write_v3, "zarr.json")
    zarr.create_group(tmp_path / "img", zarr_format=version)
    volume = write(tmp_path / "img/s0")
    scale = {"type": "scale", "scale": [40.0, 4.0, 4.0]}
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    multiscales = [{"version": "0.4", "axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": [scale]}]}]
    image = {"multiscales": multiscales}
    zarr.open_group(tmp_path / "img").update_attributes(image if version == 2 else {"ome": {"version": "0.5", **image}})
    zarr.consolidate_metadata(tmp_path / "img", zarr_format=version)
    for name in ["s0/" + file, *([".zgroup", ".zattrs", "s0/.zattrs"] if version == 2 else [])]:
        (tmp_path / "img" / name).unlink()
    check_windows(tmp_path, "img", volume)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_transpose_of_v3_drafts_is_accepted(tmp_path, order):
    permutation = (0, 1, 2) if order == "C" else (2, 1, 0)
    volume = write_v3(tmp_path / "img", filters=[zarr.codecs.TransposeCodec(order=permutation)])
    transpose = {"name": "transpose", "configuration": {"order": order}}
    change(tmp_path / "img/zarr.json", (["codecs"], [transpose, {"name": "bytes", "configuration": {"endian": "little"}}]))
    check_windows(tmp_path, "img", volume, layer=LAYER)
