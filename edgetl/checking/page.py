"""The page of a check: findings first, then the pictures to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from edgetl_runtime.errors import SourceError

from edgetl.checking.facts import Facts, Sample
from edgetl.checking.result import CheckResult
from edgetl.checking.signatures import is_frame
from edgetl.html.charts import Bar, Bars
from edgetl.html.page import Figure, KeyFigures, Part, Remark, Remarks, Section, Table, Text, page
from edgetl.html.pictures import ContactSheet, Tile, jpeg

__all__ = ["check_page"]

_MOST_SUSPECTS, _MOST_GROUPS, _MOST_IN_GROUP, _MOST_ROWS, _MOST_BARS = 96, 32, 6, 60, 60


def check_page(result: CheckResult) -> str:
    """The whole page as one text: no script, no network; at most some 300 small pictures."""
    sections = [_overview(result), *_suspects(result), *_copies(result), *_sequences(result), _classes(result)]
    sections += [*_light(result), *_unreadable(result)]
    return page(
        f"Data check: {result.name}",
        f"{result.samples:,} samples of {len(result.classes)} classes, looked at in {result.seconds:.0f} s"
        + (", with features" if result.facts.features is not None else ", bytes and pixels only"),
        sections,
        "Written by edgetl data check. Nothing in the data was changed.",
    )


def _overview(result: CheckResult) -> Section:
    kinds = Counter(finding.severity for finding in result.findings)
    figures = [
        Figure("faults", str(kinds["fault"]), "kinds of fault that make figures or heads wrong"),
        Figure("warnings", str(kinds["warning"]), "that may"),
        *(Figure(name, f"{count:,}", "samples") for name, count in result.splits.items()),
    ]
    remarks = [Remark(one.kind, one.severity, one.summary, one.advice) for one in result.findings]
    return Section("Findings", "", [KeyFigures(figures), Remarks(remarks)])


def _suspects(result: CheckResult) -> Iterator[Section]:
    if result.facts.features is None:
        return
    lead = (
        f"{result.judged:,} labels were each held against a head fitted on all other samples (exact leave-one-out SLDA,"
        " calibrated). Below are the labels that it holds to be least likely. It is not always right: look."
    )
    shown = result.suspects[:_MOST_SUSPECTS]
    tiles = [
        Tile(
            _jpeg(result.facts, one.sample), str(one.sample.label),
            (f"or {one.likelier}?", f"posterior {one.posterior:.1g}", one.sample.split, _short(one.sample.name)),
        )
        for one in shown
    ]  # fmt: skip
    more = len(result.suspects) - len(shown)
    caption = f"{len(shown)} of {len(result.suspects)}" + (", the rest by --json" if more else "") + "."
    parts: list[Part] = [ContactSheet(caption, [tiles])] if tiles else [Text(["None."])]
    yield Section("Likely wrong labels", lead, parts)


def _copies(result: CheckResult) -> Iterator[Section]:
    if not result.copies:
        return
    shown = sorted(result.copies, key=lambda group: not (group.across or group.labels_differ))[:_MOST_GROUPS]
    rows = []
    for group in shown:
        members = _spread_over_splits(group.members)[:_MOST_IN_GROUP]
        tiles = [Tile(_jpeg(result.facts, one), one.split, (str(one.label), _short(one.name))) for one in members]
        left = len(group.members) - len(members)
        said = [group.kind, "across splits" if group.across else "", "labels differ" if group.labels_differ else ""]
        tiles.append(Tile("", ", ".join(filter(None, said)), (f"and {left} more",) if left else ()))
        rows.append(tiles)
    caption = f"{len(shown)} of {len(result.copies)} groups, those across splits or with two labels first."
    yield Section("Copies", "Each row is one group.", [ContactSheet(caption, rows)])


def _spread_over_splits(members: Sequence[Sample]) -> list[Sample]:
    """One of each split first."""
    first: dict[str, Sample] = {}
    for member in members:
        first.setdefault(member.split, member)
    return [*first.values(), *(member for member in members if member not in first.values())]


def _sequences(result: CheckResult) -> Iterator[Section]:
    if not result.sequences:
        return
    rows = [
        (run.name, run.samples, 100 * run.neighbourly, 100 * run.chance, run.torn, ", ".join(run.splits))
        for run in result.sequences[:_MOST_ROWS]
    ]
    columns = ("names", "samples", "% nearest to a neighbour", "% by chance", "torn", "splits")
    lead = (
        "Files that are numbered one after the other, and whose most similar sample is one of their neighbours. Torn:"
        " samples with a neighbour at most two numbers away in another split, which has shown them to the head already."
    )
    yield Section("Sequences", lead, [Table(f"{len(rows)} of {len(result.sequences)}.", columns, rows)])


def _classes(result: CheckResult) -> Section:
    ordered = sorted(result.classes, key=lambda row: -(row.training + row.held_out))
    shown = ordered if len(ordered) <= _MOST_BARS else [*ordered[:20], *ordered[-40:]]
    bars = [
        Bar(str(row.label), row.training + row.held_out, f"{row.training} + {row.held_out}", 1 if row.few else 0)
        for row in shown
    ]
    gap = f" The 20 commonest and 40 rarest of {len(ordered)}." if len(ordered) > len(shown) else ""
    lead = "Samples a class: training + held out. In the other colour those with fewer than five to train on."
    return Section("Classes", lead, [Bars("Samples a class." + gap, bars)])


def _light(result: CheckResult) -> Iterator[Section]:
    facts, device = result.facts, result.device
    if not facts.pictures.any():
        return
    parts: list[Part] = []
    if device is not None:
        rows = [
            (one.figure, one.here, one.device, one.distance, f"{one.p_value:.2g}", "differs" if one.differs else "")
            for one in device.differences
        ]
        columns = ("figure", "here", "on the device", "distance", "p", "")
        caption = (
            f"Medians of the data and of {device.frames} frames of {device.name}, worth {device.independent}"
            " independent ones; Kolmogorov-Smirnov. It differs where p is below 0.01 and the distance at least 0.25,"
            " the shorter side where it is a quarter away."
        )
        parts.append(Table(caption, columns, rows, digits=2))
        if device.why:
            parts.append(Text([f"By features: {device.shift or 'not judged'}. {device.meaning} ({device.why})."]))
    counts, edges = np.histogram(facts.figures[facts.pictures, 0], bins=16, range=(0, 256))
    bars = [Bar(f"{a:.0f} to {b:.0f}", int(n), str(n)) for a, b, n in zip(edges, edges[1:], counts, strict=False)]
    parts.append(Bars("Pictures by their mean grey level, 0 black to 255 white.", bars))
    yield Section("Light and resolution", "", parts)


def _unreadable(result: CheckResult) -> Iterator[Section]:
    if result.unreadable:
        rows = list(result.unreadable[:_MOST_ROWS])
        table = Table(f"{len(rows)} of {len(result.unreadable)}.", ("file", "why"), rows)
        yield Section("Files that cannot be read", "", [table])


def _jpeg(facts: Facts, sample: Sample) -> str:
    """The sample as a small JPEG, "" where it is no picture."""
    try:
        frame = facts.read(sample.row)
    except SourceError:
        return ""
    return jpeg(frame) if is_frame(frame) else ""


def _short(name: str) -> str:
    return name if len(name) <= 40 else "..." + name[-37:]

