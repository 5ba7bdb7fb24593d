"""A folder as an object store presents it: keys, and files compressed for transfer.

On a file system cloud-volume writes the object `NAME` as the file `NAME.gz`; in a bucket it writes `NAME` with
`Content-Encoding: gzip`. The servers of these tests serve the former as the latter.
"""

import os
from pathlib import Path


def all_objects(root):
    """(key, file, Content-Encoding or None) of every object below `root`. Follows links."""
    for folder, _, names in os.walk(root, followlinks=True):
        for name in sorted(names):
            file = Path(folder, name)
            key = str(file.relative_to(root))
            yield (key[:-3], file, "gzip") if key.endswith(".gz") else (key, file, None)


def find_object(root, key):
    """(file, Content-Encoding or None) of the object `key` below `root`, or None."""
    for file, encoding in ((Path(root, key), None), (Path(root, f"{key}.gz"), "gzip")):
        if file.is_file() and not key.endswith(".gz"):
            return file, encoding
    return None
