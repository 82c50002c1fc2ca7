"""What a challenger costs the classes of the source, on samples that nobody was ever trained on."""

from __future__ import annotations

import math
from typing import Optional

from edgetl_runtime.guard.policy import Policy
from edgetl_runtime.guard.records import SourceCheck

__all__ = ["cost"]


def cost(check: Optional[SourceCheck], policy: Policy, scale: float = 1.0) -> Optional[str]:
    """Why the challenger must not go live, in words; None when it costs no more than the policy allows.

    Against the factory head: all samples together, then class by class, each beyond what chance explains.
    """
    if check is None or not sum(check.counts):
        return None
    total, worse, better = sum(check.counts), sum(check.worse), sum(check.better)
    lost = sum(
        n * (min(new, scale) - min(old, scale)) / scale
        for n, new, old in zip(check.counts, check.challenger, check.factory)
    )
    rows = list(zip(check.worse, check.better, check.classes, check.counts))
    if lost > policy.forgetting * total + policy.doubt * math.sqrt(worse + better):
        most = max(rows, key=lambda row: row[0] - row[1])
        return (
            f"it forgets: of {total} source samples {worse} turn wrong and {better} right;"
            f" class {most[2]} suffers most, {most[0]} of {most[3]} turn wrong"
        )
    for worse, better, label, count in rows:
        if worse - better > policy.class_forgetting * count + math.sqrt(worse + better):
            return f"it forgets: class {label} suffers, of its {count} source samples {worse} turn wrong"
    return None
