"""Datasets in buckets and on http servers: `check` finds there what it finds in a local folder, and retries faults."""

import json
import re
import shutil

import pytest
from faulty_server import FaultyServer, reset_connection, status, truncate_body
from program import error_message, manifest, pointshard
from s3_server import BUCKET, bucket_client, upload_objects
from test_check import flip, inner_chunk, the_shard

BRIEF = ("--retry-for", 2)


def report(out, *options, code=0, env=None):
    return json.loads(pointshard("check", out, "--json", "--quiet", *options, code=code, env=env).stdout)


def facts(report):
    """What a report says, without the texts of its messages, which name paths or URLs."""
    findings = [(f["kind"], f["file"], f["split"], f["samples"]) for f in report["findings"]]
    return report["ok"], sorted(findings, key=str), report["checked"]


class Bucket:
    """A dataset in a bucket, and a local copy of it to which the same changes are made."""

    def __init__(self, moto, location, prefix, folder):
        self.client, self.prefix, self.folder = bucket_client(moto.url), prefix, folder
        self.url, self.env = f"{location.root}/{prefix}", location.env
        upload_objects(moto.url, prefix, folder)

    def upload(self, path):
        """Copies the state of one local file to the bucket."""
        key, file = f"{self.prefix}/{path}", self.folder / path
        if file.exists():
            self.client.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())
        else:
            self.client.delete_object(Bucket=BUCKET, Key=key)


@pytest.fixture(scope="module")
def in_s3(moto, s3, vnc, tmp_path_factory):
    folder = tmp_path_factory.mktemp("in_s3") / "out"
    shutil.copytree(vnc, folder)
    return Bucket(moto, s3, "checked", folder)


def flip_sample(folder):
    shard = the_shard(folder)
    offset, length = inner_chunk(folder / shard["path"], 1)
    flip(folder / shard["path"], offset + length // 2)
    return shard["path"]


def flip_index(folder):
    path = the_shard(folder)["path"]
    flip(folder / path, -10)
    return path


def flipped(path):
    def damage(folder):
        flip(folder / path, (folder / path).stat().st_size // 2)
        return path

    return damage


def cut(path, keep=lambda size: size - 5):
    def damage(folder):
        name = path(folder) if callable(path) else path
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: keep(len(data))])
        return name

    return damage


def deleted(path):
    def damage(folder):
        name = path(folder) if callable(path) else path
        (folder / name).unlink()
        return name

    return damage


def added(path):
    def damage(folder):
        (folder / path).write_bytes(b"stray")
        return path

    return damage


def a_shard(folder):
    return the_shard(folder, "val", "label1", 1)["path"]


DAMAGE = {
    "a flipped bit in a sample": flip_sample,
    "a flipped bit in a shard's index": flip_index,
    "a truncated shard": cut(a_shard),
    "an empty shard": cut(a_shard, lambda size: 0),
    "a missing shard": deleted(a_shard),
    "a flipped bit in a group": flipped("train.zarr/zarr.json"),
    "a flipped bit in an array's metadata": flipped("train.zarr/img/zarr.json"),
    "a flipped bit in a column": flipped("train.zarr/center_nm/c.0.0"),
    "a missing column": deleted("val.zarr/annotation_id/c.0"),
    "a truncated column": cut("val.zarr/box/c.0"),
    "missing metadata": deleted("val.zarr/property_color/zarr.json"),
    "a flipped bit in the manifest": flipped("manifest.json"),
    "a missing manifest": deleted("manifest.json"),
    "an unexpected file": added("train.zarr/notes.txt"),
}


def test_an_intact_dataset_in_a_bucket_has_no_findings(in_s3, vnc):
    found = report(in_s3.url, env=in_s3.env)
    assert found == report(vnc) and found["ok"] and found["checked"]["windows"] == 90
    assert found["checked"]["unexpected_files"]


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_in_a_bucket_is_found_as_in_a_folder(in_s3, vnc, damage):
    path = damage(in_s3.folder)
    in_s3.upload(path)
    try:
        local = report(in_s3.folder, code=1)
        assert local["findings"]
        assert facts(report(in_s3.url, code=1, env=in_s3.env)) == facts(local)
    finally:
        original = vnc / path
        shutil.copy(original, in_s3.folder / path) if original.exists() else (in_s3.folder / path).unlink()
        in_s3.upload(path)


def test_a_dataset_in_cloud_storage_is_checked(moto, gcs, vnc):
    upload_objects(moto.url, "gcs_checked", vnc)
    assert report(f"{gcs.root}/gcs_checked", env=gcs.env) == report(vnc)


def test_a_folder_of_a_bucket_without_a_dataset_is_an_error_with_a_hint(in_s3, s3):
    for folder, hint in (("checked/train.zarr", "checked"), ("", "checked"), ("none", None)):
        message = error_message("check", f"{s3.root}/{folder}", env=s3.env)
        assert "is not a pointshard dataset" in message
        assert (f"did you mean {s3.root}/{hint}?" in message) == bool(hint), message


def test_a_dataset_on_an_http_server_is_checked_without_a_listing(vnc):
    with FaultyServer(vnc) as server:
        found = report(server.url)
        assert not found["checked"].pop("unexpected_files")
        local = report(vnc)
        assert local["checked"].pop("unexpected_files")
        assert found == local
        assert "were not looked for" in pointshard("check", server.url).stdout
        assert "were not looked for" not in pointshard("check", vnc).stdout


def test_a_dataset_on_an_http_server_is_compared_with_its_sources(vnc):
    with FaultyServer(vnc) as server:
        said = pointshard("check", server.url, "--source")
        assert "windows compared with the sources" in said.stderr


def test_a_damaged_dataset_on_an_http_server_is_repaired_elsewhere(vnc, tmp_path):
    copy = shutil.copytree(vnc, tmp_path / "copy")
    flip_sample(copy)
    with FaultyServer(copy) as server:
        said = pointshard("check", server.url, code=1).stdout
        assert "check it with --repair where it can be written to" in said and "the same command" not in said
        assert "cannot be written to" in pointshard("check", server.url, "--repair", code=2).stderr


def test_each_byte_of_a_shard_is_read_once(vnc):
    with FaultyServer(vnc) as server:
        pointshard("check", server.url)
    index_bytes = 16 * 3 + 4
    for shard in manifest(vnc)["shards"]:
        ranges = [r.range for r in server.requests if r.key == shard["path"] and r.range]
        assert sorted(ranges) == sorted([(0, shard["bytes"]), (shard["bytes"] - index_bytes, shard["bytes"])])


@pytest.mark.parametrize("fault", [status(503), status(429), truncate_body, reset_connection], ids=["503", "429", "cut", "reset"])
def test_a_fault_that_occurs_once_per_object_changes_no_report(vnc, fault):
    with FaultyServer(vnc, lambda request: None if request.before else fault) as server:
        assert report(server.url)["ok"]
    listed = {entry["path"] for kind in ("files", "shards") for entry in manifest(vnc)[kind]}
    assert {r.key for r in server.requests if r.before} >= {"manifest.json", *listed}


def test_a_server_that_fails_is_no_finding_and_ends_the_check(vnc):
    shard = the_shard(vnc)["path"]
    with FaultyServer(vnc, lambda request: status(503) if request.key == shard else None) as server:
        message = error_message("check", server.url, *BRIEF, code=75)
    assert f"{server.url}/{shard}" in message and re.search(r"\d tries", message), message
    with FaultyServer(vnc, lambda request: status(503)) as server:
        assert "manifest.json" in error_message("check", server.url, *BRIEF, code=75)


def test_an_object_that_a_server_refuses_is_a_finding(vnc):
    shard = the_shard(vnc)["path"]
    for code, kind in ((403, "unreadable"), (404, "missing_file")):
        with FaultyServer(vnc, lambda request, code=code: status(code) if request.key == shard else None) as server:
            (finding,) = report(server.url, code=1)["findings"]
        assert (finding["kind"], finding["file"]) == (kind, shard) and len(finding["samples"]) == 3
