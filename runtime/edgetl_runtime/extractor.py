"""The frozen half of a session: sample -> preprocess -> engine -> one feature vector."""

from __future__ import annotations

import threading
from typing import Any, Dict, List, Optional, Protocol

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.bundle.manifest import Variant
from edgetl_runtime.engines import Engine
from edgetl_runtime.errors import SampleError
from edgetl_runtime.preprocess import Preprocess

__all__ = ["MAX_FEATURE", "Companion", "Extractor"]

MAX_FEATURE = 1e30  # beyond it sums of fourth powers overflow


class Companion(Protocol):
    """What goes on beside an extractor, such as the building of a faster engine."""

    def state(self) -> Dict[str, Any]:
        """Plain data for the status of a session."""

    def close(self) -> None:
        """End it; harmless when repeated."""


class Extractor:
    """One variant of a bundle in the engine that runs it, which `replace` may change between two frames."""

    def __init__(self, engine: Engine, variant: Variant, preprocess: Preprocess) -> None:
        self.variant = variant
        self.companion: Optional[Companion] = None
        self.takes = preprocess
        self._lock = threading.Lock()
        self._engine = engine
        self._running: List[Engine] = []  # one entry a run, so that none is closed under it
        self._retired: List[Engine] = []
        self._closed = False

    @property
    def description(self) -> str:
        """Engine and version that are really in use."""
        return self._engine.description

    def state(self) -> Dict[str, Any]:
        """Plain data: the engine in use, and what its companion says."""
        return {"engine": self.description, **(self.companion.state() if self.companion is not None else {})}

    def preprocess(self, sample: Any) -> NDArray[Any]:
        """The input tensor of one sample; raises SampleError."""
        return self.takes.apply(sample)

    def features(self, sample: Any) -> NDArray[np.float32]:
        """Feature vector (D,) float32 of one sample; raises SampleError, EngineError."""
        return self.run(self.preprocess(sample))

    def run(self, tensor: NDArray[Any]) -> NDArray[np.float32]:
        """Feature vector (D,) float32 of one input tensor; raises SampleError, EngineError."""
        with self._lock:
            engine = self._engine
            self._running.append(engine)
        try:
            tensors = engine.run({engine.inputs[0].name: tensor})
        finally:
            self._ended(engine)
        features: NDArray[np.float32] = np.asarray(tensors[self.variant.features.name][0], dtype=np.float32)
        if not float(np.abs(features).max()) <= MAX_FEATURE:  # NaN is not either
            raise SampleError("the extractor gave NaN or endless features for this sample; nothing was learnt from it")
        return features

    def replace(self, engine: Engine) -> None:
        """Let `engine`, of the same features, serve from the next frame on; the other is closed after its last run."""
        with self._lock:
            if not self._closed:
                self._retired.append(self._engine)
                engine, self._engine = self._engine, engine
        self._close_unused(engine)

    def close(self) -> None:
        """Release the engine; harmless when repeated."""
        with self._lock:
            self._closed = True
        if self.companion is not None:
            self.companion.close()
        self._engine.close()

    def _ended(self, engine: Engine) -> None:
        with self._lock:
            self._running.remove(engine)
            retired = bool(self._retired)
        if retired:
            self._close_unused(engine)

    def _close_unused(self, engine: Engine) -> None:
        with self._lock:
            if engine is self._engine or engine in self._running:
                return
            if engine in self._retired:
                self._retired.remove(engine)
        engine.close()
