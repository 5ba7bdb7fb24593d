"""`zetta run -i FILE.py SPEC.cue`, for specs that are JSON with comments."""

import argparse
import json
import re

from zetta_utils import builder, training  # noqa: F401, registers names


def run(path, extra_imports):
    with open(path) as file:
        spec = json.loads(re.sub(r"(?m)^\s*//.*$", "", file.read()))
    for import_path in extra_imports:
        with open(import_path) as file:
            exec(file.read())  # as zetta_utils does: inside of a function
    builder.build(spec)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("command", choices=["run"])
    p.add_argument("-i", dest="imports", action="append", default=[])
    p.add_argument("--no-main-run-process", action="store_true")
    p.add_argument("spec")
    a = p.parse_args()
    run(a.spec, a.imports)
