"""The frozen half of a session: sample -> preprocess -> engine -> one feature vector."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime.bundle.manifest import Variant
from edgetl_runtime.engines import Engine
from edgetl_runtime.errors import SampleError
from edgetl_runtime.preprocess import Preprocess

__all__ = ["MAX_FEATURE", "Extractor"]

MAX_FEATURE = 1e30  # beyond it sums of fourth powers overflow


class Extractor:
    """One variant of a bundle in the engine that runs it."""

    def __init__(self, engine: Engine, variant: Variant, preprocess: Preprocess) -> None:
        self.variant = variant
        self._engine = engine
        self._preprocess = preprocess

    @property
    def description(self) -> str:
        """Engine and version that are really in use."""
        return self._engine.description

    def preprocess(self, sample: Any) -> NDArray[Any]:
        """The input tensor of one sample; raises SampleError."""
        return self._preprocess.apply(sample)

    def features(self, sample: Any) -> NDArray[np.float32]:
        """Feature vector (D,) float32 of one sample; raises SampleError, EngineError."""
        tensors = self._engine.run({self._engine.inputs[0].name: self.preprocess(sample)})
        features: NDArray[np.float32] = np.asarray(tensors[self.variant.features.name][0], dtype=np.float32)
        if not float(np.abs(features).max()) <= MAX_FEATURE:  # NaN is not either
            raise SampleError("the extractor gave NaN or endless features for this sample; nothing was learnt from it")
        return features

    def close(self) -> None:
        """Release the engine; harmless when repeated."""
        self._engine.close()
