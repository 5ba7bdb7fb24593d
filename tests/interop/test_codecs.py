"""Codecs of arrays: independent libraries read all of them, `auto` chooses by the values, and damage is detected."""

import json
import re

import numpy as np
import pytest
from program import VNC, checked_dataset, error_message, file_digests, manifest, pointshard, vnc_collection, vnc_config
from readers import SPLITS, with_tensorstore, with_zarr

ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
CODECS = {
    "none": ("none", None),
    "aligned": ({"none": {"align_bytes": 4096}}, "aligned"),
    "zstd": ("zstd", ZSTD),
    "zstd_5": ({"zstd": {"level": 5}}, {"name": "zstd", "configuration": {"level": 5, "checksum": False}}),
    "lz4": ("lz4", ("lz4", 5, "noshuffle")),
    "blosc": ("blosc", ("zstd", 1, "shuffle")),
    "blosc_bits": ({"blosc": {"level": 3, "shuffle": "bit"}}, ("zstd", 3, "bitshuffle")),
    "blosc_plain": ({"blosc": {"shuffle": "none"}}, ("zstd", 1, "noshuffle")),
}
WINDOW = (32, 32, 8)


def arrays(codec):
    kinds = {
        "img": {"layer": "img"},
        "mask": {"layer": "label0", "transform": "nonzero"},
        "seg": {"layer": "seg"},
        "scaled": {"layer": "img", "transform": {"scale": {"multiply": 1 / 255}}},
    }
    return {name: {**array, "codec": codec} for name, array in kinds.items()}


@pytest.fixture(scope="module", params=CODECS)
def coded(request, shared, tmp_path_factory):
    """A dataset whose arrays all have one codec, and the codec in Zarr metadata. Tests must not change it."""
    codec, zarr_codec = CODECS[request.param]
    nothing = {"layer": "label0", "transform": {"equals": 200}, "codec": codec}
    out = checked_dataset(tmp_path_factory.mktemp(request.param), arrays={**arrays(codec), "nothing": nothing})
    return out, zarr_codec


def inner_codecs(out, split, name):
    metadata = json.loads((out / f"{split}.zarr/{name}/zarr.json").read_text())
    return metadata["codecs"][0]["configuration"]["codecs"]


def expected(volume, name, starts):
    layer = {"mask": "label0", "scaled": "img"}.get(name, name)
    windows = np.stack([volume(layer).cut(start, WINDOW) for start in starts])
    if name == "mask":
        return (windows != 0).astype("u1")
    return (windows.astype("f8") * (1 / 255)).astype("f4") if name == "scaled" else windows


def test_aligned_samples_begin_at_multiples_and_are_one_strided_view(shared, tmp_path):
    align = 512
    both = {"aligned": {"layer": "img", "codec": {"none": {"align_bytes": align}}}, "plain": {"layer": "img", "codec": "none"}}
    out = checked_dataset(tmp_path, arrays=both, shard_samples=8)
    window_bytes = int(np.prod(WINDOW)) + 4
    stride = -(-window_bytes // align) * align
    for split in SPLITS:
        samples = with_zarr(out, split)["plain"][:]
        for shard, first in enumerate(range(0, len(samples), 8)):
            file = (out / f"{split}.zarr/aligned/c.{shard}.0.0.0.0").read_bytes()
            index = np.frombuffer(file[-(8 * 16 + 4) : -4], "<u8").reshape(8, 2)
            offsets = index[index[:, 0] != 2**64 - 1, 0]
            assert offsets.tolist() == [i * stride for i in range(len(offsets))]
            view = np.lib.stride_tricks.as_strided(
                np.frombuffer(file, "u1"), (len(offsets), window_bytes - 4), (stride, 1)
            )
            np.testing.assert_array_equal(view.reshape(-1, *samples.shape[1:]), samples[first : first + 8])
    pointshard("check", "--source", out)
    info = pointshard("info", out).stdout
    assert "none" in info


@pytest.mark.parametrize("split", SPLITS)
def test_tensorstore_and_zarr_python_read_what_numpy_cuts(coded, volume, split):
    out, _ = coded
    group = with_zarr(out, split)
    for name in arrays("none"):
        wanted = expected(volume, name, group["start_voxel"][:])
        assert np.unique(wanted).size > 1, "all windows are equal, so the test proves nothing"
        for windows in (group[name][:], with_tensorstore(out, split, name).read().result()):
            assert windows.dtype == wanted.dtype
            np.testing.assert_array_equal(windows, wanted)
        # One by one, as trainers do.
        for i in range(0, len(wanted), 5):
            np.testing.assert_array_equal(group[name][i], wanted[i])
            np.testing.assert_array_equal(with_tensorstore(out, split, name)[i].read().result(), wanted[i])


def test_metadata_and_manifest_have_the_codec_and_the_checksum_comes_last(coded):
    out, zarr_codec = coded
    for name, value_bytes in (("img", 1), ("mask", 1), ("seg", 8), ("scaled", 4)):
        if isinstance(zarr_codec, tuple):
            cname, clevel, shuffle = zarr_codec
            options = {"cname": cname, "clevel": clevel, "shuffle": shuffle}
            output = {"name": "blosc", **options}
            written = {"name": "blosc", "configuration": {**options, "typesize": value_bytes, "blocksize": 0}}
        elif zarr_codec == "aligned":
            output, written = {"name": "none", "align_bytes": 4096}, None
        elif zarr_codec:
            output, written = {"name": "zstd", "level": zarr_codec["configuration"]["level"]}, zarr_codec
        else:
            output, written = {"name": "none"}, None
        assert manifest(out)["arrays"][name]["codec"] == output
        for split in SPLITS:
            bytes_, *rest = inner_codecs(out, split, name)
            assert bytes_["name"] == "bytes"
            assert rest == [*([written] if written else []), {"name": "crc32c"}]


def test_any_number_of_threads_gives_the_same_bytes_in_every_codec(coded, tmp_path):
    out, _ = coded
    config = out.parent / "config.json"
    pointshard("preprocess", config, "--out", tmp_path / "out", "--threads", 1)
    assert file_digests(tmp_path / "out") == file_digests(out)


def test_the_checksum_detects_a_flipped_bit_in_every_codec(coded):
    """Decoding fails, independently of the manifest."""
    out, _ = coded
    for name in arrays("none"):
        path = out / f"train.zarr/{name}/c.1.0.0.0.0"
        good = path.read_bytes()
        try:
            for byte in (0, 17, 40):
                bad = bytearray(good)
                bad[byte] ^= 4
                path.write_bytes(bad)
                with pytest.raises(ValueError):
                    with_tensorstore(out, "train", name)[3].read().result()
                report = json.loads(pointshard("check", out, "--json", "--quiet", code=1).stdout)
                hits = [f for f in report["findings"] if f["file"] == f"train.zarr/{name}/c.1.0.0.0.0"]
                assert [f["samples"] for f in hits] == [[3]], hits
        finally:
            path.write_bytes(good)


@pytest.mark.parametrize("codec", ["none", "lz4", "blosc"])
def test_both_axis_orders_have_the_same_voxels(volume, tmp_path, codec):
    out = checked_dataset(tmp_path, arrays=arrays(codec), axis_order="cxyz")
    for name in arrays(codec):
        wanted = expected(volume, name, with_zarr(out, "val")["start_voxel"][:])
        for windows in (with_zarr(out, "val")[name][:], with_tensorstore(out, "val", name).read().result()):
            np.testing.assert_array_equal(windows.transpose(0, 1, 4, 3, 2), wanted)


def test_windows_of_only_the_fill_value_take_no_space_in_any_codec(coded):
    out, _ = coded
    for split in SPLITS:
        shards = [s for s in manifest(out)["shards"] if (s["split"], s["array"]) == (split, "nothing")]
        assert shards and all(s["bytes"] == 16 * 3 + 4 for s in shards)
        for windows in (with_zarr(out, split)["nothing"][:], with_tensorstore(out, split, "nothing").read().result()):
            assert windows.shape[1:] == (1, 8, 32, 32) and not windows.any()


@pytest.fixture(scope="module")
def chosen(shared, tmp_path_factory):
    """A dataset with codecs that `auto` chose, and the output of the run."""
    folder = tmp_path_factory.mktemp("auto")
    config = vnc_config(folder, window=[64, 64, 16], arrays=arrays("auto"))
    output = pointshard("preprocess", config, "--out", folder / "out").stdout
    pointshard("check", folder / "out")
    return config, folder / "out", output


def test_auto_does_not_compress_em_and_compresses_masks(chosen):
    _, out, output = chosen
    codecs = {name: array["codec"] for name, array in manifest(out)["arrays"].items()}
    for name, bytes_ in (("img", 1), ("mask", 1), ("seg", 8), ("scaled", 4)):
        auto = codecs[name].pop("auto")
        assert (auto["windows"], auto["bytes"]) == (8, 8 * 64 * 64 * 16 * bytes_)
        share = auto["compressed_bytes"] / auto["bytes"]
        compressed = {"name": "zstd", "level": 1}
        assert codecs[name] == (compressed if share <= 2 / 3 else {"name": "none"})
        (line,) = re.findall(r"^codecs   .*$", output, re.MULTILINE)
        name_told = "zstd 1" if share <= 2 / 3 else "none"
        assert f"{name} {name_told} (auto: 8 windows compress to {100 * share:.1f} %)" in line, line
    assert codecs["img"]["name"] == "none" and codecs["mask"]["name"] == codecs["seg"]["name"] == "zstd"
    for split in SPLITS:
        assert [c["name"] for c in inner_codecs(out, split, "img")] == ["bytes", "crc32c"]
        assert [c["name"] for c in inner_codecs(out, split, "mask")] == ["bytes", "zstd", "crc32c"]


def test_the_choice_depends_on_neither_threads_nor_memory_nor_resuming(chosen, tmp_path):
    config, out, _ = chosen
    for number, options in enumerate([("--threads", 1), ("--threads", 3), ("--memory", "64MiB")]):
        pointshard("preprocess", config, "--out", tmp_path / str(number), *options)
        assert file_digests(tmp_path / str(number)) == file_digests(out)
    for lost in ("manifest.json", "train.zarr/img/c.1.0.0.0.0", "val.zarr/mask/c.0.0.0.0.0"):
        (tmp_path / "0" / lost).unlink()
    pointshard("preprocess", config, "--out", tmp_path / "0", "--threads", 2)
    assert file_digests(tmp_path / "0") == file_digests(out)


def test_auto_reports_the_compressed_size_of_eight_windows(chosen):
    """The size is the sum of eight of the written windows."""
    _, out, _ = chosen
    auto = manifest(out)["arrays"]["seg"]["codec"]["auto"]
    sizes = []
    for split in SPLITS:
        for path in sorted((out / f"{split}.zarr/seg").glob("c.*.0.0.0.0")):
            data = path.read_bytes()
            index = np.frombuffer(data[-4 - 16 * 3 : -4], "<u8").reshape(3, 2)
            # Each ends with a checksum of 4 bytes.
            sizes += [int(n) - 4 for offset, n in index if offset != 2**64 - 1]
    # The possible sums of eight of them.
    sums = [{0}, *(set() for _ in range(8))]
    for size in sizes:
        for n in range(8, 0, -1):
            sums[n] |= {s + size for s in sums[n - 1]}
    assert auto["compressed_bytes"] in sums[8]
    assert min(sizes) * 8 <= auto["compressed_bytes"] <= max(sizes) * 8


def test_a_codec_in_the_config_replaces_auto_and_makes_another_job(tmp_path):
    config = vnc_config(tmp_path, arrays=arrays("zstd"))
    output = pointshard("preprocess", config, "--out", tmp_path / "out").stdout
    assert "codecs   img zstd 1, mask zstd 1, seg zstd 1, scaled zstd 1\n" in output
    assert all("auto" not in a["codec"] for a in manifest(tmp_path / "out")["arrays"].values())
    config = vnc_config(tmp_path, arrays=arrays({"zstd": {"level": 1}}))
    assert "nothing to do" in pointshard("preprocess", config, "--out", tmp_path / "out").stdout
    config = vnc_config(tmp_path, arrays=arrays("none"))
    assert "another job" in error_message("preprocess", config, "--out", tmp_path / "out")


def test_the_plan_has_the_codecs_of_the_run(chosen):
    config, out, _ = chosen
    planned = json.loads(pointshard("plan", config, "--json").stdout)
    assert planned["codecs"] == {name: array["codec"] for name, array in manifest(out)["arrays"].items()}


def test_voxels_are_read_before_the_plan_only_for_codecs_that_the_config_leaves_open(tmp_path):
    empty = tmp_path / "img"
    empty.mkdir()
    (empty / "info").write_bytes((VNC / "img/info").read_bytes())
    collection = str(vnc_collection(tmp_path, img=empty))
    for codec, code in (("auto", 1), ("none", 0)):
        arrays = {"img": {"layer": "img", "codec": codec}}
        config = vnc_config(tmp_path, collection=collection, arrays=arrays, missing="error")
        for command in (["plan", config], ["preprocess", config, "--out", tmp_path / "out", "--dry-run"]):
            if code:
                message = error_message(*command, code=code)
                assert "`img`" in message and "is missing" in message
            else:
                assert "select " not in pointshard(*command).stdout
    message = error_message("preprocess", config, "--out", tmp_path / "out", code=1)
    assert "`img`" in message and "is missing" in message


@pytest.mark.parametrize(
    ("codec", "expected_text"),
    [
        ("gzip", "`arrays.img.codec`: unknown variant `gzip`, expected one of `auto`, `none`, `zstd`, `lz4`, `blosc`"),
        ("zst", "did you mean `zstd`?"),
        ({"zstd": {"level": 20}}, "`arrays.img.codec.zstd.level`: found 20, expected a whole number from 1 to 19"),
        ({"zstd": {"level": 0}}, "found 0, expected a whole number from 1 to 19"),
        ({"blosc": {"level": 10}}, "`arrays.img.codec.blosc.level`: found 10, expected a whole number from 1 to 9"),
        ({"zstd": {"lvl": 2}}, "unknown field `lvl`"),
        ({"blosc": {"cname": "lz4"}}, "unknown field `cname`, expected `level` or `shuffle`"),
        ({"lz4": {}}, '`lz4` has no options, expected "lz4" without an object'),
        (1, "expected \"auto\", \"none\", \"zstd\", \"lz4\", \"blosc\""),
    ],
)  # fmt: skip
def test_an_invalid_codec_is_an_error_that_lists_the_valid_ones(tmp_path, codec, expected_text):
    config = vnc_config(tmp_path, arrays={"img": {"layer": "img", "codec": codec}})
    message = error_message("plan", config)
    assert expected_text in message, message
