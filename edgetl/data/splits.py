"""Which samples are held out together: by group, by time, or by domain, in place of at random."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from edgetl_runtime.types import Label

from edgetl.errors import DatasetError

__all__ = ["KINDS", "SplitRule", "domain_held_out", "keys_of_names", "parse_split", "time_held_out"]

_log = logging.getLogger(__name__)

KINDS = ("random", "group", "time", "domain")
# Without more words: the name up to its last number is a group, the last number is the time.
_DEFAULT = {"group": r"^(.*?)\d*\D*$", "time": r"(\d+(?:\.\d+)?)\D*$"}


@dataclass(frozen=True)
class SplitRule:
    """What is held out. `by` is a column of the table, or a regular expression that is searched in the names of
    files, whose first group (or all that it matches) is the key; "" where nothing was said. `domains` are those of
    kind "domain" that are held out."""

    kind: str
    by: str = ""
    domains: tuple[str, ...] = ()


def parse_split(text: str) -> SplitRule:
    """The rule of "random", "group[:BY]", "time[:BY]" or "domain:BY=NAME[,NAME]"; raises DatasetError."""
    kind, _, by = text.partition(":")
    domains: tuple[str, ...] = ()
    if kind == "domain":
        by, equals, names = by.rpartition("=")
        domains = tuple(name.strip() for name in names.split(",") if name.strip())
        if not (by and equals and domains):
            raise DatasetError(f"a split by domain names those that are held out: domain:BY=NAME,NAME; got {text!r}")
    if kind not in KINDS or (kind == "random" and by):
        raise DatasetError(f"there is no split {text!r}; give random, group:BY, time:BY or domain:BY=NAME,NAME")
    return SplitRule(kind, by.strip(), domains)


def keys_of_names(rule: SplitRule, names: Sequence[str]) -> list[str]:
    """The key of each name (N), read from it by the rule's regular expression; raises DatasetError."""
    text = rule.by or _DEFAULT[rule.kind]
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise DatasetError(f"{text!r} is neither a column of the table nor a regular expression: {error}") from error
    keys = []
    for name in names:
        found = pattern.search(name)
        if found is None:
            raise DatasetError(f"split {rule.kind}: {text!r} is not in the name {name!r}, and no column of that name")
        keys.append(found.group(1 if pattern.groups else 0) or "")
    return keys


def time_held_out(keys: Sequence[str], labels: Sequence[Label], holdout: float) -> frozenset[int]:
    """Positions of the last share in time of N samples, one moment for all classes.

    A key is a number, or text whose order is that of time (ISO 8601). Samples of one time stay together. A class
    all of which lies after that moment is cut at its own share, so that each keeps samples to train on.
    """
    times = _ordered(keys)
    count = len(times)
    cut = sorted(times)[min(count - 1, int(count * (1.0 - holdout) + 0.5))] if holdout > 0 and count else None
    if cut is None:
        return frozenset()
    held = {i for i, time in enumerate(times) if time >= cut}
    kept = Counter(label for i, label in enumerate(labels) if i not in held)
    for late in sorted({*labels} - {*kept}, key=str):
        members = sorted((i for i, label in enumerate(labels) if label == late), key=lambda i: times[i])
        _log.warning("all of class %s comes after the others; its own first samples are trained on", late)
        held -= set(members[: max(1, round(len(members) * (1.0 - holdout)))])
    return frozenset(held)


def domain_held_out(keys: Sequence[str], labels: Sequence[Label], domains: Sequence[str]) -> frozenset[int]:
    """Positions of the samples whose key is one of `domains`; raises DatasetError where a class or all would go."""
    there = sorted({*keys})
    if missing := sorted({*domains} - {*keys}):
        raise DatasetError(f"no sample is of {', '.join(missing)}; there are {', '.join(there[:12])}")
    held = frozenset(i for i, key in enumerate(keys) if key in domains)
    if gone := {*labels} - {label for i, label in enumerate(labels) if i not in held}:
        names = ", ".join(sorted(map(str, gone))[:5])
        raise DatasetError(f"without {', '.join(domains)} nothing is left to train {names} on; hold other ones out")
    return held


def _ordered(keys: Sequence[str]) -> list[float]:
    """Numbers in the order of the keys."""
    try:
        return [float(key) for key in keys]
    except ValueError:
        rank = {key: float(place) for place, key in enumerate(sorted(set(keys)))}
        return [rank[key] for key in keys]
