"""The documentation works: its commands, its Python, its JSON and its links.

All blocks of a document run in order, in one folder that has the repository's `configs` and `docs`.
"""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from document_blocks import FENCE, blocks, documents
from program import REPOSITORY, binary
from server_fixtures import require_tool
from training import trainer, trainer_available

SHELLS = {"console", "bash", "sh"}
LANGUAGES = SHELLS | {"python", "json", "csv", "text", "toml"}
# Not run here: commands that build or install. Scripts that run these tests must exist.
NOT_RUN = re.compile(r"(\w+=\S+ )*cargo (build|install|test|add)\b|python3 -m venv\b|(python3? -m )?pip install\b|git clone\b|cd pointshard\b")
SCRIPTS = re.compile(r"(?:\./)?(tests/run|tests/libtorch|tests/bench/run|tests/bench/(?:tables|objects|readers)\.py|\.ci/run)\b")
# Commands that need the program with the feature tch.
TRAINER = re.compile(r"pointshard (train|infer)\b|pointshard schema --train")
# The demo is slow without optimisation: it runs once, and each document gets a copy.
DEMO = re.compile(r"pointshard demo (\S+)")
CARGO_RUN = re.compile(r"\bcargo run --release (--locked |--quiet )*-- ")

DOCUMENTS = [pytest.param(d, id=str(d.relative_to(REPOSITORY))) for d in documents()]


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like the repository to the commands of a document."""
    folder = tmp_path / "pointshard"
    folder.mkdir()
    # A path in a config is relative to its folder, so that this cannot be a link.
    shutil.copytree(REPOSITORY / "configs", folder / "configs")
    (folder / "docs").symlink_to(REPOSITORY / "docs")
    if (REPOSITORY.parent / "shared").exists():
        (tmp_path / "shared").symlink_to(REPOSITORY.parent / "shared")
    return folder


@pytest.fixture
def surroundings(request, document):
    """The environment of a document's programs: the program, torch, and, if it reads buckets, buckets with a dataset."""
    text = document.read_text()
    if re.search(r"^(import|from) torch\b", text, re.MULTILINE):
        require_tool(importlib.util.find_spec("torch"), "torch", "pip install -r tests/interop/requirements-torch.txt")
    program = trainer() if TRAINER.search(text) and trainer_available() else binary()
    path = os.pathsep.join([str(program.parent), os.path.dirname(sys.executable), os.environ["PATH"]])
    # OpenMP with more threads is very slow if another process is busy.
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    if '"s3://' in text:
        environment |= request.getfixturevalue("buckets")
    return environment


def run(checkout, environment, command, code, where):
    shell = ["bash", "-euo", "pipefail", "-c", command]
    done = subprocess.run(shell, cwd=checkout, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, f"{where}: {command}\nexit code {done.returncode}\n{done.stdout}\n{done.stderr}"


def run_command(command, code, checkout, environment, demo, where):
    """Runs a command of a shell block, unless it is one of those that are not run here."""
    script = SCRIPTS.match(command)
    if script:
        assert os.access(REPOSITORY / script[1], os.X_OK), f"{where}: no {script[1]}"
        return
    if NOT_RUN.match(command) or (TRAINER.match(command) and not trainer_available()):
        return
    command = CARGO_RUN.sub("pointshard ", command)
    if folder := DEMO.fullmatch(command):
        shutil.copytree(demo[0], checkout / folder[1])
    else:
        run(checkout, environment, command, code, where)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_and_program_in_a_document_works(checkout, surroundings, demo, document):
    for block in blocks(document):
        where = f"{document.name}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: a block needs a language, one of {sorted(LANGUAGES)}"
        if block.title:
            (checkout / block.title).write_text(block.text)
        if block.language == "json":
            json.loads(block.text)
        elif block.language == "python" and not block.title:
            run(checkout, surroundings, f"{shlex.quote(sys.executable)} -c {shlex.quote(block.text)}", 0, where)
        elif block.language in SHELLS:
            for command, code in block.commands():
                run_command(command, code, checkout, surroundings, demo, where)


def anchors(document):
    """The anchors of a document's headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_to_a_file_and_a_heading(document):
    prose = FENCE.sub("", document.read_text())
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?[^)]*\)", prose):
        if "://" in target or target.startswith("mailto:"):
            continue
        page = document.parent / target if target else document
        assert page.exists(), f"{document.name} links to {target}"
        if anchor:
            assert anchor in anchors(page), f"{document.name} links to {target}#{anchor}"


def test_the_readme_shows_the_demo_and_how_to_test():
    shells = [b for b in blocks(REPOSITORY / "README.md") if b.language in SHELLS]
    commands = {command for block in shells for command, _ in block.commands()}
    assert {"cargo run --release -- demo target/demo", "tests/run"} <= commands, commands


def test_every_regression_test_of_the_correctness_page_exists():
    sources = [p for folder in ("src", "tests") for kind in ("rs", "py") for p in (REPOSITORY / folder).rglob(f"*.{kind}")]
    defined = {name for p in sources for name in re.findall(r"\b(?:fn|def) (\w+)", p.read_text())}
    rows = re.findall(r"^\| .* \| (`[^|]+) \|$", (REPOSITORY / "docs/correctness.md").read_text(), re.MULTILINE)
    assert len(rows) > 50
    for name in (name for row in rows for name in re.findall(r"`([^`]+)`", row)):
        assert name in defined or (REPOSITORY / name).is_file(), f"docs/correctness.md names {name}, which does not exist"
