"""An S3 server on loopback (moto) with a tree of objects in a bucket.

Run as a program, `s3_server.py PORT FOLDER`, this is the server. It writes the objects directly to moto's storage:
a thousand requests would take longer than the tests.
"""

import sys
import threading

from object_tree import all_objects
from servers import Process

BUCKET = "windows"
REGION = "us-east-1"
AWS_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}


class Moto(Process):
    """The server in its own process."""

    def __init__(self, folder, port, root):
        self.url = f"http://127.0.0.1:{port}"
        super().__init__([sys.executable, __file__, str(port), str(root)], folder, [port])


def bucket_client(url):
    """A boto3 client of a running server."""
    import boto3

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": REGION}
    return boto3.client("s3", endpoint_url=url, **keys)


def upload_objects(url, prefix, folder):
    """Uploads the files below `folder` to the bucket of a running server."""
    client = bucket_client(url)
    for key, file, _ in all_objects(folder):
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=file.read_bytes())


def fill(root):
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    backend.create_bucket(BUCKET, REGION)
    for key, file, encoding in all_objects(root):
        stored = backend.put_object(BUCKET, key, file.read_bytes())
        if encoding:
            stored.set_metadata({"content-encoding": encoding})


def make_puts_atomic():
    """moto checks conditions of a write, and writes, in two steps, in which another thread can write."""
    from moto.s3.responses import S3Response

    lock, put_object = threading.Lock(), S3Response.put_object

    def put_object_alone(self):
        with lock:
            return put_object(self)

    S3Response.put_object = put_object_alone


if __name__ == "__main__":
    from moto.server import main

    fill(sys.argv[2])
    make_puts_atomic()
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
