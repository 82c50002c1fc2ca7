"""What the bundle holds, where it comes from, and the commands that make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from edgetl.building.result import BuildResult
from edgetl.html.charts import Bar, Bars
from edgetl.html.page import Code, Columns, Folded, Part, Section, Table, Text
from edgetl.reporting.story import Story

__all__ = ["content_section", "origin_section", "size_of", "typed_command"]


def content_section(result: BuildResult, story: Story) -> Section:
    """Members with size and hash, the largest first."""
    times = [Bar(n, s, f"{s:.1f} s", 1) for n, s in result.seconds.items() if n != "total"]
    sizes = sorted(result.member_bytes.items(), key=lambda item: -item[1])
    warning = (
        f" The head is refitted on the device from stored samples: it carries the features of"
        f" {result.source_features} source samples, which can tell much of those samples."
    )
    parts: list[Part] = [
        Columns(
            [
                Bars("Size of each member", [Bar(name, float(size), size_of(size)) for name, size in sizes]),
                Bars("Where the time of this build went", times),
            ]
        )
    ]
    if story.manifest is not None:
        precision = {v.extractor: v.precision for v in story.manifest.variants}
        precision |= {v.head: f"head of {v.name}" for v in story.manifest.variants}
        rows: list[list[str | float | int]] = [
            [name, size, precision.get(name, ""), story.manifest.members[name].sha256] for name, size in sizes
        ]
        form = ".".join(map(str, story.manifest.format))
        caption = f"Format {form}, sequence {story.manifest.sequence}."
        parts.append(Table(caption, ["member", "bytes", "precision", "sha256"], rows))
    return Section(
        "What is inside",
        "The device gets exactly these members; each is checked against its hash at every start."
        + (warning if result.source_features else ""),
        parts,
    )


def origin_section(result: BuildResult, story: Story) -> Section:
    """Provenance as it stands in the manifest, and what was typed."""
    parts: list[Part] = []
    commands = list(story.commands)
    if typed := typed_command(story.tuning or {}):
        commands.insert(0, typed)
    if commands:
        caption = "Run in this order, with the same data, weights and versions. Hashes below tell whether they are."
        parts.append(Code(caption, [_folded(command) for command in commands]))
    else:
        words = "It was built from Python: edgetl.build with the extractor, data and options of the provenance below."
        parts.append(Text([words]))
    parts.append(
        Table(
            "Identity: the same bundle has the same.", ["what", "value"],
            [["bundle", result.bundle_id], ["feature space", result.feature_space]],
        )
    )  # fmt: skip
    if story.manifest is not None:
        facts = _flat(story.manifest.provenance)
        versions = [row for row in facts if row[0].startswith("versions.")]
        others: list[list[str | float | int]] = [[a, b] for a, b in facts if not a.startswith("versions.")]
        parts.append(Text(["Versions: " + ", ".join(f"{a.partition('.')[2]} {b}" for a, b in versions) + "."]))
        parts.append(Folded("Provenance, as it stands in the manifest", [Table("", ["what", "value"], others)]))
    if story.tuning is not None:
        told = {key: story.tuning[key] for key in ("settings", "seed", "versions", "weights") if story.tuning.get(key)}
        run: list[list[str | float | int]] = [[a, b] for a, b in _flat(told)]
        parts.append(Folded("The fine-tuning, as its record says", [Table("", ["what", "value"], run)]))
    return Section("Origin, and how to repeat it", "", parts)


def typed_command(tuning: Mapping[str, Any]) -> str:
    """What was typed to fine-tune, "" where that was done from Python."""
    return shlex.join(map(str, tuning.get("command") or ()))


def size_of(size_bytes: int) -> str:
    """In MB or kB."""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:.1f} kB"


def _folded(command: str) -> str:
    """A line an option where the whole is long."""
    return command if len(command) <= 90 else command.replace(" --", " \\\n    --")


def _flat(plain: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """(dotted name, value) of nested plain data; long lists are cut."""
    found: list[tuple[str, str]] = []
    for key, value in plain.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            found.append((f"{before}{key}", text if len(text) <= 300 else text[:297] + "..."))
    return found
