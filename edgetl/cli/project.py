"""What a project file says, put before what was typed: what was typed wins."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgetl.project import FILE, SETTINGS, read_project

__all__ = ["add_project_argument", "with_project"]

_REPEATED = {
    option for keys in SETTINGS.values() for setting in keys.values() if setting.repeated
    for option in setting.options.values() if option
}  # fmt: skip


def add_project_argument(command: argparse.ArgumentParser) -> None:
    """The option of every command that takes its others from a project file."""
    command.add_argument(
        "--project", metavar="FILE",
        help=f"take every option that is not given here from this file, or the {FILE} of this folder (edgetl init);"
        f" default: ./{FILE}, where it is there and no data is named",
    )  # fmt: skip


def with_project(name: str, command: argparse.ArgumentParser, typed: list[str]) -> list[str]:
    """The arguments of a command, those of its project file first; raises ProjectError."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--project")
    peek.add_argument("--data")
    peek.add_argument("-h", "--help", action="store_true")
    for option in sorted(_REPEATED):
        peek.add_argument(option, action="append", dest=option)
    known, _ = peek.parse_known_args(typed)
    if known.help:
        return typed
    if known.project is None:
        named = known.data is not None or (name == "data" and command.parse_args(typed).data is not None)
        if named or not Path(FILE).is_file():
            return typed
    project = read_project(known.project or FILE)
    told: list[str] = []
    unnamed: dict[str, list[str]] = {}
    for option, values in project.options(name):
        if not option:
            # An argument without a name has its place; as a default, what was typed there takes it.
            unnamed["data" if name == "data" else "backbones"] = values
        elif option not in _REPEATED or getattr(known, option) is None:
            told += [f"{option}={value}" if value else option for value in values]
    command.set_defaults(**{key: values[0] if key == "data" else values for key, values in unnamed.items()})
    if known.project is None:
        print(f"edgetl {name}: as {project.path} says", file=sys.stderr)
    if project.tuned is not None and f"--weights={project.tuned}" in told:
        print(f"edgetl {name}: with the weights of edgetl finetune, {project.tuned}", file=sys.stderr)
    return [*told, *typed]
