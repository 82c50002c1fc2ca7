"""What a check found, as records: findings in words, and what each was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgetl.checking.balance import ClassCount
from edgetl.checking.device import DeviceView
from edgetl.checking.duplicates import CopyGroup
from edgetl.checking.facts import Facts
from edgetl.checking.sequences import Sequence
from edgetl.checking.suspects import Suspect

__all__ = ["SEVERITIES", "CheckResult", "Finding"]

SEVERITIES = ("fault", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that was found. A "fault" makes figures or heads wrong, a "warning" may, a "note" is to know.

    `count` samples, pairs or classes; `advice` is what to do about it, or what edgetl does.
    """

    kind: str
    severity: str
    count: int
    summary: str
    advice: str


@dataclass(frozen=True)
class CheckResult:
    """All that was found in `samples` of K classes; `samples` that could not be read are not counted in it.

    `judged` labels were held against their features. `copies` and `sequences` are all that were found, those across
    splits first. `facts` serve to draw the page.
    """

    name: str
    samples: int
    splits: Mapping[str, int]
    findings: tuple[Finding, ...]
    classes: tuple[ClassCount, ...]
    unreadable: tuple[tuple[str, str], ...]
    copies: tuple[CopyGroup, ...]
    sequences: tuple[Sequence, ...]
    suspects: tuple[Suspect, ...]
    judged: int
    small: int
    input_side: int | None
    device: DeviceView | None
    seconds: float
    facts: Facts = field(repr=False, compare=False)

    @property
    def faults(self) -> int:
        """Findings that are faults."""
        return sum(finding.severity == "fault" for finding in self.findings)

    def plain(self) -> dict[str, Any]:
        """The result as JSON has it, without the facts."""
        fields = {name: value for name, value in vars(self).items() if name != "facts"}
        return {name: _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
