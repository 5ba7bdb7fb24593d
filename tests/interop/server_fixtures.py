"""Fixtures: the shared data at every kind of location, behind servers that run until the session ends.

A location is a `DataLocation`. Its root contains `crop/collection.json` and `vnc/collection.json` with relative
layer sources, so the same bytes describe the same job at every location.
"""

import json
import os
import shutil

import pytest
from document_blocks import blocks
from encoding_crop import CROP_SHAPE, CROP_START, index, source
from faulty_server import FaultyServer, ignore_range
from program import REPOSITORY, VNC, pointshard
from s3_server import AWS_KEYS, BUCKET, Moto, upload_objects
from servers import (
    DataLocation,
    DelayServer,
    Nginx,
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


def require_tool(found, what, how):
    """Skips a test whose tool is missing; fails if `CI` is set."""
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is missing: {how}")


@pytest.fixture(scope="session")
def object_root(shared, tmp_path_factory):
    """The part of the shared data that the jobs read: all encodings, the vnc layers, sharded points, a box layer."""
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
def local(object_root):
    return DataLocation(str(object_root))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    require_tool(shutil.which("openssl"), "openssl", "apt install openssl")
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def moto_port():
    return free_port()


@pytest.fixture(scope="session")
def nginx(object_root, certificates, moto_port, tmp_path_factory):
    require_tool(nginx_binary(), "nginx", "apt install nginx-light")
    _, certificate, key = certificates
    delay_server = DelayServer(0.05)
    servers = {
        "http": static(object_root),
        "https": static_over_tls(object_root, certificate, key),
        "delayed": delayed(object_root, delay_server),
        "gcs": cloud_storage(moto_port),
    }
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), servers)
    yield nginx
    nginx.stop()
    delay_server.stop()


@pytest.fixture(scope="session")
def http(nginx):
    """nginx, HTTP/1.1."""
    return DataLocation(nginx.url("http"), requests=lambda: nginx.requests("http"))


@pytest.fixture(scope="session")
def https(nginx, certificates):
    """nginx with TLS, a test certificate authority, and HTTP/2."""
    env = {"SSL_CERT_FILE": str(certificates[0])}
    return DataLocation(nginx.url("https", "https"), env, lambda: nginx.requests("https"))


@pytest.fixture(scope="session")
def slow(nginx):
    """nginx with a latency of 50 ms."""
    return DataLocation(nginx.url("delayed"), requests=lambda: nginx.requests("delayed"))


@pytest.fixture(scope="session")
def without_ranges(object_root):
    """A server without range support."""
    with FaultyServer(object_root, lambda request: ignore_range if request.range else None) as server:
        yield DataLocation(server.url)


@pytest.fixture(scope="session")
def moto(object_root, moto_port, tmp_path_factory):
    moto = Moto(tmp_path_factory.mktemp("moto"), moto_port, object_root)
    yield moto
    moto.stop()


@pytest.fixture(scope="session")
def s3(moto):
    """moto's S3."""
    return DataLocation(f"s3://{BUCKET}", {**AWS_KEYS, "AWS_ENDPOINT": moto.url, "AWS_ALLOW_HTTP": "true"})


@pytest.fixture(scope="session")
def gcs(moto, nginx, tmp_path_factory):
    """Google Cloud Storage, emulated by moto behind nginx."""
    account = tmp_path_factory.mktemp("gcs") / "account.json"
    unused = dict.fromkeys(["client_email", "private_key", "private_key_id"], "")
    account.write_text(json.dumps({"gcs_base_url": nginx.url("gcs"), "disable_oauth": True, **unused}))
    return DataLocation(f"gs://{BUCKET}", {"GOOGLE_SERVICE_ACCOUNT": str(account)}, lambda: nginx.requests("gcs"))


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
    """The environment in which Python libraries find a dataset at s3://windows/shards and gs://windows/shards."""
    upload_objects(moto.url, "shards", two_channel_shards)
    home = {"AWS_ENDPOINT_URL": moto.url, "TENSORSTORE_GCS_HTTP_URL": nginx.url("gcs"), "NO_PROXY": "127.0.0.1"}
    return {**s3.env, **gcs.env, **home, "AWS_EC2_METADATA_DISABLED": "true"}
