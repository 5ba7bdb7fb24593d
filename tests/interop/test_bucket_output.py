"""Outputs in buckets: written, resumed, sealed, checked and read by other libraries, equal to a local output."""

import contextlib
import hashlib
import os
import random
import subprocess
import time
import uuid

import numpy as np
import pytest
import tensorstore
import zarr
from faulty_server import FaultyServer
from obstore.store import S3Store
from program import binary, error_message, pointshard, vnc_config
from s3_server import AWS_KEYS, BUCKET, REGION

WRITERS = ".pointshard/writers"


@pytest.fixture(scope="module")
def client(moto):
    import boto3

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}
    return boto3.client("s3", endpoint_url=moto.url, **keys)


class Bucket:
    """A place for an output in a bucket, and its objects."""

    def __init__(self, location, client):
        self.env = location.env
        self.client = client
        self.prefix = f"out-{uuid.uuid4().hex}"
        self.out = f"{location.root}/{self.prefix}"

    def objects(self):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=self.prefix + "/")
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def digests(self):
        """The digests of all objects but those that only say that a writer was there."""
        digests = {}
        for key in self.objects():
            name = key.removeprefix(self.prefix + "/")
            if not name.startswith(WRITERS):
                body = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
                digests[name] = hashlib.sha256(body).hexdigest()
        return digests

    def uploads(self):
        uploads = self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [upload for upload in uploads if upload["Key"].startswith(self.prefix)]

    def delete(self, name):
        self.client.delete_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}")


@pytest.fixture(params=["s3", "gcs"])
def bucket(request, client):
    return Bucket(request.getfixturevalue(request.param), client)


@pytest.fixture(scope="module")
def local_job(shared, tmp_path_factory):
    """A config, and the digests of its local output."""
    folder = tmp_path_factory.mktemp("local")
    config = vnc_config(folder)
    pointshard("preprocess", config, "--out", folder / "out")
    files = {p.relative_to(folder / "out").as_posix(): p for p in (folder / "out").rglob("*") if p.is_file()}
    return config, {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in files.items() if n != WRITERS}, folder / "out"


def test_an_output_in_a_bucket_is_equal_to_a_local_one(bucket, local_job):
    config, expected, _ = local_job
    pointshard("preprocess", config, "--out", bucket.out, env=bucket.env)
    assert bucket.digests() == expected
    assert not bucket.uploads()
    assert "nothing to do" in pointshard("preprocess", "--out", bucket.out, env=bucket.env).stdout
    assert "complete" in pointshard("status", bucket.out, env=bucket.env).stdout
    pointshard("check", bucket.out, env=bucket.env)


def test_the_steps_of_a_job_in_a_bucket(bucket, local_job):
    config, expected, _ = local_job
    pointshard("plan", config, "--out", bucket.out, env=bucket.env)
    assert "0 of 30 shards" in pointshard("status", bucket.out, env=bucket.env).stdout
    pointshard("preprocess", "--out", bucket.out, env=bucket.env)
    bucket.delete("manifest.json")
    bucket.delete("train.zarr/img/c.1.0.0.0.0")
    assert "29 of 30 shards" in pointshard("status", bucket.out, env=bucket.env).stdout
    assert "train.zarr/img/c.1" in error_message("seal", bucket.out, code=1, env=bucket.env)
    assert "1 written, 29 already present" in pointshard("preprocess", "--out", bucket.out, env=bucket.env).stdout
    assert bucket.digests() == expected
    bucket.delete("manifest.json")
    pointshard("seal", bucket.out, env=bucket.env)
    assert bucket.digests() == expected


def test_another_job_is_refused_and_force_overwrites_it(bucket, local_job, tmp_path):
    config, expected, _ = local_job
    pointshard("preprocess", vnc_config(tmp_path, window=[16, 16, 4]), "--out", bucket.out, env=bucket.env)
    before = bucket.digests()
    message = error_message("preprocess", config, "--out", bucket.out, env=bucket.env)
    assert "config `window`" in message and bucket.out in message
    assert bucket.digests() == before
    pointshard("preprocess", config, "--out", bucket.out, "--force", env=bucket.env)
    assert bucket.digests() == expected


def test_objects_of_others_are_not_touched(bucket, local_job):
    config = local_job[0]
    bucket.client.put_object(Bucket=BUCKET, Key=f"{bucket.prefix}/thesis.tex", Body=b"mine")
    for arguments in ([], ["--force"]):
        message = error_message("preprocess", config, "--out", bucket.out, *arguments, env=bucket.env)
        assert "was not written by pointshard" in message
    assert bucket.objects() == [f"{bucket.prefix}/thesis.tex"]


def test_tensorstore_and_zarr_read_the_bucket(moto, s3, client, local_job):
    bucket = Bucket(s3, client)
    config, _, out = local_job
    pointshard("preprocess", config, "--out", bucket.out, env=bucket.env)
    for name in ("img", "label0", "annotation_id", "center_nm"):
        expected = zarr.open_array(str(out / "train.zarr" / name), mode="r")[...]
        store = {
            "driver": "s3", "bucket": BUCKET, "path": f"{bucket.prefix}/train.zarr/{name}/", "endpoint": moto.url, "aws_region": REGION,
            "aws_credentials": {"type": "environment"},
        }  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            for key, value in AWS_KEYS.items():
                patch.setenv(key, value)
            found = tensorstore.open({"driver": "zarr3", "kvstore": store}).result().read().result()
        np.testing.assert_array_equal(found, expected)
        bucket_store = S3Store(
            BUCKET, prefix=f"{bucket.prefix}/train.zarr", endpoint=moto.url, region=REGION, access_key_id="test",
            secret_access_key="test", client_options={"allow_http": True},
        )  # fmt: skip
        group = zarr.open_group(zarr.storage.ObjectStore(bucket_store, read_only=True), mode="r")
        np.testing.assert_array_equal(group[name][...], expected)


def test_large_shards_are_uploaded_in_parts(bucket, shared, tmp_path):
    config = vnc_config(tmp_path, window=[160, 160, 48], shard_samples=64, arrays={"img": {"layer": "img", "codec": "none"}})
    pointshard("preprocess", config, "--out", tmp_path / "out")
    shards = [path for path in (tmp_path / "out/train.zarr/img").glob("c.*") if path.is_file()]
    assert max(shard.stat().st_size for shard in shards) > 10 << 20
    pointshard("preprocess", config, "--out", bucket.out, env=bucket.env)
    for shard in shards:
        name = shard.relative_to(tmp_path / "out").as_posix()
        body = bucket.client.get_object(Bucket=BUCKET, Key=f"{bucket.prefix}/{name}")["Body"].read()
        assert body == shard.read_bytes()
    assert not bucket.uploads()
    assert not [key for key in bucket.objects() if "/uploads/" in key]


def start_and_kill(config, bucket, after_s):
    """Whether the program was killed before it had finished."""
    command = [binary(), "preprocess", config, "--out", bucket.out, "--threads", "2", "--quiet"]
    env = {**bucket.env, "NO_PROXY": "127.0.0.1", "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)
    try:
        process.wait(after_s)
    except subprocess.TimeoutExpired:
        process.kill()
    message = process.communicate()[1]
    assert process.returncode in (0, -9), message
    return process.returncode == -9


def test_a_killed_run_into_a_bucket_resumes_to_the_same_bytes(s3, client, local_job, kills=10):
    config, expected, _ = local_job
    begun = time.monotonic()
    pointshard("preprocess", config, "--out", Bucket(s3, client).out, env=s3.env)
    seconds = time.monotonic() - begun
    moment = random.Random(1137)
    unfinished = half_way = 0
    for kill in range(kills):
        bucket = Bucket(s3, client)
        killed = start_and_kill(config, bucket, moment.uniform(0, seconds))
        names = set(bucket.digests())
        if killed and "manifest.json" not in names:
            unfinished += 1
            half_way += any(name.startswith("train.zarr/img/c.") for name in names)
        pointshard("preprocess", config, "--out", bucket.out, env=bucket.env)
        assert bucket.digests() == expected, f"kill {kill}"
        assert not bucket.uploads()
    assert unfinished >= kills / 2 and half_way >= kills / 5, f"{unfinished} unfinished, {half_way} with shards"


@pytest.mark.parametrize("lost", ["objects", "bucket"])
def test_a_bucket_that_is_lost_during_a_run_is_one_error_and_a_rerun_begins_anew(object_root, s3, client, tmp_path, lost):
    bucket = f"lost-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket)

    def objects():
        return [{"Key": item["Key"]} for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])]

    def slowly(request):
        if request.key.startswith("vnc/img/4.6_"):
            time.sleep(0.2)

    with FaultyServer(object_root, slowly) as server:
        arrays = {"img": {"layer": "img", "codec": "zstd"}}
        config = vnc_config(tmp_path, collection=f"{server.url}/vnc/collection.json", arrays=arrays, shard_samples=1)
        command = [binary(), "preprocess", config, "--out", f"s3://{bucket}/out", "--quiet", "--threads", "1"]
        env = {**os.environ, "NO_PROXY": "127.0.0.1", **s3.env}
        process = subprocess.Popen([str(a) for a in command], stderr=subprocess.PIPE, text=True, env=env)
        while sum("/receipts/" in item["Key"] for item in objects()) < 2:
            assert process.poll() is None
        deleted = False
        while not deleted:
            client.delete_objects(Bucket=bucket, Delete={"Objects": objects() or [{"Key": "none"}]})
            deleted = lost == "objects"
            if lost == "bucket":
                with contextlib.suppress(client.exceptions.ClientError):
                    client.delete_bucket(Bucket=bucket)
                    deleted = True
        message = process.communicate(timeout=60)[1]
        assert process.returncode == 75, message
        assert message.count("error: ") == 1 and "was deleted or moved while pointshard wrote to it" in message, message
        if lost == "bucket":
            client.create_bucket(Bucket=bucket)
        elif left := objects():
            client.delete_objects(Bucket=bucket, Delete={"Objects": left})
        pointshard("preprocess", config, "--out", f"s3://{bucket}/out", env=s3.env)
        pointshard("check", f"s3://{bucket}/out", env=s3.env)
