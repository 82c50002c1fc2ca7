"""Which variant runs in which engine, a row for each way, in the order in which a device tries them (format 1.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union

from edgetl_runtime.bundle.fields import MAX_MEMBERS, MEMBER_NAME, Fields
from edgetl_runtime.errors import BundleFormatError

__all__ = ["ANY_DEVICE", "EngineChoice", "check_plans", "dump_plans", "parse_plans"]

ANY_DEVICE = "any"
MAX_WHY = 1000
_DEVICE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_OPTION = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
# The device says these of itself when it opens an engine.
_OF_THE_DEVICE = {"build", "cache_dir", "graph", "name", "progress", "stop", "threads"}


@dataclass(frozen=True)
class EngineChoice:
    """One way to run a bundle: a variant in an engine, and `why` the host thinks so, in words.

    `options` are those of the engine, such as its provider. `feature_tolerance`, where the host measured this very
    pair, takes the place of the variant's: the largest error of a golden feature relative to the largest.
    """

    variant: str
    engine: str
    why: str
    options: Dict[str, Union[str, int, bool]] = field(default_factory=dict)
    feature_tolerance: Optional[float] = None


def dump_plans(plans: Mapping[str, Sequence[EngineChoice]]) -> Dict[str, Any]:
    """Plans as plain data."""
    return {device: [_dump(choice) for choice in choices] for device, choices in plans.items()}


def parse_plans(data: Mapping[str, Any]) -> Dict[str, Tuple[EngineChoice, ...]]:
    """The records of that data; raises BundleFormatError."""
    if len(data) > MAX_MEMBERS:
        raise BundleFormatError(f"manifest: plans for {len(data)} devices; at most {MAX_MEMBERS} are read")
    plans = {}
    for device in data:
        if not _DEVICE.match(device):
            raise BundleFormatError(f"manifest: plans: {device[:80]!r} is no id of a device profile")
        rows = Fields(data, "manifest: plans").take_list(device, dict, MAX_MEMBERS)
        plans[device] = tuple(_parse(row, f"manifest: plans[{device!r}][{i}]") for i, row in enumerate(rows))
    return plans


def check_plans(plans: Mapping[str, Sequence[EngineChoice]], variants: Sequence[str]) -> None:
    """Raises BundleFormatError unless every choice can be followed and every device finds one."""
    if plans and ANY_DEVICE not in plans:
        raise BundleFormatError(
            f"manifest: plans say nothing for {ANY_DEVICE!r} other device; they are for {sorted(plans)}"
        )
    for device, choices in plans.items():
        if not choices:
            raise BundleFormatError(f"manifest: plans[{device!r}] is empty: a device needs a way to run the bundle")
        for number, choice in enumerate(choices):
            if choice.variant not in variants:
                raise BundleFormatError(
                    f"manifest: plans[{device!r}] names the variant {choice.variant!r}; there are {list(variants)}"
                )
            if any((choice.variant, choice.engine, choice.options) == (c.variant, c.engine, c.options)
                   for c in choices[:number]):  # fmt: skip
                raise BundleFormatError(f"manifest: plans[{device!r}] repeats {choice.variant} on {choice.engine}")


def _dump(choice: EngineChoice) -> Dict[str, Any]:
    data: Dict[str, Any] = {
        "variant": choice.variant,
        "engine": choice.engine,
        "options": dict(choice.options),
        "why": choice.why,
    }
    if choice.feature_tolerance is not None:
        data["feature_tolerance"] = choice.feature_tolerance
    return data


def _parse(data: Any, where: str) -> EngineChoice:
    fields = Fields(data, where)
    tolerance = fields.take("feature_tolerance", float) if "feature_tolerance" in fields else None
    choice = EngineChoice(
        variant=fields.take_name("variant", MEMBER_NAME),
        engine=fields.take_name("engine", MEMBER_NAME),
        options=fields.take("options", dict),
        why=fields.take("why", str),
        feature_tolerance=tolerance,
    )
    fields.finish()
    if tolerance is not None and not 0.0 < tolerance <= 1.0:
        raise BundleFormatError(f"{where}: 'feature_tolerance' must be above 0 and at most 1, got {tolerance}")
    if not 0 < len(choice.why) <= MAX_WHY or not choice.why.isprintable():
        raise BundleFormatError(f"{where}: 'why' must be 1..{MAX_WHY} printable characters")
    for name, value in choice.options.items():
        if not _OPTION.match(name) or name in _OF_THE_DEVICE:
            raise BundleFormatError(f"{where}: {name[:80]!r} is no option that a bundle may give to an engine")
        if type(value) not in (str, int, bool) or (type(value) is str and not _plain(value)):
            raise BundleFormatError(f"{where}: option {name!r} must be a short plain text, an integer or a boolean")
    return choice


def _plain(text: str) -> bool:
    return len(text) <= 64 and text.isprintable()
