"""From what was found to what is said of it: one sentence, one piece of advice, how bad it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edgetl.checking.balance import FEW, SKEWED
from edgetl.checking.facts import Sample
from edgetl.checking.result import SEVERITIES, CheckResult, Finding

__all__ = ["found"]


def found(result: CheckResult, limit: float) -> CheckResult:
    """The result with its findings, faults first."""
    parts = (_files, _copies, _sequences, _balance, _pictures, _device)
    findings = [one for part in parts for one in part(result)] + list(_labels(result, limit))
    findings.sort(key=lambda one: SEVERITIES.index(one.severity))
    return replace(result, findings=tuple(findings))


def _files(result: CheckResult) -> Iterator[Finding]:
    if count := len(result.unreadable):
        name, why = result.unreadable[0]
        which = why if name in why else f"{name}: {why}"
        yield Finding(
            "unreadable", "fault", count, f"{_n(count, 'file')} cannot be read, such as {which}",
            "copy them again or remove them; a build leaves them out",
        )  # fmt: skip


def _copies(result: CheckResult) -> Iterator[Finding]:
    across = [group for group in result.copies if group.across]
    if across:
        count = sum(len(group.members) for group in across)
        pair = " and ".join(member.name for member in _apart(across[0].members))
        yield Finding(
            "copies across splits", "fault", count,
            f"{count} samples in {_n(len(across), 'group')} are copies of each other on both sides of a split, such as"
            f" {pair}",
            "remove all but one of each group: a head that is tested on what it learnt looks better than it is",
        )  # fmt: skip
    inside = [group for group in result.copies if not group.across]
    if inside:
        spare = sum(len(group.members) - 1 for group in inside)
        yield Finding(
            "copies", "warning", spare,
            f"{_n(spare, 'sample')} of {_n(len(inside), 'group')} within a split are copies",
            "they count double in every statistic; remove those that are not meant",
        )  # fmt: skip
    clash = [group for group in result.copies if group.labels_differ and group.kind != "alike features"]
    if clash:
        first, *rest = clash[0].members
        other = next(member for member in rest if member.label != first.label)
        yield Finding(
            "one picture, two labels", "fault", len(clash),
            f"{_n(len(clash), 'picture')} {'has' if len(clash) == 1 else 'have'} more than one label, such as"
            f" {first.name} ({first.label}) and {other.name} ({other.label})",
            "one of the labels is wrong; the page shows them side by side",
        )  # fmt: skip


def _apart(members: tuple[Sample, ...]) -> list[Sample]:
    """The first, and the first that is in another split."""
    first = members[0]
    return [first, next(member for member in members if member.split != first.split)]


def _sequences(result: CheckResult) -> Iterator[Finding]:
    torn = [run for run in result.sequences if run.torn]
    if torn:
        run = torn[0]
        yield Finding(
            "leak by sequence", "fault", sum(one.torn for one in torn),
            f"{_n(len(torn), 'sequence')} torn apart by the split: {run.samples} samples {run.name} look like"
            f" their neighbours ({100 * run.neighbourly:.0f} %, by chance {100 * run.chance:.0f} %), and {run.torn}"
            f" of them have one on the other side",
            f"split by group or by time, not at random: {_proposal(result)}",
        )  # fmt: skip
    elif result.sequences:
        yield Finding(
            "sequences", "note", len(result.sequences),
            f"{_n(len(result.sequences), 'sequence')} of neighbouring frames, none torn apart by the split",
            "keep it so: split by group or by time",
        )  # fmt: skip


def _proposal(result: CheckResult) -> str:
    heads = {re.sub(r"\d*#.*$", "", run.name) for run in result.sequences}
    if len(result.sequences) > 1 and len(heads) > 1:
        return "--split group (the name up to its last number), or a column of the CSV that names the drive"
    return "--split time (the last number of the name), or a column of the CSV that names drive or time"


def _balance(result: CheckResult) -> Iterator[Finding]:
    few = [row for row in result.classes if row.training + row.held_out > 0 and row.few]
    if few:
        named = ", ".join(f"{row.label} ({row.training + row.held_out})" for row in few[:5])
        have = "has" if len(few) == 1 else "have"
        yield Finding(
            "small class", "warning", len(few),
            f"{_n(len(few), 'class')} {have} fewer than {FEW} samples to train on: {named}"
            + (" ..." if len(few) > 5 else ""),
            "add samples, or let the device learn it; its mean rests on these alone (the covariance is shared by all"
            " classes), and it hardly counts in the held-out accuracy",
        )  # fmt: skip
    known = [row for row in result.classes if row.training]
    most, least = max(row.training for row in known), min(row.training for row in known)
    if most >= SKEWED * least:
        common = max(known, key=lambda row: row.training)
        yield Finding(
            "class skew", "note", len(known),
            f"the commonest class, {common.label}, has {most} training samples, the rarest {least}",
            "slda, ncm and gaussian_nb use no class frequencies, softmax and mlp weigh classes alike, so that a rare"
            " class is not outvoted; ridge, ridge_rp and knn do follow the counts. Read the accuracy by class: the mean"
            " is that of the common ones",
        )  # fmt: skip
    strangers = [row for row in result.classes if not row.training + row.held_out]
    if strangers:
        yield Finding(
            "unknown class", "warning", len(strangers),
            f"only another split has {', '.join(str(row.label) for row in strangers[:5])}",
            "no head can know them; are they spelled alike in all splits?",
        )  # fmt: skip


def _pictures(result: CheckResult) -> Iterator[Finding]:
    if result.small and result.input_side:
        yield Finding(
            "small pictures", "warning" if result.small > 0.1 * result.samples else "note", result.small,
            f"{_n(result.small, 'picture')} {'is' if result.small == 1 else 'are'} smaller than the {result.input_side}"
            " pixels of the network's input",
            "they are enlarged and blurred by that; if the device sees sharper ones, take larger ones",
        )  # fmt: skip
    facts = result.facts
    sizes = facts.sizes[facts.pictures]
    if len(sizes):
        kinds = np.unique(sizes, axis=0)
        low, high = np.quantile(facts.figures[facts.pictures, 0], [0.05, 0.95])
        sides = f"{sizes.min(axis=1).min()} to {sizes.min(axis=1).max()}" if len(kinds) > 1 else str(sizes[0].min())
        yield Finding(
            "pictures", "note", len(sizes),
            f"{_n(len(sizes), 'picture')} of {_n(len(kinds), 'size')}, shorter side {sides} pixels; 90 % have a mean"
            f" grey level of {low:.0f} to {high:.0f} of 255",
            "hold that against what the device sees: --device-data" if result.device is None else "",
        )  # fmt: skip


def _device(result: CheckResult) -> Iterator[Finding]:
    device = result.device
    if device is None:
        return
    differing = [one for one in device.differences if one.differs]
    if differing:
        named = ", ".join(f"{one.figure} {one.device:.3g} there and {one.here:.3g} here" for one in differing)
        yield Finding(
            "device: light and resolution", "warning", device.frames, f"the device sees otherwise, in medians: {named}",
            "take samples as the device sees them, or learn them on the device",
        )  # fmt: skip
    if device.shift not in ("", "none"):
        yield Finding(
            "device: shift", "warning", device.frames,
            f"{device.shift}: {device.meaning} ({device.why}; {device.frames} frames, worth {device.independent})",
            "label some of the device's frames, add them, or let the device learn them",
        )  # fmt: skip
    elif device.shift == "none":
        yield Finding("device: shift", "note", device.frames, f"no shift by features: {device.why}", "")
    elif device.why:
        yield Finding("device: shift", "note", device.frames, f"a shift was not judged by features: {device.why}", "")


def _labels(result: CheckResult, limit: float) -> Iterator[Finding]:
    if count := len(result.suspects):
        first = result.suspects[0]
        yield Finding(
            "likely wrong labels", "fault", count,
            f"{count} of {result.judged} labels are unlikely (posterior below {limit:g} by a head that has not seen the"
            f" sample), such as {first.sample.name}: {first.sample.label}, or {first.likelier}?",
            "look at them on the page, the least likely first; a hard sample with its right label is also among them",
        )  # fmt: skip


def _n(count: int, noun: str) -> str:
    plural = {"class": "classes"}.get(noun, noun + "s")
    return f"{count} {noun if count == 1 else plural}"
