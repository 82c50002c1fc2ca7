"""Which adapters a diagnosis puts before the guard, and why. Nothing here goes live by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Mapping, Tuple

from edgetl_runtime.adapt.fitness import fitness, unfit
from edgetl_runtime.adapt.situation import Adapted, Situation
from edgetl_runtime.adapt.table import ADAPTERS, adapt
from edgetl_runtime.drift.diagnosis import Diagnosis

__all__ = ["POLICY", "Challengers", "PolicyRow", "challengers"]


@dataclass(frozen=True)
class PolicyRow:
    """The adapters that are tried for one kind of shift, the likeliest first, and the reason."""

    adapters: Tuple[str, ...]
    why: str


_ALIGNING = ("restandardise", "coral", "prototypes", "prototypes_in_place", "self_training")

POLICY: Mapping[str, PolicyRow] = {
    "none": PolicyRow((), "what has not changed can only be made worse"),
    "label shift": PolicyRow(
        ("label_shift", "restandardise", "coral"),
        "other class frequencies explain it all; a moved domain can look just so, hence alignment is judged too",
    ),
    "covariate shift": PolicyRow(
        _ALIGNING, "the features moved; label-shift estimates follow the head's own mistakes and are left out"
    ),
    "confidence only": PolicyRow((), "no decision would change; calibrate on the guard set instead"),
    "new class": PolicyRow((), "no map makes a known class of an unknown one: show the cluster to a person"),
    "sensor fault": PolicyRow((), "nothing may be learnt from a broken sensor: report it"),
}


@dataclass(frozen=True)
class Challengers:
    """Adapted heads for the guard to judge, and by name why others were not tried. The head that answers and the
    factory head stay candidates always."""

    adapted: Tuple[Adapted, ...]
    refused: Mapping[str, str]
    why: str


def challengers(diagnosis: Diagnosis, situation: Situation, batches: bool = False) -> Challengers:
    """What the diagnosis asks for, made from the situation; refused where the buffer is unfit.

    With `batches` the device answers batches of a correlated stream, and LAME is a candidate under any
    diagnosis but a fault: it keeps nothing that could be wrong later.
    """
    row = POLICY[diagnosis.kind]
    names: List[str] = list(row.adapters)
    if batches and diagnosis.kind != "sensor fault":
        names.append("lame")
    if not names:
        return Challengers((), {}, row.why)
    figures = fitness(situation)
    made: List[Adapted] = []
    refused: Dict[str, str] = {}
    for name in names:
        reasons = unfit(name, situation, figures)
        if reasons:
            refused[name] = "; ".join(reasons)
        elif ADAPTERS[name].linear and not hasattr(situation.head, "weights"):
            refused[name] = "the head is not linear"
        else:
            made.append(adapt(name, situation))
    return Challengers(tuple(made), refused, row.why)
