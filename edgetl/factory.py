"""The factory head of a bundle: statistics of the source's features, and the head that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
from edgetl_runtime.bundle.members import HeadMember
from edgetl_runtime.heads import HEADS, fit_head
from edgetl_runtime.heads.calibration import calibrated
from edgetl_runtime.statistics import Statistics

from edgetl.extraction import ExtractedPart

__all__ = ["check_head", "make_head_member"]


def check_head(head: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError for a head that a bundle cannot carry, or an option that it does not have."""
    able = sorted(row for row, kind in HEADS.items() if kind.exact and not kind.projected)
    if head not in able:
        raise ValueError(f"a bundle carries a head that follows from its statistics alone, one of {able}; got {head!r}")
    _all_options(head, options)


def make_head_member(
    head: str,
    options: Mapping[str, Any],
    feature_space: str,
    training: ExtractedPart,
    held_out: ExtractedPart,
) -> HeadMember:
    """Fit that head on the training part; the held-out part, which may be empty, only calibrates it."""
    shift = training.features.mean(axis=0, dtype=np.float64)
    source = Statistics(training.features.shape[1], shift=shift, feature_space=feature_space)
    source.add(training.features, training.labels)
    every_option = _all_options(head, options)
    empty = Statistics(source.dim, shift=shift, feature_space=feature_space)
    factory = fit_head(head, empty, prior=source, **every_option)
    if held_out.labels:
        factory = calibrated(factory, held_out.features, held_out.labels)
    return HeadMember(source, head, every_option, factory)


def _all_options(head: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of that head, so that a later runtime with other defaults decides no differently."""
    fit = import_module(f"edgetl_runtime.heads.{HEADS[head].module}").fit
    defaults = {
        option: parameter.default
        for option, parameter in signature(fit).parameters.items()
        if option not in ("statistics", "prior")
    }
    if unknown := set(given) - set(defaults):
        raise ValueError(f"the head {head!r} has no option {sorted(unknown)}; it has {sorted(defaults)}")
    return {**defaults, **given}
