"""Malformed inputs end in a clear error at once: no panic, no manifest, little memory."""

import subprocess
import sys

from program import binary


def test_every_malformed_input_is_an_error_that_names_the_file(shared, tmp_path):
    sweep = [sys.executable, shared / "verify/sweep_malformed.py", binary(), shared / "data/malformed", tmp_path]
    done = subprocess.run(sweep, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
