"""The table of heads. A new head is a row here and a file beside it; nothing else changes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Mapping, Optional

from numpy.typing import NDArray

from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.heads.protocol import Head
from edgetl_runtime.heads.regression import Regressor, load_regression
from edgetl_runtime.reservoir import Reservoir
from edgetl_runtime.statistics import Statistics

__all__ = ["HEADS", "HeadRow", "fit_head", "fit_regressor", "load_head", "load_regressor"]


@dataclass(frozen=True)
class HeadRow:
    """One kind of head: the module of this package with its `fit` and `load`, and what it promises.

    An `exact` head comes from statistics alone, so it does not depend on order and can be merged and
    forgotten exactly; the others learn from a reservoir. `projected` heads take statistics of the features
    behind a random layer; `targets` marks those that also regress, by `fit_targets`.
    """

    module: str
    exact: bool
    projected: bool = False
    targets: bool = False


HEADS: Mapping[str, HeadRow] = {
    "gaussian_nb": HeadRow("gaussian_nb", exact=True),
    "knn": HeadRow("knn", exact=False),
    "mlp": HeadRow("mlp", exact=False),
    "ncm": HeadRow("ncm", exact=True),
    "ridge": HeadRow("ridge", exact=True, targets=True),
    "ridge_rp": HeadRow("ridge_rp", exact=True, projected=True, targets=True),
    "slda": HeadRow("slda", exact=True),
    "softmax": HeadRow("softmax", exact=False),
}


def fit_head(
    name: str,
    statistics: Statistics,
    prior: Optional[Statistics] = None,
    reservoir: Optional[Reservoir] = None,
    **options: Any,
) -> Head:
    """A head fitted on what was learnt (`statistics`) and on the source shipped in the bundle (`prior`).

    Either may be empty, and their classes may differ. Heads that are not exact take their samples from the
    `reservoir`. "auto" chooses by leave-one-out on the reservoir, see `heads.auto`. `options` are those of the
    head's own `fit`. Raises FeatureSpaceError, and ValueError on an unknown name.
    """
    if name == "auto":
        chosen: Head = _load_module("auto").fit(statistics, prior, reservoir=reservoir, **options)
        return chosen
    row = _row(name)
    if not row.exact:
        options["reservoir"] = reservoir
    head: Head = _load_module(row.module).fit(statistics, prior, **options)
    return head


def fit_regressor(name: str, statistics: Statistics, prior: Optional[Statistics] = None, **options: Any) -> Regressor:
    """A regressor on the targets (Q) of the statistics: "ridge" or "ridge_rp"."""
    row = _row(name)
    if not row.targets:
        able = sorted(key for key, value in HEADS.items() if value.targets)
        raise ValueError(f"the head {name!r} does not regress; {able} do")
    regressor: Regressor = _load_module(row.module).fit_targets(statistics, prior, **options)
    return regressor


def load_head(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Head:
    """The head of `state()` and `metadata()`; raises StatisticsError when they do not fit together."""
    name = metadata.get("head")
    if "regressor" in metadata:
        of_targets: Head = _load_module("target_head").load_target_head(arrays, metadata)
        return of_targets
    if name == "anchored":
        of_two: Head = _load_module("anchored").load(arrays, metadata)
        return of_two
    if not isinstance(name, str) or name not in HEADS:
        raise StatisticsError(f"the metadata names the head {name!r}; known heads are {sorted(HEADS)}")
    head: Head = _load_module(HEADS[name].module).load(arrays, metadata)
    return head


def load_regressor(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Regressor:
    """The regressor of `state()` and `metadata()`; raises StatisticsError when they do not fit together."""
    if metadata.get("regressor") == "ridge_rp":
        regressor: Regressor = _load_module("ridge_rp").load_targets(arrays, metadata)
        return regressor
    return load_regression(arrays, metadata)


def _row(name: str) -> HeadRow:
    if name not in HEADS:
        raise ValueError(f"there is no head {name!r}; there are {sorted([*HEADS, 'auto'])}")
    return HEADS[name]


def _load_module(module: str) -> Any:
    return importlib.import_module(f"edgetl_runtime.heads.{module}")
