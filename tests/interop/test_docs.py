"""What the documentation shows works: its commands, its Python, its JSON, its links.

All blocks of a document run in turn in one folder that has the repository's `configs` and `docs`.
"""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from blocks import FENCE, blocks, documents
from places import need
from program import REPOSITORY, binary
from training import trainer, trainer_is_there

SHELLS = {"console", "bash", "sh"}
LANGUAGES = SHELLS | {"python", "json", "text", "toml"}
# Not run in here, because they build or install, or run these very tests; scripts must exist.
NOT_RUN = re.compile(r"(\w+=\S+ )*cargo (build|install|test|add)\b|(python3? -m )?pip install\b|git clone\b|cd pointshard\b")
SCRIPTS = re.compile(r"(?:\./)?(tests/run|tests/bench/run|\.ci/run)\b")
# These want the program with the feature tch.
TRAINER = re.compile(r"pointshard (train|infer)\b|pointshard schema --train")
CARGO_RUN = re.compile(r"\bcargo run --release (--locked |--quiet )*-- ")

DOCUMENTS = [pytest.param(d, id=str(d.relative_to(REPOSITORY))) for d in documents()]


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like the repository to the commands of a document."""
    folder = tmp_path / "pointshard"
    folder.mkdir()
    for name in ("configs", "docs"):
        if (REPOSITORY / name).exists():
            (folder / name).symlink_to(REPOSITORY / name)
    if (REPOSITORY.parent / "shared").exists():
        (tmp_path / "shared").symlink_to(REPOSITORY.parent / "shared")
    return folder


@pytest.fixture
def surroundings(request, document):
    """What a document's programs find around them: the program, torch, and buckets with a dataset where it asks for them."""
    text = document.read_text()
    if "import torch" in text:
        need(importlib.util.find_spec("torch"), "torch", "pip install -r tests/interop/requirements-torch.txt")
    program = trainer() if TRAINER.search(text) and trainer_is_there() else binary()
    path = os.pathsep.join([str(program.parent), os.path.dirname(sys.executable), os.environ["PATH"]])
    # More threads than that collapse where another process is busy.
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if '"s3://' in text:
        environment |= request.getfixturevalue("buckets")
    return environment


def run(checkout, environment, command, code, where):
    shell = ["bash", "-euo", "pipefail", "-c", command]
    done = subprocess.run(shell, cwd=checkout, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, f"{where}: {command}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_program_in_a_document_works(checkout, surroundings, document):
    for block in blocks(document):
        where = f"{document.name}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: a block must say its language, one of {sorted(LANGUAGES)}"
        if block.title:
            (checkout / block.title).write_text(block.text)
        elif block.language == "python":
            run(checkout, surroundings, f"{shlex.quote(sys.executable)} -c {shlex.quote(block.text)}", 0, where)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language in SHELLS:
            for command, code in block.commands():
                script = SCRIPTS.match(command)
                if script:
                    assert os.access(REPOSITORY / script[1], os.X_OK), f"{where}: no {script[1]}"
                elif not NOT_RUN.match(command) and (trainer_is_there() or not TRAINER.match(command)):
                    run(checkout, surroundings, CARGO_RUN.sub("pointshard ", command), code, where)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_to_a_file_leads_somewhere(document):
    prose = FENCE.sub("", document.read_text())
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose):
        if "://" not in target and not target.startswith("mailto:"):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_readme_shows_the_demo_and_how_to_test():
    shells = [b for b in blocks(REPOSITORY / "README.md") if b.language in SHELLS]
    commands = {command for block in shells for command, _ in block.commands()}
    assert {"cargo run --release -- demo target/demo", "tests/run"} <= commands, commands
