"""What a challenger costs the classes of the source, on samples that nobody was ever trained on."""

from __future__ import annotations

import math
from typing import Optional

from edgetl_runtime.guard.policy import Policy
from edgetl_runtime.guard.records import SourceCheck

__all__ = ["cost"]


def cost(check: Optional[SourceCheck], policy: Policy, numbers: bool = False) -> Optional[str]:
    """Why the challenger must not go live, in words; None when it costs no more than the policy allows.

    Against the factory head: all samples together, then class by class, each beyond what chance explains. For
    `numbers` nothing is put down to chance: a head that turns many of them about would be believed for its very size.
    """
    if check is None or not sum(check.counts):
        return None
    changed = check.squares or tuple(float(more + less) for more, less in zip(check.worse, check.better))
    lost = [n * (new - old) for n, new, old in zip(check.counts, check.challenger, check.factory)]
    rows = list(zip(lost, changed, check.classes, check.counts, check.worse))
    total = sum(check.counts)
    if sum(lost) > policy.forgetting * total + (0.0 if numbers else policy.doubt) * math.sqrt(sum(changed)):
        most = max(rows, key=lambda row: row[0])
        return (
            f"it forgets: of {total} source samples {sum(check.worse)} turn worse and {sum(check.better)} better;"
            f" class {most[2]} suffers most, {most[4]} of {most[3]} turn worse"
        )
    for less, moved, label, count, worse in rows:
        if less > policy.class_forgetting * count + math.sqrt(moved):
            return f"it forgets: class {label} suffers, of its {count} source samples {worse} turn worse"
    return None
