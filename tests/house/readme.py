"""A README as its reader meets it: blocks to run, commands that are named, links to follow.

Blocks in bash, console and python run in the order in which they stand, in one folder. An HTML comment on the
line above may say otherwise:

    <!-- not run: why -->       never run
    <!-- nightly -->            too long for every commit
    <!-- needs data -->         skipped where the real data is absent (as is a block that names EDGETL_DATA)
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.house.source import REPO

LANGUAGES = {"bash", "sh", "console", "python"}
TIMEOUT_S = 600
_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^ *(?P=fence) *$", re.M | re.S
)
_MARK = re.compile(r"<!--\s*(?P<mark>not run|nightly|needs data)\s*:?\s*(?P<reason>(?:(?!-->).)*?)\s*-->\Z", re.S)
_COMMAND = re.compile(r"(?<![\w./-])(edgetl(?:-runtime)?) ([a-z][a-z-]*(?: \| [a-z][a-z-]*)*)")
# What a test run must not do to the machine it runs on, or to itself.
_FORBIDDEN = re.compile(r"\b(sudo|apt(-get)? install|pip install|git clone|make (test|nightly|clean))\b")


@dataclass(frozen=True)
class Block:
    """One fenced block and what the comment above it says."""

    line: int
    language: str
    text: str
    mark: str = ""
    reason: str = ""

    @property
    def runs(self) -> bool:
        return self.language in LANGUAGES and self.mark != "not run"

    @property
    def needs_data(self) -> bool:
        return self.mark == "needs data" or "EDGETL_DATA" in self.text

    @property
    def script(self) -> str:
        """What is typed: of a console block the lines after `$ `, with what continues them."""
        if self.language != "console":
            return self.text
        typed, more = [], False
        for line in self.text.splitlines():
            if more or line.startswith("$ "):
                typed.append(line if more else line[2:])
                more = line.endswith("\\")
        return "\n".join(typed) + "\n"


def blocks(text: str) -> list[Block]:
    return list(_blocks(text))


def _blocks(text: str) -> Iterator[Block]:
    for match in _FENCE.finditer(text):
        mark = _MARK.search(text[: match.start()].rstrip() if match.start() else "")
        indent = len(match["indent"])
        body = "".join(line[indent:] for line in match["text"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start()) + 1
        yield Block(line, match["language"], body, *((mark["mark"], mark["reason"]) if mark else ()))


def faults(text: str) -> list[str]:
    """What is wrong with the blocks before any of them runs."""
    complaints = []
    for block in blocks(text):
        if block.mark == "not run" and not block.reason:
            complaints.append(f"line {block.line}: 'not run' without a reason")
        if block.runs and (found := _FORBIDDEN.search(block.script)):
            complaints.append(f"line {block.line}: no test may {found[0]!r}: mark the block <!-- not run: why -->")
        if block.runs and not block.script.strip():
            complaints.append(f"line {block.line}: nothing in this {block.language} block would run")
    return complaints


def run_block(block: Block, folder: Path, data: Path | None) -> subprocess.CompletedProcess[str]:
    """Run it as a reader would, who has .venv/bin on PATH and stands in `folder`; make means the repository's."""
    if block.language == "python":
        command = [sys.executable, "-c", block.script]
    else:
        command = ["bash", "-euo", "pipefail", "-c", block.script]
    shims = folder.parent / f"{folder.name}-bin"
    shims.mkdir(exist_ok=True)
    ours = f'env -u MAKEFLAGS -u MAKELEVEL PATH="{os.environ["PATH"]}" make -C "{REPO}" "$@"'
    (shims / "make").write_text(f"#!/bin/sh\nexec {ours}\n")
    (shims / "make").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "EDGETL_DATA")}
    environment["PATH"] = os.pathsep.join([str(shims), str(Path(sys.executable).parent), os.environ["PATH"]])
    if data:
        environment["EDGETL_DATA"] = str(data)
    return subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip


def code_parts(text: str) -> str:
    """All that is set as code: fenced blocks and spans in backticks, a line each."""
    fenced = [block.script for block in blocks(text)]
    return "\n".join([*fenced, *re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))])


def make_targets(text: str) -> set[str]:
    return set(re.findall(r"(?:^|[;&|(] *|\$ )make ([a-z][a-z-]*)", code_parts(text), re.M))


def commands(text: str) -> set[tuple[str, str]]:
    """("edgetl", "build") for every sub-command that is named; after `|` the command is still meant."""
    named = set()
    for match in _COMMAND.finditer(code_parts(text)):
        named |= {(match[1], name) for name in match[2].split(" | ")}
    return named


def links(text: str) -> list[str]:
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))
    found = re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", prose)
    found += re.findall(r"^\[[^\]]+\]:\s*(\S+)", prose, re.M)
    return found + re.findall(r"<(?:img|a)\b[^>]*?(?:src|href)=\"([^\"]+)\"", prose)


def broken_links(text: str, folder: Path) -> list[str]:
    anchors = {_anchor(heading) for heading in re.findall(r"^#+ +(.+?) *#*$", _FENCE.sub("", text), re.M)}
    broken = []
    for link in links(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        if (path and not (folder / path).exists()) or (not path and anchor not in anchors):
            broken.append(link)
    return broken


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
