"""Which head stands, without any adapter, and what was taught here: what adapters are made from."""

from __future__ import annotations

from typing import List, Optional, Tuple

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.adapt import is_adapted
from edgetl_runtime.learner import Fitted
from edgetl_runtime.store import TRAIN, Store
from edgetl_runtime.teaching import Lineage, Teacher

__all__ = ["Standing"]

_MOST_LABELLED = 500


class Standing:
    """Of one session; under its lock."""

    def __init__(self, store: Store, lineage: Lineage, teacher: Teacher) -> None:
        self._store, self._lineage, self._teacher = store, lineage, teacher
        # Of that generation and so many samples.
        self._plain: Optional[Tuple[int, int, Fitted]] = None
        self._adapter: Tuple[int, Optional[str]] = (0, None)

    def follows(self) -> Optional[str]:
        """The adapter that made the live head, if one did."""
        live = self._lineage.live
        if not is_adapted(live.fitted.head):
            return None
        if self._adapter[0] != live.generation:
            made = [one for one in self._store.generations.listed() if one.number == live.generation]
            self._adapter = live.generation, str(made[0].evidence.get("adapter", "")) if made else ""
        return self._adapter[1]

    def base(self) -> Fitted:
        """The live head, and where an adapter made it, that of the source and all that was learnt."""
        live = self._lineage.live
        if not is_adapted(live.fitted.head):
            return live.fitted
        last = self._store.samples.last_id()
        if self._plain is None or self._plain[:2] != (live.generation, last):
            self._plain = live.generation, last, self._teacher.plain()
        return self._plain[2]

    def taught(self) -> Tuple[Optional[NDArray[np.float32]], List[str]]:
        """Features (L, D) and labels (L) of the newest training samples."""
        blocks = list(self._store.samples.load(since=max(0, self._store.samples.last_id() - _MOST_LABELLED)))
        parts = [part for part in (block.only(TRAIN) for block in blocks) if part.ids]
        if not parts:
            return None, []
        labels = [label for part in parts for label in part.labels]
        return np.concatenate([part.features for part in parts]), labels
