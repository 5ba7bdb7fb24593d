"""`pointshard check` finds all damage and names the file and the affected samples."""

import json
import random
import struct

import pytest
from program import file_digests, manifest, pointshard


def findings(out):
    """The errors that `check --json` finds in a damaged dataset."""
    report = json.loads(pointshard("check", out, "--json", "--quiet", code=1).stdout)
    assert not report["ok"] and report["findings"]
    return [f for f in report["findings"] if f["severity"] == "error"]


def flip(path, byte, bit=0):
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.write_bytes(data)


def inner_chunk(path, sample, shard_samples=3):
    """Offset and length of a sample in a shard, from the index at its end."""
    data = path.read_bytes()
    index = data[-4 - 16 * shard_samples : -4]
    return struct.unpack_from("<QQ", index, 16 * sample)


def the_shard(out, split="train", array="img", number=2):
    shards = [s for s in manifest(out)["shards"] if s["split"] == split and s["array"] == array]
    return shards[number]


def test_an_intact_dataset_has_no_findings(vnc):
    report = json.loads(pointshard("check", vnc, "--json").stdout)
    assert report["ok"] and report["findings"] == []
    assert report["checked"]["samples"] == 30 and report["checked"]["windows"] == 90


@pytest.mark.parametrize("sample", [0, 1, 2])
def test_a_flipped_bit_in_a_shard_is_a_finding_with_its_sample(vnc_copy, sample):
    _, out = vnc_copy
    shard = the_shard(out)
    offset, length = inner_chunk(out / shard["path"], sample)
    flip(out / shard["path"], offset + length // 2, bit=3)
    hits = [f for f in findings(out) if f["file"] == shard["path"]]
    assert hits and {f["split"] for f in hits} == {"train"}
    assert {i for f in hits for i in f["samples"]} == {shard["first_sample"] + sample}


def test_a_flipped_bit_in_a_shard_index_affects_all_samples_of_the_shard(vnc_copy):
    _, out = vnc_copy
    shard = the_shard(out)
    flip(out / shard["path"], -10)
    (hit, *_) = [f for f in findings(out) if f["file"] == shard["path"]]
    assert set(hit["samples"]) == set(range(shard["first_sample"], shard["first_sample"] + shard["samples"]))


@pytest.mark.parametrize("damage", ["truncate", "empty", "delete"])
def test_a_truncated_or_missing_shard_is_a_finding_with_all_its_samples(vnc_copy, damage):
    _, out = vnc_copy
    shard = the_shard(out, "val", "label1", 1)
    path = out / shard["path"]
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -5 if damage == "truncate" else 0])
    (hit,) = findings(out)
    assert hit["file"] == shard["path"] and hit["split"] == "val"
    assert hit["kind"] == ("missing_file" if damage == "delete" else "size")
    assert hit["samples"] == list(range(shard["first_sample"], shard["first_sample"] + shard["samples"]))


@pytest.mark.parametrize(
    "path",
    [
        "manifest.json",
        "train.zarr/zarr.json",
        "train.zarr/img/zarr.json",
        "train.zarr/center_nm/c.0.0",
        "val.zarr/annotation_id/c.0",
        "val.zarr/property_color/zarr.json",
    ],
)
@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_a_damaged_or_deleted_file_is_a_finding(vnc_copy, path, damage):
    _, out = vnc_copy
    if damage == "flip":
        flip(out / path, (out / path).stat().st_size // 2)
    else:
        (out / path).unlink()
    assert any(path.startswith(f["file"]) or f["file"] == path for f in findings(out))


@pytest.mark.parametrize("path", ["shard", "train.zarr/zarr.json", "train.zarr/img/zarr.json", "val.zarr/annotation_id/c.0"])
def test_a_flipped_bit_is_repaired_by_following_the_finding(vnc_copy, path):
    config, out = vnc_copy
    before = file_digests(out)
    file = out / (the_shard(out)["path"] if path == "shard" else path)
    flip(file, file.stat().st_size // 2)
    (hit,) = [f for f in findings(out) if f["kind"] == "digest"]
    assert out / hit["file"] == file and "delete this file" in hit["message"] and "again" in hit["message"]
    file.unlink()
    pointshard("preprocess", config, "--out", out)
    assert file_digests(out) == before


def test_truncated_files_and_a_damaged_manifest_are_repaired_by_the_next_run(vnc_copy):
    config, out = vnc_copy
    before = file_digests(out)
    for path in (the_shard(out)["path"], "train.zarr/center_nm/c.0.0", "manifest.json"):
        (out / path).write_bytes((out / path).read_bytes()[:-9])
        assert any(f["file"] == path and "preprocess` again" in f["message"] for f in findings(out))
        pointshard("preprocess", config, "--out", out)
        assert file_digests(out) == before


def test_an_unreadable_file_is_not_reported_as_missing(vnc_copy):
    _, out = vnc_copy
    path = the_shard(out)["path"]
    (out / path).unlink()
    (out / path).symlink_to(out / path)
    (hit,) = [f for f in findings(out) if f["file"] == path]
    assert hit["kind"] == "unreadable" and "symbolic links" in hit["message"]


def test_verbose_lists_boxes_and_sources(vnc):
    output = pointshard("check", vnc, "--verbose").stdout
    assert all(box["id"] in output for box in manifest(vnc)["boxes"])
    assert all(source["location"] in output for source in manifest(vnc)["sources"])
    assert "use fewer --threads or more --memory" in pointshard("check", vnc, "--memory", "50MiB", code=2).stderr


@pytest.mark.parametrize("path", ["train.zarr/notes.txt", "val.zarr/img/c.99.0.0.0.0", "train.zarr/img/.writing-abc"])
def test_an_unexpected_file_is_a_finding(vnc_copy, path):
    _, out = vnc_copy
    (out / path).parent.mkdir(parents=True, exist_ok=True)
    (out / path).write_bytes(b"stray")
    (hit,) = findings(out)
    assert hit["kind"] == "unexpected_file" and hit["file"] == path


def test_a_hundred_random_flipped_bits_are_all_found(vnc_copy):
    _, out = vnc_copy
    chance = random.Random(7)
    files = ["manifest.json", *(e["path"] for kind in ("shards", "files") for e in manifest(out)[kind])]
    for _ in range(100):
        path = chance.choice(files)
        byte, bit = chance.randrange((out / path).stat().st_size), chance.randrange(8)
        flip(out / path, byte, bit)
        assert path in {f["file"] for f in findings(out)}, f"{path} byte {byte} bit {bit}"
        flip(out / path, byte, bit)
    pointshard("check", out)


def test_the_printed_table_has_file_and_samples(vnc_copy):
    _, out = vnc_copy
    shard = the_shard(out)
    (out / shard["path"]).unlink()
    output = pointshard("check", out, code=1).stdout
    assert shard["path"] in output and "6-8" in output and "missing_file" in output, output
