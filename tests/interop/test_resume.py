"""A rerun writes what is missing, and nothing else."""

import pytest
from program import file_digests, manifest, pointshard, write_times


def rewritten(before, after):
    return {path for path in after if after[path] != before.get(path)}


def test_only_a_deleted_shard_is_written_again(vnc_copy):
    config, out = vnc_copy
    expected, before = file_digests(out), write_times(out)
    shard = manifest(out)["shards"][7]["path"]
    (out / shard).unlink()
    output = pointshard("preprocess", config, "--out", out).stdout
    assert "1 written, 29 already present" in output, output
    assert file_digests(out) == expected
    kept = {entry["path"] for entry in manifest(out)["shards"]} - {shard}
    assert not kept & rewritten(before, write_times(out))
    pointshard("check", out)


def test_a_truncated_shard_is_written_again(vnc_copy):
    config, out = vnc_copy
    expected = file_digests(out)
    shard = out / manifest(out)["shards"][3]["path"]
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "1 written, 29 already present" in pointshard("preprocess", config, "--out", out).stdout
    assert file_digests(out) == expected


@pytest.mark.parametrize(
    "path",
    [
        "manifest.json",
        "train.zarr/zarr.json",
        "train.zarr/img/zarr.json",
        "val.zarr/annotation_id/c.0",
        "val.zarr/img_nonzero_fraction/c.0",
    ],
)
def test_a_deleted_column_or_metadata_file_is_written_again(vnc_copy, path):
    config, out = vnc_copy
    expected, before = file_digests(out), write_times(out)
    (out / path).unlink()
    output = pointshard("preprocess", config, "--out", out).stdout
    assert "shards   all 30 already present" in output, output
    assert file_digests(out) == expected
    assert not {entry["path"] for entry in manifest(out)["shards"]} & rewritten(before, write_times(out))


def test_a_shard_without_receipt_is_written_again(vnc_copy):
    config, out = vnc_copy
    expected = file_digests(out)
    (out / ".pointshard/receipts/train/img/0.json").unlink()
    assert "1 written, 29 already present" in pointshard("preprocess", config, "--out", out).stdout
    assert file_digests(out) == expected
