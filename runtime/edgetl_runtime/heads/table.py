"""The table of heads. A new head is a row here and a file beside it; nothing else changes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Mapping, Optional

from numpy.typing import NDArray

from edgetl_runtime.errors import StatisticsError
from edgetl_runtime.heads.protocol import Head
from edgetl_runtime.statistics import Statistics

__all__ = ["HEADS", "HeadRow", "fit_head", "load_head"]


@dataclass(frozen=True)
class HeadRow:
    """One kind of head: the module of this package with `fit` and `load`, and what it promises.

    `exact` heads come from statistics alone, so they do not depend on order and can be merged and
    forgotten exactly; the others learn from a reservoir.
    """

    module: str
    exact: bool


HEADS: Mapping[str, HeadRow] = {
    "ncm": HeadRow("ncm", exact=True),
    "slda": HeadRow("slda", exact=True),
}


def fit_head(name: str, statistics: Statistics, prior: Optional[Statistics] = None, **options: Any) -> Head:
    """A head fitted on what was learnt (`statistics`) and on the source shipped in the bundle (`prior`).

    Either may be empty, and their classes may differ. `options` are those of the head's own `fit`.
    Raises FeatureSpaceError, and ValueError on an unknown name or option.
    """
    head: Head = _module(name).fit(statistics, prior, **options)
    return head


def load_head(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> Head:
    """The head of `state()` and `metadata()`; raises StatisticsError when they do not fit together."""
    name = metadata.get("head")
    if not isinstance(name, str) or name not in HEADS:
        raise StatisticsError(f"the metadata names the head {name!r}; known heads are {sorted(HEADS)}")
    head: Head = _module(name).load(arrays, metadata)
    return head


def _module(name: str) -> Any:
    row = HEADS.get(name)
    if row is None:
        raise ValueError(f"there is no head {name!r}; there are {sorted(HEADS)}")
    return importlib.import_module(f"edgetl_runtime.heads.{row.module}")


