"""Fenced code blocks of the documentation, and the commands in them.

`console`: lines that start with `$ ` are commands (`\\` continues them); the others are output.
`bash`, `sh`: every line is a command. `# exit code 1` at the end marks a command that must fail.
`python`: a program that runs as it is. `json`: valid JSON. A block with `title="NAME"` is a file for later blocks.
"""

import re
from dataclasses import dataclass

from program import REPOSITORY

FENCE = re.compile(r"^( *)```([a-z]*)([^\n]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r'title="([^"]+)"')
EXIT_CODE = re.compile(r"#\s*exit code (\d+)\s*$")


@dataclass
class Block:
    language: str
    text: str
    line: int
    title: str | None = None

    def commands(self):
        """(command, expected exit code) of every command."""
        text = self.text.replace("\\\n", " ")
        lines = [line.strip() for line in text.splitlines()]
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        for line in lines:
            if line and not line.startswith("#"):
                code = EXIT_CODE.search(line)
                yield EXIT_CODE.sub("", line).strip(), int(code[1]) if code else 0


def documents():
    files = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
    return [f for f in files if f.is_file()]


def blocks(document):
    text = document.read_text()
    for found in FENCE.finditer(text):
        indent, language, info, body = found.groups()
        title = TITLE.search(info)
        body = "".join(line.removeprefix(indent) for line in body.splitlines(keepends=True))
        yield Block(language, body, text.count("\n", 0, found.start()) + 1, title and title[1])
