"""Fixtures: the shared data at every kind of place, each behind a server that runs until the session ends.

A place is a `Place`; below its root lie `crop/collection.json` and `vnc/collection.json`, which name their layers
relative to themselves, so that the same bytes describe the same job wherever they lie.
"""

import json
import os
import shutil

import pytest
from blocks import blocks
from crop import CROP_SHAPE, CROP_START, index, source
from faults import FaultyServer, no_ranges
from program import REPOSITORY, VNC, pointshard
from s3 import AWS_KEYS, BUCKET, Moto, put_objects
from servers import (
    Clerk,
    Nginx,
    Place,
    cloud_storage,
    delayed,
    free_port,
    make_certificates,
    nginx_binary,
    static,
    static_over_tls,
)

LINKS = {
    "vnc": {
        "img": ["4.6_4.6_45.0"],
        "label0": ["4.6_4.6_45.0"],
        "label1": ["4.6_4.6_45.0"],
        "points": ["spatial0"],
    },
    "annotations": {"points_sharded_raw": ["spatial0", "spatial1"], "ng_boxes": ["spatial0"]},
}


def need(found, what, how):
    """Skips without a tool that a test needs; fails where `CI` is set."""
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is missing: {how}")


@pytest.fixture(scope="session")
def tree_of_objects(shared, tmp_path_factory):
    """The shared data, as much as the jobs read: all encodings, the vnc layers, sharded points, a box layer."""
    root = tmp_path_factory.mktemp("objects")
    (root / "encodings").symlink_to(shared / "data/encodings")
    for group, layers in LINKS.items():
        for layer, parts in layers.items():
            (root / group / layer).mkdir(parents=True)
            for part in ["info", *parts]:
                (root / group / layer / part).symlink_to(shared / "data" / group / layer / part)
    rows = json.loads((VNC / "collection.json").read_text())
    for layer in rows["layers"]:
        layer["source"] = f"precomputed://./{layer['name']}"
    (root / "vnc/collection.json").write_text(json.dumps(rows))

    box = rows["annotations"][0]
    for corner, at in (("pointA", CROP_START), ("pointB", [a + n for a, n in zip(CROP_START, CROP_SHAPE)])):
        box[corner] = [voxel * nm for voxel, nm in zip(at, (4.6, 4.6, 45.0))]
    rows["annotations"] = [box]
    rows["layers"] = [{"id": f"id of {n}", "name": n, "source": source(n, a)} for n, a in index().items()]
    rows["layer_groups"][0]["layers"] = [layer["id"] for layer in rows["layers"]]
    (root / "crop").mkdir()
    (root / "crop/collection.json").write_text(json.dumps(rows))
    return root


@pytest.fixture(scope="session")
def local(tree_of_objects):
    return Place(str(tree_of_objects))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    need(shutil.which("openssl"), "openssl", "apt install openssl")
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def moto_port():
    return free_port()


@pytest.fixture(scope="session")
def nginx(tree_of_objects, certificates, moto_port, tmp_path_factory):
    need(nginx_binary(), "nginx", "apt install nginx-light")
    _, certificate, key = certificates
    clerk = Clerk(0.05)
    servers = {
        "http": static(tree_of_objects),
        "https": static_over_tls(tree_of_objects, certificate, key),
        "delayed": delayed(tree_of_objects, clerk),
        "gcs": cloud_storage(moto_port),
    }
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), servers)
    yield nginx
    nginx.stop()
    clerk.stop()


@pytest.fixture(scope="session")
def http(nginx):
    """nginx, HTTP/1.1."""
    return Place(nginx.url("http"), requests=lambda: nginx.requests("http"))


@pytest.fixture(scope="session")
def https(nginx, certificates):
    """nginx, TLS by an authority of our own, HTTP/2."""
    env = {"SSL_CERT_FILE": str(certificates[0])}
    return Place(nginx.url("https", "https"), env, lambda: nginx.requests("https"))


@pytest.fixture(scope="session")
def slow(nginx):
    """nginx, every request 50 ms late."""
    return Place(nginx.url("delayed"), requests=lambda: nginx.requests("delayed"))


@pytest.fixture(scope="session")
def rangeless(tree_of_objects):
    """A server that answers a range with the whole object."""
    with FaultyServer(tree_of_objects, lambda asked: no_ranges if asked.range else None) as server:
        yield Place(server.url)


@pytest.fixture(scope="session")
def moto(tree_of_objects, moto_port, tmp_path_factory):
    moto = Moto(tmp_path_factory.mktemp("moto"), moto_port, tree_of_objects)
    yield moto
    moto.stop()


@pytest.fixture(scope="session")
def s3(moto):
    """moto's S3."""
    return Place(f"s3://{BUCKET}", {**AWS_KEYS, "AWS_ENDPOINT": moto.url, "AWS_ALLOW_HTTP": "true"})


@pytest.fixture(scope="session")
def gcs(moto, nginx, tmp_path_factory):
    """Google Cloud Storage, as far as moto behind nginx is like it."""
    account = tmp_path_factory.mktemp("gcs") / "account.json"
    unused = dict.fromkeys(["client_email", "private_key", "private_key_id"], "")
    account.write_text(json.dumps({"gcs_base_url": nginx.url("gcs"), "disable_oauth": True, **unused}))
    return Place(f"gs://{BUCKET}", {"GOOGLE_SERVICE_ACCOUNT": str(account)}, lambda: nginx.requests("gcs"))


@pytest.fixture(scope="session")
def two_channel_shards(demo, tmp_path_factory):
    """The dataset of docs/trainers.md. Tests must not change it."""
    folder = tmp_path_factory.mktemp("two_channel")
    (folder / "demo").symlink_to(demo[0])
    (job,) = (b for b in blocks(REPOSITORY / "docs/trainers.md") if b.title == "pre_post.json")
    (folder / job.title).write_text(job.text)
    pointshard("preprocess", folder / job.title, "--out", folder / "shards")
    return folder / "shards"


@pytest.fixture(scope="session")
def buckets(moto, nginx, s3, gcs, two_channel_shards):
    """s3://windows/shards and gs://windows/shards, a dataset: the environment in which Python libraries find them."""
    put_objects(moto.url, "shards", two_channel_shards)
    home = {"AWS_ENDPOINT_URL": moto.url, "TENSORSTORE_GCS_HTTP_URL": nginx.url("gcs"), "NO_PROXY": "127.0.0.1"}
    return {**s3.env, **gcs.env, **home, "AWS_EC2_METADATA_DISABLED": "true"}
