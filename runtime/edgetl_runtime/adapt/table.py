"""The table of adapters. A new one is a row here and a file beside it; nothing else changes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any, Mapping

from edgetl_runtime.adapt.situation import Adapted, Situation

__all__ = ["ADAPTERS", "AdapterRow", "adapt"]


@dataclass(frozen=True)
class AdapterRow:
    """One way to follow a domain without labels: the module of this package with its `adapt`, and its options.

    `helps` and `harms` are kinds of shift, in the words of drift.KINDS or plainer ones. `needs_reference`:
    held-out source samples; `moments`: uses the target's own statistics, so a buffer that shows a part of the
    classes only is refused; `batchwise`: what it answers depends on the batch, it learns nothing from the
    buffer; `linear`: linear heads only.
    """

    module: str
    helps: str
    harms: str
    options: Mapping[str, Any] = field(default_factory=dict)
    needs_reference: bool = False
    moments: bool = False
    batchwise: bool = False
    linear: bool = False


ADAPTERS: Mapping[str, AdapterRow] = {
    "coral": AdapterRow("coral", "covariate shift that turns or mixes features", "label shift", moments=True),
    "coral_uncentred": AdapterRow(
        "coral", "other spread about the same mean", "moved means", {"centred": False}, moments=True
    ),
    "label_shift": AdapterRow("label_shift", "label shift", "covariate shift", needs_reference=True),
    "label_shift_bbse": AdapterRow(
        "label_shift", "label shift", "covariate shift", {"estimator": "bbse"}, needs_reference=True
    ),
    "lame": AdapterRow("lame", "correlated streams", "batches of independent samples, slightly", batchwise=True),
    "prototypes": AdapterRow(
        "prototypes", "covariate shift that moves each class", "absent classes, a head mostly wrong", moments=True
    ),
    "prototypes_in_place": AdapterRow(
        "prototypes", "classes that moved a little", "a shift common to all classes", {"align": None}, moments=True
    ),
    "restandardise": AdapterRow("restandardise", "gain and offset of single features", "label shift", moments=True),
    "self_taught": AdapterRow("self_taught", "noise in unused directions", "little", moments=True),
    "self_training": AdapterRow(
        "self_training", "covariate shift, the head mostly right", "a head sure and wrong", moments=True
    ),
    "t3a": AdapterRow("t3a", "mild covariate shift (reference method)", "correlated features", linear=True),
}


def adapt(name: str, situation: Situation, **options: Any) -> Adapted:
    """The challenger that the row `name` makes of the situation; `options` override the row's.

    Nothing is judged here: whether the buffer is fit for it says `fitness.unfit`, whether the result is better
    the guard. Raises ValueError on an unknown name or a situation that lacks what the row needs.
    """
    if name not in ADAPTERS:
        raise ValueError(f"there is no adapter {name!r}; there are {sorted(ADAPTERS)}")
    row = ADAPTERS[name]
    made: Adapted = _function(row)(situation, **{**row.options, **options})
    return Adapted(name, made.head, made.evidence)


def _function(row: AdapterRow) -> Any:
    return importlib.import_module(f"edgetl_runtime.adapt.{row.module}").adapt
