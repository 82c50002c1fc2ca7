"""Features of frozen networks, computed once: kept on disk by what made them and what they show."""

from __future__ import annotations

import copy
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from edgetl_runtime.bundle.container import replace_file
from edgetl_runtime.errors import SourceError
from numpy.typing import NDArray

from edgetl.features import reference_features
from edgetl.tuning.samples import Samples
from edgetl.tuning.training import outputs_of
from edgetl.tuning.workers import Workers

if TYPE_CHECKING:
    from edgetl.features import Extractor

__all__ = ["FeatureCache", "extractor_digest"]

logger = logging.getLogger(__name__)


class FeatureCache:
    """Features by (extractor, samples) as safetensors files in a folder; None keeps nothing."""

    def __init__(self, folder: str | Path | None) -> None:
        self._folder = None if folder is None else Path(folder)

    def features(self, extractor: Extractor, samples: Samples, workers: Workers) -> NDArray[np.float32]:
        """(N, D) float32 of those samples; a damaged file is made anew. Raises SourceError when it cannot write."""
        if self._folder is None:
            return _computed(extractor, samples, workers)
        key = f"{extractor_digest(extractor)} {samples.digest}"
        kept = self.kept(key, (len(samples), extractor.dim))
        # Computing is done together, so all take part where the folder of one of several machines has it not.
        if workers.all_have(kept is None) and kept is not None:
            return kept
        features = _computed(extractor, samples, workers)
        if workers.leads:
            self.keep(key, features)
        return features

    def kept(self, key: str, shape: tuple[int, int]) -> NDArray[np.float32] | None:
        """Features (N, D) = `shape` that were kept under `key`; None where there are none, or a damaged file."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        if self._folder is None:
            return None
        path = self._path(self._folder, key)
        try:
            read: NDArray[np.float32] = load(path.read_bytes())["features"]
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, KeyError) as error:
            logger.warning("%s does not load and is made anew: %s", path, error)
            return None
        return read if read.shape == shape else None

    def keep(self, key: str, features: NDArray[np.float32]) -> None:
        """Keep features (N, D) under `key`; raises SourceError when it cannot write."""
        from safetensors.numpy import save

        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SourceError(f"cannot make the folder {self._folder}: {error.strerror or error}") from error
        replace_file(self._path(self._folder, key), save({"features": np.ascontiguousarray(features)}))

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"


def extractor_digest(extractor: Extractor) -> str:
    """sha256 over everything that decides the features: layers, weights, normalisation, preprocessing, graph."""
    digest = hashlib.sha256(repr((extractor.preprocess, extractor.mean, extractor.scale, extractor.output)).encode())
    if extractor.graph is not None:
        digest.update(extractor.graph)
    if extractor.module is not None:
        import torch

        digest.update(str(extractor.module).encode())
        for name, value in sorted(extractor.module.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _computed(extractor: Extractor, samples: Samples, workers: Workers) -> NDArray[np.float32]:
    if extractor.module is None:
        return reference_features(extractor, samples.tensors)
    module = copy.deepcopy(extractor.module).eval().to(workers.device)
    return outputs_of(module, extractor, samples, workers)
